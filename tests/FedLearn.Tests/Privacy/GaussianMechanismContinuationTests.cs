using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

/// <summary>A mechanism that goes on where another process of the run was cut off.</summary>
public class GaussianMechanismContinuationTests
{
    private const int Releases = 12;
    private static readonly NoiseCalibration Noise = new(0.3, 7.25, Releases, 1);

    private static double[] Value(int release, int length) => [.. Enumerable.Range(0, length).Select(i => Math.Sin(release + 3.1 * i))];

    private static GaussianMechanism Seeded(Outgoing kept, int firstLocal = 0) => GaussianMechanism.NotPrivate(Noise, new TestNoise(5, "clinic"), kept, firstLocal);

    /// <summary>Whatever was kept when the process died, and wherever the checkpoint was, the messages are those of a run that was not cut off.</summary>
    [Fact]
    public void Release_AfterAnyCut_GivesTheMessagesOfAnUncutRun() => Prop.ForAll(
        Gen.Choose(0, Releases).ToArbitrary(), Gen.Choose(0, Releases).ToArbitrary(), Gen.Choose(1, 40).ArrayOf(Releases).ToArbitrary(), (checkpoint, sent, lengths) =>
        {
            checkpoint = Math.Min(checkpoint, sent);
            var whole = new Outgoing();
            GaussianMechanism uncut = Seeded(whole);
            for (int r = 0; r < Releases; r++)
                uncut.Release(new Scores(Value(r, lengths[r])), "s");

            var kept = new Outgoing();
            GaussianMechanism first = Seeded(kept);
            MechanismPosition position = default;
            for (int r = 0; r < sent; r++)
            {
                if (r == checkpoint)
                    position = first.Position;
                first.Release(new Scores(Value(r, lengths[r])), "s");
            }

            if (checkpoint == sent)
                position = first.Position;
            GaussianMechanism second = Seeded(kept);
            second.ContinueAt(position);
            second.Prefetch(lengths[0] + 7); // draws made ahead must not change what is drawn
            for (int r = checkpoint; r < Releases; r++)
                Assert.Equal(whole.Messages[r], second.Release(new Scores(Value(r, lengths[r])), "s").Payload.Lattice!.Packed.ToArray());
            return whole.Messages.SelectMany(m => m).SequenceEqual(kept.Messages.SelectMany(m => m));
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void Release_OfAMessageThatWasKept_IgnoresTheValueAndDrawsNothing()
    {
        var kept = new Outgoing();
        byte[] sent = new GaussianMechanism(Noise, new CsprngNoise(), kept).Release(new Scores(Value(0, 9)), "s").Payload.Lattice!.Packed.ToArray();
        var second = new GaussianMechanism(Noise, new CsprngNoise(), kept);
        second.ContinueAt(default);
        Assert.Equal(sent, second.Release(new Scores(new double[9]), "s").Payload.Lattice!.Packed.ToArray());
        Assert.Single(kept.Messages);
    }

    [Fact]
    public void Perturb_AfterACut_ReadsBackWhatWasKept_AndGoesOnAsAnUncutRun()
    {
        double[][] uncut = new double[Releases][], resumed = new double[Releases][];
        GaussianMechanism one = Seeded(new Outgoing());
        for (int r = 0; r < Releases; r++)
            one.Perturb(uncut[r] = Value(r, 5 + r), "gradient");

        var kept = new Outgoing();
        GaussianMechanism first = Seeded(kept, firstLocal: 0);
        for (int r = 0; r < 3; r++)
            first.Perturb(Value(r, 5 + r), "gradient");
        MechanismPosition position = first.Position;
        for (int r = 3; r < 7; r++)
            first.Perturb(Value(r, 5 + r), "gradient");

        GaussianMechanism second = Seeded(kept);
        second.ContinueAt(position);
        for (int r = 3; r < Releases; r++)
            second.Perturb(resumed[r] = r < 7 ? new double[5 + r] : Value(r, 5 + r), "gradient");
        for (int r = 3; r < Releases; r++)
            Assert.Equal(uncut[r], resumed[r]);
        Assert.Equal(Releases, kept.Local.Count);
    }

    [Fact]
    public void Perturb_OfTwoMechanisms_KeepsRangesOfTheirOwn()
    {
        var kept = new Outgoing();
        GaussianMechanism gradients = Seeded(kept), weights = Seeded(kept, firstLocal: 2);
        gradients.Perturb(Value(0, 4), "gradient");
        gradients.Perturb(Value(1, 4), "gradient");
        double[] final = Value(2, 4), again = new double[4];
        weights.Perturb(final, "weights");
        Seeded(kept, firstLocal: 2).Perturb(again, "weights");
        Assert.Equal(final, again);
    }

    [Fact]
    public void Perturb_WhereNothingLocalIsKept_IsRefusedOnceMessagesWere()
    {
        var kept = new Outgoing { KeepsLocally = false };
        new GaussianMechanism(Noise, new CsprngNoise(), kept).Release(new Scores(Value(0, 4)), "s");
        var second = new GaussianMechanism(Noise, new CsprngNoise(), kept);
        double[] value = Value(0, 4);
        Assert.Equal(PrivacyErrors.ReleasesSpent, Assert.Throws<PrivacyRefusedException>(() => second.Perturb(value, "gradient")).Id);
        Assert.Equal(Value(0, 4), value);
    }

    [Fact]
    public void ContinueAt_AfterARelease_OrAtNoPosition_IsRefused()
    {
        GaussianMechanism mechanism = Seeded(new Outgoing());
        Assert.Throws<ArgumentOutOfRangeException>(() => mechanism.ContinueAt(new(Releases + 1, 0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => mechanism.ContinueAt(new(0, -1)));
        mechanism.Release(new Scores(Value(0, 4)), "s");
        Assert.Throws<InvalidOperationException>(() => mechanism.ContinueAt(default));
        // Draws made ahead are the first of the stream, and no later ones.
        GaussianMechanism ahead = Seeded(new Outgoing());
        ahead.Prefetch(4);
        Assert.Throws<InvalidOperationException>(() => ahead.ContinueAt(new(1, 4)));
    }

    private sealed class Outgoing : IPrivacyReservation
    {
        public List<byte[]> Messages { get; } = [];

        public List<byte[]> Local { get; } = [];

        public bool KeepsLocally { get; init; } = true;

        public string RunId => "run";

        public int Kept => Messages.Count;

        public byte[]? Find(int index) => index < Messages.Count ? Messages[index] : null;

        public void Keep(int index, ReadOnlySpan<byte> message)
        {
            Assert.Equal(Messages.Count, index);
            Messages.Add(message.ToArray());
        }

        public byte[]? FindLocal(int index) => KeepsLocally && index < Local.Count ? Local[index] : null;

        public void KeepLocal(int index, ReadOnlySpan<byte> value)
        {
            Assert.Equal(Local.Count, index);
            Local.Add(value.ToArray());
        }

        public void Settle(double share) { }

        public void Dispose() { }
    }
}
