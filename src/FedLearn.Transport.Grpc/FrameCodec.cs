using System.Buffers;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;

namespace FedLearn.Transport.Grpc;

/// <summary>Frames of a channel as bytes, for a <see cref="PartyChannel"/> of one's own over anything that carries whole messages: a WebSocket, a pipe, a queue.</summary>
/// <remarks>The bytes are those of an <c>Envelope</c> of the wire protocol (docs/protocol.md), without the gRPC prefix; the channel says where one ends.</remarks>
public static class FrameCodec
{
    /// <summary>A message.</summary>
    /// <param name="round">Round that it belongs to, at least 0.</param>
    /// <param name="payload">Its payload. A transient one may change once this returns.</param>
    /// <returns>Bytes that nobody else has.</returns>
    public static byte[] Write(int round, Payload payload)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(round);
        ArgumentNullException.ThrowIfNull(payload);
        return EnvelopeCodec.Encode(round, payload).ToByteArray();
    }

    /// <summary>The end of this side's messages.</summary>
    public static byte[] WriteCompleted() => new Wire.Envelope { Completed = new() }.ToByteArray();

    /// <summary>That this side gives up.</summary>
    /// <param name="errorId">Id of the error here.</param>
    public static byte[] WriteAborted(string errorId)
    {
        ArgumentNullException.ThrowIfNull(errorId);
        return new Wire.Envelope { Aborted = new() { ErrorId = errorId } }.ToByteArray();
    }

    /// <summary>Reads a frame, whatever the peer has sent. The channel checks kind, round, length and finiteness of what it holds.</summary>
    /// <param name="frame">The bytes of one frame, of a length that the channel has checked against <see cref="ChannelOptions.MaxMessageBytes"/>. They are copied.</param>
    /// <param name="remoteParty">Name of the peer, for the error.</param>
    /// <returns>The frame; <see cref="ChannelFrame.Bytes"/> of a message is the length of <paramref name="frame"/>.</returns>
    /// <exception cref="Diagnostics.PeerException">FL4005: the bytes are no frame.</exception>
    public static ChannelFrame Read(ReadOnlyMemory<byte> frame, string remoteParty)
    {
        ArgumentNullException.ThrowIfNull(remoteParty);
        try
        {
            return EnvelopeCodec.Decode(Framing.Parse(Wire.Envelope.Parser, new ReadOnlySequence<byte>(frame)), frame.Length);
        }
        catch (RpcException e)
        {
            throw ProtocolErrors.Peer(ProtocolErrors.Malformed, remoteParty, "channel", e.Status.Detail, "Check that both parties run the same release of the software.", e);
        }
    }
}
