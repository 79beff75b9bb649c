using System.Numerics;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Hostile;

/// <summary>Proof mode: a peer that does not blind all ids with the scalar that it committed to is found out, whatever it sends.</summary>
public sealed class WrongProofTests
{
    private static PsiOptions Options => new() { Proof = true, Log = new InMemoryAlignmentLog(TimeProvider.System) };

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task HonestScript_ProvesOnTheSlowGroup_IsBelieved(PartyRole victim)
    {
        // And the proofs of the library's party hold for the reference: the script checks them.
        (string[] own, string[] theirs) = Duel.Ids(9, 7, 4);
        Duel duel = await Duel.FightAsync(victim, own, theirs, Options);
        Assert.Null(duel.Error);
        Assert.Equal([0, 1, 2, 3], duel.Result!.Rows!);
        Assert.Equal(4, duel.Peer.Common.Length);
    }

    [Theory]
    [InlineData("c")]
    [InlineData("s")]
    [InlineData("c and s exchanged")]
    [InlineData("zeros")]
    [InlineData("c + L")]
    [InlineData("s + L")]
    [InlineData("of another session")]
    [InlineData("of another scalar")]
    [InlineData("of the chunk in another order")]
    public async Task Proof_Wrong_IsRefused(string fault)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 5, 3);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer => peer.ChangeProof = proof =>
        {
            byte[] c = proof[..32], s = proof[32..];
            byte[] Plus(byte[] scalar) => ReferenceGroup.Bytes(new BigInteger(scalar, isUnsigned: true) + ReferenceGroup.L);
            byte[][] products = [.. peer.TheirPoints.Select(point => ReferenceSodium.Multiply(peer.Scalar, point)!)];
            return fault switch
            {
                "c" => [(byte)(c[0] ^ 1), .. c[1..], .. s],
                "s" => [.. c, (byte)(s[0] ^ 1), .. s[1..]],
                "c and s exchanged" => [.. s, .. c],
                "zeros" => new byte[64],
                "c + L" => [.. Plus(c), .. s],          // the same number modulo the order: one proof must have one form
                "s + L" => [.. c, .. Plus(s)],
                "of another session" => ReferenceProof.Prove([.. peer.Session[..31], (byte)(peer.Session[31] ^ 1)], peer.Scalar, peer.TheirPoints, products),
                "of another scalar" => ReferenceProof.Prove(peer.Session, ReferencePsi.Scalar(), peer.TheirPoints, products),
                _ => ReferenceProof.Prove(peer.Session, peer.Scalar, [.. peer.TheirPoints.AsEnumerable().Reverse()], [.. products.Reverse()]),
            };
        });
        duel.RefusedWith(PsiErrors.ProofFailed);
    }

    [Theory]
    [InlineData("one of another scalar")]
    [InlineData("two exchanged")]
    [InlineData("one negated")]
    [InlineData("one twice")]
    [InlineData("all of another scalar")]
    public async Task Products_NotOfTheCommittedScalar_AreRefused(string fault)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 5, 3);
        Duel duel = await Duel.FightAsync(PartyRole.Passive, own, theirs, Options, prepare: peer => peer.ChangeProducts = products =>
        {
            byte[] other = ReferencePsi.Scalar();
            switch (fault)
            {
                case "one of another scalar": products[3] = ReferenceSodium.Multiply(other, peer.TheirPoints[3])!; break;
                case "two exchanged": (products[0], products[5]) = (products[5], products[0]); break;
                case "one negated": products[2] = ReferenceGroup.Encode(-ReferenceGroup.Decode(products[2])!); break;
                case "one twice": products[4] = products[1]; break;
                default: products = [.. peer.TheirPoints.Select(point => ReferenceSodium.Multiply(other, point)!)]; break;
            }

            return products;
        });
        duel.RefusedWith(PsiErrors.ProofFailed);
    }

    [Fact]
    public async Task Products_ProvenForAnotherScalarThanCommitted_AreRefused()
    {
        // The whole chunk and its proof are consistent, and belong to a scalar that was never committed to.
        (string[] own, string[] theirs) = Duel.Ids(6, 5, 3);
        byte[] other = ReferencePsi.Scalar();
        byte[][] products = [];
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer =>
        {
            peer.ChangeProducts = _ => [.. products = [.. peer.TheirPoints.Select(point => ReferenceSodium.Multiply(other, point)!)]];
            peer.ChangeProof = _ => ReferenceProof.Prove(peer.Session, other, peer.TheirPoints, products);
        });
        duel.RefusedWith(PsiErrors.ProofFailed);
    }

    [Theory]
    [InlineData("identity")]
    [InlineData("high bit")]
    [InlineData("no square")]
    public async Task Products_OneIsNoPoint_AreRefused(string fault)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 5, 3);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer => peer.ChangeProducts = products =>
        {
            products[5] = fault switch
            {
                "identity" => new byte[32],
                "high bit" => [.. products[5][..31], (byte)(products[5][31] | 0x80)],
                _ => Convert.FromHexString("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
            };
            return products;
        });
        duel.RefusedWith(PsiErrors.InvalidPoint);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(63)]
    [InlineData(65)]
    public async Task Proof_OfAnotherLength_IsRefused(int bytes)
    {
        (string[] own, string[] theirs) = Duel.Ids(6, 5, 3);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer => peer.ChangeProof = proof => [.. proof.Append((byte)0).Take(bytes)]);
        duel.RefusedWith(ProtocolErrors.Malformed);
    }

    [Fact]
    public async Task Proof_Missing_IsRefused()
    {
        // The confirmation comes where the proof is due.
        (string[] own, string[] theirs) = Duel.Ids(6, 5, 3);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs, Options, prepare: peer => peer.Before = step =>
            step == "proof" ? peer.SayAsync(Privacy.AlignmentStep.Confirmation, new byte[32]) : Task.CompletedTask);
        duel.RefusedWith(ProtocolErrors.UnexpectedMessage);
    }
}
