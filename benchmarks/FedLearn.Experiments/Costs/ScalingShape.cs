using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Experiments.Costs;

/// <summary>A job of verb scaling: a binomial model on random columns.</summary>
/// <param name="Rows">Training rows; there are no others.</param>
/// <param name="Columns">Columns of each party, the active one first.</param>
/// <param name="Batch">Rows of a batch; the rows for full batches.</param>
/// <param name="Epochs">Epochs.</param>
/// <param name="Mode">none or hdp-vfl.</param>
internal sealed record ScalingShape(int Rows, IReadOnlyList<int> Columns, int Batch, int Epochs, string Mode)
{
    public static string Name(int party) => string.Create(CultureInfo.InvariantCulture, $"p{party}");

    public GlmCostSizes Sizes => new() { TrainRows = Rows, Columns = Columns };

    public GlmJob Job => new()
    {
        Name = "scaling",
        Model = new() { Family = GlmFamilies.Binomial, L2 = 0.001 },
        Training = new() { Epochs = Epochs, BatchSize = Batch, StepSize = 0.5, WeightNorm = 1, ResidualClip = 1, Optimizer = GlmOptimizer.Sgd },
        Privacy = Mode == "none" ? new() { Evaluation = EvaluationDisclosure.None }
            : new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-6), Evaluation = EvaluationDisclosure.None },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = true },
        Parties = [.. Columns.Select((_, p) => new GlmPartyOptions { Party = new(Name(p), p == 0 ? PartyRole.Active : PartyRole.Passive) })],
    };

    /// <summary>What a party brings: the same in every run.</summary>
    public GlmPartyInput Input(int party)
    {
        ulong state = (ulong)party + 1;
        double[] values = new double[(long)Rows * Columns[party]];
        for (long i = 0; i < values.LongLength; i++)
            values[i] = Next();
        string[] ids = new string[Rows];
        double[]? labels = party == 0 ? new double[Rows] : null;
        for (int i = 0; i < Rows; i++)
        {
            ids[i] = string.Create(CultureInfo.InvariantCulture, $"r{i}");
            if (labels is not null)
                labels[i] = Next() > 0 ? 1 : 0;
        }

        return new GlmPartyInput
        {
            Party = Name(party),
            Table = Table.FromMatrix(ids, [.. Enumerable.Range(0, Columns[party]).Select(j => string.Create(CultureInfo.InvariantCulture, $"c{j}"))], new DenseMatrix(Rows, Columns[party], values), labels),
        };

        // Uniform on [-1, 1), by a xorshift: fast enough for a gigabyte.
        double Next()
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            return unchecked((long)state) * (1.0 / (1L << 62) / 2);
        }
    }
}
