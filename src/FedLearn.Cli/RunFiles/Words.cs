using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.RunFiles;

/// <summary>Words that run files, options and reports have for the same values.</summary>
internal static class Words
{
    /// <summary>Of <c>privacy.mode</c>.</summary>
    public static readonly (string Word, PrivacyMode Meaning)[] Modes =
        [("none", PrivacyMode.None), ("hdp-vfl", PrivacyMode.HdpVfl), ("one-round", PrivacyMode.OneRound), ("label-dp", PrivacyMode.LabelDp),
            ("he", PrivacyMode.He), ("he+dp", PrivacyMode.HeDp)];

    /// <summary>Of <c>privacy.calibration</c>.</summary>
    public static readonly (string Word, Calibration Meaning)[] Calibrations = [("tight", Calibration.Tight), ("paper", Calibration.Paper), ("weight-noise", Calibration.WeightNoise)];

    /// <summary>Of <c>privacy.adjacency</c>.</summary>
    public static readonly (string Word, Adjacency Meaning)[] Adjacencies = [("replace-one", Adjacency.ReplaceOne), ("zero-out", Adjacency.ZeroOut)];

    /// <summary>Of <c>privacy.unit</c>.</summary>
    public static readonly (string Word, PrivacyUnit Meaning)[] Units = [("record", PrivacyUnit.Record), ("label", PrivacyUnit.Label)];

    /// <summary>Of <c>privacy.he.scheme</c>.</summary>
    public static readonly (string Word, HeScheme Meaning)[] Schemes =
        [("ckks", HeScheme.Ckks), ("paillier", HeScheme.Paillier), ("paillier-fate", HeScheme.PaillierFate), ("paillier-textbook", HeScheme.PaillierTextbook)];

    /// <summary>Of <c>privacy.he.engine</c>.</summary>
    public static readonly (string Word, SealEngine Meaning)[] Engines = [("auto", SealEngine.Auto), ("node", SealEngine.Node), ("native", SealEngine.Native)];

    /// <summary>Of <c>model.loss</c> of a recommendation job.</summary>
    public static readonly (string Word, DssmLossKind Meaning)[] Losses =
        [("sampled", DssmLossKind.Sampled), ("in-batch", DssmLossKind.InBatch), ("in-batch-logq", DssmLossKind.InBatchLogQ), ("full", DssmLossKind.Full)];

    /// <summary>Of a party's <c>role</c>, of those that have data.</summary>
    public static readonly (string Word, PartyRole Meaning)[] Roles = [("active", PartyRole.Active), ("passive", PartyRole.Passive)];

    /// <summary>The word for a mode.</summary>
    public static string Of(PrivacyMode mode) => WordOf(Modes, mode);

    /// <summary>The word for a calibration.</summary>
    public static string Of(Calibration calibration) => WordOf(Calibrations, calibration);

    /// <summary>The word for an adjacency.</summary>
    public static string Of(Adjacency adjacency) => WordOf(Adjacencies, adjacency);

    /// <summary>The word for a unit.</summary>
    public static string Of(PrivacyUnit unit) => WordOf(Units, unit);

    /// <summary>The word for an engine.</summary>
    public static string Of(SealEngine engine) => WordOf(Engines, engine);

    /// <summary>The word for a loss.</summary>
    public static string Of(DssmLossKind loss) => WordOf(Losses, loss);

    /// <summary>The word for the role of a party that has data.</summary>
    public static string Of(PartyRole role) => WordOf(Roles, role);

    private static string WordOf<T>((string Word, T Meaning)[] words, T meaning) where T : struct, Enum => Array.Find(words, word => EqualityComparer<T>.Default.Equals(word.Meaning, meaning)).Word;
}
