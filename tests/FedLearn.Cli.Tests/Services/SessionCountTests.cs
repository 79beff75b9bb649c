using FedLearn.Cli.Services;
using FedLearn.Diagnostics;
using FedLearn.Testing;

namespace FedLearn.Cli.Tests.Services;

public sealed class SessionCountTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly ManualClock _clock = new();

    private string File => Path.Combine(_folder.Path, "telco.ledger.db.sessions");

    public void Dispose() => _folder.Dispose();

    // Each as after a restart.
    private void Take(int most = 2, string job = "credit") => new SessionCount(File, job, most, _clock).Take();

    private void Refused(int most = 2, string job = "credit") =>
        Assert.Equal(ServiceErrors.TooManySessions, Assert.Throws<PeerException>(() => Take(most, job)).Id);

    [Fact]
    public void Take_AsManyAsMay_RefusesTheNextUntilADayHasPassed()
    {
        Take();
        _clock.Advance(TimeSpan.FromHours(10));
        Take();
        Refused();
        _clock.Advance(TimeSpan.FromHours(14) - TimeSpan.FromTicks(1));
        Refused();
        _clock.Advance(TimeSpan.FromTicks(1));
        Take(); // the first one is a day old
        Refused();
        Take(job: "churn"); // another job has a count of its own
        Take(most: 3);
    }

    [Fact]
    public void Look_AfterARestart_KnowsUntilWhenThereIsNoRoom()
    {
        var count = new SessionCount(File, "credit", 2, _clock);
        count.Look();
        Assert.True(count.FullUntil < _clock.GetUtcNow());
        DateTimeOffset first = _clock.GetUtcNow();
        Take();
        _clock.Advance(TimeSpan.FromHours(1));
        Take();
        count.Look();
        Assert.Equal(first + SessionCount.Window, count.FullUntil);
    }

    [Fact]
    public void Take_ClockSetBack_StillCounts()
    {
        _clock.Advance(TimeSpan.FromDays(2));
        Take();
        Take();
        Assert.Equal(ServiceErrors.TooManySessions, Assert.Throws<PeerException>(() => new SessionCount(File, "credit", 2, new ManualClock()).Take()).Id);
    }

    [Fact]
    public void Take_LineCutShortByACrash_IsOfASessionThatNeverBegan()
    {
        Take();
        System.IO.File.AppendAllText(File, "1970-01-01T00:00:0");
        Take();
        Refused();
        Assert.Equal(2, System.IO.File.ReadAllLines(File).Length);
    }

    [Fact]
    public void Take_FileThatSomebodyChanged_IsRefused()
    {
        Take();
        System.IO.File.AppendAllText(File, "not a line of ours\n");
        Assert.Equal(ServiceErrors.CountUnusable, Assert.Throws<ConfigurationException>(() => Take(100)).Id);
        System.IO.File.Delete(File);
        Directory.CreateDirectory(File);
        Assert.Equal(ServiceErrors.CountUnusable, Assert.Throws<ConfigurationException>(() => Take(100)).Id);
    }

    [Fact]
    public void Take_ManyDays_KeepsTheFileShortAndHasNoNamesInIt()
    {
        for (int day = 0; day < 400; day++)
        {
            Take(job: "credit of the north");
            _clock.Advance(TimeSpan.FromDays(1));
        }

        string[] lines = System.IO.File.ReadAllLines(File);
        Assert.InRange(lines.Length, 1, 130);
        Assert.DoesNotContain(lines, l => l.Contains("credit", StringComparison.Ordinal));
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void Take_FileThatIsShortened_ReplacesWhatACrashLeftAndKeepsTheCountOfTheDay()
    {
        for (int i = 0; i < 100; i++)
            Take(most: 1000);
        _clock.Advance(SessionCount.Window);
        System.IO.File.WriteAllText(File + ".new", "what a crash left");
        Take();
        Assert.Single(System.IO.File.ReadAllLines(File));
        Assert.Single(Directory.GetFiles(_folder.Path));
        Take();
        Refused();
    }

    [Fact]
    public void Take_AtTheSameTime_NeverTooMany()
    {
        int taken = 0, refused = 0;
        Parallel.For(0, 40, _ =>
        {
            try
            {
                Take(most: 10);
                Interlocked.Increment(ref taken);
            }
            catch (PeerException)
            {
                Interlocked.Increment(ref refused);
            }
        });
        Assert.Equal((10, 30), (taken, refused));
    }
}
