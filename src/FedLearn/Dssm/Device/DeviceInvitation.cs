using System.Buffers.Binary;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>What an invitation says.</summary>
internal enum DeviceInvitationKind : byte
{
    /// <summary>Server to device: an attempt begins. The device throws its coin.</summary>
    Offer = 0,

    /// <summary>Server to device: enough devices take part. The model follows.</summary>
    Begin = 1,

    /// <summary>Server to device: the attempt came to nothing. Another may follow.</summary>
    GivenUp = 2,

    /// <summary>Server to device: the job is over.</summary>
    End = 3,

    /// <summary>Device to server: it takes part.</summary>
    Accept = 4,

    /// <summary>Device to server: it does not; or it has nothing of the attempt to go on with.</summary>
    Decline = 5,

    /// <summary>Device to server: it takes part, keeps its upload, and can come back with it after a restart.</summary>
    AcceptAndReturn = 6,

    /// <summary>Server to device, on a new channel in the midst of an attempt in which the device has uploaded, or was about to. A device that has the upload accepts and sends it, the same bytes.</summary>
    Return = 7,
}

/// <summary>An invitation: kind (1 byte), attempt, round, version of the model, clients of the attempt, number of this client (4 bytes each, little-endian).</summary>
/// <param name="Kind">What it says.</param>
/// <param name="Attempt">Attempt, counted over the job.</param>
/// <param name="Round">Round.</param>
/// <param name="Version">Version of the model that the attempt starts from.</param>
/// <param name="Clients">Begin: clients n of the attempt; else 0.</param>
/// <param name="Client">Begin: number of this client; else 0.</param>
internal sealed record DeviceInvitation(DeviceInvitationKind Kind, int Attempt, int Round, int Version, int Clients = 0, int Client = 0)
{
    private const int Bytes = 1 + 5 * sizeof(int);

    /// <summary>The message.</summary>
    public Released<AggregationMessage> Message()
    {
        byte[] bytes = new byte[Bytes];
        bytes[0] = (byte)Kind;
        int at = 1;
        foreach (int number in (ReadOnlySpan<int>)[Attempt, Round, Version, Clients, Client])
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), number);
            at += sizeof(int);
        }

        return Disclosure.Unprotected(new AggregationMessage(AggregationStep.Invitation, bytes), "invitation");
    }

    /// <summary>Reads an invitation, or returns null for a message of another step.</summary>
    /// <exception cref="Diagnostics.PeerException">FL4077.</exception>
    public static DeviceInvitation? Read(AggregationMessage message, string remote, int round)
    {
        if (message.Step != AggregationStep.Invitation)
            return null;
        ReadOnlyMemory<byte> bytes = message.Bytes;
        if (bytes.Length != Bytes || bytes.Span[0] > (byte)DeviceInvitationKind.Return)
            throw Bad(remote, round, "sent an invitation that cannot be read.");
        int Number(int i) => BinaryPrimitives.ReadInt32LittleEndian(bytes.Span[(1 + i * sizeof(int))..]);
        var invitation = new DeviceInvitation((DeviceInvitationKind)bytes.Span[0], Number(0), Number(1), Number(2), Number(3), Number(4));
        return invitation is { Attempt: >= 0, Round: >= 0, Version: >= 0, Clients: >= 0, Client: >= 0 } ? invitation
            : throw Bad(remote, round, "sent an invitation with a number below 0.");
    }

    /// <summary>The error of an invitation that is not what it must be.</summary>
    public static Diagnostics.PeerException Bad(string remote, int round, string cause) => ProtocolErrors.Peer(DeviceErrors.BadInvitation, remote, $"invitation {round}", cause,
        "Check that both sides run the same release of the software and the same job.");
}
