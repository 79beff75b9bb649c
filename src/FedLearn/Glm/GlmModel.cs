using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Glm;

/// <summary>Passive parties' scores on the scale of the label, such as counts, that enter the linear predictor as log(max(center + sum, least)).</summary>
/// <param name="Center">Public centre of the label.</param>
/// <param name="Least">What the mean is held above, before its logarithm. Above 0.</param>
public sealed record GlmPeerLink(double Center, double Least)
{
    /// <summary>Turns sums of scores into their part of the linear predictor, in place.</summary>
    internal void Apply(Span<double> sums)
    {
        foreach (ref double sum in sums)
            sum = Math.Log(Math.Max(Center + sum, Least));
    }
}

/// <summary>One party's part of a GLM: its own weights and the way its columns become features. Private to the party.</summary>
public sealed class GlmModel
{
    private const string Format = "fedlearn.glm.model/2";

    /// <summary>Creates a part.</summary>
    /// <param name="jobName">Job that trained it.</param>
    /// <param name="jobDigest">Digest of that job, hex.</param>
    /// <param name="party">Party it belongs to.</param>
    /// <param name="family">Name of the family.</param>
    /// <param name="features">Map from the party's columns to its features.</param>
    /// <param name="weights">One weight a feature, in the order of <see cref="FeatureMap.FeatureNames"/>, for score 0, then for score 1, and so on.</param>
    /// <param name="intercepts">One free intercept a score; empty at parties without.</param>
    /// <param name="outputs">Scores of a row: 1, or one a class.</param>
    /// <param name="peerLink">How the passive parties' scores enter a prediction; null for adding them.</param>
    /// <exception cref="ArgumentException">There is not one weight a feature and score, or neither no nor one intercept a score.</exception>
    public GlmModel(string jobName, string jobDigest, PartyDescription party, string family, FeatureMap features,
        IReadOnlyList<double> weights, IReadOnlyList<double> intercepts, int outputs = 1, GlmPeerLink? peerLink = null)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(intercepts);
        ArgumentOutOfRangeException.ThrowIfLessThan(outputs, 1);
        if (weights.Count != outputs * features.FeatureNames.Count || (intercepts.Count != 0 && intercepts.Count != outputs))
            throw new ArgumentException($"{features.FeatureNames.Count} features and {outputs} scores do not go with {weights.Count} weights and {intercepts.Count} intercepts.", nameof(weights));
        (JobName, JobDigest, Party, Family, Features, Weights, Intercepts, Outputs, PeerLink) =
            (jobName, jobDigest, party, family, features, weights, intercepts, outputs, peerLink);
    }

    /// <summary>Job that trained it.</summary>
    public string JobName { get; }

    /// <summary>Digest of that job, hex.</summary>
    public string JobDigest { get; }

    /// <summary>Party it belongs to.</summary>
    public PartyDescription Party { get; }

    /// <summary>Name of the family.</summary>
    public string Family { get; }

    /// <summary>Map from the party's columns to its features.</summary>
    public FeatureMap Features { get; }

    /// <summary>Scores of a row: 1, or one a class.</summary>
    public int Outputs { get; }

    /// <summary>One weight a feature for score 0, then for score 1, and so on.</summary>
    public IReadOnlyList<double> Weights { get; }

    /// <summary>Free intercepts, one a score; empty at parties without.</summary>
    public IReadOnlyList<double> Intercepts { get; }

    /// <summary>Free intercept of a model of one score; null at parties without one.</summary>
    public double? Intercept => Intercepts.Count == 1 ? Intercepts[0] : null;

    /// <summary>Active party: whether the model was trained with offsets, so that rows to score need them.</summary>
    public bool UsesOffsets { get; init; }

    /// <summary>Active party: how the passive parties' scores enter a prediction; null for adding them.</summary>
    public GlmPeerLink? PeerLink { get; }

    /// <summary>Standard errors of the weights; null unless the job asked for them.</summary>
    public GlmInference? Inference { get; init; }

    /// <summary>SHA-256, hex, of the weights as float64 little-endian, the free intercepts last.</summary>
    public string WeightsSha256 => Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<double>([.. Weights, .. Intercepts])));

    /// <summary>This party's scores of rows of a table.</summary>
    /// <param name="table">Table with the columns the model was trained on.</param>
    /// <param name="rows">Rows to score.</param>
    /// <returns>x.w plus the free intercept and the row's offset: score m of row i at m n + i.</returns>
    /// <exception cref="FedLearnException">The table's columns differ, or it lacks offsets (FL3106).</exception>
    public double[] Score(Table table, ReadOnlySpan<int> rows)
    {
        ArgumentNullException.ThrowIfNull(table);
        double[] scores = new double[Outputs * rows.Length];
        var part = new LinearPart(Features.TransformRows(table, rows), Intercepts.Count > 0, Outputs);
        part.Scores(0, [.. Weights, .. Intercepts], scores);
        if (!UsesOffsets)
            return scores;
        double[] offsets = table.Offsets ?? throw new BadInputException(GlmErrors.OffsetMissing, table.Place, "the model was trained with offsets, and the table has none.",
            "Name the column as data.offset or data.exposure.");
        for (int i = 0; i < rows.Length; i++)
            scores[i] += offsets[rows[i]];
        return scores;
    }

    /// <summary>File name of a party's part inside a model directory.</summary>
    /// <param name="party">Name of the party.</param>
    public static string FileName(string party) => party + ".model.json";

    /// <summary>Writes the part to DIR/PARTY.model.json, whole or not at all.</summary>
    /// <param name="directory">Directory; made when missing.</param>
    public void Save(string directory)
    {
        Directory.CreateDirectory(directory);
        var document = new JsonObject
        {
            ["format"] = Format,
            ["job"] = JobName,
            ["jobDigest"] = JobDigest,
            ["party"] = Party.Name,
            ["role"] = Party.Role == PartyRole.Active ? "active" : "passive",
            ["family"] = Family,
            ["features"] = new JsonArray([.. Features.FeatureNames.Select(n => (JsonNode)n)]),
            ["weights"] = new JsonArray([.. Weights.Select(w => (JsonNode)w)]),
            ["intercepts"] = new JsonArray([.. Intercepts.Select(w => (JsonNode)w)]),
            ["outputs"] = Outputs,
            ["usesOffsets"] = UsesOffsets,
            ["peerLink"] = PeerLink is { } link ? new JsonObject { ["center"] = link.Center, ["least"] = link.Least } : null,
            ["weightsSha256"] = WeightsSha256,
            ["featureMap"] = JsonNode.Parse(Features.ToJson()),
        };
        string path = Path.Combine(directory, FileName(Party.Name)), partial = path + ".partial";
        try
        {
            File.WriteAllText(partial, document.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Reads a part.</summary>
    /// <param name="directory">Model directory.</param>
    /// <param name="party">Name of the party.</param>
    /// <exception cref="ConfigurationException">FL2401: the file is missing or is no such model.</exception>
    public static GlmModel Load(string directory, string party)
    {
        string path = Path.Combine(directory, FileName(party));
        try
        {
            JsonObject document = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            string Text(string key) => (string?)document[key] ?? throw new FormatException($"it has no {key}");
            if (Text("format") != Format)
                throw new FormatException($"its format is not {Format}");
            PartyRole role = Text("role") switch
            {
                "active" => PartyRole.Active,
                "passive" => PartyRole.Passive,
                _ => throw new FormatException("its role is neither active nor passive"),
            };
            var model = new GlmModel(Text("job"), Text("jobDigest"), new PartyDescription(Text("party"), role), Text("family"),
                FeatureMap.FromJson(document["featureMap"]!.ToJsonString(), path), [.. document["weights"]!.AsArray().Select(w => (double)w!)], [.. document["intercepts"]!.AsArray().Select(w => (double)w!)],
                (int)document["outputs"]!, document["peerLink"] is JsonObject link ? new GlmPeerLink((double)link["center"]!, (double)link["least"]!) : null) { UsesOffsets = (bool)document["usesOffsets"]! };
            if (model.JobDigest.Length != 2 * SHA256.HashSizeInBytes || !model.JobDigest.All(char.IsAsciiHexDigitLower))
                throw new FormatException("its jobDigest is no SHA-256");
            if (Text("weightsSha256") != model.WeightsSha256)
                throw new FormatException("its weights do not match their checksum");
            return model;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or FormatException or InvalidOperationException
            or NullReferenceException or ArgumentException)
        {
            string why = e is FormatException ? e.Message : e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file" : "it cannot be read";
            throw new ConfigurationException(GlmErrors.BadModelFile, path, $"this is no usable model of party '{party}': {why}.",
                "Train with --model DIR first, and give the same directory here.", e);
        }
    }
}
