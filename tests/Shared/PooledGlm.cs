namespace FedLearn.Tests.Shared;

/// <summary>A GLM on pooled rows in plain loops: slow, obvious, and the truth that federated training is compared with.</summary>
/// <param name="family">gaussian, binomial or poisson.</param>
/// <param name="x">Rows, shape [n][d].</param>
/// <param name="y">Labels as the loss uses them, shape [n].</param>
/// <param name="l2">Penalty of (l2/2)|w|^2; the intercept is free.</param>
/// <param name="intercept">Whether there is an intercept.</param>
internal sealed class PooledGlm(string family, double[][] x, double[] y, double l2, bool intercept)
{
    /// <summary>Weights, shape [d].</summary>
    internal double[] Weights { get; } = new double[x[0].Length];

    internal double Intercept { get; private set; }

    internal double Score(double[] row)
    {
        double z = Intercept;
        for (int j = 0; j < row.Length; j++)
            z += row[j] * Weights[j];
        return z;
    }

    /// <summary>Mean of the label: the inverse link.</summary>
    internal double Mean(double z) => family switch
    {
        "gaussian" => z,
        "binomial" => 1 / (1 + Math.Exp(-z)),
        "poisson" => Math.Exp(z),
        _ => throw new ArgumentException(family),
    };

    internal double Loss(double z, double label) => family switch
    {
        "gaussian" => (z - label) * (z - label) / 2,
        "binomial" => Math.Log(1 + Math.Exp(z)) - (label * z),
        "poisson" => Math.Exp(z) - (label * z),
        _ => throw new ArgumentException(family),
    };

    /// <summary>(1/n) sum of losses + (l2/2)|w|^2.</summary>
    internal double Objective()
    {
        double loss = 0, squares = 0;
        for (int i = 0; i < x.Length; i++)
            loss += Loss(Score(x[i]), y[i]);
        foreach (double w in Weights)
            squares += w * w;
        return (loss / x.Length) + (l2 / 2 * squares);
    }

    /// <summary>Norm of the objective's gradient.</summary>
    internal double GradientNorm()
    {
        double[] gradient = new double[Weights.Length];
        double free = 0;
        for (int i = 0; i < x.Length; i++)
        {
            double r = (Mean(Score(x[i])) - y[i]) / x.Length;
            free += intercept ? r : 0;
            for (int j = 0; j < gradient.Length; j++)
                gradient[j] += r * x[i][j];
        }

        double squares = free * free;
        for (int j = 0; j < gradient.Length; j++)
            squares += Math.Pow(gradient[j] + (l2 * Weights[j]), 2);
        return Math.Sqrt(squares);
    }

    internal void Set(IEnumerable<double> weights, double free)
    {
        weights.ToArray().CopyTo(Weights, 0);
        Intercept = free;
    }

    /// <summary>Projected SGD from 0 over consecutive batches: the first n mod r have one row more.</summary>
    /// <param name="epochs">Passes.</param>
    /// <param name="batches">Batches a pass, r.</param>
    /// <param name="stepSize">Step size.</param>
    /// <param name="residualClip">Bound on a residual.</param>
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
                start += size;
            }
    }

    private void Step(int start, int size, double stepSize, double residualClip)
    {
        double[] gradient = new double[Weights.Length];
        double free = 0;
        for (int i = start; i < start + size; i++)
        {
            double r = Math.Clamp(Mean(Score(x[i])) - y[i], -residualClip, residualClip);
            free += r;
            for (int j = 0; j < gradient.Length; j++)
                gradient[j] += r * x[i][j];
        }

        for (int j = 0; j < gradient.Length; j++)
            Weights[j] -= stepSize * ((gradient[j] / size) + (l2 * Weights[j]));
        if (intercept)
            Intercept -= stepSize * free / size;
    }

    private void Project(double radius, int[] widths)
    {
        for (int party = 0, first = 0; party < widths.Length; first += widths[party++])
        {
            double squares = party == 0 ? Intercept * Intercept : 0;
            for (int j = first; j < first + widths[party]; j++)
                squares += Weights[j] * Weights[j];
            double shrink = Math.Min(1, radius / Math.Sqrt(squares));
            for (int j = first; j < first + widths[party]; j++)
                Weights[j] *= shrink;
            if (party == 0)
                Intercept *= shrink;
        }
    }
}
