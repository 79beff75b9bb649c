using System.Collections.Concurrent;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Coordination;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>The parties and the arbiter of an encrypted job as tasks of this process, over channels in memory.</summary>
/// <param name="job">The job.</param>
/// <param name="scheme">The scheme of everybody.</param>
internal sealed class EncryptedFederation(GlmJob job, IAdditiveScheme scheme)
{
    /// <summary>How long anything may take: a session that hangs fails the test.</summary>
    internal static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    /// <summary>Changes what arrives: given receiver, sender, round and payload.</summary>
    internal Func<string, string, int, Payload, Payload>? Alter { get; init; }

    /// <summary>Told what arrives, before it is altered.</summary>
    internal ConcurrentQueue<(string To, string From, int Round, Payload Payload)> Received { get; } = new();

    /// <summary>Schemes of some members, by name, in place of everybody's.</summary>
    internal IReadOnlyDictionary<string, IAdditiveScheme> Schemes { get; init; } = new Dictionary<string, IAdditiveScheme>();

    /// <summary>What the arbiter does; null for its part of the protocol.</summary>
    internal Func<IReadOnlyList<IPartyChannel>, Task<ArbiterResult?>>? ArbiterRun { get; init; }

    /// <summary>The party whose process ends when it waits for the arbiter's answer of a round.</summary>
    internal (string Party, int Round)? Dies { get; init; }

    /// <summary>Limits between the parties in <see cref="GradientsAsync"/>; null for the usual ones.</summary>
    internal ChannelOptions? Options { get; init; }

    /// <summary>Largest message that a channel says it takes, given this side and the other; null for any.</summary>
    internal Func<string, string, int>? LimitOf { get; init; }

    /// <summary>What a message waits for, given sender, receiver and payload: that each "sender to receiver" of these says that it is still there. Channels then seem to have little time.</summary>
    internal Func<string, string, Payload, string[]>? HeldUntilTold { get; init; }

    /// <summary>Whether all of them said so before the test's patience was at its end.</summary>
    internal bool WereTold { get; private set; } = true;

    private readonly ConcurrentDictionary<string, TaskCompletionSource> _told = new();
    private readonly ConcurrentBag<IPartyChannel> _channels = [];

    private TaskCompletionSource Told(string pair) => _told.GetOrAdd(pair, _ => new(TaskCreationOptions.RunContinuationsAsynchronously));

    private async Task HoldAsync(string[] pairs)
    {
        try
        {
            await Task.WhenAll(pairs.Select(pair => Told(pair).Task)).WaitAsync(Patience / 3);
        }
        catch (TimeoutException)
        {
            WereTold = false;
        }
    }

    private IAdditiveScheme SchemeOf(string member) => Schemes.GetValueOrDefault(member) ?? scheme;

    /// <summary>Trains, and throws the error of the member that failed first.</summary>
    internal async Task<(GlmPartyResult[] Parties, ArbiterResult Arbiter)> TrainAsync(GlmPartyInput[] inputs)
    {
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] parties, ArbiterResult? arbiter) = await RunAsync(inputs);
        return errors.Count == 0 ? (parties, arbiter!) : throw FailureSummary.Root(errors.Values);
    }

    /// <summary>Trains, and returns everybody's errors by name.</summary>
    internal async Task<(IReadOnlyDictionary<string, Exception> Errors, GlmPartyResult[] Parties, ArbiterResult? Arbiter)> RunAsync(GlmPartyInput[] inputs)
    {
        string arbiterName = job.Privacy.He.Arbiter, activeName = inputs[0].Party;
        var toActive = new List<IPartyChannel>();
        var toArbiter = new List<IPartyChannel>();
        var arbiters = new List<IPartyChannel>();
        var passives = new List<IPartyChannel>();
        foreach (GlmPartyInput input in inputs)
        {
            (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair(arbiterName, input.Party);
            arbiters.Add(Watched(first));
            toArbiter.Add(Watched(second));
            if (input == inputs[0])
                continue;
            (first, second) = InMemoryChannel.CreatePair(activeName, input.Party);
            passives.Add(Watched(first));
            toActive.Add(Watched(second));
        }

        var arbiter = new EncryptionArbiter(job, SchemeOf(arbiterName));
        GlmTrainer[] trainers = [.. inputs.Select((input, i) => new GlmTrainer(job, input with
        {
            JointGradients = _ => Task.FromResult<IJointGradients>(new EncryptedGradients(job, input.Party, SchemeOf(input.Party), toArbiter[i])),
        }))];
        var desk = new SessionDesk(trainers[0].Terms, Patience);
        var errors = new ConcurrentDictionary<string, Exception>();
        Task<ArbiterResult?> serving = CaughtAsync(errors, arbiterName, async () => ArbiterRun is null ? await arbiter.RunAsync(arbiters) : await ArbiterRun(arbiters));
        Task<GlmPartyResult?>[] training = [.. trainers.Select((trainer, i) => CaughtAsync(errors, inputs[i].Party, async () =>
        {
            SessionAgreement agreement = await desk.JoinAsync(trainer.JoinRequest);
            IReadOnlyList<IPartyChannel> channels = i == 0 ? passives : [toActive[i - 1]];
            return await trainer.TrainAsync(agreement, channels);
        }))];
        GlmPartyResult?[] results = await Task.WhenAll(training).WaitAsync(Patience);
        ArbiterResult? served = await serving.WaitAsync(Patience);
        foreach (IPartyChannel channel in _channels)
            await channel.DisposeAsync();
        return (errors, [.. results.OfType<GlmPartyResult>()], served);
    }

    /// <summary>One call of <see cref="IJointGradients.GradientAsync"/> a round at every party of the job, without the rest of training.</summary>
    /// <param name="layout">Batches.</param>
    /// <param name="columns">Columns of each party in each batch, [party][batch][d b].</param>
    /// <param name="shares">Shares of each party in each round, [party][round][b].</param>
    /// <returns>Gradients, [party][round][d].</returns>
    internal async Task<(double[][][] Gradients, ArbiterResult Arbiter)> GradientsAsync(BatchLayout layout, double[][][] columns, double[][][] shares)
    {
        string[] names = [.. job.Parties.Select(p => p.Party.Name)];
        (InMemoryChannel First, InMemoryChannel Second)[] stars = [.. names.Select(name => InMemoryChannel.CreatePair(job.Privacy.He.Arbiter, name))],
            pairs = [.. names.Skip(1).Select(name => InMemoryChannel.CreatePair(names[0], name, Options))];
        Task<ArbiterResult> arbiter = new EncryptionArbiter(job, scheme).RunAsync([.. stars.Select(s => Watched(s.First))]);
        Task<double[][]>[] parties = [.. names.Select((name, p) => Task.Run(async () =>
        {
            await using var joint = new EncryptedGradients(job, name, scheme, Watched(stars[p].Second));
            IPartyChannel[] peers = p == 0 ? [.. pairs.Select(pair => Watched(pair.First))] : [Watched(pairs[p - 1].Second)];
            await joint.PrepareAsync(new JointRows(layout, columns[p][0].Length / layout.Size(0), batch => columns[p][batch], null, peers));
            var gradients = new List<double[]>();
            for (int round = 0; round < shares[p].Length; round++)
                gradients.Add(await joint.GradientAsync(round, round % layout.Count, shares[p][round]));
            await joint.Arbiter.CompleteAsync();
            return gradients.ToArray();
        }))];
        double[][][] all = await Task.WhenAll(parties).WaitAsync(Patience);
        return (all, await arbiter.WaitAsync(Patience));
    }

    private static async Task<T?> CaughtAsync<T>(ConcurrentDictionary<string, Exception> errors, string name, Func<Task<T>> run)
    {
        try
        {
            return await Task.Run(run);
        }
        catch (Exception e)
        {
            errors[name] = e;
            return default;
        }
    }

    private Channel Watched(IPartyChannel inner)
    {
        _channels.Add(inner);
        return new Channel(this, inner);
    }

    /// <summary>What a process that ends leaves behind: closed connections and no word.</summary>
    internal sealed class DeathException : Exception;

    private sealed class Channel(EncryptedFederation federation, IPartyChannel inner) : IPartyChannel
    {
        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public int MaxMessageBytes => federation.LimitOf?.Invoke(LocalParty, RemoteParty) ?? int.MaxValue;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public long BytesOf(string name, Protection protection) => inner.BytesOf(name, protection);

        // Whoever waits at it gives up much later.
        public TimeSpan ReceiveTimeout => federation.HeldUntilTold is null ? inner.ReceiveTimeout : TimeSpan.FromMilliseconds(30);

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            if (federation.HeldUntilTold?.Invoke(LocalParty, RemoteParty, message.Payload) is { Length: > 0 } pairs)
                await federation.HoldAsync(pairs);
            await inner.SendAsync(round, message, cancellationToken);
            if (message.Payload is AlignmentMessage { Step: AlignmentStep.Waiting })
                federation.Told($"{LocalParty} to {RemoteParty}").TrySetResult();
        }

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
        {
            if (typeof(T) == typeof(MaskedAnswers) && federation.Dies == (LocalParty, round))
            {
                foreach (IPartyChannel channel in federation._channels.Where(c => c.LocalParty == LocalParty))
                    await channel.DisposeAsync();
                throw new DeathException();
            }

            T payload = await inner.ReceiveAsync<T>(round, length, cancellationToken);
            federation.Received.Enqueue((LocalParty, RemoteParty, round, payload));
            return federation.Alter is null ? payload : (T)federation.Alter(LocalParty, RemoteParty, round, payload);
        }

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
