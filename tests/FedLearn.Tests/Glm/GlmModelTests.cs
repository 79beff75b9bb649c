using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
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
            Assert.Equal((model.JobName, model.JobDigest, model.TrainingId, model.Party, model.Family, model.Link, model.Intercept, model.WeightsSha256, model.SchemaFingerprint, model.SoftwareVersion),
                (loaded.JobName, loaded.JobDigest, loaded.TrainingId, loaded.Party, loaded.Family, loaded.Link, loaded.Intercept, loaded.WeightsSha256, loaded.SchemaFingerprint, loaded.SoftwareVersion));
            Assert.Equal(model.FamilyParameters, loaded.FamilyParameters);
            Assert.Equal(("log", 64), (loaded.Link, loaded.SchemaFingerprint!.Length));
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
    public async Task Load_Changed_IsRefused()
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        models[0].Save(_folder);
        string path = Path.Combine(_folder, GlmModel.FileName("active")), whole = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);
        // Each is refused as it is, by the signature; and those after the first five also with the signature that belongs to them.
        Action<JsonObject>[] changes =
        [
            d => d["job"] = "another",
            d => d["jobDigest"] = new string('0', 64),
            d => d["trainingId"] = "another",
            d => d["featureMap"]!["columns"]![0]!["center"] = 0.25,
            d => d["schemaFingerprint"] = new string('0', 64),
            d => d["weights"]![0] = Math.BitIncrement((double)d["weights"]![0]!),
            d => d["intercepts"]![0] = 0.5,
            d => d["intercepts"] = null,
            d => d["outputs"] = 2,
            d => d["outputs"] = int.MaxValue,
            d => d["weights"]!.AsArray().RemoveAt(0),
            d => d["weights"]![0] = "1",
            d => d["weights"]![0] = JsonNode.Parse("1e999"),
            d => d["weightsSha256"] = new string('0', 64),
            d => d["jobDigest"] = "not hex",
            d => d["trainingId"] = 1,
            d => d["schemaFingerprint"] = "not hex",
            d => d["role"] = "both",
            d => d["parties"] = 3,
            d => d["parties"]!.AsArray().RemoveAt(0),
            d => d["parties"]![1] = "p1",
            d => d["parties"]![1]!.AsObject().Remove("role"),
            d => d["peerLink"] = new JsonObject { ["center"] = 1 },
            d => d["privacy"] = 3,
            d => d["privacy"]!["mode"] = "secret",
            d => d["privacy"]!.AsObject().Remove("evaluation"),
            d => d["featureMap"]!["rowNorm"] = 0,
            d => d["featureMap"]!["columns"]!.AsArray().RemoveAt(0),
            .. new[] { "format", "softwareVersion", "job", "jobDigest", "party", "role", "family", "weights", "intercepts", "outputs", "usesOffsets", "weightsSha256", "featureMap" }
                .Select(key => (Action<JsonObject>)(d => d.Remove(key))),
            .. new[] { "name", "parameters" }.Select(key => (Action<JsonObject>)(d => d["family"]!.AsObject().Remove(key))),
        ];
        for (int i = 0; i < changes.Length; i++)
        {
            JsonObject document = JsonNode.Parse(whole)!.AsObject();
            changes[i](document);
            await File.WriteAllTextAsync(path, document.ToJsonString(), TestContext.Current.CancellationToken);
            ConfigurationException error = LoadFails("active");
            Assert.Contains("active.model.json", error.Place, StringComparison.Ordinal);
            if (i < 5)
                Assert.Contains("signature", error.Cause, StringComparison.Ordinal);
            await File.WriteAllBytesAsync(path, SignedJson.Of(document), TestContext.Current.CancellationToken);
            if (i >= 5)
                Assert.DoesNotContain("signature", LoadFails("active").Cause, StringComparison.Ordinal);
            else
                GlmModel.Load(_folder, "active");
        }

        string duplicate = whole.Replace("\"outputs\"", "\"outputs\": 1,\n  \"outputs\"", StringComparison.Ordinal);
        foreach (string text in (string[])["", "[]", "null", "{}", new string('[', 100_000), duplicate, whole + "{}"])
        {
            await File.WriteAllTextAsync(path, text, TestContext.Current.CancellationToken);
            LoadFails("active");
        }
    }

    [Fact]
    public async Task Load_IndentedInAnotherWay_IsTheSameModel()
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        models[0].Save(_folder);
        string path = Path.Combine(_folder, GlmModel.FileName("active"));
        await File.WriteAllTextAsync(path, JsonNode.Parse(await File.ReadAllBytesAsync(path))!.ToJsonString());
        Assert.Equal(models[0].WeightsSha256, GlmModel.Load(_folder, "active").WeightsSha256);
    }

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    [InlineData("7")]
    public async Task Load_FormatOfAnotherRelease_NamesBothVersions(string version)
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        models[0].Save(_folder);
        string path = Path.Combine(_folder, GlmModel.FileName("active"));
        await File.WriteAllTextAsync(path, (await File.ReadAllTextAsync(path)).Replace("fedlearn.glm.model/6", "fedlearn.glm.model/" + version, StringComparison.Ordinal));
        Assert.Contains($"it has version {version} of the format, and this release reads versions 3 to 6", LoadFails("active").Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_VersionBeforeSlopes_HasSlopeOne()
    {
        var table = Table.FromMatrix(["x"], ["a"], new(1, 1));
        var map = FeatureMap.Fit(table, [0], new() { Scaling = Scaling.None }, constant: false);
        var model = new GlmModel("job", new string('a', 64), new("p", PartyRole.Active), "poisson", map, [.5], [], peerLink: new GlmPeerLink(1.5, .1) { Slope = .25 });
        byte[] written = GlmModelFile.Write(model);
        Assert.Equal(model.PeerLink, GlmModelFile.Read(written, "p").PeerLink);
        JsonObject document = JsonNode.Parse(written)!.AsObject();
        document["format"] = "fedlearn.glm.model/3";
        document["peerLink"]!.AsObject().Remove("slope");
        Assert.Equal(new GlmPeerLink(1.5, .1) { Slope = 1 }, GlmModelFile.Read(SignedJson.Of(document), "p").PeerLink);
        document["format"] = "fedlearn.glm.model/4";
        Assert.Throws<FormatException>(() => GlmModelFile.Read(SignedJson.Of(document), "p"));
    }

    [Theory]
    [InlineData(PrivacyMode.None, EvaluationDisclosure.Disclosed)]
    [InlineData(PrivacyMode.HdpVfl, EvaluationDisclosure.None)]
    [InlineData(PrivacyMode.OneRound, EvaluationDisclosure.Charged)]
    [InlineData(PrivacyMode.LabelDp, EvaluationDisclosure.Disclosed)]
    [InlineData(PrivacyMode.He, EvaluationDisclosure.None)]
    [InlineData(PrivacyMode.HeDp, EvaluationDisclosure.Disclosed)]
    public async Task Load_ModeAndEvaluation_AreThoseOfTheTrainingAndUnknownInEarlierFiles(PrivacyMode mode, EvaluationDisclosure evaluation)
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        Assert.Equal((PrivacyMode.None, EvaluationDisclosure.Disclosed), (models[0].Mode, models[0].Evaluation));
        var map = models[0].Features;
        var model = new GlmModel("job", new string('a', 64), new("p", PartyRole.Active), "poisson", map, new double[map.FeatureNames.Count], []) { Mode = mode, Evaluation = evaluation };
        byte[] written = GlmModelFile.Write(model);
        Assert.Equal((mode, evaluation), (GlmModelFile.Read(written, "p").Mode, GlmModelFile.Read(written, "p").Evaluation));
        JsonObject document = JsonNode.Parse(written)!.AsObject();
        document["format"] = "fedlearn.glm.model/5";
        document.Remove("privacy");
        GlmModel earlier = GlmModelFile.Read(SignedJson.Of(document), "p");
        Assert.Equal((null, null, model.WeightsSha256), (earlier.Mode, earlier.Evaluation, earlier.WeightsSha256));
    }

    /// <summary>Every proper prefix, and every flipped bit, of a file with text beyond ASCII: all of them, so there is no seed.</summary>
    [Fact]
    public void Load_AnyTruncationOrFlippedBit_IsRefusedAndNeverCrashes()
    {
        var table = Table.FromMatrix(["x"], ["Größe", "b\"<&>", "\U0001F600"], new(1, 3));
        var map = FeatureMap.Fit(table, [0], new() { Scaling = Scaling.None, Rows = RowBound.Clip }, constant: true);
        byte[] whole = GlmModelFile.Write(new GlmModel("job", new string('a', 64), new("p", PartyRole.Active), "tweedie", map, [1, -2.5e-7, 3e20, 0], [0.1])
        {
            Link = "log",
            FamilyParameters = new Dictionary<string, double> { ["power"] = 1.5 },
            SchemaFingerprint = Convert.ToHexStringLower(table.Schema.Fingerprint().Span),
        });
        Assert.Equal("p", GlmModelFile.Read(whole, "p").Party.Name);
        // The last byte is a line feed, and a file without it is as good.
        for (int length = 0; length < whole.Length - 1; length++)
            Refused(whole[..length]);
        for (int bit = 0; bit < 8 * (whole.Length - 1); bit++)
        {
            byte[] changed = [.. whole];
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            Refused(changed);
        }

        // GlmModel.Load makes FL2401 of these; a sample goes through it, files and all.
        static void Refused(byte[] file) => Assert.Throws<FormatException>(() => GlmModelFile.Read(file, "p"));
        var random = new Random(4);
        for (int i = 0; i < 100; i++)
        {
            byte[] changed = [.. whole.AsSpan(0, random.Next(1, whole.Length - 1))];
            changed[random.Next(changed.Length)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(Path.Combine(_folder, GlmModel.FileName("p")), changed);
            LoadFails("p");
        }
    }

    /// <summary>Files whose signature is right but whose content is anything: seed 11.</summary>
    [Fact]
    public async Task Load_RandomContentSignedAnew_IsRefusedOrRead()
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        models[0].Save(_folder);
        string path = Path.Combine(_folder, GlmModel.FileName("active"));
        byte[] whole = await File.ReadAllBytesAsync(path);
        var random = new Random(11);
        string[] values = ["null", "true", "-1", "0", "1e400", "2147483648", "1.5", "\"\"", "\"standardize\"", "\"\\u0000\"", "[]", "[null]", "[[1]]", "{}", "{\"a\":{}}"];
        int refused = 0;
        for (int i = 0; i < 2000; i++)
        {
            JsonObject document = JsonNode.Parse(whole)!.AsObject();
            JsonNode at = document;
            for (bool deeper = true; deeper;)
            {
                JsonNode?[] inner = at is JsonObject o ? [.. o.Select(m => m.Value)] : at is JsonArray a ? [.. a] : [];
                if (inner.Length == 0 || (at != document && random.Next(3) == 0) || inner[random.Next(inner.Length)] is not { } next)
                    deeper = false;
                else
                    at = next;
            }

            if (at == document)
                continue;
            at.ReplaceWith(JsonNode.Parse(values[random.Next(values.Length)]));
            await File.WriteAllBytesAsync(path, SignedJson.Of(document));
            try
            {
                GlmModel.Load(_folder, "active");
            }
            catch (ConfigurationException e) when (e.Id is GlmErrors.BadModelFile or GlmErrors.OtherModel)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 500, 2000);
    }

    [Fact]
    public async Task Load_PartOfAnotherParty_IsRefused()
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        models[1].Save(_folder);
        File.Move(Path.Combine(_folder, GlmModel.FileName("p1")), Path.Combine(_folder, GlmModel.FileName("p2")));
        Assert.Equal(GlmErrors.OtherModel, Assert.Throws<ConfigurationException>(() => GlmModel.Load(_folder, "p2")).Id);
    }

    [Fact]
    public async Task Predict_OtherColumns_IsRefusedBeforeAnythingIsSent()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        GlmPartyInput input = data.Inputs()[1];
        Table table = input.Table;
        string[] names = [.. table.Schema.FeatureNames];
        Table Named(params string[] columns) => Table.FromMatrix(table.Ids, columns, table.Values);
        BadInputException error = Assert.Throws<BadInputException>(() => new GlmPredictor(job, input with { Table = Named([.. names[..^1], "other"]) }, models[1]));
        Assert.Equal(DataErrors.DifferentColumns, error.Id);
        Assert.Contains(names[^1], error.Message, StringComparison.Ordinal);

        // Other ranges or another order are another schema, and may be scored.
        var ranged = Table.FromMatrix(table.Ids, names, table.Values, schema: TableSchema.Create([.. names.Select(n => Field.Numeric(n, -9, 9))]));
        Assert.True(models[1].HasSchemaOf(table));
        Assert.False(models[1].HasSchemaOf(ranged));
        _ = new GlmPredictor(job, input with { Table = ranged }, models[1]);
        _ = new GlmPredictor(job, input with { Table = Named([.. names.Reverse()]) }, models[1]);
        Assert.Equal(models[1].Score(table, [0, 1]), models[1].Score(ranged, [0, 1]));
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

    /// <summary>Of two jobs, and of one job that was trained twice.</summary>
    [Theory]
    [InlineData(9)]
    [InlineData(0)]
    public async Task Predict_PartsOfDifferentTrainings_AreRefusedByEveryParty(int seed)
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        GlmJob other = job with { Training = job.Training with { Seed = seed } };
        GlmModel[] others = [.. (await LocalFederation.TrainAsync(other, data.Inputs())).Select(r => r.Model)];
        Assert.Equal(seed == job.Training.Seed, models[0].JobDigest == others[0].JobDigest);
        GlmModel[] mixed = [models[0], others[1], models[2]];
        Assert.Equal(GlmErrors.OtherModel, (await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.PredictAsync(job, data.Inputs(), mixed))).Id);

        GlmPredictor[] parties = [.. mixed.Select((model, i) => new GlmPredictor(job, data.Inputs()[i], model))];
        IReadOnlyList<ConfigurationException> refusals = await LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], new ChannelOptions(),
            (i, agreement, channels, stop) => Assert.ThrowsAsync<ConfigurationException>(() => parties[i].PredictAsync(agreement, channels, stop)), TestContext.Current.CancellationToken);
        Assert.All(refusals, r => Assert.Equal((GlmErrors.OtherModel, true), (r.Id, r.Remedy.Contains("trainingId", StringComparison.Ordinal))));
        Assert.Contains("that of 'p1' ", refusals[0].Cause, StringComparison.Ordinal);
        Assert.Contains("that of 'active', 'p2' ", refusals[1].Cause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_EveryMode_PartsHaveTheIdOfTheirTraining()
    {
        VerticalData data = VerticalData.Random(3, "binomial", 60, 2, 2);
        var rows = new PreprocessingOptions { Scaling = Scaling.None, Rows = RowBound.Clip };
        GlmJob plain = data.Job("binomial", new() { Epochs = 2 });
        GlmJob Noised(PrivacyMode mode) => plain with
        {
            Preprocessing = rows,
            Training = new() { Epochs = 2, WeightNorm = mode == PrivacyMode.HdpVfl ? 1 : null, ResidualClip = mode == PrivacyMode.HdpVfl ? 1 : null },
            Privacy = new() { Mode = mode, Budget = new(5, mode == PrivacyMode.LabelDp ? 0 : 1e-5) },
        };
        GlmJob[] jobs = [plain, plain with { Parties = [plain.Parties[0]] }, Noised(PrivacyMode.HdpVfl), Noised(PrivacyMode.OneRound), Noised(PrivacyMode.LabelDp)];
        var ids = new HashSet<string>();
        foreach (GlmJob job in (GlmJob[])[.. jobs, .. jobs])
        {
            IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs()[..job.Parties.Count]);
            Assert.True(ids.Add(Assert.Single(results.Select(r => r.Model.TrainingId).Distinct())!));
        }
    }

    [Fact]
    public async Task Predict_PartsOfEarlierFiles_GoOnlyWithEachOther()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        GlmModel[] earlier = [.. models.Select(model =>
        {
            JsonObject document = JsonNode.Parse(GlmModelFile.Write(model))!.AsObject();
            Assert.Equal(model.TrainingId, (string?)document["trainingId"]);
            document["format"] = "fedlearn.glm.model/4";
            document.Remove("trainingId");
            return GlmModelFile.Read(SignedJson.Of(document), "p");
        })];
        Assert.All(earlier, model => Assert.Null(model.TrainingId));
        // Written again, they still have none.
        Assert.Null(GlmModelFile.Read(GlmModelFile.Write(earlier[0]), "p").TrainingId);
        GlmPrediction now = await LocalFederation.PredictAsync(job, data.Inputs(), models), then = await LocalFederation.PredictAsync(job, data.Inputs(), earlier);
        Assert.Equal(now.Scores, then.Scores);
        ConfigurationException mixed = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.PredictAsync(job, data.Inputs(), [earlier[0], models[1], models[2]]));
        Assert.Equal(GlmErrors.OtherModel, mixed.Id);
    }

    [Fact]
    public async Task File_ModelWithStandardErrors_IsReadAsItWasWritten()
    {
        (_, _, GlmModel[] models) = await TrainedAsync();
        GlmModel trained = models[0];
        byte[] file = GlmModelFile.Write(new GlmModel(trained.JobName, trained.JobDigest, trained.Party, "tweedie", trained.Features, trained.Weights, trained.Intercepts)
        {
            TrainingId = "a1",
            Parties = trained.Parties,
            SoftwareVersion = "0.0.9",
            Link = "log",
            FamilyParameters = new Dictionary<string, double> { ["power"] = 1.5 },
            SchemaFingerprint = trained.SchemaFingerprint,
            UsesOffsets = true,
            Mode = PrivacyMode.None,
            Evaluation = EvaluationDisclosure.Disclosed,
            Inference = new GlmInference(1.5, 7, true, [.. trained.Weights.Concat(trained.Intercepts).Select(weight => GlmCoefficient.Of(weight, .25))]),
        });
        Assert.Equal(file, GlmModelFile.Write(GlmModelFile.Read(file, "p")));
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
        // Of one name, and with another link or power.
        GlmModel Tweedie(string link, double power) => new(models[0].JobName, models[0].JobDigest, models[0].Party, "tweedie", models[0].Features, models[0].Weights, models[0].Intercepts)
        {
            Link = link,
            FamilyParameters = new Dictionary<string, double> { ["power"] = power },
        };
        GlmJob tweedie = job with { Model = job.Model with { Family = GlmFamilies.Tweedie(1.5) } };
        _ = new GlmPredictor(tweedie, data.Inputs()[0], Tweedie("log", 1.5));
        Refused(tweedie, 0, Tweedie("log", 1.6));
        Refused(tweedie, 0, Tweedie("identity", 1.5));
        ConfigurationException missing = await Assert.ThrowsAsync<ConfigurationException>(() => LocalFederation.PredictAsync(job, data.Inputs(), models[..2]));
        Assert.Equal(GlmErrors.BadModelFile, missing.Id);
        ConfigurationException stranger = Assert.Throws<ConfigurationException>(() => new GlmPredictor(job, data.Inputs()[0] with { Party = "stranger" }, models[0]));
        Assert.Equal(GlmErrors.InvalidJob, stranger.Id);
    }

    [Theory]
    [InlineData("predict")]
    [InlineData("serve")]
    public async Task Join_OtherPartiesThanTheTrainings_NamesThem(string purpose)
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        Assert.All(models, model => Assert.Equal(job.Parties.Select(p => p.Party), model.Parties));
        void Refused(GlmJob asked, int party, string names)
        {
            ConfigurationException error = Assert.Throws<ConfigurationException>(() => GlmPredictor.Join(asked, data.Inputs()[party], models[party], purpose));
            Assert.Equal(GlmErrors.OtherModel, error.Id);
            Assert.Contains(names, error.Cause, StringComparison.Ordinal);
        }

        GlmPartyOptions guest = new() { Party = new("p3", PartyRole.Passive) };
        Refused(job with { Parties = [.. job.Parties.Take(2)] }, 0, "the job lacks 'p2' (passive).");
        Refused(job with { Parties = [.. job.Parties.Take(2)] }, 1, "the job lacks 'p2' (passive).");
        Refused(job with { Parties = [job.Parties[0]] }, 0, "the job lacks 'p1' (passive), 'p2' (passive).");
        Refused(job with { Parties = [.. job.Parties, guest] }, 1, "the training had no 'p3' (passive).");
        Refused(job with { Parties = [.. job.Parties.Take(2), guest] }, 0, "the job lacks 'p2' (passive); the training had no 'p3' (passive).");
        // Their order is the run file's affair.
        GlmPredictor.Join(job with { Parties = [job.Parties[0], job.Parties[2], job.Parties[1]] }, data.Inputs()[1], models[1], purpose);
    }

    /// <summary>Earlier files of this format do not say who trained.</summary>
    [Fact]
    public async Task Load_WithoutParties_IsReadAndScoredUnchecked()
    {
        (VerticalData data, GlmJob job, GlmModel[] models) = await TrainedAsync();
        models[0].Save(_folder);
        string path = Path.Combine(_folder, GlmModel.FileName("active"));
        JsonObject document = JsonNode.Parse(await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken))!.AsObject();
        Assert.Equal(["active", "p1", "p2"], document["parties"]!.AsArray().Select(p => (string)p!["name"]!));
        Assert.Equal(models[0].Parties, GlmModel.Load(_folder, "active").Parties);
        document.Remove("parties");
        await File.WriteAllBytesAsync(path, SignedJson.Of(document), TestContext.Current.CancellationToken);
        var old = GlmModel.Load(_folder, "active");
        Assert.Empty(old.Parties);
        _ = new GlmPredictor(job with { Parties = [.. job.Parties.Take(2)] }, data.Inputs()[0], old);
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
