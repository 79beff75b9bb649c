using System.Globalization;
using FedLearn.Diagnostics;

namespace FedLearn.Parties;

/// <summary>An alignment with a peer, as it is written down. It holds no id.</summary>
/// <param name="Session">Id of the session, hex; a session that is taken up again keeps it.</param>
/// <param name="Party">Own name.</param>
/// <param name="Peer">The other party.</param>
/// <param name="Method">Method and suite, such as <c>psi FedLearn-PSI-v1</c>.</param>
/// <param name="Output">Who learns what.</param>
/// <param name="OwnIds">Ids of this party, as they were announced.</param>
/// <param name="PeerIds">Ids of the peer, as they were announced: so many ids the peer could test.</param>
/// <param name="JobDigest">Digest of the job, hex.</param>
public sealed record AlignmentRecord(string Session, string Party, string Peer, string Method, string Output, long OwnIds, long PeerIds, string JobDigest);

/// <summary>How much a peer may align. Whoever aligns can test as many ids as it announces, invented ones included.</summary>
public sealed record AlignmentCaps
{
    /// <summary>Sessions that one peer may begin within 24 hours, those that failed included.</summary>
    /// <value>At least 1. Default 1,000.</value>
    public int SessionsPerDay { get; init; } = 1000;

    /// <summary>Ids that a peer may bring to one session.</summary>
    /// <value>At least 1. Default 100 million.</value>
    public long PeerIds { get; init; } = 100_000_000;

    /// <summary>Refuses a session that these caps do not allow.</summary>
    /// <param name="record">The session.</param>
    /// <param name="begun">Sessions that the peer began within the last 24 hours, this one aside.</param>
    /// <exception cref="PrivacyRefusedException">FL5160: the peer has had its sessions; FL5161: it brings too many ids.</exception>
    public void Check(AlignmentRecord record, int begun)
    {
        ArgumentNullException.ThrowIfNull(record);
        if (record.PeerIds > PeerIds)
            throw new PrivacyRefusedException(AlignmentErrors.TooManyIds, $"alignment with '{record.Peer}'", string.Create(CultureInfo.InvariantCulture,
                $"the peer brings {record.PeerIds} {Counted.Noun(record.PeerIds, "id")}, and may bring {PeerIds}: it could test as many."),
                "Ask the peer why it brings so many; raise the cap (alignment.peerIds in a run file) if that is right.");
        if (begun >= SessionsPerDay)
            throw new PrivacyRefusedException(AlignmentErrors.TooManySessions, $"alignment with '{record.Peer}'", string.Create(CultureInfo.InvariantCulture,
                $"the peer has begun {begun} {Counted.Noun(begun, "session")} within 24 hours, and may begin {SessionsPerDay}: each lets it test ids."),
                "Wait, or raise the cap (alignment.sessionsPerDay in a run file) if so many are right.");
    }
}

/// <summary>Where a party writes down with whom it aligned. Thread-safe.</summary>
public interface IAlignmentLog
{
    /// <summary>Writes a session down, durably, before any id leaves in any form. A session that is in the log is not counted again.</summary>
    /// <param name="record">The session.</param>
    /// <param name="caps">What the peer may do.</param>
    /// <exception cref="PrivacyRefusedException">The peer has had its sessions, or brings too many ids; nothing was written.</exception>
    void Begin(AlignmentRecord record, AlignmentCaps caps);

    /// <summary>Writes down what a session told: the number of common ids.</summary>
    /// <param name="session">Id of the session.</param>
    /// <param name="commonIds">Ids found common with the peer; null where this party does not learn it.</param>
    void End(string session, long? commonIds);
}
