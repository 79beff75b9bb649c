using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Settings outside their documented ranges are refused by name, and those at the bounds are not.</summary>
public sealed class OptionRangeTests
{
    private static readonly TimeSpan Shortest = TimeSpan.FromTicks(1), Longest = TimeSpan.FromDays(24);

    // The infinite time is -1 ms, which some setting might take for a time that never ends.
    private static readonly TimeSpan[] OutOfRange = [TimeSpan.MinValue, Timeout.InfiniteTimeSpan, -Shortest, TimeSpan.Zero, Longest + Shortest, TimeSpan.MaxValue];

    private static readonly TimeSpan[] InRange = [Shortest, Longest];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public void Channel_ReceiveTimeout_IsAboveZeroOrInfinite()
    {
        foreach (TimeSpan time in OutOfRange.Where(t => t != Timeout.InfiniteTimeSpan))
            Assert.Throws<ArgumentOutOfRangeException>("ReceiveTimeout", () => new ChannelOptions { ReceiveTimeout = time });
        foreach (TimeSpan time in InRange.Append(Timeout.InfiniteTimeSpan))
            Assert.Equal(time, new ChannelOptions { ReceiveTimeout = time }.ReceiveTimeout);
    }

    [Fact]
    public void Channel_MaxMessageBytes_IsOneKibibyteToOneGibibyte()
    {
        foreach (int bytes in (int[])[int.MinValue, 0, (1 << 10) - 1, (1 << 30) + 1, int.MaxValue])
            Assert.Throws<ArgumentOutOfRangeException>("MaxMessageBytes", () => new ChannelOptions { MaxMessageBytes = bytes });
        foreach (int bytes in (int[])[1 << 10, 1 << 30])
            Assert.Equal(bytes, new ChannelOptions { MaxMessageBytes = bytes }.MaxMessageBytes);
    }

    [Fact]
    public async Task Channel_LongestReceiveTimeout_WaitsByTheSystemsClock()
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco", new ChannelOptions { ReceiveTimeout = Longest });
        Task ending = first.CompleteAsync(Stop).AsTask();
        await second.CompleteAsync(Stop);
        await ending.WaitAsync(ChannelConformance.Patience, Stop);
        await first.DisposeAsync();
        await second.DisposeAsync();
    }

    [Fact]
    public async Task Host_Times_AreCheckedByEveryStart()
    {
        foreach (TimeSpan time in OutOfRange)
        {
            await RefusedAsync("JoinTimeout", new GrpcHostOptions { JoinTimeout = time });
            await RefusedAsync("ShutdownTimeout", new GrpcHostOptions { ShutdownTimeout = time });
            await RefusedAsync("SilenceTimeout", new GrpcHostOptions { SilenceTimeout = time });
        }

        await RefusedAsync("SilenceTimeout", new GrpcHostOptions { SilenceTimeout = TimeSpan.FromSeconds(2.9) });
        new GrpcHostOptions { SilenceTimeout = TimeSpan.FromSeconds(3) }.Check();

        foreach (TimeSpan time in InRange)
            new GrpcHostOptions { JoinTimeout = time, ShutdownTimeout = time }.Check();

        static async Task RefusedAsync(string option, GrpcHostOptions options)
        {
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(option, () => GrpcFederationHost.StartAsync(options, GrpcPairs.Terms("telco"), Stop));
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(option,
                () => GrpcPairHost.StartAsync(options, [new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)], (_, _) => Task.CompletedTask, Stop));
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(option, () => GrpcRelayServer.StartAsync(options, [Relays.Job(GrpcPairs.Terms("telco"))], cancellationToken: Stop));
        }
    }

    [Fact]
    public async Task Client_Times_AreCheckedByEveryCall()
    {
        foreach (TimeSpan time in OutOfRange)
        {
            await RefusedAsync("ConnectTimeout", new GrpcClientOptions { ConnectTimeout = time });
            await RefusedAsync("JoinTimeout", new GrpcClientOptions { JoinTimeout = time });
            await RefusedAsync("ShutdownTimeout", new GrpcClientOptions { ShutdownTimeout = time });
        }

        await RefusedAsync("HeartbeatInterval", new GrpcClientOptions { HeartbeatInterval = TimeSpan.FromSeconds(1) - Shortest });
        await RefusedAsync("HeartbeatInterval", new GrpcClientOptions { HeartbeatInterval = TimeSpan.Zero });
        foreach (TimeSpan time in InRange)
            new GrpcClientOptions { ConnectTimeout = time, JoinTimeout = time, ShutdownTimeout = time, HeartbeatInterval = TimeSpan.FromSeconds(1) }.Check();

        static async Task RefusedAsync(string option, GrpcClientOptions options)
        {
            var nobody = new Uri("http://127.0.0.1:9"); // never called
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(option, () => GrpcFederationClient.JoinAsync(nobody, GrpcPairs.Request("telco"), options, Stop));
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(option, () => GrpcHealthClient.CheckAsync(nobody, options: options, cancellationToken: Stop));
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(option,
                () => GrpcRejoiningClient.RunAsync(nobody, GrpcPairs.Request("telco"), (_, _) => Task.CompletedTask, new GrpcRejoinOptions { Client = options }, cancellationToken: Stop));
        }
    }

    [Fact]
    public async Task Session_LongestTimes_IsJoinedAndEnds()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { JoinTimeout = Longest, ShutdownTimeout = Longest }, GrpcPairs.Terms("telco"), Stop);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        var options = new GrpcClientOptions { ConnectTimeout = Longest, JoinTimeout = Longest, ShutdownTimeout = Longest, Channel = new ChannelOptions { ReceiveTimeout = Longest } };
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), options, Stop).WaitAsync(ChannelConformance.Patience, Stop);
        await using GrpcSession active = await joining;
        await Task.WhenAll(passive.Channels[0].CompleteAsync(Stop).AsTask(), active.Channels[0].CompleteAsync(Stop).AsTask()).WaitAsync(ChannelConformance.Patience, Stop);
        await Task.WhenAll(passive.DisposeAsync().AsTask(), active.DisposeAsync().AsTask()).WaitAsync(ChannelConformance.Patience, Stop);
    }

    [Fact]
    public async Task Session_OpenForLongerThanJoiningMayTake_GoesOn()
    {
        var clock = new ManualClock();
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"), Stop);
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), new GrpcClientOptions { Channel = new ChannelOptions { Clock = clock } }, Stop);
        await using GrpcSession active = await joining;
        clock.Advance(TimeSpan.FromDays(1));
        await passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new[] { 1.5 }), "test"), Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);
        Assert.Equal(1.5, (await active.Channels[0].ReceiveAsync<Scores>(0, 1, Stop)).Values.Span[0]);
        await Task.WhenAll(passive.Channels[0].CompleteAsync(Stop).AsTask(), active.Channels[0].CompleteAsync(Stop).AsTask()).WaitAsync(ChannelConformance.Patience, Stop);
        await Task.WhenAll(passive.DisposeAsync().AsTask(), active.DisposeAsync().AsTask()).WaitAsync(ChannelConformance.Patience, Stop);
    }

    [Fact]
    public async Task Rejoin_Pauses_AreChecked()
    {
        await RefusedAsync("FirstPause", new GrpcRejoinOptions { FirstPause = TimeSpan.Zero });
        await RefusedAsync("LongestPause", new GrpcRejoinOptions { FirstPause = TimeSpan.FromSeconds(2), LongestPause = TimeSpan.FromSeconds(1) });
        await RefusedAsync("LongestPause", new GrpcRejoinOptions { LongestPause = TimeSpan.FromDays(1) + Shortest });
        await RefusedAsync("SettledAfter", new GrpcRejoinOptions { SettledAfter = -Shortest });
        new GrpcRejoinOptions { FirstPause = Shortest, LongestPause = Shortest, SettledAfter = TimeSpan.Zero }.Check();

        static Task RefusedAsync(string option, GrpcRejoinOptions options) => Assert.ThrowsAsync<ArgumentOutOfRangeException>(option,
            () => GrpcRejoiningClient.RunAsync(new Uri("http://127.0.0.1:9"), GrpcPairs.Request("telco"), (_, _) => Task.CompletedTask, options, cancellationToken: Stop));
    }

    [Fact]
    public void Application_ProxyThatNobodyCanAsk_IsRefused()
    {
        var options = new FedLearnOptions { Proxy = new GrpcProxy { Address = new Uri("http://proxy:3128"), Credential = new System.Net.NetworkCredential("user", "hidden") } };
        Assert.True(new FedLearnOptionsCheck().Validate(null, options).Succeeded);
        options.Proxy = options.Proxy with { Address = new Uri("http://user:hidden@proxy:3128") };
        string fault = Assert.Single(new FedLearnOptionsCheck().Validate(null, options).Failures!);
        Assert.Contains("FedLearn options, Proxy", fault, StringComparison.Ordinal);
        Assert.DoesNotContain("hidden", fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(nameof(FedLearnOptions.ConnectTimeout))]
    [InlineData(nameof(FedLearnOptions.JoinTimeout))]
    [InlineData(nameof(FedLearnOptions.ReceiveTimeout))]
    public void Application_TimeBeyondTheLongest_IsRefusedByName(string option)
    {
        var options = new FedLearnOptions();
        typeof(FedLearnOptions).GetProperty(option)!.SetValue(options, Longest);
        Assert.True(new FedLearnOptionsCheck().Validate(null, options).Succeeded);
        typeof(FedLearnOptions).GetProperty(option)!.SetValue(options, Longest + Shortest);
        string fault = Assert.Single(new FedLearnOptionsCheck().Validate(null, options).Failures!);
        Assert.Contains(option, fault, StringComparison.Ordinal);
        Assert.Contains(GrpcErrors.InvalidOptions, fault, StringComparison.Ordinal);
    }
}
