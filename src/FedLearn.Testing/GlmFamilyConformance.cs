using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Testing;

/// <summary>What every implementation of <see cref="IGlmFamily"/> must do. Depends on no test framework.</summary>
/// <remarks><para>Derivatives are taken numerically, means and saturated losses from the score where a row's loss is least: a family is compared with itself
/// alone, so no check knows its formulas. Families of several linear predictors are taken to be families of classes.</para>
/// <para>The loss must be twice differentiable near the scores that are tried, which are random with a fixed seed. Declared <see cref="IGlmFamily.Bounds"/> are
/// also tried at labels up to 1000 times the largest, as far as <see cref="IGlmFamily.LabelFault"/> allows them. Of a family that passes, what its loss is
/// a model of remains to be checked.</para></remarks>
public static class GlmFamilyConformance
{
    /// <summary>Relative difference allowed where a number is computed in two ways without differences.</summary>
    private const double Rounding = 1e-10;

    /// <summary>Relative difference allowed to a numerical derivative: its own error is below 1e-9 for losses as smooth as e^z at <see cref="Step"/>.</summary>
    private const double Differences = 1e-7;

    private const double Step = 1e-3;

    /// <summary>A check.</summary>
    /// <param name="rows">The family with labels and scores to try.</param>
    internal delegate void Part(FamilyRows rows);

    private static readonly (string Name, Part Run)[] Parts =
    [
        ("description", Description), ("labels", Labels), ("rows by themselves", RowsAreIndependent), ("residuals", Residuals), ("curvatures", Curvatures),
        ("convexity", Convexity), ("deviance", Deviance), ("means", Means), ("link", Link), ("information", Information), ("start", Start), ("empty spans", Empty),
        ("not a number", NotANumber), ("bounds", Bounds),
    ];

    /// <summary>Runs every check.</summary>
    /// <param name="family">A family; its number of linear predictors is known.</param>
    /// <param name="labels">Labels to try, as read: legal, at least 3 of them, at least 2 different; for classes, each at least once.</param>
    /// <param name="largestScore">Scores up to this absolute value are tried. Default 4: choose less where e^4 times a label is out of the loss's reach, or where means no longer move in float64.</param>
    /// <param name="seed">Of the scores. Default 1.</param>
    /// <exception cref="ConformanceException">The family fails; the message names the check and what failed.</exception>
    public static void Check(IGlmFamily family, IReadOnlyList<double> labels, double largestScore = 4, int seed = 1)
    {
        ArgumentNullException.ThrowIfNull(family);
        ArgumentNullException.ThrowIfNull(labels);
        if (labels.Distinct().Take(2).Count() < 2 || labels.Count < 3)
            throw new ArgumentException("Give at least three labels, two of them different.", nameof(labels));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(largestScore);
        foreach ((string name, Part run) in Parts)
        {
            try
            {
                run(new FamilyRows(family, labels, largestScore, new Random(seed)));
            }
            catch (ConformanceException e)
            {
                throw new ConformanceException($"family '{family.Name}', {name}: {e.Message}", e);
            }
            catch (Exception e)
            {
                throw new ConformanceException($"family '{family.Name}', {name}: it failed with {e.GetType().Name}: {e.Message}", e);
            }
        }
    }

    private static void Description(FamilyRows rows)
    {
        IGlmFamily family = rows.Family;
        Require(!string.IsNullOrWhiteSpace(family.Name) && !family.Name.Any(char.IsUpper), "its name is empty or not lower case");
        Require(!string.IsNullOrWhiteSpace(family.Link), "its link has no name");
        Require(family.Outputs >= 1, "it has no linear predictor");
        Require(family.Parameters is not null && family.Parameters.Values.All(double.IsFinite), "a parameter is no finite number");
    }

    private static void Labels(FamilyRows rows)
    {
        foreach (double label in rows.Read)
        {
            Require(rows.Family.LabelFault(label) is null, "a label that was given as legal is refused");
            Require(double.IsFinite(rows.Family.Canonical(label)), "a legal label becomes no finite number");
        }

        foreach (double label in new[] { double.NaN, double.PositiveInfinity, double.NegativeInfinity })
            Require(!string.IsNullOrWhiteSpace(rows.Family.LabelFault(label)), "a label that is no finite number is legal");
        // Three digits that no bound of a domain has, however the label is written.
        foreach (double label in new[] { -7_654_321, -7_654_321.5, 7_654_321.5, 7_654_321 })
            if (rows.Family.LabelFault(label) is { } fault)
                Require(!string.IsNullOrWhiteSpace(fault) && !string.Concat(fault.Where(char.IsAsciiDigit)).Contains("765", StringComparison.Ordinal),
                    "why a label is refused is not said, or is said with the label itself");
    }

    // Lengths around the width of a vector and a block of 256 rows.
    private static void RowsAreIndependent(FamilyRows rows)
    {
        foreach (int count in new[] { 1, 2, 7, 9, 257, 600 })
        {
            (double[] z, double[] y) = rows.Draw(count);
            int k = rows.Outputs;
            double loss = 0, deviance = 0, size = 0;
            double[] residuals = rows.Residuals(z, y), curvatures = rows.Curvatures(z, y), information = rows.Information(z), means = rows.Means(z);
            for (int i = 0; i < count; i++)
            {
                double[] row = FamilyRows.Row(z, i, count), label = [y[i]];
                loss += rows.Loss(row, label);
                deviance += rows.Deviance(row, label);
                size += 1 + Math.Abs(rows.Loss(row, label)) + Math.Abs(rows.Deviance(row, label));
                AreClose(FamilyRows.Row(residuals, i, count), rows.Residuals(row, label), "the residual of a row depends on the other rows");
                AreClose(FamilyRows.Row(curvatures, i, count), rows.Curvatures(row, label), "the curvature of a row depends on the other rows");
                AreClose(FamilyRows.Row(information, i, count), rows.Information(row), "the information of a row depends on the other rows");
                AreClose(FamilyRows.Row(means, i, count), rows.Means(row), "the mean of a row depends on the other rows");
            }

            Require(Math.Abs(rows.Loss(z, y) - loss) <= Rounding * size, "the loss of several rows is not the sum of theirs");
            Require(Math.Abs(rows.Deviance(z, y) - deviance) <= Rounding * size, "the deviance of several rows is not the sum of theirs");
            Require(residuals.Length == k * count, "the residuals have another shape than the scores");
        }
    }

    private static void Residuals(FamilyRows rows) => rows.EachRow((z, y) =>
    {
        double[] residuals = rows.Residuals(z, y);
        for (int m = 0; m < rows.Outputs; m++)
        {
            double slope = Slope(t => [rows.Loss(FamilyRows.Moved(z, m, t), y)])[0];
            Require(Math.Abs(slope - residuals[m]) <= Differences * Size(rows, z, y), "a residual is not the derivative of the loss");
        }
    });

    private static void Curvatures(FamilyRows rows) => rows.EachRow((z, y) =>
    {
        int k = rows.Outputs;
        double[] curvatures = rows.Curvatures(z, y);
        for (int m = 0; m < k; m++)
        {
            double[] slopes = Slope(t => rows.Residuals(FamilyRows.Moved(z, m, t), y));
            for (int l = 0; l < k; l++)
                Require(Math.Abs(slopes[l] - curvatures[l * k + m]) <= Differences * Size(rows, z, y), "a curvature is not the derivative of the residual");
        }
    });

    private static void Convexity(FamilyRows rows) => rows.EachRow((z, y) =>
    {
        double[] direction = rows.Direction();
        foreach (double[] matrix in new[] { rows.Curvatures(z, y), rows.Information(z) })
            Require(Quadratic(matrix, direction) >= -Rounding * Size(rows, z, y), "the loss is not convex: a curvature is below 0");
    });

    private static void Deviance(FamilyRows rows)
    {
        rows.EachRow((z, y) =>
        {
            double[] other = FamilyRows.Moved(z, 0, 0.75);
            double size = Size(rows, z, y) + Size(rows, other, y);
            Require(rows.Deviance(z, y) >= -Rounding * size, "a deviance is below 0");
            Require(Math.Abs(rows.Deviance(z, y) - rows.Deviance(other, y) - 2 * (rows.Loss(z, y) - rows.Loss(other, y))) <= Rounding * size,
                "the deviances at two scores do not differ by twice the losses");
        });
        foreach ((double label, double best) in rows.Saturated())
            Require(Math.Abs(rows.Deviance([best], [label])) <= Rounding * Size(rows, [best], [label]), "the deviance of the best score of a row is not 0");
    }

    private static void Means(FamilyRows rows)
    {
        int k = rows.Outputs;
        rows.EachRow((z, _) =>
        {
            double[] means = rows.Means(z), inPlace = [.. z];
            rows.Family.Means(inPlace, inPlace);
            Require(means.AsSpan().SequenceEqual(inPlace), "the means differ where they overwrite the scores");
            Require(means.All(double.IsFinite), "a mean is no finite number");
            for (int m = 0; m < k; m++)
                Require(rows.Means(FamilyRows.Moved(z, m, 0.5))[m] > means[m], "a mean does not grow with its score; where it does and rounding alone hides it, as near the end of a mean's range, give a smaller largestScore");
            Require(k == 1 || (means.All(p => p >= 0) && Math.Abs(means.Sum() - 1) <= Rounding), "the means of classes are no probabilities");
        });
        foreach ((double label, double best) in rows.Saturated())
            Require(Math.Abs(rows.Means([best])[0] - label) <= 1e-8 * (1 + Math.Abs(label)), "the mean at the best score of a row is not the row's label");
    }

    private static void Link(FamilyRows rows)
    {
        if (rows.Outputs > 1)
            return;
        rows.EachRow((z, _) =>
        {
            double mean = rows.Means(z)[0], slope = Slope(t => rows.Means(FamilyRows.Moved(z, 0, t)))[0];
            // The mean is rounded, which moves its score by the more the flatter the mean is.
            Require(Math.Abs(rows.Family.LinkOf(mean) - z[0]) <= Rounding * (1 + Math.Abs(z[0])) + 1e-14 * Math.Abs(mean / slope),
                "the link of a mean is not the linear predictor: LinkOf, or the name of the link that it goes by, fits other means");
        });
    }

    private static void Information(FamilyRows rows) => rows.EachRow((z, y) =>
    {
        double size = Size(rows, z, y);
        double[] information = rows.Information(z), expected = new double[information.Length];
        if (rows.Outputs > 1)
        {
            double[] means = rows.Means(z);
            for (int m = 0; m < means.Length; m++)
            {
                double[] curvatures = rows.Curvatures(z, [m]);
                for (int at = 0; at < expected.Length; at++)
                    expected[at] += means[m] * curvatures[at];
            }
        }
        else if (rows.CurvatureAtMean(z[0]) is { } curvature)
        {
            expected[0] = curvature;
            if (rows.Family.EstimatesDispersion)
            {
                double mean = rows.Means(z)[0], slope = Slope(t => rows.Means(FamilyRows.Moved(z, 0, t)))[0], variance = rows.Family.UnitVariance(mean);
                Require(variance > 0 && Math.Abs(slope * slope / variance - curvature) <= Differences * size, "the unit variance does not fit the information");
            }
        }
        else
        {
            Require(information[0] >= 0, "an information is below 0");
            return;     // not linear in the label: no expectation without the distribution
        }

        for (int at = 0; at < expected.Length; at++)
            Require(Math.Abs(expected[at] - information[at]) <= 1e-8 * size, "the information is not the expected curvature");
    });

    private static void Start(FamilyRows rows)
    {
        double[] all = [.. rows.Canonical], weights = [.. all.Select(label => label == all.Max() ? 10.0 : 0.5)];
        foreach (double[] labels in all.Distinct().Select(label => new[] { label }).Append(all))
            Require(rows.Start(labels, []).All(double.IsFinite), "a start is not finite");
        foreach (double[] given in new[] { [], weights })
        {
            double[] zero = new double[rows.Outputs], start = rows.Start(all, given);
            double best = rows.BestConstant(all, given), excess = rows.ConstantLoss(start, all, given) - best, from = rows.ConstantLoss(zero, all, given) - best;
            Require(excess <= Math.Max(from / 10, 1e-6 * (1 + Math.Abs(best))), $"a start is not near the best constant{(given.Length == 0 ? "" : " under weights")}");
        }
    }

    private static void Empty(FamilyRows rows)
    {
        Require(rows.Residuals([], []).Length == 0 && rows.Curvatures([], []).Length == 0 && rows.Information([]).Length == 0 && rows.Means([]).Length == 0, "no rows become some");
        Require(rows.Loss([], []) == 0 && rows.Deviance([], []) == 0, "no rows have a loss");
    }

    private static void NotANumber(FamilyRows rows)
    {
        (double[] z, double[] y) = rows.Draw(9);
        Array.Fill(z, double.NaN);
        Require(rows.Residuals(z, y).All(double.IsNaN) && rows.Means(z).All(double.IsNaN), "a score that is not a number becomes a number");
        Require(double.IsNaN(rows.Loss(z, y)) && double.IsNaN(rows.Deviance(z, y)), "the loss of a score that is not a number is one");
    }

    private static void Bounds(FamilyRows rows)
    {
        if (rows.Family.Bounds is not { } bounds)
            return;
        Require(rows.Family.GetType().Assembly == typeof(IGlmFamily).Assembly || bounds.Kind == GlmFamilyKind.Convex, "a family of one's own declares the kind of a shipped one");
        Require(bounds.LeastLabel is not { } least || rows.Read.All(label => label >= least), "a legal label is below the least one of a declared range");
        if (bounds.Kind != GlmFamilyKind.Convex)
            return;
        Require(bounds.Lipschitz is not null && rows.Outputs == 1, "the kind convex needs a Lipschitz constant and one linear predictor");
        double largest = rows.Canonical.Max(Math.Abs);
        foreach (double clip in new[] { 0.1, 1, 10 })
            foreach (double? labelBound in new double?[] { largest, 10 * largest, 1000 * largest, null })
            {
                if (labelBound is null && bounds.NeedsLabelRange)
                    continue;
                double constant = bounds.Lipschitz!(clip, labelBound);
                Require(double.IsFinite(constant) && constant > 0, "a Lipschitz constant is not finite and above 0");
                rows.EachPair(rows.Legal(labelBound, labelBound is null ? null : bounds.LeastLabel), (label, z, other) =>
                {
                    double change = Math.Abs(Clipped(rows, z, label, clip) - Clipped(rows, other, label, clip));
                    Require(change <= constant * Math.Abs(z - other) * (1 + 1e-6) + 1e-12 * (1 + Math.Abs(label)), "the clipped residual changes faster than the declared Lipschitz constant"
                        + (rows.Canonical.Contains(label) ? "" : $", at a label that {(labelBound is null ? "is legal" : "a declared range allows")} and was not given: {label:G6}"));
                });
            }
    }

    private static double Clipped(FamilyRows rows, double score, double label, double clip) => Math.Clamp(rows.Residuals([score], [label])[0], -clip, clip);

    /// <summary>Derivative at 0 by the five-point rule, whose error is of the order of the fourth power of the step.</summary>
    private static double[] Slope(Func<double, double[]> values)
    {
        double[] minus2 = values(-2 * Step), minus = values(-Step), plus = values(Step), plus2 = values(2 * Step);
        return [.. plus.Select((_, i) => (8 * (plus[i] - minus[i]) - (plus2[i] - minus2[i])) / (12 * Step))];
    }

    private static double Quadratic(double[] matrix, double[] direction)
    {
        double sum = 0;
        for (int m = 0; m < direction.Length; m++)
            for (int l = 0; l < direction.Length; l++)
                sum += direction[m] * matrix[m * direction.Length + l] * direction[l];
        return sum;
    }

    /// <summary>How large the numbers of a row are, to which differences are relative.</summary>
    private static double Size(FamilyRows rows, double[] z, double[] y) =>
        1 + Math.Abs(rows.Loss(z, y)) + Math.Abs(rows.Deviance(z, y)) + rows.Residuals(z, y).Sum(Math.Abs) + rows.Curvatures(z, y).Sum(Math.Abs);

    private static void AreClose(double[] expected, double[] actual, string failure)
    {
        Require(expected.Length == actual.Length, failure);
        for (int i = 0; i < expected.Length; i++)
            Require(Math.Abs(expected[i] - actual[i]) <= Rounding * (1 + Math.Min(Math.Abs(expected[i]), Math.Abs(actual[i]))), failure);
    }

    // A comparison with NaN fails, and so does the check.
    private static void Require(bool holds, string failure)
    {
        if (!holds)
            throw new ConformanceException(failure);
    }
}
