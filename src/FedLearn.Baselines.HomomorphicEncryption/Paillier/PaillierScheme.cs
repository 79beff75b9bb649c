using System.Numerics;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>How a party computes. Keys and ciphertexts are the same for all, so parties may differ in it.</summary>
public enum PaillierVariant
{
    /// <summary>Obfuscators by a table of powers of the key's generator, inner products by buckets, for all entries of a column at once.</summary>
    Fast,

    /// <summary>Obfuscators by a table of powers of the key's generator, inner products by one modular power an entry, as FATE has it.</summary>
    FateLike,

    /// <summary>Obfuscators r^n of a random r, as Paillier has it; inner products by one modular power an entry.</summary>
    Textbook,
}

/// <summary>Paillier's scheme (Eurocrypt 1999) with g = 1 + n, on GMP: one ciphertext a number, exact sums modulo n.</summary>
/// <remarks><para>Obfuscators are h_s^a with exponents of half the bits of n (Damgard, Jurik and Nielsen, International Journal of Information Security 9, 2010), or r^n. Decryption is by the Chinese remainder theorem.</para>
/// <para>Numbers are integers in units of 2^-64 (encrypted ones) and 2^-52 (columns). A ciphertext is an integer modulo n^2: 512 bytes for n of 2048 bits, 768 for 3072, little-endian.</para>
/// <para>A vector that was encrypted here is obfuscated number by number, and every masked sum gets a fresh obfuscator besides its mask: without one, whoever knows the ciphertexts that it was computed from could
/// read from it what was added to them.</para></remarks>
public sealed class PaillierScheme : IAdditiveScheme
{
    private const int Shares = 256;

    private readonly Workers _workers;

    /// <summary>Chooses size and way.</summary>
    /// <param name="keyBits">Bits of n: 2048 (default) or 3072, about 112 and 128 bits of security (NIST SP 800-57 part 1).</param>
    /// <param name="variant">How this party computes. Default <see cref="PaillierVariant.Fast"/>.</param>
    /// <param name="threads">Threads of each call; at least 1. Default 0: half the processors, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">Another size, or fewer threads.</exception>
    public PaillierScheme(int keyBits = 2048, PaillierVariant variant = PaillierVariant.Fast, int threads = 0)
    {
        if (keyBits is not (2048 or 3072))
            throw new ArgumentOutOfRangeException(nameof(keyBits), keyBits, "A key has 2048 or 3072 bits.");
        if (!Enum.IsDefined(variant))
            throw new ArgumentOutOfRangeException(nameof(variant));
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        (KeyBits, Variant, _workers) = (keyBits, variant, new Workers(threads == 0 ? Math.Max(1, Environment.ProcessorCount / 2) : threads));
    }

    /// <summary>Bits of n.</summary>
    public int KeyBits { get; }

    /// <summary>How this party computes.</summary>
    public PaillierVariant Variant { get; }

    /// <inheritdoc />
    public string Name => Variant switch { PaillierVariant.Fast => "paillier", PaillierVariant.FateLike => "paillier-fate", _ => "paillier-textbook" };

    /// <summary>GMP with its version, bits of n and variant.</summary>
    /// <exception cref="InternalFailureException">FL6207: GMP is missing.</exception>
    public string Engine => $"GMP {Gmp.Require()}, n of {KeyBits} bits, {Variant switch { PaillierVariant.Fast => "fast", PaillierVariant.FateLike => "FATE-like", _ => "textbook" }}";

    /// <inheritdoc />
    public int SecurityBits => KeyBits == 2048 ? 112 : 128;

    /// <inheritdoc />
    public int MostShares => Shares;

    /// <summary>Bound on the error of one opened inner product, for residuals that are sums of at most <see cref="MostShares"/> shares. Sums modulo n are exact, so only rounding counts.</summary>
    /// <inheritdoc cref="IAdditiveScheme.SumError" path="/*[not(self::summary)]" />
    public double SumError(int rows, double shareBound, double columnBound)
    {
        SchemeArguments.CheckBounds(rows, shareBound, columnBound);
        if (shareBound > FixedPoint.Largest || columnBound > FixedPoint.Largest)
            return double.PositiveInfinity;
        // Rounding moves each share by at most 2^-65, so r_i by e = 256 2^-65, and x_i by at most f = 2^-53: |(r + e)(x + f) - r x| <= |r| f + |x| e + e f.
        double e = Shares * Math.ScaleB(1, -FixedPoint.ShareBits - 1), f = Math.ScaleB(1, -FixedPoint.ColumnBits - 1);
        double rounding = rows * ((shareBound * f) + (columnBound * e) + (e * f));
        // The sum becomes a float64, off by at most 2^-52 of it; the last factor is for rounding in these lines.
        return (rounding + (Math.ScaleB(1, -52) * ((rows * shareBound * columnBound) + rounding))) * (1 + 1e-12);
    }

    /// <inheritdoc />
    public Task<IKeyHolder> CreateKeyAsync(CancellationToken cancellationToken = default)
    {
        Gmp.Require();
        return Task.Run<IKeyHolder>(() => new PaillierKeyHolder(SecretKey.Create(KeyBits, cancellationToken), _workers), cancellationToken);
    }

    /// <inheritdoc />
    public Task<IEncryptor> UseKeyAsync(ReadOnlyMemory<byte> publicKey, CancellationToken cancellationToken = default)
    {
        Gmp.Require();
        return Task.Run<IEncryptor>(() =>
        {
            PublicKey key = PublicKey.Load(publicKey.Span, KeyBits);
            IObfuscator obfuscator = Variant == PaillierVariant.Textbook ? new FullObfuscator(key) : new FixedBaseObfuscator(key, _workers, cancellationToken);
            return new PaillierEncryptor(key, obfuscator, Variant, _workers);
        }, cancellationToken);
    }
}

/// <summary>The secret key and what it opens.</summary>
internal sealed unsafe class PaillierKeyHolder(SecretKey secret, Workers workers) : IKeyHolder
{
    private bool _disposed;

    public ReadOnlyMemory<byte> PublicKey { get; } = secret.Public.Save();

    public AnswerSpace Answers => secret.Public.Answers;

    internal SecretKey Secret => secret;

    public Task<BigInteger[]> OpenAsync(ReadOnlyMemory<byte> masked, int count, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return Task.Run(() =>
        {
            ulong[] words = secret.Public.Read(masked, count, workers, cancellationToken);
            var opened = new BigInteger[count];
            workers.Run(count, 1, (j, _) =>
            {
                fixed (ulong* w = words)
                    opened[j] = secret.Decrypt(w + ((long)j * secret.Public.Words));
            }, cancellationToken);
            return opened;
        }, cancellationToken);
    }

    public ValueTask DisposeAsync()
    {
        if (!_disposed)
            secret.Wipe();
        _disposed = true;
        return ValueTask.CompletedTask;
    }
}
