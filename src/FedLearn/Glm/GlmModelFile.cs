using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The JSON file of one party's part of a model.</summary>
/// <remarks>Signed as <see cref="SignedJson"/> says.</remarks>
internal static class GlmModelFile
{
    private const string FormatName = "fedlearn.glm.model/", Version = "6";

    // Without mode and evaluation; versions 4 and 3 also without the id of the training; version 3 also without the slope of a peer link, which was 1.
    private const string VersionBeforeSlopes = "3", VersionBeforeTrainings = "4", VersionBeforePrivacy = "5";

    /// <summary>The file of a part.</summary>
    public static byte[] Write(GlmModel model) => SignedJson.Of(new JsonObject
    {
        ["format"] = FormatName + Version,
        ["softwareVersion"] = model.SoftwareVersion,
        ["job"] = model.JobName,
        ["jobDigest"] = model.JobDigest,
        ["trainingId"] = model.TrainingId,
        ["party"] = model.Party.Name,
        ["role"] = NameOf(model.Party.Role),
        ["parties"] = new JsonArray([.. model.Parties.Select(p => (JsonNode)new JsonObject { ["name"] = p.Name, ["role"] = NameOf(p.Role) })]),
        ["family"] = new JsonObject
        {
            ["name"] = model.Family,
            ["link"] = model.Link,
            ["parameters"] = new JsonObject(model.FamilyParameters.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
        },
        ["schemaFingerprint"] = model.SchemaFingerprint,
        ["features"] = new JsonArray([.. model.Features.FeatureNames.Select(n => (JsonNode)n)]),
        ["weights"] = new JsonArray([.. model.Weights.Select(w => (JsonNode)w)]),
        ["intercepts"] = new JsonArray([.. model.Intercepts.Select(w => (JsonNode)w)]),
        ["outputs"] = model.Outputs,
        ["usesOffsets"] = model.UsesOffsets,
        ["privacy"] = model is { Mode: { } mode, Evaluation: { } evaluation } ? new JsonObject { ["mode"] = NameOf(mode), ["evaluation"] = NameOf(evaluation) } : null,
        ["peerLink"] = model.PeerLink is { } link ? new JsonObject { ["center"] = link.Center, ["slope"] = link.Slope, ["least"] = link.Least } : null,
        ["weightsSha256"] = model.WeightsSha256,
        // z and p-values follow from these.
        ["inference"] = model.Inference is { } inference ? new JsonObject
        {
            ["dispersion"] = inference.Dispersion,
            ["degreesOfFreedom"] = inference.DegreesOfFreedom,
            ["penalised"] = inference.Penalised,
            ["standardErrors"] = new JsonArray([.. inference.Coefficients.Select(c => (JsonNode)c.StandardError)]),
        } : null,
        ["featureMap"] = JsonNode.Parse(model.Features.ToJson()),
    });

    /// <summary>Reads a part.</summary>
    /// <param name="file">What the file holds; anything.</param>
    /// <param name="place">Named in errors.</param>
    /// <exception cref="FormatException">What is wrong, as the end of a sentence about the file.</exception>
    public static GlmModel Read(byte[] file, string place)
    {
        try
        {
            return Of(JsonNode.Parse(file, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject
                ?? throw new FormatException("it is no JSON object"), file, place);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Nodes are parsed when they are first used: text that is not UTF-8 shows as an InvalidOperationException then.
            throw new FormatException("it is no JSON", e);
        }
        catch (Exception e) when (e is ArgumentException or BadInputException)
        {
            throw new FormatException("its parts do not go together", e);
        }
    }

    private static GlmModel Of(JsonObject document, byte[] file, string place)
    {
        // The format is read first, since what else a file of another release holds is not known here.
        string format = Text(document, "format");
        if (!format.StartsWith(FormatName, StringComparison.Ordinal))
            throw new FormatException($"its format is not {FormatName}{Version}");
        if (format[FormatName.Length..] is var version && version is not (Version or VersionBeforePrivacy or VersionBeforeTrainings or VersionBeforeSlopes))
            throw new FormatException($"it has version {(version.Length <= 9 && version.All(char.IsAsciiDigit) ? version : "?")} of the format, and this release reads versions {VersionBeforeSlopes} to {Version}");
        if (!SignedJson.IsWhole(document, file))
            throw new FormatException("its content does not match its signature");
        var model = new GlmModel(Text(document, "job"), Hex(document, "jobDigest"), new PartyDescription(Text(document, "party"), Role(document)),
            Text(Member(document, "family"), "name"), FeatureMap.FromJson(Member(document, "featureMap").ToJsonString(), place),
            Numbers(document, "weights"), Numbers(document, "intercepts"), Value<int>(document, "outputs"),
            document["peerLink"] is null ? null : PeerLink(Member(document, "peerLink"), version == VersionBeforeSlopes))
        {
            TrainingId = document["trainingId"] is null ? null : Text(document, "trainingId"),
            Parties = Parties(document),
            SoftwareVersion = Text(document, "softwareVersion"),
            Link = Member(document, "family")["link"] is null ? null : Text(Member(document, "family"), "link"),
            FamilyParameters = Member(Member(document, "family"), "parameters").Select(p => p.Key)
                .ToDictionary(key => key, key => Number(Member(Member(document, "family"), "parameters"), key)),
            SchemaFingerprint = document["schemaFingerprint"] is null ? null : Hex(document, "schemaFingerprint"),
            UsesOffsets = Value<bool>(document, "usesOffsets"),
            Mode = document["privacy"] is null ? null : Word<PrivacyMode>(Member(document, "privacy"), "mode", NameOf),
            Evaluation = document["privacy"] is null ? null : Word<EvaluationDisclosure>(Member(document, "privacy"), "evaluation", NameOf),
        };
        if (model.Parties.Count > 0 && !model.Parties.Contains(model.Party))
            throw new FormatException("its party is none of its training's");
        model = model.With(document["inference"] is null ? null : Inference(Member(document, "inference"), model));
        return Text(document, "weightsSha256") == model.WeightsSha256 ? model : throw new FormatException("its weights do not match their checksum");
    }

    private static GlmPeerLink PeerLink(JsonObject saved, bool earlier) =>
        new(Number(saved, "center"), Number(saved, "least")) { Slope = earlier ? 1 : Number(saved, "slope") };

    private static GlmInference Inference(JsonObject saved, GlmModel model)
    {
        double[] weights = [.. model.Weights, .. model.Intercepts], errors = Numbers(saved, "standardErrors");
        if (errors.Length != weights.Length)
            throw Unusable("standardErrors");
        return new GlmInference(Number(saved, "dispersion"), Value<int>(saved, "degreesOfFreedom"), Value<bool>(saved, "penalised"),
            [.. weights.Select((weight, j) => GlmCoefficient.Of(weight, errors[j]))]);
    }

    private static JsonObject Member(JsonObject of, string key) => of[key] as JsonObject ?? throw Unusable(key);

    private static T Value<T>(JsonObject of, string key) => of[key] is JsonValue value && value.TryGetValue(out T? read) ? read : throw Unusable(key);

    private static string Text(JsonObject of, string key) => Value<string>(of, key);

    private static double Number(JsonObject of, string key) => Value<double>(of, key) is var number && double.IsFinite(number) ? number : throw Unusable(key);

    private static double[] Numbers(JsonObject of, string key) => of[key] is JsonArray array
        ? [.. array.Select(item => item is JsonValue value && value.TryGetValue(out double number) && double.IsFinite(number) ? number : throw Unusable(key))]
        : throw Unusable(key);

    private static string Hex(JsonObject of, string key) =>
        Text(of, key) is { Length: 2 * SHA256.HashSizeInBytes } text && text.All(char.IsAsciiHexDigitLower) ? text : throw new FormatException($"its {key} is no SHA-256");

    // Earlier releases wrote no parties.
    private static PartyDescription[] Parties(JsonObject document) => document["parties"] switch
    {
        null => [],
        JsonArray parties => [.. parties.Select(p => p is JsonObject party ? new PartyDescription(Text(party, "name"), Role(party)) : throw Unusable("parties"))],
        _ => throw Unusable("parties"),
    };

    // As run files have them.
    private static string NameOf(PrivacyMode mode) => mode == PrivacyMode.HeDp ? "he+dp" : JsonNamingPolicy.KebabCaseLower.ConvertName(mode.ToString());

    private static string NameOf(EvaluationDisclosure evaluation) => JsonNamingPolicy.KebabCaseLower.ConvertName(evaluation.ToString());

    private static T Word<T>(JsonObject of, string key, Func<T, string> name) where T : struct, Enum
    {
        string text = Text(of, key);
        return Enum.GetValues<T>().Cast<T?>().FirstOrDefault(word => name(word!.Value) == text) ?? throw Unusable(key);
    }

    private static string NameOf(PartyRole role) => role == PartyRole.Active ? "active" : "passive";

    private static PartyRole Role(JsonObject document) => Text(document, "role") switch
    {
        "active" => PartyRole.Active,
        "passive" => PartyRole.Passive,
        _ => throw new FormatException("its role is neither active nor passive"),
    };

    private static FormatException Unusable(string key) => new($"it has no usable {key}");
}
