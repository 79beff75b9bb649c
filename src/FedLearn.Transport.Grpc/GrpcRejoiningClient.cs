using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Polly;
using Polly.Retry;

namespace FedLearn.Transport.Grpc;

/// <summary>Settings of <see cref="GrpcRejoiningClient"/>.</summary>
public sealed record GrpcRejoinOptions
{
    /// <summary>Settings of each attempt.</summary>
    /// <value>Default: a second to connect, sessions that may be idle for any time, a heartbeat every 20 seconds.</value>
    public GrpcClientOptions Client { get; init; } = new()
    {
        ConnectTimeout = TimeSpan.FromSeconds(1),
        HeartbeatInterval = TimeSpan.FromSeconds(20),
        Channel = new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan },
    };

    /// <summary>Pause before the first new attempt. Later ones double it, with jitter.</summary>
    /// <value>Above zero and at most a day. Default a tenth of a second.</value>
    public TimeSpan FirstPause { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Longest pause between attempts.</summary>
    /// <value>At least <see cref="FirstPause"/> and at most a day. Default five seconds.</value>
    public TimeSpan LongestPause { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a session must have lasted for the pauses to begin anew after it.</summary>
    /// <value>At least zero. Default ten seconds.</value>
    public TimeSpan SettledAfter { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Whether a session that ended in good order is the last one, as of a job that is trained once.</summary>
    /// <value>Default false: the active party may come again, as one that asks a passive party for predictions does.</value>
    public bool EndsWithSession { get; init; }

    /// <summary>Refuses pauses that cannot be; <see cref="Client"/> is looked at by each attempt.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A time is out of its range; named.</exception>
    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(FirstPause, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(LongestPause, FirstPause);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(LongestPause, TimeSpan.FromDays(1));
        ArgumentOutOfRangeException.ThrowIfLessThan(SettledAfter, TimeSpan.Zero);
    }
}

/// <summary>Keeps a passive party in session with an active party that may come and go: joins, and joins again after a loss.</summary>
public static class GrpcRejoiningClient
{
    // A session that the active party gave up, or that it has not noticed to be over, is worth another attempt too.
    private static readonly HashSet<string> Losses = [.. ProtocolErrors.Losses, ProtocolErrors.PeerAborted, ProtocolErrors.AlreadyJoined];

    /// <summary>Joins and serves until stopped, or until an error that waiting does not mend: another job, version or name, or a broken protocol.</summary>
    /// <param name="host">Address of the active party's <see cref="GrpcPairHost"/>.</param>
    /// <param name="request">What this party asks.</param>
    /// <param name="serve">Uses a session until it ends; called for one session after the other.</param>
    /// <param name="options">Settings; null for the defaults.</param>
    /// <param name="waiting">Told before each pause: what was lost or failed, null when the active party ended the session in good order, and the pause.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>Once a session has ended in good order, where <see cref="GrpcRejoinOptions.EndsWithSession"/> asks for that; else never but by an error.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A time of the settings is out of its range.</exception>
    /// <exception cref="PeerException">The active party refuses (FL4010 to FL4012), does not speak gRPC (FL4042), is not the one expected (FL4130 to FL4135, FL4137,
    /// FL4138), or broke the protocol. That it refuses this party's certificate (FL4136) counts as a loss: it may have ended just then, or learn the pin later.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public static async Task RunAsync(Uri host, JoinRequest request, Func<GrpcSession, CancellationToken, Task> serve, GrpcRejoinOptions? options = null,
        Action<PeerException?, TimeSpan>? waiting = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(serve);
        options ??= new GrpcRejoinOptions();
        options.Check();
        TimeProvider clock = options.Client.Channel.Clock;
        // One attempt: a session, and how it ended. A session that had settled is a success, after which the pauses begin anew.
        ResiliencePipeline<Ending> attempts = new ResiliencePipelineBuilder<Ending> { TimeProvider = clock }.AddRetry(new RetryStrategyOptions<Ending>
        {
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = options.FirstPause,
            MaxDelay = options.LongestPause,
            ShouldHandle = args => ValueTask.FromResult(args.Outcome.Exception is PeerException lost ? Losses.Contains(lost.Id) : args.Outcome.Result is { Settled: false } ending && !IsLast(ending)),
            OnRetry = args =>
            {
                waiting?.Invoke(args.Outcome.Exception as PeerException ?? args.Outcome.Result?.Loss, args.RetryDelay);
                return default;
            },
        }).Build();
        while (true)
        {
            Ending settled = await attempts.ExecuteAsync(async stop => await AttemptAsync(stop).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
            if (IsLast(settled))
                return;
            waiting?.Invoke(settled.Loss, TimeSpan.Zero);
        }

        bool IsLast(Ending ending) => options.EndsWithSession && ending.Loss is null;

        async Task<Ending> AttemptAsync(CancellationToken stop)
        {
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(host, request, options.Client, stop).ConfigureAwait(false);
            long joined = clock.GetTimestamp();
            PeerException? loss = null;
            try
            {
                await serve(session, stop).ConfigureAwait(false);
            }
            catch (PeerException e) when (Losses.Contains(e.Id))
            {
                loss = e;
            }

            return new Ending(clock.GetElapsedTime(joined) >= options.SettledAfter, loss);
        }
    }

    private sealed record Ending(bool Settled, PeerException? Loss);
}
