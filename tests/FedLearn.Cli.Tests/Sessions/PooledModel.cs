using System.Text.Json.Nodes;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>The model of a job without scaling, put together from the saved parts of all parties: what no party of a real session can do.</summary>
internal sealed class PooledModel
{
    private readonly Dictionary<string, IReadOnlyDictionary<string, string>> _bank, _telco;
    private readonly double _intercept;

    public PooledModel(Scene scene, params string[] directories)
    {
        _bank = scene.Cells("bank.csv").ToDictionary(r => r["id"]);
        _telco = scene.Cells("telco.csv").ToDictionary(r => r["id"]);
        CommonIds = [.. scene.Cells("bank.csv").Select(r => r["id"]).Where(_telco.ContainsKey)];
        var weights = new List<(string, double)>();
        foreach (string file in directories.SelectMany(d => Directory.GetFiles(d)))
        {
            JsonObject part = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
            weights.AddRange(part["features"]!.AsArray().Zip(part["weights"]!.AsArray(), (feature, weight) => ((string)feature!, (double)weight!)));
            _intercept += part["intercepts"]!.AsArray().Sum(i => (double)i!);
        }

        Weights = weights;
    }

    /// <summary>Ids that both have, in the order of the bank's file.</summary>
    public IReadOnlyList<string> CommonIds { get; }

    public IReadOnlyList<(string Column, double Weight)> Weights { get; }

    public double Score(string id) => _intercept + Weights.Sum(w => w.Weight * Cell(id, w.Column));

    public double Label(string id) => Scene.Number(_bank[id]["y"]);

    public double Cell(string id, string column) => Scene.Number((_bank[id].TryGetValue(column, out string? cell) ? cell : _telco[id][column])!);
}
