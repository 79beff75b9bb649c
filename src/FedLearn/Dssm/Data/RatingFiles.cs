using System.Text.Json.Nodes;

namespace FedLearn.Dssm;

/// <summary>Writes the files of four parties and their jobs. The formats are in docs/guide/recommendation-files.md.</summary>
public static class RatingFiles
{
    /// <summary>Writes everything into a directory, which is made where it is not there: job.json, job.cold-users.json, job.cold-items.json, and one directory a party.</summary>
    /// <param name="set">The ratings.</param>
    /// <param name="directory">The directory.</param>
    /// <param name="split">Split of job.json: <see cref="RatingSplit.Last"/> or <see cref="RatingSplit.Time"/>.</param>
    /// <param name="written">Told the name of every file, relative to the directory, and its rows (0 for a file that is no table); may be null.</param>
    /// <param name="cancellationToken">Ends the writing, between two files.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static void Write(RatingSet set, string directory, RatingSplit split = RatingSplit.Last, Action<string, int>? written = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(set);
        ArgumentNullException.ThrowIfNull(directory);
        var tables = new RatingTables(set);
        var folder = new PreparedFolder(directory, written, cancellationToken);

        folder.Jobs(set.Name, "streaming", split, tables.Interactions, [.. set.Items.Select(item => RatingTables.Id(item.Number))], events =>
        [
            new JsonObject
            {
                ["name"] = "streaming",
                ["role"] = "active",
                ["data"] = new JsonObject { ["interactions"] = events, ["items"] = PreparedFolder.TableOf("streaming/items"), ["view"] = PreparedFolder.TableOf("streaming/history") },
            },
            Passive("profile"), Passive("taste"), Passive("behaviour"),
        ]);
        folder.Text("streaming/items.schema.json", tables.ItemSchema.ToJson());
        folder.Table("streaming/items.csv", ["item", "title", .. tables.ItemSchema.Fields.Select(f => f.Name)], set.Items.Select(item => new[]
        {
            RatingTables.Id(item.Number), item.Title, item.Year is { } year ? RatingTables.Id(year) : "", string.Join(' ', item.Genres.Select(RatingTables.Id)), item.Name,
        }));
        View("streaming/history", tables.HistorySchema, tables.HistoryRows());
        View("profile/users", tables.ProfileSchema, tables.ProfileRows());
        View("taste/users", tables.TasteSchema, tables.TasteRows());
        View("behaviour/users", tables.BehaviourSchema, tables.BehaviourRows());

        void View(string name, DssmSchema schema, IEnumerable<RatingRow> rows) => folder.View(name, schema, rows, user => RatingTables.Id(set.Users[user].Number));
    }

    private static JsonObject Passive(string name) => new()
    {
        ["name"] = name,
        ["role"] = "passive",
        ["data"] = new JsonObject { ["view"] = PreparedFolder.TableOf($"{name}/users") },
    };
}
