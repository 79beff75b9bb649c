using System.Numerics.Tensors;

namespace FedLearn.Numerics;

/// <summary>Rows that differ from a multiple of one common row in few cells: x_i = f_i base + s_i, with s_i sparse. A column that is centred needs this:
/// its absent cells are all the same number, and not 0.</summary>
public sealed class SparseRows : FeatureRows
{
    private const double UnitRoundoff = 1.0 / (1L << 53);

    private readonly SparseMatrix _cells;
    private readonly double[]? _base;
    private readonly double[]? _factors;
    private readonly double _baseSquares;
    private readonly int _baseCells, _mostCells;

    /// <summary>Wraps arrays.</summary>
    /// <param name="cells">The sparse part, shape [n x d]. Not copied.</param>
    /// <param name="common">The common row, shape [d]; null: zeros. Not copied.</param>
    /// <param name="factors">What the common row is multiplied by in each row, shape [n]; null exactly when <paramref name="common"/> is. Not copied.</param>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public SparseRows(SparseMatrix cells, double[]? common = null, double[]? factors = null)
    {
        ArgumentNullException.ThrowIfNull(cells);
        if (common is null != factors is null || (common is not null && (common.Length != cells.Columns || factors!.Length != cells.Rows)))
            throw new ArgumentException($"The common row and its factors do not fit {cells.Rows} x {cells.Columns} cells.", nameof(common));
        (_cells, _base, _factors) = (cells, common, factors);
        _baseSquares = common is null ? 0 : TensorPrimitives.SumOfSquares<double>(common);
        _baseCells = common?.Count(value => value != 0) ?? 0;
        for (int i = 0; i < cells.Rows; i++)
            _mostCells = Math.Max(_mostCells, cells.RowColumns(i).Length);
    }

    /// <inheritdoc/>
    public override int Rows => _cells.Rows;

    /// <inheritdoc/>
    public override int Columns => _cells.Columns;

    /// <inheritdoc/>
    public override void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        SparseKernels.Scores(_cells, start, weights, scores);
        if (_base is not null)
            TensorPrimitives.MultiplyAdd(_factors.AsSpan(start, scores.Length), Dot(_base, weights), scores, scores);
    }

    /// <inheritdoc/>
    public override void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        SparseKernels.Gradient(_cells, start, residuals, gradient);
        if (_base is not null)
            TensorPrimitives.MultiplyAdd(_base, Dot(_factors.AsSpan(start, residuals.Length), residuals), gradient, gradient);
    }

    /// <inheritdoc/>
    public override double Length(int row) => Math.Sqrt(Squares(row, out _));

    /// <summary>A number that neither the real length of a row nor <see cref="Length"/> is above, and that is above them by at most
    /// 8 (m + 2k + 10) 2^-53 of them, for k stored cells and m cells of the common row that are not 0. Cells are below 1e140.</summary>
    /// <remarks>The squares of the row are those of f base, less those of its k cells that are stored, plus those of these cells with what is stored.
    /// Let M be the sum of the absolute values of these terms. A cell carries one rounding of f base + s, or of f base, each within u = 2^-53 of the larger
    /// of its terms; squaring and adding m + 2k terms in any order err by less than (m + 2k + 2) u M; together less than (m + 2k + 10) u M, and twice that is
    /// added. Where the terms cancel, M would be far above the squares, and the row is summed cell by cell instead, where each cell carries a relative
    /// error of u and M is the squares; so M is at most 4 times the squares. 1e-300 is more than squares below the range of float64 can lose.</remarks>
    internal double LengthBound(int row)
    {
        double squares = Squares(row, out double terms);
        return Math.Sqrt(squares + (2 * (_baseCells + (2.0 * _cells.RowColumns(row).Length) + 10) * UnitRoundoff * terms) + 1e-300);
    }

    /// <summary>Length of the common part of a row, f base; of a row that is much shorter, what is stored is the difference of two longer ones, and their rounding shows.</summary>
    internal double CommonLength(int row) => _factors is null ? 0 : Math.Abs(_factors[row]) * Math.Sqrt(_baseSquares);

    /// <inheritdoc/>
    /// <remarks>Eight chains over k stored cells, and one over b rows in a gradient. With a common row of at most 4 R, what is stored is at most 5 R long, and the product with the common row, which is
    /// computed as if with twice the digits, errs by 3 u 4 R.</remarks>
    internal override (double Score, double Gradient) Roundings(int rows)
    {
        double score = (_mostCells / 8.0) + 16, gradient = rows + 20;
        return _base is null ? (score, gradient) : ((5 * score) + 16, (5 * gradient) + 16);
    }

    /// <summary>Multiplies a row; for who makes these rows, before anyone else sees them.</summary>
    internal void Scale(int row, double factor)
    {
        if (_factors is not null)
            _factors[row] *= factor;
        Span<double> values = _cells.RowValues(row);
        TensorPrimitives.Multiply(values, factor, values);
    }

    /// <inheritdoc/>
    public override void CopyRow(int row, Span<double> cells)
    {
        cells = cells[..Columns];
        if (_base is null)
            cells.Clear();
        else
            TensorPrimitives.Multiply(_base, _factors![row], cells);
        ReadOnlySpan<int> columns = _cells.RowColumns(row);
        ReadOnlySpan<double> values = _cells.RowValues(row);
        double factor = _factors?[row] ?? 0;
        for (int k = 0; k < columns.Length; k++)
            cells[columns[k]] = _base is null ? values[k] : Math.FusedMultiplyAdd(factor, _base[columns[k]], values[k]);
    }

    /// <inheritdoc/>
    public override FeatureRows Reordered(ReadOnlySpan<int> order, FeatureRows? reuse = null)
    {
        CheckOrder(order);
        int[] starts = new int[order.Length + 1];
        for (int i = 0; i < order.Length; i++)
            starts[i + 1] = checked(starts[i] + _cells.RowColumns(order[i]).Length);
        var memory = reuse as SparseRows;
        int[] columns = memory?._cells.ColumnIndices is { } c && c.Length == starts[^1] ? c : new int[starts[^1]];
        double[] values = memory?._cells.Values is { } v && v.Length == starts[^1] ? v : new double[starts[^1]];
        double[]? factors = _factors is null ? null : new double[order.Length];
        for (int i = 0; i < order.Length; i++)
        {
            _cells.RowColumns(order[i]).CopyTo(columns.AsSpan(starts[i]));
            _cells.RowValues(order[i]).CopyTo(values.AsSpan(starts[i]));
            if (factors is not null)
                factors[i] = _factors![order[i]];
        }

        return new SparseRows(new SparseMatrix(Rows, Columns, starts, columns, values), _base, factors);
    }

    /// <summary>Squares of a row, and the sum of the absolute values of what they were added up from.</summary>
    private double Squares(int row, out double terms)
    {
        ReadOnlySpan<int> columns = _cells.RowColumns(row);
        ReadOnlySpan<double> values = _cells.RowValues(row);
        if (_base is null)
            return terms = TensorPrimitives.SumOfSquares(values);
        double factor = _factors![row], rest = factor * factor * _baseSquares, stored = 0, replaced = 0;
        for (int k = 0; k < columns.Length; k++)
        {
            double absent = factor * _base[columns[k]], present = Math.FusedMultiplyAdd(factor, _base[columns[k]], values[k]);
            (stored, replaced) = (stored + (present * present), replaced + (absent * absent));
        }

        terms = rest + replaced + stored;
        double squares = rest - replaced + stored;
        if (squares >= terms / 4)
            return squares;
        double[] cells = new double[Columns];
        CopyRow(row, cells);
        return terms = TensorPrimitives.SumOfSquares<double>(cells);
    }

    /// <summary>As if computed with twice the digits and rounded once (Ogita, Rump and Oishi 2005), in one fixed order, whatever the width of the processor's vectors: all rows share it, and in rows
    /// whose cells nearly cancel it its error would be most of theirs.</summary>
    private static double Dot(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        double sum = 0, lost = 0;
        for (int i = 0; i < x.Length; i++)
        {
            double product = x[i] * y[i], next = sum + product, added = next - sum;
            lost += sum - (next - added) + (product - added) + Math.FusedMultiplyAdd(x[i], y[i], -product);
            sum = next;
        }

        // Numbers beyond float64 have no second half.
        return double.IsFinite(lost) ? sum + lost : sum;
    }
}
