using System.Net;
using System.Net.Sockets;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Wire = FedLearn.Transport.Grpc.Wire;

namespace FedLearn.Conformance.Tests;

/// <summary>The client against servers that break the protocol or are not there.</summary>
public sealed class HostileServerTests
{
    public static TheoryData<string, string> BadAnswers => new()
    {
        { "404", GrpcErrors.NotGrpc },
        { "html", GrpcErrors.NotGrpc },
        { "refused without id", GrpcErrors.CallFailed },
        { "status that is no number", GrpcErrors.CallFailed },
        { "refused with id", ProtocolErrors.DifferentJob },
        { "refused with an id that is none", GrpcErrors.CallFailed },
        { "gave up", ProtocolErrors.PeerAborted },
        { "500", GrpcErrors.NotGrpc },
        { "garbage", ProtocolErrors.Malformed },
        { "compressed", ProtocolErrors.Malformed },
        { "too large", ProtocolErrors.TooLarge },
        { "two replies", ProtocolErrors.Malformed },
        { "no reply", GrpcErrors.CallFailed },
        { "no status", GrpcErrors.CallFailed },
        { "status 7 behind a reply", GrpcErrors.CallFailed },
        { "no parties", ProtocolErrors.Malformed },
        { "session id with a line break", ProtocolErrors.Malformed },
        { "another job", ProtocolErrors.DifferentJob },
        { "another schema", ProtocolErrors.DifferentJob },
        { "dies", ProtocolErrors.PeerGone },
    };

    [Theory]
    [MemberData(nameof(BadAnswers))]
    public async Task Join_BadAnswer_IsRefusedWithItsId(string answer, string errorId)
    {
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(context => AnswerAsync(context, answer));
        await using WebApplication _ = app;
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => JoinAsync(address));
        Assert.True(errorId == error.Id, $"{answer}: {error.Message}");
        Assert.DoesNotContain(error.Message, char.IsControl);
        if (answer == "refused with id")
            Assert.Contains("Straße 100% [2J", error.Message, StringComparison.Ordinal);
        if (answer == "refused without id")
            Assert.Contains("not today", error.Cause, StringComparison.Ordinal);
        Assert.Equal(answer == "gave up" ? "FL3001" : null, error.PeerErrorId);
    }

    /// <summary>A host that has not noticed the loss yet takes the party for one that waits; without a loss somebody else is there.</summary>
    [Fact]
    public async Task Join_AlreadyThere_IsTriedAgainAfterALossOnly()
    {
        int calls = 0;
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(context =>
            AnswerAsync(context, Interlocked.Increment(ref calls) switch { 1 => "dies", 2 => "already there", _ => "refused with id" }));
        await using WebApplication _ = app;
        Assert.Equal(ProtocolErrors.DifferentJob, (await Assert.ThrowsAsync<PeerException>(() => JoinAsync(address))).Id);
        Assert.Equal(3, calls);
        calls = 1;
        Assert.Equal(ProtocolErrors.AlreadyJoined, (await Assert.ThrowsAsync<PeerException>(() => JoinAsync(address))).Id);
        Assert.Equal(2, calls);
    }

    [Theory]
    [InlineData("garbage", ProtocolErrors.Malformed)]
    [InlineData("compressed", ProtocolErrors.Malformed)]
    [InlineData("too large", ProtocolErrors.TooLarge)]
    [InlineData("half a message", ProtocolErrors.PeerGone)]
    [InlineData("ends", ProtocolErrors.PeerGone)]
    [InlineData("dies", ProtocolErrors.PeerGone)]
    [InlineData("ends with an error id", ProtocolErrors.PeerAborted)]
    public async Task Exchange_BadMessage_IsRefusedWithItsId(string answer, string errorId)
    {
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            if (context.Request.Path == Methods.Join)
            {
                await ReplyAsync(context, RawPeer.Frame(RawPeer.Reply()));
                return;
            }

            context.Response.ContentType = "application/grpc";
            await context.Response.BodyWriter.FlushAsync();
            switch (answer)
            {
                case "dies":
                    context.Abort();
                    return;
                case "ends with an error id":
                    context.Response.AppendTrailer("fedlearn-error-id", "FL3001");
                    break;
                case not "ends":
                    await context.Response.BodyWriter.WriteAsync(answer switch
                    {
                        "garbage" => RawPeer.Frame(0xFF, 0xFF, 0xFF),
                        "compressed" => [1, 0, 0, 0, 1, 0],
                        "too large" => [0, 0x7F, 0, 0, 0],
                        _ => [0, 0, 0, 0, 100, 1, 2, 3],
                    });
                    break;
            }

            context.Response.AppendTrailer("grpc-status", "10");
        });
        await using WebApplication _ = app;
        PeerException error = await Assert.ThrowsAsync<PeerException>(async () =>
        {
            await using GrpcSession session = await JoinAsync(address);
            await session.Channels[0].ReceiveAsync<Residuals>(0, 1).AsTask().WaitAsync(ChannelConformance.Patience);
        });
        Assert.True(errorId == error.Id, $"{answer}: {error.Message}");
    }

    [Fact]
    public async Task Join_GarbageFromARawSocket_IsRefused()
    {
        (PeerException error, _) = await JoinSocketAsync(client =>
            client.GetStream().WriteAsync("SSH-2.0-OpenSSH_9.2p1 Debian, which is certainly no HTTP/2 frame\r\n"u8.ToArray()).AsTask());
        Assert.Contains(error.Id, new[] { GrpcErrors.NotGrpc, ProtocolErrors.PeerGone }); // the HTTP stack does not always tell garbage from a broken connection
    }

    [Fact]
    public async Task Join_ForwarderWithNobodyBehind_IsALossAndNotAnotherProtocol()
    {
        (PeerException error, EndPoint address) = await JoinSocketAsync(async client =>
        {
            Assert.True(await client.GetStream().ReadAsync(new byte[1000]) > 0);
            client.Client.Shutdown(SocketShutdown.Send); // the end without a byte, as ssh has it when nobody is behind the port
        });
        Assert.Equal(ProtocolErrors.PeerGone, error.Id);
        Assert.Equal($"host at http://{address}", error.Place.TrimEnd('/')); // no coordinator, which is another program
        Assert.Contains("https", error.Cause, StringComparison.Ordinal); // an encrypted host ends so as well
        Assert.Contains("https", error.Remedy, StringComparison.Ordinal);
    }

    /// <summary>What servers with OpenSSL answer to bytes that are no hello; ours ends the connection.</summary>
    [Theory]
    [InlineData(7)]
    [InlineData(1)]
    public async Task Join_HostThatListensWithHttps_IsSaidAtOnce(int bytes)
    {
        byte[] alert = [21, 3, 3, 0, 2, 2, 70];
        (PeerException error, _) = await JoinSocketAsync(async client =>
        {
            Assert.True(await client.GetStream().ReadAsync(new byte[1000]) > 0);
            await client.GetStream().WriteAsync(alert.AsMemory(0, bytes));
            client.Client.Shutdown(SocketShutdown.Send);
        }, "bank");
        Assert.Equal((GrpcErrors.NotGrpc, "bank"), (error.Id, error.Peer)); // no loss, which would be waited for
        Assert.Contains("listens with https", error.Cause, StringComparison.Ordinal);
    }

    /// <summary>Joins where a raw socket answers, as long as the client asks.</summary>
    private static async Task<(PeerException Error, EndPoint Address)> JoinSocketAsync(Func<TcpClient, Task> answer, string? peer = null)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        EndPoint address = listener.LocalEndpoint;
        Task serving = Task.Run(async () =>
        {
            while (true) // a lost connection is tried again
                await AnswerAsync(await listener.AcceptTcpClientAsync());
        });
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => JoinAsync(new Uri($"http://{address}"), peer));
        listener.Stop();
        Assert.NotNull(await Record.ExceptionAsync(() => serving));
        return (error, address);

        async Task AnswerAsync(TcpClient client)
        {
            using (client)
                try
                {
                    NetworkStream stream = client.GetStream(); // not to be asked for once sending has ended
                    await answer(client);
                    while (await stream.ReadAsync(new byte[1000]) > 0) { }
                }
                catch (IOException)
                {
                    // the client reset the connection
                }
        }
    }

    [Fact]
    public async Task Join_NobodyListens_NamesAddressAndTime()
    {
        var clock = new ManualClock();
        Uri address = FreeAddress();
        Task<GrpcSession> joining = GrpcFederationClient.JoinAsync(address, GrpcPairs.Request("telco"),
            new GrpcClientOptions { ConnectTimeout = TimeSpan.FromSeconds(5), Channel = new ChannelOptions { Clock = clock } });
        while (!joining.IsCompleted)
        {
            await Task.WhenAny(joining, clock.WaitForTimerAsync(TimeSpan.FromSeconds(1)));
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        PeerException error = await Assert.ThrowsAsync<PeerException>(() => joining);
        Assert.Equal(ProtocolErrors.CannotConnect, error.Id);
        Assert.Contains(address.Authority, error.Message, StringComparison.Ordinal);
        Assert.Contains("5 s", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_HostStartsLater_Succeeds()
    {
        var clock = new ManualClock();
        Uri address = FreeAddress();
        Task<GrpcSession> joining = GrpcFederationClient.JoinAsync(address, GrpcPairs.Request("telco"), new GrpcClientOptions { Channel = new ChannelOptions { Clock = clock } });
        await clock.WaitForTimerAsync(TimeSpan.FromSeconds(1)); // the first attempt failed; the client pauses
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = address }, GrpcPairs.Terms("telco"));
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        clock.Advance(TimeSpan.FromSeconds(1));
        await using GrpcSession session = await joining.WaitAsync(ChannelConformance.Patience);
        Assert.Equal("bank", session.Channels[0].RemoteParty);
        await using GrpcSession other = await active;
    }

    [Fact]
    public async Task Join_ServerNeverAnswers_TimesOut()
    {
        var clock = new ManualClock();
        var called = new TaskCompletionSource<string?>();
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            called.SetResult(context.Request.Headers["grpc-timeout"]);
            await RawPeer.UntilAbortedAsync(context);
        });
        await using WebApplication _ = app;
        Task<GrpcSession> joining = GrpcFederationClient.JoinAsync(address, GrpcPairs.Request("telco"),
            new GrpcClientOptions { JoinTimeout = TimeSpan.FromSeconds(5), Channel = new ChannelOptions { Clock = clock } });
        Assert.True(HeaderText.TryParseTimeout((await called.Task.WaitAsync(ChannelConformance.Patience))!, out TimeSpan told));
        Assert.Equal(TimeSpan.FromSeconds(5), told);
        clock.Advance(TimeSpan.FromSeconds(8));
        Assert.Equal(ProtocolErrors.TimedOut, (await Assert.ThrowsAsync<PeerException>(() => joining)).Id);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Exchange_ServerNeverOpensIt_TimesOutOrIsCancelled(bool cancelled)
    {
        var clock = new ManualClock();
        using var source = new CancellationTokenSource();
        var called = new TaskCompletionSource();
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            if (context.Request.Path == Methods.Join)
            {
                await ReplyAsync(context, RawPeer.Frame(RawPeer.Reply()));
                return;
            }

            called.SetResult();
            await RawPeer.UntilAbortedAsync(context);
        });
        await using WebApplication _ = app;
        Task<GrpcSession> joining = GrpcFederationClient.JoinAsync(address, GrpcPairs.Request("telco"),
            new GrpcClientOptions { JoinTimeout = TimeSpan.FromSeconds(5), Channel = new ChannelOptions { Clock = clock } }, source.Token);
        await called.Task.WaitAsync(ChannelConformance.Patience);
        if (cancelled)
        {
            await source.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => joining.WaitAsync(ChannelConformance.Patience));
            return;
        }

        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(ProtocolErrors.TimedOut, (await Assert.ThrowsAsync<PeerException>(() => joining.WaitAsync(ChannelConformance.Patience))).Id);
    }

    /// <summary>The time limits of joining end with it, and a party may have any name.</summary>
    [Fact]
    public async Task Exchange_LongAfterItWasOpened_GoesOn()
    {
        const string name = "Zürich 100%";
        var clock = new ManualClock();
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms(name));
        Task<GrpcSession> joining = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request(name), new GrpcClientOptions { Channel = new ChannelOptions { Clock = clock } }), active = await joining;
        clock.Advance(TimeSpan.FromHours(1));
        await passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { 1.5 }), "test"));
        Assert.Equal((name, 1.5), (active.Channels[0].RemoteParty, (await active.Channels[0].ReceiveAsync<Scores>(0, 1)).Values.Span[0]));
    }

    [Fact]
    public async Task Dispose_Session_EndsItsConnection()
    {
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            if (context.Request.Path == Methods.Join)
            {
                context.Features.Get<IConnectionLifetimeFeature>()!.ConnectionClosed.Register(() => closed.TrySetResult());
                await ReplyAsync(context, RawPeer.Frame(RawPeer.Reply()));
                return;
            }

            context.Response.ContentType = "application/grpc";
            await context.Response.BodyWriter.FlushAsync();
            await context.Request.Body.CopyToAsync(Stream.Null);
            context.Response.AppendTrailer("grpc-status", "0");
        });
        await using WebApplication _ = app;
        await (await JoinAsync(address)).DisposeAsync();
        await closed.Task.WaitAsync(ChannelConformance.Patience);
    }

    [Fact]
    public async Task Dispose_ConnectionThatNobodyUsed_EndsIt()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        ClientConnection connection = await ClientConnection.OpenAsync(new Uri($"http://{listener.LocalEndpoint}"), new GrpcClientOptions(), default);
        using TcpClient client = await listener.AcceptTcpClientAsync();
        connection.Dispose();
        Assert.Equal(0, await client.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(ChannelConformance.Patience));
    }

    [Fact]
    public async Task Join_Cancelled_Stops()
    {
        using var source = new CancellationTokenSource();
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            await source.CancelAsync();
            await RawPeer.UntilAbortedAsync(context); // ends by RST_STREAM
        });
        await using WebApplication _ = app;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => GrpcFederationClient.JoinAsync(address, GrpcPairs.Request("telco"), cancellationToken: source.Token));
    }

    private static Task<GrpcSession> JoinAsync(Uri address, string? peer = null) => GrpcFederationClient.JoinAsync(address, GrpcPairs.Request("telco"),
        new GrpcClientOptions { Peer = peer, ShutdownTimeout = TimeSpan.FromMilliseconds(200) }).WaitAsync(ChannelConformance.Patience);

    private static Uri FreeAddress()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return new Uri($"http://{listener.LocalEndpoint}");
    }

    private static async Task AnswerAsync(HttpContext context, string answer)
    {
        byte[] good = RawPeer.Frame(RawPeer.Reply());
        switch (answer)
        {
            case "404":
                context.Response.StatusCode = 404;
                break;
            case "html":
                context.Response.ContentType = "text/html";
                await context.Response.WriteAsync("<p>hello</p>");
                break;
            case "500":
                (context.Response.ContentType, context.Response.StatusCode) = ("application/grpc", 500);
                break;
            case "refused without id":
                (context.Response.ContentType, context.Response.Headers["grpc-status"], context.Response.Headers["grpc-message"]) = ("application/grpc", "7", "not today");
                break;
            case "refused with an id that is none":
                (context.Response.ContentType, context.Response.Headers["grpc-status"], context.Response.Headers["fedlearn-error-id"]) = ("application/grpc", "7", "FL4010 and more");
                break;
            case "gave up":
                (context.Response.ContentType, context.Response.Headers["grpc-status"], context.Response.Headers["fedlearn-error-id"]) = ("application/grpc", "10", "FL3001");
                break;
            case "status that is no number":
                (context.Response.ContentType, context.Response.Headers["grpc-status"]) = ("application/grpc", "soon");
                break;
            case "refused with id":
                (context.Response.ContentType, context.Response.Headers["grpc-status"]) = ("application/grpc", "9");
                context.Response.Headers["fedlearn-error-id"] = ProtocolErrors.DifferentJob;
                context.Response.Headers["grpc-message"] = "Stra%C3%9Fe 100%25%1B[2J"; // an escape sequence must not reach a terminal
                break;
            case "already there":
                (context.Response.ContentType, context.Response.Headers["grpc-status"], context.Response.Headers["fedlearn-error-id"]) = ("application/grpc", "6", ProtocolErrors.AlreadyJoined);
                break;
            case "dies":
                context.Abort();
                break;
            default:
                Wire.JoinReply spoilt = RawPeer.Reply();
                if (answer == "no parties")
                    spoilt.Parties.Clear();
                else if (answer == "session id with a line break")
                    spoilt.SessionId = "a\r\nx: y";
                else if (answer == "another job")
                    spoilt.JobDigest = ByteString.CopyFrom(new byte[32]);
                else if (answer == "another schema")
                    spoilt.Parties[1].SchemaFingerprint = ByteString.CopyFrom(new byte[32]);
                await ReplyAsync(context, answer switch
                {
                    "garbage" => RawPeer.Frame(0xFF, 0xFF, 0xFF),
                    "compressed" => [1, 0, 0, 0, 1, 0],
                    "too large" => [0, 0x7F, 0, 0, 0],
                    "two replies" => [.. good, .. good],
                    "no reply" => [],
                    _ => RawPeer.Frame(spoilt),
                }, answer switch { "no status" => null, "status 7 behind a reply" => "7", _ => "0" });
                break;
        }
    }

    private static async Task ReplyAsync(HttpContext context, byte[] body, string? status = "0")
    {
        context.Response.ContentType = "application/grpc";
        await context.Response.BodyWriter.WriteAsync(body);
        if (status is not null)
            context.Response.AppendTrailer("grpc-status", status);
    }
}
