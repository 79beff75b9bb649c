using System.Text.Json;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Glm;

namespace FedLearn.Cli.Tests.Commands;

public sealed class ModelCommandTests : IDisposable
{
    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    private string Models => _scene.At("models");

    private async Task TrainAsync(string job)
    {
        ToolRun run = await ToolRun.Of("train", "--config", job, "--model", Models);
        Assert.True(run.ExitCode == 0, run.Error);
    }

    [Fact]
    public async Task Show_TrainedPart_TellsWeightsAndScaling()
    {
        await TrainAsync(_scene.Job());
        ToolRun run = await ToolRun.Of("model", "show", "--model", Models, "--party", "bank", "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonElement shown = JsonElement.Parse(run.Output);
        var model = GlmModel.Load(Models, "bank");
        Assert.Equal(("scene", model.JobDigest, "bank", "active", "binomial", "logit"), (shown.GetProperty("job").GetString(), shown.GetProperty("jobDigest").GetString(),
            shown.GetProperty("party").GetString(), shown.GetProperty("role").GetString(), shown.GetProperty("family").GetProperty("name").GetString(),
            shown.GetProperty("family").GetProperty("link").GetString()));
        Assert.Equal(model.TrainingId, shown.GetProperty("trainingId").GetString());
        Assert.Contains($"training {model.TrainingId}", run.Error, StringComparison.Ordinal);
        JsonElement[] features = [.. shown.GetProperty("features").EnumerateArray()];
        Assert.Equal(["age", "income"], features.Select(f => f.GetProperty("name").GetString()));
        Assert.Equal(model.Weights, features.Select(f => Assert.Single(f.GetProperty("weights").EnumerateArray()).GetDouble()));
        Assert.Equal(model.Features.Description.Columns.Select(c => (c.Center, c.Width)), features.Select(f => (f.GetProperty("center").GetDouble(), f.GetProperty("width").GetDouble())));
        Assert.Equal(model.Intercepts, shown.GetProperty("intercepts").EnumerateArray().Select(i => i.GetDouble()));
        Assert.Equal(64, shown.GetProperty("schemaFingerprint").GetString()!.Length);
        Assert.Contains("income", run.Error, StringComparison.Ordinal);
        Assert.Contains("(intercept)", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("\u2026", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Show_PrivatePart_HasTheConstantWithoutScaling()
    {
        await TrainAsync(_scene.Job(Scene.Private()));
        ToolRun run = await ToolRun.Of("model", "show", "--model", Models, "--party", "telco", "--json");
        JsonElement last = JsonElement.Parse(run.Output).GetProperty("features").EnumerateArray().Last();
        Assert.Equal(("(constant)", JsonValueKind.Null), (last.GetProperty("name").GetString(), last.GetProperty("center").ValueKind));
        Assert.Equal("clipped to length 1", JsonElement.Parse(run.Output).GetProperty("rows").GetString());
    }

    [Theory]
    [InlineData("show")]
    [InlineData("export", "--onnx", "out.onnx")]
    public async Task Model_PartOfARecommendationModel_IsToldWhatThereIsForIt(params string[] verb)
    {
        _scene.Write("models/bank.model.json", """{ "format": "fedlearn.dssm.model/1", "party": "bank" }""");
        ToolRun run = await ToolRun.Of(["model", .. verb.Select(v => v == "out.onnx" ? _scene.At(v) : v), "--model", Models, "--party", "bank"]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("(FL2013)", run.Error, StringComparison.Ordinal);
        Assert.Contains($"model {verb[0]} works on generalised linear models", run.Error, StringComparison.Ordinal);
        Assert.Contains("recommend topk --vectors", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_Scaling_IsClippedWhereItIsDeclared() =>
        Assert.Contains("clipped to [-1, 1] with scaling declared alone", (await ToolRun.Of("model", "show", "--help")).Output.ReplaceLineEndings(" "), StringComparison.Ordinal);

    [Fact]
    public async Task Export_TrainedPart_WritesAFileOfItsColumns()
    {
        await TrainAsync(_scene.Job());
        string file = _scene.At("out/telco.onnx");
        ToolRun run = await ToolRun.Of("model", "export", "--model", Models, "--party", "telco", "--onnx", file, "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonElement told = JsonElement.Parse(run.Output);
        Assert.Equal(file, told.GetProperty("onnx").GetString());
        Assert.Equal(["calls", "debt"], told.GetProperty("columns").EnumerateArray().Select(c => c.GetString()));
        // What the file computes is tested beside the export.
        Assert.True(new FileInfo(file).Length > 500);
        Assert.Contains("x [rows, 2] to scores [rows, 1]", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Predict_TableOfOtherRanges_IsScoredAndNoted()
    {
        string job = _scene.Job();
        await TrainAsync(job);
        async Task<JsonElement> NotesAsync()
        {
            ToolRun run = await ToolRun.Of("predict", "--config", job, "--model", Models, "--out", _scene.At("scores.csv"), "--json");
            Assert.True(run.ExitCode == 0, run.Error);
            return JsonElement.Parse(run.Output).GetProperty("notes");
        }

        Assert.Empty((await NotesAsync()).EnumerateArray());
        _scene.Write("telco.schema.json", """{ "id": "id", "fields": [{ "name": "debt", "type": "numeric" }, { "name": "calls", "type": "numeric", "min": -2, "max": 2 }] }""");
        Assert.StartsWith("telco: the schema is not the one", Assert.Single((await NotesAsync()).EnumerateArray()).GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("FL2401", "show", "--party", "nobody")]
    [InlineData("FL2401", "export", "--party", "nobody", "--onnx", "x.onnx")]
    [InlineData("FL2402", "show", "--party", "thief")]
    [InlineData("FL2401", "show", "--party", "changed")]
    [InlineData("FL2102", "export", "--party", "bank", "--onnx", "models")]
    [InlineData("FL2100", "show")]
    [InlineData("FL2100", "export", "--party", "bank")]
    public async Task Model_WrongUse_IsExplained(string id, string verb, params string[] more)
    {
        await TrainAsync(_scene.Job());
        File.Copy(Path.Combine(Models, "bank.model.json"), Path.Combine(Models, "thief.model.json"));
        await File.WriteAllTextAsync(Path.Combine(Models, "changed.model.json"),
            (await File.ReadAllTextAsync(Path.Combine(Models, "bank.model.json"))).Replace("\"bank\"", "\"changed\"", StringComparison.Ordinal));
        ToolRun run = await ToolRun.Of(["model", verb, "--model", Models, .. more.Select(m => m is "x.onnx" or "models" ? _scene.At(m) : m)]);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
    }
}
