using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Small jobs of every kind that can go on after a crash, and the tables of their parties. The same in every process.</summary>
internal static class KillJobs
{
    public const int Rows = 90;

    /// <summary>Names of the jobs.</summary>
    public static string[] Names { get; } =
    [
        "none", "none-three", "none-classes", "none-stop-objective", "none-stop-auc", "none-float32", "lbfgs", "accelerated", "irls",
        "hdp", "hdp-three", "hdp-classes", "hdp-label", "hdp-charged", "weight-noise", "one-round", "one-round-noisy", "label-dp",
    ];

    /// <summary>A job.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="testNoise">Whether its noise can be repeated.</param>
    /// <param name="epochs">Epochs, of four batches where it descends.</param>
    /// <param name="every">Rounds between two states.</param>
    public static GlmJob Job(string name, bool testNoise = true, int epochs = 6, int every = 3)
    {
        string kind = name.Split('-')[0];
        bool full = kind is "lbfgs" or "accelerated" or "irls", classes = name.EndsWith("classes", StringComparison.Ordinal);
        var job = new GlmJob
        {
            Name = "kills " + name,
            Model = new GlmModelOptions
            {
                Family = name == "one-round-noisy" ? GlmFamilies.Gaussian : !classes ? GlmFamilies.Binomial : kind == "none" ? GlmFamilies.Multinomial() : GlmFamilies.Multinomial(3),
                L1 = kind == "accelerated" ? 0.01 : 0,
            },
            Training = new GlmTrainingOptions
            {
                Epochs = full ? 12 : epochs,
                BatchesPerEpoch = full || kind is "one" ? null : 4,
                StepSize = 0.5,
                Reshuffle = kind == "none" || name == "hdp",
                CheckpointRounds = every,
                Optimizer = kind switch { "lbfgs" => GlmOptimizer.Lbfgs, "accelerated" => GlmOptimizer.Accelerated, "irls" => GlmOptimizer.Irls, _ => null },
                MessagePrecision = name == "none-float32" ? ElementType.Float32 : ElementType.Float64,
                EarlyStopping = name switch
                {
                    "none-stop-objective" => new GlmEarlyStopping { Patience = 2, MinDelta = 0.02 },
                    "none-stop-auc" => new GlmEarlyStopping { Metric = EarlyStoppingMetric.Auc, Patience = 2, HoldOut = 0.3 },
                    _ => null,
                },
            },
            Split = new SplitRule.ByHash(5, [0]),
            Parties = [.. Parties(name).Select((p, i) => new GlmPartyOptions
            {
                Party = new PartyDescription(p, i == 0 ? PartyRole.Active : PartyRole.Passive),
                LabelRange = i == 0 && name == "one-round-noisy" ? (-3, 3) : null,
            })],
        };
        if (kind is "none" || full)
            return job;
        bool descends = kind is "hdp" or "weight";
        return job with
        {
            Training = job.Training with { WeightNorm = descends ? 1 : null, ResidualClip = descends ? 1 : null },
            Privacy = new GlmPrivacyOptions
            {
                Mode = kind switch { "one" => PrivacyMode.OneRound, "label" => PrivacyMode.LabelDp, _ => PrivacyMode.HdpVfl },
                Calibration = kind == "weight" ? Calibration.WeightNoise : Calibration.Tight,
                Budget = new PrivacyBudget(8, kind == "label" ? 0 : 1e-5),
                Unit = name == "hdp-label" ? PrivacyUnit.Label : PrivacyUnit.Record,
                Evaluation = name is "hdp-charged" or "weight-noise" or "one-round" ? EvaluationDisclosure.Charged : EvaluationDisclosure.Disclosed,
                TestNoiseSeed = testNoise ? 7 : null,
            },
        };
    }

    /// <summary>Parties of a job, the active one first.</summary>
    public static string[] Parties(string name) => name.EndsWith("three", StringComparison.Ordinal) ? ["bank", "telco", "shop"] : ["bank", "telco"];

    /// <summary>The table of a party: every party has rows that others lack.</summary>
    /// <param name="name">Name of the job.</param>
    /// <param name="party">The party.</param>
    /// <param name="changed">Whether one number of it is another.</param>
    public static Table Table(string name, string party, bool changed = false)
    {
        int own = Array.IndexOf(Parties(name), party), width = 3;
        var random = new Random(11);
        double[][] all = [.. Enumerable.Range(0, Rows).Select(_ => Enumerable.Range(0, 9).Select(_ => 2 * random.NextDouble() - 1).ToArray())];
        double[] z = [.. all.Select(x => 2 * x[0] - x[1] + 1.5 * x[3] - x[4] + x[6] + random.NextDouble() - 0.5)];
        double[] labels = [.. z.Select(v => name == "one-round-noisy" ? Math.Clamp(v, -3, 3) : !name.EndsWith("classes", StringComparison.Ordinal) ? v > 0 ? 1 : 0 : v > 0.7 ? 2 : v > -0.7 ? 1 : 0)];
        int[] rows = [.. Enumerable.Range(0, Rows).Where(i => i % 11 != own)];
        double[] values = [.. rows.SelectMany(i => all[i].Skip(own * width).Take(width))];
        if (changed)
            values[0] += 0.125;
        string[] columns = [.. Enumerable.Range(0, width).Select(j => $"{party}{j}")];
        return Data.Table.FromMatrix([.. rows.Select(i => $"person {i}")], columns, new DenseMatrix(rows.Length, width, values), own == 0 ? [.. rows.Select(i => labels[i])] : null,
            TableSchema.Create([.. columns.Select(c => Field.Numeric(c, -1, 1.5))]));
    }
}
