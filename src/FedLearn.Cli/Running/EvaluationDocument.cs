using System.Text.Json.Nodes;
using FedLearn.Evaluation;
using static FedLearn.Cli.Running.ReportParts;

namespace FedLearn.Cli.Running;

/// <summary>Intervals, curves and tables of an evaluation as the report has them.</summary>
internal static class EvaluationDocument
{
    /// <summary>[low, high] of each figure, under the figure's key; null where there are none.</summary>
    public static JsonObject? Intervals(ModelEvaluation? evaluation)
    {
        if (evaluation?.Intervals is not { } intervals)
            return null;
        var high = intervals.High.Named().ToDictionary(m => m.Key, m => m.Value);
        return new JsonObject(intervals.Low.Named().Select(low => KeyValuePair.Create(low.Key, (JsonNode?)Interval(low.Value, high[low.Key]))));
    }

    /// <summary>Curves and tables on training and test rows; null where neither was evaluated.</summary>
    public static JsonObject? Of(ModelEvaluation? train, ModelEvaluation? test) => (test ?? train) is not { } either ? null : new JsonObject
    {
        ["level"] = either.Level,
        ["resamples"] = either.Resamples,
        ["seed"] = either.Seed,
        ["train"] = Of(train),
        ["test"] = Of(test),
    };

    private static JsonObject? Of(ModelEvaluation? evaluation) => evaluation is null ? null : new JsonObject
    {
        ["threshold"] = evaluation.Threshold,
        ["roc"] = evaluation.Roc is { } roc
            ? new JsonObject { ["falsePositiveRate"] = Numbers(roc.FalsePositiveRate), ["truePositiveRate"] = Numbers(roc.TruePositiveRate) } : null,
        ["precisionRecall"] = evaluation.PrecisionRecall is { } curve
            ? new JsonObject { ["recall"] = Numbers(curve.Recall), ["precision"] = Numbers(curve.Precision) } : null,
        ["calibration"] = evaluation.Calibration is { } calibration
            ? new JsonObject { ["predicted"] = Numbers(calibration.Predicted), ["observed"] = Numbers(calibration.Observed), ["rows"] = new JsonArray([.. calibration.Rows.Select(r => (JsonNode)r)]) } : null,
        ["lift"] = evaluation.Lift is { } lift
            ? new JsonObject { ["share"] = Numbers(lift.Share), ["lift"] = Numbers(lift.Lift), ["gain"] = Numbers(lift.Gain) } : null,
        ["confusion"] = evaluation.Confusion is { } confusion ? new JsonObject
        {
            ["classes"] = new JsonArray([.. confusion.Classes.Select(c => (JsonNode)c)]),
            ["counts"] = new JsonArray([.. confusion.Counts.Select(row => (JsonNode)new JsonArray([.. row.Select(c => (JsonNode)c)]))]),
        } : null,
        ["perClass"] = evaluation.PerClass is { } classes ? new JsonArray([.. classes.Select(c => (JsonNode)new JsonObject
        {
            ["class"] = c.Class,
            ["rows"] = c.Rows,
            ["precision"] = Finite(c.Precision),
            ["recall"] = Finite(c.Recall),
            ["f1"] = Finite(c.F1),
            ["auc"] = Finite(c.Auc),
        })]) : null,
    };

    // JSON has neither NaN nor infinity.
    private static JsonArray Numbers(IEnumerable<double> values) => new([.. values.Select(v => double.IsFinite(v) ? (JsonNode)v : null)]);
}
