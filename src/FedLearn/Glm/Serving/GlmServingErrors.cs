namespace FedLearn.Glm;

/// <summary>Errors of online prediction; each has a page under docs/errors. They answer a request, and do not end a session.</summary>
public static class GlmServingErrors
{
    /// <summary>The active party has no row of the id.</summary>
    public const string UnknownId = "FL3060";

    /// <summary>The active party has a row of the id, but not every party does.</summary>
    public const string NotCommon = "FL3061";

    /// <summary>A passive party is not connected, and no fallback is declared for it.</summary>
    public const string PartyAway = "FL4051";

    /// <summary>A passive party did not answer in time, and no fallback is declared for it.</summary>
    public const string PartyTooSlow = "FL4052";
}
