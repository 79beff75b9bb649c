using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Privacy;

public class GaussianMechanismTests
{
    private static readonly NoiseCalibration Noise = new(0.3, 7.25, 4, 1);

    private static GaussianMechanism Create(INoiseSource? noise = null, IPrivacyReservation? reservation = null, NoiseCalibration? calibration = null,
        int latticeBits = GaussianMechanism.UsualLatticeBits) =>
        new(calibration ?? Noise, noise ?? new TestNoise(1, "clinic"), reservation ?? new KeptMessages(), latticeBits: latticeBits);

    [Theory]
    [InlineData(GaussianMechanism.FewestLatticeBits)]
    [InlineData(GaussianMechanism.UsualLatticeBits)]
    [InlineData(GaussianMechanism.MostLatticeBits)]
    public void Release_Values_AreRoundedToTheLatticeGetTheNoiseOfTheSourceAndAreRoundedToTheMessagesLattice(int latticeBits)
    {
        // Some together and a rest; two beyond the bound of 1.
        double[] values = [0.25, -1, 0, 0.9999, 1.5, -0.3, -40];
        Released<Scores> released = Create(latticeBits: latticeBits).Release(new Scores(values), "training scores");

        int steps = 1 << latticeBits;
        double fine = Noise.Sigma / INoiseSource.LatticeScale, step = Noise.Sigma / steps;
        var noise = new int[values.Length];
        new TestNoise(1, "clinic").Fill(noise);
        for (int i = 0; i < values.Length; i++)
            Assert.Equal(step * Math.Round((Math.Round(Math.Clamp(values[i], -1, 1) / fine) + noise[i]) * steps / INoiseSource.LatticeScale), released.Payload.Values.Span[i]);
        Assert.Equal((step, Protection.Noise, "training scores"), (released.Payload.Lattice!.Step, released.Protection, released.Name));
    }

    [Fact]
    public void Release_AnyValues_LieOnTheLattice()
    {
        // Floating-point noise would betray a value by its low bits; a multiple of the step cannot.
        GaussianMechanism mechanism = Create(new CsprngNoise());
        Assert.Equal(Noise.Sigma / 64, mechanism.Step);
        foreach (double y in mechanism.Release(new Scores(new double[10_000]), "s").Payload.Values.Span)
            Assert.Equal(y, mechanism.Step * Math.Round(y / mechanism.Step));
    }

    [Fact]
    public void Release_NoValues_IsAMessageOfThem()
    {
        var kept = new KeptMessages();
        Assert.Equal(0, Create(reservation: kept).Release(new Scores(Array.Empty<double>()), "s").Payload.Length);
        Assert.Equal(1, kept.Kept);
    }

    [Theory]
    [InlineData(1e-7, 1, 6, 31)]    // 64/1e-7 steps of value
    [InlineData(7.25, 1, 6, 11)]    // 12 deviations of noise are 768 steps
    [InlineData(1, 3.98, 6, 11)]    // 1,023 steps
    [InlineData(1, 4, 6, 12)]
    [InlineData(7.25, 1e3, 6, 15)]
    [InlineData(1, 3.9, 4, 9)]
    [InlineData(1e-7, 1, 24, 49)]   // 2^24/1e-7 steps of value
    [InlineData(7.25, 1, 24, 29)]   // 12 deviations of noise are 3 times 2^26 steps
    [InlineData(7.25, 1e3, 24, 33)]
    public void Release_Width_IsTheNarrowestForValueAndNoise(double sigma, double bound, int latticeBits, int bits)
    {
        NoiseCalibration calibration = new(1, sigma, 1, bound);
        LatticeVector lattice = Create(calibration: calibration, latticeBits: latticeBits).Release(new Residuals(new double[3]), "r").Payload.Lattice!;
        Assert.Equal(bits, lattice.Bits);
        Assert.Equal(sigma / (1 << latticeBits), lattice.Step);
        Assert.Equal(bits, GaussianMechanism.BitsOf(calibration, latticeBits));
    }

    /// <summary>What the coarser lattice of a message adds to its noise: a rounding error of at most half a step, whose square is 1/12 of that of the step on average.</summary>
    [Fact]
    public void Release_CoarserThanTheNoise_AddsATwelfthOfTheSquareOfAStep()
    {
        const int n = 1 << 18;
        NoiseCalibration calibration = new(1, 1, 1, 1);
        double[] values = [.. Enumerable.Range(0, n).Select(i => i / (double)n)];
        double[] Values(int latticeBits) => Create(calibration: calibration, latticeBits: latticeBits).Release(new Scores(values), "s").Payload.Values.ToArray();
        double[] errors = [.. Values(6).Zip(Values(24), (coarse, fine) => (coarse - fine) * 64)];
        Assert.All(errors, e => Assert.InRange(e, -0.5, 0.5));
        // Uniform errors: mean 0 and mean square 1/12, deviations of these sqrt(1/12/n) and sqrt(1/180/n); 6 of each, exceeded by chance with probability below 1e-8.
        Assert.InRange(errors.Average(), -6 * Math.Sqrt(1.0 / 12 / n), 6 * Math.Sqrt(1.0 / 12 / n));
        Assert.InRange(errors.Average(e => e * e) - 1.0 / 12, -6 * Math.Sqrt(1.0 / 180 / n), 6 * Math.Sqrt(1.0 / 180 / n));
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
    public void Release_NextLengthSaid_DrawsWhatTheRunNeedsAndNoMore()
    {
        var noise = new CountingNoise();
        GaussianMechanism mechanism = Create(noise), other = Create();
        for (int t = 0; t < Noise.Releases; t++)
            Assert.Equal(other.Release(new Scores(new double[6]), "s").Payload.Values.ToArray(), mechanism.Release(new Scores(new double[6]), "s", nextLength: 6).Payload.Values.ToArray());
        Assert.Equal(6 * Noise.Releases, noise.Draws);
    }

    /// <summary>What is left of draws that were made together moves to the front of their memory, over itself where it is most of them.</summary>
    [Fact]
    public void Release_LengthsThatDiffer_UseEveryDrawOnceAndInOrder()
    {
        NoiseCalibration calibration = new(1, 1, 400, 1);
        GaussianMechanism ahead = Create(new TestNoise(3, "clinic"), calibration: calibration), plain = Create(new TestNoise(3, "clinic"), calibration: calibration);
        int[] lengths = [700, 701, 30_000, 9, 20_000, 32_768, 1, 12_345];
        for (int t = 0; t < 60; t++)
        {
            double[] values = new double[lengths[t % lengths.Length]];
            Assert.Equal(plain.Release(new Scores(values), "s").Payload.Values.ToArray(),
                ahead.Release(new Scores(values), "s", nextLength: lengths[(t + 1) % lengths.Length]).Payload.Values.ToArray());
        }
    }

    private sealed class CountingNoise : INoiseSource
    {
        private readonly TestNoise _inner = new(1, "clinic");

        public int Draws { get; private set; }

        public bool IsSecure => false;

        public void Fill(Span<int> noise)
        {
            Draws += noise.Length;
            _inner.Fill(noise);
        }
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
        double[] values = [0.25, -1, 0, 0.9999], released = Create(latticeBits: GaussianMechanism.MostLatticeBits).Release(new Scores(values), "s").Payload.Values.ToArray();
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
    public void Release_LengthsForetoldOrNot_UsesDrawsInOrderAndEachOnce() => Prop.ForAll(ArbMap.Default.ArbFor<(byte Length, byte Next, bool Prefetches)[]>(), messages =>
    {
        var calibration = new NoiseCalibration(0.3, 1, Math.Max(1, messages.Length), 1);
        GaussianMechanism mechanism = Create(new Numbers(), calibration: calibration, latticeBits: GaussianMechanism.MostLatticeBits);
        int drawn = 0;
        foreach ((byte most, byte next, bool prefetches) in messages)
        {
            int length = most + 1;
            if (prefetches)
                mechanism.Prefetch(next);
            ReadOnlyMemory<double> values = mechanism.Release(new Scores(new double[length]), "s", next).Payload.Values;
            Assert.Equal(Enumerable.Range(drawn + 1, length).Select(i => (double)i), values.ToArray().Select(value => value / mechanism.Step));
            drawn += length;
        }
    }).QuickCheckThrowOnFailure();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Release_GeneratorThatFailedOnce_NeverLeavesAValueWithoutNoise(int failing)
    {
        var noise = new Numbers { Failing = failing };
        GaussianMechanism mechanism = Create(noise, calibration: new(0.3, 1, 8, 1), latticeBits: GaussianMechanism.MostLatticeBits);
        // Messages that grow: draws at hand, drawn ahead and drawn when they are needed. Whether it is a release that meets the failure depends on the drawing thread.
        List<double> released = [];
        for (int length = 1; mechanism.Released < 8;)
        {
            try
            {
                released.AddRange(mechanism.Release(new Scores(new double[length]), "s", length).Payload.Values.ToArray());
                length++;
            }
            catch (InvalidOperationException)
            {
            }
        }

        Assert.Equal(Enumerable.Range(1, 36).Select(i => (double)i), released.Select(value => value / mechanism.Step));
        Assert.Equal(0, noise.Failing);
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
        Assert.Throws<ArgumentOutOfRangeException>(() => Create(latticeBits: 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => Create(latticeBits: 25));
        Assert.Equal(PrivacyErrors.NoiseTooSmall, Assert.Throws<PrivacyRefusedException>(() => Create(calibration: Noise with { Sigma = 1e-9 })).Id);
    }

    /// <summary>1, 2, 3 and so on; the call whose number is <see cref="Failing"/> spoils what it was given and fails.</summary>
    private sealed class Numbers : INoiseSource
    {
        private int _last;

        public int Failing { get; set; }

        public bool IsSecure => false;

        public void Fill(Span<int> destination)
        {
            if (Failing > 0 && --Failing == 0)
            {
                destination.Clear();
                throw new InvalidOperationException("no entropy");
            }

            for (int i = 0; i < destination.Length; i++)
                destination[i] = ++_last;
        }
    }

    private sealed class KeptMessages : IPrivacyReservation
    {
        public List<byte[]> Messages { get; } = [];

        public bool Broken { get; init; }

        public string RunId => "run";

        public int Kept => Messages.Count;

        public byte[]? Find(int index) => index < Messages.Count ? Messages[index] : null;

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
