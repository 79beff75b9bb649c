using FedLearn.Coordination;
using FedLearn.Protocol;

namespace FedLearn.Parties;

/// <summary>How the parties of a job find their common rows.</summary>
public enum AlignmentMethod
{
    /// <summary>Hashed ids are compared. Anyone who can guess ids can test them: for trials.</summary>
    Hashed = 0,

    /// <summary>Private set intersection (package FedLearn.Alignment): a party learns which of its rows are common, and how many the other has.</summary>
    Psi = 1,
}

/// <summary>Finds the rows common to all parties of a session, over the channels of that session and before anything else crosses them.</summary>
/// <remarks>Every party ends with the same rows in the same order: by SHA-256(job seed || normalised id), see <see cref="Data.RowIds"/>. Thread-safe.</remarks>
public interface IEntityAlignment
{
    /// <summary>The method, which must be that of the job.</summary>
    AlignmentMethod Method { get; }

    /// <summary>Finds the common rows.</summary>
    /// <param name="task">The party's side.</param>
    /// <param name="channels">At the active party one channel to each passive party, in the job's order; at a passive party the one to the active party.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="Diagnostics.FedLearnException">The alignment failed. The caller tells the peers.</exception>
    Task<AlignedRows> AlignAsync(AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default);
}

/// <summary>What a party brings to an alignment.</summary>
public sealed record AlignmentTask
{
    /// <summary>Whether the party is the active one.</summary>
    public required PartyRole Role { get; init; }

    /// <summary>Its ids, one a row; no two are equal once they are normalised.</summary>
    public required IReadOnlyList<string> Ids { get; init; }

    /// <summary>Seed of the job, which fixes the order of the common rows.</summary>
    public required long Seed { get; init; }

    /// <summary>Digest of the job, 32 bytes, the same at every party: sessions of different jobs have nothing in common.</summary>
    public required ReadOnlyMemory<byte> JobDigest { get; init; }

    /// <summary>Parties that hold rows, the active one included; at least 2.</summary>
    public required int Parties { get; init; }

    /// <summary>Told how far the alignment is; null for nobody.</summary>
    public IProgress<AlignmentProgress>? Progress { get; init; }
}

/// <summary>How far an alignment is.</summary>
/// <param name="Party">Whose side.</param>
/// <param name="Peer">With which party.</param>
/// <param name="Done">Ids treated, of both parties and both passes.</param>
/// <param name="Total">Ids to treat.</param>
public sealed record AlignmentProgress(string Party, string Peer, long Done, long Total);

/// <summary>The rows that all parties have.</summary>
/// <param name="Rows">Own rows from 0, in the common order.</param>
/// <param name="Leaks">What the alignment told whom besides, as sentences, for the report.</param>
/// <param name="Warnings">What a user should know, as sentences.</param>
public sealed record AlignedRows(int[] Rows, IReadOnlyList<string> Leaks, IReadOnlyList<string> Warnings);
