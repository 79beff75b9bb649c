using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

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

    /// <summary>What peer p sends in a round, given the number of rows. A peer may be anybody, so the numbers may be anything finite.</summary>
    internal required Func<int, int, int, double[]> Says { get; init; }

    /// <summary>What a peer sends that listens, instead of <see cref="Says"/>: given what it has heard, the round and the number of rows.</summary>
    internal Func<IReadOnlyList<(VectorPayload Payload, Protection Protection)>, int, int, double[]>? Answers { get; init; }

    /// <summary>Peers of the active party.</summary>
    internal int Peers { get; init; } = 1;

    internal static GlmJob JobOf(string family, GlmTrainingOptions training, double l2, double labelBound, int peers = 1) => new()
    {
        Name = "test",
        Model = new() { Family = ShippedFamilies.Named(family), L2 = l2 },
        Training = training,
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-3), TestNoiseSeed = 1, Evaluation = EvaluationDisclosure.None },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = false },
        Parties =
        [
            new() { Party = new("active", PartyRole.Active), LabelRange = family == "gaussian" ? (-labelBound, labelBound) : (0, labelBound) },
            .. Enumerable.Range(0, peers).Select(p => new GlmPartyOptions { Party = new(p == 0 ? "passive" : $"passive{p}", PartyRole.Passive) }),
        ],
    };

    /// <summary>Any job of either role with any calibration, neighbour relation and schedule, often at its extremes.</summary>
    internal static NeighbourCase Draw(Random random)
    {
        bool active = random.Next(2) == 0;
        string family = Pick(random, "gaussian", "binomial", "poisson");
        Calibration calibration = Pick(random, Calibration.Tight, Calibration.Tight, Calibration.WeightNoise, Calibration.Paper);
        bool paper = calibration == Calibration.Paper, free = active && !paper && random.Next(4) == 0;
        bool label = active && !paper && random.Next(4) == 0, zero = !label && !paper && random.Next(3) == 0;
        int n = 1 + random.Next(14), batches = 1 + random.Next(Math.Min(n, 5)), width = 1 + random.Next(3), peers = active ? 1 + random.Next(3) : 1;
        double k = Pick(random, 0.3, 1, 3), clip = Pick(random, 0.3, 1, 2), bound = family == "binomial" ? 1 : Pick(random, 1, 3), l2 = Pick(random, 0, 0.001, 0.3);
        double rowNorm = paper ? 1 : Pick(random, 0.5, 1, 1, 2);
        double beta = family switch { "gaussian" => 1, "binomial" => 0.25, _ => clip + bound };
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
        };
        GlmJob job = JobOf(family, training, l2, bound, peers);
        job = job with
        {
            Model = job.Model with { Intercept = free ? GlmIntercept.Free : GlmIntercept.Default },
            Preprocessing = job.Preprocessing! with { RowNorm = rowNorm },
            Privacy = job.Privacy with
            {
                Calibration = calibration,
                Share = Pick(random, 0.2, 0.5, 0.9),
                Adjacency = zero ? Adjacency.ZeroOut : Adjacency.ReplaceOne,
                Unit = label ? PrivacyUnit.Label : PrivacyUnit.Record,
                Evaluation = !paper && random.Next(3) == 0 ? EvaluationDisclosure.Charged : EvaluationDisclosure.None,
                EvaluationShare = Pick(random, 0.1, 0.5),
            },
        };

        double[] common = Row(rowNorm * (1 - 1e-12));
        bool aligned = random.Next(2) == 0;
        double[][] x = [.. Enumerable.Range(0, n).Select(_ => aligned ? common : Row(rowNorm * Pick(random, 0, 0.5, 1 - 1e-12)))];
        int changed = random.Next(n);
        double[] other = zero ? new double[width] : label ? x[changed]
            : random.Next(3) switch { 0 => [.. x[changed].Select(v => -v)], 1 => Row(rowNorm * (1 - 1e-12)), _ => x[changed] };

        // A residual beyond the clip must count as the clip.
        double size = active ? Pick(random, 0, 1, k * rowNorm, 30) : Pick(random, 0.5, 1, 50) * clip;
        int style = random.Next(5), seed = random.Next();
        return new()
        {
            Job = job,
            Role = active ? PartyRole.Active : PartyRole.Passive,
            X = x,
            Y = [.. x.Select(_ => Label())],
            Changed = changed,
            OtherX = other,
            OtherY = Label(),
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

        double Label() => family switch
        {
            "gaussian" => Pick(random, -bound, bound, bound * random.NextDouble()),
            "binomial" => random.Next(2),
            _ => random.Next((int)bound + 1),
        };
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
internal sealed class ScriptedChannel(Func<ScriptedChannel, int, int, double[]> says) : IPartyChannel
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
        Payload payload = typeof(T) == typeof(Scores) ? new Scores(values) : new Residuals(values);
        return ValueTask.FromResult((T)payload);
    }

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
