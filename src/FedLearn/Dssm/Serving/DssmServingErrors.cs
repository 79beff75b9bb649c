namespace FedLearn.Dssm;

/// <summary>Errors of item indices; each has a page under docs/errors.</summary>
public static class DssmServingErrors
{
    /// <summary>Vectors of two versions of a model would be compared.</summary>
    public const string MixedModelVersions = "FL2435";

    /// <summary>The files of an item index do not fit together.</summary>
    public const string IndexFilesDiffer = "FL3125";

    /// <summary>An item index has an id twice.</summary>
    public const string DuplicateItem = "FL3126";
}
