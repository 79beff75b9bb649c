using System.Security.Cryptography;
using FedLearn.Diagnostics;

namespace FedLearn.Aggregation;

/// <summary>A pair of X25519. The secret half is wiped when the pair is disposed of.</summary>
internal sealed class AgreementPair : IDisposable
{
    // Pinned, so that the collector leaves no copies behind.
    private readonly byte[] _secret = GC.AllocateArray<byte>(Sodium.KeyBytes, pinned: true);

    public AgreementPair()
    {
        Sodium.Require();
        RandomNumberGenerator.Fill(_secret);
        Sodium.PublicOf(_secret, PublicKey);
    }

    internal AgreementPair(ReadOnlySpan<byte> secret)
    {
        secret.CopyTo(_secret);
        Sodium.PublicOf(_secret, PublicKey);
    }

    public byte[] PublicKey { get; } = new byte[Sodium.KeyBytes];

    public ReadOnlySpan<byte> Secret => _secret;

    /// <summary>A key of 32 bytes that both pairs can derive, and nobody else: HKDF-SHA256 (RFC 5869) of what they agree on. The caller wipes it.</summary>
    /// <exception cref="PeerException">FL4067: the other key has low order.</exception>
    public void Derive(ReadOnlySpan<byte> peer, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> info, Span<byte> key, string place)
    {
        Span<byte> shared = stackalloc byte[Sodium.KeyBytes];
        Agree(_secret, peer, shared, place);
        HKDF.DeriveKey(HashAlgorithmName.SHA256, shared, key, salt, info);
        CryptographicOperations.ZeroMemory(shared);
    }

    /// <summary>Refuses a public key of low order: whatever secret meets it, what is agreed is 0.</summary>
    public static void CheckPublic(ReadOnlySpan<byte> key, string place)
    {
        Sodium.Require();
        Span<byte> any = stackalloc byte[Sodium.KeyBytes], shared = stackalloc byte[Sodium.KeyBytes];
        any.Fill(1);
        Agree(any, key, shared, place);
    }

    public static void Agree(ReadOnlySpan<byte> secret, ReadOnlySpan<byte> peer, Span<byte> shared, string place)
    {
        if (!Sodium.Agree(secret, peer, shared))
            throw AggregationErrors.Peer(AggregationErrors.UnusableKey, place, "a public key has low order, so that what is agreed with it is no secret.",
                "Do not go on with the peer that sent it: no honest party makes such a key.");
    }

    public void Dispose() => CryptographicOperations.ZeroMemory(_secret);
}

/// <summary>The long-lived signing key of an enrolled client (Ed25519, RFC 8032). With an active server it signs the keys of every round and the lists of clients.</summary>
public sealed class EnrolmentKey : IDisposable
{
    /// <summary>Bytes of the seed and of the public key.</summary>
    public const int SeedBytes = 32, PublicBytes = 32;

    private readonly byte[] _secret = GC.AllocateArray<byte>(Sodium.SignSecretBytes, pinned: true);
    private readonly byte[] _publicKey = new byte[PublicBytes];

    private EnrolmentKey(ReadOnlySpan<byte> seed) => Sodium.SignPair(seed, _publicKey, _secret);

    /// <summary>The public half, which the other clients must know from elsewhere than the server.</summary>
    public ReadOnlyMemory<byte> PublicKey => _publicKey;

    /// <summary>Makes a new key that lives as long as this object.</summary>
    /// <exception cref="InternalFailureException">FL6143: libsodium is missing.</exception>
    public static EnrolmentKey Create()
    {
        Span<byte> seed = stackalloc byte[SeedBytes];
        RandomNumberGenerator.Fill(seed);
        try
        {
            return new(seed);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(seed);
        }
    }

    /// <summary>The key of a seed that the client keeps.</summary>
    /// <param name="seed">32 secret random bytes.</param>
    /// <exception cref="ArgumentException">The seed has another length.</exception>
    /// <exception cref="InternalFailureException">FL6143: libsodium is missing.</exception>
    public static EnrolmentKey FromSeed(ReadOnlySpan<byte> seed) => new(seed);

    internal byte[] Sign(ReadOnlySpan<byte> message)
    {
        byte[] signature = new byte[Sodium.SignatureBytes];
        Sodium.Sign(message, _secret, signature);
        return signature;
    }

    /// <summary>Wipes the secret half.</summary>
    public void Dispose() => CryptographicOperations.ZeroMemory(_secret);
}
