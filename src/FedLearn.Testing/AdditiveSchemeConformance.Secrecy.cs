using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Testing;

// Neither sizes nor bytes tell what a ciphertext or an opened sum holds.
public static partial class AdditiveSchemeConformance
{
    /// <summary>The sizes of ciphertexts depend on the length of a vector alone.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task SizesTellNoValues(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
        using CipherVector vector = await trial.First.EncryptAsync(Draw(new Random(6), 5, 1)).ConfigureAwait(false);
        using PlainColumns plain = await trial.First.EncodeAsync(Draw(new Random(7), 10, 1), 5).ConfigureAwait(false);
        MaskedSums one = await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false), two = await trial.First.MaskedSumsAsync(vector, plain).ConfigureAwait(false);
        Require(Unrelated(one.Bytes.Span, two.Bytes.Span), "two maskings of the same sums have much in common");
        BigInteger[] a = await trial.Holder.OpenAsync(one.Bytes, 2).ConfigureAwait(false), b = await trial.Holder.OpenAsync(two.Bytes, 2).ConfigureAwait(false);
        Require(a.Concat(b).Distinct().Count() == 4, "a mask was used again");
    }

    /// <summary>What opens of sums that are 0, which is the masks, is uniform modulo M: highest and lowest 4 bits, each by a chi-squared statistic of 15 degrees of freedom; and every bit but the highest is 0 in some and 1 in others.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task MasksAreUniform(AdditiveSchemeTrial trial) => OpensUniformly(trial, 0, "masks are");

    /// <summary>What opens of large sums is as uniform as what opens of 0, so that it tells nothing of them.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task OpenedTellsNothing(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
        await OpensUniformly(trial, 1, "what opens of a large sum is").ConfigureAwait(false);
        await OpensUniformly(trial, -1, "what opens of a large negative sum is").ConfigureAwait(false);
    }

    /// <summary>Two key pairs differ.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task KeysDiffer(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
        IKeyHolder other = await trial.Scheme.CreateKeyAsync().ConfigureAwait(false);
        await using (other.ConfigureAwait(false))
            Require(!other.PublicKey.Span.SequenceEqual(trial.Holder.PublicKey.Span), "two parties drew the same key");
    }

    private static async Task OpensUniformly(AdditiveSchemeTrial trial, int sign, string what)
    {
        ArgumentNullException.ThrowIfNull(trial);
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

        // A bit below the highest one of M - 1 has each value with a chance of at least 1 in 3: 128 draws are of one value with a chance below 2^-73.
        for (int bit = 0; bit < (int)(modulus - 1).GetBitLength() - 1; bit++)
            Require(opened.Select(value => (value >> bit) & 1).Distinct().Count() == 2, $"{what} not uniform modulo M: a bit is always the same");
    }

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
}
