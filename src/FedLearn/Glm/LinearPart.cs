using System.Numerics.Tensors;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Glm;

/// <summary>One party's rows and the layout of its weights: K scores a row (one but for classes), each with a weight a feature and, if the party has free
/// intercepts, one of those.</summary>
/// <remarks>Weights are one vector: d features of score 0, of score 1, ..., then K free intercepts. Scores and residuals of b rows are class-major, shape
/// [K b].</remarks>
internal sealed class LinearPart(FeatureRows rows, bool freeIntercept, int outputs = 1)
{
    public LinearPart(DenseMatrix rows, bool freeIntercept, int outputs = 1) : this(new DenseRows(rows), freeIntercept, outputs) { }

    public int Rows => rows.Rows;

    /// <summary>Scores of a row, K.</summary>
    public int Outputs => outputs;

    /// <summary>Features of a row, d.</summary>
    public int Features => rows.Columns;

    public bool FreeIntercept => freeIntercept;

    /// <summary>Number of weights.</summary>
    public int Dimension => outputs * (rows.Columns + (freeIntercept ? 1 : 0));

    /// <summary>Weights under the penalty: all but the free intercepts, which are last.</summary>
    public int Penalised => outputs * rows.Columns;

    /// <summary>The same rows with another number of scores.</summary>
    public LinearPart With(int scores, bool intercept) => new(rows, intercept, scores);

    /// <summary>The same rows in another order, in the memory of an earlier result where there is one.</summary>
    /// <exception cref="BadInputException">FL3034: the folder of mapped rows does not take them once more.</exception>
    public LinearPart Reordered(int[] order, LinearPart? reuse)
    {
        try
        {
            return new(rows.Reordered(order, reuse?.Own), freeIntercept, outputs);
        }
        catch (Exception e) when (rows is MappedRows && e is IOException or UnauthorizedAccessException)
        {
            throw DataErrors.Scratch(((MappedRows)rows).Folder, e);
        }
    }

    private FeatureRows Own => rows;

    /// <inheritdoc cref="FeatureRows.Roundings"/>
    public (double Score, double Gradient) Roundings(int b) => rows.Roundings(b);

    /// <summary>Writes a row with all its features.</summary>
    public void CopyRow(int row, Span<double> features) => rows.CopyRow(row, features);

    /// <summary>z = X w of consecutive rows, class-major.</summary>
    public void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        int b = scores.Length / outputs, d = rows.Columns;
        for (int m = 0; m < outputs; m++)
        {
            Span<double> z = scores.Slice(m * b, b);
            rows.Scores(start, weights.Slice(m * d, d), z);
            if (freeIntercept)
                TensorPrimitives.Add(z, weights[Penalised + m], z);
        }
    }

    /// <summary>The columns of consecutive rows, d of b numbers one after the other, a free intercept's ones last. Of parts with one score.</summary>
    public double[] Columns(int start, int size)
    {
        double[] columns = new double[Dimension * size], row = new double[rows.Columns];
        for (int i = 0; i < size; i++)
        {
            rows.CopyRow(start + i, row);
            for (int j = 0; j < row.Length; j++)
                columns[j * size + i] = row[j];
        }

        columns.AsSpan(rows.Columns * size).Fill(1);
        return columns;
    }

    /// <summary>Sum over the batch of r x for each score; not divided.</summary>
    public void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        int b = residuals.Length / outputs, d = rows.Columns;
        for (int m = 0; m < outputs; m++)
        {
            ReadOnlySpan<double> r = residuals.Slice(m * b, b);
            rows.Gradient(start, r, gradient.Slice(m * d, d));
            if (freeIntercept)
                gradient[Penalised + m] = MatrixKernels.Sum(r);
        }
    }

    /// <summary>Both passes in one reading of the rows, of parts with one score. A free intercept is the caller's to add to the scores.</summary>
    public void ScoresAndGradient(int start, ReadOnlySpan<double> weights, Span<double> scores, IResidualBlocks blocks, Span<double> residuals, Span<double> gradient)
    {
        int d = rows.Columns;
        rows.ScoresAndGradient(start, weights[..d], scores, blocks, residuals, gradient[..d]);
        if (freeIntercept)
            gradient[d] = MatrixKernels.Sum(residuals);
    }

    /// <summary>w becomes S(Proj_k((1 - eta lambda) w - (eta / b) g)), S the soft threshold by eta l1; a free intercept is projected, but neither penalised
    /// nor thresholded.</summary>
    /// <remarks>The threshold is a constant and comes after the projection: it expands no distance and shrinks every length, as the sensitivity proof needs.</remarks>
    public void Step(Span<double> weights, ReadOnlySpan<double> gradient, double stepSize, double l2, double l1, int batchRows, double weightNorm)
    {
        double keep = 1 - stepSize * l2, rate = stepSize / batchRows;
        for (int j = 0; j < weights.Length; j++)
            weights[j] = (j < Penalised ? keep * weights[j] : weights[j]) - rate * gradient[j];
        VectorKernels.Project(weights, weightNorm);
        if (l1 > 0)
            VectorKernels.SoftThreshold(weights[..Penalised], stepSize * l1);
    }
}
