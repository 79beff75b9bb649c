using System.Runtime.CompilerServices;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Protocol;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FedLearn.Transport.Grpc;

/// <summary>Lets an application's parties train and predict with those of others: the active party hosts the session, a passive one joins it.</summary>
/// <remarks>Thread-safe. Registered by <see cref="FedLearnServices"/>; each call is one session.</remarks>
/// <param name="options">Where the parties meet, and time limits.</param>
/// <param name="clock">Clock of the time limits.</param>
/// <param name="logs">Where sessions and parties log. Nothing private enters the log.</param>
public sealed class FedLearnSessions(IOptions<FedLearnOptions> options, TimeProvider clock, ILoggerFactory logs)
{
    /// <summary>Told the address, with the actual port, once an active party of this application can be joined. May be called on any thread.</summary>
    public event Action<Uri>? Listening;

    /// <summary>Makes a party of a job, which logs where the application does.</summary>
    /// <param name="job">The job; the same at every party.</param>
    /// <param name="input">What the party brings.</param>
    /// <exception cref="FedLearnException">As the constructor of <see cref="GlmTrainer"/>.</exception>
    public GlmTrainer CreateTrainer(GlmJob job, GlmPartyInput input) => new(job, Logging(input));

    /// <summary>Makes a party of a prediction, which logs where the application does.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="input">What the party brings.</param>
    /// <param name="model">Its part of the model.</param>
    /// <exception cref="ConfigurationException">As the constructor of <see cref="GlmPredictor"/>.</exception>
    public GlmPredictor CreatePredictor(GlmJob job, GlmPartyInput input, GlmModel model) => new(job, Logging(input), model);

    /// <summary>Meets the other parties and trains.</summary>
    /// <param name="trainer">The party.</param>
    /// <param name="progress">Told after rounds; null for nobody.</param>
    /// <param name="cancellationToken">Stops; the peers are told.</param>
    /// <returns>The party's own result.</returns>
    /// <exception cref="FedLearnException">The parties did not meet, or the job failed.</exception>
    public async Task<GlmPartyResult> TrainAsync(GlmTrainer trainer, IProgress<GlmProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        await using Meeting meeting = await MeetAsync(trainer.Terms, trainer.JoinRequest, cancellationToken).ConfigureAwait(false);
        return await trainer.TrainAsync(meeting.Session.Agreement, meeting.Session.Channels, progress, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Meets the other parties, trains, and tells how it goes.</summary>
    /// <param name="trainer">The party.</param>
    /// <param name="cancellationToken">Stops; the peers are told.</param>
    /// <returns>As <see cref="GlmTrainer.RunAsync"/>; the session begins with the enumeration and ends with it.</returns>
    /// <exception cref="FedLearnException">Thrown by the enumeration: the parties did not meet, or the job failed.</exception>
    public IAsyncEnumerable<GlmTrainingEvent> RunAsync(GlmTrainer trainer, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        return RunMetAsync(trainer, cancellationToken);
    }

    /// <summary>Meets the other parties and scores the common rows.</summary>
    /// <param name="predictor">The party.</param>
    /// <param name="cancellationToken">Stops; the peers are told.</param>
    /// <returns>What this party has; the active party's holds the predictions.</returns>
    /// <exception cref="FedLearnException">The parties did not meet, or prediction failed.</exception>
    public async Task<GlmPredictionResult> PredictAsync(GlmPredictor predictor, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(predictor);
        await using Meeting meeting = await MeetAsync(predictor.Terms, predictor.JoinRequest, cancellationToken).ConfigureAwait(false);
        return await predictor.PredictAsync(meeting.Session.Agreement, meeting.Session.Channels, cancellationToken).ConfigureAwait(false);
    }

    private async IAsyncEnumerable<GlmTrainingEvent> RunMetAsync(GlmTrainer trainer, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using Meeting meeting = await MeetAsync(trainer.Terms, trainer.JoinRequest, cancellationToken).ConfigureAwait(false);
        await foreach (GlmTrainingEvent happened in trainer.RunAsync(meeting.Session.Agreement, meeting.Session.Channels, cancellationToken).ConfigureAwait(false))
            yield return happened;
    }

    private GlmPartyInput Logging(GlmPartyInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        return input with { LoggerFactory = input.LoggerFactory ?? logs };
    }

    private async Task<Meeting> MeetAsync(SessionTerms terms, JoinRequest request, CancellationToken cancellationToken)
    {
        FedLearnOptions settings = options.Value;
        var channel = new ChannelOptions { ReceiveTimeout = settings.ReceiveTimeout, MaxMessageBytes = settings.MaxMessageBytes, Clock = clock };
        if (request.Party.Role == PartyRole.Passive)
        {
            Uri active = settings.Host is { } text ? Address(text, settings) : throw new ConfigurationException(GrpcErrors.InvalidOptions,
                "FedLearn options, Host", "a passive party needs it, and it is missing.", "Give the address of the active party.");
            return new Meeting(null, await GrpcFederationClient.JoinAsync(active, request, new GrpcClientOptions
            {
                AllowPlaintext = settings.AllowPlaintext,
                Security = settings.Security,
                Peer = settings.Peer,
                Proxy = settings.Proxy,
                ConnectTimeout = settings.ConnectTimeout,
                JoinTimeout = settings.JoinTimeout,
                Channel = channel,
            }, cancellationToken).ConfigureAwait(false));
        }

        GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions
        {
            Listen = Address(settings.Listen, settings),
            AllowPlaintext = settings.AllowPlaintext,
            Security = settings.Security,
            JoinTimeout = settings.JoinTimeout,
            Channel = channel,
            LoggerFactory = logs,
        }, terms, cancellationToken).ConfigureAwait(false);
        try
        {
            Listening?.Invoke(host.Address);
            return new Meeting(host, await host.JoinAsync(request, cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            await host.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    // The options were checked when they were made.
    private static Uri Address(string text, FedLearnOptions options) => FedLearnOptionsCheck.TryParse(text, options, out Uri? address) ? address! : throw new ArgumentException("An address has the form host:port.", nameof(text));

    /// <summary>A session, and at the active party its host.</summary>
    private sealed class Meeting(GrpcFederationHost? host, GrpcSession session) : IAsyncDisposable
    {
        public GrpcSession Session => session;

        public async ValueTask DisposeAsync()
        {
            await session.DisposeAsync().ConfigureAwait(false);
            if (host is not null)
                await host.DisposeAsync().ConfigureAwait(false);
        }
    }
}
