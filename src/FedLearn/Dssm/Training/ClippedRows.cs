using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>Rows clipped to an L2 norm by <see cref="RowClip"/>, with what is needed to carry gradients through that.</summary>
internal sealed class ClippedRows
{
    private double[] _norms = [], _factors = [];
    private int _count;

    /// <summary>Clips rows in place. One that is no number, or whose squares overflow, becomes 0, which is within every bound: a mechanism releases no NaN, and a party that gave up there would tell of the row.</summary>
    public void Clip(Span<double> rows, int width, double bound)
    {
        _count = rows.Length / width;
        Span<double> norms = Buffers.Of(ref _norms, _count), factors = Buffers.Of(ref _factors, _count);
        for (int i = 0; i < _count; i++)
            norms[i] = TensorPrimitives.SumOfSquares<double>(rows.Slice(i * width, width));
        RowClip.Factors(norms, bound, factors);
        for (int i = 0; i < _count; i++)
            Scale(rows.Slice(i * width, width), factors[i]);
    }

    /// <summary>Multiplies a row. 0 times what is no number would be none: it becomes 0.</summary>
    public static void Scale(Span<double> row, double factor)
    {
        if (factor == 0)
            row.Clear();
        else if (factor != 1)
            TensorPrimitives.Multiply(row, factor, row);
    }

    /// <summary>Turns gradients for the rows as clipped into those for the rows as they were, in place.</summary>
    public void Backward(Span<double> gradients, ReadOnlySpan<double> clipped, int width, double bound)
    {
        for (int i = 0; i < _count; i++)
        {
            if (_factors[i] == 1)
                continue;
            Span<double> gradient = gradients.Slice(i * width, width);
            ReadOnlySpan<double> row = clipped.Slice(i * width, width);
            double along = TensorPrimitives.Dot<double>(gradient, row) / (bound * bound);
            for (int j = 0; j < width; j++)
                gradient[j] = _factors[i] * (gradient[j] - along * row[j]);
        }
    }
}
