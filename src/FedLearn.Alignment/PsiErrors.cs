namespace FedLearn.Alignment;

/// <summary>Errors of private set intersection; each has a page under docs/errors. Those of caps are in <see cref="Parties.AlignmentErrors"/>.</summary>
public static class PsiErrors
{
    /// <summary>The output of the alignment cannot feed a training job.</summary>
    public const string OutputNotForTraining = "FL2520";

    /// <summary>The vector engine was asked for, and this processor has not what it needs.</summary>
    public const string NoVectorEngine = "FL2521";

    /// <summary>The folder of an interrupted alignment cannot be used.</summary>
    public const string StateUnusable = "FL2522";

    /// <summary>Two ids are equal.</summary>
    public const string DuplicateId = "FL3150";

    /// <summary>The parties' settings of the alignment differ.</summary>
    public const string SettingsDiffer = "FL4120";

    /// <summary>A peer sent a point that is no canonical encoding, or the identity.</summary>
    public const string InvalidPoint = "FL4121";

    /// <summary>A peer sent a point twice.</summary>
    public const string RepeatedPoint = "FL4122";

    /// <summary>A peer sent another number of points or tags than it announced.</summary>
    public const string WrongCount = "FL4123";

    /// <summary>A peer sent this party's own points or commitment back.</summary>
    public const string Reflection = "FL4124";

    /// <summary>The parties found different intersections.</summary>
    public const string Disagreement = "FL4125";

    /// <summary>A proof does not hold.</summary>
    public const string ProofFailed = "FL4126";

    /// <summary>libsodium is missing.</summary>
    public const string NoSodium = "FL6160";

    /// <summary>The group arithmetic failed its self-test.</summary>
    public const string EngineFault = "FL6161";
}
