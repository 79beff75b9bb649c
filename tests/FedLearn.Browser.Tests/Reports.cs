using System.Text.Json.Nodes;

namespace FedLearn.Browser.Tests;

/// <summary>Reports made by hand. All figures are made up; the curves are those of scores whose law is known.</summary>
internal static class Reports
{
    /// <summary>A private job between three parties, with every part that a report can have.</summary>
    public static JsonObject Full(string name = "claims, three parties")
    {
        JsonObject report = Plain(name);
        report["tool"]!["runtime"] = ".NET 10.0.1";
        report["tool"]!["os"] = "Debian 12";
        JsonObject metrics = Metrics(0.7431, ("ks", 0.36), ("prAuc", 0.412), ("brier", 0.1513), ("precision", 0.51), ("recall", 0.44), ("f1", 0.4724), ("d2", 0.1532));
        JsonObject train = new(metrics.Select(m => KeyValuePair.Create(m.Key, m.Value is null ? null : (JsonNode)((double)m.Value + 0.0065))));
        report["metrics"] = new JsonObject
        {
            ["train"] = train,
            ["test"] = metrics,
            ["guestOnly"] = new JsonObject { ["train"] = Metrics(0.6611), ["test"] = Metrics(0.6514) },
        };
        report["intervals"] = new JsonObject { ["train"] = Intervals(train), ["test"] = Intervals(metrics) };
        report["evaluation"] = new JsonObject { ["level"] = 0.95, ["resamples"] = 1000, ["seed"] = 7, ["train"] = Curves(0.9, 8000), ["test"] = Curves(0.8, 2000) };
        report["history"] = new JsonArray([.. Enumerable.Range(1, 60).Select(round => (JsonNode)new JsonObject
        {
            ["round"] = round, ["loss"] = 0.45 + 0.25 * Math.Exp(-round / 12.0), ["validation"] = round % 5 == 0 ? 0.47 + 0.24 * Math.Exp(-round / 11.0) : null,
            ["epsilon"] = 0.13 * Math.Sqrt(round), ["seconds"] = 0.02,
        })]);
        JsonArray parties = report["parties"]!.AsArray();
        parties.Add(Party("utility with a rather long name", "passive", 40_100_000, 2_001_000));
        foreach (JsonNode? party in parties)
        {
            bool active = (string)party!["role"]! == "active";
            party["privacy"] = Private((string)party["name"]!);
            party["releases"] = active
                ? new JsonArray(Release("noisy residuals", "noise", 120, 9_800_000, "telco"), Release("noisy residuals", "noise", 120, 9_800_000, "utility with a rather long name"),
                    Release("alignment: common rows", "none", 2, 2_500_000, "telco"))
                : new JsonArray(Release("training scores", "noise", 120, 39_100_000, "bank"), Release("alignment: hashed ids", "none", 1, 1_001_000, "bank"));
        }

        report["tuning"] = new JsonObject
        {
            ["folds"] = 3,
            ["chosen"] = 1,
            ["candidates"] = new JsonArray([.. ((double[])[0.001, 0.01, 0.1]).Select((l2, i) => (JsonNode)new JsonObject
            {
                ["settings"] = new JsonObject { ["model.l2"] = l2, ["training.stepSize"] = 0.5 }, ["metric"] = "auc", ["mean"] = 0.731 + 0.004 * i * (2 - i), ["deviation"] = 0.006,
                ["scores"] = new JsonArray(0.725 + 0.002 * i, 0.731, 0.738),
            })]),
            ["cost"] = new JsonArray([.. parties.Select(p => (JsonNode)new JsonObject { ["party"] = (string)p!["name"]!, ["epsilon"] = 3.1, ["delta"] = 1e-5, ["runs"] = 9 })]),
        };
        report["warnings"] = new JsonArray("the loss grew in round 12");
        report["ignored"] = new JsonArray("training.stepSize");
        return report;
    }

    /// <summary>A job of two parties without privacy, with the parts that every report has and no other.</summary>
    public static JsonObject Plain(string name = "plain") => new()
    {
        ["tool"] = new JsonObject { ["name"] = "fedlearn", ["version"] = "0.1.0" },
        ["job"] = new JsonObject
        {
            ["name"] = name,
            ["digest"] = string.Concat(Enumerable.Repeat("6ca08b5f", 8)),
            ["model"] = "glm",
            ["family"] = "binomial",
            ["l2"] = 0.001,
            ["optimizer"] = "lbfgs",
            ["epochs"] = 60,
            ["stopReason"] = "converged",
            ["transport"] = "grpc",
        },
        ["metrics"] = new JsonObject { ["train"] = Metrics(0.6729), ["test"] = Metrics(0.6669) },
        ["objective"] = 0.4712,
        ["rows"] = new JsonObject { ["train"] = 15206, ["test"] = 3772 },
        ["timing"] = Timing(),
        ["alignment"] = new JsonObject { ["method"] = "hashed", ["commonRows"] = 18978, ["leaks"] = new JsonArray("the active party learns which of its rows each passive party holds") },
        ["parties"] = new JsonArray(Party("bank", "active", 22_100_000, 80_200_000), Party("telco", "passive", 40_100_000, 9_050)),
        ["roles"] = new JsonArray(new JsonObject { ["role"] = "coordinator", ["hostedBy"] = "bank" }),
        ["ignored"] = new JsonArray(),
        ["warnings"] = new JsonArray(),
    };

    /// <summary>A report with the notice first, as the tool writes it.</summary>
    public static JsonObject Noticed(JsonObject report)
    {
        report.Insert(0, "notice", "NOT PRIVATE: test noise");
        return report;
    }

    private static JsonObject Metrics(double auc, params (string Key, double Value)[] more)
    {
        var metrics = new JsonObject { ["auc"] = auc, ["accuracy"] = 0.8014, ["logLoss"] = 0.467, ["rmse"] = null, ["r2"] = null, ["deviance"] = 0.934 };
        foreach ((string key, double value) in more)
            metrics[key] = value;
        return metrics;
    }

    private static JsonObject Intervals(JsonObject metrics) =>
        new(metrics.Select(m => KeyValuePair.Create(m.Key, m.Value is null ? null : (JsonNode)new JsonArray((double)m.Value - 0.012, (double)m.Value + 0.011))));

    // Negative scores uniform, positive ones with density (1 + lean) s^lean: the true positive rate at false positive rate f is 1 - (1 - f)^(1 + lean).
    private static JsonObject Curves(double lean, double rows)
    {
        double[] f = [.. Enumerable.Range(0, 200).Select(i => i / 199.0)], t = [.. f.Select(x => 1 - Math.Pow(1 - x, 1 + lean))], bins = [.. Enumerable.Range(0, 10).Select(i => i / 10.0)];
        const double Positives = 0.2;
        return new()
        {
            ["threshold"] = 0.5,
            ["roc"] = new JsonObject { ["falsePositiveRate"] = Numbers(f), ["truePositiveRate"] = Numbers(t) },
            ["precisionRecall"] = new JsonObject { ["recall"] = Numbers(t.Skip(1)), ["precision"] = Numbers(f.Zip(t).Skip(1).Select(p => Positives * p.Second / (Positives * p.Second + (1 - Positives) * p.First))) },
            ["calibration"] = new JsonObject { ["predicted"] = Numbers(bins.Select(b => 0.05 + 0.5 * b)), ["observed"] = Numbers(bins.Select(b => 0.05 + 0.5 * b + 0.04 * (lean - 0.6) * Math.Sin(20 * lean * b))), ["rows"] = Numbers(bins.Select(_ => rows / 10)) },
            ["lift"] = new JsonObject { ["share"] = Numbers(bins.Select(b => b + 0.1)), ["lift"] = Numbers(bins.Select(b => 2.2 - 1.2 * b)), ["gain"] = Numbers(bins.Select(b => Math.Min(1, (b + 0.1) * (2.2 - 1.2 * b)))) },
            ["confusion"] = new JsonObject { ["classes"] = new JsonArray("0", "1"), ["counts"] = new JsonArray(Numbers([rows * 0.7, rows * 0.1]), Numbers([rows * 0.12, rows * 0.08])) },
            ["perClass"] = new JsonArray(
                new JsonObject { ["class"] = "0", ["rows"] = rows * 0.8, ["precision"] = 0.8537, ["recall"] = 0.875, ["f1"] = 0.8642, ["auc"] = null },
                new JsonObject { ["class"] = "1", ["rows"] = rows * 0.2, ["precision"] = 0.4444, ["recall"] = 0.4, ["f1"] = 0.4211, ["auc"] = 0.7431 }),
        };
    }

    private static JsonArray Numbers(IEnumerable<double> values) => new([.. values.Select(v => (JsonNode)v)]);

    private static JsonObject Timing() => new()
    {
        ["totalSeconds"] = 5.56,
        ["trainingSeconds"] = 2.1,
        ["epochs"] = 60,
        ["secondsPerEpoch"] = 0.035,
        ["computeSeconds"] = 1.2,
        ["waitSeconds"] = 0.7,
        ["noiseSeconds"] = 0.2,
    };

    private static JsonObject Party(string name, string role, long sent, long received) => new()
    {
        ["name"] = name,
        ["role"] = role,
        ["bytesSent"] = sent,
        ["bytesReceived"] = received,
        ["messagesSent"] = 121,
        ["peakMemoryBytes"] = 100_700_160,
        ["timing"] = Timing(),
        ["privacy"] = new JsonObject { ["mode"] = "none", ["calibration"] = null, ["epsilon"] = null, ["delta"] = null, ["noise"] = null, ["ledger"] = null, ["claims"] = new JsonArray(), ["warnings"] = new JsonArray() },
        ["model"] = new JsonObject { ["weightsSha256"] = string.Concat(Enumerable.Repeat("cd0b272f", 8)), ["features"] = 5 },
        ["releases"] = new JsonArray(new JsonObject { ["name"] = role == "active" ? "residuals" : "training scores", ["protection"] = "none", ["count"] = 121 }),
    };

    private static JsonObject Release(string name, string protection, int count, long bytes, string to) =>
        new() { ["name"] = name, ["protection"] = protection, ["to"] = to, ["count"] = count, ["bytes"] = bytes };

    private static JsonObject Private(string party) => new()
    {
        ["mode"] = "hdp-vfl",
        ["calibration"] = "tight",
        ["adjacency"] = "replace-one",
        ["unit"] = "record",
        ["epsilon"] = 1,
        ["delta"] = 1e-5,
        ["mu"] = 0.26805112321129354,
        ["sigma"] = 16.683891868919446,
        ["sensitivity"] = 4.472135954999624,
        ["sigmaCharged"] = 16.684516206629315,
        ["secureNoise"] = true,
        ["noise"] = "Noise is a rounded Gaussian on a lattice of 2^24 steps a standard deviation.",
        ["ledger"] = new JsonObject { ["path"] = party + ".ledger.db", ["spentEpsilon"] = 2.5, ["delta"] = 1e-5, ["budget"] = new JsonObject { ["epsilon"] = 8, ["delta"] = 1e-5 } },
        ["claims"] = new JsonArray($"training messages only: all messages of '{party}' together are (1, 1E-05)-differentially private (mu = 0.26805112321129354) for replacing one row of its table"),
        ["warnings"] = new JsonArray("metrics, intervals, evaluation, objective, history.loss, tuning.candidates and weightsSha256 of this report are computed from private rows and outside the claim: leave them out where you pass it on"),
    };
}
