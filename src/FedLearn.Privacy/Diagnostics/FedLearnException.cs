namespace FedLearn.Diagnostics;

/// <summary>An error that FedLearn found and can explain: an id with a page under docs/errors, the place, the cause and the remedy.</summary>
/// <remarks>The digit after <c>FL</c> is the exit code of the tool: 2 usage or configuration, 3 data, 4 peer or network,
/// 5 privacy refused, 6 internal. No message carries a feature, label, score, weight, id or key.</remarks>
public class FedLearnException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="id">Stable id, <c>FLnnnn</c>.</param>
    /// <param name="place">Where: a file with row and column, a key of the run file, a peer and round.</param>
    /// <param name="cause">What is wrong there, as a sentence without private values.</param>
    /// <param name="remedy">What to do about it, as a sentence.</param>
    /// <param name="innerException">The lower-level error, if any.</param>
    /// <exception cref="ArgumentException">The id does not have the form FLnnnn with a first digit from 2 to 6.</exception>
    public FedLearnException(string id, string place, string cause, string remedy, Exception? innerException = null)
        : base($"{place}: {cause} {remedy} ({id})", innerException)
    {
        if (id is not ['F', 'L', >= '2' and <= '6', _, _, _])
            throw new ArgumentException("An error id has the form FLnnnn, its first digit being the exit code 2 to 6.", nameof(id));
        (Id, Place, Cause, Remedy) = (id, place, cause, remedy);
    }

    /// <summary>Stable id, <c>FLnnnn</c>; its page is docs/errors/FLnnnn.md.</summary>
    public string Id { get; }

    /// <summary>Where the error is.</summary>
    public string Place { get; }

    /// <summary>What is wrong there.</summary>
    public string Cause { get; }

    /// <summary>What to do about it.</summary>
    public string Remedy { get; }

    /// <summary>Exit code of the tool for this error: 2 to 6.</summary>
    public int ExitCode => Id[2] - '0';
}

/// <summary>Wrong usage or configuration (FL2nnn, exit code 2).</summary>
public sealed class ConfigurationException(string id, string place, string cause, string remedy, Exception? innerException = null)
    : FedLearnException(id, place, cause, remedy, innerException);

/// <summary>Data that cannot be used (FL3nnn, exit code 3).</summary>
public sealed class BadInputException(string id, string place, string cause, string remedy, Exception? innerException = null)
    : FedLearnException(id, place, cause, remedy, innerException);

/// <summary>A peer that misbehaves, dies or never appears, or a network that fails (FL4nnn, exit code 4).</summary>
public sealed class PeerException(string id, string place, string cause, string remedy, Exception? innerException = null)
    : FedLearnException(id, place, cause, remedy, innerException)
{
    /// <summary>Where the peer gave up and said so (FL4008): the id of its own error. Null elsewhere.</summary>
    public string? PeerErrorId { get; init; }

    /// <summary>Name of the party at the other end of the connection that the error is about. Null where it is not known, or where the error is about no single connection.</summary>
    public string? Peer { get; init; }
}

/// <summary>A request that the privacy mathematics does not cover (FL5nnn, exit code 5).</summary>
public sealed class PrivacyRefusedException(string id, string place, string cause, string remedy, Exception? innerException = null)
    : FedLearnException(id, place, cause, remedy, innerException);

/// <summary>A numerical or internal failure (FL6nnn, exit code 6).</summary>
public sealed class InternalFailureException(string id, string place, string cause, string remedy, Exception? innerException = null)
    : FedLearnException(id, place, cause, remedy, innerException);
