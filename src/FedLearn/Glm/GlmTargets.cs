using System.Numerics.Tensors;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Glm;

/// <summary>What the active party knows of rows beside their features.</summary>
/// <param name="Labels">Canonical labels, shape [n].</param>
/// <param name="Weights">Sample weights u of at least 0, shape [n]; null for ones.</param>
/// <param name="Offsets">Offsets o of the linear predictor, shape [n]; null for zeros.</param>
internal sealed record GlmTargets(double[] Labels, double[]? Weights = null, double[]? Offsets = null)
{
    public int Rows => Labels.Length;

    /// <summary>Refuses exposures under a link other than the logarithm, where their logarithm would be no factor of the mean.</summary>
    public static void CheckExposures(Table table, string family, string? link, string place)
    {
        if (table.HasExposures && link is not (null or "log"))
            throw new ConfigurationException(GlmErrors.InvalidJob, place, $"an exposure is a factor of the mean, which takes the link log, and that of the family {family} is {link}.",
                "Name a column of known parts of the linear predictor as data.offset instead, or use a family with the link log, such as poisson.");
    }

    /// <summary>The same rows in another order; null for this one.</summary>
    public GlmTargets Ordered(int[]? order) => order is null ? this : new(Pick(Labels, order)!, Pick(Weights, order), Pick(Offsets, order));

    /// <summary>Adds the offsets of consecutive rows to their scores. Only families of one score have offsets.</summary>
    public void AddOffsets(int start, Span<double> scores)
    {
        if (Offsets is not null)
            TensorPrimitives.Add(scores, Offsets.AsSpan(start, scores.Length), scores);
    }

    /// <summary>Multiplies numbers of consecutive rows, class-major, by the rows' weights.</summary>
    /// <param name="start">First row.</param>
    /// <param name="rows">Number of rows b.</param>
    /// <param name="values">Shape [.. b].</param>
    public void Weigh(int start, int rows, Span<double> values)
    {
        if (Weights is null)
            return;
        ReadOnlySpan<double> weights = Weights.AsSpan(start, rows);
        for (int at = 0; at < values.Length; at += rows)
            // A row of weight 0 does not count, even where its number is infinite.
            for (int i = 0; i < rows; i++)
                values[at + i] = weights[i] == 0 ? 0 : values[at + i] * weights[i];
    }

    /// <summary>Weighted sum of the losses of consecutive rows.</summary>
    /// <param name="family">Family.</param>
    /// <param name="start">First row.</param>
    /// <param name="scores">Their scores, class-major, shape [K b].</param>
    public double LossSum(IGlmFamily family, int start, ReadOnlySpan<double> scores) => Sum(family.Outputs, start, scores, family.LossSum);

    /// <summary>Weighted sum of the unit deviances of all rows.</summary>
    /// <param name="family">Family.</param>
    /// <param name="scores">Their scores, class-major, shape [K n].</param>
    public double DevianceSum(IGlmFamily family, ReadOnlySpan<double> scores) => Sum(family.Outputs, 0, scores, family.DevianceSum);

    private double Sum(int k, int start, ReadOnlySpan<double> scores, Func<ReadOnlySpan<double>, ReadOnlySpan<double>, double> sumOf)
    {
        int b = scores.Length / k;
        ReadOnlySpan<double> labels = Labels.AsSpan(start, b);
        if (Weights is null)
            return sumOf(scores, labels);
        // A row at a time: the family knows sums without weights only.
        Span<double> row = stackalloc double[k];
        double sum = 0;
        for (int i = 0; i < b; i++)
        {
            for (int m = 0; m < k; m++)
                row[m] = scores[m * b + i];
            if (Weights[start + i] != 0)
                sum += Weights[start + i] * sumOf(row, labels.Slice(i, 1));
        }

        return sum;
    }

    private static double[]? Pick(double[]? values, int[] order) => values is null ? null : [.. order.Select(row => values[row])];
}
