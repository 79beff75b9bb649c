using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Alignment.Ristretto;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Alignment.Tests.Protocol;

/// <summary>The pieces of the protocol, each by itself.</summary>
public sealed class PiecesTests
{
    private static readonly byte[] Session = SHA256.HashData("session"u8);

    [Fact]
    public void Encode_OneColumn_IsVersionCountLengthAndUtf8()
    {
        byte[] buffer = [];
        int length = HashToGroup.Encode("  \u00E9a ", ref buffer);
        Assert.Equal([1, 1, 3, 0, 0, 0, 0xC3, 0xA9, (byte)'a'], buffer[..length]);
    }

    [Theory]
    [MemberData(nameof(ReferenceHashTests.Vectors), MemberType = typeof(ReferenceHashTests))]
    public void Expand_AfterALongerMessage_MatchesRfc9380(string message, string uniform)
    {
        using var expander = new MessageExpander(Encoding.ASCII.GetBytes("QUUX-V01-CS02-with-expander-SHA512-256"));
        byte[] bytes = new byte[uniform.Length / 2];
        expander.Expand(new byte[1000], bytes);
        expander.Expand(Encoding.ASCII.GetBytes(message), bytes);
        Assert.Equal(uniform, Convert.ToHexStringLower(bytes));
    }

    [Fact]
    public void Encode_ColumnsSplitElsewhere_Differ()
    {
        byte[] buffer = [];
        HashSet<string> seen = [];
        foreach (string id in new[] { "abc", "a\u001Fbc", "ab\u001Fc", "\u001Fabc", "abc\u001F", "a\u001Fb\u001Fc" })
        {
            int length = HashToGroup.Encode(id, ref buffer);
            Assert.True(seen.Add(Convert.ToHexString(buffer, 0, length)));
        }
    }

    [Fact]
    public void Encode_TooManyColumns_IsRefused()
    {
        byte[] buffer = [];
        Assert.Throws<ArgumentException>(() => HashToGroup.Encode(new string(RowIds.ColumnSeparator, 255), ref buffer));
    }

    [Theory]
    [InlineData(0, 0, 5)]
    [InlineData(1, 1, 5)]
    [InlineData(2, 1, 6)]
    [InlineData(1_000_000, 1_000_000, 10)]
    [InlineData(1 << 30, 1 << 30, 13)]
    public void TagBytes_FollowsTheFormula(int own, int peer, int expected) => Assert.Equal(expected, PsiSession.TagBytes(own, peer));

    [Fact]
    public void SessionId_IsTheSameAtBothParties_AndBindsEverything()
    {
        byte[] job = new byte[32], g = [.. Enumerable.Repeat((byte)1, 32)], h = [.. Enumerable.Repeat((byte)2, 32)];
        byte[] id = PsiSession.SessionId(PartyRole.Active, job, "bank", "clinic", g, h);
        Assert.Equal(id, PsiSession.SessionId(PartyRole.Passive, job, "clinic", "bank", h, g));
        Assert.NotEqual(id, PsiSession.SessionId(PartyRole.Active, job, "clinic", "bank", g, h));
        Assert.NotEqual(id, PsiSession.SessionId(PartyRole.Active, g, "bank", "clinic", g, h));
        Assert.NotEqual(id, PsiSession.SessionId(PartyRole.Active, job, "bankc", "linic", g, h));
    }

    // 24 permutations of 4, 24,000 keys: 23 degrees of freedom; a false alarm has a probability of 1e-6 (chi square above 70.5). The keys are fixed.
    [Fact]
    public void Permutation_OfFour_IsUniform()
    {
        var counts = new Dictionary<string, int>();
        for (int i = 0; i < 24_000; i++)
        {
            string order = string.Join(',', SeededPermutation.Draw(4, SHA256.HashData(BitConverter.GetBytes(i))));
            counts[order] = counts.GetValueOrDefault(order) + 1;
        }

        Assert.Equal(24, counts.Count);
        Assert.InRange(counts.Values.Sum(c => Math.Pow(c - 1000, 2) / 1000), 0, 70.5);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5000)]
    public void Permutation_HasEveryNumberOnce_AndIsThatOfItsKey(int n)
    {
        int[] order = SeededPermutation.Draw(n, Session);
        Assert.Equal(order, SeededPermutation.Draw(n, Session));
        Assert.Equal(Enumerable.Range(0, n), order.Order());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(37)]
    public void ChunkProof_OfOneScalar_Holds(int n)
    {
        (PsiSecrets secrets, byte[] commitment, byte[] points, byte[] products) = Chunk(n);
        byte[] proof = ChunkProof.Prove(Session, secrets, commitment, points, products);
        Assert.Equal(ProofCheck.Holds, ChunkProof.Verify(Session, commitment, points, products, proof));
        Assert.Equal(proof, ChunkProof.Prove(Session, secrets, commitment, points, products));
    }

    [Fact]
    public void ChunkProof_OfAnythingElse_Fails()
    {
        (PsiSecrets secrets, byte[] commitment, byte[] points, byte[] products) = Chunk(5);
        byte[] proof = ChunkProof.Prove(Session, secrets, commitment, points, products);
        using PsiSecrets other = PsiSecrets.Fresh();
        byte[] wrong = [.. products];
        SodiumRistretto.Instance.Multiply(points.AsSpan(96, 32), other.Scalar, wrong.AsSpan(96, 32));
        byte[] swapped = [.. products[32..64], .. products[..32], .. products[64..]];
        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, commitment, points, wrong, proof));
        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, commitment, points, wrong, ChunkProof.Prove(Session, secrets, commitment, points, wrong)));
        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, commitment, points, swapped, ChunkProof.Prove(Session, secrets, commitment, points, swapped)));
        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(SHA256.HashData(Session), commitment, points, products, proof));
        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, points.AsSpan(0, 32), points, products, proof));
        Assert.Equal(ProofCheck.InvalidPoint, ChunkProof.Verify(Session, commitment, points, [.. products[..^32], .. new byte[32]], proof));
        foreach (int at in new[] { 0, 31, 32, 63 })
        {
            byte[] bent = [.. proof];
            bent[at] ^= 1;
            Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, commitment, points, products, bent));
        }

        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, commitment, points, products, new byte[64]));
    }

    // s = r - c k: of two proofs with one r whoever reads both has the scalar, (s - s')/(c' - c).
    [Fact]
    public void ChunkProof_OfOtherPointsOrAnotherSession_HasARandomNumberOfItsOwn()
    {
        (PsiSecrets secrets, byte[] commitment, byte[] points, byte[] products) = Chunk(3);
        var k = new BigInteger(secrets.Scalar, isUnsigned: true);
        BigInteger Random(byte[] session, int ids)
        {
            byte[] proof = ChunkProof.Prove(session, secrets, commitment, points.AsSpan(0, 32 * ids), products.AsSpan(0, 32 * ids));
            return (new BigInteger(proof.AsSpan(32), isUnsigned: true) + new BigInteger(proof.AsSpan(0, 32), isUnsigned: true) * k) % ReferenceGroup.L;
        }

        BigInteger[] numbers = [Random(Session, 3), Random(Session, 2), Random(Session, 1), Random(SHA256.HashData(Session), 3)];
        Assert.Equal(4, numbers.Distinct().Count());
        Assert.Equal(numbers[0], Random(Session, 3));
        secrets.Dispose();
    }

    // s + L is the same number modulo L, and no canonical scalar.
    [Fact]
    public void ChunkProof_ScalarAboveTheOrder_Fails()
    {
        (PsiSecrets secrets, byte[] commitment, byte[] points, byte[] products) = Chunk(2);
        byte[] proof = ChunkProof.Prove(Session, secrets, commitment, points, products);
        var order = BigInteger.Pow(2, 252) + BigInteger.Parse("27742317777372353535851937790883648493", System.Globalization.CultureInfo.InvariantCulture);
        byte[] larger = new byte[32];
        Assert.True((new BigInteger(proof.AsSpan(32), isUnsigned: true) + order).TryWriteBytes(larger, out _, isUnsigned: true));
        Assert.Equal(ProofCheck.Fails, ChunkProof.Verify(Session, commitment, points, products, [.. proof[..32], .. larger]));
    }

    [Theory]
    [InlineData("00000000", "99999999", 26.6)]             // eight digits
    [InlineData("CH-0001", "CH-9999", 13.3)]              // a fixed beginning does not count
    public void IdSpace_Numbers_IsTheirLogarithm(string first, string last, double bits)
    {
        int digits = first.Length - first.IndexOf(first.First(char.IsAsciiDigit), StringComparison.Ordinal);
        string[] ids = [first, last, .. Enumerable.Range(1, 98).Select(i => first[..^digits] + (i * 7919 % (int)Math.Pow(10, digits)).ToString($"D{digits}", System.Globalization.CultureInfo.InvariantCulture))];
        Assert.Equal(bits, IdSpace.Bits(ids), tolerance: 0.05);
        string warning = IdSpace.Warning(ids)!;
        Assert.Contains("few enough to guess", warning, StringComparison.Ordinal);
        Assert.DoesNotContain(first, warning, StringComparison.Ordinal);
    }

    [Fact]
    public void IdSpace_RandomIds_DoNotWarn()
    {
        string[] ids = [.. Enumerable.Range(0, 50).Select(i => Convert.ToHexStringLower(SHA256.HashData(BitConverter.GetBytes(i))[..8]))];
        Assert.Null(IdSpace.Warning(ids));
        Assert.Null(IdSpace.Warning([]));
    }

    [Fact]
    public void IdSpace_SeveralColumns_Add() =>
        Assert.Equal(2 * Math.Log2(110), IdSpace.Bits([.. Enumerable.Range(0, 100).Select(i => $"{i}\u001F{99 - i}")]), tolerance: 1e-9); // one digit or two: 10 + 100

    [Fact]
    public void InMemoryLog_CountsSessionsOfADay_AndResumedOnesOnce()
    {
        var clock = new ManualClock();
        var log = new InMemoryAlignmentLog(clock);
        var caps = new AlignmentCaps { SessionsPerDay = 2, PeerIds = 10 };
        AlignmentRecord Record(string session, string peer = "clinic", long ids = 10) => new(session, "bank", peer, "psi", "both", 5, ids, "");
        log.Begin(Record("1"), caps);
        log.Begin(Record("2"), caps);
        log.Begin(Record("2"), caps);
        Assert.Equal(AlignmentErrors.TooManySessions, Assert.Throws<PrivacyRefusedException>(() => log.Begin(Record("3"), caps)).Id);
        log.Begin(Record("3", "lab"), caps);
        Assert.Equal(AlignmentErrors.TooManyIds, Assert.Throws<PrivacyRefusedException>(() => log.Begin(Record("4", "lab", 11), caps)).Id);
        clock.Advance(TimeSpan.FromHours(24) - TimeSpan.FromSeconds(1));
        Assert.Equal(AlignmentErrors.TooManySessions, Assert.Throws<PrivacyRefusedException>(() => log.Begin(Record("5"), caps)).Id);
        clock.Advance(TimeSpan.FromSeconds(1));
        log.Begin(Record("5"), caps);
        // One of another day is forgotten, and counts as a new one.
        log.Begin(Record("2"), caps);
        Assert.Equal(AlignmentErrors.TooManySessions, Assert.Throws<PrivacyRefusedException>(() => log.Begin(Record("1"), caps)).Id);
    }

    [Fact]
    public void InMemoryLog_SameSessionWithAnotherPeerOrOtherNumbers_IsRefused()
    {
        var log = new InMemoryAlignmentLog(new ManualClock());
        var caps = new AlignmentCaps { SessionsPerDay = 1, PeerIds = 10 };
        var session = new AlignmentRecord("1", "bank", "clinic", "psi", "both", 5, 10, "");
        log.Begin(session, caps);
        foreach (AlignmentRecord other in (AlignmentRecord[])[session with { Peer = "lab" }, session with { PeerIds = 1000 }, session with { OwnIds = 6 }, session with { JobDigest = "another" }])
            Assert.Equal(PrivacyErrors.RunReservedOtherwise, Assert.Throws<PrivacyRefusedException>(() => log.Begin(other, caps)).Id);
        log.Begin(session, caps);
        // The other side of the session, where two parties share the log.
        log.Begin(session with { Party = "clinic", Peer = "bank" }, caps);
        log.Begin(session with { Session = "2", Peer = "lab" }, caps);
        Assert.Equal(AlignmentErrors.TooManySessions, Assert.Throws<PrivacyRefusedException>(() => log.Begin(session with { Session = "3", Peer = "lab" }, caps)).Id);
    }

    // What is kept of a session whose peer broke the rules must not be gone on with.
    [Theory]
    [InlineData(PsiErrors.SettingsDiffer, true)]
    [InlineData(PsiErrors.InvalidPoint, true)]
    [InlineData(PsiErrors.RepeatedPoint, true)]
    [InlineData(PsiErrors.WrongCount, true)]
    [InlineData(PsiErrors.Reflection, true)]
    [InlineData(PsiErrors.Disagreement, true)]
    [InlineData(PsiErrors.ProofFailed, true)]
    [InlineData(ProtocolErrors.Malformed, true)]
    [InlineData(ProtocolErrors.PeerGone, false)]
    [InlineData(ProtocolErrors.TimedOut, false)]
    public void EndsSession_RuleBroken_AndNotAPeerThatIsLost(string id, bool ends) => Assert.Equal(ends, PsiFaults.EndsSession(new PeerException(id, "here", "it is so.", "Mend it.")));

    [Fact]
    public void ChunkFile_ChunksInEachOthersPlace_CountNothing()
    {
        string path = Path.GetTempFileName();
        try
        {
            using (var file = new ChunkFile(path, Session, 2 * PsiSession.ChunkIds, 1, 0))
            {
                file.Append(new byte[PsiSession.ChunkIds]);
                file.Append([.. Enumerable.Repeat((byte)1, PsiSession.ChunkIds)]);
            }

            byte[] bytes = File.ReadAllBytes(path);
            File.WriteAllBytes(path, [.. bytes[(bytes.Length / 2)..], .. bytes[..(bytes.Length / 2)]]);
            using var swapped = new ChunkFile(path, Session, 2 * PsiSession.ChunkIds, 1, 0);
            Assert.Equal(0, swapped.Count);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void ChunkFile_OfAnotherSession_CountsNothing()
    {
        string path = Path.GetTempFileName();
        try
        {
            using (var file = new ChunkFile(path, Session, 3, 32, 0))
                file.Append(new byte[3 * 32]);
            using (var same = new ChunkFile(path, Session, 3, 32, 0))
                Assert.Equal(1, same.Count);
            using (var other = new ChunkFile(path, SHA256.HashData(Session), 3, 32, 0))
                Assert.Equal(0, other.Count);
            // What does not count is cut off.
            Assert.Equal(0, new FileInfo(path).Length);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Secrets_Disposed_AreZero()
    {
        PsiSecrets secrets = PsiSecrets.Fresh();
        Assert.True(secrets.All.ContainsAnyExcept((byte)0));
        secrets.Dispose();
        Assert.False(secrets.All.ContainsAnyExcept((byte)0));
    }

    private static (PsiSecrets Secrets, byte[] Commitment, byte[] Points, byte[] Products) Chunk(int n)
    {
        PsiSecrets secrets = PsiSecrets.Fresh();
        byte[] hashes = new byte[64 * n], points = new byte[32 * n], products = new byte[32 * n], commitment = new byte[32];
        for (int i = 0; i < n; i++)
            SHA512.HashData(BitConverter.GetBytes(i), hashes.AsSpan(64 * i, 64));
        using PsiSecrets verifier = PsiSecrets.Fresh();
        SodiumRistretto.Instance.Blind(hashes, verifier.Scalar, points);
        SodiumRistretto.Instance.Multiply(points, secrets.Scalar, products);
        SodiumRistretto.MultiplyBase(secrets.Scalar, commitment);
        return (secrets, commitment, points, products);
    }
}
