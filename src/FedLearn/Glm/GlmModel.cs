using System.Collections.ObjectModel;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Passive parties' scores on the scale of the label, such as counts, that enter the linear predictor as log(max(center + slope sum, least)).</summary>
/// <param name="Center">What a sum of 0 stands for.</param>
/// <param name="Least">What the result is held above, before its logarithm. Above 0.</param>
public sealed record GlmPeerLink(double Center, double Least)
{
    /// <summary>What a sum is multiplied with. The active party's own choice, at least 0; at 0 the scores do not enter.</summary>
    /// <value>Default 1.</value>
    public double Slope { get; init; } = 1;

    /// <summary>Turns sums of scores into their part of the linear predictor, in place.</summary>
    internal void Apply(Span<double> sums)
    {
        foreach (ref double sum in sums)
            sum = Math.Log(Math.Max(Center + (Slope * sum), Least));
    }
}

/// <summary>One party's part of a GLM: its own weights and the way its columns become features. Private to the party.</summary>
public sealed class GlmModel
{
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
        if (weights.Count != (long)outputs * features.FeatureNames.Count || (intercepts.Count != 0 && intercepts.Count != outputs))
            throw new ArgumentException($"{features.FeatureNames.Count} features and {outputs} scores do not go with {weights.Count} weights and {intercepts.Count} intercepts.", nameof(weights));
        (JobName, JobDigest, Party, Family, Features, Weights, Intercepts, Outputs, PeerLink) =
            (jobName, jobDigest, party, family, features, weights, intercepts, outputs, peerLink);
    }

    /// <summary>Job that trained it.</summary>
    public string JobName { get; }

    /// <summary>Digest of that job, hex.</summary>
    public string JobDigest { get; }

    /// <summary>Id of the training that wrote it, the same in the parts of all of its parties: that of the session in which the run began, however often it was cut off. No two trainings
    /// have the same one, of one job neither. Null where it is not known, as in earlier files; such a part goes only with parts without it.</summary>
    public string? TrainingId { get; init; }

    /// <summary>Party it belongs to.</summary>
    public PartyDescription Party { get; }

    /// <summary>Parties of the training with their roles, this one included, in the job's order; empty where they are not known, as in earlier files.</summary>
    public IReadOnlyList<PartyDescription> Parties { get; init; } = [];

    /// <summary>Name of the family.</summary>
    public string Family { get; }

    /// <summary>Link of the family, such as <c>log</c>; null when it is not known.</summary>
    public string? Link { get; init; }

    /// <summary>Parameters of the family, such as the power of Tweedie; empty for a family without.</summary>
    public IReadOnlyDictionary<string, double> FamilyParameters { get; init; } = ReadOnlyDictionary<string, double>.Empty;

    /// <summary>SHA-256, hex, of the schema of the table it was trained on (<see cref="TableSchema.Fingerprint"/>); null when it is not known.</summary>
    public string? SchemaFingerprint { get; init; }

    /// <summary>Version of FedLearn that trained it, such as 0.1.0.</summary>
    public string SoftwareVersion { get; init; } = typeof(GlmModel).Assembly.GetName().Version!.ToString(3);

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

    /// <summary>Privacy mode of the training; null where it is not known, as in earlier files.</summary>
    public PrivacyMode? Mode { get; init; }

    /// <summary>What the training let passive parties send of scores of its model, then and later; null where it is not known, as in earlier files. Without effect in mode none.</summary>
    public EvaluationDisclosure? Evaluation { get; init; }

    /// <summary>Standard errors of the weights; null unless the job asked for them and its columns allow them.</summary>
    public GlmInference? Inference { get; init; }

    /// <summary>SHA-256, hex, of the weights as float64 little-endian, the free intercepts last.</summary>
    public string WeightsSha256 => Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<double>([.. Weights, .. Intercepts])));

    /// <summary>What parts of one training have in common, and of no others: 32 bytes.</summary>
    internal byte[] TrainingDigest() => TrainingId is null ? Convert.FromHexString(JobDigest) : SHA256.HashData(Encoding.UTF8.GetBytes($"{TrainingId} {JobDigest}"));

    internal GlmModel With(GlmInference? inference) => inference is null ? this
        : new GlmModel(JobName, JobDigest, Party, Family, Features, Weights, Intercepts, Outputs, PeerLink)
        {
            TrainingId = TrainingId,
            Parties = Parties,
            SoftwareVersion = SoftwareVersion,
            Link = Link,
            FamilyParameters = FamilyParameters,
            SchemaFingerprint = SchemaFingerprint,
            UsesOffsets = UsesOffsets,
            Mode = Mode,
            Evaluation = Evaluation,
            Inference = inference,
        };

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
        GlmTargets.CheckExposures(table, Family, Link, $"{table.Place}, data.exposure");
        for (int i = 0; i < rows.Length; i++)
            scores[i] += offsets[rows[i]];
        return scores;
    }

    /// <summary>File name of a party's part inside a model directory.</summary>
    /// <param name="party">Name of the party.</param>
    public static string FileName(string party) => party + ".model.json";

    /// <summary>Whether a table's schema is the one the model was trained with: the same fields, types, ranges and order. For information only: what a table
    /// needs in order to be scored is columns of the same names. True where the model does not know its schema.</summary>
    /// <param name="table">A table to score.</param>
    public bool HasSchemaOf(Table table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return SchemaFingerprint is null || SchemaFingerprint == Convert.ToHexStringLower(table.Schema.Fingerprint().Span);
    }

    /// <summary>Checks that a table has the columns of the model, by name and in any order.</summary>
    /// <param name="table">A table to score.</param>
    /// <exception cref="BadInputException">FL3021: columns are missing or are not the model's; it names them.</exception>
    public void CheckColumns(Table table)
    {
        ArgumentNullException.ThrowIfNull(table);
        Features.CheckColumns(table);
    }

    /// <summary>Writes the part to DIR/PARTY.model.json, whole or not at all. Nobody but its owner may read it.</summary>
    /// <param name="directory">Directory; made when missing.</param>
    /// <remarks>The file ends with a SHA-256 of all of its content, the digest of the job included, so that <see cref="Load"/> finds any change. That is a checksum, not
    /// the signature of somebody: whoever may write the file can also write another one.</remarks>
    /// <exception cref="IOException">The file or its directory cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">They may not be written.</exception>
    public void Save(string directory)
    {
        DurableFile.CreateFolder(directory);
        DurableFile.Replace(Path.Combine(directory, FileName(Party.Name)), GlmModelFile.Write(this), ownerOnly: true);
    }

    /// <summary>Reads a part.</summary>
    /// <param name="directory">Model directory.</param>
    /// <param name="party">Name of the party.</param>
    /// <exception cref="ConfigurationException">FL2401: the file is missing, is no model that this release reads, or was changed. FL2402: it is another party's.</exception>
    public static GlmModel Load(string directory, string party)
    {
        string path = Path.Combine(directory, FileName(party));
        try
        {
            GlmModel model = GlmModelFile.Read(File.ReadAllBytes(path), path);
            return model.Party.Name == party ? model : throw new ConfigurationException(GlmErrors.OtherModel, path,
                $"this is the part of party '{model.Party.Name}', not of '{party}'.", "Leave the files under the names that training gave them.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or ArgumentException)
        {
            string why = e switch
            {
                FormatException => e.Message,
                FileNotFoundException or DirectoryNotFoundException => "there is no such file",
                _ => "it cannot be read",
            };
            throw new ConfigurationException(GlmErrors.BadModelFile, path, $"this is no usable model of party '{party}': {why}.",
                "Give the directory that training wrote with --model DIR, with its files as they were written; or train again.", e);
        }
    }
}
