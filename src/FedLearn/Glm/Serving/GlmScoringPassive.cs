using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>What a passive party has answered so far; not the question by which an active party begins a session, which is about one id that nobody has.</summary>
/// <param name="Requests">Messages answered.</param>
/// <param name="Ids">Ids asked for in them.</param>
/// <param name="Unknown">Of these, ids without a row here.</param>
public readonly record struct GlmScoringCounts(long Requests, long Ids, long Unknown);

/// <summary>A passive party of online prediction: answers the active party's questions for its scores, and nothing else.</summary>
/// <remarks>Every score is computed when the object is made. Thread-safe; one object serves any number of sessions, one after the other.
/// What it discloses is in <see cref="GlmScoring.Leaks"/>.</remarks>
public sealed class GlmScoringPassive
{
    private readonly ScoredTable _table;
    private long _requests, _ids, _unknown;

    /// <summary>Checks job, input and model against each other, and scores the table.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="input">What this party brings.</param>
    /// <param name="model">Its part of the model.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, the party is not passive in it (FL2400), or the model is another party's
    /// or another family's (FL2402).</exception>
    /// <exception cref="PrivacyRefusedException">FL5120: privacy.evaluation of the job is none, or was in the training of the model, in a mode other than none.</exception>
    public GlmScoringPassive(GlmJob job, GlmPartyInput input, GlmModel model)
    {
        (_, JoinRequest) = GlmPredictor.Join(job, input, model, GlmScoring.Purpose);
        if (model.Party.Role != PartyRole.Passive)
            throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{input.Party}'", "it is the active party of the job.", "Use GlmScoringActive there.");
        _table = new ScoredTable(model, input.Table, job.Training.Seed);
    }

    /// <summary>With what this party joins a session.</summary>
    public JoinRequest JoinRequest { get; }

    /// <summary>What it has answered so far, in all sessions.</summary>
    public GlmScoringCounts Counts => new(Interlocked.Read(ref _requests), Interlocked.Read(ref _ids), Interlocked.Read(ref _unknown));

    /// <summary>Answers questions until the active party ends the session.</summary>
    /// <param name="agreement">What both parties agreed on.</param>
    /// <param name="channel">Channel to the active party. Its <see cref="ChannelOptions.ReceiveTimeout"/> limits how long the session may be idle.</param>
    /// <param name="cancellationToken">Stops after the answer in progress; the active party is told.</param>
    /// <exception cref="ConfigurationException">FL2402: the active party holds a part of another training.</exception>
    /// <exception cref="PeerException">The session was lost, or the active party broke the protocol.</exception>
    public async Task RunAsync(SessionAgreement agreement, IPartyChannel channel, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ArgumentNullException.ThrowIfNull(channel);
        await ChannelGuard.RunAsync([channel], async () =>
        {
            GlmPredictor.CheckSameTraining(agreement, JoinRequest);
            for (int round = 0; await AnswerAsync(channel, round, cancellationToken).ConfigureAwait(false); round = GlmScoring.Next(round)) { }
            using var limit = new CancellationTokenSource(GlmScoring.LastWordsTime);
            await channel.CompleteAsync(limit.Token).ConfigureAwait(false);
        }).ConfigureAwait(false);
    }

    /// <summary>Answers one question.</summary>
    /// <returns>False when the active party says that none follows: a question about no id.</returns>
    private async Task<bool> AnswerAsync(IPartyChannel channel, int round, CancellationToken cancellationToken)
    {
        HashedIds asked = await channel.ReceiveAsync<HashedIds>(round, null, cancellationToken).ConfigureAwait(false);
        if (asked.Length == 0)
            return false;
        if (asked.Length > GlmScoring.MostIds)
            throw ProtocolErrors.Peer(ProtocolErrors.WrongLength, channel.RemoteParty, $"round {round}", $"asked for {asked.Length} ids; the most is {GlmScoring.MostIds}.",
                "Check that both parties run the same release of the software.");
        HashedAlignment.CheckSorted(asked, channel.RemoteParty, $"round {round}");

        byte[] present = new byte[asked.Length];
        var rows = new List<int>(asked.Length);
        for (int i = 0; i < present.Length; i++)
            if (_table.Find(asked.Digests.Span.Slice(i * HashedIds.DigestBytes, HashedIds.DigestBytes)) is >= 0 and int row)
            {
                present[i] = 1;
                rows.Add(row);
            }

        double[] scores = [.. Enumerable.Range(0, _table.Outputs).SelectMany(output => rows.Select(row => _table[row, output]))];
        // An answer once begun is finished: half of one would end the session.
        await channel.SendAsync(round, Disclosure.Unprotected(new RowSelection(present), GlmScoring.Presence), CancellationToken.None).ConfigureAwait(false);
        await channel.SendAsync(round, Disclosure.Unprotected(new Scores(scores), GlmScoring.PartyScores), CancellationToken.None).ConfigureAwait(false);
        if (round == 0 && asked.Length == 1 && rows.Count == 0)
            return true;
        Interlocked.Increment(ref _requests);
        Interlocked.Add(ref _ids, present.Length);
        Interlocked.Add(ref _unknown, present.Length - rows.Count);
        return true;
    }
}
