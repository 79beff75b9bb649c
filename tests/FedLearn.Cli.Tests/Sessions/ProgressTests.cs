using System.CommandLine;
using FedLearn.Cli.Output;
using FedLearn.Cli.Running;
using FedLearn.Glm;

namespace FedLearn.Cli.Tests.Sessions;

public sealed class ProgressTests
{
    [Fact]
    public void Stages_OfManyRows_AreToldAsTheyBegin()
    {
        string[] lines = Shown(view =>
        {
            IProgress<GlmStageBegun> stages = GlmTasks.LongStages(view)!;
            stages.Report(new GlmStageBegun("bank", GlmStage.Aligning, 12_000_000));
            stages.Report(new GlmStageBegun("telco", GlmStage.Aligning, 12_000_000));
            stages.Report(new GlmStageBegun("bank", GlmStage.Preparing, 1_000_000));
            view.Report(new JobProgress("bank", "round", 3, 3, null));
            stages.Report(new GlmStageBegun("bank", GlmStage.Measuring, 1_000_000));
        });
        Assert.Equal(["finding the common rows among 12,000,000 rows", "preparing 1,000,000 rows", "round 3 of 3", "measuring 1,000,000 rows"], lines);
    }

    [Fact]
    public void Stages_OfManyClasses_CountEachOfThem() => Assert.Equal(["measuring 20,000 rows of 100 classes"],
        Shown(view => GlmTasks.LongStages(view)!.Report(new GlmStageBegun("bank", GlmStage.Measuring, 20_000) { Outputs = 100 })));

    [Fact]
    public void Stages_OfFewRows_AreNotWorthALine() => Assert.Empty(Shown(view => GlmTasks.LongStages(view)!.Report(new GlmStageBegun("bank", GlmStage.Aligning, 999_999))));

    [Fact]
    public void Rounds_LossThatDiverges_IsShort()
    {
        string[] lines = Shown(view =>
        {
            view.Report(new JobProgress("bank", "round", 1, 3, 0.69314));
            view.Report(new JobProgress("bank", "round", 2, 3, 999_999.5));
            view.Report(new JobProgress("bank", "round", 3, 3, 1.23456e260));
        });
        Assert.Equal(["round 1 of 3, loss 0.6931", "round 2 of 3, loss 999999.5000", "round 3 of 3, loss 1.235E+260"], lines);
    }

    private static string[] Shown(Action<ProgressView> report)
    {
        using var error = new StringWriter();
        ParseResult parsed = new RootCommand().Parse([]);
        parsed.InvocationConfiguration.Error = error;
        report(new ProgressView(Terminal.Of(parsed), "bank"));
        return error.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);
    }
}
