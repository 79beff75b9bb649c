using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Output;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using static System.FormattableString;

namespace FedLearn.Cli.Recommend;

/// <summary><c>fedlearn recommend prepare-events</c>: the active party's files and jobs from a log of its own.</summary>
internal static class PrepareEventsCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        InteractionColumns usual = new();
        var events = new Option<string>("--events") { Description = "CSV file with one event a row: user, item, time, and if you have it a rating.", Required = true, HelpName = "FILE" };
        Option<string> directory = Preparation.Out();
        var items = new Option<string?>("--items") { Description = "CSV file with the items' content, which cold items need. Absent: items are known by their events alone.", HelpName = "FILE" };
        var schema = new Option<string?>("--items-schema") { Description = "Its schema (docs/guide/recommendation-files.md).", HelpName = "FILE" };
        var user = new Option<string>("--user") { Description = "Column of users.", DefaultValueFactory = _ => usual.User, HelpName = "COLUMN" };
        var item = new Option<string>("--item") { Description = "Column of items.", DefaultValueFactory = _ => usual.Item, HelpName = "COLUMN" };
        var time = new Option<string>("--time") { Description = "Column of times: seconds since 1970 or ISO 8601 (2026-03-01, 2026-03-01T18:30:00+02:00, 20260301T183000Z), UTC where no offset is given. A date without hyphens and time is refused.", DefaultValueFactory = _ => usual.Time, HelpName = "COLUMN" };
        var rating = new Option<string?>("--rating") { Description = "Column of ratings. Absent: every event is a positive.", HelpName = "COLUMN" };
        Option<double?> least = Options.Number("--least", "Least rating of a positive; events below it are seen. Default 4.", required: false);
        WordOption<char> mark = Options.Word("--decimal", "What stands before decimals, in ratings and in the table of items: a comma needs something else between cells.", [(".", '.'), (",", ',')], usual.DecimalMark);
        WordOption<RatingSplit> split = Preparation.Split();
        Option<bool> json = Options.Json();
        var command = new Command("prepare-events",
            """
            Make the active party's files from a log of its own events. They say which events are to train, validate and test on, and hold
            point-in-time histories of positives; job.json, job.cold-users.json and job.cold-items.json run with this party alone until others add
            their views.

            Examples:
              fedlearn recommend prepare-events --events purchases.csv --out shop
              fedlearn recommend prepare-events --events ratings.csv --user userId --item movieId --time timestamp --rating rating --least 4 --out films
              fedlearn recommend prepare-events --events plays.csv --items songs.csv --items-schema songs.schema.json --split time --out music
            """)
        { events, directory, items, schema, user, item, time, rating, least, mark, split, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            Terminal terminal = Terminal.Of(parsed);
            string place = parsed.GetRequiredValue(directory), path = parsed.GetRequiredValue(events);
            (string? table, string? tableSchema) = (parsed.GetValue(items), parsed.GetValue(schema));
            if (table is null != tableSchema is null)
                throw new ConfigurationException(PrepareErrors.EventOptions, table is null ? "--items" : "--items-schema", "a table of items and its schema belong together.", "Give both, or neither.");
            if (parsed.GetValue(least) is { } given && (!double.IsFinite(given) || parsed.GetValue(rating) is null))
                throw new ConfigurationException(PrepareErrors.EventOptions, "--least", "it is no finite number, or there is no column of ratings to compare with.", "Write a number, and name the column: --rating rating.");
            InteractionColumns columns = usual with { User = parsed.GetRequiredValue(user), Item = parsed.GetRequiredValue(item), Time = parsed.GetRequiredValue(time), Rating = parsed.GetValue(rating), LeastPositive = parsed.GetValue(least) ?? usual.LeastPositive, DecimalMark = mark.Of(parsed) };
            JsonObject document = Prepare(path, table is null ? null : (table, tableSchema!), columns, split.Of(parsed), place, terminal, cancellationToken);
            ReportWriter.Print(parsed, json, document);
            return Task.CompletedTask;
        });
        return command;
    }

    /// <summary>Makes the files, and says what is in them.</summary>
    private static JsonObject Prepare(string path, (string Path, string Schema)? items, InteractionColumns columns, RatingSplit split, string place, Terminal terminal, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        OutputFile.CheckApartFromFolder([path, .. items is { } content ? [content.Path, content.Schema] : Array.Empty<string>()], place);
        Preparation.Check(place);
        ItemTable? catalogue = items is { } table ? DssmFiles.ReadItems(table.Path, DssmSchema.Load(table.Schema), columns.DecimalMark, cancellationToken: cancellationToken) : null;
        InteractionLog log = ReadLog(path, columns, catalogue, cancellationToken);
        terminal.Log(Invariant($"{path}: {log.Users.Count} {Counted.Noun(log.Users.Count, "user")}, {log.Items.Count} {Counted.Noun(log.Items.Count, "item")}, {log.Count} {Counted.Noun(log.Count, "event")}, {log.Positives} of them positive"));
        if (log.Repeats > 0)
            terminal.Log(Invariant($"{log.Repeats} {Counted.Noun(log.Repeats, "event")} left out: of a user and an item the first positive one counts, else the first"));
        string name = Path.GetFileNameWithoutExtension(path);
        JsonObject files = Preparation.Make(place, name, split, terminal, (unfinished, written) =>
            InteractionFiles.Write(log, name, unfinished, items, split, columns.DecimalMark, written, cancellationToken));
        JsonObject roles = Preparation.Events(split, log.Interactions);
        Preparation.Print(terminal, roles);
        if (roles["job.json"]!["train"]!.GetValue<int>() == 0)
            terminal.Log("warning: nothing to train on: no event is a positive of the training's time. See --rating, --least and --split.");
        terminal.Log(Invariant($"done in {watch.Elapsed.TotalSeconds:0.0} s; next: fedlearn recommend train --config {Path.Combine(place, "job.json")}"));
        terminal.Log("to train with others, add them to the parties of the run files: each has its own table of the same users (docs/guide/recommendation-files.md)");
        return new JsonObject
        {
            ["data"] = name,
            ["directory"] = Path.GetFullPath(place),
            ["split"] = Preparation.NameOf(split),
            ["users"] = log.Users.Count,
            ["items"] = log.Items.Count,
            ["counted"] = log.Count,
            ["positives"] = log.Positives,
            ["repeats"] = log.Repeats,
            ["events"] = roles,
            ["files"] = files,
        };
    }

    private static InteractionLog ReadLog(string path, InteractionColumns columns, ItemTable? catalogue, CancellationToken cancellationToken)
    {
        try
        {
            return DssmFiles.ReadLog(path, columns, catalogue, cancellationToken);
        }
        catch (BadInputException e) when (e.Id == DataErrors.ColumnMissing)
        {
            throw new BadInputException(e.Id, e.Place, e.Cause, $"{e.Remedy} Columns of other names are named by --user, --item, --time and --rating.", e);
        }
    }
}
