using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Privacy;

namespace FedLearn.Cli.Tests.Commands;

public sealed class PrivacyPlanCommandTests : IDisposable
{
    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    private async Task<(JsonElement Document, string Error)> Plan(string job, params string[] options)
    {
        ToolRun run = await ToolRun.Of(["privacy", "plan", "--config", job, "--json", .. options]);
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Empty(_scene.Results);
        return (JsonDocument.Parse(run.Output).RootElement, run.Error);
    }

    private static double Sigma(JsonElement party, string calibration, string key = "sigmaCharged") =>
        party.GetProperty("calibrations").GetProperty(calibration).GetProperty(key).GetDouble();

    // At a large epsilon the published formula has the least noise, since it does not keep the delta.
    [Fact]
    public async Task Plan_PaperThatBreaksTheBudget_IsNotTheBest()
    {
        (JsonElement plan, _) = await Plan(_scene.Job(Scene.Private(("privacy.epsilon", 10), ("privacy.delta", 0.01), ("training.stepSize", 0.001))), "--rows", "200");
        JsonElement telco = plan.GetProperty("parties")[1];
        Assert.Equal("paper", new[] { "tight", "paper", "weight-noise" }.MinBy(word => Sigma(telco, word, "noiseInGradients")));
        Assert.True(Sigma(telco, "paper", "actualDelta") > 0.01);
        Assert.NotEqual("paper", telco.GetProperty("best").GetString());
    }

    [Fact]
    public async Task Plan_SplitFilesOfItsOwnAtEachParty_CountsTheFewerTrainingRows()
    {
        string[] Lines(int part) => ["id,split", .. Enumerable.Range(0, 240).Select(i => $"c_{i:0000},{(i % part == 0 ? "test" : "train")}")];
        _scene.Write("bank.split.csv", Lines(4));
        _scene.Write("telco.split.csv", Lines(3));
        string job = _scene.Job(Scene.Private(("evaluation", null), ("parties.0.split", JsonNode.Parse("""{ "path": "bank.split.csv" }""")), ("parties.1.split", JsonNode.Parse("""{ "path": "telco.split.csv" }"""))));
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", job, "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(160, JsonDocument.Parse(run.Output).RootElement.GetProperty("rows").GetInt32());
    }

    [Fact]
    public async Task Plan_Line_IsInBytesAndMeansMachinesOfTheirOwn()
    {
        async Task<(double Latency, double? Bytes, string Machines)> Of(params string[] options)
        {
            JsonElement cost = (await Plan(_scene.Job(Scene.Private()), ["--rows", "200", .. options])).Document.GetProperty("cost"), link = cost.GetProperty("link"), bytes = link.GetProperty("bytesPerSecond");
            return (link.GetProperty("latencySeconds").GetDouble(), bytes.ValueKind == JsonValueKind.Null ? null : bytes.GetDouble(), cost.GetProperty("machines").GetString()!);
        }

        Assert.Equal((0, null, "one"), await Of());
        Assert.Equal((0, 12.5e6, "each"), await Of("--bandwidth", "100Mbit/s"));
        Assert.Equal((0.02, null, "each"), await Of("--latency", "20ms"));
        Assert.Equal((0.02, null, "one"), await Of("--latency", "20ms", "--machines", "one"));
    }

    [Fact]
    public async Task Plan_WeightNoiseJob_HasTheJobsOwnShareToo()
    {
        (JsonElement plan, _) = await Plan(_scene.Job(Scene.Private(("privacy.calibration", "weight-noise"), ("privacy.share", 0.3))), "--rows", "200");
        foreach (JsonElement party in plan.GetProperty("parties").EnumerateArray())
        {
            JsonElement job = party.GetProperty("job");
            Assert.Equal(("weight-noise", 0.3), (job.GetProperty("calibration").GetString(), job.GetProperty("share").GetDouble()));
            double best = party.GetProperty("calibrations").GetProperty("weight-noise").GetProperty("share").GetDouble();
            // sigma^2 share is what one share and another have in common.
            Assert.Equal(Sigma(party, "weight-noise") * Math.Sqrt(best), job.GetProperty("sigmaCharged").GetDouble() * Math.Sqrt(0.3), 1e-4);
        }
    }

    [Fact]
    public async Task Plan_GivenRows_AgreesWithTheCalibration()
    {
        (JsonElement plan, string error) = await Plan(_scene.Job(Scene.Private()), "--rows", "200");
        Assert.DoesNotContain("estimate", error, StringComparison.Ordinal);
        Assert.Equal((200, false), (plan.GetProperty("rows").GetInt32(), plan.GetProperty("rowsAreAnEstimate").GetBoolean()));
        JsonNode job = JsonNode.Parse(File.ReadAllText(_scene.At("job.json")))!;
        var parameters = new HdpVflParameters
        {
            Family = GlmFamilyKind.Binomial,
            Rows = 200,
            Batches = plan.GetProperty("batches").GetInt32(),
            Epochs = plan.GetProperty("epochs").GetInt32(),
            StepSize = (double)job["training"]!["stepSize"]!,
            L2 = (double)job["model"]!["l2"]!,
            WeightNorm = (double)job["training"]!["weightNorm"]!,
            ResidualClip = (double)job["training"]!["residualClip"]!,
            MaxColumns = 3, // two fields and the constant
        };
        double epsilon = (double)job["privacy"]!["epsilon"]!, delta = (double)job["privacy"]!["delta"]!;
        foreach (JsonElement party in plan.GetProperty("parties").EnumerateArray())
        {
            PartySide side = party.GetProperty("role").GetString() == "active" ? PartySide.Active : PartySide.Passive;
            Assert.Equal(3, party.GetProperty("columns").GetInt32());
            Assert.Equal(GaussianDp.Mu(epsilon, delta), party.GetProperty("mu").GetDouble());
            foreach ((string word, Calibration calibration) in new[] { ("tight", Calibration.Tight), ("paper", Calibration.Paper), ("weight-noise", Calibration.WeightNoise) })
            {
                double share = calibration == Calibration.WeightNoise ? WeightNoiseShare.Best(parameters, side, 3) : 0.5;
                PartyCalibration expected = HdpVflCalibration.Calibrate(parameters, new HdpVflNoise(calibration) { Share = share }, side, epsilon, delta);
                Assert.Equal((expected.SigmaCharged, expected.OwnTerm, expected.DriftTerm), (Sigma(party, word), Sigma(party, word, "ownTerm"), Sigma(party, word, "driftTerm")));
            }

            // The best by the stated criterion, and every what-if against its own calibration.
            Assert.Equal(new[] { "tight", "paper", "weight-noise" }.MinBy(word => Sigma(party, word, "noiseInGradients")), party.GetProperty("best").GetString());
            foreach (JsonElement change in party.GetProperty("whatIf").EnumerateArray())
            {
                double value = change.GetProperty("value").GetDouble();
                HdpVflParameters changed = change.GetProperty("change").GetString() switch
                {
                    "epochs" => parameters with { Epochs = (int)value },
                    "batches" => parameters with { Batches = (int)value },
                    "stepSize" => parameters with { StepSize = value },
                    _ => parameters with { WeightNorm = value },
                };
                double share = WeightNoiseShare.Best(changed, side, 3);
                Assert.Equal(HdpVflCalibration.Calibrate(changed, new HdpVflNoise(Calibration.WeightNoise) { Share = share }, side, epsilon, delta).GradientSigmaCharged, change.GetProperty("gradientSigma").GetDouble());
                if (change.GetProperty("tight").ValueKind == JsonValueKind.Number)
                    Assert.Equal(HdpVflCalibration.Calibrate(changed, Calibration.Tight, side, epsilon, delta).SigmaCharged, change.GetProperty("tight").GetDouble());
            }
        }
    }

    [Fact]
    public async Task Plan_HashSplit_EstimatesFromTheShortestTableAndSaysSo()
    {
        (JsonElement plan, string error) = await Plan(_scene.Job(Scene.Private()));
        // 245 rows at the bank and 247 at the telephone company, of which the split keeps four in five.
        Assert.Equal((196, true), (plan.GetProperty("rows").GetInt32(), plan.GetProperty("rowsAreAnEstimate").GetBoolean()));
        Assert.Contains("196 training rows are an estimate, and most likely too many: the rows of the shortest table, times the part that the split trains on.", error, StringComparison.Ordinal);
        Assert.Contains(await Lines(_scene.At("job.json")), l => l.Contains("for 49 test rows, the average of a split by hash,", StringComparison.Ordinal));
        Assert.Contains(await Lines(_scene.At("job.json"), "--rows", "199"), l => l.Contains("for 50 test rows, the average", StringComparison.Ordinal));
        Assert.Contains("245 training rows are an estimate, and most likely too many: the rows of the shortest table. Fewer rows", (await Plan(_scene.Job(Scene.Private(("evaluation", null))))).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_NoSchema_CountsFeaturesAlone()
    {
        _scene.Write("bank.csv", "id,y,age,w,income,o,t", "c_0,1,0.5,1,0.5,0,1");
        _scene.Write("telco.svm", ["# sparse rows", .. Enumerable.Range(0, 101).Select(i => $"0 {(i == 50 ? "7:0.5" : "2:0.5")}"), ""]);
        string job = _scene.Job(Scene.Private(("parties.0.data", JsonNode.Parse("""{ "path": "bank.csv", "id": "id", "label": "y", "weight": "w", "offset": "o", "exposure": "t" }""")),
            ("parties.1.data", JsonNode.Parse("""{ "path": "telco.svm", "ids": "telco.ids" }""")), ("preprocessing", JsonNode.Parse("""{ "scaling": "none", "rows": "clip", "constant": false }""")),
            ("model.intercept", false), ("training.offsetBound", 1), ("training.sampleWeightBound", 1)));
        JsonElement plan = JsonDocument.Parse((await ToolRun.Of("privacy", "plan", "--config", job, "--rows", "200", "--json")).Output).RootElement;
        Assert.Equal([2, 7], plan.GetProperty("parties").EnumerateArray().Select(p => p.GetProperty("columns").GetInt32()));
        Assert.DoesNotContain(await Lines(job, "--rows", "200"), l => l.StartsWith("note: ", StringComparison.Ordinal));
    }

    /// <summary>A free intercept is a weight of the active party's, and a schema that is here says how many columns there are.</summary>
    [Fact]
    public async Task Plan_FreeInterceptAndASchemaAlone_CountsThem()
    {
        (string, JsonNode?)[] free = [("model.intercept", "free"), ("training.stepSize", 0.1)];
        string job = _scene.Job(Scene.Private([.. free, ("parties.1.data.path", "gone.csv")]));
        (JsonElement plan, string error) = await Plan(job, "--rows", "200");
        Assert.Equal([4, 3], plan.GetProperty("parties").EnumerateArray().Select(p => p.GetProperty("columns").GetInt32()));
        Assert.DoesNotContain("table and schema are not here", string.Join('\n', await Lines(job, "--rows", "200")), StringComparison.Ordinal);
        job = _scene.Job(Scene.Private([.. free, ("preprocessing.scaling", "none"), ("parties.1.data", JsonNode.Parse("""{ "path": "gone.csv", "id": "id" }"""))]));
        Assert.Contains(await Lines(job, "--rows", "200"), l => l.StartsWith("note: telco's table and schema are not here: it is taken to have one column.", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Plan_BoundsBelowTheLabels_IsWarnedOf()
    {
        (string, JsonNode?)[] gaussian = [("model.family", "gaussian"), ("training.stepSize", 0.1), ("parties.0.data.labelRange", JsonNode.Parse("[0, 400]"))];
        JsonElement document = (await Plan(_scene.Job(Scene.Private(gaussian)), "--rows", "200")).Document;
        Assert.Contains(document.GetProperty("warnings").EnumerateArray(), w => w.GetString()!.Contains("data.labelRange goes to 400: without any noise the model cannot reach such labels", StringComparison.Ordinal));
    }

    /// <summary>What is printed of the noise is what the document has, in the order of the heads.</summary>
    [Theory]
    [InlineData("tight", "charged", 1)]
    [InlineData("weight-noise", "disclosed", 8)]
    public async Task Plan_NoiseForPeople_IsThatOfTheDocument(string calibration, string evaluation, double epsilon)
    {
        string job = _scene.Job(Scene.Private(("privacy.calibration", calibration), ("privacy.evaluation", evaluation), ("privacy.epsilon", epsilon), ("training.residualClip", 2)));
        JsonElement document = (await Plan(job, "--rows", "200")).Document;
        string[] lines = await Lines(job, "--rows", "200");
        static string Five(JsonElement of, string key) => of.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble().ToString("G5", System.Globalization.CultureInfo.InvariantCulture) : "-";
        foreach (JsonElement party in document.GetProperty("parties").EnumerateArray())
        {
            string[] own = [.. lines.SkipWhile(l => !l.StartsWith($"{party.GetProperty("name").GetString()} (", StringComparison.Ordinal)).TakeWhile(l => l.Length > 0)];
            (string Word, JsonElement Noise)[] rows = [.. party.GetProperty("calibrations").EnumerateObject().Select(c => (c.Name, c.Value)), ("this job", party.GetProperty("job"))];
            foreach ((string word, JsonElement noise) in rows)
            {
                string line = Assert.Single(own, l => l.StartsWith($"  {word} ", StringComparison.Ordinal));
                Assert.Equal(noise.TryGetProperty("refused", out JsonElement refused) ? ["refused:", $"{refused.GetString()},", "see", $"docs/errors/{refused.GetString()}.md"]
                    : ((string[])["sigmaCharged", "ownTerm", "driftTerm", "share", "gradientSigmaCharged", "noiseInGradients"]).Select(key => Five(noise, key)), Words(line[20..]));
            }

            double delta = party.GetProperty("delta").GetDouble();
            Assert.Equal(rows.Count(r => r.Noise.TryGetProperty("actualDelta", out JsonElement actual) && actual.GetDouble() > delta), own.Count(l => l.Contains("reaches delta", StringComparison.Ordinal)));
            string final = Five(party.GetProperty("job"), "evaluationSigma");
            Assert.Equal(final == "-" ? [] : [$"  final weights, evaluation charged: sigma {final}"], own.Where(l => l.StartsWith("  final weights", StringComparison.Ordinal)));
            foreach (JsonElement change in party.GetProperty("whatIf").EnumerateArray())
            {
                string line = Assert.Single(own, l => l.StartsWith($"  {change.GetProperty("change").GetString()} {Five(change, "value")} ", StringComparison.Ordinal));
                Assert.Equal(party.GetProperty("calibrations").EnumerateObject().Select(c => Five(change, c.Name)), Words(line[20..]));
            }
        }
    }

    [Fact]
    public async Task Plan_SparseRows_CountsThem()
    {
        _scene.Write("telco.svm", ["# sparse rows", .. Enumerable.Range(0, 101).Select(_ => "0 1:0.5 2:0.5"), ""]);
        string job = _scene.Job(Scene.Private(("parties.1.data", JsonNode.Parse("""{ "path": "telco.svm", "ids": "telco.ids", "schema": "telco.schema.json" }"""))));
        JsonElement plan = JsonDocument.Parse((await ToolRun.Of("privacy", "plan", "--config", job, "--json")).Output).RootElement;
        // Four in five of 101, rounded up; a line less would be 80.
        Assert.Equal(81, plan.GetProperty("rows").GetInt32());
    }

    /// <summary>160 training rows, and ids that no table has: the shortest one, the bank's, has 245 rows.</summary>
    [Theory]
    [InlineData(0, 160, 80, "160 training rows are an estimate, and maybe too many: the training rows of the split file")]
    [InlineData(50, 210, 35, "210 training rows are an estimate, and maybe too many: the training rows of the split file")]
    [InlineData(400, 245, 0, "245 training rows are an estimate, and maybe too many: the rows of the shortest table")]
    public async Task Plan_SplitFile_IsAnEstimateOfNoMoreThanTheShortestTable(int oneSided, int rows, int test, string said)
    {
        _scene.Write("split.csv", ["id,split", .. Enumerable.Range(0, 240).Select(i => $"c_{i:0000},{(i % 3 == 0 ? "test" : "train")}"), .. Enumerable.Range(0, oneSided).Select(i => $"zz{i},train")]);
        string job = _scene.Job(Scene.Private(("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }"""))));
        (JsonElement plan, string error) = await Plan(job);
        Assert.Equal((rows, true), (plan.GetProperty("rows").GetInt32(), plan.GetProperty("rowsAreAnEstimate").GetBoolean()));
        Assert.Contains(said, error, StringComparison.Ordinal);
        Assert.True(plan.GetProperty("cost").GetProperty("outsideIsAnEstimate").GetBoolean());
        Assert.Contains($"for {test} test rows, the most that the split file allows, an estimate", (await ToolRun.Of("privacy", "plan", "--config", job)).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bank.split.csv", "because the split file is not there to count them,", "--rows", "160")]
    [InlineData("split.csv", "160 training rows are an estimate, and maybe too many: the training rows of the split file", "--latency", "0ms")]
    public async Task Plan_FilesThatAreNotThere_LeaveWhatIsKnown(string split, string said, params string[] options)
    {
        _scene.Write(split, ["id,split", .. Enumerable.Range(0, 240).Select(i => $"c_{i:0000},{(i % 3 == 0 ? "test" : "train")}")]);
        ToolRun run = await ToolRun.Of(["privacy", "plan", "--config", _scene.Job(Scene.Private(split == "split.csv" ? [("parties.1.data.path", "gone.csv"), ("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }"""))]
            : [("evaluation", null), ("parties.0.split", JsonNode.Parse("""{ "path": "bank.split.csv" }""")), ("parties.1.split", JsonNode.Parse("""{ "path": "telco.split.csv" }"""))])), .. options]);
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Contains(said, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_ArrayOfRows_CountsThem()
    {
        byte[] header = System.Text.Encoding.ASCII.GetBytes("{'descr': '<f8', 'fortran_order': False, 'shape': (101, 2), }".PadRight(117) + "\n");
        File.WriteAllBytes(_scene.At("telco.npy"), [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. header, .. new byte[101 * 2 * sizeof(double)]]);
        string job = _scene.Job(Scene.Private(("preprocessing.scaling", "none"), ("parties.1.data", JsonNode.Parse("""{ "path": "telco.npy", "ids": "telco.ids" }"""))));
        JsonElement plan = JsonDocument.Parse((await ToolRun.Of("privacy", "plan", "--config", job, "--json")).Output).RootElement;
        // Four in five of 101, rounded up, and the constant beside two columns.
        Assert.Equal((81, 3), (plan.GetProperty("rows").GetInt32(), plan.GetProperty("parties")[1].GetProperty("columns").GetInt32()));
    }

    [Fact]
    public async Task Plan_StepBeyondTheProof_LeavesWeightNoise()
    {
        (JsonElement plan, _) = await Plan(_scene.Job(Scene.Private(("training.stepSize", 20))), "--rows", "200");
        JsonElement active = plan.GetProperty("parties")[0];
        Assert.Equal("FL5000", active.GetProperty("calibrations").GetProperty("tight").GetProperty("refused").GetString());
        Assert.Equal("""{"mode":"hdp-vfl","refused":"FL5000"}""", JsonSerializer.Serialize(plan.GetProperty("cost").GetProperty("modes")[0]));
        Assert.Contains("  hdp-vfl    refused: FL5000, see docs/errors/FL5000.md", await Lines(_scene.At("job.json"), "--rows", "200"));
        Assert.Equal("weight-noise", active.GetProperty("best").GetString());
    }

    [Fact]
    public async Task Plan_UnitLabel_PlansTheActivePartyOnly()
    {
        (JsonElement plan, _) = await Plan(_scene.Job(Scene.Private(("privacy.unit", "label"))), "--rows", "200");
        JsonElement active = plan.GetProperty("parties")[0], passive = plan.GetProperty("parties")[1];
        Assert.Equal("FL5015", active.GetProperty("calibrations").GetProperty("paper").GetProperty("refused").GetString());
        Assert.True(Sigma(active, "tight", "ownRowSlack") > 0);
        Assert.False(passive.TryGetProperty("calibrations", out _));
        // Who noises nothing keeps nothing beside a ledger.
        JsonElement[] parties = [.. plan.GetProperty("cost").GetProperty("modes")[0].GetProperty("parties").EnumerateArray()];
        Assert.True(parties[0].GetProperty("outboxBytes").GetInt64() > 0);
        Assert.Equal(0, parties[1].GetProperty("outboxBytes").GetInt64());
        string outbox = Assert.Single(await Lines(_scene.At("job.json"), "--rows", "200"), l => l.StartsWith("outboxes", StringComparison.Ordinal));
        Assert.Matches("at most bank [0-9.]+ MB$", outbox);
        Assert.Contains("telco (passive): no noise", (await ToolRun.Of("privacy", "plan", "--config", _scene.At("job.json"), "--rows", "200")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_ChargedEvaluation_LeavesTheMessagesLess()
    {
        JsonElement free = (await Plan(_scene.Job(Scene.Private()), "--rows", "200")).Document.GetProperty("parties")[1];
        JsonElement charged = (await Plan(_scene.Job(Scene.Private(("privacy.evaluation", "charged"))), "--rows", "200")).Document.GetProperty("parties")[1];
        Assert.True(Sigma(charged, "tight") > Sigma(free, "tight"));
        Assert.True(Sigma(charged, "tight", "evaluationSigma") > 0);
        Assert.False(free.TryGetProperty("warnings", out _));
        Assert.EndsWith("whose claim leaves scores out", Assert.Single(charged.GetProperty("warnings").EnumerateArray()).GetString(), StringComparison.Ordinal);
        Assert.Equal(Sigma(free, "weight-noise"), Sigma(charged, "weight-noise"));
        Assert.Equal("FL5015", charged.GetProperty("calibrations").GetProperty("paper").GetProperty("refused").GetString());
    }

    [Fact]
    public async Task Plan_WithoutJson_PrintsATableOfEveryParty()
    {
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Private()), "--rows", "200");
        Assert.Equal((0, ""), (run.ExitCode, run.Output));
        foreach (string part in new[] { "bank (active)", "telco (passive)", "own term", "drift term", "weight-noise", "epochs", "batches", "stepSize", "weightNorm", "best:" })
            Assert.Contains(part, run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.01, true)]
    [InlineData(1, false)]
    public async Task Plan_ShortSteps_IsWarnedOf(double stepSize, bool warned)
    {
        JsonElement document = (await Plan(_scene.Job(Scene.Private(("training.stepSize", stepSize))), "--rows", "200")).Document;
        Assert.Equal(warned, document.TryGetProperty("warnings", out JsonElement warnings) && warnings.EnumerateArray().Any(w => w.GetString()!.StartsWith("training.stepSize 0.01 is short for 10 steps", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("hdp-vfl")]
    [InlineData("one-round")]
    public async Task Plan_TestNoise_SaysFirstThatItIsNotPrivate(string mode)
    {
        string job = _scene.Job(Scene.Private(("privacy.mode", mode), ("privacy.testNoiseSeed", 3)));
        JsonElement document = (await Plan(job, "--rows", "200")).Document;
        Assert.Equal(("notice", "NOT PRIVATE: test noise"), document.EnumerateObject().Select(p => (p.Name, p.Value.GetString())).First());
        Assert.StartsWith("NOT PRIVATE: test noise", (await ToolRun.Of("privacy", "plan", "--config", job)).Error, StringComparison.Ordinal);
        Assert.False((await Plan(_scene.Job(Scene.Private(("privacy.mode", mode))), "--rows", "200")).Document.TryGetProperty("notice", out _));
    }

    [Fact]
    public async Task Plan_MissingTable_AsksForRows()
    {
        string job = _scene.Job(Scene.Private(("parties.1.data.path", "gone.csv")));
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", job, "--json");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("--rows", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL2308)", run.Error, StringComparison.Ordinal);
        Assert.Equal(200, (await Plan(job, "--rows", "200")).Document.GetProperty("rows").GetInt32());
    }

    [Fact]
    public async Task Plan_ModeNone_HasNothingToPlan()
    {
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(), "--rows", "200");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2309)", run.Error, StringComparison.Ordinal);
        Assert.Contains("hdp-vfl", run.Error, StringComparison.Ordinal);
        Assert.Contains("privacy.mode to none and training.optimizer to sgd", run.Error, StringComparison.Ordinal); // of mode he the optimiser alone is no remedy
    }

    [Fact]
    public async Task Plan_Cost_BytesAreThoseOfTheReport()
    {
        string job = _scene.Job(Scene.Private());
        JsonElement cost = (await Plan(job)).Document.GetProperty("cost");
        Assert.Equal(["hdp-vfl", "none"], cost.GetProperty("modes").EnumerateArray().Select(m => m.GetProperty("mode").GetString()));
        foreach (JsonElement mode in cost.GetProperty("modes").EnumerateArray())
        {
            Assert.True(mode.GetProperty("trainingSeconds").GetDouble() > 0);
            Assert.Equal(mode.GetProperty("trainingSeconds").GetDouble(), mode.GetProperty("parts").EnumerateObject().Sum(p => p.Value.GetDouble()), 1e-9);
        }

        // Ten messages of one page, the page before them, and room for one more.
        Assert.Equal([12 * 4096, 12 * 4096, 0, 0], cost.GetProperty("modes").EnumerateArray().SelectMany(m => m.GetProperty("parties").EnumerateArray()).Select(p => p.GetProperty("outboxBytes").GetInt64()));
        ToolRun run = await ToolRun.Of("train", "--config", job, "--in-process", "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonElement report = JsonDocument.Parse(run.Output).RootElement;
        int train = report.GetProperty("rows").GetProperty("train").GetInt32();
        JsonElement planned = (await Plan(job, "--rows", train.ToString(System.Globalization.CultureInfo.InvariantCulture))).Document.GetProperty("cost").GetProperty("modes")[0];
        foreach ((JsonElement party, JsonElement plan) in report.GetProperty("parties").EnumerateArray().Zip(planned.GetProperty("parties").EnumerateArray()))
            Assert.Equal(party.GetProperty("releases").EnumerateArray().Where(r => r.GetProperty("name").GetString()!.StartsWith("training", StringComparison.Ordinal)).Sum(r => r.GetProperty("bytes").GetInt64()),
                plan.GetProperty("rounds").GetProperty("payloadBytes").GetInt64());
    }

    [Fact]
    public async Task Plan_SplitByHash_SaysThatBytesOutsideTheRoundsAreAnAverage()
    {
        string job = _scene.Job(Scene.Private());
        Assert.True((await Plan(job, "--rows", "200")).Document.GetProperty("cost").GetProperty("outsideIsAnEstimate").GetBoolean());
        Assert.Contains("those before and after them for 50 test rows, the average", (await ToolRun.Of("privacy", "plan", "--config", job, "--rows", "200")).Error, StringComparison.Ordinal);
        job = _scene.Job(Scene.Private(("evaluation", null)));
        Assert.False((await Plan(job, "--rows", "200")).Document.GetProperty("cost").GetProperty("outsideIsAnEstimate").GetBoolean());
        Assert.Contains("bytes are exact for these numbers", (await ToolRun.Of("privacy", "plan", "--config", job, "--rows", "200")).Error, StringComparison.Ordinal);
    }

    /// <summary>160 training and 80 test rows: test rows are counted, or in proportion where other rows are planned for.</summary>
    [Theory]
    [InlineData("160", 80, true, "bytes are exact for these numbers of rows and columns, with 80 test rows and tables without other rows")]
    [InlineData("320", 160, false, "for 160 test rows, in the proportion of the split file, which has 160 training and 80 test rows,")]
    [InlineData("160", 0, false, "for 0 test rows, because the split file is not there to count them,")]
    public async Task Plan_SplitByFileAndRows_CountsItsTestRows(string rows, int test, bool exact, string said)
    {
        string job = _scene.Job(Scene.Private(("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }"""))));
        if (test > 0)
            _scene.Write("split.csv", ["id,split", .. Enumerable.Range(0, 240).Select(i => $"c_{i:0000},{(i % 3 == 0 ? "test" : "train")}")]);
        JsonElement cost = (await Plan(job, "--rows", rows)).Document.GetProperty("cost");
        Assert.Equal(!exact, cost.GetProperty("outsideIsAnEstimate").GetBoolean());
        Assert.Contains(said, (await ToolRun.Of("privacy", "plan", "--config", job, "--rows", rows)).Error, StringComparison.Ordinal);
        // Ids and all are ready, counts, and scores of the test rows.
        JsonElement[] parties = [.. cost.GetProperty("modes")[0].GetProperty("parties").EnumerateArray().Select(p => p.GetProperty("outside"))];
        Assert.Equal(test > 0 ? 3 : 2, parties[1].GetProperty("messages").GetInt32());
        if (!exact)
            return;
        // What the run sends beside its rounds; its tables have rows that are not common.
        ToolRun run = await ToolRun.Of("train", "--config", job, "--in-process", "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        long[] sent = [.. JsonDocument.Parse(run.Output).RootElement.GetProperty("parties").EnumerateArray().Select(p => p.GetProperty("releases").EnumerateArray()
            .Where(r => r.GetProperty("name").GetString()!.StartsWith("evaluation", StringComparison.Ordinal)).Sum(r => r.GetProperty("bytes").GetInt64()))];
        Assert.Equal([0, 80 * sizeof(double)], sent);
    }

    [Theory]
    [InlineData("1800000000", "5")]
    [InlineData("1000000000", "1000000000")]
    public async Task Plan_MoreRowsOrBatchesThanCanBe_IsRefused(string rows, string batches)
    {
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Private(("training.epochs", 1), ("training.batchesPerEpoch", JsonNode.Parse(batches)), ("privacy.delta", 1e-12))), "--rows", rows);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("(FL2302)", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Measure_EpochsOrPartsThatDisagree_AreDisturbed()
    {
        double[] even = [1, 1, 1.1, 1.2, 1.2, 1.3, 1.4, 9], uneven = [1, 1, 1.1, 1.2, 1.5, 1.6, 1.7, 1.8];
        Assert.Null(CostMeter.Disturbed(even, tooFast: false));
        Assert.Contains("measure again", CostMeter.Disturbed(uneven, tooFast: false), StringComparison.Ordinal);
        Assert.Contains("measure again", CostMeter.Disturbed(even, tooFast: true), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_Line_AddsItsLatencyToEveryRound()
    {
        string job = _scene.Job(Scene.Private());
        JsonElement none = (await Plan(job, "--rows", "200", "--machines", "each")).Document.GetProperty("cost").GetProperty("modes")[0],
            slow = (await Plan(job, "--rows", "200", "--latency", "20ms", "--bandwidth", "100Mbit/s")).Document.GetProperty("cost").GetProperty("modes")[0];
        double added = slow.GetProperty("parts").GetProperty("line").GetDouble();
        Assert.InRange(added, 0.04 * slow.GetProperty("rounds").GetInt64(), 0.041 * slow.GetProperty("rounds").GetInt64());
        Assert.Equal(0, none.GetProperty("parts").GetProperty("line").GetDouble());
    }

    [Theory]
    [InlineData("--bandwidth", "fast")]
    [InlineData("--bandwidth", "0Mbit/s")]
    [InlineData("--latency", "20")]
    [InlineData("--machines", "some")]
    public async Task Plan_IllegalLine_IsAUsageError(string option, string value) =>
        Assert.Equal((2, ""), await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Private()), "--rows", "200", option, value) is var run ? (run.ExitCode, run.Output) : default);

    [Fact]
    public async Task Plan_ModeNoneWithSgd_PlansSecondsAndBytes()
    {
        string job = _scene.Job(Scene.Private(("privacy.mode", "none")));
        JsonElement plan = (await Plan(job, "--rows", "200")).Document;
        Assert.Equal(("none", 1), (plan.GetProperty("mode").GetString(), plan.GetProperty("cost").GetProperty("modes").GetArrayLength()));
        Assert.Equal((200, 5, 2), (plan.GetProperty("rows").GetInt32(), plan.GetProperty("batches").GetInt32(), plan.GetProperty("epochs").GetInt32()));
        Assert.Contains("none: 200 training rows, epochs 2 x batches 5 = 10 messages a party; no noise", await Lines(job, "--rows", "200"));
    }

    [Fact]
    public async Task Plan_Measure_SaysWhoseRatesTheyAre()
    {
        JsonElement rates = (await Plan(_scene.Job(Scene.Private()), "--rows", "200", "--measure")).Document.GetProperty("cost").GetProperty("rates");
        Assert.StartsWith("measured on this machine", rates.GetProperty("source").GetString(), StringComparison.Ordinal);
        JsonNode shipped = JsonSerializer.SerializeToNode(FedLearn.Glm.GlmCostRates.Reference, JsonSerializerOptions.Web)!;
        Assert.All((string[])["secondsPerMessage", "processorSecondsPerMessage", "secondsPerSync", "secondsPerSyncedByte"], key => Assert.NotEqual((double)shipped[key]!, rates.GetProperty(key).GetDouble()));
        Assert.Empty(_scene.Ledgers); // what it wrote beside them is gone
        Assert.True(rates.GetProperty("secondsPerMessage").GetDouble() > 0 && rates.GetProperty("secondsPerSync").GetDouble() > 0);
    }

    [Theory]
    [InlineData("he", "he: 200 training rows, epochs 10 x batches 1 = 10 rounds; no noise", "in some directions 78 %")]
    [InlineData("he+dp", "he+dp: 200 training rows, epochs 10 x batches 1 = 10 rounds; the noise rests on", "apart, 60 %")]
    public async Task Plan_Encrypted_HasTheRoundsAndWarnsOfShortSteps(string mode, string said, string warned)
    {
        string job = mode == "he" ? _scene.Job(("privacy", JsonNode.Parse("""{ "mode": "he" }""")))
            : _scene.Job(Scene.Private(("privacy.mode", mode), ("training", JsonNode.Parse("""{ "weightNorm": 1, "stepSize": 0.1 }"""))));
        JsonElement document = (await Plan(job, "--rows", "200")).Document;
        Assert.Equal((mode, 200, 1, 10, JsonValueKind.Null), (document.GetProperty("mode").GetString(), document.GetProperty("rows").GetInt32(), document.GetProperty("batches").GetInt32(),
            document.GetProperty("epochs").GetInt32(), document.GetProperty("cost").ValueKind));
        Assert.Contains(warned, Assert.Single(document.GetProperty("warnings").EnumerateArray()).GetString(), StringComparison.Ordinal);
        string[] lines = await Lines(job, "--rows", "200");
        Assert.Contains(lines, line => line.StartsWith(said, StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("warning: training.stepSize 0.1 is short", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Plan_ModeLabelDp_SaysWhyItHasNoPlan()
    {
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Private(("privacy.mode", "label-dp"))), "--rows", "200");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains("label-dp has nothing", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL2309)", run.Error, StringComparison.Ordinal);
    }

    private static async Task<string[]> Lines(string job, params string[] options)
    {
        ToolRun run = await ToolRun.Of(["privacy", "plan", "--config", job, .. options]);
        Assert.True(run.ExitCode == 0, run.Error);
        return run.Error.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n');
    }

    /// <summary>Of a job that adds no noise there is then nothing to plan.</summary>
    [Theory]
    [InlineData("the number of classes, model.classes, is not declared.", "model.family", "\"multinomial\"")]
    [InlineData("early stopping and standard errors send messages whose number or size depends on the data.", "evaluation.inference", "true")]
    [InlineData("the number of iterations of this optimiser depends on the data; seconds and bytes are predicted for training.optimizer sgd.", "training.optimizer", "\"lbfgs\"")]
    public async Task Plan_CostThatIsNotKnown_SaysWhy(string why, string key, string value)
    {
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Sgd(("training.batchesPerEpoch", 1), (key, JsonNode.Parse(value)))), "--rows", "200");
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains($"so that there is none to plan, and {why}", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_OneRound_HasTheLabelsAndThePassiveParty()
    {
        async Task<JsonElement> Of(params (string, JsonNode?)[] changes) => (await Plan(_scene.Job(Scene.Private([("privacy.mode", "one-round"), .. changes])), "--rows", "200")).Document;
        async Task<JsonElement> Calibrated(params string[] options) => JsonDocument.Parse((await ToolRun.Of(["privacy", "one-round", "--rows", "200", "--epsilon", "1", "--delta", "0.001", "--json", .. options])).Output).RootElement.GetProperty("passive");
        static double[] Targets(JsonElement passive) => [.. ((string[])["targetBound", "targetScale"]).Select(key => passive.GetProperty(key).GetDouble())];
        JsonElement plan = await Of(), passive = plan.GetProperty("passive")[0], active = plan.GetProperty("active");
        Assert.Equal(("one-round", 200, true, JsonValueKind.Null), (plan.GetProperty("mode").GetString(), plan.GetProperty("rows").GetInt32(), plan.GetProperty("labelRateAssumed").GetBoolean(), plan.GetProperty("cost").ValueKind));
        Assert.Equal(("bank", 1, 0), (active.GetProperty("party").GetString(), active.GetProperty("epsilon").GetDouble(), active.GetProperty("delta").GetDouble()));
        Assert.Equal(1 / (1 + Math.E), active.GetProperty("flipProbability").GetDouble(), 1e-9);
        Assert.Equal(1, plan.GetProperty("passive").GetArrayLength());
        Assert.Equal(["party", "epsilon", "delta", "mu"], passive.EnumerateObject().Take(4).Select(p => p.Name));
        Assert.Equal(("telco", 1, .001, GaussianDp.Mu(1, .001)), (passive.GetProperty("party").GetString(), passive.GetProperty("epsilon").GetDouble(), passive.GetProperty("delta").GetDouble(), passive.GetProperty("mu").GetDouble()));
        Assert.Equal(Targets(await Calibrated()), Targets(passive));
        Assert.False(passive.TryGetProperty("evaluationSigma", out _));
        string[] lines = await Lines(_scene.At("job.json"), "--rows", "200");
        Assert.All((string[])["bank, epsilon 1, delta 0, flipProbability 0.268941", "telco, epsilon 1, delta 0.001, mu ", "The centre of the label is assumed", "cost: seconds and bytes are predicted for the modes none and hdp-vfl."], said => Assert.Single(lines, l => l.StartsWith(said, StringComparison.Ordinal)));

        plan = await Of(("privacy.oneRound.labelRate", .3), ("privacy.evaluation", "charged"));
        Assert.False(plan.GetProperty("labelRateAssumed").GetBoolean());
        Assert.Equal(Targets(await Calibrated("--label-rate", "0.3")), Targets(plan.GetProperty("passive")[0]));
        Assert.True(plan.GetProperty("passive")[0].GetProperty("evaluationSigma").GetDouble() > 0);
        Assert.DoesNotContain(await Lines(_scene.At("job.json"), "--rows", "200"), l => l.StartsWith("The centre of the label", StringComparison.Ordinal));

        (string, JsonNode?)[] range = [("model.family", "gaussian"), ("parties.0.data.labelRange", new JsonArray(0, 10))];
        plan = await Of(range);
        var mechanism = new NoisyTargetMechanism(0, 10, 1, .001);
        active = plan.GetProperty("active");
        Assert.Equal((1, .001, mechanism.Mu, mechanism.Sigma), (active.GetProperty("epsilon").GetDouble(), active.GetProperty("delta").GetDouble(), active.GetProperty("mu").GetDouble(), active.GetProperty("sigmaCharged").GetDouble()));
        Assert.Equal(Targets(await Calibrated("--label-range", "0,10")), Targets(plan.GetProperty("passive")[0]));
        Assert.Equal(Targets(await Calibrated("--label-range", "0,10", "--label-rate", "2")), Targets((await Of([.. range, ("privacy.oneRound.labelRate", 2)])).GetProperty("passive")[0]));
    }

    private static string[] Words(string line) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static string Short(double value) => value.ToString("G4", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>What is printed is what the document has, in the order of the heads.</summary>
    [Fact]
    public async Task Plan_CostForPeople_IsThatOfTheDocument()
    {
        string job = _scene.Job(Scene.Private(("training.checkpointRounds", 2)));
        string[] options = ["--rows", "200", "--bandwidth", "100Mbit/s", "--latency", "20ms"];
        JsonElement cost = (await Plan(job, options)).Document.GetProperty("cost");
        string[] lines = await Lines(job, options);
        int head = Array.FindIndex(lines, l => l.StartsWith("cost of the training rounds", StringComparison.Ordinal));
        Assert.EndsWith("; each party on a machine of its own, a line of 100 Mbit/s and 20 ms one way", lines[head], StringComparison.Ordinal);
        Assert.Equal(["mode", "seconds", "an", "epoch", "kernels", "family", "noise", "sync", "messages", "line", "start", "processor"], Words(lines[head + 1]));
        string[] parts = ["kernels", "family", "noise", "sync", "messages", "line", "start"];
        JsonElement[] modes = [.. cost.GetProperty("modes").EnumerateArray()];
        foreach (JsonElement mode in modes)
        {
            string name = mode.GetProperty("mode").GetString()!;
            double[] figures = [mode.GetProperty("trainingSeconds").GetDouble(), mode.GetProperty("secondsPerEpoch").GetDouble(), .. parts.Select(part => mode.GetProperty("parts").GetProperty(part).GetDouble()), mode.GetProperty("processorSeconds").GetDouble()];
            Assert.Equal([name, .. figures.Select(Short)], Words(Assert.Single(lines, l => Words(l) is [var first, ..] words && first == name && words.Length == 11)));
            Assert.Equal(figures[0] / 2, figures[1], 1e-12);
            Assert.Equal(10, mode.GetProperty("rounds").GetInt64());
            Assert.Contains($"and {Short(mode.GetProperty("outsideSeconds").GetDouble())} s of messages before and after the rounds", string.Join('\n', lines), StringComparison.Ordinal);
            Assert.Equal(name == "none", figures[4] == 0);
            foreach (JsonElement party in mode.GetProperty("parties").EnumerateArray())
            {
                JsonElement rounds = party.GetProperty("rounds"), outside = party.GetProperty("outside");
                Assert.Equal([name, party.GetProperty("name").GetString()!, .. ((string[])["messages", "messageBytes", "frameBytes"]).Select(key => rounds.GetProperty(key).ToString()), outside.GetProperty("frameBytes").ToString()],
                    Words(Assert.Single(lines, l => Words(l) is [var first, var second, ..] words && first == name && second == party.GetProperty("name").GetString() && words.Length == 6)));
                Assert.Equal(10, rounds.GetProperty("messages").GetInt64());
                Assert.Equal(rounds.GetProperty("messages").GetInt64() + outside.GetProperty("messages").GetInt64(), party.GetProperty("messagesSent").GetInt64());
                Assert.Equal(rounds.GetProperty("messageBytes").GetInt64() + outside.GetProperty("messageBytes").GetInt64(), party.GetProperty("bytesSent").GetInt64());
                Assert.True(rounds.GetProperty("frameBytes").GetInt64() > rounds.GetProperty("messageBytes").GetInt64() && rounds.GetProperty("messageBytes").GetInt64() > rounds.GetProperty("payloadBytes").GetInt64());
            }
        }

        long[] outboxes = [.. modes[0].GetProperty("parties").EnumerateArray().Select(p => p.GetProperty("outboxBytes").GetInt64())];
        Assert.Contains($"outboxes beside the ledgers, while the job runs: at most bank {Short(outboxes[0] / 1e6)} MB, telco {Short(outboxes[1] / 1e6)} MB", lines);
        Assert.False(cost.TryGetProperty("note", out JsonElement note) && note.ValueKind != JsonValueKind.Null);
        // In mode none nothing is noised, and no outbox lies beside a ledger.
        Assert.DoesNotContain(await Lines(_scene.Job(Scene.Private(("privacy.mode", "none"))), "--rows", "200"), l => l.StartsWith("outboxes", StringComparison.Ordinal));
        lines = await Lines(job, "--rows", "200");
        Assert.Contains(lines, l => l.EndsWith("; all parties on one machine, no line between them", StringComparison.Ordinal));
        Assert.DoesNotContain(lines, l => l.Contains("before and after the rounds", StringComparison.Ordinal) && l.Contains(" and ", StringComparison.Ordinal) && l.EndsWith("rounds", StringComparison.Ordinal));
        // States that are written more often need fewer messages beside them.
        async Task<long> OutboxAsync(int rounds) => (await Plan(_scene.Job(Scene.Private(("training.epochs", 400), ("training.checkpointRounds", rounds))), "--rows", "200")).Document.GetProperty("cost").GetProperty("modes")[0].GetProperty("parties")[0].GetProperty("outboxBytes").GetInt64();
        Assert.True(await OutboxAsync(2) < await OutboxAsync(200));
    }

    /// <summary>Beside a private job stands the same work in mode none, whatever the private one leaves out; and parties that share a machine share its cores.</summary>
    [Theory]
    [InlineData("disclosed", 5)]
    [InlineData("none", 1)]
    public async Task Plan_SameWorkWithoutPrivacy_IsThatOfAJobInModeNone(string evaluation, int batches)
    {
        _scene.Write("split.csv", ["id,split", .. Enumerable.Range(0, 240).Select(i => $"c_{i:0000},{(i == 7 ? "test" : "train")}")]);
        (string, JsonNode?)[] split = [("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }""")), ("training.batchesPerEpoch", batches)];
        async Task<JsonElement> CostAsync(string machines, string rows, params (string, JsonNode?)[] changes) =>
            (await Plan(_scene.Job(Scene.Private([.. split, .. changes])), "--rows", rows, "--latency", "1ms", "--machines", machines)).Document.GetProperty("cost");
        async Task<double> SecondsAsync(string machines) => (await CostAsync(machines, "133333", ("training.batchesPerEpoch", 5))).GetProperty("modes")[1].GetProperty("trainingSeconds").GetDouble();
        Assert.True(await SecondsAsync("one") > await SecondsAsync("each"));
        JsonElement one = (await CostAsync("one", "239", ("privacy.evaluation", evaluation))).GetProperty("modes")[1];
        JsonElement alone = (await CostAsync("one", "239", ("privacy", JsonNode.Parse("""{ "mode": "none" }""")), ("training.optimizer", "sgd"))).GetProperty("modes")[0];
        Assert.Equal(("none", "none"), (one.GetProperty("mode").GetString(), alone.GetProperty("mode").GetString()));
        Assert.Equal((alone.GetProperty("trainingSeconds").GetDouble(), alone.GetProperty("parties").GetRawText()), (one.GetProperty("trainingSeconds").GetDouble(), one.GetProperty("parties").GetRawText()));
        Assert.Contains(await Lines(_scene.At("job.json"), "--rows", "239"), l => l.StartsWith("bytes are exact for these numbers of rows and columns, with 1 test row and", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("--bandwidth", "1Gbit/s", 1.25e8)]
    [InlineData("--bandwidth", "8 kbit/s", 1000.0)]
    [InlineData("--bandwidth", "64bit/s", 8.0)]
    [InlineData("--bandwidth", "2.5mbit/S", 312500.0)]
    [InlineData("--latency", "250us", 0.00025)]
    [InlineData("--latency", "1.5s", 1.5)]
    public async Task Plan_LineInOtherUnits_IsTheSameLine(string option, string value, double expected)
    {
        JsonElement link = (await Plan(_scene.Job(Scene.Private()), "--rows", "200", option, value)).Document.GetProperty("cost").GetProperty("link");
        Assert.Equal(expected, link.GetProperty(option == "--latency" ? "latencySeconds" : "bytesPerSecond").GetDouble(), 1e-12 * expected);
    }

    /// <summary>One of anything is no plural.</summary>
    [Fact]
    public async Task Plan_OneRow_IsSaidInTheSingular()
    {
        (string, JsonNode?)[] one = [("training.epochs", 1), ("training.batchesPerEpoch", 1), ("privacy.delta", 1e-5)];
        string[] lines = await Lines(_scene.Job(Scene.Private(one)), "--rows", "1");
        Assert.Contains("hdp-vfl: 1 training row, epochs 1 x batches 1 = 1 message a party, batches of 1 row, stepSize 1", lines);
        JsonElement least = (await Plan(_scene.At("job.json"), "--rows", "1")).Document;
        // Neither half an epoch nor half a row.
        Assert.All(least.GetProperty("parties").EnumerateArray(), p => Assert.Equal(["epochs 2", "stepSize 0.5", "stepSize 2", "weightNorm 0.5", "weightNorm 2"],
            p.GetProperty("whatIf").EnumerateArray().Select(c => $"{c.GetProperty("change").GetString()} {c.GetProperty("value")}")));
        lines = await Lines(_scene.Job(Scene.Private([.. one, ("privacy.mode", "none"), ("training.optimizer", "sgd")])), "--rows", "1");
        Assert.Contains("none: 1 training row, epochs 1 x batches 1 = 1 message a party; no noise", lines);
        Assert.Contains("hdp-vfl: 200 training rows, epochs 2 x batches 3 = 6 messages a party, batches of 66 to 67 rows, stepSize 1.996", await Lines(_scene.Job(Scene.Private(("training.batchesPerEpoch", 3), ("training.stepSize", null))), "--rows", "200"));
        Assert.Contains(await Lines(_scene.Job(Scene.Private(one)), "--rows", "4"), l => l.Contains("for 1 test row, the average", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-3")]
    public async Task Plan_IllegalRows_IsAUsageError(string rows)
    {
        ToolRun run = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Private()), "--rows", rows);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
    }
}
