using System.Globalization;
using FedLearn.Numerics;

namespace FedLearn.Evaluation;

/// <summary>Everything a report says of a model on labelled rows: figures, their intervals, curves and tables.</summary>
/// <remarks>
/// <para>An interval is the percentile interval of the figure over resamples of the rows, of Ks the basic one, 2 Ks less the percentiles, within 0 and 1; it says how the figure varies with the rows measured, not
/// with those trained on. On training rows it is still too favourable. Null: the figure is not finite, or not defined in a tenth of the
/// resamples, as when one row alone is of a class.</para>
/// <para>With a NaN among scores, means or labels, or an infinity among those of a regression, there are figures (NaN, infinite or null) but no
/// intervals, curves or tables; without rows nothing.</para>
/// </remarks>
public sealed record ModelEvaluation
{
    private const int MostPoints = 200;

    /// <summary>Figures on the rows.</summary>
    public required MetricSet Metrics { get; init; }

    /// <summary>Their intervals; null when none were asked for.</summary>
    public MetricIntervals? Intervals { get; init; }

    /// <summary>Resamples drawn for the intervals; 0 without.</summary>
    public int Resamples { get; init; }

    /// <summary>Level of the intervals.</summary>
    public double Level { get; init; }

    /// <summary>Seed of the resamples.</summary>
    public long Seed { get; init; }

    /// <summary>Probability above which a row is predicted positive; null but for two classes.</summary>
    public double? Threshold { get; init; }

    /// <summary>Whether the intervals were stopped.</summary>
    internal bool Stopped { get; init; }

    /// <summary>Rows whose predicted mean, or its square, is beyond the range of a number.</summary>
    internal int Beyond { get; init; }

    /// <summary>ROC curve; null but for two classes that both occur.</summary>
    public RocCurve? Roc { get; init; }

    /// <summary>Precision over recall; null but for two classes that both occur.</summary>
    public PrecisionRecallCurve? PrecisionRecall { get; init; }

    /// <summary>Predicted against observed means; null for more than two classes.</summary>
    public CalibrationTable? Calibration { get; init; }

    /// <summary>What the highest scores hold; null for more than two classes, and where the labels have no positive sum.</summary>
    public LiftTable? Lift { get; init; }

    /// <summary>Rows by true and predicted class; null for a regression.</summary>
    public ConfusionMatrix? Confusion { get; init; }

    /// <summary>Figures of each class; null for a regression.</summary>
    public IReadOnlyList<PerClassFigures>? PerClass { get; init; }

    /// <summary>Evaluates probabilities of two classes.</summary>
    /// <param name="probabilities">Probabilities of label 1, 0 to 1, shape [n].</param>
    /// <param name="labels">0 or 1, shape [n].</param>
    /// <param name="options">Threshold and resamples; null: the defaults.</param>
    /// <exception cref="ArgumentException">The lengths differ, or a probability is below 0 or above 1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    public static ModelEvaluation Binary(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, EvaluationOptions? options = null)
    {
        RequireProbabilities(probabilities);
        double[] scores = new double[probabilities.Length];
        for (int i = 0; i < scores.Length; i++)
            scores[i] = BinaryRows.Cut(probabilities[i]);
        return Binary(scores, probabilities, labels, options);
    }

    /// <summary>Evaluates a logistic model by its log odds, which keep the digits that a probability near 0 or 1 loses: ranks, log-loss and
    /// predicted classes come from them, Brier score and calibration from the probabilities.</summary>
    /// <param name="scores">Log odds of label 1, shape [n].</param>
    /// <param name="probabilities">The probabilities of these log odds, shape [n].</param>
    /// <param name="labels">0 or 1, shape [n].</param>
    /// <param name="options">Threshold and resamples; null: the defaults.</param>
    /// <exception cref="ArgumentException">The lengths differ, or a probability is below 0 or above 1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    public static ModelEvaluation Binary(ReadOnlySpan<double> scores, ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, EvaluationOptions? options)
    {
        RequireProbabilities(probabilities);
        return Binary(scores, probabilities, labels, options, null, default);
    }

    /// <summary>The same, compared with a model without features of its own. The token leaves intervals out.</summary>
    internal static ModelEvaluation Binary(ReadOnlySpan<double> scores, ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, EvaluationOptions? options, NullModel? none, CancellationToken cancellationToken)
    {
        options = (options ?? new()).Checked();
        double cut = BinaryRows.Cut(options.Threshold);
        Ranking? ranking = BinaryRows.Rank(scores, probabilities, labels);
        MetricSet metrics = BinaryRows.Figures(ranking, scores, probabilities, labels, cut, none);
        ModelEvaluation bare = Bare(metrics, options) with { Threshold = options.Threshold };
        if (labels.IsEmpty || ranking is null || Evaluation.Metrics.HasNaN(probabilities) || Evaluation.Metrics.HasNaN(labels))
            return bare;
        var rows = new BinaryRows(ranking, scores, probabilities, labels, cut, none);
        var confusion = new Confusion(BinaryRows.Cells(scores, labels, cut), 2);
        var curves = rows.Curves(MostPoints);
        return bare.WithIntervals(labels.Length, 1, options, rows.Weigh, cancellationToken) with
        {
            Roc = curves?.Roc,
            PrecisionRecall = curves?.PrecisionRecall,
            Calibration = Deciles.Calibration(ranking, probabilities, labels),
            Lift = Deciles.Lift(ranking, labels),
            Confusion = confusion.ToMatrix(),
            PerClass = confusion.PerClass([metrics.Auc, metrics.Auc]),
        };
    }

    /// <summary>Evaluates probabilities of several classes.</summary>
    /// <param name="probabilities">Class-major: class m of row i at [m n + i]; shape [M n].</param>
    /// <param name="labels">Whole numbers 0 to M - 1, shape [n].</param>
    /// <param name="classes">Number of classes M, at least 2.</param>
    /// <param name="options">Resamples; null: the defaults. The threshold has no effect.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, a label is no class, or a probability is below 0 or above 1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option or the number of classes is outside its range.</exception>
    public static ModelEvaluation Classes(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, int classes, EvaluationOptions? options = null)
    {
        RequireProbabilities(probabilities);
        return Classes(probabilities, labels, classes, options, null, default);
    }

    /// <summary>The same, with the negative log-likelihoods of the labels. The token leaves intervals out.</summary>
    internal static ModelEvaluation Classes(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, int classes, EvaluationOptions? options, double[]? losses, CancellationToken cancellationToken)
    {
        options = (options ?? new()).Checked();
        var rows = new ClassRows(probabilities, labels, classes, losses);
        ModelEvaluation bare = Bare(rows.Figures(), options);
        if (labels.IsEmpty || !rows.Defined)
            return bare;
        (ConfusionMatrix confusion, PerClassFigures[] perClass) = rows.Tables();
        return bare.WithIntervals(labels.Length, classes, options, rows.Weigh, cancellationToken) with { Confusion = confusion, PerClass = perClass };
    }

    /// <summary>Evaluates predicted means.</summary>
    /// <param name="means">Predicted means, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <param name="deviance">Sum of the unit deviances of the family, thread-safe. The interval of D2 is given where it is that of an exponential
    /// dispersion model: sum d(y, m) = sum d(y, mean of y) + n d(mean of y, m), which is checked on the labels.</param>
    /// <param name="options">Resamples; null: the defaults. The threshold has no effect.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    public static ModelEvaluation Regression(ReadOnlySpan<double> means, ReadOnlySpan<double> labels, DevianceSum deviance, EvaluationOptions? options = null) => Regression(means, labels, deviance, options, null, default);

    /// <summary>The same, compared with a model without features of its own. The token leaves intervals out.</summary>
    internal static ModelEvaluation Regression(ReadOnlySpan<double> means, ReadOnlySpan<double> labels, DevianceSum deviance, EvaluationOptions? options, NullModel? none, CancellationToken cancellationToken)
    {
        options = (options ?? new()).Checked();
        ModelEvaluation bare = Bare(MetricSet.ForRegression(means, labels, deviance, none), options) with { Beyond = CountBeyond(means) };
        if (labels.IsEmpty || !VectorKernels.AllFinite(means) || !VectorKernels.AllFinite(labels))
            return bare;
        var rows = new RegressionRows(means, labels, deviance, none);
        Ranking ranking = Ranking.Of(means, labels)!;
        return bare.WithIntervals(labels.Length, 1, options, rows.Weigh, cancellationToken) with
        {
            Calibration = Deciles.Calibration(ranking, means, labels),
            Lift = Deciles.Lift(ranking, labels),
        };
    }

    /// <summary>What whoever reads the figures should know of those that are infinite, and so in no report.</summary>
    /// <param name="set">Which rows: training or test.</param>
    internal IEnumerable<string> Warnings(string set)
    {
        if (Stopped)
            yield return $"intervals of the figures of the {set} rows are missing: the run was stopped while they were made";
        string[] infinite = [.. Metrics.Named().Where(figure => figure.Value is { } value && !double.IsFinite(value)).Select(figure => figure.Key)];
        if (infinite.Length > 0)
            yield return string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", infinite)} of the {set} rows {(infinite.Length == 1 ? "is" : "are")} infinite, and missing here{(Beyond == 0 ? "" : $": {Beyond:N0} row{(Beyond == 1 ? " has" : "s have")} a prediction that, or whose square, is beyond the range of a number")}; look for cells of these rows that are far from the others");
    }

    // NaN passes: the figures of such rows are undefined, and say so themselves.
    private static void RequireProbabilities(ReadOnlySpan<double> probabilities)
    {
        foreach (double p in probabilities)
            if (p is < 0 or > 1)
                throw new ArgumentException("A probability is below 0 or above 1.", nameof(probabilities));
    }

    private static int CountBeyond(ReadOnlySpan<double> means)
    {
        int count = 0;
        foreach (double mean in means)
            count += double.IsInfinity(mean * mean) ? 1 : 0;
        return count;
    }

    private static ModelEvaluation Bare(MetricSet metrics, EvaluationOptions options) => new() { Metrics = metrics, Level = options.Level, Seed = options.Seed };

    private ModelEvaluation WithIntervals(int rows, int outputs, EvaluationOptions options, Bootstrap.Measure measure, CancellationToken cancellationToken)
    {
        int resamples = Bootstrap.Resamples(options.Resamples, (long)rows * outputs);
        if (resamples == 0)
            return this;
        try
        {
            return this with { Resamples = resamples, Intervals = Bootstrap.Intervals(rows, resamples, options, Metrics, measure, cancellationToken) };
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The figures of a training that has ended cannot be made again, so they are kept without their intervals.
            return this with { Stopped = true };
        }
    }
}
