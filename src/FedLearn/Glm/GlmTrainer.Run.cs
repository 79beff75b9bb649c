using System.Diagnostics;
using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

// One run of a job: rows, features, charge, agreement, training, result, in this order.
public sealed partial class GlmTrainer
{
    private const string NoPrediction = "privacy.evaluation is none: no passive party sends its scores of the model, so that predict and serve refuse it (" + GlmErrors.NoScoresLeave
        + "); to predict with it, train with disclosed, or with charged where the mode has it";

    private async Task<GlmPartyResult> TrainRunAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, IJointGradients? joint, GlmRun? run,
        Func<GlmAccount> openAccount, SessionTelemetry telemetry, IProgress<GlmProgress>? progress, CancellationToken cancellationToken)
    {
        IReadOnlyList<IPartyChannel> withArbiter = joint is null ? channels : [.. channels, joint.Arbiter];
        // In the background while the rows are aligned, since that mostly waits for the other parties.
        Task<byte[]>? inputs = run is { Start: null } ? Task.Run(() => GlmRun.DigestOf(_declared, _input), cancellationToken) : null;
        // The arbiter takes no part in aligning, and is told meanwhile that this party is still there.
        IPartyChannel[] arbiter = joint is null ? [] : [joint.Arbiter];
        RunRows rows = await ChannelGuard.WhileTheyWaitAsync(arbiter, stop => FindRowsAsync(agreement, channels, run?.Start, telemetry, stop), cancellationToken).ConfigureAwait(false);
        Begin(GlmStage.Preparing, rows.Aligned.Rows.Length);
        // With a table larger than memory this takes longer than the others wait for a message.
        Prepared prepared = await ChannelGuard.WhileTheyWaitAsync(withArbiter, stop => PrepareAsync(rows, channels, inputs, stop), cancellationToken).ConfigureAwait(false);
        // The first state is kept before anything is charged, so that every charge has a state by which it is found again.
        if (prepared.Digest is not null)
            run!.Begin(new GlmRunStart(rows.Aligned, rows.ToldClasses, agreement.JobDigest, prepared.Digest, prepared.Layout.Count));
        GlmAccount account = openAccount();
        RunCharge charge = await ChargeAsync(account, run, joint, prepared.Train, prepared.Layout, rows.Test.Length, channels, cancellationToken).ConfigureAwait(false);
        GlmWork work = WorkOf(rows, prepared, account, charge, joint, run, telemetry, progress);
        work.BeginNoise();
        await GlmWarmup.RunAsync(_plan, work, IsActive, channels.Count, cancellationToken).ConfigureAwait(false);
        await AgreeOnRowsAsync(channels, arbiter, rows.Train.Length, rows.Test.Length, rows.SplitFingerprint, cancellationToken).ConfigureAwait(false);
        GlmTargets train = Targets(rows.Train, training: true), test = Targets(rows.Test, training: false);
        using Activity? traced = telemetry.BeginTraining();
        GlmTraining outcome = await SolveAsync(work, channels, account, rows.Train, train, test, prepared.Map.DependsOnData, cancellationToken).ConfigureAwait(false);
        traced?.Stop();
        telemetry.Trained(outcome.StopReason.ToString(), outcome.Timing.Training, outcome.Timing.Wait, outcome.Timing.Noise);
        GlmModel model = ModelOf(agreement, prepared.Map, prepared.Train, train.Offsets is not null, outcome);
        // The model is saved before the session ends, so that once any party has ended, every model is safe.
        await ChannelGuard.SaveAsync(withArbiter, _input.SaveModel, model).ConfigureAwait(false);
        if (joint is null)
        {
            await ChannelGuard.EndAsync(channels, IsActive, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            await ChannelGuard.WhileTheyWaitAsync(arbiter, async _ =>
            {
                await ChannelGuard.EndAsync(channels, IsActive, cancellationToken).ConfigureAwait(false);
                return true;
            }, CancellationToken.None, mayBeGone: true).ConfigureAwait(false);
            await joint.Arbiter.CompleteAsync(cancellationToken).ConfigureAwait(false);
        }

        // The state is removed before the charge is settled. Should the process die in between, a charge without a state counts in full, which is what this run costs; a state whose charge is settled could not go on.
        run?.Remove();
        (PrivacyTotal? spent, LedgerWords words) = account.Settle(_plan.Unit);
        return ResultOf(new Trained(rows, prepared, charge, work, train, test, outcome, model), spent, words, [.. BegunAnew(agreement, account)], withArbiter, cancellationToken);
    }

    private GlmWork WorkOf(RunRows rows, Prepared prepared, GlmAccount account, RunCharge charge, IJointGradients? joint, GlmRun? run, SessionTelemetry telemetry, IProgress<GlmProgress>? progress)
    {
        GaussianMechanism? Mechanism(NoiseCalibration? noise, string stream, int firstLocal = 0) =>
            noise is null ? null : account.Mechanism(noise, _input.Party + stream, charge.Reservation!, firstLocal, latticeBits: _plan.Job.Training.LatticeBits);
        PartyCalibration? calibration = charge.Calibration;
        return new GlmWork
        {
            Plan = _plan,
            Party = _input.Party,
            Layout = prepared.Layout,
            Train = prepared.Train,
            Test = prepared.Test,
            Columns = prepared.Map.FeatureNames,
            Zeros = prepared.Zeros,
            Validation = prepared.Validation,
            ValidationTargets = prepared.Validation is null ? null : Targets(rows.HeldOut, training: false),
            Mechanism = Mechanism(calibration?.MessageNoise, ""),
            // Values that stay at the party have one row of numbers: first the gradients, then the final weights.
            GradientNoise = Mechanism(calibration?.GradientNoise, "\0gradient"),
            WeightNoise = Mechanism(calibration?.EvaluationNoise, "\0weights", firstLocal: calibration?.GradientNoise?.Releases ?? 0),
            Joint = joint,
            JointCharge = charge.Joint is null ? null : charge.Reservation,
            WarmStart = StartOf(prepared.Train),
            Evaluation = _input.Evaluation with { Seed = _plan.Job.Training.Seed },
            // No epoch costs less than an earlier one, so m of e epochs cost at most m/e of mu squared.
            EpsilonAfter = (calibration?.Mu ?? charge.Joint?.Calibration?.Mu) is not { } mu ? null : rounds => GaussianDp.Epsilon(
                mu * Math.Sqrt((double)((rounds - 1) / prepared.Layout.Count + 1) / _plan.Epochs), _plan.BudgetOf(_options)!.Delta),
            Progress = progress,
            Telemetry = telemetry,
            Run = run,
        };
    }

    /// <summary>A run whose model is saved and whose session has ended.</summary>
    private sealed record Trained(RunRows Rows, Prepared Prepared, RunCharge Charge, GlmWork Work, GlmTargets Train, GlmTargets Test, GlmTraining Outcome, GlmModel Model);

    /// <summary>Measures the model, and says what the run did.</summary>
    private GlmPartyResult ResultOf(Trained run, PrivacyTotal? spent, LedgerWords words, string[] begun, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        (RunRows rows, Prepared prepared, RunCharge charge, GlmWork work, GlmTargets train, GlmTargets test, GlmTraining outcome, GlmModel model) = run;
        bool dependsOnData = prepared.Map.DependsOnData;
        IReadOnlyList<string> ledger = _unsettled is null ? words.Warnings : [.. words.Warnings, _unsettled];
        if (outcome.MeasureTrain is not null || outcome.MeasureTest is not null)
            Begin(GlmStage.Measuring, rows.Train.Length + rows.Test.Length);
        ModelEvaluation? trained = outcome.MeasureTrain?.Invoke(cancellationToken), tested = outcome.MeasureTest?.Invoke(cancellationToken);
        string[] zeroed = ZeroNote(_plan.Job.Fold, _input.Party, prepared.Zeros);
        (GuestOnlyMetrics? alone, string[] lacking) = IsActive && _plan.Private ? Alone(work, train, test) : (null, []);
        return new GlmPartyResult
        {
            Party = _options.Party,
            JobDigest = model.JobDigest,
            Model = model,
            CommonRows = rows.Aligned.Rows.Length,
            OwnRows = _input.Table.Ids.Count,
            TrainRows = rows.Train.Length,
            TestRows = rows.Test.Length,
            Alignment = _plan.Job.Alignment,
            AlignmentLeaks = rows.Aligned.Leaks,
            AlignmentWarnings = [.. rows.Aligned.Warnings, .. SmallOverlap.Warnings(_input.Party, _input.Table.Ids.Count, rows.Aligned.Rows.Length)],
            StopReason = outcome.StopReason,
            Timing = outcome.Timing,
            Joint = charge.Joint is null ? null : charge.Joint with { EngineSeconds = work.Joint!.EngineTime.TotalSeconds },
            Privacy = charge.Joint is { } jointly ? JointClaims.State(_plan, _options, jointly, ledger, spent, dependsOnData, rows.Test.Length)
                : outcome.Statement is { } statement ? OneRoundClaims.Settled(statement, ledger, spent)
                : GlmClaims.State(_plan, _options, charge.Calibration, ledger, spent, dependsOnData, channels.Count > 0 ? rows.Test.Length : 0),
            Sent = GlmReleases.Sent(channels),
            Traffic = ChannelStatistics.Of(channels),
            Resumed = work.Run?.Resumed ?? [],
            History = work.History,
            Inference = outcome.Inference,
            Train = trained?.Metrics,
            Test = tested?.Metrics,
            TrainEvaluation = trained,
            TestEvaluation = tested,
            GuestOnly = alone,
            Objective = outcome.Objective,
            Warnings =
            [
                .. outcome.Warnings, .. _plan.ScoresMayLeave ? [] : (string[])[NoPrediction], .. Said(trained?.Warnings("training")), .. Said(tested?.Warnings("test")), .. lacking,
                .. IsActive ? [.. _plan.ShortSteps(work.Layout), .. _plan.NarrowBounds(_options, GlmFamilyExtensions.MeanLabel(train.Labels, train.Weights ?? []))] : (string[])[],
                .. channels.Count > 0 && _plan.Job.Fold is null ? GuestOnly.Warnings(tested?.Metrics, alone) : [],
                .. Said(tested is null ? PerfectRanking.Warnings(trained?.Metrics, rows.Train.Length, "training") : PerfectRanking.Warnings(tested.Metrics, rows.Test.Length, "test")),
                .. IgnoredColumns(), .. BoundsWithoutUse(), .. CellsOutside.Warnings(_input.Party, prepared.Map, _input.Table, rows.Train, CellsOutside.Training, _plan.Private), .. begun, .. zeroed,
            ],
            FoldNotes = _plan.Job.Fold is null ? [] : [.. begun, .. zeroed],
            LedgerCaveats = words.Caveats,
        };
    }

    private GlmModel ModelOf(SessionAgreement agreement, FeatureMap map, LinearPart train, bool usesOffsets, GlmTraining outcome) =>
        new(_plan.Job.Name, Convert.ToHexStringLower(agreement.JobDigest.Span), _options.Party, _plan.Family.Name, map,
            outcome.Weights[..train.Penalised], outcome.Weights[train.Penalised..], train.Outputs, outcome.PeerLink)
        {
            // A run that goes on is the training that was begun: a party may have saved its part before the others were cut off.
            TrainingId = agreement.Resume?.SessionId ?? agreement.SessionId,
            Parties = [.. _plan.Job.Parties.Select(p => p.Party)],
            Link = _plan.Family.Link,
            FamilyParameters = _plan.Family.Parameters,
            SchemaFingerprint = Convert.ToHexStringLower(_input.Table.Schema.Fingerprint().Span),
            UsesOffsets = usesOffsets,
            Mode = _plan.Mode,
            Evaluation = _plan.Job.Privacy.Evaluation,
            Inference = outcome.Inference,
        };

    /// <summary>The active party's own model, which a run that is paid for does without where it fails: the report is all that would be lost.</summary>
    private (GuestOnlyMetrics? Metrics, string[] Warnings) Alone(GlmWork work, GlmTargets targets, GlmTargets testTargets)
    {
        try
        {
            return (GuestOnly.Fit(_plan.Job.Model.Family, work.Train, work.Test, targets, testTargets, _plan.LocalIntercept), []);
        }
#pragma warning disable CA1031 // whatever a family of one's own throws, or memory that is short
        catch (Exception e)
#pragma warning restore CA1031
        {
            return (null, [$"what the active party reaches alone is missing here: its own model failed ({e.GetType().Name}){CellsOutside.OutsideClaims}"]);
        }
    }

    /// <summary>Fits the feature map. A rare category may be in no training row, and any rare column constant in a fold and nowhere else, which must not end the training: its weight
    /// is then 0. A numeric column that is constant in all training rows is a mistake. Not in a private mode, whose features may depend on rows by the constants of scaling alone.</summary>
    private FeatureMap Fit(RunRows rows, List<string> zeros)
    {
        CrossValidationFold? fold = _plan.Job.Fold;
        FeatureMap Of(int[] train, string named, List<string>? zeros) => FeatureMap.Fit(_input.Table, train, _plan.PreprocessingOptions, _plan.Constant, "the training rows" + named, zeros,
            field => _plan.Mode == PrivacyMode.None && (fold is not null || field.Kind != FieldKind.Numeric));
        FeatureMap map = Of(rows.Train, fold is null ? "" : $" of {FoldName(fold)}", zeros);
        // The first run of a candidate also tries the maps of its later folds, so that a fold which must be refused is refused before any of them is paid for.
        if (fold is { Index: 0 } && _plan.Mode != PrivacyMode.None && map.DependsOnData)
            foreach ((int index, int[] train) in FoldRows.TrainOfAll(_plan.Job, _input.Table.Ids, rows.Undivided).Index().Skip(1))
                Of(HeldOutRows.Of(_plan.Job, _input.Table.Ids, train).Train, $" of {FoldName(fold with { Index = index })}", null).CheckRows(_input.Table, rows.Undivided);
        return map;
    }

    // In a private job warnings that follow from rows are marked, since no claim covers them.
    private IEnumerable<string> Said(IEnumerable<string>? warnings) => (warnings ?? []).Select(warning => _plan.Private ? warning + CellsOutside.OutsideClaims : warning);

    private static string FoldName(CrossValidationFold fold) => string.Create(CultureInfo.InvariantCulture, $"fold {fold.Index + 1} of {fold.Count}");

    private static string[] ZeroNote(CrossValidationFold? fold, string party, List<string> columns)
    {
        if (columns.Count == 0)
            return [];
        string named = columns.Count == 1 ? $"column '{columns[0]}'" : string.Create(CultureInfo.InvariantCulture, $"{columns.Count:N0} columns ({FeatureMap.Listed(columns, 5)})"), has = columns.Count == 1 ? "has" : "have";
        return
        [
            fold is null ? $"{party}: {named} {has} the same value in all training rows: nothing was learned of {(columns.Count == 1 ? "it, its weight is" : "them, their weights are")} 0"
                : $"{FoldName(fold)}: {named} of '{party}' {has} the same value in all training rows, and {(columns.Count == 1 ? "counts" : "count")} as 0 there",
        ];
    }

    private void Begin(GlmStage stage, int rows) => _input.Stages?.Report(new GlmStageBegun(_input.Party, stage, rows) { Outputs = stage == GlmStage.Measuring ? _plan.Family.Outputs : 1 });

    /// <summary>The rows of a run.</summary>
    /// <param name="Aligned">The common rows.</param>
    /// <param name="Undivided">Training rows of the job, of which a run of a cross-validation trains on some and tests on the others.</param>
    /// <param name="Train">Rows that are trained on.</param>
    /// <param name="Test">Rows that are evaluated.</param>
    /// <param name="HeldOut">Rows that early stopping looks at.</param>
    /// <param name="SplitFingerprint">Which of the common rows are test rows.</param>
    /// <param name="ToldClasses">Number of classes where the job declares none; null elsewhere.</param>
    private sealed record RunRows(AlignedRows Aligned, int[] Undivided, int[] Train, int[] Test, int[] HeldOut, ulong SplitFingerprint, int? ToldClasses);

    private async Task<RunRows> FindRowsAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, GlmRunStart? start, SessionTelemetry telemetry, CancellationToken cancellationToken)
    {
        GlmJob job = _plan.Job;
        if (start is null)
            Begin(GlmStage.Aligning, _input.Table.Ids.Count);
        AlignedRows aligned = start?.Aligned ?? await GlmTelemetry.AlignAsync(telemetry, job, _options.Party, _input, agreement, channels, cancellationToken).ConfigureAwait(false);
        int[] common = aligned.Rows;
        bool[] test = RowSplit.TestRows(job.Split, _input.SplitFile, _input.Table.Ids, common, _input.Table.Schema.IdColumns);
        int[] trainRows = [.. common.Where((_, i) => !test[i])], testRows = [.. common.Where((_, i) => test[i])];
        if (trainRows.Length == 0)
            throw new BadInputException(GlmErrors.TooFewTrainingRows, "split", "no common row is a training row.", "Check the split.");
        int[] undivided = trainRows;
        (trainRows, testRows) = FoldRows.Of(job, _input.Table.Ids, trainRows, testRows);
        (trainRows, int[] heldOut) = HeldOutRows.Of(job, _input.Table.Ids, trainRows);
        int? told = null;
        if (job.Model.Family is MultinomialFamily { Classes: null })
        {
            told = start?.Classes ?? await AgreeOnClassesAsync(channels, common, cancellationToken).ConfigureAwait(false);
            _plan = GlmPlan.Create(job with { Model = job.Model with { Family = GlmFamilies.Multinomial(told.Value) } });
        }

        return new RunRows(aligned, undivided, trainRows, testRows, heldOut, RowSplit.Fingerprint48(test), told);
    }

    /// <summary>What a party has ready before its first message of a round.</summary>
    /// <param name="Layout">Batches of the training rows.</param>
    /// <param name="Map">From cells to features.</param>
    /// <param name="Zeros">Features that are the same in all training rows, whose weights are 0.</param>
    /// <param name="Train">Features of the training rows.</param>
    /// <param name="Test">Those of the test rows.</param>
    /// <param name="Validation">Those of the held-out rows; null without any.</param>
    /// <param name="Digest">Digest of what the party brought; null where no run begins that is kept.</param>
    private sealed record Prepared(BatchLayout Layout, FeatureMap Map, List<string> Zeros, LinearPart Train, LinearPart Test, LinearPart? Validation, byte[]? Digest);

    /// <summary>Makes features, and waits for the digest of what they are made of. Work whose end is not waited for when it is stopped.</summary>
    private async Task<Prepared> PrepareAsync(RunRows rows, IReadOnlyList<IPartyChannel> channels, Task<byte[]>? inputs, CancellationToken stop)
    {
        Prepared prepared = await Task.Run(() =>
        {
            BatchLayout layout = _plan.Layout(rows.Train.Length);
            var zeros = new List<string>();
            FeatureMap map = _input.WarmStart is { } earlier && _plan.Job.Training.WarmStart ? earlier.Features
                : Fit(rows, zeros);
            GlmTraffic.CheckLengths((long)rows.Train.Length + rows.Test.Length + rows.HeldOut.Length, map.FeatureNames.Count, _plan.Family.Outputs);
            FeatureRows features = map.TransformRows(_input.Table, rows.Train);
            CheckRowNorms(features);
            LinearPart train = PartOf(features), test = PartOf(map.TransformRows(_input.Table, rows.Test));
            CheckMessages(layout, train, rows, channels);
            return new Prepared(layout, map, zeros, train, test, rows.HeldOut.Length > 0 ? PartOf(map.TransformRows(_input.Table, rows.HeldOut)) : null, null);
        }, stop).WaitAsync(stop).ConfigureAwait(false);
        return inputs is null ? prepared : prepared with { Digest = await inputs.WaitAsync(stop).ConfigureAwait(false) };
    }

    /// <summary>Refuses messages that are too large while nothing is lost by it.</summary>
    private void CheckMessages(BatchLayout layout, LinearPart train, RunRows rows, IReadOnlyList<IPartyChannel> channels)
    {
        if (channels.Count == 0)
            return;
        bool noised = _plan.Mode != PrivacyMode.OneRound && !JointRules.Covers(_plan.Mode) && _plan.Noises(_options.Party.Role);
        (ElementType Type, int Bits) own = !noised ? (_plan.ElementType, 0)
            : (ElementType.Lattice, GaussianMechanism.BitsOf(Calibrate(layout, train).MessageNoise, _plan.Job.Training.LatticeBits));
        GlmMessageRoom.Check(_plan, layout, rows.Test.Length, rows.HeldOut.Length, train.Features, own, IsActive, channels);
        if (_plan.Mode == PrivacyMode.OneRound)
            GlmMessageRoom.CheckOneRoundScores(_plan, layout.Rows, _options, channels);
    }

    private PartyCalibration Calibrate(BatchLayout layout, LinearPart train) => _plan.Calibrate(_options, layout, train.Features + (train.FreeIntercept ? 1 : 0));

    private LinearPart PartOf(FeatureRows features) => new(features, IsActive && (_plan.Mode == PrivacyMode.OneRound ? _plan.LocalIntercept : _plan.FreeIntercept), _plan.Family.Outputs);

    /// <summary>What a run is charged for, before its first message.</summary>
    /// <param name="Calibration">Noise of the party's own messages; null where it noises none.</param>
    /// <param name="Joint">What an encrypted job agreed on with its arbiter; null elsewhere.</param>
    /// <param name="Reservation">The charge; null where the mode charges nothing, or by itself.</param>
    private sealed record RunCharge(PartyCalibration? Calibration, JointAgreement? Joint, IPrivacyReservation? Reservation);

    private async Task<RunCharge> ChargeAsync(GlmAccount account, GlmRun? run, IJointGradients? joint, LinearPart train, BatchLayout layout, int testRows, IReadOnlyList<IPartyChannel> channels,
        CancellationToken cancellationToken)
    {
        if (joint is not null)
        {
            JointRules.CheckSizes(_plan, _input.Party, layout, train.Dimension);
            JointAgreement jointly = await joint.PrepareAsync(new JointRows(layout, train.Dimension, batch => train.Columns(layout.Start(batch), layout.Size(batch)),
                IsActive && _plan.Mode == PrivacyMode.HeDp ? _plan.LabelBound(_options) : null, channels), cancellationToken).ConfigureAwait(false);
            return new(null, jointly, jointly.Calibration is not { } noise ? null
                : account.Reserve(JointCharges.Mechanism, account.WithScored(JointCharges.Parameters(noise), testRows), _plan.Unit, _plan.Epochs * layout.Count,
                    0, noise.Mu * noise.Mu, shareOf: noise.ShareOf));
        }

        if (channels.Count > 0 && _plan.Noises(_options.Party.Role))
        {
            PartyCalibration calibration = Calibrate(layout, train);
            IPrivacyReservation reservation = account.Reserve(IsActive ? "gaussian: training residuals" : "gaussian: training scores", account.WithScored(Parameters(calibration), testRows),
                _plan.Unit, calibration.Releases, 0, calibration.Mu * calibration.Mu,
                // No epoch costs less than an earlier one, so m of e epochs cost at most m/e of mu squared; an epoch that was begun counts.
                shareOf: messages => GlmRun.ShareOf(messages, layout.Count, _plan.Epochs));
            CheckKept(run, reservation, calibration.Releases);
            return new(calibration, null, reservation);
        }

        if (channels.Count > 0 && !IsActive && _plan.Private && _plan.Unit == PrivacyUnit.Label)
            account.ReserveDisclosed("training scores", PrivacyUnit.Label, []);
        return new(null, null, null);
    }

    private Task<GlmTraining> SolveAsync(GlmWork work, IReadOnlyList<IPartyChannel> channels, GlmAccount account, int[] trainRows, GlmTargets targets, GlmTargets testTargets, bool scalingFromData,
        CancellationToken cancellationToken)
    {
        var labels = new LabelRelease(_plan, _input, _options, account);
        return (_plan.Mode, IsActive) switch
        {
            (PrivacyMode.OneRound, true) => new OneRoundActive(work, channels, labels, trainRows, targets, testTargets).RunAsync(cancellationToken),
            (PrivacyMode.OneRound, false) => new OneRoundPassive(work, channels[0], account, _options, scalingFromData).RunAsync(cancellationToken),
            (PrivacyMode.LabelDp, true) => LabelDp.ActiveAsync(work, channels, labels, trainRows, targets, testTargets, cancellationToken),
            (PrivacyMode.LabelDp, false) => LabelDp.PassiveAsync(work, channels[0], cancellationToken),
            (_, true) => new GlmActiveTrainer(work, channels, targets, testTargets).RunAsync(cancellationToken),
            _ => new GlmPassiveTrainer(work, channels[0]).RunAsync(cancellationToken),
        };
    }
}
