using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using Microsoft.Extensions.Logging;

namespace FedLearn.Glm;

/// <summary>What a party brings to a job.</summary>
public sealed record GlmPartyInput
{
    /// <summary>Name the job gives this party.</summary>
    public required string Party { get; init; }

    /// <summary>Its rows. The active party's table has labels.</summary>
    public required Table Table { get; init; }

    /// <summary>File of the split, where the job splits by file.</summary>
    public string? SplitFile { get; init; }

    /// <summary>The party's part of an earlier model, where the job asks for a warm start: training starts from its weights, with its feature map.</summary>
    public GlmModel? WarmStart { get; init; }

    /// <summary>Opens the session with the arbiter, in the modes he and he+dp; null elsewhere.</summary>
    public JointGradientsFactory? JointGradients { get; init; }

    /// <summary>Threshold of classes in confusion tables, and how intervals of metrics are found; the active party's own affair. Its seed is the job's.</summary>
    /// <value>Default: threshold .5, no intervals.</value>
    public EvaluationOptions Evaluation { get; init; } = new() { Resamples = 0 };

    /// <summary>Finds the rows that all parties have, by the job's method. Null: by hashed ids, where the job says so.</summary>
    public IEntityAlignment? Alignment { get; init; }

    /// <summary>Told how far the alignment is; null for nobody.</summary>
    public IProgress<AlignmentProgress>? AlignmentProgress { get; init; }

    /// <summary>Told of each stage outside of the rounds, on the thread that does it, as it begins; null for nobody.</summary>
    public IProgress<GlmStageBegun>? Stages { get; init; }

    /// <summary>Where charges are recorded and a lifetime budget is enforced. Null: a ledger in memory, which forgets.</summary>
    public IPrivacyLedger? Ledger { get; init; }

    /// <summary>Id of the run for the ledger, 32 hex digits. Null: a fresh one.</summary>
    public string? RunId { get; init; }

    /// <summary>Where the party keeps its state between rounds, so that it can go on after a crash. Without effect in the modes <c>he</c> and <c>he+dp</c>, whose
    /// keys end with their session, and in private modes whose <see cref="Ledger"/> is in memory. Null: it begins anew.</summary>
    public IRunStore? Runs { get; init; }

    /// <summary>Forgets a run of the same job that was cut off, when the trainer is made: its charge is settled by the epochs that had begun, as for a run that
    /// failed, and the party begins anew. In mode he+dp, whose runs keep no state: what runs of the job's name that died have left reserved in a ledger that lasts is settled by the epochs that had begun.</summary>
    /// <value>Default false: the party offers its peers to go on.</value>
    public bool Fresh { get; init; }

    /// <summary>Saves the party's part of the model, before the session ends: a party that dies after all others have ended then has what they have. Null: the
    /// caller does with the result what it likes.</summary>
    public Action<GlmModel>? SaveModel { get; init; }

    /// <summary>Where the party logs what it does, category <c>FedLearn.Session</c>. No private value enters the log. Null: nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}

/// <summary>One party of a GLM job: aligns its rows with the others', trains its own weights, and keeps them.</summary>
/// <remarks>Rounds follow HDP-VFL (arXiv 2009.02763): a passive party sends scores z_i = X_i w_i, the active party answers the residuals
/// r = dl/dz at the sum, every party steps its own weights. In private modes each message is clipped and noised once. One session after the other may use a trainer: with
/// <see cref="GlmPartyInput.Runs"/> the next goes on with the run of one that was lost.</remarks>
public sealed partial class GlmTrainer
{
    // The number of classes of a multinomial model may be known only when the active party has seen its training labels.
    private GlmPlan _plan;
    private readonly GlmPlan _declared;
    private readonly GlmPartyInput _input;
    private readonly GlmPartyOptions _options;
    private readonly Lazy<DataSetIdentity> _people;
    private readonly JoinRequest _request;
    private CutOffRun? _cutOff;
    private IReadOnlyList<string> _passedOver = [];
    private string? _unsettled;
    // Whether a session has ended since FindCutOff: it may have left a run to go on with, or ended the one that was found.
    private bool _ended;

    /// <summary>Checks a job and a party's input against each other.</summary>
    /// <param name="job">The job; the same at every party.</param>
    /// <param name="input">What this party brings.</param>
    /// <exception cref="ArgumentNullException">The job, the input or a part of one is null; the name is that of the part.</exception>
    /// <exception cref="ConfigurationException">The job is inconsistent or does not name the party.</exception>
    /// <exception cref="PrivacyRefusedException">The job asks a private mode for something its proof does not cover; or FL5020: it is over the budget of the
    /// party's ledger.</exception>
    /// <exception cref="BadInputException">A label is outside the family's domain or the declared range.</exception>
    public GlmTrainer(GlmJob job, GlmPartyInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(input.Table);
        ArgumentNullException.ThrowIfNull(input.Evaluation);
        _plan = _declared = GlmPlan.Create(job);
        _input = input;
        _options = job.Parties.FirstOrDefault(p => p.Party.Name == input.Party)
            ?? throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{input.Party}'", "the job has no party of that name.", "Use a name that the job lists.");
        _plan.CheckParty(_options);
        AlignmentChoice.Of(job.Alignment, input.Alignment, input.Party);
        if (IsActive)
        {
            CheckLabels();
            CheckOffsetsAndWeights();
        }
        else if (input.Table.Weights is not null || input.Table.Offsets is not null)
        {
            throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{input.Party}'", "a passive party's table has weights or offsets, which would have no effect.",
                "Give them at the active party.");
        }

        if (_plan.Private && _plan.PreprocessingOptions.Scaling == Scaling.Declared && !input.Table.Schema.DeclaresAllRanges)
            throw new PrivacyRefusedException(GlmErrors.RangesNotDeclared, $"party '{input.Party}', schema", Rangeless(input.Table.Schema),
                "Declare min and max of every numeric field in the schema; or set preprocessing.scaling to rounded or standardize, whose claim is then conditional on scaling constants taken from the data.");
        _people = new(() => GlmAccount.IdentityOf(input.Table));
        SessionTerms terms = GlmJobTerms.Of(job);
        Terms = terms;
        if (!input.Fresh)
            FindCutOff();
        else if (GlmRun.Keeps(_plan, input) && input.Runs!.Find(input.Party, terms.TermsDigest) is { } cutOff)
            _unsettled = GlmRun.Forget(cutOff, _plan, input);
        if (input.Fresh && _plan.Mode == PrivacyMode.HeDp)
            JointCharges.Forget(input.Ledger, input.Party, job.Name);
        CheckLedger();
        _request = new JoinRequest(SessionDesk.ProtocolVersion, _options.Party, terms.JobName, terms.TermsDigest, terms.Sections, input.Table.Schema.Fingerprint());
    }

    /// <summary>What the parties must agree on.</summary>
    public SessionTerms Terms { get; }

    /// <summary>With what this party joins a session; read anew for each session, since it offers what the party can go on with.</summary>
    /// <exception cref="ConfigurationException">FL2542: what the party brings has changed since the run was cut off. FL2541: another process goes on with it.</exception>
    public JoinRequest JoinRequest
    {
        get
        {
            if (_ended)
                FindCutOff();
            return _request with { Resume = _cutOff is null ? null : new ResumeOffer(_cutOff.Run.SessionId, _cutOff.Rounds) };
        }
    }

    /// <summary>What so many runs of the job cost the party's rows at most, refused where its ledger does not allow all of them.</summary>
    /// <param name="runs">Runs over the same rows, at least 1. Their mu adds up in quadrature; labels that are released once are paid for once.</param>
    /// <returns>The cost as the ledger counts it: for replacing a row or its label. Zero where nothing would be charged.</returns>
    /// <exception cref="PrivacyRefusedException">FL5020: the runs are over the budget of the party's ledger.</exception>
    public PrivacyTotal PlanRuns(int runs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(runs, 1);
        return CheckLedger(runs);
    }

    /// <summary>What <see cref="PlanRuns"/> returns, whatever the ledger allows.</summary>
    /// <param name="runs">Runs over the same rows, at least 1.</param>
    internal PrivacyTotal CostOfRuns(int runs) => CheckLedger(runs, isChecked: false);

    private bool IsActive => _options.Party.Role == PartyRole.Active;

    /// <summary>Trains with the other parties of a session.</summary>
    /// <param name="agreement">What all parties agreed on when they joined.</param>
    /// <param name="channels">At the active party one channel to each passive party, in the job's order; at a passive party the one to the active party.</param>
    /// <param name="progress">Told after rounds; null for nobody.</param>
    /// <param name="cancellationToken">Stops the job; the peers are told.</param>
    /// <returns>The party's own result.</returns>
    /// <exception cref="ArgumentException">The channels are not one a peer.</exception>
    /// <exception cref="FedLearnException">The job failed; the peers have been told the error's id.</exception>
    public async Task<GlmPartyResult> TrainAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels,
        IProgress<GlmProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ChannelGuard.CheckCount(channels, _options.Party.Role, _declared.Job.Parties.Count);
        SessionTelemetry telemetry = GlmTelemetry.Of("train", _plan.Job, _input);
        if (!JointRules.Covers(_plan.Mode))
            return await telemetry.RunAsync(() => ChannelGuard.RunAsync(channels,
                () => TrainCoreAsync(agreement, channels, null, telemetry, progress, cancellationToken))).ConfigureAwait(false);
        JointGradientsFactory open = _input.JointGradients ?? throw new InternalFailureException(GlmJointErrors.SchemeMissing, $"party '{_input.Party}'",
            "the job is encrypted, and the party was given no way to encrypt.", "Set GlmPartyInput.JointGradients, see the package FedLearn.Baselines.HomomorphicEncryption.");
        return await telemetry.RunAsync(async () =>
        {
            await using IJointGradients joint = await ChannelGuard.RunAsync(channels, () => open(cancellationToken)).ConfigureAwait(false);
            return await ChannelGuard.RunAsync([.. channels, joint.Arbiter],
                () => TrainCoreAsync(agreement, channels, joint, telemetry, progress, cancellationToken)).ConfigureAwait(false);
        }).ConfigureAwait(false);
    }

    /// <summary>Trains with the other parties of a session, and tells how it goes.</summary>
    /// <param name="agreement">What all parties agreed on when they joined.</param>
    /// <param name="channels">At the active party one channel to each passive party, in the job's order; at a passive party the one to the active party.</param>
    /// <param name="cancellationToken">Stops the job; the peers are told.</param>
    /// <returns>A report after each epoch or iteration, then the party's own result. The job starts with the enumeration; leaving it early stops the job and
    /// tells the peers. No report is lost to a slow reader, and none holds up a round.</returns>
    /// <exception cref="ArgumentException">The channels are not one a peer.</exception>
    /// <exception cref="FedLearnException">Thrown by the enumeration: the job failed; the peers have been told the error's id.</exception>
    public IAsyncEnumerable<GlmTrainingEvent> RunAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ChannelGuard.CheckCount(channels, _options.Party.Role, _declared.Job.Parties.Count);
        return GlmTrainingStream.RunAsync(async (progress, stop) => [await TrainAsync(agreement, channels, progress, stop).ConfigureAwait(false)], cancellationToken);
    }

    private async Task<GlmPartyResult> TrainCoreAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, IJointGradients? joint,
        SessionTelemetry telemetry, IProgress<GlmProgress>? progress, CancellationToken cancellationToken)
    {
        _plan = _declared;
        if (_ended)
            FindCutOff();
        string digest = Convert.ToHexStringLower(agreement.JobDigest.Span);
        using GlmRun? run = OpenRun(agreement);
        GlmAccount? account = null;
        try
        {
            return await TrainRunAsync(agreement, channels, joint, run, () => account = new GlmAccount(_plan, _input, _people, digest, run?.RunId), telemetry, progress, cancellationToken)
                .ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // Where the ledger lacks messages that have left, settling by those that it has would cost too little. The run stays open, since its files may be put back.
            bool lacksMessages = run?.Resumed.Count > 0 && e is FedLearnException { Id: GlmErrors.MessagesNotKept } or PeerException { PeerErrorId: GlmErrors.MessagesNotKept };
            if (run is not null && (lacksMessages || RunLoss.LeavesRun(e, resumed: run.Resumed.Count > 0)))
                account?.Suspend();
            else
                run?.Remove();
            throw;
        }
        finally
        {
            account?.Dispose();
            _ended = true;
        }
    }

    /// <summary>Finds the run to go on with, if there is one.</summary>
    private void FindCutOff()
    {
        (_cutOff, _passedOver, _unsettled) = (null, [], null);
        if (GlmRun.Keeps(_declared, _input))
        {
            // Looked up now: a new run removes them.
            _passedOver = _input.Runs!.PassedOver(_input.Party, Terms.TermsDigest);
            if (_input.Runs.Find(_input.Party, Terms.TermsDigest) is { } cutOff)
            {
                GlmRun.CheckInputs(_input.Runs, cutOff, _declared, _input);
                _cutOff = cutOff;
            }
        }

        _ended = false;
    }

    /// <summary>Goes on with the run that was cut off, where every party has it, or begins a new one; null where no states are kept.</summary>
    private GlmRun? OpenRun(SessionAgreement agreement)
    {
        if (!GlmRun.Keeps(_plan, _input))
            return null;
        if (_cutOff is not null && agreement.Resume is { } point)
            return GlmRun.GoOn(_input.Runs!, _cutOff, point.Round, _plan.Job.Training.CheckpointRounds, agreement.JobDigest);
        if (_cutOff is not null)
            _unsettled = GlmRun.Forget(_cutOff, _plan, _input);
        return GlmRun.New(_input.Runs!, new RunIdentity(_input.Party, Terms.TermsDigest, agreement.SessionId, _input.RunId ?? PrivacyCharge.NewRunId()), _plan.Job.Training.CheckpointRounds);
    }

    /// <summary>A run that goes on must find again what it has sent since the older of two states, here and at the peer; nothing before that is asked for, and of full batches over many rows each message is
    /// large. A run without states may be begun again from its first message, and all that the outbox can hold stays.</summary>
    private void CheckKept(GlmRun? run, IPrivacyReservation reservation, int messages)
    {
        if (run is null)
            return;
        string place = $"party '{_input.Party}', ledger";
        if (reservation.KeepsAtLeast < Math.Min(3 * _plan.Job.Training.CheckpointRounds, messages))
            throw new ConfigurationException(GlmErrors.MessagesNotKept, place, "its outbox keeps fewer messages than three times training.checkpointRounds.",
                "Use fewer checkpointRounds, or let the outbox keep more messages.");
        if (run.Before is { } state && state.Integer("noise.0.released") > reservation.Kept)
            throw new ConfigurationException(GlmErrors.MessagesNotKept, place, "it does not hold the messages of the run that was cut off.",
                "Put the ledger's files back beside the run's states, or begin anew (fedlearn: --fresh); the new run is charged by itself.");
        reservation.KeepNoMore(Reach(_plan.Job.Training.CheckpointRounds));
    }

    /// <summary>How many of the newest messages a run may ask for that goes on: those since the older of two states, while the next is written, and one more for a write that was torn.</summary>
    internal static int Reach(int checkpointRounds) => 3 * checkpointRounds + 1;

    /// <summary>What a party must know that begins anew, or goes on with less than it had kept: damaged states, and a run that is charged already and will not go on.</summary>
    /// <param name="agreement">What the parties agreed on.</param>
    /// <param name="account">This run's side of the ledger.</param>
    private IEnumerable<string> BegunAnew(SessionAgreement agreement, GlmAccount account)
    {
        foreach (string file in _passedOver)
            yield return $"{_input.Party}: a state kept to go on with was passed over: {file}; {(agreement.Resume is null ? "training began anew" : "the run went on with another state")}";
        if (agreement.Resume is not null)
            yield break;
        if (_cutOff is not null)
            yield return $"{_input.Party}: a run of this job that was cut off before has been forgotten, since another party no longer has it: this is a new one";
        else if (_plan.Job.Fold is not null)
        {
            // Worded so that all runs of a tuning say the same, and the report shows it once.
            if (account.IsChargedAgain())
                yield return $"fold runs of '{_input.Party}' were charged before, by a tuning that was cut off or has ended: those charges stay, and these runs were charged beside them";
        }
        else if (_input.Runs is not null && account.Abandoned() is > 0 and var runs)
            yield return string.Create(CultureInfo.InvariantCulture, $"{_input.Party}: the ledger has {(runs == 1 ? "a charge" : $"{runs} charges")} of this job whose run has not ended and has no state here (lost, damaged, or of ")
                + "another process): it stays charged in full, and this run was charged beside it";
    }

    private static JsonObject Parameters(PartyCalibration c) => new()
    {
        ["mu"] = c.Mu,
        ["sigmaCharged"] = c.SigmaCharged,
        ["sensitivity"] = c.Sensitivity,
        ["releases"] = c.Releases,
    };

    /// <summary>The last step before round 0, when everybody has its features ready: equal rows, equal split. A passive party goes on when all are as far, and with them their states before
    /// round 0: whoever is lost from here on, the run goes on, and no noised message has left in one that cannot.</summary>
    private async Task AgreeOnRowsAsync(IReadOnlyList<IPartyChannel> channels, IPartyChannel[] arbiter, int train, int test, ulong fingerprint, CancellationToken cancellationToken)
    {
        double[] own = [train, test, fingerprint];
        if (!IsActive)
        {
            await channels[0].SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, own), "agreement: row counts and split"), cancellationToken).ConfigureAwait(false);
            await ChannelGuard.WhileTheyWaitAsync(arbiter, stop => ChannelGuard.ReceiveReadyAsync(channels[0], 0, stop).AsTask(), cancellationToken).ConfigureAwait(false);
            return;
        }

        // Parties that are ready wait for the slowest one, and are told that this one is still there.
        await ChannelGuard.WhileTheyWaitAsync([.. channels, .. arbiter], async stop =>
        {
            foreach (IPartyChannel channel in channels)
            {
                Scalars theirs = await ChannelGuard.ReceiveScalarsAsync(channel, 0, ScalarsKind.Agreement, own.Length, stop).ConfigureAwait(false);
                if (!theirs.Values.Span.SequenceEqual(own))
                    throw ProtocolErrors.Peer(ProtocolErrors.DifferentSplit, channel.RemoteParty, "before round 0",
                        "it splits the common rows into training and test rows in another way.", "Give every party the same split file.");
            }
        }, cancellationToken).ConfigureAwait(false);
        foreach (IPartyChannel channel in channels)
            await channel.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "agreement: all are ready"), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The number of classes that a job does not declare: one more than the largest label of the common rows, which the active party tells the others.</summary>
    private async Task<int> AgreeOnClassesAsync(IReadOnlyList<IPartyChannel> channels, int[] common, CancellationToken cancellationToken)
    {
        if (IsActive)
        {
            double[] classes = [Math.Max(2, common.Max(row => _input.Table.Labels![row]) + 1)];
            foreach (IPartyChannel channel in channels)
                await channel.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, classes), "agreement: number of classes"), cancellationToken).ConfigureAwait(false);
            return (int)classes[0];
        }

        Scalars told = await ChannelGuard.ReceiveScalarsAsync(channels[0], 0, ScalarsKind.Agreement, 1, cancellationToken).ConfigureAwait(false);
        double number = told.Values.Span[0];
        return number is >= 2 and <= RandomizedResponse.MostClasses && number == Math.Floor(number) ? (int)number
            : throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, channels[0].RemoteParty, "before round 0", "it names no legal number of classes.", "Declare model.classes.");
    }

    /// <summary>Refuses a job that the party's ledger cannot pay for, before a peer is met.</summary>
    private PrivacyTotal CheckLedger(int runs = 1, bool isChecked = true)
    {
        if (_plan.Job.Parties.Count < 2)
            return PrivacyTotal.Zero;
        using var account = new GlmAccount(_plan, _input, _people, "", _cutOff?.Run.RunId);
        if (_plan.Mode is PrivacyMode.OneRound or PrivacyMode.LabelDp && IsActive)
            return new LabelRelease(_plan, _input, _options, account).Check();
        if (_plan.Mode is not (PrivacyMode.OneRound or PrivacyMode.HeDp) && !_plan.Noises(_options.Party.Role))
            return PrivacyTotal.Zero;
        PrivacyBudget budget = _plan.BudgetOf(_options)!;
        // The classical formula has a mu of its own, which may cost more than it was asked for.
        double mu = _plan.Mode == PrivacyMode.HdpVfl && _plan.Job.Privacy.Calibration == Calibration.Paper
            ? 1 / ClassicalGaussian.Sigma(budget.Epsilon, budget.Delta) : GaussianDp.Mu(budget.Epsilon, budget.Delta);
        return account.Check("gaussian", _plan.Unit, 0, mu * mu, runs, isChecked);
    }

    /// <summary>The fields without a range, a few by name.</summary>
    private static string Rangeless(TableSchema schema)
    {
        string[] names = [.. schema.Fields.Where(field => field.Kind == FieldKind.Numeric && field is not { Min: not null, Max: not null }).Select(field => $"'{field.Name}'")];
        return (names.Length == 1 ? "a numeric field has" : $"{names.Length} numeric fields have")
            + $" no declared public range: {string.Join(", ", names.Take(5))}{(names.Length > 5 ? " and more" : "")}.";
    }

    private void CheckLabels()
    {
        double[] labels = _input.Table.Labels ?? throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{_input.Party}'",
            "the active party's table has no labels.", "Name the label column in data.label.");
        if (_plan.Family.Kind() == GlmFamilyKind.Binomial && labels.Contains(0) && labels.Contains(-1))
            throw new BadInputException(GlmErrors.IllegalLabel, $"{_input.Table.Place}, label", "the labels mix 0 and -1.", "Write 0 and 1, or -1 and +1.");
        for (int i = 0; i < labels.Length; i++)
        {
            string Place() => $"{_input.Table.PlaceOf(i)}, label";
            if (_plan.Family.LabelFault(labels[i]) is { } fault)
                throw new BadInputException(GlmErrors.IllegalLabel, Place(), fault, "Mend the row"
                    + (_plan.Family.Kind() == GlmFamilyKind.Binomial ? "; where the two classes are written in another way, name them, the second being class 1, as in data.labels: [\"1\", \"2\"];" : ",")
                    + $" or choose a family that fits the labels instead of {_plan.Family.Name}.");
            // One-round training clips labels to the range where it releases them, and fits the active party's own model to them as they are.
            if (_plan.Mode != PrivacyMode.OneRound && _options.LabelRange is { } range && !(labels[i] >= range.Low && labels[i] <= range.High))
                throw new BadInputException(GlmErrors.LabelOutsideRange, Place(), "the label is outside the declared range.",
                    "Declare a range that holds by the nature of the label, not by looking at the data, or mend the row.");
        }
    }

    /// <summary>The weights of the earlier model, which must be this party's, of this family and shape; null without a warm start.</summary>
    private double[]? StartOf(LinearPart part)
    {
        if (!_plan.Job.Training.WarmStart)
            return null;
        GlmModel model = _input.WarmStart ?? throw new ConfigurationException(GlmErrors.OtherModel, $"party '{_input.Party}'", "the job asks for a warm start, and the party brings no earlier model.",
            "Name the model directory in training.warmStart.");
        if (model.Party != _options.Party || model.Family != _plan.Family.Name || model.Outputs != part.Outputs || model.Intercepts.Count > 0 != part.FreeIntercept)
            throw new ConfigurationException(GlmErrors.OtherModel, $"party '{_input.Party}'", "the earlier model is another party's, of another family, number of classes or kind of intercept.",
                "Start from a model that this job could have trained.");
        return [.. model.Weights, .. model.Intercepts];
    }

    /// <summary>Labels, weights and offsets of rows of the table; none at a passive party.</summary>
    private GlmTargets Targets(int[] rows, bool training)
    {
        if (!IsActive)
            return new GlmTargets([]);
        Table table = _input.Table;
        double[] labels = [.. rows.Select(r => _plan.Family.Canonical(table.Labels![r]))];
        double[]? offsets = table.Offsets is { } o ? [.. rows.Select(r => o[r])] : null;
        return new GlmTargets(labels, training ? GlmRowWeights.Of(_plan, table.Weights is { } w ? [.. rows.Select(r => w[r])] : null, labels) : null, offsets);
    }

    /// <summary>Offsets and weights that the job's mode has bounds for.</summary>
    private void CheckOffsetsAndWeights()
    {
        Table table = _input.Table;
        if (_plan.Family is MultinomialFamily && table.Offsets is not null)
            throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{_input.Party}', data.offset", "an offset is the same for every class and changes nothing.", "Leave it out.");
        GlmTargets.CheckExposures(table, _plan.Family.Name, _plan.Family.Link, $"party '{_input.Party}', data.exposure");
        if (JointRules.Covers(_plan.Mode) && table.Weights is not null)
            throw new ConfigurationException(GlmJointErrors.NotEncryptable, $"party '{_input.Party}', data.weight", "the table has weights, which a passive party's encrypted share would need to know.", "Leave them out.");
        if (_plan.Mode == PrivacyMode.HeDp && table.Offsets is not null)
            throw new PrivacyRefusedException(GlmJointErrors.OutsideTheProof, $"party '{_input.Party}', data.offset", "the table has offsets, which in mode he+dp are outside the bound on residuals.", "Leave them out, or use mode he.");
        if (_plan.Mode != PrivacyMode.HdpVfl)
            return;
        if (table.Weights is not null && _plan.Job.Training.SampleWeightBound is null)
            throw new PrivacyRefusedException(GlmErrors.WeightBoundMissing, "training.sampleWeightBound", "weights scale what a row can change, and their bound is not declared.",
                "Declare training.sampleWeightBound: the largest weight a row may have; larger ones are clipped to it.");
        if (table.Offsets is not { } offsets)
            return;
        double bound = _plan.Job.Training.OffsetBound ?? throw new PrivacyRefusedException(GlmErrors.OffsetBoundMissing, "training.offsetBound",
            "an offset moves what a row can change, and its bound is not declared.", "Declare training.offsetBound: the largest absolute value an offset (or logarithm of an exposure) may have.");
        for (int i = 0; i < offsets.Length; i++)
            if (!(Math.Abs(offsets[i]) <= bound))
                throw new BadInputException(GlmErrors.OffsetOutsideBound, $"{table.PlaceOf(i)}, offset", "it is beyond training.offsetBound.",
                    "Declare a bound that holds by the nature of the data, not by looking at it, or mend the row.");
    }

    // A1 holds by construction of the feature map; an error there would void the claim silently, so it is checked.
    private void CheckRowNorms(FeatureRows rows)
    {
        if (!_plan.BoundsRows)
            return;
        double limit = _plan.PreprocessingOptions.RowNorm * (1 + 1e-12);
        for (int i = 0; i < rows.Rows; i++)
            if (!(rows.Length(i) <= limit))
                throw new InternalFailureException(GlmErrors.RowTooLong, "feature map", "a row is longer than preprocessing.rowNorm.", "Give an ordinary preprocessing.rowNorm, usually 1; if it has one, report this as a defect.");
    }

    /// <summary>The noise rests on what the job declares, never on what a table holds; only the active party knows that it pays for nothing.</summary>
    private IEnumerable<string> BoundsWithoutUse()
    {
        if (!IsActive || _plan.Mode != PrivacyMode.HdpVfl || _plan.Job.Parties.Count == 1)
            yield break;
        (Table table, GlmTrainingOptions training) = (_input.Table, _plan.Job.Training);
        string Paid(string key, string what) => $"{_input.Party}: {key} is declared and the table has no {what}: the noise paid for the bound all the same; leave it out of the job at every party where there are none";
        if (training.SampleWeightBound is not null && table.Weights is null && training.ClassWeights is null)
            yield return Paid("training.sampleWeightBound", "weights");
        if (training.OffsetBound is not null && table.Offsets is null)
            yield return Paid("training.offsetBound", "offsets");
    }

    private IEnumerable<string> IgnoredColumns() => _input.Table.IgnoredColumns.Count == 0 ? []
        : [$"{_input.Party}: columns that the schema does not name were ignored: {string.Join(", ", _input.Table.IgnoredColumns)}"];
}
