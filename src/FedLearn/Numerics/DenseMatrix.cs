namespace FedLearn.Numerics;

/// <summary>A dense row-major matrix of float64.</summary>
public sealed class DenseMatrix
{
    /// <summary>Wraps an array.</summary>
    /// <param name="rows">Number of rows, at least 0.</param>
    /// <param name="columns">Number of columns, at least 0.</param>
    /// <param name="values">Row-major values; its length is rows x columns. Not copied.</param>
    /// <exception cref="ArgumentException">The length does not fit the shape.</exception>
    public DenseMatrix(int rows, int columns, double[] values)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        if (values.LongLength != (long)rows * columns)
            throw new ArgumentException($"{rows} x {columns} needs {(long)rows * columns} values, not {values.LongLength}.", nameof(values));
        (Rows, Columns, Values) = (rows, columns, values);
    }

    /// <summary>Makes a matrix of zeros.</summary>
    /// <param name="rows">Number of rows.</param>
    /// <param name="columns">Number of columns.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative.</exception>
    public DenseMatrix(int rows, int columns) : this(rows, columns, LargeArrays.Create<double>(Math.Max(0, (long)rows * columns))) { }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Number of columns.</summary>
    public int Columns { get; }

    /// <summary>Row-major values.</summary>
    public double[] Values { get; }

    /// <summary>One row, as a view.</summary>
    /// <param name="index">Row from 0.</param>
    public Span<double> Row(int index) => Values.AsSpan(index * Columns, Columns);
}
