using FedLearn.Evaluation;

namespace FedLearn.Tests.Glm;

/// <summary>Iteratively reweighted least squares in plain loops, and figures by their definitions: shares no code with the library but the type of the result.</summary>
internal static class PooledIrls
{
    /// <summary>Scores of the rows at the optimum of the summed loss + (l2/2)|w|^2, the intercept free.</summary>
    public static double[] Fit(string family, double[][] x, double[] y, double l2)
    {
        int n = x.Length, d = x[0].Length + 1;
        double[] w = new double[d], z = new double[n];
        w[0] = family == "poisson" ? Math.Log(y.Average()) : 0;
        for (int iteration = 0; iteration < 60; iteration++)
        {
            double[,] a = new double[d, d + 1];
            for (int i = 0; i < n; i++)
            {
                z[i] = w[0];
                for (int j = 1; j < d; j++)
                    z[i] += w[j] * x[i][j - 1];
                double mean = Mean(family, z[i]), variance = family switch { "gaussian" => 1, "binomial" => mean * (1 - mean), _ => mean };
                for (int j = 0; j < d; j++)
                {
                    double left = j == 0 ? 1 : x[i][j - 1];
                    a[j, d] += left * (y[i] - mean);
                    for (int l = 0; l < d; l++)
                        a[j, l] += variance * left * (l == 0 ? 1 : x[i][l - 1]);
                }
            }

            for (int j = 1; j < d; j++)
            {
                a[j, d] -= l2 * w[j];
                a[j, j] += l2;
            }

            double[] step = Solve(a);
            for (int j = 0; j < d; j++)
                w[j] += step[j];
            if (step.Max(Math.Abs) < 1e-10)
                return [.. x.Select(row => w[0] + row.Select((value, j) => value * w[j + 1]).Sum())];
        }

        throw new InvalidOperationException("IRLS did not converge.");
    }

    /// <summary>AUC and accuracy of classes, else R2, RMSE and mean deviance.</summary>
    public static MetricSet Figures(string family, double[] z, double[] y)
    {
        if (family == "binomial")
            return new() { Auc = Auc(z, y), Accuracy = z.Select((score, i) => score > 0 == y[i] > 0 ? 1.0 : 0).Average() };
        double squares = 0, total = 0, deviance = 0, mean = y.Average();
        for (int i = 0; i < y.Length; i++)
        {
            double mu = Mean(family, z[i]);
            squares += (y[i] - mu) * (y[i] - mu);
            total += (y[i] - mean) * (y[i] - mean);
            deviance += family == "gaussian" ? (y[i] - mu) * (y[i] - mu) : 2 * ((y[i] > 0 ? y[i] * Math.Log(y[i] / mu) : 0) - y[i] + mu);
        }

        return new() { R2 = 1 - (squares / total), Rmse = Math.Sqrt(squares / y.Length), Deviance = deviance / y.Length };
    }

    private static double Mean(string family, double z) => family switch { "gaussian" => z, "binomial" => 1 / (1 + Math.Exp(-z)), _ => Math.Exp(z) };

    // By mean ranks (Mann and Whitney); ties share theirs.
    private static double Auc(double[] z, double[] y)
    {
        int[] order = [.. Enumerable.Range(0, z.Length).OrderBy(i => z[i])];
        double ranks = 0, positives = y.Count(label => label > 0);
        for (int first = 0; first < order.Length;)
        {
            int next = first;
            while (next < order.Length && z[order[next]] == z[order[first]])
                next++;
            for (int at = first; at < next; at++)
                ranks += y[order[at]] > 0 ? (first + next + 1) / 2.0 : 0;
            first = next;
        }

        return (ranks - (positives * (positives + 1) / 2)) / (positives * (z.Length - positives));
    }

    // Gauss and Jordan with row pivots; a column without a pivot, such as a constant one, keeps a step of 0.
    private static double[] Solve(double[,] a)
    {
        int d = a.GetLength(0);
        double largest = Enumerable.Range(0, d).Max(j => Math.Abs(a[j, j]));
        int[] pivotRow = new int[d];
        int rank = 0;
        for (int column = 0; column < d; column++)
        {
            int pivot = Enumerable.Range(rank, d - rank).MaxBy(row => Math.Abs(a[row, column]));
            pivotRow[column] = -1;
            if (!(Math.Abs(a[pivot, column]) > 1e-11 * largest))
                continue;
            for (int l = 0; l <= d; l++)
                (a[rank, l], a[pivot, l]) = (a[pivot, l], a[rank, l]);
            for (int row = 0; row < d; row++)
            {
                if (row == rank)
                    continue;
                double factor = a[row, column] / a[rank, column];
                for (int l = column; l <= d; l++)
                    a[row, l] -= factor * a[rank, l];
            }

            pivotRow[column] = rank++;
            if (rank == d)
            {
                for (int rest = column + 1; rest < d; rest++)
                    pivotRow[rest] = -1;
                break;
            }
        }

        return [.. Enumerable.Range(0, d).Select(column => pivotRow[column] < 0 ? 0 : a[pivotRow[column], d] / a[pivotRow[column], column])];
    }
}
