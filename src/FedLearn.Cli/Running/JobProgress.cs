namespace FedLearn.Cli.Running;

/// <summary>How far a party is.</summary>
/// <param name="Party">Its name.</param>
/// <param name="Unit">What is counted: round or epoch.</param>
/// <param name="Done">How many are done.</param>
/// <param name="Of">How many there are at most.</param>
/// <param name="Loss">The last one's loss, where the party knows it.</param>
internal sealed record JobProgress(string Party, string Unit, int Done, int Of, double? Loss)
{
    /// <summary>What a party has begun that is not counted.</summary>
    /// <param name="party">Its name.</param>
    /// <param name="what">What it does.</param>
    public static JobProgress Stage(string party, string what) => new(party, what, 0, 0, null);

    /// <summary>Whether nothing is counted.</summary>
    public bool IsStage => Of == 0;

    /// <summary>Further figures by name.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> Figures { get; init; } = [];
}
