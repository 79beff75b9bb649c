using System.Numerics.Tensors;
using FedLearn.Numerics;

namespace FedLearn.Data;

public sealed partial class FeatureMap
{
    private const double UnitRoundoff = 1.0 / (1L << 53);
    private const double SmallestCentredNorm = 1e-100;
    private const double Shortest = 1e-150;                             // the square of a shorter length is hardly a number
    private const double LargestCentred = 1e140;                        // so that squares and sums of them stay within float64
    private const double LongestCommon = 4;                             // of the common part of a row, in row norms: what privacy charges for rounding counts on it

    /// <summary>A cell that is absent is 0, and scaled like any 0: to the same number in every row. So a row is that common row, and in the cells that are
    /// stored the difference from it; both multiplied by what bounds the row's length.</summary>
    private SparseRows SparseFeatures(Table table, SparseMatrix sparse, ReadOnlySpan<int> rows)
    {
        int[]? order = SourceColumns(table);
        int width = _state.Columns.Count;
        int[]? places = order is null ? null : new int[width];          // from the table's columns to the map's
        for (int j = 0; j < order?.Length; j++)
            places![order[j]] = j;
        double[] common = new double[FeatureNames.Count];
        Scale(common.AsSpan(0, width));
        ThrowIfNotFinite(common.AsSpan(0, width), table.Place);
        bool centred = common.Any(value => value != 0);
        if (centred && _state.Rows != RowBound.None && _state.RowNorm is < SmallestCentredNorm or > 1 / SmallestCentredNorm)
            throw DataErrors.Config(DataErrors.PreprocessingInvalid, "preprocessing", "the row norm is not from 1e-100 to 1e100.", "Give an ordinary row norm, usually 1.");

        bool[] cancelled = centred && _state.Rows != RowBound.None ? FindCancelled(sparse, rows, places, common) : new bool[rows.Length];
        int[] starts = new int[rows.Length + 1];
        for (int i = 0; i < rows.Length; i++)
            starts[i + 1] = CountedUp(starts[i], (cancelled[i] ? width : sparse.RowColumns(rows[i]).Length) + (_state.Constant ? 1 : 0), table.Place);
        int[] columns = new int[starts[^1]];
        double[] values = new double[starts[^1]];
        for (int i = 0; i < rows.Length; i++)
        {
            Span<int> rowColumns = columns.AsSpan(starts[i]..starts[i + 1]);
            Span<double> rowValues = values.AsSpan(starts[i]..starts[i + 1]);
            ReadOnlySpan<int> sourceColumns = sparse.RowColumns(rows[i]);
            ReadOnlySpan<double> sourceValues = sparse.RowValues(rows[i]);
            if (cancelled[i])
                for (int j = 0; j < width; j++)
                    (rowColumns[j], rowValues[j]) = (j, common[j]);
            for (int k = 0; k < sourceColumns.Length; k++)
            {
                int j = places?[sourceColumns[k]] ?? sourceColumns[k];
                double scaled = Scaled(j, sourceValues[k]);
                if (!(Math.Abs(scaled) <= (centred ? LargestCentred : double.MaxValue)))
                    throw TooLarge(table.PlaceOf(rows[i]), _state.Columns[j].Name);
                if (cancelled[i])
                    rowValues[j] = scaled;
                else
                    (rowColumns[k], rowValues[k]) = (j, scaled - common[j]);
            }

            if (places is not null && !cancelled[i])
                rowColumns[..sourceColumns.Length].Sort(rowValues[..sourceColumns.Length]);
            if (_state.Constant)
                (rowColumns[^1], rowValues[^1]) = (width, 1);
            if (!centred)
                Bound(rowValues);
        }

        var cells = new SparseMatrix(rows.Length, FeatureNames.Count, starts, columns, values);
        if (!centred)
            return new SparseRows(cells);
        double[] factors = [.. cancelled.Select(c => c ? 0.0 : 1)];
        var features = new SparseRows(cells, common, factors);
        for (int i = 0; i < rows.Length && _state.Rows != RowBound.None; i++)
            Bound(features, i, values, starts, cancelled[i]);
        return features;
    }

    /// <summary>The bounds of <see cref="Bound(Span{double})"/>, for rows that share a common part.</summary>
    private void Bound(SparseRows features, int row, double[] values, int[] starts, bool cancelled)
    {
        if (_state.Rows == RowBound.Clip)
        {
            Span<double> constant = values.AsSpan(starts[row + 1] - (_state.Constant ? 1 : 0), _state.Constant ? 1 : 0);
            constant.Clear();                                           // it is appended after the row was shortened
            double share = (_state.Constant ? Math.Sqrt(0.5) : 1) * _state.RowNorm;
            features.Scale(row, share / Math.Max(LengthLimit, features.LengthBound(row)));
            constant.Fill(share);
        }
        else if (features.Length(row) is > Shortest and var length)
        {
            features.Scale(row, _state.RowNorm / length);
        }
        else if (cancelled)
        {
            // Squares would leave the range of float64; all cells are there.
            RowLength.Normalize(values.AsSpan(starts[row]..starts[row + 1]));
            features.Scale(row, _state.RowNorm);
        }

        // The proof of privacy rests on this bound, and scaling rounds: shrink, by ever more ulps, until the certified length agrees.
        for (int attempt = 1; features.LengthBound(row) is var bound && bound > _state.RowNorm; attempt++)
            features.Scale(row, _state.RowNorm / bound * (1 - (Math.ScaleB(1, attempt) * UnitRoundoff)));
    }

    /// <summary>Rows whose stored cells nearly cancel the common part: as its multiple and a difference, rounding would tell more of them than privacy charges, so all their cells are stored.</summary>
    private bool[] FindCancelled(SparseMatrix sparse, ReadOnlySpan<int> rows, int[]? places, double[] common)
    {
        bool[] cancelled = new bool[rows.Length];
        double all = TensorPrimitives.SumOfSquares<double>(common);
        for (int i = 0; i < rows.Length; i++)
        {
            ReadOnlySpan<int> columns = sparse.RowColumns(rows[i]);
            ReadOnlySpan<double> values = sparse.RowValues(rows[i]);
            double rest = all, stored = 0;
            for (int k = 0; k < columns.Length; k++)
            {
                int j = places?[columns[k]] ?? columns[k];
                double scaled = Scaled(j, values[k]);
                (rest, stored) = (rest - (common[j] * common[j]), stored + (scaled * scaled));
            }

            // A little before the limit: these sums round.
            cancelled[i] = all > 0.99 * LongestCommon * LongestCommon * (Math.Max(0, rest) + stored);
        }

        return cancelled;
    }

    private double Scaled(int column, double value)
    {
        double scaled = (value - _centers[column]) / _widths[column];
        return _state.Columns[column].Clip ? Math.Clamp(scaled, -1, 1) : scaled;
    }

    private static int CountedUp(int cells, int more, string place) => cells <= Array.MaxLength - more ? cells + more
        : throw DataErrors.Bad(DataErrors.TooLarge, place, "the table has more cells than fit one matrix in memory.", "Use fewer rows or columns.");
}
