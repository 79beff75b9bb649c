using System.Net;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Coordination;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace FedLearn.Conformance.Tests;

/// <summary>A client that sends whatever bytes it is told to.</summary>
internal static class RawPeer
{
    /// <summary>One POST over HTTP/2; the status is read from the trailers or, for a response that is headers only, from those.</summary>
    public static async Task<(HttpStatusCode Http, string? Status, string? ErrorId, string? Message)> CallAsync(Uri address, string path, byte[] body,
        string contentType = "application/grpc", params (string Name, string Value)[] headers)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(address, path))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.TryAddWithoutValidation("content-type", contentType);
        foreach ((string name, string value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        using HttpResponseMessage response = await http.SendAsync(request).WaitAsync(ChannelConformance.Patience);
        return (response.StatusCode, Value("grpc-status"), Value("fedlearn-error-id"), Value("grpc-message"));

        string? Value(string name) => response.TrailingHeaders.TryGetValues(name, out IEnumerable<string>? values)
            || response.Headers.TryGetValues(name, out values) ? values.Single() : null;
    }

    public static byte[] Frame(IMessage message) => Framing.Frame(message);

    /// <summary>Bytes with a correct prefix.</summary>
    public static byte[] Frame(params byte[] message) => [0, 0, 0, 0, (byte)message.Length, .. message];

    /// <summary>A session whose active party is ours and whose passive party is an open call to write bytes to.</summary>
    public static async Task<RawSession> OpenAsync(GrpcHostOptions? options = null)
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(options ?? new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        ClientConnection connection = await ClientConnection.OpenAsync(host.Address, new GrpcClientOptions { ConnectTimeout = ChannelConformance.Patience }, default);
        Transport.Grpc.Wire.JoinReply reply = await connection.UnaryAsync(Methods.Join, SessionCodec.Encode(GrpcPairs.Request("telco")),
            Transport.Grpc.Wire.JoinReply.Parser, 1000, ChannelConformance.Patience, default);
        ClientExchange call = await connection.ExchangeAsync(Methods.Exchange, reply.SessionId, "telco", ChannelConformance.Patience, TimeSpan.FromMilliseconds(100), default);
        return new RawSession(host, await active, connection, call);
    }

    /// <summary>A gRPC server that answers as it is told; with a certificate, over TLS and to any client that has one.</summary>
    public static async Task<(WebApplication App, Uri Address)> ServeAsync(RequestDelegate handler, X509Certificate2? certificate = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            listen.Protocols = HttpProtocols.Http2;
            if (certificate is not null)
                listen.UseHttps(new HttpsConnectionAdapterOptions
                {
                    ServerCertificate = certificate,
                    ClientCertificateMode = ClientCertificateMode.RequireCertificate,
                    ClientCertificateValidation = (_, _, _) => true,
                });
        }));
        WebApplication app = builder.Build();
        app.Run(handler);
        await app.StartAsync();
        return (app, new Uri(app.Urls.First()));
    }

    /// <summary>Keeps a request open until its client gives up.</summary>
    public static async Task UntilAbortedAsync(HttpContext context)
    {
        var aborted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration _ = context.RequestAborted.Register(aborted.SetResult);
        await aborted.Task;
    }

    /// <summary>The reply of an honest host to the passive party "telco".</summary>
    public static Transport.Grpc.Wire.JoinReply Reply()
    {
        JoinedParty[] parties = [new("bank", GrpcPairs.Digest("bank")), new("telco", GrpcPairs.Digest("telco"))];
        return SessionCodec.Encode(new SessionAgreement("s1", SessionDesk.DigestOf(GrpcPairs.Digest("terms"), parties), parties));
    }
}

internal sealed record RawSession(GrpcFederationHost Host, GrpcSession Active, ClientConnection Connection, ClientExchange Call) : IAsyncDisposable
{
    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(Active.DisposeAsync().AsTask(), Call.EndAsync(Status.Ok).AsTask());
        await Host.DisposeAsync();
    }
}
