using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Privacy;

namespace FedLearn.Cli.Tests.Reports;

public class TrainingReportTests
{
    private const string Notice = "NOT PRIVATE: test noise";

    private static readonly string[] Metrics = ["auc", "accuracy", "logLoss", "rmse", "r2", "deviance"];
    private static readonly string[] Timing = ["totalSeconds", "secondsPerEpoch", "computeSeconds", "waitSeconds", "noiseSeconds"];
    private static readonly string[] PrivacyNumbers = ["epsilon", "delta", "mu", "sigma", "sensitivity", "ownTerm", "driftTerm"];

    private static async Task<(JsonElement Report, ToolRun Run)> TrainAsync(string job, params string[] more)
    {
        ToolRun run = await ToolRun.Of(["train", "--config", job, "--json", .. more]);
        Assert.True(run.ExitCode == 0, run.Error);
        return (JsonDocument.Parse(run.Output).RootElement, run);
    }

    [Fact]
    public async Task Report_FigureBeyondFloat64_IsNull()
    {
        // Noise of this size makes some Poisson means infinite; JSON has no infinity.
        using var scene = new Scene();
        (JsonElement report, _) = await TrainAsync(scene.Job(Scene.Private(("model.family", "poisson"), ("privacy.epsilon", 0.001), ("privacy.testNoiseSeed", 1),
            ("training.stepSize", 0.5), ("parties.0.data.labelRange", new JsonArray(0, 1)))));
        Assert.Equal(JsonValueKind.Null, report.GetProperty("metrics").GetProperty("train").GetProperty("deviance").ValueKind);
        Assert.Equal(JsonValueKind.Number, report.GetProperty("metrics").GetProperty("test").GetProperty("deviance").ValueKind);
    }

    [Theory]
    [InlineData("hdp-vfl", true)]
    [InlineData("hdp-vfl", false)]
    [InlineData("one-round", true)]
    [InlineData("one-round", false)]
    public async Task Noise_SaysWhereItIsFrom_OnlyIfItIsFromThere(string mode, bool testNoise)
    {
        using var scene = new Scene();
        (JsonElement report, _) = await TrainAsync(scene.Job(Scene.Private(("privacy.mode", mode), ("privacy.testNoiseSeed", testNoise ? 1 : null))));
        foreach (JsonElement party in report.GetProperty("parties").EnumerateArray())
        {
            JsonElement privacy = party.GetProperty("privacy");
            // The labels of one-round are no numbers that noise is added to.
            bool labels = mode == "one-round" && party.GetProperty("role").GetString() == "active";
            Assert.StartsWith(testNoise ? Notice : labels ? "Labels are randomised by " : CsprngNoise.AccuracyStatement, privacy.GetProperty("noise").GetString(), StringComparison.Ordinal);
            Assert.Equal(!testNoise, privacy.GetProperty("secureNoise").GetBoolean());
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Report_OfTraining_HasEveryFieldOfTheContract(bool isPrivate)
    {
        using var scene = new Scene();
        (JsonElement report, _) = await TrainAsync(scene.Job(isPrivate ? Scene.Private(("training.optimizer", "sgd")) : [("training.stepSize", 3), ("privacy.mode", "none"), ("privacy.epsilon", 1)]));
        Assert.Matches("^[0-9a-f]{64}$", report.GetProperty("job").GetProperty("digest").GetString());
        foreach (string set in (string[])["train", "test"])
            foreach (string metric in Metrics)
                Assert.Equal(metric is "auc" or "accuracy" or "logLoss" or "deviance" ? JsonValueKind.Number : JsonValueKind.Null,
                    report.GetProperty("metrics").GetProperty(set).GetProperty(metric).ValueKind);
        // What was spent after each round, or nothing.
        JsonElement[] spent = [.. report.GetProperty("history").EnumerateArray().Select(h => h.GetProperty("epsilon"))];
        Assert.All(spent, e => Assert.Equal(isPrivate ? JsonValueKind.Number : JsonValueKind.Null, e.ValueKind));
        Assert.True(!isPrivate || spent[0].GetDouble() < spent[^1].GetDouble());
        JsonElement interval = report.GetProperty("intervals").GetProperty("test").GetProperty("auc");
        Assert.InRange(report.GetProperty("metrics").GetProperty("test").GetProperty("auc").GetDouble(), interval[0].GetDouble(), interval[1].GetDouble());
        Assert.All(Timing, name => Assert.True(report.GetProperty("timing").GetProperty(name).GetDouble() >= 0, name));
        Assert.Equal("hashed", report.GetProperty("alignment").GetProperty("method").GetString());
        Assert.Equal(Scene.Common, report.GetProperty("alignment").GetProperty("commonRows").GetInt32());
        Assert.NotEmpty(report.GetProperty("alignment").GetProperty("leaks").EnumerateArray());
        JsonElement rows = report.GetProperty("rows");
        Assert.Equal(Scene.Common, rows.GetProperty("train").GetInt32() + rows.GetProperty("test").GetInt32());
        Assert.Equal(isPrivate ? [] : ["training.stepSize", "privacy.epsilon"], report.GetProperty("ignored").EnumerateArray().Select(i => i.GetString()!));

        JsonElement[] parties = [.. report.GetProperty("parties").EnumerateArray()];
        Assert.Equal([("bank", "active"), ("telco", "passive")], parties.Select(p => (p.GetProperty("name").GetString()!, p.GetProperty("role").GetString()!)));
        // What one sends the other receives.
        Assert.Equal(parties[0].GetProperty("bytesSent").GetInt64(), parties[1].GetProperty("bytesReceived").GetInt64());
        Assert.Equal(parties[1].GetProperty("bytesSent").GetInt64(), parties[0].GetProperty("bytesReceived").GetInt64());
        foreach (JsonElement party in parties)
        {
            // All of the party's part, of which the rounds are one, and not all that the tool did.
            JsonElement timing = party.GetProperty("timing");
            Assert.True(timing.GetProperty("totalSeconds").GetDouble() > timing.GetProperty("trainingSeconds").GetDouble());
            Assert.True(report.GetProperty("timing").GetProperty("totalSeconds").GetDouble() >= timing.GetProperty("totalSeconds").GetDouble());
            Assert.True(party.GetProperty("peakMemoryBytes").GetInt64() > 1_000_000);
            Assert.Equal(party.GetProperty("messagesSent").GetInt64(), party.GetProperty("releases").EnumerateArray().Sum(r => r.GetProperty("count").GetInt64()));
            Assert.Matches("^[0-9a-f]{64}$", party.GetProperty("model").GetProperty("weightsSha256").GetString());
            JsonElement privacy = party.GetProperty("privacy");
            Assert.Equal(isPrivate ? ("hdp-vfl", "tight", "replace-one") : ("none", null, null),
                (privacy.GetProperty("mode").GetString(), privacy.GetProperty("calibration").GetString(), privacy.GetProperty("adjacency").GetString()));
            Assert.All(PrivacyNumbers, name => Assert.True(isPrivate ? privacy.GetProperty(name).GetDouble() >= 0 : privacy.GetProperty(name).ValueKind == JsonValueKind.Null, name));
            Assert.Equal(isPrivate ? JsonValueKind.True : JsonValueKind.Null, privacy.GetProperty("secureNoise").ValueKind);
            Assert.Equal(isPrivate ? 1 : 0, privacy.GetProperty("claims").GetArrayLength());
            Assert.Equal(JsonValueKind.Array, privacy.GetProperty("warnings").ValueKind);
        }
    }

    [Fact]
    public async Task Output_TestNoise_SaysSoFirstEverywhere()
    {
        // A locale without UTF-8, and a name that is markup: the files must not care.
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("privacy.testNoiseSeed", 11), ("transport.kind", "grpc"), ("name", "Zürich <script>alert(\"1\")</script> & 'co'")));
        using ToolProcess tool = ToolProcess.Start("de_DE.ISO-8859-1",
            ["train", "--config", job, "--json", "--report", scene.At("out/report.json"), "--html", scene.At("out/report.html")]);
        ToolRun run = await tool.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(["out/report.html", "out/report.json"], scene.Results);
        Assert.Equal(File.ReadAllBytes(scene.At("out/report.json")), tool.Output);
        JsonElement report = JsonDocument.Parse(tool.Output).RootElement;
        Assert.Equal(("notice", Notice), (report.EnumerateObject().First().Name, report.EnumerateObject().First().Value.GetString()));
        Assert.Equal("Zürich <script>alert(\"1\")</script> & 'co'", report.GetProperty("job").GetProperty("name").GetString());
        Assert.StartsWith(Notice, run.Error, StringComparison.Ordinal);
        Assert.All(report.GetProperty("parties").EnumerateArray(), party =>
        {
            Assert.False(party.GetProperty("privacy").GetProperty("secureNoise").GetBoolean());
            Assert.Equal([Notice], party.GetProperty("privacy").GetProperty("claims").EnumerateArray().Select(c => c.GetString()));
        });

        string page = File.ReadAllText(scene.At("out/report.html"));
        Assert.Equal(Notice, TextOf(page)[..Notice.Length]);
        Assert.StartsWith(Notice, TextOf(page[page.IndexOf("<body>", StringComparison.Ordinal)..]), StringComparison.Ordinal);
        AssertSelfContained(page);
        Assert.Contains("Z&#252;rich &lt;script&gt;", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Output_SecureNoise_HasNoNotice()
    {
        using var scene = new Scene();
        (JsonElement report, ToolRun run) = await TrainAsync(scene.Job(Scene.Private()), "--html", scene.At("report.html"));
        Assert.False(report.TryGetProperty("notice", out _));
        Assert.DoesNotContain("NOT PRIVATE", run.Output + run.Error + File.ReadAllText(scene.At("report.html")), StringComparison.Ordinal);
        // The claim is on the terminal and on the page in the words of the report.
        string claim = report.GetProperty("parties")[0].GetProperty("privacy").GetProperty("claims")[0].GetString()!;
        Assert.Contains($"claim: {claim}", run.Error, StringComparison.Ordinal);
        Assert.Contains(claim, TextOf(File.ReadAllText(scene.At("report.html"))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("declared", false)]
    [InlineData("rounded", true)]
    [InlineData("standardize", true)]
    public async Task Claims_OverScalings_AreConditionalWhereConstantsComeFromTheData(string scaling, bool conditional)
    {
        using var scene = new Scene();
        (JsonElement report, _) = await TrainAsync(scene.Job(Scene.Private(("preprocessing.scaling", scaling))));
        int test = report.GetProperty("rows").GetProperty("test").GetInt32();
        Assert.True(test > 0);
        foreach (JsonElement party in report.GetProperty("parties").EnumerateArray())
        {
            string claim = Assert.Single(party.GetProperty("privacy").GetProperty("claims").EnumerateArray()).GetString()!;
            Assert.StartsWith($"training messages only; scores disclosed for {test} evaluation rows are outside this claim: ", claim, StringComparison.Ordinal);
            Assert.Contains($"all messages of '{party.GetProperty("name").GetString()}' together are (1, 0.001)-differentially private", claim, StringComparison.Ordinal);
            Assert.Equal(conditional, claim.EndsWith("conditional on scaling constants taken from the data", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData(10, 0.01, true)]
    [InlineData(0.5, 0.001, false)]
    public async Task Claims_PaperCalibration_WarnAndClaimTheDeltaThatIsReached(double epsilon, double delta, bool above)
    {
        using var scene = new Scene();
        (JsonElement report, ToolRun run) = await TrainAsync(scene.Job(Scene.Private(("privacy.calibration", "paper"), ("privacy.epsilon", epsilon), ("privacy.delta", delta))), "--html", scene.At("report.html"));
        foreach (JsonElement party in report.GetProperty("parties").EnumerateArray())
        {
            JsonElement privacy = party.GetProperty("privacy");
            double actual = privacy.GetProperty("actualDelta").GetDouble();
            Assert.Equal(above, actual > delta);
            string claimed = Math.Max(actual, delta).ToString("R", CultureInfo.InvariantCulture);
            Assert.Contains($"({epsilon.ToString("R", CultureInfo.InvariantCulture)}, {claimed})-differentially private", privacy.GetProperty("claims")[0].GetString()!, StringComparison.Ordinal);
            Assert.Contains(privacy.GetProperty("warnings").EnumerateArray(), w => w.GetString()!.Contains("paper", StringComparison.Ordinal));
            // The number beside the claim is the claim's, wherever it is shown.
            Assert.Equal((Math.Max(actual, delta), delta), (privacy.GetProperty("delta").GetDouble(), privacy.GetProperty("deltaAsked").GetDouble()));
        }

        string worst = report.GetProperty("parties").EnumerateArray().Max(p => p.GetProperty("privacy").GetProperty("delta").GetDouble()).ToString("G4", CultureInfo.InvariantCulture);
        Assert.Matches($@"\|\s*{epsilon.ToString("G4", CultureInfo.InvariantCulture)}\s*\|\s*{worst}\s*\|", run.Error);
        string page = File.ReadAllText(scene.At("report.html"));
        Assert.Contains($"delta {worst}, per party", TextOf(page), StringComparison.Ordinal);
        Assert.Contains("warning: ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ReportVerb_TwoTrainings_StandSideBySide()
    {
        using var scene = new Scene();
        await TrainAsync(scene.Job(("name", "plain <b>")), "--report", scene.At("plain.json"));
        await TrainAsync(scene.Job(Scene.Private(("name", "private"), ("privacy.testNoiseSeed", 5))), "--report", scene.At("private.json"));
        ToolRun run = await ToolRun.Of("report", scene.At("plain.json"), scene.At("private.json"), "--json", "--report", scene.At("both.json"), "--html", scene.At("both.html"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(File.ReadAllText(scene.At("both.json")), run.Output);
        JsonObject document = JsonNode.Parse(run.Output)!.AsObject();
        Assert.Equal(["notice", "summary", "warnings", "files", "reports"], document.Select(p => p.Key));
        Assert.Equal([File.ReadAllText(scene.At("plain.json")), File.ReadAllText(scene.At("private.json"))], document["reports"]!.AsArray().Select(r => Output.ReportWriter.Text(r!.AsObject())));

        Assert.StartsWith(Notice, run.Error, StringComparison.Ordinal);
        string[] lines = run.Error.Split('\n');
        foreach (JsonObject training in document["reports"]!.AsArray().Select(r => r!.AsObject()))
        {
            string row = Assert.Single(lines, l => l.Contains($"| {(string)training["job"]!["name"]!} ", StringComparison.Ordinal));
            Assert.Contains(((double)training["metrics"]!["test"]!["auc"]!).ToString("0.0000", CultureInfo.InvariantCulture), row, StringComparison.Ordinal);
        }

        Assert.Contains("no column and no weight left its party", (string)document["summary"]!, StringComparison.Ordinal);
        // The row itself says it, and what the epsilon would have been about.
        string seeded = Assert.Single(lines, l => l.Contains("| private.json ", StringComparison.Ordinal));
        Assert.All((string[])["NOT PRIVATE", "hdp-vfl", "record, replace-one", "AUC 0."], text => Assert.Contains(text, seeded, StringComparison.Ordinal));
        string page = File.ReadAllText(scene.At("both.html"));
        Assert.StartsWith(Notice, TextOf(page), StringComparison.Ordinal);
        AssertSelfContained(page);
        Assert.Contains("plain &lt;b&gt;", page, StringComparison.Ordinal);
        Assert.DoesNotContain("plain <b>", page, StringComparison.Ordinal);
    }

    private static async Task<(string Summary, string[] Lines, string Error)> ReportAsync(params string[] files)
    {
        ToolRun run = await ToolRun.Of(["report", .. files, "--json"]);
        Assert.True(run.ExitCode == 0, run.Error);
        return ((string)JsonNode.Parse(run.Output)!["summary"]!, run.Error.Split('\n'), run.Error);
    }

    /// <summary>Of the parties the largest epsilon with the larger delta, and the bytes of all.</summary>
    [Fact]
    public async Task ReportVerb_MadeUpReports_AreRowsOfTheirFigures()
    {
        using var scene = new Scene();
        JsonObject Full(string name, params (string Path, JsonNode? Value)[] changes) => Scene.Changed(Browser.Tests.Reports.Full(name), changes);
        scene.Write("plain.json", Browser.Tests.Reports.Plain().ToJsonString());
        scene.Write("one.json", Full("one", ("parties.2.privacy.delta", .001)).ToJsonString());
        scene.Write("three.json", Full("three", ("parties.1.privacy.epsilon", 3), ("timing.trainingSeconds", 1)).ToJsonString());
        scene.Write("seeded.json", Full("seeded", ("parties.1.privacy.secureNoise", false)).ToJsonString());
        ToolRun run = await ToolRun.Of("report", scene.At("plain.json"), scene.At("one.json"), scene.At("three.json"), scene.At("seeded.json"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(
        [
            "report | job | AUC | log-loss | active alone | mode | unit | epsilon | delta | seconds | bytes",
            "plain.json | plain | 0.6669 | 0.4670 | - | none | - | none | - | 2.1000 | 62.2 MB",
            "one.json | one | 0.7431 | 0.4670 | AUC 0.6514 | hdp-vfl | record, replace-one | 1 | 0.001 | 2.1000 | 102.3 MB",
            "three.json | three | 0.7431 | 0.4670 | AUC 0.6514 | hdp-vfl | record, replace-one | 3 | 1E-05 | 1.0000 | 102.3 MB",
            "seeded.json | seeded | 0.7431 | 0.4670 | AUC 0.6514 | hdp-vfl | record, replace-one | NOT PRIVATE | - | 2.1000 | 102.3 MB",
        ], run.Error.ReplaceLineEndings("\n").Split('\n').Where(l => l.StartsWith("| ", StringComparison.Ordinal)).Select(l => Regex.Replace(l, @"\s+", " ").Trim(' ', '|')));
        Assert.Contains("Test AUC with 'plain' is 0.6669, with 'one' +0.0762, with 'three' +0.0762, with 'seeded' +0.0762", run.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ReportVerb_ColumnsAndWeightsWereSent_DoesNotClaimThatNoneLeft()
    {
        using var scene = new Scene();
        await TrainAsync(scene.Job(("training.optimizer", "irls")), "--report", scene.At("irls.json"));
        (string summary, _, _) = await ReportAsync(scene.At("irls.json"));
        Assert.Contains("mixed columns: mode none", summary, StringComparison.Ordinal);
        Assert.DoesNotContain("no column and no weight", summary, StringComparison.Ordinal);
    }

    /// <summary>What messages tell of is a part of the report, and does not follow from their names.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(null, false)]
    [InlineData(false, true)]
    public async Task ReportVerb_ReleaseOfAnyName_IsReadByWhatItTells(bool? columnsOrWeights, bool claims)
    {
        using var scene = new Scene();
        await TrainAsync(scene.Job(Scene.Sgd()), "--report", scene.At("sgd.json"));
        JsonObject document = JsonNode.Parse(File.ReadAllText(scene.At("sgd.json")))!.AsObject();
        JsonObject release = document["parties"]![0]!["releases"]![0]!.AsObject();
        Assert.False((bool)release["columnsOrWeights"]!);
        release["name"] = columnsOrWeights == false ? "updates of column weights" : "numbers";
        release["columnsOrWeights"] = columnsOrWeights;
        if (columnsOrWeights is null)
            release.Remove("columnsOrWeights");
        scene.Write("sgd.json", document.ToJsonString());
        Assert.Equal(claims, (await ReportAsync(scene.At("sgd.json"))).Summary.Contains("no column and no weight left its party", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ReportVerb_EpsilonsOfSeveralKinds_StandWithWhatTheyAreAbout()
    {
        using var scene = new Scene();
        await TrainAsync(scene.Job(Scene.Private()), "--report", scene.At("record.json"));
        await TrainAsync(scene.Job(Scene.Private(("privacy.adjacency", "zero-out"))), "--report", scene.At("zero.json"));
        await TrainAsync(scene.Job(Scene.Private(("privacy.evaluation", "none"))), "--report", scene.At("none.json"));
        (string summary, string[] lines, string error) = await ReportAsync(scene.At("none.json"), scene.At("record.json"), scene.At("zero.json"));
        Assert.Contains("record, replace-one", Assert.Single(lines, l => l.Contains("| record.json ", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("record, zero-out", Assert.Single(lines, l => l.Contains("| zero.json ", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Contains("warning: epsilons of different modes, units, adjacencies", error, StringComparison.Ordinal);
        Assert.Contains(summary, error.ReplaceLineEndings(""), StringComparison.Ordinal);
        Assert.DoesNotContain(" deviance ", error, StringComparison.Ordinal); // twice the log-loss
        ToolRun several = await ToolRun.Of("report", scene.At("record.json"), scene.At("zero.json"), "--json", "--html", scene.At("several.html"));
        string warning = (string)Assert.Single(JsonNode.Parse(several.Output)!["warnings"]!.AsArray())!;
        Assert.StartsWith("epsilons of different modes", warning, StringComparison.Ordinal);
        Assert.Contains($"Warning: {warning}.", TextOf(File.ReadAllText(scene.At("several.html"))), StringComparison.Ordinal);
        // The active party's own figure is the same in all three, by the same metric, whether the job itself was measured or not.
        double alone = (double)JsonNode.Parse(File.ReadAllText(scene.At("none.json")))!["metrics"]!["guestOnly"]!["test"]!["auc"]!;
        Assert.All((string[])["none", "record", "zero"], name => Assert.Contains($"AUC {alone.ToString("0.0000", CultureInfo.InvariantCulture)}",
            Assert.Single(lines, l => l.Contains($"| {name}.json ", StringComparison.Ordinal)), StringComparison.Ordinal));
        // Equal names are told apart by file, and what was not measured has no gain.
        Assert.StartsWith("Test AUC with 'scene' (none.json) is unknown, with 'scene' (record.json) unknown", summary, StringComparison.Ordinal);
        Assert.DoesNotContain("epsilons of different", (await ReportAsync(scene.At("none.json"), scene.At("record.json"))).Error, StringComparison.Ordinal);
        // Parties of one job may differ in delta: the row shows the weaker one, and there is nothing to compare.
        await TrainAsync(scene.Job(Scene.Private(("privacy.mode", "one-round"))), "--report", scene.At("round.json"));
        Assert.DoesNotContain("epsilons of different", (await ReportAsync(scene.At("round.json"))).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ReportVerb_OtherFamilyOrOtherRows_IsNotComparable()
    {
        using var scene = new Scene();
        await TrainAsync(scene.Job(("name", "gaussian"), ("model.family", "gaussian")), "--report", scene.At("gaussian.json"));
        await TrainAsync(scene.Job(("name", "poisson"), ("model.family", "poisson")), "--report", scene.At("poisson.json"));
        await TrainAsync(scene.Job(("name", "half"), ("model.family", "gaussian"), ("evaluation.split.mod", 2)), "--report", scene.At("half.json"));
        await TrainAsync(scene.Job(("name", "ridge"), ("model.family", "gaussian"), ("model.l2", 1)), "--report", scene.At("ridge.json"));
        (string summary, _, _) = await ReportAsync(scene.At("gaussian.json"), scene.At("poisson.json"), scene.At("half.json"), scene.At("ridge.json"));
        Assert.Contains("with 'poisson' not comparable: another family, with 'half' not comparable: other test rows, with 'ridge' +0.", summary, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("not JSON")]
    [InlineData("[]")]
    [InlineData("""{ "job": {}, "metrics": {}, "parties": [] }""")]
    [InlineData("""{ "job": { "name": 5 }, "metrics": { "test": [] }, "parties": [{}] }""")]
    [InlineData(null)]
    public async Task ReportVerb_NoReport_IsRefused(string? text)
    {
        using var scene = new Scene();
        if (text is not null)
            scene.Write("report.txt", text);
        ToolRun run = await ToolRun.Of("report", scene.At("report.txt"), "--json", "--html", scene.At("page.html"));
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains(CliErrors.NoReport, run.Error, StringComparison.Ordinal);
        Assert.Equal(text is null, run.Error.Contains("no such file", StringComparison.Ordinal));
        Assert.False(File.Exists(scene.At("page.html")));
    }

    [Theory]
    [InlineData(0.0, "0.0000")]
    [InlineData(0.6124, "0.6124")]
    [InlineData(0.00005, "0.0001")]
    [InlineData(-0.0000123456, "-1.2346e-5")]
    [InlineData(9999999.0, "9999999.0000")]
    [InlineData(5.493992761195663e131, "5.4940e+131")]
    public void Number_OfAnySize_ShowsDigitsThatMean(double value, string shown) => Assert.Equal(shown, Output.ReportWriter.Number(value));

    /// <summary>The page forbids itself to load anything, and asks for nothing outside its scripts, which a browser runs in FedLearn.Browser.Tests.</summary>
    private static void AssertSelfContained(string page)
    {
        Assert.Contains("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-", page, StringComparison.Ordinal);
        foreach (string load in (string[])["http:", "https:", "://", "<link", "<img", "<iframe", " src=", "url(", "@import", "onload"])
            Assert.DoesNotContain(load, Markup(page), StringComparison.OrdinalIgnoreCase);
        // The reports, the library and the script that draws.
        Assert.Equal(3, page.Split("<script").Length - 1);
        Assert.Equal(3, page.Split("</script>").Length - 1);
    }

    private static string Markup(string page) => Regex.Replace(page, "<script[^>]*>.*?</script>", "", RegexOptions.Singleline);

    /// <summary>What a reader sees of a page, in the order of the page.</summary>
    private static string TextOf(string page)
    {
        page = Markup(page);
        var text = new StringBuilder();
        for (int i = 0; i < page.Length;)
        {
            int open = page.IndexOf('<', i);
            if (open < 0)
                break;
            text.Append(page, i, open - i);
            bool style = page.AsSpan(open).StartsWith("<style");
            i = style ? page.IndexOf("</style>", open, StringComparison.Ordinal) + "</style>".Length : page.IndexOf('>', open) + 1;
        }

        return System.Net.WebUtility.HtmlDecode(text.ToString()).Trim();
    }
}
