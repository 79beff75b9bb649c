using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using MathNet.Numerics.LinearAlgebra;

namespace FedLearn.Glm;

// Standard errors from the joint Fisher information: the active party's side, then the passive party's. The active party inverts the information of its
// own and the mixed columns, and answers each passive party the block of its mixed columns, which that party turns into variances of its own weights.
// The model is finished: columns that allow no standard errors leave it without, and the active party answers every passive one why.

internal partial class GlmActiveTrainer
{
    /// <summary>Whether some weights, of which there are standard errors, have no finite best value.</summary>
    private bool _separated;

    /// <summary>Own columns, the intercept and parties of which combinations of next to nothing are made; empty where none are known.</summary>
    private string _dependent = "";

    private async Task<(GlmInference? Found, MissingInference? Missing)> InferAsync(int round, CancellationToken cancellationToken)
    {
        (JointColumns? joint, MissingInference? missing) = _joint is null ? await JointColumnsAsync(round, trained: true, cancellationToken).ConfigureAwait(false) : (_joint, null);
        (GlmInference? found, double[][] answers) = (null, []);
        if (joint is not null)
            (missing, found, answers) = await ChannelGuard.ComputeAsync(passives, _ => Infer(joint), cancellationToken).ConfigureAwait(false);
        for (int p = 0; p < passives.Count; p++)
        {
            Released<Scalars> answer = missing is null
                ? Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, answers[p]), GlmReleases.MixedCovariance)
                : Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, new[] { missing.Number }), "why there are no standard errors: mode none");
            await passives[p].SendAsync(round, answer, cancellationToken).ConfigureAwait(false);
        }

        return (found, missing);
    }

    /// <summary>Inverts the information of all columns.</summary>
    /// <param name="joint">Own columns and the mixed ones.</param>
    /// <returns>Why there are no standard errors, or null; standard errors of the own weights; what each passive party is answered: dispersion, degrees of freedom, covariance of its mixed columns.</returns>
    private (MissingInference? Missing, GlmInference? Found, double[][] Answers) Infer(JointColumns joint)
    {
        static (MissingInference?, GlmInference?, double[][]) None(InferenceFault why) => (new(why), null, []);
        LinearPart own = work.Train;
        // Rows of weight 0 are not there; over the others weights have mean 1.
        int n = own.Rows, counted = train.Weights?.Count(weight => weight > 0) ?? n, width = joint.Rows.Columns, size = width + (own.FreeIntercept ? 1 : 0), freedom = counted - size;
        double share = (double)counted / n;
        if (freedom <= 0)
            return None(InferenceFault.TooFewRows);
        double[] Information(double[] scores)
        {
            double[] information = new double[n];
            _plan.Family.Information(scores, information);
            train.Weigh(0, n, information);
            TensorPrimitives.Multiply(information, share, information);
            return information;
        }

        double[] information = Information(_trainScores);
        if (TensorPrimitives.Max<double>(information) <= 1e-6 * TensorPrimitives.Max<double>(Information(Featureless.Scores(train))))
            return None(InferenceFault.EdgeMeans);
        double ridge = counted * _plan.Job.Model.L2;
        double[] gram = WeightedGram(joint.Rows, information, own.FreeIntercept);
        if (!VectorKernels.AllFinite(gram))
            return None(InferenceFault.NotFinite);
        (Matrix<double> scaled, double[] scale) = Scaled(gram, size, width, ridge);
        if (!IsRegular(scaled))
        {
            // Columns that are independent where every row counts alike depend on each other only because rows at the edge say nothing.
            double[] present = train.Weights?.Select(weight => weight > 0 ? 1.0 : 0).ToArray() ?? Enumerable.Repeat(1.0, n).ToArray();
            (Matrix<double> unweighted, _) = Scaled(WeightedGram(joint.Rows, present, own.FreeIntercept), size, width, ridge);
            if (IsRegular(unweighted))
                return None(InferenceFault.EdgeMeans);
            int[] involved = ColumnMixing.Involved(unweighted.Evd(Symmetricity.Symmetric), Regular);
            List<string> mine = [.. involved.Where(j => j < own.Features).Select(j => work.Columns[j])];
            _dependent = string.Join(", ",
            [
                .. mine.Count > 0 ? (string[])[FeatureMap.Listed(mine, 10)] : [], .. involved.Contains(width) ? (string[])["the intercept"] : [],
                .. passives.Zip(joint.Blocks).Where(p => involved.Any(j => j >= p.Second.First && j < p.Second.First + p.Second.Count)).Select(p => $"columns of '{p.First.RemoteParty}'"),
            ]);
            return None(InferenceFault.Dependent);
        }

        double dispersion = _plan.Family.EstimatesDispersion ? share * Pearson() / freedom : 1;
        Matrix<double> inverse = scaled.Inverse();
        _separated = ridge == 0 && IsSeparated(joint.Rows, information, share, inverse, scale);
        double Covariance(int j, int k) => dispersion * inverse[j, k] * scale[j] * scale[k];

        int[] places = own.FreeIntercept ? [.. Enumerable.Range(0, own.Features), width] : [.. Enumerable.Range(0, own.Features)];
        double[] variances = [.. places.Select(place => Covariance(place, place))];
        double[][] told = new double[joint.Blocks.Count][];
        for (int p = 0; p < told.Length; p++)
        {
            (int first, int count) = joint.Blocks[p];
            double[] answer = told[p] = new double[2 + count * count];
            (answer[0], answer[1]) = (dispersion, freedom);
            for (int j = 0; j < count; j++)
                for (int k = 0; k < count; k++)
                    answer[2 + j * count + k] = Covariance(first + j, first + k);
        }

        if (!double.IsFinite(dispersion) || !VectorKernels.AllFinite(variances) || !told.All(answer => VectorKernels.AllFinite(answer)))
            return None(InferenceFault.NotFinite);
        return (null, new GlmInference(dispersion, freedom, _plan.Job.Model.L2 > 0, [.. variances.Select((variance, j) => GlmCoefficient.Of(_weights[j], Math.Sqrt(Math.Max(0, variance))))]), told);
    }

    /// <summary>The information of all columns and its penalty, scaled to diagonal 1 so that units do not decide what is dependent, with the factor of each.</summary>
    private static (Matrix<double> Matrix, double[] Scale) Scaled(double[] gram, int size, int penalised, double ridge)
    {
        Matrix<double> matrix = Matrix<double>.Build.DenseOfRowMajor(size, size, gram);
        for (int j = 0; j < penalised; j++)
            matrix[j, j] += ridge;
        double[] scale = [.. matrix.Diagonal().Select(v => v > 0 ? 1 / Math.Sqrt(v) : 0)];
        return (Matrix<double>.Build.Dense(size, size, (j, k) => matrix[j, k] * scale[j] * scale[k]), scale);
    }

    private const double Regular = 1e-11;

    private static bool IsRegular(Matrix<double> scaled) => scaled.Evd(Symmetricity.Symmetric).EigenValues.Min(v => v.Real) > Regular;

    /// <summary>Whether Newton's method, whose gradient is as short as training asks, would still move scores of rows that say next to nothing: towards means at
    /// the edge of their range a loss falls as an exponential does, by about the same step each time and for ever, while at an optimum there is no step left.</summary>
    private bool IsSeparated(DenseMatrix rows, double[] information, double share, Matrix<double> inverse, double[] scale)
    {
        int n = rows.Rows, width = rows.Columns;
        double[] residuals = new double[n], gradient = new double[scale.Length];
        _plan.Family.Residuals(_trainScores, train.Labels, residuals);
        train.Weigh(0, n, residuals);
        for (int i = 0; i < n; i++)
        {
            TensorPrimitives.MultiplyAdd(rows.Row(i), share * residuals[i], gradient.AsSpan(0, width), gradient.AsSpan(0, width));
            if (scale.Length > width)
                gradient[width] += share * residuals[i];
        }

        TensorPrimitives.Multiply(gradient, scale, gradient);
        double[] step = (inverse * Vector<double>.Build.DenseOfArray(gradient)).ToArray();
        TensorPrimitives.Multiply(step, scale, step);
        double little = 1e-3 * TensorPrimitives.Max<double>(information);
        return Enumerable.Range(0, n).Any(i => information[i] < little * (train.Weights?[i] ?? 1)
            && Math.Abs(TensorPrimitives.Dot(rows.Row(i), step.AsSpan(0, width)) + (scale.Length > width ? step[width] : 0)) > .1);
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
    private static double[] WeightedGram(DenseMatrix rows, double[] weights, bool intercept)
    {
        int width = rows.Columns, size = width + (intercept ? 1 : 0);
        double[] gram = new double[size * size], row = new double[size], scaled = new double[size];
        for (int i = 0; i < rows.Rows; i++)
        {
            rows.Row(i).CopyTo(row);
            if (intercept)
                row[width] = 1;
            TensorPrimitives.Multiply(row, weights[i], scaled);
            for (int j = 0; j < size; j++)
                TensorPrimitives.MultiplyAdd(row, scaled[j], gram.AsSpan(j * size, size), gram.AsSpan(j * size, size));
        }

        return gram;
    }
}

internal sealed partial class GlmPassiveTrainer
{
    private async Task<(GlmInference? Found, MissingInference? Missing)> InferAsync(int round, CancellationToken cancellationToken)
    {
        ColumnMixing? mixing = _mixing ?? await SendMixedColumnsAsync(round, trained: true, cancellationToken).ConfigureAwait(false);
        Scalars answer = await ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Direction, null, cancellationToken).ConfigureAwait(false);
        if (answer.Length == 1)
            return (null, MissingInference.Of(answer.Values.Span[0], _plan.Job, active, round));
        int count = mixing?.Count ?? 0;
        if (mixing is null || answer.Length != 2 + count * count)
            throw ProtocolErrors.Peer(ProtocolErrors.WrongLength, active.RemoteParty, $"round {round}", $"sent {answer.Length} numbers as the covariance of {count} columns.",
                "Check that both parties run the same release of the software.");
        ReadOnlySpan<double> told = answer.Values.Span;
        double[] variances = mixing.Variances(told[2..]);
        return (new GlmInference(told[0], (int)Math.Clamp(told[1], 1, int.MaxValue), _plan.Job.Model.L2 > 0, [.. variances.Select((variance, j) => GlmCoefficient.Of(_weights[j], Math.Sqrt(Math.Max(0, variance))))]), null);
    }
}

/// <summary>Why a finished model has no standard errors; travels as a number.</summary>
internal enum InferenceFault
{
    /// <summary>No more training rows than columns.</summary>
    TooFewRows = 0,

    /// <summary>More columns than the active party solves for at once.</summary>
    TooManyColumns = 1,

    /// <summary>Fitted means, if not all of them, are at the edge of their range, and some weights have no finite best value.</summary>
    EdgeMeans = 2,

    /// <summary>The information is beyond float64.</summary>
    NotFinite = 3,

    /// <summary>A column is a combination of others, of all parties together.</summary>
    Dependent = 4,

    /// <summary>A column of one passive party is a combination of its others. Travels as 5 for the first passive party in the job's order, 6 for the second, and so on.</summary>
    DependentAtParty = 5,
}

/// <summary>Why a finished model has no standard errors.</summary>
/// <param name="Fault">Why.</param>
/// <param name="Party">Of <see cref="InferenceFault.DependentAtParty"/>: place of the party among the passive ones.</param>
internal sealed record MissingInference(InferenceFault Fault, int Party = 0)
{
    /// <summary>Announced by a passive party instead of the number of its mixed columns, when its columns depend on each other.</summary>
    public const int NoColumns = -1;

    /// <summary>What is wrong where fitted means are at the edge of their range.</summary>
    public const string Separation = "columns tell the labels of some rows without a mistake, as where all rows of a category are of one class or have counts of 0, so that fitted means are at the edge of their range and some weights have no finite best value";

    /// <summary>What to do about it.</summary>
    public const string AgainstSeparation = "set model.l2 above 0, or leave those columns out";

    /// <summary>The number that travels.</summary>
    public double Number => (double)Fault + Party;

    /// <summary>Reads the number.</summary>
    /// <exception cref="PeerException">It is none that an active party sends.</exception>
    public static MissingInference Of(double number, GlmJob job, IPartyChannel channel, int round) =>
        number >= (int)InferenceFault.DependentAtParty && number < (int)InferenceFault.DependentAtParty + Passive(job).Length && number == Math.Floor(number)
            ? new(InferenceFault.DependentAtParty, (int)number - (int)InferenceFault.DependentAtParty) : new(ChannelGuard.Choice<InferenceFault>(number, channel, round));

    /// <summary>The warning, the same at every party: why, and what to do.</summary>
    public string Warning(GlmJob job)
    {
        const string Dependence = "leave one out of each group that adds up to a constant (where there is an intercept, one column of every one-hot field, and give every category a base), leave copies and constant columns out, or set model.l2 above 0";
        (string cause, string remedy) = Fault switch
        {
            InferenceFault.TooFewRows => ("there are no more training rows than columns of all parties together", "use more rows or fewer columns"),
            InferenceFault.TooManyColumns => ("the parties have more columns together than the active party solves for at once", "use fewer columns"),
            InferenceFault.EdgeMeans => (Separation, AgainstSeparation),
            InferenceFault.NotFinite => ("they are beyond what numbers hold", "scale the columns (preprocessing.scaling standardize or declared), or set model.l2 above 0"),
            InferenceFault.Dependent => ("a column of the training rows is a linear combination of others, of all parties together and with the intercept", Dependence),
            _ => ($"a column of '{Passive(job)[Party].Name}' is a linear combination of its others over the training rows", Dependence),
        };
        return $"the model has no standard errors: {cause}; {remedy}";
    }

    /// <summary>What a party knows of the columns that depend on each other; nothing where it knows none.</summary>
    public static string[] Named(string party, string columns) => columns.Length == 0 ? [] : [$"{party}: linearly dependent over the training rows: {columns}"];

    private static PartyDescription[] Passive(GlmJob job) => [.. job.Parties.Select(p => p.Party).Where(p => p.Role == PartyRole.Passive)];
}
