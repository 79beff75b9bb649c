using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>A tower as a model keeps it.</summary>
/// <param name="Spec">What it is.</param>
/// <param name="State">Its parameters, as its kind of tower saves them.</param>
public sealed record SavedTower(TowerSpec Spec, byte[] State);

/// <summary>What the terms of a training say of what may leave a party after it. Each party's part of the model keeps them, so that another run file does not lift them.</summary>
/// <param name="IsPrivate">Whether anything was noised: mode dp.</param>
/// <param name="Claim">What was promised; null in mode none.</param>
/// <param name="Evaluation">What was sent to evaluate the model; null in mode none.</param>
/// <param name="MaskedSum">Whether views were added under masks.</param>
/// <param name="SampleTime">How precisely samples' times were named.</param>
public sealed record DssmReleaseTerms(bool IsPrivate, EmbeddingClaim? Claim, EvaluationDisclosure? Evaluation, bool MaskedSum, SampleTime SampleTime)
{
    /// <summary>Those of a job.</summary>
    internal static DssmReleaseTerms Of(DssmJob job) => new(job.Privacy.IsPrivate, job.Privacy.IsPrivate ? job.Privacy.Claim : null, job.Privacy.IsPrivate ? job.Privacy.Evaluation : null, job.MaskedSum, job.SampleTime);

    /// <summary>Names, as in a run file, of the keys in which they differ from others.</summary>
    internal IEnumerable<string> Others(DssmReleaseTerms others) => new (string Key, bool Same)[]
    {
        ("privacy.mode", IsPrivate == others.IsPrivate),
        ("privacy.claim", Claim == others.Claim || IsPrivate != others.IsPrivate),
        ("privacy.evaluation", Evaluation == others.Evaluation || IsPrivate != others.IsPrivate),
        ("maskedSum", MaskedSum == others.MaskedSum),
        ("sampleTime", SampleTime == others.SampleTime),
    }.Where(key => !key.Same).Select(key => key.Key);
}

/// <summary>One party's part of a recommendation model. Private to the party.</summary>
public sealed record DssmModel
{
    /// <summary>What the names of the format's versions begin with.</summary>
    internal const string FormatFamily = "fedlearn.dssm.model/";

    private const string FormatName = FormatFamily + "1";

    private static readonly JsonSerializerOptions Json = new()
    {
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false) },
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
    };

    /// <summary>Job that trained it.</summary>
    public required string JobName { get; init; }

    /// <summary>Digest of that job, hex.</summary>
    public required string JobDigest { get; init; }

    /// <summary>Version of the model: the session that trained it, the same at all parties. Parts of two versions do not go together.</summary>
    public required string Version { get; init; }

    /// <summary>Party it belongs to.</summary>
    public required PartyDescription Party { get; init; }

    /// <summary>Names of the views in the order of the job; the active party's own one, if any, is its name.</summary>
    public required IReadOnlyList<string> Views { get; init; }

    /// <summary>Model options of the job.</summary>
    public required DssmModelOptions Options { get; init; }

    /// <summary>What the training's terms let leave; null in files of earlier releases, which only the run file speaks for.</summary>
    public DssmReleaseTerms? Released { get; init; }

    /// <summary>SHA-256, hex, of the schemas of the party's tables: how cells become features. Null: it brought none.</summary>
    public string? SchemaSha256 { get; init; }

    /// <summary>SHA-256, hex, of users and items of the training events; active party of a job without noise only.</summary>
    public string? EventsSha256 { get; init; }

    /// <summary>Ids of the items in the order in which the fusion's biases stand; active party only. Empty in files of earlier releases.</summary>
    public IReadOnlyList<string> ItemIds { get; init; } = [];

    /// <summary>Tower of the party's own view; null at an active party without one.</summary>
    public SavedTower? View { get; init; }

    /// <summary>Tower of the items; active party only.</summary>
    public SavedTower? Items { get; init; }

    /// <summary>Parameters of the fusion, in the order of <see cref="FusionParameters"/>; active party only.</summary>
    public IReadOnlyList<double> Fusion { get; init; } = [];

    /// <summary>Towers on vectors that views sent once, by view; active party of a job with the claim one-shot only.</summary>
    public IReadOnlyDictionary<string, SavedTower> Received { get; init; } = new Dictionary<string, SavedTower>();

    /// <summary>Version of FedLearn that trained it.</summary>
    public string SoftwareVersion { get; init; } = typeof(DssmModel).Assembly.GetName().Version!.ToString(3);

    /// <summary>SHA-256, hex, of everything that was trained at this party.</summary>
    [JsonIgnore]
    public string WeightsSha256
    {
        get
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (SavedTower tower in new[] { View, Items }.OfType<SavedTower>().Concat(Received.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => r.Value)))
                hash.AppendData(tower.State);
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<double>([.. Fusion]));
            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
    }

    // Checks what a file with the right form and checksum can still leave out or make impossible. Whether a tower can be made, its implementation says.
    private bool IsWhole => Party.Name.Length > 0 && Party.Role is PartyRole.Active or PartyRole.Passive && JobName.Length > 0
        && Views.Count > 0 && Views.All(view => !string.IsNullOrEmpty(view)) && Views.Distinct(StringComparer.Ordinal).Count() == Views.Count
        && Options.Layers.Count > 0 && Options.Layers.All(width => width > 0) && double.IsFinite(Options.Gamma) && Options.ViewWeights.Values.All(double.IsFinite)
        && ItemIds.All(id => !string.IsNullOrEmpty(id)) && ItemIds.Distinct(StringComparer.Ordinal).Count() == ItemIds.Count
        && Fusion.All(double.IsFinite) && Received.Values.Concat(new[] { View, Items }.OfType<SavedTower>())
            .All(tower => tower is not null && tower.Spec.Inputs is { DenseWidth: >= 0 } inputs && inputs.Bags.All(bag => bag is { Buckets: > 0 }) && tower.Spec.Layers.Count > 0 && tower.Spec.Layers.All(width => width > 0));

    // JSON has numbers beyond float64, which are read as infinities.
    private static bool AreFinite(JsonNode? node) => node switch
    {
        JsonObject json => json.All(member => AreFinite(member.Value)),
        JsonArray array => array.All(AreFinite),
        JsonValue value when value.GetValueKind() == JsonValueKind.Number => value.TryGetValue(out double number) && double.IsFinite(number),
        _ => true,
    };

    /// <summary>Names, as in a run file, of the keys in which a job differs from what the model was trained with.</summary>
    internal IEnumerable<string> OtherOptions(DssmJob job)
    {
        JsonObject own = JsonSerializer.SerializeToNode(Options, Json)!.AsObject(), others = JsonSerializer.SerializeToNode(job.Model, Json)!.AsObject();
        return own.Where(option => !JsonNode.DeepEquals(option.Value, others[option.Key])).Select(option => $"model.{JsonNamingPolicy.CamelCase.ConvertName(option.Key)}")
            .Concat(Released?.Others(DssmReleaseTerms.Of(job)) ?? []);
    }

    /// <summary>Writes the part to a file: JSON with a checksum over its content. It appears whole or not at all. Nobody but its owner may read it.</summary>
    /// <param name="path">File; its folder exists.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public void Save(string path)
    {
        var document = new JsonObject { ["format"] = FormatName };
        foreach ((string name, JsonNode? value) in JsonSerializer.SerializeToNode(this, Json)!.AsObject().ToArray())
            document[JsonNamingPolicy.CamelCase.ConvertName(name)] = value?.DeepClone();
        document["weightsSha256"] = WeightsSha256;
        DurableFile.Replace(path, SignedJson.Of(document), ownerOnly: true);
    }

    /// <summary>Reads a part.</summary>
    /// <param name="path">File.</param>
    /// <exception cref="ConfigurationException">FL2486: the file cannot be read, or is no whole part of this release's format.</exception>
    public static DssmModel Load(string path)
    {
        try
        {
            byte[] file = File.ReadAllBytes(path);
            var document = JsonNode.Parse(file, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject ?? throw new FormatException("it is no JSON object");
            if ((string?)document["format"] != FormatName)
                throw new FormatException($"its format is not {FormatName}");
            if (!SignedJson.IsWhole(document, file))
                throw new FormatException("its content does not match its signature");
            var parts = new JsonObject();
            foreach ((string name, JsonNode? value) in document.ToArray())
                parts[name.Length > 0 ? char.ToUpperInvariant(name[0]) + name[1..] : ""] = value?.DeepClone();
            DssmModel model = parts.Deserialize<DssmModel>(Json)!;
            if (!model.IsWhole || !AreFinite(parts))
                throw new FormatException("its parts do not go together");
            return (string?)document["weightsSha256"] == model.WeightsSha256 ? model : throw new FormatException("its weights do not match their checksum");
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new ConfigurationException(DssmErrors.BadModelFile, path, e is FormatException ? e.Message + "." : "it cannot be read as a model file.",
                "Name a file that `train --model` of this release wrote.", e);
        }
    }
}
