using System.Numerics.Tensors;
using FedLearn.Numerics;

namespace FedLearn.Glm;

/// <summary>One party's rows and, if it has one, the free intercept: a last coordinate whose feature is 1.</summary>
internal sealed class LinearPart(FeatureRows rows, bool freeIntercept)
{
    public LinearPart(DenseMatrix rows, bool freeIntercept) : this(new DenseRows(rows), freeIntercept) { }

    public int Rows => rows.Rows;

    public int Dimension => rows.Columns + (freeIntercept ? 1 : 0);

    /// <summary>Coordinates under the penalty: all but the free intercept.</summary>
    public int Penalised => rows.Columns;

    /// <summary>The same rows in another order, in the memory of an earlier result where there is one.</summary>
    public LinearPart Reordered(int[] order, LinearPart? reuse) => new(rows.Reordered(order, reuse?.Features), freeIntercept);

    private FeatureRows Features => rows;

    public void Scores(int start, ReadOnlySpan<double> weights, Span<double> scores)
    {
        rows.Scores(start, weights[..rows.Columns], scores);
        if (freeIntercept)
            TensorPrimitives.Add(scores, weights[rows.Columns], scores);
    }

    /// <summary>Sum over the batch of r x; not divided.</summary>
    public void Gradient(int start, ReadOnlySpan<double> residuals, Span<double> gradient)
    {
        rows.Gradient(start, residuals, gradient[..rows.Columns]);
        if (freeIntercept)
            gradient[rows.Columns] = TensorPrimitives.Sum(residuals);
    }

    /// <summary>w becomes Proj_k((1 - eta lambda) w - (eta / b) g); the free intercept is projected but not penalised.</summary>
    public void Step(Span<double> weights, ReadOnlySpan<double> gradient, double stepSize, double l2, int batchRows, double weightNorm)
    {
        double keep = 1 - stepSize * l2, rate = stepSize / batchRows;
        for (int j = 0; j < weights.Length; j++)
            weights[j] = (j < Penalised ? keep * weights[j] : weights[j]) - rate * gradient[j];
        VectorKernels.Project(weights, weightNorm);
    }
}
