using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FedLearn.Dssm;

/// <summary>A directory of prepared tables, jobs and schemas that is written to.</summary>
internal sealed class PreparedFolder(string directory, Action<string, int>? written, CancellationToken cancellationToken)
{
    // Small sets need smaller batches, else twelve epochs are too few steps.
    private const int LargeSet = 40_000, LargeBatch = 1024, SmallBatch = 256;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

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

    /// <summary>Writes a view of numbers, or of one bag, and its schema.</summary>
    public void View(string name, DssmSchema schema, IEnumerable<RatingRow> rows, Func<int, string> userId)
    {
        bool timed = schema.Time is not null;
        Text($"{name}.schema.json", schema.ToJson());
        Table($"{name}.csv", [schema.Key, .. timed ? [schema.Time!, schema.Sequence!] : Array.Empty<string>(), .. schema.Fields.Select(f => f.Name)], rows.Select(row => (IReadOnlyList<string>)
        [
            userId(row.User),
            .. timed ? [row.Moment.Time.ToString(CultureInfo.InvariantCulture), RatingTables.Id(row.Moment.Sequence)] : Array.Empty<string>(),
            .. schema.Fields[0].Kind == DssmFieldKind.Bag ? [string.Join(' ', row.Ids.Select(RatingTables.Id))] : row.Numbers.Select(number => number.ToString("R", CultureInfo.InvariantCulture)),
        ]));
    }

    /// <summary>Writes a job and its events for each split: job.json, job.cold-users.json, job.cold-items.json.</summary>
    /// <param name="name">Name of the data.</param>
    /// <param name="party">Name and directory of the active party.</param>
    /// <param name="warm">Split of job.json.</param>
    /// <param name="split">The events of a split.</param>
    /// <param name="items">Id of each item.</param>
    /// <param name="parties">Parties of a job whose events are in a file.</param>
    public void Jobs(string name, string party, RatingSplit warm, Func<RatingSplit, InteractionTable> split, IReadOnlyList<string> items, Func<string, JsonArray> parties)
    {
        if (warm is not (RatingSplit.Last or RatingSplit.Time))
            throw new ArgumentOutOfRangeException(nameof(warm), "job.json has the split by last events or by time.");
        foreach ((string suffix, RatingSplit of) in (ReadOnlySpan<(string, RatingSplit)>)[("", warm), (".cold-users", RatingSplit.ColdUsers), (".cold-items", RatingSplit.ColdItems)])
        {
            InteractionTable table = split(of);
            string file = $"{party}/interactions{suffix}.csv";
            Table(file, ["user", "time", "sequence", "item", "role"], table.Events.Select(e => new[]
            {
                table.Users[e.User], e.Moment.Time.ToString(CultureInfo.InvariantCulture), RatingTables.Id(e.Moment.Sequence), items[e.Item], DssmFiles.Word(e.Role),
            }));
            int positives = table.Events.Count(e => e.Role != EventRole.Seen);
            Text($"job{suffix}.json", Job(name + suffix.Replace('.', '-'), positives >= LargeSet ? LargeBatch : SmallBatch, parties(file)).ToJsonString(Readable) + "\n");
        }
    }

    /// <summary>How a run file names a table and its schema, whose paths differ by their endings.</summary>
    public static JsonObject TableOf(string name) => new() { ["path"] = $"{name}.csv", ["schema"] = $"{name}.schema.json" };

    private static JsonObject Job(string name, int batch, JsonArray parties) => new()
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
        ["parties"] = parties,
        ["transport"] = new JsonObject { ["kind"] = "in-memory" },
    };

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
