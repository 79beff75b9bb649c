using System.Net;
using System.Net.Sockets;

namespace FedLearn.Experiments.Wire;

/// <summary>Passes TCP connections on and counts their bytes.</summary>
internal sealed class CountingProxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private long _there, _back;

    public CountingProxy() => _listener.Start();

    /// <summary>Bytes from clients to the server.</summary>
    public long There => Interlocked.Read(ref _there);

    /// <summary>Bytes from the server to clients.</summary>
    public long Back => Interlocked.Read(ref _back);

    /// <summary>Passes the next connection on to a server.</summary>
    /// <returns>Where to connect.</returns>
    public Uri To(Uri server)
    {
        _ = PassAsync(server);
        return new UriBuilder(server) { Port = ((IPEndPoint)_listener.LocalEndpoint).Port }.Uri;
    }

    public void Dispose() => _listener.Dispose();

    private async Task PassAsync(Uri server)
    {
        using TcpClient client = await _listener.AcceptTcpClientAsync().ConfigureAwait(false), target = new();
        await target.ConnectAsync(server.Host, server.Port).ConfigureAwait(false);
        client.NoDelay = target.NoDelay = true;
        await Task.WhenAll(PumpAsync(client.GetStream(), target, bytes => Interlocked.Add(ref _there, bytes)), PumpAsync(target.GetStream(), client, bytes => Interlocked.Add(ref _back, bytes))).ConfigureAwait(false);
    }

    private static async Task PumpAsync(NetworkStream from, TcpClient to, Action<int> count)
    {
        byte[] buffer = new byte[1 << 16];
        try
        {
            while (await from.ReadAsync(buffer).ConfigureAwait(false) is > 0 and var bytes)
            {
                count(bytes);
                await to.GetStream().WriteAsync(buffer.AsMemory(0, bytes)).ConfigureAwait(false);
            }

            to.Client.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is IOException or SocketException or InvalidOperationException)
        {
            // One of the two is gone, and the other will be.
        }
    }
}
