namespace FedLearn.Privacy;

/// <summary>Errors of the account of embeddings and devices (FL2313 to FL2315, FL5143 to FL5146); each has a page under docs/errors.</summary>
public static class EmbeddingErrors
{
    /// <summary>Numbers of a party of a recommendation job do not fit together.</summary>
    public const string InvalidEmbeddings = "FL2313";

    /// <summary>Numbers of a job over devices do not fit together.</summary>
    public const string InvalidDevices = "FL2314";

    /// <summary>The sum of a round might not fit into 64 bits.</summary>
    public const string NoRoom = "FL2315";

    /// <summary>Unit event without a declared number of histories that an event may be in.</summary>
    public const string HistoryNotDeclared = "FL5143";

    /// <summary>Unit user without a declared cap on a user's samples.</summary>
    public const string SamplesNotCapped = "FL5144";

    /// <summary>A view with static features protects users, not samples or events.</summary>
    public const string StaticViewHasUsers = "FL5145";

    /// <summary>A client's own noise is below 16 steps of the common lattice.</summary>
    public const string ClientNoiseTooCoarse = "FL5146";
}
