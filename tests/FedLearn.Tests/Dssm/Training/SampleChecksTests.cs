using FedLearn.Diagnostics;
using FedLearn.Dssm;
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

    // An honest label party refuses such a training itself (FL3145); a view that believed another would divide by its number of batches.
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
