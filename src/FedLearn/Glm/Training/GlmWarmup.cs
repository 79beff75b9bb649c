using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Rehearses training before round 0: two rounds on some of the party's own rows, with labels of one, weights of zero and a peer that answers zeros,
/// and everything thrown away. Compiling the code then falls into the time when the parties wait for the slowest reader anyway, and not into the first rounds.</summary>
/// <remarks>Nothing leaves the party, nothing is charged, and no draw of the run's own noise is used.</remarks>
internal static class GlmWarmup
{
    /// <summary>Enough elements for the kernels to take the way with several threads.</summary>
    private const int Elements = 1 << 19;

    /// <summary>Remainders of a vector take ways of their own, which depend on the number of rows modulo the longest vector, 8 numbers, unrolled up to 8 times.</summary>
    private const int Remainder = 64;

    /// <summary>Rehearses.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="work">What the party will work on.</param>
    /// <param name="active">Whether it is the active party.</param>
    /// <param name="peers">Number of channels.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task RunAsync(GlmPlan plan, GlmWork work, bool active, int peers, CancellationToken cancellationToken)
    {
        LinearPart part = work.Train;
        int all = work.Layout.LargestSize, most = Math.Max(1, Elements / Math.Max(1, part.Dimension * part.Outputs));
        int rows = all <= most ? all : Math.Min(all, most / Remainder * Remainder + all % Remainder);
        double[] labels = new double[rows];
        Array.Fill(labels, 1);
        bool descends = plan.Optimizer == GlmOptimizer.Sgd && plan.Mode != PrivacyMode.OneRound && work.Joint is null;
        PartyChannel.Rehearse();
        try
        {
            if (!descends)
            {
                Kernels(plan, part, labels);
                return;
            }

            var rehearsal = new Rehearsal
            {
                Plan = plan,
                Party = work.Party,
                Layout = new BatchLayout(rows, 1),
                Train = part,
                Test = part,
                Mechanism = Mechanism(work.Mechanism),
                GradientNoise = Mechanism(work.GradientNoise),
                EpsilonAfter = work.EpsilonAfter,
                Progress = null,
            };
            IPartyChannel[] channels = [.. Enumerable.Range(0, peers).Select(_ => new Echo())];
            var targets = new GlmTargets(labels);
            await (active ? new GlmActiveTrainer(rehearsal, channels, targets, targets).RunAsync(cancellationToken)
                : new GlmPassiveTrainer(rehearsal, channels[0]).RunAsync(cancellationToken)).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // whatever a family of one's own throws at a label of one: a rehearsal decides nothing
        catch (Exception e) when (e is not OperationCanceledException)
#pragma warning restore CA1031
        {
            // One is no legal label of some families; what goes wrong with the party's own labels goes wrong again in the rounds.
        }
    }

    private static void Kernels(GlmPlan plan, LinearPart part, double[] labels)
    {
        int rows = labels.Length;
        double[] weights = new double[part.Dimension], gradient = new double[part.Dimension], scores = new double[rows * part.Outputs], residuals = new double[scores.Length];
        part.Scores(0, weights, scores);
        RowBlocks.Quadratic(plan.Family, new GlmTargets(labels), scores, scores, residuals);
        plan.Family.Residuals(scores, labels, residuals);
        plan.Family.LossSum(scores, labels);
        Numerics.VectorKernels.Clip(residuals, 1);
        Numerics.VectorKernels.AllFinite(residuals);
        part.Gradient(0, residuals, gradient);
        part.Step(weights, gradient, 1e-3, 0, 0, rows, 1);
        if (!plan.Private)
            return;
        GaussianMechanism mechanism = Mechanism();
        mechanism.Prefetch(scores.Length);
        mechanism.Release(new Scores(scores), "warm-up");
    }

    private static GaussianMechanism? Mechanism(GaussianMechanism? real) => real is null ? null : Mechanism();

    /// <summary>A mechanism of its own: its noise and its charges go nowhere.</summary>
    private static GaussianMechanism Mechanism() => new(new NoiseCalibration(1, 1, Rehearsal.Messages, 1), new CsprngNoise(), new InMemoryLedger().Reserve(ChargeOf("warm-up", Rehearsal.Messages, 1)));

    /// <summary>A charge of nobody's records, for messages that go nowhere.</summary>
    /// <param name="what">What they are for.</param>
    /// <param name="messages">How many they are.</param>
    /// <param name="muSquared">What they cost.</param>
    internal static PrivacyCharge ChargeOf(string what, int messages, double muSquared) => new()
    {
        RunId = PrivacyCharge.NewRunId(),
        Party = what,
        DataSet = DataSetIdentity.Of([]),
        JobName = what,
        JobDigest = "",
        Mechanism = what,
        Claim = "none",
        Parameters = "{}",
        Unit = PrivacyUnit.Record,
        Adjacency = Adjacency.ReplaceOne,
        Messages = messages,
        PureEpsilon = 0,
        MuSquared = muSquared,
    };

    private sealed class Rehearsal : GlmWork
    {
        public const int Messages = 2;

        public override bool IsRehearsal => true;

        public override int Rounds => Messages;

        public override double[] StartWeights() => new double[Train.Dimension];

        public override (LinearPart Rows, int[]? Order) InEpoch(int epoch) => (Train, null);
    }

    /// <summary>A peer that takes everything and answers zeros; early stopping it lets go on.</summary>
    private sealed class Echo : IPartyChannel
    {
        public string LocalParty => "warm-up";

        public string RemoteParty => "warm-up";

        public ChannelStatistics Statistics => default;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => new Dictionary<(string, Protection), long>();

        public bool TakesTransient => true;

        // Later than at once, as a real channel, so that the ways of waiting are compiled as well.
        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken) where T : Payload => await Task.Yield();

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken) where T : Payload
        {
            await Task.Yield();
            double[] zeros = new double[length ?? 1];
            Payload answer = typeof(T) == typeof(Scores) ? new Scores(zeros) : typeof(T) == typeof(Residuals) ? new Residuals(zeros)
                : new Scalars(ScalarsKind.Step, new[] { (double)StopVerdict.GoOn });
            return (T)answer;
        }

        public ValueTask CompleteAsync(CancellationToken cancellationToken) => default;

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken) => default;

        public ValueTask DisposeAsync() => default;
    }
}
