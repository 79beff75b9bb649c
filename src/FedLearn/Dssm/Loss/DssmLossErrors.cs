namespace FedLearn.Dssm;

/// <summary>Errors of the recommendation loss, its negatives and its private forms; each has a page under docs/errors.</summary>
public static class DssmLossErrors
{
    /// <summary>Options of a recommendation model are out of range or do not fit its views.</summary>
    public const string InvalidModel = "FL2430";

    /// <summary>Shares of the items are missing or unusable where a loss needs them.</summary>
    public const string InvalidItemShares = "FL2431";

    /// <summary>Negatives cannot be drawn.</summary>
    public const string InvalidNegatives = "FL2432";
}
