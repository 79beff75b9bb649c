using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Shared;

/// <summary>A channel that hands on what a function makes of a received payload, which may be the payload itself.</summary>
internal sealed class ChangedChannel(IPartyChannel inner, Func<Payload, Payload> change) : IPartyChannel
{
    public string LocalParty => inner.LocalParty;

    public string RemoteParty => inner.RemoteParty;

    public ChannelStatistics Statistics => inner.Statistics;

    public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

    public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload => inner.SendAsync(round, message, cancellationToken);

    public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload =>
        (T)change(await inner.ReceiveAsync<T>(round, length, cancellationToken));

    public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

    public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();
}
