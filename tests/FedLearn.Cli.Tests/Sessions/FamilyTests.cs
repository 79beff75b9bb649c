using System.Globalization;
using System.Text.Json.Nodes;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Families, penalties, weights and offsets from the run file to the predictions.</summary>
public sealed class FamilyTests : IDisposable
{
    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    // The bank's table with other labels, and with more columns, from the old cells.
    private void Bank(string header, Func<IReadOnlyDictionary<string, string>, string> row) =>
        _scene.Write("bank.csv", [header, .. _scene.Cells("bank.csv").Select(cells => $"{cells["id"]},{row(cells)},{cells["age"]},{cells["income"]}")]);

    private static string Text(double number) => number.ToString("R", CultureInfo.InvariantCulture);

    private async Task<JsonObject> TrainAsync(params (string, JsonNode?)[] changes)
    {
        ToolRun run = await ToolRun.Of("train", "--config", _scene.Job(changes), "--json", "--model", _scene.At("models"));
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    private async Task<IReadOnlyList<IReadOnlyDictionary<string, string>>> PredictAsync(params (string, JsonNode?)[] changes)
    {
        ToolRun run = await ToolRun.Of("predict", "--config", _scene.Job(changes), "--model", _scene.At("models"), "--out", _scene.At("scores.csv"));
        Assert.True(run.ExitCode == 0, run.Error);
        return _scene.Cells("scores.csv");
    }

    /// <summary>Whoever knows who defaulted need not know anything else.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Train_ActivePartyWithLabelsAlone_TrainsOnTheOthersFeatures(bool isPrivate)
    {
        _scene.Write("bank.csv", ["id,y", .. _scene.Cells("bank.csv").Select(cells => $"{cells["id"]},{cells["y"]}")]);
        _scene.Write("bank.schema.json", """{ "id": "id", "label": "y", "fields": [] }""");
        (string, JsonNode?)[] changes = isPrivate ? Scene.Private(("privacy.epsilon", 50), ("transport.kind", "grpc")) : [("transport.kind", "grpc")];
        JsonObject report = await TrainAsync(changes);
        Assert.InRange((double)report["metrics"]!["test"]!["auc"]!, 0.7, 1);
        // The rows to score need no label.
        _scene.Write("bank.csv", ["id", .. _scene.Cells("bank.csv").Select(cells => cells["id"])]);
        IReadOnlyList<IReadOnlyDictionary<string, string>> rows = await PredictAsync(changes);
        Assert.Equal(Scene.Common, rows.Count);
        Assert.True(rows.Select(row => row["prediction"]).Distinct().Count() > Scene.Common / 2);
    }

    /// <summary>A file of semicolons and decimal commas, another of tabs: the same model, plan and predictions as from the usual files.</summary>
    [Fact]
    public async Task Train_FilesOfOtherDialects_GiveTheSameModelAndPredictions()
    {
        (string, JsonNode?)[] split = [("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }"""))];
        string[] ids = [.. _scene.Cells("bank.csv").Concat(_scene.Cells("telco.csv")).Select(cells => cells["id"]).Distinct()];
        string[] SplitFile(char separator) => [.. ids.Select((id, i) => $"{id}{separator}{(i % 4 == 0 ? "test" : "train")}").Prepend($"id{separator}split")];
        _scene.Write("split.csv", SplitFile(','));
        string usual = (string)(await TrainAsync(split))["parties"]![0]!["model"]!["weightsSha256"]!;
        IReadOnlyList<IReadOnlyDictionary<string, string>> expected = await PredictAsync(split);

        foreach ((string name, char separator) in (IEnumerable<(string, char)>)[("bank.csv", ';'), ("telco.csv", '\t')])
            _scene.Write(name, [.. File.ReadAllLines(_scene.At(name)).Select(line => line.Replace(',', separator).Replace('.', ','))]);
        _scene.Write("split.csv", SplitFile(';'));
        (string, JsonNode?)[] said = [.. split, ("parties.0.data.separator", ";"), ("parties.0.data.decimal", ","), ("parties.1.data.separator", "\t"), ("parties.1.data.decimal", ",")];
        Assert.Equal(usual, (string)(await TrainAsync(said))["parties"]![0]!["model"]!["weightsSha256"]!);
        Assert.Equal(expected.Select(row => string.Join(',', row.Values)), (await PredictAsync(said)).Select(row => string.Join(',', row.Values)));
        ToolRun plan = await ToolRun.Of("privacy", "plan", "--config", _scene.Job(Scene.Private(said)));
        Assert.True(plan.ExitCode == 0, plan.Error);
        ToolRun unsaid = await ToolRun.Of("train", "--config", _scene.Job(split));
        Assert.Equal(3, unsaid.ExitCode);
        Assert.Contains("data.separator", unsaid.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    /// <summary>Words in place of classes: the same model and predictions; a party file may name them too.</summary>
    [Theory]
    [InlineData("binomial")]
    [InlineData("multinomial")]
    public async Task Train_LabelsByWords_GivesTheModelOfTheirNumbers(string family)
    {
        string[] words = family == "binomial" ? ["no", "yes"] : ["good", "fair", "bad"];
        int Class(IReadOnlyDictionary<string, string> cells) => cells["y"] == "1" ? 1 : family == "binomial" || cells["id"][^1] > '4' ? 0 : 2;
        IReadOnlyList<IReadOnlyDictionary<string, string>> before = _scene.Cells("bank.csv");
        (string, JsonNode?)[] changes = [("model.family", family)];
        Bank("id,y,age,income", cells => Class(cells).ToString(CultureInfo.InvariantCulture));
        string numbers = (string)(await TrainAsync(changes))["parties"]![0]!["model"]!["weightsSha256"]!;
        IReadOnlyList<IReadOnlyDictionary<string, string>> expected = await PredictAsync(changes);
        _scene.Write("bank.csv", ["id,y,age,income", .. before.Select(cells => $"{cells["id"]},{words[Class(cells)]},{cells["age"]},{cells["income"]}")]);
        (string, JsonNode?)[] said = [.. changes, ("parties.0.data.labels", new JsonArray([.. words.Select(word => JsonValue.Create(word))]))];
        Assert.Equal(numbers, (string)(await TrainAsync(said))["parties"]![0]!["model"]!["weightsSha256"]!);
        Assert.Equal(expected.Select(row => string.Join(',', row.Values)), (await PredictAsync(said)).Select(row => string.Join(',', row.Values)));
        Assert.DoesNotContain(words[1], File.ReadAllText(_scene.At("models/bank.model.json")), StringComparison.Ordinal);
        ToolRun unsaid = await ToolRun.Of("train", "--config", _scene.Job(changes));
        Assert.Equal(3, unsaid.ExitCode);
        Assert.Contains("data.labels", unsaid.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gamma")]
    [InlineData("tweedie")]
    public async Task Train_FamiliesOfAmounts_PredictTheirMeans(string family)
    {
        Bank("id,y,age,income", cells => Text((family == "gamma" ? 0.5 : 0) + (cells["y"] == "1" ? Math.Exp(Scene.Number(cells["age"])) : 0)));
        (string, JsonNode?)[] changes = [("model.family", family), .. family == "tweedie" ? new (string, JsonNode?)[] { ("model.power", 1.3) } : [], ("model.l2", 0.0), ("evaluation", null)];
        JsonObject report = await TrainAsync(changes);
        Assert.Equal("converged", (string)report["job"]!["stopReason"]!);
        IReadOnlyList<IReadOnlyDictionary<string, string>> rows = await PredictAsync(changes);
        Assert.Equal(["id", "score", "prediction"], rows[0].Keys);
        Assert.Equal(Scene.Common, rows.Count);
        Assert.All(rows, row => Assert.Equal(Math.Exp(Scene.Number(row["score"])), Scene.Number(row["prediction"]), 1e-9));
        // At the optimum the intercept's gradient is 0: sum of (1 - y/mu) for gamma, of (mu - y) mu^(1 - p) for tweedie.
        Dictionary<string, double> labels = _scene.Cells("bank.csv").ToDictionary(cells => cells["id"], cells => Scene.Number(cells["y"]));
        double gradient = rows.Average(row => Scene.Number(row["prediction"]) is var mu && family == "gamma" ? 1 - labels[row["id"]] / mu : (mu - labels[row["id"]]) * Math.Pow(mu, 1 - 1.3));
        Assert.Equal(0, gradient, 1e-6);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Predict_Multinomial_WritesAProbabilityForEachClass(bool declared)
    {
        Bank("id,y,age,income", cells => cells["y"] == "1" ? "2" : Scene.Number(cells["income"]) > 0 ? "1" : "0");
        (string, JsonNode?)[] changes = [("model.family", "multinomial"), .. declared ? new (string, JsonNode?)[] { ("model.classes", 3) } : []];
        await TrainAsync(changes);
        IReadOnlyList<IReadOnlyDictionary<string, string>> rows = await PredictAsync(changes);
        Assert.Equal(["id", "p_0", "p_1", "p_2", "prediction"], rows[0].Keys);
        Dictionary<string, string> labels = _scene.Cells("bank.csv").ToDictionary(cells => cells["id"], cells => cells["y"]);
        Assert.Equal(_scene.Cells("bank.csv").Select(cells => cells["id"]).Where(rows.Select(row => row["id"]).Contains), rows.Select(row => row["id"]));
        foreach (IReadOnlyDictionary<string, string> row in rows)
        {
            double[] p = [.. Enumerable.Range(0, 3).Select(m => Scene.Number(row[$"p_{m}"]))];
            Assert.Equal(1, p.Sum(), 1e-9);
            Assert.Equal(Array.IndexOf(p, p.Max()), int.Parse(row["prediction"], CultureInfo.InvariantCulture));
        }

        // The rule of the first two classes is in the bank's own column; guessing the larger of three would reach .45.
        Assert.InRange(rows.Average(row => row["prediction"] == labels[row["id"]] ? 1.0 : 0), 0.7, 1);
    }

    [Fact]
    public async Task Train_LargeL1_LeavesTheInterceptAlone()
    {
        (string, JsonNode?)[] settings = [.. Scene.Sgd(("training.epochs", 200), ("training.batchesPerEpoch", 1), ("model.l1", 5), ("evaluation", null))];
        await TrainAsync(settings);
        foreach (string party in new[] { "bank", "telco" })
        {
            JsonObject model = JsonNode.Parse(await File.ReadAllTextAsync(_scene.At($"models/{party}.model.json"), TestContext.Current.CancellationToken))!.AsObject();
            Assert.All(model["weights"]!.AsArray(), weight => Assert.Equal(0, (double)weight!));
        }

        // The model without features: every row has the share of positive labels.
        HashSet<string> others = [.. _scene.Cells("telco.csv").Select(cells => cells["id"])];
        double share = _scene.Cells("bank.csv").Where(cells => others.Contains(cells["id"])).Average(cells => Scene.Number(cells["y"]));
        Assert.NotEqual(0.5, share);
        IReadOnlyList<IReadOnlyDictionary<string, string>> rows = await PredictAsync(settings);
        Assert.Equal(share, Scene.Number(Assert.Single(rows.Select(row => row["prediction"]).Distinct())), 1e-6);
    }

    [Fact]
    public async Task Train_BalancedClasses_AreThoseDeclared()
    {
        int[] counts = [.. new[] { "0", "1" }.Select(label => _scene.Cells("bank.csv").Where(cells => _scene.Cells("telco.csv").Any(t => t["id"] == cells["id"])).Count(cells => cells["y"] == label))];
        var declared = new JsonArray([.. counts.Select(count => (JsonNode)(counts.Sum() / (2.0 * count)))]);
        JsonObject balanced = await TrainAsync(("training.classWeights", "balanced"), ("evaluation", null)), plain = await TrainAsync(("evaluation", null)),
            same = await TrainAsync(("training.classWeights", declared), ("evaluation", null));
        double Loss(JsonObject report) => (double)report["metrics"]!["train"]!["logLoss"]!;
        Assert.Equal(Loss(same), Loss(balanced), 1e-9);
        Assert.NotEqual(Loss(plain), Loss(balanced), 1e-6);
    }

    [Fact]
    public async Task Predict_ModelWithExposure_NeedsIt()
    {
        Bank("id,y,years,age,income", cells => $"{cells["y"]},{(cells["id"][^1] % 2 == 0 ? "0.5" : "1")}");
        (string, JsonNode?)[] changes = [("model.family", "poisson"), ("parties.0.data.schema", null), ("parties.0.data.exposure", "years")];
        await TrainAsync(changes);
        IReadOnlyList<IReadOnlyDictionary<string, string>> rows = await PredictAsync(changes);
        Assert.All(rows, row => Assert.Equal(Math.Exp(Scene.Number(row["score"])), Scene.Number(row["prediction"]), 1e-9));

        ToolRun run = await ToolRun.Of("predict", "--config", _scene.Job(changes[..^1]), "--model", _scene.At("models"), "--out", _scene.At("other.csv"));
        Assert.NotEqual(0, run.ExitCode);
        Assert.False(File.Exists(_scene.At("other.csv")));
        run = await ToolRun.Of("train", "--config", _scene.Job([.. changes[..^1], ("parties.0.data.exposure", "month")]));
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("'month'", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Predict_OffsetsLeftOut_IsRefused()
    {
        // With a schema the column is no feature either way, so what is missing is the offset alone.
        Bank("id,y,known,age,income", cells => $"{cells["y"]},0.25");
        (string, JsonNode?)[] changes = [("model.family", "poisson"), ("parties.0.data.offset", "known")];
        await TrainAsync(changes);
        ToolRun run = await ToolRun.Of("predict", "--config", _scene.Job(changes[..^1]), "--model", _scene.At("models"), "--out", _scene.At("other.csv"));
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("(FL3106)", run.Error, StringComparison.Ordinal);
    }
}
