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
        _ => Enumerable.Range(0, 5).Count(_ => random.NextDouble() < Math.Exp(z) / 5),
    };

    internal static IGlmFamily Family(string name) => ShippedFamilies.Named(name);

    /// <summary>The same rows with the columns dealt out anew.</summary>
    internal VerticalData Dealt(params int[] widths) => new(_ids, _x, _y, widths);

    internal VerticalData WithLabels(Func<double, double> map) => new(_ids, _x, [.. _y.Select(map)], Widths);

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
            double[] values = [.. rows.SelectMany(i => i < Rows ? _x[i].Skip(from).Take(width) : Enumerable.Repeat(0.5, width))];
            inputs[party] = new GlmPartyInput
            {
                Party = Name(party),
                Table = Table.FromMatrix([.. rows.Select(i => i < Rows ? _ids[i] : $"only {party} {i}")], [.. Enumerable.Range(0, width).Select(j => $"c{from + j}")],
                    new DenseMatrix(rows.Length, width, values), party == 0 ? [.. rows.Select(i => i < Rows ? _y[i] : 0)] : null),
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
    internal PooledGlm Pooled(string family, long seed, double l2 = 0.01, bool intercept = true)
    {
        int[] order = [.. Enumerable.Range(0, Rows).OrderBy(i => Convert.ToHexString(SHA256.HashData([.. BitConverter.GetBytes(seed), .. Encoding.UTF8.GetBytes(_ids[i])])), StringComparer.Ordinal)];
        return new(family, [.. order.Select(i => _x[i])], [.. order.Select(i => _y[i])], l2, intercept);
    }

    internal static string Name(int party) => party == 0 ? "active" : $"p{party}";

    /// <summary>All parties' weights in the order of the columns, the free intercept last.</summary>
    internal static double[] Weights(IReadOnlyList<GlmPartyResult> results) =>
        [.. results.SelectMany(r => r.Model.Weights), .. results[0].Model.Intercept is { } free ? [free] : Array.Empty<double>()];

    internal static void AssertClose(IEnumerable<double> expected, IEnumerable<double> actual, double tolerance)
    {
        (double[] e, double[] a) = ([.. expected], [.. actual]);
        Assert.Equal(e.Length, a.Length);
        for (int i = 0; i < e.Length; i++)
            Assert.Equal(e[i], a[i], tolerance);
    }
}
