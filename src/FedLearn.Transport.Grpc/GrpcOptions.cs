using System.Runtime.CompilerServices;
using FedLearn.Protocol;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace FedLearn.Transport.Grpc;

/// <summary>Settings of <see cref="GrpcFederationHost"/> and <see cref="GrpcPairHost"/>.</summary>
public sealed record GrpcHostOptions
{
    /// <summary>Where to listen: an IP address or <c>localhost</c>, and a port; port 0 lets the system choose. Scheme https with <see cref="Security"/>, http without.</summary>
    /// <value>Default <c>http://127.0.0.1:0</c>.</value>
    public Uri Listen { get; init; } = new("http://127.0.0.1:0");

    /// <summary>Who this party is and whom it admits; connections are then encrypted, and <see cref="Listen"/> has scheme https.</summary>
    /// <value>Null, the default: nothing is encrypted and nobody is asked who he is.</value>
    public GrpcSecurity? Security { get; init; }

    /// <summary>Whether to listen beyond this machine although nothing is encrypted.</summary>
    /// <value>Default false.</value>
    public bool AllowPlaintext { get; init; }

    /// <summary>A coordinator through which parties reach this host, which then needs no open port.</summary>
    /// <value>Default null: they connect to <see cref="Listen"/>.</value>
    public GrpcRelay? Relay { get; init; }

    /// <summary>With <see cref="Relay"/>: whether to listen at <see cref="Listen"/> as well.</summary>
    /// <value>Default false.</value>
    public bool AlsoListens { get; init; }

    /// <summary>An HTTP proxy through which to call the coordinator of <see cref="Relay"/>, unless that is on this machine.</summary>
    /// <value>Default null: it is called directly.</value>
    public GrpcProxy? Proxy { get; init; }

    /// <summary>How long a party that joined waits for the others; with <see cref="Relay"/>, also how long the start of the host waits for the coordinator.</summary>
    /// <value>Above zero and at most 24 days; never infinite, since a party that does not come would then keep the others for ever. Default one minute.</value>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long the end of an exchange waits for the client to have read the last frames, and the end of the host after that for them to leave. Measured by the system's clock.</summary>
    /// <value>Above zero and at most 24 days; never infinite. Default two seconds.</value>
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a connection may be silent, without so much as an answer to a ping, before its peer counts as gone (FL4007). From a third of it on the host pings, which finds a peer whose machine vanished
    /// without closing. A machine with much more work than processors, the host's or the peer's, or a slow line that is full may need longer to answer; a peer that vanished cannot join again before (FL4013).</summary>
    /// <value>At least 3 seconds and at most 24 days. Default one minute.</value>
    public TimeSpan SilenceTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>What one peer may take of this host.</summary>
    public GrpcQuotas Quotas { get; init; } = new();

    /// <summary>Settings of the channels; its clock is also that of <see cref="JoinTimeout"/> and of the quotas.</summary>
    public ChannelOptions Channel { get; init; } = new();

    /// <summary>Where the host logs who joined and left. Nothing private enters the log.</summary>
    /// <value>Default: nowhere.</value>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>Refuses times that no host could keep.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A time is out of its range; named.</exception>
    internal void Check()
    {
        TimeLimit.Check(JoinTimeout);
        TimeLimit.Check(ShutdownTimeout);
        TimeLimit.Check(SilenceTimeout);
        ArgumentOutOfRangeException.ThrowIfLessThan(SilenceTimeout, TimeSpan.FromSeconds(3));
        Proxy?.Check();
    }
}

/// <summary>Settings of <see cref="GrpcFederationClient"/> and <see cref="GrpcHealthClient"/>.</summary>
public sealed record GrpcClientOptions
{
    /// <summary>Who this party is and by which certificates it knows the one it calls; addresses then have scheme https.</summary>
    /// <value>Null, the default: nothing is encrypted and nobody is asked who he is.</value>
    public GrpcSecurity? Security { get; init; }

    /// <summary>Name of the peer that is called: the active party, or the arbiter in a session of its own. Its certificate must be that peer's. Used with
    /// <see cref="Security"/> only.</summary>
    /// <value>Null, the default: the only peer that has pins; needed where there is not exactly one.</value>
    public string? Peer { get; init; }

    /// <summary>Whether to talk to another machine although nothing is encrypted.</summary>
    /// <value>Default false.</value>
    public bool AllowPlaintext { get; init; }

    /// <summary>A coordinator through which to reach the party that hosts the session; the address that is asked for is then only its name.</summary>
    /// <value>Default null: it is reached at its address.</value>
    public GrpcRelay? Relay { get; init; }

    /// <summary>An HTTP proxy through which to call the host or the coordinator, unless that is on this machine.</summary>
    /// <value>Default null: it is called directly.</value>
    public GrpcProxy? Proxy { get; init; }

    /// <summary>How long to try to connect: the host may start later than the parties that join it.</summary>
    /// <value>Above zero and at most 24 days; never infinite, since an address where nobody ever listens would then be no error. Default one minute.</value>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long to wait, once connected, until every party has joined. Sent as <c>grpc-timeout</c>.</summary>
    /// <value>Above zero and at most 24 days; never infinite, since a party that does not come would then keep the others for ever. Default one minute.</value>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How long the end of a channel waits for last frames to leave. Measured by the system's clock.</summary>
    /// <value>Above zero and at most 24 days; never infinite. Default two seconds.</value>
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a connection with a call is silent before it is tested by an HTTP/2 ping, which finds a peer whose machine vanished without closing.</summary>
    /// <value>At least a second, or <see cref="Timeout.InfiniteTimeSpan"/> for no pings. Default infinite: some servers refuse them.</value>
    public TimeSpan HeartbeatInterval { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>Settings of the channel; its clock is also that of the time limits above.</summary>
    public ChannelOptions Channel { get; init; } = new();

    /// <summary>Refuses times that no client could keep.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A time is out of its range; named.</exception>
    internal void Check()
    {
        TimeLimit.Check(ConnectTimeout);
        TimeLimit.Check(JoinTimeout);
        TimeLimit.Check(ShutdownTimeout);
        if (HeartbeatInterval != Timeout.InfiniteTimeSpan)
            ArgumentOutOfRangeException.ThrowIfLessThan(HeartbeatInterval, TimeSpan.FromSeconds(1));
        Proxy?.Check();
    }
}

/// <summary>The range of time limits.</summary>
internal static class TimeLimit
{
    /// <summary>What every timer and semaphore of the system takes, some of which count milliseconds in 31 bits, with something to spare.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromDays(24);

    /// <summary>Refuses a time that is not above zero, as the infinite one is not, or above <see cref="Longest"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is out of range.</exception>
    public static void Check(TimeSpan time, [CallerArgumentExpression(nameof(time))] string? option = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(time, TimeSpan.Zero, option);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(time, Longest, option);
    }
}
