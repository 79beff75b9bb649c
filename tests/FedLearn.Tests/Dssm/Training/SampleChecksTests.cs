using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Dssm.Training;

public class SampleChecksTests
{
    [Theory]
    [InlineData(SampleTime.Exact, 90_000, 4)]
    [InlineData(SampleTime.Day, 86_400, 0)]
    public void Pack_UserWhomTheViewLacks_HasNoMoment(SampleTime precision, long time, int sequence)
    {
        Interaction[] samples = [new(0, 0, new Moment(70_000, 3), EventRole.Train), new(1, 0, new Moment(90_000, 4), EventRole.Train)];
        byte[] keys = SampleExchange.Pack(samples, [-1, 0], hasMoments: true, precision);
        Assert.Equal([0xFF, 0xFF, 0xFF, 0xFF, .. new byte[12]], keys[..16]);
        Assert.Equal((0, time, sequence), (BitConverter.ToInt32(keys, 16), BitConverter.ToInt64(keys, 20), BitConverter.ToInt32(keys, 28)));
        Assert.Equal([0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], SampleExchange.Pack(samples, [-1, 0], hasMoments: false, precision));
    }

    [Theory]
    [InlineData(7, null)]
    [InlineData(8, DssmErrors.SamplesNotAllowed)]
    public void Check_MoreTrainingSamplesOfAUserThanTheCap_NamesThePeer(int named, string? id)
    {
        DssmJob job = SmallRecommendation.Job(privacy: new() { Noise = DssmNoise.Both, Unit = EmbeddingUnit.User, MaxSamplesPerUser = 7 });
        // Samples of users that the view lacks are nobody's here, and those of other sets are not trained on.
        int[] users = [.. Enumerable.Repeat(-1, 9), .. Enumerable.Repeat(3, named), .. Enumerable.Repeat(4, 7)], other = [.. Enumerable.Repeat(3, 9)];
        var samples = new ViewSamples([[.. users.Select((u, i) => u < 0 ? -1 : i)], [.. other.Select((_, i) => 100 + i)]], [users, other], null!);
        Exception? error = Record.Exception(() => SampleChecks.Check(job, samples, hasMoments: true, "service"));
        Assert.Equal(id, (error as PeerException)?.Id);
        Assert.Equal(id is null, error is null);
        SampleChecks.Check(job with { Privacy = job.Privacy with { Noise = DssmNoise.None } }, samples, hasMoments: true, "service");
    }

    // An honest active party refuses such a training itself (FL3145); a view that believed another would divide by its number of batches.
    [Theory]
    [InlineData(DssmNoise.None)]
    [InlineData(DssmNoise.Both)]
    public void Check_NoTrainingSample_NamesThePeer(DssmNoise noise)
    {
        DssmJob job = SmallRecommendation.Job();
        var samples = new ViewSamples([[], [0]], [[], [0]], null!);
        var error = Assert.Throws<PeerException>(() => SampleChecks.Check(job with { Privacy = job.Privacy with { Noise = noise } }, samples, hasMoments: true, "service"));
        Assert.Equal(ProtocolErrors.IllegalValue, error.Id);
        Assert.Contains("'service'", error.Message, StringComparison.Ordinal);
    }
}
