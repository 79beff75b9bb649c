using System.Buffers;
using System.Globalization;
using System.Text.Json;

namespace FedLearn.Cli.RunFiles;

/// <summary>A value that stands in for that of a run file.</summary>
/// <param name="Key">Path of the key, such as <c>model.l2</c>.</param>
/// <param name="Text">What a user writes for it: a finite number, true, false or a word.</param>
internal sealed record RunFileSetting(string Key, string Text)
{
    /// <summary>Names of the objects and the key; null: those that dots separate in <see cref="Key"/>.</summary>
    public string[]? Steps { get; init; }

    /// <summary>Option of the command line that the value is from; null for what the tool sets itself.</summary>
    public string? Option { get; init; }

    /// <summary>The value, where the type of the key is known; undefined: what the text looks like.</summary>
    public JsonElement Typed { get; init; }

    /// <summary>The value as JSON.</summary>
    public JsonElement Value => Typed.ValueKind != JsonValueKind.Undefined ? Typed : bool.TryParse(Text, out bool flag) ? JsonSerializer.SerializeToElement(flag)
        : double.TryParse(Text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? JsonSerializer.SerializeToElement(number)
        : JsonSerializer.SerializeToElement(Text);

    /// <summary>A file with the value in it. What is no object where one should be is left for the reader to find.</summary>
    /// <param name="file">The whole file.</param>
    public JsonElement In(JsonElement file) => With(file, Steps ?? Key.Split('.'), Value);

    private static JsonElement With(JsonElement json, ReadOnlySpan<string> path, JsonElement value)
    {
        if (path.IsEmpty || json.ValueKind is not (JsonValueKind.Object or JsonValueKind.Null or JsonValueKind.Undefined))
            return path.IsEmpty ? value : json;
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            JsonElement inner = default;
            if (json.ValueKind == JsonValueKind.Object)
                foreach (JsonProperty property in json.EnumerateObject())
                    if (property.NameEquals(path[0]))
                        inner = property.Value;
                    else
                        property.WriteTo(writer);
            writer.WritePropertyName(path[0]);
            With(inner, path[1..], value).WriteTo(writer);
            writer.WriteEndObject();
        }

        return JsonSerializer.Deserialize<JsonElement>(buffer.WrittenSpan);
    }
}
