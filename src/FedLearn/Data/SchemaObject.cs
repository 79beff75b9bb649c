using System.Text;
using System.Text.Json;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>A kind of schema, for what its errors say.</summary>
/// <param name="Remedy">Where the form of one is shown.</param>
internal sealed record SchemaForm(string Remedy)
{
    /// <summary>The schema is not of this form.</summary>
    public ConfigurationException Invalid(string place, string cause) => DataErrors.Config(DataErrors.SchemaInvalid, place, cause, Remedy);

    /// <summary>A name stands in two places.</summary>
    public static ConfigurationException Duplicate(string place, string cause, string remedy = "Name every column once.") => DataErrors.Config(DataErrors.SchemaDuplicate, place, cause, remedy);
}

/// <summary>An object of a schema, whose keys are all known.</summary>
internal readonly struct SchemaObject
{
    private readonly JsonElement _json;
    private readonly SchemaForm _form;

    private SchemaObject(JsonElement json, SchemaForm form, string place, string[] keys, string wanted)
    {
        (_json, _form, Place) = (json, form, place);
        if (json.ValueKind != JsonValueKind.Object)
            throw Invalid(wanted);
        foreach (JsonProperty property in json.EnumerateObject())
        {
            if (!keys.Contains(property.Name, StringComparer.Ordinal))
            {
                throw DataErrors.Config(DataErrors.SchemaUnknownKey, place, $"the key '{property.Name}' is not known here.",
                    Meant(property.Name, keys) is { } meant ? $"The nearest known key is '{meant}'." : $"Known are {string.Join(", ", keys)}.");
            }
        }
    }

    // A key that is cut short, or goes on, is near as well: maximum for max.
    private static string? Meant(string written, string[] keys) => Spelling.Meant(written, keys)
        ?? keys.FirstOrDefault(key => written.Length > 0 && key.StartsWith(written, StringComparison.OrdinalIgnoreCase) || written.StartsWith(key, StringComparison.OrdinalIgnoreCase));

    /// <summary>Where it is.</summary>
    public string Place { get; private init; }

    /// <summary>Its keys.</summary>
    public IEnumerable<string> Keys => _json.EnumerateObject().Select(property => property.Name);

    /// <summary>The text of a schema file. Bytes that are no UTF-8 are refused: read as other letters, no value of a category would be found in a table.</summary>
    /// <exception cref="ConfigurationException">FL2200: it cannot be read; FL2201: it is no UTF-8.</exception>
    public static string TextOf(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            return File.ReadAllText(path, StrictUtf8.Encoding);
        }
        catch (DecoderFallbackException e)
        {
            throw DataErrors.Config(DataErrors.SchemaNotJson, path, "the text is no UTF-8.", "Save the file as UTF-8.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Config(DataErrors.SchemaUnreadable, path, "the schema file cannot be read.", "Correct the path, or make the file readable.", e);
        }
    }

    /// <summary>Reads a schema.</summary>
    /// <param name="json">Its text.</param>
    /// <param name="form">What kind it is.</param>
    /// <param name="place">Where it is.</param>
    /// <param name="keys">Keys that it may have.</param>
    /// <param name="wanted">What it is, in a sentence.</param>
    /// <param name="read">Reads its keys.</param>
    /// <exception cref="ConfigurationException">It is no such schema: FL2201 to FL2204.</exception>
    public static T Read<T>(string json, SchemaForm form, string place, string[] keys, string wanted, Func<SchemaObject, T> read)
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
            return JsonTexts.AreWhole(document.RootElement) ? read(new SchemaObject(document.RootElement, form, place, keys, wanted)) : throw form.Invalid(place, "a text has half a surrogate pair, or is no UTF-8.");
    }

    /// <summary>The objects of the array <c>fields</c>, each with its name and known by it.</summary>
    /// <param name="keys">Keys that a field may have, name and type among them.</param>
    public IEnumerable<(string Name, SchemaObject Field)> Fields(string[] keys)
    {
        if (!_json.TryGetProperty("fields", out JsonElement list) || list.ValueKind != JsonValueKind.Array)
            throw Invalid("the key fields must hold an array.");
        int number = 0;
        foreach (JsonElement json in list.EnumerateArray())
        {
            var field = new SchemaObject(json, _form, $"{Place}, fields[{number++}]", keys, "a field is an object with the keys name and type.");
            string name = field.Text("name") ?? throw field.Invalid("the key name is missing.");
            yield return (name, field with { Place = $"{field.Place} ('{name}')" });
        }
    }

    /// <summary>Whether it has a key.</summary>
    public bool Has(string key) => _json.TryGetProperty(key, out _);

    /// <summary>Whether a key holds an array.</summary>
    public bool IsArray(string key) => _json.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Array;

    /// <summary>A text; null for none.</summary>
    public string? Text(string key) => Get(key) is not { } value ? null
        : value.ValueKind == JsonValueKind.String && !string.IsNullOrWhiteSpace(value.GetString()) ? value.GetString() : throw Invalid($"{key} must be text, and not empty.");

    /// <summary>A finite number; null for none.</summary>
    public double? Number(string key) => Get(key) is not { } value ? null
        : value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) ? number : throw Invalid($"{key} must be a finite number.");

    /// <summary>A whole number; null for none.</summary>
    public int? Whole(string key) => Get(key) is not { } value ? null
        : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) ? number : throw Invalid($"{key} must be a whole number.");

    /// <summary>Numbers; empty for none.</summary>
    public double[] Numbers(string key) => Get(key) is not { } value ? []
        : value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(number => number.ValueKind == JsonValueKind.Number)
            ? [.. value.EnumerateArray().Select(number => number.GetDouble())] : throw Invalid($"{key} must be an array of numbers.");

    /// <summary>Texts, which may be empty ones; empty for none.</summary>
    public string[] Texts(string key) => !_json.TryGetProperty(key, out JsonElement value) ? []
        : value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
            ? [.. value.EnumerateArray().Select(item => item.GetString()!)] : throw Invalid($"{key} must be an array of text.");

    /// <summary>The object is not of its form.</summary>
    public ConfigurationException Invalid(string cause) => _form.Invalid(Place, cause);

    private JsonElement? Get(string key) => _json.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
}
