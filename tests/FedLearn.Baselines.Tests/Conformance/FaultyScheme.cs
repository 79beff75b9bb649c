using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Baselines.Tests.Conformance;

/// <summary>What is done in place of the scheme's own calls; null where nothing is.</summary>
internal sealed record Fault
{
    public Func<IAdditiveScheme, CancellationToken, Task<IKeyHolder>>? CreateKey { get; init; }

    public Func<IAdditiveScheme, ReadOnlyMemory<byte>, CancellationToken, Task<IEncryptor>>? UseKey { get; init; }

    public Func<IAdditiveScheme, int, double, double, double>? SumError { get; init; }

    public Func<IKeyHolder, ReadOnlyMemory<byte>, int, CancellationToken, Task<BigInteger[]>>? Open { get; init; }

    public Func<AnswerSpace, AnswerSpace>? HolderAnswers { get; init; }

    public Func<IEncryptor, ReadOnlyMemory<double>, CancellationToken, Task<CipherVector>>? Encrypt { get; init; }

    public Func<IEncryptor, ReadOnlyMemory<byte>, int, CancellationToken, Task<CipherVector>>? Load { get; init; }

    public Func<IEncryptor, CipherVector, CipherVector, CancellationToken, Task<CipherVector>>? Add { get; init; }

    public Func<IEncryptor, ReadOnlyMemory<double>, int, CancellationToken, Task<PlainColumns>>? Encode { get; init; }

    public Func<IEncryptor, CipherVector, PlainColumns, CancellationToken, Task<MaskedSums>>? Sums { get; init; }

    /// <summary>Told the first disposal of each encryptor.</summary>
    public Action? Disposal { get; init; }

    public Action? SecondDisposal { get; init; }
}

/// <summary>A scheme with a fault planted in it.</summary>
internal sealed class FaultyScheme(IAdditiveScheme inner, Fault fault) : IAdditiveScheme
{
    public string Name => inner.Name;

    public string Engine => inner.Engine;

    public int SecurityBits => inner.SecurityBits;

    public int MostShares => inner.MostShares;

    public double SumError(int rows, double shareBound, double columnBound) =>
        fault.SumError?.Invoke(inner, rows, shareBound, columnBound) ?? inner.SumError(rows, shareBound, columnBound);

    public async Task<IKeyHolder> CreateKeyAsync(CancellationToken cancellationToken) =>
        new Holder(await (fault.CreateKey?.Invoke(inner, cancellationToken) ?? inner.CreateKeyAsync(cancellationToken)), fault);

    public async Task<IEncryptor> UseKeyAsync(ReadOnlyMemory<byte> publicKey, CancellationToken cancellationToken) =>
        new Encryptor(await (fault.UseKey?.Invoke(inner, publicKey, cancellationToken) ?? inner.UseKeyAsync(publicKey, cancellationToken)), fault);

    private sealed class Holder(IKeyHolder inner, Fault fault) : IKeyHolder
    {
        public ReadOnlyMemory<byte> PublicKey => inner.PublicKey;

        public AnswerSpace Answers => fault.HolderAnswers?.Invoke(inner.Answers) ?? inner.Answers;

        public Task<BigInteger[]> OpenAsync(ReadOnlyMemory<byte> masked, int count, CancellationToken cancellationToken) =>
            fault.Open?.Invoke(inner, masked, count, cancellationToken) ?? inner.OpenAsync(masked, count, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    private sealed class Encryptor(IEncryptor inner, Fault fault) : IEncryptor
    {
        private bool _disposed;

        public AnswerSpace Answers => inner.Answers;

        public Task<CipherVector> EncryptAsync(ReadOnlyMemory<double> values, CancellationToken cancellationToken) =>
            fault.Encrypt?.Invoke(inner, values, cancellationToken) ?? inner.EncryptAsync(values, cancellationToken);

        public Task<CipherVector> LoadAsync(ReadOnlyMemory<byte> bytes, int length, CancellationToken cancellationToken) =>
            fault.Load?.Invoke(inner, bytes, length, cancellationToken) ?? inner.LoadAsync(bytes, length, cancellationToken);

        public Task<CipherVector> AddAsync(CipherVector first, CipherVector second, CancellationToken cancellationToken) =>
            fault.Add?.Invoke(inner, first, second, cancellationToken) ?? inner.AddAsync(first, second, cancellationToken);

        public Task<PlainColumns> EncodeAsync(ReadOnlyMemory<double> columns, int rows, CancellationToken cancellationToken) =>
            fault.Encode?.Invoke(inner, columns, rows, cancellationToken) ?? inner.EncodeAsync(columns, rows, cancellationToken);

        public Task<MaskedSums> MaskedSumsAsync(CipherVector vector, PlainColumns columns, CancellationToken cancellationToken) =>
            fault.Sums?.Invoke(inner, vector, columns, cancellationToken) ?? inner.MaskedSumsAsync(vector, columns, cancellationToken);

        public ValueTask DisposeAsync()
        {
            if (_disposed)
                fault.SecondDisposal?.Invoke();
            else
                fault.Disposal?.Invoke();
            _disposed = true;
            return inner.DisposeAsync();
        }
    }
}
