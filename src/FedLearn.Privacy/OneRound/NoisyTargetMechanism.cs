using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Privacy;

/// <summary>Continuous or count labels, noised once: y~ = clip(y, low, high) plus a rounded Gaussian.</summary>
/// <remarks>The sensitivity of one row is high - low, and a lattice step for the rounding of the label; sigma comes from the analytic Gaussian (Balle and
/// Wang, arXiv 1805.06530). As with <see cref="RandomizedResponse"/> the noisy labels are kept in the ledger and leave from there.</remarks>
public sealed class NoisyTargetMechanism
{
    private readonly double _step, _limit;
    private readonly int _bits;

    /// <summary>Creates the mechanism.</summary>
    /// <param name="low">Lower end of the declared range of the label.</param>
    /// <param name="high">Upper end; above <paramref name="low"/>. Both finite.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: no range; FL2301: epsilon or delta out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5004: delta is 0.1 or more; FL5005: the lattice is too coarse for the budget; FL5007: the noise is below 2^-27 of the labels.</exception>
    public NoisyTargetMechanism(double low, double high, double epsilon, double delta)
    {
        if (!double.IsFinite(low) || !double.IsFinite(high) || !(low < high) || !double.IsFinite(high - low))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "label range", "it is not a pair of finite numbers, the lower one first.", "Declare the range of the label, such as 0 and 10.");
        HdpVflCalibration.CheckBudget(epsilon, delta);
        (Low, High, Mu) = (low, high, GaussianDp.Mu(epsilon, delta));
        const double lattice = 1.0 / INoiseSource.LatticeScale;
        if (lattice > Mu / 2)
            throw PrivacyErrors.Refused(PrivacyErrors.LatticeTooCoarse, "epsilon", "the budget is so small that rounding to the noise lattice would cost half of it or more.", "Raise epsilon.");
        // sigma = (high - low + 2 gamma)/mu with gamma = sigma/2^24: one gamma for rounding to the lattice, one for the quotient before it, which far from 0
        // errs by up to a quarter of a step at either end
        Sigma = (high - low) / (Mu - 2 * lattice) * (1 + 1e-14);
        _step = Sigma / INoiseSource.LatticeScale;
        double largest = Math.Round(Math.Max(Math.Abs(low), Math.Abs(high)) / _step);
        if (!double.IsNormal(_step) || !(largest <= 1L << 51))
            throw PrivacyErrors.Refused(PrivacyErrors.NoiseTooSmall, "epsilon, label range", "the noise would be less than a hundred-millionth of the labels it is to hide.",
                "Use a smaller epsilon, or subtract a declared constant from the labels.");
        // 16 deviations fit beside the largest label; the few draws beyond saturate, at a public limit.
        long limit = (long)largest + 16L * INoiseSource.LatticeScale;
        (_limit, _bits) = (limit, LatticeVector.BitsFor(limit));
    }

    /// <summary>Lower end of the declared range.</summary>
    public double Low { get; }

    /// <summary>Upper end of the declared range.</summary>
    public double High { get; }

    /// <summary>Gaussian-DP parameter of the noisy labels.</summary>
    public double Mu { get; }

    /// <summary>Noise deviation, lattice slack included; units of the label.</summary>
    public double Sigma { get; }

    /// <summary>Bits that a released label takes on the wire: the fewest that hold the largest label and 16 deviations of noise.</summary>
    /// <param name="latticeBits">As for <see cref="Release"/>.</param>
    public int BitsOf(int latticeBits = GaussianMechanism.UsualLatticeBits) => LatticeVector.BitsFor((long)Math.Round(_limit / Coarser(latticeBits)));

    /// <summary>Adds noise to labels. What comes out may leave only from the ledger, see <see cref="Release"/>.</summary>
    /// <param name="labels">Labels, shape [n], finite; those outside the range are clipped to it.</param>
    /// <param name="noise">Where the noise comes from.</param>
    /// <returns>The packed lattice integers.</returns>
    public byte[] Randomize(ReadOnlySpan<double> labels, INoiseSource noise)
    {
        ArgumentNullException.ThrowIfNull(noise);
        int[] drawn = new int[labels.Length];
        noise.Fill(drawn);
        double[] integers = new double[labels.Length];
        for (int i = 0; i < integers.Length; i++)
            integers[i] = Math.Clamp(Math.Round(Math.Clamp(labels[i], Low, High) / _step) + drawn[i], -_limit, _limit);
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(drawn.AsSpan()));
        return LatticeVector.Pack(integers, _step, _bits).Packed.ToArray();
    }

    /// <summary>Lets labels leave that the ledger has kept, with their charge, since they were noised.</summary>
    /// <param name="ledger">The party's ledger.</param>
    /// <param name="party">The party.</param>
    /// <param name="key">Key they were kept under; names the table, its labels and this mechanism.</param>
    /// <param name="count">Number of kept labels.</param>
    /// <param name="rows">Places of the rows to send among the kept ones.</param>
    /// <param name="latticeBits">Binary logarithm of the steps that a deviation of noise has in what leaves, 4 to 24; the ledger keeps all 24.</param>
    /// <returns>One noisy label a row.</returns>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5032: the ledger has kept nothing that fits.</exception>
    public Released<NoisyTargets> Release(IPrivacyLedger ledger, string party, string key, int count, ReadOnlySpan<int> rows, int latticeBits = GaussianMechanism.UsualLatticeBits)
    {
        ArgumentNullException.ThrowIfNull(ledger);
        ArgumentOutOfRangeException.ThrowIfLessThan(latticeBits, GaussianMechanism.FewestLatticeBits);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(latticeBits, GaussianMechanism.MostLatticeBits);
        if (ledger.Find(party, key) is not { } kept || LatticeVector.Restore(_step, _bits, count, kept) is not { } all)
            throw RandomizedResponse.NotKept();
        // Post-processing of what is kept.
        double step = _step * Coarser(latticeBits);
        double[] values = all.Values(), integers = new double[rows.Length];
        for (int i = 0; i < integers.Length; i++)
            integers[i] = Math.Round(values[rows[i]] / step);
        return new(new NoisyTargets(LatticeVector.Pack(integers, step, BitsOf(latticeBits))), Protection.Noise, "noisy labels");
    }

    private static int Coarser(int latticeBits) => 1 << (GaussianMechanism.MostLatticeBits - latticeBits);
}
