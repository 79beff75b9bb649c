using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FedLearn.Cli.RunFiles;

namespace FedLearn.Cli.Services;

/// <summary>What <c>--show-config</c> prints: every value of a party file as it holds, and where it comes from. No secret.</summary>
internal static partial class EffectiveConfiguration
{
    /// <summary>The values of one party file that was read.</summary>
    /// <param name="file">It.</param>
    /// <param name="overrides">What stands in for its values.</param>
    public static JsonObject Of(PartyFile file, PartyOverrides overrides)
    {
        PartyValues values = overrides.For(file.Path);
        JsonElement json = values.Settings.Aggregate(PartySchema.Read(file.Path), (at, setting) => setting.In(at));
        var lines = new JsonArray();
        var given = new HashSet<string>();
        foreach ((string key, JsonElement value) in Leaves(json, ""))
        {
            given.Add(key);
            lines.Add(Line(key, JsonNode.Parse(value.GetRawText()), SourceOf(key, values.Sources) ?? "file"));
        }

        foreach ((string key, JsonNode value, string source) in Defaults(file))
            if (!given.Contains(key))
                lines.Add(Line(key, value, source));
        return new JsonObject { ["config"] = file.Path, ["job"] = file.Run.Name, ["party"] = file.Self.Name, ["values"] = lines };
    }

    private static IEnumerable<(string Key, JsonNode Value, string Source)> Defaults(PartyFile file)
    {
        // Where the party file says nothing, the job's limits hold, and where that says nothing the tool's.
        yield return ("timeoutSeconds", file.Transport.Timeout.TotalSeconds, "job or default");
        yield return ("connectTimeoutSeconds", file.Transport.ConnectTimeout.TotalSeconds, "job or default");
        yield return ("ledger.path", file.Self.Ledger.Path, "job or default");
        yield return ("service.sessionsPerDay", file.Service.SessionsPerDay, "default");
        yield return ("service.longestPauseSeconds", file.Service.LongestPause.TotalSeconds, "default");
        yield return ("quotas.joinsPerMinute", file.Transport.Quotas.JoinsPerMinute, "default");
        yield return ("quotas.connections", file.Transport.Quotas.Connections, "default");
        yield return ("quotas.streams", file.Transport.Quotas.Streams, "default");
        yield return ("quotas.sessions", file.Transport.Quotas.Sessions, "default");
        yield return ("quotas.bytesPerSession", file.Transport.Quotas.BytesPerSession, "default");
        yield return ("quotas.allConnections", file.Transport.Quotas.AllConnections, "default");
    }

    // An override may be a whole object, whose values are then its.
    private static string? SourceOf(string key, IReadOnlyDictionary<string, string> sources) =>
        sources.FirstOrDefault(s => key == s.Key || key.StartsWith(s.Key + ".", StringComparison.Ordinal)).Value;

    private static IEnumerable<(string Key, JsonElement Value)> Leaves(JsonElement json, string above)
    {
        foreach (JsonProperty property in json.EnumerateObject())
            if (property.Value.ValueKind == JsonValueKind.Object)
                foreach ((string, JsonElement) inner in Leaves(property.Value, $"{above}{property.Name}."))
                    yield return inner;
            else
                yield return (above + property.Name, property.Value);
    }

    private static JsonObject Line(string key, JsonNode? value, string source) => new()
    {
        ["key"] = key,
        ["value"] = Secret().IsMatch(key) ? "(hidden)" : value is JsonValue text && text.GetValueKind() == JsonValueKind.String ? UserInfo().Replace((string)text!, "$1(hidden)@") : value,
        ["source"] = source,
    };

    /// <summary>Options of the service and where each comes from.</summary>
    /// <param name="options">Name, value and source.</param>
    public static JsonArray Options(params (string Name, object? Value, string Source)[] options) =>
        [.. options.Select(o => (JsonNode)new JsonObject { ["key"] = o.Name, ["value"] = o.Value is null ? null : Convert.ToString(o.Value, CultureInfo.InvariantCulture), ["source"] = o.Source })];

    [GeneratedRegex("password|passphrase|secret|token", RegexOptions.IgnoreCase)]
    private static partial Regex Secret();

    [GeneratedRegex("(^|//)[^/@]*@")]
    private static partial Regex UserInfo();
}
