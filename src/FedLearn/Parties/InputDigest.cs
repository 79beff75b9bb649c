using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FedLearn.Parties;

/// <summary>SHA-256 of what a party brings to a job, each part with its length, so that two inputs with one digest are the same. For one machine: bytes are in its order.</summary>
internal sealed class InputDigest : IDisposable
{
    private const int Absent = -1;

    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public InputDigest Text(string? text) => text is null ? Length(Absent) : Numbers(text.AsSpan());

    public InputDigest Texts(IReadOnlyList<string> texts)
    {
        Length(texts.Count);
        foreach (string text in texts)
            Text(text);
        return this;
    }

    public InputDigest Numbers<T>(T[]? numbers) where T : unmanaged => numbers is null ? Length(Absent) : Numbers<T>(numbers.AsSpan());

    public InputDigest Numbers<T>(ReadOnlySpan<T> numbers) where T : unmanaged
    {
        Length(numbers.Length);
        _hash.AppendData(MemoryMarshal.AsBytes(numbers));
        return this;
    }

    public byte[] Finish() => _hash.GetHashAndReset();

    public void Dispose() => _hash.Dispose();

    private InputDigest Length(int length)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, length);
        _hash.AppendData(bytes);
        return this;
    }
}
