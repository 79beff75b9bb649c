using System.Numerics.Tensors;
using FedLearn.Dssm;

namespace FedLearn.Towers.Tests.Attacks;

/// <summary>Arithmetic of the attacks.</summary>
internal static class Attack
{
    /// <summary>Area under the ROC curve; a tie counts half.</summary>
    public static double Auc(ReadOnlySpan<double> scores, Func<int, bool> isPositive)
    {
        double[] keys = scores.ToArray();
        int[] order = [.. Enumerable.Range(0, keys.Length)];
        Array.Sort(keys, order);
        double ranks = 0, positives = 0;
        for (int from = 0, to; from < keys.Length; from = to)
        {
            for (to = from + 1; to < keys.Length && keys[to] == keys[from];)
                to++;
            for (int i = from; i < to; i++)
            {
                if (!isPositive(order[i]))
                    continue;
                ranks += (from + to + 1) / 2.0;
                positives++;
            }
        }

        return (ranks - positives * (positives + 1) / 2) / (positives * (keys.Length - positives));
    }

    /// <summary>Features of a user that are the same in all samples, from the gradient of a first layer: dW = x dz, db = dz, least squares over the layer's units.</summary>
    /// <param name="gradient">Gradient of a tower: matrix of the first layer (inputs x units, input-major), then its bias.</param>
    /// <param name="inputs">Numbers of x.</param>
    /// <param name="units">Units of the first layer.</param>
    public static double[] Features(ReadOnlySpan<double> gradient, int inputs, int units)
    {
        ReadOnlySpan<double> bias = gradient.Slice(inputs * units, units);
        double[] x = new double[inputs];
        double squares = TensorPrimitives.SumOfSquares(bias);
        for (int i = 0; i < inputs; i++)
            x[i] = TensorPrimitives.Dot(gradient.Slice(i * units, units), bias) / squares;
        return x;
    }

    /// <summary>Rows scaled to length 1.</summary>
    public static double[] Unit(ReadOnlySpan<double> rows, int width)
    {
        double[] result = rows.ToArray();
        for (int at = 0; at < result.Length; at += width)
            TensorPrimitives.Divide(result.AsSpan(at, width), Math.Max(1e-300, TensorPrimitives.Norm<double>(result.AsSpan(at, width))), result.AsSpan(at, width));
        return result;
    }

    /// <summary>Solves A x = b for a symmetric positive definite matrix.</summary>
    public static double[] Solve(double[] a, double[] b)
    {
        var factor = new Cholesky(a, b.Length);
        double[] x = [.. b];
        factor.Solve(x, 1);
        return x;
    }
}

/// <summary>A symmetric positive definite matrix, factored.</summary>
internal sealed class Cholesky
{
    private readonly double[] _lower, _upper;
    private readonly int _n;

    public Cholesky(double[] matrix, int n)
    {
        (_lower, _upper, _n) = ([.. matrix], new double[matrix.Length], n);
        for (int i = 0; i < n; i++)
        {
            Span<double> row = _lower.AsSpan(i * n, n);
            for (int j = 0; j < i; j++)
            {
                ReadOnlySpan<double> other = _lower.AsSpan(j * n, n);
                row[j] = (row[j] - TensorPrimitives.Dot<double>(row[..j], other[..j])) / other[j];
            }

            row[i] = Math.Sqrt(row[i] - TensorPrimitives.SumOfSquares<double>(row[..i]));
            row[(i + 1)..].Clear();
        }

        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++)
                _upper[j * n + i] = _lower[i * n + j];
    }

    /// <summary>Solves for the columns of a row-major right-hand side, in place.</summary>
    public void Solve(double[] rightHand, int columns)
    {
        for (int i = 0; i < _n; i++)
            Row(_lower, i, 0, i);
        for (int i = _n - 1; i >= 0; i--)
            Row(_upper, i, i + 1, _n);

        void Row(double[] factor, int i, int from, int to)
        {
            Span<double> row = rightHand.AsSpan(i * columns, columns);
            for (int j = from; j < to; j++)
                if (factor[i * _n + j] is var f and not 0)
                    TensorPrimitives.MultiplyAdd(rightHand.AsSpan(j * columns, columns), -f, row, row);
            TensorPrimitives.Divide(row, factor[i * _n + i], row);
        }
    }
}

/// <summary>The public item matrix X, and its pseudo-inverse as an attacker uses it.</summary>
internal sealed class ItemMatrix
{
    // Against rows of X that are equal, of which there are some; far below what other directions have.
    private const double Ridge = 1e-4;

    private readonly (int Column, double Value)[][] _rows;
    private readonly Cholesky _factor;

    public ItemMatrix(TowerRows content)
    {
        _rows = [.. Enumerable.Range(0, content.Rows).Select(row => Entries(content, row).ToArray())];
        int n = _rows.Length;
        double[] gram = new double[n * n], dense = new double[content.Inputs.Width];
        for (int i = 0; i < n; i++)
        {
            foreach ((int column, double value) in _rows[i])
                dense[column] += value;
            for (int j = 0; j < n; j++)
                foreach ((int column, double value) in _rows[j])
                    gram[i * n + j] += dense[column] * value;
            gram[i * n + i] += Ridge;
            foreach ((int column, _) in _rows[i])
                dense[column] = 0;
        }

        _factor = new Cholesky(gram, n);
    }

    /// <summary>How strongly each item drove a gradient of the first layer: norms of the rows of Z, X^T Z = dW, Z = (X X^T)^+ X dW.</summary>
    /// <param name="gradient">Gradient of the first layer's matrix, inputs x units.</param>
    /// <param name="units">Units of the layer.</param>
    public double[] Signals(ReadOnlySpan<double> gradient, int units)
    {
        double[] z = new double[_rows.Length * units];
        for (int i = 0; i < _rows.Length; i++)
            foreach ((int column, double value) in _rows[i])
                TensorPrimitives.MultiplyAdd(gradient.Slice(column * units, units), value, z.AsSpan(i * units, units), z.AsSpan(i * units, units));
        _factor.Solve(z, units);
        return [.. Enumerable.Range(0, _rows.Length).Select(i => TensorPrimitives.Norm<double>(z.AsSpan(i * units, units)))];
    }

    private static IEnumerable<(int Column, double Value)> Entries(TowerRows content, int row)
    {
        int first = content.Inputs.DenseWidth;
        for (int d = 0; d < first; d++)
            if (content.Dense[row * first + d] is var value and not 0)
                yield return (d, value);
        for (int b = 0; b < content.Bags.Count; b++)
        {
            BagRows bag = content.Bags[b];
            (int from, int to) = (bag.Offsets[row], bag.Offsets[row + 1]);
            for (int e = from; e < to; e++)
                yield return (first + bag.Ids[e], (bag.Weights?[e] ?? 1) / (content.Inputs.Bags[b].Pooling == BagPooling.Mean ? to - from : 1));
            first += content.Inputs.Bags[b].Buckets;
        }
    }
}
