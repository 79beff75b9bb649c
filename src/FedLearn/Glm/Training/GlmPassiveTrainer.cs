using FedLearn.Coordination;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>A passive party's side of training.</summary>
internal sealed partial class GlmPassiveTrainer(GlmWork work, IPartyChannel active)
{
    private readonly GlmPlan _plan = work.Plan;
    private readonly double[] _weights = work.StartWeights();
    private readonly RoundClock _clock = new(work);
    private readonly EarlyStop? _stop = EarlyStop.Of(work.Plan);

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        (int rounds, GlmStopReason reason) = await (_plan.Optimizer switch
        {
            GlmOptimizer.Lbfgs => LbfgsAsync(cancellationToken),
            GlmOptimizer.Accelerated => AcceleratedAsync(cancellationToken),
            GlmOptimizer.Irls => IrlsAsync(cancellationToken),
            _ when work.Joint is not null => JointDescent.RunAsync(work, _clock, _weights, null, cancellationToken),
            _ => SgdAsync(cancellationToken),
        }).ConfigureAwait(false);
        InMemoryChannel.TakeTurns([active], inTurn: false);
        _stop?.Restore(_weights);
        GlmTiming timing = _clock.Stop(work.EpochsOf(rounds));
        if (work.IsRehearsal)
            return new GlmTraining(_weights, reason, timing);
        work.CheckFinite(rounds, _weights);
        work.PerturbFinal(_weights);
        if (_plan.SendsTrainScores)
            await EvaluateAsync(work.Train, rounds, "evaluation: training rows", cancellationToken).ConfigureAwait(false);
        if (work.Test.Rows > 0 && _plan.SendsTestScores)
            await EvaluateAsync(work.Test, rounds, "evaluation: test rows", cancellationToken).ConfigureAwait(false);
        (GlmInference? inference, MissingInference? missing) = _plan.Job.Inference ? await InferAsync(rounds, cancellationToken).ConfigureAwait(false) : default;
        return new GlmTraining(_weights, reason, timing) { Inference = inference, Warnings = missing is null ? [] : [missing.Warning(_plan.Job), .. MissingInference.Named(work.Party, _dependent)] };
    }

    /// <summary>A warm start of a full-batch optimiser: the active party needs to know where it starts.</summary>
    private Task SendStartScoresAsync(CancellationToken cancellationToken) =>
        _plan.Job.Training.WarmStart ? EvaluateAsync(work.Train, 0, "start scores: mode none", cancellationToken) : Task.CompletedTask;

    /// <summary>Whether the active party ends training here.</summary>
    private async ValueTask<bool> StopsEarlyAsync(int round, CancellationToken cancellationToken)
    {
        if (_stop is null)
            return false;
        if (work.Validation is { } part)
            await EvaluateAsync(part, round, "evaluation: held-out rows", cancellationToken).ConfigureAwait(false);
        Scalars verdict = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Step, 1, cancellationToken)).ConfigureAwait(false);
        return _stop.Obey(ChannelGuard.Choice<StopVerdict>(verdict.Values.Span[0], active, round), _weights).Ends();
    }

    private ValueTask SendScalarsAsync(int round, double[] values, CancellationToken cancellationToken)
    {
        work.CheckFinite(round, values);
        return _clock.WaitAsync(RoundClock.Now, active.SendAsync(round,
            Disclosure.Unprotected(new Scalars(ScalarsKind.InnerProducts, values), "optimiser inner products: mode none"), cancellationToken));
    }

    private Task EvaluateAsync(LinearPart part, int round, string name, CancellationToken cancellationToken) => work.Joint is not { } joint ? SendScoresAsync(part, round, name, cancellationToken)
        : ChannelGuard.WhileTheyWaitAsync([joint.Arbiter], stop => SendScoresAsync(part, round, name, stop), cancellationToken);

    private async Task SendScoresAsync(LinearPart part, int round, string name, CancellationToken cancellationToken)
    {
        using System.Diagnostics.Activity? traced = work.Telemetry?.Begin("fedlearn.evaluation");
        double[] scores = new double[part.Rows * part.Outputs];
        part.Scores(0, _weights, scores);
        if (_plan.ElementType == ElementType.Float32)
            VectorKernels.RoundToSingle(scores);
        work.CheckFinite(round, scores);
        await active.SendAsync(round, Disclosure.Unprotected(new Scores(scores, _plan.ElementType), name), cancellationToken).ConfigureAwait(false);
    }
}
