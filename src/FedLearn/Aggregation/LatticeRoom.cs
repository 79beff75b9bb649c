using FedLearn.Privacy;

namespace FedLearn.Aggregation;

/// <summary>Whether a sum of integers has room in 64 bits, and noise enough of them.</summary>
internal static class LatticeRoom
{
    /// <summary>Deviations of a client's noise that are taken into account: beyond them lies a probability below 1e-340 a draw.</summary>
    public const int Deviations = 40;

    /// <summary>Fewest steps that a client's noise deviates: below, its rounding to the lattice is no longer negligible.</summary>
    public const int FewestSteps = 16;

    /// <summary>Checks n (C + 40 s) / step &lt; 2^63, s the deviation of one client's noise (sigma C / sqrt(n_min)), and s >= 16 steps unless s is 0.</summary>
    /// <param name="clients">Clients n whose integers are added, at least 1.</param>
    /// <param name="bound">Bound C on every coordinate of a client's vector before noise.</param>
    /// <param name="deviation">Deviation s of a client's noise on every coordinate; 0: none.</param>
    /// <param name="step">What 1 stands for.</param>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2452: the sum could wrap around.</exception>
    /// <exception cref="FedLearn.Diagnostics.PrivacyRefusedException">FL5005: the noise is below 16 steps.</exception>
    public static void Check(int clients, double bound, double deviation, double step)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(clients, 1);
        if (!(double.IsNormal(step) && step > 0) || !double.IsFinite(bound) || bound < 0 || !double.IsFinite(deviation) || deviation < 0
            || !(clients * (bound + Deviations * deviation) / step < 9223372036854775808.0))
            throw AggregationErrors.Configuration(AggregationErrors.NoRoom, "lattice", "the sum of all clients' integers could leave 64 bits, or a number is out of range.",
                "Use fewer clients a round, a smaller clip or a larger step.");
        if (deviation > 0 && deviation < FewestSteps * step)
            throw AggregationErrors.Refused(PrivacyErrors.LatticeTooCoarse, "lattice", "a client's noise deviates by less than 16 steps.", "Use the lattice of the noise: sigma / 2^24.");
    }
}
