using FedLearn.Parties;
using FedLearn.Privacy;
using MathNet.Numerics.LinearAlgebra;

namespace FedLearn.Glm;

// Standard errors from the joint Fisher information: the active party's side, then the passive party's. The active party inverts the information of its
// own and the mixed columns, and answers each passive party the block of its mixed columns, which that party turns into variances of its own weights.

internal partial class GlmActiveTrainer
{
    private async Task<GlmInference> InferAsync(int round, CancellationToken cancellationToken)
    {
        LinearPart own = work.Train;
        JointColumns joint = _joint ?? await JointColumnsAsync(round, cancellationToken).ConfigureAwait(false);
        int n = own.Rows, width = joint.Rows.Columns, size = width + (own.FreeIntercept ? 1 : 0), freedom = n - size;
        if (freedom <= 0)
            throw new Diagnostics.BadInputException(GlmErrors.DependentColumns, "training rows", "there are no more of them than columns of all parties together.",
                "Use more rows or fewer columns.");
        double[] information = new double[n];
        _plan.Family.Information(_trainScores, information);
        train.Weigh(0, n, information);
        if (!(System.Numerics.Tensors.TensorPrimitives.Max<double>(information) > 1e-6))
            throw new Diagnostics.BadInputException(GlmErrors.DependentColumns, "training rows", "every fitted mean is at the edge of its range, as where columns separate two classes, so that the rows say nothing of the weights' spread.",
                "Set model.l2 above 0, or leave out the columns that tell the label.");
        Matrix<double> matrix = Matrix<double>.Build.DenseOfRowMajor(size, size, WeightedGram(joint.Rows, information, own.FreeIntercept));
        for (int j = 0; j < width; j++)
            matrix[j, j] += n * _plan.Job.Model.L2;

        // Diagonal 1 first, so that units do not decide what is dependent.
        double[] scale = [.. matrix.Diagonal().Select(v => v > 0 ? 1 / Math.Sqrt(v) : 0)];
        Matrix<double> scaled = Matrix<double>.Build.Dense(size, size, (j, k) => matrix[j, k] * scale[j] * scale[k]);
        if (!(scaled.Evd(Symmetricity.Symmetric).EigenValues.Min(v => v.Real) > 1e-11))
            throw ColumnMixing.Dependent("the columns of all parties together, the intercept included");
        double dispersion = _plan.Family.EstimatesDispersion ? Pearson() / freedom : 1;
        work.CheckFinite(round, [dispersion]);
        Matrix<double> inverse = scaled.Inverse();
        double Covariance(int j, int k) => dispersion * inverse[j, k] * scale[j] * scale[k];

        for (int p = 0; p < passives.Count; p++)
        {
            (int first, int count) = joint.Blocks[p];
            double[] answer = new double[2 + count * count];
            (answer[0], answer[1]) = (dispersion, freedom);
            for (int j = 0; j < count; j++)
                for (int k = 0; k < count; k++)
                    answer[2 + j * count + k] = Covariance(first + j, first + k);
            work.CheckFinite(round, answer);
            await passives[p].SendAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, answer), "covariance of the party's own mixed columns: mode none"), cancellationToken)
                .ConfigureAwait(false);
        }

        int[] places = own.FreeIntercept ? [.. Enumerable.Range(0, own.Features), width] : [.. Enumerable.Range(0, own.Features)];
        return new GlmInference(dispersion, freedom, _plan.Job.Model.L2 > 0, [.. places.Select((place, j) => GlmCoefficient.Of(_weights[j], Math.Sqrt(Math.Max(0, Covariance(place, place)))))]);
    }

    /// <summary>Sum of u (y - mu)^2/V(mu).</summary>
    private double Pearson()
    {
        double[] means = new double[train.Rows];
        _plan.Family.Means(_trainScores, means);
        double sum = 0;
        for (int i = 0; i < means.Length; i++)
        {
            double error = train.Labels[i] - means[i];
            sum += (train.Weights?[i] ?? 1) * error * error / _plan.Family.UnitVariance(means[i]);
        }

        return sum;
    }

    /// <summary>Sum of c z z' over rows z, followed by 1 with an intercept; row-major.</summary>
    private static double[] WeightedGram(Numerics.DenseMatrix rows, double[] weights, bool intercept)
    {
        int width = rows.Columns, size = width + (intercept ? 1 : 0);
        double[] gram = new double[size * size], row = new double[size], scaled = new double[size];
        for (int i = 0; i < rows.Rows; i++)
        {
            rows.Row(i).CopyTo(row);
            if (intercept)
                row[width] = 1;
            System.Numerics.Tensors.TensorPrimitives.Multiply(row, weights[i], scaled);
            for (int j = 0; j < size; j++)
                System.Numerics.Tensors.TensorPrimitives.MultiplyAdd(row, scaled[j], gram.AsSpan(j * size, size), gram.AsSpan(j * size, size));
        }

        return gram;
    }
}

internal sealed partial class GlmPassiveTrainer
{
    private async Task<GlmInference> InferAsync(int round, CancellationToken cancellationToken)
    {
        ColumnMixing mixing = _mixing ?? await SendMixedColumnsAsync(round, cancellationToken).ConfigureAwait(false);
        int count = mixing.Count;
        Scalars answer = await ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Direction, 2 + count * count, cancellationToken).ConfigureAwait(false);
        ReadOnlySpan<double> told = answer.Values.Span;
        double[] variances = mixing.Variances(told[2..]);
        return new GlmInference(told[0], (int)Math.Clamp(told[1], 1, int.MaxValue), _plan.Job.Model.L2 > 0, [.. variances.Select((variance, j) => GlmCoefficient.Of(_weights[j], Math.Sqrt(Math.Max(0, variance))))]);
    }
}
