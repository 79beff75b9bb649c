using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FedLearn.Conformance.Tests;

/// <summary>Parties as services of applications.</summary>
public sealed class HostedPartyTests
{
    private static readonly CancellationToken Token = TestContext.Current.CancellationToken;

    private static GlmJob Job { get; } = new()
    {
        Name = "hosted",
        Model = new() { Family = GlmFamilies.Gaussian },
        Parties = [new() { Party = new("bank", PartyRole.Active) }, new() { Party = new("telco", PartyRole.Passive) }],
    };

    private static GlmPartyInput Input(string party)
    {
        var random = new Random(party == "bank" ? 1 : 2);
        double[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextDouble())];
        return new()
        {
            Party = party,
            Table = Table.FromMatrix([.. Enumerable.Range(0, 40).Select(i => $"row{i}")], [party + "1", party + "2"], new DenseMatrix(40, 2, Numbers(80)), party == "bank" ? Numbers(40) : null),
        };
    }

    private static IHost Application<TParty>(params (string Key, string Value)[] settings) where TParty : class, IHostedService
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(settings.ToDictionary(s => "FedLearn:" + s.Key, s => (string?)s.Value));
        builder.Services.AddFedLearn(builder.Configuration.GetSection("FedLearn"));
        builder.Services.AddHostedService<TParty>().AddSingleton<Outcome>();
        return builder.Build();
    }

    [Fact]
    public async Task Applications_OneHostsOneJoins_TrainAsInOneProcess()
    {
        using IHost bank = Application<Bank>();
        var address = new TaskCompletionSource<Uri>();
        bank.Services.GetRequiredService<FedLearnSessions>().Listening += uri => address.TrySetResult(uri);
        await bank.StartAsync(Token);
        using IHost telco = Application<Telco>(("Host", (await address.Task.WaitAsync(Token)).ToString()), ("ReceiveTimeout", "00:00:30"));
        await telco.StartAsync(Token);
        List<GlmTrainingEvent> seen = await telco.Services.GetRequiredService<Outcome>().Events.Task.WaitAsync(Token);
        List<GlmTrainingEvent> own = await bank.Services.GetRequiredService<Outcome>().Events.Task.WaitAsync(Token);
        await Task.WhenAll(bank.StopAsync(Token), telco.StopAsync(Token));

        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(Job, [Input("bank"), Input("telco")], cancellationToken: Token);
        foreach ((List<GlmTrainingEvent> events, GlmPartyResult result) in new[] { (own, expected[0]), (seen, expected[1]) })
        {
            Assert.Equal(result.Model.Weights, Assert.IsType<GlmTrainingEvent.Completed>(events[^1]).Result.Model.Weights);
            Assert.Equal(result.Timing.Epochs, events.Count - 1);
        }
    }

    /// <summary>The default of a job in code: whoever can guess an id can test it.</summary>
    [Fact]
    public async Task Train_HashedIdsOverAConnection_ResultAndLogOfEveryPartyWarn()
    {
        using var lines = new Lines();
        GlmTrainer bank = new(Job, Input("bank") with { LoggerFactory = lines }), telco = new(Job, Input("telco") with { LoggerFactory = lines });
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = new Uri("http://127.0.0.1:0") }, bank.Terms, Token);
        async Task<GlmPartyResult> TrainAsync(GlmTrainer trainer, bool hosts)
        {
            await using GrpcSession session = hosts ? await host.JoinAsync(trainer.JoinRequest, Token) : await GrpcFederationClient.JoinAsync(host.Address, trainer.JoinRequest, new GrpcClientOptions(), Token);
            return await trainer.TrainAsync(session.Agreement, session.Channels, cancellationToken: Token);
        }

        GlmPartyResult[] results = await Task.WhenAll(TrainAsync(bank, hosts: true), TrainAsync(telco, hosts: false));
        Assert.All(results, result => Assert.Contains("compared by hash", Assert.Single(result.AlignmentWarnings), StringComparison.Ordinal));
        Assert.Equal(["bank", "telco"], lines.Text.Where(line => line.Level == LogLevel.Warning && line.Text.Contains("compared by hash", StringComparison.Ordinal)).Select(line => line.Text.Split(' ')[1].TrimEnd(':')).Order(StringComparer.Ordinal));
        Assert.All(await LocalFederation.TrainAsync(Job, [Input("bank"), Input("telco")], cancellationToken: Token), result => Assert.Empty(result.AlignmentWarnings));
    }

    /// <summary>An application that says nothing, and a peer that has what <c>fedlearn party</c> has: there is no job file to compare.</summary>
    [Fact]
    public async Task Join_JobsThatDifferInTheirAlignment_TellAnApplicationWhatToSet()
    {
        var telco = new GlmTrainer(Job, Input("telco"));
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions { Listen = new Uri("http://127.0.0.1:0") }, GlmJobTerms.Of(Job with { Alignment = AlignmentMethod.Psi }), Token);
        PeerException refused = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(host.Address, telco.JoinRequest, new GrpcClientOptions(), Token));
        Assert.Equal(ProtocolErrors.DifferentJob, refused.Id);
        Assert.Contains("in: alignment.", refused.Message, StringComparison.Ordinal);
        Assert.Contains("AlignmentMethod.Psi", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Application_StoppedWhileItWaits_Ends()
    {
        using IHost bank = Application<Bank>();
        var listening = new TaskCompletionSource();
        bank.Services.GetRequiredService<FedLearnSessions>().Listening += _ => listening.TrySetResult();
        await bank.StartAsync(Token);
        await listening.Task.WaitAsync(Token);
        await bank.StopAsync(Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => bank.Services.GetRequiredService<Outcome>().Events.Task);
    }

    [Theory]
    [InlineData("Listen", "nowhere at all")]
    [InlineData("Listen", "192.0.2.1:5301")] // not this machine, and not encrypted
    [InlineData("Host", "ftp://127.0.0.1:5301")]
    [InlineData("ConnectTimeout", "00:00:00")]
    [InlineData("JoinTimeout", "-00:00:01")]
    [InlineData("ReceiveTimeout", "00:00:00")]
    [InlineData("MaxMessageBytes", "1023")]
    public async Task Application_UnusableOption_DoesNotStartAndSaysWhich(string key, string value)
    {
        using IHost application = Application<Bank>((key, value));
        OptionsValidationException refused = await Assert.ThrowsAsync<OptionsValidationException>(() => application.StartAsync(Token));
        Assert.Contains($"FedLearn options, {key}: ", Assert.Single(refused.Failures), StringComparison.Ordinal);
        Assert.EndsWith($"({GrpcErrors.InvalidOptions})", refused.Failures.Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Application_KeyOfAnEarlierVersion_DoesNotStartAndSaysTheNewName()
    {
        using IHost application = Application<Telco>(("Coordinator", "127.0.0.1:5301"));
        OptionsValidationException refused = await Assert.ThrowsAsync<OptionsValidationException>(() => application.StartAsync(Token));
        Assert.StartsWith("FedLearn options, Coordinator: ", Assert.Single(refused.Failures), StringComparison.Ordinal);
        Assert.Contains("Host", refused.Message, StringComparison.Ordinal);
        Assert.EndsWith($"({GrpcErrors.InvalidOptions})", refused.Failures.Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Application_MisspeltOption_DoesNotStart()
    {
        using IHost application = Application<Bank>(("Hoste", "127.0.0.1:5301"));
        InvalidOperationException refused = await Assert.ThrowsAsync<InvalidOperationException>(() => application.StartAsync(Token));
        Assert.Contains("Hoste", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TrainAsync_PassiveWithoutHost_SaysSo()
    {
        await using ServiceProvider services = new ServiceCollection().AddFedLearn().BuildServiceProvider();
        var sessions = services.GetRequiredService<FedLearnSessions>();
        ConfigurationException refused = await Assert.ThrowsAsync<ConfigurationException>(() => sessions.TrainAsync(sessions.CreateTrainer(Job, Input("telco")), cancellationToken: Token));
        Assert.Equal(GrpcErrors.InvalidOptions, refused.Id);
    }

    [Fact]
    public async Task AddFedLearn_ClockOfTheApplication_IsUsed()
    {
        var clock = new ManualClock();
        await using ServiceProvider services = new ServiceCollection().AddSingleton<TimeProvider>(clock).AddFedLearn(o => o.JoinTimeout = TimeSpan.FromHours(5)).BuildServiceProvider();
        var sessions = services.GetRequiredService<FedLearnSessions>();
        Task<GlmPartyResult> alone = sessions.TrainAsync(sessions.CreateTrainer(Job, Input("bank")), cancellationToken: Token);
        await clock.WaitForTimerAsync(TimeSpan.FromHours(5), Token);
        clock.Advance(TimeSpan.FromHours(5));
        Assert.Equal(Protocol.ProtocolErrors.PartyMissing, (await Assert.ThrowsAsync<PeerException>(() => alone)).Id);
    }

    private sealed class Outcome
    {
        public TaskCompletionSource<List<GlmTrainingEvent>> Events { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private abstract class HostedParty(FedLearnSessions sessions, Outcome outcome, string party) : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            try
            {
                GlmTrainer trainer = sessions.CreateTrainer(Job, Input(party));
                outcome.Events.SetResult(await sessions.RunAsync(trainer, stoppingToken).ToListAsync(stoppingToken));
            }
            catch (OperationCanceledException)
            {
                outcome.Events.SetCanceled(stoppingToken);
            }
            catch (FedLearnException e)
            {
                outcome.Events.SetException(e);
            }
        }
    }

    private sealed class Bank(FedLearnSessions sessions, Outcome outcome) : HostedParty(sessions, outcome, "bank");

    private sealed class Telco(FedLearnSessions sessions, Outcome outcome) : HostedParty(sessions, outcome, "telco");
}
