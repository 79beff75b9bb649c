using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using FedLearn.Glm;

namespace FedLearn.Cli.Serving;

/// <summary>How a REST request for scores ended.</summary>
internal enum RequestOutcome
{
    Ok,
    Degraded,
    UnknownId,
    Unavailable,
    BadRequest,
    Cancelled,
    Failed,
}

/// <summary>Counts and times of the server: as instruments of the meter FedLearn.Serving, and as text for Prometheus. No id, score or other private value.</summary>
internal sealed class ServingMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "FedLearn.Serving";

    private static readonly double[] Shares = [0.5, 0.9, 0.99];
    private static readonly RequestOutcome[] Outcomes = Enum.GetValues<RequestOutcome>();

    private readonly GlmScoringActive _scoring;
    private readonly TimeProvider _clock;
    private readonly LatencyWindow _window;
    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _requests, _ids;
    private readonly Histogram<double> _duration;
    private readonly long[] _counts = new long[Outcomes.Length];
    private long _idCount, _ticks;

    public ServingMetrics(GlmScoringActive scoring, TimeProvider? clock = null)
    {
        (_scoring, _clock) = (scoring, clock ?? TimeProvider.System);
        _window = new LatencyWindow(_clock);
        _requests = _meter.CreateCounter<long>("fedlearn.serve.requests", "{request}", "Requests for scores, by outcome.");
        _ids = _meter.CreateCounter<long>("fedlearn.serve.ids", "{id}", "Ids in them.");
        _duration = _meter.CreateHistogram<double>("fedlearn.serve.duration", "s", "Time to answer a request for scores.");
        _meter.CreateObservableGauge("fedlearn.serve.party.connected", () => scoring.Parties.Select(p => new Measurement<int>(p.Connected ? 1 : 0, Tag(p))), null, "1 for a connected passive party.");
        _meter.CreateObservableCounter("fedlearn.serve.party.messages", () => scoring.Parties.Select(p => new Measurement<long>(p.Messages, Tag(p))), "{message}", "Messages a passive party answered.");
        _meter.CreateObservableCounter("fedlearn.serve.party.late", () => scoring.Parties.Select(p => new Measurement<long>(p.Late, Tag(p))), "{request}", "Requests that did not wait for a passive party to the end.");
    }

    /// <summary>Requests that have ended.</summary>
    public long Requests => _counts.Select((_, i) => Interlocked.Read(ref _counts[i])).Sum();

    /// <summary>When a request begins.</summary>
    public long Start() => _clock.GetTimestamp();

    /// <summary>Counts a request that ended.</summary>
    /// <param name="start">What <see cref="Start"/> gave.</param>
    /// <param name="outcome">How it ended.</param>
    /// <param name="ids">How many ids it had.</param>
    public void Record(long start, RequestOutcome outcome, int ids)
    {
        TimeSpan elapsed = _clock.GetElapsedTime(start);
        Interlocked.Increment(ref _counts[(int)outcome]);
        Interlocked.Add(ref _idCount, ids);
        Interlocked.Add(ref _ticks, elapsed.Ticks);
        _window.Add(elapsed.TotalSeconds);
        _requests.Add(1, new KeyValuePair<string, object?>("outcome", Name(outcome)));
        _ids.Add(ids);
        _duration.Record(elapsed.TotalSeconds, new KeyValuePair<string, object?>("outcome", Name(outcome)));
    }

    /// <summary>Everything in Prometheus' text format 0.0.4.</summary>
    public string Text()
    {
        var text = new StringBuilder();
        Head("fedlearn_serve_requests_total", "counter", "Requests for scores, by outcome.");
        foreach (RequestOutcome outcome in Outcomes)
            Line("fedlearn_serve_requests_total", $"{{outcome=\"{Name(outcome)}\"}}", Interlocked.Read(ref _counts[(int)outcome]));
        Head("fedlearn_serve_ids_total", "counter", "Ids in requests for scores.");
        Line("fedlearn_serve_ids_total", "", Interlocked.Read(ref _idCount));
        Head("fedlearn_serve_duration_seconds", "summary", "Time to answer a request for scores; percentiles of the last minute, sum and count of all.");
        foreach ((double share, double seconds) in Shares.Zip(_window.Percentiles(Shares)))
            Line("fedlearn_serve_duration_seconds", string.Create(CultureInfo.InvariantCulture, $"{{quantile=\"{share}\"}}"), seconds);
        Line("fedlearn_serve_duration_seconds_sum", "", TimeSpan.FromTicks(Interlocked.Read(ref _ticks)).TotalSeconds);
        Line("fedlearn_serve_duration_seconds_count", "", Requests);
        IReadOnlyList<GlmScoringParty> parties = _scoring.Parties;
        OfParties("fedlearn_serve_party_connected", "gauge", "1 for a connected passive party, else 0.", p => p.Connected ? 1 : 0);
        OfParties("fedlearn_serve_party_messages_total", "counter", "Messages a passive party answered; several requests may share one.", p => p.Messages);
        OfParties("fedlearn_serve_party_late_total", "counter", "Requests that did not wait for a passive party to the end.", p => p.Late);
        return text.ToString();

        void Head(string name, string type, string help) => text.Append(null, $"# HELP {name} {help}\n# TYPE {name} {type}\n");

        void Line(string name, string labels, double value) =>
            text.Append(name).Append(labels).Append(' ').Append(double.IsNaN(value) ? "NaN" : value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');

        void OfParties(string name, string type, string help, Func<GlmScoringParty, double> value)
        {
            Head(name, type, help);
            foreach (GlmScoringParty party in parties)
                Line(name, $"{{party=\"{Escaped(party.Name)}\"}}", value(party));
        }
    }

    public void Dispose() => _meter.Dispose();

    private static KeyValuePair<string, object?> Tag(GlmScoringParty party) => new("party", party.Name);

    private static string Escaped(string name) =>
        name.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private static string Name(RequestOutcome outcome) => outcome switch
    {
        RequestOutcome.Ok => "ok",
        RequestOutcome.Degraded => "degraded",
        RequestOutcome.UnknownId => "unknown_id",
        RequestOutcome.Unavailable => "unavailable",
        RequestOutcome.BadRequest => "bad_request",
        RequestOutcome.Cancelled => "cancelled",
        _ => "failed",
    };
}
