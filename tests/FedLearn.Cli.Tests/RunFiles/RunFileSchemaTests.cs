using System.Text.Json;
using FedLearn.Cli.RunFiles;

namespace FedLearn.Cli.Tests.RunFiles;

public class RunFileSchemaTests
{
    public static TheoryData<string> Files => ["job", "party"];

    private static JsonElement Schema(string file) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Schemas", $"{file}.schema.json"))).RootElement;

    private static IReadOnlyDictionary<string, string[]> Keys(string file) => file == "job" ? RunFileKeys.Job : RunFileKeys.Party;

    // Every object of the schema with fixed keys, by its path.
    private static IEnumerable<(string Path, JsonElement Object)> Objects(JsonElement schema, string path)
    {
        if (schema.TryGetProperty("items", out JsonElement items))
            foreach (var inner in Objects(items, path + "[]"))
                yield return inner;
        if (!schema.TryGetProperty("properties", out JsonElement properties))
            yield break;
        yield return (path, schema);
        foreach (JsonProperty property in properties.EnumerateObject())
            foreach (var inner in Objects(property.Value, path.Length > 0 ? $"{path}.{property.Name}" : property.Name))
                yield return inner;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Schema_Keys_AreThoseOfTheReader(string file)
    {
        var listed = Objects(Schema(file), "").ToDictionary(o => o.Path, o => o.Object.GetProperty("properties").EnumerateObject().Select(p => p.Name).Order(StringComparer.Ordinal).ToArray());
        Assert.Equal(Keys(file).Keys.Order(StringComparer.Ordinal), listed.Keys.Order(StringComparer.Ordinal));
        foreach ((string path, string[] keys) in Keys(file))
            Assert.Equal(keys.Order(StringComparer.Ordinal), listed[path]);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Schema_Objects_RefuseUnknownKeysAndExplainEachKey(string file)
    {
        foreach ((string path, JsonElement schema) in Objects(Schema(file), ""))
        {
            Assert.False(schema.GetProperty("additionalProperties").GetBoolean(), path);
            foreach (JsonProperty property in schema.GetProperty("properties").EnumerateObject())
                if (property.Name is not ("$schema" or "mod" or "test") && path != "privacy.oneRound")
                    Assert.True(property.Value.TryGetProperty("description", out _), $"{path}.{property.Name}");
        }
    }

    // A word the schema offers must be one the reader takes: put each into a job where its section is used, and look at what is said of it.
    [Fact]
    public void Schema_Words_AreThoseOfTheReader()
    {
        using var folder = new TempFolder();
        int tried = 0;
        foreach ((string path, JsonElement schema) in Objects(Schema("job"), ""))
            foreach (JsonProperty property in schema.GetProperty("properties").EnumerateObject())
            {
                if (path.Contains("[]", StringComparison.Ordinal) || !property.Value.TryGetProperty("enum", out JsonElement words))
                    continue;
                foreach (JsonElement word in words.EnumerateArray().Where(w => w.ValueKind == JsonValueKind.String))
                {
                    string section = path.Split('.').Reverse().Aggregate($"{{ \"{property.Name}\": \"{word.GetString()}\" }}", (inner, step) => step.Length > 0 ? $"{{ \"{step}\": {inner} }}" : inner);
                    string file = folder.Write("job.json", path == "privacy" && property.Name != "mode" ? section.Replace("{ \"privacy\": {", "{ \"privacy\": { \"mode\": \"hdp-vfl\", ", StringComparison.Ordinal) : section);
                    string said = Assert.ThrowsAny<Diagnostics.FedLearnException>(() => RunFile.Load(file)).Message;
                    Assert.DoesNotContain(RunFileErrors.UnknownWord, said, StringComparison.Ordinal);
                    Assert.DoesNotContain(RunFileErrors.NotYet, said, StringComparison.Ordinal);
                    Assert.DoesNotContain(RunFileErrors.WrongType, said, StringComparison.Ordinal);
                    tried++;
                }
            }

        Assert.True(tried > 20, $"{tried} words");
    }
}
