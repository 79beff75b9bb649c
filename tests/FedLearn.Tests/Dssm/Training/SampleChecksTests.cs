using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Protocol;

namespace FedLearn.Tests.Dssm.Training;

public class SampleChecksTests
{
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
