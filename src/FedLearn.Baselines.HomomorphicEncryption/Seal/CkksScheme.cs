using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Diagnostics;
using static FedLearn.Baselines.HomomorphicEncryption.CkksParameters;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>CKKS (Cheon, Kim, Kim and Song 2017) on Microsoft SEAL: N = 8192, primes of 60, 60 and 60 bits, 128-bit security, one multiplication by a plaintext,
/// no rotation and no rescaling.</summary>
/// <remarks><para>A vector is encoded in blocks of 4096 slots, shares at scale Δr = 2^74, columns at Δx = 2^26 by default. The slots' sum is N/2 times coefficient 0
/// of the polynomial, so an inner product of 1 is the integer Δr·Δx/(N/2) there, and no rotation is needed.</para>
/// <para>A masked inner product is the ciphertext's second polynomial c1 and, of its first, c0, coefficient 0 alone plus a mask uniform modulo Q: 131 088 bytes.
/// That is enough, because decryption c0 + c1·s is linear and takes each coefficient of c0 to the same coefficient of the result, so the others do not bear on
/// coefficient 0, which is all that the key holder computes. It is also all the key holder may see: the constant is uniform whatever it
/// decrypts to, and c1 holds a fresh encryption of 0, a·u + e, pseudo-random under the assumption (ring learning with errors) that the scheme stands on, even to
/// the owner of s, once the rest of c0 is not sent.</para>
/// <para>Opened integers carry the scheme's noise, and such integers tell of the secret key (Li and Micciancio 2021), so the key holder adds an integer uniform
/// on 2^(52 + plainScaleBits) before it answers. The noise grows with the columns' size and the root of their length:
/// about 2^(9 + plainScaleBits) for columns of size 1 and a million rows, which leaves 2^42.</para>
/// <para>Bytes from elsewhere are checked for length, form, parameters, scale and range before SEAL sees them.</para></remarks>
public sealed class CkksScheme : IAdditiveScheme
{
    /// <summary>Largest absolute value of a number that is encrypted or encoded.</summary>
    public const double Largest = 1 << 20;

    private const int Shares = 64, ShareScaleBits = 74;
    internal const double ShareScale = 18889465931478580854784.0;

    internal const int MostWorkers = 64;

    private readonly Func<CancellationToken, Task<ISealEngine>> _start;
    private readonly int _workers, _plainScaleBits;
    private string _engine;

    /// <summary>A scheme on engines of a factory.</summary>
    /// <param name="start">Starts an engine.</param>
    /// <param name="engine">What <see cref="Engine"/> says until one was started.</param>
    /// <param name="workers">Engines a party uses, from 1 to 64.</param>
    /// <param name="plainScaleBits">Binary logarithm of Δx, from 20 to 34.</param>
    internal CkksScheme(Func<CancellationToken, Task<ISealEngine>> start, string engine, int workers, int plainScaleBits)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(workers, MostWorkers);
        ArgumentOutOfRangeException.ThrowIfLessThan(plainScaleBits, 20);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plainScaleBits, 34);
        (_start, _engine, _workers, _plainScaleBits) = (start, engine, workers, plainScaleBits);
        PlainScale = Math.ScaleB(1, plainScaleBits);
        Answers = new AnswerSpace((BigInteger)Q, AnswerBytes, (BigInteger.One << (ShareScaleBits + plainScaleBits)) / Slots, 52 + plainScaleBits);
    }

    /// <summary>The scheme on SEAL's own C library, in this process.</summary>
    /// <param name="workers">Engines a party uses, from 1 to 64; each has a thread of its own.</param>
    /// <param name="plainScaleBits">Binary logarithm of Δx, from 20 to 34.</param>
    /// <returns>The scheme; null where the machine has no libsealc.</returns>
    /// <exception cref="Diagnostics.InternalFailureException">FL6203: there is one, and it is older than 4.4 or no SEAL.</exception>
    public static CkksScheme? OnNative(int workers = 1, int plainScaleBits = 26)
    {
        if (NativeSealEngine.TryLoad() is not { } first)
            return null;
        string name = first.Name;
        _ = first.DisposeAsync().AsTask();
        return new CkksScheme(_ => Task.FromResult<ISealEngine>(NativeSealEngine.TryLoad()!), name, workers, plainScaleBits);
    }

    /// <inheritdoc />
    public string Name => "ckks";

    /// <inheritdoc />
    public string Engine => _engine;

    /// <inheritdoc />
    public int SecurityBits => 128;

    /// <inheritdoc />
    public int MostShares => Shares;

    internal AnswerSpace Answers { get; }

    internal double PlainScale { get; }

    internal double ProductScale => ShareScale * PlainScale;

    /// <summary>The scheme on node-seal in processes of Node.js.</summary>
    /// <param name="workers">Processes a party starts, from 1 to 64; 1 by default. Columns are split over them, and each runs on one core.</param>
    /// <param name="plainScaleBits">Binary logarithm of the columns' scale, from 20 to 34; 26 by default. Each bit more halves <see cref="SumError"/> and the
    /// largest sum that fits, 2^(57 - plainScaleBits).</param>
    public static CkksScheme OnNode(int workers = 1, int plainScaleBits = 26) => new(NodeSealEngine.StartAsync, "node-seal 6.0.3", workers, plainScaleBits);

    /// <summary>Worst-case bound on the error of one opened inner product, without flooding; infinity where the sum or a number may be too large for the
    /// scheme. It holds for at most <see cref="MostShares"/> shares, with certainty: no tail of a noise distribution is neglected.</summary>
    /// <param name="rows">Entries of both vectors, at least 1.</param>
    /// <param name="shareBound">Bound R on |r_i| and on every share of it, above 0.</param>
    /// <param name="columnBound">Bound X on |x_i|, above 0.</param>
    /// <remarks>
    /// <para>Norms are Euclidean, over coefficients. For a real polynomial p of m real slots z the roots of X^N + 1 give ‖p‖ = √(2/N)·‖z‖ (each slot counts twice, with its
    /// conjugate), so at most √(2m/N)·max|z|. Coefficient 0 of a product is p_0·q_0 - Σ p_k·q_(N-k), at most ‖p‖·‖q‖.</para>
    /// <para>Encoding adds to the exact polynomial Δ·p an error of norm at most ε(Δ·p) = √N/2 + η·‖Δ·p‖. The first part is rounding to integers, 1/2 a coefficient (exact above
    /// 2^53, where doubles are integers). The second is the Fourier transform in doubles: log2 N = 13 levels, each with a relative error in norm of at most
    /// μ + γ_4·(√2 + μ) (Higham 2002, theorem 24.2), where γ_4 = 4u/(1 - 4u), u = 2^-53, and roots computed to within μ = 4u; at most 10u a level, and 4u for the
    /// final scaling. 13·10u + 4u is below η = 2^-45 = 256u, which leaves a factor of 1.9 in hand.</para>
    /// <para>SEAL encrypts modulo q1·q2·q3 and divides by q3: to each coefficient that adds t0 + t1·s + (e·u + e0 + e1·s)/q3 with |t| ≤ 1/2 from rounding, s and u ternary, and
    /// errors of at most 21 (both of SEAL's samplers: centred binomial of standard deviation 3.24, or normal of 3.2 clipped at 19.2); hence at most
    /// ν = 1/2 + N/2 + 21·(2N + 1)/q3, below N/2 + 1.</para>
    /// <para>A block is then (a + α)·(b + β) + fresh with a and b exact, ‖a‖ ≤ Δr·√(2m/N)·R, ‖b‖ ≤ Δx·√(2m/N)·X, ‖β‖ ≤ ε(b), and ‖α‖ ≤ P·(ε(a) + √N·ν) for P
    /// shares, each encoded and encrypted by itself. Its error is at most ‖a‖·‖β‖ + ‖α‖·‖b‖ + ‖α‖·‖β‖; the sum of the blocks gets the noise ν of the fresh encryption of 0. All divided by
    /// the unit, Δr·Δx·2/N. The first product, the rounding of columns, is nearly all: N·√m·R/(√8·Δx) a block. It is nearly attained where shares line up with the rounding errors
    /// (a test does); where these are as good as random, their standard deviation is √(N·m/24)·R/Δx, √(3N) = 157 times smaller.</para>
    /// <para>Turning the integer into a double costs at most 2^-52 of the sum.</para>
    /// </remarks>
    public double SumError(int rows, double shareBound, double columnBound)
    {
        SchemeArguments.CheckBounds(rows, shareBound, columnBound);
        const double Eta = 1.0 / (1L << 45), Noise = (N / 2) + 1, Rounding = 1 + 1e-9;
        double unit = ProductScale / Slots, root = Math.Sqrt(N), total = Noise;
        int full = rows / Slots, rest = rows % Slots;
        foreach ((int blocks, int m) in new[] { (full, Slots), (Math.Sign(rest), rest) })
        {
            double norm = Math.Sqrt(2.0 * m / N), a = ShareScale * norm * shareBound, b = PlainScale * norm * columnBound;
            double alpha = Shares * ((root / 2) + (Eta * a) + (root * Noise)), beta = (root / 2) + (Eta * b);
            total += blocks * ((a * beta) + (alpha * b) + (alpha * beta));
        }

        double largest = (double)rows * shareBound * columnBound, error = ((total / unit) + (largest / (1L << 52))) * Rounding;
        // What is opened must lie within half of Q, flooding and all.
        double room = ((double)Q / 2) - Math.ScaleB(1, Answers.FloodBits);
        return shareBound > Largest || columnBound > Largest || (largest + error) * unit >= room ? double.PositiveInfinity : error;
    }

    /// <inheritdoc />
    public async Task<IKeyHolder> CreateKeyAsync(CancellationToken cancellationToken = default)
    {
        ISealEngine engine = await StartAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            byte[] key = await engine.CreateKeysAsync(cancellationToken).ConfigureAwait(false);
            CheckKey(key);
            return await CkksKeyHolder.CreateAsync(engine, key, Answers, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await engine.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc />
    public async Task<IEncryptor> UseKeyAsync(ReadOnlyMemory<byte> publicKey, CancellationToken cancellationToken = default)
    {
        CheckKey(publicKey.Span);
        Task<ISealEngine>[] starting = [.. Enumerable.Range(0, _workers).Select(_ => StartAsync(cancellationToken))];
        try
        {
            ISealEngine[] engines = await Task.WhenAll(starting).ConfigureAwait(false);
            await Task.WhenAll(engines.Select(engine => engine.UsePublicKeyAsync(publicKey, cancellationToken))).ConfigureAwait(false);
            return new CkksEncryptor(engines, Answers, PlainScale);
        }
        catch
        {
            foreach (Task<ISealEngine> engine in starting.Where(engine => engine.IsCompletedSuccessfully))
                await engine.Result.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task<ISealEngine> StartAsync(CancellationToken cancellationToken)
    {
        ISealEngine engine = await _start(cancellationToken).ConfigureAwait(false);
        _engine = engine.Name;
        return engine;
    }
}

/// <summary>The key holder: decrypts coefficient 0 of ciphertexts of whose first polynomial c0 nothing else is known.</summary>
/// <remarks>Decryption is c0 + c1·s. Of a constant c0 SEAL would compute all N coefficients for the one that is wanted; that one is c0 + Σ c1·s/N over the values in NTT
/// form, which needs no transform, and no ciphertext to be built, sent to the engine, checked there and sent back. s itself is what SEAL decrypts (0, 1) to.</remarks>
internal sealed class CkksKeyHolder : IKeyHolder
{
    private readonly ISealEngine _engine;
    private readonly byte[] _secret;

    private CkksKeyHolder(ISealEngine engine, byte[] publicKey, AnswerSpace answers, byte[] secret) => (_engine, PublicKey, Answers, _secret) = (engine, publicKey, answers, secret);

    public ReadOnlyMemory<byte> PublicKey { get; }

    public AnswerSpace Answers { get; }

    /// <summary>A key holder on an engine that has made its keys.</summary>
    public static async Task<CkksKeyHolder> CreateAsync(ISealEngine engine, byte[] publicKey, AnswerSpace answers, CancellationToken cancellationToken)
    {
        // The constant 1 in NTT form is 1 everywhere.
        byte[] one = new byte[PolyBytes], secret = GC.AllocateUninitializedArray<byte>(PolyBytes, pinned: true);
        MemoryMarshal.Cast<byte, ulong>(one.AsSpan()).Fill(1);
        byte[] plain = await engine.DecryptAsync(Ciphertext(0, one, 1), cancellationToken).ConfigureAwait(false);
        CkksWork.Require(plain.Length == PlaintextBytes);
        plain.AsSpan(PlainResidues).CopyTo(secret);
        CryptographicOperations.ZeroMemory(plain);
        return new CkksKeyHolder(engine, publicKey, answers, secret);
    }

    public Task<BigInteger[]> OpenAsync(ReadOnlyMemory<byte> masked, int count, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (masked.Length != (long)count * MaskedBytes)
            throw new CipherException(HeErrors.BadCiphertext, $"There are {masked.Length} bytes instead of {(long)count * MaskedBytes}.");
        for (int j = 0; j < count; j++)
        {
            ReadOnlySpan<byte> one = masked.Span.Slice(j * MaskedBytes, MaskedBytes);
            if (BinaryPrimitives.ReadUInt128LittleEndian(one) >= Q)
                throw new CipherException(HeErrors.BadCiphertext, "A masked integer is not below the modulus.");
            CheckPolynomial(one[AnswerBytes..]);
        }

        var opened = new BigInteger[count];
        for (int j = 0; j < count; j++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ReadOnlySpan<byte> one = masked.Span.Slice(j * MaskedBytes, MaskedBytes);
            // Both below Q, which has 120 bits.
            opened[j] = (BigInteger)((BinaryPrimitives.ReadUInt128LittleEndian(one) + ConstantOfProduct(one[AnswerBytes..], _secret)) % Q);
        }

        return Task.FromResult(opened);
    }

    public ValueTask DisposeAsync()
    {
        CryptographicOperations.ZeroMemory(_secret);
        return _engine.DisposeAsync();
    }
}

/// <summary>A party over one or several engines: block b of a vector lives in engine b modulo their number, column j in engine j modulo their number. For
/// inner products the vector is copied to every engine that has columns.</summary>
internal sealed class CkksEncryptor(ISealEngine[] engines, AnswerSpace answers, double plainScale) : IEncryptor
{
    // Frames under way, for each engine: enough to keep it busy.
    private const int Window = 8;

    public AnswerSpace Answers { get; } = answers;

    public void CheckRoom(int columns, IReadOnlyList<int> batches)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        ArgumentNullException.ThrowIfNull(batches);
        // A round has up to three vectors of a batch in every engine at a time.
        long blocks = batches.Sum(rows => (long)CkksWork.Blocks(rows)), most = engines[0].MostPlaintexts - (3 * 2 * (long)CkksWork.Blocks(batches.Max()));
        long columnsEach = Math.Max(0, most / blocks), workers = columnsEach == 0 ? long.MaxValue : (columns + columnsEach - 1) / columnsEach;
        if (workers <= engines.Length)
            return;
        throw new InternalFailureException(HeErrors.SealFailed, "SEAL, columns of this party",
            string.Create(CultureInfo.InvariantCulture, $"{columns} columns in {blocks} blocks of {Slots} rows do not fit into the memory of {engines.Length} {(engines.Length == 1 ? "worker" : "workers")}: one holds {columnsEach}."),
            workers > CkksScheme.MostWorkers ? "Use fewer columns or rows."
                : string.Create(CultureInfo.InvariantCulture, $"Set privacy.he.workers to at least {workers} on this party's machine, each of which needs up to 4 GB, or use fewer columns or rows."));
    }

    public async Task<CipherVector> EncryptAsync(ReadOnlyMemory<double> values, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfZero(values.Length, nameof(values));
        SchemeArguments.CheckNumbers(values.Span, nameof(values));
        return await VectorAsync(values.Length, (engine, b) =>
            engine.EncryptAsync(values.Slice(b * Slots, Math.Min(Slots, values.Length - (b * Slots))), CkksScheme.ShareScale, cancellationToken)).ConfigureAwait(false);
    }

    public async Task<CipherVector> LoadAsync(ReadOnlyMemory<byte> bytes, int length, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        int blocks = CkksWork.Blocks(length);
        if (bytes.Length != (long)blocks * CiphertextBytes)
            throw new CipherException(HeErrors.BadCiphertext, $"There are {bytes.Length} bytes instead of {(long)blocks * CiphertextBytes}.");
        for (int b = 0; b < blocks; b++)
            CheckCiphertext(bytes.Span.Slice(b * CiphertextBytes, CiphertextBytes), CkksScheme.ShareScale);
        return await VectorAsync(length, (engine, b) => engine.LoadAsync(bytes.Slice(b * CiphertextBytes, CiphertextBytes), cancellationToken)).ConfigureAwait(false);
    }

    public async Task<CipherVector> AddAsync(CipherVector first, CipherVector second, CancellationToken cancellationToken = default)
    {
        CkksVector one = Own(first, nameof(first)), other = Own(second, nameof(second));
        if (one.Length != other.Length)
            throw new ArgumentException("The vectors are not of one length.", nameof(second));
        return await VectorAsync(one.Length, (engine, b) => engine.AddAsync(one.Home(b), other.Home(b), cancellationToken)).ConfigureAwait(false);
    }

    public async Task<PlainColumns> EncodeAsync(ReadOnlyMemory<double> columns, int rows, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        if (columns.IsEmpty || columns.Length % rows != 0)
            throw new ArgumentException("It does not hold whole columns.", nameof(columns));
        SchemeArguments.CheckNumbers(columns.Span, nameof(columns));
        int count = columns.Length / rows, blocks = CkksWork.Blocks(rows);
        var result = new CkksColumns(engines, rows, count, blocks);
        try
        {
            await CkksWork.ForEachAsync(count * blocks, Window * engines.Length, async k =>
            {
                (int j, int b) = Math.DivRem(k, blocks);
                ReadOnlyMemory<double> block = columns.Slice((j * rows) + (b * Slots), Math.Min(Slots, rows - (b * Slots)));
                result.Handles[j][b] = await engines[j % engines.Length].EncodeAsync(block, plainScale, cancellationToken).ConfigureAwait(false);
            }).ConfigureAwait(false);
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    public async Task<MaskedSums> MaskedSumsAsync(CipherVector vector, PlainColumns columns, CancellationToken cancellationToken = default)
    {
        CkksVector own = Own(vector, nameof(vector));
        if (columns is not CkksColumns plain || plain.Engines != engines)
            throw new ArgumentException("The columns are another encryptor's.", nameof(columns));
        plain.ThrowIfDisposed();
        if (plain.Rows != own.Length)
            throw new ArgumentException("The columns are not of the vector's length.", nameof(columns));
        await own.CopyToAsync(Math.Min(engines.Length, plain.Count), cancellationToken).ConfigureAwait(false);
        byte[] bytes = new byte[checked(plain.Count * MaskedBytes)];
        var masks = new BigInteger[plain.Count];
        await CkksWork.ForEachAsync(plain.Count, Window * engines.Length, async j =>
        {
            int worker = j % engines.Length;
            byte[] sum = await engines[worker].InnerProductAsync(own.Handles[worker], plain.Handles[j], cancellationToken).ConfigureAwait(false);
            CkksWork.Require(sum.Length == CiphertextBytes);
            UInt128 mask = Uniform(), constant = Constant(sum.AsSpan(Residues, PolyBytes));
            Span<byte> target = bytes.AsSpan(j * MaskedBytes, MaskedBytes);
            BinaryPrimitives.WriteUInt128LittleEndian(target, (constant + mask) % Q);
            sum.AsSpan(Residues + PolyBytes).CopyTo(target[AnswerBytes..]);
            masks[j] = (BigInteger)mask;
        }).ConfigureAwait(false);
        return new MaskedSums(bytes, masks);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (ISealEngine engine in engines)
            await engine.DisposeAsync().ConfigureAwait(false);
    }

    private async Task<CkksVector> VectorAsync(int length, Func<ISealEngine, int, Task<int>> make)
    {
        var result = new CkksVector(engines, length);
        try
        {
            await CkksWork.ForEachAsync(result.Blocks, Window * engines.Length, async b =>
            {
                int home = b % engines.Length;
                result.Handles[home][b] = await make(engines[home], b).ConfigureAwait(false);
            }).ConfigureAwait(false);
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    private CkksVector Own(CipherVector vector, string name)
    {
        if (vector is not CkksVector own || own.Engines != engines)
            throw new ArgumentException("The vector is another encryptor's.", name);
        own.ThrowIfDisposed();
        return own;
    }
}

/// <summary>Handles of a vector's blocks, [engine][block]; 0 where an engine does not have the block.</summary>
internal sealed class CkksVector(ISealEngine[] engines, int length) : CipherVector
{
    private bool _disposed;

    public override int Length { get; } = length;

    internal ISealEngine[] Engines { get; } = engines;

    internal int Blocks { get; } = CkksWork.Blocks(length);

    internal int[][] Handles { get; } = [.. engines.Select(_ => new int[CkksWork.Blocks(length)])];

    internal int Home(int block) => Handles[block % Engines.Length][block];

    internal void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_disposed, this);

    public override async Task<ReadOnlyMemory<byte>> SaveAsync(CancellationToken cancellationToken = default)
    {
        ThrowIfDisposed();
        byte[] bytes = new byte[checked(Blocks * CiphertextBytes)];
        await CkksWork.ForEachAsync(Blocks, 8 * Engines.Length, async b =>
            (await SaveAsync(b, cancellationToken).ConfigureAwait(false)).CopyTo(bytes, b * CiphertextBytes)).ConfigureAwait(false);
        return bytes;
    }

    /// <summary>Sees to it that each of the first engines has all blocks.</summary>
    internal async Task CopyToAsync(int count, CancellationToken cancellationToken)
    {
        if (Engines.Length == 1)
            return;
        await CkksWork.ForEachAsync(Blocks, 8, async b =>
        {
            int[] lacking = [.. Enumerable.Range(0, count).Where(worker => Handles[worker][b] == 0)];
            if (lacking.Length == 0)
                return;
            byte[] bytes = await SaveAsync(b, cancellationToken).ConfigureAwait(false);
            await CkksWork.ForEachAsync(lacking.Length, lacking.Length, async k =>
                Handles[lacking[k]][b] = await Engines[lacking[k]].LoadAsync(bytes, cancellationToken).ConfigureAwait(false)).ConfigureAwait(false);
        }).ConfigureAwait(false);
    }

    public override void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        for (int worker = 0; worker < Engines.Length; worker++)
            if (Handles[worker].Where(handle => handle != 0).ToArray() is { Length: > 0 } handles)
                Engines[worker].Release(handles, default);
    }

    private async Task<byte[]> SaveAsync(int block, CancellationToken cancellationToken)
    {
        byte[] bytes = await Engines[block % Engines.Length].SaveAsync(Home(block), cancellationToken).ConfigureAwait(false);
        CkksWork.Require(bytes.Length == CiphertextBytes);
        return bytes;
    }
}

/// <summary>Handles of columns' blocks, [column][block]; column j is in engine j modulo their number.</summary>
internal sealed class CkksColumns(ISealEngine[] engines, int rows, int count, int blocks) : PlainColumns
{
    private bool _disposed;

    public override int Rows { get; } = rows;

    public override int Count { get; } = count;

    internal ISealEngine[] Engines { get; } = engines;

    internal int[][] Handles { get; } = [.. Enumerable.Range(0, count).Select(_ => new int[blocks])];

    internal void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_disposed, this);

    public override void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        for (int worker = 0; worker < Engines.Length; worker++)
        {
            int[] handles = [.. Handles.Where((_, j) => j % Engines.Length == worker).SelectMany(handles => handles).Where(handle => handle != 0)];
            if (handles.Length > 0)
                Engines[worker].Release(default, handles);
        }
    }
}

internal static class CkksWork
{
    internal static int Blocks(int length) => ((length - 1) / Slots) + 1;

    /// <summary>Starts a body for 0, 1, .. in this order with at most so many under way, and waits for all that were started even where one fails.</summary>
    internal static async Task ForEachAsync(int count, int window, Func<int, Task> body)
    {
        var underWay = new Queue<Task>(window);
        try
        {
            for (int k = 0; k < count; k++)
            {
                if (underWay.Count == window)
                    await underWay.Dequeue().ConfigureAwait(false);
                underWay.Enqueue(body(k));
            }
        }
        finally
        {
            await Task.WhenAll(underWay).ConfigureAwait(false);
        }
    }

    internal static void Require(bool expected)
    {
        if (!expected)
            throw new InternalFailureException(HeErrors.SealFailed, "SEAL", "It returned an object of another size.", "Report it with the engine's version.");
    }
}
