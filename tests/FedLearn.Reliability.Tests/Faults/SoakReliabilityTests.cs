using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>The soak of <c>eng/soak.sh</c>, for 20 seconds, or two minutes with the full counts.</summary>
[Collection(nameof(NetworkAlone))]
public sealed class SoakReliabilityTests
{
    [Fact]
    public async Task Soak_SessionsOverAndOver_NoneIsWrongAndNothingGrows()
    {
        const int seed = 7;
        TimeSpan length = TestCounts.Scale > 1 ? TimeSpan.FromMinutes(2) : TimeSpan.FromSeconds(20);
        var log = new ReliabilityLog(FormattableString.Invariant($"sessions of a soak of {length.TotalSeconds:0} s, one in eight with a fault of the network"));
        SoakReport report = await new Soak(seed, line => TestContext.Current.TestOutputHelper?.WriteLine(line)).RunAsync(length);
        Assert.Null(report.Wrong);
        Assert.True(report.Sessions > report.Faulty, $"Hardly anything was done: {report}");
        log.Passed(report.Sessions, report.ToString());
    }
}
