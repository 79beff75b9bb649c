using System.Text.Json;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>Reads and checks schemas.</summary>
internal static class SchemaReader
{
    private static readonly string[] SchemaKeys = ["$schema", "id", "label", "fields"];
    private static readonly string[] FieldKeys = ["name", "type", "min", "max", "columns", "values", "missing"];

    internal static TableSchema Read(string json, string place)
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
                throw Invalid(place, "a schema is an object with the key fields.");
            RefuseUnknownKeys(root, SchemaKeys, place);
            if (!root.TryGetProperty("fields", out JsonElement list) || list.ValueKind != JsonValueKind.Array)
                throw Invalid(place, "the key fields must hold an array.");
            var fields = new List<Field>();
            foreach (JsonElement item in list.EnumerateArray())
                fields.Add(ReadField(item, $"{place}, fields[{fields.Count}]"));
            return TableSchema.Create(fields, IdColumns(root, place), OptionalText(root, "label", place), place);
        }
    }

    internal static void Check(TableSchema schema, string place)
    {
        if (schema.Fields.Count == 0 && schema.LabelColumn is null)
            throw Invalid(place, "a schema needs at least one field, or a label.");
        foreach (Field field in schema.Fields)
            CheckField(field, place);

        // Names of columns in the file; a category's name=value features must not meet a column's name either, since both name features.
        var columns = new HashSet<string>(StringComparer.Ordinal);
        foreach (string column in schema.Fields.SelectMany(field => field.Kind == FieldKind.OneHot ? field.Columns : [field.Name])
            .Concat(schema.Fields.Where(field => field.Kind == FieldKind.Category).SelectMany(field => field.FeatureNames)))
        {
            if (!columns.Add(column))
                throw Duplicate(place, $"the column '{column}' appears in two places.");
            if (schema.IdColumns.Contains(column, StringComparer.Ordinal) || column == schema.LabelColumn)
                throw Duplicate(place, $"the column '{column}' is the id or the label, and a field too.");
        }

        if (schema.Fields.Select(field => field.Name).GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw Duplicate(place, $"two fields are named '{twice.Key}'.");
        if (schema.LabelColumn is { } label && schema.IdColumns.Contains(label, StringComparer.Ordinal))
            throw Duplicate(place, $"the column '{label}' is both the id and the label.");
        if (schema.IdColumns.GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } again)
            throw Duplicate(place, $"the id names the column '{again.Key}' twice.");
    }

    /// <summary>The known key that is nearest to a mistyped one, by edit distance.</summary>
    internal static string Nearest(string key, IEnumerable<string> known) =>
        known.MinBy(candidate => EditDistance(key.ToLowerInvariant(), candidate.ToLowerInvariant()))!;

    private static Field ReadField(JsonElement item, string place)
    {
        if (item.ValueKind != JsonValueKind.Object)
            throw Invalid(place, "a field is an object with the keys name and type.");
        RefuseUnknownKeys(item, FieldKeys, place);
        string name = OptionalText(item, "name", place) ?? throw Invalid(place, "the key name is missing.");
        place = $"{place} ('{name}')";
        FieldKind kind = OptionalText(item, "type", place) switch
        {
            "numeric" => FieldKind.Numeric,
            "one-hot" => FieldKind.OneHot,
            "category" => FieldKind.Category,
            null => throw Invalid(place, "the key type is missing."),
            _ => throw Invalid(place, "type must be numeric, one-hot or category."),
        };
        foreach ((string key, FieldKind owner) in (ReadOnlySpan<(string, FieldKind)>)
            [("min", FieldKind.Numeric), ("max", FieldKind.Numeric), ("columns", FieldKind.OneHot), ("values", FieldKind.Category)])
        {
            if (owner != kind && item.TryGetProperty(key, out _))
                throw Invalid(place, $"the key {key} does not belong to a field of this type.");
        }

        if (kind == FieldKind.OneHot && item.TryGetProperty("missing", out _))
            throw Invalid(place, "a one-hot field has no constant for missing values: its columns would have to agree on one.");

        return new Field(name, kind, OptionalNumber(item, "min", place), OptionalNumber(item, "max", place),
            TextList(item, "columns", place), TextList(item, "values", place))
        {
            MissingNumber = kind == FieldKind.Numeric ? OptionalNumber(item, "missing", place) : null,
            MissingValue = kind == FieldKind.Category ? OptionalText(item, "missing", place) : null,
        };
    }

    private static void CheckField(Field field, string place)
    {
        if (string.IsNullOrWhiteSpace(field.Name))
            throw Invalid(place, "a field has an empty name.");
        place = $"{place}, field '{field.Name}'";
        if (field.Min is null != field.Max is null)
            throw Invalid(place, "min and max are declared together or not at all.");
        if (field is { Min: { } min, Max: { } max } && !(double.IsFinite(min) && double.IsFinite(max) && min < max))
            throw Invalid(place, "min and max must be finite, and min below max.");
        if (field.Kind != FieldKind.Numeric && field.Min is not null)
            throw Invalid(place, "only a numeric field has a range.");
        if (field.MissingNumber is { } constant && !(field.Kind == FieldKind.Numeric && double.IsFinite(constant)
            && constant >= (field.Min ?? constant) && constant <= (field.Max ?? constant)))
        {
            throw Invalid(place, "missing must be a finite number inside the field's range.");
        }

        if (field.MissingValue is { } value && !field.Values.Contains(value, StringComparer.Ordinal))
            throw Invalid(place, "missing must be one of the field's values.");
        if (field.Kind == FieldKind.OneHot != field.Columns.Count > 0)
            throw Invalid(place, "a one-hot field, and no other, lists at least one column.");
        if (field.Kind == FieldKind.Category != field.Values.Count > 0)
            throw Invalid(place, "a category, and no other, lists at least one value.");
        if (field.Columns.Concat(field.Values).Any(string.IsNullOrWhiteSpace))
            throw Invalid(place, "a listed column or value is empty.");
        if (field.Values.Distinct(StringComparer.Ordinal).Count() != field.Values.Count)
            throw Duplicate(place, "a value is listed twice.");
    }

    private static void RefuseUnknownKeys(JsonElement element, string[] known, string place)
    {
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (!known.Contains(property.Name, StringComparer.Ordinal))
            {
                throw DataErrors.Config(DataErrors.SchemaUnknownKey, place, $"the key '{property.Name}' is not known here.",
                    $"The nearest known key is '{Nearest(property.Name, known)}'.");
            }
        }
    }

    private static string? OptionalText(JsonElement element, string key, string place)
    {
        if (!element.TryGetProperty(key, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind == JsonValueKind.String && !string.IsNullOrWhiteSpace(value.GetString())
            ? value.GetString()
            : throw Invalid(place, $"{key} must be text, and not empty.");
    }

    private static double? OptionalNumber(JsonElement element, string key, string place)
    {
        if (!element.TryGetProperty(key, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw Invalid(place, $"{key} must be a finite number.");
    }

    /// <summary>One column, or an array of those that make the id together.</summary>
    private static string[] IdColumns(JsonElement root, string place)
    {
        if (!root.TryGetProperty("id", out JsonElement id) || id.ValueKind != JsonValueKind.Array)
            return OptionalText(root, "id", place) is { } one ? [one] : [];
        string[] several = TextList(root, "id", place);
        return several.Length > 0 && !several.Any(string.IsNullOrWhiteSpace) ? several : throw Invalid(place, "id must name at least one column, and none of them empty.");
    }

    private static string[] TextList(JsonElement element, string key, string place)
    {
        if (!element.TryGetProperty(key, out JsonElement value))
            return [];
        return value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
            ? [.. value.EnumerateArray().Select(item => item.GetString()!)]
            : throw Invalid(place, $"{key} must be an array of text.");
    }

    internal static int EditDistance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)));
        }

        return row[b.Length];
    }

    private static ConfigurationException Invalid(string place, string cause) =>
        DataErrors.Config(DataErrors.SchemaInvalid, place, cause, "Correct the schema; docs/errors/FL2203.md shows one.");

    private static ConfigurationException Duplicate(string place, string cause) =>
        DataErrors.Config(DataErrors.SchemaDuplicate, place, cause, "Name every column once.");
}
