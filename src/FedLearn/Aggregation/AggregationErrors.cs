using FedLearn.Diagnostics;

namespace FedLearn.Aggregation;

/// <summary>Errors of secure aggregation and of masked sums; each has a page under docs/errors.</summary>
public static class AggregationErrors
{
    /// <summary>Too few or too many clients for one round.</summary>
    public const string RoundSize = "FL2450";

    /// <summary>The threshold does not fit the number of clients and colluders.</summary>
    public const string Threshold = "FL2451";

    /// <summary>A round is described wrongly.</summary>
    public const string RoundTerms = "FL2453";

    /// <summary>A masked sum needs at least two remote views.</summary>
    public const string TooFewViews = "FL2454";

    /// <summary>A peer sent another kind of message than this step needs, or sent it out of order.</summary>
    public const string UnexpectedStep = "FL4060";

    /// <summary>A peer sent a message of another job, round or attempt.</summary>
    public const string OtherAttempt = "FL4061";

    /// <summary>A peer sent bytes that are no message of this step.</summary>
    public const string Malformed = "FL4062";

    /// <summary>A message comes from, or names, a client that is not of the round.</summary>
    public const string UnknownClient = "FL4063";

    /// <summary>A client answered a step twice.</summary>
    public const string AnsweredTwice = "FL4064";

    /// <summary>Fewer clients than the threshold are left.</summary>
    public const string TooFewClients = "FL4065";

    /// <summary>A message came after its phase had ended.</summary>
    public const string TooLate = "FL4066";

    /// <summary>A public key has low order, so that anybody knows what is agreed with it.</summary>
    public const string UnusableKey = "FL4067";

    /// <summary>A client's encrypted shares do not open for too many others.</summary>
    public const string ShareTampered = "FL4068";

    /// <summary>Shares do not fit together.</summary>
    public const string SharesDisagree = "FL4069";

    /// <summary>A signature is missing or wrong.</summary>
    public const string BadSignature = "FL4070";

    /// <summary>The roster is not one that this client may take part in.</summary>
    public const string BadRoster = "FL4071";

    /// <summary>A masked vector has another length or step.</summary>
    public const string WrongVector = "FL4072";

    /// <summary>Fewer clients than the threshold signed the list.</summary>
    public const string TooFewConsents = "FL4073";

    /// <summary>A masked vector of a view is missing or comes twice.</summary>
    public const string ViewsDiffer = "FL4074";

    /// <summary>A second request to open a sum of the same attempt.</summary>
    public const string SecondUnmask = "FL5138";

    /// <summary>A request to open a sum of too few or of wrong clients.</summary>
    public const string ListRefused = "FL5139";

    /// <summary>A request to open a sum without the client that is asked.</summary>
    public const string ListWithoutMe = "FL5140";

    /// <summary>Both kinds of share were asked for one client.</summary>
    public const string BothShares = "FL5141";

    /// <summary>Keys or masks would be used a second time.</summary>
    public const string UsedAgain = "FL5142";

    /// <summary>libsodium is missing.</summary>
    public const string NoSodium = "FL6143";

    /// <summary>libsodium failed.</summary>
    public const string SodiumFault = "FL6145";

    internal static PeerException Peer(string id, string place, string cause, string remedy, Exception? inner = null) => new(id, place, cause, remedy, inner);

    internal static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);

    internal static ConfigurationException Configuration(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);
}
