using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment;

/// <summary>Errors of a peer. None quotes what the peer sent.</summary>
internal static class PsiFaults
{
    private const string SameRelease = "Check that both parties run the same release of the software; if they do, the peer or somebody on the way does not keep to the protocol.";

    /// <summary>Errors after which the session must not go on, not even from a folder of state.</summary>
    public static bool EndsSession(Exception error) => error is PeerException { Id: PsiErrors.SettingsDiffer or PsiErrors.InvalidPoint or PsiErrors.RepeatedPoint
        or PsiErrors.WrongCount or PsiErrors.Reflection or PsiErrors.Disagreement or PsiErrors.ProofFailed or ProtocolErrors.Malformed };

    public static PeerException Peer(string id, IPartyChannel channel, string step, string cause, string remedy = SameRelease) =>
        ProtocolErrors.Peer(id, channel.RemoteParty, $"alignment, {step}", cause, remedy);

    /// <summary>Receives a message about the session, which must be of this step.</summary>
    public static async Task<ReadOnlyMemory<byte>> ReceiveAsync(IPartyChannel channel, AlignmentStep step, CancellationToken cancellationToken)
    {
        AlignmentMessage message = await channel.ReceiveAsync<AlignmentMessage>(0, null, cancellationToken).ConfigureAwait(false);
        return message.Step == step ? message.Bytes
            : throw Peer(ProtocolErrors.UnexpectedMessage, channel, "messages", $"sent a message of step {message.Step} where {step} was due.");
    }

    /// <summary>Receives a message about the session of this step and size.</summary>
    public static async Task<ReadOnlyMemory<byte>> ReceiveAsync(IPartyChannel channel, AlignmentStep step, int bytes, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> message = await ReceiveAsync(channel, step, cancellationToken).ConfigureAwait(false);
        return message.Length == bytes ? message
            : throw Peer(ProtocolErrors.Malformed, channel, "messages", $"sent a message of step {step} with {message.Length} bytes; it has {bytes}.");
    }
}
