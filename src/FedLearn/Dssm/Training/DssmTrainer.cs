using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using Microsoft.Extensions.Logging;

namespace FedLearn.Dssm;

/// <summary>What a party brings to a recommendation job.</summary>
public sealed record DssmPartyInput
{
    /// <summary>Name the job gives this party.</summary>
    public required string Party { get; init; }

    /// <summary>Its view. A passive party has one; the active party may.</summary>
    public ViewTable? View { get; init; }

    /// <summary>The items; active party only.</summary>
    public ItemTable? Items { get; init; }

    /// <summary>The events; active party only.</summary>
    public InteractionTable? Interactions { get; init; }

    /// <summary>SHA-256 of the party's schemas, 32 bytes; empty: of the shape of its tables.</summary>
    public ReadOnlyMemory<byte> SchemaFingerprint { get; init; }

    /// <summary>The party's part of a trained model, for sessions that evaluate or recommend.</summary>
    public DssmModel? Model { get; init; }

    /// <summary>Makes the tower of its view; null: the job's factory.</summary>
    public ITowerFactory? ViewTower { get; init; }

    /// <summary>Makes the tower of the items; null: the job's factory.</summary>
    public ITowerFactory? ItemTower { get; init; }

    /// <summary>How intervals of figures are found; the active party's own affair. Its seed is the job's.</summary>
    /// <value>Default: no intervals.</value>
    public EvaluationOptions Evaluation { get; init; } = new() { Resamples = 0 };

    /// <summary>Finds the users that the active party and a view share, by the job's method. Null: by hashed ids, where the job says so.</summary>
    public IEntityAlignment? Alignment { get; init; }

    /// <summary>Told how far the alignment is; null for nobody.</summary>
    public IProgress<AlignmentProgress>? AlignmentProgress { get; init; }

    /// <summary>Where charges are recorded and a lifetime budget is enforced. Null: a ledger in memory, which forgets.</summary>
    public IPrivacyLedger? Ledger { get; init; }

    /// <summary>Id of the run for the ledger, 32 hex digits. Null: a fresh one.</summary>
    public string? RunId { get; init; }

    /// <summary>Where the party keeps its state between rounds, every <see cref="DssmTrainingOptions.CheckpointRounds"/> rounds, so that it can go on after a crash or a loss; its
    /// <see cref="RunId"/> is then that of the run which goes on. In a private job the ledger must keep messages and values too, as one in a file does. Null: nowhere.</summary>
    public IRunStore? Runs { get; init; }

    /// <summary>Forgets a run of the same job that was cut off, when the trainer is made, and begins anew.</summary>
    /// <value>Default false: the party offers its peers to go on.</value>
    public bool Fresh { get; init; }

    /// <summary>Called with the finished model before this party tells the others that it is done: once a party has ended, every party has its model safe. Null: nothing is called.</summary>
    public Action<DssmModel>? SaveModel { get; init; }

    /// <summary>Where the party logs what it does, category <c>FedLearn.Session</c>. No private value enters the log. Null: nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}

/// <summary>One party of a recommendation job between companies: a multi-view deep structured semantic model (FL-MV-DSSM, arXiv 2008.10808; DSSM, Huang et al. 2013)
/// whose views and labels stay where they are.</summary>
/// <remarks>In every round each view sends the vectors of a batch, the active party fuses them, finds the loss, and answers dL/dy; every party steps its own towers. Without
/// noise this is the training of the pooled model, bit for bit.</remarks>
public sealed class DssmTrainer
{
    private readonly DssmPlan _plan;
    private readonly DssmJob _job;
    private readonly DssmPartyInput _input;
    private readonly ITowerFactory _towers;
    private readonly DssmPartyOptions _options;
    private readonly DssmRunKind _kind;
    private readonly JoinRequest _request;
    private readonly string? _unsettled;

    /// <summary>Checks a job and a party's input against each other.</summary>
    /// <param name="job">The job; the same at every party.</param>
    /// <param name="input">What this party brings.</param>
    /// <param name="towers">Makes towers.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, or the input does not fit it.</exception>
    /// <exception cref="PrivacyRefusedException">The job asks a private mode for something its claim does not cover.</exception>
    /// <exception cref="BadInputException">FL3145: there is no sample to train on.</exception>
    public DssmTrainer(DssmJob job, DssmPartyInput input, ITowerFactory towers)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(towers);
        (_job, _input, _towers) = (job, input, towers);
        (_plan, _options) = Check(job, input);
        ViewNames = ViewsOf(job);
        Terms = DssmJobTerms.Of(job);
        CheckStates();
        CutOffRun? cutOff = Runs?.Find(input.Party, Terms.TermsDigest);
        if (cutOff is not null && input.Fresh)
            _unsettled = DssmKeptRun.Forget(Runs!, cutOff, input.Ledger);
        // A run that goes on is reserved already, and is not counted twice.
        CheckBudget(input.Fresh ? input.RunId : cutOff?.Run.RunId ?? input.RunId);
        _kind = new DssmRunKind(IsActive ? "dssm label 2" : "dssm view 2", new Lazy<byte[]>(() => DssmInputDigest.Of(input, towers)), towers.Threads);
        _request = new JoinRequest(SessionDesk.ProtocolVersion, _options.Party, Terms.JobName, Terms.TermsDigest, Terms.Sections,
            input.SchemaFingerprint.IsEmpty ? InputShape.Fingerprint(input) : input.SchemaFingerprint);
    }

    /// <summary>What the parties must agree on.</summary>
    public SessionTerms Terms { get; }

    /// <summary>With what this party joins a session; read anew for each session, since it offers what the party can go on with.</summary>
    /// <exception cref="ConfigurationException">FL2545: the run that was cut off began with another number of threads. FL2541: another process goes on with it.</exception>
    public JoinRequest JoinRequest => _request with { Resume = DssmKeptRun.Offer(Runs, _input.Party, Terms, _kind) };

    // A ledger in memory keeps no messages: a private run cannot go on with it.
    private IRunStore? Runs => _job.Training.CheckpointRounds == 0 || _plan.Noises(_options.Party.Role) && _input.Ledger is null or InMemoryLedger ? null : _input.Runs;

    private bool IsActive => _options.Party.Role == PartyRole.Active;

    /// <summary>Trains with the other parties of a session.</summary>
    /// <param name="agreement">What all parties agreed on when they joined.</param>
    /// <param name="channels">At the active party one channel to each view, in the job's order; at a view the one to the active party.</param>
    /// <param name="progress">Told after epochs; null for nobody.</param>
    /// <param name="cancellationToken">Stops the job; the peers are told.</param>
    /// <returns>The party's own result.</returns>
    /// <exception cref="ArgumentException">The channels are not one a peer.</exception>
    /// <exception cref="FedLearnException">The job failed; the peers have been told the error's id.</exception>
    public async Task<DssmPartyResult> TrainAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, IProgress<DssmProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ChannelGuard.CheckCount(channels, _options.Party.Role, _job.Parties.Count);
        return await Telemetry().RunAsync(() => ChannelGuard.RunAsync(channels, async () =>
        {
            // A large state takes its time to read.
            using DssmKeptRun kept = await ChannelGuard.MakeAsync(channels, () => Task.FromResult(DssmKeptRun.Open(Runs, _input.Party, Terms, agreement, _input.RunId ?? PrivacyCharge.NewRunId(), _kind,
                DssmKeptRun.Interval(_job, _plan), DssmKeptRun.Beside(_job, _plan), _job.MaskedSum && !IsActive, _input.Ledger)), cancellationToken).ConfigureAwait(false);
            using DssmAccount account = Account(agreement, kept.RunId ?? _input.RunId);
            try
            {
                await using var thread = new TowerThread(_input.Party);
                return IsActive ? await TrainActiveAsync(agreement, kept, account, channels, thread, progress, cancellationToken).ConfigureAwait(false)
                    : await TrainViewAsync(agreement, kept, account, channels[0], thread, progress, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (kept.IsKept)
            {
                if (RunLoss.LeavesRun(e, resumed: kept.Resumed.Count > 0))
                    account.Suspend();
                else
                    kept.Forget();
                throw;
            }
        })).ConfigureAwait(false);
    }

    /// <summary>Keeps the party's first state. Nobody charges or sends anything before every party has its own: whoever is lost from here on, the run goes on, and is charged once.</summary>
    private async Task BeginAsync(IReadOnlyList<IPartyChannel> channels, DssmKeptRun kept, TowerThread thread, Action<StateWriter> begin, Action<StateWriter> state, CancellationToken cancellationToken)
    {
        bool agree = _job.Training.CheckpointRounds > 0 && kept.Restored is null;
        Released<Scalars> ready = Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "agreement: ready to begin");
        // A large state takes its time, and the views wait for the slowest of them.
        await ChannelGuard.WhileTheyWaitAsync(channels, async stop =>
        {
            kept.Begin(begin);
            await kept.KeepAsync(0, thread, state).ConfigureAwait(false);
            foreach (IPartyChannel channel in agree && IsActive ? channels : [])
                await ChannelGuard.ReceiveReadyAsync(channel, 0, stop).ConfigureAwait(false);
        }, cancellationToken).ConfigureAwait(false);
        if (!agree)
            return;
        foreach (IPartyChannel channel in channels)
        {
            await channel.SendAsync(0, ready, cancellationToken).ConfigureAwait(false);
            if (!IsActive)
                await ChannelGuard.ReceiveReadyAsync(channel, 0, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Ends the session: from here on nobody waits for this party. Every view says that its model is safe before the active party lets any of them go: whoever is lost until then finds the others waiting, and
    /// the run goes on.</summary>
    /// <param name="channels">The channels.</param>
    /// <param name="kept">The run.</param>
    /// <param name="account">The party's side of the ledger.</param>
    /// <param name="result">What the party has so far, the model in it.</param>
    /// <param name="calibration">Its noise; null for none.</param>
    /// <param name="evaluated">Rows whose vectors left for evaluation.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>The result with what the session cost and moved.</returns>
    private async Task<DssmPartyResult> EndAsync(IReadOnlyList<IPartyChannel> channels, DssmKeptRun kept, DssmAccount account, DssmPartyResult result, EmbeddingCalibration? calibration, int evaluated,
        CancellationToken cancellationToken)
    {
        bool waits = _job.Training.CheckpointRounds > 0;
        int round = _job.Training.Epochs * BatchesOf(result.Counts.Train);
        if (IsActive && waits)
            // A view that is done waits for those that still save.
            await ChannelGuard.WhileTheyWaitAsync(channels, async stop =>
            {
                foreach (IPartyChannel channel in channels)
                    await ChannelGuard.ReceiveReadyAsync(channel, round, stop).ConfigureAwait(false);
            }, cancellationToken).ConfigureAwait(false);
        await ChannelGuard.SaveAsync(channels, _input.SaveModel, result.Model).ConfigureAwait(false);
        if (!IsActive && waits)
            await channels[0].SendAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "agreement: the view is done"), cancellationToken).ConfigureAwait(false);
        await ChannelGuard.EndAsync(channels, IsActive, cancellationToken).ConfigureAwait(false);
        // First the state, then the charge: a run without a state cannot go on, and one that is settled must not.
        kept.Forget();
        return result with { Resumed = kept.Resumed, Privacy = State(account, kept, calibration, evaluated, result.Counts, channels), Traffic = ChannelStatistics.Of(channels), Sent = Sent(channels) };
    }

    private SessionTelemetry Telemetry() => new("train", _input.Party, _job.Name, _job.Privacy.IsPrivate ? "dp" : "none", _input.LoggerFactory);

    private async Task<DssmPartyResult> TrainViewAsync(SessionAgreement agreement, DssmKeptRun kept, DssmAccount account, IPartyChannel channel, TowerThread thread,
        IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        ViewTable view = DssmRun.Own(_job, _input.View!);
        string[] sets = [SampleSet.Training, SampleSet.Validation, SampleSet.Test, SampleSet.ColdUsers, SampleSet.ColdItems];
        ViewSamples samples = kept.Began is { } began ? ViewSamples.Load(began, sets.Length)
            : await SampleExchange.AnswerAsync(channel, new SampleSession(_job, _input, agreement.JobDigest), view, sets, cancellationToken).ConfigureAwait(false);
        bool isStatic = view.Moments is null;
        int evaluated = samples.Rows.Skip(1).Sum(r => r.Length), batches = BatchesOf(samples.Rows[0].Length);
        SampleChecks.Check(_job, samples, !isStatic, channel.RemoteParty);
        TowerSpec spec = Spec(view.Rows.Inputs);
        using ITower tower = await ChannelGuard.MakeAsync([channel], () => thread.RunAsync(() => (_input.ViewTower ?? _towers).Create(spec, Seed(_input.Party))), cancellationToken).ConfigureAwait(false);
        await thread.RunAsync(() => CheckTower(tower)).ConfigureAwait(false);
        EmbeddingCalibration? calibration = Calibrate(_plan.OneShot ? 1 : batches, isStatic, _plan.ViewGroups(tower.ParameterCount), EvaluationOf(samples));
        DssmMessageRoom.Check(_plan, _options.Party.Role, [.. sets.Zip(samples.Rows, (name, rows) => (name, rows.Length))], _plan.OneShot && isStatic ? samples.CommonUsers.Length : null, BitsOf(calibration), [channel]);
        using ViewMasking? masking = await MaskingAsync(agreement, kept, calibration, channel, cancellationToken).ConfigureAwait(false);
        // Before anything is charged: every charge then has a state with which it is found again. Before round 0 towers and noise are where they start.
        await BeginAsync([channel], kept, thread, samples.Save, state => masking?.Save(state), cancellationToken).ConfigureAwait(false);
        PartyNoise noise = Noise(account, calibration, kept);
        var run = new DssmRun(_job, thread) { Views = ViewNames, SetNames = sets, Masking = masking };
        var viewRun = new ViewRun(run, tower, view, samples, channel, noise, kept);
        var clock = new PartyClock();
        (int best, IReadOnlyList<DssmHistoryPoint> history) = (0, []);
        if (_plan.OneShot)
            await viewRun.SendOnceAsync(cancellationToken).ConfigureAwait(false);
        else
            (best, history) = await viewRun.TrainAsync(clock, progress, cancellationToken).ConfigureAwait(false);
        DssmTiming timing = clock.Timing(noise.Time, history.Count);
        for (int set = 2; set < sets.Length && !_plan.OneShot; set++)
            await viewRun.SendEvaluationAsync(_job.Training.Epochs * batches, set, cancellationToken).ConfigureAwait(false);
        return await EndAsync([channel], kept, account, new DssmPartyResult
        {
            Model = Model(agreement, kept) with { View = new SavedTower(spec, await ChannelGuard.WhileTheyWaitAsync([channel], _ => thread.RunAsync(tower.Save), cancellationToken).ConfigureAwait(false)) },
            Privacy = null!,
            History = history,
            BestEpoch = best,
            Counts = new DssmCounts(samples.Rows[0].Length, samples.Rows[1].Length, samples.Rows[2].Length, samples.Rows[3].Length, samples.Rows[4].Length, samples.CommonUsers.Length, null),
            SharedUsers = SharedUsers.Of(_input, samples),
            Warnings = [.. DssmRun.OwnWarnings(_job, _input.Party, _input.View)],
            Timing = timing,
            Traffic = default,
            Sent = [],
        }, calibration, isStatic && _plan.OneShot ? 0 : evaluated, cancellationToken).ConfigureAwait(false);
    }

    private async Task<DssmPartyResult> TrainActiveAsync(SessionAgreement agreement, DssmKeptRun kept, DssmAccount account, IReadOnlyList<IPartyChannel> channels,
        TowerThread thread, IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        // Of many events for longer than the views wait for a message.
        ActiveSamples samples = await ChannelGuard.ComputeAsync(channels, _ =>
        {
            IReadOnlyList<SampleSet> all = ActiveSamples.TrainingSets(_job, _input.Interactions!);
            CheckBatch(all[0].Events.Count);
            return new ActiveSamples(_job, _input, all);
        }, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SampleSet> sets = samples.Sets;
        IReadOnlyList<ViewPeer> peers = kept.Began is { } began ? [.. channels.Select(channel => ViewPeer.Load(began, channel, sets))]
            : await SampleExchange.OfferAsync(channels, new SampleSession(_job, _input, agreement.JobDigest), _input.Interactions!.Users, sets, cancellationToken).ConfigureAwait(false);
        int batches = BatchesOf(sets[0].Events.Count), evaluated = sets.Skip(1).Sum(s => s.Events.Count);
        // The noise of messages does not depend on how many parameters there are, which the towers tell only later.
        int bits = BitsOf(Calibrate(batches, false, _plan.ActiveGroups(samples.Items.Ids.Count, 1), null));
        foreach (ViewPeer peer in peers)
            DssmMessageRoom.Check(_plan, _options.Party.Role, [.. sets.Select(set => (set.Name, set.Events.Count))], _plan.OneShot && !peer.HasMoments ? peer.Users.Length : null, bits, [peer.Channel]);
        if (_job.MaskedSum && kept.Restored is null)
            await ViewMasking.RelayAsync(channels, cancellationToken).ConfigureAwait(false);
        // Before anything is charged. Views of claim one-shot send once and then wait: whatever is lost later, such a run goes on from here, with the same vectors.
        await BeginAsync(channels, kept, thread, state =>
        {
            foreach (ViewPeer peer in peers)
                peer.Save(state);
        }, _ => { }, cancellationToken).ConfigureAwait(false);
        var received = new List<(string View, TowerRows Rows, int[][] Samples)>();
        if (_plan.OneShot)
            foreach (ViewPeer peer in peers)
                received.Add(await ReceiveOnceAsync(peer, sets, cancellationToken).ConfigureAwait(false));
        ActiveTowers towers = await ChannelGuard.MakeAsync(channels, () => thread.RunAsync(() => CreateTowers(thread, samples, received)), cancellationToken).ConfigureAwait(false);
        await using var disposal = towers.ConfigureAwait(false);
        int trained = towers.Locals.Sum(view => view.Tower.ParameterCount) + towers.Loss.Fusion.Values.Length;
        EmbeddingCalibration? calibration = Calibrate(batches, false, _plan.ActiveGroups(samples.Items.Ids.Count, trained), null);
        PartyNoise noise = Noise(account, calibration, kept);
        var run = new DssmRun(_job, thread) { Views = ViewNames, SetNames = [.. sets.Select(s => s.Name)], NoisesEvaluation = _plan.NoisesEvaluation };
        var active = new ActiveRun(run, towers, samples, _plan.OneShot ? [] : peers, noise, _plan.OneShot ? null : kept);
        var clock = new PartyClock();
        (int best, IReadOnlyList<DssmHistoryPoint> history) = await (!_plan.OneShot ? active.TrainAsync(clock, progress, cancellationToken)
            // The views have sent all they have, and wait for the end.
            : ChannelGuard.WhileTheyWaitAsync(channels, stop => active.TrainAsync(clock, progress, stop), cancellationToken)).ConfigureAwait(false);
        DssmTiming timing = clock.Timing(noise.Time, history.Count);
        var measures = new List<Func<Task<RankingReport?>>>();
        for (int set = 2; set < sets.Count; set++)
            measures.Add(await active.PrepareReportAsync(_job.Training.Epochs * batches, set, clock, cancellationToken).ConfigureAwait(false));
        DssmPartyResult result = await EndAsync(channels, kept, account, new DssmPartyResult
        {
            Model = await ChannelGuard.WhileTheyWaitAsync(channels, _ => thread.RunAsync(() => Saved(Model(agreement, kept), samples, towers)), cancellationToken).ConfigureAwait(false),
            Privacy = null!,
            History = history,
            BestEpoch = best,
            Counts = new DssmCounts(sets[0].Events.Count, sets[1].Events.Count, sets[2].Events.Count, sets[3].Events.Count, sets[4].Events.Count,
                _input.Interactions!.Users.Count, samples.Items.Ids.Count),
            SharedUsers = SharedUsers.Of(_input, peers, "training events", sets: 1),
            Timing = timing,
            Traffic = default,
            Sent = [],
        }, calibration, evaluated, cancellationToken).ConfigureAwait(false);
        // Every model is safe, and nobody waits any more: measuring takes as long as there are events and items.
        var reports = new RankingReport?[sets.Count];
        for (int set = 2; set < sets.Count; set++)
            reports[set] = await measures[set - 2]().ConfigureAwait(false);
        return result with
        {
            Metrics = new DssmMetrics { Test = reports[2], ColdUsers = reports[3], ColdItems = reports[4] },
            Warnings = [.. EventWarnings.Of(_job, _input.Interactions, sets, trains: true), .. EventWarnings.OfNegatives(_job, reports), .. DssmRun.OwnWarnings(_job, _input.Party, _input.View)],
        };
    }

    /// <summary>Refuses towers whose states are more than an array holds, before a peer is met: the first is made at the first checkpoint. Of towers that are no shipped ones nobody knows the size.</summary>
    private void CheckStates()
    {
        if (Runs is null || _plan.OneShot)
            return;
        long number = _job.Model.Precision == TowerPrecision.Float32 ? sizeof(float) : sizeof(double);
        // Parameters and two moments; and the parameters of the best epoch in float64, where one is chosen.
        long each = 3 * number + (_plan.ValidationStop ? sizeof(double) : 0);
        long bytes = 0;
        foreach ((TowerRows? rows, ITowerFactory? own) in new[] { (_input.View?.Rows, _input.ViewTower), (_input.Items?.Content, _input.ItemTower) })
            if (rows is not null && (own ?? _towers).Fingerprint.IsEmpty)
                bytes += each * TowerStart.Count(Spec(rows.Inputs));
        if (bytes > Array.MaxLength)
            throw new ConfigurationException(DssmPlanErrors.InvalidJob, "training.checkpointRounds", $"a state of party '{_input.Party}' would have {bytes} bytes, more than one array holds.",
                "Set training.checkpointRounds to 0 at every party, which keeps no states; or use narrower layers, fewer items or buckets, or float32.");
    }

    /// <summary>Refuses batches whose candidates are more than an array holds, before anything is named or charged.</summary>
    private void CheckBatch(int samples)
    {
        if (DssmLoss.LargestArray(_job.Model, ViewNames.Count, _input.Items!.Ids.Count, Math.Min(samples, _job.Training.BatchSize), _plan.Full && _plan.Noises(PartyRole.Active)) > Array.MaxLength)
            throw new ConfigurationException(DssmPlanErrors.InvalidJob, "training.batchSize", "the candidates of a batch are more than one array holds.",
                _job.Model.Loss == DssmLossKind.Sampled ? "Lower training.batchSize or model.negatives." : "Lower training.batchSize, or use the loss sampled.");
    }

    /// <summary>Claim one-shot: a view's noisy vectors, which from here on are features of the active party.</summary>
    private async Task<(string View, TowerRows Rows, int[][] Samples)> ReceiveOnceAsync(ViewPeer peer, IReadOnlyList<SampleSet> sets, CancellationToken cancellationToken)
    {
        int width = _job.Model.Layers[^1];
        var values = new List<double>();
        int[][] rows = new int[sets.Count][];
        async Task<int> ReceiveAsync(int count, bool noised = true)
        {
            Embeddings vectors = await peer.Channel.ReceiveAsync<Embeddings>(0, count * width, cancellationToken).ConfigureAwait(false);
            ChannelGuard.Packed(vectors, DssmRun.Packing(_job, noised), peer.Channel, 0);
            int from = values.Count / width;
            values.AddRange(DssmRun.Received(_job, vectors.Values, width));
            return from;
        }

        if (peer.HasMoments)
        {
            for (int set = 0; set < sets.Count; set++)
            {
                int count = sets[set].Events.Count, from = set > 0 && count == 0 ? 0 : await ReceiveAsync(count, noised: set == 0 || _plan.NoisesEvaluation).ConfigureAwait(false);
                bool[] present = peer.Present[set];
                rows[set] = [.. Enumerable.Range(0, count).Select(i => present[i] ? from + i : -1)];
            }
        }
        else
        {
            await ReceiveAsync(peer.Users.Length).ConfigureAwait(false);
            int[] place = new int[_input.Interactions!.Users.Count];
            Array.Fill(place, -1);
            for (int i = 0; i < peer.Users.Length; i++)
                place[peer.Users[i]] = i;
            for (int set = 0; set < sets.Count; set++)
                rows[set] = [.. sets[set].Events.Select(e => place[e.User])];
        }

        return (peer.Name, new TowerRows(new TowerInputs(width, []), values.Count / width, [.. values], []), rows);
    }

    private ActiveTowers CreateTowers(TowerThread thread, ActiveSamples samples, IReadOnlyList<(string View, TowerRows Rows, int[][] Samples)> received)
    {
        using var made = new MadeTowers();
        ITower items = made.Add((_input.ItemTower ?? _towers).Create(Spec(samples.Items.Content.Inputs), Seed("\0items")));
        var locals = new List<LocalView>();
        if (samples.OwnTable is { } own)
            locals.Add(new LocalView(_input.Party, made.Add((_input.ViewTower ?? _towers).Create(Spec(own.Rows.Inputs), Seed(_input.Party))), own.Rows, samples.OwnRows));
        foreach ((string view, TowerRows rows, int[][] of) in received)
            locals.Add(new LocalView(view, made.Add(_towers.Create(Spec(rows.Inputs), Seed(view))), rows, of));
        double[]? logQ = _job.Model.Loss == DssmLossKind.InBatchLogQ ? ItemFrequency.LogQ(samples.Counts, samples.Trainable) : null;
        IReadOnlyList<string> views = LossViews();
        // Under masks the passive views have weighed their own rows.
        DssmModelOptions model = _job.Model with { ViewWeights = _job.Model.ViewWeights.Where(w => views.Contains(w.Key)).ToDictionary() };
        var towers = new ActiveTowers(thread, items, locals, new DssmLoss(model, _job.Model.Layers[^1], views, samples.Items.Ids.Count, logQ, samples.Trainable), _job.Training.Optimizer);
        foreach (ITower tower in towers.All)
            CheckTower(tower);
        made.Keep();
        return towers;
    }

    private DssmModel Saved(DssmModel model, ActiveSamples samples, ActiveTowers towers) => model with
    {
        Items = new SavedTower(Spec(samples.Items.Content.Inputs), towers.Items.Save()),
        View = towers.Locals.Where(view => view.Name == _input.Party).Select(view => new SavedTower(Spec(view.Rows.Inputs), view.Tower.Save())).FirstOrDefault(),
        Received = towers.Locals.Where(view => view.Name != _input.Party).ToDictionary(view => view.Name, view => new SavedTower(Spec(view.Rows.Inputs), view.Tower.Save())),
        Fusion = [.. towers.Loss.Fusion.Values],
        ItemIds = [.. samples.Items.Ids],
        // A digest of private rows is no part of what a private job releases.
        EventsSha256 = _plan.Private ? null : EventDigest.Of(_input.Interactions!, samples.Items),
    };

    private DssmModel Model(SessionAgreement agreement, DssmKeptRun kept) => new()
    {
        JobName = _job.Name,
        JobDigest = Convert.ToHexStringLower(agreement.JobDigest.Span),
        Version = kept.SessionId,
        Party = _options.Party,
        Views = ViewNames,
        Options = _job.Model,
        Released = DssmReleaseTerms.Of(_job),
        SchemaSha256 = _input.SchemaFingerprint.IsEmpty ? null : Convert.ToHexStringLower(_input.SchemaFingerprint.Span),
    };

    private DssmAccount Account(SessionAgreement? agreement, string? runId) => new(_plan, _options, _input.Ledger, runId,
        new Lazy<DataSetIdentity>(() => DssmAccount.IdentityOf(IsActive ? _input.Interactions!.Users : _input.View!.Users)),
        agreement is null ? "" : Convert.ToHexStringLower(agreement.JobDigest.Span));

    /// <summary>The party's noise; null when it adds none.</summary>
    private EmbeddingCalibration? Calibrate(int batches, bool isStatic, IReadOnlyList<GradientGroup> groups, EmbeddingEvaluation? evaluation)
    {
        bool noises = _plan.Noises(_options.Party.Role) && _job.Parties.Count > 1;
        return noises ? _plan.Calibrate(_options, _plan.Parameters(_options, batches, isStatic, groups, evaluation)) : null;
    }

    /// <summary>Bits of a number of the party's noised messages, 0 where it noises none.</summary>
    private static int BitsOf(EmbeddingCalibration? calibration) => calibration is null ? 0 : GaussianMechanism.BitsOf(calibration.MessageNoise);

    /// <summary>Reserves the cost of all messages, and makes the mechanisms.</summary>
    private PartyNoise Noise(DssmAccount account, EmbeddingCalibration? calibration, DssmKeptRun kept)
    {
        if (calibration is null)
        {
            account.ReserveDisclosed();
            return PartyNoise.None;
        }

        IPrivacyReservation reservation = account.Reserve(calibration);
        if (kept.IsKept && reservation.KeepsAtLeast < Math.Min(DssmKeptRun.Reach(_job, _plan), calibration.MessageNoise.Releases))
            throw new ConfigurationException(DssmErrors.MessagesNotKept, $"party '{_input.Party}', ledger", "its outbox keeps fewer messages than may have to be sent again.",
                "Use fewer checkpointRounds, or let the outbox keep more messages.");
        // A run without states may be begun again from its first message, and all that the outbox can hold stays; and one more than is asked for, for a write that was torn.
        if (kept.IsKept)
            reservation.KeepNoMore((int)DssmKeptRun.Reach(_job, _plan) + 1);
        GaussianMechanism? Parameters(int group) => group < 0 || group >= calibration.GradientNoise.Count ? null
            // Groups are perturbed in turn, so the numbers of what is kept of them interleave.
            : account.Mechanism(calibration.GradientNoise[group].Noise, $"{_input.Party}\0{calibration.GradientNoise[group].Group.Name}", reservation, group, calibration.GradientNoise.Count);
        // Vectors for evaluation get the noise of training messages, one message after the other.
        GaussianMechanism messages = account.Mechanism(calibration.MessageNoise, _input.Party, reservation,
            latticeBits: _job.MaskedSum && !IsActive ? GaussianMechanism.MostLatticeBits : GaussianMechanism.UsualLatticeBits);
        return new PartyNoise
        {
            Messages = messages,
            Evaluation = calibration.Parameters.ChargedEvaluation is null ? null : messages,
            Items = IsActive ? Parameters(0) : null,
            Parameters = Parameters(IsActive ? 1 : 0),
        };
    }

    /// <summary>How often a charged evaluation asks for rows.</summary>
    private EmbeddingEvaluation? EvaluationOf(ViewSamples samples)
    {
        if (_job.Privacy.Evaluation != EvaluationDisclosure.Charged)
            return null;
        int messages = samples.Rows.Skip(1).Count(rows => rows.Length > 0);
        int most = samples.Users.Skip(1).SelectMany(users => users).Where(user => user >= 0).GroupBy(user => user).Select(group => group.Count()).DefaultIfEmpty(0).Max();
        return messages == 0 ? null : new EmbeddingEvaluation(1, Math.Max(1, most), messages);
    }

    private DssmPrivacyStatement State(DssmAccount account, DssmKeptRun kept, EmbeddingCalibration? calibration, int evaluated, DssmCounts counts, IReadOnlyList<IPartyChannel> channels)
    {
        (PrivacyTotal? spent, LedgerWords words) = account.Settle(PrivacyUnit.Record);
        IReadOnlyList<string> warnings = words.Warnings;
        if ((_unsettled ?? kept.Unsettled) is { } unsettled)
            warnings = [.. warnings, unsettled];
        string[] disclosures = [.. channels.SelectMany(c => c.Releases.Keys).Where(r => r.Protection == Protection.None).Select(r => r.Name).Distinct().Order(StringComparer.Ordinal)];
        return DssmClaims.State(_plan, _options, calibration, warnings, spent, evaluated, disclosures, _job.Privacy.Unit == EmbeddingUnit.User ? counts.Users : counts.Train);
    }

    private async Task<ViewMasking?> MaskingAsync(SessionAgreement agreement, DssmKeptRun kept, EmbeddingCalibration? calibration, IPartyChannel channel, CancellationToken cancellationToken)
    {
        if (!_job.MaskedSum)
            return null;
        string[] views = [.. _plan.Views.Select(p => p.Party.Name)];
        double? step = calibration?.MessageNoise.Sigma / INoiseSource.LatticeScale;
        return kept.Restored is { } state ? ViewMasking.Restore(_input.Party, views, agreement.JobDigest, step, state, kept.Outbox!)
            : await ViewMasking.AgreeAsync(_input.Party, views, agreement.JobDigest, step, _job.Privacy.TestNoiseSeed, kept.Outbox, channel, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The views that the loss sees: under masks the passive ones are one.</summary>
    private IReadOnlyList<string> LossViews() => !_job.MaskedSum ? ViewNames : _job.LabelHasView ? [_input.Party, "sum of views"] : ["sum of views"];

    /// <summary>The views in the order of the loss: the active party's own, then the passive parties'.</summary>
    private IReadOnlyList<string> ViewNames { get; }

    private void CheckTower(ITower tower)
    {
        if (tower.Width != _job.Model.Layers[^1])
            throw new ConfigurationException(DssmErrors.InvalidJob, $"party '{_input.Party}', tower", "its vectors have another width than the last of model.layers.", "Use a tower of that width.");
        _plan.CheckTower($"party '{_input.Party}', tower", tower);
    }

    /// <summary>Refuses a job that the party's ledger cannot pay for, before a peer is met.</summary>
    private void CheckBudget(string? runId)
    {
        if (!_plan.Noises(_options.Party.Role) || _job.Parties.Count < 2)
            return;
        PrivacyBudget budget = _plan.BudgetOf(_options)!;
        using DssmAccount account = Account(null, runId);
        double mu = GaussianDp.Mu(budget.Epsilon, budget.Delta);
        account.Check(DssmClaims.Mechanism(_plan, _options.Party.Role), PrivacyUnit.Record, 0, mu * mu);
    }

    /// <summary>Names of a job's views: the active party's own, then the passive parties' in the job's order.</summary>
    internal static IReadOnlyList<string> ViewsOf(DssmJob job) => [.. job.Parties.Where(p => p.Party.Role == PartyRole.Passive || job.LabelHasView).OrderBy(p => p.Party.Role).Select(p => p.Party.Name)];

    /// <summary>Checks a job, and a party's input against it: what training and the use of its model have in common.</summary>
    internal static (DssmPlan Plan, DssmPartyOptions Options) Check(DssmJob job, DssmPartyInput input)
    {
        var plan = DssmPlan.Create(job);
        string place = $"party '{input.Party}'";
        DssmPartyOptions options = job.Parties.FirstOrDefault(p => p.Party.Name == input.Party)
            ?? throw new ConfigurationException(DssmErrors.InvalidJob, place, "the job has no party of that name.", "Use a name that the job lists.");
        AlignmentChoice.Of(job.Alignment, input.Alignment, input.Party);
        bool isLabel = options.Party.Role == PartyRole.Active;
        if (isLabel && (input.Items is null || input.Interactions is null))
            throw new ConfigurationException(DssmErrors.InvalidJob, place, "the active party brings no items or no events.", "Name data.items and data.interactions.");
        if (isLabel != (input.Items is not null) || isLabel != (input.Interactions is not null))
            throw new ConfigurationException(DssmErrors.InvalidJob, place, "a view brings items or events, which would have no effect.", "Give them at the active party.");
        if (input.View is null == (!isLabel || job.LabelHasView))
            throw new ConfigurationException(DssmErrors.InvalidJob, place, input.View is null ? "it brings no view." : "it brings a view that the job does not know of.",
                "Name data.view at every view, and at the active party if and only if the job says that it has one.");
        if (!isLabel)
            plan.CheckView(options, input.View!.Moments is null);
        return (plan, options);
    }

    private TowerSpec Spec(TowerInputs inputs) => new()
    {
        Inputs = inputs,
        Layers = _job.Model.Layers,
        Activation = _job.Model.Activation,
        LayerNorm = _job.Model.LayerNorm,
        Dropout = _job.Model.Dropout,
        Precision = _job.Model.Precision,
        Optimizer = _job.Training.Optimizer,
    };

    private long Seed(string tower) => TowerSeed(_job.Training.Seed, tower);

    // Towers of one job start from different values, which follow from the seed and the tower's name.
    internal static long TowerSeed(long seed, string tower) => unchecked(seed * 1_000_003 + (long)EvaluationNegatives.NumberOf("tower " + tower));

    private int BatchesOf(int samples) => (samples + _job.Training.BatchSize - 1) / _job.Training.BatchSize;

    internal static IReadOnlyList<DssmSentMessages> Sent(IReadOnlyList<IPartyChannel> channels) => [.. channels.SelectMany(c => c.Releases.OrderBy(r => r.Key.Name, StringComparer.Ordinal)
        .Select(r => new DssmSentMessages(c.RemoteParty, r.Key.Name, r.Key.Protection, r.Value, c.BytesOf(r.Key.Name, r.Key.Protection))))];
}

/// <summary>The shape of a party's tables, where it brings no schema.</summary>
internal static class InputShape
{
    public static byte[] Fingerprint(DssmPartyInput input) => SHA256.HashData(Encoding.UTF8.GetBytes(
        string.Join('\n', new[] { input.View?.Rows.Inputs, input.Items?.Content.Inputs }.Select(Describe)) + (input.View?.Moments is null ? " static" : " moments")));

    private static string Describe(TowerInputs? inputs) => inputs is null ? "none"
        : $"{inputs.DenseWidth} {string.Join(' ', inputs.Bags.Select(bag => $"{bag.Name}:{bag.Buckets}:{bag.Pooling}"))}";
}

/// <summary>What a view checks of the samples that it is asked for: the claims count on it.</summary>
internal static class SampleChecks
{
    /// <summary>Refuses a training without samples, and samples beyond what the claims count.</summary>
    public static void Check(DssmJob job, ViewSamples samples, bool hasMoments, string remote)
    {
        if (samples.Rows[0].Length == 0)
            throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, remote, "round 0", "named no training sample.", "Check that both parties run the same release of the software.");
        if (!job.Privacy.IsPrivate)
            return;
        if (job.Privacy.MaxSamplesPerUser is { } cap && samples.Users[0].Where(u => u >= 0).GroupBy(u => u).Any(g => g.Count() > cap))
            throw ProtocolErrors.Peer(DssmErrors.SamplesNotAllowed, remote, "round 0", "named more training samples of a user than privacy.maxSamplesPerUser.",
                "Check that both parties run the same release of the software.");
        if (!hasMoments || job.Privacy.Unit == EmbeddingUnit.User || !job.Privacy.Noise.HasFlag(DssmNoise.Embeddings))
            return;
        // The active party names the samples, and each has a noise of its own: a row that several of them read would be released more often than is charged, in a charged evaluation too.
        IEnumerable<int[]> noised = job.Privacy.Evaluation == EvaluationDisclosure.Charged ? samples.Rows : samples.Rows.Take(1);
        var seen = new HashSet<int>();
        if (!noised.SelectMany(rows => rows).Where(row => row >= 0).All(seen.Add))
            throw new PrivacyRefusedException(DssmErrors.SharedRow, "round 0", "two samples read one row of the view, so that one row is more than one sample.",
                "Use privacy.unit user with privacy.maxSamplesPerUser, or a view with a row for every event.");
    }
}
