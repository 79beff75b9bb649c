using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>Saved models and federated prediction.</summary>
public sealed class GlmModelTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static async Task<(VerticalData Data, GlmJob Job, GlmModel[] Models)> TrainedAsync(string family = "poisson", int seed = 1, bool standardise = true)
    {
        var data = VerticalData.Random(seed, family, 40, 2, 3, 1);
        GlmJob job = data.Job(family, new());
        if (standardise)
            job = job with { Preprocessing = null };
        return (data, job, [.. (await LocalFederation.TrainAsync(job, data.Inputs())).Select(r => r.Model)]);
    }

    private ConfigurationException LoadFails(string party)
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => GlmModel.Load(_folder, party));
        Assert.Equal(GlmErrors.BadModelFile, error.Id);
        return error;
    }

    [Fact]
    public async Task Load_Saved_IsTheSameModel()
    {
        (VerticalData data, _, GlmModel[] models) = await TrainedAsync();
        foreach (GlmModel model in models)
        {
            model.Save(_folder);
            var loaded = GlmModel.Load(_folder, model.Party.Name);
            Assert.Equal((model.JobName, model.JobDigest, model.Party, model.Family, model.Intercept, model.WeightsSha256),
                (loaded.JobName, loaded.JobDigest, loaded.Party, loaded.Family, loaded.Intercept, loaded.WeightsSha256));
            Assert.Equal(model.Weights, loaded.Weights);
            Assert.Equal(model.Features.ToJson(), loaded.Features.ToJson());
            Table table = data.Inputs().Single(i => i.Party == model.Party.Name).Table;
            Assert.Equal(model.Score(table, [3, 0, 3]), loaded.Score(table, [3, 0, 3]));
        }

        Assert.Equal(["active.model.json", "p1.model.json", "p2.model.json"], Directory.GetFiles(_folder).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Load_AwkwardWeights_KeepEveryBit()
    {
        var table = Table.FromMatrix(["x"], ["a", "b", "c", "d"], new(1, 4));
        var map = FeatureMap.Fit(table, [0], new() { Scaling = Scaling.None }, constant: false);
        double[] weights = [double.Epsilon, -0.0, 0.1 + 0.2, double.MaxValue];
        new GlmModel("job", new string('a', 64), new("p", PartyRole.Passive), "binomial", map, weights, []).Save(_folder);
        var loaded = GlmModel.Load(_folder, "p");
        Assert.Equal(weights.Select(BitConverter.DoubleToInt64Bits), loaded.Weights.Select(BitConverter.DoubleToInt64Bits));
        Assert.Null(loaded.Intercept);
        Assert.Throws<ArgumentException>(() => new GlmModel("job", "", new("p", PartyRole.Passive), "binomial", map, weights[..3], []));
    }

    [Fact]
    public async Task Load_Tampered_IsRefused()
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        models[0].Save(_folder);
        string path = Path.Combine(_folder, GlmModel.FileName("active")), whole = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);

        string Changed(Action<JsonObject> change)
        {
            JsonObject document = JsonNode.Parse(whole)!.AsObject();
            change(document);
            return document.ToJsonString();
        }

        string[] broken =
        [
            Changed(d => d["weights"]![0] = Math.BitIncrement((double)d["weights"]![0]!)),
            Changed(d => d["intercepts"]![0] = 0.5),
            Changed(d => d["intercepts"] = null),
            Changed(d => d["outputs"] = 2),
            Changed(d => d["weights"]!.AsArray().RemoveAt(0)),
            Changed(d => d["weights"]![0] = "1"),
            Changed(d => d["weightsSha256"] = new string('0', 64)),
            Changed(d => d.Remove("weightsSha256")),
            Changed(d => d["format"] = "fedlearn.glm.model/3"),
            Changed(d => d["jobDigest"] = "not hex"),
            Changed(d => d.Remove("jobDigest")),
            Changed(d => d.Remove("featureMap")),
            .. new[] { "job", "party", "role", "family" }.Select(key => Changed(d => d.Remove(key))),
            Changed(d => d["role"] = "both"),
            whole[..(whole.Length / 2)],
            "",
            "[]",
            "null",
        ];
        foreach (string text in broken)
        {
            await File.WriteAllTextAsync(path, text, TestContext.Current.CancellationToken);
            ConfigurationException error = LoadFails("active");
            Assert.Contains("active.model.json", error.Place, StringComparison.Ordinal);
        }

        await File.WriteAllTextAsync(path, whole, TestContext.Current.CancellationToken);
        Assert.Equal(models[0].WeightsSha256, GlmModel.Load(_folder, "active").WeightsSha256);
    }

    [Fact]
    public void Load_NoFile_SaysSo() => Assert.Contains("no such file", LoadFails("nobody").Cause, StringComparison.Ordinal);

    [Theory]
    [InlineData("gaussian")]
    [InlineData("binomial")]
    [InlineData("poisson")]
    public async Task Predict_AnyRowOrder_EqualsPooledScoresInTheActivePartysOrder(string family)
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync(family, 2, standardise: false);
        PooledGlm pooled = data.Pooled(family, 0);
        pooled.Set(models.SelectMany(m => m.Weights), models[0].Intercept!.Value);
        GlmPartyInput[] inputs = data.Inputs(order: 4, oneSided: 3);
        GlmPrediction prediction = await LocalFederation.PredictAsync(job, inputs, models);

        Assert.Equal(40, prediction.Rows.Count);
        Assert.Equal(prediction.Rows.Order(), prediction.Rows);
        for (int i = 0; i < prediction.Rows.Count; i++)
        {
            string id = inputs[0].Table.Ids[prediction.Rows[i]];
            double[] row = [.. inputs.SelectMany(input => input.Table.Values.Row(input.Table.Ids.ToList().IndexOf(id)).ToArray())];
            Assert.Equal(pooled.Score(row), prediction.Scores[i], 1e-12);
            Assert.Equal(pooled.Mean(pooled.Score(row)), prediction.Means[i], 1e-12 * Math.Max(1, prediction.Means[i]));
        }
    }

    [Fact]
    public async Task Predict_ActivePartyWithoutLabels_Works()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        GlmPartyInput[] inputs = data.Inputs();
        Table labelled = inputs[0].Table;
        inputs[0] = inputs[0] with { Table = Table.FromMatrix(labelled.Ids, labelled.Schema.FeatureNames, labelled.Values) };
        GlmPrediction with = await LocalFederation.PredictAsync(job, data.Inputs(), models), without = await LocalFederation.PredictAsync(job, inputs, models);
        Assert.Equal(with.Scores, without.Scores);
    }

    [Fact]
    public async Task Predict_TrainingRows_GivesTheTrainingMetrics()
    {
        // Scores of prediction are those that the trained model was measured with.
        var data = VerticalData.Random(5, "gaussian", 40, 2, 3);
        GlmJob job = data.Job("gaussian", new());
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
        GlmPrediction prediction = await LocalFederation.PredictAsync(job, data.Inputs(), [.. results.Select(r => r.Model)]);
        double[] labels = data.Inputs()[0].Table.Labels!;
        double error = prediction.Means.Zip(prediction.Rows, (mean, row) => Math.Pow(mean - labels[row], 2)).Average();
        Assert.Equal(results[0].Train!.Rmse!.Value, Math.Sqrt(error), 1e-12);
    }

    [Fact]
    public async Task Predict_PartsOfDifferentTrainings_AreRefused()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        GlmJob other = job with { Training = job.Training with { Seed = 9 } };
        GlmModel[] others = [.. (await LocalFederation.TrainAsync(other, data.Inputs())).Select(r => r.Model)];
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.PredictAsync(job, data.Inputs(), [models[0], others[1], models[2]]));
        Assert.Equal(GlmErrors.OtherModel, error.Id);
    }

    [Fact]
    public async Task Predict_ModelOfAnotherJobPartyOrFamily_IsRefused()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        void Refused(GlmJob asked, int input, GlmModel model) =>
            Assert.Equal(GlmErrors.OtherModel, Assert.Throws<ConfigurationException>(() => new GlmPredictor(asked, data.Inputs()[input], model)).Id);
        Refused(job, 1, models[2]);
        Refused(job with { Name = "other" }, 0, models[0]);
        Refused(job with { Model = job.Model with { Family = GlmFamilies.Gaussian } }, 0, models[0]);
        ConfigurationException missing = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.PredictAsync(job, data.Inputs(), models[..2]));
        Assert.Equal(GlmErrors.BadModelFile, missing.Id);
        ConfigurationException stranger = Assert.Throws<ConfigurationException>(() => new GlmPredictor(job, data.Inputs()[0] with { Party = "stranger" }, models[0]));
        Assert.Equal(GlmErrors.InvalidJob, stranger.Id);
    }

    [Fact]
    public async Task Predict_NoCommonRows_IsRefused()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        GlmPartyInput[] inputs = data.Inputs();
        Table table = inputs[1].Table;
        inputs[1] = inputs[1] with { Table = Table.FromMatrix([.. table.Ids.Select(id => id + "x")], table.Schema.FeatureNames, table.Values) };
        Assert.Equal(GlmErrors.NoCommonRows, (await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.PredictAsync(job, inputs, models))).Id);
    }
}
