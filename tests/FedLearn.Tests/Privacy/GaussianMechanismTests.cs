using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class GaussianMechanismTests
{
    private static readonly PartyCalibration Noise = HdpVflCalibration.Calibrate(new()
    {
        Family = GlmFamilyKind.Binomial,
        Rows = 12,
        Batches = 2,
        Epochs = 2,
        StepSize = 1,
        L2 = 0.001,
        WeightNorm = 1,
        ResidualClip = 1,
    }, Calibration.Tight, PartySide.Passive, 1, 1e-5);

    private static GaussianMechanism Create(InMemoryLedger? ledger = null, INoiseSource? noise = null) =>
        new(Noise, noise ?? new TestNoise(1, "clinic"), ledger ?? new InMemoryLedger(), "clinic", "abc");

    [Fact]
    public void Release_Values_AreRoundedToTheLatticeAndGetTheNoiseOfTheSource()
    {
        double[] values = [0.25, -1, 0, 0.9999];
        Released<Scores> released = Create().Release(new Scores(values), "training scores");

        double step = Noise.SigmaCharged / INoiseSource.LatticeScale;
        var noise = new int[4];
        new TestNoise(1, "clinic").Fill(noise);
        for (int i = 0; i < 4; i++)
            Assert.Equal(step * (Math.Round(values[i] / step) + noise[i]), released.Payload.Values.Span[i]);
        Assert.Equal(Protection.Noise, released.Protection);
        Assert.Equal("training scores", released.Name);
    }

    [Fact]
    public void Release_AnyValues_LieOnTheLattice()
    {
        // Floating-point noise would betray a value by its low bits; a multiple of the step cannot.
        GaussianMechanism mechanism = Create(noise: new CsprngNoise());
        double step = Noise.SigmaCharged / INoiseSource.LatticeScale;
        foreach (double y in mechanism.Release(new Scores(new double[10_000]), "s").Payload.Values.Span)
            Assert.Equal(y, step * Math.Round(y / step));
    }

    [Fact]
    public void Release_Float32_RoundsTheNoisyValue()
    {
        double[] values = [0.25, -1, 0, 0.9999];
        ReadOnlySpan<double> wide = Create().Release(new Residuals(values), "r").Payload.Values.Span;
        Residuals narrow = Create().Release(new Residuals(values, ElementType.Float32), "r").Payload;
        Assert.Equal(ElementType.Float32, narrow.ElementType);
        for (int i = 0; i < 4; i++)
            Assert.Equal((float)wide[i], narrow.Values.Span[i]);
    }

    [Fact]
    public void Release_WholeJob_ChargesMuAndThenRefuses()
    {
        var ledger = new InMemoryLedger();
        GaussianMechanism mechanism = Create(ledger);
        for (int t = 0; t < 4; t++)
            mechanism.Release(new Scores(new double[6]), "training scores");
        JobCharge sum = Assert.Single(((IPrivacyLedger)ledger).Summary());
        Assert.Equal(Noise.Mu, sum.Mu, 1e-15);
        Assert.Equal(("clinic", "abc", 4), (sum.Party, sum.JobDigest, sum.Releases));
        Assert.Equal([0, 1, 2, 3], ledger.Charges.Select(charge => charge.Index));

        var error = Assert.Throws<PrivacyRefusedException>(() => mechanism.Release(new Scores(new double[6]), "training scores"));
        Assert.Equal(PrivacyErrors.ReleasesSpent, error.Id);
        Assert.Equal(4, ledger.Charges.Count);
        Assert.Equal(4, mechanism.Released);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    public void Release_NotFinite_IsAnInternalFailureAndChargesNothing(double value)
    {
        var ledger = new InMemoryLedger();
        var error = Assert.Throws<InternalFailureException>(() => Create(ledger).Release(new Scores(new[] { 0, value }), "s"));
        Assert.Equal(PrivacyErrors.NotFinite, error.Id);
        Assert.Empty(ledger.Charges);
    }

    [Fact]
    public void Release_LedgerFails_NothingLeaves()
    {
        var mechanism = new GaussianMechanism(Noise, new TestNoise(1, "a"), new BrokenLedger(), "a", "b");
        Assert.Throws<IOException>(() => mechanism.Release(new Scores(new double[1]), "s"));
    }

    [Theory]
    [InlineData(6, 6)]
    [InlineData(3, 6)]
    [InlineData(9, 6)]
    public void Prefetch_AnyLength_DoesNotChangeResults(int first, int second)
    {
        GaussianMechanism plain = Create(), ahead = Create();
        foreach (int prefetch in new[] { first, second, first, second })
        {
            ahead.Prefetch(prefetch);
            Assert.Equal(plain.Release(new Scores(new double[6]), "s").Payload.Values.ToArray(), ahead.Release(new Scores(new double[6]), "s").Payload.Values.ToArray());
        }

        ahead.Prefetch(6);
        Assert.True(ahead.NoiseTime > TimeSpan.Zero);
    }

    [Fact]
    public void Release_Repeated_DrawsFreshNoise()
    {
        GaussianMechanism mechanism = Create();
        Assert.NotEqual(mechanism.Release(new Scores(new double[6]), "s").Payload.Values.ToArray(), mechanism.Release(new Scores(new double[6]), "s").Payload.Values.ToArray());
    }

    [Fact]
    public void Release_HugeValue_Saturates()
    {
        double[] values = [1e300, -1e300];
        ReadOnlySpan<double> noisy = Create().Release(new Scores(values), "s").Payload.Values.Span;
        Assert.InRange(noisy[0], 1, 1e15);
        Assert.InRange(noisy[1], -1e15, -1);
    }

    [Fact]
    public void Mechanism_CalibrationWithoutNoise_IsRefused() => Assert.Throws<ConfigurationException>(() =>
        new GaussianMechanism(Noise with { SigmaCharged = 0 }, new CsprngNoise(), new InMemoryLedger(), "a", "b"));

    private sealed class BrokenLedger : IPrivacyLedger
    {
        public IReadOnlyList<PrivacyCharge> Charges => [];

        public void Charge(PrivacyCharge charge) => throw new IOException();
    }
}
