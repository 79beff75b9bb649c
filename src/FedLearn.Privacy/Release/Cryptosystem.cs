namespace FedLearn.Privacy;

/// <summary>A payload that is ciphertexts, or integers under a mask that only one party knows. The set is closed.</summary>
public abstract class SealedPayload : Payload
{
    private protected SealedPayload(ReadOnlyMemory<byte> bytes, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        (Bytes, Length) = (bytes, length);
    }

    /// <summary>The bytes; their form belongs to the scheme that the job names.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>Numbers that are sealed.</summary>
    public override int Length { get; }

    /// <inheritdoc />
    public override long PackedBytes => Bytes.Length;
}

/// <summary>A party's shares of the residuals of one batch, shape [b], encrypted under the arbiter's key. Passive to active and back; the arbiter never
/// sees it.</summary>
/// <param name="bytes">The ciphertexts.</param>
/// <param name="length">Rows of the batch, b.</param>
public sealed class EncryptedShares(ReadOnlyMemory<byte> bytes, int length) : SealedPayload(bytes, length);

/// <summary>Encrypted inner products of the residuals of one batch with a party's columns, shape [d], re-randomised and masked. Party to arbiter.</summary>
/// <param name="bytes">The ciphertexts.</param>
/// <param name="length">Columns, d.</param>
public sealed class MaskedProducts(ReadOnlyMemory<byte> bytes, int length) : SealedPayload(bytes, length);

/// <summary>The integers that masked inner products are, under the receiver's own mask, shape [d]. Arbiter to party.</summary>
/// <param name="bytes">One integer after the other, little-endian, all of one width.</param>
/// <param name="length">Columns, d.</param>
public sealed class MaskedAnswers(ReadOnlyMemory<byte> bytes, int length) : SealedPayload(bytes, length);

/// <summary>The arbiter's public key, and what else a party needs to encrypt under it. Arbiter to every party.</summary>
/// <param name="bytes">The key, in the form of the scheme that the job names.</param>
public sealed class EncryptionKey(ReadOnlyMemory<byte> bytes) : Payload
{
    /// <summary>The key.</summary>
    public ReadOnlyMemory<byte> Bytes { get; } = bytes;

    /// <inheritdoc />
    public override int Length => Bytes.Length;

    /// <inheritdoc />
    public override long PackedBytes => Bytes.Length;
}

/// <summary>Releases of ciphertexts.</summary>
public static class Cryptosystem
{
    /// <summary>Lets ciphertexts leave.</summary>
    /// <typeparam name="T">The payload.</typeparam>
    /// <param name="value">What leaves.</param>
    /// <param name="what">What is encrypted, for the report, such as <c>shares of residuals</c>. Not empty.</param>
    /// <param name="scheme">The scheme, for the report. Not empty.</param>
    /// <param name="keyHolder">Who could decrypt it. Not empty.</param>
    /// <returns>The value, releasable. It protects against everybody but the key holder, as far as the scheme does.</returns>
    public static Released<T> Release<T>(T value, string what, string scheme, string keyHolder) where T : SealedPayload
    {
        ArgumentNullException.ThrowIfNull(value);
        ArgumentException.ThrowIfNullOrWhiteSpace(what);
        ArgumentException.ThrowIfNullOrWhiteSpace(scheme);
        ArgumentException.ThrowIfNullOrWhiteSpace(keyHolder);
        return new Released<T>(value, Protection.Encryption, $"{what}: {scheme}, key of {keyHolder}");
    }
}
