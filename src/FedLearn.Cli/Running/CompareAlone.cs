using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>The active party's own columns, on the rows that it has in common with all others: what it could do without them.</summary>
internal static class CompareAlone
{
    /// <summary>Reads all tables, and keeps the active party's common rows.</summary>
    /// <param name="run">The job; every party's table is on this machine.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The rows, and whether every numeric field of every party has a declared range.</returns>
    /// <exception cref="BadInputException">A table cannot be used, or the parties have no common rows.</exception>
    public static (Table Rows, bool DeclaresRanges) Read(GlmRunFile run, CancellationToken cancellationToken)
    {
        Table TableOf(GlmRunFileParty party) => GlmTasks.Input(run, party, needLabel: party.Role == PartyRole.Active, cancellationToken).Table;
        Table active = TableOf(run.Party(run.Active.Name));
        bool declares = active.Schema.DeclaresAllRanges;
        HashSet<string> common = [.. active.Ids];
        foreach (GlmRunFileParty party in run.Parties.Where(p => p.Role == PartyRole.Passive))
        {
            Table table = TableOf(party);
            common.IntersectWith(table.Ids);
            declares &= table.Schema.DeclaresAllRanges;
        }

        return common.Count > 0 ? (Subset(active, [.. Enumerable.Range(0, active.Ids.Count).Where(i => common.Contains(active.Ids[i]))]), declares)
            : throw GlmTelemetry.NoCommonRows();
    }

    /// <summary>Trains the active party alone, in this process.</summary>
    /// <param name="run">The job of all parties.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Its report.</returns>
    public static async Task<JsonObject> TrainAsync(GlmRunFile run, Table rows, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        GlmRunFileParty self = run.Party(run.Active.Name);
        var alone = new GlmRunFile([self])
        {
            Path = run.Path,
            Directory = run.Directory,
            Job = run.Job with { Alignment = AlignmentMethod.Hashed, Parties = [.. run.Job.Parties.Where(p => p.Party.Name == self.Name)] },
            Transport = run.Transport with { Kind = TransportKind.InMemory },
            SplitPath = run.SplitPath,
            WarmStart = run.WarmStart,
            Alignment = run.Alignment with { Method = AlignmentMethod.Hashed },
            Ignored = run.Ignored,
            Warnings = run.Warnings,
        };
        PartyTask task = GlmTasks.Train(new SessionOrder(alone, GrpcRelay.Train), alone, self.Name, progress, rows);
        ReadyParty ready = task.Prepare(cancellationToken);
        IReadOnlyList<JsonObject> documents = await LocalSession.RunAsync(task.Terms, [ready.Request], new ChannelOptions(),
            (_, agreement, channels, stop) => ready.Run(agreement, channels, stop), cancellationToken).ConfigureAwait(false);
        return PartyDocument.Merge(documents, 0);
    }

    private static Table Subset(Table table, int[] rows)
    {
        double[]? Of(double[]? values) => values is null ? null : [.. rows.Select(i => values[i])];
        string[] ids = [.. rows.Select(i => table.Ids[i])];
        if (table.Sparse is { } sparse)
        {
            int[] starts = new int[rows.Length + 1];
            for (int i = 0; i < rows.Length; i++)
                starts[i + 1] = starts[i] + sparse.RowColumns(rows[i]).Length;
            int[] columns = new int[starts[^1]];
            double[] entries = new double[starts[^1]];
            for (int i = 0; i < rows.Length; i++)
            {
                sparse.RowColumns(rows[i]).CopyTo(columns.AsSpan(starts[i]));
                sparse.RowValues(rows[i]).CopyTo(entries.AsSpan(starts[i]));
            }

            return Table.FromSparse(ids, table.Schema.FeatureNames, new SparseMatrix(rows.Length, sparse.Columns, starts, columns, entries), Of(table.Labels), table.Schema, Of(table.Weights), Of(table.Offsets));
        }

        // Of a mapped file too: the rows of one party alone are in memory, stored as the job has them.
        var values = new DenseMatrix(rows.Length, table.Schema.FeatureNames.Count);
        for (int i = 0; i < rows.Length; i++)
            table.CopyRow(rows[i], values.Row(i));
        return Table.FromMatrix(ids, table.Schema.FeatureNames, values, Of(table.Labels), table.Schema, Of(table.Weights), Of(table.Offsets)).With(table.Storage);
    }
}
