using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm.Serving;

/// <summary>Parties with models whose weights are made up, and sessions in memory between them.</summary>
internal sealed class ScoringScene
{
    public ScoringScene(string family = "binomial", int seed = 1, GlmPeerLink? link = null, params int[] widths)
    {
        VerticalData data = VerticalData.Random(seed, family, rows: 23, widths.Length == 0 ? [2, 3] : widths);
        Job = data.Job(family, new GlmTrainingOptions { Seed = seed });
        Inputs = data.Inputs(order: 5, oneSided: 2);
        var random = new Random(seed);
        int outputs = Job.Model.Family.Outputs;
        Models = [.. Inputs.Select((input, party) => new GlmModel(Job.Name, new string('a', 64), Job.Parties[party].Party, family,
            FeatureMap.Fit(input.Table, [.. Enumerable.Range(0, input.Table.Ids.Count)], Job.Preprocessing!, constant: false),
            [.. Enumerable.Range(0, outputs * data.Widths[party]).Select(_ => random.NextDouble() - 0.5)], party == 0 ? [.. Enumerable.Repeat(0.3, outputs)] : [], outputs, party == 0 ? link : null))];
    }

    public static ChannelOptions Idle { get; } = new() { ReceiveTimeout = Timeout.InfiniteTimeSpan };

    public GlmJob Job { get; }

    public GlmPartyInput[] Inputs { get; }

    public GlmModel[] Models { get; }

    public string[] CommonIds => [.. Inputs[0].Table.Ids.Where(id => Inputs.All(i => i.Table.Ids.Contains(id)))];

    public GlmScoringActive Active(GlmScoringOptions? options = null) => new(Job, Inputs[0], Models[0], options);

    public GlmScoringPassive Passive(int party = 1) => new(Job, Inputs[party], Models[party]);

    /// <summary>What two parties agree on when both hold parts of one training.</summary>
    public static SessionAgreement Agreement(GlmScoringActive active, JoinRequest passive)
    {
        JoinedParty[] parties = [new(active.JoinRequest.Party.Name, active.JoinRequest.SchemaFingerprint), new(passive.Party.Name, passive.SchemaFingerprint)];
        return new SessionAgreement("session", SessionDesk.DigestOf(passive.TermsDigest, parties), parties);
    }

    /// <summary>Opens a session and waits until the active party counts the other as connected.</summary>
    public static async Task<(Task Active, Task Passive, InMemoryChannel Channel)> OpenAsync(GlmScoringActive active, GlmScoringPassive passive, CancellationToken stop = default)
    {
        SessionAgreement agreement = Agreement(active, passive.JoinRequest);
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("active", passive.JoinRequest.Party.Name, Idle);
        Task connected = Connected(active, passive.JoinRequest.Party.Name);
        Task theirs = passive.RunAsync(agreement, second, stop), own = active.ServeAsync(agreement, first, CancellationToken.None);
        await connected;
        return (own, theirs, second);
    }

    /// <summary>Opens a session whose passive side the test plays; its first question is answered.</summary>
    public async Task<(Task Active, InMemoryChannel Peer)> PlayAsync(GlmScoringActive active, int party = 1)
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("active", Inputs[party].Party, Idle);
        Task connected = Connected(active, Inputs[party].Party);
        Task own = active.ServeAsync(Agreement(active, Passive(party).JoinRequest), first);
        HashedIds probe = await second.ReceiveAsync<HashedIds>(0, 1);
        await AnswerAsync(second, 0, new byte[probe.Length], []);
        await connected;
        return (own, second);
    }

    public static async Task AnswerAsync(IPartyChannel peer, int round, byte[] present, double[] scores)
    {
        await peer.SendAsync(round, Disclosure.Unprotected(new RowSelection(present), "test"));
        await peer.SendAsync(round, Disclosure.Unprotected(new Scores(scores), "test"));
    }

    private static Task Connected(GlmScoringActive active, string party)
    {
        var connected = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        active.PartyConnected += name =>
        {
            if (name == party)
                connected.TrySetResult();
        };
        return connected.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }
}
