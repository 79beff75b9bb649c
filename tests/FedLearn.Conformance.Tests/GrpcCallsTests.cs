using System.IO.Pipelines;
using System.Net;
using FedLearn.Coordination;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Http;
using Serving = FedLearn.Transport.Grpc.Wire.Health.HealthCheckResponse.Types.ServingStatus;
using Wire = FedLearn.Transport.Grpc.Wire;

namespace FedLearn.Conformance.Tests;

/// <summary>What a host and a coordinator have in common: calls of wrong form, time limits, health.</summary>
public sealed class GrpcCallsTests
{
    private static readonly SessionTerms Terms = GrpcPairs.Terms("telco");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Call_OfWrongForm_IsRefusedWithAnId(bool coordinator)
    {
        (Uri address, Func<Task> stop) = await StartAsync(coordinator);
        byte[] body = Watch("");
        (HttpStatusCode http, string? _, string? id, string? _) = await RawPeer.CallAsync(address, Methods.HealthCheck, body, "application/json");
        Assert.Equal((HttpStatusCode.UnsupportedMediaType, ProtocolErrors.Malformed), (http, id));
        Assert.Equal(("12", ProtocolErrors.Malformed), await CallAsync("/fedlearn.v1.Relay/Spy"));
        Assert.Equal(("12", ProtocolErrors.Malformed), await CallAsync(Methods.HealthCheck, ("grpc-encoding", "gzip")));
        Assert.Equal(("3", ProtocolErrors.Malformed), await CallAsync(Methods.HealthCheck, ("grpc-timeout", "soon")));
        Assert.Equal(("0", null), await CallAsync(Methods.HealthCheck, ("grpc-encoding", "identity"), ("grpc-timeout", "1M")));
        body = Watch("no.such.Service");
        Assert.Equal(("5", GrpcErrors.CallFailed), await CallAsync(Methods.HealthCheck));
        await stop();

        async Task<(string?, string?)> CallAsync(string path, params (string, string)[] headers)
        {
            (HttpStatusCode _, string? status, string? error, string? _) = await RawPeer.CallAsync(address, path, body, headers: headers);
            return (status, error);
        }
    }

    [Theory]
    [InlineData(false, ProtocolErrors.PeerGone)]
    [InlineData(true, RelayErrors.Stopping)]
    public async Task Watch_ProcessStops_SaysSoAndEnds(bool coordinator, string errorId)
    {
        (Uri address, Func<Task> stop) = await StartAsync(coordinator);
        using var http = new HttpMessageInvoker(new SocketsHttpHandler { UseProxy = false });
        (HttpResponseMessage known, PipeReader health) = await WatchAsync("");
        (HttpResponseMessage unknown, PipeReader none) = await WatchAsync("no.such.Service");
        Assert.Equal(Serving.Serving, await NextAsync(health));
        Assert.Equal(Serving.ServiceUnknown, await NextAsync(none));
        Task stopping = stop();
        Assert.Equal(Serving.NotServing, await NextAsync(health));
        Assert.Null(await NextAsync(health));
        Assert.Null(await NextAsync(none));
        foreach (HttpResponseMessage response in new[] { known, unknown })
        {
            Status? status = ClientConnection.StatusOf(response);
            Assert.Equal((StatusCode.Unavailable, errorId), (status?.Code, status?.ErrorId));
            response.Dispose();
        }

        await stopping.WaitAsync(ChannelConformance.Patience, Stop);

        async Task<(HttpResponseMessage, PipeReader)> WatchAsync(string service)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(address, Methods.HealthWatch))
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Content = new ByteArrayContent(Watch(service)),
            };
            request.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
            HttpResponseMessage response = await http.SendAsync(request, Stop).WaitAsync(ChannelConformance.Patience, Stop);
            return (response, PipeReader.Create(await response.Content.ReadAsStreamAsync(Stop)));
        }
    }

    [Theory]
    [InlineData(false, 1)] // SERVING
    [InlineData(true, 2)] // NOT_SERVING
    public async Task Check_ProcessStops_SaysSo(bool stopping, byte health)
    {
        using var answer = new MemoryStream();
        var context = new DefaultHttpContext();
        (context.Request.Body, context.Response.Body) = (new MemoryStream(Watch("")), answer);
        Assert.Equal(Status.Ok, await GrpcCalls.CheckHealthAsync(context, [""], new GrpcHostOptions(), new CancellationToken(stopping), Stop));
        Assert.Equal((byte[])[0, 0, 0, 0, 2, 8, health], answer.ToArray()); // a message of 2 bytes, whose first field is a number
    }

    [Fact]
    public async Task Reach_TimeOfTheCallIsUp_IsKeptByTheCoordinator()
    {
        var clock = new ManualClock();
        await using GrpcRelayServer relay = await Relays.StartAsync(Terms, clock: clock);
        Task<(HttpStatusCode, string? Status, string? ErrorId, string?)> call = RawPeer.CallAsync(relay.Address, Methods.Reach, [], headers:
            [("fedlearn-job", "trial"), ("fedlearn-purpose", "train"), ("fedlearn-terms", Convert.ToHexString(Terms.TermsDigest.Span)), ("fedlearn-party", "telco"), ("fedlearn-host", "bank"), ("grpc-timeout", "5S")]);
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(5)).WaitAsync(ChannelConformance.Patience, Stop);
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(("4", ProtocolErrors.TimedOut), ((await call).Status, (await call).ErrorId));
    }

    [Fact]
    public async Task Request_NoMessageComes_EndsAfterTheTimeToJoin()
    {
        var clock = new ManualClock();
        var options = new GrpcHostOptions { JoinTimeout = TimeSpan.FromSeconds(20), Channel = new ChannelOptions { Clock = clock } };
        var context = new DefaultHttpContext();
        context.Request.Body = new Pipe().Reader.AsStream();
        Task<Wire.JoinRequest> reading = GrpcCalls.RequestAsync(context, Wire.JoinRequest.Parser, options, TestContext.Current.CancellationToken);
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        clock.Advance(TimeSpan.FromSeconds(20));
        RpcException error = await Assert.ThrowsAsync<RpcException>(() => reading.WaitAsync(ChannelConformance.Patience, TestContext.Current.CancellationToken));
        Assert.Equal((StatusCode.DeadlineExceeded, ProtocolErrors.TimedOut), (error.Status.Code, error.Status.ErrorId));
    }

    private static async Task<(Uri Address, Func<Task> Stop)> StartAsync(bool coordinator)
    {
        if (coordinator)
        {
            GrpcRelayServer relay = await Relays.StartAsync(Terms);
            return (relay.Address, () => relay.StopAsync(ChannelConformance.Patience));
        }

        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), Terms, Stop);
        return (host.Address, () => host.DisposeAsync().AsTask());
    }

    private static byte[] Watch(string service) => RawPeer.Frame(new Wire.Health.HealthCheckRequest { Service = service });

    private static async Task<Serving?> NextAsync(PipeReader health) =>
        await Framing.ReadAsync(health, Wire.Health.HealthCheckResponse.Parser, 1000, Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop) is var (response, _) ? response.Status : null;
}
