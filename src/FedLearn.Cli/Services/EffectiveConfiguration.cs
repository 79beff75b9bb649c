using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;

namespace FedLearn.Cli.Services;

/// <summary>What <c>--show-config</c> prints: every value of a party file as it holds, and where it comes from. No secret.</summary>
internal static partial class EffectiveConfiguration
{
    private const string FromJob = "job", Default = "default";

    /// <summary>The values of one party file that was read.</summary>
    /// <param name="file">It.</param>
    /// <param name="overrides">What stands in for its values.</param>
    public static JsonObject Of(PartyFile file, FileOverrides overrides)
    {
        FileValues values = overrides.For(file.Path);
        JsonElement json = values.Settings.Aggregate(FileSchema.Read(file.Path), (at, setting) => setting.In(at));
        var lines = new JsonArray();
        var given = new HashSet<string>();
        foreach ((string key, JsonElement value) in Leaves(json, ""))
        {
            given.Add(key);
            lines.Add(Line(key, JsonNode.Parse(value.GetRawText()), SourceOf(key, values.Sources) ?? "file"));
        }

        // A table of the party file replaces that of the job as a whole; everything else is replaced key by key.
        bool ownData = given.Any(key => key == "data" || key.StartsWith("data.", StringComparison.Ordinal));
        foreach ((string key, JsonNode? value, string source) in Job(file).Concat(Defaults(file)))
            if (!given.Contains(key) && !(ownData && key.StartsWith("data.", StringComparison.Ordinal)))
                lines.Add(Line(key, value, source));
        return new JsonObject { ["config"] = file.Path, ["job"] = file.Run.Name, ["party"] = file.Self.Name, ["values"] = lines };
    }

    // Where the party file says nothing the job's values hold, and where the job says nothing the tool's defaults.
    private static IEnumerable<(string Key, JsonNode? Value, string Source)> Job(PartyFile file)
    {
        JsonElement job = FileSchema.Read(file.Run.Path), transport = JsonFile.At(job, "transport");
        yield return ("timeoutSeconds", file.Transport.Timeout.TotalSeconds, In(transport, "timeoutSeconds"));
        yield return ("connectTimeoutSeconds", file.Transport.ConnectTimeout.TotalSeconds, In(transport, "connectTimeoutSeconds"));
        yield return ("resumeSeconds", file.Transport.ResumeTimeout.TotalSeconds, In(transport, "resumeSeconds"));
        if (file.Self.Role == PartyRole.Arbiter)
            yield break;
        JsonElement own = JsonFile.At(job, "parties") is { ValueKind: JsonValueKind.Array } parties
            ? parties.EnumerateArray().FirstOrDefault(p => JsonFile.At(p, "name") is { ValueKind: JsonValueKind.String } name && name.GetString() == file.Self.Name) : default;
        foreach ((string key, JsonElement value) in JsonFile.At(own, "data") is { ValueKind: JsonValueKind.Object } data ? Leaves(data, "data.") : [])
            yield return (key, JsonNode.Parse(value.GetRawText()), FromJob);
        yield return ("ledger.path", file.Self.Ledger.Path, In(own, "ledger", "path"));
        if (file.Self.Ledger.Budget is { } budget)
        {
            yield return ("ledger.budget.epsilon", budget.Epsilon, In(own, "ledger", "budget"));
            yield return ("ledger.budget.delta", budget.Delta, In(own, "ledger", "budget"));
        }
        else
        {
            yield return ("ledger.budget", null, Default);
        }

        PartyAlignment alignment = file.Self.Alignment;
        yield return ("alignment.padTo", alignment.PadTo, In(own, "alignment", "padTo"));
        yield return ("alignment.threads", alignment.Threads, In(own, "alignment", "threads"));
        yield return ("alignment.engine", alignment.Engine.ToString().ToLowerInvariant(), In(own, "alignment", "engine"));
        yield return ("alignment.sessionsPerDay", alignment.Caps.SessionsPerDay, In(own, "alignment", "sessionsPerDay"));
        yield return ("alignment.peerIds", alignment.Caps.PeerIds, In(own, "alignment", "peerIds"));
        yield return ("alignment.state", alignment.State, In(own, "alignment", "state"));
    }

    private static string In(JsonElement of, params string[] path) => JsonFile.At(of, path).ValueKind == JsonValueKind.Undefined ? Default : FromJob;

    private static IEnumerable<(string Key, JsonNode? Value, string Source)> Defaults(PartyFile file)
    {
        yield return ("allowPlaintext", file.Transport.Party!.AllowPlaintext, Default);
        if (file is { Self.Role: PartyRole.Active, Run: GlmRunFile })
        {
            yield return ("serve.rest", file.Serve.Rest.GetLeftPart(UriPartial.Authority), Default);
            yield return ("serve.timeoutMilliseconds", file.Serve.Timeout.TotalMilliseconds, Default);
            if (file.Serve.Fallbacks.Count == 0)
                yield return ("serve.fallback", "refuse", Default);
        }

        yield return ("service.sessionsPerDay", file.Service.SessionsPerDay, Default);
        yield return ("service.longestPauseSeconds", file.Service.LongestPause.TotalSeconds, Default);
        yield return ("quotas.joinsPerMinute", file.Transport.Quotas.JoinsPerMinute, Default);
        yield return ("quotas.connections", file.Transport.Quotas.Connections, Default);
        yield return ("quotas.streams", file.Transport.Quotas.Streams, Default);
        yield return ("quotas.sessions", file.Transport.Quotas.Sessions, Default);
        yield return ("quotas.bytesPerSession", file.Transport.Quotas.BytesPerSession, Default);
        yield return ("quotas.allConnections", file.Transport.Quotas.AllConnections, Default);
    }

    // An override may replace a whole object, and is then the source of every value in it.
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
