namespace FedLearn.Tests.Shared;

/// <summary>A GLM on pooled rows in plain loops: slow, obvious, and the truth that federated training is compared with.</summary>
/// <param name="family">gaussian, binomial, poisson, gamma, tweedie or multinomial.</param>
/// <param name="x">Rows, shape [n][d].</param>
/// <param name="y">Labels as the loss uses them, shape [n].</param>
/// <param name="l2">Penalty of (l2/2)|w|^2; the intercept is free.</param>
/// <param name="intercept">Whether there is an intercept.</param>
internal sealed class PooledGlm(string family, double[][] x, double[] y, double l2, bool intercept)
{
    /// <summary>How much each row counts, shape [n]; null for 1. Divided by their mean here.</summary>
    internal double[]? RowWeights { get; init; }

    /// <summary>Known part of each row's score, shape [n]; null for 0.</summary>
    internal double[]? Offsets { get; init; }

    /// <summary>Penalty of l1 |w|_1 in <see cref="Sgd"/> and <see cref="Objective"/>.</summary>
    internal double L1 { get; init; }

    /// <summary>Power of a tweedie family.</summary>
    internal double Power { get; init; } = 1.5;

    /// <summary>Classes of a multinomial family; each has a score.</summary>
    internal int Classes
    {
        get => Intercepts.Length;
        init => (Weights, Intercepts) = (new double[value * x[0].Length], new double[value]);
    }

    /// <summary>Weights, shape [d], of the first class, then of the next.</summary>
    internal double[] Weights { get; private init; } = new double[x[0].Length];

    /// <summary>One a class.</summary>
    internal double[] Intercepts { get; private init; } = new double[1];

    internal double Intercept => Intercepts[0];

    /// <summary>Score of a row without an offset, in a family of one.</summary>
    internal double Score(double[] row) => Scores(row, 0)[0];

    /// <summary>Scores of training row i, one a class.</summary>
    private double[] Scores(int i) => Scores(x[i], Offsets?[i] ?? 0);

    private double[] Scores(double[] row, double offset)
    {
        double[] z = new double[Classes];
        for (int m = 0; m < Classes; m++)
        {
            z[m] = Intercepts[m] + offset;
            for (int j = 0; j < row.Length; j++)
                z[m] += row[j] * Weights[(m * row.Length) + j];
        }

        return z;
    }

    /// <summary>Mean of the label: the inverse link of a family of one score.</summary>
    internal double Mean(double z) => family switch
    {
        "gaussian" => z,
        "binomial" => 1 / (1 + Math.Exp(-z)),
        _ => Math.Exp(z),
    };

    /// <summary>Probabilities of the classes.</summary>
    private static double[] Softmax(double[] z) => [.. z.Select(score => Math.Exp(score) / z.Sum(Math.Exp))];

    private double Loss(double[] scores, double label)
    {
        double z = scores[0], mu = Math.Exp(z), p = Power;
        return family switch
        {
            "gaussian" => (z - label) * (z - label) / 2,
            "binomial" => Math.Log(1 + mu) - (label * z),
            "poisson" => mu - (label * z),
            "gamma" => z + (label / mu),
            "tweedie" => (Math.Pow(mu, 2 - p) / (2 - p)) - (label * Math.Pow(mu, 1 - p) / (1 - p)),
            "multinomial" => -Math.Log(Softmax(scores)[(int)label]),
            _ => throw new ArgumentException(family),
        };
    }

    /// <summary>Derivatives of the loss in the scores.</summary>
    private double[] Residuals(double[] scores, double label)
    {
        double mu = Mean(scores[0]);
        return family switch
        {
            "gaussian" or "binomial" or "poisson" => [mu - label],
            "gamma" => [(mu - label) / mu],
            "tweedie" => [(mu - label) * Math.Pow(mu, 1 - Power)],
            "multinomial" => [.. Softmax(scores).Select((p, m) => p - (m == (int)label ? 1 : 0))],
            _ => throw new ArgumentException(family),
        };
    }

    private double RowWeight(int i) => RowWeights is null ? 1 : RowWeights[i] * x.Length / RowWeights.Sum();

    /// <summary>(1/n) weighted sum of losses + (l2/2)|w|^2 + l1 |w|_1.</summary>
    internal double Objective()
    {
        double loss = 0, penalty = 0;
        for (int i = 0; i < x.Length; i++)
            loss += RowWeight(i) * Loss(Scores(i), y[i]);
        foreach (double w in Weights)
            penalty += (l2 / 2 * w * w) + (L1 * Math.Abs(w));
        return (loss / x.Length) + penalty;
    }

    /// <summary>Gradient of the objective, the weights before the intercepts; without the part of L1.</summary>
    internal double[] Gradient()
    {
        (double[] gradient, double[] free) = BatchGradient(0, x.Length, double.PositiveInfinity);
        return [.. gradient.Select((g, j) => (g / x.Length) + (l2 * Weights[j])), .. free.Select(g => g / x.Length)];
    }

    /// <summary>Norm of <see cref="Gradient"/>.</summary>
    internal double GradientNorm() => Math.Sqrt(Gradient().Sum(g => g * g));

    internal void Set(IEnumerable<double> weights, params double[] free)
    {
        weights.ToArray().CopyTo(Weights, 0);
        free.CopyTo(Intercepts, 0);
    }

    /// <summary>Projected SGD from 0 over consecutive batches: the first n mod r have one row more. Weights that are not finite are left as they are.</summary>
    /// <param name="epochs">Passes.</param>
    /// <param name="batches">Batches a pass, r.</param>
    /// <param name="stepSize">Step size.</param>
    /// <param name="residualClip">Bound on a residual of one score; those of classes are bounded by themselves.</param>
    /// <param name="weightNorm">Radius of each party's ball.</param>
    /// <param name="widths">Columns of each party; the intercept is the first one's.</param>
    internal void Sgd(int epochs, int batches, double stepSize, double residualClip, double weightNorm, int[] widths)
    {
        for (int epoch = 0; epoch < epochs; epoch++)
            for (int batch = 0, start = 0; batch < batches; batch++)
            {
                int size = (x.Length / batches) + (batch < x.Length % batches ? 1 : 0);
                Step(start, size, stepSize, residualClip);
                Project(weightNorm, widths);
                for (int j = 0; j < Weights.Length; j++)
                    Weights[j] = Math.CopySign(Math.Max(0, Math.Abs(Weights[j]) - (stepSize * L1)), Weights[j]);
                start += size;
            }
    }

    private (double[] Weights, double[] Intercepts) BatchGradient(int start, int size, double residualClip)
    {
        double[] gradient = new double[Weights.Length], free = new double[Classes];
        for (int i = start; i < start + size; i++)
        {
            double[] residuals = Residuals(Scores(i), y[i]);
            for (int m = 0; m < Classes; m++)
            {
                double r = RowWeight(i) * (Classes > 1 ? residuals[m] : Math.Clamp(residuals[m], -residualClip, residualClip));
                free[m] += intercept ? r : 0;
                for (int j = 0; j < x[i].Length; j++)
                    gradient[(m * x[i].Length) + j] += r * x[i][j];
            }
        }

        return (gradient, free);
    }

    private void Step(int start, int size, double stepSize, double residualClip)
    {
        (double[] gradient, double[] free) = BatchGradient(start, size, residualClip);
        for (int j = 0; j < gradient.Length; j++)
            Weights[j] -= stepSize * ((gradient[j] / size) + (l2 * Weights[j]));
        for (int m = 0; m < Classes; m++)
            Intercepts[m] -= stepSize * free[m] / size;
    }

    private void Project(double radius, int[] widths)
    {
        for (int party = 0, first = 0; party < widths.Length; first += widths[party++])
        {
            int[] own = [.. Enumerable.Range(0, Weights.Length).Where(j => j % x[0].Length >= first && j % x[0].Length < first + widths[party])];
            double squares = own.Sum(j => Weights[j] * Weights[j]) + (party == 0 ? Intercepts.Sum(b => b * b) : 0);
            double shrink = Math.Min(1, radius / Math.Sqrt(squares));
            foreach (int j in own)
                Weights[j] *= shrink;
            for (int m = 0; m < Classes && party == 0; m++)
                Intercepts[m] *= shrink;
        }
    }
}
