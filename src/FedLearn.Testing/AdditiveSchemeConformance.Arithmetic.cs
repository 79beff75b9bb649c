using System.Numerics;
using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Testing;

// Sums are right, whatever the numbers and however long the vectors.
public static partial class AdditiveSchemeConformance
{
    /// <summary>Name, engine and answer space are legal, the same for all, and the error bound is a number that grows with rows and bounds.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static Task DescriptionIsSound(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
        double[] values = [3, -3, 0, -0.0], columns = [2, 0, 0, 0, -2, 0, 0, 0, 0, 2, 0, 0, 0, -2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1, -1, 1, -5, -5];
        RequireClose(trial, await SumsAsync(trial, values, columns).ConfigureAwait(false), values, null, columns, shareBound: 3, columnBound: 5);
        RequireClose(trial, await SumsAsync(trial, new double[4], columns).ConfigureAwait(false), new double[4], null, columns, shareBound: 3, columnBound: 5);
    }

    /// <summary>Numbers of absolute value 2^20 are held, on both sides, with what else the modulus allows.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static async Task ExtremesAreHeld(AdditiveSchemeTrial trial)
    {
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
        ArgumentNullException.ThrowIfNull(trial);
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
}
