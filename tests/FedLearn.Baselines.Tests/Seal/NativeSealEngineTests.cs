using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.Tests;

public class NativeSealEngineTests
{
    private const int N = 8192, Slots = N / 2, CiphertextBytes = 262_257, KeyBytes = 196_802, PlaintextBytes = 131_160, ResiduesOfPlaintext = 88;

    // The two largest primes below 2^60 but one that are 1 modulo 2N; SEAL keeps the largest for keys.
    private static readonly ulong[] Primes = [1152921504606683137, 1152921504606748673];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1, 1), InlineData(1, 100), InlineData(2, 4096), InlineData(5, 3000)]
    public async Task InnerProduct_ReadByItsHolder_IsTheSumOfThePlainProducts(int blocks, int rows)
    {
        await using NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        var random = new Random(blocks);
        double[][] r = Blocks(random, blocks, rows), x = Blocks(random, blocks, rows);
        const int shareBits = 60, columnBits = 40;
        int[] ciphertexts = await Task.WhenAll(r.Select(block => engine.EncryptAsync(block, Math.ScaleB(1, shareBits), Cancellation)));
        int[] plaintexts = await Task.WhenAll(x.Select(block => engine.EncodeAsync(block, Math.ScaleB(1, columnBits), Cancellation)));

        double sum = Sum(await engine.DecryptAsync(await engine.InnerProductAsync(ciphertexts, plaintexts, Cancellation), Cancellation), shareBits + columnBits);

        // The sum over slots is N/2 times coefficient 0. Rounding the columns' coefficients errs by at most 1/2 each: N/4·2^-40·|a|_1 with
        // |a|_1 <= sqrt(N)·|a|_2 = sqrt(2·sum r^2). As much again covers the shares at 2^60, whose noise and rounding are thousands of times smaller.
        double bound = blocks * 2 * (N / 4) * Math.ScaleB(Math.Sqrt(2 * r.Max(block => block.Sum(v => v * v))), -columnBits);
        Assert.Equal(r.Zip(x, (a, b) => a.Zip(b, (u, v) => u * v).Sum()).Sum(), sum, bound);
    }

    [Fact]
    public async Task Add_TwoCiphertexts_IsTheSumAndKeepsThem()
    {
        await using NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        int a = await engine.EncryptAsync(new double[] { 1.5, -2, 3 }, Math.ScaleB(1, 60), Cancellation);
        int b = await engine.EncryptAsync(new double[] { 10, 20 }, Math.ScaleB(1, 60), Cancellation);
        int ones = await engine.EncodeAsync(Ones, Math.ScaleB(1, 40), Cancellation);

        int sum = await engine.AddAsync(a, b, Cancellation);

        Assert.Equal(32.5, await SumOf(engine, sum, ones), 1e-6);
        Assert.Equal(2.5, await SumOf(engine, a, ones), 1e-6);
        Assert.Equal(30, await SumOf(engine, b, ones), 1e-6);
        Assert.Equal(5, await SumOf(engine, await engine.AddAsync(a, a, Cancellation), ones), 1e-6);
    }

    [Fact]
    public async Task SaveLoad_Ciphertext_RoundTripsToTheSameBytes()
    {
        await using NativeSealEngine engine = Engine();
        byte[] key = await engine.CreateKeysAsync(Cancellation);
        await engine.UsePublicKeyAsync(key, Cancellation);
        byte[] saved = await engine.SaveAsync(await engine.EncryptAsync(new double[] { 7, 8 }, Math.ScaleB(1, 60), Cancellation), Cancellation);

        int loaded = await engine.LoadAsync(saved, Cancellation);

        Assert.Equal((KeyBytes, CiphertextBytes), (key.Length, saved.Length));
        Assert.Equal(saved, await engine.SaveAsync(loaded, Cancellation));
        Assert.Equal(15, await SumOf(engine, loaded, await engine.EncodeAsync(Ones, Math.ScaleB(1, 40), Cancellation)), 1e-6);
        // Every header carries the number that the oldest engine reads: magic 0xA15E, 16 bytes, 4.1, no compression, 0.
        byte[] header = [0x5E, 0xA1, 16, 4, 1, 0, 0, 0];
        foreach (byte[] at in new[] { key[..8], key[89..97], key[196_721..196_729], saved[..8], saved[89..97] })
            Assert.Equal(header, at);
        byte[] opened = await engine.DecryptAsync(saved, Cancellation);
        Assert.Equal(PlaintextBytes, opened.Length);
        Assert.Equal(header, opened[..8]);
        Assert.Equal(header, opened[64..72]);
    }

    [Fact]
    public async Task TwoEngines_KeyHolderAndParty_ExchangeBytes()
    {
        await using NativeSealEngine holder = Engine(), party = Engine();
        await party.UsePublicKeyAsync(await holder.CreateKeysAsync(Cancellation), Cancellation);
        int vector = await party.EncryptAsync(new double[] { .25, -.75, 1 }, Math.ScaleB(1, 74), Cancellation);
        int column = await party.EncodeAsync(new double[] { 4, 4, -2 }, Math.ScaleB(1, 26), Cancellation);

        byte[] opened = await holder.DecryptAsync(await party.InnerProductAsync(new[] { vector }, new[] { column }, Cancellation), Cancellation);

        // As in the first test: N/4·sqrt(2·sum r^2)·2^-26 < 6e-5, and as much again.
        Assert.Equal(-4, Sum(opened, 100), 1.2e-4);
        InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => party.DecryptAsync(new byte[CiphertextBytes], Cancellation));
        Assert.Equal(HeErrors.SealFailed, error.Id);
    }

    [Theory]
    [InlineData(true), InlineData(false)]
    public async Task NodeEngine_AndThisOne_ReadEachOthersBytes(bool nativeHolder)
    {
        await using ISealEngine native = Engine(), node = await NodeOrSkip();
        (ISealEngine holder, ISealEngine party) = nativeHolder ? (native, node) : (node, native);
        byte[] key = await holder.CreateKeysAsync(Cancellation);
        CkksParameters.CheckKey(key);
        await holder.UsePublicKeyAsync(key, Cancellation);
        await party.UsePublicKeyAsync(key, Cancellation);
        byte[] sent = await holder.SaveAsync(await holder.EncryptAsync(new double[] { 1, 2, 3 }, CkksScheme.ShareScale, Cancellation), Cancellation);
        CkksParameters.CheckCiphertext(sent, CkksScheme.ShareScale);
        int sum = await party.AddAsync(await party.LoadAsync(sent, Cancellation),
            await party.EncryptAsync(new double[] { .5, .5, -.5 }, CkksScheme.ShareScale, Cancellation), Cancellation);
        byte[] back = await party.SaveAsync(sum, Cancellation);
        int column = await party.EncodeAsync(new double[] { 1, -2, 4 }, Math.ScaleB(1, 26), Cancellation);

        byte[] product = await party.InnerProductAsync(new[] { sum }, new[] { column }, Cancellation);

        // 1.5 - 5 + 10; the bound as in the first test: N/4·sqrt(2·sum r^2)·2^-26 < 2e-4, and as much again.
        CkksParameters.CheckCiphertext(product, CkksScheme.ShareScale * Math.ScaleB(1, 26));
        Assert.Equal(6.5, Sum(await holder.DecryptAsync(product, Cancellation), 100), 4e-4);
        CkksParameters.CheckCiphertext(back, CkksScheme.ShareScale);
        int loaded = await holder.LoadAsync(back, Cancellation), weights = await holder.EncodeAsync(new double[] { 1, -2, 4 }, Math.ScaleB(1, 26), Cancellation);
        byte[] own = await holder.InnerProductAsync(new[] { loaded }, new[] { weights }, Cancellation);
        Assert.Equal(6.5, Sum(await holder.DecryptAsync(own, Cancellation), 100), 4e-4);
    }

    [Fact]
    public async Task InnerProduct_ColumnOfZeros_IsAnEncryptionOfZero()
    {
        await using NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        int vector = await engine.EncryptAsync(Ones, Math.ScaleB(1, 60), Cancellation);
        int zeros = await engine.EncodeAsync(new double[Slots], Math.ScaleB(1, 40), Cancellation);
        int none = await engine.EncodeAsync(ReadOnlyMemory<double>.Empty, Math.ScaleB(1, 40), Cancellation);
        int ones = await engine.EncodeAsync(new double[] { 1, 1, 1 }, Math.ScaleB(1, 40), Cancellation);

        byte[] product = await engine.InnerProductAsync(new[] { vector, vector }, new[] { zeros, none }, Cancellation);

        // Noise of one encryption against a unit of 2^100.
        Assert.Equal(0, Sum(await engine.DecryptAsync(product, Cancellation), 100), 1e-15);
        Assert.Equal(3, Sum(await engine.DecryptAsync(await engine.InnerProductAsync(new[] { vector, vector }, new[] { zeros, ones }, Cancellation), Cancellation), 100), 1e-6);
    }

    [Fact]
    public async Task InnerProduct_TwiceTheSame_HasOtherBytesThroughout()
    {
        await using NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        int[] vector = [await engine.EncryptAsync(Ones, Math.ScaleB(1, 60), Cancellation)];
        int[] column = [await engine.EncodeAsync(Ones, Math.ScaleB(1, 40), Cancellation)];

        ulong[] first = Residues(await engine.InnerProductAsync(vector, column, Cancellation)), second = Residues(await engine.InnerProductAsync(vector, column, Cancellation));

        // Residues that agree by chance: 4·8192/2^60 expected, so even one is a failure (false alarms below 1e-13).
        Assert.Equal(0, first.Zip(second).Count(pair => pair.First == pair.Second));
    }

    [Fact]
    public async Task Release_IssuedAfterACall_TakesEffectAfterIt()
    {
        await using NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        int[] pair = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => engine.EncryptAsync(Ones, Math.ScaleB(1, 60), Cancellation)));
        int column = await engine.EncodeAsync(Ones, Math.ScaleB(1, 40), Cancellation);

        Task<int> sum = engine.AddAsync(pair[0], pair[1], Cancellation);
        int[] reused = [.. pair];
        engine.Release(reused, ReadOnlyMemory<int>.Empty);
        Array.Clear(reused);
        engine.Release(pair, ReadOnlyMemory<int>.Empty);

        Assert.Equal(2 * Slots, await SumOf(engine, await sum, column), 1e-4);
        foreach (int freed in pair)
            Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.SaveAsync(freed, Cancellation))).Id);
    }

    [Fact]
    public async Task Calls_FromManyThreads_GiveEachItsOwnResult()
    {
        await using NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        int ones = await engine.EncodeAsync(Ones, Math.ScaleB(1, 40), Cancellation);

        double[] sums = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => Task.Run(async () =>
            await SumOf(engine, await engine.EncryptAsync(new double[] { i, i }, Math.ScaleB(1, 60), Cancellation), ones), Cancellation)));

        for (int i = 0; i < sums.Length; i++)
            Assert.Equal(2 * i, sums[i], 1e-6);
    }

    [Fact]
    public async Task Call_ThatSealRefuses_NamesTheFunctionAndLeavesTheEngineUsable()
    {
        await using NativeSealEngine engine = Engine();
        Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.EncryptAsync(Ones, 1024, Cancellation))).Id);
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        byte[] saved = await engine.SaveAsync(await engine.EncryptAsync(Ones, Math.ScaleB(1, 60), Cancellation), Cancellation);
        byte[] cut = saved[..^8], beyondPrime = [.. saved], trailing = [.. saved, 0];
        BinaryPrimitives.WriteUInt64LittleEndian(beyondPrime.AsSpan(113), Primes[0]);

        foreach (byte[] bad in new[] { [], cut, beyondPrime, trailing })
        {
            InternalFailureException error = await Assert.ThrowsAsync<InternalFailureException>(() => engine.LoadAsync(bad, Cancellation));
            Assert.Equal(HeErrors.SealFailed, error.Id);
            Assert.Contains("Ciphertext_Load", error.Message, StringComparison.Ordinal);
        }

        await Assert.ThrowsAsync<InternalFailureException>(() => engine.UsePublicKeyAsync(saved, Cancellation));
        await Assert.ThrowsAsync<InternalFailureException>(() => engine.EncodeAsync(new double[Slots + 1], 1024, Cancellation));
        await Assert.ThrowsAsync<ArgumentException>(() => engine.InnerProductAsync(new[] { 1 }, ReadOnlyMemory<int>.Empty, Cancellation));
        // Scales of 2^61 and 2^60 do not add.
        int other = await engine.EncryptAsync(Ones, Math.ScaleB(1, 61), Cancellation), loaded = await engine.LoadAsync(saved, Cancellation);
        await Assert.ThrowsAsync<InternalFailureException>(() => engine.AddAsync(loaded, other, Cancellation));
        Assert.Equal(saved, await engine.SaveAsync(loaded, Cancellation));
    }

    [Fact]
    public async Task Dispose_WithCallsOutstanding_EndsThem()
    {
        NativeSealEngine engine = Engine();
        await engine.UsePublicKeyAsync(await engine.CreateKeysAsync(Cancellation), Cancellation);
        Task<int>[] outstanding = [.. Enumerable.Range(0, 50).Select(_ => engine.EncryptAsync(Ones, Math.ScaleB(1, 60), Cancellation))];

        await engine.DisposeAsync();
        await engine.DisposeAsync();

        // Each has run or been turned away; none waits for ever or touches freed memory.
        foreach (Task<int> call in outstanding)
            Assert.True(call.IsCompletedSuccessfully || call.Exception?.InnerException is ObjectDisposedException);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => engine.CreateKeysAsync(Cancellation));
        engine.Release(new[] { 1 }, ReadOnlyMemory<int>.Empty);
    }

    [Fact]
    public async Task Call_Cancelled_DoesNotRun()
    {
        await using NativeSealEngine engine = Engine();
        using var source = new CancellationTokenSource();
        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => engine.CreateKeysAsync(source.Token));

        Assert.Equal(HeErrors.SealFailed, (await Assert.ThrowsAsync<InternalFailureException>(() => engine.DecryptAsync(new byte[CiphertextBytes], Cancellation))).Id);
    }

    [Fact]
    public void TryLoad_NoLibrary_IsNull()
    {
        Assert.Null(NativeSealEngine.TryLoadFile(Path.Combine(AppContext.BaseDirectory, "no-such-folder", "libsealc.so")));
        Assert.Null(NativeSealEngine.TryLoadAny(["libno-such-sealc.so", "libno-such-sealc.so.4.4"]));
    }

    [Fact]
    public void TryLoad_FileThatIsNoLibrary_IsRefused()
    {
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, "no library");
            Assert.Equal(HeErrors.SealTooOld, Assert.Throws<InternalFailureException>(() => NativeSealEngine.TryLoadFile(file)).Id);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("libc.so.6"), InlineData("libgmp.so.10")]
    public void TryLoad_LibraryThatIsNoSeal_IsRefused(string name)
    {
        if (!NativeLibrary.TryLoad(name, out nint library))
            Assert.Skip($"{name} is not on this machine.");
        NativeLibrary.Free(library);

        InternalFailureException error = Assert.Throws<InternalFailureException>(() => NativeSealEngine.TryLoadAny([name]));

        Assert.Equal(HeErrors.SealTooOld, error.Id);
        Assert.Contains("Version_Major", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4, 3), InlineData(3, 7), InlineData(5, 0), InlineData(4, 0)]
    public void Bind_OtherVersion_IsRefusedByItsNumber(byte major, byte minor)
    {
        (_major, _minor) = (major, minor);

        // All other functions are "there"; none of them is called.
        InternalFailureException error = Assert.Throws<InternalFailureException>(() => new SealC(name => Version(name) is not 0 and nint found ? found : 1));

        Assert.Equal(HeErrors.SealTooOld, error.Id);
        Assert.Contains($"{major}.{minor}.9", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bind_VersionWithoutAFunction_IsRefusedByTheFunctionsName()
    {
        (_major, _minor) = (4, 4);
        var asked = new List<string>();
        Assert.Equal(new Version(4, 4, 9), new SealC(name =>
        {
            asked.Add(name);
            return Version(name) is not 0 and nint found ? found : 1;
        }).Version);
        Assert.Equal(asked.Distinct(), asked);

        foreach (string missing in asked)
        {
            InternalFailureException error = Assert.Throws<InternalFailureException>(() => new SealC(name => name == missing ? 0 : Version(name) is not 0 and nint found ? found : 1));
            Assert.Equal(HeErrors.SealTooOld, error.Id);
            Assert.Contains($"no function {missing}", error.Message, StringComparison.Ordinal);
        }
    }

    [ThreadStatic]
    private static byte _major, _minor;

    private static unsafe nint Version(string name) => name switch
    {
        "Version_Major" => (nint)(delegate* unmanaged[Cdecl]<byte*, int>)&Major,
        "Version_Minor" => (nint)(delegate* unmanaged[Cdecl]<byte*, int>)&Minor,
        "Version_Patch" => (nint)(delegate* unmanaged[Cdecl]<byte*, int>)&Patch,
        _ => 0
    };

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe int Major(byte* result)
    {
        *result = _major;
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe int Minor(byte* result)
    {
        *result = _minor;
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe int Patch(byte* result)
    {
        *result = 9;
        return 0;
    }

    private static double[] Ones { get; } = [.. Enumerable.Repeat(1.0, Slots)];

    private static NativeSealEngine Engine()
    {
        NativeSealEngine? engine = NativeSealEngine.TryLoad();
        if (engine is null)
            Assert.Skip($"There is no libsealc on this machine; {NativeSealEngine.Variable} may name one of SEAL 4.4 or later.");
        return engine;
    }

    private static async Task<ISealEngine> NodeOrSkip()
    {
        try
        {
            return await NodeSealEngine.StartAsync(Cancellation);
        }
        catch (InternalFailureException e) when (e.Id == HeErrors.SealMissing)
        {
            Assert.Skip(e.Message);
            throw;
        }
    }

    private static double[][] Blocks(Random random, int blocks, int rows) =>
        [.. Enumerable.Range(0, blocks).Select(_ => Enumerable.Range(0, rows).Select(_ => (2 * random.NextDouble()) - 1).ToArray())];

    private static async Task<double> SumOf(NativeSealEngine engine, int ciphertext, int ones) =>
        Sum(await engine.DecryptAsync(await engine.InnerProductAsync(new[] { ciphertext }, new[] { ones }, Cancellation), Cancellation), 100);

    private static ulong[] Residues(byte[] ciphertext) => MemoryMarshal.Cast<byte, ulong>(ciphertext.AsSpan(113)).ToArray();

    // Sum over slots, by definition: coefficient 0 modulo each prime is N^-1 times the sum of the values in NTT form; then the Chinese remainder theorem.
    private static double Sum(byte[] plaintext, int scaleBits)
    {
        BigInteger q = (BigInteger)Primes[0] * Primes[1], coefficient = 0;
        for (int k = 0; k < 2; k++)
        {
            BigInteger sum = 0, cofactor = q / Primes[k];
            for (int i = 0; i < N; i++)
                sum += BinaryPrimitives.ReadUInt64LittleEndian(plaintext.AsSpan(ResiduesOfPlaintext + (8 * ((k * N) + i))));
            coefficient += sum * BigInteger.ModPow(N * cofactor, Primes[k] - 2, Primes[k]) * cofactor;
        }

        coefficient %= q;
        return Math.ScaleB((double)(2 * coefficient < q ? coefficient : coefficient - q) * (N / 2), -scaleBits);
    }
}
