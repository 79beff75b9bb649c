using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Dssm;

public class DssmPlanTests
{
    internal static DssmJob Job { get; } = new()
    {
        Name = "streaming",
        Parties =
        [
            new() { Party = new("service", PartyRole.Active) }, new() { Party = new("profile", PartyRole.Passive) }, new() { Party = new("taste", PartyRole.Passive) },
        ],
    };

    internal static DssmJob Private { get; } = Job with { Privacy = new() { Noise = DssmNoise.Both, Budget = new(10, 1e-5), HistoryEvents = 50, MaxSamplesPerUser = 57 } };

    private static DssmJob With(Func<DssmPrivacyOptions, DssmPrivacyOptions> privacy) => Private with { Privacy = privacy(Private.Privacy) };

    public static TheoryData<string, DssmJob> Inconsistent
    {
        get
        {
            var cases = new TheoryData<string, DssmJob>();
            void Add(string name, DssmJob job) => cases.Add(name, job);
            void Model(string name, DssmModelOptions model) => Add(name, Job with { Model = model });
            void Training(string name, DssmTrainingOptions training) => Add(name, Job with { Training = training });
            Add("name", Job with { Name = " " });
            Add("no active party", Job with { Parties = [.. Job.Parties.Skip(1)] });
            Add("two active parties", Job with { Parties = [.. Job.Parties, new() { Party = new("other", PartyRole.Active) }] });
            Add("same name", Job with { Parties = [.. Job.Parties, new() { Party = new("taste", PartyRole.Passive) }] });
            Add("slash", Job with { Parties = [.. Job.Parties, new() { Party = new("a/b", PartyRole.Passive) }] });
            Model("no layers", new() { Layers = [] });
            Model("width 0", new() { Layers = [16, 0] });
            Model("gamma", new() { Gamma = double.NaN });
            Model("negatives", new() { Negatives = 0 });
            Model("view dropout", new() { ViewDropout = 1 });
            Model("dropout", new() { Dropout = -0.1 });
            Model("view weight", new() { ViewWeights = new Dictionary<string, double> { ["taste"] = 0 } });
            Model("view weights without a sum", new() { Fusion = DssmFusion.Late, ViewWeights = new Dictionary<string, double> { ["profile"] = 1e308, ["taste"] = 1e308 } });
            Model("weight of nobody", new() { ViewWeights = new Dictionary<string, double> { ["tastes"] = 1 } });
            Model("weight of a party without a view", new() { ViewWeights = new Dictionary<string, double> { ["service"] = 2 } });
            Model("learned and given", new() { LearnViewWeights = true, ViewWeights = new Dictionary<string, double> { ["taste"] = 1 } });
            Model("unknown fusion", new() { Fusion = (DssmFusion)7 });
            Training("epochs", new() { Epochs = 0 });
            Training("batch", new() { BatchSize = 0 });
            Training("patience", new() { Patience = 0 });
            Training("rate", new() { Optimizer = new() { Rate = 0 } });
            Training("decay", new() { Optimizer = new() { WeightDecay = -1 } });
            Add("clip", With(p => p with { Clip = 0 }));
            Add("parameter clip", With(p => p with { ParameterClip = double.PositiveInfinity }));
            Add("share", With(p => p with { MessageShare = 1 }));
            Add("h", With(p => p with { HistoryEvents = -1 }));
            Add("M", With(p => p with { MaxSamplesPerUser = 0 }));
            Add("noise", With(p => p with { Noise = (DssmNoise)4 }));
            Add("learned weights of one gradient", Private with { Model = new() { LearnViewWeights = true } });
            Add("charged without noise", With(p => p with { Noise = DssmNoise.Gradients, Evaluation = EvaluationDisclosure.Charged }));
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Inconsistent))]
    public void Create_InconsistentJob_IsAConfigurationError(string name, DssmJob job)
    {
        var error = Assert.Throws<ConfigurationException>(() => DssmPlan.Create(job));
        Assert.True(error.Id == DssmPlanErrors.InvalidJob, name);
    }

    public static TheoryData<string, DssmJob> NotCovered
    {
        get
        {
            var cases = new TheoryData<string, DssmJob>();
            foreach (DssmLossKind loss in (DssmLossKind[])[DssmLossKind.InBatch, DssmLossKind.InBatchLogQ])
                cases.Add(DssmPlanErrors.LossNotPrivate, Private with { Model = new() { Loss = loss } });
            foreach (NegativeSource source in Enum.GetValues<NegativeSource>().Where(s => s != NegativeSource.Uniform))
                cases.Add(DssmPlanErrors.NegativesNotPrivate, Private with { Model = new() { NegativeSource = source } });
            cases.Add(DssmPlanErrors.StoppingNotPrivate, Private with { Training = new() { ValidationStop = true } });
            cases.Add(DssmPlanErrors.BudgetMissing, With(p => p with { Budget = null }));
            cases.Add(DssmPlanErrors.OneShotReturnsNothing, With(p => p with { Claim = EmbeddingClaim.OneShot }));
            cases.Add(DssmPlanErrors.OneShotReturnsNothing, With(p => p with { Claim = EmbeddingClaim.OneShot, Noise = DssmNoise.Gradients }));
            cases.Add(EmbeddingErrors.HistoryNotDeclared, With(p => p with { Unit = EmbeddingUnit.Event, HistoryEvents = null }));
            cases.Add(EmbeddingErrors.SamplesNotCapped, With(p => p with { Unit = EmbeddingUnit.User, MaxSamplesPerUser = null }));
            cases.Add(PrivacyErrors.DeltaTooLarge, With(p => p with { Budget = new(1, 0.2) }));
            cases.Add(DssmPlanErrors.NoMaskedSum, Job with { MaskedSum = true, Model = new() { Fusion = DssmFusion.Late } });
            cases.Add(DssmPlanErrors.NoMaskedSum, Job with { MaskedSum = true, Model = new() { Fusion = DssmFusion.Concat } });
            cases.Add(DssmPlanErrors.NoMaskedSum, Job with { MaskedSum = true, Parties = [.. Job.Parties.Take(2)] });
            cases.Add(DssmPlanErrors.NoMaskedSum, Job with { MaskedSum = true, Model = new() { LearnViewWeights = true } });
            cases.Add(DssmPlanErrors.NoMaskedSum, With(p => p with { Claim = EmbeddingClaim.OneShot, Noise = DssmNoise.Embeddings }) with { MaskedSum = true });
            cases.Add(DssmPlanErrors.NoMaskedSum, With(p => p with { Evaluation = EvaluationDisclosure.Charged }) with { MaskedSum = true });
            cases.Add(DssmPlanErrors.MaskedNoiseDiffers, Private with { MaskedSum = true, Parties = [.. Job.Parties.Take(2), Job.Parties[2] with { Budget = new(1, 1e-5) }] });
            cases.Add(DssmPlanErrors.MaskedNoiseDiffers, Private with { MaskedSum = true, Model = new() { ViewWeights = new Dictionary<string, double> { ["taste"] = 1.1 } } });
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(NotCovered))]
    public void Create_NotCovered_IsRefused(string id, DssmJob job) => Assert.Equal(id, Assert.Throws<PrivacyRefusedException>(() => DssmPlan.Create(job)).Id);

    [Fact]
    public void Create_ModeNone_AdmitsWhatIsRefusedWithNoise()
    {
        foreach (DssmLossKind loss in Enum.GetValues<DssmLossKind>())
            foreach (NegativeSource source in Enum.GetValues<NegativeSource>())
                Assert.True(DssmPlan.Create(Job with { Model = new() { Loss = loss, NegativeSource = source }, Training = new() { ValidationStop = true } }).Job.ValidationStop);
        Assert.True(DssmPlan.Create(Job).Job.ValidationStop);
        Assert.False(DssmPlan.Create(Private).Job.ValidationStop);
        // A source of negatives that the loss does not draw is no harm.
        DssmPlan.Create(Private with { Model = new() { Loss = DssmLossKind.Full, NegativeSource = NegativeSource.Popularity } });
    }

    [Fact]
    public void CheckView_StaticView_ProtectsUsersOnlyWhereItNoises()
    {
        DssmPartyOptions view = Job.Parties[1];
        Assert.Equal(EmbeddingErrors.StaticViewHasUsers, Assert.Throws<PrivacyRefusedException>(() => DssmPlan.Create(Private).CheckView(view, true)).Id);
        DssmPlan.Create(Private).CheckView(view, false);
        DssmPlan.Create(With(p => p with { Unit = EmbeddingUnit.User })).CheckView(view, true);
        DssmPlan.Create(With(p => p with { Noise = DssmNoise.Gradients })).CheckView(view, true);
        // One vector a user needs no cap; one a sample does.
        DssmPlan oneShot = DssmPlan.Create(With(p => p with { Noise = DssmNoise.Embeddings, Claim = EmbeddingClaim.OneShot, Unit = EmbeddingUnit.User, MaxSamplesPerUser = null }));
        oneShot.CheckView(view, true);
        Assert.Equal(EmbeddingErrors.SamplesNotCapped, Assert.Throws<PrivacyRefusedException>(() => oneShot.CheckView(view, false)).Id);
    }

    [Theory]
    [InlineData(DssmFusion.Sum, 1)]
    [InlineData(DssmFusion.Late, 2)]
    [InlineData(DssmFusion.Concat, 2)]
    public void Parameters_ActiveParty_ClipsWhatAllViewsGetTogether(DssmFusion fusion, int messages)
    {
        DssmPlan plan = DssmPlan.Create(Private with { Model = new() { Fusion = fusion, Layers = [64, 16] } });
        EmbeddingParameters label = plan.Parameters(plan.ActiveParty, 53, false), view = plan.Parameters(plan.Views[0], 53, false);
        Assert.Equal((16 * messages, messages, 12 * 53 * messages), (label.Width, label.MessagesPerBatch, label.TrainingMessages));
        Assert.Equal((16, 1, 12 * 53), (view.Width, view.MessagesPerBatch, view.TrainingMessages));
        // Independent noises of one shared gradient would cost mu sqrt(V); different gradients of one clip cost mu.
        Assert.Equal(plan.Calibrate(plan.ActiveParty, label).Sigma, plan.Calibrate(plan.Views[0], view).Sigma);
    }

    [Fact]
    public void Groups_Full_CoverAllTrainedParameters()
    {
        DssmPlan plan = DssmPlan.Create(With(p => p with { Claim = EmbeddingClaim.Full, ParameterClip = 0.5 }));
        Assert.Equal([("tower", 0.5, 900L)], plan.ViewGroups(900).Select(g => (g.Name, g.Clip, g.Coordinates)));
        Assert.Equal([("item vectors", 0.5, 1682 * 64L), ("own tower and fusion", 0.5, 77)], plan.ActiveGroups(1682, 77).Select(g => (g.Name, g.Clip, g.Coordinates)));
        Assert.Single(plan.ActiveGroups(1682, 0));
        Assert.Equal(2, plan.Calibrate(plan.ActiveParty, plan.Parameters(plan.ActiveParty, 53, false, plan.ActiveGroups(1682, 77))).GradientNoise.Count);
        DssmPlan own = DssmPlan.Create(Private);
        Assert.Empty(own.ViewGroups(900));
        Assert.Empty(own.ActiveGroups(1682, 77));
    }
}
