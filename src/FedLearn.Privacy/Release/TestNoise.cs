using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Seeded noise for tests: the same on every machine, and no protection at all. Not thread-safe.</summary>
/// <remarks>Words are SplitMix64 (Steele, Lea and Flood 2014) from a start that SHA-256 derives from seed and stream; they then take the path
/// of <see cref="CsprngNoise"/>. One word a draw: two fills give what one fill of both lengths gives.</remarks>
public sealed class TestNoise : INoiseSource
{
    private readonly ulong _mask;
    private ulong _state;

    /// <summary>Creates the noise.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="stream">Name of the stream, such as the party's; streams are independent.</param>
    public TestNoise(ulong seed, string stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        byte[] text = Encoding.UTF8.GetBytes("FedLearn test noise\0........" + stream);
        BinaryPrimitives.WriteUInt64LittleEndian(text.AsSpan("FedLearn test noise\0".Length), seed);
        byte[] digest = SHA256.HashData(text);
        _state = BinaryPrimitives.ReadUInt64LittleEndian(digest);
        _mask = BinaryPrimitives.ReadUInt64LittleEndian(digest.AsSpan(8));
    }

    /// <inheritdoc />
    public bool IsSecure => false;

    /// <inheritdoc />
    public void Fill(Span<int> destination)
    {
        Span<ulong> words = stackalloc ulong[Math.Min(1024, destination.Length)];
        while (!destination.IsEmpty)
        {
            int count = Math.Min(words.Length, destination.Length);
            for (int i = 0; i < count; i++)
                words[i] = NextWord();
            RoundedNormal.Transform(words[..count], destination[..count], INoiseSource.LatticeScale);
            destination = destination[count..];
        }
    }

    private ulong NextWord()
    {
        unchecked
        {
            _state += 0x9E3779B97F4A7C15;
            ulong z = _state;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31) ^ _mask;
        }
    }
}
