using System.IO.Pipelines;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;
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

    /// <summary>A call without another side.</summary>
    private sealed class Call : IExchangeCall
    {
        public Exception? Fault { get; init; }

        public int Ends { get; private set; }

        public PipeReader Input { get; } = new Pipe().Reader;

        public PipeWriter Output { get; } = new Pipe().Writer;

        public CancellationToken Aborted => default;

        public Status? RemoteStatus => null;

        public ValueTask EndAsync(Status status)
        {
            Ends++;
            return Fault is null ? default : ValueTask.FromException(Fault);
        }
    }
}
