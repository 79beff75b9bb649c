using System.Text.Json.Nodes;

namespace FedLearn.Cli.Tests.Sessions;

public class PrivacyRefusalTests
{
    public static TheoryData<string, string, string?> Refusals => new()
    {
        { "FL5052", "privacy.delta", "0.1" },
        { "FL5007", "privacy.epsilon", "1e308" },
        { "FL5000", "training.stepSize", "8" },     // above 2 / (lambda + beta), beta = 1/4
        { "FL5001", "model.l2", "2.5" },            // |1 - eta lambda| > 1
        { "FL5050", "training.optimizer", "\"lbfgs\"" },
        { "FL5051", "preprocessing.rows", "\"none\"" },
        { "FL5101", "parties.1.data.schema", null }, // no schema declares no range
        { "FL5101", "parties.0.data.schema", null },
        { "FL5020", "parties.0.ledger.budget", """{ "epsilon": 0.99, "delta": 0.001 }""" },
        { "FL5020", "parties.1.ledger.budget", """{ "epsilon": 1, "delta": 0.0009 }""" },
    };

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task Train_BeyondTheProof_IsRefusedAndWritesNothing(string id, string path, string? json)
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private((path, json is null ? null : JsonNode.Parse(json))));
        ToolRun run = await ToolRun.Of("train", "--config", job, "--json", "--model", scene.At("models"), "--report", scene.At("report.json"), "--html", scene.At("report.html"));
        Assert.Equal((5, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Contains($"See docs/errors/{id}.md", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
        Assert.Empty(scene.Ledgers);
    }

    [Fact]
    public async Task Train_RefusalAtAPassiveProcess_IsTheRootCause()
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("parties.1.data.schema", null), ("transport.kind", "grpc")));
        ToolRun run = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"));
        Assert.Equal(5, run.ExitCode);
        Assert.Contains("party 'telco'", run.Error, StringComparison.Ordinal);
        Assert.Contains("(FL5101)", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
    }

    [Theory]
    [InlineData("hdp-vfl")]
    [InlineData("one-round")]
    public async Task Predict_EvaluationNone_IsRefusedAtEveryPartyAndTheTrainingSaidSo(string mode)
    {
        using var scene = new Scene();
        string job = scene.Job(Scene.Private(("privacy.mode", mode), ("privacy.evaluation", "none")));
        ToolRun train = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"));
        Assert.True(train.ExitCode == 0, train.Error);
        Assert.Contains("warning: privacy.evaluation is none: no passive party sends its scores of the model, so that predict and serve refuse it (FL5120)", train.Error, StringComparison.Ordinal);

        // Each for itself: nobody listens.
        (string bank, string telco) = scene.Parties(Scene.FreePort());
        string[] before = scene.Results;
        string[][] asked =
        [
            ["predict", "--config", job, "--out", scene.At("scores.csv")],
            ["party", "--config", bank, "--predict", scene.At("scores.csv")],
            ["party", "--config", telco, "--predict", scene.At("scores.csv")],
            ["serve", "--config", bank],
            ["party", "--config", telco, "--serve"],
        ];
        // Whatever the run file says after the training.
        foreach (((string, JsonNode?)[] now, string why) in new[] { (Scene.Private(("privacy.mode", mode), ("privacy.evaluation", "none")), "it is none"),
            (Scene.Private(("privacy.mode", mode)), "it was none in the training of this model"), ([], "it was none in the training of this model") })
        {
            scene.Job(now);
            foreach (string[] verb in asked)
            {
                ToolRun run = await ToolRun.Of([.. verb, "--model", scene.At("models")]);
                Assert.Equal((5, ""), (run.ExitCode, run.Output));
                Assert.Contains("(FL5120)", run.Error, StringComparison.Ordinal);
                Assert.Contains(why, run.Error, StringComparison.Ordinal);
            }
        }

        Assert.Equal(before, scene.Results);
    }
}
