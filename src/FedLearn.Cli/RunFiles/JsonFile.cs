using System.Text;
using System.Text.Json;

namespace FedLearn.Cli.RunFiles;

/// <summary>A file for people as plain JSON, for whoever needs a value or two before or beside the reader of all its keys.</summary>
internal static class JsonFile
{
    /// <summary>Reads a file; comments and trailing commas are allowed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="JsonException">It is no JSON.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static JsonElement Read(string path)
    {
        using JsonDocument file = JsonDocument.Parse(Utf8(File.ReadAllBytes(path)), new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
        return file.RootElement.Clone();
    }

    /// <summary>The text without the mark of its encoding, which some editors and shells of Windows write before it.</summary>
    private static ReadOnlyMemory<byte> Utf8(byte[] text) => text switch
    {
        [0xEF, 0xBB, 0xBF, ..] => text.AsMemory(3),
        [0xFF, 0xFE, ..] => Encoding.Convert(Encoding.Unicode, Encoding.UTF8, text, 2, text.Length - 2),
        [0xFE, 0xFF, ..] => Encoding.Convert(Encoding.BigEndianUnicode, Encoding.UTF8, text, 2, text.Length - 2),
        _ => text,
    };

    /// <summary>What stands at a path; undefined where nothing does.</summary>
    public static JsonElement At(JsonElement json, params IReadOnlyList<string> path)
    {
        foreach (string step in path)
            if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty(step, out json))
                return default;
        return json;
    }
}
