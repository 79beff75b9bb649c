using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>What a trainer works on, and the acts that the sensitivity proof rests on (A2 to A6 of docs/proofs/sensitivity.md). They are virtual so that
/// tests can break one at a time and see that they notice.</summary>
internal class GlmWork
{
    public required GlmPlan Plan { get; init; }

    public required string Party { get; init; }

    public required BatchLayout Layout { get; init; }

    public required LinearPart Train { get; init; }

    public required LinearPart Test { get; init; }

    /// <summary>Names of the party's columns, the constant among them if there is one.</summary>
    public IReadOnlyList<string> Columns { get; init; } = [];

    /// <summary>Names of the columns that have the same value in all training rows and are 0 there.</summary>
    public List<string> Zeros { get; init; } = [];

    /// <summary>Noise of the training messages. Null where they are disclosed.</summary>
    public GaussianMechanism? Mechanism { get; init; }

    /// <summary>Noise of the party's own mean gradients. Null but with weight noise.</summary>
    public GaussianMechanism? GradientNoise { get; init; }

    /// <summary>Noise of the final weights. Null but in a charged evaluation.</summary>
    public GaussianMechanism? WeightNoise { get; init; }

    /// <summary>Encrypted gradients; null but in the modes he and he+dp.</summary>
    public IJointGradients? Joint { get; init; }

    /// <summary>The charge of the rounds, mode he+dp only.</summary>
    public IPrivacyReservation? JointCharge { get; init; }

    /// <summary>Writes a round down as paid for before anything of it leaves: the arbiter noises what comes of it.</summary>
    public virtual void BeforeJointRound(int round)
    {
        Span<byte> number = stackalloc byte[sizeof(int)];
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(number, round);
        JointCharge?.Keep(round, number);
    }

    /// <summary>Weights of an earlier model to start from; mode none only.</summary>
    public double[]? WarmStart { get; init; }

    /// <summary>Held-out training rows that early stopping watches; null without.</summary>
    public LinearPart? Validation { get; init; }

    /// <summary>Their labels; active party only.</summary>
    public GlmTargets? ValidationTargets { get; init; }

    /// <summary>Threshold of classes, and how intervals are found.</summary>
    public Evaluation.EvaluationOptions Evaluation { get; init; } = new() { Resamples = 0 };

    /// <summary>The run as the party's store keeps it; null where no states are kept.</summary>
    public GlmRun? Run { get; init; }

    /// <inheritdoc cref="GlmRun.BeginRound"/>
    public bool BeginRound(int round) => Run?.BeginRound(round) == true;

    /// <summary>Keeps the state before a round.</summary>
    /// <param name="round">The round that comes next.</param>
    /// <param name="clock">Times so far.</param>
    /// <param name="weights">Weights.</param>
    /// <param name="stop">What early stopping remembers; null without.</param>
    /// <param name="add">Adds what else the rounds depend on.</param>
    public void KeepState(int round, RoundClock clock, double[] weights, EarlyStop? stop, Action<StateWriter>? add = null)
    {
        Run!.Keep(round, state =>
        {
            state.Add("weights", weights).Add("history", [.. _history.SelectMany(Numbers)]);
            clock.Keep(state);
            stop?.Keep(state);
            for (int i = 0; i < Mechanisms.Length; i++)
                if (Mechanisms[i]?.Position is { } position)
                    state.Add($"noise.{i}.released", position.Released).Add($"noise.{i}.draws", position.Draws);
            add?.Invoke(state);
        });

        static double[] Numbers(HistoryPoint h) =>
            [h.Round, h.Loss is null ? 0 : 1, h.Loss ?? 0, h.Validation is null ? 0 : 1, h.Validation ?? 0, h.Epsilon is null ? 0 : 1, h.Epsilon ?? 0, h.Seconds];
    }

    /// <summary>Goes on where the run was cut off: reads what <see cref="KeepState"/> wrote, but for the noise, which goes on before any is drawn.</summary>
    /// <param name="clock">Gets the times of then.</param>
    /// <param name="weights">Gets the weights.</param>
    /// <param name="stop">Gets what early stopping remembered.</param>
    /// <returns>The round that comes next, and the state for what else was kept; null before round 0.</returns>
    public (int First, StateReader? State) GoOn(RoundClock clock, double[] weights, EarlyStop? stop)
    {
        _history.EnsureCapacity(Math.Min(EpochsOf(Rounds), MostHistoryAhead));
        if (Run?.Before is not { } state)
            return (0, null);
        state.Doubles("weights", weights.Length).CopyTo(weights, 0);
        const int Columns = 8;
        double[] history = state.Doubles("history");
        if (history.Length % Columns != 0)
            throw state.Damaged();
        for (int i = 0; i < history.Length; i += Columns)
            _history.Add(new HistoryPoint(state.Whole(history[i]), history[i + 1] == 0 ? null : history[i + 2], history[i + 3] == 0 ? null : history[i + 4],
                history[i + 5] == 0 ? null : history[i + 6], history[i + 7]));
        _secondsBefore = clock.GoOn(state);
        stop?.GoOn(state, weights.Length);
        return (Run.First, state);
    }

    /// <summary>Draws of noise that are made before round 0 at most, unless one message takes more: 4 MiB.</summary>
    private const int NoiseAhead = 1 << 20;

    /// <summary>Lets the mechanisms go on where they were, before any of them draws, and draws noise of the first rounds while the parties still wait for each other.</summary>
    public void BeginNoise()
    {
        for (int i = 0; i < Mechanisms.Length; i++)
            if (Run?.Before is { } state && Mechanisms[i] is { } mechanism)
                mechanism.ContinueAt(new MechanismPosition(state.Integer32($"noise.{i}.released"), state.Integer($"noise.{i}.draws")));
        int length = Train.Outputs * Layout.LargestSize;
        Mechanism?.Prepare(length);
        Mechanism?.Prefetch(length * Math.Clamp(NoiseAhead / length, 1, Rounds));
    }

    private GaussianMechanism?[] Mechanisms => [Mechanism, GradientNoise, WeightNoise];

    /// <summary>Figures of the epochs or iterations so far.</summary>
    public IReadOnlyList<GlmHistoryPoint> History => [.. _history.Select(h => new GlmHistoryPoint(h.Round, h.Loss, h.Validation, h.Epsilon, h.Seconds))];

    // Room for the epochs of usual jobs is made before the first, so that a round needs no new memory.
    private const int MostHistoryAhead = 1 << 16;

    private readonly List<HistoryPoint> _history = [];

    private readonly record struct HistoryPoint(int Round, double? Loss, double? Validation, double? Epsilon, double Seconds);

    /// <summary>Weights before round 0: 0, which no row has touched (A2), but for a warm start.</summary>
    public virtual double[] StartWeights() => WarmStart is { } start ? [.. start] : new double[Train.Dimension];

    /// <summary>Epochs or iterations that so many rounds are.</summary>
    public int EpochsOf(int rounds) => Plan.FullBatch ? rounds : rounds / Layout.Count;

    /// <summary>Training rows in the order of an epoch; <see cref="Train"/> unless the job reshuffles. A public order, each row once (A3).</summary>
    public virtual (LinearPart Rows, int[]? Order) InEpoch(int epoch)
    {
        if (!Plan.Job.Training.Reshuffle)
            return (Train, null);
        int[] order = EpochOrder.Of(Train.Rows, Plan.Job.Training.Seed, epoch);
        return (_shuffled = Train.Reordered(order, _shuffled), order);
    }

    private LinearPart? _shuffled;

    /// <summary>Received residuals, bounded whatever a peer sent (A5); themselves where the plan bounds none.</summary>
    /// <param name="received">What the active party sent, shape [K b].</param>
    /// <param name="room">Where the bounded ones go: at least as many numbers, or none where the plan bounds none.</param>
    public ReadOnlyMemory<double> Bounded(ReadOnlyMemory<double> received, double[] room)
    {
        if (double.IsPositiveInfinity(Plan.ReceivedBound))
            return received;
        Memory<double> bounded = room.AsMemory(0, received.Length);
        received.CopyTo(bounded);
        ClipReceived(bounded.Span);
        return bounded;
    }

    /// <summary>Bounds received residuals in place.</summary>
    public virtual void ClipReceived(Span<double> residuals)
    {
        if (Train.Outputs == 1)
            VectorKernels.Clip(residuals, Plan.ReceivedBound);
        else
            VectorKernels.ClipRows(residuals, residuals.Length / Train.Outputs, Plan.ReceivedBound);
    }

    /// <summary>Bounds the sum of received scores where the rounding of a linear predictor far from 0 would show in the residuals: for classes, whose
    /// residuals do not know a shift of all scores, and for families of one's own. A map of what was received alone, so it costs nothing.</summary>
    public virtual void BoundReceived(Span<double> scores)
    {
        if (Mechanism is null)
            return;
        if (Train.Outputs > 1)
            SubtractLargest(scores, scores.Length / Train.Outputs);
        VectorKernels.Clip(scores, Plan.ReceivedScoreBound);
    }

    private static void SubtractLargest(Span<double> scores, int rows)
    {
        for (int i = 0; i < rows; i++)
        {
            double largest = double.NegativeInfinity;
            for (int at = i; at < scores.Length; at += rows)
                largest = Math.Max(largest, scores[at]);
            for (int at = i; at < scores.Length; at += rows)
                scores[at] -= largest;
        }
    }

    /// <summary>Bounds the active party's own residuals, before it uses and before it noises them. Those of classes are at most sqrt 2 long, and
    /// clipping a field of vectors could make it one that is not monotone, so they stay.</summary>
    public virtual void ClipOwn(Span<double> residuals)
    {
        if (Train.Outputs == 1)
            VectorKernels.Clip(residuals, Plan.ResidualClip);
    }

    /// <summary>One step from the sum of gradients over a batch: w becomes Proj_k((1 - eta lambda) w - eta (g/b + noise)).</summary>
    /// <param name="weights">w, in place.</param>
    /// <param name="gradient">Sum over the batch; overwritten.</param>
    /// <param name="batchRows">b, the planned size of the batch (A4).</param>
    public virtual void Step(Span<double> weights, Span<double> gradient, int batchRows)
    {
        if (GradientNoise is not null)
        {
            TensorPrimitives.Divide(gradient, batchRows, gradient);
            PerturbGradient(gradient);
            batchRows = 1;
        }

        Train.Step(weights, gradient, Plan.StepSize, Plan.Job.Model.L2, Plan.Job.Model.L1, batchRows, Plan.WeightNorm);
    }

    /// <summary>Weight noise: makes a mean gradient one that may be known.</summary>
    protected virtual void PerturbGradient(Span<double> gradient) => GradientNoise!.Perturb(gradient, "own gradient");

    /// <summary>Charged evaluation: from here on the party knows and uses the noisy weights alone.</summary>
    public virtual void PerturbFinal(Span<double> weights) => WeightNoise?.Perturb(weights, "final weights");

    public required Func<int, double>? EpsilonAfter { get; init; }

    public required IProgress<GlmProgress>? Progress { get; init; }

    /// <summary>Null where nobody is to be told, as in tests.</summary>
    public SessionTelemetry? Telemetry { get; init; }

    /// <summary>Whether nothing of it counts: see <see cref="GlmWarmup"/>. What comes after the rounds is then left out.</summary>
    public virtual bool IsRehearsal => false;

    /// <summary>Rounds of training; as many messages as the noise is calibrated for (A6).</summary>
    public virtual int Rounds => Plan.FullBatch ? Plan.Epochs : Plan.Epochs * Layout.Count;

    /// <summary>Lets a training message leave: noised and charged in private modes, else rounded to the wire's precision and disclosed.</summary>
    public virtual Released<T> Release<T>(int round, T value, double[] buffer, string name) where T : VectorPayload
    {
        if (Mechanism is not null)
            return Mechanism.Release(value, name, round + 1 < Rounds ? Train.Outputs * Layout.Size((round + 1) % Layout.Count) : 0);
        if (Plan.ElementType == ElementType.Float32)
        {
            VectorKernels.RoundToSingle(buffer.AsSpan(0, value.Length));
            CheckFinite(round, buffer.AsSpan(0, value.Length));
        }

        if (value is not RoundVector { IsTransient: true })
            return Disclosure.Unprotected(value, $"{name}: {Plan.DisclosureReason}");
        // Transient vectors are used again and again with other numbers, and so are the objects that release them: no memory is allocated in a round.
        foreach (object earlier in _disclosed)
            if (earlier is Released<T> known && known.Payload == value)
                return known;
        Released<T> released = Disclosure.Unprotected(value, $"{name}: {Plan.DisclosureReason}");
        _disclosed.Add(released);
        return released;
    }

    private readonly List<object> _disclosed = [];

    /// <summary>Refuses a vector of a round that is packed in another way than the job says. The peer of a rehearsal packs nothing.</summary>
    public T Packed<T>(T vector, PartyRole from, IPartyChannel channel, int round) where T : RoundVector =>
        IsRehearsal ? vector : ChannelGuard.Packed(vector, Plan.Packing(from), channel, round);

    public void Report(int roundsDone, double? loss, double? validation = null)
    {
        Telemetry?.RoundsDone(roundsDone, Rounds);
        double? epsilon = EpsilonAfter?.Invoke(Math.Max(1, roundsDone));
        _history.Add(new HistoryPoint(roundsDone, loss, validation, epsilon, _secondsBefore + Stopwatch.GetElapsedTime(_start).TotalSeconds));
        Progress?.Report(new GlmProgress(Party, roundsDone, Rounds, loss, epsilon));
    }

    /// <summary>Begins to count the seconds of the history: at round 0, when all parties are ready.</summary>
    /// <returns>The time stamp of now.</returns>
    public long BeginRounds() => _start = Stopwatch.GetTimestamp();

    private long _start;
    private double _secondsBefore;

    /// <summary>Ends a training that has diverged at the party where it did, before a peer finds fault with its messages.</summary>
    public void CheckFinite(int round, ReadOnlySpan<double> values)
    {
        if (!VectorKernels.AllFinite(values))
            throw new InternalFailureException(GlmErrors.Diverged, $"party '{Party}', round {round}",
                "training produced a NaN or an infinity.", Plan.FullBatch
                    ? "Scale the columns (preprocessing.scaling standardize or declared), look for columns or offsets of extreme size, or set model.l2 above 0."
                    : "Use a smaller training.stepSize, a training.weightNorm, or scaled columns.");
    }
}

/// <summary>What a trainer leaves.</summary>
internal sealed record GlmTraining(double[] Weights, GlmStopReason StopReason, GlmTiming Timing)
{
    /// <summary>Makes the figures of the training rows, which can take minutes for millions of rows: after the peers have been let go. The token leaves out intervals alone. Null where there are none.</summary>
    public Func<CancellationToken, Evaluation.ModelEvaluation>? MeasureTrain { get; init; }

    /// <summary>As <see cref="MeasureTrain"/>, of the test rows.</summary>
    public Func<CancellationToken, Evaluation.ModelEvaluation>? MeasureTest { get; init; }

    /// <summary>The party's own standard errors; null unless asked for.</summary>
    public GlmInference? Inference { get; init; }

    public double? Objective { get; init; }

    /// <summary>What the party may claim; null where <see cref="GlmClaims"/> says it.</summary>
    public GlmPrivacyStatement? Statement { get; init; }

    /// <summary>How scores of the passive parties enter a prediction; null for adding them.</summary>
    public GlmPeerLink? PeerLink { get; init; }

    public IReadOnlyList<string> Warnings { get; init; } = [];
}

/// <summary>Splits the time of the training rounds into waiting, noise and the rest.</summary>
internal sealed class RoundClock(GlmWork work)
{
    private readonly long _start = work.BeginRounds();
    // Noise was drawn ahead, before the rounds: its time is not theirs.
    private readonly TimeSpan _noiseBefore = NoiseOf(work), _syncBefore = SyncOf(work);
    private long _waited;
    private double _trainingBefore, _waitBefore, _noiseEarlier, _syncEarlier;

    /// <summary>Adds the times so far to a state.</summary>
    public void Keep(StateWriter state) => state.Add("times", [Training, Wait, Noise, Sync]);

    /// <summary>Adds the times that were kept to those of this process.</summary>
    /// <returns>Seconds of the training rounds before.</returns>
    public double GoOn(StateReader state)
    {
        double[] times = state.Doubles("times", 4);
        (_trainingBefore, _waitBefore, _noiseEarlier, _syncEarlier) = (times[0], times[1], times[2], times[3]);
        return _trainingBefore;
    }

    private double Training => _trainingBefore + Stopwatch.GetElapsedTime(_start).TotalSeconds;

    private double Wait => _waitBefore + (double)_waited / Stopwatch.Frequency;

    private double Noise => _noiseEarlier + (NoiseOf(work) - _noiseBefore).TotalSeconds;

    private double Sync => _syncEarlier + (SyncOf(work) - _syncBefore).TotalSeconds;

    /// <summary>Where a wait begins: the first argument of <see cref="WaitAsync(long, ValueTask)"/>, so that it is read before the operation starts. A peer in this process may work inside it.</summary>
    public static long Now => Stopwatch.GetTimestamp();

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<T> WaitAsync<T>(long since, ValueTask<T> operation)
    {
        T result = await operation.ConfigureAwait(false);
        _waited += Now - since;
        return result;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WaitAsync(long since, ValueTask operation)
    {
        await operation.ConfigureAwait(false);
        _waited += Now - since;
    }

    /// <summary>Adds a wait that somebody else has measured.</summary>
    public void Waited(TimeSpan time) => _waited += (long)(time.TotalSeconds * Stopwatch.Frequency);

    public GlmTiming Stop(int epochs)
    {
        double training = Training, wait = Wait, noise = Noise;
        return new GlmTiming(training, Math.Max(0, training - wait - noise), wait, noise, epochs) { Sync = Sync };
    }

    private static TimeSpan NoiseOf(GlmWork work) => (work.Mechanism?.NoiseTime ?? TimeSpan.Zero) + (work.GradientNoise?.NoiseTime ?? TimeSpan.Zero);

    // Both mechanisms share one reservation, so that the time of either counts all syncs.
    private static TimeSpan SyncOf(GlmWork work) => (work.Mechanism ?? work.GradientNoise)?.SyncTime ?? TimeSpan.Zero;
}
