using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>Ways to break what the sensitivity proof rests on.</summary>
internal enum TrainerMutant
{
    /// <summary>The trainer as it is.</summary>
    None,

    /// <summary>A1: a constant appended after rows were scaled to the bound.</summary>
    BiasAfterNormalise,

    /// <summary>A2: weights start at random, outside the ball.</summary>
    UnprojectedStart,

    /// <summary>A2: weights start at a fit of the party's own rows.</summary>
    WarmStart,

    /// <summary>A2: weights are not projected after a step.</summary>
    NoProjection,

    /// <summary>A3: a row is in two batches of an epoch.</summary>
    RowInTwoBatches,

    /// <summary>A3: batches follow the order of a feature.</summary>
    OrderFromData,

    /// <summary>A4: the gradient is divided by a count of the rows that have something.</summary>
    ActualCountDivisor,

    /// <summary>A5: received residuals are used as they are.</summary>
    NoReceiverClip,

    /// <summary>The active party clips neither what it sends nor what it uses.</summary>
    OwnUnclipped,

    /// <summary>The active party clips what it sends and uses what it did not clip.</summary>
    OwnStepUnclipped,

    /// <summary>A6: one epoch more than the noise is calibrated for.</summary>
    ExtraEpoch,

    /// <summary>A6: a lost message is noised anew when it is sent again.</summary>
    NewNoiseOnResend,

    /// <summary>The active party noises its residuals for each passive party by itself.</summary>
    NoiseForEachRecipient,

    /// <summary>All messages carry the same noise.</summary>
    NoiseReused,

    /// <summary>The last message carries no noise.</summary>
    NoiseForgotten,

    /// <summary>The last message is disclosed.</summary>
    MessageDisclosed,

    /// <summary>Several scores a row: the receiver clips entries instead of rows.</summary>
    EntriesClipped,

    /// <summary>Sample weights beyond their declared bound are used as they are.</summary>
    WeightsUnclipped,

    /// <summary>Sample weights are divided by their mean, as a weighted mean would.</summary>
    WeightsOverTheirSum,

    /// <summary>Scores of classes are used as they came, however far from 0.</summary>
    ScoresUnbounded,

    /// <summary>Momentum of .9, for which no bound is proved.</summary>
    Momentum,

    /// <summary>Weight noise: the gradient is used as it is.</summary>
    GradientNotNoised,

    /// <summary>Charged evaluation: the final weights are used as they are.</summary>
    FinalWeightsNotNoised,

    /// <summary>A harmless one: the threshold of the L1 penalty before the projection instead of after it.</summary>
    ThresholdFirst,
}

/// <summary>One training of a real trainer on one of two neighbouring tables.</summary>
internal sealed class NeighbourTraining
{
    private NeighbourTraining(GlmTraining outcome, TestWork work, ScriptedChannel[] peers) => (Outcome, Work, Peers) = (outcome, work, peers);

    internal GlmTraining Outcome { get; }

    internal TestWork Work { get; }

    internal ScriptedChannel[] Peers { get; }

    /// <summary>Trains.</summary>
    /// <param name="c">The two tables, the job and the script.</param>
    /// <param name="other">Which table.</param>
    /// <param name="mutant">What is broken.</param>
    /// <param name="guarded">False takes the mechanism's own guards away: its count of releases and its clamp to the public bound.</param>
    /// <param name="noise">Noise of a stream: messages, gradient or weights.</param>
    /// <param name="given">Weight noise: the noisy gradients that the training is conditioned on; null draws them.</param>
    /// <param name="reservation">Where messages are kept; null for nowhere.</param>
    /// <param name="ready">The job made ready; null to do so here.</param>
    internal static NeighbourTraining Run(NeighbourCase c, bool other, TrainerMutant mutant, bool guarded, Func<string, INoiseSource> noise,
        IReadOnlyList<double[]>? given = null, IPrivacyReservation? reservation = null, Calibrated? ready = null)
    {
        (GlmPlan plan, BatchLayout layout, PartyCalibration calibration) = ready ?? c.Calibrate();
        double[][] x = [.. c.X];
        double[] y = [.. c.Y];
        if (other)
            (x[c.Changed], y[c.Changed]) = (c.OtherX, c.OtherY);
        GlmTargets targets = c.Role == PartyRole.Active ? Targets(c, plan, y, other, mutant) : new([]);
        if (mutant == TrainerMutant.BiasAfterNormalise)
            x = [.. x.Select(row => (double[])[.. row, c.Job.Preprocessing!.RowNorm])];

        // The claim is about the lattice of the noise; that messages are rounded once more is post-processing, which would hide by how much worlds differ.
        GaussianMechanism? Mechanism(NoiseCalibration? n, string stream) => n is null ? null : new GaussianMechanism(
            guarded ? n : n with { Releases = 4 * n.Releases, ValueBound = 1e3 * n.ValueBound }, noise(stream), reservation ?? NoReservation.Instance, latticeBits: GaussianMechanism.MostLatticeBits);
        bool free = c.Role == PartyRole.Active && plan.FreeIntercept;
        var work = new TestWork
        {
            Mutant = mutant,
            Case = c,
            Given = given,
            NullRow = other && c.Job.Privacy.Adjacency == Adjacency.ZeroOut ? c.Changed : null,
            Plan = plan,
            Party = "party",
            Layout = layout,
            Train = new LinearPart(new DenseMatrix(x.Length, x[0].Length, [.. x.SelectMany(row => row)]), free, plan.Family.Outputs),
            Test = new LinearPart(new DenseMatrix(0, x[0].Length), free, plan.Family.Outputs),
            Rows = x,
            Mechanism = Mechanism(calibration.MessageNoise, "messages"),
            GradientNoise = Mechanism(calibration.GradientNoise, "gradient"),
            WeightNoise = Mechanism(calibration.EvaluationNoise, "weights"),
            EpsilonAfter = null,
            Progress = null,
        };
        ScriptedChannel[] peers = [.. Enumerable.Range(0, c.Peers).Select(p => new ScriptedChannel(plan, (channel, round, size) => c.Answers?.Invoke(channel.Heard, round, size) ?? c.Says(p, round, size)))];
        Task<GlmTraining> training = c.Role == PartyRole.Passive
            ? new GlmPassiveTrainer(work, peers[0]).RunAsync(default)
            : mutant == TrainerMutant.NoiseForEachRecipient ? new TalkativeTrainer(work, peers, targets).RunAsync(default)
            : new GlmActiveTrainer(work, peers, targets, new GlmTargets([])).RunAsync(default);
        return new(training.GetAwaiter().GetResult(), work, peers);
    }

    /// <summary>Labels, weights and offsets of one of the tables, as a real party makes them.</summary>
    private static GlmTargets Targets(NeighbourCase c, GlmPlan plan, double[] y, bool other, TrainerMutant mutant)
    {
        double[]? Changed(double[]? values, double value)
        {
            double[]? copy = values is null ? null : [.. values];
            if (copy is not null && other)
                copy[c.Changed] = value;
            return copy;
        }

        double[]? table = Changed(c.Weights, c.OtherWeight), weights = mutant == TrainerMutant.WeightsUnclipped ? table : GlmRowWeights.Of(plan, table, y);
        if (mutant == TrainerMutant.WeightsOverTheirSum && weights is not null)
            TensorPrimitives.Divide(weights, Math.Max(1e-9, weights.Average()), weights);
        return new(y, weights, Changed(c.Offsets, c.OtherOffset));
    }

    /// <summary>What the trainer works on, with one act broken, or none; keeps its gradients.</summary>
    internal sealed class TestWork : GlmWork
    {
        private double[]? _velocity;
        private int _clips, _steps;

        public required TrainerMutant Mutant { get; init; }

        public required NeighbourCase Case { get; init; }

        public required double[][] Rows { get; init; }

        public IReadOnlyList<double[]>? Given { get; init; }

        /// <summary>Zero-out at the active party: the row whose residual is 0.</summary>
        public int? NullRow { get; init; }

        public List<double[]> Gradients { get; } = [];

        public List<double[]> NoisyGradients { get; } = [];

        /// <summary>Messages that left and were lost.</summary>
        public List<VectorPayload> Lost { get; } = [];

        public override int Rounds => base.Rounds + (Mutant == TrainerMutant.ExtraEpoch ? Layout.Count : 0);

        public override double[] StartWeights()
        {
            double[] weights = base.StartWeights();
            if (Mutant is TrainerMutant.UnprojectedStart)
            {
                var random = new Random(7);
                for (int j = 0; j < weights.Length; j++)
                    weights[j] = 4 * Plan.WeightNorm * (1 + random.NextDouble());
            }
            else if (Mutant is TrainerMutant.WarmStart)
            {
                double[] ones = new double[Rows.Length];
                Array.Fill(ones, 1e3);
                Train.Gradient(0, ones, weights);
                VectorKernels.Project(weights, Plan.WeightNorm);
            }

            return weights;
        }

        public override (LinearPart Rows, int[]? Order) InEpoch(int epoch)
        {
            (LinearPart rows, int[]? order) = base.InEpoch(epoch);
            if (Mutant is not (TrainerMutant.RowInTwoBatches or TrainerMutant.OrderFromData))
                return (rows, order);
            order ??= [.. Enumerable.Range(0, Rows.Length)];
            if (Mutant == TrainerMutant.OrderFromData)
                Array.Sort([.. order.Select(row => Rows[row][0])], order);
            else
                order = [.. order.Select((row, at) => at == 0 || at == order.Length - 1 ? Case.Changed : row)];
            return (Train.Reordered(order, null), order);
        }

        public override void ClipReceived(Span<double> residuals)
        {
            if (Mutant == TrainerMutant.EntriesClipped)
                VectorKernels.Clip(residuals, Plan.ReceivedBound);
            else if (Mutant != TrainerMutant.NoReceiverClip)
                base.ClipReceived(residuals);
        }

        public override void BoundReceived(Span<double> scores)
        {
            if (Mutant != TrainerMutant.ScoresUnbounded)
                base.BoundReceived(scores);
        }

        public override void ClipOwn(Span<double> residuals)
        {
            if (Mutant is not (TrainerMutant.OwnUnclipped or TrainerMutant.OwnStepUnclipped))
                base.ClipOwn(residuals);
            int start = Layout.Start(_clips % Layout.Count), size = Layout.Size(_clips % Layout.Count);
            int[]? order = NullRow is null || !Plan.Job.Training.Reshuffle ? null : EpochOrder.Of(Rows.Length, Plan.Job.Training.Seed, _clips / Layout.Count);
            for (int i = 0; i < residuals.Length; i++)
                if ((order is null ? start + i % size : order[start + i % size]) == NullRow)
                    residuals[i] = 0;
            _clips++;
        }

        public override Released<T> Release<T>(int round, T value, double[] buffer, string name)
        {
            switch (Mutant)
            {
                case TrainerMutant.NewNoiseOnResend:
                    Lost.Add(base.Release(round, value, buffer, name).Payload);
                    break;
                case TrainerMutant.MessageDisclosed when round == Rounds - 1:
                    return Disclosure.Unprotected(value, "mutant");
                case TrainerMutant.OwnStepUnclipped when value is Residuals:
                    double[] sent = value.Values.ToArray();
                    base.ClipOwn(sent);
                    return base.Release(round, (T)(VectorPayload)new Residuals(sent), sent, name);
                default:
                    break;
            }

            return base.Release(round, value, buffer, name);
        }

        public override void Step(Span<double> weights, Span<double> gradient, int batchRows)
        {
            int start = Layout.Start(_steps % Layout.Count), size = Layout.Size(_steps++ % Layout.Count);
            switch (Mutant)
            {
                case TrainerMutant.NoProjection when GradientNoise is null:
                    Train.Step(weights, gradient, Plan.StepSize, Plan.Job.Model.L2, Plan.Job.Model.L1, batchRows, double.PositiveInfinity);
                    return;
                case TrainerMutant.ThresholdFirst when GradientNoise is null:
                    Train.Step(weights, gradient, Plan.StepSize, Plan.Job.Model.L2, Plan.Job.Model.L1, batchRows, double.PositiveInfinity);
                    VectorKernels.Project(weights, Plan.WeightNorm);
                    return;
                case TrainerMutant.ActualCountDivisor:
                    batchRows = Math.Max(1, Rows.Skip(start).Take(size).Count(row => row[0] > 0));
                    break;
                case TrainerMutant.Momentum:
                    _velocity ??= new double[weights.Length];
                    TensorPrimitives.MultiplyAdd(_velocity, 0.9, gradient, _velocity);
                    _velocity.CopyTo(gradient);
                    break;
                default:
                    break;
            }

            base.Step(weights, gradient, batchRows);
        }

        protected override void PerturbGradient(Span<double> gradient)
        {
            Gradients.Add(gradient.ToArray());
            if (Given is { } given)
                given[Gradients.Count - 1].CopyTo(gradient);
            else if (Mutant != TrainerMutant.GradientNotNoised)
                base.PerturbGradient(gradient);
            NoisyGradients.Add(gradient.ToArray());
        }

        public override void PerturbFinal(Span<double> weights)
        {
            if (Mutant != TrainerMutant.FinalWeightsNotNoised)
                base.PerturbFinal(weights);
        }
    }

    /// <summary>Noises the same residuals for each passive party by itself.</summary>
    private sealed class TalkativeTrainer(GlmWork work, ScriptedChannel[] passives, GlmTargets targets) : GlmActiveTrainer(work, passives, targets, new GlmTargets([]))
    {
        private readonly GlmWork _work = work;
        private readonly ScriptedChannel[] _passives = passives;

        protected override async ValueTask SendResidualsAsync(int round, Residuals residuals, double[] buffer, CancellationToken cancellationToken)
        {
            foreach (ScriptedChannel passive in _passives)
                await passive.SendAsync(round, _work.Release(round, residuals, buffer, "training residuals"), cancellationToken);
        }
    }
}

/// <summary>Draws the noise of a mutant.</summary>
/// <param name="inner">Honest noise.</param>
/// <param name="reuse">Whether the first fill comes again and again; else all but the first fills are 0.</param>
internal sealed class BrokenNoise(INoiseSource inner, bool reuse) : INoiseSource
{
    private int[]? _first;

    public bool IsSecure => false;

    public void Fill(Span<int> destination)
    {
        if (_first is null)
        {
            inner.Fill(destination);
            _first = destination.ToArray();
            return;
        }

        for (int i = 0; i < destination.Length; i++)
            destination[i] = reuse ? _first[i % _first.Length] : 0;
    }
}

/// <summary>No noise: a message is its value, rounded to the lattice.</summary>
internal sealed class NoNoise : INoiseSource
{
    public bool IsSecure => false;

    public void Fill(Span<int> destination) => destination.Clear();
}

/// <summary>The claim, checked on a pair of trainings. Noise cancels in the difference of two lattice integers, so what is left is exact.</summary>
internal static class NeighbourCheck
{
    /// <summary>The mechanism refused a message beyond those it is calibrated for.</summary>
    internal const string Refused = "refused by the mechanism";

    /// <summary>Trains on both tables and checks all that the claim rests on.</summary>
    /// <returns>Name of the first check that fails, or null; and the mu that the two trainings realise, with the one claimed.</returns>
    internal static (string? Violation, double Realised, double Claimed) Run(NeighbourCase c, TrainerMutant mutant, bool guarded)
    {
        Func<string, INoiseSource> Noise(ulong seed) => stream => (mutant, stream) switch
        {
            (TrainerMutant.NoiseReused, "messages") => new BrokenNoise(new TestNoise(seed, stream), reuse: true),
            (TrainerMutant.NoiseForgotten, "messages") => new BrokenNoise(new TestNoise(seed, stream), reuse: false),
            _ => new TestNoise(seed, stream),
        };

        (_, BatchLayout layout, PartyCalibration claim) = c.Calibrate();
        NeighbourTraining one, two, again;
        try
        {
            one = NeighbourTraining.Run(c, false, mutant, guarded, Noise(1));
            IReadOnlyList<double[]>? given = claim.GradientNoise is null ? null : one.Work.NoisyGradients;
            two = NeighbourTraining.Run(c, true, mutant, guarded, Noise(1), given);
            again = NeighbourTraining.Run(c, false, mutant, guarded, Noise(2), given);
        }
        catch (PrivacyRefusedException e) when (e.Id == PrivacyErrors.ReleasesSpent)
        {
            return (Refused, 0, claim.Mu);
        }

        double squares = 0;
        string? violation = Form(one, claim) ?? Form(two, claim) ?? NoiseFault();
        double lattice = (double)INoiseSource.LatticeScale * INoiseSource.LatticeScale;
        for (int t = 0; t < one.Peers[0].Heard.Count; t++)
        {
            squares += SquaresAt(t) / lattice;
            if (t < one.Work.Gradients.Count)
                squares += Squares(Integers(one.Work.Gradients[t], claim.GradientNoise!), Integers(two.Work.Gradients[t], claim.GradientNoise!)) / lattice;
            // What progress reports after a round: m of e epochs cost at most m/e of mu squared.
            if (squares > claim.Mu * claim.Mu * (t / layout.Count + 1) / c.Job.Training.Epochs!.Value)
                violation ??= "messages up to an epoch";
            (ReadOnlyMemory<double> first, ReadOnlyMemory<double> second) = (one.Peers[0].Heard[t].Payload.Values, two.Peers[0].Heard[t].Payload.Values);
            int rows = layout.Size(t % layout.Count);
            if (claim.GradientNoise is not null && Enumerable.Range(0, first.Length).Where(i => first.Span[i] != second.Span[i]).Select(i => i % rows).Distinct().Count() > 1)
                violation ??= "other rows";
        }

        double[] w = one.Outcome.Weights, v = two.Outcome.Weights;
        if (claim.EvaluationNoise is { } weights)
            squares += Squares(Integers(w, weights), Integers(v, weights)) / lattice;
        else if (TensorPrimitives.Distance<double>(w, v) > claim.FinalDrift)
            violation ??= "final weights";
        double realised = Math.Sqrt(squares);
        if (realised > claim.Mu)
            violation ??= "transcript";
        return (violation, realised, claim.Mu);

        // Squared distance of what left in a round, in lattice steps. Equal copies are one message; different ones, and lost ones, add up.
        double SquaresAt(int t)
        {
            double sum = one.Peers.Select(p => p.Heard[t].Payload).Zip(two.Peers.Select(p => p.Heard[t].Payload))
                .DistinctBy(pair => pair.First).Sum(pair => Distance(pair.First, pair.Second));
            return t < one.Work.Lost.Count ? sum + Distance(one.Work.Lost[t], two.Work.Lost[t]) : sum;
        }

        double Distance(VectorPayload a, VectorPayload b) => Squares(Integers(a.Values.Span, claim.MessageNoise), Integers(b.Values.Span, claim.MessageNoise));

        // The same table with other noise: the difference must be that of the two streams, every draw used once and in order.
        string? NoiseFault()
        {
            (TestNoise first, TestNoise second) = (new(1, "messages"), new(2, "messages"));
            for (int t = 0; t < one.Peers[0].Heard.Count; t++)
                if (!Differs(one.Peers[0].Heard[t].Payload.Values.Span, again.Peers[0].Heard[t].Payload.Values.Span, claim.MessageNoise, first, second))
                    return "noise of the messages";
            var gradientNoise = new TestNoise(1, "gradient");
            for (int t = 0; t < one.Work.Gradients.Count; t++)
                if (!Differs(one.Work.NoisyGradients[t], one.Work.Gradients[t], claim.GradientNoise!, gradientNoise, new NoNoise()))
                    return "noise of the gradients";
            return claim.EvaluationNoise is null || Differs(one.Outcome.Weights, again.Outcome.Weights, claim.EvaluationNoise, new TestNoise(1, "weights"), new TestNoise(2, "weights"))
                ? null : "noise of the final weights";
        }
    }

    /// <summary>T messages leave, noised, the same to everybody, of a form that does not depend on values.</summary>
    private static string? Form(NeighbourTraining training, PartyCalibration claim)
    {
        ScriptedChannel first = training.Peers[0];
        if (first.Heard.Count + training.Work.Lost.Count != claim.Releases)
            return "number of messages";
        if (training.Peers.Any(p => p.Heard.Any(m => m.Protection != Protection.Noise || m.Payload.Lattice is null)))
            return "protection of the messages";
        if (training.Peers.Any(p => !p.Heard.Select(m => m.Payload.Lattice!.Packed).Zip(first.Heard.Select(m => m.Payload.Lattice!.Packed)).All(m => m.First.Span.SequenceEqual(m.Second.Span))))
            return "one noise for all";
        return first.Heard.Any(m => m.Payload.Lattice!.Step != claim.MessageNoise.Sigma / INoiseSource.LatticeScale || m.Payload.Lattice.Bits != first.Heard[0].Payload.Lattice!.Bits)
            ? "form of the messages" : null;
    }

    private static bool Differs(ReadOnlySpan<double> a, ReadOnlySpan<double> b, NoiseCalibration noise, TestNoise first, INoiseSource second)
    {
        int[] k = new int[a.Length], other = new int[a.Length];
        first.Fill(k);
        second.Fill(other);
        double[] x = Integers(a, noise), y = Integers(b, noise);
        return Enumerable.Range(0, x.Length).All(i => x[i] - y[i] == (double)k[i] - other[i]);
    }

    private static double[] Integers(ReadOnlySpan<double> values, NoiseCalibration noise)
    {
        double[] integers = values.ToArray();
        TensorPrimitives.Divide(integers, noise.Sigma / INoiseSource.LatticeScale, integers);
        TensorPrimitives.Round(integers, integers);
        return integers;
    }

    private static double Squares(double[] a, double[] b) => Math.Pow(TensorPrimitives.Distance<double>(a, b), 2);
}
