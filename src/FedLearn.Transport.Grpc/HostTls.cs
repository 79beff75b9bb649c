using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace FedLearn.Transport.Grpc;

/// <summary>The server's side of encrypted connections: demands a certificate of every client, examines it during the handshake, and tells of those it refused.</summary>
internal static class HostTls
{
    /// <summary>The versions spoken. 1.3 is taken wherever both sides have it; nothing below 1.2 is safe.</summary>
    public const SslProtocols Protocols = SslProtocols.Tls12 | SslProtocols.Tls13;

    // Long enough for machines under load. A client that stays silent holds one socket for as long.
    private static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(30);

    private static readonly object Key = new();

    /// <summary>Encrypts what a listener accepts.</summary>
    /// <param name="listen">The listener.</param>
    /// <param name="security">Who this party is and whom it admits.</param>
    /// <param name="refused">Told of each client that was refused, or that left because it did not accept this side: its name if that is known, else its address.</param>
    public static void Encrypt(ListenOptions listen, GrpcSecurity security, Action<string, PeerException> refused)
    {
        listen.Use(next => async connection =>
        {
            var client = new Client();
            connection.Items[Key] = client;
            await next(connection).ConfigureAwait(false);
            // A client that begins a TLS handshake and then leaves has seen this side's certificate and does not accept it. One that only tries whether the port is open begins none.
            if (client is { SaidHello: true, Refused: false, Called: false })
                refused(client.Identity?.Name ?? NameOf(connection), ClientTls.RefusedByPeer(PlaceOf(connection), "it ended the connection right after the handshake began, and called nothing."));
        });
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            HandshakeTimeout = HandshakeTimeout,
            OnConnection = context =>
            {
                var client = (Client)context.Connection.Items[Key]!;
                client.SaidHello = true;
                return new ValueTask<SslServerAuthenticationOptions>(new SslServerAuthenticationOptions
                {
                    ServerCertificateContext = security.Shown,
                    ClientCertificateRequired = true,
                    EnabledSslProtocols = Protocols,
                    AllowTlsResume = false, // every connection checks certificates anew
                    AllowRenegotiation = false,
                    CertificateRevocationCheckMode = X509RevocationMode.NoCheck, // no network: lists are files
                    CertificateChainPolicy = PeerVerifier.Offline(),
                    ApplicationProtocols = [SslApplicationProtocol.Http2],
                    RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsAdmitted(certificate, chain, client, context.Connection, security, refused),
                });
            },
        });
    }

    /// <summary>Who makes a request; null where nothing is encrypted.</summary>
    public static PeerIdentity? IdentityOf(HttpContext context)
    {
        if (context.Features.Get<IConnectionItemsFeature>()?.Items.TryGetValue(Key, out object? item) != true || item is not Client client)
            return null;
        client.Called = true;
        return client.Identity ?? throw new InvalidOperationException("A request came over a connection whose handshake has not ended.");
    }

    private static bool IsAdmitted(X509Certificate? certificate, X509Chain? chain, Client client, ConnectionContext connection, GrpcSecurity security, Action<string, PeerException> refused)
    {
        var shown = certificate as X509Certificate2;
        try
        {
            client.Identity = PeerVerifier.Examine(security, shown, chain?.ChainPolicy.ExtraStore, CertificateNames.ClientUse, PlaceOf(connection));
            return true;
        }
        catch (PeerException refusal)
        {
            if (!client.Refused)
                refused(security.Peers.FirstOrDefault(p => shown is not null && p.Value.Any(pin => pin.Matches(shown))).Key ?? NameOf(connection), refusal);
            client.Refused = true;
            return false;
        }
    }

    private static string NameOf(ConnectionContext connection) => connection.RemoteEndPoint?.ToString() ?? "unknown";

    private static string PlaceOf(ConnectionContext connection) => $"peer at {NameOf(connection)}";

    /// <summary>What is known of a connection's other end.</summary>
    private sealed class Client
    {
        public volatile bool SaidHello, Refused, Called;

        public PeerIdentity? Identity { get; set; }
    }
}
