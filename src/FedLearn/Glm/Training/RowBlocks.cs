using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>Rows with a symmetric K x K block each, as <see cref="IGlmFamily.Curvatures"/> lays them out: entry (m, l) of row i at (m K + l) b + i.</summary>
internal static class RowBlocks
{
    /// <summary>Sum over the rows of a' H a.</summary>
    /// <param name="blocks">H, shape [K K b].</param>
    /// <param name="vectors">a, class-major, shape [K b].</param>
    /// <param name="outputs">K.</param>
    public static double Quadratic(ReadOnlySpan<double> blocks, ReadOnlySpan<double> vectors, int outputs)
    {
        int b = vectors.Length / outputs;
        double sum = 0;
        for (int m = 0; m < outputs; m++)
            for (int l = 0; l < outputs; l++)
            {
                ReadOnlySpan<double> h = blocks.Slice((m * outputs + l) * b, b), left = vectors.Slice(m * b, b), right = vectors.Slice(l * b, b);
                for (int i = 0; i < b; i++)
                    sum += h[i] * left[i] * right[i];
            }

        return sum;
    }

    /// <summary>H a of every row.</summary>
    /// <param name="blocks">H, shape [K K b].</param>
    /// <param name="vectors">a, class-major, shape [K b].</param>
    /// <param name="outputs">K.</param>
    /// <param name="products">Receives the products, shape [K b]; other memory than a.</param>
    public static void Multiply(ReadOnlySpan<double> blocks, ReadOnlySpan<double> vectors, int outputs, Span<double> products)
    {
        int b = vectors.Length / outputs;
        for (int m = 0; m < outputs; m++)
        {
            Span<double> product = products.Slice(m * b, b);
            TensorPrimitives.Multiply(blocks.Slice(m * outputs * b, b), vectors[..b], product);
            for (int l = 1; l < outputs; l++)
                TensorPrimitives.MultiplyAdd(blocks.Slice((m * outputs + l) * b, b), vectors.Slice(l * b, b), product, product);
        }
    }
}
