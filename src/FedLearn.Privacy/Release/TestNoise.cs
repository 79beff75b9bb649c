using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Seeded noise for tests: the same on every machine, and no protection at all. Not thread-safe.</summary>
/// <remarks>Words are SplitMix64 (Steele, Lea and Flood 2014) from a start that SHA-256 derives from seed and stream; they then take the path
/// of <see cref="CsprngNoise"/>. Bits are found by the number of the draw: two fills give what one fill of both lengths gives.</remarks>
public sealed class TestNoise : INoiseSource
{
    private readonly Words _words;
    private ulong _drawn;

    /// <summary>Creates the noise.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="stream">Name of the stream, such as the party's; streams are independent.</param>
    public TestNoise(ulong seed, string stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        byte[] text = Encoding.UTF8.GetBytes("FedLearn test noise\0........" + stream);
        BinaryPrimitives.WriteUInt64LittleEndian(text.AsSpan("FedLearn test noise\0".Length), seed);
        byte[] digest = SHA256.HashData(text);
        ulong Part(int i) => BinaryPrimitives.ReadUInt64LittleEndian(digest.AsSpan(8 * i));
        _words = new(Part(0), Part(1), Part(2), Part(3));
    }

    /// <inheritdoc />
    public bool IsSecure => false;

    /// <inheritdoc />
    public void Fill(Span<int> destination)
    {
        Words words = _words;
        RoundedNormal.Fill(ref words, _drawn, destination, RoundedNormal.MaximumScaleBits);
        _drawn += (ulong)destination.Length;
    }

    /// <summary>Leaves draws out, as if they had been made.</summary>
    /// <param name="draws">How many, at least 0.</param>
    internal void Skip(long draws)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(draws);
        _drawn += (ulong)draws;
    }

    /// <summary>Word i of SplitMix64 is a function of its start and i. Any range of leading words may be asked for.</summary>
    private readonly record struct Words(ulong Start, ulong Mask, ulong FurtherStart, ulong FurtherMask) : IUniformBits
    {
        private const ulong Golden = 0x9E3779B97F4A7C15;

        public void Leading(ulong first, scoped Span<ulong> words)
        {
            for (int i = 0; i < words.Length; i++)
                words[i] = unchecked(Mix(Start + (first + (ulong)i + 1) * Golden)) ^ Mask;
        }

        public ulong Further(ulong draw, int part) =>
            unchecked(Mix(Mix(FurtherStart + (draw + 1) * Golden) + (ulong)part * Golden)) ^ FurtherMask;

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
}
