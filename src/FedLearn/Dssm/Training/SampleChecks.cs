using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>What a view checks of the samples that it is asked for: the claims count on it.</summary>
internal static class SampleChecks
{
    /// <summary>Refuses a training without samples, and samples beyond what the claims count.</summary>
    public static void Check(DssmJob job, ViewSamples samples, bool hasMoments, string remote)
    {
        if (samples.Rows[0].Length == 0)
            throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, remote, "round 0", "named no training sample.", "Check that both parties run the same release of the software.");
        if (!job.Privacy.IsPrivate)
            return;
        if (job.Privacy.MaxSamplesPerUser is { } cap && samples.Users[0].Where(u => u >= 0).GroupBy(u => u).Any(g => g.Count() > cap))
            throw ProtocolErrors.Peer(DssmErrors.SamplesNotAllowed, remote, "round 0", "named more training samples of a user than privacy.maxSamplesPerUser.",
                "Check that both parties run the same release of the software.");
        if (!hasMoments || job.Privacy.Unit == EmbeddingUnit.User || !job.Privacy.Noise.HasFlag(DssmNoise.Embeddings))
            return;
        // The active party names the samples, and each has a noise of its own: a row that several of them read would be released more often than is charged, in a charged evaluation too.
        IEnumerable<int[]> noised = job.Privacy.Evaluation == EvaluationDisclosure.Charged ? samples.Rows : samples.Rows.Take(1);
        var seen = new HashSet<int>();
        if (!noised.SelectMany(rows => rows).Where(row => row >= 0).All(seen.Add))
            throw new PrivacyRefusedException(DssmErrors.SharedRow, "round 0", "two samples read one row of the view, so that one row is more than one sample.",
                "Use privacy.unit user with privacy.maxSamplesPerUser, or a view with a row for every event.");
    }
}
