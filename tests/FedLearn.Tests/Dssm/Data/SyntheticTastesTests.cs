using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Tests.Data;

namespace FedLearn.Tests.Dssm.Data;

public sealed class SyntheticTastesTests
{
    private static readonly RatingSet Default = SyntheticTastes.Generate();

    [Fact]
    public void Generate_Default_HasTheDocumentedShape()
    {
        Assert.Equal((1500, 400), (Default.Users.Count, Default.Items.Count));
        Assert.InRange(Default.Ratings.Count, 24_000, 36_000);
        Assert.InRange(Default.Ratings.Count(r => r.IsPositive) / (double)Default.Ratings.Count, 0.45, 0.65);
        Assert.All(Default.Ratings.CountBy(r => r.User), user => Assert.InRange(user.Value, 12, 200));
        Assert.Equal(Default.Ratings.Count, Default.Ratings.DistinctBy(r => (r.User, r.Item)).Count());
        Assert.True(Default.Ratings.Zip(Default.Ratings.Skip(1)).Count(pair => pair.First.User == pair.Second.User && pair.First.Time == pair.Second.Time) > 1000);       // ties, as in real data
    }

    [Fact]
    public void Generate_SameSeed_GivesTheSameSetAndAnotherSeedAnother()
    {
        Assert.Equal(Default.Ratings, SyntheticTastes.Generate(new SyntheticTastesOptions()).Ratings);
        Assert.Equal(Default.Items.Select(i => i.Title), SyntheticTastes.Generate().Items.Select(i => i.Title));
        Assert.NotEqual(Default.Ratings, SyntheticTastes.Generate(new SyntheticTastesOptions { Seed = 1 }).Ratings);
    }

    [Theory]
    [InlineData(9, 400, 50)]
    [InlineData(600, 49, 50)]
    [InlineData(600, 400, 11)]
    [InlineData(100_001, 400, 50)]
    public void Generate_SizeOutOfRange_IsRefused(int users, int items, int ratings) => ErrorAssert.Throws<ConfigurationException>(DssmDataErrors.InvalidTastes, "synthetic", null,
        () => SyntheticTastes.Generate(new SyntheticTastesOptions { Users = users, Items = items, RatingsPerUser = ratings }));
}
