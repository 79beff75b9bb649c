using System.Globalization;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Cli.Running;

/// <summary>What a party keeps on its disk from one run to the next: its ledger, and runs that were cut off.</summary>
internal static class PartyState
{
    /// <summary>The party's ledger; null for a job that charges nothing, which writes no file.</summary>
    public static SqliteLedger? Ledger(RunFile run, RunFileParty self) => !run.IsPrivate || run.Parties.Count < 2 ? null
        : new SqliteLedger(self.Ledger.Path, new SqliteLedgerOptions { Budget = self.Ledger.Budget is { } budget ? new LedgerBudget(budget.Epsilon, budget.Delta) : null });

    /// <summary>Where the party's runs are kept, beside its ledger. A job that charges nothing writes no ledger, and may stand where nothing can be written: then it keeps no states either, and this is null.</summary>
    /// <param name="run">The job.</param>
    /// <param name="self">The party.</param>
    /// <param name="progress">Told that another process has the run; null for nobody.</param>
    public static FileRunStore? Runs(RunFile run, RunFileParty self, IProgress<JobProgress>? progress) => !run.IsPrivate && !CanWrite(Path.GetDirectoryName(Path.GetFullPath(self.Ledger.Path))!) ? null
        : new FileRunStore(self.Ledger.Path, waiting: patience => progress?.Report(JobProgress.Stage(self.Name,
            string.Create(CultureInfo.InvariantCulture, $"another process has this run; waiting up to {patience.TotalSeconds:0.#} s for that to end"))));

    private static bool CanWrite(string folder)
    {
        try
        {
            DurableFile.Touch(folder);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
