using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>Reads, checks and writes schemas of views and items.</summary>
internal static class DssmSchemaReader
{
    private const int MostHashes = 8, MostNgrams = 8, MostBuckets = 1 << 28;

    private static readonly string[] SchemaKeys = ["$schema", "user", "item", "time", "sequence", "title", "normalise", "fields"];

    private static readonly string[] FieldKeys = ["name", "type", "missing", "edges", "buckets", "pooling", "ngrams", "hashes"];

    // Names of the kinds in files, in the order of the enumeration, with the keys that each may have beside name and type.
    private static readonly (string Word, string[] Keys)[] Kinds =
    [
        ("numeric", ["missing"]), ("bucketed", ["missing", "edges"]), ("bag", ["buckets", "pooling"]), ("hashed", ["buckets", "pooling", "hashes"]),
        ("text", ["buckets", "pooling", "hashes", "ngrams"]),
    ];

    internal static DssmSchema Read(string json, string place)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(json, new JsonDocumentOptions
            {
                CommentHandling = JsonCommentHandling.Skip,
                AllowTrailingCommas = true,
                AllowDuplicateProperties = false,
            });
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)            // the latter: a key that is no text
        {
            string line = e is JsonException { LineNumber: { } number } ? $", line {number + 1}" : "";
            throw DataErrors.Config(DataErrors.SchemaNotJson, place + line, "the schema is no JSON object with unique keys.",
                "Correct the syntax there; comments and trailing commas are allowed.", e);
        }

        using (document)
        {
            JsonElement root = document.RootElement;
            if (!JsonTexts.AreWhole(root))
                throw Invalid(place, "a text has half a surrogate pair, or is no UTF-8.");
            if (root.ValueKind != JsonValueKind.Object)
                throw Invalid(place, "a schema is an object with the keys user or item, and fields.");
            RefuseUnknownKeys(root, SchemaKeys, place);
            string? user = Text(root, "user", place), item = Text(root, "item", place);
            if (user is null == item is null)
                throw Invalid(place, "a schema has either the key user (a view) or the key item (items).");
            if (!root.TryGetProperty("fields", out JsonElement list) || list.ValueKind != JsonValueKind.Array)
                throw Invalid(place, "the key fields must hold an array.");
            var fields = new List<DssmField>();
            foreach (JsonElement element in list.EnumerateArray())
                fields.Add(ReadField(element, $"{place}, fields[{fields.Count}]"));
            bool normalise = Text(root, "normalise", place) switch
            {
                null or "none" => false,
                "l2" => true,
                _ => throw Invalid(place, "normalise must be none or l2."),
            };
            return Checked(new DssmSchema(item is not null, (user ?? item)!, Text(root, "time", place), Text(root, "sequence", place), Text(root, "title", place), normalise, fields), place);
        }
    }

    internal static DssmSchema Checked(DssmSchema schema, string place)
    {
        if (schema.Fields.Count == 0)
            throw Invalid(place, "a schema needs at least one field.");
        if (schema.IsItems && (schema.Time ?? schema.Sequence) is not null)
            throw Invalid(place, "items have no time and no sequence.");
        if (!schema.IsItems && schema.Title is not null)
            throw Invalid(place, "only items have a title.");
        if (schema.Time is null && schema.Sequence is not null)
            throw Invalid(place, "a sequence needs a time.");
        foreach (DssmField field in schema.Fields)
            CheckField(field, schema.Normalise, place);

        var columns = new HashSet<string>(StringComparer.Ordinal);
        foreach (string column in new[] { schema.Key, schema.Time, schema.Sequence }.OfType<string>().Concat(schema.Fields.Select(field => field.Name)))
        {
            if (!columns.Add(column))
                throw Duplicate(place, $"the column '{column}' appears in two places.");
        }

        if (schema.Title is { } title && (title == schema.Key || schema.Fields.Any(field => field.Name == title && field.Kind is not (DssmFieldKind.Text or DssmFieldKind.Hashed))))
            throw Duplicate(place, $"the column '{title}' is the title, and an id or a field that is no text.");
        long width = schema.Fields.Sum(field => field.Kind == DssmFieldKind.Numeric ? 2L : field.Ids);
        return width <= MostBuckets ? schema : throw Invalid(place, $"the fields have more than {MostBuckets} buckets in all.");
    }

    internal static string Write(DssmSchema schema)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString(schema.IsItems ? "item" : "user", schema.Key);
            foreach ((string key, string? column) in (ReadOnlySpan<(string, string?)>)[("time", schema.Time), ("sequence", schema.Sequence), ("title", schema.Title)])
            {
                if (column is not null)
                    json.WriteString(key, column);
            }

            if (schema.Normalise)
                json.WriteString("normalise", "l2");
            json.WriteStartArray("fields");
            foreach (DssmField field in schema.Fields)
                WriteField(json, field);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length) + "\n";
    }

    private static void WriteField(Utf8JsonWriter json, DssmField field)
    {
        (string word, string[] keys) = Kinds[(int)field.Kind];
        json.WriteStartObject();
        json.WriteString("name", field.Name);
        json.WriteString("type", word);
        if (field.Mask)
            json.WriteString("missing", "mask");
        if (field.Kind == DssmFieldKind.Bucketed)
        {
            json.WriteStartArray("edges");
            foreach (double edge in field.Edges)
                json.WriteNumberValue(edge);
            json.WriteEndArray();
        }

        if (keys.Contains("buckets"))
            json.WriteNumber("buckets", field.Buckets);
        if (keys.Contains("ngrams"))
            json.WriteNumber("ngrams", field.Ngrams);
        if (keys.Contains("hashes"))
            json.WriteNumber("hashes", field.Hashes);
        if (keys.Contains("pooling"))
            json.WriteString("pooling", field.Pooling == BagPooling.Mean ? "mean" : "sum");
        json.WriteEndObject();
    }

    private static DssmField ReadField(JsonElement element, string place)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw Invalid(place, "a field is an object with the keys name and type.");
        RefuseUnknownKeys(element, FieldKeys, place);
        string name = Text(element, "name", place) ?? throw Invalid(place, "the key name is missing.");
        place = $"{place} ('{name}')";
        string word = Text(element, "type", place) ?? throw Invalid(place, "the key type is missing.");
        int kind = Array.FindIndex(Kinds, known => known.Word == word);
        if (kind < 0)
            throw Invalid(place, $"type must be one of {string.Join(", ", Kinds.Select(known => known.Word))}; the nearest is {SchemaReader.Nearest(word, Kinds.Select(known => known.Word))}.");
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (property.Name is not ("name" or "type") && !Kinds[kind].Keys.Contains(property.Name))
                throw Invalid(place, $"the key {property.Name} does not belong to a field of this type.");
        }

        return new DssmField(name, (DssmFieldKind)kind)
        {
            Mask = Text(element, "missing", place) switch { null => false, "mask" => true, _ => throw Invalid(place, "missing must be mask.") },
            Edges = Numbers(element, "edges", place),
            Buckets = Whole(element, "buckets", place) ?? 0,
            Pooling = Text(element, "pooling", place) switch
            {
                null or "sum" => BagPooling.Sum,
                "mean" => BagPooling.Mean,
                _ => throw Invalid(place, "pooling must be sum or mean."),
            },
            Ngrams = Whole(element, "ngrams", place) ?? 3,
            Hashes = Whole(element, "hashes", place) ?? 1,
        };
    }

    private static void CheckField(DssmField field, bool normalise, string place)
    {
        if (string.IsNullOrWhiteSpace(field.Name))
            throw Invalid(place, "a field has an empty name.");
        place = $"{place}, field '{field.Name}'";
        if (field.Kind == DssmFieldKind.Bucketed && (field.Edges.Count == 0 || !field.Edges.All(double.IsFinite) || field.Edges.Zip(field.Edges.Skip(1)).Any(pair => pair.First >= pair.Second)))
            throw Invalid(place, "edges must be at least one finite number, in ascending order.");
        if (field.Kind is DssmFieldKind.Bag or DssmFieldKind.Hashed or DssmFieldKind.Text && field.Buckets is < 1 or > MostBuckets)
            throw Invalid(place, $"buckets must be a whole number from 1 to {MostBuckets}.");
        if (field.Ngrams is < 1 or > MostNgrams)
            throw Invalid(place, $"ngrams must be a whole number from 1 to {MostNgrams}.");
        if (field.Hashes is < 1 or > MostHashes)
            throw Invalid(place, $"hashes must be a whole number from 1 to {MostHashes}.");
        if (normalise && field.Pooling == BagPooling.Mean)
            throw Invalid(place, "l2 normalises sums; a mean would divide once more.");
    }

    private static void RefuseUnknownKeys(JsonElement element, string[] known, string place)
    {
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (!known.Contains(property.Name, StringComparer.Ordinal))
            {
                throw DataErrors.Config(DataErrors.SchemaUnknownKey, place, $"the key '{property.Name}' is not known here.",
                    $"The nearest known key is '{SchemaReader.Nearest(property.Name, known)}'.");
            }
        }
    }

    private static string? Text(JsonElement element, string key, string place)
    {
        if (!element.TryGetProperty(key, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind == JsonValueKind.String && !string.IsNullOrWhiteSpace(value.GetString())
            ? value.GetString()
            : throw Invalid(place, $"{key} must be text, and not empty.");
    }

    private static int? Whole(JsonElement element, string key, string place)
    {
        if (!element.TryGetProperty(key, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) ? number : throw Invalid(place, $"{key} must be a whole number.");
    }

    private static double[] Numbers(JsonElement element, string key, string place)
    {
        if (!element.TryGetProperty(key, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return [];
        return value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(number => number.ValueKind == JsonValueKind.Number)
            ? [.. value.EnumerateArray().Select(number => number.GetDouble())]
            : throw Invalid(place, $"{key} must be an array of numbers.");
    }

    private static ConfigurationException Invalid(string place, string cause) =>
        DataErrors.Config(DataErrors.SchemaInvalid, place, cause, "Correct the schema; its form is in docs/recommend-files.md.");

    private static ConfigurationException Duplicate(string place, string cause) =>
        DataErrors.Config(DataErrors.SchemaDuplicate, place, cause, "Name every column once.");
}
