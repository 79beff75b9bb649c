using System.Numerics;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Baselines.HomomorphicEncryption.Paillier;

/// <summary>Encryption under a public key, and what can be computed with ciphertexts.</summary>
internal sealed unsafe class PaillierEncryptor(PublicKey key, IObfuscator obfuscator, PaillierVariant variant, Workers workers) : IEncryptor
{
    // Rows of a column that one call multiplies in the variants with one power an entry: few enough to stop soon, and to share a few columns among threads.
    private const int EntriesAtOnce = 256;
    private bool _disposed;

    public AnswerSpace Answers => key.Answers;

    internal PublicKey Key => key;

    public Task<CipherVector> EncryptAsync(ReadOnlyMemory<double> values, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (values.Length == 0)
            throw new ArgumentException("There is nothing to encrypt.", nameof(values));
        // What is sent is one array.
        if ((long)values.Length * key.Words * sizeof(ulong) > Array.MaxLength)
            throw new ConfigurationException(GlmJointErrors.NotEncryptable, "training.batchesPerEpoch", "a batch has more rows than one message holds ciphertexts of this scheme.", "Use more batches per epoch.");
        SchemeArguments.CheckNumbers(values.Span, nameof(values));
        return Start<CipherVector>(() =>
        {
            ulong[] words = Allocate(values.Length);
            workers.Run(values.Length, 16, (from, to) =>
            {
                using var products = new Products(key);
                ulong* m = stackalloc ulong[key.Words / 2];
                ulong* random = stackalloc ulong[key.Words];
                fixed (ulong* w = words)
                {
                    for (int i = from; i < to; i++)
                    {
                        ulong* c = w + ((long)i * key.Words);
                        Encode(m, FixedPoint.Round(values.Span[i], FixedPoint.ShareBits));
                        products.Lift(c, m);
                        obfuscator.Next(random, products);
                        products.Multiply(c, c, random);
                    }
                }
            }, cancellationToken);
            return new PaillierVector(key, words, values.Length);
        }, cancellationToken);
    }

    public Task<CipherVector> LoadAsync(ReadOnlyMemory<byte> bytes, int length, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return Start<CipherVector>(() => new PaillierVector(key, key.Read(bytes, length, workers, cancellationToken), length), cancellationToken);
    }

    public Task<CipherVector> AddAsync(CipherVector first, CipherVector second, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ulong[] a = Own(first, nameof(first)), b = Own(second, nameof(second));
        if (a.Length != b.Length)
            throw new ArgumentException("The vectors differ in length.", nameof(second));
        int length = first.Length;
        return Start<CipherVector>(() =>
        {
            ulong[] words = Allocate(length);
            workers.Run(length, 1024, (from, to) =>
            {
                using var products = new Products(key);
                fixed (ulong* w = words, x = a, y = b)
                    for (long i = from; i < to; i++)
                        products.Multiply(w + (i * key.Words), x + (i * key.Words), y + (i * key.Words));
            }, cancellationToken);
            return new PaillierVector(key, words, length);
        }, cancellationToken);
    }

    public Task<PlainColumns> EncodeAsync(ReadOnlyMemory<double> columns, int rows, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        if (columns.Length == 0 || columns.Length % rows != 0)
            throw new ArgumentException("There is no whole number of columns.", nameof(columns));
        SchemeArguments.CheckNumbers(columns.Span, nameof(columns));
        return cancellationToken.IsCancellationRequested ? Task.FromCanceled<PlainColumns>(cancellationToken) : Task.FromResult<PlainColumns>(new PaillierColumns(columns.ToArray(), rows));
    }

    public Task<MaskedSums> MaskedSumsAsync(CipherVector vector, PlainColumns columns, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ulong[] ciphertexts = Own(vector, nameof(vector));
        if (columns is not PaillierColumns own)
            throw new ArgumentException("The columns are of another scheme.", nameof(columns));
        if (own.Rows != vector.Length)
            throw new ArgumentException("Vector and columns differ in length.", nameof(columns));
        double[] values = own.Values;
        return Start(() =>
        {
            int rows = own.Rows, count = own.Count;
            ulong[] sums = Products(ciphertexts, values, rows, count, cancellationToken);
            var masks = new BigInteger[count];
            workers.Run(count, 1, (j, _) =>
            {
                fixed (ulong* s = sums)
                    masks[j] = Mask(s + ((long)j * key.Words));
            }, cancellationToken);
            return new MaskedSums(MemoryMarshal.AsBytes(sums.AsSpan(0, count * key.Words)).ToArray(), masks);
        }, cancellationToken);
    }

    public ValueTask DisposeAsync()
    {
        _disposed = true;
        return ValueTask.CompletedTask;
    }

    private ulong[] Products(ulong[] ciphertexts, double[] columns, int rows, int count, CancellationToken cancellationToken)
    {
        // A column is cut into parts where there are fewer columns than threads, or one power an entry; part k of column j is result k count + j.
        int part = variant == PaillierVariant.Fast ? (rows + Math.Max(1, workers.Threads / count) - 1) / Math.Max(1, workers.Threads / count) : Math.Min(rows, EntriesAtOnce);
        int parts = (rows + part - 1) / part;
        ulong[] results = Allocate(checked(parts * count));
        workers.Run(parts * count, 1, (index, _) =>
        {
            using var products = new Products(key);
            int from = index / count * part, length = Math.Min(part, rows - from);
            ReadOnlySpan<double> column = columns.AsSpan((index % count * rows) + from, length);
            fixed (ulong* r = results, c = ciphertexts)
            {
                ulong* result = r + ((long)index * key.Words), first = c + ((long)from * key.Words);
                if (variant == PaillierVariant.Fast)
                    InnerProducts.ByBuckets(result, first, column, products, cancellationToken);
                else
                    InnerProducts.ByEntry(result, first, column, products);
            }
        }, cancellationToken);
        using var last = new Products(key);
        fixed (ulong* r = results)
            for (int index = count; index < parts * count; index++)
                last.Multiply(r + ((long)(index % count) * key.Words), r + ((long)(index % count) * key.Words), r + ((long)index * key.Words));
        return results;
    }

    // c = c (1 + R n) rho mod n^2 for R uniform on [0, n) and a fresh obfuscator rho: to the key holder the plaintext is uniform and the rest a fresh encryption of 0.
    private BigInteger Mask(ulong* c)
    {
        using var products = new Products(key);
        using var mask = new Scratch(key.Bits);
        do
            mask.SetRandom(key.Bits);
        while (Gmp.Compare(mask.Pointer, key.Modulus.Pointer) >= 0);
        ulong* m = stackalloc ulong[key.Words / 2];
        ulong* factor = stackalloc ulong[key.Words];
        mask.CopyTo(m, key.Words / 2);
        products.Lift(factor, m);
        products.Multiply(c, c, factor);
        obfuscator.Next(factor, products);
        products.Multiply(c, c, factor);
        return mask.ToBigInteger();
    }

    // value mod n
    private void Encode(ulong* m, Int128 value)
    {
        var magnitude = (UInt128)Int128.Abs(value);
        ulong low = (ulong)(magnitude & ulong.MaxValue), high = (ulong)(magnitude >> 64);
        int words = key.Words / 2;
        if (value >= 0)
        {
            new Span<ulong>(m, words).Clear();
            (m[0], m[1]) = (low, high);
            return;
        }

        ulong borrow = 0;
        for (int i = 0; i < words; i++)
        {
            ulong take = i == 0 ? low : i == 1 ? high : 0, limb = key.Modulus.Limbs[i];
            m[i] = unchecked(limb - take - borrow);
            borrow = limb < take || (limb == take && borrow == 1) ? 1UL : 0;
        }
    }

    private ulong[] Own(CipherVector vector, string name)
    {
        ArgumentNullException.ThrowIfNull(vector, name);
        return vector is PaillierVector own && ReferenceEquals(own.Key, key) ? own.Words : throw new ArgumentException("The vector is of another encryptor.", name);
    }

    private ulong[] Allocate(int count) => GC.AllocateUninitializedArray<ulong>(checked(count * key.Words), pinned: true);

    // The loops hold pointers into the key's memory.
    private Task<T> Start<T>(Func<T> work, CancellationToken cancellationToken) => Task.Run(() =>
    {
        T result = work();
        GC.KeepAlive(this);
        return result;
    }, cancellationToken);
}

/// <summary>Ciphertexts, one a number.</summary>
internal sealed class PaillierVector(PublicKey key, ulong[] words, int length) : CipherVector
{
    private ulong[]? _words = words;

    public PublicKey Key => key;

    public ulong[] Words => _words ?? throw new ObjectDisposedException(nameof(CipherVector));

    public override int Length => length;

    public override Task<ReadOnlyMemory<byte>> SaveAsync(CancellationToken cancellationToken = default) => cancellationToken.IsCancellationRequested
        ? Task.FromCanceled<ReadOnlyMemory<byte>>(cancellationToken)
        : Task.FromResult<ReadOnlyMemory<byte>>(MemoryMarshal.AsBytes(Words.AsSpan()).ToArray());

    public override void Dispose() => _words = null;
}

/// <summary>Columns as they were given: what rounds them costs nothing next to their use.</summary>
internal sealed class PaillierColumns(double[] values, int rows) : PlainColumns
{
    private double[]? _values = values;

    public double[] Values => _values ?? throw new ObjectDisposedException(nameof(PlainColumns));

    public override int Rows => rows;

    public override int Count { get; } = values.Length / rows;

    public override void Dispose() => _values = null;
}
