using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm.Cost;

/// <summary>A random small job whose messages are known before it runs, with its rows and its sizes.</summary>
internal sealed record TrafficCase(GlmJob Job, IReadOnlyList<GlmPartyInput> Inputs, GlmCostSizes Sizes)
{
    /// <summary>A case: mode none or hdp-vfl, one score or three classes, any wire precision, split or not, one-sided rows or not.</summary>
    /// <param name="seed">Decides everything.</param>
    /// <param name="parties">2 to 16 of them.</param>
    public static TrafficCase Of(int seed, int parties)
    {
        var random = new Random(seed);
        // More than 127 rounds now and then, so that a round's number takes another byte.
        bool isPrivate = random.Next(2) == 0, classes = random.Next(4) == 0, long_ = random.Next(3) == 0;
        int rows = random.Next(20, 60), oneSided = random.Next(3), epochs = long_ ? random.Next(25, 40) : random.Next(1, 4), batches = long_ ? 6 : random.Next(1, 8);
        int[] widths = [.. Enumerable.Range(0, parties).Select(_ => random.Next(1, 5))];
        var split = (SplitRule)(random.Next(2) == 0 ? SplitRule.None : new SplitRule.ByHash(4, [random.Next(4)]));
        PartyDescription[] names = [.. Enumerable.Range(0, parties).Select(p => new PartyDescription(p == 0 ? "active" : $"p{p}", p == 0 ? PartyRole.Active : PartyRole.Passive))];
        var job = new GlmJob
        {
            Name = "traffic",
            Model = new() { Family = classes ? GlmFamilies.Multinomial(3) : GlmFamilies.Binomial, Intercept = (GlmIntercept)random.Next(3) },
            Training = new()
            {
                Epochs = epochs,
                BatchesPerEpoch = random.Next(2) == 0 ? batches : null,
                BatchSize = null,
                StepSize = 0.1,
                WeightNorm = 1,
                ResidualClip = 1,
                Optimizer = GlmOptimizer.Sgd,
                MessagePrecision = random.Next(3) == 0 ? ElementType.Float32 : ElementType.Float64,
                Reshuffle = !isPrivate && random.Next(3) == 0,
            },
            Privacy = isPrivate
                ? new()
                {
                    Mode = PrivacyMode.HdpVfl,
                    // From much noise to little, so that elements have more bits or fewer; without one of record scores leave as they are.
                    Budget = new(Math.Pow(10, (4 * random.NextDouble()) - 1), 1e-3),
                    Unit = random.Next(4) == 0 && !classes ? PrivacyUnit.Label : PrivacyUnit.Record,
                    Evaluation = random.Next(2) == 0 ? EvaluationDisclosure.Disclosed : EvaluationDisclosure.None,
                    TestNoiseSeed = 1,
                }
                : new(),
            Preprocessing = new() { Scaling = Scaling.None, Rows = isPrivate ? RowBound.Clip : RowBound.None },
            Split = split,
            Parties = [.. names.Select(n => new GlmPartyOptions { Party = n })],
        };
        GlmPartyInput[] inputs = [.. names.Select((name, p) => new GlmPartyInput
        {
            Party = name.Name,
            Table = Table.FromMatrix([.. Enumerable.Range(0, rows).Select(i => $"row{i}"), .. Enumerable.Range(0, oneSided).Select(i => $"only {p} {i}")],
                [.. Enumerable.Range(0, widths[p]).Select(j => $"c{j}")],
                new DenseMatrix(rows + oneSided, widths[p], [.. Enumerable.Range(0, (rows + oneSided) * widths[p]).Select(_ => random.NextDouble() - 0.5)]),
                p == 0 ? [.. Enumerable.Range(0, rows + oneSided).Select(i => (double)(i % (classes ? 3 : 2)))] : null),
        })];
        bool[] test = RowSplit.TestRows(split, null, inputs[0].Table.Ids, [.. Enumerable.Range(0, rows)]);
        int tested = test.Count(t => t);
        return new(job, inputs, new()
        {
            TrainRows = rows - tested,
            TestRows = tested,
            Columns = widths,
            TableRows = [.. Enumerable.Repeat(rows + oneSided, parties)],
        });
    }
}
