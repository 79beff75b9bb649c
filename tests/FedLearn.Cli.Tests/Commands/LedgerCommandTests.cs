using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Tests.Commands;

public sealed class LedgerCommandTests : IDisposable
{
    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    private string Ledger => _scene.At("bank.ledger.db");

    private async Task<JsonElement> TrainAsync(params (string Path, JsonNode? Value)[] changes)
    {
        ToolRun run = await ToolRun.Of("train", "--config", _scene.Job(Scene.Private(changes)), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonElement.Parse(run.Output).GetProperty("parties")[0].GetProperty("privacy");
    }

    private static async Task<JsonElement> ShowAsync(string ledger, params string[] more)
    {
        ToolRun run = await ToolRun.Of(["ledger", "show", "--ledger", ledger, "--json", .. more]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonElement.Parse(run.Output);
    }

    [Fact]
    public async Task Show_TwoJobs_AddUpInQuadratureAsTheReportSays()
    {
        await TrainAsync();
        JsonElement second = await TrainAsync(("training.seed", 8));
        Assert.Equal(["bank.ledger.db", "telco.ledger.db"], _scene.Ledgers);   // no outbox, no log

        JsonElement shown = await ShowAsync(Ledger, "--epsilon", "3", "--delta", "1e-3");
        JsonElement[] charges = [.. shown.GetProperty("charges").EnumerateArray()];
        double mu = GaussianDp.Mu(1, 1e-3);
        Assert.Equal(2, charges.Length);
        Assert.All(charges, c => Assert.Equal(("bank", "scene", "settled", 1.0, "record", "replace-one", 10),
            (c.GetProperty("party").GetString(), c.GetProperty("job").GetString(), c.GetProperty("state").GetString(), c.GetProperty("share").GetDouble(),
                c.GetProperty("unit").GetString(), c.GetProperty("adjacency").GetString(), c.GetProperty("messages").GetInt32())));
        Assert.All(charges, c => Assert.Equal(mu, c.GetProperty("mu").GetDouble(), 1e-12));
        Assert.All(charges, c => Assert.EndsWith("(Gaussian DP; asked for epsilon 1 at delta 0.001) for replacing one row", c.GetProperty("claim").GetString(), StringComparison.Ordinal));
        Assert.All(charges, c => Assert.Equal($"{c.GetProperty("runId").GetString()}/9", c.GetProperty("messageIds").GetProperty("last").GetString()));
        JsonElement total = Assert.Single(shown.GetProperty("totals").EnumerateArray());
        Assert.Equal(mu * Math.Sqrt(2), total.GetProperty("mu").GetDouble(), 1e-12);
        double epsilon = GaussianDp.Epsilon(mu * Math.Sqrt(2), 1e-3);
        Assert.Equal(epsilon, total.GetProperty("epsilon").GetDouble(), 1e-9);
        // What is left: a job of that epsilon fits exactly.
        double left = total.GetProperty("left").GetDouble();
        Assert.InRange(Math.Sqrt(2 * mu * mu + Math.Pow(GaussianDp.Mu(left, 1e-3), 2)), 0.999 * GaussianDp.Mu(3, 1e-3), GaussianDp.Mu(3, 1e-3));

        JsonElement reported = second.GetProperty("ledger");
        Assert.Equal(("bank.ledger.db", 1e-3), (reported.GetProperty("path").GetString(), reported.GetProperty("delta").GetDouble()));
        Assert.Equal(epsilon, reported.GetProperty("spentEpsilon").GetDouble(), 1e-9);
        Assert.Equal(JsonValueKind.Null, reported.GetProperty("budget").ValueKind);
        Assert.Contains(second.GetProperty("warnings").EnumerateArray(), w => w.GetString()!.Contains("no lifetime budget", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Verify_FileOfAProcessThatDiedMakingIt_IsSaidToBeEmpty()
    {
        File.WriteAllBytes(Ledger, []);
        ToolRun verify = await ToolRun.Of("ledger", "verify", "--ledger", Ledger);
        Assert.Equal((2, ""), (verify.ExitCode, verify.Output));
        Assert.Contains("the file is empty", verify.Error, StringComparison.Ordinal);
        Assert.Contains("(FL2310)", verify.Error, StringComparison.Ordinal);
        Assert.Empty((await ShowAsync(Ledger)).GetProperty("charges").EnumerateArray());
        await TrainAsync();
        Assert.Single((await ShowAsync(Ledger)).GetProperty("charges").EnumerateArray());
    }

    [Theory]
    [InlineData("--model", "/proc/fedlearn")]
    [InlineData("--report", "/proc/fedlearn.json")]
    public async Task Train_ResultCannotBeWritten_IsRefusedBeforeAnythingIsCharged(string option, string place)
    {
        ToolRun run = await ToolRun.Of("train", "--config", _scene.Job(Scene.Private()), option, place);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("(FL2102)", run.Error, StringComparison.Ordinal);
        Assert.Empty(_scene.Ledgers);
    }

    [Fact]
    public async Task Show_RunsThatSumsCannotTell_AreWarnedOf()
    {
        await TrainAsync(("privacy.testNoiseSeed", 3));
        await TrainAsync(("privacy.mode", "label-dp"));
        ToolRun run = await ToolRun.Of("ledger", "show", "--ledger", Ledger);
        Assert.Contains("1 earlier run over these people used test noise", run.Error, StringComparison.Ordinal);
        Assert.Contains("1 earlier run over these people protected labels only", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hdp-vfl")]
    [InlineData("one-round")]
    [InlineData("label-dp")]
    public async Task Train_TestNoise_IsChargedAsIfItHadBeenSecretAndWarnedOf(string mode)
    {
        await TrainAsync(("privacy.mode", mode));
        (double, double) Sum(JsonElement shown) => shown.GetProperty("totals").EnumerateArray().Where(t => t.GetProperty("party").GetString() == "bank")
            .Select(t => (t.GetProperty("pureEpsilon").GetDouble(), t.GetProperty("mu").GetDouble())).Last();
        (double epsilon, double mu) = Sum(await ShowAsync(Ledger));
        await TrainAsync(("privacy.mode", mode), ("privacy.testNoiseSeed", 3));
        (double twiceEpsilon, double twiceMu) = Sum(await ShowAsync(Ledger));
        Assert.Equal(2 * epsilon, twiceEpsilon, 1e-9);
        Assert.Equal(Math.Sqrt(2) * mu, twiceMu, 1e-9);
        Assert.Contains("1 earlier run over these people used test noise and protected nothing: the sums count them as if their noise had been secret, which is less than they told",
            (await ToolRun.Of("ledger", "show", "--ledger", Ledger)).Error, StringComparison.Ordinal);
    }

    private static PrivacyCharge Charge(string mechanism, string parameters, double mu) => new()
    {
        RunId = PrivacyCharge.NewRunId(),
        Party = "shop",
        DataSet = DataSetIdentity.Of(new byte[64]),
        JobName = "views",
        JobDigest = new string('0', 64),
        Mechanism = mechanism,
        Claim = "none",
        Parameters = parameters,
        Unit = PrivacyUnit.Record,
        Adjacency = Adjacency.ReplaceOne,
        Messages = 1,
        PureEpsilon = 0,
        MuSquared = mu * mu,
    };

    /// <summary>By the claim that the charge has among its numbers, whatever the mechanism is called.</summary>
    [Theory]
    [InlineData("gaussian, own messages: gradients")]
    [InlineData("gaussian: gradients")]
    public async Task Show_OwnMessagesOfARecommendationJob_AreNoPlainEpsilonOfARecord(string mechanism)
    {
        string path = _scene.At("shop.ledger.db");
        var ledger = new SqliteLedger(path);
        using (IPrivacyReservation run = ledger.Reserve(Charge(mechanism, """{ "claim": "own-messages", "unit": "sample" }""", 1)))
            run.Settle(1);
        string[] more = ["ledger", "show", "--ledger", path, "--epsilon", "20", "--delta", "1e-5", "--json"];
        ToolRun one = await ToolRun.Of(more);
        JsonElement shown = JsonElement.Parse(one.Output), charge = shown.GetProperty("charges")[0], total = shown.GetProperty("totals")[0];
        Assert.Equal(("sample", "record", true), (charge.GetProperty("unit").GetString(), charge.GetProperty("bookedAs").GetString(), charge.GetProperty("ownMessages").GetBoolean()));
        Assert.Equal(("sample", 1), (total.GetProperty("units")[0].GetString(), total.GetProperty("ownMessages").GetInt32()));
        string warning = Assert.Single(shown.GetProperty("warnings").EnumerateArray()).GetString()!;
        Assert.Contains("1 of the 1 charge is for own messages only; influence through trained parameters is not covered", warning, StringComparison.Ordinal);
        Assert.Contains("no epsilon against the peer", warning, StringComparison.Ordinal);
        Assert.Contains("at least", one.Error, StringComparison.Ordinal);
        Assert.Contains("at most", one.Error, StringComparison.Ordinal); // what is left
        Assert.Contains("| sample |", one.Error, StringComparison.Ordinal);

        using (IPrivacyReservation run = ledger.Reserve(Charge("gaussian, full: gradients and parameters", """{ "claim": "full", "unit": "user" }""", 1)))
            run.Settle(1);
        shown = JsonElement.Parse((await ToolRun.Of(more)).Output);
        Assert.Equal(["sample", "user"], shown.GetProperty("totals")[0].GetProperty("units").EnumerateArray().Select(u => u.GetString()));
        Assert.Contains(shown.GetProperty("warnings").EnumerateArray(), w => w.GetString()!.Contains("several units (sample, user): their sum holds for the smallest of the units only", StringComparison.Ordinal));
    }

    /// <summary>Sums are of one party's people; parts of a charge, alignments and numbers below a thousandth are shown as they are.</summary>
    [Fact]
    public async Task Show_SeveralPartiesTablesAndAlignments_TellsThemApart()
    {
        string path = _scene.At("shop.ledger.db");
        var ledger = new SqliteLedger(path);
        PrivacyCharge half = Charge("gaussian", "{}", 2), tiny = Charge("gaussian", "{}", 5e-4) with { Party = "clinic" }, other = half with { RunId = PrivacyCharge.NewRunId(), DataSet = DataSetIdentity.Of([.. Enumerable.Repeat((byte)1, 32)]) };
        foreach ((PrivacyCharge charge, double share) in ((PrivacyCharge, double)[])[(half, .5), (tiny, 1), (other, 1)])
            using (IPrivacyReservation run = ledger.Reserve(charge))
                run.Settle(share);
        var alignments = new SqliteAlignmentLog(path);
        alignments.Begin(new AlignmentRecord("s1", "shop", "bank", "psi", "both", 10, 20, new string('0', 64)), new AlignmentCaps());
        alignments.End("s1", 7);
        alignments.Begin(new AlignmentRecord("s2", "clinic", "bank", "psi", "both", 30, 40, new string('0', 64)), new AlignmentCaps());
        ToolRun tool = await ToolRun.Of("ledger", "show", "--ledger", path, "--json");
        JsonElement shown = JsonElement.Parse(tool.Output);
        Assert.Equal([.5, 1, 1], shown.GetProperty("charges").EnumerateArray().Select(c => c.GetProperty("share").GetDouble()));
        Assert.Equal([("shop", 2), ("clinic", 2.5e-7), ("shop", 4)], shown.GetProperty("totals").EnumerateArray().Select(t => (t.GetProperty("party").GetString()!, Math.Round(Math.Pow(t.GetProperty("mu").GetDouble(), 2), 12))));
        Assert.Equal([true, false], shown.GetProperty("alignments").EnumerateArray().Select(a => a.GetProperty("ended").ValueKind == JsonValueKind.String));
        Assert.Equal([7, null], shown.GetProperty("alignments").EnumerateArray().Select(a => a.GetProperty("commonIds").ValueKind == JsonValueKind.Number ? a.GetProperty("commonIds").GetInt32() : (int?)null));
        Assert.Contains("| 5e-4 ", tool.Error, StringComparison.Ordinal);
        // By party, not in the order in which they began.
        Assert.True(tool.Error.IndexOf("| 30 ", StringComparison.Ordinal) is > 0 and var clinic && clinic < tool.Error.IndexOf("| 10 ", StringComparison.Ordinal), tool.Error);
    }

    // What a record costs its label costs too, and a budget counts both.
    [Fact]
    public async Task Show_ChargesOfLabelsBesideRecords_LeaveTheSameOnBothLines()
    {
        string path = _scene.At("shop.ledger.db");
        var ledger = new SqliteLedger(path);
        foreach (PrivacyUnit unit in (PrivacyUnit[])[PrivacyUnit.Record, PrivacyUnit.Label])
            using (IPrivacyReservation run = ledger.Reserve(Charge("gaussian", "{}", 1) with { Unit = unit }))
                run.Settle(1);
        JsonElement[] totals = [.. (await ShowAsync(path, "--epsilon", "20", "--delta", "1e-5")).GetProperty("totals").EnumerateArray()];
        Assert.Equal(["record", "label"], totals.Select(t => t.GetProperty("unit").GetString()!));
        Assert.Equal(1, totals[0].GetProperty("mu").GetDouble(), 1e-12);
        Assert.Equal(Math.Sqrt(2), totals[1].GetProperty("mu").GetDouble(), 1e-12);
        double left = totals[1].GetProperty("left").GetDouble();
        Assert.Equal(left, totals[0].GetProperty("left").GetDouble());
        Assert.InRange(Math.Sqrt(2 + Math.Pow(GaussianDp.Mu(left, 1e-5), 2)), 0.999 * GaussianDp.Mu(20, 1e-5), GaussianDp.Mu(20, 1e-5));
    }

    [Fact]
    public async Task Train_SecondJobOverTheBudget_IsRefusedWithWhatIsLeft()
    {
        (string, JsonNode?) budget = ("parties.0.ledger", JsonNode.Parse("""{ "path": "mine.db", "budget": { "epsilon": 1.2, "delta": 0.001 } }"""));
        JsonElement first = await TrainAsync(budget);
        Assert.DoesNotContain(first.GetProperty("warnings").EnumerateArray(), w => w.GetString()!.Contains("budget", StringComparison.Ordinal));
        Assert.Equal(1.2, first.GetProperty("ledger").GetProperty("budget").GetProperty("epsilon").GetDouble());

        string job = _scene.Job(Scene.Private(budget));
        ToolRun refused = await ToolRun.Of("train", "--config", job, "--report", _scene.At("report.json"));
        Assert.Equal(5, refused.ExitCode);
        Assert.Contains("mine.db: the job would exceed the lifetime budget (epsilon 1.2 at delta 0.001)", refused.Error, StringComparison.Ordinal);
        Assert.Contains("(FL5020)", refused.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(_scene.At("report.json")));
        string left = refused.Error.Split("what is left for one more job is epsilon ")[1].Split(' ')[0];
        await TrainAsync(budget, ("privacy.epsilon", JsonNode.Parse(left)));
        Assert.Equal(2, (await ShowAsync(_scene.At("mine.db"))).GetProperty("charges").GetArrayLength());
    }

    [Fact]
    public async Task Train_WithoutPrivacy_WritesNoLedger()
    {
        ToolRun run = await ToolRun.Of("train", "--config", _scene.Job());
        Assert.Equal(0, run.ExitCode);
        Assert.Empty(_scene.Ledgers);
    }

    [Fact]
    public async Task Show_ForPeople_CutsNothing()
    {
        await TrainAsync(("privacy.testNoiseSeed", 3));
        ToolRun run = await ToolRun.Of("ledger", "show", "--ledger", Ledger);
        Assert.Equal(0, run.ExitCode);
        Assert.Contains("gaussian: training residuals (test noise: NOT PRIVATE)", run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("…", run.Output, StringComparison.Ordinal);
        // What it was asked for, and what it warns of beside that.
        Assert.DoesNotContain("warning", run.Output, StringComparison.Ordinal);
        Assert.All(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.StartsWith("warning: ", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Verify_SoundThenTampered_SaysSo()
    {
        await TrainAsync();
        ToolRun sound = await ToolRun.Of("ledger", "verify", "--ledger", Ledger);
        Assert.Equal((0, ""), (sound.ExitCode, sound.Error));
        string head = Assert.Single(sound.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)).Split(' ')[^1];
        // The end of the line, or the line as it was printed, with whatever the file was called then.
        foreach (string kept in (string[])[head, head.ToUpperInvariant(), sound.Output, $"old copies/bank.ledger.db: all rows verify: {head}"])
        {
            Assert.Equal(0, (await ToolRun.Of("ledger", "verify", "--ledger", Ledger, "--since", kept)).ExitCode);
            Assert.Equal(5, (await ToolRun.Of("ledger", "verify", "--ledger", _scene.At("telco.ledger.db"), "--since", kept)).ExitCode);
        }

        Assert.Contains("does not end in ROWS:HASH", (await ToolRun.Of("ledger", "verify", "--ledger", Ledger, "--since", $"{head} rows")).Error, StringComparison.Ordinal);

        // A byte of the text of a row, which SQLite itself does not notice.
        byte[] bytes = File.ReadAllBytes(Ledger);
        int at = bytes.AsSpan().IndexOf("\"messages\":10"u8);
        bytes[at + "\"messages\":1".Length]++;
        File.WriteAllBytes(Ledger, bytes);
        ToolRun broken = await ToolRun.Of("ledger", "verify", "--ledger", Ledger, "--json");
        Assert.Equal(5, broken.ExitCode);
        Assert.Contains("row 1 was changed", broken.Error, StringComparison.Ordinal);
        Assert.Contains("(FL5022)", broken.Error, StringComparison.Ordinal);
        Assert.Equal((false, 1), (JsonElement.Parse(broken.Output).GetProperty("ok").GetBoolean(), JsonElement.Parse(broken.Output).GetProperty("badRow").GetInt32()));
        // Whoever reads sums of what is before that row is told that they are not all.
        ToolRun shown = await ToolRun.Of("ledger", "show", "--ledger", Ledger, "--json");
        Assert.Equal(5, shown.ExitCode);
        Assert.Contains("warning: the ledger does not verify: ", shown.Error, StringComparison.Ordinal);
        Assert.Contains("row 1 was changed", JsonElement.Parse(shown.Output).GetProperty("fault").GetString()!, StringComparison.Ordinal);
        ToolRun refused = await ToolRun.Of("train", "--config", _scene.Job(Scene.Private()));
        Assert.Equal(5, refused.ExitCode);
        Assert.Contains("(FL5022)", refused.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(2, "FL2311", "show", "--ledger", "absent.db")]
    [InlineData(2, "FL2311", "verify", "--ledger", "absent.db")]
    [InlineData(2, "FL2310", "verify", "--ledger", "bank.csv")]
    [InlineData(2, "FL2101", "show", "--ledger", "bank.csv", "--epsilon", "1")]
    [InlineData(2, "FL2301", "show", "--ledger", "bank.csv", "--delta", "0")]
    [InlineData(2, "FL2100", "verify", "--ledger", "bank.csv", "--since", "1:2")]
    [InlineData(2, "FL2100", "show")]
    public async Task Ledger_WrongUse_IsExplained(int code, string id, params string[] arguments)
    {
        ToolRun run = await ToolRun.Of(["ledger", .. arguments.Select(a => a.Contains('.', StringComparison.Ordinal) ? _scene.At(a) : a)]);
        Assert.Equal((code, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
    }
}
