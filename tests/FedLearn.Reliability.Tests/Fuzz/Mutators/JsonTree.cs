using System.Text;
using System.Text.Json;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>JSON as a tree that may hold what no writer writes: duplicate keys, half surrogates, numbers beyond float64, bytes that are no UTF-8.</summary>
internal sealed class JsonTree
{
    /// <summary>The token as it is written, for what is no object and no array.</summary>
    public byte[]? Token { get; set; }

    /// <summary>Elements of an array, or values of an object.</summary>
    public List<JsonTree>? Items { get; set; }

    /// <summary>Keys as they are written, one for each value of an object; null for an array.</summary>
    public List<byte[]>? Keys { get; set; }

    public static JsonTree Of(string token) => new() { Token = Encoding.UTF8.GetBytes(token) };

    public static JsonTree Parse(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
        reader.Read();
        return Parse(ref reader);
    }

    private static JsonTree Parse(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray))
            return new JsonTree { Token = Written(ref reader) };
        var tree = new JsonTree { Items = [], Keys = reader.TokenType == JsonTokenType.StartObject ? [] : null };
        while (reader.Read() && reader.TokenType is not (JsonTokenType.EndObject or JsonTokenType.EndArray))
        {
            if (tree.Keys is not null)
            {
                tree.Keys.Add(Written(ref reader));
                reader.Read();
            }

            tree.Items.Add(Parse(ref reader));
        }

        return tree;
    }

    public JsonTree Copy() => new() { Token = Token, Items = Items is null ? null : [.. Items.Select(item => item.Copy())], Keys = Keys is null ? null : [.. Keys] };

    /// <summary>This and everything below, with what holds it.</summary>
    public IEnumerable<(JsonTree Node, JsonTree? Parent, int Place)> All(JsonTree? parent = null, int place = 0)
    {
        yield return (this, parent, place);
        for (int i = 0; i < Items?.Count; i++)
            foreach ((JsonTree, JsonTree?, int) below in Items[i].All(this, i))
                yield return below;
    }

    public byte[] ToBytes()
    {
        using var bytes = new MemoryStream();
        Write(bytes);
        return bytes.ToArray();
    }

    private void Write(MemoryStream bytes)
    {
        if (Items is null)
        {
            bytes.Write(Token);
            return;
        }

        bytes.WriteByte(Keys is null ? (byte)'[' : (byte)'{');
        for (int i = 0; i < Items.Count; i++)
        {
            if (i > 0)
                bytes.WriteByte((byte)',');
            if (Keys is not null)
            {
                bytes.Write(Keys[i]);
                bytes.WriteByte((byte)':');
            }

            Items[i].Write(bytes);
        }

        bytes.WriteByte(Keys is null ? (byte)']' : (byte)'}');
    }

    private static byte[] Written(ref Utf8JsonReader reader) => reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName
        ? [(byte)'"', .. reader.ValueSpan, (byte)'"']
        : reader.ValueSpan.ToArray();
}
