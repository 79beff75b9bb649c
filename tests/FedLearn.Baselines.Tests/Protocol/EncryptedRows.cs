using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>Random rows whose columns several parties hold, and gradient descent on them in plain loops: Taylor's residual for binomial labels
/// (Hardy et al. 2017, equation 6), z - y for Gaussian ones.</summary>
internal sealed class EncryptedRows
{
    private readonly string _family;
    private readonly double[][] _x;
    private readonly double[] _y;
    private readonly int[] _widths;

    internal EncryptedRows(int seed, string family, int rows, params int[] widths)
    {
        var random = new Random(seed);
        (_family, _widths) = (family, widths);
        double[] truth = [.. Enumerable.Range(0, widths.Sum()).Select(_ => (2 * random.NextDouble()) - 1)];
        _x = [.. Enumerable.Range(0, rows).Select(_ => truth.Select(_ => (2 * random.NextDouble()) - 1).ToArray())];
        _y = [.. _x.Select(row => row.Zip(truth, (a, b) => a * b).Sum() + .3).Select(z => family == "gaussian" ? z + random.NextDouble() - .5 : random.NextDouble() < 1 / (1 + Math.Exp(-3 * z)) ? 1.0 : 0)];
    }

    internal static string Name(int party) => party == 0 ? "active" : $"p{party}";

    internal GlmPartyInput[] Inputs(Func<int, IPrivacyLedger?>? ledger = null, double[]? weights = null, double[]? offsets = null) => [.. _widths.Select((width, party) =>
    {
        int first = _widths[..party].Sum();
        return new GlmPartyInput
        {
            Party = Name(party),
            Table = Table.FromMatrix([.. _x.Select((_, i) => $"row{i}")], [.. Enumerable.Range(first, width).Select(j => $"c{j}")],
                new DenseMatrix(_x.Length, width, [.. _x.SelectMany(row => row[first..(first + width)])]), party == 0 ? [.. _y] : null,
                weights: party == 0 ? weights : null, offsets: party == 0 ? offsets : null),
            Ledger = ledger?.Invoke(party),
        };
    })];

    /// <summary>A job in mode he, on columns as they are, with checks of hygiene off unless they are asked for.</summary>
    internal GlmJob Job(GlmTrainingOptions training, double l2 = .01, GlmHeOptions? he = null) => new()
    {
        Name = "encrypted",
        Model = new() { Family = _family == "gaussian" ? GlmFamilies.Gaussian : GlmFamilies.Binomial, L2 = l2, Intercept = GlmIntercept.None },
        Training = training,
        Preprocessing = new() { Scaling = Scaling.None },
        Privacy = new() { Mode = PrivacyMode.He, He = he ?? new() { RowsPerColumn = 0 } },
        Parties = [.. _widths.Select((_, party) => new GlmPartyOptions
        {
            Party = new(Name(party), party == 0 ? PartyRole.Active : PartyRole.Passive),
            LabelRange = party == 0 && _family == "gaussian" ? (-8, 8) : null,
        })],
    };

    /// <summary>Weights of all parties, in the order of the columns, a free intercept last.</summary>
    internal static double[] Weights(IReadOnlyList<GlmPartyResult> results) => [.. results.SelectMany(r => r.Model.Weights), .. results[0].Model.Intercepts];

    /// <summary>The weights that the same descent finds in the clear.</summary>
    internal double[] Descent(GlmTrainingOptions training, double l2 = .01, bool intercept = false)
    {
        int[] order = Order(training.Seed);
        int d = _x[0].Length, batches = training.BatchesPerEpoch ?? 1, n = _x.Length;
        double[] w = new double[d + (intercept ? 1 : 0)];
        for (int epoch = 0; epoch < training.Epochs; epoch++)
            for (int batch = 0, start = 0; batch < batches; batch++)
            {
                int size = (n / batches) + (batch < n % batches ? 1 : 0);
                double[] gradient = new double[w.Length];
                foreach (int i in order[start..(start + size)])
                {
                    double z = Score(w, i);
                    double r = _family == "gaussian" ? z - _y[i] : (.25 * z) + .5 - _y[i];
                    for (int j = 0; j < w.Length; j++)
                        gradient[j] += r * (j < d ? _x[i][j] : 1) / size;
                }

                for (int j = 0; j < w.Length; j++)
                    w[j] -= training.StepSize!.Value * (gradient[j] + (j < d ? l2 * w[j] : 0));
                if (training.WeightNorm is { } radius)
                    Project(w, radius);
                start += size;
            }

        return w;
    }

    /// <summary>Area under the ROC curve of a model: the share of pairs of a positive and a negative row that it orders rightly.</summary>
    internal double Auc(double[] weights)
    {
        double right = 0, pairs = 0;
        for (int i = 0; i < _x.Length; i++)
            for (int k = 0; k < _x.Length; k++)
                if (_y[i] == 1 && _y[k] == 0)
                {
                    (double a, double b) = (Score(weights, i), Score(weights, k));
                    right += a > b ? 1 : a == b ? .5 : 0;
                    pairs++;
                }

        return right / pairs;
    }

    private double Score(double[] w, int i)
    {
        double z = w.Length > _x[i].Length ? w[^1] : 0;
        for (int j = 0; j < _x[i].Length; j++)
            z += _x[i][j] * w[j];
        return z;
    }

    // Each party projects what it has; the intercept is the first one's.
    private void Project(double[] w, double radius)
    {
        for (int party = 0, first = 0; party < _widths.Length; first += _widths[party++])
        {
            int[] own = [.. Enumerable.Range(first, _widths[party]), .. party == 0 && w.Length > _x[0].Length ? [w.Length - 1] : Array.Empty<int>()];
            double shrink = Math.Min(1, radius / Math.Sqrt(own.Sum(j => w[j] * w[j])));
            foreach (int j in own)
                w[j] *= shrink;
        }
    }

    // Rows in the order of SHA-256(seed || id), as all parties put them.
    private int[] Order(long seed) => [.. Enumerable.Range(0, _x.Length).OrderBy(i => Convert.ToHexString(SHA256.HashData([.. BitConverter.GetBytes(seed), .. Encoding.UTF8.GetBytes($"row{i}")])), StringComparer.Ordinal)];
}
