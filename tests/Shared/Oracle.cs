using System.Globalization;
using System.Text.Json;

namespace FedLearn.Tests.Shared;

/// <summary>Reads reference values that are stored as decimal strings.</summary>
internal static class Oracle
{
    public static JsonElement Load(string name)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(SharedData.RequireOracle(name)));
        return document.RootElement.Clone();
    }

    public static double Number(this JsonElement row, string name) => row.GetProperty(name) is { ValueKind: JsonValueKind.String } text
        ? double.Parse(text.GetString()!, CultureInfo.InvariantCulture)
        : row.GetProperty(name).GetDouble();

    public static int Integer(this JsonElement row, string name) => row.GetProperty(name).GetInt32();
}
