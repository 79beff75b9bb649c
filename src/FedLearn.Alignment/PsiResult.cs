namespace FedLearn.Alignment;

/// <summary>What one party has after private set intersection with one peer.</summary>
public sealed record PsiResult
{
    /// <summary>Own rows from 0 whose ids are common, rising; null where this party does not learn them.</summary>
    public required IReadOnlyList<int>? Rows { get; init; }

    /// <summary>Number of common ids; null where this party does not learn it.</summary>
    public required int? Size { get; init; }

    /// <summary>Own ids as they were announced, invented ones included.</summary>
    public required long OwnIds { get; init; }

    /// <summary>The peer's ids as they were announced.</summary>
    public required long PeerIds { get; init; }

    /// <summary>Id of the session, hex; the same at both parties.</summary>
    public required string Session { get; init; }

    /// <summary>Whether an interrupted session was taken up again.</summary>
    public required bool Resumed { get; init; }

    /// <summary>What computed in the group.</summary>
    public required string Engine { get; init; }

    /// <summary>Bytes sent over the channel during this run.</summary>
    public required long BytesSent { get; init; }

    /// <summary>Bytes received over the channel during this run.</summary>
    public required long BytesReceived { get; init; }

    /// <summary>What a user should know, as sentences.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }
}
