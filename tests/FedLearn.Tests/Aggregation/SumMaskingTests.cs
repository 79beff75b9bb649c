using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Aggregation;

public class SumMaskingTests
{
    private static readonly byte[] Job = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    private static string Id(Action act) => Assert.ThrowsAny<FedLearnException>(act).Id;

    private static SumMaskingParty[] Agreed(int views, byte[]? job = null, double step = SumMasking.NoiselessStep)
    {
        string[] names = [.. Enumerable.Range(0, views).Select(i => $"view {i}")];
        SumMaskingParty[] parties = [.. names.Select(name => new SumMaskingParty(name, names, job ?? Job, step))];
        AggregationMessage roster = SumMasking.Roster([.. parties.Select((party, i) => (names[i], party.Keys()))]);
        foreach (SumMaskingParty party in parties)
            party.Agree(roster);
        return parties;
    }

    private static LatticeVector Draw(Random random, int length, double step = SumMasking.NoiselessStep) =>
        LatticeVector.Of([.. Enumerable.Range(0, length).Select(_ => random.NextDouble() * 2 - 1)], step, 1);

    private static Released<Embeddings> Release(LatticeVector lattice) => Disclosure.Unprotected(new Embeddings(lattice), "test");

    [Fact]
    public void Open_AnyViewsAndSteps_IsTheIntegerSumExactly() => Prop.ForAll(Gen.Choose(2, 6).ToArbitrary(), Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), (views, seed) =>
    {
        var random = new Random(seed);
        SumMaskingParty[] parties = Agreed(views);
        for (long step = random.Next(3); step < 8; step += random.Next(1, 4))
        {
            int length = random.Next(0, 60);
            LatticeVector[] vectors = [.. parties.Select(_ => Draw(random, length))];
            long[] expected = new long[length];
            foreach (LatticeVector vector in vectors)
                for (int i = 0; i < length; i++)
                    expected[i] += vector.Integers()[i];
            MaskedVector[] masked = [.. parties.Select((party, i) => party.Mask(step, Release(vectors[i])).Payload)];
            random.Shuffle(masked);
            Assert.Equal(expected, SumMasking.OpenIntegers(masked, views));
            Assert.Equal(expected.Select(integer => integer * SumMasking.NoiselessStep), SumMasking.Open(masked, views));
        }
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));

    [Fact]
    public void Open_NoisyViews_IsTheSumOfTheNoisyIntegersAndKeepsTheProtection()
    {
        const double Step = 1.0 / (1 << 24);
        SumMaskingParty[] parties = Agreed(2, step: Step);
        var calibration = new NoiseCalibration(1, 1, 1, 1);
        Released<Embeddings>[] noisy = [.. parties.Select(_ => new GaussianMechanism(calibration, new CsprngNoise(), NoReservation.Instance, latticeBits: GaussianMechanism.MostLatticeBits).Release(new Embeddings(new double[] { 0.5, -0.25 }), "embeddings"))];
        Released<MaskedVector>[] masked = [.. parties.Select((party, i) => party.Mask(0, noisy[i]))];
        Assert.All(masked, vector => Assert.Equal((Protection.Noise, "masked embeddings"), (vector.Protection, vector.Name)));
        Assert.Equal(noisy[0].Payload.Lattice!.Integers().Zip(noisy[1].Payload.Lattice!.Integers(), (a, b) => a + b), SumMasking.OpenIntegers([.. masked.Select(vector => vector.Payload)], 2));
    }

    [Fact]
    public void Mask_SameStepAgain_SameMessageOnlyForTheSameVectors()
    {
        SumMaskingParty party = Agreed(2)[0];
        var random = new Random(1);
        LatticeVector vector = Draw(random, 5);
        Released<MaskedVector> first = party.Mask(3, Release(vector));
        Assert.Equal(first.Payload.Values.ToArray(), party.Mask(3, Release(vector)).Payload.Values.ToArray());
        Assert.Equal(AggregationErrors.UsedAgain, Assert.Throws<PrivacyRefusedException>(() => party.Mask(3, Release(Draw(random, 5)))).Id);
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => party.Mask(3, Release(Draw(random, 4)))));
        party.Mask(4, Release(vector));
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => party.Mask(3, Release(vector))));
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => party.Mask(-1, Release(vector))));
    }

    // A mask of 0 would show: words of different steps, jobs and keys differ, but with probability 2^-64 a word.
    [Fact]
    public void Mask_OtherStepJobOrKeys_IsAnother()
    {
        LatticeVector zero = LatticeVector.Of(new double[16], SumMasking.NoiselessStep, 1);
        byte[] job = [.. Job];
        job[0] ^= 1;
        SumMaskingParty first = Agreed(2)[0];
        var words = new List<long>();
        foreach (SumMaskingParty party in (SumMaskingParty[])[first, Agreed(2)[0], Agreed(2, job)[0]])
            words.AddRange(AggregationCase.Words(party.Mask(0, Release(zero)).Payload));
        words.AddRange(AggregationCase.Words(first.Mask(1, Release(zero)).Payload));
        Assert.Equal(words.Count, words.Distinct().Count());
        Assert.DoesNotContain(0, words);
    }

    // Masks are fresh in every run: |r| < 6 / sqrt(40,000) fails once in 5e8 runs.
    [Fact]
    public void Mask_MaskedVector_IsNotCorrelatedWithItsInput()
    {
        LatticeVector vector = Draw(new Random(2), 40_000);
        Assert.InRange(AggregationCase.Correlation(vector.Integers(), AggregationCase.Words(Agreed(2)[1].Mask(0, Release(vector)).Payload)), -0.03, 0.03);
    }

    [Fact]
    public void Construct_OneView_IsRefused()
    {
        Assert.Equal(AggregationErrors.TooFewViews, Assert.Throws<ConfigurationException>(() => new SumMaskingParty("a", ["a"], Job)).Id);
        Assert.Equal(AggregationErrors.TooFewViews, Id(() => SumMasking.Open([new MaskedVector(new byte[8], 1)], 1)));
        Assert.Equal(AggregationErrors.TooFewViews, Id(() => SumMasking.Roster([])));
        Assert.Throws<ArgumentException>(() => new SumMaskingParty("c", ["a", "b"], Job));
        Assert.Throws<ArgumentException>(() => new SumMaskingParty("a", ["a", "b", "b"], Job));
        Assert.Throws<ArgumentException>(() => new SumMaskingParty("a", ["a", "b"], new byte[31]));
    }

    [Fact]
    public void Open_MissingOrUnlikeVectors_AreRefused()
    {
        SumMaskingParty[] parties = Agreed(3);
        MaskedVector[] masked = [.. parties.Select(party => party.Mask(0, Release(Draw(new Random(1), 4))).Payload)];
        Assert.Equal(AggregationErrors.ViewsDiffer, Assert.Throws<PeerException>(() => SumMasking.Open(masked[..2], 3)).Id);
        Assert.Equal(AggregationErrors.ViewsDiffer, Id(() => SumMasking.Open([.. masked, masked[0]], 3)));
        Assert.Equal(AggregationErrors.WrongVector, Id(() => SumMasking.Open([masked[0], masked[1], new(new byte[8], SumMasking.NoiselessStep)], 3)));
        Assert.Equal(AggregationErrors.WrongVector, Id(() => SumMasking.Open([masked[0], masked[1], new(new byte[32], 1)], 3)));
    }

    [Fact]
    public void Agree_WrongRoster_IsRefused()
    {
        string[] names = ["a", "b"];
        using var a = new SumMaskingParty("a", names, Job);
        using var b = new SumMaskingParty("b", names, Job);
        using var other = new SumMaskingParty("b", names, Job);
        Assert.Equal(AggregationErrors.ViewsDiffer, Id(() => SumMasking.Roster([("a", a.Keys()), ("a", b.Keys())])));
        Assert.Equal(AggregationErrors.BadRoster, Id(() => a.Agree(SumMasking.Roster([("a", other.Keys()), ("b", b.Keys())]))));
        Assert.Equal(AggregationErrors.BadRoster, Id(() => a.Agree(SumMasking.Roster([("a", a.Keys()), ("c", b.Keys())]))));
        Assert.Equal(AggregationErrors.BadRoster, Id(() => a.Agree(SumMasking.Roster([("a", a.Keys()), ("b", a.Keys())]))));
        // Relayed, every other view would refuse it, and name the active party.
        PeerException unusable = Assert.Throws<PeerException>(() => SumMasking.Roster([("a", a.Keys()), ("b", new(AggregationStep.Keys, new byte[32]))]));
        Assert.Equal((AggregationErrors.UnusableKey, "masked sum, b"), (unusable.Id, unusable.Place));
        // An active party of another's making may relay one.
        byte[] relayed = SumMasking.Roster([("a", a.Keys()), ("b", b.Keys())]).Bytes.ToArray();
        relayed.AsSpan(relayed.Length - 32).Clear();
        Assert.Equal(AggregationErrors.UnusableKey, Id(() => a.Agree(new(AggregationStep.Roster, relayed))));
        Assert.Throws<InvalidOperationException>(() => a.Mask(0, Release(Draw(new Random(1), 2))));
        AggregationMessage roster = SumMasking.Roster([("a", a.Keys()), ("b", b.Keys())]);
        a.Agree(roster);
        Assert.Equal(AggregationErrors.UnexpectedStep, Id(() => a.Agree(roster)));
        Assert.Throws<ArgumentException>(() => a.Mask(0, Disclosure.Unprotected(new Embeddings(new double[2]), "test")));
        Assert.Throws<ArgumentException>(() => a.Mask(0, Release(Draw(new Random(1), 2, 0.25))));
        a.Dispose();
        Assert.Throws<ObjectDisposedException>(() => a.Mask(0, Release(Draw(new Random(1), 2))));
    }
}
