using System.Buffers;
using System.Net;
using System.Net.Sockets;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>A direction through the proxy.</summary>
internal enum Way
{
    /// <summary>From the client to the server.</summary>
    ToServer = 0,

    /// <summary>From the server to the client.</summary>
    ToClient = 1,
}

/// <summary>A network that does what it is told: forwards bytes between clients and a server, and breaks in one way after the other.</summary>
/// <remarks>Needs nothing of the operating system but sockets. What it does to a connection it does to every connection; a command takes effect before the next byte.</remarks>
internal sealed class FaultProxy : IAsyncDisposable
{
    private const int ChunkBytes = 16 << 10;

    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly IPEndPoint _server;
    private readonly TimeProvider _clock;
    private readonly CancellationTokenSource _over = new();
    private readonly CancellationToken _disposed;
    private readonly Lock _gate = new();
    private readonly List<Socket> _sockets = [];
    private readonly List<Task> _pumps = [];
    private readonly Direction[] _ways = [new(), new()];
    private readonly Task _accepting;
    private int _closed;

    private FaultProxy(IPEndPoint server, TimeProvider clock)
    {
        (_server, _clock, _disposed) = (server, clock, _over.Token);
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        Address = new Uri($"http://{_listener.LocalEndPoint}");
        _accepting = AcceptAsync();
    }

    /// <summary>Where clients connect.</summary>
    public Uri Address { get; }

    /// <summary>Starts a proxy.</summary>
    /// <param name="server">Where the server listens.</param>
    /// <param name="clock">Clock of delays and paces; null for the system's.</param>
    public static FaultProxy Start(Uri server, TimeProvider? clock = null) => new(new IPEndPoint(IPAddress.Parse(server.Host), server.Port), clock ?? TimeProvider.System);

    /// <summary>Bytes forwarded so far.</summary>
    public long Forwarded(Way way) => Interlocked.Read(ref _ways[(int)way].Forwarded);

    /// <summary>Runs a command when so many bytes have been forwarded one way, before the next one.</summary>
    public void After(Way way, long bytes, Action<FaultProxy> command)
    {
        lock (_gate)
            (_ways[(int)way].TriggerAt, _ways[(int)way].Trigger) = (bytes, command);
    }

    /// <summary>Resets every connection at both ends.</summary>
    public void Drop() => Close(abort: true);

    /// <summary>Closes every connection in good order, whatever was under way: the rest is cut off.</summary>
    public void Truncate() => Close(abort: false);

    /// <summary>Forwards nothing more one way, and keeps every socket: half of a half-open connection.</summary>
    public void Stall(Way way)
    {
        lock (_gate)
            _ways[(int)way].Stall ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Forwards nothing more, and keeps every socket.</summary>
    public void Partition()
    {
        Stall(Way.ToServer);
        Stall(Way.ToClient);
    }

    /// <summary>Goes on where <see cref="Stall"/> or <see cref="Partition"/> had stopped; nothing is lost.</summary>
    public void Heal()
    {
        lock (_gate)
            foreach (Direction way in _ways)
            {
                way.Stall?.TrySetResult();
                way.Stall = null;
            }
    }

    /// <summary>Heals after a time.</summary>
    public async Task HealAsync(TimeSpan after)
    {
        try
        {
            await PauseAsync(after);
            Heal();
        }
        catch (OperationCanceledException)
        {
            // disposed before that
        }
    }

    /// <summary>Completes when bytes wait for the end of a stall.</summary>
    public Task WaitsAsync(Way way) => _ways[(int)way].Waits.Task;

    /// <summary>From now on holds every chunk back for a time.</summary>
    public void Delay(Way way, TimeSpan time) => Set(way, direction => direction.Delay = time);

    /// <summary>From now on forwards a byte at a time, with a pause after each: a slow loris.</summary>
    public void Trickle(Way way, TimeSpan pause) => Set(way, direction => (direction.Trickles, direction.Pause) = (true, pause));

    /// <summary>Forwards the next chunk that comes twice. What one end writes at once is mostly one chunk: whole frames, so that only the protocol above can tell.</summary>
    public void Duplicate(Way way) => Set(way, direction => direction.Twice = true);

    /// <summary>Forwards the next chunk that comes after the one that follows it.</summary>
    public void Reorder(Way way) => Set(way, direction => direction.Swap = true);

    /// <summary>Closes everything.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
            return;
        await _over.CancelAsync();
        _listener.Dispose();
        Close(abort: true);
        await _accepting;
        Task[] pumps;
        lock (_gate)
            pumps = [.. _pumps];
        await Task.WhenAll(pumps);
        _over.Dispose();
    }

    private void Set(Way way, Action<Direction> change)
    {
        lock (_gate)
            change(_ways[(int)way]);
    }

    private void Close(bool abort)
    {
        Socket[] sockets;
        lock (_gate)
        {
            sockets = [.. _sockets];
            _sockets.Clear();
        }

        foreach (Socket socket in sockets)
        {
            try
            {
                if (abort)
                    socket.Close(timeout: 0); // a reset
                else
                    socket.Shutdown(SocketShutdown.Both);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // it is closed already
            }

            socket.Dispose();
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket client = await _listener.AcceptAsync(_disposed);
                var server = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                (client.NoDelay, server.NoDelay) = (true, true);
                try
                {
                    await server.ConnectAsync(_server, _disposed);
                }
                catch (SocketException)
                {
                    client.Close(timeout: 0);
                    server.Dispose();
                    continue;
                }

                lock (_gate)
                {
                    _sockets.AddRange([client, server]);
                    _pumps.AddRange([PumpAsync(client, server, _ways[(int)Way.ToServer]), PumpAsync(server, client, _ways[(int)Way.ToClient])]);
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // disposed
        }
    }

    private async Task PumpAsync(Socket from, Socket to, Direction way)
    {
        await Task.Yield(); // not under the gate of whoever starts it
        byte[] buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            int read;
            while ((read = await from.ReceiveAsync(buffer.AsMemory(0, ChunkBytes), _disposed)) > 0)
                await ForwardAsync(buffer.AsMemory(0, read), to, way);
            await StalledAsync(way);
            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // One end is gone; the other learns it as it would without a proxy.
            from.Close(timeout: 0);
            to.Close(timeout: 0);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task ForwardAsync(ReadOnlyMemory<byte> chunk, Socket to, Direction way)
    {
        bool twice;
        ReadOnlyMemory<byte> held;
        lock (_gate)
        {
            (twice, way.Twice, held, way.Held) = (way.Twice, false, way.Held, default);
            if (way.Swap)
            {
                (way.Swap, way.Held) = (false, chunk.ToArray());
                return;
            }
        }

        ReadOnlyMemory<byte> rest = chunk;
        while (rest.Length > 0)
        {
            Action<FaultProxy>? due = null;
            int part = rest.Length;
            lock (_gate)
            {
                if (way.Trigger is not null && way.TriggerAt - way.Forwarded <= part)
                {
                    part = (int)Math.Max(0, way.TriggerAt - way.Forwarded);
                    (due, way.Trigger) = (way.Trigger, null);
                }
            }

            await SendAsync(rest[..part], to, way);
            rest = rest[part..];
            due?.Invoke(this);
        }

        if (twice)
            await SendAsync(chunk, to, way);
        await SendAsync(held, to, way);
    }

    private async Task SendAsync(ReadOnlyMemory<byte> chunk, Socket to, Direction way)
    {
        if (chunk.Length == 0)
            return;
        await StalledAsync(way);
        if (way.Delay > TimeSpan.Zero)
            await PauseAsync(way.Delay);
        await WriteAsync(chunk, to, way);
    }

    private async Task WriteAsync(ReadOnlyMemory<byte> bytes, Socket to, Direction way)
    {
        while (bytes.Length > 0)
        {
            int sent = await to.SendAsync(way.Trickles ? bytes[..1] : bytes, _disposed);
            Interlocked.Add(ref way.Forwarded, sent);
            bytes = bytes[sent..];
            if (way.Trickles && way.Pause > TimeSpan.Zero)
                await PauseAsync(way.Pause);
        }
    }

    private async Task StalledAsync(Direction way)
    {
        Task? stall;
        lock (_gate)
        {
            stall = way.Stall?.Task;
            if (stall is not null)
                way.Waits.TrySetResult();
        }

        if (stall is not null)
            await stall.WaitAsync(_disposed);
    }

    private async Task PauseAsync(TimeSpan time)
    {
        var over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using ITimer timer = _clock.CreateTimer(static state => ((TaskCompletionSource)state!).TrySetResult(), over, time, Timeout.InfiniteTimeSpan);
        await over.Task.WaitAsync(_disposed);
    }

    private sealed class Direction
    {
        public long Forwarded;

        public long TriggerAt { get; set; }

        public Action<FaultProxy>? Trigger { get; set; }

        public TaskCompletionSource? Stall { get; set; }

        public TaskCompletionSource Waits { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TimeSpan Delay { get; set; }

        public TimeSpan Pause { get; set; }

        public bool Trickles { get; set; }

        public bool Twice { get; set; }

        public bool Swap { get; set; }

        public ReadOnlyMemory<byte> Held { get; set; }
    }
}
