namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>SplitMix64 (Steele, Lea and Flood 2014): a case is made again from its target, seed and number on any machine and release of .NET.</summary>
internal sealed class FuzzRandom(ulong state)
{
    private ulong _state = state;

    /// <summary>The source of one case.</summary>
    public static FuzzRandom Of(ulong seed, string target, long number)
    {
        unchecked
        {
            ulong hash = 14695981039346656037;                                    // FNV-1a: string.GetHashCode differs from process to process
            foreach (char c in target)
                hash = (hash ^ c) * 1099511628211;
            return new FuzzRandom(Mix(seed ^ hash) + (ulong)number * 0xD1342543DE82EF95);
        }
    }

    public ulong Next()
    {
        unchecked
        {
            return Mix(_state += 0x9E3779B97F4A7C15);
        }
    }

    /// <summary>A whole number from 0 to below the bound; 0 when the bound is 0.</summary>
    public int Below(int bound) => bound <= 1 ? 0 : (int)(Next() % (ulong)bound);

    /// <summary>A whole number of a range, ends included.</summary>
    public int Between(int low, int high) => low + Below(high - low + 1);

    public bool OneIn(int count) => Below(count) == 0;

    public char Of(string all) => all[Below(all.Length)];

    public T Of<T>(IReadOnlyList<T> all) => all[Below(all.Count)];

    public byte Byte() => (byte)(Next() >> 56);

    /// <summary>A count whose size is spread over the powers of two up to a bound: small most of the time, now and then large.</summary>
    public int Spread(int most) => Between(0, Math.Min(most, 1 << Below(1 + (int)Math.Log2(Math.Max(1, most)) + 1)));

    private static ulong Mix(ulong z)
    {
        unchecked
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
