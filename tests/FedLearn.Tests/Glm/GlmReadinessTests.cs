using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>No noised message leaves before every party has what it goes on with: a real party against scripted ones.</summary>
public class GlmReadinessTests
{
    private const int Rows = 40;

    [Fact]
    public async Task Passive_ActivePartyEndsBeforeAllAreReady_NothingWithNoiseHasLeft() =>
        await PassiveEndsAsync(active => active.AbortAsync(ProtocolErrors.PeerGone).AsTask());

    [Fact]
    public async Task Passive_IsToldAnotherNumberThanReady_NothingWithNoiseHasLeft() => Assert.Equal(ProtocolErrors.IllegalValue,
        (await PassiveEndsAsync(active => active.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 0 }), "script")).AsTask())).Id);

    /// <summary>A real passive party, and in place of the sign that all are ready something else.</summary>
    private static async Task<PeerException> PassiveEndsAsync(Func<InMemoryChannel, Task> insteadOfReady)
    {
        var data = VerticalData.Random(61, "binomial", Rows, 2, 2);
        (InMemoryChannel active, InMemoryChannel own) = InMemoryChannel.CreatePair("active", "p1");
        Task<GlmPartyResult> training = Start(data, 1, own);
        await active.ReceiveAsync<HashedIds>(0, Rows);
        await active.SendAsync(0, Disclosure.Unprotected(new RowSelection(Enumerable.Repeat((byte)1, Rows).ToArray()), "script"));
        await active.ReceiveAsync<Scalars>(0, 3);
        await insteadOfReady(active);
        PeerException ended = await Assert.ThrowsAsync<PeerException>(() => training);
        Assert.Equal(["agreement: row counts and split", "alignment: hashed ids"], own.Releases.Keys.Select(r => r.Name).Order());
        return ended;
    }

    [Fact]
    public async Task Active_OnePartyIsNotReady_TheOtherIsNotTold()
    {
        var data = VerticalData.Random(62, "binomial", Rows, 2, 2, 2);
        (InMemoryChannel toFirst, InMemoryChannel first) = InMemoryChannel.CreatePair("active", "p1");
        (InMemoryChannel toSecond, InMemoryChannel second) = InMemoryChannel.CreatePair("active", "p2");
        Task<GlmPartyResult> training = Start(data, 0, toFirst, toSecond);
        foreach ((InMemoryChannel peer, string name) in new[] { (first, "p1"), (second, "p2") })
            await peer.SendAsync(0, Disclosure.Unprotected(new HashedIds(RowIds.Order(data.Inputs().Single(i => i.Party == name).Table.Ids, JobOf(data).Training.Seed).Digests), "script"));
        foreach (InMemoryChannel peer in new[] { first, second })
            await peer.ReceiveAsync<RowSelection>(0, Rows);
        await first.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { Rows, 0, (double)RowSplit.Fingerprint48(new bool[Rows]) }), "script"));
        await second.AbortAsync(ProtocolErrors.PeerGone);
        await Assert.ThrowsAsync<PeerException>(() => training);
        Assert.Equal(["alignment: common rows"], toFirst.Releases.Keys.Select(r => r.Name));
    }

    private static GlmJob JobOf(VerticalData data) => data.Job("binomial", new() { Epochs = 2, BatchesPerEpoch = 2, StepSize = 0.2, WeightNorm = 1, ResidualClip = 1 }) with
    {
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(2, 0.004), TestNoiseSeed = 1 },
        Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
    };

    private static Task<GlmPartyResult> Start(VerticalData data, int party, params IPartyChannel[] channels)
    {
        var trainer = new GlmTrainer(JobOf(data), data.Inputs()[party]);
        JoinedParty[] parties = [.. trainer.Terms.Parties.Select(p => new JoinedParty(p.Name, trainer.JoinRequest.SchemaFingerprint))];
        return trainer.TrainAsync(new SessionAgreement("scripted", SessionDesk.DigestOf(trainer.Terms.TermsDigest, parties), parties), channels);
    }
}
