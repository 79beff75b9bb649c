using System.Numerics.Tensors;
using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>What scaling needs to know of a column.</summary>
/// <param name="Mean">Mean of the rows; exactly their value where it is one.</param>
/// <param name="Deviation">Population deviation of the rows.</param>
/// <param name="IsConstant">Whether all rows have the same value.</param>
internal readonly record struct ColumnMoments(double Mean, double Deviation, bool IsConstant)
{
    /// <summary>Moments of the columns over rows, at least one.</summary>
    internal static ColumnMoments[] Of(TableCells values, ReadOnlySpan<int> rows)
    {
        int width = values.Columns;
        double[] buffer = new double[width], low = values.Row(rows[0], buffer).ToArray(), high = [.. low], mean = new double[width], variance = new double[width], gap = new double[width];
        foreach (int row in rows)
        {
            ReadOnlySpan<double> cells = values.Row(row, buffer);
            TensorPrimitives.Min(low, cells, low);
            TensorPrimitives.Max(high, cells, high);
            TensorPrimitives.Add(mean, cells, mean);
        }

        TensorPrimitives.Divide(mean, rows.Length, mean);
        foreach (int row in rows)
        {
            TensorPrimitives.Subtract(values.Row(row, buffer), mean, gap);
            TensorPrimitives.MultiplyAdd(gap, gap, variance, variance);
        }

        return Put(low, high, mean, variance, rows.Length);
    }

    /// <summary>The same for a sparse matrix; the cells of a column that are not stored are 0, and enter by their number.</summary>
    internal static ColumnMoments[] Of(SparseMatrix values, ReadOnlySpan<int> rows)
    {
        int width = values.Columns;
        int[] stored = new int[width];
        double[] low = new double[width], high = new double[width], mean = new double[width], variance = new double[width];
        Array.Fill(low, double.PositiveInfinity);
        Array.Fill(high, double.NegativeInfinity);
        foreach (int row in rows)
        {
            ReadOnlySpan<int> columns = values.RowColumns(row);
            ReadOnlySpan<double> cells = values.RowValues(row);
            for (int k = 0; k < columns.Length; k++)
            {
                int j = columns[k];
                (low[j], high[j], mean[j], stored[j]) = (Math.Min(low[j], cells[k]), Math.Max(high[j], cells[k]), mean[j] + cells[k], stored[j] + 1);
            }
        }

        TensorPrimitives.Divide(mean, rows.Length, mean);
        foreach (int row in rows)
        {
            ReadOnlySpan<int> columns = values.RowColumns(row);
            ReadOnlySpan<double> cells = values.RowValues(row);
            for (int k = 0; k < columns.Length; k++)
            {
                double gap = cells[k] - mean[columns[k]];
                variance[columns[k]] += gap * gap;
            }
        }

        for (int j = 0; j < width; j++)
        {
            int absent = rows.Length - stored[j];
            if (absent > 0)
                (low[j], high[j], variance[j]) = (Math.Min(low[j], 0), Math.Max(high[j], 0), variance[j] + (absent * mean[j] * mean[j]));
        }

        return Put(low, high, mean, variance, rows.Length);
    }

    private static ColumnMoments[] Put(double[] low, double[] high, double[] mean, double[] squares, int rows) =>
        [.. Enumerable.Range(0, mean.Length).Select(j => low[j] == high[j] ? new ColumnMoments(low[j], 0, true) : new ColumnMoments(mean[j], Math.Sqrt(squares[j] / rows), false))];
}
