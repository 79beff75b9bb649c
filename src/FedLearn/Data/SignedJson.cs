using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FedLearn.Data;

/// <summary>JSON documents that carry a checksum of their content.</summary>
/// <remarks>The member <c>signature</c> is the SHA-256, hex, of everything else in the file: the tokens of the document as they are written ({ } [ ], names and
/// strings with their quotes, numbers, true, false, null), in order, without that member, each followed by a line feed, as UTF-8. So a file may be indented in another way,
/// and any other change is found. Whoever may write the file can sign it anew: it is a checksum bound to the job, whose digest it covers, and proves no origin.</remarks>
internal static class SignedJson
{
    private const string Signature = "signature";

    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A document with the signature of its content.</summary>
    public static byte[] Of(JsonObject document)
    {
        document.Remove(Signature);
        document[Signature] = Hash(Bytes(document));
        return [.. Bytes(document), (byte)'\n'];
    }

    /// <summary>Whether a document is what its signature says.</summary>
    /// <param name="document">The document.</param>
    /// <param name="file">Its bytes.</param>
    public static bool IsWhole(JsonObject document, byte[] file) => document[Signature] is JsonValue value && value.TryGetValue(out string? signature) && signature == Hash(file);

    private static byte[] Bytes(JsonObject document) => Encoding.UTF8.GetBytes(document.ToJsonString(Readable));

    /// <summary>The signature of a document, which may be there already.</summary>
    /// <exception cref="JsonException">It is no JSON.</exception>
    internal static string Hash(ReadOnlySpan<byte> json)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var reader = new Utf8JsonReader(json);
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == 1 && reader.ValueTextEquals(Signature))
            {
                reader.Skip();
                continue;
            }

            bool quoted = reader.TokenType is JsonTokenType.PropertyName or JsonTokenType.String;
            hash.AppendData(quoted ? "\""u8 : default);
            hash.AppendData(reader.ValueSpan);
            hash.AppendData(quoted ? "\"\n"u8 : "\n"u8);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
