using FedLearn.Diagnostics;
using FedLearn.Testing;

namespace FedLearn.Tests.Diagnostics;

public sealed class RefusalQuotaTests
{
    private readonly ManualClock _clock = new();
    private readonly List<RefusalsLeftOut> _told = [];

    private RefusalQuota New() => new(_clock, _told.Add);

    [Fact]
    public void Admits_OnePeerAgainAndAgain_WritesTheFirstOfAMinuteAndCountsTheOthers()
    {
        using RefusalQuota quota = New();
        for (int minute = 0; minute < 3; minute++)
        {
            _told.Clear();
            Assert.Equal(RefusalQuota.EachPerMinute, Enumerable.Range(0, 1000).Count(_ => quota.Admits("telco", "FL4005")));
            Assert.True(quota.Admits("telco", "FL4006")); // another cause
            Assert.True(quota.Admits("shop", "FL4005"));
            _clock.Advance(TimeSpan.FromMinutes(1) - TimeSpan.FromTicks(1));
            Assert.False(quota.Admits("telco", "FL4005"));
            Assert.Empty(_told);
            _clock.Advance(TimeSpan.FromTicks(1));
            Assert.Equal([new RefusalsLeftOut("telco", "FL4005", 1001 - RefusalQuota.EachPerMinute)], _told);
        }
    }

    [Fact]
    public void Admits_InventedNames_WritesNoMoreThanAllOfAMinuteAndRemembersNobodyElse()
    {
        using RefusalQuota quota = New();
        Assert.Equal(RefusalQuota.AllPerMinute, Enumerable.Range(0, 10_000).Count(i => quota.Admits($"peer {i}", "FL4005")));
        Assert.False(quota.Admits("peer 0", "FL4005")); // the first of its own, when the log had its share
        _clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal([new RefusalsLeftOut("peer 0", "FL4005", 1), new RefusalsLeftOut(null, null, 10_000 - RefusalQuota.AllPerMinute)], _told);
        Assert.True(quota.Admits("peer 9999", "FL4005"));
    }

    [Fact]
    public void Admits_NothingLeftOut_SaysNothing()
    {
        using RefusalQuota quota = New();
        for (int i = 0; i < RefusalQuota.EachPerMinute; i++)
            Assert.True(quota.Admits("telco", "FL4005"));
        _clock.Advance(TimeSpan.FromHours(1));
        Assert.Empty(_told);
    }

    [Fact]
    public void Dispose_WithinAMinute_SaysWhatWasLeftOutAndEnds()
    {
        RefusalQuota quota = New();
        for (int i = 0; i < RefusalQuota.EachPerMinute + 2; i++)
            quota.Admits("telco", "FL4005");
        quota.Dispose();
        quota.Dispose();
        Assert.False(quota.Admits("telco", "FL4005"));
        _clock.Advance(TimeSpan.FromHours(1));
        Assert.Equal([new RefusalsLeftOut("telco", "FL4005", 2)], _told);
    }

    [Fact]
    public void EndOfAMinute_ALogThatThrows_EndsNothing()
    {
        using var quota = new RefusalQuota(_clock, left =>
        {
            _told.Add(left);
            throw new IOException("full");
        });
        for (int i = 0; i < RefusalQuota.EachPerMinute + 1; i++)
        {
            quota.Admits("telco", "FL4005");
            quota.Admits("shop", "FL4005");
        }

        _clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(2, _told.Count);
    }
}
