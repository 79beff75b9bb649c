using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>SEAL in this process, by its C library. Calls run on the thread pool, one at a time, in the order of issue; several engines run side by side.</summary>
internal sealed class NativeSealEngine : ISealEngine
{
    /// <summary>Environment variable that names the file of the library; where it is set, no other is tried.</summary>
    public const string Variable = "FEDLEARN_SEALC";

    private const int Degree = 8192;
    private static readonly int[] PrimeBits = [60, 60, 60];

    private readonly SealC _seal;
    private readonly ulong[] _parameters = new ulong[4];
    // Also the lock under which calls are queued, so that no call is queued behind the last one.
    private readonly ConcurrentExclusiveSchedulerPair _schedulers = new();
    private readonly TaskFactory _inOrder;

    // After the constructor these are used only by calls that run in order.
    private readonly SealObject _context, _encoder, _evaluator;
    private readonly Dictionary<int, SealObject> _ciphertexts = [];
    private readonly Dictionary<int, SealObject> _plaintexts = [];
    private SealObject? _encryptor, _decryptor;
    private int _lastHandle;
    private volatile bool _disposed;

    private NativeSealEngine(SealC seal)
    {
        _seal = seal;
        _inOrder = new TaskFactory(CancellationToken.None, TaskCreationOptions.DenyChildAttach, TaskContinuationOptions.None, _schedulers.ExclusiveScheduler);
        _context = seal.Context(Degree, PrimeBits, _parameters);
        _encoder = seal.Encoder(_context);
        _evaluator = seal.Evaluator(_context);
    }

    /// <inheritdoc />
    public string Name => $"Microsoft SEAL {_seal.Version}, native";

    /// <summary>An engine on the library that <see cref="Variable"/> names, or else on the one that the system finds.</summary>
    /// <returns>Null where there is none.</returns>
    /// <exception cref="InternalFailureException">FL6203: there is one, but it cannot be loaded, is no SEAL of 4.4 or later in 4.x, or lacks a function.</exception>
    public static NativeSealEngine? TryLoad() => Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } file ? TryLoadFile(file) : TryLoadAny(LibraryNames());

    /// <summary>An engine on one file, null where the file is not there.</summary>
    internal static NativeSealEngine? TryLoadFile(string file)
    {
        if (!File.Exists(file))
            return null;
        try
        {
            // A relative path would be searched for beside the program and in the system's folders.
            return On(NativeLibrary.Load(Path.GetFullPath(file)));
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            throw new InternalFailureException(HeErrors.SealTooOld, "native SEAL", $"The file that {Variable} names cannot be loaded as a library.",
                "Name a library built for this system, with what it depends on installed.", e);
        }
    }

    /// <summary>An engine on the first of some names that the system finds, null where it finds none.</summary>
    internal static NativeSealEngine? TryLoadAny(IEnumerable<string> names) => NativeLibraries.Load(names) is not 0 and var library ? On(library) : null;

    private static NativeSealEngine On(nint library) =>
        new(new SealC(name => NativeLibrary.TryGetExport(library, name, out nint address) ? address : 0));

    /// <summary>Names by which the library may be installed, the newest version first.</summary>
    internal static IEnumerable<string> LibraryNames()
    {
        if (OperatingSystem.IsWindows())
            return ["sealc.dll"];
        IEnumerable<int> minors = Enumerable.Range(4, 6).Reverse();
        return OperatingSystem.IsMacOS() ? [.. minors.Select(minor => $"libsealc.4.{minor}.dylib"), "libsealc.dylib"]
            : [.. minors.Select(minor => $"libsealc.so.4.{minor}"), "libsealc.so"];
    }

    /// <inheritdoc />
    public Task<byte[]> CreateKeysAsync(CancellationToken cancellationToken) => Run(() =>
    {
        (SealObject decryptor, byte[] publicKey) = _seal.CreateKeys(_context);
        _decryptor?.Dispose();
        _decryptor = decryptor;
        return publicKey;
    }, cancellationToken);

    /// <inheritdoc />
    public Task UsePublicKeyAsync(ReadOnlyMemory<byte> key, CancellationToken cancellationToken) => Run(() =>
    {
        SealObject encryptor = _seal.Encryptor(_context, key.Span);
        _encryptor?.Dispose();
        _encryptor = encryptor;
        return true;
    }, cancellationToken);

    /// <inheritdoc />
    public Task<int> EncryptAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken) => Run(() =>
    {
        using SealObject plaintext = _seal.Plaintext();
        _seal.Encode(_encoder, block.Span, _parameters, scale, plaintext);
        return Keep(_ciphertexts, _seal.Ciphertext(), ciphertext => _seal.Encrypt(Encryptor, plaintext, ciphertext));
    }, cancellationToken);

    /// <inheritdoc />
    public Task<int> EncodeAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken) =>
        Run(() => Keep(_plaintexts, _seal.Plaintext(), plaintext => _seal.Encode(_encoder, block.Span, _parameters, scale, plaintext)), cancellationToken);

    /// <inheritdoc />
    public Task<byte[]> SaveAsync(int ciphertext, CancellationToken cancellationToken) =>
        Run(() => _seal.SaveCiphertext(Kept(_ciphertexts, ciphertext)), cancellationToken);

    /// <inheritdoc />
    public Task<int> LoadAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken) =>
        Run(() => Keep(_ciphertexts, _seal.Ciphertext(), loaded => _seal.LoadCiphertext(loaded, _context, ciphertext.Span)), cancellationToken);

    /// <inheritdoc />
    public Task<int> AddAsync(int first, int second, CancellationToken cancellationToken) => Run(() =>
    {
        (SealObject one, SealObject other) = (Kept(_ciphertexts, first), Kept(_ciphertexts, second));
        return Keep(_ciphertexts, _seal.Ciphertext(), sum => _seal.Add(_evaluator, one, other, sum));
    }, cancellationToken);

    /// <inheritdoc />
    public Task<byte[]> InnerProductAsync(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts, CancellationToken cancellationToken) => Run(() =>
    {
        if (ciphertexts.IsEmpty || ciphertexts.Length != plaintexts.Length)
            throw new ArgumentException("An inner product takes as many plaintexts as ciphertexts, at least one.", nameof(plaintexts));
        using SealObject sum = _seal.Ciphertext(), product = _seal.Ciphertext();
        _seal.EncryptZero(Encryptor, _seal.ProductScale(Kept(_ciphertexts, ciphertexts.Span[0]), Kept(_plaintexts, plaintexts.Span[0])), sum);
        for (int k = 0; k < ciphertexts.Length; k++)
        {
            (SealObject ciphertext, SealObject plaintext) = (Kept(_ciphertexts, ciphertexts.Span[k]), Kept(_plaintexts, plaintexts.Span[k]));
            // SEAL refuses a product that is 0 for everybody to see; a column may well be 0 in all rows of a block.
            if (_seal.IsZero(plaintext))
                continue;
            _seal.MultiplyPlain(_evaluator, ciphertext, plaintext, product);
            _seal.Add(_evaluator, sum, product, sum);
        }

        return _seal.SaveCiphertext(sum);
    }, cancellationToken);

    /// <inheritdoc />
    public Task<byte[]> DecryptAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken) => Run(() =>
    {
        using SealObject loaded = _seal.Ciphertext(), plaintext = _seal.Plaintext();
        _seal.LoadCiphertext(loaded, _context, ciphertext.Span);
        _seal.Decrypt(_decryptor ?? throw SealC.Failed("There is no secret key yet."), loaded, plaintext);
        return _seal.SavePlaintext(plaintext);
    }, cancellationToken);

    /// <inheritdoc />
    public void Release(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts)
    {
        // The caller may use its memory again at once.
        (int[] freedCiphertexts, int[] freedPlaintexts) = (ciphertexts.ToArray(), plaintexts.ToArray());
        lock (_schedulers)
        {
            if (_disposed)
                return;
            _ = _inOrder.StartNew(() =>
            {
                Free(_ciphertexts, freedCiphertexts);
                Free(_plaintexts, freedPlaintexts);
            });
        }
    }

    /// <summary>Waits for the call that is running, if any, and frees all. Calls that have not begun end with <see cref="ObjectDisposedException"/>.</summary>
    public ValueTask DisposeAsync()
    {
        lock (_schedulers)
        {
            if (_disposed)
                return new ValueTask(_schedulers.Completion);
            _disposed = true;
            _ = _inOrder.StartNew(() =>
            {
                Free(_ciphertexts, [.. _ciphertexts.Keys]);
                Free(_plaintexts, [.. _plaintexts.Keys]);
                foreach (SealObject? owned in new[] { _encryptor, _decryptor, _encoder, _evaluator, _context })
                    owned?.Dispose();
            });
            _schedulers.Complete();
        }

        return new ValueTask(_schedulers.Completion);
    }

    private SealObject Encryptor => _encryptor ?? throw SealC.Failed("There is no public key yet.");

    private Task<T> Run<T>(Func<T> call, CancellationToken cancellationToken)
    {
        lock (_schedulers)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _inOrder.StartNew(() =>
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                return call();
            }, cancellationToken);
        }
    }

    private int Keep(Dictionary<int, SealObject> kept, SealObject made, Action<SealObject> fill)
    {
        try
        {
            fill(made);
        }
        catch
        {
            made.Dispose();
            throw;
        }

        kept.Add(++_lastHandle, made);
        return _lastHandle;
    }

    private static SealObject Kept(Dictionary<int, SealObject> kept, int handle) =>
        kept.TryGetValue(handle, out SealObject? found) ? found : throw SealC.Failed("A handle was used that is not, or no longer, in use.");

    private static void Free(Dictionary<int, SealObject> kept, int[] handles)
    {
        foreach (int handle in handles)
            if (kept.Remove(handle, out SealObject? freed))
                freed.Dispose();
    }
}
