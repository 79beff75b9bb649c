using FedLearn.Cli.Services;
using FedLearn.Diagnostics;
using FedLearn.Testing;

namespace FedLearn.Cli.Tests.Services;

public sealed class RefusalLogTests
{
    [Fact]
    public void Tell_AgainAndAgain_WritesTheFirstAndHowManyMoreThereWere()
    {
        var clock = new ManualClock();
        var lines = new List<string>();
        using (var log = new RefusalLog(lines.Add, clock))
        {
            for (int i = 0; i < 500; i++)
                log.Tell("telco", new PeerException("FL4005", "here", "it is so.", "Mend it."));
            clock.Advance(TimeSpan.FromMinutes(1));
            for (int i = 0; i < 500; i++)
                log.Tell($"peer {i}", new PeerException("FL4006", "here", "it is so.", "Mend it."));
        }

        Assert.Equal([.. Enumerable.Repeat("refused 'telco': it is so. (FL4005)", 3), "refused 'telco' 497 more times within a minute (FL4005)",
            .. Enumerable.Range(0, 20).Select(i => $"refused 'peer {i}': it is so. (FL4006)"), "refused others 480 times within a minute"], lines);
    }
}
