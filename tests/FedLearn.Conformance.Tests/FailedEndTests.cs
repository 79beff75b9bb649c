using System.IO.Pipelines;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace FedLearn.Conformance.Tests;

/// <summary>The end of a session where something of it fails.</summary>
public sealed class FailedEndTests
{
    [Fact]
    public async Task Dispose_RehearsalFailed_EndsTheCall()
    {
        var call = new Call();
        var channel = new GrpcPartyChannel(call, "bank", "telco", new ChannelOptions()) { Rehearsal = Task.FromException(new InvalidOperationException("rehearsal")) };
        await channel.DisposeAsync().AsTask().WaitAsync(ChannelConformance.Patience, TestContext.Current.CancellationToken);
        Assert.Equal(1, call.Ends);
    }

    [Fact]
    public async Task Session_CannotBeClosed_ItsPartyJoinsAgain()
    {
        var ended = new TaskCompletionSource<(string, Exception?)>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var sessions = new PairSessions([new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)], new GrpcHostOptions(), (_, _) => Task.CompletedTask);
        sessions.SessionEnded += (party, error) => ended.TrySetResult((party, error));
        SessionAgreement agreement = await sessions.JoinAsync(GrpcPairs.Request("telco"), TestContext.Current.CancellationToken);
        sessions.Claim(agreement.SessionId, "telco").Open(new GrpcPartyChannel(new Call { Fault = new InvalidOperationException("end") }, "bank", "telco", new ChannelOptions()));
        (string party, Exception? error) = await ended.Task.WaitAsync(ChannelConformance.Patience, TestContext.Current.CancellationToken);
        Assert.Equal(("telco", "end"), (party, error?.Message));
        SessionAgreement again = await sessions.JoinAsync(GrpcPairs.Request("telco"), TestContext.Current.CancellationToken);
        Assert.NotEqual(agreement.SessionId, again.SessionId);
        await sessions.StopAsync();
    }

    [Fact]
    public async Task SessionEnded_AHandlerThrows_TheOthersAreToldAndTheHostStops()
    {
        using var log = new Lines();
        var told = new TaskCompletionSource<(string, Exception?)>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var sessions = new PairSessions([new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)], new GrpcHostOptions { LoggerFactory = log },
            (_, stop) => new TaskCompletionSource().Task.WaitAsync(stop));
        sessions.SessionEnded += (_, _) => throw new InvalidOperationException("a private text");
        sessions.SessionEnded += (party, error) => told.TrySetResult((party, error));
        SessionAgreement agreement = await sessions.JoinAsync(GrpcPairs.Request("telco"), TestContext.Current.CancellationToken);
        sessions.Claim(agreement.SessionId, "telco").Open(new GrpcPartyChannel(new Call(), "bank", "telco", new ChannelOptions()));
        await sessions.StopAsync().WaitAsync(ChannelConformance.Patience, TestContext.Current.CancellationToken);
        (string party, Exception? error) = await told.Task.WaitAsync(ChannelConformance.Patience, TestContext.Current.CancellationToken);
        Assert.Equal("telco", party);
        Assert.IsAssignableFrom<OperationCanceledException>(error);
        (_, string line) = Assert.Single(log.Text, logged => logged.Level == LogLevel.Error);
        Assert.Contains("party telco", line, StringComparison.Ordinal);
        Assert.EndsWith("InvalidOperationException.", line, StringComparison.Ordinal);
    }

    /// <summary>What a party is told is the refusal, whatever an application does with it.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task JoinRefused_AHandlerThrows_ThePartyIsToldTheRefusalAndTheOthersToo(bool pairs)
    {
        using var log = new Lines();
        var options = new GrpcHostOptions { LoggerFactory = log };
        SessionTerms terms = GrpcPairs.Terms("telco");
        using PairSessions? many = pairs ? new PairSessions([new GrpcPair(terms, GrpcPairs.OwnRequest)], options, (_, _) => Task.CompletedTask) : null;
        ISessions sessions = many ?? (ISessions)new SharedSession(terms, options);
        var told = new List<string>();
        sessions.JoinRefused += (_, _) => throw new InvalidOperationException("a private text");
        sessions.JoinRefused += (party, refusal) => told.Add($"{party} {refusal.Id}");
        var refused = await Assert.ThrowsAsync<PeerException>(() => sessions.JoinAsync(GrpcPairs.Request("stranger"), TestContext.Current.CancellationToken));
        Assert.Equal(ProtocolErrors.UnknownParty, refused.Id);
        Assert.Equal([$"stranger {ProtocolErrors.UnknownParty}"], told);
        (_, string line) = Assert.Single(log.Text, logged => logged.Level == LogLevel.Error);
        Assert.EndsWith("InvalidOperationException.", line, StringComparison.Ordinal);
    }

    [Fact]
    public void Refuse_AHandlerThrows_TheOthersAreTold()
    {
        using var log = new Lines();
        var options = new GrpcHostOptions { LoggerFactory = log };
        using var service = new FederationService(new SharedSession(GrpcPairs.Terms("telco"), options), options);
        var told = new List<string>();
        service.Refused += (_, _) => throw new InvalidOperationException("a private text");
        service.Refused += (who, refusal) => told.Add($"{who} {refusal.Id}");
        service.Refuse("telco", new PeerException(GrpcErrors.PlaintextRefused, "here", "it is so.", "Mend it."));
        Assert.Equal([$"telco {GrpcErrors.PlaintextRefused}"], told);
        Assert.DoesNotContain(log.Text, logged => logged.Text.Contains("a private text", StringComparison.Ordinal));
    }

    /// <summary>Connections that a host closes at its end look like those of clients that refuse it.</summary>
    [Fact]
    public async Task Refuse_HostStops_NobodyIsTold()
    {
        var options = new GrpcHostOptions();
        using var service = new FederationService(new SharedSession(GrpcPairs.Terms("telco"), options), options);
        var told = new List<string>();
        service.Refused += (who, _) => told.Add(who);
        await service.StopAsync();
        service.Refuse("telco", new PeerException(GrpcErrors.RefusedByPeer, "here", "it is so.", "Mend it."));
        Assert.Empty(told);
    }

    [Fact]
    public async Task Join_HostStops_IsCancelled()
    {
        using var sessions = new PairSessions([new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)], new GrpcHostOptions(), (_, _) => Task.CompletedTask);
        await sessions.StopAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sessions.JoinAsync(GrpcPairs.Request("telco"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Open_OneExchangeIsMissing_NamesThatPartyAlone()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        var clock = new ManualClock();
        var session = new SharedSession(GrpcPairs.Terms("telco", "clinic"), new GrpcHostOptions { Channel = new ChannelOptions { Clock = clock } });
        SessionAgreement agreement = (await Task.WhenAll(session.JoinAsync(GrpcPairs.OwnRequest, token), session.JoinAsync(GrpcPairs.Request("telco"), token), session.JoinAsync(GrpcPairs.Request("clinic"), token)))[0];
        Task<GrpcSession> opening = session.OpenAsync(agreement, token);
        session.Claim(agreement.SessionId, "telco").Open(new GrpcPartyChannel(new Call(), "bank", "telco", new ChannelOptions()));
        clock.Advance(new GrpcHostOptions().JoinTimeout);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => opening.WaitAsync(ChannelConformance.Patience, token));
        Assert.Equal(ProtocolErrors.PartyMissing, error.Id);
        Assert.StartsWith("'clinic' joined, but did not open", error.Cause, StringComparison.Ordinal);
        await session.StopAsync();
    }

    [Fact]
    public async Task Stop_SessionStillServes_WaitsForIt()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        var served = new TaskCompletionSource();
        using var sessions = new PairSessions([new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)], new GrpcHostOptions(), (_, _) => served.Task);
        SessionAgreement agreement = await sessions.JoinAsync(GrpcPairs.Request("telco"), token);
        sessions.Claim(agreement.SessionId, "telco").Open(new GrpcPartyChannel(new Call(), "bank", "telco", new ChannelOptions()));
        Task stopping = sessions.StopAsync();
        Assert.False(stopping.IsCompleted);
        served.SetResult();
        await stopping.WaitAsync(ChannelConformance.Patience, token);
    }

    /// <summary>Else its party could not join again, and the host would never stop.</summary>
    [Fact]
    public async Task Exchange_ClientIsGoneBeforeTheAnswer_ItsPartyJoinsAgainAndTheHostStops()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        var options = new GrpcHostOptions();
        using var sessions = new PairSessions([new GrpcPair(GrpcPairs.Terms("telco"), GrpcPairs.OwnRequest)], options, (_, _) => Task.CompletedTask);
        using var service = new FederationService(sessions, options);
        int ended = 0;
        sessions.SessionEnded += (_, _) => ended++;
        SessionAgreement agreement = await sessions.JoinAsync(GrpcPairs.Request("telco"), token);
        var context = new DefaultHttpContext();
        (context.Request.Method, context.Request.ContentType) = ("POST", HeaderText.ContentType);
        context.Request.Path = Methods.Exchange;
        context.Request.Headers[HeaderText.Session] = agreement.SessionId;
        context.Request.Headers[HeaderText.Party] = "telco";
        context.Features.Set<IHttpResponseBodyFeature>(new GoneBody());
        await service.HandleAsync(context).WaitAsync(ChannelConformance.Patience, token);
        await sessions.StopAsync().WaitAsync(ChannelConformance.Patience, token);
        Assert.Equal(0, ended); // none began
    }

    /// <summary>What a client that is gone takes.</summary>
    private sealed class GoneBody : PipeWriter, IHttpResponseBodyFeature
    {
        public Stream Stream => Stream.Null;

        public PipeWriter Writer => this;

        public void DisableBuffering() { }

        public Task StartAsync(CancellationToken cancellationToken = default) => Task.CompletedTask;

        public Task SendFileAsync(string path, long offset, long? count, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public Task CompleteAsync() => Task.CompletedTask;

        public override void Advance(int bytes) { }

        public override void CancelPendingFlush() { }

        public override void Complete(Exception? exception = null) { }

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => ValueTask.FromException<FlushResult>(new IOException("gone"));

        public override Memory<byte> GetMemory(int sizeHint = 0) => new byte[Math.Max(1, sizeHint)];

        public override Span<byte> GetSpan(int sizeHint = 0) => new byte[Math.Max(1, sizeHint)];
    }

    // Kestrel ends a connection whose pings are not answered, and has no more than words to say so: those of the release that runs here.
    [Fact]
    public async Task Receive_HostGaveUpASilentConnection_SaysWhichLimit()
    {
        var words = new System.Resources.ResourceManager("Microsoft.AspNetCore.Server.Kestrel.Core.CoreStrings", typeof(Microsoft.AspNetCore.Server.Kestrel.Core.KestrelServer).Assembly);
        string silent = Assert.IsType<string>(words.GetString("Http2ErrorKeepAliveTimeout", System.Globalization.CultureInfo.InvariantCulture));
        var pipe = new Pipe();
        await using var channel = new GrpcPartyChannel(new Call { Input = pipe.Reader }, "bank", "telco", new ChannelOptions());
        await pipe.Writer.CompleteAsync(new IOException("aborted", new IOException("faulted", new InvalidOperationException(silent))));
        PeerException gone = await Assert.ThrowsAsync<PeerException>(() => channel.ReceiveAsync<Scores>(0, 1).AsTask());
        Assert.Equal(ProtocolErrors.PeerGone, gone.Id);
        Assert.Contains("raise GrpcHostOptions.SilenceTimeout", gone.Remedy, StringComparison.Ordinal);
    }

    // A server sends one model to all its devices: what the slow ones have not taken must not be a copy each.
    [Fact]
    public async Task Send_ModelThatIsTakenSlowly_WaitsInPieces()
    {
        const int Paused = 64 << 10;
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: Paused, resumeWriterThreshold: 1, useSynchronizationContext: false));
        await using var channel = new GrpcPartyChannel(new Call { Output = pipe.Writer }, "server", "device", new ChannelOptions());
        double[] numbers = [.. Enumerable.Range(0, 100_001).Select(i => Math.Sin(i))];
        var model = new ModelParameters(numbers);
        Task sending = channel.SendAsync(300, Disclosure.Unprotected(model, "model")).AsTask();
        byte[] expected = Framing.Frame(EnvelopeCodec.Encode(300, model));
        using var received = new MemoryStream();
        while (received.Length < expected.Length)
        {
            ReadResult read = await pipe.Reader.ReadAsync();
            Assert.InRange(read.Buffer.Length, 1, 4 * Paused);
            foreach (ReadOnlyMemory<byte> piece in read.Buffer)
                received.Write(piece.Span);
            pipe.Reader.AdvanceTo(read.Buffer.End);
        }

        await sending;
        Assert.Equal(expected, received.ToArray());
        Assert.Equal(expected.Length, channel.Statistics.BytesSent);
    }

    /// <summary>A call without another side.</summary>
    private sealed class Call : IExchangeCall
    {
        public Exception? Fault { get; init; }

        public int Ends { get; private set; }

        public PipeReader Input { get; init; } = new Pipe().Reader;

        public PipeWriter Output { get; init; } = new Pipe().Writer;

        public CancellationToken Aborted => default;

        public Status? RemoteStatus => null;

        public ValueTask EndAsync(Status status)
        {
            Ends++;
            return Fault is null ? default : ValueTask.FromException(Fault);
        }
    }
}
