using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>What the active party knows of the others' share of each row's linear predictor.</summary>
/// <param name="Mean">Its posterior mean, shape [n].</param>
/// <param name="Variance">Its posterior variance, the same for every row.</param>
/// <param name="Signal">Variance tau^2 of the share beyond what the party's own features explain.</param>
internal sealed record PosteriorShare(double[] Mean, double Variance, double Signal);

/// <summary>What is known of the mean over the training rows of a column's scores without noise.</summary>
/// <param name="Expected">Its expected value, from public numbers.</param>
/// <param name="Variance">Variance of what that may be off by. At least 0.</param>
internal readonly record struct ScoreLevel(double Expected, double Variance)
{
    /// <summary>The level of scores that are added to a linear predictor, in their units: the gradient of a fit is 0 along its constant, whose square is half of R^2.</summary>
    /// <remarks>With c^2 that square and lambda the penalty, the mean is (c^2 left + lambda x.w)/(c^2 + lambda), x the mean of the other features: the targets' mean as far as the penalty lets
    /// it, and with f = lambda/(c^2 + lambda) a share f of what the features say on average. That is taken to vary like the scores do, which the penalty shrinks by 1 - f.</remarks>
    /// <param name="parameters">The public numbers.</param>
    /// <param name="column">Column of targets, from 0.</param>
    /// <param name="parties">Passive parties, whose scores are added up.</param>
    /// <param name="left">Mean target of the released labels.</param>
    /// <param name="signal">Variance that is expected of the scores.</param>
    public static ScoreLevel Of(OneRoundParameters parameters, int column, int parties, double left, double signal)
    {
        double square = parameters.RowNorm * parameters.RowNorm / 2, penalty = parameters.L2(column), f = penalty / (square + penalty);
        return new ScoreLevel(parties * left * (1 - f), signal * f * f * (1 - f) * (1 - f));
    }

    /// <summary>What is known of scores that enter through the link log: their expected level in units of the label, and how much of a label's variance is in them as error.</summary>
    /// <remarks>With g the sums of squares along the main directions of a party's rows, which add up to n R^2 at most, its scores vary by sum (g/(g + n lambda))^2/n of the variance of a released
    /// label: R^2/(4 n lambda) at most, since (g/(g + a))^2 &lt;= g/(4 a). Half of that is the constant's, which the centre takes off, and rows are mostly shorter than R.
    /// What the centre leaves of the labels' mean, where it was held within their range, the constants fit as far as the penalty lets them.</remarks>
    /// <param name="parameters">The public numbers, of one column.</param>
    /// <param name="parties">Passive parties.</param>
    /// <param name="left">Mean target of the released labels.</param>
    public static (double Level, double ErrorShare) Entering(OneRoundParameters parameters, int parties, double left)
    {
        double penalty = parameters.L2(0) * parameters.Rows, constant = parameters.RowNorm * parameters.RowNorm * parameters.Rows / 2;
        return (parties * left * parameters.Columns[0].Scale * constant / (constant + penalty), parties * parameters.RowNorm * parameters.RowNorm / (16 * penalty));
    }
}

/// <summary>The active party's local fits: of its own features to the others' noisy scores, and of its own model beside them. Nothing of it is sent.</summary>
internal static class OneRoundRefit
{
    /// <summary>Penalty of the active party's own model, on all but its intercept.</summary>
    public const double Penalty = 1e-4;

    /// <summary>Of the variance of the labels, what the others' features are expected to explain.</summary>
    public const double ExplainedShare = .1;

    /// <summary>Penalty that only keeps a problem solvable.</summary>
    private const double LeastPenalty = 1e-8;

    private const int Folds = 3;
    private const double FitTolerance = 1e-8;

    /// <summary>Prior variances of m that cross-validation chooses from, as shares of the largest that clipped scores allow.</summary>
    private static readonly double[] Shares = [1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

    /// <summary>Posterior mean of the others' share: scores s = share + noise, share = m(x) + N(0, tau^2), m a ridge regression of s on the own features.</summary>
    /// <param name="part">Own rows.</param>
    /// <param name="scores">Sum of the noisy scores received, shape [n].</param>
    /// <param name="variance">Variance of their noise together.</param>
    /// <param name="largest">Largest variance that the share can have: ks^2 for each passive party, since |score| is at most ks.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static PosteriorShare Share(LinearPart part, double[] scores, double variance, double largest, CancellationToken cancellationToken) =>
        Share(part, scores, variance, BestPenalty(part, scores, variance, largest, cancellationToken), largest / 2, cancellationToken);

    /// <summary>The same with a known prior: m(x) has variance <paramref name="prior"/> on rows of length 1, and tau^2 is at most four times that.</summary>
    /// <param name="part">Own rows.</param>
    /// <param name="scores">Sum of the noisy scores received, shape [n].</param>
    /// <param name="variance">Variance of their noise together.</param>
    /// <param name="prior">Variance that is expected of the share. Above 0.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static PosteriorShare ShareOf(LinearPart part, double[] scores, double variance, double prior, CancellationToken cancellationToken) =>
        Share(part, scores, variance, Math.Max(variance / (scores.Length * prior), LeastPenalty), 4 * prior, cancellationToken);

    /// <summary>The same where the scores enter as they are, so that their level is not taken from the noisy ones: exact scores come in their place at prediction.</summary>
    /// <remarks>The mean of n noisy scores errs by the deviation of their noise over sqrt(n), which may be more than all that the scores say. Left in, the own fit beside them cancels it on the
    /// training rows, and predictions are off by it. So the ridge regression is one of centred scores with a free intercept, and the level is the posterior mean of <paramref name="level"/>.</remarks>
    /// <param name="part">Own rows.</param>
    /// <param name="scores">Sum of the noisy scores received, shape [n].</param>
    /// <param name="variance">Variance of their noise together.</param>
    /// <param name="level">What is known of their mean without noise.</param>
    /// <param name="share">Posterior mean of centred scores on rows with a free intercept.</param>
    public static PosteriorShare Around(LinearPart part, double[] scores, double variance, ScoreLevel level, Func<LinearPart, double[], PosteriorShare> share)
    {
        double received = TensorPrimitives.Sum<double>(scores) / scores.Length, known = level.Variance == 0 ? 0 : level.Variance / (level.Variance + variance / scores.Length);
        double[] centred = new double[scores.Length];
        TensorPrimitives.Subtract(scores, received, centred);
        PosteriorShare found = share(part.With(1, intercept: true), centred);
        TensorPrimitives.Add(found.Mean, level.Expected + known * (received - level.Expected), found.Mean);
        return found;
    }

    /// <summary>Mean square of the differences from the mean.</summary>
    public static double Variance(ReadOnlySpan<double> values)
    {
        double mean = TensorPrimitives.Sum(values) / values.Length, sum = 0;
        foreach (double value in values)
            sum += (value - mean) * (value - mean);
        return sum / values.Length;
    }

    /// <summary>Least squares of some values on the own features, with a penalty that only keeps the problem solvable.</summary>
    /// <param name="part">Own rows.</param>
    /// <param name="values">Values, shape [n].</param>
    /// <param name="cancellationToken">Stops.</param>
    public static NewtonResult Project(LinearPart part, double[] values, CancellationToken cancellationToken) => Ridge(part, values, LeastPenalty, null, 1e-6, cancellationToken);

    private static PosteriorShare Share(LinearPart part, double[] scores, double variance, double penalty, double most, CancellationToken cancellationToken)
    {
        double[] mean = Ridge(part, scores, penalty, null, 1e-6, cancellationToken).Scores;
        double signal = Math.Clamp(MeanSquare(scores, mean, 0, scores.Length) - variance, 0, most), rho = signal / (signal + variance);
        if (!(rho >= 0))
            rho = 0;                                                                                    // no signal and no noise
        for (int i = 0; i < mean.Length; i++)
            mean[i] = (1 - rho) * mean[i] + rho * scores[i];
        return new PosteriorShare(mean, signal * (1 - rho), signal);
    }

    /// <summary>Fits (1/sum u) sum u_i l(kappa (x_i.w + o_i), y_i) + (penalty/2)|w|^2, a free intercept among x but not under the penalty.</summary>
    /// <param name="part">Own rows.</param>
    /// <param name="family">Family.</param>
    /// <param name="labels">Canonical labels, shape [n].</param>
    /// <param name="offsets">Offsets o of each score, class-major, shape [K n]; null for zeros.</param>
    /// <param name="kappa">Attenuation of the linear predictor, by the uncertainty of the offsets; 1 for none.</param>
    /// <param name="weights">Sample weights u, at least 0 and not all 0, shape [n]; null for ones.</param>
    /// <param name="penalty">Penalty.</param>
    /// <param name="tolerance">Length of the gradient to stop at; null for that of <see cref="FeaturelessModel.Tolerance"/>.</param>
    /// <param name="relative">Where it is null: the length, times the mean residual of the model without features.</param>
    /// <param name="iterations">Largest number of Newton steps.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Where the fit ended. It is used in any case: a party that gave up would tell its peers something of its rows.</returns>
    public static NewtonResult Fit(LinearPart part, IGlmFamily family, double[] labels, double[]? offsets, double kappa, double[]? weights = null,
        double penalty = Penalty, double? tolerance = null, double relative = FitTolerance, int iterations = NewtonSolver.LargestIterations, CancellationToken cancellationToken = default)
    {
        double[] z = new double[part.Rows * part.Outputs];
        var targets = new GlmTargets(labels, weights);
        double scale = weights is null ? 1 : part.Rows / TensorPrimitives.Sum<double>(weights);
        void Loss(ReadOnlySpan<double> a, Span<double> first, Span<double> second)
        {
            if (offsets is null)
                a.CopyTo(z);
            else
                TensorPrimitives.Add(a, offsets, z);
            TensorPrimitives.Multiply(z, kappa, z);
            family.Residuals(z, labels, first);
            TensorPrimitives.Multiply(first, kappa * scale, first);
            targets.Weigh(0, part.Rows, first);
            if (part.Outputs > 1)
            {
                z.CopyTo(second);
                return;
            }

            family.Curvatures(z, labels, second);
            Finish(second);
        }

        void Times(ReadOnlySpan<double> second, ReadOnlySpan<double> vectors, Span<double> products)
        {
            family.CurvatureTimes(second, labels, vectors, products);
            Finish(products);
        }

        void Finish(Span<double> values)
        {
            TensorPrimitives.Multiply(values, kappa * kappa * scale, values);
            targets.Weigh(0, part.Rows, values);
        }

        // The gradient at 0 does not say what is short: with a link log and exposures in small units it is astronomical.
        double[]? start = null;
        if (tolerance is null)
        {
            FeaturelessModel model = FeaturelessModel.Near(family, targets with { Offsets = offsets }, kappa);
            tolerance = model.Tolerance(relative);
            if (part.FreeIntercept)
                start = [.. new double[part.Penalised], .. model.Constants];
        }

        return NewtonSolver.Minimise(part, penalty, Loss, tolerance.Value, iterations: iterations, times: part.Outputs > 1 ? Times : null, start: start, cancellationToken: cancellationToken);
    }

    /// <summary>kappa = 1/sqrt(1 + pi variance/8): the mean of a sigmoid over a normal offset is nearly a sigmoid of the shrunk mean (MacKay 1992).</summary>
    public static double Attenuation(double variance) => 1 / Math.Sqrt(1 + Math.PI * variance / 8);

    private static double BestPenalty(LinearPart part, double[] scores, double variance, double largest, CancellationToken cancellationToken)
    {
        int n = scores.Length;
        double best = 0, least = double.PositiveInfinity;
        double[] used = new double[n];
        foreach (double share in Shares)
        {
            // Coefficients of prior variance v give x.b that variance on rows of length 1, and the penalty noise/(n v).
            double penalty = Math.Max(variance / (n * share * largest), LeastPenalty), error = 0;
            if (n < 2 * Folds)
                return penalty;
            for (int fold = 0; fold < Folds; fold++)
            {
                // Rows are in the order of the digests of their ids: a run of them is a random sample.
                int start = (int)((long)n * fold / Folds), end = (int)((long)n * (fold + 1) / Folds);
                used.AsSpan().Fill(1);
                used.AsSpan(start, end - start).Clear();
                error += MeanSquare(scores, Ridge(part, scores, penalty, used, 1e-3, cancellationToken).Scores, start, end) * (end - start);
            }

            if (error < least)
                (best, least) = (penalty, error);
        }

        return best;
    }

    private static NewtonResult Ridge(LinearPart part, double[] targets, double penalty, double[]? used, double relative, CancellationToken cancellationToken) =>
        NewtonSolver.Minimise(part, penalty, (a, first, second) =>
        {
            TensorPrimitives.Subtract(a, targets, first);
            if (used is null)
            {
                second.Fill(1);
                return;
            }

            TensorPrimitives.Multiply(first, used, first);
            used.CopyTo(second);
        }, 0, relative, cancellationToken: cancellationToken);

    private static double MeanSquare(double[] values, double[] means, int start, int end)
    {
        double sum = 0;
        for (int i = start; i < end; i++)
            sum += (values[i] - means[i]) * (values[i] - means[i]);
        return sum / Math.Max(1, end - start);
    }
}
