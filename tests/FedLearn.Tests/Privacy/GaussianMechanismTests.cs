using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class GaussianMechanismTests
{
    private static readonly NoiseCalibration Noise = new(0.3, 7.25, 4, 1);

    private static GaussianMechanism Create(INoiseSource? noise = null, IPrivacyReservation? reservation = null, NoiseCalibration? calibration = null) =>
        new(calibration ?? Noise, noise ?? new TestNoise(1, "clinic"), reservation ?? new KeptMessages());

    [Fact]
    public void Release_Values_AreRoundedToTheLatticeAndGetTheNoiseOfTheSource()
    {
        double[] values = [0.25, -1, 0, 0.9999];
        Released<Scores> released = Create().Release(new Scores(values), "training scores");

        double step = Noise.Sigma / INoiseSource.LatticeScale;
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
        GaussianMechanism mechanism = Create(new CsprngNoise());
        double step = Noise.Sigma / INoiseSource.LatticeScale;
        foreach (double y in mechanism.Release(new Scores(new double[10_000]), "s").Payload.Values.Span)
            Assert.Equal(y, step * Math.Round(y / step));
    }

    [Theory]
    [InlineData(1e-7, 1, 49)]     // 2^24/1e-7 steps of value
    [InlineData(7.25, 1, 30)]     // 16 deviations of noise are 2^28 steps
    [InlineData(7.25, 1e3, 33)]
    public void Release_Width_IsTheNarrowestForValueAndNoise(double sigma, double bound, int bits)
    {
        LatticeVector lattice = Create(calibration: new(1, sigma, 1, bound)).Release(new Residuals(new double[3]), "r").Payload.Lattice!;
        Assert.Equal(bits, lattice.Bits);
        Assert.Equal(sigma / INoiseSource.LatticeScale, lattice.Step);
    }

    [Fact]
    public void Release_WholeJob_KeepsEachMessageAndThenRefuses()
    {
        var kept = new KeptMessages();
        GaussianMechanism mechanism = Create(reservation: kept);
        for (int t = 0; t < 4; t++)
            Assert.Equal(mechanism.Release(new Scores(new double[6]), "training scores").Payload.Lattice!.Packed.ToArray(), kept.Messages[t]);

        var error = Assert.Throws<PrivacyRefusedException>(() => mechanism.Release(new Scores(new double[6]), "training scores"));
        Assert.Equal(PrivacyErrors.ReleasesSpent, error.Id);
        Assert.Throws<PrivacyRefusedException>(() => mechanism.Perturb(new double[6], "gradient"));
        Assert.Equal((4, 4), (kept.Messages.Count, mechanism.Released));
    }

    [Fact]
    public void BeforeKeeping_NewAndKeptMessages_IsCalledBeforeEachThatIsNotKeptYet()
    {
        var reservation = new KeptMessages();
        var kept = new List<int>();
        GaussianMechanism first = Create(reservation: reservation);
        first.BeforeKeeping = () => kept.Add(reservation.Kept);
        first.Release(new Scores(new[] { 0.5, 0.25 }), "s");
        first.Release(new Scores(new[] { 0.5, 0.25 }), "s");
        Assert.Equal([0, 1], kept);
        GaussianMechanism again = Create(reservation: reservation);
        again.BeforeKeeping = () => kept.Add(-1);
        again.Release(new Scores(new[] { 0.5, 0.25 }), "s");
        Assert.Equal([0, 1], kept);
    }

    [Fact]
    public void Release_KeptMessage_ComesBackAsItWasWhateverTheValue()
    {
        var kept = new KeptMessages();
        double[] first = Create(reservation: kept).Release(new Scores(new[] { 0.5, -0.25 }), "s").Payload.Values.ToArray();
        GaussianMechanism restarted = Create(new CsprngNoise(), kept);
        Assert.Equal(first, restarted.Release(new Scores(new[] { -1.0, 1 }), "s").Payload.Values.ToArray());
        Assert.NotEqual(first, restarted.Release(new Scores(new[] { -1.0, 1 }), "s").Payload.Values.ToArray());
    }

    [Fact]
    public void Release_KeptMessageOfAnotherShape_IsAnInternalFailure()
    {
        var kept = new KeptMessages();
        Create(reservation: kept).Release(new Scores(new double[2]), "s");
        var error = Assert.Throws<InternalFailureException>(() => Create(reservation: kept).Release(new Scores(new double[3]), "s"));
        Assert.Equal(PrivacyErrors.NotTheKeptMessage, error.Id);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    public void Release_NotFinite_IsAnInternalFailureAndKeepsNothing(double value)
    {
        var kept = new KeptMessages();
        var error = Assert.Throws<InternalFailureException>(() => Create(reservation: kept).Release(new Scores(new[] { 0, value }), "s"));
        Assert.Equal(PrivacyErrors.NotFinite, error.Id);
        Assert.Empty(kept.Messages);
    }

    [Fact]
    public void Release_MessageCannotBeKept_NothingLeaves()
    {
        GaussianMechanism mechanism = Create(reservation: new KeptMessages { Broken = true });
        Assert.Throws<IOException>(() => mechanism.Release(new Scores(new double[1]), "s"));
        Assert.Equal(0, mechanism.Released);
    }

    [Fact]
    public void Perturb_Values_GetTheNoiseThatAReleaseWouldGet()
    {
        double[] values = [0.25, -1, 0, 0.9999], released = Create().Release(new Scores(values), "s").Payload.Values.ToArray();
        Create().Perturb(values, "gradient");
        Assert.Equal(released, values);
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
            Assert.Equal(plain.Release(new Scores(new double[6]), "s").Payload.Values.ToArray(), ahead.Release(new Scores(new double[6]), "s", nextLength: second).Payload.Values.ToArray());
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
    public void Release_ValueBeyondItsBound_CountsAsTheBound()
    {
        double[] huge = [1e300, -1e300], bound = [1, -1];
        Assert.Equal(Create().Release(new Scores(bound), "s").Payload.Values.ToArray(), Create().Release(new Scores(huge), "s").Payload.Values.ToArray());
    }

    [Fact]
    public void Mechanism_CalibrationWithoutNoise_IsRefused()
    {
        Assert.Throws<ConfigurationException>(() => Create(calibration: Noise with { Sigma = 0 }));
        Assert.Throws<ConfigurationException>(() => Create(calibration: Noise with { ValueBound = double.NaN }));
        Assert.Equal(PrivacyErrors.NoiseTooSmall, Assert.Throws<PrivacyRefusedException>(() => Create(calibration: Noise with { Sigma = 1e-9 })).Id);
    }

    private sealed class KeptMessages : IPrivacyReservation
    {
        public List<byte[]> Messages { get; } = [];

        public bool Broken { get; init; }

        public string RunId => "run";

        public int Kept => Messages.Count;

        public ReadOnlyMemory<byte>? Find(int index) => index < Messages.Count ? Messages[index] : default(ReadOnlyMemory<byte>?);

        public void Keep(int index, ReadOnlySpan<byte> message)
        {
            if (Broken)
                throw new IOException();
            Assert.Equal(Messages.Count, index);
            Messages.Add(message.ToArray());
        }

        public void Settle(double share) { }

        public void Dispose() { }
    }
}
