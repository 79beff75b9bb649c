using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using FedLearn.Glm;

namespace FedLearn.Experiments.Costs;

/// <summary>A line of a latency and a bandwidth between clients and a server on this machine. Each direction of each connection is a line of its own.</summary>
/// <remarks>A chunk is on the line for its bytes over the bandwidth, one after the other, and arrives a latency later.</remarks>
internal sealed partial class SlowLine : IDisposable
{
    private const int ChunkBytes = 16 << 10, MostChunks = 4096;

    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly IPEndPoint _server;
    private readonly GlmCostLink _link;

    private SlowLine(Uri server, GlmCostLink link)
    {
        (_server, _link) = (new IPEndPoint(IPAddress.Parse(server.Host), server.Port), link);
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        Address = new Uri($"http://{_listener.LocalEndPoint}");
        new Thread(Accept) { IsBackground = true }.Start();
    }

    /// <summary>Where clients connect.</summary>
    public Uri Address { get; }

    /// <summary>Starts a line to a server.</summary>
    public static SlowLine Start(Uri server, GlmCostLink link) => new(server, link);

    public void Dispose()
    {
        _listener.Dispose();
        foreach (Socket socket in _sockets)
            socket.Dispose();
    }

    private void Accept()
    {
        try
        {
            while (true)
            {
                Socket client = _listener.Accept(), server = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                _sockets.Add(client);
                _sockets.Add(server);
                server.Connect(_server);
                (client.NoDelay, server.NoDelay) = (true, true);
                Forward(client, server);
                Forward(server, client);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // disposed
        }
    }

    private void Forward(Socket from, Socket to)
    {
        var chunks = new BlockingCollection<(byte[] Bytes, int Count, long At)>(MostChunks);
        new Thread(() => Guard(() =>
        {
            long free = 0;
            while (true)
            {
                byte[] bytes = GC.AllocateUninitializedArray<byte>(ChunkBytes);
                int count = from.Receive(bytes);
                free = Math.Max(free, Stopwatch.GetTimestamp()) + (long)(count / _link.BytesPerSecond * Stopwatch.Frequency);
                chunks.Add((bytes, count, free + (long)(_link.LatencySeconds * Stopwatch.Frequency)));
                if (count == 0)
                    return;
            }
        }))
        { IsBackground = true }.Start();
        new Thread(() => Guard(() =>
        {
            foreach ((byte[] bytes, int count, long at) in chunks.GetConsumingEnumerable())
            {
                for (double left; (left = (at - Stopwatch.GetTimestamp()) / (double)Stopwatch.Frequency) > 0;)
                    Sleep(left);
                if (count == 0)
                {
                    to.Shutdown(SocketShutdown.Send);
                    return;
                }

                for (int sent = 0; sent < count;)
                    sent += to.Send(bytes, sent, count - sent, SocketFlags.None);
            }
        }))
        { IsBackground = true }.Start();
    }

    private static void Guard(Action act)
    {
        try
        {
            act();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // one of the ends is gone, and so is the line
        }
    }

    // The runtime sleeps for whole milliseconds.
    private static void Sleep(double seconds)
    {
        if (OperatingSystem.IsLinux())
            _ = MicroSleep((uint)Math.Clamp(seconds * 1e6, 1, 900_000));
        else
            Thread.Sleep(TimeSpan.FromSeconds(seconds));
    }

    [LibraryImport("libc", EntryPoint = "usleep")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int MicroSleep(uint microseconds);
}
