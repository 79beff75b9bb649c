using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Diagnostics;

namespace FedLearn.Testing;

/// <summary>How much <see cref="AdditiveSchemeConformance"/> tries.</summary>
public sealed record AdditiveSchemeOptions
{
    /// <summary>Numbers of the long vector; choose more than one block of the scheme holds.</summary>
    /// <value>At least 2. Default 5000.</value>
    public int LongRows { get; init; } = 5000;

    /// <summary>Masked sums of each statistical check.</summary>
    /// <value>At least 128. Default 256.</value>
    public int Draws { get; init; } = 256;

    /// <summary>The scheme with other parameters, whose keys and ciphertexts must be refused. Default null: not checked.</summary>
    public IAdditiveScheme? OtherSize { get; init; }

    /// <summary>How long a check may take. Default 2 minutes.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(2);
}

/// <summary>A key and two parties that encrypt under it, for checks of one scheme.</summary>
public sealed class AdditiveSchemeTrial : IAsyncDisposable
{
    private AdditiveSchemeTrial(IAdditiveScheme scheme, AdditiveSchemeOptions options, IKeyHolder holder, IEncryptor first, IEncryptor second) =>
        (Scheme, Options, Holder, First, Second) = (scheme, options, holder, first, second);

    /// <summary>The scheme.</summary>
    public IAdditiveScheme Scheme { get; }

    /// <summary>How much is tried.</summary>
    public AdditiveSchemeOptions Options { get; }

    /// <summary>The key's holder.</summary>
    public IKeyHolder Holder { get; }

    /// <summary>A party.</summary>
    public IEncryptor First { get; }

    /// <summary>Another party.</summary>
    public IEncryptor Second { get; }

    /// <summary>Draws a key and readies two parties.</summary>
    /// <param name="scheme">The scheme.</param>
    /// <param name="options">How much is tried; default as <see cref="AdditiveSchemeOptions"/> has it.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task<AdditiveSchemeTrial> CreateAsync(IAdditiveScheme scheme, AdditiveSchemeOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(scheme);
        options ??= new AdditiveSchemeOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.LongRows, 2, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Draws, 128, nameof(options));
        IKeyHolder holder = await scheme.CreateKeyAsync(cancellationToken).ConfigureAwait(false);
        return new AdditiveSchemeTrial(scheme, options, holder, await scheme.UseKeyAsync(holder.PublicKey, cancellationToken).ConfigureAwait(false),
            await scheme.UseKeyAsync(holder.PublicKey, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Disposes of the parties and of the key.</summary>
    public async ValueTask DisposeAsync()
    {
        await First.DisposeAsync().ConfigureAwait(false);
        await Second.DisposeAsync().ConfigureAwait(false);
        await Holder.DisposeAsync().ConfigureAwait(false);
    }
}

/// <summary>What every implementation of <see cref="IAdditiveScheme"/> must do. Depends on no test framework.</summary>
/// <remarks><para>Sums are compared with exact ones within <see cref="IAdditiveScheme.SumError"/>, and what the holder of the key opens is unmasked without flooding. Sums stay below a quarter of what the answers' modulus holds.</para>
/// <para>Schemes draw their own randomness, so statistical checks have no seed; each of the 6 statistics exceeds its bound by chance about once in 10^9 runs.</para>
/// <para>Ciphertexts are opaque to these checks. That two of them look unrelated does not show that they hide anything: a scheme's own tests must show that a masked sum is re-randomised, and its parameters secure.</para></remarks>
public static class AdditiveSchemeConformance
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
        catch (Exception e) when (e is FedLearnException or CipherException or IOException or OperationCanceledException or InvalidOperationException or ArgumentException or ArithmeticException
            or IndexOutOfRangeException or NotSupportedException or NotImplementedException)
        {
            throw new ConformanceException($"it failed with {e.GetType().Name}: {e.Message}", e);
        }
    }

    /// <summary>Name, engine and answer space are legal, the same for all, and the error bound is a number that grows with rows and bounds.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task DescriptionIsSound(AdditiveSchemeTrial trial)
    {
        IAdditiveScheme scheme = trial.Scheme;
        Require(!string.IsNullOrWhiteSpace(scheme.Name) && !scheme.Name.Any(char.IsUpper), "its name is empty or not lower case");
        Require(!string.IsNullOrWhiteSpace(scheme.Engine), "its engine has no name");
        Require(scheme.SecurityBits >= 0, "its security is negative");
        Require(scheme.MostShares >= 2, "it adds no two shares");
        AnswerSpace space = trial.Holder.Answers;
        Require(space == trial.First.Answers && space == trial.Second.Answers, "parties and holder of the key differ in what answers are");
        Require(space.Unit > 0 && space.Modulus > 4 * space.Unit, "the modulus holds no sum");
        Require(space.Modulus.GetBitLength() <= 8L * space.Bytes, "an answer does not fit its bytes");
        Require(space.FloodBits >= 0 && BigInteger.One << space.FloodBits < space.Unit, "flooding drowns the sums");
        double last = 0;
        foreach ((int rows, double share, double column) in new[] { (1, .5, .5), (1, 1.0, 1.0), (100, 1.0, 1.0), (100_000, 1.0, 10.0) })
        {
            double error = scheme.SumError(rows, share, column);
            Require(double.IsFinite(error) && error >= last, "the error bound is no number, or falls with more rows or larger bounds");
            last = error;
        }

        return Task.CompletedTask;
    }

    /// <summary>Sums of two parties' shares, in inner products with several columns, are within the error bound, for both parties.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task InnerProductsAreRight(AdditiveSchemeTrial trial)
    {
        var random = new Random(1);
        foreach ((int rows, int count) in new[] { (1, 1), (2, 5), (37, 3) })
        {
            double[] first = Draw(random, rows, 1), second = Draw(random, rows, 1), columns = Draw(random, rows * count, 8);
            foreach ((IEncryptor party, IEncryptor peer) in new[] { (trial.First, trial.Second), (trial.Second, trial.First) })
                RequireClose(trial, await SumsAsync(trial, party, peer, first, second, columns).ConfigureAwait(false), first, second, columns, shareBound: 2, columnBound: 8);
        }
    }

    /// <summary>Columns that are 1 or -1 in one row and 0 elsewhere give every number by itself, in its place.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task SingleEntriesAreRecovered(AdditiveSchemeTrial trial)
    {
        const int Rows = 9;
        double[] values = Draw(new Random(2), Rows, 1), columns = new double[2 * Rows * Rows];
        for (int i = 0; i < Rows; i++)
            (columns[(i * Rows) + i], columns[((Rows + i) * Rows) + i]) = (1, -1);
        RequireClose(trial, await SumsAsync(trial, values, columns).ConfigureAwait(false), values, null, columns, shareBound: 1, columnBound: 1);
    }

    /// <summary>Every pair of signs gives the product's sign; a vector or a column of zeros gives 0.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task SignsAndZerosAreKept(AdditiveSchemeTrial trial)
    {
        double[] values = [3, -3, 0, -0.0], columns = [2, 0, 0, 0, -2, 0, 0, 0, 0, 2, 0, 0, 0, -2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1, -1, 1, -5, -5];
        RequireClose(trial, await SumsAsync(trial, values, columns).ConfigureAwait(false), values, null, columns, shareBound: 3, columnBound: 5);
        RequireClose(trial, await SumsAsync(trial, new double[4], columns).ConfigureAwait(false), new double[4], null, columns, shareBound: 3, columnBound: 5);
    }

    /// <summary>Numbers of absolute value 2^20 are held, on both sides, with what else the modulus allows.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ExtremesAreHeld(AdditiveSchemeTrial trial)
    {
        double other = Math.Min(Largest, Capacity(trial) / (4 * Largest));
        double[] signs = [1, -1, -1, 1];
        foreach ((double share, double column) in new[] { (Largest, other), (other, Largest) })
        {
            // Of the two columns, one cancels the signs, so that its sum is the largest, and one keeps them.
            double[] values = [.. signs.Select(sign => sign * share)], columns = [.. signs.Select(sign => sign * column), .. signs.Select(_ => column)];
            RequireClose(trial, await SumsAsync(trial, values, columns).ConfigureAwait(false), values, null, columns, share, column);
        }
    }

    /// <summary>Every part of a long vector counts, the last number too.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task LongVectorsAreWhole(AdditiveSchemeTrial trial)
    {
        int rows = trial.Options.LongRows;
        double[] values = Draw(new Random(3), rows, 1), columns = new double[3 * rows];
        columns.AsSpan(0, rows).Fill(1);
        columns[(2 * rows) - 1] = 1;
        Draw(new Random(4), rows, 1).CopyTo(columns, 2 * rows);
        RequireClose(trial, await SumsAsync(trial, values, columns).ConfigureAwait(false), values, null, columns, shareBound: 1, columnBound: 1);
    }

    /// <summary>Vectors and columns can be used again after they were added, multiplied and saved, and sums of sums are right.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task OperandsStayUsable(AdditiveSchemeTrial trial)
    {
        var random = new Random(5);
        double[] a = Draw(random, 6, 1), b = Draw(random, 6, 1), columns = Draw(random, 12, 1);
        using CipherVector first = await trial.First.EncryptAsync(a).ConfigureAwait(false), second = await trial.First.EncryptAsync(b).ConfigureAwait(false);
        ReadOnlyMemory<byte> saved = await first.SaveAsync().ConfigureAwait(false);
        using CipherVector sum = await trial.First.AddAsync(first, second).ConfigureAwait(false), all = await trial.First.AddAsync(sum, sum).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(columns, 6).ConfigureAwait(false);
        Require(plain.Count == 2 && plain.Rows == 6 && sum.Length == 6, "a length is wrong");
        // 2 (a + b) x, written as (a + b) 2 x; what is encrypted in it is bounded by 4.
        RequireClose(trial, await OpenAsync(trial, trial.First, all, plain).ConfigureAwait(false), a, b, [.. columns.Select(x => 2 * x)], 4, 2);
        RequireClose(trial, await OpenAsync(trial, trial.First, first, plain).ConfigureAwait(false), a, null, columns, 1, 1);
        RequireClose(trial, await OpenAsync(trial, trial.First, second, plain).ConfigureAwait(false), b, null, columns, 1, 1);
        Require((await first.SaveAsync().ConfigureAwait(false)).Span.SequenceEqual(saved.Span), "a vector's bytes change");
    }

    /// <summary>The sizes of ciphertexts depend on the length of a vector alone.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task SizesTellNoValues(AdditiveSchemeTrial trial)
    {
        double small = Math.Min(Largest, Capacity(trial) / (4 * Largest));
        int? size = null, sumSize = null;
        using PlainColumns plain = await trial.First.EncodeAsync(new[] { small, -small, 0 }, 3).ConfigureAwait(false);
        foreach (double value in new[] { 0, 1, -1, 1e-9, Largest })
        {
            using CipherVector vector = await trial.First.EncryptAsync(new[] { value, 0, value }).ConfigureAwait(false);
            ReadOnlyMemory<byte> bytes = await vector.SaveAsync().ConfigureAwait(false);
            MaskedSums sums = await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false);
            Require((size ??= bytes.Length) == bytes.Length && (sumSize ??= sums.Bytes.Length) == sums.Bytes.Length, "the size of a ciphertext depends on what it holds");
        }
    }

    /// <summary>Two encryptions of one vector have hardly a byte in common, whoever made them.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task EncryptionIsFresh(AdditiveSchemeTrial trial)
    {
        foreach (double[] values in new[] { new double[8], [.. Enumerable.Range(0, 8).Select(i => i - 3.5)] })
        {
            using CipherVector one = await trial.First.EncryptAsync(values).ConfigureAwait(false), two = await trial.First.EncryptAsync(values).ConfigureAwait(false),
                three = await trial.Second.EncryptAsync(values).ConfigureAwait(false);
            ReadOnlyMemory<byte> a = await one.SaveAsync().ConfigureAwait(false), b = await two.SaveAsync().ConfigureAwait(false), c = await three.SaveAsync().ConfigureAwait(false);
            Require(Unrelated(a.Span, b.Span) && Unrelated(a.Span, c.Span) && Unrelated(b.Span, c.Span), "two encryptions of one vector have much in common");
        }
    }

    /// <summary>Two maskings of the same sums have hardly a byte in common and open to different integers.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task MaskingIsFresh(AdditiveSchemeTrial trial)
    {
        using CipherVector vector = await trial.First.EncryptAsync(Draw(new Random(6), 5, 1)).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(Draw(new Random(7), 10, 1), 5).ConfigureAwait(false);
        MaskedSums one = await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false), two = await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false);
        Require(Unrelated(one.Bytes.Span, two.Bytes.Span), "two maskings of the same sums have much in common");
        BigInteger[] a = await trial.Holder.OpenAsync(one.Bytes, 2).ConfigureAwait(false), b = await trial.Holder.OpenAsync(two.Bytes, 2).ConfigureAwait(false);
        Require(a.Concat(b).Distinct().Count() == 4, "a mask was used again");
    }

    /// <summary>What opens of sums that are 0, which is the masks, is uniform modulo M: highest and lowest 4 bits, each by a chi-squared statistic of 15 degrees of freedom.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task MasksAreUniform(AdditiveSchemeTrial trial) => OpensUniformly(trial, 0, "masks are");

    /// <summary>What opens of large sums is as uniform as what opens of 0, so that it tells nothing of them.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task OpenedTellsNothing(AdditiveSchemeTrial trial)
    {
        await OpensUniformly(trial, 1, "what opens of a large sum is").ConfigureAwait(false);
        await OpensUniformly(trial, -1, "what opens of a large negative sum is").ConfigureAwait(false);
    }

    /// <summary>Two key pairs differ.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task KeysDiffer(AdditiveSchemeTrial trial)
    {
        IKeyHolder other = await trial.Scheme.CreateKeyAsync().ConfigureAwait(false);
        await using (other.ConfigureAwait(false))
            Require(!other.PublicKey.Span.SequenceEqual(trial.Holder.PublicKey.Span), "two parties drew the same key");
    }

    /// <summary>Keys that are cut, prolonged, empty or start otherwise are refused: FL4101.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ForeignKeysAreRefused(AdditiveSchemeTrial trial)
    {
        foreach ((string what, byte[] key) in Damaged(trial.Holder.PublicKey.ToArray()).Append(("a key that starts otherwise", Flip(trial.Holder.PublicKey.ToArray(), 0))))
            await Refuses(HeErrors.BadKey, what, async () => await (await trial.Scheme.UseKeyAsync(key).ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false)).ConfigureAwait(false);
    }

    /// <summary>Vectors that are cut, prolonged, empty, of another length, all zeros or all ones are refused: FL4100.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ForeignCiphertextsAreRefused(AdditiveSchemeTrial trial)
    {
        var values = new double[12];
        using CipherVector vector = await trial.Second.EncryptAsync(values).ConfigureAwait(false);
        byte[] good = (await vector.SaveAsync().ConfigureAwait(false)).ToArray();
        foreach ((string what, byte[] bytes) in Damaged(good))
            await Refuses(HeErrors.BadCiphertext, what, async () => (await trial.First.LoadAsync(bytes, values.Length).ConfigureAwait(false)).Dispose()).ConfigureAwait(false);
        using CipherVector whole = await trial.First.LoadAsync(good, values.Length).ConfigureAwait(false);
        Require(whole.Length == values.Length, "a loaded vector has another length");
    }

    /// <summary>Masked sums that are cut, prolonged, empty, of another number, all zeros or all ones are refused: FL4100.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ForeignMaskedSumsAreRefused(AdditiveSchemeTrial trial)
    {
        using CipherVector vector = await trial.First.EncryptAsync(new double[] { 1, 2 }).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(new double[] { 1, 2, 3, 4 }, 2).ConfigureAwait(false);
        byte[] good = (await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false)).Bytes.ToArray();
        foreach ((string what, byte[] bytes) in Damaged(good))
            await Refuses(HeErrors.BadCiphertext, what, () => trial.Holder.OpenAsync(bytes, 2)).ConfigureAwait(false);
        await Refuses(HeErrors.BadCiphertext, "fewer sums than there are", () => trial.Holder.OpenAsync(good, 1)).ConfigureAwait(false);
        await Refuses(HeErrors.BadCiphertext, "more sums than there are", () => trial.Holder.OpenAsync(good, 3)).ConfigureAwait(false);
        BigInteger[] opened = await trial.Holder.OpenAsync(good, 2).ConfigureAwait(false);
        Require(opened.Length == 2 && opened.All(value => value >= 0 && value < trial.Holder.Answers.Modulus), "an opened integer is out of range");
    }

    /// <summary>A vector with any one byte changed is refused (FL4100), or loads and is computed with like any other.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task DamageDoesNoHarm(AdditiveSchemeTrial trial)
    {
        using CipherVector vector = await trial.First.EncryptAsync(new double[] { 1, 2, 3 }).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(new double[] { 1, -2, 3 }, 3).ConfigureAwait(false);
        byte[] good = (await vector.SaveAsync().ConfigureAwait(false)).ToArray();
        // The first bytes one by one, where headers are, and a few beyond.
        foreach (int at in Enumerable.Range(0, Math.Min(good.Length, 24)).Concat(Enumerable.Range(1, 8).Select(k => good.Length * k / 9)).Append(good.Length - 1))
        {
            try
            {
                using CipherVector loaded = await trial.First.LoadAsync(Flip(good, at), 3).ConfigureAwait(false);
                MaskedSums sums = await trial.First.MaskedSumsAsync(loaded, plain).ConfigureAwait(false);
                await trial.Holder.OpenAsync(sums.Bytes, 1).ConfigureAwait(false);
            }
            catch (CipherException e)
            {
                Require(e.Id == HeErrors.BadCiphertext, $"error {e.Id} came where {HeErrors.BadCiphertext} is due");
            }
        }

        // Nothing of it has hurt the parties.
        RequireClose(trial, await OpenAsync(trial, trial.First, vector, plain).ConfigureAwait(false), [1, 2, 3], null, [1, -2, 3], 3, 3);
    }

    /// <summary>Keys, vectors and masked sums of other parameters are refused.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task AnotherSizeIsRefused(AdditiveSchemeTrial trial)
    {
        if (trial.Options.OtherSize is not { } scheme)
            return;
        AdditiveSchemeTrial other = await AdditiveSchemeTrial.CreateAsync(scheme, trial.Options).ConfigureAwait(false);
        await using (other.ConfigureAwait(false))
        {
            await Refuses(HeErrors.BadKey, "a key of another size", () => trial.Scheme.UseKeyAsync(other.Holder.PublicKey)).ConfigureAwait(false);
            using CipherVector vector = await other.First.EncryptAsync(new double[] { 1, 2 }).ConfigureAwait(false);
            using PlainColumns plain = await other.First.EncodeAsync(new double[] { 1, 2 }, 2).ConfigureAwait(false);
            ReadOnlyMemory<byte> bytes = await vector.SaveAsync().ConfigureAwait(false);
            await Refuses(HeErrors.BadCiphertext, "a vector of another size", () => trial.First.LoadAsync(bytes, 2)).ConfigureAwait(false);
            ReadOnlyMemory<byte> sums = (await other.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false)).Bytes;
            await Refuses(HeErrors.BadCiphertext, "a masked sum of another size", () => trial.Holder.OpenAsync(sums, 1)).ConfigureAwait(false);
        }
    }

    /// <summary>Empty vectors, numbers that are not finite or too large, lengths that do not fit, and vectors of another party's engine are refused with <see cref="ArgumentException"/>.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task MisuseIsRefused(AdditiveSchemeTrial trial)
    {
        IEncryptor party = trial.First;
        foreach (double bad in new[] { double.NaN, double.PositiveInfinity, double.NegativeInfinity, Math.BitIncrement(Largest), -2 * Largest })
        {
            await RefusesArguments($"the number {bad}", () => party.EncryptAsync(new[] { 0, bad })).ConfigureAwait(false);
            await RefusesArguments($"a column with {bad}", () => party.EncodeAsync(new[] { 0, bad }, 2)).ConfigureAwait(false);
        }

        await RefusesArguments("an empty vector", () => party.EncryptAsync(Array.Empty<double>())).ConfigureAwait(false);
        await RefusesArguments("no columns", () => party.EncodeAsync(Array.Empty<double>(), 2)).ConfigureAwait(false);
        await RefusesArguments("columns of no rows", () => party.EncodeAsync(new double[2], 0)).ConfigureAwait(false);
        await RefusesArguments("one and a half columns", () => party.EncodeAsync(new double[3], 2)).ConfigureAwait(false);
        using CipherVector two = await party.EncryptAsync(new double[2]).ConfigureAwait(false), three = await party.EncryptAsync(new double[3]).ConfigureAwait(false),
            foreign = await trial.Second.EncryptAsync(new double[2]).ConfigureAwait(false);
        using PlainColumns plain = await party.EncodeAsync(new double[4], 2).ConfigureAwait(false);
        await RefusesArguments("a sum of two lengths", () => party.AddAsync(two, three)).ConfigureAwait(false);
        await RefusesArguments("columns of another length", () => party.MaskedSumsAsync(three, plain)).ConfigureAwait(false);
        await RefusesArguments("a vector of another encryptor", () => party.AddAsync(two, foreign)).ConfigureAwait(false);
        await RefusesArguments("a vector of another encryptor", () => party.MaskedSumsAsync(foreign, plain)).ConfigureAwait(false);
    }

    /// <summary>Every call with a cancelled token ends with <see cref="OperationCanceledException"/>, and calls after it work.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task CancellationIsHonoured(AdditiveSchemeTrial trial)
    {
        var cancelled = new CancellationToken(true);
        using CipherVector vector = await trial.First.EncryptAsync(new double[] { 1, 2 }).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(new double[] { 1, 2 }, 2).ConfigureAwait(false);
        ReadOnlyMemory<byte> bytes = await vector.SaveAsync().ConfigureAwait(false), sums = (await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false)).Bytes;
        foreach ((string what, Func<Task> call) in new (string, Func<Task>)[]
        {
            ("key generation", () => trial.Scheme.CreateKeyAsync(cancelled)), ("use of a key", () => trial.Scheme.UseKeyAsync(trial.Holder.PublicKey, cancelled)),
            ("encryption", () => trial.First.EncryptAsync(new double[2], cancelled)), ("loading", () => trial.First.LoadAsync(bytes, 2, cancelled)), ("addition", () => trial.First.AddAsync(vector, vector, cancelled)),
            ("encoding", () => trial.First.EncodeAsync(new double[2], 2, cancelled)), ("inner products", () => trial.First.MaskedSumsAsync(vector, plain, cancelled)),
            ("saving", () => vector.SaveAsync(cancelled)), ("opening", () => trial.Holder.OpenAsync(sums, 1, cancelled)),
        })
        {
            try
            {
                await call().ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                continue;
            }

            throw new ConformanceException($"{what} does not stop for a cancelled token");
        }

        RequireClose(trial, await OpenAsync(trial, trial.First, vector, plain).ConfigureAwait(false), [1, 2], null, [1, 2], 2, 2);
    }

    /// <summary>Disposing twice does no harm.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task DisposalTwiceIsFine(AdditiveSchemeTrial trial)
    {
        AdditiveSchemeTrial other = await AdditiveSchemeTrial.CreateAsync(trial.Scheme, trial.Options).ConfigureAwait(false);
        CipherVector vector = await other.First.EncryptAsync(new double[] { 1 }).ConfigureAwait(false);
        PlainColumns plain = await other.First.EncodeAsync(new double[] { 1 }, 1).ConfigureAwait(false);
        for (int k = 0; k < 2; k++)
        {
            vector.Dispose();
            plain.Dispose();
        }

        for (int k = 0; k < 2; k++)
            await other.DisposeAsync().ConfigureAwait(false);
        vector.Dispose(); // after its engine too
        plain.Dispose();
    }

    private static async Task OpensUniformly(AdditiveSchemeTrial trial, int sign, string what)
    {
        int draws = trial.Options.Draws;
        double share = Math.Min(Largest, Capacity(trial) / 2), column = Math.Min(Largest, Capacity(trial) / (2 * share));
        using CipherVector vector = await trial.First.EncryptAsync(new[] { sign * share }).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(Enumerable.Repeat(column, draws).ToArray(), 1).ConfigureAwait(false);
        MaskedSums sums = await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false);
        BigInteger[] opened = await trial.Holder.OpenAsync(sums.Bytes, draws).ConfigureAwait(false);
        // 256 integers of 100 bits or more agree with a chance below 2^-84.
        Require(opened.Distinct().Count() == draws, $"{what} not fresh");
        BigInteger modulus = trial.Holder.Answers.Modulus;
        foreach (Func<BigInteger, int> bin in new Func<BigInteger, int>[] { value => (int)(value * 16 / modulus), value => (int)(value % 16) })
        {
            var counts = new int[16];
            foreach (BigInteger value in opened)
                counts[bin(value)]++;
            double expected = draws / 16.0, statistic = counts.Sum(n => (n - expected) * (n - expected) / expected);
            // P(chi2_k >= k + 2 sqrt(k x) + 2 x) <= e^-x (Laurent and Massart 2000, lemma 1), x = 20.7: 1e-9.
            Require(statistic < 15 + (2 * Math.Sqrt(15 * 20.7)) + (2 * 20.7), $"{what} not uniform modulo M");
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

    // A byte agrees by chance once in 256, or, where words have 4 bits that are always 0, once in 16 one byte of eight.
    private static bool Unrelated(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        if (a.Length != b.Length)
            return false;
        int same = 0;
        for (int i = 0; i < a.Length; i++)
            same += a[i] == b[i] ? 1 : 0;
        return same < .1 * a.Length;
    }

    private static IEnumerable<(string What, byte[] Bytes)> Damaged(byte[] good)
    {
        yield return ("no bytes", []);
        yield return ("bytes without the last", good[..^1]);
        yield return ("bytes without the first", good[1..]);
        yield return ("half of the bytes", good[..(good.Length / 2)]);
        yield return ("bytes and one more", [.. good, 0]);
        yield return ("bytes twice", [.. good, .. good]);
        yield return ("zeros", new byte[good.Length]);
        yield return ("ones", [.. Enumerable.Repeat((byte)0xFF, good.Length)]);
    }

    private static byte[] Flip(byte[] bytes, int at)
    {
        byte[] flipped = [.. bytes];
        flipped[at] ^= 0xFF;
        return flipped;
    }

    private static async Task Refuses(string id, string what, Func<Task> call)
    {
        try
        {
            await call().ConfigureAwait(false);
        }
        catch (CipherException e)
        {
            Require(e.Id == id, $"error {e.Id} came where {id} is due: {what}");
            return;
        }

        throw new ConformanceException($"nothing was refused where {id} is due: {what}");
    }

    private static async Task RefusesArguments(string what, Func<Task> call)
    {
        try
        {
            await call().ConfigureAwait(false);
        }
        catch (ArgumentException)
        {
            return;
        }

        throw new ConformanceException($"{what} is not refused");
    }

    private static void Require(bool holds, string failure)
    {
        if (!holds)
            throw new ConformanceException(failure);
    }
}
