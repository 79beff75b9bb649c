using FedLearn.Evaluation;

namespace FedLearn.Tests.Evaluation;

/// <summary>Figures straight from their definitions, one threshold or pair of rows at a time.</summary>
internal static class SlowMetrics
{
    /// <summary>Tp, fp, tn, fn at every distinct threshold from the highest down: predicted positive at or above it.</summary>
    public static List<(double Tp, double Fp, double Tn, double Fn)> Thresholds(double[] scores, double[] labels) =>
        [.. scores.Distinct().OrderDescending().Select(t => Cells(scores.Select(z => z >= t), labels))];

    public static (double Tp, double Fp, double Tn, double Fn) Cells(IEnumerable<bool> predicted, double[] labels)
    {
        (double tp, double fp, double tn, double fn) = (0, 0, 0, 0);
        foreach ((bool one, double label) in predicted.Zip(labels))
            (tp, fp, tn, fn) = (one, label > 0) switch { (true, true) => (tp + 1, fp, tn, fn), (true, false) => (tp, fp + 1, tn, fn), (false, true) => (tp, fp, tn, fn + 1), _ => (tp, fp, tn + 1, fn) };
        return (tp, fp, tn, fn);
    }

    public static double? Ks(double[] scores, double[] labels) =>
        labels.Distinct().Count() < 2 ? null : Math.Max(0, Thresholds(scores, labels).Max(c => (c.Tp / (c.Tp + c.Fn)) - (c.Fp / (c.Fp + c.Tn))));

    public static double? PrAuc(double[] scores, double[] labels)
    {
        if (!labels.Contains(1))
            return null;
        double area = 0, recall = 0;
        foreach ((double tp, double fp, double _, double fn) in Thresholds(scores, labels))
            (area, recall) = (area + (((tp / (tp + fn)) - recall) * tp / (tp + fp)), tp / (tp + fn));
        return area;
    }

    public static double? Auc(double[] scores, double[] labels)
    {
        var won = from i in Enumerable.Range(0, scores.Length)
                  from j in Enumerable.Range(0, scores.Length)
                  where labels[i] > 0 && labels[j] <= 0
                  select scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
        return won.Any() ? won.Average() : null;
    }

    public static MetricSet Binary(double[] scores, double[] labels, double threshold)
    {
        if (labels.Length == 0)
            return new();
        double[] p = [.. scores.Select(z => 1 / (1 + Math.Exp(-z)))];
        (double tp, double fp, double tn, double fn) = Cells(p.Select(q => q > threshold), labels);
        double loss = p.Zip(labels, (q, y) => y > 0 ? -Math.Log(q) : -Math.Log(1 - q)).Average(), share = labels.Average();
        return new()
        {
            Auc = Auc(scores, labels),
            Accuracy = (tp + tn) / labels.Length,
            LogLoss = loss,
            Ks = Ks(scores, labels),
            PrAuc = PrAuc(scores, labels),
            Brier = p.Zip(labels, (q, y) => Math.Pow(q - y, 2)).Average(),
            Precision = Ratio(tp, tp + fp),
            Recall = Ratio(tp, tp + fn),
            F1 = Ratio(2 * tp, (2 * tp) + fp + fn),
            Deviance = 2 * loss,
            D2 = share is 0 or 1 ? null : 1 - (loss / -((share * Math.Log(share)) + ((1 - share) * Math.Log(1 - share)))),
        };
    }

    /// <summary>Probabilities p[m][i] of class m in row i.</summary>
    public static MetricSet Classes(double[][] p, double[] labels)
    {
        if (labels.Length == 0)
            return new();
        int[] rows = [.. Enumerable.Range(0, labels.Length)], classes = [.. Enumerable.Range(0, p.Length)];
        double[] predicted = [.. rows.Select(i => (double)classes.MaxBy(m => p[m][i]))];
        double loss = rows.Average(i => -Math.Log(p[(int)labels[i]][i]));
        double[][] of = [.. classes.Select(m => labels.Select(y => y == m ? 1.0 : 0).ToArray())];
        var cells = classes.Where(m => labels.Concat(predicted).Contains(m)).Select(m => Cells(predicted.Select(q => q == m), of[m])).ToArray();
        double entropy = -classes.Select(m => of[m].Average()).Where(share => share > 0).Sum(share => share * Math.Log(share));
        return new()
        {
            Auc = classes.Select(m => Auc(p[m], of[m])).Average(),                  // of those that are not null; null without one
            Accuracy = rows.Average(i => predicted[i] == labels[i] ? 1.0 : 0),
            LogLoss = loss,
            Brier = rows.Average(i => classes.Sum(m => Math.Pow(p[m][i] - of[m][i], 2))),
            Precision = cells.Average(c => Ratio(c.Tp, c.Tp + c.Fp) ?? 0),
            Recall = cells.Average(c => Ratio(c.Tp, c.Tp + c.Fn) ?? 0),
            F1 = cells.Average(c => Ratio(2 * c.Tp, (2 * c.Tp) + c.Fp + c.Fn) ?? 0),
            Deviance = 2 * loss,
            D2 = labels.Distinct().Count() < 2 ? null : 1 - (loss / entropy),
        };
    }

    public static MetricSet Regression(double[] means, double[] labels, Func<double, double, double> unitDeviance)
    {
        if (labels.Length == 0)
            return new();
        double[] errors = [.. means.Zip(labels, (mu, y) => y - mu)];
        double mean = labels.Average(), squares = errors.Average(e => e * e), deviance = means.Zip(labels, unitDeviance).Average();
        bool equal = labels.Distinct().Count() < 2;
        return new()
        {
            Rmse = Math.Sqrt(squares),
            Mae = errors.Average(Math.Abs),
            R2 = equal ? null : 1 - (squares / labels.Average(y => (y - mean) * (y - mean))),
            Deviance = deviance,
            D2 = equal ? null : 1 - (deviance / labels.Average(y => unitDeviance(mean, y))),
        };
    }

    /// <summary>Unit deviance of a Tweedie distribution of a power; 0 Gaussian, 1 Poisson, 2 Gamma.</summary>
    public static double Tweedie(double power, double mean, double label) => power switch
    {
        0 => (label - mean) * (label - mean),
        1 => 2 * ((label == 0 ? 0 : label * Math.Log(label / mean)) - (label - mean)),
        2 => 2 * (Math.Log(mean / label) + (label / mean) - 1),
        _ => 2 * ((Math.Pow(Math.Max(label, 0), 2 - power) / ((1 - power) * (2 - power))) - (label * Math.Pow(mean, 1 - power) / (1 - power)) + (Math.Pow(mean, 2 - power) / (2 - power))),
    };

    public static DevianceSum TweedieSum(double power) => (means, labels) =>
    {
        double sum = 0;
        for (int i = 0; i < means.Length; i++)
            sum += Tweedie(power, means[i], labels[i]);
        return sum;
    };

    private static double? Ratio(double part, double whole) => whole == 0 ? null : part / whole;
}
