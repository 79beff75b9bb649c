using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using FedLearn.Data;

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

    private static readonly SchemaForm Form = new("Correct the schema; its form is in docs/guide/recommendation-files.md.");

    internal static DssmSchema Read(string json, string place) => SchemaObject.Read(json, Form, place, SchemaKeys, "a schema is an object with the keys user or item, and fields.", root =>
    {
        string? user = root.Text("user"), item = root.Text("item");
        if (user is null == item is null)
            throw root.Invalid("a schema has either the key user (a view) or the key item (items).");
        DssmField[] fields = [.. root.Fields(FieldKeys).Select(field => ReadField(field.Name, field.Field))];
        bool normalise = root.Text("normalise") switch
        {
            null or "none" => false,
            "l2" => true,
            _ => throw root.Invalid("normalise must be none or l2."),
        };
        return Checked(new DssmSchema(item is not null, (user ?? item)!, root.Text("time"), root.Text("sequence"), root.Text("title"), normalise, fields), place);
    });

    internal static DssmSchema Checked(DssmSchema schema, string place)
    {
        if (schema.Fields.Count == 0)
            throw Form.Invalid(place, "a schema needs at least one field.");
        if (schema.IsItems && (schema.Time ?? schema.Sequence) is not null)
            throw Form.Invalid(place, "items have no time and no sequence.");
        if (!schema.IsItems && schema.Title is not null)
            throw Form.Invalid(place, "only items have a title.");
        if (schema.Time is null && schema.Sequence is not null)
            throw Form.Invalid(place, "a sequence needs a time.");
        foreach (DssmField field in schema.Fields)
            CheckField(field, schema.Normalise, place);

        var columns = new HashSet<string>(StringComparer.Ordinal);
        foreach (string column in new[] { schema.Key, schema.Time, schema.Sequence }.OfType<string>().Concat(schema.Fields.Select(field => field.Name)))
            if (!columns.Add(column))
                throw SchemaForm.Duplicate(place, $"the column '{column}' appears in two places.");
        if (schema.Title is { } title && (title == schema.Key || schema.Fields.Any(field => field.Name == title && field.Kind is not (DssmFieldKind.Text or DssmFieldKind.Hashed))))
            throw SchemaForm.Duplicate(place, $"the column '{title}' is the title, and an id or a field that is no text.");
        long width = schema.Fields.Sum(field => field.Kind == DssmFieldKind.Numeric ? 2L : field.Ids);
        return width <= MostBuckets ? schema : throw Form.Invalid(place, $"the fields have more than {MostBuckets} buckets in all.");
    }

    internal static string Write(DssmSchema schema)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString(schema.IsItems ? "item" : "user", schema.Key);
            foreach ((string key, string? column) in (ReadOnlySpan<(string, string?)>)[("time", schema.Time), ("sequence", schema.Sequence), ("title", schema.Title)])
                if (column is not null)
                    json.WriteString(key, column);
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

    private static DssmField ReadField(string name, SchemaObject field)
    {
        string word = field.Text("type") ?? throw field.Invalid("the key type is missing.");
        int kind = Array.FindIndex(Kinds, known => known.Word == word);
        if (kind < 0)
            throw field.Invalid($"type must be one of {string.Join(", ", Kinds.Select(known => known.Word))}; the nearest is {Spelling.Nearest(word, Kinds.Select(known => known.Word))}.");
        if (field.Keys.FirstOrDefault(key => key is not ("name" or "type") && !Kinds[kind].Keys.Contains(key)) is { } other)
            throw field.Invalid($"the key {other} does not belong to a field of this type.");
        return new DssmField(name, (DssmFieldKind)kind)
        {
            Mask = field.Text("missing") switch { null => false, "mask" => true, _ => throw field.Invalid("missing must be mask.") },
            Edges = field.Numbers("edges"),
            Buckets = field.Whole("buckets") ?? 0,
            Pooling = field.Text("pooling") switch
            {
                null or "sum" => BagPooling.Sum,
                "mean" => BagPooling.Mean,
                _ => throw field.Invalid("pooling must be sum or mean."),
            },
            Ngrams = field.Whole("ngrams") ?? 3,
            Hashes = field.Whole("hashes") ?? 1,
        };
    }

    private static void CheckField(DssmField field, bool normalise, string place)
    {
        if (string.IsNullOrWhiteSpace(field.Name))
            throw Form.Invalid(place, "a field has an empty name.");
        place = $"{place}, field '{field.Name}'";
        if (field.Kind == DssmFieldKind.Bucketed && (field.Edges.Count == 0 || !field.Edges.All(double.IsFinite) || field.Edges.Zip(field.Edges.Skip(1)).Any(pair => pair.First >= pair.Second)))
            throw Form.Invalid(place, "edges must be at least one finite number, in ascending order.");
        if (field.Kind is DssmFieldKind.Bag or DssmFieldKind.Hashed or DssmFieldKind.Text && field.Buckets is < 1 or > MostBuckets)
            throw Form.Invalid(place, $"buckets must be a whole number from 1 to {MostBuckets}.");
        if (field.Ngrams is < 1 or > MostNgrams)
            throw Form.Invalid(place, $"ngrams must be a whole number from 1 to {MostNgrams}.");
        if (field.Hashes is < 1 or > MostHashes)
            throw Form.Invalid(place, $"hashes must be a whole number from 1 to {MostHashes}.");
        if (normalise && field.Pooling == BagPooling.Mean)
            throw Form.Invalid(place, "l2 normalises sums; a mean would divide once more.");
    }
}
