namespace FedLearn.Privacy;

/// <summary>Errors of one-round training's mathematics (FL503n); each has a page under docs/errors.</summary>
public static class OneRoundErrors
{
    /// <summary>Epsilon is so small that randomised labels say nothing.</summary>
    public const string LabelsSayNothing = "FL5030";

    /// <summary>The solver's tolerance or rounding would cost as much noise as the protected rows.</summary>
    public const string SlackTooLarge = "FL5031";

    /// <summary>Labels were to leave without being in the ledger.</summary>
    public const string LabelsNotKept = "FL5032";
}
