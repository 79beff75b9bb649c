using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Whether the observer whom a claim is made against sees which records were sampled. There is no default to lean on: 0 is the careful answer.</summary>
public enum SampleVisibility
{
    /// <summary>The observer sees the sample, as a peer does who receives row-aligned messages. Sampling then hides nothing and amplifies nothing.</summary>
    SeenByObserver = 0,

    /// <summary>The observer never learns which records were sampled: somebody outside of the job who gets the final model only, while every
    /// party that saw a batch keeps it secret.</summary>
    HiddenFromObserver = 1,
}

/// <summary>A number of equal steps, each a Gaussian release of a sum over a Poisson sample of the records.</summary>
/// <param name="SamplingRate">Probability with which each record, by itself, enters the sample of a step. Above 0, at most 1.</param>
/// <param name="NoiseMultiplier">Noise deviation per unit of the L2 sensitivity of adding or removing one record, above 0. By itself it says nothing about
/// epsilon: unsampled, T steps are sqrt(T)/NoiseMultiplier-GDP, which is epsilon 4.4 at delta 1e-5 for one step of multiplier 1.</param>
/// <param name="Steps">Number of steps T, at least 1.</param>
public sealed record SubsampledGaussian(double SamplingRate, double NoiseMultiplier, int Steps);

/// <summary>Bounds that hold, and a value between them.</summary>
/// <param name="Lower">The truth is not below this.</param>
/// <param name="Estimate">Probably the closest figure; not a bound, never to be claimed.</param>
/// <param name="Upper">The truth is not above this. The figure to claim.</param>
public sealed record PldBounds(double Lower, double Estimate, double Upper);

/// <summary>Bounds in both directions of add/remove adjacency, and of the pair.</summary>
/// <param name="Remove">A record is removed.</param>
/// <param name="Add">A record is added.</param>
public sealed record PldResult(PldBounds Remove, PldBounds Add)
{
    /// <summary>Lower bound over both directions.</summary>
    public double Lower => Math.Max(Remove.Lower, Add.Lower);

    /// <summary>Estimate over both directions; not a bound.</summary>
    public double Estimate => Math.Max(Remove.Estimate, Add.Estimate);

    /// <summary>Upper bound over both directions: the figure to claim.</summary>
    public double Upper => Math.Max(Remove.Upper, Add.Upper);
}

/// <summary>Privacy-loss accountant of Poisson-subsampled Gaussian steps (DP-SGD), with bounds from both sides.</summary>
/// <remarks>
/// <para>Not for HDP-VFL: there the peer sees every batch, and <see cref="GaussianDp"/> is exact. This is for an observer outside of the job, and
/// for neighbours that differ by ONE RECORD MORE OR LESS (add/remove), whereas the library's other claims replace a record.</para>
/// <para>Bounds are rigorous up to floating-point evaluation of a step's masses, for which a relative 1e-13 a step is charged; cut tails, wrap-around
/// and round-off of the transforms are bounded and charged. The gap of epsilon is about 5e-5, or 5e-6 of epsilon where that is more, wherever 2^21 grid points allow it; where
/// they do not, the upper bound is that without sampling. Time: tens of milliseconds to some seconds. A central-limit figure (Gaussian-DP with mu = q sqrt(T (e^(1/sigma^2) - 1))) is not offered: it under-reports, by 0.17 at q = .04,
/// sigma = 1.5, T = 2249, delta = 1e-5. Immutable and thread-safe.</para>
/// </remarks>
public sealed class PldAccountant
{
    private readonly IReadOnlyList<SubsampledGaussian> _phases;

    /// <summary>Takes the steps of a training run.</summary>
    /// <param name="visibility">Whether the observer sees the samples; says against whom the figure holds.</param>
    /// <param name="phases">Steps, in any order; at least one element. Rates and multipliers may differ, and depend on nothing secret.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2304: a sampling rate is not in (0, 1]; FL2305: steps below 1 or none at all; FL2300: a noise
    /// multiplier is not a finite number above 0; FL2306: numbers beyond the accountant's range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5010: a sampling rate below 1 and an observer who sees the sample.</exception>
    public PldAccountant(SampleVisibility visibility, params IReadOnlyList<SubsampledGaussian> phases)
    {
        CheckSome(phases);
        _phases = [.. phases];
        foreach (SubsampledGaussian phase in _phases)
        {
            Check(visibility, phase);
            if (phase.NoiseMultiplier is < 0.02 or > 1e6 || phase.SamplingRate < 1e-9)
                throw PrivacyErrors.Configuration(PrivacyErrors.BeyondAccountant, "phases",
                    "the noise multiplier is not between 0.02 and 1e6, or the sampling rate is below 1e-9.", "Use numbers within that range.");
        }
    }

    /// <summary>Epsilon at a delta.</summary>
    /// <param name="delta">Probability, at least 1e-100 and below 1.</param>
    /// <returns>Finite bounds in nats, at least 0, of which the upper one is never above the figure without sampling. With every sampling rate 1 they are the exact Gaussian-DP figure. All are 0
    /// where a record is in any sample with a probability of at most delta.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: delta is not strictly between 0 and 1; FL2306: it is below 1e-100.</exception>
    public PldResult Epsilon(double delta)
    {
        if (!(delta > 0 && delta < 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "delta",
                "it is not strictly between 0 and 1.", "Give a delta above 0 and below 1, such as 1e-5.");
        if (delta < 1e-100)
            throw PrivacyErrors.Configuration(PrivacyErrors.BeyondAccountant, "delta", "it is below 1e-100.", "Use a delta of at least 1e-100.");
        // With a record in no sample both tables give the same: two laws that differ with probability s only are (0, s)-private.
        if (Sampled <= delta)
            return Exact(0);
        // Sampling never harms. With P without the record and Q with it in the sample, a step compares (1 - q) P + q Q with P. The hockey-stick divergence of either order is
        // convex in the pair and 0 for P against P, so it is at most q times that of P and Q: N(0, 1) and N(1/sigma, 1) dominate the step, and dominating pairs compose
        // (Zhu, Dong and Wang, arXiv 2106.08567, theorem 10).
        double most = GaussianDp.Epsilon(Mu, delta);
        return IsUnsampled ? Exact(most) : Both(loss => loss.Epsilon(delta, most));
    }

    /// <summary>Delta at an epsilon.</summary>
    /// <param name="epsilon">Privacy loss in nats. Finite, at least 0.</param>
    /// <returns>Bounds on the probability. With every sampling rate 1 they are the exact Gaussian-DP figure.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301: epsilon out of range.</exception>
    public PldResult Delta(double epsilon)
    {
        if (!double.IsFinite(epsilon) || epsilon < 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidBudget, "epsilon",
                "it is not a finite number of at least 0.", "Give a finite epsilon of at least 0.");
        return IsUnsampled ? Exact(GaussianDp.Delta(Mu, epsilon)) : Both(loss => loss.Delta(epsilon));
    }

    /// <summary>Refuses an empty list.</summary>
    internal static void CheckSome(IReadOnlyList<SubsampledGaussian> phases)
    {
        ArgumentNullException.ThrowIfNull(phases);
        if (phases.Count == 0)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidSteps, "phases", "there is none.", "Give at least one phase of at least one step.");
    }

    /// <summary>Refuses numbers out of range, and amplification against an observer who sees the sample.</summary>
    internal static void Check(SampleVisibility visibility, SubsampledGaussian phase)
    {
        ArgumentNullException.ThrowIfNull(phase);
        if (!(phase.SamplingRate > 0 && phase.SamplingRate <= 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidSamplingRate, "sampling rate",
                "it is not above 0 and at most 1.", "Give the probability with which a record enters a step.");
        PrivacyErrors.CheckPositive(phase.NoiseMultiplier, "noise multiplier");
        if (phase.Steps < 1)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidSteps, "steps", "it is below 1.", "Give the number of noisy steps, at least 1.");
        if (visibility != SampleVisibility.HiddenFromObserver && phase.SamplingRate < 1)
            throw PrivacyErrors.Refused(PrivacyErrors.SampleIsSeen, "sampling rate",
                "the observer sees which records are sampled, so sampling gives no privacy against it.",
                "Account with GaussianDp and mu = sqrt(steps)/noise multiplier, or make the claim against an observer who never sees a sample.");
    }

    private bool IsUnsampled => _phases.All(phase => phase.SamplingRate == 1);

    /// <summary>mu of all steps if none of them sampled, rounded up.</summary>
    private double Mu => Math.BitIncrement(Math.Sqrt(_phases.Sum(phase => phase.Steps / phase.NoiseMultiplier / phase.NoiseMultiplier) * (1 + 1e-15 * (_phases.Count + 2))));

    /// <summary>Probability 1 - (1 - q)^T with which a record is in any sample, rounded up.</summary>
    private double Sampled => IsSurelySampled ? 1 : -Elementary.ExpM1(_phases.Sum(phase => phase.Steps * Elementary.LogP1(-phase.SamplingRate))) * (1 + 1e-15 * (_phases.Count + 10));

    private bool IsSurelySampled => _phases.Any(phase => phase.SamplingRate == 1);

    private static PldResult Exact(double value)
    {
        // The exact figure is rounded up by less than 5e-13 of it.
        var bounds = new PldBounds(value * (1 - 1e-12), value, value);
        return new(bounds, bounds);
    }

    private PldResult Both(Func<PrivacyLoss, PldBounds> query) => new(query(new(_phases, add: false)), query(new(_phases, add: true)));
}
