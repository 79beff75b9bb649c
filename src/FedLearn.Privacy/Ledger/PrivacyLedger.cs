namespace FedLearn.Privacy;

/// <summary>One release that was charged.</summary>
/// <param name="Party">Party whose record it costs.</param>
/// <param name="JobDigest">Digest of the job, as hexadecimal digits.</param>
/// <param name="Release">Name of the release, such as <c>training scores</c>.</param>
/// <param name="Index">Number of the release within its job and party, from 0.</param>
/// <param name="Mu">Gaussian-DP parameter of this release alone; squares add up.</param>
public sealed record PrivacyCharge(string Party, string JobDigest, string Release, int Index, double Mu);

/// <summary>What a job has cost a party so far.</summary>
/// <param name="Party">Party whose record it costs.</param>
/// <param name="JobDigest">Digest of the job.</param>
/// <param name="Releases">Number of releases charged.</param>
/// <param name="Mu">Gaussian-DP parameter of all of them together: the root of the sum of squares (Dong, Roth and Su, arXiv 1905.02383,
/// corollary 3.3; adaptive composition).</param>
public sealed record JobCharge(string Party, string JobDigest, int Releases, double Mu);

/// <summary>Where a party writes down what its releases cost, before they leave.</summary>
public interface IPrivacyLedger
{
    /// <summary>Charges so far, in order.</summary>
    IReadOnlyList<PrivacyCharge> Charges { get; }

    /// <summary>Writes a charge down. Returns when it is safely kept; a release leaves only after that.</summary>
    /// <param name="charge">The charge.</param>
    void Charge(PrivacyCharge charge);

    /// <summary>The charges added up, a line for every party and job, in order of their first charge.</summary>
    /// <returns>The sums.</returns>
    IReadOnlyList<JobCharge> Summary() =>
        [.. Charges.GroupBy(charge => (charge.Party, charge.JobDigest)).Select(job =>
            new JobCharge(job.Key.Party, job.Key.JobDigest, job.Count(), Math.Sqrt(job.Sum(charge => charge.Mu * charge.Mu))))];
}

/// <summary>A ledger that lives as long as the process. Thread-safe.</summary>
public sealed class InMemoryLedger : IPrivacyLedger
{
    private readonly Lock _lock = new();
    private readonly List<PrivacyCharge> _charges = [];

    /// <inheritdoc />
    public IReadOnlyList<PrivacyCharge> Charges
    {
        get
        {
            lock (_lock)
                return [.. _charges];
        }
    }

    /// <inheritdoc />
    public void Charge(PrivacyCharge charge)
    {
        ArgumentNullException.ThrowIfNull(charge);
        lock (_lock)
            _charges.Add(charge);
    }
}
