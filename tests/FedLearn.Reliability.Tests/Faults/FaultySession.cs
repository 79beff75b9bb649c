using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>Sessions over gRPC through a <see cref="FaultProxy"/>, with short time limits, and what can happen to them.</summary>
internal static class FaultySession
{
    /// <summary>How long anything may wait. A fault-free session takes a fraction of a second.</summary>
    public static readonly TimeSpan Connect = TimeSpan.FromSeconds(2), Join = TimeSpan.FromSeconds(2), Receive = TimeSpan.FromSeconds(1.5), Shutdown = TimeSpan.FromSeconds(1);

    /// <summary>The longest way to an end: connecting; joining with the 2 s that a caller grants the server beyond the limit; opening the exchange; one receive or send that runs into its limit;
    /// words to and from a peer that gives up (2 s, and one receive); the end of the channel and that of the host, each with its shutdown time; a second in which the server resets what does not
    /// end.</summary>
    public static readonly TimeSpan Patience = Connect + Join + TimeSpan.FromSeconds(2) + Join + Receive + TimeSpan.FromSeconds(2) + Receive + (2 * Shutdown) + TimeSpan.FromSeconds(1);

    /// <summary>For a machine with more to do than this; only a hang takes so long.</summary>
    public static readonly TimeSpan Slack = TimeSpan.FromSeconds(45);

    /// <summary>Kinds of faults, by name: what they do to a proxy, mostly to one direction. None changes a byte: TCP delivers none that is wrong, and on a network where somebody would change them
    /// encryption is what tells.</summary>
    public static readonly IReadOnlyDictionary<string, Action<FaultProxy, Way, Random>> Kinds = new Dictionary<string, Action<FaultProxy, Way, Random>>
    {
        ["drop"] = (proxy, _, _) => proxy.Drop(),
        ["truncate"] = (proxy, _, _) => proxy.Truncate(),
        ["half-open, one way"] = (proxy, way, _) => proxy.Stall(way),
        ["half-open, both ways"] = (proxy, _, _) => proxy.Partition(),
        ["partition and heal"] = (proxy, way, random) =>
        {
            proxy.Partition();
            _ = proxy.HealAsync(Receive * (random.NextDouble() / 4));
        },
        ["delay within the limit"] = (proxy, way, random) => proxy.Delay(way, TimeSpan.FromMilliseconds(random.Next(1, 20))),
        ["delay beyond the limit"] = (proxy, way, _) => proxy.Delay(way, 2 * Receive),
        ["slow loris, fast enough"] = (proxy, way, _) => proxy.Trickle(way, TimeSpan.Zero),
        ["slow loris, too slow"] = (proxy, way, _) => proxy.Trickle(way, Receive / 3),
        ["duplicate"] = (proxy, way, _) => proxy.Duplicate(way),
        ["reorder"] = (proxy, way, _) => proxy.Reorder(way),
    };

    /// <summary>Settings of the active party with these limits.</summary>
    public static GrpcHostOptions Host { get; } = new() { JoinTimeout = Join, ShutdownTimeout = Shutdown, Channel = new ChannelOptions { ReceiveTimeout = Receive } };

    /// <summary>Settings of the passive party with these limits.</summary>
    public static GrpcClientOptions Client { get; } = new()
    {
        ConnectTimeout = Connect,
        JoinTimeout = Join,
        ShutdownTimeout = Shutdown,
        HeartbeatInterval = TimeSpan.FromSeconds(1),
        Channel = new ChannelOptions { ReceiveTimeout = Receive },
    };

    /// <summary>Settings with which only a hang runs into a limit.</summary>
    public static GrpcHostOptions PatientHost { get; } = new() { JoinTimeout = TimeSpan.FromMinutes(5), Channel = new ChannelOptions { ReceiveTimeout = TimeSpan.FromMinutes(5) } };

    /// <inheritdoc cref="PatientHost" />
    public static GrpcClientOptions PatientClient { get; } = new()
    {
        ConnectTimeout = TimeSpan.FromMinutes(5),
        JoinTimeout = TimeSpan.FromMinutes(5),
        Channel = new ChannelOptions { ReceiveTimeout = TimeSpan.FromMinutes(5) },
    };

    /// <summary>Runs a session through a proxy.</summary>
    /// <param name="trial">The job.</param>
    /// <param name="breaks">Prepares the proxy.</param>
    /// <param name="host">Settings of the active party.</param>
    /// <param name="client">Settings of the passive party.</param>
    /// <param name="joined">Told when the exchange of messages is open.</param>
    /// <param name="ended">Told when both parties have ended, before the proxy goes.</param>
    public static async Task<PartyEnd[]> RunAsync(Trial trial, Action<FaultProxy> breaks, GrpcHostOptions host, GrpcClientOptions client, Action<FaultProxy>? joined = null,
        Action<FaultProxy>? ended = null)
    {
        var listening = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<PartyEnd> active = trial.RunActiveAsync(host, listening.SetResult);
        if (await Task.WhenAny(active, listening.Task) == active)
            return [await active, new PartyEnd(null, new InvalidOperationException("The active party ended before it listened."))];
        await using FaultProxy proxy = FaultProxy.Start(await listening.Task);
        breaks(proxy);
        PartyEnd[] ends = await Task.WhenAll(active, trial.RunPassiveAsync(proxy.Address, client, () =>
        {
            joined?.Invoke(proxy);
            return Task.CompletedTask;
        }));
        ended?.Invoke(proxy);
        return ends;
    }

    /// <summary>Runs a session that has a fault when so many bytes have gone one way.</summary>
    /// <exception cref="TimeoutException">It hangs: it took longer than its time limits allow.</exception>
    public static async Task<PartyEnd[]> RunAsync(Trial trial, string kind, Way way, long at, Random random)
    {
        try
        {
            return await RunAsync(trial, proxy => proxy.After(way, at, broken => Kinds[kind](broken, way, random)), Host, Client).WaitAsync(Patience + Slack);
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"The session hangs: it did not end within {(Patience + Slack).TotalSeconds:0} s; its time limits allow {Patience.TotalSeconds:0.0} s.", e);
        }
    }

    /// <summary>Runs a session without a fault, and counts the bytes each way until the exchange of messages was open, and in all.</summary>
    /// <exception cref="InvalidOperationException">It did not end with the right model.</exception>
    public static async Task<(long[] Opened, long[] All)> MeasureAsync(Trial trial)
    {
        long[] opened = [], all = [];
        PartyEnd[] ends = await RunAsync(trial, _ => { }, PatientHost, PatientClient, proxy => opened = Now(proxy), proxy => all = Now(proxy));
        return trial.IsRight(ends) ? (opened, all) : throw new InvalidOperationException($"Without a fault: {trial.Describe(ends)}");

        static long[] Now(FaultProxy proxy) => [proxy.Forwarded(Way.ToServer), proxy.Forwarded(Way.ToClient)];
    }
}
