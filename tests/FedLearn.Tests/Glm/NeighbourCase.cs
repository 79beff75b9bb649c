using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Privacy;

namespace FedLearn.Tests.Glm;

/// <summary>A party's table and its neighbour, in the common order and within the row bound, the job, and peers who say the same to both.</summary>
internal sealed record NeighbourCase
{
    internal required GlmJob Job { get; init; }

    internal required PartyRole Role { get; init; }

    /// <summary>Rows, shape [n][d].</summary>
    internal required double[][] X { get; init; }

    /// <summary>Labels, shape [n]; unused at a passive party.</summary>
    internal required double[] Y { get; init; }

    internal required int Changed { get; init; }

    /// <summary>The changed row in the other table. With adjacency zero-out it is 0 there, and so is its residual.</summary>
    internal required double[] OtherX { get; init; }

    internal double OtherY { get; init; }

    /// <summary>Sample weights as they stand in the table, shape [n], and that of the changed row in the other one; null for none. The job's bound clips them.</summary>
    internal double[]? Weights { get; init; }

    internal double OtherWeight { get; init; }

    /// <summary>Offsets, shape [n], and that of the changed row in the other table; null for none.</summary>
    internal double[]? Offsets { get; init; }

    internal double OtherOffset { get; init; }

    /// <summary>What peer p sends in a round, given the number of entries: rows times scores of a row, class-major. A peer may be anybody, so the numbers may be anything finite.</summary>
    internal required Func<int, int, int, double[]> Says { get; init; }

    /// <summary>What a peer sends that listens, instead of <see cref="Says"/>: given what it has heard, the round and the number of entries.</summary>
    internal Func<IReadOnlyList<(VectorPayload Payload, Protection Protection)>, int, int, double[]>? Answers { get; init; }

    /// <summary>Peers of the active party.</summary>
    internal int Peers { get; init; } = 1;

    internal static GlmJob JobOf(string family, GlmTrainingOptions training, double l2, double labelBound, int peers = 1) => JobOf(ShippedFamilies.Named(family), training, l2, labelBound, peers);

    internal static GlmJob JobOf(IGlmFamily family, GlmTrainingOptions training, double l2, double labelBound, int peers = 1) => new()
    {
        Name = "test",
        Model = new() { Family = family, L2 = l2 },
        Training = training,
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-3), TestNoiseSeed = 1, Evaluation = EvaluationDisclosure.None },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = false },
        Parties =
        [
            new() { Party = new("active", PartyRole.Active), LabelRange = family.Link == "identity" ? (-labelBound, labelBound) : family.Name is "gamma" or "multinomial" ? null : (0, labelBound) },
            .. Enumerable.Range(0, peers).Select(p => new GlmPartyOptions { Party = new(p == 0 ? "passive" : $"passive{p}", PartyRole.Passive) }),
        ],
    };

    /// <summary>Any job of either role with any calibration, neighbour relation and schedule, often at its extremes.</summary>
    internal static NeighbourCase Draw(Random random)
    {
        bool active = random.Next(2) == 0;
        IGlmFamily family = Pick<Func<IGlmFamily>>(random, () => GlmFamilies.Gaussian, () => GlmFamilies.Binomial, () => GlmFamilies.Poisson, () => GlmFamilies.Gamma,
            () => GlmFamilies.Tweedie(Pick(random, 1.01, 1.5, 1.99)), () => GlmFamilies.Multinomial(2 + random.Next(3)), () => GlmFamilies.Multinomial(3), () => new SteepFamily())();
        GlmFamilyKind kind = family.Kind()!.Value;
        Calibration calibration = Pick(random, Calibration.Tight, Calibration.Tight, Calibration.WeightNoise, kind <= GlmFamilyKind.Poisson ? Calibration.Paper : Calibration.Tight);
        bool paper = calibration == Calibration.Paper, free = active && !paper && random.Next(4) == 0;
        bool label = active && !paper && random.Next(4) == 0, zero = !label && !paper && random.Next(3) == 0;
        int n = 1 + random.Next(14), batches = 1 + random.Next(Math.Min(n, 5)), width = 1 + random.Next(3), peers = active ? 1 + random.Next(3) : 1;
        double k = Pick(random, 0.3, 1, 3), clip = Pick(random, 0.3, 1, 2), bound = kind == GlmFamilyKind.Binomial ? 1 : Pick(random, 1, 3), l2 = Pick(random, 0, 0.001, 0.3);
        double rowNorm = paper ? 1 : Pick(random, 0.5, 1, 1, 2);
        double? largestWeight = !paper && random.Next(3) == 0 ? Pick(random, 0.5, 1, 2) : null, largestOffset = !paper && family.Outputs == 1 && random.Next(3) == 0 ? Pick(random, 0.5, 2) : null;
        double beta = (largestWeight ?? 1) * ReferenceBounds.Beta(kind, clip, bound, SteepFamily.Steepness);
        double largest = Math.Min(2 / (l2 + (beta * ((rowNorm * rowNorm) + (free ? 1.01 : 0)))), l2 > 0 ? 2 / l2 : double.PositiveInfinity);
        var training = new GlmTrainingOptions
        {
            Epochs = 1 + random.Next(5),
            BatchesPerEpoch = batches,
            StepSize = largest * (calibration == Calibration.WeightNoise ? Pick(random, 0.5, 1, 100) : Pick(random, 0.05, 0.5, 0.999999)),
            WeightNorm = k,
            ResidualClip = clip,
            Reshuffle = !paper && random.Next(3) == 0,
            Seed = random.Next(),
            SampleWeightBound = largestWeight,
            OffsetBound = largestOffset,
            ClassWeights = largestWeight is not null && !label && GlmPlan.IsOfClasses(family) && random.Next(2) == 0
                ? new GlmClassWeights.Declared([.. Enumerable.Range(0, Math.Max(2, family.Outputs)).Select(m => m == 0 ? 1 : Pick(random, 0, 0.3, 3))]) : null,
        };
        GlmJob job = JobOf(family, training, l2, bound, peers);
        job = job with
        {
            Model = job.Model with { Intercept = free ? GlmIntercept.Free : GlmIntercept.Default, L1 = paper ? 0 : Pick(random, 0, 0, 0.02, 0.5) * k / training.StepSize!.Value },
            Preprocessing = job.Preprocessing! with { RowNorm = rowNorm },
            Privacy = job.Privacy with
            {
                Calibration = calibration,
                Share = Pick(random, 0.2, 0.5, 0.9),
                Adjacency = zero ? Adjacency.ZeroOut : Adjacency.ReplaceOne,
                Unit = label ? PrivacyUnit.Label : PrivacyUnit.Record,
                Evaluation = !paper && random.Next(3) == 0 && !label ? EvaluationDisclosure.Charged : EvaluationDisclosure.None,
                EvaluationShare = Pick(random, 0.1, 0.5),
            },
        };

        double[] common = Row(rowNorm * (1 - 1e-12));
        bool aligned = random.Next(2) == 0;
        double[][] x = [.. Enumerable.Range(0, n).Select(_ => aligned ? common : Row(rowNorm * Pick(random, 0, 0.5, 1 - 1e-12)))];
        int changed = random.Next(n);
        double[] other = zero ? new double[width] : label ? x[changed]
            : random.Next(3) switch { 0 => [.. x[changed].Select(v => -v)], 1 => Row(rowNorm * (1 - 1e-12)), _ => x[changed] };

        // A residual beyond the clip must count as the clip, and a score of any size as some score.
        double size = active ? Pick(random, 0, 1, k * rowNorm, 30, 1e16) : Pick(random, 0.5, 1, 50) * clip;
        int style = random.Next(5), seed = random.Next();
        double[] y = [.. x.Select(_ => Label())];
        double[]? weights = largestWeight is not null && random.Next(4) != 0 ? [.. x.Select(_ => Weight())] : null, offsets = largestOffset is null ? null : [.. x.Select(_ => Offset())];
        return new()
        {
            Job = job,
            Role = active ? PartyRole.Active : PartyRole.Passive,
            X = x,
            Y = y,
            Changed = changed,
            OtherX = other,
            OtherY = Label(),
            Weights = weights,
            OtherWeight = label && weights is not null ? weights[changed] : Weight(),
            Offsets = offsets,
            OtherOffset = label && offsets is not null ? offsets[changed] : Offset(),
            Peers = peers,
            Says = (peer, round, rows) =>
            {
                var own = new Random(unchecked(seed + (round * 7919) + peer));
                return [.. Enumerable.Range(0, rows).Select(i => style switch
                {
                    0 => size,
                    1 => -size,
                    2 => own.Next(2) == 0 ? size : -size,
                    3 => size * ((2 * own.NextDouble()) - 1),
                    _ => i == changed % rows ? size : 0,
                })];
            },
        };

        double[] Row(double length)
        {
            double[] row = [.. Enumerable.Range(0, width).Select(_ => random.NextDouble() - 0.5)];
            double norm = Math.Sqrt(row.Sum(v => v * v));
            return [.. row.Select(v => v / norm * length)];
        }

        double Label() => kind switch
        {
            GlmFamilyKind.Gaussian or GlmFamilyKind.Convex => Pick(random, -bound, bound, bound * random.NextDouble()),
            GlmFamilyKind.Binomial => random.Next(2),
            GlmFamilyKind.Multinomial => random.Next(family.Outputs),
            GlmFamilyKind.Gamma => Pick(random, 1e-300, 0.2, 1, 5, 1e300),
            GlmFamilyKind.Tweedie => Pick(random, 0, 1e-300, 1, bound),
            _ => random.Next((int)bound + 1),
        };

        double Weight() => largestWeight is { } most ? most * Pick(random, 0, random.NextDouble(), 1, 3) : 1;

        double Offset() => largestOffset is { } far ? far * Pick(random, -1, 1, 2 * random.NextDouble() - 1) : 0;
    }

    private static T Pick<T>(Random random, params T[] values) => values[random.Next(values.Length)];

    /// <summary>The plan, the layout and the noise, as a real party makes them.</summary>
    internal Calibrated Calibrate()
    {
        GlmPlan plan = GlmPlan.Create(Job);
        BatchLayout layout = plan.Layout(X.Length);
        GlmPartyOptions party = Job.Parties.First(p => p.Party.Role == Role);
        plan.CheckParty(party);
        return new(plan, layout, plan.Calibrate(party, layout, X[0].Length + (Role == PartyRole.Active && plan.FreeIntercept ? 1 : 0)));
    }
}

/// <summary>A job made ready for one party.</summary>
internal sealed record Calibrated(GlmPlan Plan, BatchLayout Layout, PartyCalibration Calibration);

/// <summary>Says what it is told to, whatever it hears, and keeps what it heard.</summary>
internal sealed class ScriptedChannel(GlmPlan plan, Func<ScriptedChannel, int, int, double[]> says) : IPartyChannel
{
    internal List<double[]> Said { get; } = [];

    internal List<(VectorPayload Payload, Protection Protection)> Heard { get; } = [];

    public string LocalParty => "party";

    public string RemoteParty => "script";

    public ChannelStatistics Statistics => default;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => new Dictionary<(string, Protection), long>();

    public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        Heard.Add(((VectorPayload)(Payload)message.Payload, message.Protection));
        return ValueTask.CompletedTask;
    }

    public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
    {
        double[] values = says(this, round, length!.Value);
        Said.Add(values);
        Payload payload = typeof(T) == typeof(Scores) ? Scripted.Scores(plan, values) : Scripted.Residuals(plan, values);
        return ValueTask.FromResult((T)payload);
    }

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
