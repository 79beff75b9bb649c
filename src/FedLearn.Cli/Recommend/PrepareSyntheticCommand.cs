using System.CommandLine;
using FedLearn.Cli.Commands;
using FedLearn.Dssm;

namespace FedLearn.Cli.Recommend;

/// <summary><c>fedlearn recommend prepare-synthetic</c>: the same files from ratings that nobody gave.</summary>
internal static class PrepareSyntheticCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        Option<string> directory = Preparation.Out();
        Option<int> users = Options.Whole("--users", "Users, 10 to 100,000. Default 1,500.", required: false), items = Options.Whole("--items", "Items, 50 to 10,000. Default 400.", required: false),
            seed = Options.Whole("--seed", "Seed of the generator. Default 0.", required: false);
        WordOption<RatingSplit> split = Preparation.Split();
        Option<bool> json = Options.Json();
        var command = new Command("prepare-synthetic",
            """
            Make the same files as prepare-movielens, for trials without a data set: a generator draws the ratings from latent tastes. Figures measured
            on them say nothing about people.

            Example:
              fedlearn recommend prepare-synthetic --out synthetic
            """)
        { directory, users, items, seed, split, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            Preparation.MakeOf(parsed, directory, split, json, _ =>
            {
                var options = new SyntheticTastesOptions { Seed = parsed.GetValue(seed) };
                if (parsed.GetResult(users) is not null)
                    options = options with { Users = parsed.GetValue(users) };
                if (parsed.GetResult(items) is not null)
                    options = options with { Items = parsed.GetValue(items) };
                return SyntheticTastes.Generate(options);
            }, cancellationToken);
            return Task.CompletedTask;
        });
        return command;
    }
}
