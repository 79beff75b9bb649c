using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace FedLearn.Transport.Grpc;

/// <summary>Counts what each peer of a host takes, and refuses what goes beyond its quotas. Thread-safe.</summary>
/// <param name="limits">The quotas.</param>
/// <param name="clock">Clock of the joins.</param>
/// <param name="log">Told when a peer goes beyond a quota, once until it has joined again, and once a minute at most.</param>
internal sealed partial class PeerQuotas(GrpcQuotas limits, TimeProvider clock, ILogger log)
{
    // Connections beyond the quota that are still answered, so that the peer is told why; more are closed without a word.
    private const int SpareConnections = 16;

    // From so many peers on, those are forgotten that have nothing open and all of their joins left.
    internal const int KeptPeers = 1_024;

    private static readonly object OverQuota = new();

    private readonly GrpcQuotas _limits = limits.Checked();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Peer> _peers = [];
    private int _most = KeptPeers;

    /// <summary>Peers that are remembered.</summary>
    internal int Known
    {
        get
        {
            lock (_gate)
                return _peers.Count;
        }
    }

    /// <summary>Takes part in every connection from its beginning to its end.</summary>
    /// <param name="connection">The connection.</param>
    /// <param name="next">What is done with it.</param>
    public async Task ConnectAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        string peer = NameOf((connection.RemoteEndPoint as IPEndPoint)?.Address);
        int open = Change(peer, p => ++p.Connections);
        try
        {
            if (open > _limits.Connections)
                Tell(peer, "connections");
            if (open > _limits.Connections + SpareConnections)
            {
                connection.Abort(new ConnectionAbortedException("Too many connections of one peer."));
                return;
            }

            if (open > _limits.Connections)
                connection.Items[OverQuota] = true;
            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            Change(peer, p => --p.Connections);
        }
    }

    /// <summary>Begins a call.</summary>
    /// <param name="context">The call.</param>
    /// <returns>Dispose it at the end of the call.</returns>
    /// <exception cref="RpcException">RESOURCE_EXHAUSTED, FL4172.</exception>
    public IDisposable Call(HttpContext context)
    {
        if (context.Features.Get<IConnectionItemsFeature>()?.Items.ContainsKey(OverQuota) == true)
        {
            context.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
            throw Over(PeerOf(context), "connections", _limits.Connections, " at a time");
        }

        return Take(PeerOf(context), "calls", _limits.Streams, static (p, by) => p.Streams += by);
    }

    /// <summary>Begins an exchange of messages.</summary>
    /// <param name="context">Its call.</param>
    /// <returns>Dispose it at the end of the exchange.</returns>
    /// <exception cref="RpcException">RESOURCE_EXHAUSTED, FL4172.</exception>
    public IDisposable Session(HttpContext context) => Take(PeerOf(context), "sessions", _limits.Sessions, static (p, by) => p.Sessions += by);

    /// <summary>Counts a request to join.</summary>
    /// <param name="context">Its call.</param>
    /// <exception cref="RpcException">RESOURCE_EXHAUSTED, FL4172.</exception>
    public void Join(HttpContext context)
    {
        string name = PeerOf(context);
        bool granted = Change(name, peer =>
        {
            long now = clock.GetTimestamp();
            peer.Joins = Math.Min(_limits.JoinsPerMinute, peer.Joins + clock.GetElapsedTime(peer.At, now).TotalMinutes * _limits.JoinsPerMinute);
            peer.At = now;
            if (peer.Joins < 1)
                return false;
            peer.Joins--;
            peer.Told = false;
            return true;
        });
        if (!granted)
            throw Over(name, "joins", _limits.JoinsPerMinute, " a minute");
    }

    /// <summary>Who calls: the hash of the key that its certificate has, or its address.</summary>
    public static string PeerOf(HttpContext context) => context.Connection.ClientCertificate is { } certificate
        ? "key " + Convert.ToHexStringLower(SHA256.HashData(certificate.PublicKey.ExportSubjectPublicKeyInfo()))
        : NameOf(context.Connection.RemoteIpAddress);

    private static string NameOf(IPAddress? address)
    {
        if (address is null)
            return "unknown";
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        // One machine may have every address of a network of 64 bits.
        return address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 && !IPAddress.IsLoopback(address)
            ? new IPAddress([.. address.GetAddressBytes().AsSpan(0, 8), .. new byte[8]]) + "/64" : address.ToString();
    }

    private Lease Take(string name, string what, int most, Func<Peer, int, int> count)
    {
        if (Change(name, peer => count(peer, 1)) <= most)
            return new Lease(this, name, count);
        Change(name, peer => count(peer, -1));
        throw Over(name, what, most, " at a time");
    }

    private RpcException Over(string peer, string what, int most, string each)
    {
        Tell(peer, what);
        return new RpcException(StatusCode.ResourceExhausted, string.Create(CultureInfo.InvariantCulture, $"The quota of {most} {what}{each} for one peer is used up."), GrpcErrors.QuotaExceeded);
    }

    private void Tell(string name, string what)
    {
        bool tells = Change(name, peer =>
        {
            // Once a minute at most: a quota that refills little by little is used up again and again.
            bool isNews = !peer.Told && (peer.ToldAt is not { } at || clock.GetElapsedTime(at) >= TimeSpan.FromMinutes(1));
            if (isNews)
                peer.ToldAt = clock.GetTimestamp();
            peer.Told = true;
            return isNews;
        });
        if (tells)
            LogExceeded(name, what);
    }

    private T Change<T>(string name, Func<Peer, T> change)
    {
        lock (_gate)
        {
            if (!_peers.TryGetValue(name, out Peer? peer))
            {
                if (_peers.Count >= _most)
                    Forget();
                _peers.Add(name, peer = new Peer { Joins = _limits.JoinsPerMinute, At = clock.GetTimestamp() });
            }

            return change(peer);
        }
    }

    // Forgetting a peer that has nothing open loses nothing once a minute has passed: by then it has all of its joins again.
    private void Forget()
    {
        foreach ((string name, Peer peer) in _peers)
            if (peer is { Connections: 0, Streams: 0, Sessions: 0 } && clock.GetElapsedTime(peer.At) >= TimeSpan.FromMinutes(1))
                _peers.Remove(name);
        _most = Math.Max(KeptPeers, 2 * _peers.Count); // so that looking through all of them stays rare
    }

    [LoggerMessage(8, LogLevel.Warning, "Peer {Peer} is beyond its quota of {What}.")]
    private partial void LogExceeded(string peer, string what);

    private sealed class Peer
    {
        public int Connections, Streams, Sessions;

        /// <summary>Joins that it has left, as of <see cref="At"/>.</summary>
        public double Joins;

        public long At;

        public bool Told;

        public long? ToldAt;
    }

    private sealed class Lease(PeerQuotas quotas, string peer, Func<Peer, int, int> count) : IDisposable
    {
        private int _ended;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _ended, 1) == 0)
                quotas.Change(peer, p => count(p, -1));
        }
    }
}
