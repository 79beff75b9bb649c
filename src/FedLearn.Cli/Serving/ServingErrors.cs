namespace FedLearn.Cli.Serving;

/// <summary>Errors of the serving verbs; each has a page under docs/errors. Those of single requests are in <see cref="Glm.GlmServingErrors"/>.</summary>
internal static class ServingErrors
{
    /// <summary>The verb is for the party of the other role.</summary>
    public const string WrongRole = "FL2140";

    /// <summary>A REST request cannot be understood.</summary>
    public const string BadRequest = "FL3062";

    /// <summary>The REST address cannot be opened.</summary>
    public const string CannotListen = "FL4053";

    /// <summary>A request failed inside the server.</summary>
    public const string RequestFailed = "FL6120";
}
