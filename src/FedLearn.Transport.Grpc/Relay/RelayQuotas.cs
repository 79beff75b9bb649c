namespace FedLearn.Transport.Grpc;

/// <summary>What one job may ask of a coordinator. Each job has limits of its own, so that none takes another's share.</summary>
public sealed record RelayQuotas
{
    /// <summary>Connections of one job at once, those that wait for the hosting party included.</summary>
    /// <value>1 to 10,000. Default 64.</value>
    public int Connections { get; init; } = 64;

    /// <summary>Connections of one party of a job at once, those that wait included. For the party that hosts a session: calls that wait at once.</summary>
    /// <value>1 to 10,000. Default 8.</value>
    public int ConnectionsPerParty { get; init; } = 8;

    /// <summary>Bytes that one party of a job may send within a day, which begins with its first byte; a connection that would send more is cut.</summary>
    /// <value>Above 0. Default null: no limit.</value>
    public long? BytesPerParty { get; init; }

    /// <summary>Calls of one party of a job within a minute, which begins with its first call; the party that hosts a session may make as many for each other party.</summary>
    /// <value>1 to 100,000. Default 60.</value>
    public int JoinsPerMinute { get; init; } = 60;

    internal void Validate()
    {
        const int mostConnections = 10_000, mostJoins = 100_000;
        ArgumentOutOfRangeException.ThrowIfLessThan(Connections, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Connections, mostConnections);
        ArgumentOutOfRangeException.ThrowIfLessThan(ConnectionsPerParty, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ConnectionsPerParty, mostConnections);
        ArgumentOutOfRangeException.ThrowIfLessThan(BytesPerParty ?? 1, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(JoinsPerMinute, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(JoinsPerMinute, mostJoins);
    }
}

/// <summary>Counts what is used within a time that begins with its first use and then anew. Thread-safe.</summary>
internal sealed class UseWindow(TimeProvider clock, TimeSpan length, long most)
{
    private readonly Lock _gate = new();
    private long? _start;
    private long _used;

    /// <summary>Uses an amount, unless that is more than is left.</summary>
    public bool TryUse(long amount)
    {
        lock (_gate)
        {
            if (_start is not { } start || clock.GetElapsedTime(start) >= length)
                (_start, _used) = (clock.GetTimestamp(), 0);
            if (amount > most - _used)
                return false;
            _used += amount;
            return true;
        }
    }
}
