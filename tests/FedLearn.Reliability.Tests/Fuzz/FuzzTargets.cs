namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Everything that is fuzzed. A new target is added here.</summary>
internal static class FuzzTargets
{
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        // what peers send
        new GrpcFramesTarget(), new EnvelopeTarget(), new JoinRequestTarget(), new JoinReplyTarget(), new HeaderTextTarget(), new AggregationTarget(), new DeviceInvitationTarget(), new PsiHelloTarget(),
        new ScoreRequestTarget(),
        // what people write
        new JobFileTarget(), new PartyFileTarget(), new TableSchemaTarget(), new DssmSchemaTarget(),
        // tables
        new CsvTableTarget(), new CsvDialectTarget(), new CsvSchemaTarget(), new IdTableTarget(), new RowSplitTarget(), new SvmTableTarget(), new NpyTableTarget(), new DssmTablesTarget(), new MovieLensTarget(), new ItemIndexTarget(),
        // what the program wrote earlier, and anybody may have changed since
        new GlmModelTarget(), new DssmModelTarget(), new TowerStateTarget(), new PsiStateTarget(), new RunStateTarget(), new TrainingReportTarget(),
    ];

    public static FuzzTarget Named(string name) => All.Single(target => target.Name == name);
}
