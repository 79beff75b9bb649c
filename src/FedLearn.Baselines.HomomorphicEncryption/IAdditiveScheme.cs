using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>An additive scheme with plaintext multiplication over vectors of real numbers: sums of ciphertexts, and inner products of a ciphertext with
/// plaintext columns, opened by the holder of the secret key under a mask that it does not know.</summary>
/// <remarks>Parties encrypt under the key holder's public key. What a key holder opens is uniform to it; what a party receives is exact but for
/// <see cref="SumError"/> and for what the key holder adds before it answers (docs/protocol.md).</remarks>
public interface IAdditiveScheme
{
    /// <summary>Name as run files and reports write it, such as <c>ckks</c> or <c>paillier</c>.</summary>
    string Name { get; }

    /// <summary>What does the arithmetic, with its version, for the report.</summary>
    string Engine { get; }

    /// <summary>Estimated security of the parameters, in bits.</summary>
    int SecurityBits { get; }

    /// <summary>Encrypted vectors, one a party, that may be added up to one before <see cref="SumError"/> ceases to hold; at least 2.</summary>
    int MostShares { get; }

    /// <summary>Bound on the error of one opened inner product sum_i r_i x_i, without what the key holder adds, in units of that sum.</summary>
    /// <param name="rows">Entries of both vectors, at least 1.</param>
    /// <param name="shareBound">Bound on |r_i|, and on each share of it that was encrypted. Finite, above 0.</param>
    /// <param name="columnBound">Bound on |x_i|. Finite, above 0.</param>
    /// <returns>The bound; infinity where a number or the sum may be larger than the scheme holds.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    double SumError(int rows, double shareBound, double columnBound);

    /// <summary>Draws a key pair.</summary>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="InternalFailureException">FL6200 to FL6209: the engine is missing or failed.</exception>
    Task<IKeyHolder> CreateKeyAsync(CancellationToken cancellationToken = default);

    /// <summary>Readies a party for encryption under a key it was sent.</summary>
    /// <param name="publicKey">The key as <see cref="IKeyHolder.PublicKey"/> has it; checked.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="CipherException">FL4101: it is no key of this scheme and size.</exception>
    /// <exception cref="InternalFailureException">FL6200 to FL6209: the engine is missing or failed.</exception>
    Task<IEncryptor> UseKeyAsync(ReadOnlyMemory<byte> publicKey, CancellationToken cancellationToken = default);
}

/// <summary>The integers that opened inner products are.</summary>
/// <param name="Modulus">M: answers and masks are integers in [0, M), uniform masks over all of them.</param>
/// <param name="Bytes">Bytes of one integer on the wire, little-endian.</param>
/// <param name="Unit">The integer that an inner product of 1 stands for.</param>
/// <param name="FloodBits">Bits F of flooding: what the key holder opens is returned plus an integer uniform on [0, 2^F), minus 2^(F-1); 0 where opened
/// integers carry no noise of the scheme that could tell of the key.</param>
public sealed record AnswerSpace(BigInteger Modulus, int Bytes, BigInteger Unit, int FloodBits)
{
    /// <summary>The inner product that an answer stands for once its mask is taken off.</summary>
    /// <param name="answer">The answer, in [0, M).</param>
    /// <param name="mask">The mask, in [0, M).</param>
    public double Value(BigInteger answer, BigInteger mask)
    {
        BigInteger centred = BigInteger.Remainder(answer - mask + Modulus, Modulus);
        if (centred * 2 >= Modulus)
            centred -= Modulus;
        return Ratio(centred, Unit);
    }

    // Both may be beyond what a double holds.
    private static double Ratio(BigInteger value, BigInteger unit)
    {
        int shift = (int)Math.Max(0, Math.Max(BigInteger.Abs(value).GetBitLength(), unit.GetBitLength()) - 900);
        return (double)(value >> shift) / (double)(unit >> shift);
    }
}

/// <summary>The holder of a secret key (the arbiter). The secret never leaves it.</summary>
public interface IKeyHolder : IAsyncDisposable
{
    /// <summary>The public key, for every party.</summary>
    ReadOnlyMemory<byte> PublicKey { get; }

    /// <summary>What opened integers are.</summary>
    AnswerSpace Answers { get; }

    /// <summary>Opens masked inner products: exact integers in [0, M), still under the masks. They may not leave as they are where
    /// <see cref="AnswerSpace.FloodBits"/> is above 0.</summary>
    /// <param name="masked">As <see cref="MaskedSums.Bytes"/> has them; checked.</param>
    /// <param name="count">How many.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="CipherException">FL4100: they are no such ciphertexts of this key's parameters.</exception>
    Task<BigInteger[]> OpenAsync(ReadOnlyMemory<byte> masked, int count, CancellationToken cancellationToken = default);
}

/// <summary>A party that encrypts under somebody else's public key. Not thread-safe.</summary>
public interface IEncryptor : IAsyncDisposable
{
    /// <summary>What answers are.</summary>
    AnswerSpace Answers { get; }

    /// <summary>Refuses columns that the engine cannot hold at once, before any is encoded.</summary>
    /// <param name="columns">Columns of each batch, at least 1.</param>
    /// <param name="batches">Rows of each batch, at least 1; the columns of all batches are held throughout.</param>
    /// <exception cref="InternalFailureException">FL6202: they are more than the engine has memory for. By default nothing is refused.</exception>
    void CheckRoom(int columns, IReadOnlyList<int> batches)
    {
    }

    /// <summary>Encrypts a vector, with fresh randomness.</summary>
    /// <param name="values">The numbers, at least one, finite and of absolute value at most 2^20.</param>
    /// <param name="cancellationToken">Stops.</param>
    Task<CipherVector> EncryptAsync(ReadOnlyMemory<double> values, CancellationToken cancellationToken = default);

    /// <summary>Reads a vector that another party encrypted under the same key.</summary>
    /// <param name="bytes">As <see cref="CipherVector.SaveAsync"/> wrote it; checked for length, parameters and range before any engine sees it.</param>
    /// <param name="length">Numbers it must hold.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="CipherException">FL4100: it is no such ciphertext.</exception>
    Task<CipherVector> LoadAsync(ReadOnlyMemory<byte> bytes, int length, CancellationToken cancellationToken = default);

    /// <summary>The encrypted sum of two vectors of one length. The operands stay usable.</summary>
    /// <param name="first">One.</param>
    /// <param name="second">The other.</param>
    /// <param name="cancellationToken">Stops.</param>
    Task<CipherVector> AddAsync(CipherVector first, CipherVector second, CancellationToken cancellationToken = default);

    /// <summary>Readies columns for inner products, once for all rounds.</summary>
    /// <param name="columns">d columns of b numbers, one column after the other, finite and of absolute value at most 2^20.</param>
    /// <param name="rows">b.</param>
    /// <param name="cancellationToken">Stops.</param>
    Task<PlainColumns> EncodeAsync(ReadOnlyMemory<double> columns, int rows, CancellationToken cancellationToken = default);

    /// <summary>Inner products of an encrypted vector with every column, each re-randomised by a fresh encryption of 0 and then masked by a fresh integer
    /// uniform on [0, M), so that the key holder learns neither them nor the columns.</summary>
    /// <param name="vector">b encrypted numbers.</param>
    /// <param name="columns">d columns of b numbers.</param>
    /// <param name="cancellationToken">Stops.</param>
    Task<MaskedSums> MaskedSumsAsync(CipherVector vector, PlainColumns columns, CancellationToken cancellationToken = default);
}

/// <summary>An encrypted vector. Disposing of it frees what the engine holds.</summary>
public abstract class CipherVector : IDisposable
{
    /// <summary>Numbers it holds.</summary>
    public abstract int Length { get; }

    /// <summary>The ciphertexts as they cross the wire.</summary>
    /// <param name="cancellationToken">Stops.</param>
    public abstract Task<ReadOnlyMemory<byte>> SaveAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc />
    public abstract void Dispose();
}

/// <summary>Plaintext columns, ready for inner products. Disposing of them frees what the engine holds.</summary>
public abstract class PlainColumns : IDisposable
{
    /// <summary>Numbers of a column, b.</summary>
    public abstract int Rows { get; }

    /// <summary>Columns, d.</summary>
    public abstract int Count { get; }

    /// <inheritdoc />
    public abstract void Dispose();
}

/// <summary>Masked inner products, ready for the key holder, and their masks, which stay.</summary>
/// <param name="bytes">What the key holder gets.</param>
/// <param name="masks">One integer in [0, M) each.</param>
public sealed class MaskedSums(ReadOnlyMemory<byte> bytes, IReadOnlyList<BigInteger> masks)
{
    /// <summary>What the key holder gets.</summary>
    public ReadOnlyMemory<byte> Bytes { get; } = bytes;

    /// <summary>How many.</summary>
    public int Count => masks.Count;

    /// <summary>The inner products that the key holder's answers stand for.</summary>
    /// <param name="answers">One integer in [0, M) each.</param>
    /// <param name="space">What answers are.</param>
    public double[] Unmask(IReadOnlyList<BigInteger> answers, AnswerSpace space)
    {
        ArgumentNullException.ThrowIfNull(answers);
        ArgumentNullException.ThrowIfNull(space);
        if (answers.Count != masks.Count)
            throw new ArgumentException("There are not as many answers as sums.", nameof(answers));
        return [.. answers.Select((answer, j) => space.Value(answer, masks[j]))];
    }
}

/// <summary>Checks of arguments that all schemes have in common.</summary>
internal static class SchemeArguments
{
    /// <summary>Refuses numbers that cannot be encrypted or encoded.</summary>
    public static void CheckNumbers(ReadOnlySpan<double> values, string name)
    {
        foreach (double value in values)
            if (!FixedPoint.InRange(value))
                throw new ArgumentException("A number is not finite, or beyond 2^20.", name);
    }

    /// <summary>Refuses what <see cref="IAdditiveScheme.SumError"/> cannot be asked for.</summary>
    public static void CheckBounds(int rows, double shareBound, double columnBound)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        if (!(double.IsFinite(shareBound) && shareBound > 0))
            throw new ArgumentOutOfRangeException(nameof(shareBound), "It must be finite and above 0.");
        if (!(double.IsFinite(columnBound) && columnBound > 0))
            throw new ArgumentOutOfRangeException(nameof(columnBound), "It must be finite and above 0.");
    }
}
