using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Testing;

/// <summary>What happens to one message on its way to the peer.</summary>
public abstract record MessageFault
{
    private MessageFault() { }

    /// <summary>It never arrives; the sender does not learn it.</summary>
    public sealed record Drop : MessageFault;

    /// <summary>It leaves later, and what follows it waits.</summary>
    /// <param name="Time">How much later, by the clock of the channel; at least zero.</param>
    public sealed record Delay(TimeSpan Time) : MessageFault;

    /// <summary>It arrives twice.</summary>
    public sealed record Duplicate : MessageFault;

    /// <summary>It arrives after the message that follows it, or before the end of the messages when none does.</summary>
    public sealed record Reorder : MessageFault;

    /// <summary>It arrives with fewer elements.</summary>
    /// <param name="Length">Elements that are left, at least 0; a message that has no more stays whole.</param>
    public sealed record Truncate(int Length) : MessageFault;

    /// <summary>One bit of its packed elements arrives changed. A changed number may well be a legal one: no channel can tell, and encryption is the remedy.</summary>
    /// <param name="Bit">Which bit, from 0, counted from the lowest of the first byte; beyond the last it starts anew. An empty message stays as it is.</param>
    public sealed record Corrupt(long Bit) : MessageFault;
}

/// <summary>A message that is about to be sent, as a plan of faults sees it.</summary>
/// <param name="Index">Number of the message among those of this side, from 0.</param>
/// <param name="Round">Its round.</param>
/// <param name="Payload">What it carries.</param>
public sealed record OutgoingMessage(int Index, int Round, Payload Payload);

/// <summary>Plans of faults that a seed decides.</summary>
public static class FaultPlan
{
    /// <summary>Each message has a fault with a probability, and each kind of fault is as likely as the others.</summary>
    /// <param name="seed">Decides everything; the same seed gives the same faults at the same messages.</param>
    /// <param name="probability">Probability of a fault, 0 to 1.</param>
    /// <param name="longestDelay">Bound on a delay; zero leaves delays out.</param>
    /// <returns>A plan for one channel. It is not thread-safe, as a channel has one writer.</returns>
    public static Func<OutgoingMessage, MessageFault?> Random(ulong seed, double probability, TimeSpan longestDelay = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(probability);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(probability, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(longestDelay, TimeSpan.Zero);
        var draws = new Draws(seed);
        return message =>
        {
            // The same number of draws a message, so that a change of one does not move the faults of the rest.
            double fate = draws.Next(), kind = draws.Next(), place = draws.Next();
            if (fate >= probability)
                return null;
            return (int)(kind * (longestDelay > TimeSpan.Zero ? 6 : 5)) switch
            {
                0 => new MessageFault.Drop(),
                1 => new MessageFault.Duplicate(),
                2 => new MessageFault.Reorder(),
                3 => new MessageFault.Truncate((int)(place * message.Payload.Length)),
                4 => new MessageFault.Corrupt((long)(place * message.Payload.PackedBytes * 8)),
                _ => new MessageFault.Delay(place * longestDelay),
            };
        };
    }

    /// <summary>One message has a fault, the others have none.</summary>
    /// <param name="index">Number of the message among those of this side, from 0.</param>
    /// <param name="fault">The fault.</param>
    public static Func<OutgoingMessage, MessageFault?> At(int index, MessageFault fault) => message => message.Index == index ? fault : null;

    // Numbers that are the same everywhere: SplitMix64.
    private sealed class Draws(ulong seed)
    {
        private ulong _state = seed;

        public double Next()
        {
            unchecked
            {
                ulong z = _state += 0x9E3779B97F4A7C15;
                z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
                z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
                return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53));
            }
        }
    }
}

/// <summary>A channel whose messages to the peer are dropped, delayed, repeated, exchanged, cut short or damaged as a plan says; everything else is the inner channel's.</summary>
/// <remarks>For tests of what a protocol does on a bad network, or with a bad peer. Faults are those of whole messages: wrap both ends to have them in both directions. A message that is cut
/// or damaged is counted as released without protection, since it is no longer what a mechanism released; one that is dropped or held back is counted when it leaves, if ever.</remarks>
/// <param name="inner">The channel. It is disposed with this one.</param>
/// <param name="plan">Says what happens to a message: null for nothing. <see cref="FaultPlan"/> makes plans.</param>
/// <param name="clock">Clock of delays; null for the system's.</param>
public sealed class FaultyChannel(IPartyChannel inner, Func<OutgoingMessage, MessageFault?> plan, TimeProvider? clock = null) : IPartyChannel
{
    private readonly IPartyChannel _inner = inner ?? throw new ArgumentNullException(nameof(inner));
    private readonly Func<OutgoingMessage, MessageFault?> _plan = plan ?? throw new ArgumentNullException(nameof(plan));
    private Func<CancellationToken, ValueTask>? _held;
    private int _sent, _faults;

    /// <summary>Faults that have come about so far.</summary>
    public int Faults => Volatile.Read(ref _faults);

    /// <inheritdoc />
    public string LocalParty => _inner.LocalParty;

    /// <inheritdoc />
    public string RemoteParty => _inner.RemoteParty;

    /// <inheritdoc />
    public TimeSpan ReceiveTimeout => _inner.ReceiveTimeout;

    /// <inheritdoc />
    public int MaxMessageBytes => _inner.MaxMessageBytes;

    /// <inheritdoc />
    public ChannelStatistics Statistics => _inner.Statistics;

    /// <inheritdoc />
    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => _inner.Releases;

    /// <inheritdoc />
    public long BytesOf(string name, Protection protection) => _inner.BytesOf(name, protection);

    /// <inheritdoc />
    public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
    {
        ArgumentNullException.ThrowIfNull(message);
        cancellationToken.ThrowIfCancellationRequested();
        MessageFault? fault = _plan(new OutgoingMessage(_sent, round, message.Payload));
        _sent++;
        if (fault is not null)
            Interlocked.Increment(ref _faults);
        switch (fault)
        {
            case MessageFault.Drop:
                return;
            case MessageFault.Reorder when _held is null:
                _held = stop => _inner.SendAsync(round, message, stop);
                return;
            case MessageFault.Delay delay:
                await Task.Delay(delay.Time, clock ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
                break;
            case MessageFault.Duplicate:
                await _inner.SendAsync(round, message, cancellationToken).ConfigureAwait(false);
                break;
            case MessageFault.Truncate or MessageFault.Corrupt:
                message = Disclosure.Unprotected((T)PayloadDamage.Of(message.Payload, fault), message.Name);
                break;
        }

        await _inner.SendAsync(round, message, cancellationToken).ConfigureAwait(false);
        await SendHeldAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc />
    public ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload =>
        _inner.ReceiveAsync<T>(round, length, cancellationToken);

    /// <inheritdoc />
    public ValueTask PeerCompletedAsync(CancellationToken cancellationToken = default) => _inner.PeerCompletedAsync(cancellationToken);

    /// <inheritdoc />
    public async ValueTask CompleteAsync(CancellationToken cancellationToken = default)
    {
        await SendHeldAsync(cancellationToken).ConfigureAwait(false);
        await _inner.CompleteAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc />
    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => _inner.AbortAsync(errorId, cancellationToken);

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _inner.DisposeAsync();

    private async ValueTask SendHeldAsync(CancellationToken cancellationToken)
    {
        if (_held is not { } held)
            return;
        _held = null;
        await held(cancellationToken).ConfigureAwait(false);
    }
}
