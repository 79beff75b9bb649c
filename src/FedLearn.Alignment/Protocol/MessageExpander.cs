using System.Buffers.Binary;
using System.Security.Cryptography;

namespace FedLearn.Alignment;

/// <summary>expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1), for many messages on one thread.</summary>
/// <remarks>One hash object for all of them: SHA512.HashData makes one for each, and two threads that do so are no faster than one (measured).</remarks>
internal sealed class MessageExpander : IDisposable
{
    private const int BlockBytes = 128, DigestBytes = 64;

    private readonly byte[] _tag;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA512);
    private byte[] _prime = [];

    /// <param name="tag">Domain separation tag, at most 255 bytes.</param>
    public MessageExpander(byte[] tag)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tag.Length, byte.MaxValue);
        _tag = tag;
    }

    /// <summary>Makes uniform bytes of a message.</summary>
    /// <param name="message">The message.</param>
    /// <param name="uniform">Where to: at most 255 * 64 bytes.</param>
    public void Expand(ReadOnlySpan<byte> message, Span<byte> uniform)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(uniform.Length, byte.MaxValue * DigestBytes);
        // msg_prime = Z_pad || msg || I2OSP(len, 2) || 0 || DST_prime, DST_prime = DST || I2OSP(|DST|, 1)
        int length = BlockBytes + message.Length + 3 + _tag.Length + 1;
        if (_prime.Length < length)
            _prime = new byte[2 * length];
        Span<byte> prime = _prime.AsSpan(0, length), tail = prime[(BlockBytes + message.Length)..];
        message.CopyTo(prime[BlockBytes..]);
        BinaryPrimitives.WriteUInt16BigEndian(tail, (ushort)uniform.Length);
        tail[2] = 0;
        _tag.CopyTo(tail[3..]);
        tail[^1] = (byte)_tag.Length;
        Span<byte> first = stackalloc byte[DigestBytes];
        Hash(prime, first);                                                     // b_0 = H(msg_prime)

        Span<byte> block = stackalloc byte[DigestBytes], input = stackalloc byte[DigestBytes + 1 + _tag.Length + 1];
        block.Clear();
        tail[3..].CopyTo(input[(DigestBytes + 1)..]);
        for (int i = 1, done = 0; done < uniform.Length; i++, done += DigestBytes)
        {
            for (int j = 0; j < DigestBytes; j++)
                input[j] = (byte)(first[j] ^ block[j]);                         // b_i = H((b_0 xor b_(i-1)) || I2OSP(i, 1) || DST_prime); b_1 takes b_0 as it is
            input[DigestBytes] = (byte)i;
            Hash(input, block);
            block[..Math.Min(DigestBytes, uniform.Length - done)].CopyTo(uniform[done..]);
        }
    }

    public void Dispose() => _hash.Dispose();

    private void Hash(ReadOnlySpan<byte> input, Span<byte> digest)
    {
        _hash.AppendData(input);
        _hash.GetHashAndReset(digest);
    }
}
