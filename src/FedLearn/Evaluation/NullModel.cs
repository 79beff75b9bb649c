namespace FedLearn.Evaluation;

/// <summary>The model without features that D2 and R2 compare with where rows have offsets: an intercept beside them. Without offsets it is the mean label, or the class shares.</summary>
/// <param name="Means">Its means, shape [n].</param>
/// <param name="Deviances">Unit deviances of the rows from them, shape [n].</param>
/// <param name="Residuals">First derivatives of half of these in the linear predictor, shape [n]; their sum is 0.</param>
/// <param name="Curvatures">Second derivatives, shape [n].</param>
/// <param name="Slopes">Derivatives of the means in the linear predictor, shape [n].</param>
internal sealed record NullModel(double[] Means, double[] Deviances, double[] Residuals, double[] Curvatures, double[] Slopes)
{
    /// <summary>Rows in another order.</summary>
    public NullModel Ordered(ReadOnlySpan<int> rows) => new(Of(Means, rows), Of(Deviances, rows), Of(Residuals, rows), Of(Curvatures, rows), Of(Slopes, rows));

    /// <summary>Sum of the unit deviances of rows that count as often as stated, and of their squared distances from the means, with the intercept that suits those rows.</summary>
    /// <param name="counts">How often each row counts; empty for once.</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <remarks>One step of Newton's method from the intercept of all rows. That leaves an error of third order in the step, whose square is of order 1/n: nothing that an interval shows.</remarks>
    public (double Deviance, double Squares) Sums(ReadOnlySpan<byte> counts, ReadOnlySpan<double> labels)
    {
        double deviance = 0, slope = 0, curvature = 0, squares = 0, mixed = 0, slopes = 0;
        for (int i = 0; i < labels.Length; i++)
        {
            double count = counts.IsEmpty ? 1 : counts[i], error = labels[i] - Means[i];
            deviance += count * Deviances[i];
            slope += count * Residuals[i];
            curvature += count * Curvatures[i];
            squares += count * error * error;
            mixed += count * error * Slopes[i];
            slopes += count * Slopes[i] * Slopes[i];
        }

        // No curvature: the intercept of these rows is at infinity, and there is no figure.
        double step = counts.IsEmpty ? 0 : curvature > 0 ? -slope / curvature : double.NaN;
        return (deviance + (step * slope), squares - (2 * step * mixed) + (step * step * slopes));
    }

    /// <summary>1 - part/whole; null where there is no whole.</summary>
    public static double? Explained(double part, double whole) => whole > 0 && double.IsFinite(whole) ? 1 - (part / whole) : null;

    private static double[] Of(double[] values, ReadOnlySpan<int> rows)
    {
        double[] ordered = new double[rows.Length];
        for (int i = 0; i < ordered.Length; i++)
            ordered[i] = values[rows[i]];
        return ordered;
    }
}
