using System.Reflection;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm;

public class GlmJobTermsTests
{
    private static readonly GlmJob Base = new()
    {
        Name = "credit",
        Model = new() { Family = GlmFamilies.Binomial },
        Training = new() { Epochs = 5, BatchesPerEpoch = 4, WeightNorm = 1, ResidualClip = 1 },
        Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-5) },
        Preprocessing = new() { Scaling = Scaling.Declared, Rows = RowBound.Clip },
        Parties = [new() { Party = new("bank", PartyRole.Active) }, new() { Party = new("telco", PartyRole.Passive) }],
    };

    /// <summary>A change of each field, and the section it is told by; null where it is no part of the agreement.</summary>
    private static readonly Dictionary<string, (string? Section, Func<GlmJob, GlmJob>[] Changes)> Fields = new()
    {
        ["GlmJob.Name"] = ("name", [j => j with { Name = "other" }]),
        ["GlmJob.Alignment"] = ("alignment", [j => j with { Alignment = AlignmentMethod.Psi }]),
        ["GlmJob.AlignmentProof"] = ("alignment", [j => j with { Alignment = AlignmentMethod.Psi, AlignmentProof = true }]),
        ["GlmJob.Split"] = ("evaluation",
        [
            j => j with { Split = new SplitRule.FromFile() },
            j => j with { Split = new SplitRule.ByHash(5, [0]) },
            j => j with { Split = new SplitRule.ByHash(5, [1]) },
            j => j with { Split = new SplitRule.ByHash(6, [0]) },
            j => j with { Split = new SplitRule.ByHash(5, [0, 1]) },
        ]),
        ["GlmJob.Fold"] = ("evaluation", [j => j with { Fold = new(5, 0) }, j => j with { Fold = new(5, 1) }, j => j with { Fold = new(6, 1) }]),
        ["GlmModelOptions.Family"] = ("model",
        [
            j => j with { Model = j.Model with { Family = GlmFamilies.Poisson } },
            j => j with { Model = j.Model with { Family = GlmFamilies.Tweedie(1.4) } },
            j => j with { Model = j.Model with { Family = GlmFamilies.Tweedie(1.6) } },
            j => j with { Model = j.Model with { Family = GlmFamilies.Multinomial(3) } },
            j => j with { Model = j.Model with { Family = GlmFamilies.Multinomial(4) } },
        ]),
        ["GlmModelOptions.L1"] = ("model", [j => j with { Model = j.Model with { L1 = 0.002 } }]),
        ["GlmModelOptions.L2"] = ("model", [j => j with { Model = j.Model with { L2 = 0.002 } }, j => j with { Model = j.Model with { L2 = Math.BitIncrement(0.001) } }]),
        ["GlmModelOptions.Intercept"] = ("model", [j => j with { Model = j.Model with { Intercept = GlmIntercept.Free } }]),
        ["GlmTrainingOptions.Epochs"] = ("training", [j => j with { Training = j.Training with { Epochs = 6 } }, j => j with { Training = j.Training with { Epochs = null } }]),
        ["GlmTrainingOptions.BatchesPerEpoch"] = ("training", [j => j with { Training = j.Training with { BatchesPerEpoch = 5 } }, j => j with { Training = j.Training with { BatchesPerEpoch = null } }]),
        ["GlmTrainingOptions.BatchSize"] = ("training", [j => j with { Training = j.Training with { BatchSize = 4 } }, j => j with { Training = j.Training with { BatchSize = 8 } }]),
        ["GlmTrainingOptions.StepSize"] = ("training", [j => j with { Training = j.Training with { StepSize = 0.2 } }]),
        ["GlmTrainingOptions.WeightNorm"] = ("training", [j => j with { Training = j.Training with { WeightNorm = 2 } }, j => j with { Training = j.Training with { WeightNorm = null } }]),
        ["GlmTrainingOptions.ResidualClip"] = ("training", [j => j with { Training = j.Training with { ResidualClip = 2 } }, j => j with { Training = j.Training with { ResidualClip = null } }]),
        ["GlmTrainingOptions.SampleWeightBound"] = ("training", [j => j with { Training = j.Training with { SampleWeightBound = 2 } }]),
        ["GlmTrainingOptions.OffsetBound"] = ("training", [j => j with { Training = j.Training with { OffsetBound = 2 } }]),
        ["GlmTrainingOptions.ClassWeights"] = ("training",
        [
            j => j with { Training = j.Training with { ClassWeights = GlmClassWeights.Balanced } },
            j => j with { Training = j.Training with { ClassWeights = new GlmClassWeights.Declared([1, 2]) } },
            j => j with { Training = j.Training with { ClassWeights = new GlmClassWeights.Declared([1, 3]) } },
        ]),
        ["GlmTrainingOptions.EarlyStopping"] = ("training",
        [
            j => j with { Training = j.Training with { EarlyStopping = new() } },
            j => j with { Training = j.Training with { EarlyStopping = new() { Metric = EarlyStoppingMetric.Deviance } } },
            j => j with { Training = j.Training with { EarlyStopping = new() { Metric = EarlyStoppingMetric.Deviance, HoldOut = .2 } } },
            j => j with { Training = j.Training with { EarlyStopping = new() { Patience = 6 } } },
            j => j with { Training = j.Training with { EarlyStopping = new() { MinDelta = .01 } } },
        ]),
        ["GlmTrainingOptions.WarmStart"] = ("training", [j => j with { Training = j.Training with { WarmStart = true } }]),
        ["GlmJob.Inference"] = ("evaluation", [j => j with { Inference = true }]),
        ["GlmTrainingOptions.Optimizer"] = ("training", [j => j with { Training = j.Training with { Optimizer = GlmOptimizer.Lbfgs } }]),
        ["GlmTrainingOptions.Seed"] = ("training", [j => j with { Training = j.Training with { Seed = 1 } }, j => j with { Training = j.Training with { Seed = -1 } }]),
        ["GlmTrainingOptions.Reshuffle"] = ("training", [j => j with { Training = j.Training with { Reshuffle = true } }]),
        ["GlmTrainingOptions.MessagePrecision"] = ("training", [j => j with { Training = j.Training with { MessagePrecision = ElementType.Float32 } }]),
        ["GlmTrainingOptions.LatticeBits"] = ("training", [j => j with { Training = j.Training with { LatticeBits = 24 } }]),
        ["GlmTrainingOptions.CheckpointRounds"] = ("training", [j => j with { Training = j.Training with { CheckpointRounds = 0 } }, j => j with { Training = j.Training with { CheckpointRounds = 50 } }]),
        ["GlmPrivacyOptions.Mode"] = ("privacy", [j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.None } }, j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.LabelDp } }]),
        ["GlmPrivacyOptions.Calibration"] = ("privacy", [j => j with { Privacy = j.Privacy with { Calibration = Calibration.Paper } }]),
        ["GlmPrivacyOptions.Budget"] = ("privacy", [j => j with { Privacy = j.Privacy with { Budget = new(2, 1e-5) } }, j => j with { Privacy = j.Privacy with { Budget = new(1, 1e-6) } }, j => j with { Privacy = j.Privacy with { Budget = null } }]),
        ["GlmPrivacyOptions.Adjacency"] = ("privacy", [j => j with { Privacy = j.Privacy with { Adjacency = Adjacency.ZeroOut } }]),
        ["GlmPrivacyOptions.Evaluation"] = ("privacy", [j => j with { Privacy = j.Privacy with { Evaluation = EvaluationDisclosure.None } }]),
        ["GlmPrivacyOptions.Unit"] = ("privacy", [j => j with { Privacy = j.Privacy with { Unit = PrivacyUnit.Label } }]),
        ["GlmPrivacyOptions.Share"] = ("privacy", [j => j with { Privacy = j.Privacy with { Share = 0.6 } }]),
        ["GlmPrivacyOptions.EvaluationShare"] = ("privacy", [j => j with { Privacy = j.Privacy with { EvaluationShare = 0.3 } }]),
        ["GlmOneRoundOptions.ScoreClip"] = ("privacy", [j => j with { Privacy = j.Privacy with { OneRound = new() { ScoreClip = 1 } } }]),
        ["GlmOneRoundOptions.Alpha"] = ("privacy", [j => j with { Privacy = j.Privacy with { OneRound = new() { Alpha = 2 } } }]),
        ["GlmOneRoundOptions.GradientClip"] = ("privacy", [j => j with { Privacy = j.Privacy with { OneRound = new() { GradientClip = 3 } } }]),
        ["GlmOneRoundOptions.LabelRate"] = ("privacy", [j => j with { Privacy = j.Privacy with { OneRound = new() { LabelRate = .3 } } }]),
        ["GlmHeOptions.Scheme"] = ("privacy", [j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.HeDp, He = new() { Scheme = HeScheme.Paillier } } }]),
        ["GlmHeOptions.KeyBits"] = ("privacy", [j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.HeDp, He = new() { Scheme = HeScheme.Paillier, KeyBits = 3072 } } }]),
        ["GlmHeOptions.Arbiter"] = ("privacy", [j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.HeDp, He = new() { Arbiter = "notary" } } }]),
        ["GlmHeOptions.RowsPerColumn"] = ("privacy", [j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.HeDp, He = new() { RowsPerColumn = 20 } } }]),
        ["GlmHeOptions.MostRounds"] = ("privacy", [j => j with { Privacy = j.Privacy with { Mode = PrivacyMode.HeDp, He = new() { MostRounds = 7 } } }]),
        ["GlmPrivacyOptions.TestNoiseSeed"] = (null, [j => j with { Privacy = j.Privacy with { TestNoiseSeed = 1 } }]),
        ["PreprocessingOptions.Scaling"] = ("preprocessing", [j => j with { Preprocessing = j.Preprocessing! with { Scaling = Scaling.Rounded } }]),
        ["PreprocessingOptions.Rows"] = ("preprocessing", [j => j with { Preprocessing = j.Preprocessing! with { Rows = RowBound.Normalize } }]),
        ["PreprocessingOptions.Constant"] = ("preprocessing", [j => j with { Preprocessing = j.Preprocessing! with { Constant = false } }]),
        ["PreprocessingOptions.RowNorm"] = ("preprocessing", [j => j with { Preprocessing = j.Preprocessing! with { RowNorm = 2 } }]),
        ["GlmPartyOptions.Party"] = ("parties",
        [
            j => j with { Parties = [j.Parties[0], new() { Party = new("shop", PartyRole.Passive) }] },
            j => j with { Parties = [.. j.Parties, new() { Party = new("shop", PartyRole.Passive) }] },
            j => j with { Parties = [new() { Party = new("bank", PartyRole.Passive) }, new() { Party = new("telco", PartyRole.Active) }] },
        ]),
        ["GlmPartyOptions.Budget"] = ("privacy", [j => j with { Parties = [j.Parties[0], j.Parties[1] with { Budget = new(2, 1e-5) }] }]),
        ["GlmPartyOptions.LabelRange"] = (null, [j => j with { Parties = [j.Parties[0] with { LabelRange = (0, 1) }, j.Parties[1]] }]),
    };

    /// <summary>Fields that hold other options.</summary>
    private static readonly string[] Holders = ["GlmJob.Model", "GlmJob.Training", "GlmJob.Privacy", "GlmPrivacyOptions.OneRound", "GlmPrivacyOptions.He", "GlmJob.Preprocessing", "GlmJob.Parties"];

    private static string Digest(GlmJob job) => Convert.ToHexString(GlmJobTerms.Of(job).TermsDigest.Span);

    [Fact]
    public void Fields_OfAllOptions_AreInTheTable()
    {
        Type[] types = [typeof(GlmJob), typeof(GlmModelOptions), typeof(GlmTrainingOptions), typeof(GlmPrivacyOptions), typeof(GlmOneRoundOptions), typeof(GlmHeOptions), typeof(GlmPartyOptions), typeof(PreprocessingOptions)];
        IEnumerable<string> fields = types.SelectMany(type => type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Select(p => $"{type.Name}.{p.Name}"));
        Assert.Equal(fields.Except(Holders).Order(), Fields.Keys.Order());
    }

    [Fact]
    public void Digest_AnyFieldChanged_ChangesWithItsSectionAlone()
    {
        SessionTerms terms = GlmJobTerms.Of(Base);
        var seen = new HashSet<string> { Digest(Base) };
        foreach ((string field, (string? section, Func<GlmJob, GlmJob>[] changes)) in Fields)
            foreach (Func<GlmJob, GlmJob> change in changes)
            {
                SessionTerms changed = GlmJobTerms.Of(change(Base));
                string[] different = [.. terms.Sections.Keys.Where(s => !terms.Sections[s].Span.SequenceEqual(changed.Sections[s].Span))];
                if (section is null)
                {
                    Assert.Equal(Digest(Base), Convert.ToHexString(changed.TermsDigest.Span));
                    Assert.Empty(different);
                    continue;
                }

                Assert.True(seen.Add(Convert.ToHexString(changed.TermsDigest.Span)), $"{field} does not change the digest");
                // Other parties have other budgets, and the constant's default depends on the mode; everything else is told by one section.
                Assert.Contains(section, different);
                string also = field switch { "GlmPartyOptions.Party" => "privacy", "GlmPrivacyOptions.Mode" => "preprocessing", _ => section };
                Assert.All(different, s => Assert.True(s == section || s == also, $"{field} changes {s}"));
            }
    }

    /// <summary>In the mode already, so that it is not the mode that changes the digest.</summary>
    [Fact]
    public void Digest_AnyFieldOfTheCryptosystemChanged_Changes()
    {
        GlmJob encrypted = Base with { Privacy = Base.Privacy with { Mode = PrivacyMode.HeDp, He = new() { Scheme = HeScheme.Paillier } } };
        GlmHeOptions he = encrypted.Privacy.He;
        GlmJob With(GlmHeOptions changed) => encrypted with { Privacy = encrypted.Privacy with { He = changed } };
        GlmJob[] jobs =
        [
            encrypted,
            With(he with { Scheme = HeScheme.Ckks }),
            With(he with { KeyBits = 3072 }),
            With(he with { Arbiter = "notary" }),
            With(he with { RowsPerColumn = 20 }),
            With(he with { MostRounds = 7 }),
            encrypted with { Privacy = encrypted.Privacy with { TestNoiseSeed = 1 } },
        ];
        Assert.Equal(typeof(GlmHeOptions).GetProperties(BindingFlags.Public | BindingFlags.Instance).Length + 2, jobs.Select(Digest).Distinct().Count());
        // Which noise is nobody else's affair, whether it protects is.
        Assert.Equal(Digest(jobs[^1]), Digest(encrypted with { Privacy = encrypted.Privacy with { TestNoiseSeed = 2 } }));
    }

    [Fact]
    public void Digest_BudgetOfTheJobOrOfEveryParty_IsTheSame()
    {
        GlmJob each = Base with { Privacy = Base.Privacy with { Budget = null }, Parties = [.. Base.Parties.Select(p => p with { Budget = new(1, 1e-5) })] };
        Assert.Equal(Digest(Base), Digest(each));
    }

    [Fact]
    public void Digest_DefaultsSaidAloud_IsTheSame()
    {
        GlmJob plain = Base with { Privacy = new(), Training = new(), Preprocessing = null };
        GlmJob aloud = plain with { Training = new() { Epochs = 1000, Optimizer = GlmOptimizer.Lbfgs }, Preprocessing = new() { Scaling = Scaling.Standardize, Constant = false } };
        Assert.Equal(Digest(plain), Digest(aloud));
        // What a mode does not use is no part of the agreement.
        Assert.Equal(Digest(plain), Digest(plain with { Privacy = new() { Budget = new(1, 1e-3), Calibration = Calibration.Paper } }));
        Assert.Equal(Digest(Base), Digest(Base with { Preprocessing = null }));
        Assert.Equal(Digest(Base with { Split = new SplitRule.ByHash(5, [3, 1]) }), Digest(Base with { Split = new SplitRule.ByHash(5, [1, 3]) }));
    }

    [Fact]
    public void Terms_OtherPurpose_DoNotMix()
    {
        SessionTerms train = GlmJobTerms.Of(Base), predict = GlmJobTerms.Of(Base, "predict");
        Assert.False(train.TermsDigest.Span.SequenceEqual(predict.TermsDigest.Span));
        Assert.Equal(train.TermsDigest.ToArray(), GlmJobTerms.Of(Base, "train").TermsDigest.ToArray());
    }

    [Fact]
    public void Terms_Parties_TheActiveOneComesFirst()
    {
        GlmJob reversed = Base with { Parties = [Base.Parties[1], Base.Parties[0]] };
        Assert.Equal(["bank", "telco"], GlmJobTerms.Of(reversed).Parties.Select(p => p.Name));
    }
}
