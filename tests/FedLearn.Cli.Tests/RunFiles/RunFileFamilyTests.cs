using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Cli.Tests.RunFiles;

/// <summary>The keys of run files about families, penalties and the weights of rows.</summary>
public sealed class RunFileFamilyTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private GlmRunFile Load(string model, string training = "{}", string privacy = "{}", string data = "{}")
    {
        JsonNode bank = JsonNode.Parse(data)!;
        bank["path"] = "guest.csv";
        return GlmRunFile.Load(_folder.Write("job.json", $$"""
            {
              "model": {{model}}, "training": {{training}}, "privacy": {{privacy}},
              "parties": [ { "name": "bank", "role": "active", "data": {{bank.ToJsonString()}} }, { "name": "telco", "role": "passive", "data": { "path": "host.csv" } } ],
              "alignment": "hashed"
            }
            """));
    }

    private const string Hdp = """{ "mode": "hdp-vfl", "epsilon": 1, "delta": 1e-5 }""";

    private const string Bounded = """ "epochs": 1, "stepSize": 0.1, "weightNorm": 1, "residualClip": 1 """;

    private static void Refused<T>(string id, string key, Action load) where T : FedLearnException
    {
        T error = Assert.Throws<T>(load);
        Assert.Equal(id, error.Id);
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
    }

    /// <summary>What else such a family would need is no way out: the family is told of first.</summary>
    [Theory]
    [InlineData("poisson")]
    [InlineData("tweedie")]
    [InlineData("multinomial")]
    public void Load_FamilyThatCannotBeEncrypted_IsRefusedAsThat(string family)
    {
        foreach (string privacy in (string[])["""{ "mode": "he+dp", "epsilon": 1, "delta": 1e-5 }""", """{ "mode": "he" }"""])
            Refused<ConfigurationException>(GlmJointErrors.NotEncryptable, "model.family",
                () => GlmTraffic.Of(Load($$"""{ "family": "{{family}}" }""", """{ "epochs": 1, "stepSize": 0.1, "weightNorm": 1 }""", privacy).Job, new GlmCostSizes { TrainRows = 9, Columns = [1, 1] }));
    }

    [Fact]
    public void Load_EncryptedGaussianWithoutRange_NeedsIt() =>
        Refused<ConfigurationException>(RunFileErrors.MissingKey, "data.labelRange",
            () => Load("""{ "family": "gaussian" }""", """{ "epochs": 1, "stepSize": 0.1, "weightNorm": 1 }""", """{ "mode": "he+dp", "epsilon": 1, "delta": 1e-5 }"""));

    /// <summary>Where nothing can be clipped, the weights' radius is all that bounds residuals.</summary>
    [Fact]
    public void Load_EncryptedWithNoiseWithoutWeightNorm_NeedsIt() =>
        Refused<ConfigurationException>(RunFileErrors.MissingKey, "training.weightNorm",
            () => Load("""{ "family": "binomial" }""", """{ "epochs": 1, "stepSize": 0.1 }""", """{ "mode": "he+dp", "epsilon": 1, "delta": 1e-5 }"""));

    [Theory]
    [InlineData("gaussian", "identity")]
    [InlineData("binomial", "logit")]
    [InlineData("poisson", "log")]
    [InlineData("gamma", "log")]
    [InlineData("tweedie", "log")]
    [InlineData("multinomial", "softmax")]
    public void Load_EveryFamily_IsItself(string name, string link)
    {
        IGlmFamily family = Load($$"""{ "family": "{{name}}" }""").Job.Model.Family;
        Assert.Equal((name, link), (family.Name, family.Link));
    }

    [Fact]
    public void Load_Power_IsTheTweediePower()
    {
        IGlmFamily Family(string model) => Load(model).Job.Model.Family;
        // The variance at a mean of 2 tells the power.
        Assert.Equal(Math.Pow(2, 1.5), Family("""{ "family": "tweedie" }""").UnitVariance(2), 1e-14);
        Assert.Equal(Math.Pow(2, 1.2), Family("""{ "family": "tweedie", "power": 1.2 }""").UnitVariance(2), 1e-14);
        foreach (string power in new[] { "1", "2", "2.5", "0", "1e999" })
            Refused<ConfigurationException>(RunFileErrors.OutOfRange, "power", () => Load($$"""{ "family": "tweedie", "power": {{power}} }"""));
        Refused<ConfigurationException>(RunFileErrors.WrongType, "power", () => Load("""{ "family": "tweedie", "power": "1.5" }"""));
        Assert.Equal(["model.power"], Load("""{ "family": "gamma", "power": 1.5 }""").Ignored);
    }

    [Fact]
    public void Load_Classes_AreThoseOfAMultinomialModel()
    {
        Assert.Equal(4, Load("""{ "family": "multinomial", "classes": 4 }""").Job.Model.Family.Outputs);
        Assert.Empty(Load("""{ "family": "multinomial", "classes": 4 }""").Ignored);
        Assert.Equal(["model.classes"], Load("""{ "family": "gamma", "classes": 4 }""").Ignored);
        foreach (string classes in new[] { "1", "257", "2.5" })
            Refused<ConfigurationException>(RunFileErrors.OutOfRange, "classes", () => Load($$"""{ "family": "multinomial", "classes": {{classes}} }"""));
        // A private mode must be told.
        Refused<ConfigurationException>(RunFileErrors.MissingKey, "model.classes", () => Load("""{ "family": "multinomial" }""", $$"""{ {{Bounded}} }""", Hdp));
        Assert.Equal(3, Load("""{ "family": "multinomial", "classes": 3 }""", $$"""{ {{Bounded}} }""", Hdp).Job.Model.Family.Outputs);
    }

    [Fact]
    public void Load_Penalties_AreTheElasticNet()
    {
        GlmModelOptions model = Load("""{ "family": "binomial", "l1": 0.02, "l2": 0.03 }""", """{ "optimizer": "sgd" }""").Job.Model;
        Assert.Equal((0.02, 0.03), (model.L1, model.L2));
        Assert.Equal(0, Load("""{ "family": "binomial" }""").Job.Model.L1);
        Refused<ConfigurationException>(RunFileErrors.OutOfRange, "l1", () => Load("""{ "family": "binomial", "l1": -1 }""", """{ "optimizer": "sgd" }"""));
    }

    [Fact]
    public void Load_ClassWeights_AreBalancedOrDeclared()
    {
        GlmClassWeights? Read(string weights) => Load("""{ "family": "binomial" }""", $$"""{ "classWeights": {{weights}} }""").Job.Training.ClassWeights;
        Assert.Same(GlmClassWeights.Balanced, Read("\"balanced\""));
        Assert.Equal([1, 2.5], Assert.IsType<GlmClassWeights.Declared>(Read("[1, 2.5]")).Weights);
        Assert.Null(Load("""{ "family": "binomial" }""").Job.Training.ClassWeights);
        foreach (string illegal in new[] { "[1, -1]", "\"equal\"", "3", "[1, \"2\"]", "[1, 1e999]" })
            Assert.Contains("classWeights", Assert.Throws<ConfigurationException>(() => Read(illegal)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_Bounds_AreThoseOfAPrivateMode()
    {
        GlmTrainingOptions training = Load("""{ "family": "binomial" }""", $$"""{ {{Bounded}}, "sampleWeightBound": 3, "offsetBound": 0.5 }""", Hdp, """{ "weight": "w", "offset": "o" }""").Job.Training;
        Assert.Equal((3, 0.5), (training.SampleWeightBound, training.OffsetBound));
        // Nothing is bounded in mode none.
        GlmRunFile plain = Load("""{ "family": "binomial" }""", """{ "sampleWeightBound": 3, "offsetBound": 0.5 }""");
        Assert.Equal(["training.offsetBound", "training.sampleWeightBound"], plain.Ignored.Order(StringComparer.Ordinal));
        Assert.Equal((null, null), (plain.Job.Training.SampleWeightBound, plain.Job.Training.OffsetBound));
        foreach (string key in new[] { "sampleWeightBound", "offsetBound" })
            Refused<ConfigurationException>(RunFileErrors.OutOfRange, key, () => Load("""{ "family": "binomial" }""", $$"""{ {{Bounded}}, "{{key}}": 0 }""", Hdp));
    }
}
