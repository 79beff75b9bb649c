using System.Text.Json.Nodes;

namespace FedLearn.Dssm;

/// <summary>Writes the files of an active party whose systems log events, and jobs that run with it alone, to which other parties' views are added. The formats are in docs/guide/recommendation-files.md.</summary>
public static class InteractionFiles
{
    /// <summary>Name and directory of the active party.</summary>
    public const string Party = "service";

    /// <summary>Writes job.json, job.cold-users.json, job.cold-items.json, and the directory of the active party, into a directory, which is made where it is not there.</summary>
    /// <param name="log">The events.</param>
    /// <param name="name">Name of the data, and of the jobs.</param>
    /// <param name="directory">The directory.</param>
    /// <param name="items">The items' table and its schema; null: a table is written that says no more of an item than which one it is, so that cold items cannot be told apart.</param>
    /// <param name="split">Split of job.json: <see cref="RatingSplit.Last"/> or <see cref="RatingSplit.Time"/>.</param>
    /// <param name="decimalMark">What stands before decimals in the items' table: a point or a comma.</param>
    /// <param name="written">Told the name of every file, relative to the directory, and its rows (0 for a file that is no table); may be null.</param>
    /// <param name="cancellationToken">Ends the writing, between two files.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static void Write(InteractionLog log, string name, string directory, (string Table, string Schema)? items = null, RatingSplit split = RatingSplit.Last,
        char decimalMark = '.', Action<string, int>? written = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(log);
        ArgumentNullException.ThrowIfNull(directory);
        var folder = new PreparedFolder(directory, written, cancellationToken);
        const string Items = Party + "/items", History = Party + "/history";
        JsonObject itemsOf = items is { } own ? new JsonObject { ["path"] = Path.GetFullPath(own.Table), ["schema"] = Path.GetFullPath(own.Schema) } : PreparedFolder.TableOf(Items);
        if (items is not null && decimalMark != '.')
            itemsOf["decimal"] = decimalMark.ToString();
        folder.Jobs(name, Party, split, log.Interactions, log.Items, events => new JsonArray(new JsonObject
        {
            ["name"] = Party,
            ["role"] = "active",
            ["data"] = new JsonObject
            {
                ["interactions"] = events,
                ["items"] = itemsOf.DeepClone(),
                ["view"] = PreparedFolder.TableOf(History),
            },
        }));
        if (items is null)
        {
            folder.Text($"{Items}.schema.json", DssmSchema.OfItems([DssmField.Bag("place", log.Items.Count)]).ToJson());
            folder.Table($"{Items}.csv", ["item", "place"], log.NumberedItems.Select((id, place) => new[] { id, RatingTables.Id(place) }));
        }

        folder.View(History, log.HistorySchema, log.HistoryRows(), user => log.Users[user]);
    }
}
