using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Output;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using Spectre.Console;
using static System.FormattableString;

namespace FedLearn.Cli.Recommend;

/// <summary>A directory that is made as a whole: written beside its place, then moved there. It lists its files, so that a later preparation may replace it, and
/// nothing that somebody added or changed is lost.</summary>
internal static class Preparation
{
    /// <summary>File that lists the others.</summary>
    public const string ListName = "preparation.json";

    /// <summary>Refuses a place that holds something else than an unchanged earlier preparation.</summary>
    /// <param name="directory">The place.</param>
    /// <exception cref="ConfigurationException">FL2445: it does; FL2102: it cannot be written to.</exception>
    public static void Check(string directory)
    {
        OutputFile.Check(directory);
        if (!Directory.Exists(directory))
            return;
        string[] there = [.. Directory.GetFiles(directory, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(directory, path).Replace('\\', '/')).Order(StringComparer.Ordinal)];
        if (there.Length == 0)
            return;
        Dictionary<string, string> listed = Listed(directory);
        foreach (string name in there)
        {
            if (name == ListName)
                continue;
            if (!listed.TryGetValue(name, out string? digest))
                throw Taken(directory, listed.Count == 0 ? "it is not empty, and holds no earlier preparation." : $"beside an earlier preparation it holds {name}.");
            if (digest != Digest(Path.Combine(directory, name)))
                throw Taken(directory, $"{name} was changed since it was prepared.");
        }
    }

    /// <summary>Makes the directory.</summary>
    /// <param name="directory">Its place, which <see cref="Check"/> found free.</param>
    /// <param name="data">Name of the data.</param>
    /// <param name="split">Split of the first job.</param>
    /// <param name="terminal">Told of each file with rows.</param>
    /// <param name="write">Writes the files into the directory that it is given, and tells name and rows of each.</param>
    /// <returns>Rows by file.</returns>
    /// <exception cref="ConfigurationException">FL2102: it cannot be written.</exception>
    public static JsonObject Make(string directory, string data, RatingSplit split, Terminal terminal, Action<string, Action<string, int>> write)
    {
        var files = new JsonObject();
        Make(directory, new JsonObject { ["data"] = data, ["split"] = NameOf(split) }, unfinished => write(unfinished, (name, rows) =>
        {
            if (rows > 0)
                terminal.Log(Invariant($"written: {name}, {rows} {Counted.Noun(rows, "row")}"));
            files[name] = rows;
        }));
        return files;
    }

    private static void Make(string directory, JsonObject about, Action<string> write)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory)), unfinished = $"{full}.{Environment.ProcessId}.tmp", old = $"{full}.{Environment.ProcessId}.old";
        OutputFile.Guard(directory, () =>
        {
            try
            {
                Directory.CreateDirectory(unfinished);
                write(unfinished);
                about["files"] = new JsonObject(Directory.GetFiles(unfinished, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
                    .Select(path => KeyValuePair.Create(Path.GetRelativePath(unfinished, path).Replace('\\', '/'), (JsonNode?)Digest(path))));
                File.WriteAllText(Path.Combine(unfinished, ListName), about.ToJsonString(ReportWriter.Readable) + "\n");
                if (Directory.Exists(full))
                {
                    Directory.Move(full, old);
                    try
                    {
                        Directory.Move(unfinished, full);
                    }
                    catch
                    {
                        Directory.Move(old, full);
                        throw;
                    }

                    Directory.Delete(old, recursive: true);
                }
                else
                {
                    Directory.Move(unfinished, full);
                }
            }
            finally
            {
                if (Directory.Exists(unfinished))
                    Directory.Delete(unfinished, recursive: true);
            }
        });
    }

    /// <summary>The option <c>--out</c>.</summary>
    public static Option<string> Out() => new("--out") { Description = "Directory to write, empty or with an unchanged earlier preparation.", Required = true, HelpName = "DIR" };

    /// <summary>The option <c>--split</c>.</summary>
    public static WordOption<RatingSplit> Split() => Options.Word("--split", "Split of job.json: the last events of each user, or by time.",
        [("last", RatingSplit.Last), ("time", RatingSplit.Time)], RatingSplit.Last);

    /// <summary>Makes the directory of a set of ratings, and says what is in it.</summary>
    /// <param name="parsed">Command line.</param>
    /// <param name="directory">Its option --out.</param>
    /// <param name="split">Its option --split.</param>
    /// <param name="json">Its option --json.</param>
    /// <param name="read">Reads the ratings.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static void MakeOf(ParseResult parsed, Option<string> directory, WordOption<RatingSplit> split, Option<bool> json, Func<Terminal, RatingSet> read, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        Terminal terminal = Terminal.Of(parsed);
        string place = parsed.GetRequiredValue(directory);
        RatingSplit warm = split.Of(parsed);
        Check(place);
        RatingSet set = read(terminal);
        terminal.Log(Invariant($"{set.Name}: {set.Users.Count} users, {set.Items.Count} items, {set.Ratings.Count} ratings"));
        JsonObject files = Make(place, set.Name, warm, terminal, (unfinished, written) => RatingFiles.Write(set, unfinished, warm, written, cancellationToken));

        var tables = new RatingTables(set);
        var document = new JsonObject
        {
            ["data"] = set.Name,
            ["directory"] = Path.GetFullPath(place),
            ["split"] = NameOf(warm),
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
        ReportWriter.Print(parsed, json, document);
    }

    /// <summary>The split as lists of files have it.</summary>
    public static string NameOf(RatingSplit warm) => warm == RatingSplit.Time ? "time" : "last";

    /// <summary>How many events of each role every job has.</summary>
    public static JsonObject Events(RatingSplit warm, Func<RatingSplit, InteractionTable> split)
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
    public static void Print(Terminal terminal, JsonObject events)
    {
        string[] roles = [.. Enum.GetValues<EventRole>().Select(DssmFiles.Word)];
        Table table = Terminal.Table(["events", .. roles]);
        foreach ((string job, JsonNode? counts) in events)
            table.AddRow([job, .. roles.Select(role => counts![role]!.GetValue<int>().ToString(CultureInfo.InvariantCulture))]);
        terminal.Styled.Write(table);
    }

    private static Dictionary<string, string> Listed(string directory)
    {
        try
        {
            return JsonNode.Parse(File.ReadAllText(Path.Combine(directory, ListName)))?["files"] is JsonObject files
                ? files.ToDictionary(pair => pair.Key, pair => pair.Value!.GetValue<string>())
                : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException or NullReferenceException)
        {
            return [];
        }
    }

    private static string Digest(string path)
    {
        using FileStream file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    private static ConfigurationException Taken(string directory, string cause) =>
        new(PrepareErrors.OutputTaken, directory, cause, "Name another directory, or move what is to be kept out of it; an earlier preparation is replaced when nothing in it was changed or added.");
}
