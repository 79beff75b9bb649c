namespace FedLearn.Glm;

/// <summary>Errors of the modes one-round and label-dp; each has a page under docs/errors.</summary>
public static class GlmOneRoundErrors
{
    /// <summary>A setting of the modes one-round or label-dp, or of unit label, is not legal.</summary>
    public const string InvalidSetting = "FL2403";

    /// <summary>A peer sent randomised labels that are no classes.</summary>
    public const string NotAClass = "FL4020";

    /// <summary>A peer sent numbers without lattice noise, or no legal label range, where one-round training needs them.</summary>
    public const string NotNoisy = "FL4021";

    /// <summary>One-round training has no proof for an unpenalised intercept.</summary>
    public const string FreeIntercept = "FL5033";

    /// <summary>One-round training is proved for replacing a record only.</summary>
    public const string AdjacencyNotProved = "FL5034";

    /// <summary>Label-dp jobs are binomial only.</summary>
    public const string FamilyNotBinary = "FL5035";

    /// <summary>Training on debiased labels needs a penalty or a projection.</summary>
    public const string Unbounded = "FL5036";

    /// <summary>The fit of a passive party did not reach the tolerance that its claim charges.</summary>
    public const string NotConverged = "FL6102";
}
