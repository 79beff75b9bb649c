using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Aggregation;

public class AdditiveMaskTests
{
    [Fact]
    public void Of_AnyValues_AreTheNearestMultiplesOfTheStep() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new Random(seed);
        double bound = Math.Pow(2, random.Next(-10, 20)), step = Math.Pow(2, -random.Next(1, 20)) * (1 + random.NextDouble());
        double[] values = [.. Enumerable.Range(0, random.Next(40)).Select(_ => (random.NextDouble() * 2 - 1) * bound), bound, -bound, 0];
        var lattice = LatticeVector.Of(values, step, bound);
        long[] expected = [.. values.Select(value => (long)Math.Round(value / step))];
        Assert.Equal(expected, lattice.Integers());
        Assert.Equal(expected.Select(integer => step * integer), lattice.Values());
        Assert.NotNull(LatticeVector.Restore(step, lattice.Bits, lattice.Length, lattice.Packed));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(100)));

    [Fact]
    public void Of_OneLastPlaceBeyondTheBound_IsAccepted() =>
        Assert.Equal([1 << 20], LatticeVector.Of([Math.BitIncrement(1.0)], 1.0 / (1 << 20), 1).Integers());

    [Theory]
    [InlineData(1.000001, "FL6144")]
    [InlineData(-2.0, "FL6144")]
    [InlineData(double.NaN, "FL6300")]
    [InlineData(double.NegativeInfinity, "FL6300")]
    public void Of_ValueThatDoesNotFit_IsRefused(double value, string id) =>
        Assert.Equal(id, Assert.Throws<InternalFailureException>(() => LatticeVector.Of([0, value], 1.0 / (1 << 20), 1)).Id);

    [Theory]
    [InlineData(0, 1)]
    [InlineData(-1, 1)]
    [InlineData(double.NaN, 1)]
    [InlineData(1, 0)]
    [InlineData(1, -1)]
    [InlineData(1, double.PositiveInfinity)]
    [InlineData(1, 4503599627370496)]
    public void Of_StepOrBoundOutOfRange_IsRefused(double step, double bound) =>
        Assert.Equal(PrivacyErrors.InvalidNumber, Assert.Throws<ConfigurationException>(() => LatticeVector.Of([], step, bound)).Id);

    [Fact]
    public void Apply_AnyMask_IsTheSumModuloTwoToThe64()
    {
        var lattice = LatticeVector.Of([1, -1, 0.5], 0.5, 1);
        Released<MaskedVector> masked = AdditiveMask.Apply(Disclosure.Unprotected(new ModelUpdate(lattice), "test"), [ulong.MaxValue, 1, 7], "masked");
        Assert.Equal([1, -1, 8], AggregationCase.Words(masked.Payload));
        Assert.Equal((0.5, Protection.None, "masked"), (masked.Payload.Step, masked.Protection, masked.Name));
    }

    [Fact]
    public void Apply_NoLatticeOrOtherLength_IsRefused()
    {
        Assert.Throws<ArgumentException>(() => AdditiveMask.Apply(Disclosure.Unprotected(new ModelUpdate(new double[2]), "test"), new ulong[2], "masked"));
        Assert.Throws<ArgumentException>(() => AdditiveMask.Apply(Disclosure.Unprotected(new ModelUpdate(LatticeVector.Of(new double[2], 1, 1)), "test"), new ulong[3], "masked"));
    }
}
