namespace FedLearn.Evaluation;

/// <summary>Percentile intervals of the figures of a <see cref="MetricSet"/>; null in both where a figure has none.</summary>
/// <param name="Low">Lower ends.</param>
/// <param name="High">Upper ends.</param>
public sealed record MetricIntervals(MetricSet Low, MetricSet High);

/// <summary>ROC curve from (0, 0) to (1, 1), thresholds falling; at most 200 points, the ends among them.</summary>
/// <param name="FalsePositiveRate">Share of the negative rows above the threshold.</param>
/// <param name="TruePositiveRate">Share of the positive rows above the threshold.</param>
public sealed record RocCurve(double[] FalsePositiveRate, double[] TruePositiveRate);

/// <summary>Precision over recall, thresholds falling, as a step curve: a precision holds for the recalls up to its own. It begins at recall 0
/// with the precision of the highest score and ends with all rows; at most 200 points, the ends among them.</summary>
/// <param name="Recall">Share of the positive rows above the threshold.</param>
/// <param name="Precision">Share of positive rows among those above the threshold.</param>
public sealed record PrecisionRecallCurve(double[] Recall, double[] Precision);

/// <summary>Predicted against observed means in at most ten bins of about equal count, predictions rising. Rows of one score stay together, in the
/// bin of their middle.</summary>
/// <param name="Predicted">Mean of the predicted means of a bin.</param>
/// <param name="Observed">Mean of its labels; for two classes the share of label 1.</param>
/// <param name="Rows">Its number of rows, at least 1.</param>
public sealed record CalibrationTable(double[] Predicted, double[] Observed, int[] Rows);

/// <summary>What the rows with the highest scores hold of the labels; rows of one score count as if in random order.</summary>
/// <param name="Share">Shares of the rows, 0.1 to 1.</param>
/// <param name="Lift">Gain over share: 1 for a model that knows nothing.</param>
/// <param name="Gain">Share of the positive rows among them, or of the sum of the labels.</param>
public sealed record LiftTable(double[] Share, double[] Lift, double[] Gain);

/// <summary>Rows by class.</summary>
/// <param name="Classes">Names of the classes: 0, 1 and so on.</param>
/// <param name="Counts">Rows of a true class (first index) predicted as a class (second index).</param>
public sealed record ConfusionMatrix(string[] Classes, int[][] Counts);

/// <summary>Figures of one class against the rest. Null: not defined, as in <see cref="MetricSet"/>.</summary>
/// <param name="Class">Its name.</param>
/// <param name="Rows">Rows of it.</param>
/// <param name="Precision">Share of the rows predicted as the class that are of it.</param>
/// <param name="Recall">Share of its rows that are predicted.</param>
/// <param name="F1">Harmonic mean of the two.</param>
/// <param name="Auc">Chance that a row of it has a higher probability of it than another row.</param>
public sealed record PerClassFigures(string Class, int Rows, double? Precision, double? Recall, double? F1, double? Auc);
