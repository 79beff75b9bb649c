using FedLearn.Cli.Serving;

namespace FedLearn.Cli.Tests.Serving;

public class LatencyWindowTests
{
    private sealed class Clock : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now;
    }

    [Fact]
    public void Percentiles_NearestRank_OfTheLastMinuteOnly()
    {
        var clock = new Clock();
        var window = new LatencyWindow(clock, capacity: 100);
        Assert.All(window.Percentiles(0.5, 1), p => Assert.True(double.IsNaN(p)));
        for (int i = 150; i > 0; i--)
            window.Add(i); // the first 50, the large ones, fall out
        Assert.Equal([50, 90, 99, 100, 1], window.Percentiles(0.5, 0.9, 0.99, 1, 0.001));
        clock.Now = TimeSpan.FromSeconds(60).Ticks;
        window.Add(7); // takes the place of the oldest, 100
        Assert.Equal([99], window.Percentiles(1));
        clock.Now += 1;
        Assert.Equal([7, 7], window.Percentiles(0.01, 1));
    }
}
