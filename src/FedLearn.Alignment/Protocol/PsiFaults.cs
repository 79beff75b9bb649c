using System.Globalization;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment;

/// <summary>Errors of a peer. None quotes what the peer sent.</summary>
internal static class PsiFaults
{
    private const string SameRelease = "Check that both parties run the same release of the software; if they do, the peer or somebody on the way does not keep to the protocol.";

    /// <summary>What to do about a session whose two sides do not find the same.</summary>
    public const string SameSession = "Check that one of the two parties is active and the other passive, that each names itself and the other as the other does, and that both run the same job and release; if they do, the peer or somebody on the way does not keep to the protocol.";

    private static readonly string[] Ending =
    [
        PsiErrors.SettingsDiffer, PsiErrors.InvalidPoint, PsiErrors.RepeatedPoint, PsiErrors.WrongCount, PsiErrors.Reflection, PsiErrors.Disagreement, PsiErrors.ProofFailed, ProtocolErrors.Malformed,
    ];

    /// <summary>Errors after which the session must not go on, not even from a folder of state.</summary>
    public static bool EndsSession(Exception error) => error is PeerException peer && Ending.Contains(peer.Id);

    public static PeerException Peer(string id, IPartyChannel channel, string step, string cause, string remedy = SameRelease) =>
        ProtocolErrors.Peer(id, channel.RemoteParty, $"alignment, {step}", cause, remedy);

    /// <summary>Receives a message about the session, which must be of this step.</summary>
    public static async Task<ReadOnlyMemory<byte>> ReceiveAsync(IPartyChannel channel, AlignmentStep step, CancellationToken cancellationToken)
    {
        AlignmentMessage message = await channel.ReceiveAsync<AlignmentMessage>(0, null, cancellationToken).ConfigureAwait(false);
        return BytesOf(message, channel, step);
    }

    /// <summary>The content of a message, which must be of this step.</summary>
    public static ReadOnlyMemory<byte> BytesOf(AlignmentMessage message, IPartyChannel channel, AlignmentStep step) => message.Step == step ? message.Bytes
        : throw Peer(ProtocolErrors.UnexpectedMessage, channel, "messages", $"sent a message of step {message.Step} where {step} was due.");

    /// <summary>The first message that does not say to wait. Each of those keeps the channel's own time limit away, so that all of them together have one.</summary>
    /// <param name="channel">The channel.</param>
    /// <param name="limit">Time for all of them together.</param>
    /// <param name="clock">Clock of the limit.</param>
    /// <param name="step">Step, for the error.</param>
    /// <param name="what">What the peer does meanwhile, for the error.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    public static async Task<Payload> OtherThanWaitingAsync(IPartyChannel channel, TimeSpan limit, TimeProvider clock, string step, string what, CancellationToken cancellationToken)
    {
        using var timeUp = new CancellationTokenSource(limit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
        try
        {
            while (true)
                if (await channel.ReceiveAsync<Payload>(0, null, either.Token).ConfigureAwait(false) is var message and not AlignmentMessage { Step: AlignmentStep.Waiting })
                    return message;
        }
        catch (OperationCanceledException) when (timeUp.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw Peer(ProtocolErrors.TimedOut, channel, step, string.Create(CultureInfo.InvariantCulture, $"waited {limit.TotalSeconds:0.#} s in all for {what}, in vain."),
                "Look at the other parties' logs; give large tables more time: 60 times transport.timeoutSeconds is the limit of a job file, PsiOptions.WaitLimit that of an application.");
        }
    }

    /// <summary>Receives a message about the session of this step and size.</summary>
    public static async Task<ReadOnlyMemory<byte>> ReceiveAsync(IPartyChannel channel, AlignmentStep step, int bytes, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> message = await ReceiveAsync(channel, step, cancellationToken).ConfigureAwait(false);
        return message.Length == bytes ? message
            : throw Peer(ProtocolErrors.Malformed, channel, "messages", $"sent a message of step {step} with {message.Length} bytes; it has {bytes}.");
    }
}
