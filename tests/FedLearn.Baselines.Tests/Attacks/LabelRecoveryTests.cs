namespace FedLearn.Baselines.Tests;

/// <summary>What an exact gradient tells a party of the labels, although nothing but that gradient was opened: a mean gradient of b = 40 rows in d = 4 known
/// columns determines all 40 binary labels. Batches of 10·d rows are no protection; noise is.</summary>
public class LabelRecoveryTests
{
    private const int Rows = 40, Half = Rows / 2, Columns = 4, Seed = 20;

    /// <summary>A batch of the first round, where all weights and so all scores are 0: r = -y/2 with y in {-1, 1}, and the gradient is X'r/b.</summary>
    private sealed record Batch(double[][] Columns, ulong Labels, double[] Gradient);

    [Fact]
    public void ExactGradient_OfBinaryLabels_DeterminesEveryLabel()
    {
        Batch batch = Draw();
        var random = new Random(Seed + 1);
        // What is opened errs by 1e-9 at most.
        double[] opened = [.. batch.Gradient.Select(g => g + (1e-9 * ((2 * random.NextDouble()) - 1)))];

        // 2b·1e-9 = 8e-8 on the sums. Of 2^40 label vectors, 2^40·(2e-7/15.9)^4 = 3e-20 others are expected to fit as well.
        List<(ulong Labels, double Distance)> found = Fits(batch.Columns, opened, firstTolerance: 1e-7, tolerance: 1e-7);

        Assert.Equal(batch.Labels, Assert.Single(found).Labels);
    }

    [Fact]
    public void NoisyGradient_OfBinaryLabels_FitsOthersBetterThanTheTruth()
    {
        Batch batch = Draw();
        var random = new Random(Seed + 2);
        // Gaussian noise of multiplier 1 on a sum of rows clipped to norm 1 (rows here have norm about 1): 1/b on the mean.
        const double sigma = 1.0 / Rows;
        double[] opened = [.. batch.Gradient.Select(g => g + (sigma * Normal(random)))];

        Assert.Empty(Fits(batch.Columns, opened, 1e-7, 1e-7));

        // An attacker who allows for noise gets label vectors that fit far better than the true one, whose distance is about 2b·sigma = 2 a column.
        List<(ulong Labels, double Distance)> near = Fits(batch.Columns, opened, 2e-5, .5);
        (ulong labels, double distance) = near.MinBy(fit => fit.Distance);
        Assert.InRange(distance, 0, Distance(batch.Columns, opened, batch.Labels) / 4);
        // Fitting the gradient explains d of b dimensions, so about (1 + d/b)/2 = 55 % of the labels agree, as by any linear guess. More than 34 of 40 happens with
        // probability 3e-5 then (normal approximation: 12.5/3.15 = 4 standard deviations).
        int agree = Rows - System.Numerics.BitOperations.PopCount(labels ^ batch.Labels);
        Assert.InRange(agree, 0, 34);

        // And no attack can tell it from the rest: at least 1e9 label vectors are within two standard deviations in every column, of 2^40. With 1e9 of them, a
        // sample of 1e5 would hold 91 in expectation, so 200 or more is beyond 11 standard deviations.
        double[] target = Sums(opened);
        int consistent = 0;
        for (int i = 0; i < 100_000; i++)
        {
            ulong guess = (ulong)random.NextInt64(1L << Rows);
            if (batch.Columns.Zip(target, (column, s) => Math.Abs(Sum(column, guess) - s)).All(error => error < 4 * Rows * sigma))
                consistent++;
        }

        Assert.InRange(consistent, 200, int.MaxValue);
    }

    [Fact]
    public void Fits_SmallBatchByExhaustion_AreTheSame()
    {
        // 2^12 label vectors, the other rows 0 so that their labels do not count: all of these agree with one of the exhaustive search's.
        var random = new Random(Seed + 3);
        double[][] columns = [.. Enumerable.Range(0, Columns).Select(_ => Enumerable.Range(0, Rows).Select(i => i is >= 14 and < 26 ? Normal(random) : 0).ToArray())];
        const ulong counted = 0xFFFUL << 14;
        ulong labels = (ulong)random.NextInt64(1L << Rows);
        double[] gradient = Gradient(columns, labels);

        // The rows that do not count multiply every fit by 2^28, so the search is over the halves' distinct sums.
        List<ulong> found = [.. Fits(columns, gradient, 3, 3, counted).Select(fit => fit.Labels).Order()];

        List<ulong> expected = [];
        for (ulong guess = 0; guess < 1 << 12; guess++)
            if (columns.All(column => Math.Abs(Sum(column, guess << 14) - Sum(column, labels)) <= 3))
                expected.Add(guess << 14);
        Assert.Contains(labels & counted, expected);
        Assert.Equal(expected, found);
    }

    /// <summary>Label vectors whose sums are near the gradient's, by meeting in the middle: the sums of both halves over the first column are sorted and walked
    /// towards each other, 2^20 steps instead of 2^40; what fits there is held against the other columns.</summary>
    private static List<(ulong Labels, double Distance)> Fits(double[][] columns, double[] gradient, double firstTolerance, double tolerance, ulong counted = ulong.MaxValue)
    {
        double[] target = Sums(gradient);
        (uint[] leftMasks, double[][] left) = HalfSums(columns, 0, counted);
        (uint[] rightMasks, double[][] right) = HalfSums(columns, Half, counted);
        List<(ulong, double)> found = [];
        int begin = rightMasks.Length;
        for (int i = 0; i < leftMasks.Length; i++)
        {
            // Left sums ascend, so the right ones that complete them descend.
            double rest = target[0] - left[0][i];
            while (begin > 0 && right[0][begin - 1] >= rest - firstTolerance)
                begin--;
            for (int k = begin; k < rightMasks.Length && right[0][k] <= rest + firstTolerance; k++)
            {
                double square = 0;
                bool fits = true;
                for (int j = 0; j < Columns && fits; j++)
                {
                    double error = left[j][i] + right[j][k] - target[j];
                    square += error * error;
                    fits = j == 0 || Math.Abs(error) <= tolerance;
                }

                if (fits)
                    found.Add((leftMasks[i] | ((ulong)rightMasks[k] << Half), Math.Sqrt(square)));
            }
        }

        return found;
    }

    // Sums of y·x over one half of the rows for every choice of its labels, [column][choice], ascending in the first column.
    private static (uint[] Masks, double[][] Sums) HalfSums(double[][] columns, int start, ulong counted)
    {
        int[] rows = [.. Enumerable.Range(0, Half).Where(i => (counted >> (start + i) & 1) != 0)];
        var masks = new uint[1 << rows.Length];
        double[][] sums = [.. columns.Select(_ => new double[masks.Length])];
        for (int j = 0; j < Columns; j++)
            sums[j][0] = -columns[j].Skip(start).Take(Half).Sum();
        for (int i = 0; i < rows.Length; i++)
            for (int m = 0; m < 1 << i; m++)
            {
                masks[(1 << i) + m] = masks[m] | (1u << rows[i]);
                for (int j = 0; j < Columns; j++)
                    sums[j][(1 << i) + m] = sums[j][m] + (2 * columns[j][start + rows[i]]);
            }

        int[] order = [.. Enumerable.Range(0, masks.Length)];
        Array.Sort((double[])sums[0].Clone(), order);
        return ([.. order.Select(m => masks[m])], [.. sums.Select(column => order.Select(m => column[m]).ToArray())]);
    }

    private static Batch Draw()
    {
        var random = new Random(Seed);
        double[][] columns = [.. Enumerable.Range(0, Columns).Select(_ => Enumerable.Range(0, Rows).Select(_ => Normal(random)).ToArray())];
        ulong labels = (ulong)random.NextInt64(1L << Rows);
        return new Batch(columns, labels, Gradient(columns, labels));
    }

    private static double[] Gradient(double[][] columns, ulong labels) => [.. columns.Select(column => -Sum(column, labels) / (2 * Rows))];

    // X'r/b with r = -y/2, turned around: sums of y·x.
    private static double[] Sums(double[] gradient) => [.. gradient.Select(g => -2 * Rows * g)];

    private static double Sum(double[] column, ulong labels)
    {
        double sum = 0;
        for (int i = 0; i < Rows; i++)
            sum += (labels >> i & 1) != 0 ? column[i] : -column[i];
        return sum;
    }

    private static double Distance(double[][] columns, double[] gradient, ulong labels) =>
        Math.Sqrt(columns.Zip(Sums(gradient), (column, s) => Math.Pow(Sum(column, labels) - s, 2)).Sum());

    private static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
