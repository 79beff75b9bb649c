using FedLearn.Coordination;
using FedLearn.Protocol;

namespace FedLearn.Transport.Grpc;

/// <summary>A session that every party has joined.</summary>
/// <param name="agreement">What the parties agreed on.</param>
/// <param name="channels">Channels of this party.</param>
public sealed class GrpcSession(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels) : IAsyncDisposable
{
    /// <summary>What the parties agreed on.</summary>
    public SessionAgreement Agreement { get; } = agreement;

    /// <summary>At the active party one channel for each passive party, in the job's order; at a passive party the one to the active party.</summary>
    public IReadOnlyList<IPartyChannel> Channels { get; } = channels;

    /// <summary>By the name of the party at the other end of each encrypted channel, what ties the session to the certificates that both sides of it see: SHA-256 as
    /// docs/protocol.md defines it, 32 bytes. Both sides have compared it; people may compare it too, by another way. Not a secret. Empty over plaintext.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Bindings { get; } =
        channels.OfType<GrpcPartyChannel>().Where(c => c.Binding is not null).ToDictionary(c => c.RemoteParty, c => new ReadOnlyMemory<byte>(c.Binding));

    /// <summary>Closes every channel.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (IPartyChannel channel in Channels)
            await channel.DisposeAsync().ConfigureAwait(false);
    }
}
