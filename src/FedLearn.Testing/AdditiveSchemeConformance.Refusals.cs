using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Testing;

// Foreign or damaged bytes and misuse are refused, and do no harm.
public static partial class AdditiveSchemeConformance
{
    /// <summary>Keys that are cut, prolonged, empty or start otherwise are refused: FL4101.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ForeignKeysAreRefused(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
        foreach ((string what, byte[] key) in Damaged(trial.Holder.PublicKey.ToArray()).Append(("a key that starts otherwise", Flip(trial.Holder.PublicKey.ToArray(), 0))))
            await Refuses(HeErrors.BadKey, what, async () => await (await trial.Scheme.UseKeyAsync(key).ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false)).ConfigureAwait(false);
    }

    /// <summary>Vectors that are cut, prolonged, empty, of another length, all zeros or all ones are refused: FL4100.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ForeignCiphertextsAreRefused(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
}
