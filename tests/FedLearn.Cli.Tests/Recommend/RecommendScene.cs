using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.Running;
using FedLearn.Testing;

namespace FedLearn.Cli.Tests.Recommend;

/// <summary>A streaming service with 30 users and 20 items, and two companies with a view each: what users are (once), and what they liked before (as of moments).</summary>
/// <remarks>Users of even number like items of even number. All figures are made up, from a fixed seed.</remarks>
internal sealed class RecommendScene : IDisposable
{
    public const int Users = 30, Items = 20, EventsOfUser = 7;

    private readonly TempFolder _folder = new();

    public RecommendScene()
    {
        var random = new Random(5);
        var events = new List<string>();
        var tastes = new List<string>();
        for (int u = 0; u < Users; u++)
        {
            int[] liked = [.. Enumerable.Range(0, Items / 2).Select(i => (2 * i) + (u % 2))];
            random.Shuffle(liked);
            for (int e = 0; e < EventsOfUser; e++)
            {
                // Users u27 to u29 are never trained on.
                string role = u >= 27 ? e < 4 ? "seen" : "cold-user" : e switch { EventsOfUser - 1 => "test", EventsOfUser - 2 => "validation", _ => "train" };
                events.Add(string.Create(CultureInfo.InvariantCulture, $"{User(u)},{1000 + (100 * e) + u},{e},{Item(liked[e])},{role}"));
                tastes.Add(string.Create(CultureInfo.InvariantCulture, $"{User(u)},{1000 + (100 * e) + u},{e},{string.Join(' ', liked.Take(e))}"));
            }

            tastes.Add(string.Create(CultureInfo.InvariantCulture, $"{User(u)},{1000 + (100 * EventsOfUser) + u},{EventsOfUser},{string.Join(' ', liked.Take(EventsOfUser))}"));
        }

        string[] shuffled = [.. events];
        random.Shuffle(shuffled);
        Write("interactions.csv", ["user,time,sequence,item,role", .. shuffled]);
        Write("items.csv", ["item,title,genre", .. Enumerable.Range(0, Items).Select(i => $"{Item(i)},Film number {i},{(i % 2 == 0 ? "even" : "odd")} g{i % 5}")]);
        Write("items.schema.json", """{ "item": "item", "title": "title", "fields": [{ "name": "genre", "type": "hashed", "buckets": 16 }, { "name": "title", "type": "text", "buckets": 64 }] }""");
        // Three users are unknown to the profile company, and one of its own is unknown to the service.
        Write("profile.csv", ["user,age,city", .. Enumerable.Range(3, Users - 2).Select(u => $"{User(u)},{20 + u},{(u % 2 == 0 ? "north" : "south")}")]);
        Write("profile.schema.json", """{ "user": "user", "fields": [{ "name": "age", "type": "bucketed", "edges": [25, 35] }, { "name": "city", "type": "hashed", "buckets": 8 }] }""");
        Write("taste.csv", ["user,time,sequence,history", .. tastes]);
        Write("taste.schema.json", """{ "user": "user", "time": "time", "sequence": "sequence", "fields": [{ "name": "history", "type": "bag", "buckets": 20, "pooling": "mean" }] }""");
    }

    public string Folder => _folder.Path;

    public static string User(int number) => string.Create(CultureInfo.InvariantCulture, $"u{number:00}");

    public static string Item(int number) => string.Create(CultureInfo.InvariantCulture, $"i{number:00}");

    public string At(string name) => Path.Combine(Folder, name);

    public string Write(string name, params string[] lines) => _folder.Write(name, string.Join('\n', lines) + "\n");

    /// <summary>A job without privacy, in memory, changed as asked.</summary>
    /// <param name="changes">Paths such as <c>parties.1.data.view.path</c> and values; null takes a key away.</param>
    public string Job(params (string Path, JsonNode? Value)[] changes) => Named("job.json", changes);

    /// <summary>A job under a name of its own.</summary>
    public string Named(string name, params (string Path, JsonNode? Value)[] changes)
    {
        JsonObject job = JsonNode.Parse("""
            {
              "name": "films",
              "model": { "type": "dssm", "fusion": "sum", "layers": [8, 4], "negatives": 3, "precision": "float64" },
              "training": { "epochs": 3, "batchSize": 16, "stepSize": 0.02, "seed": 7 },
              "privacy": { "mode": "none" },
              "parties": [
                { "name": "service", "role": "active", "data": { "interactions": "interactions.csv", "items": { "path": "items.csv", "schema": "items.schema.json" } } },
                { "name": "profile", "role": "passive", "data": { "view": { "path": "profile.csv", "schema": "profile.schema.json" } } },
                { "name": "taste", "role": "passive", "data": { "view": { "path": "taste.csv", "schema": "taste.schema.json" } } }
              ],
              "alignment": "hashed",
              "transport": { "kind": "in-memory" }
            }
            """)!.AsObject();
        foreach ((string path, JsonNode? value) in changes)
            Set(job, path.Split('.'), value?.DeepClone());
        return Write(name, job.ToJsonString());
    }

    /// <summary>The changes that make a job private.</summary>
    public static (string Path, JsonNode? Value)[] Private(params (string Path, JsonNode? Value)[] changes) =>
    [
        ("privacy", JsonNode.Parse("""{ "mode": "dp", "noise": "gradients", "claim": "own-messages", "epsilon": 5, "delta": 0.001, "testNoiseSeed": 3 }""")),
        .. changes,
    ];

    /// <summary>Runs the tool on towers without a native library.</summary>
    public static async Task<ToolRun> RunAsync(params string[] args)
    {
        TowerFactories.Instead.Value = new ReferenceTowerFactory();
        return await ToolRun.Of(args);
    }

    /// <summary>Runs a verb that succeeds, and reads its document.</summary>
    public static async Task<JsonObject> DocumentAsync(params string[] args)
    {
        ToolRun run = await RunAsync([.. args, "--json"]);
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    public void Dispose() => _folder.Dispose();

    private static void Set(JsonNode at, string[] path, JsonNode? value)
    {
        foreach (string step in path[..^1])
            at = at is JsonArray array ? array[int.Parse(step, CultureInfo.InvariantCulture)]! : at[step] ??= new JsonObject();
        if (value is null)
            at.AsObject().Remove(path[^1]);
        else
            at[path[^1]] = value;
    }
}
