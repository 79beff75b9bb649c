using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Settings of <see cref="GlmScoringActive"/>.</summary>
public sealed record GlmScoringOptions
{
    /// <summary>How long a request waits for the passive parties.</summary>
    /// <value>Above zero. Default half a second.</value>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Score that stands in for that of a passive party which is away or too slow, by its name; a party without one makes the request fail.</summary>
    /// <value>Finite, in the units of that party's scores; with several outputs, of each. Default: none.</value>
    public IReadOnlyDictionary<string, double> Fallbacks { get; init; } = new Dictionary<string, double>();

    /// <summary>How long one message may stay without an answer before the session is given up, for the party to join again.</summary>
    /// <value>Above zero. Default one minute.</value>
    public TimeSpan GiveUpAfter { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Clock for the time limits.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A passive party as the active one sees it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Connected">Whether a session with it is open.</param>
/// <param name="HasFallback">Whether a score is declared that stands in for its own.</param>
/// <param name="Messages">Messages it has answered.</param>
/// <param name="Late">Questions to it that nobody waited for to the end.</param>
public sealed record GlmScoringParty(string Name, bool Connected, bool HasFallback, long Messages, long Late);

/// <summary>How a request for one id ended.</summary>
public enum GlmScoreOutcome
{
    /// <summary>It has a score.</summary>
    Scored = 0,

    /// <summary>The active party has no row of the id (FL3060).</summary>
    UnknownId = 1,

    /// <summary>A passive party has no row of the id (FL3061).</summary>
    NotCommon = 2,

    /// <summary>A passive party without a fallback is not connected (FL4051).</summary>
    PartyAway = 3,

    /// <summary>A passive party without a fallback did not answer in time (FL4052).</summary>
    PartyTooSlow = 4,
}

/// <summary>The answer for one id.</summary>
/// <param name="Id">The id as it was asked for.</param>
/// <param name="Outcome">How it ended; the rest is empty unless it has a score.</param>
/// <param name="Scores">Linear predictor, one an output.</param>
/// <param name="Means">Mean of the label: probability, count or value; with several outputs one probability a class.</param>
/// <param name="Degraded">Parties in place of whose score a declared constant was used, in the job's order.</param>
public sealed record GlmScoreAnswer(string Id, GlmScoreOutcome Outcome, IReadOnlyList<double> Scores, IReadOnlyList<double> Means, IReadOnlyList<string> Degraded);

/// <summary>The active party of online prediction: answers for single ids by asking the passive parties for their scores.</summary>
/// <remarks>Own scores are computed when the object is made. Thread-safe: requests that come while a message is on its way to a passive party share the next
/// one. Each passive party has a session of its own, which may end and begin again at any time. What crosses is in <see cref="GlmScoring.Leaks"/>.</remarks>
public sealed class GlmScoringActive
{
    private readonly GlmJob _job;
    private readonly GlmModel _model;
    private readonly GlmScoringOptions _options;
    private readonly ScoredTable _table;
    private readonly ScoringLink[] _links;

    /// <summary>Checks job, input and model against each other, and scores the table.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="input">What this party brings; labels are not needed.</param>
    /// <param name="model">Its part of the model.</param>
    /// <param name="options">Settings; null for the defaults.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, the party is not active in it, a fallback is for no passive party or a time limit is not above zero (FL2400), or the
    /// model is another party's or another family's (FL2402).</exception>
    /// <exception cref="PrivacyRefusedException">FL5120: privacy.evaluation of the job is none, or was in the training of the model, in a mode other than none.</exception>
    public GlmScoringActive(GlmJob job, GlmPartyInput input, GlmModel model, GlmScoringOptions? options = null)
    {
        (SessionTerms terms, JoinRequest) = GlmPredictor.Join(job, input, model, GlmScoring.Purpose);
        (_job, _model, _options) = (job, model, options ?? new GlmScoringOptions());
        string[] passive = [.. terms.Parties.Where(p => p.Role == PartyRole.Passive).Select(p => p.Name)];
        if (model.Party.Role != PartyRole.Active)
            throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{input.Party}'", "it is a passive party of the job.", "Use GlmScoringPassive there.");
        if (_options.Fallbacks.FirstOrDefault(f => !passive.Contains(f.Key) || !double.IsFinite(f.Value)) is { Key: { } wrong })
            throw new ConfigurationException(GlmErrors.InvalidJob, $"fallback for '{wrong}'", "there is no such passive party, or the constant is no finite number.",
                "Declare one finite number a passive party.");
        if (_options.Timeout <= TimeSpan.Zero || _options.GiveUpAfter <= TimeSpan.Zero)
            throw new ConfigurationException(GlmErrors.InvalidJob, "time limits", "a time limit is not above zero.", "Give limits above zero.");
        _table = new ScoredTable(model, input.Table, job.Training.Seed);
        _links = [.. passive.Select(name => new ScoringLink(name, _table.Outputs, _options))];
    }

    /// <summary>With what this party joins the session of each passive party.</summary>
    public JoinRequest JoinRequest { get; }

    /// <summary>The passive parties, in the job's order.</summary>
    public IReadOnlyList<GlmScoringParty> Parties =>
        [.. _links.Select(l => new GlmScoringParty(l.Party, l.IsConnected, l.Fallback is not null, l.Messages, l.Late))];

    /// <summary>Whether every passive party is connected or has a fallback.</summary>
    public bool IsReady => _links.All(l => l.IsConnected || l.Fallback is not null);

    /// <summary>Told the name of a passive party whose session has begun and which has answered a first question, about a random digest. May be called on any thread.</summary>
    public event Action<string>? PartyConnected;

    /// <summary>What the session with a passive party is about.</summary>
    /// <param name="passive">Name of the passive party.</param>
    public SessionTerms TermsFor(string passive) => GlmScoring.TermsOf(_job, passive);

    /// <summary>Uses a session with one passive party until it is lost, or <see cref="StopAsync"/> ends it. The party may come back in another session.</summary>
    /// <param name="agreement">What both parties agreed on.</param>
    /// <param name="channel">Channel to the passive party. Its <see cref="ChannelOptions.ReceiveTimeout"/> limits how long the session may be idle.</param>
    /// <param name="cancellationToken">Ends the session at once.</param>
    /// <exception cref="ConfigurationException">FL2402: the passive party holds a part of another training.</exception>
    /// <exception cref="PeerException">The session was lost, the party broke the protocol, or a session with it is open already (FL4013).</exception>
    public async Task ServeAsync(SessionAgreement agreement, IPartyChannel channel, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ArgumentNullException.ThrowIfNull(channel);
        ScoringLink link = _links.FirstOrDefault(l => l.Party == channel.RemoteParty)
            ?? throw new ArgumentException("The job has no passive party of the name of the channel's other side.", nameof(channel));
        await ChannelGuard.RunAsync([channel], async () =>
        {
            GlmPredictor.CheckSameTraining(agreement, JoinRequest);
            await link.RunAsync(channel, () => PartyConnected?.Invoke(link.Party), cancellationToken).ConfigureAwait(false);
        }).ConfigureAwait(false);
    }

    /// <summary>Takes no more questions to passive parties, and waits until their sessions have ended: once what is asked is answered. Later requests find every party away.</summary>
    /// <param name="limit">How long it waits at most; a session that still runs then ends by its own token.</param>
    public async Task StopAsync(TimeSpan limit)
    {
        try
        {
            await Task.WhenAll(_links.Select(l => l.StopAsync())).WaitAsync(limit, _options.Clock).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // A party that does not answer is not waited for.
        }
    }

    /// <summary>Scores ids. An id that this party does not have never leaves it.</summary>
    /// <param name="ids">Ids as people write them, 1 to <see cref="GlmScoring.MostIds"/>; normalised here.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>One answer an id, in order. The scores have the bits of <see cref="GlmPredictor"/>'s.</returns>
    /// <exception cref="ArgumentException">There are no ids, or too many.</exception>
    public async Task<IReadOnlyList<GlmScoreAnswer>> ScoreAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(ids);
        if (ids.Count is 0 or > GlmScoring.MostIds)
            throw new ArgumentException($"A request has 1 to {GlmScoring.MostIds} ids.", nameof(ids));
        var known = new List<(int Index, int Row, ReadOnlyMemory<byte> Digest)>();
        for (int i = 0; i < ids.Count; i++)
            if (DigestOf(ids[i]) is { } digest && _table.Find(digest) is >= 0 and int row)
                known.Add((i, row, digest));

        var answers = new GlmScoreAnswer[ids.Count];
        for (int i = 0; i < answers.Length; i++)
            answers[i] = Failed(ids[i], GlmScoreOutcome.UnknownId);
        if (known.Count == 0)
            return answers;
        ReadOnlyMemory<byte>[] digests = [.. known.Select(k => k.Digest)];
        PartyPart[] parts = await Task.WhenAll(_links.Select(l => l.AskAsync(digests, cancellationToken))).ConfigureAwait(false);
        for (int k = 0; k < known.Count; k++)
            answers[known[k].Index] = AnswerOf(ids[known[k].Index], known[k].Row, k, parts);
        return answers;
    }

    private GlmScoreAnswer AnswerOf(string id, int row, int place, PartyPart[] parts)
    {
        double[] peers = new double[_table.Outputs];
        var degraded = new List<string>();
        GlmScoreOutcome outcome = GlmScoreOutcome.Scored;
        for (int p = 0; p < parts.Length; p++)
        {
            if (parts[p].State == PartState.Answered)
            {
                if (parts[p].Scores[place] is not { } scores)
                    return Failed(id, GlmScoreOutcome.NotCommon);
                for (int output = 0; output < peers.Length; output++)
                    peers[output] += scores[output];
            }
            else if (_links[p].Fallback is { } constant)
            {
                degraded.Add(_links[p].Party);
                for (int output = 0; output < peers.Length; output++)
                    peers[output] += constant;
            }
            else
            {
                outcome = parts[p].State == PartState.Away ? GlmScoreOutcome.PartyAway : GlmScoreOutcome.PartyTooSlow;
            }
        }

        if (outcome != GlmScoreOutcome.Scored)
            return Failed(id, outcome);
        // In the order of batch prediction, so that the bits are the same.
        _model.PeerLink?.Apply(peers);
        double[] total = [.. peers.Select((peer, output) => _table[row, output] + peer)];
        return new GlmScoreAnswer(id, outcome, total, MeansOf(total), degraded);
    }

    private double[] MeansOf(double[] scores)
    {
        double[] means = new double[scores.Length];
        GlmFamilies.WithOutputs(_job.Model.Family, scores.Length).Means(scores, means);
        return means;
    }

    private byte[]? DigestOf(string id)
    {
        try
        {
            return RowIds.Digest(id, _job.Training.Seed);
        }
        catch (ArgumentException)
        {
            return null; // half a surrogate pair: no table has such an id
        }
    }

    private static GlmScoreAnswer Failed(string id, GlmScoreOutcome outcome) => new(id, outcome, [], [], []);
}
