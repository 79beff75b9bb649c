using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>What the encrypted modes refuse before a row is touched, and by which id.</summary>
public class EncryptedRulesTests
{
    private static readonly EncryptedRows Data = new(21, "binomial", 40, 4, 3);

    /// <summary>A job in mode he+dp that is admitted.</summary>
    internal static GlmJob Noised(EncryptedRows data, int epochs = 3, int batches = 1, double epsilon = 1, long? seed = null)
    {
        GlmJob job = data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = epochs, BatchesPerEpoch = batches, StepSize = .5, WeightNorm = 1, Seed = 3 });
        return job with
        {
            Model = job.Model with { Intercept = GlmIntercept.Default },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Privacy = new() { Mode = PrivacyMode.HeDp, Budget = new(epsilon, 1e-5), TestNoiseSeed = seed },
        };
    }

    // The arbiter alone draws the noise: one that has a seed left in its file must not meet parties whose claims say that it protects.
    [Fact]
    public void Terms_TestNoiseAtTheArbiterAlone_Differ()
    {
        GlmJob secure = Noised(Data), seeded = Noised(Data, seed: 7);
        Coordination.SessionTerms parties = GlmJobTerms.OfArbiter(secure), arbiter = GlmJobTerms.OfArbiter(seeded);
        Assert.Equal(["privacy"], parties.Sections.Keys.Where(s => !parties.Sections[s].Span.SequenceEqual(arbiter.Sections[s].Span)));
        Assert.True(arbiter.TermsDigest.Span.SequenceEqual(GlmJobTerms.OfArbiter(Noised(Data, seed: 8)).TermsDigest.Span), "the seed itself is nobody else's");
        GlmJob exact = seeded with { Privacy = new() { Mode = PrivacyMode.He, TestNoiseSeed = 7 } };
        Assert.True(GlmJobTerms.OfArbiter(exact).TermsDigest.Span.SequenceEqual(GlmJobTerms.OfArbiter(exact with { Privacy = new() { Mode = PrivacyMode.He } }).TermsDigest.Span));
    }

    [Theory]
    [InlineData(256, false)]
    [InlineData(257, true)]
    public void Parties_MoreThanTheErrorBoundHoldsFor_AreRefused(int parties, bool refused)
    {
        GlmJob job = Noised(Data);
        job = job with { Parties = [job.Parties[0], .. Enumerable.Range(1, parties - 1).Select(p => new GlmPartyOptions { Party = new($"p{p}", Coordination.PartyRole.Passive) })] };
        (InMemoryChannel arbiter, _) = InMemoryChannel.CreatePair(job.Parties[0].Party.Name, "arbiter");
        foreach (Action create in (Action[])[() => _ = new EncryptionArbiter(job, new ReferenceAdditiveScheme()), () => _ = new EncryptedGradients(job, job.Parties[0].Party.Name, new ReferenceAdditiveScheme(), arbiter)])
        {
            if (!refused)
            {
                create();
                continue;
            }

            ConfigurationException error = Assert.Throws<ConfigurationException>(create);
            Assert.Equal((GlmJointErrors.NotEncryptable, "parties"), (error.Id, error.Place));
            Assert.Contains("at most 256", error.Message, StringComparison.Ordinal);
        }
    }

    private static readonly Dictionary<string, (string Id, Func<GlmJob, GlmJob> Change)> Both = new()
    {
        ["poisson"] = (GlmJointErrors.NotEncryptable, job => job with { Model = job.Model with { Family = GlmFamilies.Poisson } }),
        ["multinomial"] = (GlmJointErrors.NotEncryptable, job => job with { Model = job.Model with { Family = GlmFamilies.Multinomial(3) } }),
        ["lbfgs"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { Optimizer = GlmOptimizer.Lbfgs, BatchesPerEpoch = null } }),
        ["accelerated"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { Optimizer = GlmOptimizer.Accelerated, BatchesPerEpoch = null } }),
        ["irls"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { Optimizer = GlmOptimizer.Irls, BatchesPerEpoch = null } }),
        ["classWeights"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { ClassWeights = GlmClassWeights.Balanced } }),
        ["sampleWeightBound"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { SampleWeightBound = 2 } }),
        ["reshuffle"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { Reshuffle = true } }),
        ["fold"] = (GlmJointErrors.NotEncryptable, job => job with { Fold = new(5, 0) }),
        ["alone"] = (GlmJointErrors.NotEncryptable, job => job with { Parties = [job.Parties[0]] }),
        ["arbiterIsAParty"] = (GlmJointErrors.NotEncryptable, job => job with { Privacy = job.Privacy with { He = new() { Arbiter = "P1" } } }),
    };

    private static readonly Dictionary<string, (string Id, Func<GlmJob, GlmJob> Change)> Exact = new()
    {
        ["earlyStopping"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { EarlyStopping = new() } }),
        ["warmStart"] = (GlmJointErrors.NotEncryptable, job => job with { Training = job.Training with { WarmStart = true } }),
        ["inference"] = (GlmJointErrors.NotEncryptable, job => job with { Inference = true }),
    };

    private static readonly Dictionary<string, (string Id, Func<GlmJob, GlmJob> Change)> WithNoise = new()
    {
        ["earlyStopping"] = (GlmErrors.EarlyStoppingNotPrivate, Exact["earlyStopping"].Change),
        ["warmStart"] = (GlmErrors.WarmStartNotPrivate, Exact["warmStart"].Change),
        ["inference"] = (GlmErrors.InferenceNotPrivate, Exact["inference"].Change),
        ["weightNorm"] = (GlmErrors.BoundsMissing, job => job with { Training = job.Training with { WeightNorm = null } }),
        ["rows"] = (GlmErrors.RowsNotBounded, job => job with { Preprocessing = job.Preprocessing! with { Rows = RowBound.None } }),
        ["rowNorm"] = (GlmErrors.RowsNotBounded, job => job with { Preprocessing = job.Preprocessing! with { RowNorm = 2 } }),
        ["freeIntercept"] = (GlmJointErrors.OutsideTheProof, job => job with { Model = job.Model with { Intercept = GlmIntercept.Free } }),
        ["offsetBound"] = (GlmJointErrors.OutsideTheProof, job => job with { Training = job.Training with { OffsetBound = 1 } }),
        ["unitLabel"] = (GlmJointErrors.OutsideTheProof, job => job with { Privacy = job.Privacy with { Unit = PrivacyUnit.Label } }),
        ["charged"] = (GlmJointErrors.OutsideTheProof, job => job with { Privacy = job.Privacy with { Evaluation = EvaluationDisclosure.Charged } }),
        ["partyBudget"] = (GlmJointErrors.OutsideTheProof, job => job with { Parties = [job.Parties[0], job.Parties[1] with { Budget = new(1, 1e-5) }] }),
        ["noBudget"] = (GlmErrors.BudgetMissing, job => job with { Privacy = job.Privacy with { Budget = null } }),
    };

    public static TheoryData<string, string> Refusals =>
        [.. Both.Keys.SelectMany(name => ((string, string)[])[("he", name), ("he+dp", name)]).Concat(Exact.Keys.Select(name => ("he", name))).Concat(WithNoise.Keys.Select(name => ("he+dp", name)))];

    [Theory]
    [MemberData(nameof(Refusals))]
    public void Job_ThatTheModeCannotDo_IsRefusedAtArbiterAndParties(string mode, string name)
    {
        GlmJob job = mode == "he" ? Data.Job(new() { Epochs = 3 }) : Noised(Data);
        _ = new EncryptionArbiter(job, new ReferenceAdditiveScheme()); // as it stands it is admitted
        (string id, Func<GlmJob, GlmJob> change) = Both.TryGetValue(name, out (string, Func<GlmJob, GlmJob>) both) ? both : mode == "he" ? Exact[name] : WithNoise[name];
        GlmPartyInput[] inputs = Data.Inputs();
        foreach (Action act in (Action[])[() => _ = new EncryptionArbiter(change(job), new ReferenceAdditiveScheme()), () => _ = new GlmTrainer(change(job), inputs[0])])
        {
            var error = Assert.ThrowsAny<FedLearnException>(act);
            Assert.Equal(id, error.Id);
            Assert.NotEmpty(error.Remedy);
        }
    }

    [Fact]
    public void Job_WithoutEncryption_HasNoArbiter()
    {
        GlmJob job = Data.Job(new() { Epochs = 3 });
        var error = Assert.Throws<ConfigurationException>(() => new EncryptionArbiter(job with { Privacy = new() }, new ReferenceAdditiveScheme()));
        Assert.Equal(GlmJointErrors.NotEncryptable, error.Id);
    }

    [Theory]
    [InlineData("he", true, false)]
    [InlineData("he+dp", true, false)]
    [InlineData("he+dp", false, true)]
    public void Table_WithWeightsOrOffsets_IsRefused(string mode, bool weights, bool offsets)
    {
        GlmJob job = mode == "he" ? Data.Job(new() { Epochs = 3 }) : Noised(Data);
        double[] ones = [.. Enumerable.Repeat(1.0, 40)];
        FedLearnException error = Assert.ThrowsAny<FedLearnException>(() => new GlmTrainer(job, Data.Inputs(weights: weights ? ones : null, offsets: offsets ? ones : null)[0]));
        Assert.Equal(weights ? (GlmJointErrors.NotEncryptable, "party 'active', data.weight") : (GlmJointErrors.OutsideTheProof, "party 'active', data.offset"), (error.Id, error.Place));
        Assert.Equal((weights, offsets), (error.Cause.Contains("weights", StringComparison.Ordinal), error.Cause.Contains("offsets", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Party_WithoutAScheme_IsAnError()
    {
        var error = await Assert.ThrowsAsync<InternalFailureException>(() => LocalFederation.TrainAsync(Data.Job(new() { Epochs = 1 }), Data.Inputs()));
        Assert.Equal(GlmJointErrors.SchemeMissing, error.Id);
    }

    [Theory]
    [InlineData(40, 4, 3, null, 10)]      // 40 rows, 4 and 3 columns: exactly ten rows a column
    [InlineData(39, 4, 3, "active", 10)]
    [InlineData(40, 3, 5, "p1", 10)]
    [InlineData(40, 5, 5, null, 8)]
    [InlineData(40, 20, 20, null, 0)]
    public async Task Batch_OfTooFewRowsAColumn_IsRefusedAtThatParty(int rows, int activeColumns, int passiveColumns, string? at, int rowsPerColumn)
    {
        var data = new EncryptedRows(22, "binomial", rows, activeColumns, passiveColumns);
        GlmJob job = data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1 }, he: new() { RowsPerColumn = rowsPerColumn });
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await new EncryptedFederation(job, new ReferenceAdditiveScheme()).RunAsync(data.Inputs());
        if (at is null)
        {
            Assert.Empty(errors);
            Assert.Equal(2, results.Length);
            return;
        }

        PrivacyRefusedException error = Assert.IsType<PrivacyRefusedException>(errors[at]);
        Assert.Equal((GlmJointErrors.BatchTooSmall, $"party '{at}', privacy.he.rowsPerColumn"), (error.Id, error.Place));
        Assert.Equal(3, errors.Count);
    }

    // The smallest batch counts: 81 rows in two are 41 and 40.
    [Theory]
    [InlineData(81, 4, false)]
    [InlineData(79, 4, true)]
    public async Task Batch_OfSeveralSizes_IsMeasuredByTheSmallest(int rows, int columns, bool refused)
    {
        var data = new EncryptedRows(23, "binomial", rows, columns, 1);
        GlmJob job = data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1, BatchesPerEpoch = 2 }, he: new());
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await new EncryptedFederation(job, new ReferenceAdditiveScheme()).RunAsync(data.Inputs());
        Assert.Equal(refused, errors.Count > 0);
        Assert.Equal(refused, errors.TryGetValue("active", out Exception? error) && error is PrivacyRefusedException { Id: GlmJointErrors.BatchTooSmall });
    }

    [Theory]
    [InlineData(6, false)]
    [InlineData(5, true)]
    public async Task Rounds_BeyondTheCap_AreRefused(int mostRounds, bool refused)
    {
        GlmJob job = Data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 3, BatchesPerEpoch = 2 }, he: new() { RowsPerColumn = 0, MostRounds = mostRounds });
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await new EncryptedFederation(job, new ReferenceAdditiveScheme()).RunAsync(Data.Inputs());
        Assert.Equal(refused ? 0 : 2, results.Length);
        Assert.Equal(refused, errors.Values.Any(e => e is PrivacyRefusedException { Id: GlmJointErrors.TooManyRounds }));
    }

    [Fact]
    public async Task Noise_NeedsNoHygiene()
    {
        GlmJob job = Noised(new EncryptedRows(24, "binomial", 40, 4, 5), epochs: 3);
        job = job with { Privacy = job.Privacy with { He = new() { RowsPerColumn = 1000, MostRounds = 1 } } };
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await new EncryptedFederation(job, new ReferenceAdditiveScheme()).RunAsync(new EncryptedRows(24, "binomial", 40, 4, 5).Inputs());
        Assert.Empty(errors);
        Assert.Equal(2, results.Length);
    }
}
