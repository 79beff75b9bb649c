using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Output;
using FedLearn.Dssm;
using Spectre.Console;

namespace FedLearn.Cli.Recommend;

/// <summary><c>fedlearn recommend prepare-movielens</c> and <c>prepare-synthetic</c>: files of four parties and jobs that are ready to run.</summary>
internal static class PrepareMovieLensCommand
{
    /// <summary>Builds the command for MovieLens 100K.</summary>
    public static Command Create()
    {
        var source = new Option<string>("--source") { Description = "Directory with u.data, u.user and u.item of MovieLens 100K.", Required = true, HelpName = "DIR" };
        Option<string> directory = Out();
        WordOption<RatingSplit> split = Split();
        Option<bool> json = Options.Json();
        var command = new Command("prepare-movielens",
            $"""
            Makes the files of four parties from MovieLens 100K: a streaming service with events, items and histories of positives, and companies with
            profiles, tastes and behaviour; with job.json, job.cold-users.json and job.cold-items.json, ready to run. The data set is at
            {MovieLens100K.Home}; its terms forbid redistribution, of these files too.

            Example:
              fedlearn recommend prepare-movielens --source ml-100k --out movielens
            """)
        { source, directory, split, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            Run(parsed, directory, split, json, terminal =>
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

    /// <summary>Builds the command for the generator.</summary>
    public static Command CreateSynthetic()
    {
        Option<string> directory = Out();
        Option<int> users = Options.Whole("--users", "Users, 10 to 100,000. Default 1,500.", required: false), items = Options.Whole("--items", "Items, 50 to 10,000. Default 400.", required: false),
            seed = Options.Whole("--seed", "Seed of the generator. Default 0.", required: false);
        WordOption<RatingSplit> split = Split();
        Option<bool> json = Options.Json();
        var command = new Command("prepare-synthetic",
            """
            Makes the same files as prepare-movielens from ratings that nobody gave: a generator of latent tastes, for trials without a data set.
            Figures measured on it say nothing about people.

            Example:
              fedlearn recommend prepare-synthetic --out synthetic
            """)
        { directory, users, items, seed, split, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            Run(parsed, directory, split, json, _ =>
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

    internal static Option<string> Out() => new("--out") { Description = "Directory to write, empty or with an unchanged earlier preparation.", Required = true, HelpName = "DIR" };

    internal static WordOption<RatingSplit> Split() => Options.Word("--split", "Split of job.json: the last events of each user, or by time.",
        [("last", RatingSplit.Last), ("time", RatingSplit.Time)], RatingSplit.Last);

    private static void Run(ParseResult parsed, Option<string> directory, WordOption<RatingSplit> split, Option<bool> json, Func<Terminal, RatingSet> read, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        Terminal terminal = Terminal.Of(parsed);
        string place = parsed.GetRequiredValue(directory);
        RatingSplit warm = split.Of(parsed);
        Preparation.Check(place);
        RatingSet set = read(terminal);
        terminal.Log(Invariant($"{set.Name}: {set.Users.Count} users, {set.Items.Count} items, {set.Ratings.Count} ratings"));
        var files = new JsonObject();
        string splitName = NameOf(warm);
        Preparation.Make(place, new JsonObject { ["data"] = set.Name, ["split"] = splitName }, unfinished => RatingFiles.Write(set, unfinished, warm, (name, rows) =>
        {
            if (rows > 0)
                terminal.Log(Invariant($"written: {name}, {rows} rows"));
            files[name] = rows;
        }, cancellationToken));

        var tables = new RatingTables(set);
        var document = new JsonObject
        {
            ["data"] = set.Name,
            ["directory"] = Path.GetFullPath(place),
            ["split"] = splitName,
            ["users"] = set.Users.Count,
            ["items"] = set.Items.Count,
            ["ratings"] = set.Ratings.Count,
            ["positives"] = set.Ratings.Count(rating => rating.IsPositive),
            ["events"] = Events(warm, tables.Interactions),
            ["widths"] = new JsonObject
            {
                ["items"] = tables.ItemSchema.Inputs.Width,
                ["streaming"] = tables.HistorySchema.Inputs.Width,
                ["profile"] = tables.ProfileSchema.Inputs.Width,
                ["taste"] = tables.TasteSchema.Inputs.Width,
                ["behaviour"] = tables.BehaviourSchema.Inputs.Width,
            },
            ["files"] = files,
        };
        Print(terminal, document["events"]!.AsObject());
        terminal.Log($"inputs of towers: {string.Join(", ", document["widths"]!.AsObject().Select(pair => $"{pair.Key} {pair.Value}"))}");
        terminal.Log(Invariant($"done in {watch.Elapsed.TotalSeconds:0.0} s; next: fedlearn recommend train --config {Path.Combine(place, "job.json")}"));
        if (parsed.GetValue(json))
            parsed.InvocationConfiguration.Output.WriteLine(document.ToJsonString(ReportWriter.Readable));
    }

    internal static string NameOf(RatingSplit warm) => warm == RatingSplit.Time ? "time" : "last";

    /// <summary>How many events of each role every job has.</summary>
    internal static JsonObject Events(RatingSplit warm, Func<RatingSplit, InteractionTable> split)
    {
        var events = new JsonObject();
        foreach ((string name, RatingSplit of) in (ReadOnlySpan<(string, RatingSplit)>)[("job.json", warm), ("job.cold-users.json", RatingSplit.ColdUsers), ("job.cold-items.json", RatingSplit.ColdItems)])
        {
            ILookup<EventRole, Interaction> roles = split(of).Events.ToLookup(e => e.Role);
            events[name] = new JsonObject(Enum.GetValues<EventRole>().Select(role => KeyValuePair.Create(DssmFiles.Word(role), (JsonNode?)roles[role].Count())));
        }

        return events;
    }

    /// <summary>Shows them.</summary>
    internal static void Print(Terminal terminal, JsonObject events)
    {
        string[] roles = [.. Enum.GetValues<EventRole>().Select(DssmFiles.Word)];
        var table = new Table().Border(TableBorder.Ascii2).AddColumn("events").AddColumns(roles);
        foreach ((string job, JsonNode? counts) in events)
            table.AddRow([job, .. roles.Select(role => counts![role]!.GetValue<int>().ToString(CultureInfo.InvariantCulture))]);
        terminal.Styled.Write(table);
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
