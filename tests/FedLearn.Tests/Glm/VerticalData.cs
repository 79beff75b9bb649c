using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>Random rows whose columns several parties hold: the active party "active" the first, then "p1", "p2", ...</summary>
internal sealed class VerticalData
{
    private readonly string[] _ids;
    private readonly double[][] _x;
    private readonly double[] _y;

    internal VerticalData(string[] ids, double[][] x, double[] y, int[] widths) => (_ids, _x, _y, Widths) = (ids, x, y, widths);

    /// <summary>Columns of each party.</summary>
    internal int[] Widths { get; }

    /// <summary>Sample weights of the rows; null for none.</summary>
    internal double[]? RowWeights { get; init; }

    /// <summary>Offsets of the rows; null for none.</summary>
    internal double[]? Offsets { get; init; }

    /// <summary>Labels of the rows.</summary>
    internal IReadOnlyList<double> Labels => _y;

    internal int Rows => _ids.Length;

    /// <summary>The pooled rows.</summary>
    internal IEnumerable<(string Id, double[] X, double Y)> All => _ids.Select((id, i) => (id, _x[i], _y[i]));

    /// <summary>Features within [-1, 1], labels drawn from the family at a random linear predictor.</summary>
    internal static VerticalData Random(int seed, string family, int rows, params int[] widths)
    {
        var random = new Random(seed);
        double[] truth = [.. Enumerable.Range(0, widths.Sum()).Select(_ => (2 * random.NextDouble()) - 1)];
        double[][] x = [.. Enumerable.Range(0, rows).Select(_ => truth.Select(_ => (2 * random.NextDouble()) - 1).ToArray())];
        double[] y = [.. x.Select(row => Label(random, family, 0.3 + row.Zip(truth, (a, b) => a * b).Sum()))];
        return new([.. Enumerable.Range(0, rows).Select(i => $"row{i}")], x, y, widths);
    }

    private static double Label(Random random, string family, double z) => family switch
    {
        "gaussian" => z + random.NextDouble() - 0.5,
        "binomial" => random.NextDouble() < 1 / (1 + Math.Exp(-z)) ? 1 : 0,
        "gamma" => 0.05 - (Math.Exp(z) * Math.Log(1 - random.NextDouble())),
        "tweedie" => random.NextDouble() < 0.4 ? 0 : -Math.Exp(z) * Math.Log(1 - random.NextDouble()),
        "multinomial" => (random.NextDouble() * (1 + Math.Exp(z) + Math.Exp(-z))) switch { < 1 => 0, var u => u < 1 + Math.Exp(z) ? 1 : 2 },
        _ => Enumerable.Range(0, 5).Count(_ => random.NextDouble() < Math.Exp(z) / 5),
    };

    internal static IGlmFamily Family(string name) => ShippedFamilies.Named(name);

    /// <summary>The same rows with the columns dealt out anew.</summary>
    internal VerticalData Dealt(params int[] widths) => new(_ids, _x, _y, widths) { RowWeights = RowWeights, Offsets = Offsets };

    internal VerticalData WithLabels(Func<double, double> map) => new(_ids, _x, [.. _y.Select(map)], Widths) { RowWeights = RowWeights, Offsets = Offsets };

    internal VerticalData With(double[]? rowWeights = null, double[]? offsets = null) => new(_ids, _x, _y, Widths) { RowWeights = rowWeights, Offsets = offsets };

    /// <summary>Random weights, a few of them 0, and offsets.</summary>
    internal VerticalData WithRandom(Random random, bool weights, bool offsets) => With(
        weights ? [.. _y.Select(_ => random.Next(5) == 0 ? 0 : 3 * random.NextDouble())] : null, offsets ? [.. _y.Select(_ => random.NextDouble() - 0.5)] : null);

    /// <summary>The rows, each as often as its whole weight says, without weights.</summary>
    internal VerticalData Repeated()
    {
        int[] rows = [.. Enumerable.Range(0, Rows).SelectMany(i => Enumerable.Repeat(i, (int)RowWeights![i]))];
        return new([.. rows.Select((i, copy) => $"{_ids[i]}, copy {copy}")], [.. rows.Select(i => _x[i])], [.. rows.Select(i => _y[i])], Widths)
        {
            Offsets = Offsets is null ? null : [.. rows.Select(i => Offsets[i])],
        };
    }

    /// <summary>Every party's table.</summary>
    /// <param name="order">0 keeps the order; otherwise each party's rows are shuffled in its own way.</param>
    /// <param name="oneSided">Rows that each party adds under ids of its own.</param>
    internal GlmPartyInput[] Inputs(int order = 0, int oneSided = 0)
    {
        var inputs = new GlmPartyInput[Widths.Length];
        for (int party = 0, first = 0; party < Widths.Length; first += Widths[party++])
        {
            int[] rows = [.. Enumerable.Range(0, Rows + oneSided)];
            if (order != 0)
                new Random(order + party).Shuffle(rows);
            int width = Widths[party], from = first;
            double[]? Of(double[]? values, double oneSidedRow) => values is null ? null : [.. rows.Select(i => i < Rows ? values[i] : oneSidedRow)];
            double[] values = [.. rows.SelectMany(i => i < Rows ? _x[i].Skip(from).Take(width) : Enumerable.Repeat(0.5, width))];
            inputs[party] = new GlmPartyInput
            {
                Party = Name(party),
                Table = Table.FromMatrix([.. rows.Select(i => i < Rows ? _ids[i] : $"only {party} {i}")], [.. Enumerable.Range(0, width).Select(j => $"c{from + j}")],
                    new DenseMatrix(rows.Length, width, values), party == 0 ? Of(_y, _y[0]) : null,
                    weights: party == 0 ? Of(RowWeights, 7) : null, offsets: party == 0 ? Of(Offsets, 7) : null),
            };
        }

        return inputs;
    }

    /// <summary>A job on columns as they are, in mode none.</summary>
    internal GlmJob Job(string family, GlmTrainingOptions training, GlmIntercept intercept = GlmIntercept.Default, double l2 = 0.01) => new()
    {
        Name = "test",
        Model = new() { Family = Family(family), L2 = l2, Intercept = intercept },
        Training = training,
        Preprocessing = new() { Scaling = Scaling.None },
        Parties = [.. Widths.Select((_, party) => new GlmPartyOptions { Party = new(Name(party), party == 0 ? PartyRole.Active : PartyRole.Passive) })],
    };

    /// <summary>The slow reference on the rows in the order of SHA-256(seed || id).</summary>
    internal PooledGlm Pooled(string family, long seed, double l2 = 0.01, bool intercept = true, double l1 = 0, double[]? classWeights = null)
    {
        int[] order = [.. Enumerable.Range(0, Rows).OrderBy(i => Convert.ToHexString(SHA256.HashData([.. BitConverter.GetBytes(seed), .. Encoding.UTF8.GetBytes(_ids[i])])), StringComparer.Ordinal)];
        double[]? weights = RowWeights ?? (classWeights is null ? null : [.. _y.Select(_ => 1.0)]);
        return new(family, [.. order.Select(i => _x[i])], [.. order.Select(i => _y[i])], l2, intercept)
        {
            Classes = family == "multinomial" ? 3 : 1,
            L1 = l1,
            RowWeights = weights is null ? null : [.. order.Select(i => weights[i] * (classWeights is null ? 1 : classWeights[(int)_y[i]]))],
            Offsets = Offsets is null ? null : [.. order.Select(i => Offsets[i])],
        };
    }

    internal static string Name(int party) => party == 0 ? "active" : $"p{party}";

    /// <summary>All parties' weights in the order of the columns, class after class, the free intercepts last.</summary>
    internal static double[] Weights(IReadOnlyList<GlmPartyResult> results) =>
    [
        .. Enumerable.Range(0, results[0].Model.Outputs).SelectMany(m => results.SelectMany(r =>
            r.Model.Weights.Skip(m * r.Model.Features.FeatureNames.Count).Take(r.Model.Features.FeatureNames.Count))),
        .. results[0].Model.Intercepts,
    ];

    internal static void AssertClose(IEnumerable<double> expected, IEnumerable<double> actual, double tolerance)
    {
        (double[] e, double[] a) = ([.. expected], [.. actual]);
        Assert.Equal(e.Length, a.Length);
        for (int i = 0; i < e.Length; i++)
            Assert.Equal(e[i], a[i], tolerance);
    }
}
