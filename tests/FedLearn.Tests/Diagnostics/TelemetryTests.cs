using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using Microsoft.Extensions.Logging;

namespace FedLearn.Tests.Diagnostics;

/// <summary>What listeners see of a job. One class, so that its tests run one after the other: a listener hears the whole process.</summary>
public class TelemetryTests
{
    private const int Rows = 30, Epochs = 4, Batches = 3;

    private static readonly CancellationToken Token = TestContext.Current.CancellationToken;

    // Names that only these tests use: other tests run beside them.
    private const string Active = "telemetry-bank", Passive = "telemetry-shop";

    // Every private number begins with eight digits of its own, and every id with a word.
    private static GlmPartyInput[] Inputs(ILoggerFactory? logs)
    {
        string[] ids = [.. Enumerable.Range(0, Rows).Select(i => $"customer-of-ours-{i}")];
        DenseMatrix Columns(double first) => new(Rows, 2, [.. Enumerable.Range(0, 2 * Rows).Select(i => first + (i * i % 17 / 1000.0))]);
        return
        [
            new() { Party = Active, LoggerFactory = logs, Table = Table.FromMatrix(ids, ["age", "pay"], Columns(27182818), [.. Enumerable.Range(0, Rows).Select(i => 31415926 + (i % 7 / 100.0))]) },
            new() { Party = Passive, LoggerFactory = logs, Table = Table.FromMatrix(ids, ["visits", "spent"], Columns(14142135), null) },
        ];
    }

    private static GlmJob Job(string name) => new()
    {
        Name = name,
        Model = new() { Family = GlmFamilies.Gaussian },
        Training = new() { Optimizer = GlmOptimizer.Sgd, Epochs = Epochs, BatchesPerEpoch = Batches },
        Split = new SplitRule.ByHash(Modulus: 3, Test: [0]),
        Parties = [new() { Party = new(Active, PartyRole.Active) }, new() { Party = new(Passive, PartyRole.Passive) }],
    };

    [Fact]
    public async Task Train_Watched_CountsSessionsRoundsAndMessages()
    {
        using var ears = new Ears();
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(Job("telemetry-counts"), Inputs(ears), cancellationToken: Token);
        foreach (GlmPartyResult result in results)
        {
            string party = result.Party.Name;
            Assert.Equal(1, ears.Sum(FedLearnTelemetry.SessionsStarted, party, "operation=train", "mode=none", "job=telemetry-counts"));
            Assert.Equal(1, ears.Sum(FedLearnTelemetry.SessionsEnded, party, "outcome=completed"));
            Assert.Equal(Epochs * Batches, ears.Sum(FedLearnTelemetry.Rounds, party, "job=telemetry-counts"));
            Assert.Equal(result.Traffic.MessagesSent, ears.Sum(FedLearnTelemetry.Messages, party, "direction=sent"));
            Assert.Equal(result.Traffic.MessagesReceived, ears.Sum(FedLearnTelemetry.Messages, party, "direction=received"));
            Assert.Equal(result.Traffic.BytesSent, ears.Sum(FedLearnTelemetry.MessageBytes, party, "direction=sent"));
            Assert.Equal(result.Traffic.BytesReceived, ears.Sum(FedLearnTelemetry.MessageBytes, party, "direction=received"));
            Assert.Equal(result.Timing.Wait, ears.Sum(FedLearnTelemetry.WaitTime, party));
            Assert.Equal(result.Timing.Noise, ears.Sum(FedLearnTelemetry.NoiseTime, party));
            // One an epoch, and together no longer than the training.
            double[] rounds = ears.Values(FedLearnTelemetry.RoundDuration, party);
            Assert.Equal(Epochs, rounds.Length);
            Assert.All(rounds, seconds => Assert.InRange(seconds, 0, result.Timing.Training));
        }

        Assert.Equal(Epochs * Batches, ears.Sum(FedLearnTelemetry.Messages, Active, "kind=Residuals", "direction=sent"));
    }

    [Fact]
    public async Task TrainAndPredict_Traced_ShowTheirPhases()
    {
        using var ears = new Ears();
        GlmJob job = Job("telemetry-traces");
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, Inputs(null), cancellationToken: Token);
        await LocalFederation.PredictAsync(job, Inputs(null), [.. results.Select(r => r.Model)], cancellationToken: Token);
        foreach (string party in new[] { Active, Passive })
        {
            Activity[] all = ears.Activities(party);
            // Two evaluations: training rows and test rows.
            Assert.Equal(["fedlearn.alignment", "fedlearn.alignment", "fedlearn.evaluation", "fedlearn.evaluation", "fedlearn.predict", "fedlearn.train", "fedlearn.training"],
                all.Select(a => a.OperationName).Order(StringComparer.Ordinal));
            Activity session = all.Single(a => a.OperationName == "fedlearn.train"), training = all.Single(a => a.OperationName == "fedlearn.training");
            Assert.Equal(session.SpanId, training.ParentSpanId);
            Assert.All(all.Where(a => a.OperationName == "fedlearn.evaluation"), a => Assert.Equal(training.SpanId, a.ParentSpanId));
            Assert.All(all, a => Assert.Equal(("telemetry-traces", "none"), (a.GetTagItem("job"), a.GetTagItem("mode"))));
        }
    }

    [Fact]
    public async Task Train_Logged_SaysEachStepUnderItsEventId()
    {
        using var ears = new Ears();
        await LocalFederation.TrainAsync(Job("telemetry-log"), Inputs(ears), cancellationToken: Token);
        foreach (string party in new[] { Active, Passive })
            Assert.Equal([100, 104, .. Enumerable.Repeat(105, Epochs), 106, 101], ears.Logged.Where(line => line.Text.Contains(party, StringComparison.Ordinal)).Select(line => line.Event));
        Assert.All(ears.Logged, line => Assert.Equal("FedLearn.Session", line.Category));
    }

    [Fact]
    public async Task Train_Failing_IsCountedAndLoggedByItsId()
    {
        using var ears = new Ears();
        GlmPartyInput[] inputs = Inputs(ears);
        inputs[1] = inputs[1] with { Table = Table.FromMatrix(["nobody"], ["visits", "spent"], new DenseMatrix(1, 2, [1, 2]), null) };
        BadInputException failed = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(Job("telemetry-fails"), inputs, cancellationToken: Token));
        Assert.Equal(1, ears.Sum(FedLearnTelemetry.SessionsEnded, Active, "outcome=failed", "error=" + failed.Id));
        Assert.Contains(ears.Logged, line => line.Event == 103 && line.Text.Contains(failed.Id, StringComparison.Ordinal));
        Assert.Contains(ears.Activities(Active), a => a.Status == ActivityStatusCode.Error && a.StatusDescription == failed.Id);
    }

    [Fact]
    public async Task Train_Cancelled_IsCountedAndLogged()
    {
        using var ears = new Ears();
        await foreach (GlmTrainingEvent _ in LocalFederation.RunAsync(Job("telemetry-stops") with { Training = new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1_000_000 } }, Inputs(ears), cancellationToken: Token))
            break;
        Assert.Equal(1, ears.Sum(FedLearnTelemetry.SessionsEnded, Active, "outcome=cancelled") + ears.Sum(FedLearnTelemetry.SessionsEnded, Active, "outcome=failed"));
        Assert.Contains(ears.Logged, line => line.Event == 102);
    }

    // Labels, features, ids, weights and scores are told apart from everything else by their digits and words.
    [Fact]
    public async Task Job_EverythingHeard_HoldsNoPrivateValue()
    {
        using var ears = new Ears();
        GlmJob job = Job("telemetry-secrets") with { Training = new() { Epochs = 50 } };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, Inputs(ears), cancellationToken: Token);
        GlmPrediction prediction = await LocalFederation.PredictAsync(job, Inputs(ears), [.. results.Select(r => r.Model)], cancellationToken: Token);
        GlmPartyInput[] broken = Inputs(ears);
        broken[1] = broken[1] with { Table = Table.FromMatrix(["customer-of-theirs"], ["visits", "spent"], new DenseMatrix(1, 2, [14142135.5, 2]), null) };
        await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(job, broken, cancellationToken: Token));

        string heard = ears.Everything();
        heard += heard.Replace(".", "", StringComparison.Ordinal); // digits on both sides of a point are digits of one number
        Assert.Contains("telemetry-secrets", heard, StringComparison.Ordinal); // it did listen
        double[] numbers = [.. results.SelectMany(r => r.Model.Weights), .. prediction.Scores, .. prediction.Means, results[0].Objective!.Value];
        string[] secrets = ["31415926", "27182818", "14142135", "customer", .. numbers.Select(Digits).Where(d => d.Length == 8)];
        Assert.True(secrets.Length > Rows);
        Assert.All(secrets, secret => Assert.DoesNotContain(secret, heard, StringComparison.Ordinal));
    }

    [Fact]
    public void Instruments_NobodyListens_AllocateNothing()
    {
        var telemetry = new SessionTelemetry("train", "bank", "job", "none", null);
        void Round(int round)
        {
            FedLearnTelemetry.Message("bank", typeof(FedLearn.Privacy.Scores), "sent", 1000);
            FedLearnTelemetry.Message("bank", typeof(FedLearn.Privacy.Residuals), "received", 1000);
            telemetry.RoundsDone(round, 2000);
            telemetry.Begin("fedlearn.evaluation")?.Dispose();
        }

        for (int round = 0; round < 1000; round++)
            Round(round);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int round = 1000; round < 2000; round++)
            Round(round);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    // The first eight significant digits, without a point.
    private static string Digits(double value)
    {
        string text = Math.Abs(value).ToString("E15", CultureInfo.InvariantCulture);
        return text.Replace(".", "", StringComparison.Ordinal)[..8].TrimEnd('0');
    }

    /// <summary>Hears every meter, activity and log of FedLearn. Of others' tests only names and numbers of their own.</summary>
    private sealed class Ears : ILoggerFactory
    {
        private readonly MeterListener _meters = new();
        private readonly ActivityListener _activities;
        private readonly ConcurrentQueue<(string Instrument, double Value, string[] Tags)> _measured = new();
        private readonly ConcurrentQueue<Activity> _stopped = new();
        private readonly ConcurrentQueue<(string Category, int Event, string Text)> _logged = new();

        public Ears()
        {
            _meters.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == FedLearnTelemetry.Name)
                    listener.EnableMeasurementEvents(instrument);
            };
            _meters.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Heard(instrument, value, tags));
            _meters.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Heard(instrument, value, tags));
            _meters.Start();
            _activities = new ActivityListener
            {
                ShouldListenTo = source => source.Name == FedLearnTelemetry.Name,
                Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
                ActivityStopped = _stopped.Enqueue,
            };
            ActivitySource.AddActivityListener(_activities);
        }

        public IReadOnlyCollection<(string Category, int Event, string Text)> Logged => _logged;

        public double[] Values(string instrument, string party, params string[] tags) => [.. _measured
            .Where(m => m.Instrument == instrument && tags.Append("party=" + party).All(m.Tags.Contains)).Select(m => m.Value)];

        public double Sum(string instrument, string party, params string[] tags) => Values(instrument, party, tags).Sum();

        public Activity[] Activities(string party) => [.. _stopped.Where(a => Equals(a.GetTagItem("party"), party))];

        public string Everything() => string.Join('\n', _logged.Select(line => line.Text)
            .Concat(_measured.Where(m => m.Tags.Contains("party=" + Active) || m.Tags.Contains("party=" + Passive)).Select(m => $"{m.Instrument} {m.Value:R} {string.Join(' ', m.Tags)}"))
            .Concat(Activities(Active).Concat(Activities(Passive)).Select(a => $"{a.DisplayName} {a.StatusDescription} {string.Join(' ', a.TagObjects)} {string.Join(' ', a.Events.Select(e => e.Name))} {string.Join(' ', a.Baggage)}")));

        public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public void Dispose()
        {
            _meters.Dispose();
            _activities.Dispose();
        }

        private void Heard(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
            _measured.Enqueue((instrument.Name, value, [.. tags.ToArray().Select(tag => $"{tag.Key}={tag.Value}")]));

        private sealed class Logger(Ears ears, string category) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

            public bool IsEnabled(LogLevel logLevel) => true;

            public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                string values = string.Join(' ', state as IEnumerable<KeyValuePair<string, object?>> ?? []);
                ears._logged.Enqueue((category, eventId.Id, $"{formatter(state, exception)} {values} {exception}"));
            }
        }
    }
}
