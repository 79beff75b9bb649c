namespace FedLearn.Numerics;

/// <summary>SplitMix64 (Steele, Lea and Flood 2014), as a hash of counters: the same numbers everywhere. Not secret.</summary>
internal static class SplitMix64
{
    /// <summary>What the state grows by from one number to the next.</summary>
    public const ulong Golden = 0x9E3779B97F4A7C15;

    /// <summary>The finaliser, a bijection.</summary>
    public static ulong Mix(ulong z)
    {
        unchecked
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
