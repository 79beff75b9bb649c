using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>What a session with a trained model finds.</summary>
public enum DssmPurpose
{
    /// <summary>The figures of the model on the events that are not trained on.</summary>
    Evaluate = 0,

    /// <summary>Every user's vector as of now, to rank items with.</summary>
    Recommend = 1,
}

/// <summary>What a session with a trained model gives the active party; a view learns who is shared.</summary>
public sealed record DssmInferenceResult
{
    /// <summary>The users that the party shares with others.</summary>
    public required SharedUsers SharedUsers { get; init; }

    /// <summary>Figures, for <see cref="DssmPurpose.Evaluate"/>.</summary>
    public DssmMetrics? Metrics { get; init; }

    /// <summary>What a user should know of the party's own view, and at the active party, for <see cref="DssmPurpose.Evaluate"/>, of the events.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>The items' vectors, ready to search, for <see cref="DssmPurpose.Recommend"/>.</summary>
    public ItemIndex? Items { get; init; }

    /// <summary>Vectors of the users as of now, in the order of the active party's users, for <see cref="DssmPurpose.Recommend"/>.</summary>
    public UserVectors? Users { get; init; }

    /// <summary>What left the party, by receiver, name and protection.</summary>
    public IReadOnlyList<DssmSentMessages> Sent { get; init; } = [];

    /// <summary>What it sent and received.</summary>
    public ChannelStatistics Traffic { get; init; }
}

/// <summary>One party of a session with a trained model.</summary>
public sealed class DssmInference
{
    private readonly DssmParty _party;
    private readonly ITowerFactory _towers;
    private readonly DssmPurpose _purpose;
    private readonly DssmModel _model;

    /// <summary>Checks a job, a party's input and its part of the model against each other.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="input">What this party brings, with its part of the model.</param>
    /// <param name="towers">Makes towers.</param>
    /// <param name="purpose">What is wanted.</param>
    /// <param name="newUsers">For <see cref="DssmPurpose.Recommend"/>: whether the active party may ask for users of whom it has no events. Views send vectors of them too, so all parties say the same.</param>
    /// <exception cref="ConfigurationException">FL2485, FL2487: something does not fit. FL2488: the active party's users are not all of its events, and <paramref name="newUsers"/> is false.</exception>
    /// <exception cref="PrivacyRefusedException">FL5187: privacy.evaluation of the training, or of the job, discloses no vectors, the claim is one-shot, or views were added under masks.</exception>
    public DssmInference(DssmJob job, DssmPartyInput input, ITowerFactory towers, DssmPurpose purpose, bool newUsers = false)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(towers);
        (_party, _towers, _purpose) = (new DssmParty(job, input), towers, purpose);
        _model = input.Model ?? throw Other("its part of the model is missing.", "Give one part a party.");
        if (_model.JobName != job.Name || _model.Party != _party.Options.Party)
            throw Other("the part of the model is another job's or party's.", "Name the directory that this job's training wrote.");
        // Both what the training promised and what the run file says now must allow this.
        foreach (DssmReleaseTerms terms in new[] { _model.Released, DssmReleaseTerms.Of(job) }.OfType<DssmReleaseTerms>())
            RequireRelease(terms, _party.Place);
        if (!_model.Views.ToHashSet(StringComparer.Ordinal).SetEquals(job.ViewNames))
            throw Other("the model was trained with other views than the job has now.", "Give the run file of the training.");
        if (_model.OtherOptions(job).ToArray() is { Length: > 0 } others)
            throw Other($"the model was trained with another {string.Join(", ", others)} than the job has now.", "Give the run file of the training.");
        if (_model.SchemaSha256 is { } schema && !input.SchemaFingerprint.IsEmpty && schema != Convert.ToHexStringLower(input.SchemaFingerprint.Span))
            throw Other("its schemas are not those that the model was trained with: the same cells would be other features.",
                "Use the schema files of the training.");
        if (input.Items is { } catalogue && NumbersOtherItems(_model, catalogue))
            throw Other("its tables number the items, and the items are not those that the model was trained with: the same numbers would be other items.",
                "Use the items of the training, or train again.");
        // A view cannot know of whom the active party has events: so the active party checks here, and the terms say whether it may ask for others.
        if (purpose == DssmPurpose.Recommend && !newUsers && input.Interactions is { } table && table.Users.Count - table.Events.Select(e => e.User).Distinct().Count() is > 0 and int more)
            throw new ConfigurationException(DssmErrors.NewUsers, _party.Place, $"lists are asked for {more} {Counted.Noun(more, "user")} of whom it has no events, and the views have not agreed to send vectors of such people.",
                "Leave them out, or let every party agree: fedlearn party --new-users.");
        Terms = DssmJobTerms.Of(job, purpose == DssmPurpose.Evaluate ? "evaluate" : "recommend", newUsers);
        // Parts of different trainings do not go together, so the model's version stands where a training has the schema's digest.
        JoinRequest = new JoinRequest(SessionDesk.ProtocolVersion, _party.Options.Party, Terms.JobName, Terms.TermsDigest, Terms.Sections,
            SHA256.HashData(Encoding.UTF8.GetBytes($"{_model.Version} {_model.JobDigest}")));
    }

    /// <summary>What the parties must agree on.</summary>
    public SessionTerms Terms { get; }

    /// <summary>With what this party joins a session.</summary>
    public JoinRequest JoinRequest { get; }

    /// <summary>Takes part in a session.</summary>
    /// <param name="agreement">What all parties agreed on when they joined.</param>
    /// <param name="channels">At the active party one channel to each view, in the job's order; at a view the one to the active party.</param>
    /// <param name="cancellationToken">Stops; the peers are told.</param>
    /// <returns>What the active party finds; at a view only who is shared, and what it sent.</returns>
    /// <exception cref="ArgumentException">The channels are not one a peer.</exception>
    /// <exception cref="FedLearnException">The session failed; the peers have been told the error's id.</exception>
    public async Task<DssmInferenceResult> RunAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ChannelGuard.CheckCount(channels, _party.Role, _party.Job.Parties.Count);
        return await _party.Telemetry(_purpose == DssmPurpose.Evaluate ? "evaluate" : "recommend").RunAsync(() => ChannelGuard.RunAsync(channels, async () =>
        {
            if (agreement.Parties.Any(p => !p.SchemaFingerprint.Span.SequenceEqual(JoinRequest.SchemaFingerprint.Span)))
                throw new ConfigurationException(DssmErrors.OtherModel, "joining", "the parties' parts of the model come from different trainings.", "Use the parts that one training wrote.");
            await using var thread = new TowerThread(_party.Name);
            DssmInferenceResult result = _party.IsActive
                ? await ActiveAsync(agreement, channels, thread, cancellationToken).ConfigureAwait(false)
                : await ViewAsync(agreement, channels[0], thread, cancellationToken).ConfigureAwait(false);
            return result with { Traffic = ChannelStatistics.Of(channels), Sent = DssmSentMessages.Of(channels) };
        })).ConfigureAwait(false);
    }

    private async Task<DssmInferenceResult> ViewAsync(SessionAgreement agreement, IPartyChannel channel, TowerThread thread, CancellationToken cancellationToken)
    {
        string[] sets = _purpose == DssmPurpose.Recommend ? [SampleSet.Recommendation] : [SampleSet.Test, SampleSet.ColdUsers, SampleSet.ColdItems];
        ViewTable view = _party.View!;
        ViewSamples samples = await new SampleExchange(_party, agreement.JobDigest).AnswerAsync(channel, view, sets, cancellationToken).ConfigureAwait(false);
        using ITower tower = await thread.RunAsync(() => Restored(_party.Input.ViewTower, _model.View)).ConfigureAwait(false);
        if (tower.Inputs != view.Rows.Inputs)
            throw OtherShapes();
        var run = new ViewRun(new DssmRun(_party.Job, thread) { Views = [.. _model.Views], SetNames = sets }, tower, view, samples, channel, PartyNoise.None);
        for (int set = 0; set < sets.Length; set++)
            await run.SendEvaluationAsync(0, set, cancellationToken).ConfigureAwait(false);
        await CompleteAsync([channel], cancellationToken).ConfigureAwait(false);
        return new DssmInferenceResult { SharedUsers = SharedUsers.Of(_party.Input, samples, some: _purpose == DssmPurpose.Recommend), Warnings = [.. _party.ViewWarnings()] };
    }

    private async Task<DssmInferenceResult> ActiveAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, TowerThread thread, CancellationToken cancellationToken)
    {
        InteractionTable table = _party.Input.Interactions!;
        ActiveSamples samples = await ChannelGuard.ComputeAsync(channels, _ => new ActiveSamples(_party, _purpose == DssmPurpose.Recommend
            ? [new SampleSet(SampleSet.Recommendation, EventRole.Seen, [.. table.Users.Select((_, user) => new Interaction(user, 0, Now, EventRole.Seen))])]
            : ActiveSamples.EvaluationSets(table, evaluates: true)), cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SampleSet> sets = samples.Sets;
        // The model's parameters of the views are in the order that the training had.
        List<string> order = [.. _model.Views];
        IReadOnlyList<IPartyChannel> views = [.. channels.OrderBy(channel => order.IndexOf(channel.RemoteParty))];
        IReadOnlyList<ViewPeer> peers = await new SampleExchange(_party, agreement.JobDigest).OfferAsync(views, sets, cancellationToken).ConfigureAwait(false);
        var shared = SharedUsers.Of(_party.Input, peers, _purpose == DssmPurpose.Recommend ? "users" : "events", sets.Count);
        ActiveTowers towers = await thread.RunAsync(() => Towers(thread, samples)).ConfigureAwait(false);
        await using var disposal = towers.ConfigureAwait(false);
        var run = new ActiveRun(new DssmRun(_party.Job, thread) { Views = [.. _model.Views], SetNames = [.. sets.Select(s => s.Name)] }, towers, samples, peers, PartyNoise.None);
        if (_purpose == DssmPurpose.Recommend)
        {
            (ItemIndex items, UserVectors users) = await run.RecommendAsync(_model.Version, cancellationToken).ConfigureAwait(false);
            await CompleteAsync(channels, cancellationToken).ConfigureAwait(false);
            return new DssmInferenceResult { SharedUsers = shared, Items = items, Users = users };
        }

        var measures = new List<Func<Task<Evaluation.RankingReport?>>>();
        for (int set = 0; set < sets.Count; set++)
            measures.Add(await run.PrepareReportAsync(0, set, cancellationToken).ConfigureAwait(false));
        // Before anything is measured, which takes as long as there are events and items: no view has to wait for it.
        await CompleteAsync(channels, cancellationToken).ConfigureAwait(false);
        var reports = new Evaluation.RankingReport?[sets.Count];
        for (int set = 0; set < sets.Count; set++)
            reports[set] = await measures[set]().ConfigureAwait(false);
        return new DssmInferenceResult
        {
            SharedUsers = shared,
            Metrics = new DssmMetrics { Test = reports[0], ColdUsers = reports[1], ColdItems = reports[2] },
            Warnings = [.. EventWarnings.Of(_party.Job, table, sets, trains: false), .. EventWarnings.OfNegatives(_party.Job, reports), .. _model.EventsSha256 is { } trained && trained != EventDigest.Of(table, samples.Items) ? [EventWarnings.OtherEvents] : (string[])[], .. _party.ViewWarnings()],
        };
    }

    private static async Task CompleteAsync(IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        foreach (IPartyChannel channel in channels)
            await channel.CompleteAsync(cancellationToken).ConfigureAwait(false);
    }

    // After everything that is in the tables, on a whole day.
    private static Moment Now => new(long.MaxValue / 86_400 * 86_400, int.MaxValue);

    private ITower Restored(ITowerFactory? own, SavedTower? saved)
    {
        SavedTower tower = saved ?? throw Other("the part of the model lacks a tower.", "Name the directory that this job's training wrote.");
        try
        {
            return (own ?? _towers).Restore(tower.Spec, tower.State);
        }
        catch (ArgumentException e)
        {
            throw Other("a tower of its part of the model was not saved by towers like those that are used here.", "Use the towers that the model was trained with.", e);
        }
    }

    private ActiveTowers Towers(TowerThread thread, ActiveSamples samples)
    {
        using var made = new MadeTowers();
        ITower items = made.Add(Restored(_party.Input.ItemTower, _model.Items));
        List<LocalView> locals = samples.OwnTable is not { } own ? []
            : [new LocalView(_party.Name, made.Add(Restored(_party.Input.ViewTower, _model.View)), own.Rows, samples.OwnRows)];
        // Scores are the same under every loss, of which some need what only training has.
        var loss = new DssmLoss(_model.Options with { Loss = DssmLossKind.Full }, _model.Options.Layers[^1], _model.Views, samples.Items.Ids.Count);
        double[] fusion = FusionOf(_model, loss.Fusion, samples.Items);
        if (fusion.Length != loss.Fusion.Values.Length || items.Inputs != samples.Items.Content.Inputs || locals.Any(view => view.Tower.Inputs != view.Rows.Inputs))
            throw OtherShapes();
        fusion.CopyTo(loss.Fusion.Values, 0);
        made.Keep();
        return new ActiveTowers(thread, items, locals, loss, _party.Job.Training.Optimizer);
    }

    /// <summary>Parameters of the fusion for the items as they are now: a bias goes with its item's id, and an item that training did not know has none.</summary>
    private static double[] FusionOf(DssmModel model, FusionParameters fusion, ItemTable items)
    {
        int others = fusion.Values.Length - fusion.ItemBias.Length;
        // Earlier files have no ids: their biases are in the order that the table had.
        if (fusion.ItemBias.IsEmpty || model.ItemIds.Count == 0 || model.Fusion.Count != others + model.ItemIds.Count)
            return [.. model.Fusion];
        Dictionary<string, double> biases = model.ItemIds.Zip(model.Fusion.Skip(others)).ToDictionary(StringComparer.Ordinal);
        return [.. model.Fusion.Take(others), .. items.Ids.Select(id => biases.GetValueOrDefault(id))];
    }

    /// <summary>Whether the party's tables have bags of as many ids as there are items, as prepare-events writes them, and the items are others.</summary>
    private static bool NumbersOtherItems(DssmModel model, ItemTable items) => model.ItemIds.Count == items.Ids.Count
        && new[] { model.View, model.Items }.Any(tower => tower is not null && tower.Spec.Inputs.Bags.Any(bag => bag.Buckets == items.Ids.Count))
        && !items.Ids.ToHashSet(StringComparer.Ordinal).SetEquals(model.ItemIds);

    private static void RequireRelease(DssmReleaseTerms terms, string place)
    {
        if (terms.IsPrivate && terms.Evaluation != EvaluationDisclosure.Disclosed)
            throw new PrivacyRefusedException(DssmErrors.NoVectorsLeave, place, "the job that trained the model lets no vector leave beyond training and its own evaluation.",
                "Set privacy.evaluation to disclosed and train again; the vectors are then listed as disclosures.");
        if (terms.Claim == EmbeddingClaim.OneShot || terms.MaskedSum)
            throw new PrivacyRefusedException(DssmErrors.NoVectorsLeave, place, "views of such a job send nothing after training: a view's vectors were sent once, or only under masks.",
                "Read the figures of the training report.");
    }

    private ConfigurationException OtherShapes() => Other("the model and the party's tables have different shapes.", "Use tables of the schemas that the model was trained with.");

    private ConfigurationException Other(string cause, string remedy, Exception? inner = null) => new(DssmErrors.OtherModel, _party.Place, cause, remedy, inner);
}
