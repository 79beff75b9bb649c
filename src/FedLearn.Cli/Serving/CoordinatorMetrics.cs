using System.Diagnostics.Metrics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Serving;

/// <summary>Counts of a coordinator, as instruments of the meter FedLearn.Coordinator. Tags are names that the jobs give, purposes of sessions, directions and ids of errors.</summary>
internal sealed class CoordinatorMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "FedLearn.Coordinator";

    private readonly Meter _meter = new(MeterName);
    private readonly UpDownCounter<long> _open;
    private readonly Counter<long> _ended, _bytes, _refused;

    /// <param name="relay">What is counted, from its beginning to the disposal of this.</param>
    public CoordinatorMetrics(GrpcRelayServer relay)
    {
        _open = _meter.CreateUpDownCounter<long>("fedlearn.coordinator.connections", "{connection}", "Connections in progress.");
        _ended = _meter.CreateCounter<long>("fedlearn.coordinator.connections.ended", "{connection}", "Connections that have ended, by outcome.");
        _bytes = _meter.CreateCounter<long>("fedlearn.coordinator.bytes", "By", "Bytes of ended connections, sent by or to the party that joined.");
        _refused = _meter.CreateCounter<long>("fedlearn.coordinator.calls.refused", "{call}", "Calls refused, by error.");
        relay.Opened += connection => _open.Add(1, new("job", connection.Job), new("party", connection.Party), new("operation", connection.Purpose));
        relay.Closed += Ended;
        // No tag says whose call was refused: the name is only what the caller claims.
        relay.Refused += (_, refusal) => _refused.Add(1, new KeyValuePair<string, object?>("error", refusal.Id));
    }

    /// <summary>Ends the instruments.</summary>
    public void Dispose() => _meter.Dispose();

    private void Ended(RelayedConnection connection, RelayedTraffic traffic)
    {
        KeyValuePair<string, object?> job = new("job", connection.Job), party = new("party", connection.Party), operation = new("operation", connection.Purpose);
        KeyValuePair<string, object?> outcome = new("outcome", traffic.ErrorId is null ? "completed" : "failed");
        if (traffic.ErrorId is { } error)
            _ended.Add(1, [job, party, operation, outcome, new("error", error)]);
        else
            _ended.Add(1, [job, party, operation, outcome]);
        _open.Add(-1, job, party, operation);
        _bytes.Add(traffic.ToHost, job, party, new("direction", "sent"));
        _bytes.Add(traffic.FromHost, job, party, new("direction", "received"));
    }
}
