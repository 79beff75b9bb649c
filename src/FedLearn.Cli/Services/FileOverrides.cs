using System.Collections;
using System.Globalization;
using System.Text.Json;
using FedLearn.Cli.RunFiles;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Services;

/// <summary>Values for a file, and where each comes from.</summary>
/// <param name="Settings">Values that stand in for those of the file; of several for one key the last holds.</param>
/// <param name="Sources">Variable or option, by the path of the key.</param>
internal sealed record FileValues(IReadOnlyList<RunFileSetting> Settings, IReadOnlyDictionary<string, string> Sources);

/// <summary>A kind of file whose values the environment and the command line may replace.</summary>
/// <param name="Prefix">Prefix of variables for its keys; <c>__</c> separates the names of objects, as everywhere in .NET.</param>
/// <param name="Schema">Its keys.</param>
/// <param name="Jobs">The key that names its job, or its jobs.</param>
/// <param name="IsService">Whether variables of the prefix of a service are options beside it.</param>
internal sealed record OverridableFile(string Prefix, FileSchema Schema, string Jobs, bool IsService)
{
    /// <summary>A party file.</summary>
    public static OverridableFile Party { get; } = new("FEDLEARN_PARTY__", FileSchema.Party, "job", IsService: true);

    /// <summary>A coordinator file.</summary>
    public static OverridableFile Coordinator { get; } = new("FEDLEARN_COORDINATOR__", FileSchema.Coordinator, "jobs", IsService: false);
}

/// <summary>Values that stand in for those of party files or of a coordinator file, from the environment and the command line. The command line stands above the environment, and that above the file.</summary>
internal sealed class FileOverrides
{
    /// <summary>Prefix of variables for options of <c>party --service</c>.</summary>
    public const string ServicePrefix = "FEDLEARN_SERVICE__";

    private static readonly string[] ServiceNames = ["HEALTH", "RESULTS", "STOPSECONDS"];

    private readonly OverridableFile _kind;
    private readonly IReadOnlyList<(string Source, string[] Path, string Text)> _values;

    private FileOverrides(OverridableFile kind, IReadOnlyList<(string, string[], string)> values, IReadOnlyDictionary<string, string> service) => (_kind, _values, Service) = (kind, values, service);

    /// <summary>No values.</summary>
    public static FileOverrides None { get; } = new(OverridableFile.Party, [], new Dictionary<string, string>());

    /// <summary>Values of variables for options of the service, by the name after the prefix in capitals.</summary>
    public IReadOnlyDictionary<string, string> Service { get; }

    /// <summary>Those of this process.</summary>
    /// <param name="sets">Values of <c>--set</c>, each <c>KEY=VALUE</c>.</param>
    /// <param name="kind">What they are for; null for a party file.</param>
    /// <exception cref="ConfigurationException">FL2556: a name that is none, or a form that is wrong.</exception>
    public static FileOverrides Here(IReadOnlyList<string> sets, OverridableFile? kind = null) => Of(Environment.GetEnvironmentVariables(), sets, kind);

    /// <summary>Those of an environment and a command line.</summary>
    /// <param name="environment">Variables by name.</param>
    /// <param name="sets">Values of <c>--set</c>.</param>
    /// <param name="kind">What they are for; null for a party file.</param>
    /// <exception cref="ConfigurationException">FL2556: a name that is none, or a form that is wrong.</exception>
    public static FileOverrides Of(IDictionary environment, IReadOnlyList<string> sets, OverridableFile? kind = null)
    {
        kind ??= OverridableFile.Party;
        string prefix = kind.Prefix;
        var values = new List<(string, string[], string)>();
        var service = new Dictionary<string, string>();
        foreach (string name in environment.Keys.Cast<string>().Order(StringComparer.Ordinal))
        {
            string text = environment[name] as string ?? "";
            if (name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))
                values.Add((name, name[prefix.Length..].Split("__"), text));
            else if (kind.IsService && name.StartsWith(ServicePrefix, StringComparison.OrdinalIgnoreCase))
            {
                string option = name[ServicePrefix.Length..].ToUpperInvariant();
                if (!ServiceNames.Contains(option))
                    throw Unknown(name, ServicePrefix + Spelling.Nearest(option, ServiceNames));
                service[option] = text;
            }
            else if (name.StartsWith(prefix.TrimEnd('_'), StringComparison.OrdinalIgnoreCase))
            {
                throw Unknown(name, prefix + name[prefix.TrimEnd('_').Length..].Trim('_').ToUpperInvariant());
            }
            else if (kind.IsService && name.StartsWith(ServicePrefix.TrimEnd('_'), StringComparison.OrdinalIgnoreCase))
            {
                throw Unknown(name, ServicePrefix + Spelling.Nearest(name[ServicePrefix.TrimEnd('_').Length..].Trim('_'), ServiceNames));
            }
        }

        foreach (string set in sets)
        {
            string[] parts = set.Split('=', 2);
            if (parts.Length != 2 || parts[0].Length == 0)
                throw new ConfigurationException(ServiceErrors.UnknownVariable, "--set", "the value has not the form KEY=VALUE.", "Write a key and a value, such as --set timeoutSeconds=30.");
            values.Add(("--set", parts[0].Split('.'), parts[1]));
        }

        return new FileOverrides(kind, values, service);
    }

    /// <summary>The values for one file: names as the file and its job write them, and texts as values of the keys' types.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ConfigurationException">FL2556: a name is that of no key or party, or of two.</exception>
    public FileValues For(string path)
    {
        if (_values.Count == 0)
            return new FileValues([], new Dictionary<string, string>());
        JsonElement file = FileSchema.Read(path);
        var settings = new List<RunFileSetting>();
        var sources = new Dictionary<string, string>();
        foreach ((string source, string[] names, string text) in _values)
        {
            (string[] steps, IReadOnlyList<JsonElement> forms) = Resolve(source, names, file, path);
            string key = string.Join('.', steps);
            if (text.Length == 0 && source != "--set" && !FileSchema.Types(forms).Contains("string"))
                throw new ConfigurationException(RunFileErrors.WrongType, $"environment, {source}", $"the variable is empty, and {key} is no text.", "Give it a value, or take it out of the environment.");
            if (sources.TryGetValue(key, out string? earlier) && source != "--set")
                throw new ConfigurationException(ServiceErrors.UnknownVariable, source, $"the key '{key}' is set by {earlier} too.", "Keep one of them; letter case does not matter.");
            for (int i = 1; i < steps.Length; i++)
                if (JsonFile.At(file, steps[..i]) is { ValueKind: not (JsonValueKind.Object or JsonValueKind.Null or JsonValueKind.Undefined) })
                    throw new ConfigurationException(ServiceErrors.UnknownVariable, source, $"in {path}, '{string.Join('.', steps[..i])}' is no object, so that nothing in it can be replaced.",
                        "Write an object in the file, or replace the whole value.");
            settings.Add(new RunFileSetting(key, text) { Steps = steps, Typed = FileSchema.Value(text, forms) });
            sources[key] = source;
        }

        return new FileValues(settings, sources);
    }

    private FileSchema Schema => _kind.Schema;

    private (string[] Steps, IReadOnlyList<JsonElement> Forms) Resolve(string source, string[] names, JsonElement file, string path)
    {
        var steps = new List<string>();
        IReadOnlyList<JsonElement> forms = Schema.Forms(Schema.Root);
        for (int i = 0; i < names.Length; i++)
        {
            string[] known = [.. FileSchema.Names(forms)];
            if (known.FirstOrDefault(name => Same(name, names[i])) is { } key)
            {
                steps.Add(key);
                forms = [.. Schema.Inner(forms, key)];
                continue;
            }

            IReadOnlyList<JsonElement> values = [.. Schema.FreeValues(forms)];
            if (values.Count == 0)
                throw source == "--set" ? UnknownSet(names) : Unknown(source, _kind.Prefix + Nearest(names, "__").ToUpperInvariant());
            // The rest is one name, that of a party, which may hold the separator.
            string written = string.Join(source == "--set" ? "." : "__", names[i..]);
            string[] parties = [.. FileSchema.NamesIn(JsonFile.At(file, steps)).Union(JobParties(file, path))];
            string[] meant = [.. parties.Where(name => Same(name, written))];
            if (meant.Length != 1)
                throw new ConfigurationException(ServiceErrors.UnknownVariable, source, meant.Length == 0 ? $"the job has no party '{written}'." : $"'{written}' may be {string.Join(" or ", meant)}.",
                    meant.Length == 0 && parties.Length > 0 ? $"Did you mean '{Spelling.Nearest(written, parties)}'?" : "Write the name in the file.");
            return ([.. steps, meant[0]], values);
        }

        return ([.. steps], forms);
    }

    // The names of peers may stand in the job files alone.
    private IEnumerable<string> JobParties(JsonElement file, string path)
    {
        JsonElement jobs = _values.LastOrDefault(v => v.Path is [var name] && Same(name, _kind.Jobs)).Text is { } text ? FileSchema.Value(text, [.. Schema.Inner(Schema.Forms(Schema.Root), _kind.Jobs)]) : JsonFile.At(file, _kind.Jobs);
        IEnumerable<JsonElement> each = jobs.ValueKind == JsonValueKind.Array ? jobs.EnumerateArray() : [jobs];
        return each.Where(job => job.ValueKind == JsonValueKind.String).Select(job => job.GetString()!).Where(job => !string.IsNullOrWhiteSpace(job))
            .SelectMany(job => PartiesOf(FullPath(job))).Distinct();

        string FullPath(string job) => !job.Contains('\0', StringComparison.Ordinal) ? Path.GetFullPath(job, Path.GetDirectoryName(Path.GetFullPath(path))!)
            : throw new ConfigurationException(RunFileErrors.OutOfRange, $"{path}: {_kind.Jobs}", "the text is no path: it holds the character U+0000.", "Remove it.");
    }

    private static IEnumerable<string> PartiesOf(string job)
    {
        JsonElement json = FileSchema.Read(job);
        IEnumerable<string> names = JsonFile.At(json, "parties") is { ValueKind: JsonValueKind.Array } parties
            ? parties.EnumerateArray().Select(p => JsonFile.At(p, "name")).Where(n => n.ValueKind == JsonValueKind.String).Select(n => n.GetString()!) : [];
        return [.. names, JsonFile.At(json, "privacy", "he", "arbiter") is { ValueKind: JsonValueKind.String } arbiter ? arbiter.GetString()! : "arbiter"];
    }

    // Names of variables may have no dots or hyphens on some systems, and their letter case does not count.
    private static bool Same(string name, string written) => string.Equals(Plain(name), Plain(written), StringComparison.OrdinalIgnoreCase);

    private static string Plain(string name) => string.Concat(name.Select(c => char.IsLetterOrDigit(c) ? c : '_'));

    private static ConfigurationException Unknown(string name, string nearest) => new(ServiceErrors.UnknownVariable, $"environment, {name}", "there is no such key.", $"Did you mean {nearest}?");

    private ConfigurationException UnknownSet(string[] names) => new(ServiceErrors.UnknownVariable, "--set", $"there is no key '{string.Join('.', names)}'.",
        $"Did you mean '{Nearest(names, ".")}'?");

    // Compared part by part, so that a party's name, which no list of keys has, does not decide; and as a whole, for parts that were run together.
    private string Nearest(string[] names, string separator)
    {
        var parts = new List<string>();
        IReadOnlyList<JsonElement> forms = Schema.Forms(Schema.Root);
        while (parts.Count < names.Length && FileSchema.Names(forms).ToArray() is { Length: > 0 } known)
        {
            string key = Spelling.Nearest(names[parts.Count], known);
            parts.Add(key);
            forms = [.. Schema.Inner(forms, key)];
        }

        if (Schema.FreeValues(forms).Any())
            parts.AddRange(names[parts.Count..]);
        return Spelling.Nearest(string.Join(separator, names), Schema.Keys().Select(key => key.Replace(".", separator, StringComparison.Ordinal)).Append(string.Join(separator, parts)));
    }
}

/// <summary>The schema of a kind of files, which the tool carries: what keys there are, and which types their values have.</summary>
internal sealed class FileSchema
{
    private readonly Lazy<JsonElement> _loaded;

    private FileSchema(string resource) => _loaded = new(() =>
    {
        using Stream file = typeof(FileSchema).Assembly.GetManifestResourceStream(resource)!;
        return JsonSerializer.Deserialize<JsonElement>(file);
    });

    /// <summary>Of party files.</summary>
    public static FileSchema Party { get; } = new("party.schema.json");

    /// <summary>Of coordinator files.</summary>
    public static FileSchema Coordinator { get; } = new("coordinator.schema.json");

    /// <summary>The whole schema.</summary>
    public JsonElement Root => _loaded.Value;

    /// <summary>The forms that a value may have: references followed, alternatives side by side.</summary>
    public IReadOnlyList<JsonElement> Forms(JsonElement schema)
    {
        if (schema.TryGetProperty("$ref", out JsonElement reference))
            return Forms(reference.GetString()!.Split('/').Skip(1).Aggregate(Root, (at, step) => at.GetProperty(step)));
        foreach (string several in (string[])["anyOf", "oneOf"])
            if (schema.TryGetProperty(several, out JsonElement forms))
                return [.. forms.EnumerateArray().SelectMany(Forms)];
        return [schema];
    }

    /// <summary>Names of keys in an object of any of these forms.</summary>
    public static IEnumerable<string> Names(IEnumerable<JsonElement> forms) =>
        forms.SelectMany(f => f.TryGetProperty("properties", out JsonElement keys) ? keys.EnumerateObject().Select(k => k.Name) : []).Where(name => name != "$schema").Distinct();

    /// <summary>Forms of the value under a key.</summary>
    public IEnumerable<JsonElement> Inner(IEnumerable<JsonElement> forms, string key) =>
        forms.SelectMany(f => f.TryGetProperty("properties", out JsonElement keys) && keys.TryGetProperty(key, out JsonElement inner) ? Forms(inner) : []);

    /// <summary>Forms of the values of an object whose names are free; none for other objects.</summary>
    public IEnumerable<JsonElement> FreeValues(IEnumerable<JsonElement> forms) =>
        forms.SelectMany(f => f.TryGetProperty("additionalProperties", out JsonElement value) && value.ValueKind == JsonValueKind.Object ? Forms(value) : []);

    /// <summary>Paths of all keys.</summary>
    public IEnumerable<string> Keys() => Keys(Forms(Root), "");

    private IEnumerable<string> Keys(IReadOnlyList<JsonElement> forms, string above) =>
        Names(forms).SelectMany(name => Keys([.. Inner(forms, name)], $"{above}{name}.").Prepend(above + name));

    /// <summary>Types of values of some forms, as the schema has them.</summary>
    public static IEnumerable<string> Types(IEnumerable<JsonElement> forms) =>
        forms.SelectMany(f => f.TryGetProperty("type", out JsonElement type) ? type.ValueKind == JsonValueKind.Array ? type.EnumerateArray().Select(t => t.GetString()!) : [type.GetString()!] : []);

    /// <summary>A text as a value of one of some forms; a text that is none stays one, so that whoever reads the key can say what is wrong.</summary>
    public static JsonElement Value(string text, IReadOnlyList<JsonElement> forms)
    {
        string[] types = [.. Types(forms)];
        if (types.Contains("boolean") && bool.TryParse(text, out bool flag))
            return JsonSerializer.SerializeToElement(flag);
        bool isNumber = types.Contains("number") || types.Contains("integer"), isList = types.Contains("array") || types.Contains("object");
        if ((isNumber && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number)) || (isList && text.TrimStart() is ['[' or '{', ..]))
            try
            {
                return JsonSerializer.Deserialize<JsonElement>(text.Trim());
            }
            catch (JsonException)
            {
                // It stays a text: the reader of the key says what it should hold.
            }

        return JsonSerializer.SerializeToElement(text);
    }

    /// <summary>A file as JSON; undefined where it is none. What is wrong with it, its reader says.</summary>
    public static JsonElement Read(string path)
    {
        try
        {
            return JsonFile.Read(path);
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return default;
        }
    }

    /// <summary>Names in an object; none for what is no object.</summary>
    public static IEnumerable<string> NamesIn(JsonElement json) => json.ValueKind == JsonValueKind.Object ? json.EnumerateObject().Select(p => p.Name) : [];
}
