using System.Text.Json;
using FedLearn.Cli.RunFiles;

namespace FedLearn.Cli.Tests.RunFiles;

public class RunFileSchemaTests
{
    public static TheoryData<string, string> Files => new() { { "job", "glm" }, { "job", "dssm" }, { "party", "glm" }, { "party", "dssm" }, { "coordinator", "glm" } };

    private static JsonElement Root(string file) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Schemas", $"{file}.schema.json"))).RootElement;

    private static IReadOnlyDictionary<string, string[]> Keys(string file, string kind) => (file, kind) switch
    {
        ("job", "glm") => RunFileKeys.Job,
        ("job", _) => RunFileKeys.Dssm,
        ("coordinator", _) => RunFileKeys.Coordinator,
        (_, "glm") => RunFileKeys.Party,
        _ => RunFileKeys.DssmParty,
    };

    // Every object of a kind's schema with fixed keys, by its path.
    private static IEnumerable<(string Path, JsonElement Object)> Objects(string file, string kind)
    {
        JsonElement root = Root(file);
        return Objects(root, file == "job" ? root.GetProperty("$defs").GetProperty(kind) : root, "", kind);
    }

    private static IEnumerable<(string Path, JsonElement Object)> Objects(JsonElement root, JsonElement schema, string path, string kind)
    {
        // Where several kinds of jobs have a key, their objects stand in the order glm, dssm.
        if (schema.TryGetProperty("anyOf", out JsonElement kinds))
            schema = kinds[kind == "glm" ? 0 : 1];
        if (schema.TryGetProperty("$ref", out JsonElement reference))
            schema = reference.GetString()!.Split('/').Skip(1).Aggregate(root, (at, step) => at.GetProperty(step));
        // A value that may be a word or an object.
        if (schema.TryGetProperty("oneOf", out JsonElement forms))
            foreach (var inner in forms.EnumerateArray().SelectMany(form => Objects(root, form, path, kind)))
                yield return inner;
        if (schema.TryGetProperty("items", out JsonElement items))
            foreach (var inner in Objects(root, items, path + "[]", kind))
                yield return inner;
        if (!schema.TryGetProperty("properties", out JsonElement properties))
            yield break;
        yield return (path, schema);
        foreach (JsonProperty property in properties.EnumerateObject())
            foreach (var inner in Objects(root, property.Value, path.Length > 0 ? $"{path}.{property.Name}" : property.Name, kind))
                yield return inner;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Schema_Keys_AreThoseOfTheReader(string file, string kind)
    {
        var listed = Objects(file, kind).ToDictionary(o => o.Path, o => o.Object.GetProperty("properties").EnumerateObject().Select(p => p.Name).Order(StringComparer.Ordinal).ToArray());
        // One schema serves party files of both kinds, and only some have the keys of serving.
        if (file == "party" && kind == "dssm")
            (listed[""], _) = ([.. listed[""].Where(key => key != "serve")], listed.Remove("serve"));
        Assert.Equal(Keys(file, kind).Keys.Order(StringComparer.Ordinal), listed.Keys.Order(StringComparer.Ordinal));
        foreach ((string path, string[] keys) in Keys(file, kind))
            Assert.Equal(keys.Order(StringComparer.Ordinal), listed[path]);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Schema_Objects_RefuseUnknownKeysAndExplainEachKey(string file, string kind)
    {
        foreach ((string path, JsonElement schema) in Objects(file, kind))
        {
            Assert.False(schema.GetProperty("additionalProperties").GetBoolean(), path);
            foreach (JsonProperty property in schema.GetProperty("properties").EnumerateObject())
                if (property.Name is not ("$schema" or "mod" or "test") && path != "privacy.oneRound" && !property.Value.TryGetProperty("$ref", out _))
                    Assert.True(property.Value.TryGetProperty("description", out _), $"{path}.{property.Name}");
        }
    }

    [Fact]
    public void Schema_Job_ChoosesByTheModelsType()
    {
        JsonElement root = Root("job");
        Assert.Equal("dssm", root.GetProperty("if").GetProperty("properties").GetProperty("model").GetProperty("properties").GetProperty("type").GetProperty("const").GetString());
        Assert.Equal(("#/$defs/dssm", "#/$defs/glm"), (root.GetProperty("then").GetProperty("$ref").GetString(), root.GetProperty("else").GetProperty("$ref").GetString()));
    }

    // A word the schema offers must be one the reader takes: put each into a job where its section is used, and look at what is said of it.
    [Theory]
    [InlineData("glm", 20)]
    [InlineData("dssm", 20)]
    public void Schema_Words_AreThoseOfTheReader(string kind, int least)
    {
        using var folder = new TempFolder();
        int tried = 0;
        foreach ((string path, JsonElement schema) in Objects("job", kind))
            foreach (JsonProperty property in schema.GetProperty("properties").EnumerateObject())
            {
                JsonElement words = default;
                JsonElement forms = property.Value.TryGetProperty("oneOf", out JsonElement several) ? several[0] : property.Value;
                if (path.Contains("[]", StringComparison.Ordinal) || !forms.TryGetProperty("enum", out words))
                    continue;
                foreach (JsonElement word in words.EnumerateArray().Where(w => w.ValueKind == JsonValueKind.String))
                {
                    string section = path.Split('.').Reverse().Aggregate($"{{ \"{property.Name}\": \"{word.GetString()}\" }}", (inner, step) => step.Length > 0 ? $"{{ \"{step}\": {inner} }}" : inner);
                    if (path == "privacy" && property.Name != "mode")
                        section = section.Replace("{ \"privacy\": {", $"{{ \"privacy\": {{ \"mode\": \"{(kind == "glm" ? "hdp-vfl" : "dp")}\", ", StringComparison.Ordinal);
                    if (kind == "dssm" && property.Name != "type")
                        section = path == "model" ? section.Replace("{ \"model\": {", "{ \"model\": { \"type\": \"dssm\", ", StringComparison.Ordinal) : "{ \"model\": { \"type\": \"dssm\" }, " + section[1..];
                    string file = folder.Write("job.json", section);
                    string said = Assert.ThrowsAny<Diagnostics.FedLearnException>(() => RunFile.Load(file)).Message;
                    Assert.DoesNotContain(RunFileErrors.UnknownWord, said, StringComparison.Ordinal);
                    Assert.DoesNotContain(RunFileErrors.NotYet, said, StringComparison.Ordinal);
                    Assert.DoesNotContain(RunFileErrors.WrongType, said, StringComparison.Ordinal);
                    tried++;
                }
            }

        Assert.True(tried > least, $"{tried} words");
    }
}
