using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests.Attacks;

/// <summary>One message as it left a party.</summary>
internal sealed record SentMessage(string From, string To, int Round, string Name, Protection Protection, Payload Payload);

/// <summary>Messages of some kinds, written down as they leave.</summary>
/// <param name="kinds">Types of the payloads that are kept.</param>
internal sealed class RecordedRun(params Type[] kinds)
{
    private readonly Type[] _kinds = kinds;
    private readonly List<SentMessage> _sent = [];

    /// <summary>The messages of one party to another, in their order.</summary>
    public IReadOnlyList<SentMessage> Of(string from, string to, Type kind)
    {
        lock (_sent)
            return [.. _sent.Where(m => m.From == from && m.To == to && m.Payload.GetType() == kind).OrderBy(m => m.Round)];
    }

    /// <summary>A channel whose sent messages are kept.</summary>
    public IPartyChannel Watch(IPartyChannel channel) => new Recorder(this, channel);

    /// <summary>Trains a job between companies, keeping payloads of some kinds.</summary>
    public static async Task<(RecordedRun Run, IReadOnlyList<DssmPartyResult> Results)> TrainAsync(DssmJob job, IReadOnlyList<DssmPartyInput> inputs, params Type[] kinds)
    {
        var run = new RecordedRun(kinds);
        var towers = new LibTorchTowers();
        DssmTrainer[] parties = [.. inputs.Select(input => new DssmTrainer(job, input, towers))];
        var options = new ChannelOptions { ReceiveTimeout = TimeSpan.FromMinutes(5) };
        var desk = new SessionDesk(parties[0].Terms, TimeSpan.FromMinutes(1));
        (IPartyChannel Label, IPartyChannel View)[] pairs = [.. inputs.Skip(1).Select(input =>
        {
            (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(inputs[0].Party, input.Party, options);
            return (run.Watch(first), run.Watch(second));
        })];
        DssmPartyResult[] results = await Task.WhenAll(parties.Select((party, i) => Task.Run(async () =>
            await party.TrainAsync(await desk.JoinAsync(party.JoinRequest), i == 0 ? [.. pairs.Select(p => p.Label)] : [pairs[i - 1].View]))));
        return (run, results);
    }

    private sealed class Recorder(RecordedRun run, IPartyChannel inner) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public long BytesOf(string name, Protection protection) => inner.BytesOf(name, protection);

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            if (run._kinds.Contains(message.Payload.GetType()))
                lock (run._sent)
                    run._sent.Add(new(LocalParty, RemoteParty, round, message.Name, message.Protection, message.Payload));
            return inner.SendAsync(round, message, cancellationToken);
        }

        public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload =>
            inner.ReceiveAsync<T>(round, length, cancellationToken);

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
