using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace FedLearn.Privacy;

/// <summary>Source of the random bits of a <see cref="RandomizedResponse"/>.</summary>
public interface IUniformSource
{
    /// <summary>Whether the bits protect anything. False for seeded test bits.</summary>
    bool IsSecure { get; }

    /// <summary>Fills a span with independent words, uniform over 64 bits.</summary>
    /// <param name="destination">Receives one word an element.</param>
    void Fill(Span<ulong> destination);
}

/// <summary>Words of the operating system's cryptographic random numbers. Thread-safe.</summary>
public sealed class CsprngUniform : IUniformSource
{
    /// <inheritdoc />
    public bool IsSecure => true;

    /// <inheritdoc />
    public void Fill(Span<ulong> destination) => RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(destination));
}

/// <summary>Seeded words for tests: the same on every machine, and no protection at all. Not thread-safe.</summary>
/// <remarks>SHA-256 of a start and a counter, four words a digest.</remarks>
public sealed class TestUniform : IUniformSource
{
    private readonly byte[] _start;
    private long _counter;

    /// <summary>Creates the source.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="stream">Name of the stream, such as the party's; streams are independent.</param>
    public TestUniform(ulong seed, string stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        _start = Encoding.UTF8.GetBytes("counter.seed....FedLearn test words\0" + stream);
        BinaryPrimitives.WriteUInt64LittleEndian(_start.AsSpan(8), seed);
    }

    /// <inheritdoc />
    public bool IsSecure => false;

    /// <inheritdoc />
    public void Fill(Span<ulong> destination)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        for (int i = 0; i < destination.Length; i++)
        {
            int word = i % 4;
            if (word == 0)
            {
                BinaryPrimitives.WriteInt64LittleEndian(_start, _counter++);
                SHA256.HashData(_start, digest);
            }

            destination[i] = BinaryPrimitives.ReadUInt64LittleEndian(digest[(8 * word)..]);
        }
    }
}
