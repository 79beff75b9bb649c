using System.Reflection;
using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Tests.Dssm.Training;

public class DssmJobTermsTests
{
    private static readonly DssmJob Base = new()
    {
        Name = "films",
        Privacy = new() { Noise = DssmNoise.Embeddings, Budget = new(1, 1e-5) },
        Parties = [new() { Party = new("shop", PartyRole.Active) }, new() { Party = new("views", PartyRole.Passive) }],
    };

    /// <summary>Changes of each field, and the section they are told by; null where it is no part of the agreement.</summary>
    private static readonly Dictionary<string, (string? Section, Func<DssmJob, DssmJob>[] Changes)> Fields = new()
    {
        ["DssmJob.Name"] = ("name", [j => j with { Name = "other" }]),
        ["DssmJob.LabelHasView"] = ("training", [j => j with { LabelHasView = true }]),
        ["DssmJob.Alignment"] = ("alignment", [j => j with { Alignment = AlignmentMethod.Psi }]),
        ["DssmJob.AlignmentProof"] = ("alignment", [j => j with { Alignment = AlignmentMethod.Psi, AlignmentProof = true }]),
        ["DssmJob.SampleTime"] = ("training", [j => j with { SampleTime = SampleTime.Day }]),
        ["DssmJob.MaskedSum"] = ("training", [j => j with { MaskedSum = true }]),
        ["DssmModelOptions.Fusion"] = Model(m => m with { Fusion = DssmFusion.Late }, m => m with { Fusion = DssmFusion.Concat }),
        ["DssmModelOptions.Layers"] = Model(m => m with { Layers = [64] }, m => m with { Layers = [64, 128] }),
        ["DssmModelOptions.Activation"] = Model(m => m with { Activation = TowerActivation.Relu }),
        ["DssmModelOptions.LayerNorm"] = Model(m => m with { LayerNorm = true }),
        ["DssmModelOptions.Dropout"] = Model(m => m with { Dropout = .1 }),
        ["DssmModelOptions.Gamma"] = Model(m => m with { Gamma = 11 }),
        ["DssmModelOptions.Loss"] = Model(m => m with { Loss = DssmLossKind.Full }),
        ["DssmModelOptions.Negatives"] = Model(m => m with { Negatives = 5 }),
        ["DssmModelOptions.NegativeSource"] = Model(m => m with { NegativeSource = NegativeSource.Hard }),
        ["DssmModelOptions.ViewDropout"] = Model(m => m with { ViewDropout = .1 }),
        ["DssmModelOptions.LearnViewWeights"] = Model(m => m with { LearnViewWeights = true }),
        ["DssmModelOptions.ViewWeights"] = Model(m => m with { ViewWeights = new Dictionary<string, double> { ["views"] = 2 } }, m => m with { ViewWeights = new Dictionary<string, double> { ["views"] = 3 } }),
        ["DssmModelOptions.ItemBias"] = Model(m => m with { ItemBias = true }),
        ["DssmModelOptions.Precision"] = Model(m => m with { Precision = TowerPrecision.Float64 }),
        ["DssmTrainingOptions.Epochs"] = Training(t => t with { Epochs = 6 }),
        ["DssmTrainingOptions.BatchSize"] = Training(t => t with { BatchSize = 64 }),
        ["DssmTrainingOptions.ValidationStop"] = Training(t => t with { ValidationStop = true }),
        ["DssmTrainingOptions.Patience"] = Training(t => t with { Patience = 6 }),
        ["DssmTrainingOptions.CheckpointRounds"] = Training(t => t with { CheckpointRounds = 0 }),
        ["DssmTrainingOptions.Seed"] = Training(t => t with { Seed = 1 }),
        ["TowerOptimizer.Kind"] = Training(t => t with { Optimizer = t.Optimizer with { Kind = TowerOptimizerKind.Sgd } }),
        ["TowerOptimizer.Rate"] = Training(t => t with { Optimizer = t.Optimizer with { Rate = .1 } }),
        ["TowerOptimizer.WeightDecay"] = Training(t => t with { Optimizer = t.Optimizer with { WeightDecay = .1 } }),
        // Without noise validation stops a training by itself.
        ["DssmPrivacyOptions.Noise"] = Privacy(p => p with { Noise = DssmNoise.Gradients }, p => p with { Noise = DssmNoise.Both }),
        ["DssmPrivacyOptions.Claim"] = Privacy(p => p with { Claim = EmbeddingClaim.Full }),
        ["DssmPrivacyOptions.Budget"] = Privacy(p => p with { Budget = new(2, 1e-5) }, p => p with { Budget = new(1, 1e-6) }, p => p with { Budget = null }),
        ["DssmPrivacyOptions.Unit"] = Privacy(p => p with { Unit = EmbeddingUnit.User }),
        ["DssmPrivacyOptions.Clip"] = Privacy(p => p with { Clip = 2 }),
        ["DssmPrivacyOptions.ParameterClip"] = Privacy(p => p with { ParameterClip = 2 }),
        ["DssmPrivacyOptions.MessageShare"] = Privacy(p => p with { MessageShare = .6 }),
        ["DssmPrivacyOptions.HistoryEvents"] = Privacy(p => p with { HistoryEvents = 7 }),
        ["DssmPrivacyOptions.MaxSamplesPerUser"] = Privacy(p => p with { MaxSamplesPerUser = 7 }),
        ["DssmPrivacyOptions.Evaluation"] = Privacy(p => p with { Evaluation = EvaluationDisclosure.None }),
        ["DssmPrivacyOptions.TestNoiseSeed"] = (null, [j => j with { Privacy = j.Privacy with { TestNoiseSeed = 1 } }]),
        ["DssmPartyOptions.Party"] = ("parties", [j => j with { Parties = [.. j.Parties, new() { Party = new("more", PartyRole.Passive) }] }]),
        ["DssmPartyOptions.Budget"] = ("privacy", [j => j with { Parties = [j.Parties[0], j.Parties[1] with { Budget = new(2, 1e-5) }] }]),
    };

    /// <summary>Fields that hold other options.</summary>
    private static readonly string[] Holders = ["DssmJob.Model", "DssmJob.Training", "DssmJob.Privacy", "DssmJob.Parties", "DssmTrainingOptions.Optimizer", "DssmPrivacyOptions.IsPrivate"];

    private static (string? Section, Func<DssmJob, DssmJob>[] Changes) Model(params Func<DssmModelOptions, DssmModelOptions>[] changes) =>
        ("model", [.. changes.Select(change => (Func<DssmJob, DssmJob>)(j => j with { Model = change(j.Model) }))]);

    private static (string? Section, Func<DssmJob, DssmJob>[] Changes) Training(params Func<DssmTrainingOptions, DssmTrainingOptions>[] changes) =>
        ("training", [.. changes.Select(change => (Func<DssmJob, DssmJob>)(j => j with { Training = change(j.Training) }))]);

    private static (string? Section, Func<DssmJob, DssmJob>[] Changes) Privacy(params Func<DssmPrivacyOptions, DssmPrivacyOptions>[] changes) =>
        ("privacy", [.. changes.Select(change => (Func<DssmJob, DssmJob>)(j => j with { Privacy = change(j.Privacy) }))]);

    private static string Digest(SessionTerms terms) => Convert.ToHexString(terms.TermsDigest.Span);

    [Fact]
    public void Fields_OfAllOptions_AreInTheTable()
    {
        Type[] types = [typeof(DssmJob), typeof(DssmModelOptions), typeof(DssmTrainingOptions), typeof(TowerOptimizer), typeof(DssmPrivacyOptions), typeof(DssmPartyOptions)];
        IEnumerable<string> fields = types.SelectMany(type => type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Select(p => $"{type.Name}.{p.Name}"));
        Assert.Equal(fields.Except(Holders).Order(), Fields.Keys.Order());
    }

    [Fact]
    public void Digest_AnyFieldChanged_ChangesWithItsSectionAlone()
    {
        SessionTerms terms = DssmJobTerms.Of(Base);
        var seen = new HashSet<string> { Digest(terms) };
        foreach ((string field, (string? section, Func<DssmJob, DssmJob>[] changes)) in Fields)
            foreach (Func<DssmJob, DssmJob> change in changes)
            {
                SessionTerms changed = DssmJobTerms.Of(change(Base));
                string[] different = [.. terms.Sections.Keys.Where(s => !terms.Sections[s].Span.SequenceEqual(changed.Sections[s].Span))];
                Assert.True(section is null ? Digest(changed) == Digest(terms) : seen.Add(Digest(changed)), $"{field} and the digest");
                // Other parties have other budgets.
                Assert.All(different, s => Assert.True(s == section || (field, s) == ("DssmPartyOptions.Party", "privacy"), $"{field} changes {s}"));
            }
    }

    [Fact]
    public void Digest_PurposeOrNewUsers_DoNotMix()
    {
        SessionTerms[] all = [DssmJobTerms.Of(Base), DssmJobTerms.Of(Base, "recommend"), DssmJobTerms.Of(Base, "recommend", newUsers: true)];
        Assert.Equal(3, all.Select(Digest).Distinct().Count());
    }
}
