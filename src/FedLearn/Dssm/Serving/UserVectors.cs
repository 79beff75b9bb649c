using System.Numerics.Tensors;

namespace FedLearn.Dssm;

/// <summary>Vectors of users, ready to be compared with an <see cref="ItemIndex"/> by inner products.</summary>
public sealed class UserVectors
{
    /// <summary>Creates vectors.</summary>
    /// <param name="values">The vectors, [count x width] row-major; finite.</param>
    /// <param name="width">Width k, at least 1.</param>
    /// <param name="modelVersion">Version of the model whose towers gave them.</param>
    /// <param name="known">Per user, whether any view knows it; null: all are known.</param>
    /// <exception cref="ArgumentException">The parts do not fit together, or a number is NaN or infinite.</exception>
    public UserVectors(float[] values, int width, string modelVersion, bool[]? known = null)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentException.ThrowIfNullOrEmpty(modelVersion);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        if (values.Length % width != 0 || (known is not null && known.Length != values.Length / width))
            throw new ArgumentException("There are not width numbers and one flag a user.", nameof(values));
        if (values.Length > 0 && !TensorPrimitives.IsFiniteAll<float>(values))
            throw new ArgumentException("A number is NaN or infinite.", nameof(values));
        (Values, Width, ModelVersion, Known) = (values, width, modelVersion, known);
    }

    /// <summary>The vectors, [count x width] row-major.</summary>
    public float[] Values { get; }

    /// <summary>Width k.</summary>
    public int Width { get; }

    /// <summary>Number of users.</summary>
    public int Count => Values.Length / Width;

    /// <summary>Version of the model whose towers gave them.</summary>
    public string ModelVersion { get; }

    /// <summary>Per user, whether any view knows it; null: all are known.</summary>
    public bool[]? Known { get; }

    /// <summary>Puts the vectors of views together so that the inner product with a normalised item vector is the model's score.</summary>
    /// <remarks>With yhat = y/sqrt(|y|^2 + 1e-6) and w the view weights. Late: the mean of the present views' cosines is the inner product with the mean of their yhat,
    /// sum w_v yhat_v / sum w_v. Sum: the normalised sum of w_v y_v. Concat: the normalised sum of w_v y_v T_v. Absent views are left out, so a new user is scored by the
    /// views that are there; of sum and concat that is sensible only for a model trained with view dropout. A user without any view has a vector of 0 and is not known.</remarks>
    /// <param name="fusion">Fusion of the model.</param>
    /// <param name="views">Vectors y_v of each view, [count x width] row-major.</param>
    /// <param name="present">Per view, which users it knows; null: all.</param>
    /// <param name="width">Width k.</param>
    /// <param name="modelVersion">Version of the model.</param>
    /// <param name="weights">View weights, at least 0; null: all 1.</param>
    /// <param name="matrix">Matrix T of concat, [(views k) x k] input-major; otherwise null.</param>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public static UserVectors Fuse(DssmFusion fusion, IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, int width, string modelVersion,
        IReadOnlyList<double>? weights = null, double[]? matrix = null)
    {
        ArgumentNullException.ThrowIfNull(views);
        ArgumentNullException.ThrowIfNull(present);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        if (views.Count == 0 || present.Count != views.Count || (weights is not null && weights.Count != views.Count) || views.Any(y => y.Length != views[0].Length || y.Length % width != 0))
            throw new ArgumentException("The views, their presence and weights do not fit together.", nameof(views));
        int count = views[0].Length / width;
        if (present.Any(flags => flags is not null && flags.Length != count))
            throw new ArgumentException("There is not one flag a user.", nameof(present));
        if (fusion == DssmFusion.Concat && matrix?.Length != views.Count * width * width)
            throw new ArgumentException("The matrix is not [(views width) x width].", nameof(matrix));

        float[] values = new float[views[0].Length];
        bool[] known = new bool[count];
        double[] fused = new double[width], part = new double[width];
        for (int user = 0; user < count; user++)
        {
            Array.Clear(fused);
            double total = 0;
            for (int v = 0; v < views.Count; v++)
            {
                if (present[v]?[user] == false)
                    continue;
                ReadOnlySpan<double> y = views[v].AsSpan(user * width, width);
                double weight = weights?[v] ?? 1;
                known[user] = true;
                total += weight;
                if (fusion == DssmFusion.Late)
                {
                    SmoothCosine.NormaliseRow(y, part);
                    TensorPrimitives.MultiplyAdd(part, weight, fused, fused);
                }
                else if (fusion == DssmFusion.Sum)
                    TensorPrimitives.MultiplyAdd(y, weight, fused, fused);
                else
                    for (int j = 0; j < width; j++)
                        TensorPrimitives.MultiplyAdd(matrix.AsSpan(((v * width) + j) * width, width), weight * y[j], fused, fused);
            }

            if (fusion != DssmFusion.Late)
                SmoothCosine.NormaliseRow(fused, fused);
            else if (total > 0)
                TensorPrimitives.Divide(fused, total, fused);
            TensorPrimitives.ConvertTruncating<double, float>(fused, values.AsSpan(user * width, width));
        }

        return new UserVectors(values, width, modelVersion, known);
    }
}
