using FedLearn.Numerics;

namespace FedLearn.Data;

/// <summary>Encoded but unscaled columns of a table of which every cell is stored.</summary>
internal abstract class TableCells
{
    /// <summary>Number of rows.</summary>
    internal abstract int Rows { get; }

    /// <summary>Number of columns.</summary>
    internal abstract int Columns { get; }

    /// <summary>Whether rows are quickly read in ascending order alone.</summary>
    internal virtual bool IsSequential => false;

    /// <summary>One row, as a view or written to a buffer.</summary>
    /// <param name="row">Row from 0.</param>
    /// <param name="buffer">Where it may be written, shape [columns].</param>
    internal abstract ReadOnlySpan<double> Row(int row, Span<double> buffer);
}

/// <summary>Cells in memory.</summary>
internal sealed class MatrixCells(DenseMatrix matrix) : TableCells
{
    internal DenseMatrix Matrix => matrix;

    internal override int Rows => matrix.Rows;

    internal override int Columns => matrix.Columns;

    internal override ReadOnlySpan<double> Row(int row, Span<double> buffer) => matrix.Row(row);
}
