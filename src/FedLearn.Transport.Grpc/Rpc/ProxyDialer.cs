using System.Net;
using System.Net.Sockets;
using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>Asks an HTTP proxy for a connection to an address (RFC 9110, section 9.3.6).</summary>
internal static class ProxyDialer
{
    private const int MostAnswerBytes = 16 << 10;

    private static readonly string[] Schemes = ["Basic", "Digest", "NTLM", "Negotiate"];

    /// <summary>Whether the next attempt may succeed: the proxy may come back, and behind it a host may be started after the parties that join it.</summary>
    public static bool MayPass(PeerException e) => e.Id is GrpcErrors.ProxyUnreachable or GrpcErrors.ProxyCannotReach or GrpcErrors.ProxyClosed;

    /// <summary>One attempt.</summary>
    /// <param name="proxy">The proxy.</param>
    /// <param name="address">Where the connection should lead.</param>
    /// <param name="peer">Name of the party there; null where it is not known.</param>
    /// <param name="cancellationToken">Stops; the error then says how far it came.</param>
    /// <returns>The connection, over which nothing of the other side has been read.</returns>
    /// <exception cref="PeerException">FL4044 to FL4049.</exception>
    public static async Task<NetworkStream> ConnectAsync(GrpcProxy proxy, Uri address, string? peer, CancellationToken cancellationToken)
    {
        NetworkStream stream;
        try
        {
            stream = await TcpDialer.ConnectAsync(proxy.Address, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            throw Error(GrpcErrors.ProxyUnreachable, $"it accepts no connections{(e is SocketException { SocketErrorCode: var code } ? $" ({code})" : "")}.", "Check the address of the proxy and the firewall on the way to it.", e);
        }

        try
        {
            await stream.WriteAsync(Request(proxy, address), cancellationToken).ConfigureAwait(false);
            Require(await ReadHeadAsync(stream, cancellationToken).ConfigureAwait(false));
            return stream;
        }
        catch (Exception e)
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            throw e switch
            {
                IOException => Error(GrpcErrors.ProxyClosed, "it closed the connection without an answer to CONNECT.", "Look at its log: it may refuse this machine or that address, or be no proxy.", e),
                OperationCanceledException => CannotReach("gave no answer", e),
                _ => e,
            };
        }

        void Require(string head)
        {
            string[] lines = head.Split("\r\n");
            if (!lines[0].StartsWith("HTTP/1.", StringComparison.Ordinal) || lines[0].Split(' ') is not [_, { Length: 3 } digits, ..] || !int.TryParse(digits, out int status))
                throw Error(GrpcErrors.NotAProxy, "it does not answer in HTTP.", "Check the address and the port: this is no HTTP proxy, or one that is itself called over TLS.");
            if (status is >= 200 and < 300)
                return;
            if (status == (int)HttpStatusCode.ProxyAuthenticationRequired)
            {
                string wanted = string.Join(", ", Schemes.Where(scheme => lines.Any(line => line.StartsWith($"Proxy-Authenticate: {scheme}", StringComparison.OrdinalIgnoreCase))));
                throw Error(GrpcErrors.ProxyWantsCredentials, $"it {(proxy.Credential is null ? "asks for credentials, and none are given" : "does not accept the credentials given")} (status 407{(wanted.Length > 0 ? $"; it takes {wanted}" : "")}).",
                    "Give user, and passwordVariable or passwordFile, under proxy in the party file. They are sent in the scheme Basic alone: for NTLM or Negotiate (Kerberos) run a proxy on this machine that adds them, and name that one.");
            }

            if (status is 500 or > 501 and < 600)
                throw CannotReach($"answered with status {status}", null);
            throw Error(GrpcErrors.ProxyRefuses, $"it refuses to connect to {Target(address)} (status {status}).",
                "Ask whoever runs it to let this machine CONNECT to that name and port; many proxies allow port 443 alone, at which the other side may listen then. Status 400, 404 or 405 may mean that this is a web server and no proxy.");
        }

        PeerException CannotReach(string what, Exception? inner) => Error(GrpcErrors.ProxyCannotReach, $"it cannot resolve or reach {Target(address)}: it {what}.",
            $"Start {(peer is null ? "whoever listens there" : $"'{peer}'")}, check the name and the port (the proxy looks the name up, not this machine), and ask whoever runs the proxy whether it can reach them.", inner);

        PeerException Error(string id, string cause, string remedy, Exception? inner = null) => new(id, proxy.Name, cause, remedy, inner) { Peer = peer };
    }

    private static string Target(Uri address) => $"{(address.HostNameType == UriHostNameType.IPv6 ? address.Host : address.IdnHost)}:{address.Port}";

    private static byte[] Request(GrpcProxy proxy, Uri address)
    {
        string credential = proxy.Credential is { } c ? $"Proxy-Authorization: Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{c.UserName}:{c.Password}"))}\r\n" : "";
        return Encoding.ASCII.GetBytes($"CONNECT {Target(address)} HTTP/1.1\r\nHost: {Target(address)}\r\n{credential}\r\n");
    }

    // A byte at a time: what comes after the head is the other side's, and belongs to whoever speaks over the connection.
    private static async Task<string> ReadHeadAsync(NetworkStream stream, CancellationToken cancellationToken)
    {
        byte[] one = new byte[1];
        var head = new StringBuilder();
        while (head.Length < MostAnswerBytes)
        {
            await stream.ReadExactlyAsync(one, cancellationToken).ConfigureAwait(false);
            head.Append((char)one[0]);
            const string protocol = "HTTP/1.", end = "\r\n\r\n";
            if (head.Length <= protocol.Length && head[^1] != protocol[head.Length - 1])
                break; // another protocol may never send the end of a head
            if (head.Length >= end.Length && head.ToString(head.Length - end.Length, end.Length) == end)
                return head.ToString();
        }

        return "";
    }
}
