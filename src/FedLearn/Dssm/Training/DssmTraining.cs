using FedLearn.Aggregation;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>What the epochs of a training came to.</summary>
/// <param name="Best">The epoch whose model was kept, from 1; 0 where nothing is trained.</param>
/// <param name="History">One point an epoch.</param>
/// <param name="Timing">Seconds.</param>
internal sealed record DssmEpochs(int Best, IReadOnlyList<DssmHistoryPoint> History, DssmTiming Timing);

/// <summary>A party's part of one training session. Its report says what is unsettled: the charge of an earlier run.</summary>
internal sealed class DssmTraining(DssmParty party, ITowerFactory factory, SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, DssmKeptRun kept, DssmAccount account, TowerThread thread,
    string? unsettled)
{
    private readonly DssmJob _job = party.Job;
    private readonly DssmPlan _plan = party.Plan;

    private bool KeepsStates => _job.Training.CheckpointRounds > 0;

    public Task<DssmPartyResult> RunAsync(IProgress<DssmProgress>? progress, CancellationToken cancellationToken) =>
        party.IsActive ? ActiveAsync(progress, cancellationToken) : ViewAsync(channels[0], progress, cancellationToken);

    private async Task<DssmPartyResult> ViewAsync(IPartyChannel channel, IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        ViewTable view = party.View!;
        string[] sets = [SampleSet.Training, SampleSet.Validation, SampleSet.Test, SampleSet.ColdUsers, SampleSet.ColdItems];
        ViewSamples samples = kept.Began is { } began ? ViewSamples.Load(began, sets.Length)
            : await new SampleExchange(party, agreement.JobDigest).AnswerAsync(channel, view, sets, cancellationToken).ConfigureAwait(false);
        bool isStatic = view.Moments is null;
        int[] counts = [.. samples.Rows.Select(rows => rows.Length)];
        SampleChecks.Check(_job, samples, !isStatic, channel.RemoteParty);
        using ITower tower = await ChannelGuard.MakeAsync(channels, () => thread.RunAsync(() => Tower(party.Input.ViewTower, view.Rows.Inputs, party.Name)), cancellationToken).ConfigureAwait(false);
        await thread.RunAsync(() => CheckTower(tower)).ConfigureAwait(false);
        EmbeddingCalibration? calibration = Calibrate(_plan.OneShot ? 1 : _job.BatchesOf(counts[0]), isStatic, _plan.ViewGroups(tower.ParameterCount), EvaluationOf(samples));
        DssmMessageRoom.Check(_plan, party.Role, [.. sets.Zip(counts)], _plan.OneShot && isStatic ? samples.CommonUsers.Length : null, calibration, channels);
        using ViewMasking? masking = await MaskingAsync(calibration, channel, cancellationToken).ConfigureAwait(false);
        // Before anything is charged: every charge then has a state with which it is found again. Before round 0 towers and noise are where they start.
        await BeginAsync(samples.Save, state => masking?.Save(state), cancellationToken).ConfigureAwait(false);
        PartyNoise noise = Noise(calibration);
        var run = new ViewRun(new DssmRun(_job, thread) { Views = [.. _job.ViewNames], SetNames = sets, Masking = masking }, tower, view, samples, channel, noise, kept);
        DssmEpochs epochs = await (_plan.OneShot ? run.SendOnceAsync(cancellationToken) : run.TrainAsync(progress, cancellationToken)).ConfigureAwait(false);
        for (int set = 2; set < sets.Length && !_plan.OneShot; set++)
            await run.SendEvaluationAsync(_job.Training.Epochs * _job.BatchesOf(counts[0]), set, cancellationToken).ConfigureAwait(false);
        DssmModel model = Model() with
        {
            View = new SavedTower(Spec(view.Rows.Inputs), await ChannelGuard.WhileTheyWaitAsync(channels, _ => thread.RunAsync(tower.Save), cancellationToken).ConfigureAwait(false)),
        };
        await EndAsync(model, counts[0], cancellationToken).ConfigureAwait(false);
        return Result(model, epochs, CountsOf(counts, samples.CommonUsers.Length, null), SharedUsers.Of(party.Input, samples), calibration, isStatic && _plan.OneShot ? 0 : counts.Skip(1).Sum()) with
        {
            Warnings = [.. party.ViewWarnings()],
        };
    }

    private async Task<DssmPartyResult> ActiveAsync(IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        InteractionTable table = party.Input.Interactions!;
        // Of many events for longer than the views wait for a message.
        ActiveSamples samples = await ChannelGuard.ComputeAsync(channels, _ =>
        {
            IReadOnlyList<SampleSet> all = ActiveSamples.TrainingSets(_job, table);
            CheckBatch(all[0].Events.Count);
            return new ActiveSamples(party, all);
        }, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SampleSet> sets = samples.Sets;
        int[] counts = [.. sets.Select(set => set.Events.Count)];
        IReadOnlyList<ViewPeer> peers = kept.Began is { } began ? [.. channels.Select(channel => ViewPeer.Load(began, channel, sets))]
            : await new SampleExchange(party, agreement.JobDigest).OfferAsync(channels, sets, cancellationToken).ConfigureAwait(false);
        int batches = _job.BatchesOf(counts[0]), items = samples.Items.Ids.Count;
        // The noise of messages does not depend on how many parameters there are, which the towers tell only later.
        EmbeddingCalibration? ofMessages = Calibrate(batches, false, _plan.ActiveGroups(items, 1), null);
        foreach (ViewPeer peer in peers)
            DssmMessageRoom.Check(_plan, party.Role, [.. sets.Zip(counts, (set, count) => (set.Name, count))], _plan.OneShot && !peer.HasMoments ? peer.Users.Length : null, ofMessages, [peer.Channel]);
        if (_job.MaskedSum && kept.Restored is null)
            await ViewMasking.RelayAsync(channels, cancellationToken).ConfigureAwait(false);
        // Before anything is charged. Views of claim one-shot send once and then wait: whatever is lost later, such a run goes on from here, with the same vectors.
        await BeginAsync(state =>
        {
            foreach (ViewPeer peer in peers)
                peer.Save(state);
        }, _ => { }, cancellationToken).ConfigureAwait(false);
        var run = new DssmRun(_job, thread) { Views = [.. _job.ViewNames], SetNames = [.. sets.Select(s => s.Name)], NoisesEvaluation = _plan.NoisesEvaluation };
        var received = new List<(string View, TowerRows Rows, int[][] Samples)>();
        if (_plan.OneShot)
            foreach (ViewPeer peer in peers)
                received.Add(await ReceiveOnceAsync(run, peer, sets, cancellationToken).ConfigureAwait(false));
        ActiveTowers towers = await ChannelGuard.MakeAsync(channels, () => thread.RunAsync(() => Towers(samples, received)), cancellationToken).ConfigureAwait(false);
        await using var disposal = towers.ConfigureAwait(false);
        int trained = towers.Locals.Sum(view => view.Tower.ParameterCount) + towers.Loss.Fusion.Values.Length;
        EmbeddingCalibration? calibration = Calibrate(batches, false, _plan.ActiveGroups(items, trained), null);
        var active = new ActiveRun(run, towers, samples, _plan.OneShot ? [] : peers, Noise(calibration), _plan.OneShot ? null : kept);
        DssmEpochs epochs = await (!_plan.OneShot ? active.TrainAsync(progress, cancellationToken)
            // The views have sent all they have, and wait for the end.
            : ChannelGuard.WhileTheyWaitAsync(channels, stop => active.TrainAsync(progress, stop), cancellationToken)).ConfigureAwait(false);
        var measures = new List<Func<Task<RankingReport?>>>();
        for (int set = 2; set < sets.Count; set++)
            measures.Add(await active.PrepareReportAsync(_job.Training.Epochs * batches, set, cancellationToken).ConfigureAwait(false));
        DssmModel model = await ChannelGuard.WhileTheyWaitAsync(channels, _ => thread.RunAsync(() => Saved(Model(), samples, towers)), cancellationToken).ConfigureAwait(false);
        await EndAsync(model, counts[0], cancellationToken).ConfigureAwait(false);
        DssmPartyResult result = Result(model, epochs, CountsOf(counts, table.Users.Count, items), SharedUsers.Of(party.Input, peers, "training events", sets: 1), calibration, counts.Skip(1).Sum());
        // Every model is safe, and nobody waits any more: measuring takes as long as there are events and items.
        RankingReport?[] reports = [await measures[0]().ConfigureAwait(false), await measures[1]().ConfigureAwait(false), await measures[2]().ConfigureAwait(false)];
        return result with
        {
            Metrics = new DssmMetrics { Test = reports[0], ColdUsers = reports[1], ColdItems = reports[2] },
            Warnings = [.. EventWarnings.Of(_job, table, sets, trains: true), .. EventWarnings.OfNegatives(_job, reports), .. party.ViewWarnings()],
        };
    }

    /// <summary>Keeps the party's first state. Nobody charges or sends anything before every party has its own: whoever is lost from here on, the run goes on, and is charged once.</summary>
    private async Task BeginAsync(Action<StateWriter> begin, Action<StateWriter> state, CancellationToken cancellationToken)
    {
        bool agree = KeepsStates && kept.Restored is null;
        // A large state takes its time, and the views wait for the slowest of them.
        await ChannelGuard.WhileTheyWaitAsync(channels, async stop =>
        {
            kept.Begin(begin);
            await kept.KeepAsync(0, thread, state).ConfigureAwait(false);
            if (agree && party.IsActive)
                await ReceiveReadyAsync(0, stop).ConfigureAwait(false);
        }, cancellationToken).ConfigureAwait(false);
        if (!agree)
            return;
        foreach (IPartyChannel channel in channels)
            await channel.SendAsync(0, Ready("ready to begin"), cancellationToken).ConfigureAwait(false);
        if (!party.IsActive)
            await ReceiveReadyAsync(0, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Ends the session: from here on nobody waits for this party. Every view says that its model is safe before the active party lets any of them go: whoever is lost until then finds the others waiting, and
    /// the run goes on.</summary>
    private async Task EndAsync(DssmModel model, int samples, CancellationToken cancellationToken)
    {
        int round = _job.Training.Epochs * _job.BatchesOf(samples);
        if (party.IsActive && KeepsStates)
            // A view that is done waits for those that still save.
            await ChannelGuard.WhileTheyWaitAsync(channels, stop => ReceiveReadyAsync(round, stop), cancellationToken).ConfigureAwait(false);
        await ChannelGuard.SaveAsync(channels, party.Input.SaveModel, model).ConfigureAwait(false);
        if (!party.IsActive && KeepsStates)
            await channels[0].SendAsync(round, Ready("the view is done"), cancellationToken).ConfigureAwait(false);
        await ChannelGuard.EndAsync(channels, party.IsActive, cancellationToken).ConfigureAwait(false);
        // First the state, then the charge: a run without a state cannot go on, and one that is settled must not.
        kept.Forget();
    }

    private async Task ReceiveReadyAsync(int round, CancellationToken cancellationToken)
    {
        foreach (IPartyChannel channel in channels)
            await ChannelGuard.ReceiveReadyAsync(channel, round, cancellationToken).ConfigureAwait(false);
    }

    private static Released<Scalars> Ready(string what) => Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "agreement: " + what);

    /// <summary>What the party has once the session has ended: settles its charge.</summary>
    private DssmPartyResult Result(DssmModel model, DssmEpochs epochs, DssmCounts counts, SharedUsers shared, EmbeddingCalibration? calibration, int evaluated)
    {
        (PrivacyTotal? spent, LedgerWords words) = account.Settle(PrivacyUnit.Record);
        string[] disclosures = [.. channels.SelectMany(c => c.Releases.Keys).Where(r => r.Protection == Protection.None).Select(r => r.Name).Distinct().Order(StringComparer.Ordinal)];
        return new()
        {
            Model = model,
            Privacy = DssmClaims.State(_plan, party.Options, calibration, unsettled is null ? words.Warnings : [.. words.Warnings, unsettled], spent, evaluated, disclosures,
                _job.Privacy.Unit == EmbeddingUnit.User ? counts.Users : counts.Train),
            Resumed = kept.Resumed,
            History = epochs.History,
            BestEpoch = epochs.Best,
            Counts = counts,
            SharedUsers = shared,
            Timing = epochs.Timing,
            Traffic = ChannelStatistics.Of(channels),
            Sent = DssmSentMessages.Of(channels),
        };
    }

    private static DssmCounts CountsOf(int[] sets, int users, int? items) => new(sets[0], sets[1], sets[2], sets[3], sets[4], users, items);

    /// <summary>Refuses batches whose candidates are more than an array holds, before anything is named or charged.</summary>
    private void CheckBatch(int samples)
    {
        if (DssmLoss.LargestArray(_job.Model, _job.ViewNames.Count, party.Input.Items!.Ids.Count, Math.Min(samples, _job.Training.BatchSize), _plan.Full && _plan.Noises(PartyRole.Active)) > Array.MaxLength)
            throw new ConfigurationException(DssmPlanErrors.InvalidJob, "training.batchSize", "the candidates of a batch are more than one array holds.",
                _job.Model.Loss == DssmLossKind.Sampled ? "Lower training.batchSize or model.negatives." : "Lower training.batchSize, or use the loss sampled.");
    }

    /// <summary>Claim one-shot: a view's noisy vectors, which from here on are features of the active party.</summary>
    private async Task<(string View, TowerRows Rows, int[][] Samples)> ReceiveOnceAsync(DssmRun run, ViewPeer peer, IReadOnlyList<SampleSet> sets, CancellationToken cancellationToken)
    {
        int width = _job.Width;
        var values = new List<double>();
        int[][] rows = new int[sets.Count][];
        async Task<int> ReceiveAsync(int count, bool noised = true)
        {
            Embeddings vectors = await peer.Channel.ReceiveAsync<Embeddings>(0, count * width, cancellationToken).ConfigureAwait(false);
            ChannelGuard.Packed(vectors, run.Packing(noised), peer.Channel, 0);
            int from = values.Count / width;
            values.AddRange(run.Received(vectors.Values, width));
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
            int[] place = SampleExchange.Places(peer.Users, party.Input.Interactions!.Users.Count);
            for (int set = 0; set < sets.Count; set++)
                rows[set] = [.. sets[set].Events.Select(e => place[e.User])];
        }

        return (peer.Name, new TowerRows(new TowerInputs(width, []), values.Count / width, [.. values], []), rows);
    }

    private ActiveTowers Towers(ActiveSamples samples, IReadOnlyList<(string View, TowerRows Rows, int[][] Samples)> received)
    {
        using var made = new MadeTowers();
        ITower items = made.Add(Tower(party.Input.ItemTower, samples.Items.Content.Inputs, "\0items"));
        var locals = new List<LocalView>();
        if (samples.OwnTable is { } own)
            locals.Add(new LocalView(party.Name, made.Add(Tower(party.Input.ViewTower, own.Rows.Inputs, party.Name)), own.Rows, samples.OwnRows));
        foreach ((string view, TowerRows rows, int[][] of) in received)
            locals.Add(new LocalView(view, made.Add(Tower(null, rows.Inputs, view)), rows, of));
        double[]? logQ = _job.Model.Loss == DssmLossKind.InBatchLogQ ? ItemFrequency.LogQ(samples.Counts, samples.Trainable) : null;
        // Under masks the passive views are one for the loss, and have weighed their own rows.
        IReadOnlyList<string> views = !_job.MaskedSum ? _job.ViewNames : _job.LabelHasView ? [party.Name, "sum of views"] : ["sum of views"];
        DssmModelOptions model = _job.Model with { ViewWeights = _job.Model.ViewWeights.Where(w => views.Contains(w.Key)).ToDictionary() };
        var towers = new ActiveTowers(thread, items, locals, new DssmLoss(model, _job.Width, views, samples.Items.Ids.Count, logQ, samples.Trainable), _job.Training.Optimizer);
        foreach (ITower tower in towers.All)
            CheckTower(tower);
        made.Keep();
        return towers;
    }

    private TowerSpec Spec(TowerInputs inputs) => _job.Model.Tower(inputs, _job.Training.Optimizer);

    private ITower Tower(ITowerFactory? own, TowerInputs inputs, string name) => (own ?? factory).Create(Spec(inputs), SeedOf(_job.Training.Seed, name));

    // Towers of one job start from different values, which follow from the seed and the tower's name.
    internal static long SeedOf(long seed, string tower) => unchecked(seed * 1_000_003 + (long)EvaluationNegatives.NumberOf("tower " + tower));

    private void CheckTower(ITower tower)
    {
        if (tower.Width != _job.Width)
            throw new ConfigurationException(DssmErrors.InvalidJob, $"{party.Place}, tower", "its vectors have another width than the last of model.layers.", "Use a tower of that width.");
        _plan.CheckTower($"{party.Place}, tower", tower);
    }

    private DssmModel Saved(DssmModel model, ActiveSamples samples, ActiveTowers towers) => model with
    {
        Items = new SavedTower(Spec(samples.Items.Content.Inputs), towers.Items.Save()),
        View = towers.Locals.Where(view => view.Name == party.Name).Select(view => new SavedTower(Spec(view.Rows.Inputs), view.Tower.Save())).FirstOrDefault(),
        Received = towers.Locals.Where(view => view.Name != party.Name).ToDictionary(view => view.Name, view => new SavedTower(Spec(view.Rows.Inputs), view.Tower.Save())),
        Fusion = [.. towers.Loss.Fusion.Values],
        ItemIds = [.. samples.Items.Ids],
        // A digest of private rows is no part of what a private job releases.
        EventsSha256 = _plan.Private ? null : EventDigest.Of(party.Input.Interactions!, samples.Items),
    };

    private DssmModel Model() => new()
    {
        JobName = _job.Name,
        JobDigest = Convert.ToHexStringLower(agreement.JobDigest.Span),
        Version = kept.SessionId,
        Party = party.Options.Party,
        Views = _job.ViewNames,
        Options = _job.Model,
        Released = DssmReleaseTerms.Of(_job),
        SchemaSha256 = party.Input.SchemaFingerprint.IsEmpty ? null : Convert.ToHexStringLower(party.Input.SchemaFingerprint.Span),
    };

    /// <summary>The party's noise; null when it adds none.</summary>
    private EmbeddingCalibration? Calibrate(int batches, bool isStatic, IReadOnlyList<GradientGroup> groups, EmbeddingEvaluation? evaluation) =>
        party.Noises ? _plan.Calibrate(party.Options, _plan.Parameters(party.Options, batches, isStatic, groups, evaluation)) : null;

    /// <summary>How often a charged evaluation asks for rows; null where none is charged.</summary>
    private EmbeddingEvaluation? EvaluationOf(ViewSamples samples)
    {
        if (_job.Privacy.Evaluation != EvaluationDisclosure.Charged)
            return null;
        int messages = samples.Rows.Skip(1).Count(rows => rows.Length > 0);
        int most = samples.Users.Skip(1).SelectMany(users => users).Where(user => user >= 0).GroupBy(user => user).Select(group => group.Count()).DefaultIfEmpty(0).Max();
        return messages == 0 ? null : new EmbeddingEvaluation(1, Math.Max(1, most), messages);
    }

    /// <summary>Reserves the cost of all messages, and makes the mechanisms.</summary>
    private PartyNoise Noise(EmbeddingCalibration? calibration)
    {
        if (calibration is null)
        {
            account.ReserveDisclosed();
            return PartyNoise.None;
        }

        IPrivacyReservation reservation = account.Reserve(calibration);
        if (kept.IsKept && reservation.KeepsAtLeast < Math.Min(DssmKeptRun.Reach(_plan), calibration.MessageNoise.Releases))
            throw new ConfigurationException(DssmErrors.MessagesNotKept, $"{party.Place}, ledger", "its outbox keeps fewer messages than may have to be sent again.",
                "Use fewer checkpointRounds, or let the outbox keep more messages.");
        // A run without states may be begun again from its first message, and all that the outbox can hold stays; and one more than is asked for, for a write that was torn.
        if (kept.IsKept)
            reservation.KeepNoMore((int)DssmKeptRun.Reach(_plan) + 1);
        GaussianMechanism? Parameters(int group) => group >= calibration.GradientNoise.Count ? null
            // Groups are perturbed in turn, so the numbers of what is kept of them interleave.
            : account.Mechanism(calibration.GradientNoise[group].Noise, $"{party.Name}\0{calibration.GradientNoise[group].Group.Name}", reservation, group, calibration.GradientNoise.Count);
        // Vectors for evaluation get the noise of training messages, one message after the other.
        GaussianMechanism messages = account.Mechanism(calibration.MessageNoise, party.Name, reservation,
            latticeBits: _job.MaskedSum && !party.IsActive ? GaussianMechanism.MostLatticeBits : GaussianMechanism.UsualLatticeBits);
        return new PartyNoise
        {
            Messages = messages,
            Evaluation = calibration.Parameters.ChargedEvaluation is null ? null : messages,
            Items = party.IsActive ? Parameters(0) : null,
            Parameters = Parameters(party.IsActive ? 1 : 0),
        };
    }

    private async Task<ViewMasking?> MaskingAsync(EmbeddingCalibration? calibration, IPartyChannel channel, CancellationToken cancellationToken)
    {
        if (!_job.MaskedSum)
            return null;
        string[] views = [.. _plan.Views.Select(p => p.Party.Name)];
        double step = calibration?.MessageNoise.Sigma / INoiseSource.LatticeScale ?? SumMasking.NoiselessStep;
        return kept.Restored is { } state ? ViewMasking.Restore(party.Name, views, agreement.JobDigest, step, state, kept.Outbox!)
            : await ViewMasking.AgreeAsync(party.Name, views, agreement.JobDigest, step, _job.Privacy.TestNoiseSeed, kept.Outbox, channel, cancellationToken).ConfigureAwait(false);
    }
}
