using FedLearn.Diagnostics;

namespace FedLearn.Coordination;

/// <summary>Errors of kept states; each has a page under docs/errors.</summary>
public static class RunStateErrors
{
    /// <summary>The state of a run is gone or damaged, so that it cannot go on.</summary>
    public const string Unusable = "FL2540";

    /// <summary>Another process goes on with the run.</summary>
    public const string InUse = "FL2541";

    /// <summary>Whether a ledger, outbox or state in a file could not be read or written, or a ledger did not verify: mended beside the run, which has sent nothing that it did not keep first.</summary>
    /// <remarks>The errors are those of the package FedLearn.Storage.Sqlite, which documents them.</remarks>
    internal static bool IsOfStorage(string? id) => id is "FL2311" or "FL5022" or "FL5025" or "FL6310" or "FL6311" or "FL6312";

    internal static ConfigurationException Gone(string place) => NotUsable(place, "its state is kept no longer.");

    internal static ConfigurationException Damaged(string place) => NotUsable(place, "its state is damaged.");

    internal static ConfigurationException OtherKind(string place) => NotUsable(place, "its state is damaged, or was kept by another version of FedLearn.");

    private static ConfigurationException NotUsable(string place, string cause) => new(Unusable, place, cause, "Begin a new run (fedlearn: --fresh); in a private mode it is charged by itself.");
}
