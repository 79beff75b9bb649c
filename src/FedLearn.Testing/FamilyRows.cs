using FedLearn.Glm;

namespace FedLearn.Testing;

/// <summary>A family under test with labels and random scores to try it at.</summary>
internal sealed class FamilyRows(IGlmFamily family, IReadOnlyList<double> labels, double largestScore, Random random)
{
    private const int Tried = 200;
    private const double Far = 20;

    internal IGlmFamily Family => family;

    internal int Outputs => family.Outputs;

    /// <summary>Labels as read.</summary>
    internal IReadOnlyList<double> Read => labels;

    /// <summary>Labels as the loss uses them.</summary>
    internal IEnumerable<double> Canonical => labels.Select(family.Canonical);

    internal double[] Residuals(double[] z, double[] y) => Filled(z.Length, to => family.Residuals(z, y, to));

    internal double[] Curvatures(double[] z, double[] y) => Filled(z.Length * Outputs, to => family.Curvatures(z, y, to));

    internal double[] Information(double[] z) => Filled(z.Length * Outputs, to => family.Information(z, to));

    internal double[] Means(double[] z) => Filled(z.Length, to => family.Means(z, to));

    internal double[] Start(double[] y, double[] weights) => Filled(Outputs, to => family.Start(y, weights, to));

    internal double Loss(double[] z, double[] y) => family.LossSum(z, y);

    internal double Deviance(double[] z, double[] y) => family.DevianceSum(z, y);

    /// <summary>Entries of row i of class-major numbers.</summary>
    internal static double[] Row(double[] values, int i, int rows) => [.. values.Where((_, at) => at % rows == i)];

    /// <summary>Scores of one row with score m moved.</summary>
    internal static double[] Moved(double[] z, int m, double by) => [.. z.Select((value, at) => at == m ? value + by : value)];

    /// <summary>Random scores of rows, class-major, and their labels.</summary>
    internal (double[] Z, double[] Y) Draw(int rows) => ([.. Enumerable.Range(0, rows * Outputs).Select(_ => Score())],
        [.. Enumerable.Range(0, rows).Select(i => family.Canonical(labels[(i + random.Next(2)) % labels.Count]))]);

    internal double[] Direction() => [.. Enumerable.Range(0, Outputs).Select(_ => 2 * random.NextDouble() - 1)];

    /// <summary>Visits single rows, every label among them.</summary>
    internal void EachRow(Action<double[], double[]> visit)
    {
        for (int i = 0; i < Tried + labels.Count; i++)
            visit([.. Enumerable.Range(0, Outputs).Select(_ => Score())], [family.Canonical(labels[i % labels.Count])]);
    }

    /// <summary>Labels that a private mode must expect, as the loss uses them: the given ones, some around 0 and some far beyond, each where it is legal.</summary>
    /// <param name="bound">Largest absolute value; null for none.</param>
    /// <param name="least">Smallest label; null for none.</param>
    internal IEnumerable<double> Legal(double? bound, double? least)
    {
        double largest = labels.Max(Math.Abs);
        double[] tried = [.. new[] { 0, 1e-3, 1, largest, 10 * largest, 1000 * largest }.SelectMany(label => new[] { label, -label, Math.Round(label), -Math.Round(label) })];
        return labels.Concat(tried.Where(label => family.LabelFault(label) is null && !(label < least))).Select(family.Canonical)
            .Where(label => !(Math.Abs(label) > bound)).Distinct();
    }

    /// <summary>Visits pairs of scores, near and far, of every label, also around the score where its loss is least: for families of one linear predictor.</summary>
    internal void EachPair(IEnumerable<double> canonical, Action<double, double, double> visit)
    {
        foreach (double label in canonical)
        {
            double? best = Best(label, 1e6);
            for (int i = 0; i < Tried; i++)
            {
                double z = Score(), far = largestScore * Math.Pow(10, -4 * random.NextDouble());
                visit(label, z, z + far);
                // Elsewhere a residual may be clipped at both scores.
                if (best is { } least)
                    visit(label, least, least + (i % 2 == 0 ? far : -far));
            }
        }
    }

    /// <summary>Labels with the score of least loss, for those that have one; families of one linear predictor only.</summary>
    internal IEnumerable<(double Label, double Best)> Saturated()
    {
        foreach (double label in Canonical.Distinct().Where(_ => Outputs == 1))
        {
            // A label without a score of its own, such as the 0 of a count, has a residual that vanishes far away and changes sign by rounding at most.
            if (Best(label, Far) is { } best && Math.Abs(best) < Far - 1 && Curvatures([best], [label])[0] > 1e-6)
                yield return (label, best);
        }
    }

    /// <summary>Where the residual of a label changes its sign; null where it does not within so many units of 0.</summary>
    private double? Best(double label, double within)
    {
        double R(double z) => Residuals([z], [label])[0];
        double high = Far;
        while (!(R(-high) < 0 && R(high) > 0))
            if ((high *= 2) > within)
                return null;
        double low = -high;
        for (int i = 0; i < 200; i++)
        {
            double middle = (low + high) / 2;
            (low, high) = R(middle) < 0 ? (middle, high) : (low, middle);
        }

        return high;
    }

    /// <summary>The curvature where the label is its mean, by the line through those at two labels; null where the curvature is not linear in the label.</summary>
    internal double? CurvatureAtMean(double z)
    {
        double low = Canonical.Min(), high = Canonical.Max(), atLow = Curvatures([z], [low])[0], slope = (Curvatures([z], [high])[0] - atLow) / (high - low);
        bool linear = Canonical.All(label => Math.Abs(Curvatures([z], [label])[0] - atLow - slope * (label - low)) <= 1e-9 * (1 + Math.Abs(atLow) + Math.Abs(slope * (label - low))));
        return linear ? atLow + slope * (Means([z])[0] - low) : null;
    }

    /// <summary>Mean loss of a model without features.</summary>
    internal double ConstantLoss(double[] scores, double[] y, double[] weights)
    {
        double sum = 0, total = 0;
        for (int i = 0; i < y.Length; i++)
        {
            double weight = weights.Length == 0 ? 1 : weights[i];
            sum += weight * Loss(scores, [y[i]]);
            total += weight;
        }

        return sum / total;
    }

    /// <summary>Least mean loss of a model without features: gradient descent from 0 whose step is halved until the loss falls.</summary>
    internal double BestConstant(double[] y, double[] weights)
    {
        double[] at = new double[Outputs];
        double loss = ConstantLoss(at, y, weights), step = 1;
        for (int i = 0; i < 2000 && step > 1e-12; i++)
        {
            double[] gradient = new double[Outputs];
            for (int row = 0; row < y.Length; row++)
            {
                double[] residuals = Residuals(at, [y[row]]);
                for (int m = 0; m < Outputs; m++)
                    gradient[m] += (weights.Length == 0 ? 1 : weights[row]) * residuals[m];
            }

            double length = Math.Sqrt(gradient.Sum(g => g * g));
            if (length == 0)
                break;
            double[] next = [.. at.Select((value, m) => value - step * gradient[m] / length)];
            double lower = ConstantLoss(next, y, weights);
            (at, loss, step) = lower < loss ? (next, lower, 1.5 * step) : (at, loss, step / 2);
        }

        return loss;
    }

    private double Score() => largestScore * (2 * random.NextDouble() - 1);

    private delegate void Fill(Span<double> to);

    /// <summary>A result, checked to be written in full: what is not written stays infinite.</summary>
    private static double[] Filled(int length, Fill fill)
    {
        double[] result = new double[length];
        Array.Fill(result, double.PositiveInfinity);
        fill(result);
        return result;
    }
}
