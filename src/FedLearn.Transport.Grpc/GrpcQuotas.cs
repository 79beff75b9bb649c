namespace FedLearn.Transport.Grpc;

/// <summary>What one peer may take of a host. A peer is who its certificate says it is, or else the address it calls from: of IPv6 its network of 64 bits.</summary>
/// <remarks>A peer that goes beyond is answered RESOURCE_EXHAUSTED with FL4172 or FL4173; nobody else notices. The defaults are far above what honest parties need,
/// and such that no single address takes a host down; companies that share an address share its quotas.</remarks>
public sealed record GrpcQuotas
{
    /// <summary>Requests to join within a minute, refused ones included; as many at once after a minute without any.</summary>
    /// <value>At least 1. Default 6,000.</value>
    public int JoinsPerMinute { get; init; } = 6_000;

    /// <summary>Connections open at a time, counted by address also where there are certificates: they are counted before anybody has shown one.</summary>
    /// <value>At least 1. Default 2,048.</value>
    public int Connections { get; init; } = 2_048;

    /// <summary>Calls in progress at a time.</summary>
    /// <value>At least 1. Default 2,048.</value>
    public int Streams { get; init; } = 2_048;

    /// <summary>Exchanges of messages open at a time: one for each party in session.</summary>
    /// <value>At least 1. Default 1,024.</value>
    public int Sessions { get; init; } = 1_024;

    /// <summary>Bytes that a peer may send in one session, framing included.</summary>
    /// <value>At least 1. Default 1 TiB.</value>
    public long BytesPerSession { get; init; } = 1L << 40;

    /// <summary>Connections of all peers together; more are closed at once.</summary>
    /// <value>At least 1. Default 8,192.</value>
    public int AllConnections { get; init; } = 8_192;

    /// <summary>These quotas, if they are legal.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A quota is below 1.</exception>
    internal GrpcQuotas Checked()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(JoinsPerMinute, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Connections, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Streams, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Sessions, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(BytesPerSession, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(AllConnections, 1);
        return this;
    }
}
