using System.Buffers.Binary;
using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using FedLearn.Conformance.Tests;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Wire = FedLearn.Transport.Grpc.Wire;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Peers that are hostile over more than one message: out of order, again, otherwise than before, in another's session, compressed, or idle by the thousand. After
/// each act an honest session on the same host, or on the next one where the protocol ends it, succeeds with the right result.</summary>
/// <remarks>Single bad messages are in HostileClientTests and HostileServerTests.</remarks>
[Collection(WholeProcessTests.Name)]
public sealed class HostilePeerReliabilityTests(UnobservedExceptions unobserved)
{
    private static readonly byte[] GoodJoin = RawPeer.Frame(SessionCodec.Encode(GrpcPairs.Request("telco")));

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Join_TwiceOrAgain_IsRefusedAndTheHonestOneJoins()
    {
        var log = new ReliabilityLog("requests to join twice, and again when the session is over");
        var clock = new ManualClock();
        await using GrpcFederationHost host = await StartAsync(clock);
        await JoinAndLeaveAsync(host, clock);
        await HonestSessionAsync(host);
        Assert.Equal(("9", ProtocolErrors.AlreadyJoined), await JoinAsync(host, GoodJoin));      // a recorded request
        await HonestSessionAsync();
        unobserved.AssertNone();
        log.Passed(2, "each refused with FL4013; the honest session went through");
    }

    [Fact]
    public async Task Call_OutsideTheProtocol_IsRefusedWithAnId()
    {
        var log = new ReliabilityLog("calls that the protocol does not have");
        await using GrpcFederationHost host = await StartAsync();
        byte[] unknownService = RawPeer.Frame(new Wire.Health.HealthCheckRequest { Service = "no.such.Service" });
        (string Path, byte[] Body, string ContentType, (string, string)[] Headers)[] calls =
        [
            (Methods.Join, GoodJoin, "application/json", []), ("/no.such/Method", GoodJoin, "application/grpc", []), ("/", [], "application/grpc", []), (Methods.HealthCheck, unknownService, "application/grpc", []),
            (Methods.Join, GoodJoin, "application/grpc", [("grpc-encoding", "gzip")]), (Methods.Join, GoodJoin, "application/grpc", [("grpc-encoding", "identity"), ("grpc-encoding", "gzip")]),
            (Methods.Join, GoodJoin, "application/grpc", [("grpc-timeout", "soon")]), (Methods.Join, GoodJoin, "application/grpc", [("grpc-timeout", "999999999S")]),
            (Methods.Exchange, [], "application/grpc", []), (Methods.Exchange, [], "application/grpc", [("fedlearn-session", new string('a', 8000)), ("fedlearn-party", "%FF%00")]),
        ];
        foreach ((string path, byte[] body, string contentType, (string, string)[] headers) in calls)
        {
            (_, string? status, string? id, _) = await RawPeer.CallAsync(host.Address, path, body, contentType, headers);
            Assert.True(status != "0" && HeaderText.IsErrorId(id), $"{path} {contentType} {string.Join(' ', headers)}: {status} {id}");
        }

        await HonestSessionAsync(host);
        unobserved.AssertNone();
        log.Passed(calls.Length, "each refused with an error id");
    }

    [Fact]
    public async Task Exchange_ReplayedMessage_IsRefused()
    {
        var log = new ReliabilityLog("messages sent again");
        byte[] recorded = RawPeer.Frame(Scores(0, 1));
        (string What, byte[] Second, string Id)[] replays =
        [
            ("the same message where the next is due", recorded, ProtocolErrors.WrongRound),
            ("the same round with other numbers", RawPeer.Frame(Scores(0, 2)), ProtocolErrors.WrongRound),
            ("a round that is long over", RawPeer.Frame(Scores(int.MaxValue, 1)), ProtocolErrors.WrongRound),
            ("the message and a half of it", [.. RawPeer.Frame(new Wire.Envelope { Round = 1, Residuals = new() { Data = ByteString.CopyFrom(new byte[24]) } })], ProtocolErrors.UnexpectedMessage),
        ];
        foreach ((string what, byte[] second, string id) in replays)
        {
            await using RawSession session = await RawPeer.OpenAsync();
            IPartyChannel active = session.Active.Channels[0];
            await session.Call.Output.WriteAsync((byte[])[.. recorded, .. second], Stop);
            AssertNumbers(await ReceiveAsync(active, 0), 1.0, 1, 1);
            Assert.True((await Assert.ThrowsAsync<PeerException>(() => ReceiveAsync(active, 1))).Id == id, what);
        }

        await HonestSessionAsync();
        unobserved.AssertNone();
        log.Passed(replays.Length, "each refused with FL4001 or FL4002");
    }

    [Fact]
    public async Task Exchange_MessageAfterTheEnd_ChangesNothing()
    {
        await using (RawSession session = await RawPeer.OpenAsync())
        {
            await session.Call.Output.WriteAsync((byte[])[.. RawPeer.Frame(new Wire.Envelope { Completed = new() }), .. RawPeer.Frame(Scores(0, 1)), .. RawPeer.Frame(new Wire.Envelope { Aborted = new() { ErrorId = "FL3001" } })], Stop);
            await session.Active.Channels[0].CompleteAsync(Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);
        }

        await HonestSessionAsync();
        unobserved.AssertNone();
    }

    [Fact]
    public async Task Join_AnotherAnswerTheSecondTime_IsRefused()
    {
        var log = new ReliabilityLog("peers that change their answers");
        // A client that joins rightly, leaves, and comes back with another job, then another version, then another role.
        var clock = new ManualClock();
        await using GrpcFederationHost host = await StartAsync(clock);
        await JoinAndLeaveAsync(host, clock);
        (Action<Wire.JoinRequest> Change, string Id)[] changes =
        [
            (r => r.TermsDigest = ByteString.CopyFrom(new byte[32]), ProtocolErrors.DifferentJob), (r => r.ProtocolVersion++, ProtocolErrors.DifferentVersion),
            (r => r.Role = Wire.Role.Active, ProtocolErrors.UnknownParty), (r => r.SchemaFingerprint = ByteString.Empty, ProtocolErrors.Malformed),
        ];
        foreach ((Action<Wire.JoinRequest> change, string id) in changes)
        {
            Wire.JoinRequest request = SessionCodec.Encode(GrpcPairs.Request("telco"));
            change(request);
            Assert.Equal(id, (await JoinAsync(host, RawPeer.Frame(request))).ErrorId);
        }

        await HonestSessionAsync(host);

        // A server that agrees rightly, loses the session, and agrees to something else when it is joined again.
        int joins = 0;
        (WebApplication app, Uri address) = await RawPeer.ServeAsync(async context =>
        {
            context.Response.ContentType = "application/grpc";
            if (context.Request.Path == Methods.Join)
            {
                Wire.JoinReply reply = RawPeer.Reply();
                if (Interlocked.Increment(ref joins) > 1)
                    reply.Parties[0].SchemaFingerprint = ByteString.CopyFrom(new byte[32]);    // the active party's columns are others now, under the same digest
                await context.Response.BodyWriter.WriteAsync(RawPeer.Frame(reply), Stop);
                context.Response.AppendTrailer("grpc-status", "0");
                return;
            }

            await context.Response.BodyWriter.FlushAsync(Stop);
            context.Abort();
        });
        await using WebApplication _ = app;
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcRejoiningClient.RunAsync(address, GrpcPairs.Request("telco"),
            async (session, stop) => await session.Channels[0].ReceiveAsync<Residuals>(0, 3, stop), cancellationToken: Stop).WaitAsync(ChannelConformance.Patience, Stop));
        Assert.Equal((ProtocolErrors.DifferentJob, 2), (error.Id, joins));
        unobserved.AssertNone();
        log.Passed(changes.Length + 1, "each refused with its id; the honest party joined after them");
    }

    [Fact]
    public async Task Sessions_CrossTalk_IsRefusedAndHarmsNeither()
    {
        var log = new ReliabilityLog("messages of one session sent into another");
        await using GrpcFederationHost a = await StartAsync(), b = await StartAsync();
        await using Pair one = await PairAsync(a), two = await PairAsync(b);
        Assert.NotEqual(one.Active.Agreement.SessionId, two.Active.Agreement.SessionId);
        // A's id at B, and B's at A.
        Assert.Equal(("5", GrpcErrors.WrongSession), await OpenAsync(b, one.Active.Agreement.SessionId));
        Assert.Equal(("5", GrpcErrors.WrongSession), await OpenAsync(a, two.Active.Agreement.SessionId));
        // Both go on, each with its own numbers.
        await two.Passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { 2, 2, 2 }), "test"), Stop);
        await one.Passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { 1, 1, 1 }), "test"), Stop);
        AssertNumbers(await ReceiveAsync(one.Active.Channels[0], 0), 1.0, 1, 1);
        AssertNumbers(await ReceiveAsync(two.Active.Channels[0], 0), 2.0, 2, 2);
        await CompleteAsync(one.Passive, one.Active);
        await CompleteAsync(two.Passive, two.Active);

        // A's frames, recorded in its fifth round, in B's open exchange: B refuses them, and A does not notice.
        await using (RawSession victim = await RawPeer.OpenAsync())
        {
            await using Pair other = await PairAsync(await StartAsync(), ownsHost: true);
            await victim.Call.Output.WriteAsync(RawPeer.Frame(Scores(5, 7)), Stop);
            Assert.Equal(ProtocolErrors.WrongRound, (await Assert.ThrowsAsync<PeerException>(() => ReceiveAsync(victim.Active.Channels[0], 0))).Id);
            await ExchangeAsync(other.Passive, other.Active);
        }

        await HonestSessionAsync();
        unobserved.AssertNone();
        log.Passed(3, "each refused; both sessions had their own numbers");
    }

    [Fact]
    public async Task Messages_CompressedOrAnnounced_TakeNoMemory()
    {
        var log = new ReliabilityLog("compressed bombs and announced lengths");
        byte[] bomb = Bomb(1 << 30);
        byte[] frame = [1, 0, 0, 0, 0, .. bomb];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), bomb.Length);
        await HonestSessionAsync();
        long before = GC.GetTotalAllocatedBytes(precise: true);
        await using (GrpcFederationHost host = await StartAsync())
        {
            foreach ((string, string)[] headers in new (string, string)[][] { [("grpc-encoding", "gzip")], [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")], [("content-encoding", "gzip")], [] })
            {
                (HttpStatusCode http, string? status, string? id, _) = await RawPeer.CallAsync(host.Address, Methods.Join, frame, headers: headers);
                Assert.Equal((HttpStatusCode.OK, "12", ProtocolErrors.Malformed), (http, status, id));
            }

            Assert.Equal(("8", ProtocolErrors.TooLarge), await JoinAsync(host, [0, 0x80, 0, 0, 0]));                // 2 GiB, and no byte of them
            Assert.Equal(("12", ProtocolErrors.Malformed), await JoinAsync(host, [1, 0x80, 0, 0, 0]));
            await HonestSessionAsync(host);
        }

        // Inside an exchange: the bomb, 2 GiB, and a length just below the limit of which one byte comes and then nothing.
        var clock = new ManualClock();
        foreach ((byte[] bytes, string expected) in new (byte[], string)[] { (frame, ProtocolErrors.Malformed), ([0, 0x80, 0, 0, 0], ProtocolErrors.TooLarge), ([0, 0x0F, 0xFF, 0xFF, 0x00, 1], ProtocolErrors.TimedOut) })
        {
            await using RawSession session = await RawPeer.OpenAsync(new GrpcHostOptions { Channel = new ChannelOptions { Clock = clock } });
            await session.Call.Output.WriteAsync(bytes, Stop);
            Task<Scores> receiving = session.Active.Channels[0].ReceiveAsync<Scores>(0, 3, Stop).AsTask();
            if (expected == ProtocolErrors.TimedOut)
                clock.Advance(TimeSpan.FromMinutes(1));

            Assert.Equal(expected, (await Assert.ThrowsAsync<PeerException>(() => receiving.WaitAsync(ChannelConformance.Patience, Stop))).Id);
        }

        long allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        Assert.InRange(allocated, 0, 64L << 20);                                       // the bomb alone is 1 MiB, and is sent five times; it stands for 1 GiB
        await HonestSessionAsync();
        unobserved.AssertNone();
        log.Passed(9, $"each refused with FL4005, FL4006 or FL4009; {allocated >> 20} MiB allocated in all, by both sides");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Connections_AThousandIdle_HonestSessionGoesOnAndNothingIsLeft(bool http2)
    {
        var log = new ReliabilityLog(http2 ? "idle HTTP/2 connections" : "idle TCP connections");
        const int Idle = 1000;
        await HonestSessionAsync();                                                     // what a process keeps from its first session
        unobserved.AssertNone();
        (long memory, int handles) = (GC.GetTotalMemory(forceFullCollection: true), Handles());
        long held;
        await using (GrpcFederationHost host = await StartAsync())
        {
            var connections = new List<TcpClient>(Idle);
            for (int i = 0; i < Idle; i++)
            {
                var client = new TcpClient();
                connections.Add(client);
                await client.ConnectAsync(IPAddress.Loopback, host.Address.Port, Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);
                if (http2)
                    await GreetAsync(client);
            }

            held = GC.GetTotalMemory(forceFullCollection: true) - memory;
            await HonestSessionAsync(host).WaitAsync(ChannelConformance.Patience, Stop);
            foreach (TcpClient client in connections)
                client.Dispose();
        }

        await HonestSessionAsync();
        unobserved.AssertNone();
        (long left, int more) = (GC.GetTotalMemory(forceFullCollection: true) - memory, Handles() - handles);
        Assert.InRange(left, long.MinValue, 16L << 20);                                // pools of buffers keep some; a connection that stayed would keep its own
        Assert.InRange(more, int.MinValue, 50);
        log.Passed(Idle, $"the honest session went through; {held >> 10} KiB held by all connections, {Math.Max(0, left) >> 10} KiB and {Math.Max(0, more)} handles left after them");
    }

    private static void AssertNumbers(VectorPayload payload, params double[] expected) => Assert.Equal(expected, payload.Values.ToArray());

    private static Wire.Envelope Scores(int round, double value)
    {
        byte[] bytes = [.. Enumerable.Repeat(BitConverter.GetBytes(value), 3).SelectMany(b => b)];
        return new Wire.Envelope { Round = round, Scores = new() { Data = ByteString.CopyFrom(bytes) } };
    }

    private static Task<GrpcFederationHost> StartAsync(ManualClock? clock = null) =>
        GrpcFederationHost.StartAsync(new GrpcHostOptions { Channel = new ChannelOptions { Clock = clock ?? TimeProvider.System } }, GrpcPairs.Terms("telco"), Stop);

    private static async Task<Scores> ReceiveAsync(IPartyChannel channel, int round) => await channel.ReceiveAsync<Scores>(round, 3, Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);

    private static async Task<(string? Status, string? ErrorId)> JoinAsync(GrpcFederationHost host, byte[] body)
    {
        (_, string? status, string? id, _) = await RawPeer.CallAsync(host.Address, Methods.Join, body);
        return (status, id);
    }

    private static async Task<(string?, string?)> OpenAsync(GrpcFederationHost host, string session)
    {
        (_, string? status, string? id, _) = await RawPeer.CallAsync(host.Address, Methods.Exchange, [], "application/grpc", ("fedlearn-session", session), ("fedlearn-party", "telco"));
        return (status, id);
    }

    /// <summary>Joins twice at the same time, is refused once, and leaves the place that the other request has got.</summary>
    private static async Task JoinAndLeaveAsync(GrpcFederationHost host, ManualClock clock)
    {
        var requests = new List<Task<(HttpStatusCode Http, string? Status, string? ErrorId, string? Message)>>();
        for (int i = 0; i < 2; i++)
            requests.Add(RawPeer.CallAsync(host.Address, Methods.Join, GoodJoin, headers: ("grpc-timeout", "10S")));
        Task<(HttpStatusCode Http, string? Status, string? ErrorId, string? Message)> refused = await Task.WhenAny(requests);
        Assert.Equal(("9", ProtocolErrors.AlreadyJoined), ((await refused).Status, (await refused).ErrorId));
        requests.Remove(refused);
        clock.Advance(TimeSpan.FromSeconds(10));                                        // the other one's time is up
        Assert.Equal(("4", ProtocolErrors.PartyMissing), ((await requests[0]).Status, (await requests[0]).ErrorId));
    }

    private static async Task<Pair> PairAsync(GrpcFederationHost host, bool ownsHost = false)
    {
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest, Stop);
        GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), cancellationToken: Stop).WaitAsync(ChannelConformance.Patience, Stop);
        return new Pair(passive, await active.WaitAsync(ChannelConformance.Patience, Stop), ownsHost ? host : null);
    }

    /// <summary>A session of well-behaved parties; on a host of its own when none is given.</summary>
    private static async Task HonestSessionAsync(GrpcFederationHost? host = null)
    {
        await using Pair pair = await PairAsync(host ?? await StartAsync(), ownsHost: host is null);
        await ExchangeAsync(pair.Passive, pair.Active);
    }

    private static async Task ExchangeAsync(GrpcSession passive, GrpcSession active)
    {
        await passive.Channels[0].SendAsync(0, Disclosure.Unprotected(new Scores(new double[] { 1, 2, 3 }), "test"), Stop);
        AssertNumbers(await ReceiveAsync(active.Channels[0], 0), 1.0, 2, 3);
        await active.Channels[0].SendAsync(0, Disclosure.Unprotected(new Residuals(new double[] { 4, 5, 6 }), "test"), Stop);
        Residuals back = await passive.Channels[0].ReceiveAsync<Residuals>(0, 3, Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);
        AssertNumbers(back, 4.0, 5, 6);
        await CompleteAsync(passive, active);
    }

    private static async Task CompleteAsync(GrpcSession passive, GrpcSession active)
    {
        await Task.WhenAll(passive.Channels[0].CompleteAsync(Stop).AsTask(), active.Channels[0].CompleteAsync(Stop).AsTask()).WaitAsync(ChannelConformance.Patience, Stop);
        await Task.WhenAll(passive.DisposeAsync().AsTask(), active.DisposeAsync().AsTask());
    }

    /// <summary>A legal gzip of so many zeros: a thousandth of their length.</summary>
    private static byte[] Bomb(int zeros)
    {
        using var bytes = new MemoryStream();
        using (var gzip = new GZipStream(bytes, CompressionLevel.SmallestSize))
        {
            byte[] block = new byte[1 << 20];
            for (int written = 0; written < zeros; written += block.Length)
                gzip.Write(block);
        }

        return bytes.ToArray();
    }

    /// <summary>Begins HTTP/2 and waits for the server's first frame.</summary>
    private static async Task GreetAsync(TcpClient client)
    {
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync((byte[])[.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, 0, 0, 0, 4, 0, 0, 0, 0, 0], Stop);
        byte[] answer = new byte[9];
        await stream.ReadExactlyAsync(answer, Stop).AsTask().WaitAsync(ChannelConformance.Patience, Stop);
        Assert.Equal(4, answer[3]);                                                     // SETTINGS
    }

    private static int Handles() => OperatingSystem.IsLinux() ? Directory.GetFiles("/proc/self/fd").Length : System.Diagnostics.Process.GetCurrentProcess().HandleCount;

    private sealed record Pair(GrpcSession Passive, GrpcSession Active, GrpcFederationHost? Host) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await Task.WhenAll(Passive.DisposeAsync().AsTask(), Active.DisposeAsync().AsTask());
            if (Host is not null)
                await Host.DisposeAsync();
        }
    }
}
