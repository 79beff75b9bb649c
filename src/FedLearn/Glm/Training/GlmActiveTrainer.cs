using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Evaluation;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>The active party's side of training. Each optimiser has a file of its own, with both sides' steps in the same order.</summary>
/// <param name="work">What it works on.</param>
/// <param name="passives">One channel to each passive party.</param>
/// <param name="train">Labels to train on, with weights and offsets.</param>
/// <param name="test">Labels and offsets of the test rows.</param>
/// <param name="measuredLabels">Labels of the training rows to measure against, where they differ from those to train on.</param>
internal partial class GlmActiveTrainer(GlmWork work, IReadOnlyList<IPartyChannel> passives, GlmTargets train, GlmTargets test, double[]? measuredLabels = null)
{
    private readonly GlmPlan _plan = work.Plan;
    private readonly double[] _weights = work.StartWeights();
    private readonly double[] _trainScores = new double[work.Train.Rows * work.Train.Outputs];
    private readonly RoundClock _clock = new(work);

    // Length of the gradient at which training has converged, over the mean size of the residuals of the model without features.
    private const double RelativeTolerance = 1e-8;

    // A gradient of so many times the tolerance is no rounding of columns of ordinary size at their optimum.
    private const double FarFromOptimum = 1e3;

    private double _firstLoss, _lastLoss, _gradientNorm, _tolerance;
    // Rows in the order of the last epoch's scores; null for their own order.
    private int[]? _lastOrder;
    // l2/2 |w|^2 + l1 |w|_1 over all parties; null where it is not known.
    private double? _penalty;
    private readonly EarlyStop? _stop = EarlyStop.Of(work.Plan);
    private FeaturelessModel? _featureless;

    private FeaturelessModel Featureless => _featureless ??= FeaturelessModel.Fitted(_plan.Family, train);

    public async Task<GlmTraining> RunAsync(CancellationToken cancellationToken)
    {
        (int rounds, GlmStopReason reason) = await (_plan.Optimizer switch
        {
            GlmOptimizer.Lbfgs => LbfgsAsync(cancellationToken),
            GlmOptimizer.Accelerated => AcceleratedAsync(cancellationToken),
            GlmOptimizer.Irls => IrlsAsync(cancellationToken),
            _ when work.Joint is not null => JointDescent.RunAsync(work, _clock, _weights, train, cancellationToken),
            _ => SgdAsync(cancellationToken),
        }).ConfigureAwait(false);
        InMemoryChannel.TakeTurns(passives, inTurn: false);
        _stop?.Restore(_weights);
        GlmTiming timing = _clock.Stop(work.EpochsOf(rounds));
        if (work.IsRehearsal)
            return new GlmTraining(_weights, reason, timing);

        work.CheckFinite(rounds, _weights);

        // In private modes the training metrics come from the noisy scores of the last epoch: nothing more is asked of the passive parties.
        if (_plan.SendsTrainScores)
            await EvaluateAsync(work.Train, train, _trainScores, rounds, cancellationToken).ConfigureAwait(false);
        bool scored = work.Joint is null || _plan.SendsTrainScores;
        double[]? tested = null;
        if (work.Test.Rows > 0 && (_plan.SendsTestScores || passives.Count == 0))
        {
            tested = new double[work.Test.Rows * work.Test.Outputs];
            await EvaluateAsync(work.Test, test, tested, rounds, cancellationToken).ConfigureAwait(false);
        }

        (GlmInference? inference, MissingInference? missing) = _plan.Job.Inference ? await InferAsync(rounds, cancellationToken).ConfigureAwait(false) : default;
        string[] warnings = [.. Warnings(reason, rounds), .. missing is null ? Array.Empty<string>() : [missing.Warning(_plan.Job), .. MissingInference.Named(work.Party, _dependent)]];
        if (inference is not null && (reason is GlmStopReason.RoundLimit or GlmStopReason.EarlyStopped))
            warnings = [.. warnings, "standard errors suppose the optimum, and training ended before it: raise training.epochs, or use lbfgs or irls without early stopping"];
        else if (inference is not null && _separated && !IsStuck(reason))
            warnings = [.. warnings, $"standard errors of some weights say nothing: {MissingInference.Separation}; {MissingInference.AgainstSeparation}"];
        if (passives.Count == 0 && !_plan.Private)
            _penalty = Penalty(GlmObjective.Norms(_weights, work.Train.Penalised));
        return new GlmTraining(_weights, reason, timing)
        {
            MeasureTrain = !scored ? null : stop => Measure(_trainScores, new GlmTargets(measuredLabels ?? train.Labels, Offsets: train.Offsets).Ordered(_plan.Private ? _lastOrder : null), stop),
            MeasureTest = tested is null ? null : stop => Measure(tested, test, stop),
            // After early stopping the penalty of the best weights is not known.
            Objective = !scored || (_stop is not null && passives.Count > 0) ? null : MeanLoss() + _penalty,
            Inference = inference,
            Warnings = warnings,
        };
    }

    /// <summary>Mean log loss of training rows below which every one of them is as good as certain.</summary>
    private const double Separated = 1e-6;

    private bool IsStuck(GlmStopReason reason) => reason == GlmStopReason.NoFurtherDecrease && _gradientNorm > FarFromOptimum * _tolerance;

    /// <summary>What helps where more iterations do not.</summary>
    private string OtherWays()
    {
        GlmJob job = _plan.Job;
        // Newton's method heeds the sizes of columns only through the penalty.
        bool scales = _plan.PreprocessingOptions.Scaling == Scaling.None && (_plan.Optimizer != GlmOptimizer.Irls || job.Model.L2 > 0);
        // As the plan admits them; what a run takes by its optimiser depends on how alike columns are, and Newton's method does not heed that.
        bool newton = _plan.Optimizer != GlmOptimizer.Irls && job.Model.L1 == 0 && job.Training is { EarlyStopping: null, WarmStart: false };
        string[] optimisers = [.. _plan.Optimizer == GlmOptimizer.Accelerated && job.Model.L1 == 0 ? ["lbfgs"] : (string[])[], .. newton ? ["irls"] : (string[])[]];
        return (scales ? ", or, where columns have very different sizes, use preprocessing.scaling standardize" + (newton ? " or training.optimizer irls" : "") : "")
            + (optimisers.Length > 0 ? $", or, where columns tell nearly the same, use training.optimizer {string.Join(" or ", optimisers)}" : "")
            + (job.Model.L2 == 0 && !_plan.Family.EstimatesDispersion ? ", or, where columns tell the labels of some rows without a mistake, set model.l2 above 0" : "");
    }

    /// <summary>What whoever reads the figures should know. Labels speak in mode none alone: a warning in a private mode would tell of them outside the claim.</summary>
    private IEnumerable<string> Warnings(GlmStopReason reason, int rounds)
    {
        // Steps that are too short for the model to come near the best one do not make a loss grow; noise does.
        if (_lastLoss > _firstLoss && !_plan.ShortSteps(work.Layout).Any())
            yield return (_plan.Private && _plan.Mode != PrivacyMode.LabelDp
                ? "the training loss, measured on noisy scores, grew from the first epoch to the last: the noise alone can do that; where figures of test rows are poor too, use a smaller training.stepSize"
                : "the training loss grew from the first epoch to the last: use a smaller training.stepSize") + (_plan.Private ? CellsOutside.OutsideClaims : "");
        if (IsStuck(reason))
            yield return "training stopped where rounding hides any further decrease, and the gradient is not small: the model may be far from the best one. Columns or offsets of very different sizes do that; use preprocessing.scaling standardize or declared";
        if (reason == GlmStopReason.RoundLimit && _plan.FullBatch)
            yield return string.Create(CultureInfo.InvariantCulture, $"training stopped at its limit of {rounds:N0} iterations before it converged: the model is not the optimum; raise training.epochs{OtherWays()}");
        if (work.Test.Rows == 0 && _plan.Job.Split != SplitRule.None)
            yield return "the split puts no common row in the test set: nothing was measured on rows that training did not see";
        if (_plan.Private)
            yield break;
        if (train.Rows > 1 && train.Labels.All(label => label == train.Labels[0]))
            yield return "all training rows have the same label: there is nothing to learn from them";
        else if (_plan.Family is MultinomialFamily { Outputs: var classes } && Enumerable.Range(0, classes).Except(train.Labels.Select(label => (int)label)).ToArray() is { Length: > 0 } absent)
            yield return $"no training row has class {string.Join(", ", absent.Take(5))}{(absent.Length > 5 ? " and others" : "")}: classes are numbered from 0 to M - 1 without a gap";
        if (_plan.Job.Model is { L1: 0, L2: 0 } && _plan.Family is BinomialFamily or MultinomialFamily && !_plan.Job.Inference && MeanLoss() <= Separated && train.Labels.Distinct().Skip(1).Any())
            yield return $"the model tells the labels of all training rows without a mistake: its weights have no finite best value, and training stopped somewhere on the way; {MissingInference.AgainstSeparation}";
    }

    /// <summary>One noise for all: every passive party gets the same vector. Virtual for the tests, like the acts of <see cref="GlmWork"/>.</summary>
    protected virtual ValueTask SendResidualsAsync(int round, Residuals residuals, double[] buffer, CancellationToken cancellationToken) =>
        BroadcastAsync(round, work.Release(round, residuals, buffer, "training residuals"), cancellationToken);

    /// <summary>Sends the residuals of all rows at some scores.</summary>
    private async Task<double[]> SendResidualsAtAsync(int round, double[] scores, CancellationToken cancellationToken)
    {
        double[] residuals = new double[scores.Length];
        _plan.Family.Residuals(scores, train.Labels, residuals);
        train.Weigh(0, train.Rows, residuals);
        work.CheckFinite(round, residuals);
        await BroadcastAsync(round, work.Release(round, new Residuals(residuals, _plan.ElementType), residuals, "training residuals"), cancellationToken).ConfigureAwait(false);
        return residuals;
    }

    private double MeanLoss() => train.LossSum(_plan.Family, 0, _trainScores) / train.Rows;

    /// <summary>Full-batch optimisers start from the model without features, which costs nothing and no message: free intercepts at their start, offsets.</summary>
    private async ValueTask StartScoresAsync(CancellationToken cancellationToken)
    {
        LinearPart part = work.Train;
        if (_plan.Job.Training.WarmStart)
        {
            await EvaluateAsync(part, train, _trainScores, 0, cancellationToken).ConfigureAwait(false);
            return;
        }

        if (part.FreeIntercept)
            Featureless.Constants.CopyTo(_weights, part.Penalised);
        part.Scores(0, _weights, _trainScores);
        train.AddOffsets(0, _trainScores);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask BroadcastAsync<T>(int round, Released<T> message, CancellationToken cancellationToken) where T : Payload
    {
        for (int i = 0; i < passives.Count; i++)
            await _clock.WaitAsync(RoundClock.Now, passives[i].SendAsync(round, message, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>Adds the passive parties' shares of inner products.</summary>
    /// <param name="round">Round.</param>
    /// <param name="sum">This party's own, to which theirs are added.</param>
    /// <param name="lengths">Which of them are lengths or squares of lengths: one below 0 would pass for an optimum, or for a step that needs no shortening.</param>
    /// <param name="cancellationToken">Stops.</param>
    private async Task AddScalarsAsync(int round, double[] sum, int[] lengths, CancellationToken cancellationToken)
    {
        foreach (IPartyChannel passive in passives)
        {
            Scalars share = await _clock.WaitAsync(RoundClock.Now,
                ChannelGuard.ReceiveScalarsAsync(passive, round, ScalarsKind.InnerProducts, sum.Length, cancellationToken)).ConfigureAwait(false);
            foreach (int i in lengths)
                if (share.Values.Span[i] < 0)
                    throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, passive.RemoteParty, $"round {round}", "sent a length below 0.", "Check that both parties run the same release of the software.");
            TensorPrimitives.Add(sum, share.Values.Span, sum);
        }
    }

    private async Task AddScoresAsync(int round, double[] sum, CancellationToken cancellationToken)
    {
        foreach (IPartyChannel passive in passives)
        {
            Scores theirs = await _clock.WaitAsync(RoundClock.Now, passive.ReceiveAsync<Scores>(round, sum.Length, cancellationToken)).ConfigureAwait(false);
            TensorPrimitives.Add(sum, work.Packed(theirs, PartyRole.Passive, passive, round).Values.Span, sum);
        }
    }

    /// <summary>Scores of the final model: own plus the ones the passive parties disclose. An arbiter hears nothing of it, nor does a party that has sent its own.</summary>
    private Task EvaluateAsync(LinearPart part, GlmTargets targets, double[] scores, int round, CancellationToken cancellationToken) => work.Joint is not { } joint
        ? AddAllScoresAsync(part, targets, scores, round, cancellationToken)
        : ChannelGuard.WhileTheyWaitAsync([.. passives, joint.Arbiter], stop => AddAllScoresAsync(part, targets, scores, round, stop), cancellationToken);

    private async Task AddAllScoresAsync(LinearPart part, GlmTargets targets, double[] scores, int round, CancellationToken cancellationToken)
    {
        using System.Diagnostics.Activity? traced = work.Telemetry?.Begin("fedlearn.evaluation");
        part.Scores(0, _weights, scores);
        targets.AddOffsets(0, scores);
        foreach (IPartyChannel passive in passives)
        {
            Scores theirs = await passive.ReceiveAsync<Scores>(round, scores.Length, cancellationToken).ConfigureAwait(false);
            TensorPrimitives.Add(scores, ChannelGuard.Packed(theirs, _plan.ElementType, passive, round).Values.Span, scores);
        }

        work.CheckFinite(round, scores);
    }

    /// <summary>Whether training ends here, by the job's rule of early stopping; tells every passive party.</summary>
    /// <param name="round">Round of the messages.</param>
    /// <param name="objective">The training loss, penalised where that is known.</param>
    /// <param name="cancellationToken">Stops.</param>
    private async ValueTask<bool> StopsEarlyAsync(int round, double objective, CancellationToken cancellationToken)
    {
        if (_stop is null)
            return false;
        double value = objective;
        if (work.Validation is { } part)
        {
            double[] scores = new double[part.Rows * part.Outputs];
            await EvaluateAsync(part, work.ValidationTargets!, scores, round, cancellationToken).ConfigureAwait(false);
            value = _stop.Value(_plan.Family, scores, work.ValidationTargets!.Labels);
        }

        StopVerdict verdict = _stop.Judge(value, _weights);
        await BroadcastAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new[] { (double)verdict }), "early stopping: go on, best so far or stop"), cancellationToken)
            .ConfigureAwait(false);
        return verdict.Ends();
    }

    private double Penalty((double Squares, double Magnitudes) norms) => _plan.Job.Model.L2 / 2 * norms.Squares + _plan.Job.Model.L1 * norms.Magnitudes;

    private ModelEvaluation Measure(double[] scores, GlmTargets targets, CancellationToken cancellationToken) =>
        GlmEvaluation.Of(_plan.Job.Model.Family, scores, targets.Labels, work.Evaluation, targets.Offsets, cancellationToken);
}
