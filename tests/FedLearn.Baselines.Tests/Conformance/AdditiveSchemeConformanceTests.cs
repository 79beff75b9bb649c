using System.Numerics;
using System.Security.Cryptography;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Conformance;

public class AdditiveSchemeConformanceTests
{
    private static readonly AdditiveSchemeOptions Small = new() { LongRows = 40, Draws = 128 };

    private static readonly Lazy<IKeyHolder> OneKey = new(() => new ReferenceAdditiveScheme().CreateKeyAsync().Result);

    private static readonly Dictionary<string, (string Check, IAdditiveScheme Scheme)> Faults = new()
    {
        ["randomness of encryption is a constant"] = (nameof(AdditiveSchemeConformance.EncryptionIsFresh), new ReferenceAdditiveScheme { EncryptionRandomness = () => 7 }),
        ["sums are not re-randomised"] = (nameof(AdditiveSchemeConformance.MaskingIsFresh), new ReferenceAdditiveScheme { SumRandomness = () => 0 }),
        ["one mask for all"] = (nameof(AdditiveSchemeConformance.MaskingIsFresh), new ReferenceAdditiveScheme { Mask = () => 12345 }),
        ["no mask"] = (nameof(AdditiveSchemeConformance.OpenedTellsNothing), new ReferenceAdditiveScheme { Mask = () => 0 }),
        ["masks of half the range"] = (nameof(AdditiveSchemeConformance.MasksAreUniform), new ReferenceAdditiveScheme { Mask = () => Random() / 2 }),
        ["masks of 120 bits"] = (nameof(AdditiveSchemeConformance.OpenedTellsNothing), new ReferenceAdditiveScheme { Mask = () => Random() >> 40 }),
        ["masks with a byte that is not drawn"] = (nameof(AdditiveSchemeConformance.MasksAreUniform), new ReferenceAdditiveScheme { Mask = () => Random() & ~((BigInteger)0xFF << 80) }),
        ["even masks"] = (nameof(AdditiveSchemeConformance.MasksAreUniform), new ReferenceAdditiveScheme { Mask = () => Random() & ~BigInteger.One }),
        ["negative columns lose their sign"] = Planted(nameof(AdditiveSchemeConformance.SignsAndZerosAreKept),
            new Fault { Encode = (inner, columns, rows, token) => inner.EncodeAsync(columns.ToArray().Select(Math.Abs).ToArray(), rows, token) }),
        ["negative numbers lose their sign"] = Planted(nameof(AdditiveSchemeConformance.SingleEntriesAreRecovered),
            new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(values.ToArray().Select(Math.Abs).ToArray(), token) }),
        ["the last row is dropped"] = Planted(nameof(AdditiveSchemeConformance.LongVectorsAreWhole), new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(Change(values, v => v[^1] = 0), token) }),
        ["rows beyond a block are dropped"] = Planted(nameof(AdditiveSchemeConformance.LongVectorsAreWhole),
            new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(Change(values, v => v.AsSpan(Math.Min(v.Length, 39)).Clear()), token) }),
        ["two rows are exchanged"] = Planted(nameof(AdditiveSchemeConformance.SingleEntriesAreRecovered),
            new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(Change(values, v => (v[0], v[^1]) = (v[^1], v[0])), token) }),
        ["large numbers are clipped"] = Planted(nameof(AdditiveSchemeConformance.ExtremesAreHeld),
            new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(Change(values, v => Each(v, x => x > 1 << 19 ? 1 << 19 : x)), token) }),
        ["numbers are float32"] = Planted(nameof(AdditiveSchemeConformance.InnerProductsAreRight), new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(Change(values, v => Each(v, x => (float)x)), token) }),
        ["the error bound is 0"] = Planted(nameof(AdditiveSchemeConformance.InnerProductsAreRight), new Fault { SumError = (_, _, _, _) => 0 }),
        ["the second share is not added"] = Planted(nameof(AdditiveSchemeConformance.InnerProductsAreRight), new Fault { Add = (inner, first, _, token) => ReloadAsync(inner, first, token) }),
        ["a vector that was added is empty"] = Planted(nameof(AdditiveSchemeConformance.OperandsStayUsable), new Fault { Add = AddAndSpoilAsync, Sums = SumsOfUnspoiltAsync }),
        ["not a number counts as 0"] = Planted(nameof(AdditiveSchemeConformance.MisuseIsRefused), new Fault { Encrypt = (inner, values, token) => inner.EncryptAsync(Change(values, v => Each(v, x => double.IsNaN(x) ? 0 : x)), token) }),
        ["vectors of two lengths are added"] = Planted(nameof(AdditiveSchemeConformance.MisuseIsRefused), new Fault { Add = (inner, first, second, token) => first.Length == second.Length ? inner.AddAsync(first, second, token) : ReloadAsync(inner, first, token) }),
        ["cut vectors are filled up"] = Planted(nameof(AdditiveSchemeConformance.ForeignCiphertextsAreRefused), new Fault { Load = (inner, bytes, length, token) => inner.LoadAsync(Fill(bytes, 40 * length), length, token) }),
        ["bytes after the end are ignored"] = Planted(nameof(AdditiveSchemeConformance.ForeignCiphertextsAreRefused), new Fault { Load = (inner, bytes, length, token) => inner.LoadAsync(Cut(bytes, 40 * length), length, token) }),
        ["ciphertexts out of range are reduced"] = Planted(nameof(AdditiveSchemeConformance.ForeignCiphertextsAreRefused), new Fault { Load = (inner, bytes, length, token) => inner.LoadAsync(Reduce(bytes), length, token) }),
        ["the holder ignores bytes after the end"] = Planted(nameof(AdditiveSchemeConformance.ForeignMaskedSumsAreRefused), new Fault { Open = (inner, bytes, count, token) => inner.OpenAsync(Cut(bytes, 40 * count), count, token) }),
        ["damaged bytes end in another exception"] = Planted(nameof(AdditiveSchemeConformance.DamageDoesNoHarm),
            new Fault { Load = async (inner, bytes, length, token) => bytes.Span[3] % 2 == 0 ? await inner.LoadAsync(bytes, length, token) : throw new EndOfStreamException("broken") }),
        ["a key of no bytes ends in another exception"] = Planted(nameof(AdditiveSchemeConformance.ForeignKeysAreRefused),
            new Fault { UseKey = (inner, key, token) => key.IsEmpty ? throw new KeyNotFoundException("no key") : inner.UseKeyAsync(key, token) }),
        ["keys are filled up"] = Planted(nameof(AdditiveSchemeConformance.ForeignKeysAreRefused), new Fault { UseKey = (inner, key, token) => inner.UseKeyAsync(Fill(key, 21), token) }),
        ["everybody has one key"] = Planted(nameof(AdditiveSchemeConformance.KeysDiffer), new Fault { CreateKey = (_, _) => Task.FromResult(OneKey.Value) }),
        ["the holder's answers are others"] = Planted(nameof(AdditiveSchemeConformance.DescriptionIsSound), new Fault { HolderAnswers = space => space with { Unit = space.Unit * 2 } }),
        ["cancellation is ignored"] = Planted(nameof(AdditiveSchemeConformance.CancellationIsHonoured), new Fault { Sums = (inner, vector, columns, _) => inner.MaskedSumsAsync(vector, columns, default) }),
        ["a second disposal fails"] = Planted(nameof(AdditiveSchemeConformance.DisposalTwiceIsFine), new Fault { SecondDisposal = () => throw new ObjectDisposedException("encryptor") }),
        ["the size tells zeros"] = Planted(nameof(AdditiveSchemeConformance.SizesTellNoValues), new Fault { Encrypt = EncryptAndMarkZerosAsync, Sums = SumsLongerForZerosAsync }),
    };

    public static TheoryData<string> FaultNames => [.. Faults.Keys];

    public static TheoryData<PaillierVariant> Variants => [.. Enum.GetValues<PaillierVariant>()];

    [Fact]
    public Task ReferenceScheme_EveryCheck_Passes() => AdditiveSchemeConformance.CheckAsync(new ReferenceAdditiveScheme());

    // Key generation, tables and decryption are slow: small counts.
    [Theory, MemberData(nameof(Variants))]
    public Task Paillier_EveryCheck_Passes(PaillierVariant variant) =>
        AdditiveSchemeConformance.CheckAsync(new PaillierScheme(2048, variant), Small with { OtherSize = variant == PaillierVariant.Fast ? new PaillierScheme(3072, PaillierVariant.Textbook) : null });

    [Fact]
    public async Task Kit_NoKeyCanBeMade_IsAFailure() => await Assert.ThrowsAsync<ConformanceException>(
        () => AdditiveSchemeConformance.FailuresAsync(Planted("", new Fault { CreateKey = (_, _) => throw new KeyNotFoundException("no key") }).Scheme));

    [Fact]
    public async Task Checks_NullTrial_AreRefusedByName()
    {
        foreach (AdditiveSchemeConformance.Check check in AdditiveSchemeConformance.All.Values)
            Assert.Equal("trial", (await Assert.ThrowsAsync<ArgumentNullException>(() => check(null!))).ParamName);
    }

    [Theory, MemberData(nameof(FaultNames))]
    public async Task Kit_PlantedFault_IsCaught(string fault)
    {
        (string check, IAdditiveScheme scheme) = Faults[fault];

        Assert.Contains(check, (await AdditiveSchemeConformance.FailuresAsync(scheme, Small)).Keys);
    }

    [Fact]
    public async Task Kit_SeveralFaults_AllAreReported()
    {
        var scheme = new FaultyScheme(new ReferenceAdditiveScheme { Mask = () => 0 }, new Fault { SumError = (_, _, _, _) => 0 });

        ConformanceException error = await Assert.ThrowsAsync<ConformanceException>(() => AdditiveSchemeConformance.CheckAsync(scheme, Small));
        Assert.Contains(nameof(AdditiveSchemeConformance.MasksAreUniform), error.Message);
        Assert.Contains(nameof(AdditiveSchemeConformance.InnerProductsAreRight), error.Message);
    }

    private static (string Check, IAdditiveScheme Scheme) Planted(string check, Fault fault) => (check, new FaultyScheme(new ReferenceAdditiveScheme(), fault));

    private static BigInteger Random() => BigInteger.Remainder(new BigInteger(RandomNumberGenerator.GetBytes(40), isUnsigned: true), ReferenceAdditiveScheme.Prime);

    private static double[] Change(ReadOnlyMemory<double> values, Action<double[]> change)
    {
        double[] copy = values.ToArray();
        if (copy.Length > 0)
            change(copy);
        return copy;
    }

    private static void Each(double[] values, Func<double, double> change)
    {
        for (int i = 0; i < values.Length; i++)
            values[i] = change(values[i]);
    }

    private static async Task<CipherVector> ReloadAsync(IEncryptor inner, CipherVector vector, CancellationToken token) => await inner.LoadAsync(await vector.SaveAsync(token), vector.Length, token);

    private static readonly System.Runtime.CompilerServices.ConditionalWeakTable<CipherVector, object> Spoilt = [];

    private static async Task<CipherVector> AddAndSpoilAsync(IEncryptor inner, CipherVector first, CipherVector second, CancellationToken token)
    {
        CipherVector sum = await inner.AddAsync(first, second, token);
        Spoilt.AddOrUpdate(first, first);
        return sum;
    }

    private static async Task<MaskedSums> SumsOfUnspoiltAsync(IEncryptor inner, CipherVector vector, PlainColumns columns, CancellationToken token)
    {
        using CipherVector zeros = await inner.EncryptAsync(new double[vector.Length], token);
        return await inner.MaskedSumsAsync(Spoilt.TryGetValue(vector, out _) ? zeros : vector, columns, token);
    }

    private static readonly System.Runtime.CompilerServices.ConditionalWeakTable<CipherVector, object> Zeros = [];

    private static async Task<CipherVector> EncryptAndMarkZerosAsync(IEncryptor inner, ReadOnlyMemory<double> values, CancellationToken token)
    {
        CipherVector vector = await inner.EncryptAsync(values, token);
        if (!values.Span.ContainsAnyExcept(0))
            Zeros.AddOrUpdate(vector, vector);
        return vector;
    }

    private static async Task<MaskedSums> SumsLongerForZerosAsync(IEncryptor inner, CipherVector vector, PlainColumns columns, CancellationToken token)
    {
        MaskedSums sums = await inner.MaskedSumsAsync(vector, columns, token);
        return Zeros.TryGetValue(vector, out _) ? new MaskedSums((byte[])[.. sums.Bytes.Span, 0], Enumerable.Repeat(BigInteger.Zero, sums.Count).ToArray()) : sums;
    }

    private static byte[] Fill(ReadOnlyMemory<byte> bytes, int length) => bytes.Length >= length ? bytes.ToArray() : [.. bytes.Span, .. Enumerable.Repeat((byte)1, length - bytes.Length)];

    private static ReadOnlyMemory<byte> Cut(ReadOnlyMemory<byte> bytes, int length) => bytes.Length > length ? bytes[..length] : bytes;

    private static byte[] Reduce(ReadOnlyMemory<byte> bytes)
    {
        byte[] copy = bytes.ToArray();
        for (int i = 0; i + 20 <= copy.Length; i += 20)
        {
            BigInteger value = BigInteger.Remainder(new BigInteger(copy.AsSpan(i, 20), isUnsigned: true), ReferenceAdditiveScheme.Prime);
            copy.AsSpan(i, 20).Clear();
            value.TryWriteBytes(copy.AsSpan(i, 20), out _, isUnsigned: true);
        }

        return copy;
    }
}
