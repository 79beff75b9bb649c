using FedLearn.Cli.RunFiles;

namespace FedLearn.Cli.Running;

/// <summary>What a party of a recommendation model does.</summary>
internal static class DssmTasks
{
    public static PartyTask Of(SessionOrder order, DssmRunFile run, string party, IProgress<JobProgress>? progress) => throw new NotImplementedException();
}
