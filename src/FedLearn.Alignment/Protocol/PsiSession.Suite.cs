using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;

namespace FedLearn.Alignment;

// What the suite fixes: sizes, chunks and digests.
internal sealed partial class PsiSession
{
    /// <summary>Name of the protocol and its cryptography.</summary>
    public const string Suite = "FedLearn-PSI-v1";

    /// <summary>Ids in a chunk; the last has fewer.</summary>
    public const int ChunkIds = 4096;

    /// <summary>Most ids that a side can announce: beyond it arrays end.</summary>
    public const int MostIds = 1 << 30;

    /// <summary>Chunks of so many ids.</summary>
    public static int Chunks(int ids) => (int)(((long)ids + ChunkIds - 1) / ChunkIds);

    private static int Start(int chunk) => chunk * ChunkIds;

    /// <summary>Ids in a chunk.</summary>
    public static int Length(int chunk, int ids) => Math.Min(ChunkIds, ids - Start(chunk));

    // The order of the numbers is that of the bytes.
    private static void Keys(ReadOnlySpan<byte> items, int width, Span<UInt128> keys)
    {
        Span<byte> whole = stackalloc byte[16];
        whole.Clear();
        for (int i = 0; i < items.Length / width; i++)
        {
            items.Slice(i * width, Math.Min(width, 16)).CopyTo(whole);
            keys[i] = BinaryPrimitives.ReadUInt128BigEndian(whole);
        }
    }

    /// <summary>Who learns what, in words for a log.</summary>
    public static string OutputName(PsiOutput output) => output switch
    {
        PsiOutput.Both => "both",
        PsiOutput.ActiveOnly => "active-only",
        PsiOutput.PassiveOnly => "passive-only",
        _ => "size-only",
    };

    /// <summary>Width of a tag: ceil((40 + ceil(log2 max(1, n_G)) + ceil(log2 max(1, n_H))) / 8) bytes, so that two different ids look equal with a probability below 2^-40.</summary>
    public static int TagBytes(int own, int peer) => (40 + Bits(own) + Bits(peer) + 7) / 8;

    private static int Bits(int n) => n <= 1 ? 0 : 32 - BitOperations.LeadingZeroCount((uint)n - 1);

    /// <summary>SHA-256("FedLearn-PSI-v1 session" || job digest || length and name of the active party || of the passive one || nonce of the active party || of the passive one).</summary>
    public static byte[] SessionId(PartyRole role, ReadOnlySpan<byte> jobDigest, string own, string peer, ReadOnlySpan<byte> ownNonce, ReadOnlySpan<byte> peerNonce)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData("FedLearn-PSI-v1 session"u8);
        hash.AppendData(jobDigest);
        Span<byte> length = stackalloc byte[sizeof(uint)];
        foreach (string name in role == PartyRole.Active ? [own, peer] : new[] { peer, own })
        {
            byte[] bytes = Encoding.UTF8.GetBytes(name);
            BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)bytes.Length);
            hash.AppendData(length);
            hash.AppendData(bytes);
        }

        hash.AppendData(role == PartyRole.Active ? ownNonce : peerNonce);
        hash.AppendData(role == PartyRole.Active ? peerNonce : ownNonce);
        return hash.GetHashAndReset();
    }

    /// <summary>SHA-256("FedLearn-PSI-v1 common" || sid || common tags in rising byte order).</summary>
    public static byte[] ConfirmationDigest(ReadOnlySpan<byte> session, ReadOnlySpan<byte> commonTags) => SHA256.HashData([.. "FedLearn-PSI-v1 common"u8, .. session, .. commonTags]);
}
