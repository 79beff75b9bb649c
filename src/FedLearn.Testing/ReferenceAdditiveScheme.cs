using System.Numerics;
using System.Security.Cryptography;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Testing;

/// <summary>An additive scheme without any security, for tests: slow, obvious integers modulo a prime of 160 bits. The key that it publishes is the secret, so everybody can read everything.</summary>
/// <remarks>A number m is encrypted as the pair (m + s k, k) for the key s and a random k; pairs add up, and multiply with integers. Numbers are in units of 2^-40, columns of 2^-30. What draws its randomness can be replaced, to
/// show that <see cref="AdditiveSchemeConformance"/> notices what is wrong with it.</remarks>
public sealed class ReferenceAdditiveScheme : IAdditiveScheme
{
    private const int Width = 20, ShareBits = 40, ColumnBits = 30;
    private const double Largest = 1 << 20;

    /// <summary>2^160 - 47, a prime.</summary>
    public static readonly BigInteger Prime = (BigInteger.One << 160) - 47;

    private static readonly AnswerSpace Space = new(Prime, Width, BigInteger.One << (ShareBits + ColumnBits), FloodBits: 0);

    /// <summary>Draws k of an encrypted number, in [1, prime). Default: uniform.</summary>
    public Func<BigInteger> EncryptionRandomness { get; init; } = Uniform;

    /// <summary>Draws k of the encryption of 0 that a sum gets, in [0, prime). Default: uniform on [1, prime).</summary>
    public Func<BigInteger> SumRandomness { get; init; } = Uniform;

    /// <summary>Draws masks, in [0, prime). Default: uniform.</summary>
    public Func<BigInteger> Mask { get; init; } = Uniform; // 0 is missing, one in 2^160

    /// <inheritdoc />
    public string Name => "no-security";

    /// <inheritdoc />
    public string Engine => "System.Numerics, without any security";

    /// <summary>0: it has none.</summary>
    public int SecurityBits => 0;

    /// <inheritdoc />
    public int MostShares => 256;

    /// <inheritdoc />
    public double SumError(int rows, double shareBound, double columnBound)
    {
        // Shares are rounded by at most 2^-41 each; columns by at most 2^-31; the sum to a float64.
        double e = MostShares * Math.ScaleB(1, -ShareBits - 1), f = Math.ScaleB(1, -ColumnBits - 1);
        return rows * ((shareBound * f) + (columnBound * e) + (e * f) + (Math.ScaleB(1, -51) * shareBound * columnBound));
    }

    /// <inheritdoc />
    public Task<IKeyHolder> CreateKeyAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return Task.FromResult<IKeyHolder>(new Holder(Uniform()));
    }

    /// <inheritdoc />
    public Task<IEncryptor> UseKeyAsync(ReadOnlyMemory<byte> publicKey, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (publicKey.Length != 1 + Width || publicKey.Span[0] != (byte)'R')
            throw new CipherException(HeErrors.BadKey, "the key has the wrong length or form.");
        BigInteger key = Read(publicKey.Span[1..]);
        return key.IsZero || key >= Prime ? throw new CipherException(HeErrors.BadKey, "the key is out of range.") : Task.FromResult<IEncryptor>(new Encryptor(this, key));
    }

    private static BigInteger Uniform()
    {
        Span<byte> bytes = stackalloc byte[Width];
        while (true)
        {
            RandomNumberGenerator.Fill(bytes);
            if (Read(bytes) is var value && !value.IsZero && value < Prime)
                return value;
        }
    }

    private static BigInteger Read(ReadOnlySpan<byte> bytes) => new(bytes, isUnsigned: true);

    private static BigInteger Mod(BigInteger value) => BigInteger.Remainder(value, Prime) is var r && r.Sign < 0 ? r + Prime : r;

    // A power of 2 scales a float64 without error, and at most 2^60 is rounded to an integer.
    private static BigInteger Round(double value, int bits) => new(Math.Round(Math.ScaleB(value, bits)));

    private static byte[] Save(IEnumerable<(BigInteger Body, BigInteger K)> pairs)
    {
        var bytes = new List<byte>();
        foreach ((BigInteger body, BigInteger k) in pairs)
            foreach (BigInteger part in new[] { body, k })
            {
                byte[] number = new byte[Width];
                part.TryWriteBytes(number, out _, isUnsigned: true);
                bytes.AddRange(number);
            }

        return [.. bytes];
    }

    private static (BigInteger, BigInteger)[] Load(ReadOnlySpan<byte> bytes, int count)
    {
        if (count < 1 || bytes.Length != 2 * Width * count)
            throw new CipherException(HeErrors.BadCiphertext, "the ciphertexts have the wrong length.");
        var pairs = new (BigInteger, BigInteger)[count];
        for (int i = 0; i < count; i++)
        {
            BigInteger body = Read(bytes.Slice(2 * Width * i, Width)), k = Read(bytes.Slice((2 * Width * i) + Width, Width));
            pairs[i] = body < Prime && k < Prime && !k.IsZero ? (body, k) : throw new CipherException(HeErrors.BadCiphertext, "a ciphertext is out of range.");
        }

        return pairs;
    }

    private sealed class Holder(BigInteger key) : IKeyHolder
    {
        public ReadOnlyMemory<byte> PublicKey { get; } = (byte[])[(byte)'R', .. Bytes(key)];

        public AnswerSpace Answers => Space;

        public Task<BigInteger[]> OpenAsync(ReadOnlyMemory<byte> masked, int count, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return Task.FromResult(Load(masked.Span, count).Select(pair => Mod(pair.Item1 - (key * pair.Item2))).ToArray());
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private static byte[] Bytes(BigInteger value)
        {
            var bytes = new byte[Width];
            value.TryWriteBytes(bytes, out _, isUnsigned: true);
            return bytes;
        }
    }

    private sealed class Encryptor(ReferenceAdditiveScheme scheme, BigInteger key) : IEncryptor
    {
        public AnswerSpace Answers => Space;

        public Task<CipherVector> EncryptAsync(ReadOnlyMemory<double> values, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            double[] numbers = Legal(values);
            return Vector([.. numbers.Select(value => scheme.EncryptionRandomness() is var k ? (Mod(Round(value, ShareBits) + (key * k)), k) : default)]);
        }

        public Task<CipherVector> LoadAsync(ReadOnlyMemory<byte> bytes, int length, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return Vector(Load(bytes.Span, length));
        }

        public Task<CipherVector> AddAsync(CipherVector first, CipherVector second, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            (Pairs a, Pairs b) = (Own(first), Own(second));
            return a.Length == b.Length
                ? Vector([.. a.Values.Zip(b.Values, (x, y) => (Mod(x.Body + y.Body), Mod(x.K + y.K)))])
                : throw new ArgumentException("The vectors differ in length.", nameof(second));
        }

        public Task<PlainColumns> EncodeAsync(ReadOnlyMemory<double> columns, int rows, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (rows < 1 || columns.Length % rows != 0)
                throw new ArgumentException("There is no whole number of columns.", nameof(columns));
            return Task.FromResult<PlainColumns>(new Columns([.. Legal(columns).Select(value => Round(value, ColumnBits))], rows));
        }

        public Task<MaskedSums> MaskedSumsAsync(CipherVector vector, PlainColumns columns, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (columns is not Columns own || own.Rows != vector.Length)
                throw new ArgumentException("Vector and columns differ in length.", nameof(columns));
            (BigInteger Body, BigInteger K)[] pairs = Own(vector).Values;
            var masks = new BigInteger[own.Count];
            var sums = new (BigInteger, BigInteger)[own.Count];
            for (int j = 0; j < own.Count; j++)
            {
                BigInteger fresh = scheme.SumRandomness();
                masks[j] = scheme.Mask();
                (BigInteger body, BigInteger k) = (masks[j] + (key * fresh), fresh);
                for (int i = 0; i < own.Rows; i++)
                    (body, k) = (body + (pairs[i].Body * own.Values[(j * own.Rows) + i]), k + (pairs[i].K * own.Values[(j * own.Rows) + i]));
                sums[j] = (Mod(body), Mod(k));
            }

            return Task.FromResult(new MaskedSums(Save(sums), masks));
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private static double[] Legal(ReadOnlyMemory<double> values) => values.Length > 0 && values.ToArray() is var numbers && numbers.All(value => Math.Abs(value) <= Largest)
            ? numbers
            : throw new ArgumentException("There are no numbers, or one is not finite or too large.", nameof(values));

        private Pairs Own(CipherVector vector) => vector is Pairs pairs && pairs.Owner == this ? pairs : throw new ArgumentException("The vector is of another encryptor.", nameof(vector));

        private Task<CipherVector> Vector((BigInteger, BigInteger)[] values) => Task.FromResult<CipherVector>(new Pairs(this, values));
    }

    private sealed class Pairs(object owner, (BigInteger Body, BigInteger K)[] values) : CipherVector
    {
        public object Owner => owner;

        public (BigInteger Body, BigInteger K)[] Values => values;

        public override int Length => values.Length;

        public override Task<ReadOnlyMemory<byte>> SaveAsync(CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return Task.FromResult<ReadOnlyMemory<byte>>(Save(values));
        }

        public override void Dispose()
        {
        }
    }

    private sealed class Columns(BigInteger[] values, int rows) : PlainColumns
    {
        public BigInteger[] Values => values;

        public override int Rows => rows;

        public override int Count => values.Length / rows;

        public override void Dispose()
        {
        }
    }
}
