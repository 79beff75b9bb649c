using System.CommandLine;

namespace FedLearn.Cli.Recommend;

/// <summary><c>fedlearn recommend</c>: recommendation across companies.</summary>
internal static class RecommendCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create() => new("recommend", "Federated multi-view recommendation: several companies' knowledge of users ranks the items of one.")
    {
        PrepareMovieLensCommand.Create(),
        PrepareMovieLensCommand.CreateSynthetic(),
    };
}
