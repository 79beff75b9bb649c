using static FedLearn.Numerics.SplitMix64;

namespace FedLearn.Dssm;

/// <summary>Seeded numbers that every party can compute: SplitMix64 (Steele, Lea and Flood 2014) as a counter. For schedules and draws that need no secrecy.</summary>
internal struct PublicRandom
{
    private ulong _state;

    /// <summary>A stream of its own for every purpose and every tuple of numbers.</summary>
    public PublicRandom(Purpose purpose, long seed, long first = 0, long second = 0) => _state = Key(purpose, seed, first, second);

    /// <summary>The stream of a seed alone.</summary>
    public PublicRandom(long seed) => _state = unchecked((ulong)seed);

    /// <summary>What numbers are for; the values are part of what runs agree on.</summary>
    public enum Purpose : ulong
    {
        Order = 1,
        Negatives = 2,
        Dropout = 3,
        Cap = 4,
    }

    /// <summary>One number of a tuple.</summary>
    public static ulong Key(Purpose purpose, long seed, long first, long second)
    {
        unchecked
        {
            ulong key = Mix((ulong)seed + Golden * (ulong)purpose);
            key = Mix(key + Golden + (ulong)first);
            return Mix(key + Golden + (ulong)second);
        }
    }

    /// <summary>The next 64 bits.</summary>
    public ulong Next()
    {
        unchecked
        {
            return Mix(_state += Golden);
        }
    }

    /// <summary>The next number in [0, 1), a multiple of 2^-53.</summary>
    public double NextDouble() => Unit(Next());

    /// <summary>The number in [0, 1), a multiple of 2^-53, that 64 bits stand for.</summary>
    public static double Unit(ulong bits) => (bits >> 11) * (1.0 / (1UL << 53));

    /// <summary>The next whole number below a bound, all equally likely (Lemire 2019).</summary>
    public int Below(int bound)
    {
        unchecked
        {
            ulong n = (ulong)bound, high = Math.BigMul(Next(), n, out ulong low);
            if (low < n)
            {
                ulong reject = (0 - n) % n;
                while (low < reject)
                    high = Math.BigMul(Next(), n, out low);
            }

            return (int)high;
        }
    }
}
