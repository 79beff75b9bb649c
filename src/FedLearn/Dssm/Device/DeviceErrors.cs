using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>Errors of device mode; each has a page under docs/errors.</summary>
public static class DeviceErrors
{
    /// <summary>A device job is inconsistent.</summary>
    public const string InvalidJob = "FL2470";

    /// <summary>The model needs an active party or the samples of other devices.</summary>
    public const string ModelNotForDevices = "FL2471";

    /// <summary>A device's data does not fit the job.</summary>
    public const string DataDoesNotFit = "FL2472";

    /// <summary>A device's store holds the state of another device or job, or is damaged.</summary>
    public const string OtherState = "FL2546";

    /// <summary>Another process uses the store of a device.</summary>
    public const string StoreInUse = "FL2547";

    /// <summary>The server asked for an attempt that is over.</summary>
    public const string RepeatedAttempt = "FL4075";

    /// <summary>A round failed in every attempt.</summary>
    public const string RoundFailed = "FL4076";

    /// <summary>An invitation cannot be read or is out of order.</summary>
    public const string BadInvitation = "FL4077";

    /// <summary>A private device job lacks a bound that its claim rests on.</summary>
    public const string BoundMissing = "FL5170";

    /// <summary>A device has taken part as often as its cap allows.</summary>
    public const string ParticipationsSpent = "FL5171";

    /// <summary>The threshold does not protect against the colluders that the job assumes.</summary>
    public const string ThresholdTooLow = "FL5172";

    internal static PeerException Failed(int round, int attempts, string last, string remedy) =>
        new(RoundFailed, $"round {round}", $"{attempts} {Counted.Noun(attempts, "attempt")} came to nothing; the last one: {last}.", remedy);

    internal static ConfigurationException Job(string place, string cause, string remedy) => new(InvalidJob, place, cause, remedy);

    internal static ConfigurationException Model(string place, string cause, string remedy) => new(ModelNotForDevices, place, cause, remedy);

    internal static PrivacyRefusedException Missing(string place, string cause, string remedy) => new(BoundMissing, place, cause, remedy);
}
