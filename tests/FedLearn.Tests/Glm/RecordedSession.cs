using FedLearn.Coordination;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>One message as it left a party.</summary>
internal sealed record SentMessage(string From, string To, int Round, string Name, Protection Protection, Payload Payload);

/// <summary>A training of all parties whose every message is written down.</summary>
internal sealed class RecordedSession
{
    private readonly List<SentMessage> _sent = [];

    internal IReadOnlyList<SentMessage> Sent => _sent;

    private Func<SentMessage, Payload?>? Says { get; init; }

    /// <summary>Trains.</summary>
    /// <param name="job">The job.</param>
    /// <param name="inputs">What the parties bring.</param>
    /// <param name="says">What leaves in place of a message, without its protection; null for the message itself.</param>
    internal static async Task<(RecordedSession Session, GlmPartyResult[] Results)> TrainAsync(GlmJob job, GlmPartyInput[] inputs, Func<SentMessage, Payload?>? says = null)
    {
        var session = new RecordedSession { Says = says };
        GlmTrainer[] parties = [.. inputs.Select(input => new GlmTrainer(job, input))];
        var desk = new SessionDesk(parties[0].Terms, TimeSpan.FromMinutes(1));
        (IPartyChannel Active, IPartyChannel Passive)[] pairs = [.. inputs.Skip(1).Select(input =>
        {
            (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(inputs[0].Party, input.Party);
            return ((IPartyChannel)new Recorder(session, first), (IPartyChannel)new Recorder(session, second));
        })];
        GlmPartyResult[] results = await Task.WhenAll(parties.Select((party, i) => Task.Run(async () =>
            await party.TrainAsync(await desk.JoinAsync(party.JoinRequest), i == 0 ? [.. pairs.Select(p => p.Active)] : [pairs[i - 1].Passive]))));
        return (session, results);
    }

    private sealed class Recorder(RecordedSession session, IPartyChannel inner) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            var sent = new SentMessage(LocalParty, RemoteParty, round, message.Name, message.Protection, message.Payload);
            if (session.Says?.Invoke(sent) is T other)
                (message, sent) = (Disclosure.Unprotected(other, message.Name), sent with { Protection = Protection.None, Payload = other });
            lock (session._sent)
                session._sent.Add(sent);
            return inner.SendAsync(round, message, cancellationToken);
        }

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload =>
            inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
