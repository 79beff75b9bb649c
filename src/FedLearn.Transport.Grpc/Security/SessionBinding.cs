using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>Ties a session to the certificates that both sides of its connection see: who ends the encryption between them with certificates of his own makes the two differ.</summary>
internal static class SessionBinding
{
    /// <summary>Length of a nonce, a key hash and a binding in bytes.</summary>
    public const int Bytes = 32;

    private static ReadOnlySpan<byte> Label => "FedLearn session binding v1"u8;

    /// <summary>The binding of a session.</summary>
    /// <param name="clientKey">SHA-256 of the client's SubjectPublicKeyInfo, 32 bytes.</param>
    /// <param name="serverKey">That of the server's.</param>
    /// <param name="jobDigest">Digest of the job, 32 bytes.</param>
    /// <param name="sessionId">Id of the session.</param>
    /// <param name="clientNonce">What the client drew for this join, 32 bytes.</param>
    /// <param name="serverNonce">What the server drew, 32 bytes.</param>
    /// <returns>SHA-256 over the label (27 bytes), both key hashes, the digest, the id (length as 4 bytes little-endian, then UTF-8) and both nonces. Every other part has a
    /// fixed length, so no two inputs give the same bytes.</returns>
    public static byte[] Of(ReadOnlySpan<byte> clientKey, ReadOnlySpan<byte> serverKey, ReadOnlySpan<byte> jobDigest, string sessionId, ReadOnlySpan<byte> clientNonce, ReadOnlySpan<byte> serverNonce)
    {
        if (clientKey.Length != Bytes || serverKey.Length != Bytes || jobDigest.Length != Bytes || clientNonce.Length != Bytes || serverNonce.Length != Bytes)
            throw new ArgumentException("Each part of a binding but the session's id has 32 bytes.");
        byte[] id = Encoding.UTF8.GetBytes(sessionId);
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, id.Length);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Label);
        hash.AppendData(clientKey);
        hash.AppendData(serverKey);
        hash.AppendData(jobDigest);
        hash.AppendData(length);
        hash.AppendData(id);
        hash.AppendData(clientNonce);
        hash.AppendData(serverNonce);
        return hash.GetHashAndReset();
    }

    /// <summary>A nonce.</summary>
    public static byte[] Nonce() => RandomNumberGenerator.GetBytes(Bytes);

    /// <summary>Refuses a binding that is not this side's, or is absent.</summary>
    /// <exception cref="PeerException">FL4138.</exception>
    public static void Require(ReadOnlySpan<byte> own, ReadOnlySpan<byte> theirs, string place)
    {
        if (!CryptographicOperations.FixedTimeEquals(own, theirs))
            throw new PeerException(GrpcErrors.BindingMismatch, place, theirs.IsEmpty ? "the peer did not say to which certificates it ties the session." : "the two sides of the connection do not see the same certificates.",
                "Compare both pins with the peer by another way: a proxy between you ends the encryption, and its certificate is listed as the peer's.");
    }
}
