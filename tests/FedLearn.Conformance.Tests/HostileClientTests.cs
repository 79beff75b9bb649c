using System.Net;
using System.Net.Sockets;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using Google.Protobuf;
using Wire = FedLearn.Transport.Grpc.Wire;

namespace FedLearn.Conformance.Tests;

/// <summary>The host against clients that break the protocol: none may hang it or end it.</summary>
public sealed class HostileClientTests
{
    private static readonly byte[] GoodJoin = RawPeer.Frame(SessionCodec.Encode(GrpcPairs.Request("telco")));

    public static TheoryData<string, byte[], string, string?> BadJoins => new()
    {
        { "no message", [], "3", ProtocolErrors.Malformed },
        { "truncated prefix", [0, 0, 0], "3", ProtocolErrors.Malformed },
        { "truncated message", GoodJoin[..^3], "3", ProtocolErrors.Malformed },
        { "garbage", RawPeer.Frame(0xFF, 0xFF, 0xFF), "3", ProtocolErrors.Malformed },
        { "compressed", [1, 0, 0, 0, 1, 0], "12", ProtocolErrors.Malformed },
        { "unknown flag", [7, 0, 0, 0, 1, 0], "13", ProtocolErrors.Malformed },
        { "announces 4 GiB", [0, 0xFF, 0xFF, 0xFF, 0xFF], "8", ProtocolErrors.TooLarge },
        { "empty request", RawPeer.Frame(), "3", ProtocolErrors.Malformed },
        { "control characters in the name", Join(r => r.Party = "telco\n\u001b[2J"), "3", ProtocolErrors.Malformed },
        { "short digest", Join(r => r.TermsDigest = ByteString.CopyFrom(1, 2, 3)), "3", ProtocolErrors.Malformed },
        { "unknown role", Join(r => r.Role = (Wire.Role)9), "3", ProtocolErrors.Malformed },
        { "another version", Join(r => r.ProtocolVersion = 2), "9", ProtocolErrors.DifferentVersion },
        { "unknown party", Join(r => r.Party = "nobody"), "9", ProtocolErrors.UnknownParty },
        { "the active party's name and role", Join(r => (r.Party, r.Role) = ("bank", Wire.Role.Active)), "9", ProtocolErrors.UnknownParty },
        { "another job", Join(r => r.TermsDigest = ByteString.CopyFrom(new byte[32])), "9", ProtocolErrors.DifferentJob },
    };

    [Theory]
    [MemberData(nameof(BadJoins))]
    public async Task Join_BadRequest_IsRefusedAndTheHostGoesOn(string what, byte[] body, string status, string? errorId)
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        var refused = new System.Collections.Concurrent.ConcurrentQueue<(string Who, FedLearnException Error)>();
        host.JoinRefused += (who, error) => refused.Enqueue((who, error));
        (HttpStatusCode http, string? actual, string? id, _) = await RawPeer.CallAsync(host.Address, Methods.Join, body);
        Assert.True(http == HttpStatusCode.OK, what);
        Assert.Equal((status, errorId), (actual, id));
        // Whoever runs the host is told as well: by the name of the request, or by the address where it has none.
        (string who, FedLearnException error) = Assert.Single(refused);
        Assert.Equal(errorId, error.Id);
        if (errorId is ProtocolErrors.Malformed or ProtocolErrors.TooLarge)
            Assert.Equal("127.0.0.1", who);
        await CompletesSessionAsync(host);
    }

    [Fact]
    public async Task Call_WithoutGrpc_IsRefused()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await RawPeer.CallAsync(host.Address, Methods.Join, GoodJoin, "application/json")).Http);
        Assert.Equal("12", (await RawPeer.CallAsync(host.Address, "/no.such/Method", GoodJoin)).Status);
        Assert.Equal("12", (await RawPeer.CallAsync(host.Address, Methods.Join, GoodJoin, headers: ("grpc-encoding", "gzip"))).Status);
        Assert.Equal("3", (await RawPeer.CallAsync(host.Address, Methods.Join, GoodJoin, headers: ("grpc-timeout", "soon"))).Status);
        await CompletesSessionAsync(host);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
    [InlineData("\u0001\u0002\u0003 not a protocol at all, and long enough to be read as a preface")]
    [InlineData("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then garbage where frames are due ................")]
    public async Task Connection_GarbageBytes_TheHostGoesOn(string bytes)
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        using (var socket = new TcpClient())
        {
            await socket.ConnectAsync(IPAddress.Loopback, host.Address.Port);
            NetworkStream stream = socket.GetStream();
            await stream.WriteAsync(System.Text.Encoding.Latin1.GetBytes(bytes));
            socket.Client.Shutdown(SocketShutdown.Send);
            using var patience = new CancellationTokenSource(ChannelConformance.Patience);
            byte[] answer = new byte[1000];
            try
            {
                while (await stream.ReadAsync(answer, patience.Token) > 0) { }
            }
            catch (IOException)
            {
                // reset: closed as well
            }
        }

        await CompletesSessionAsync(host);
    }

    [Fact]
    public async Task Exchange_WrongSessionOrPartyOrTwice_IsRefused()
    {
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        Assert.Equal(("5", GrpcErrors.WrongSession), await Exchange("", "telco"));       // before anybody joined
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        await using GrpcSession session = await active;
        string id = session.Agreement.SessionId;
        Assert.Equal(("5", GrpcErrors.WrongSession), await Exchange("0", "telco"));
        Assert.Equal(("5", ProtocolErrors.UnknownParty), await Exchange(id, "nobody"));
        Assert.Equal(("5", ProtocolErrors.UnknownParty), await Exchange(id, "bank"));
        Assert.Equal(("6", ProtocolErrors.AlreadyJoined), await Exchange(id, "telco"));
        await passive.Channels[0].SendAsync(0, Some);
        Assert.Equal(3, (await session.Channels[0].ReceiveAsync<Scores>(0, 3)).Length);  // the open exchange is unharmed
        await Task.WhenAll(passive.Channels[0].CompleteAsync().AsTask(), session.Channels[0].CompleteAsync().AsTask());

        async Task<(string?, string?)> Exchange(string sessionId, string party)
        {
            (_, string? status, string? errorId, _) = await RawPeer.CallAsync(host.Address, Methods.Exchange, [], "application/grpc", ("fedlearn-session", sessionId), ("fedlearn-party", party));
            return (status, errorId);
        }
    }

    private static Wire.Vector Lattice(double step, uint bits, uint length, int bytes = 9) =>
        new() { Type = Wire.ElementType.Lattice, Step = step, Bits = bits, Length = length, Data = ByteString.CopyFrom(new byte[bytes]) };

    public static TheoryData<string, byte[], string> BadMessages => new()
    {
        { "garbage", RawPeer.Frame(0xFF, 0xFF, 0xFF), ProtocolErrors.Malformed },
        { "compressed", [1, 0, 0, 0, 1, 0], ProtocolErrors.Malformed },
        { "unknown flag", [9, 0, 0, 0, 1, 0], ProtocolErrors.Malformed },
        { "over the limit", [0, 0x7F, 0xFF, 0xFF, 0xFF], ProtocolErrors.TooLarge },
        { "no body", RawPeer.Frame(new Wire.Envelope { Round = 0 }), ProtocolErrors.Malformed },
        { "negative round", RawPeer.Frame(new Wire.Envelope { Round = -1, Completed = new() }), ProtocolErrors.Malformed },
        { "unknown element type", Message(new Wire.Envelope { Scores = new() { Type = (Wire.ElementType)7, Data = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.Malformed },
        { "23 bytes of float64", Message(new Wire.Envelope { Scores = new() { Data = ByteString.CopyFrom(new byte[23]) } }), ProtocolErrors.Malformed },
        { "23 bytes of float32", Message(new Wire.Envelope { Scores = new() { Type = Wire.ElementType.Float32, Data = ByteString.CopyFrom(new byte[23]) } }), ProtocolErrors.Malformed },
        { "a lattice without a step", Message(new Wire.Envelope { Scores = Lattice(0, 24, 3) }), ProtocolErrors.Malformed },
        { "a lattice of 54 bits", Message(new Wire.Envelope { Scores = Lattice(1, 54, 3, 21) }), ProtocolErrors.Malformed },
        { "a lattice of 2^32 - 1 bits", Message(new Wire.Envelope { Scores = Lattice(1, uint.MaxValue, 3) }), ProtocolErrors.Malformed },
        { "a lattice of another length", Message(new Wire.Envelope { Scores = Lattice(1, 24, uint.MaxValue) }), ProtocolErrors.Malformed },
        { "a lattice beyond float64", Message(new Wire.Envelope { Scores = Lattice(1e308, 24, 3) }), ProtocolErrors.Malformed },
        { "float64 targets", Message(new Wire.Envelope { NoisyTargets = new() { Data = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.Malformed },
        { "unknown scalars", Message(new Wire.Envelope { Scalars = new() { Kind = (Wire.ScalarsKind)7 } }), ProtocolErrors.Malformed },
        { "31 bytes of hashed ids", Message(new Wire.Envelope { HashedIds = ByteString.CopyFrom(new byte[31]) }), ProtocolErrors.Malformed },
        { "31 bytes of blinded ids", Message(new Wire.Envelope { BlindedIds = ByteString.CopyFrom(new byte[31]) }), ProtocolErrors.Malformed },
        { "an unknown step of an alignment", Message(new Wire.Envelope { Alignment = new() { Step = (Wire.AlignmentStep)5, Data = ByteString.CopyFrom(new byte[32]) } }), ProtocolErrors.Malformed },
        { "that it computes, with content", Message(new Wire.Envelope { Alignment = new() { Step = Wire.AlignmentStep.Waiting, Data = ByteString.CopyFrom(new byte[1]) } }), ProtocolErrors.Malformed },
        { "that it computes, of a round", Message(new Wire.Envelope { Round = 1, Alignment = new() { Step = Wire.AlignmentStep.Waiting } }), ProtocolErrors.Malformed },
        { "an end of a round", Message(new Wire.Envelope { Round = 1, Completed = new() }), ProtocolErrors.Malformed },
        { "15 bytes of keys with moments", Message(new Wire.Envelope { SampleKeys = new() { Moments = true, Keys = ByteString.CopyFrom(new byte[15]) } }), ProtocolErrors.Malformed },
        { "a key and a half with moments", Message(new Wire.Envelope { SampleKeys = new() { Moments = true, Keys = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.Malformed },
        { "6 bytes of keys of users", Message(new Wire.Envelope { SampleKeys = new() { Keys = ByteString.CopyFrom(new byte[6]) } }), ProtocolErrors.Malformed },
        { "12 bytes of masked integers", Message(new Wire.Envelope { Masked = new() { Step = 1, Values = ByteString.CopyFrom(new byte[12]) } }), ProtocolErrors.Malformed },
        { "masked integers without a step", Message(new Wire.Envelope { Masked = new() { Values = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.Malformed },
        { "masked integers with a step below 0", Message(new Wire.Envelope { Masked = new() { Step = -1, Values = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.Malformed },
        { "masked integers with a step that is no number", Message(new Wire.Envelope { Masked = new() { Step = double.NaN, Values = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.Malformed },
        { "an unknown step of an aggregation", Message(new Wire.Envelope { Aggregation = new() { Step = (Wire.AggregationStep)99, Data = ByteString.CopyFrom(new byte[32]) } }), ProtocolErrors.Malformed },
        { "2^32 - 1 tags", Message(new Wire.Envelope { BlindedTags = new() { Length = uint.MaxValue, Data = ByteString.CopyFrom(new byte[9]) } }), ProtocolErrors.Malformed },
        { "blinded ids where scores are due", Message(new Wire.Envelope { BlindedIds = ByteString.CopyFrom(new byte[96]) }), ProtocolErrors.UnexpectedMessage },
        { "an error id of another form", Message(new Wire.Envelope { Aborted = new() { ErrorId = "FL4005; rm -r" } }), ProtocolErrors.Malformed },
        { "two numbers where three are due", Message(new Wire.Envelope { Scores = new() { Data = ByteString.CopyFrom(new byte[16]) } }), ProtocolErrors.WrongLength },
        { "NaN", Message(new Wire.Envelope { Scores = new() { Data = ByteString.CopyFrom([.. Enumerable.Repeat((byte)0xFF, 24)]) } }), ProtocolErrors.NotFinite },
        { "another round", Message(new Wire.Envelope { Round = 5, Scores = new() { Data = ByteString.CopyFrom(new byte[24]) } }), ProtocolErrors.WrongRound },
    };

    [Theory]
    [MemberData(nameof(BadMessages))]
    public async Task Exchange_BadMessage_IsRefusedWithItsId(string what, byte[] bytes, string errorId)
    {
        await using RawSession session = await RawPeer.OpenAsync();
        await session.Call.Output.WriteAsync(bytes);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => ReceiveAsync(session));
        Assert.True(errorId == error.Id, $"{what}: {error.Message}");
        Assert.Contains("telco", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exchange_EndsInsideAMessage_IsALostPeer()
    {
        await using RawSession session = await RawPeer.OpenAsync();
        await session.Call.Output.WriteAsync(Message(new Wire.Envelope { Scores = new() { Data = ByteString.CopyFrom(new byte[24]) } }).AsMemory(0, 12));
        Task<Scores> receiving = ReceiveAsync(session);
        await session.Call.EndAsync(Transport.Grpc.Rpc.Status.Ok);
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => receiving)).Id);
    }

    [Fact]
    public async Task Exchange_KilledWhileReceiving_IsALostPeer()
    {
        await using RawSession session = await RawPeer.OpenAsync();
        Task<Scores> receiving = ReceiveAsync(session);
        session.Connection.Kill();
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => receiving)).Id);
    }

    [Fact]
    public async Task Exchange_KilledWhileSending_IsALostPeer()
    {
        await using RawSession session = await RawPeer.OpenAsync();
        Task sending = SendUntilItFailsAsync(session.Active.Channels[0]); // the peer reads nothing: the buffers fill and the send waits
        session.Connection.Kill();
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => sending.WaitAsync(ChannelConformance.Patience))).Id);
    }

    [Fact]
    public async Task Exchange_PeerTakesNothing_TimesOutAndSaysSo()
    {
        var clock = new ManualClock();
        await using RawSession session = await RawPeer.OpenAsync(new GrpcHostOptions { Channel = new ChannelOptions { Clock = clock } });
        Task sending = SendUntilItFailsAsync(session.Active.Channels[0]);
        while (!sending.IsCompleted)
        {
            // A send that still finds room also runs a timer, so one advance may hit it; the loop ends with the first that waits.
            await Task.WhenAny(sending, clock.WaitForTimerAsync(TimeSpan.FromMinutes(1)));
            clock.Advance(TimeSpan.FromMinutes(1));
        }

        PeerException error = await Assert.ThrowsAsync<PeerException>(() => sending);
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
        Assert.Contains("to take Scores", error.Message, StringComparison.Ordinal);
    }

    private static Released<Scores> Some => Disclosure.Unprotected(new Scores(new double[3]), "test");

    private static byte[] Message(Wire.Envelope envelope) => RawPeer.Frame(envelope);

    private static Task<Scores> ReceiveAsync(RawSession session) =>
        session.Active.Channels[0].ReceiveAsync<Scores>(0, 3).AsTask().WaitAsync(ChannelConformance.Patience);

    private static async Task SendUntilItFailsAsync(IPartyChannel channel)
    {
        Released<Scores> large = Disclosure.Unprotected(new Scores(new double[2_000_000]), "test");
        for (int round = 0; ; round++)
            await channel.SendAsync(round, large);
    }

    private static byte[] Join(Action<Wire.JoinRequest> spoil)
    {
        Wire.JoinRequest request = SessionCodec.Encode(GrpcPairs.Request("telco"));
        spoil(request);
        return RawPeer.Frame(request);
    }

    /// <summary>A well-behaved party can still join.</summary>
    private static async Task CompletesSessionAsync(GrpcFederationHost host)
    {
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"));
        await using GrpcSession session = await active;
        await passive.Channels[0].SendAsync(0, Some);
        Assert.Equal(3, (await session.Channels[0].ReceiveAsync<Scores>(0, 3)).Length);
        await Task.WhenAll(passive.Channels[0].CompleteAsync().AsTask(), session.Channels[0].CompleteAsync().AsTask());
        await Task.WhenAll(passive.DisposeAsync().AsTask(), session.DisposeAsync().AsTask());
    }
}
