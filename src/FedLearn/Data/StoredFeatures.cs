using System.Numerics.Tensors;
using FedLearn.Numerics;

namespace FedLearn.Data;

public sealed partial class FeatureMap
{
    private const double SingleRoundoff = 1.0 / (1 << 24);

    private SingleRows SingleFeatures(Table table, ReadOnlySpan<int> rows)
    {
        int columns = FeatureNames.Count;
        CheckCells(table, rows.Length);
        var features = new SingleRows(rows.Length, columns, LargeArrays.Create<float>((long)rows.Length * columns));
        int[]? order = SourceColumns(table);
        double[] buffer = new double[table.Cells!.Columns], cells = new double[columns];
        for (int i = 0; i < rows.Length; i++)
        {
            TransformRow(table, table.Cells.Row(rows[i], buffer), order, rows[i], cells);
            Round(table, rows[i], cells, features.Row(i));
        }

        return features;
    }

    private void CheckCells(Table table, int rows)
    {
        if ((long)rows * FeatureNames.Count > Array.MaxLength)
            throw DataErrors.TooManyCells(table.Place, rows, FeatureNames.Count);
    }

    /// <summary>Rows in a mapped file. A table that is mapped itself is read from its start to its end, and written in the order that was asked for.</summary>
    private MappedRows MappedFeatures(Table table, ReadOnlySpan<int> rows, string folder, bool single)
    {
        int[] sources = rows.ToArray(), places = [.. Enumerable.Range(0, rows.Length)];
        if (table.Cells!.IsSequential)
            Array.Sort(sources, places);
        try
        {
            return MappedRows.Create(folder, sources.Length, FeatureNames.Count, single, scatter => Fill(scatter, table, sources, places, single));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DataErrors.Scratch(folder, e);
        }
    }

    private void Fill(RowScatter scatter, Table table, int[] sources, int[] places, bool single)
    {
        int[]? order = SourceColumns(table);
        double[] buffer = new double[table.Cells!.Columns], cells = new double[FeatureNames.Count];
        float[] rounded = new float[single ? cells.Length : 0];
        for (int i = 0; i < sources.Length; i++)
        {
            TransformRow(table, table.Cells.Row(sources[i], buffer), order, sources[i], cells);
            if (single)
            {
                Round(table, sources[i], cells, rounded);
                scatter.Add<float>(places[i], rounded);
            }
            else
                scatter.Add<double>(places[i], cells);
        }
    }

    /// <summary>Rounds a row to float32. Where rows are bounded the real length of the rounded row is at most the bound too, and so is the one that float64 computes: rounding can lengthen a
    /// row by 2^-24 of it, so a row that came out too long is shortened before it is rounded again. Cells are changed.</summary>
    private void Round(Table table, int number, Span<double> cells, Span<float> target)
    {
        // Squares of float32 are exact in float64, so only adding them up and the root round.
        double limit = (LongestRow ?? double.PositiveInfinity) * (1 - 2 * (cells.Length + 8) * UnitRoundoff);
        for (int attempt = 0; ; attempt++)
        {
            TensorPrimitives.ConvertTruncating<double, float>(cells, target);
            double length = SingleRows.LengthOf(target);
            if (!double.IsFinite(length))
                throw DataErrors.Bad(DataErrors.ScaledTooLarge, table.PlaceOf(number), "scaling gives values beyond float32.", "Choose units in which the values are of ordinary size, or store float64.");
            if (length <= limit)
                return;
            TensorPrimitives.Multiply(cells, limit / length * (1 - (Math.ScaleB(1, attempt) - 1) * SingleRoundoff), cells);
        }
    }
}
