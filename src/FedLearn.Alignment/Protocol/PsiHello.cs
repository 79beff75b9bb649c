using System.Buffers.Binary;
using FedLearn.Protocol;

namespace FedLearn.Alignment;

/// <summary>The first message, either way: what the sender runs, how many ids it brings, and what it kept of an interrupted session.</summary>
/// <param name="Output">Who learns what.</param>
/// <param name="Proof">Whether proofs are sent.</param>
/// <param name="Nonce">32 random bytes.</param>
/// <param name="Count">Ids announced.</param>
/// <param name="Resume">Id of the interrupted session, 32 bytes; zeros for none.</param>
/// <param name="PointChunks">Chunks of the receiver's points that the sender needs no more.</param>
/// <param name="TagChunks">Chunks of the receiver's tags that the sender needs no more.</param>
internal sealed record PsiHello(PsiOutput Output, bool Proof, byte[] Nonce, ulong Count, byte[] Resume, uint PointChunks, uint TagChunks)
{
    public const byte Version = 1, Suite = 1;
    public const int Bytes = 4 + NonceBytes + sizeof(ulong) + SessionBytes + (2 * sizeof(uint)), NonceBytes = 32, SessionBytes = 32;

    private const byte ProofFlag = 1;

    public byte[] Write()
    {
        byte[] bytes = new byte[Bytes];
        (bytes[0], bytes[1], bytes[2], bytes[3]) = (Version, Suite, (byte)Output, Proof ? ProofFlag : (byte)0);
        Nonce.CopyTo(bytes, 4);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(36), Count);
        Resume.CopyTo(bytes, 44);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(76), PointChunks);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(80), TagChunks);
        return bytes;
    }

    /// <summary>Reads the peer's, and refuses settings other than one's own.</summary>
    public static PsiHello Read(ReadOnlySpan<byte> bytes, PsiHello own, IPartyChannel channel)
    {
        if (bytes.Length > 0 && bytes[0] != Version)
            throw Differ("another version of the protocol");
        if (bytes.Length != Bytes)
            throw PsiFaults.Peer(ProtocolErrors.Malformed, channel, "hello", $"sent {bytes.Length} bytes; the message has {Bytes}.");
        if (bytes[1] != Suite)
            throw Differ("another suite of cryptography");
        if (bytes[2] != (byte)own.Output)
            throw Differ("another output");
        if (bytes[3] != (own.Proof ? ProofFlag : 0))
            throw Differ("other flags (proofs)");
        return new PsiHello(own.Output, own.Proof, bytes.Slice(4, NonceBytes).ToArray(), BinaryPrimitives.ReadUInt64LittleEndian(bytes[36..]), bytes.Slice(44, SessionBytes).ToArray(),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[76..]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[80..]));

        Exception Differ(string what) => PsiFaults.Peer(PsiErrors.SettingsDiffer, channel, "hello", $"it has {what} than this party.",
            "Use the same release of the software and the same output and proof settings at both parties.");
    }
}
