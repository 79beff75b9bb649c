using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Testing;

/// <summary>What every implementation of <see cref="IAdditiveScheme"/> must do. Depends on no test framework.</summary>
/// <remarks><para>Sums are compared with exact ones within <see cref="IAdditiveScheme.SumError"/>, and what the holder of the key opens is unmasked without flooding. Sums stay below a quarter of what the answers' modulus holds.</para>
/// <para>Schemes draw their own randomness, so statistical checks have no seed; each of the 6 statistics exceeds its bound by chance about once in 10^9 runs.</para>
/// <para>Ciphertexts are opaque to these checks. That two of them look unrelated does not show that they hide anything: a scheme's own tests must show that a masked sum is re-randomised, and its parameters secure.</para></remarks>
public static partial class AdditiveSchemeConformance
{
    private const double Largest = 1 << 20;

    /// <summary>A check.</summary>
    /// <param name="trial">A scheme with a key and two parties; may be used for several checks.</param>
    public delegate Task Check(AdditiveSchemeTrial trial);

    /// <summary>Every check, by name.</summary>
    public static IReadOnlyDictionary<string, Check> All { get; } = new Dictionary<string, Check>
    {
        [nameof(DescriptionIsSound)] = DescriptionIsSound,
        [nameof(InnerProductsAreRight)] = InnerProductsAreRight,
        [nameof(SingleEntriesAreRecovered)] = SingleEntriesAreRecovered,
        [nameof(SignsAndZerosAreKept)] = SignsAndZerosAreKept,
        [nameof(ExtremesAreHeld)] = ExtremesAreHeld,
        [nameof(LongVectorsAreWhole)] = LongVectorsAreWhole,
        [nameof(OperandsStayUsable)] = OperandsStayUsable,
        [nameof(SizesTellNoValues)] = SizesTellNoValues,
        [nameof(EncryptionIsFresh)] = EncryptionIsFresh,
        [nameof(MaskingIsFresh)] = MaskingIsFresh,
        [nameof(MasksAreUniform)] = MasksAreUniform,
        [nameof(OpenedTellsNothing)] = OpenedTellsNothing,
        [nameof(KeysDiffer)] = KeysDiffer,
        [nameof(ForeignKeysAreRefused)] = ForeignKeysAreRefused,
        [nameof(ForeignCiphertextsAreRefused)] = ForeignCiphertextsAreRefused,
        [nameof(ForeignMaskedSumsAreRefused)] = ForeignMaskedSumsAreRefused,
        [nameof(DamageDoesNoHarm)] = DamageDoesNoHarm,
        [nameof(AnotherSizeIsRefused)] = AnotherSizeIsRefused,
        [nameof(MisuseIsRefused)] = MisuseIsRefused,
        [nameof(CancellationIsHonoured)] = CancellationIsHonoured,
        [nameof(DisposalTwiceIsFine)] = DisposalTwiceIsFine,
    };

    /// <summary>Runs every check with one key.</summary>
    /// <param name="scheme">The scheme.</param>
    /// <param name="options">How much is tried; default as <see cref="AdditiveSchemeOptions"/> has it.</param>
    /// <param name="cancellationToken">Stops between two checks.</param>
    /// <returns>Failures by name of the check; empty where the scheme passes.</returns>
    /// <exception cref="ConformanceException">The scheme makes no key, or no party can use it.</exception>
    public static async Task<IReadOnlyDictionary<string, ConformanceException>> FailuresAsync(IAdditiveScheme scheme, AdditiveSchemeOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        var failures = new Dictionary<string, ConformanceException>();
        AdditiveSchemeTrial trial = await AdditiveSchemeTrial.CreateAsync(scheme, options, cancellationToken).ConfigureAwait(false);
        await using (trial.ConfigureAwait(false))
        {
            foreach ((string name, Check check) in All)
            {
                cancellationToken.ThrowIfCancellationRequested();
                try
                {
                    await RunAsync(check, trial).ConfigureAwait(false);
                }
                catch (ConformanceException e)
                {
                    failures.Add(name, e);
                }
            }
        }

        return failures;
    }

    /// <summary>Runs every check with one key, and throws where any fails.</summary>
    /// <inheritdoc cref="FailuresAsync" path="/param" />
    /// <exception cref="ConformanceException">The scheme fails; the message has every failed check.</exception>
    public static async Task CheckAsync(IAdditiveScheme scheme, AdditiveSchemeOptions? options = null, CancellationToken cancellationToken = default)
    {
        IReadOnlyDictionary<string, ConformanceException> failures = await FailuresAsync(scheme, options, cancellationToken).ConfigureAwait(false);
        if (failures.Count > 0)
            throw new ConformanceException(string.Join(Environment.NewLine, failures.Select(pair => $"{pair.Key}: {pair.Value.Message}")), failures.Values.First());
    }

    /// <summary>Runs one check; whatever else it throws becomes a failure.</summary>
    /// <param name="check">The check.</param>
    /// <param name="trial">What it is run on.</param>
    /// <exception cref="ConformanceException">The scheme fails.</exception>
    public static async Task RunAsync(Check check, AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(check);
        ArgumentNullException.ThrowIfNull(trial);
        try
        {
            await check(trial).WaitAsync(trial.Options.Patience).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            throw new ConformanceException($"the check did not end within {trial.Options.Patience.TotalSeconds:0} s", e);
        }
        catch (Exception e) when (e is not ConformanceException)
        {
            throw new ConformanceException($"it failed with {e.GetType().Name}: {e.Message}", e);
        }
    }

    private static Task<double[]> SumsAsync(AdditiveSchemeTrial trial, double[] values, double[] columns) => SumsAsync(trial, trial.First, trial.Second, values, null, columns);

    // The way of the protocol: the peer's share comes as bytes, the party adds its own, and has the sums opened.
    private static async Task<double[]> SumsAsync(AdditiveSchemeTrial trial, IEncryptor party, IEncryptor peer, double[] share, double[]? own, double[] columns)
    {
        using CipherVector sent = await peer.EncryptAsync(share).ConfigureAwait(false);
        using CipherVector received = await party.LoadAsync(await sent.SaveAsync().ConfigureAwait(false), share.Length).ConfigureAwait(false);
        using PlainColumns plain = await party.EncodeAsync(columns, share.Length).ConfigureAwait(false);
        Require(sent.Length == share.Length && received.Length == share.Length && plain.Rows == share.Length && plain.Count == columns.Length / share.Length, "a length is wrong");
        if (own is null)
            return await OpenAsync(trial, party, received, plain).ConfigureAwait(false);
        using CipherVector added = await party.EncryptAsync(own).ConfigureAwait(false), sum = await party.AddAsync(added, received).ConfigureAwait(false);
        return await OpenAsync(trial, party, sum, plain).ConfigureAwait(false);
    }

    private static async Task<double[]> OpenAsync(AdditiveSchemeTrial trial, IEncryptor party, CipherVector vector, PlainColumns plain)
    {
        MaskedSums sums = await party.MaskedSumsAsync(vector, plain).ConfigureAwait(false);
        Require(sums.Count == plain.Count, "there are not as many sums as columns");
        return sums.Unmask(await trial.Holder.OpenAsync(sums.Bytes, sums.Count).ConfigureAwait(false), party.Answers);
    }

    private static void RequireClose(AdditiveSchemeTrial trial, double[] sums, double[] first, double[]? second, double[] columns, double shareBound, double columnBound)
    {
        int rows = first.Length;
        for (int j = 0; j < sums.Length; j++)
        {
            BigInteger exact = 0;
            for (int i = 0; i < rows; i++)
                exact += (Exact(first[i]) + (second is null ? 0 : Exact(second[i]))) * Exact(columns[(j * rows) + i]);
            double value = (double)(exact >> 400) / Math.ScaleB(1, 200), error = (double)(BigInteger.Abs((Exact(sums[j]) << 300) - exact) >> 400) / Math.ScaleB(1, 200); // all in units of 2^-600
            // The sum is a float64: 2^-51 of it is for taking it from an integer.
            Require(error <= trial.Scheme.SumError(rows, shareBound, columnBound) + (Math.ScaleB(1, -51) * Math.Abs(value)), $"a sum over {rows} rows is off by more than the error bound");
        }
    }

    // value 2^300; float64 numbers below 2^-248 lose bits, which nothing here depends on.
    private static BigInteger Exact(double value)
    {
        long raw = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)((raw >> 52) & 0x7FF);
        if (exponent == 0x7FF)
            throw new ConformanceException("a sum is not finite");
        BigInteger magnitude = (raw & 0xF_FFFF_FFFF_FFFF) | (exponent == 0 ? 0 : 1L << 52);
        int shift = Math.Max(exponent, 1) - 1075 + 300;
        return (raw < 0 ? -1 : 1) * (shift >= 0 ? magnitude << shift : magnitude >> -shift);
    }

    // A quarter of the sums that the modulus holds; at most 2^60, so that a float64 holds it.
    private static double Capacity(AdditiveSchemeTrial trial) => (double)BigInteger.Min(BigInteger.One << 60, trial.Holder.Answers.Modulus / (4 * trial.Holder.Answers.Unit));

    private static double[] Draw(Random random, int count, double bound) => [.. Enumerable.Range(0, count).Select(_ => bound * ((2 * random.NextDouble()) - 1))];

    private static void Require(bool holds, string failure)
    {
        if (!holds)
            throw new ConformanceException(failure);
    }
}
