using System.CommandLine;
using FedLearn.Cli.Commands;
using FedLearn.Dssm;
using static System.FormattableString;

namespace FedLearn.Cli.Recommend;

/// <summary><c>fedlearn recommend prepare-movielens</c>: files of four parties and jobs that are ready to run.</summary>
internal static class PrepareMovieLensCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        var source = new Option<string>("--source") { Description = "Directory with u.data, u.user and u.item of MovieLens 100K.", Required = true, HelpName = "DIR" };
        Option<string> directory = Preparation.Out();
        WordOption<RatingSplit> split = Preparation.Split();
        Option<bool> json = Options.Json();
        var command = new Command("prepare-movielens",
            $"""
            Make the files of four parties from MovieLens 100K: a streaming service with events, items and histories of positives, and companies with
            profiles, tastes and behaviour. job.json, job.cold-users.json and job.cold-items.json are ready to run. The data set is at
            {MovieLens100K.Home}; its terms forbid redistribution, of these files too.

            Example:
              fedlearn recommend prepare-movielens --source ml-100k --out movielens
            """)
        { source, directory, split, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            Preparation.MakeOf(parsed, directory, split, json, terminal =>
            {
                RatingSet set = MovieLens100K.Read(parsed.GetRequiredValue(source), cancellationToken);
                if (set.Users.Count != MovieLens100K.Users || set.Items.Count != MovieLens100K.Items || set.Ratings.Count != MovieLens100K.Ratings)
                {
                    terminal.Log(Invariant($"""
                        warning: {set.Users.Count} users, {set.Items.Count} items and {set.Ratings.Count} ratings; the original has {MovieLens100K.Users}, {MovieLens100K.Items} and {MovieLens100K.Ratings}.
                          This copy was edited, and figures will not compare with those of others.
                        """));
                }

                return set;
            }, cancellationToken);
            return Task.CompletedTask;
        });
        return command;
    }
}
