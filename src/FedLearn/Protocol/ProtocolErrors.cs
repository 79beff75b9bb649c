using System.Collections.ObjectModel;
using FedLearn.Diagnostics;

namespace FedLearn.Protocol;

/// <summary>Errors of sessions and channels (FL40nn); each has a page under docs/errors.</summary>
public static class ProtocolErrors
{
    /// <summary>A peer sent another kind of message than this step needs.</summary>
    public const string UnexpectedMessage = "FL4001";

    /// <summary>A peer sent a message of another round.</summary>
    public const string WrongRound = "FL4002";

    /// <summary>A peer sent a vector of another length.</summary>
    public const string WrongLength = "FL4003";

    /// <summary>A peer sent NaN or an infinity.</summary>
    public const string NotFinite = "FL4004";

    /// <summary>A peer sent bytes that are no valid message.</summary>
    public const string Malformed = "FL4005";

    /// <summary>A peer sent a message over the size limit.</summary>
    public const string TooLarge = "FL4006";

    /// <summary>The connection ended before the job did.</summary>
    public const string PeerGone = "FL4007";

    /// <summary>The peer gave up and said so.</summary>
    public const string PeerAborted = "FL4008";

    /// <summary>Nothing came within the time allowed.</summary>
    public const string TimedOut = "FL4009";

    /// <summary>A party has another job.</summary>
    public const string DifferentJob = "FL4010";

    /// <summary>A party speaks another protocol version.</summary>
    public const string DifferentVersion = "FL4011";

    /// <summary>A party has a name or role the job does not give it.</summary>
    public const string UnknownParty = "FL4012";

    /// <summary>A party of that name has joined already.</summary>
    public const string AlreadyJoined = "FL4013";

    /// <summary>The parties' splits differ.</summary>
    public const string DifferentSplit = "FL4014";

    /// <summary>The host of a session, or a coordinator, cannot be reached, or an address cannot be opened.</summary>
    public const string CannotConnect = "FL4015";

    /// <summary>A party did not appear in time.</summary>
    public const string PartyMissing = "FL4016";

    /// <summary>A peer sent a value outside its legal range, other than a non-finite number.</summary>
    public const string IllegalValue = "FL4017";

    /// <summary>The user stopped the job at one party.</summary>
    public const string Cancelled = "FL4018";

    /// <summary>A party stopped for a reason that has no id of its own.</summary>
    public const string PeerFailed = "FL4019";

    /// <summary>A party has trained its part of the model and could not save it. The run can go on, and then ends without another charge.</summary>
    public const string ModelNotSaved = "FL4022";

    /// <summary>The active party was lost at the very end: this party has its part of the model, and has not heard that everybody has.</summary>
    public const string EndNotHeard = "FL4023";

    /// <summary>A host goes on with a run that this party did not offer.</summary>
    public const string NotOffered = "FL4150";

    /// <summary>Errors that tell of a lost or refused connection and of nothing wrong in a job or a session: to meet again later may help.</summary>
    /// <remarks>FL4041 and the later ones are those of the gRPC transport and of a coordinator, which document them: a host that was started anew does not know the session,
    /// one that ends or is full takes no call, and a connection that breaks in the midst of a call may say so in the words of its transport.</remarks>
    public static IReadOnlySet<string> Losses { get; } = new ReadOnlySet<string>(new HashSet<string> { PeerGone, TimedOut, CannotConnect, PartyMissing, EndNotHeard,
        "FL4041", "FL4043", "FL4044", "FL4047", "FL4048", "FL4136", "FL4164", "FL4165", "FL4166", "FL4167", "FL4172" });

    internal static PeerException Peer(string id, string remote, string step, string cause, string remedy, Exception? inner = null) =>
        new(id, $"peer '{remote}', {step}", cause, remedy, inner) { Peer = remote };
}
