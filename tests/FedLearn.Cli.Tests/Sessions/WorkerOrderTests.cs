using System.Text.Json.Nodes;
using FedLearn.Alignment;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>What a party's process makes of the line that it is given.</summary>
public sealed class WorkerOrderTests : IDisposable
{
    private static readonly Uri Host = new("http://127.0.0.1:1"), Arbiter = new("http://127.0.0.1:2");

    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    private static WorkerOrder Line(SessionOrder order, string party, Uri? host = null, Uri? arbiter = null) => WorkerOrder.Parse(WorkerOrder.Of(order, party, host, arbiter).ToLine());

    [Fact]
    public void Line_OfATraining_IsTheOrderOfThatParty()
    {
        GlmRunFile run = GlmRunFile.Load(_scene.Job(Scene.Sgd()), [new RunFileSetting("model.l2", "0.5")]).On(new CrossValidationFold(5, 3));
        var order = new SessionOrder(run, GrpcRelay.Train)
        {
            ModelDirectory = "models",
            Output = "scores.csv",
            Aligned = "aligned",
            KeepsRuns = true,
            Fresh = true,
            TopK = new TopKRequest { K = 7 },
            RunIds = new Dictionary<string, string> { ["bank"] = "of the bank", ["telco"] = "of the telephone company" },
        };
        SessionOrder told = Line(order, "telco", Host).ToSession("telco");
        Assert.Equal((GrpcRelay.Train, "models", "scores.csv", "aligned", true, true, 7), (told.Verb, told.ModelDirectory, told.Output, told.Aligned, told.KeepsRuns, told.Fresh, told.TopK.K));
        GlmJob job = Assert.IsType<GlmRunFile>(told.Run).Job;
        Assert.Equal((0.5, new CrossValidationFold(5, 3)), (job.Model.L2, job.Fold));
        Assert.Equal([KeyValuePair.Create("telco", "of the telephone company")], told.RunIds);
        Assert.Null(told.Door);
        Assert.NotNull(told.Log);
        // A party whose id is not given draws one.
        Assert.Empty(Line(order with { RunIds = new Dictionary<string, string>() }, "telco").ToSession("telco").RunIds);
    }

    [Fact]
    public void Line_OfASession_SaysWhereTheOthersAreAndWhetherTheProcessStays()
    {
        var order = new SessionOrder(RunFile.Load(_scene.Job(Scene.Sgd(("training.weightNorm", 1), ("privacy.mode", "he"), ("privacy.he.scheme", "paillier")))), GrpcRelay.Train);
        WorkerOrder bank = Line(order, "bank", arbiter: Arbiter), telco = Line(order, "telco", Host, Arbiter);
        Assert.Equal((null, Arbiter, false), (bank.Host, bank.Arbiter, bank.Stays));
        Assert.Equal((Host, Arbiter, false), (telco.Host, telco.Arbiter, telco.Stays));
        Assert.NotNull(telco.ToSession("telco").Door);
        using var workers = new WorkerPool();
        Assert.True(Line(order with { Workers = workers }, "telco").Stays);
    }

    /// <summary>What align is asked for stands in place of what the job says, which may leave a training without rows.</summary>
    [Fact]
    public void Line_OfAnAlignment_HasWhatItIsAskedFor()
    {
        var request = new AlignRequest { Output = PsiOutput.PassiveOnly, Proof = true, KeepFirst = true, Folder = "aligned" };
        GlmRunFile run = request.On(RunFile.Load(_scene.Job(("alignment", JsonNode.Parse("""{ "method": "psi", "output": "active-only" }"""))), [], alignsOnly: true).As<GlmRunFile>(GrpcRelay.Align));
        SessionOrder told = Line(new SessionOrder(run, GrpcRelay.Align) { Align = new AlignRequest { KeepFirst = true, Folder = "aligned" } }, "telco", Host).ToSession("telco");
        Assert.Equal((PsiOutput.PassiveOnly, true), (told.Run.Alignment.Output, told.Run.Alignment.Proof));
        Assert.Equal((true, "aligned"), (told.Align.KeepFirst, told.Align.Folder));
    }
}
