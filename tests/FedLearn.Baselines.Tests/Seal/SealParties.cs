using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.Tests.Seal;

/// <summary>One key holder and two parties of one scheme, for the tests of a class.</summary>
public sealed class SealParties : IAsyncLifetime
{
    private readonly List<RecordingEngine> _engines = [];
    private string? _missing;

    public SealParties() => Scheme = new CkksScheme(async stop =>
    {
        _engines.Add(new RecordingEngine(await NodeSealEngine.StartAsync(stop)));
        return _engines[^1];
    }, "", 1, 26);

    internal CkksScheme Scheme { get; }

    /// <summary>Objects from outside that engines of any of the three were given.</summary>
    internal int Given => _engines.Sum(engine => engine.Given);

    internal IKeyHolder KeyHolder { get; private set; } = null!;

    internal IEncryptor Party { get; private set; } = null!;

    internal IEncryptor Other { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        try
        {
            KeyHolder = await Scheme.CreateKeyAsync();
            Party = await Scheme.UseKeyAsync(KeyHolder.PublicKey);
            Other = await Scheme.UseKeyAsync(KeyHolder.PublicKey);
        }
        catch (InternalFailureException e) when (e.Id == HeErrors.SealMissing)
        {
            _missing = e.Message;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IAsyncDisposable? part in new IAsyncDisposable?[] { KeyHolder, Party, Other })
            if (part is not null)
                await part.DisposeAsync();
    }

    internal void Require()
    {
        if (_missing is not null)
            Assert.Skip(_missing);
    }

    /// <summary>Skips where Node.js or node-seal is absent.</summary>
    internal static async Task<NodeSealEngine> StartAsync()
    {
        try
        {
            return (NodeSealEngine)await NodeSealEngine.StartAsync(CancellationToken.None);
        }
        catch (InternalFailureException e) when (e.Id == HeErrors.SealMissing)
        {
            Assert.Skip(e.Message);
            throw;
        }
    }

    /// <summary>Inner products of the sum of two shares, one of each party, with columns of the first.</summary>
    internal static async Task<double[]> SumsAsync(IKeyHolder keyHolder, IEncryptor party, IEncryptor other, double[] own, double[] others, double[][] columns)
    {
        using CipherVector mine = await party.EncryptAsync(own), theirs = await other.EncryptAsync(others);
        using CipherVector received = await party.LoadAsync(await theirs.SaveAsync(), others.Length), sum = await party.AddAsync(mine, received);
        using PlainColumns plain = await party.EncodeAsync(columns.SelectMany(column => column).ToArray(), own.Length);
        MaskedSums masked = await party.MaskedSumsAsync(sum, plain);
        return masked.Unmask(await keyHolder.OpenAsync(masked.Bytes, masked.Count), keyHolder.Answers);
    }

    /// <summary>The same inner products in double precision.</summary>
    internal static double[] PlainSums(double[] own, double[] others, double[][] columns) =>
        [.. columns.Select(column => column.Select((x, i) => (own[i] + others[i]) * x).Sum())];

    internal static double[] Uniform(Random random, int count, double bound) => [.. Enumerable.Range(0, count).Select(_ => bound * ((2 * random.NextDouble()) - 1))];
}

/// <summary>An engine that lets calls through and remembers what it was given from outside.</summary>
internal sealed class RecordingEngine(ISealEngine inner) : ISealEngine
{
    internal int Given { get; private set; }

    public string Name => inner.Name;

    public int MostPlaintexts => inner.MostPlaintexts;

    public Task<byte[]> CreateKeysAsync(CancellationToken cancellationToken) => inner.CreateKeysAsync(cancellationToken);

    public Task UsePublicKeyAsync(ReadOnlyMemory<byte> key, CancellationToken cancellationToken)
    {
        Given++;
        return inner.UsePublicKeyAsync(key, cancellationToken);
    }

    public Task<int> EncryptAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken) => inner.EncryptAsync(block, scale, cancellationToken);

    public Task<int> EncodeAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken) => inner.EncodeAsync(block, scale, cancellationToken);

    public Task<byte[]> SaveAsync(int ciphertext, CancellationToken cancellationToken) => inner.SaveAsync(ciphertext, cancellationToken);

    public Task<int> LoadAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken)
    {
        Given++;
        return inner.LoadAsync(ciphertext, cancellationToken);
    }

    public Task<int> AddAsync(int first, int second, CancellationToken cancellationToken) => inner.AddAsync(first, second, cancellationToken);

    public Task<byte[]> InnerProductAsync(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts, CancellationToken cancellationToken) =>
        inner.InnerProductAsync(ciphertexts, plaintexts, cancellationToken);

    public Task<byte[]> DecryptAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken)
    {
        Given++;
        return inner.DecryptAsync(ciphertext, cancellationToken);
    }

    public void Release(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts) => inner.Release(ciphertexts, plaintexts);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
