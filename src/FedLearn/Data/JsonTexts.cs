using System.Text.Json;

namespace FedLearn.Data;

/// <summary>Texts of JSON documents. The parser also takes what no text is, bytes that are no UTF-8 and escapes that stand for half of a surrogate pair, and throws where the text or
/// the key is read.</summary>
internal static class JsonTexts
{
    /// <summary>Whether every key and every text of a document is one.</summary>
    internal static bool AreWhole(JsonElement json)
    {
        try
        {
            Visit(json);
            return true;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    // No deeper than the parser allows.
    private static void Visit(JsonElement json)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.String:
                _ = json.GetString();
                break;
            case JsonValueKind.Array:
                foreach (JsonElement element in json.EnumerateArray())
                    Visit(element);
                break;
            case JsonValueKind.Object:
                foreach (JsonProperty property in json.EnumerateObject())
                {
                    _ = property.Name;
                    Visit(property.Value);
                }

                break;
        }
    }
}
