using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Tests.Shared;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Two small organisations in a folder of their own: a bank with the labels and a telephone company, most of whose customers are the bank's.</summary>
/// <remarks>Ids, row orders and a few one-sided customers differ, as in real life. All figures are made up, from a fixed seed.</remarks>
internal sealed class Scene : IDisposable
{
    public const int Common = 240, BankOnly = 5, TelcoOnly = 7;

    private const int SplitModulus = 5;

    private readonly TempFolder _folder = new();

    public Scene()
    {
        var random = new Random(20);
        string Value() => (Math.Round(random.NextDouble() * 2 - 1, 3)).ToString(CultureInfo.InvariantCulture);
        var bank = new List<string>();
        var telco = new List<string>();
        for (int i = 0; i < Common + BankOnly + TelcoOnly; i++)
        {
            // Tests search what the tool says for ids: with the underscore, none is part of a random hexadecimal number by chance.
            string id = $"c_{i:0000}", age = Value(), income = Value(), calls = Value(), debt = Value();
            double score = 1.5 * Number(age) - 2 * Number(calls) + Number(debt);
            int label = random.NextDouble() < 1 / (1 + Math.Exp(-score)) ? 1 : 0;
            if (i < Common + BankOnly)
                bank.Add($"{id},{label},{age},{income}");
            if (i < Common || i >= Common + BankOnly)
                telco.Add($"{id},{calls},{debt}");
        }

        string[] bankRows = [.. bank], telcoRows = [.. telco];
        random.Shuffle(bankRows);
        random.Shuffle(telcoRows);
        Write("bank.csv", ["id,y,age,income", .. bankRows]);
        Write("telco.csv", ["id,calls,debt", .. telcoRows]);
        Write("bank.schema.json", """{ "id": "id", "label": "y", "fields": [{ "name": "age", "type": "numeric", "min": -1, "max": 1 }, { "name": "income", "type": "numeric", "min": -1, "max": 1 }] }""");
        Write("telco.schema.json", """{ "id": "id", "fields": [{ "name": "calls", "type": "numeric", "min": -1, "max": 1 }, { "name": "debt", "type": "numeric", "min": -1, "max": 1 }] }""");
    }

    public string Folder => _folder.Path;

    /// <summary>Every file but those the tests put there themselves, relative to the folder. Ledgers, which outlive the jobs that fail, are in <see cref="Ledgers"/>.</summary>
    public string[] Results => [.. Directory.GetFiles(Folder, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(Folder, f))
        .Where(f => f is not ("bank.csv" or "telco.csv" or "split.csv") && !f.EndsWith(".schema.json", StringComparison.Ordinal)
            && !f.EndsWith("job.json", StringComparison.Ordinal) && !f.EndsWith(".party.json", StringComparison.Ordinal)
            && !f.Contains(".ledger.db", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    /// <summary>Ledgers and what lies beside them.</summary>
    public string[] Ledgers => [.. Directory.GetFiles(Folder, "*.ledger.db*").Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal)];

    public string At(string name) => Path.Combine(Folder, name);

    public string Write(string name, params string[] lines)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(name))!);
        return _folder.Write(name, string.Join('\n', lines) + "\n");
    }

    /// <summary>Replaces one line of a file.</summary>
    public void Edit(string name, int line, Func<string, string> edit)
    {
        string[] lines = File.ReadAllLines(At(name));
        lines[line - 1] = edit(lines[line - 1]);
        File.WriteAllLines(At(name), lines);
    }

    /// <summary>Cells of a table by column name, in file order.</summary>
    public IReadOnlyList<IReadOnlyDictionary<string, string>> Cells(string name)
    {
        string[][] rows = [.. File.ReadLines(At(name)).Select(l => l.Split(','))];
        return [.. rows.Skip(1).Select(r => r.Select((cell, i) => (cell, i)).ToDictionary(c => rows[0][c.i], c => c.cell))];
    }

    /// <summary>A job without privacy, in memory, with defaults everywhere, changed as asked.</summary>
    /// <param name="changes">Paths such as <c>parties.1.data.path</c> and values; null takes a key away.</param>
    public string Job(params (string Path, JsonNode? Value)[] changes) => Named("job.json", changes);

    /// <summary>A job under a name of its own.</summary>
    public string Named(string name, params (string Path, JsonNode? Value)[] changes)
    {
        JsonObject job = JsonNode.Parse($$"""
            {
              "name": "scene",
              "model": { "type": "glm", "family": "binomial", "l2": 0.001, "intercept": true },
              "parties": [
                { "name": "bank", "role": "active", "data": { "path": "bank.csv", "id": "id", "label": "y", "schema": "bank.schema.json" } },
                { "name": "telco", "role": "passive", "data": { "path": "telco.csv", "id": "id", "schema": "telco.schema.json" } }
              ],
              "alignment": "hashed",
              "evaluation": { "split": { "hash": "sha256", "mod": {{SplitModulus}}, "test": [0] } },
              "transport": { "kind": "in-memory" }
            }
            """)!.AsObject();
        return Write(name, Changed(job, changes).ToJsonString());
    }

    /// <summary>The same document with some values changed, as those of <see cref="Job"/>.</summary>
    public static JsonObject Changed(JsonObject document, params (string Path, JsonNode? Value)[] changes)
    {
        foreach ((string path, JsonNode? value) in changes)
            Set(document, path.Split('.'), value?.DeepClone());
        return document;
    }

    /// <summary>The changes that make a job private, with noise from the system.</summary>
    public static (string Path, JsonNode? Value)[] Private(params (string Path, JsonNode? Value)[] changes) =>
    [
        ("training", JsonNode.Parse("""{ "epochs": 2, "batchesPerEpoch": 5, "stepSize": 1, "weightNorm": 1, "residualClip": 1, "seed": 7 }""")),
        ("privacy", JsonNode.Parse("""{ "mode": "hdp-vfl", "calibration": "tight", "epsilon": 1, "delta": 0.001, "adjacency": "replace-one", "evaluation": "disclosed" }""")),
        ("preprocessing", JsonNode.Parse("""{ "scaling": "declared", "rows": "clip", "constant": true }""")),
        .. changes,
    ];

    /// <summary>Projected gradient descent without privacy.</summary>
    public static (string Path, JsonNode? Value)[] Sgd(params (string Path, JsonNode? Value)[] changes) =>
    [
        ("training", JsonNode.Parse("""{ "optimizer": "sgd", "epochs": 3, "batchesPerEpoch": 4, "stepSize": 0.5, "seed": 3 }""")),
        .. changes,
    ];

    /// <summary>A job that would run for many minutes.</summary>
    public static (string Path, JsonNode? Value)[] Endless(params (string Path, JsonNode? Value)[] changes) =>
        Sgd([("training.epochs", 1_000_000), ("training.batchesPerEpoch", 1), .. changes]);

    /// <summary>Party files of a session on this machine, the bank's first.</summary>
    /// <param name="port">Port the bank listens on.</param>
    /// <param name="seconds">Time limits: of a message, and of the others' appearance.</param>
    /// <param name="telcoJob">The telephone company's job file.</param>
    public (string Bank, string Telco) Parties(int port, (double Message, double Connect)? seconds = null, string telcoJob = "job.json")
    {
        (double message, double connect) = seconds ?? (60, 60);
        string limits = string.Create(CultureInfo.InvariantCulture, $"\"timeoutSeconds\": {message}, \"connectTimeoutSeconds\": {connect}");
        return (Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:{{port}}", "peers": { "telco": "127.0.0.1:{{port}}" }, {{limits}} }"""),
            Write("telco.party.json", $$"""{ "job": "{{telcoJob}}", "party": "telco", "peers": { "bank": "http://127.0.0.1:{{port}}" }, {{limits}} }"""));
    }

    /// <summary>A port that nobody listens at.</summary>
    public static int FreePort() => FreePorts.Next();

    public static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    public void Dispose() => _folder.Dispose();

    private static void Set(JsonNode at, string[] path, JsonNode? value)
    {
        foreach (string step in path[..^1])
            at = at is JsonArray array ? array[int.Parse(step, CultureInfo.InvariantCulture)]! : at[step] ??= new JsonObject();
        if (value is null)
            at.AsObject().Remove(path[^1]);
        else if (at is JsonArray all)
            all[int.Parse(path[^1], CultureInfo.InvariantCulture)] = value;
        else
            at[path[^1]] = value;
    }
}
