namespace FedLearn.Glm;

/// <summary>Error ids of the modes he and he+dp.</summary>
public static class GlmJointErrors
{
    /// <summary>The job asks for what the encrypted protocol cannot do.</summary>
    public const string NotEncryptable = "FL2510";

    /// <summary>The parties, or a party and the arbiter, disagree on rows, batches or columns.</summary>
    public const string SizesDiffer = "FL4110";

    /// <summary>Exact gradients over so few rows would say too much of single rows.</summary>
    public const string BatchTooSmall = "FL5210";

    /// <summary>The job asks for more exact gradients than the cap.</summary>
    public const string TooManyRounds = "FL5211";

    /// <summary>The job asks he+dp for what its proof does not cover.</summary>
    public const string OutsideTheProof = "FL5212";

    /// <summary>The job is encrypted, and the party was given no scheme.</summary>
    public const string SchemeMissing = "FL6210";
}
