using System.Globalization;

namespace FedLearn.Evaluation;

/// <summary>A model that ranks too well to be true, which is most often a column that repeats the label or is known only after it.</summary>
internal static class PerfectRanking
{
    // High, since it is a warning about models that may be right; and of a few rows a perfect order may be luck.
    private const double Suspect = 0.9995;
    private const int FewRows = 100;

    /// <summary>Asks where nearly every pair of rows is in the right order; nothing elsewhere.</summary>
    /// <param name="metrics">Figures of the rows; null where they were not measured.</param>
    /// <param name="rows">How many there are.</param>
    /// <param name="what">Which rows, such as test.</param>
    internal static IEnumerable<string> Warnings(MetricSet? metrics, int rows, string what)
    {
        if (metrics?.Auc >= Suspect && rows >= FewRows)
            yield return string.Create(CultureInfo.InvariantCulture,
                $"the model orders the {rows:N0} {what} rows almost without a mistake (AUC {metrics.Auc:0.0000}): where that is too good to be true, a column repeats the label or is known only after it; leave it out of the file or the schema{(what == "training" ? ". Where the parties have about as many columns together as there are training rows, any labels can be ordered so, and test rows tell more" : "")}");
    }
}
