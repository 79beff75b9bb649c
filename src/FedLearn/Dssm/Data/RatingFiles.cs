using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FedLearn.Dssm;

/// <summary>Writes the files of four parties and their jobs. The formats are in docs/recommend-files.md.</summary>
public static class RatingFiles
{
    // Small sets need smaller batches, else twelve epochs are too few steps.
    private const int LargeSet = 40_000, LargeBatch = 1024, SmallBatch = 256;

    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

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
        if (split is not (RatingSplit.Last or RatingSplit.Time))
            throw new ArgumentOutOfRangeException(nameof(split), "job.json has the split by last events or by time.");
        var tables = new RatingTables(set);
        int batch = set.Ratings.Count(rating => rating.IsPositive) >= LargeSet ? LargeBatch : SmallBatch;
        var folder = new Folder(directory, written, cancellationToken);

        folder.Text("streaming/items.schema.json", tables.ItemSchema.ToJson());
        folder.Table("streaming/items.csv", ["item", "title", .. tables.ItemSchema.Fields.Select(f => f.Name)], set.Items.Select(item => new[]
        {
            RatingTables.Id(item.Number), item.Title, item.Year is { } year ? RatingTables.Id(year) : "", string.Join(' ', item.Genres.Select(RatingTables.Id)), item.Name,
        }));
        foreach ((string name, RatingSplit of) in (ReadOnlySpan<(string, RatingSplit)>)[("", split), (".cold-users", RatingSplit.ColdUsers), (".cold-items", RatingSplit.ColdItems)])
        {
            InteractionTable events = tables.Interactions(of);
            folder.Table($"streaming/interactions{name}.csv", ["user", "time", "sequence", "item", "role"], events.Events.Select(e => new[]
            {
                events.Users[e.User], e.Moment.Time.ToString(CultureInfo.InvariantCulture), RatingTables.Id(e.Moment.Sequence), RatingTables.Id(set.Items[e.Item].Number), DssmFiles.Word(e.Role),
            }));
            folder.Text($"job{name}.json", Job(set.Name + name.Replace('.', '-'), $"streaming/interactions{name}.csv", batch).ToJsonString(Readable) + "\n");
        }

        View("streaming/history", tables.HistorySchema, tables.HistoryRows());
        View("profile/users", tables.ProfileSchema, tables.ProfileRows());
        View("taste/users", tables.TasteSchema, tables.TasteRows());
        View("behaviour/users", tables.BehaviourSchema, tables.BehaviourRows());

        void View(string name, DssmSchema schema, IEnumerable<RatingRow> rows)
        {
            bool timed = schema.Time is not null;
            folder.Text($"{name}.schema.json", schema.ToJson());
            folder.Table($"{name}.csv", [schema.Key, .. timed ? [schema.Time!, schema.Sequence!] : Array.Empty<string>(), .. schema.Fields.Select(f => f.Name)], rows.Select(row => (IReadOnlyList<string>)
            [
                RatingTables.Id(set.Users[row.User].Number),
                .. timed ? [row.Moment.Time.ToString(CultureInfo.InvariantCulture), RatingTables.Id(row.Moment.Sequence)] : Array.Empty<string>(),
                .. schema.Fields[0].Kind == DssmFieldKind.Bag ? [string.Join(' ', row.Ids.Select(RatingTables.Id))] : row.Numbers.Select(number => number.ToString("R", CultureInfo.InvariantCulture)),
            ]));
        }
    }

    private static JsonObject Job(string name, string interactions, int batch) => new()
    {
        ["name"] = name,
        ["model"] = new JsonObject
        {
            ["type"] = "dssm",
            ["fusion"] = "sum",
            ["layers"] = new JsonArray(128, 64),
            ["gamma"] = 10,
            ["loss"] = "sampled",
            ["negatives"] = 4,
            ["viewDropout"] = 0.0,
        },
        ["training"] = new JsonObject
        {
            ["epochs"] = 12,
            ["batchSize"] = batch,
            ["optimizer"] = "adam",
            ["stepSize"] = 0.002,
            ["validationStop"] = true,
            ["seed"] = 7,
        },
        ["privacy"] = new JsonObject { ["mode"] = "none" },
        ["parties"] = new JsonArray(
            new JsonObject
            {
                ["name"] = "streaming",
                ["role"] = "active",
                ["data"] = new JsonObject { ["interactions"] = interactions, ["items"] = Table("streaming/items"), ["view"] = Table("streaming/history") },
            },
            Passive("profile"), Passive("taste"), Passive("behaviour")),
        ["transport"] = new JsonObject { ["kind"] = "in-memory" },
    };

    private static JsonObject Passive(string name) => new()
    {
        ["name"] = name,
        ["role"] = "passive",
        ["data"] = new JsonObject { ["view"] = Table($"{name}/users") },
    };

    private static JsonObject Table(string name) => new() { ["path"] = $"{name}.csv", ["schema"] = $"{name}.schema.json" };

    /// <summary>The directory that is written to.</summary>
    private sealed class Folder(string directory, Action<string, int>? written, CancellationToken cancellationToken)
    {
        private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

        public void Text(string name, string text)
        {
            File.WriteAllText(Place(name), text, Utf8);
            written?.Invoke(name, 0);
        }

        public void Table(string name, IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows)
        {
            int count = 0;
            using (var writer = new StreamWriter(Place(name), append: false, Utf8) { NewLine = "\n" })
            {
                Line(writer, header);
                foreach (IReadOnlyList<string> row in rows)
                {
                    Line(writer, row);
                    count++;
                }
            }

            written?.Invoke(name, count);
        }

        private string Place(string name)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string path = Path.Combine(directory, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            return path;
        }

        private static void Line(StreamWriter writer, IReadOnlyList<string> cells)
        {
            for (int i = 0; i < cells.Count; i++)
            {
                if (i > 0)
                    writer.Write(',');
                writer.Write(cells[i].AsSpan().IndexOfAny(",\"\r\n") < 0 ? cells[i] : $"\"{cells[i].Replace("\"", "\"\"", StringComparison.Ordinal)}\"");
            }

            writer.WriteLine();
        }
    }
}
