using System.Numerics;
using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Aggregation;

public class ShamirSharingTests
{
    private static readonly BigInteger Prime = (BigInteger.One << 521) - 1;

    private static readonly Gen<(int Threshold, int Shares, int Seed)> Sizes =
        from shares in Gen.Choose(1, 12)
        from threshold in Gen.Choose(1, shares)
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (threshold, shares, seed);

    private static BigInteger Share(byte[] shares, int x) => new(shares.AsSpan((x - 1) * ShamirSharing.ShareBytes, ShamirSharing.ShareBytes), isUnsigned: true);

    private static ReadOnlyMemory<byte>[] Pick(byte[] shares, int[] points) =>
        [.. points.Select(x => (ReadOnlyMemory<byte>)shares.AsMemory((x - 1) * ShamirSharing.ShareBytes, ShamirSharing.ShareBytes))];

    private static byte[] Secret(Random random)
    {
        byte[] secret = new byte[ShamirSharing.SecretBytes];
        random.NextBytes(secret);
        return random.Next(8) switch { 0 => new byte[32], 1 => [.. Enumerable.Repeat((byte)0xFF, 32)], _ => secret };
    }

    // The slow reference: the polynomial through the shares, at any x.
    private static BigInteger Interpolate(byte[] shares, int[] points, int at)
    {
        BigInteger sum = 0;
        foreach (int i in points)
        {
            BigInteger term = Share(shares, i);
            foreach (int j in points.Where(j => j != i))
            {
                BigInteger below = ((i - j) % Prime + Prime) % Prime;
                term = term * (at - j) % Prime * BigInteger.ModPow(below, Prime - 2, Prime) % Prime;
            }

            sum += term;
        }

        return (sum % Prime + Prime) % Prime;
    }

    [Fact]
    public void Combine_AnyThresholdOfTheShares_GivesTheSecret() => Prop.ForAll(Sizes.ToArbitrary(), size =>
    {
        var random = new Random(size.Seed);
        byte[] secret = Secret(random), shares = ShamirSharing.Split(secret, size.Threshold, size.Shares), opened = new byte[32];
        int[] points = [.. Enumerable.Range(1, size.Shares)];
        random.Shuffle(points);
        points = points[..size.Threshold];
        Assert.True(ShamirSharing.Combine(ShamirSharing.Coefficients(points), Pick(shares, points), opened));
        Assert.Equal(secret, opened);
        Assert.Equal(new BigInteger(secret, isUnsigned: true), Interpolate(shares, points, 0));
        Assert.All(points, x => Assert.True(ShamirSharing.IsShare(Pick(shares, [x])[0].Span)));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)));

    [Fact]
    public void Split_AllShares_LieOnOnePolynomialOfDegreeBelowTheThreshold() => Prop.ForAll(Sizes.ToArbitrary(), size =>
    {
        byte[] shares = ShamirSharing.Split(Secret(new Random(size.Seed)), size.Threshold, size.Shares);
        int[] first = [.. Enumerable.Range(1, size.Threshold)];
        for (int x = 1; x <= size.Shares; x++)
            Assert.Equal(Share(shares, x), Interpolate(shares, first, x));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(30)));

    // With one share less every secret is possible: for any other secret there is one polynomial through these shares. What is combined is then no secret, but with
    // probability 2^-265.
    [Fact]
    public void Combine_OneShareLess_GivesNoSecret() => Prop.ForAll(Sizes.Where(size => size.Threshold > 1).ToArbitrary(), size =>
    {
        byte[] shares = ShamirSharing.Split(Secret(new Random(size.Seed)), size.Threshold, size.Shares);
        int[] points = [.. Enumerable.Range(1, size.Threshold - 1)];
        Assert.False(ShamirSharing.Combine(ShamirSharing.Coefficients(points), Pick(shares, points), new byte[32]));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)));

    // False alarm: a share of another polynomial gives a number below 2^256 with probability 2^-265.
    [Fact]
    public void Combine_ShareOfAnotherPolynomial_IsFound() => Prop.ForAll(Sizes.Where(size => size.Threshold > 1).ToArbitrary(), size =>
    {
        var random = new Random(size.Seed);
        byte[] secret = Secret(random);
        byte[] shares = ShamirSharing.Split(secret, size.Threshold, size.Shares), others = ShamirSharing.Split(secret, size.Threshold, size.Shares);
        int[] points = [.. Enumerable.Range(1, size.Threshold)];
        ReadOnlyMemory<byte>[] mixed = Pick(shares, points);
        int changed = random.Next(size.Threshold);
        mixed[changed] = Pick(others, points)[changed];
        Assert.False(ShamirSharing.Combine(ShamirSharing.Coefficients(points), mixed, new byte[32]));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)));

    [Fact]
    public void Split_SameSecretTwice_DrawsAnotherPolynomial()
    {
        byte[] secret = RandomNumberGenerator.GetBytes(32);
        Assert.NotEqual(ShamirSharing.Split(secret, 3, 5), ShamirSharing.Split(secret, 3, 5));
    }

    [Fact]
    public void Split_ManyShares_AgreesWithTheReferenceAtItsEnd()
    {
        byte[] secret = [.. Enumerable.Repeat((byte)0xFF, 32)], shares = ShamirSharing.Split(secret, 3, 65535), opened = new byte[32];
        int[] points = [1, 32768, 65535];
        Assert.True(ShamirSharing.Combine(ShamirSharing.Coefficients(points), Pick(shares, points), opened));
        Assert.Equal(secret, opened);
        Assert.Equal(Share(shares, 65534), Interpolate(shares, points, 65534));
    }

    [Theory]
    [InlineData(0, 3)]
    [InlineData(4, 3)]
    [InlineData(2, 65536)]
    public void Split_ImpossibleSizes_AreRefused(int threshold, int shares) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => ShamirSharing.Split(new byte[32], threshold, shares));

    [Fact]
    public void IsShare_ThePrimeAndAbove_IsFalse()
    {
        byte[] prime = [.. Enumerable.Repeat((byte)0xFF, 65), 0x01];
        Assert.False(ShamirSharing.IsShare(prime));
        prime[0] = 0xFE;
        Assert.True(ShamirSharing.IsShare(prime));
        Assert.False(ShamirSharing.IsShare([.. Enumerable.Repeat((byte)0xFF, 66)]));
        Assert.False(ShamirSharing.IsShare(prime.AsSpan(1)));
    }
}
