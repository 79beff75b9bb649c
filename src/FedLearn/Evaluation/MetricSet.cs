namespace FedLearn.Evaluation;

/// <summary>Figures of a model on labelled rows, each row counting once. Null: not defined for the family or for these labels.</summary>
/// <remarks>For more than two classes: Auc is the unweighted mean of one class against the rest, over the classes that occur and are not alone;
/// Brier sums over the classes; Precision, Recall and F1 are unweighted means over the classes that occur as label or as prediction, where a
/// class without its figure counts 0.</remarks>
public sealed record MetricSet
{
    /// <summary>Area under the ROC curve, 0 to 1; ties count half.</summary>
    public double? Auc { get; init; }

    /// <summary>Share of rows whose class is predicted, 0 to 1; the threshold is probability 0.5 unless another was asked for.</summary>
    public double? Accuracy { get; init; }

    /// <summary>Mean negative log-likelihood of a class label, in nats.</summary>
    public double? LogLoss { get; init; }

    /// <summary>Kolmogorov-Smirnov statistic, 0 to 1: the largest true positive rate less false positive rate. Two classes only.</summary>
    public double? Ks { get; init; }

    /// <summary>Average precision, 0 to 1: the area under the step curve of precision over recall. Two classes only.</summary>
    public double? PrAuc { get; init; }

    /// <summary>Mean squared error of the probabilities: 0 to 1 for two classes, 0 to 2 summed over more.</summary>
    public double? Brier { get; init; }

    /// <summary>Share of the rows predicted positive that are, 0 to 1; null when none is predicted positive.</summary>
    public double? Precision { get; init; }

    /// <summary>Share of the positive rows that are predicted, 0 to 1; null without a positive row.</summary>
    public double? Recall { get; init; }

    /// <summary>Harmonic mean of precision and recall, 2 tp/(2 tp + fp + fn), 0 to 1; null when no row is or is predicted positive.</summary>
    public double? F1 { get; init; }

    /// <summary>Root of the mean squared error of the predicted mean, in units of the label.</summary>
    public double? Rmse { get; init; }

    /// <summary>Mean absolute error of the predicted mean, in units of the label.</summary>
    public double? Mae { get; init; }

    /// <summary>1 less squared error over that of the mean label; of a model with offsets, over that of an intercept beside the offsets. At most 1.</summary>
    public double? R2 { get; init; }

    /// <summary>Mean unit deviance of a row.</summary>
    public double? Deviance { get; init; }

    /// <summary>1 less deviance over that of the mean label (of the class shares); of a model with offsets, over that of an intercept beside the offsets. At most 1. Null when all labels are equal.</summary>
    public double? D2 { get; init; }

    /// <summary>Figures of a logistic model at threshold 0.5.</summary>
    /// <param name="scores">Linear predictors z = log odds, shape [n].</param>
    /// <param name="labels">0 or 1, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static MetricSet ForBinomial(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) => ForBinomial(scores, BinaryRows.Means(scores), labels);

    /// <summary>The same, with the probabilities of the log odds.</summary>
    internal static MetricSet ForBinomial(ReadOnlySpan<double> scores, ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, NullModel? none = null) =>
        BinaryRows.Figures(BinaryRows.Rank(scores, probabilities, labels), scores, probabilities, labels, BinaryRows.Cut(0.5), none);

    /// <summary>Figures of a model of more than two classes.</summary>
    /// <param name="probabilities">Class-major: class m of row i at [m n + i]; shape [M n].</param>
    /// <param name="labels">Whole numbers 0 to M - 1, shape [n].</param>
    /// <param name="classes">Number of classes M, at least 2.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, or a label is no class.</exception>
    public static MetricSet ForClasses(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, int classes) => ForClasses(probabilities, labels, classes, null);

    /// <summary>The same, with the negative log-likelihoods of the labels.</summary>
    internal static MetricSet ForClasses(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, int classes, double[]? losses) =>
        new ClassRows(probabilities, labels, classes, losses).Figures();

    /// <summary>Figures of a linear model.</summary>
    /// <param name="scores">Predicted means z, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static MetricSet ForGaussian(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels) =>
        ForRegression(scores, labels, (means, y) => Metrics.GaussianDeviance(means, y) * y.Length);

    /// <summary>Figures of a Poisson model with logarithmic link, as of predictions of another tool beside which a job's are put.</summary>
    /// <param name="scores">Linear predictors z, shape [n]; the predicted means are exp z.</param>
    /// <param name="labels">Counts, at least 0, shape [n].</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static MetricSet ForPoisson(ReadOnlySpan<double> scores, ReadOnlySpan<double> labels)
    {
        double[] means = new double[scores.Length];
        for (int i = 0; i < means.Length; i++)
            means[i] = Math.Exp(scores[i]);
        return ForRegression(means, labels, (mu, y) => Metrics.PoissonDeviance(mu, y) * y.Length);
    }

    /// <summary>Figures of a model of a mean.</summary>
    /// <param name="means">Predicted means, shape [n].</param>
    /// <param name="labels">Labels, shape [n].</param>
    /// <param name="deviance">Sum of the unit deviances of the family.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static MetricSet ForRegression(ReadOnlySpan<double> means, ReadOnlySpan<double> labels, DevianceSum deviance) => ForRegression(means, labels, deviance, null);

    /// <summary>The same, compared with a model without features of its own.</summary>
    internal static MetricSet ForRegression(ReadOnlySpan<double> means, ReadOnlySpan<double> labels, DevianceSum deviance, NullModel? none)
    {
        ArgumentNullException.ThrowIfNull(deviance);
        Metrics.RequireEqualLengths(means, labels);
        if (labels.IsEmpty)
            return new();
        double sum = deviance(means, labels);
        double? r2 = Metrics.R2(means, labels), d2 = r2 is null || none is not null ? null : 1 - (sum / RegressionRows.NullDeviance(labels, deviance));    // both undefined when all labels are equal
        if (none is not null && r2 is not null)
        {
            (double nullDeviance, double squares) = none.Sums([], labels);
            (r2, d2) = (NullModel.Explained(Metrics.GaussianDeviance(means, labels) * labels.Length, squares), NullModel.Explained(sum, nullDeviance));
        }

        return new()
        {
            Rmse = Metrics.Rmse(means, labels),
            Mae = Metrics.Mae(means, labels),
            R2 = r2,
            Deviance = sum / labels.Length,
            D2 = d2,
        };
    }

    /// <summary>Every figure under its name in reports (auc, accuracy, logLoss, ks, ...), always all of them and in the same order.</summary>
    public IReadOnlyList<KeyValuePair<string, double?>> Named() =>
    [
        new("auc", Auc), new("accuracy", Accuracy), new("logLoss", LogLoss), new("ks", Ks), new("prAuc", PrAuc), new("brier", Brier),
        new("precision", Precision), new("recall", Recall), new("f1", F1), new("rmse", Rmse), new("mae", Mae), new("r2", R2),
        new("deviance", Deviance), new("d2", D2),
    ];

    /// <summary>The set of figures in the order of <see cref="Figure"/>; NaN becomes null.</summary>
    internal static MetricSet From(ReadOnlySpan<double> figures) => new()
    {
        Auc = Metrics.Defined(figures[Figure.Auc]),
        Accuracy = Metrics.Defined(figures[Figure.Accuracy]),
        LogLoss = Metrics.Defined(figures[Figure.LogLoss]),
        Ks = Metrics.Defined(figures[Figure.Ks]),
        PrAuc = Metrics.Defined(figures[Figure.PrAuc]),
        Brier = Metrics.Defined(figures[Figure.Brier]),
        Precision = Metrics.Defined(figures[Figure.Precision]),
        Recall = Metrics.Defined(figures[Figure.Recall]),
        F1 = Metrics.Defined(figures[Figure.F1]),
        Rmse = Metrics.Defined(figures[Figure.Rmse]),
        Mae = Metrics.Defined(figures[Figure.Mae]),
        R2 = Metrics.Defined(figures[Figure.R2]),
        Deviance = Metrics.Defined(figures[Figure.Deviance]),
        D2 = Metrics.Defined(figures[Figure.D2]),
    };
}

/// <summary>Sum of the unit deviances d(y, mu) of rows. Called from several threads, with any number of rows from 1.</summary>
/// <param name="means">Means mu, shape [n].</param>
/// <param name="labels">Labels y, shape [n]; means of labels as well.</param>
public delegate double DevianceSum(ReadOnlySpan<double> means, ReadOnlySpan<double> labels);

/// <summary>Places of the figures in an array of them, in the order of <see cref="MetricSet.Named"/>.</summary>
internal static class Figure
{
    public const int Auc = 0, Accuracy = 1, LogLoss = 2, Ks = 3, PrAuc = 4, Brier = 5, Precision = 6, Recall = 7, F1 = 8, Rmse = 9, Mae = 10,
        R2 = 11, Deviance = 12, D2 = 13, Count = 14;
}
