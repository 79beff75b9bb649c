using FedLearn.Diagnostics;

namespace FedLearn.Privacy;

/// <summary>Errors of the privacy layer: FL230n, FL500n, FL501n and FL630n; each has a page under docs/errors.</summary>
public static class PrivacyErrors
{
    /// <summary>A number of the privacy calculation is NaN, infinite or outside its range.</summary>
    public const string InvalidNumber = "FL2300";

    /// <summary>Epsilon or delta is NaN, infinite, negative, zero or not a probability.</summary>
    public const string InvalidBudget = "FL2301";

    /// <summary>Rows, batches or epochs do not describe a schedule.</summary>
    public const string InvalidLayout = "FL2302";

    /// <summary>The numbers are legal one by one, but their bound is not a finite number.</summary>
    public const string BoundOverflow = "FL2303";

    /// <summary>A share of the budget is not strictly between 0 and 1.</summary>
    public const string InvalidShare = "FL2307";

    /// <summary>A sampling rate is not above 0 and at most 1.</summary>
    public const string InvalidSamplingRate = "FL2304";

    /// <summary>The number of steps, or the order alpha, is out of range.</summary>
    public const string InvalidSteps = "FL2305";

    /// <summary>The numbers are legal, but beyond what the accountant can compute.</summary>
    public const string BeyondAccountant = "FL2306";

    /// <summary>The step size is too large for the sensitivity bound of the active party.</summary>
    public const string StepTooLarge = "FL5000";

    /// <summary>The step of the penalty alone is expansive: |1 - eta lambda| is above 1.</summary>
    public const string PenaltyTooLarge = "FL5001";

    /// <summary>The family needs a declared bound on the label.</summary>
    public const string MissingTargetBound = "FL5002";

    /// <summary>The published formulas hold for rows of norm 1 only.</summary>
    public const string PaperRowNorm = "FL5003";

    /// <summary>Delta is 0.1 or more.</summary>
    public const string DeltaTooLarge = "FL5004";

    /// <summary>The noise would be too small for the lattice that it is drawn on.</summary>
    public const string LatticeTooCoarse = "FL5005";

    /// <summary>More messages were asked for than the noise was calibrated for.</summary>
    public const string ReleasesSpent = "FL5006";

    /// <summary>The noise is so small beside the values that it hides nothing.</summary>
    public const string NoiseTooSmall = "FL5007";

    /// <summary>The charge is over what the lifetime budget of the data set has left.</summary>
    public const string BudgetSpent = "FL5020";

    /// <summary>The run is in the ledger with other terms.</summary>
    public const string RunReservedOtherwise = "FL5021";

    /// <summary>A passive party has no noise to calibrate when only labels are protected.</summary>
    public const string PassiveHasNoLabel = "FL5013";

    /// <summary>Zero-out neighbours of a label alone do not exist.</summary>
    public const string NoNullLabel = "FL5014";

    /// <summary>The published formulas do not cover the setting.</summary>
    public const string PaperSetting = "FL5015";

    /// <summary>Amplification by sampling was asked for against an observer who sees the sample.</summary>
    public const string SampleIsSeen = "FL5010";

    /// <summary>A value that is to be released is NaN or infinite.</summary>
    public const string NotFinite = "FL6300";

    /// <summary>A value to be released is beyond the bound declared for it.</summary>
    public const string BeyondBound = "FL6144";

    /// <summary>A kept message does not fit the run that asks for it.</summary>
    public const string NotTheKeptMessage = "FL6305";

    /// <summary>The coefficients of the noise sampler are not those its error bound was proved for.</summary>
    public const string SamplerTable = "FL6302";

    /// <summary>The generator of random bits fails its known answers on this processor.</summary>
    public const string GeneratorFault = "FL6303";

    internal static ConfigurationException Configuration(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);

    internal static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);

    internal static InternalFailureException Internal(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);

    internal static void CheckPositive(double value, string name)
    {
        if (!double.IsFinite(value) || value <= 0)
            throw Configuration(InvalidNumber, name, "it is not a finite number above 0.", "Give a finite number above 0.");
    }

    internal static void CheckNotNegative(double value, string name)
    {
        if (!double.IsFinite(value) || value < 0)
            throw Configuration(InvalidNumber, name, "it is not a finite number of at least 0.", "Give a finite number of at least 0.");
    }
}
