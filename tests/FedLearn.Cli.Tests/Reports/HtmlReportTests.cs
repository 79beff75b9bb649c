using System.Text.Json.Nodes;
using FedLearn.Cli.Report;
using FedLearn.Cli.Tests.Sessions;
using MadeUp = FedLearn.Browser.Tests.Reports;

namespace FedLearn.Cli.Tests.Reports;

/// <summary>Every figure of a page, in reports whose figures are made up and known.</summary>
public class HtmlReportTests
{
    private const string Three = "utility with a rather long name";

    private static string Page(params JsonObject[] reports) => HtmlReport.Of(reports);

    private static JsonObject Full(params (string Path, JsonNode? Value)[] changes) => Scene.Changed(MadeUp.Full(), changes);

    private static JsonObject Plain(params (string Path, JsonNode? Value)[] changes) => Scene.Changed(MadeUp.Plain(), changes);

    [Fact]
    public void Tiles_OfAPrivateJob_SayWhatItReachedAndCost() => Assert.Equal(
    [
        "Test AUC | 0.7431 | 95% interval 0.7311 to 0.7541",
        "Active party alone | 0.6514 | together +0.0917",
        "Epsilon | 1 | hdp-vfl, delta 1E-05, per party",
        "Training rounds | 2.1 s | 60 epochs, converged",
        "Sent | 102.3 MB | 363 messages",
        "Training rows | 15,206 | 3,772 test rows",
    ], PageTables.Tiles(Page(Full())));

    [Fact]
    public void Tiles_OfOtherJobs_SayWhatIsSoThere()
    {
        string[] Of(JsonObject report) => PageTables.Tiles(Page(report));
        Assert.Equal("Test AUC | 0.6669 | all parties together", Of(Plain())[0]);
        Assert.Equal("Epsilon | none | no privacy", Of(Plain())[1]);
        Assert.Equal("Epsilon | none | he", Of(Plain(("parties.0.privacy.mode", "he"), ("parties.1.privacy.mode", "he")))[1]);
        // The largest of the parties' and the weakest delta.
        Assert.Equal("Epsilon | 3 | hdp-vfl, delta 0.001, per party", Of(Full(("parties.1.privacy.epsilon", 3), ("parties.2.privacy.delta", .001)))[2]);
        Assert.Equal("Epsilon | none | NOT PRIVATE: test noise", Of(MadeUp.Noticed(Full()))[2]);
        Assert.Equal("Epsilon | 1 | claim own-messages, per event, delta 1E-05, per party", Of(Full([.. Enumerable.Range(0, 3).SelectMany(i => ((string, JsonNode?)[])[($"parties.{i}.privacy.claim", "own-messages"), ($"parties.{i}.privacy.unit", "event")])]))[2]);
        Assert.Equal("Training rounds | 2.1 s | 1 epoch, no further decrease", Of(Plain(("job.stopReason", "noFurtherDecrease"), ("timing.epochs", 1)))[2]);
        Assert.Contains("time 1", PageTables.Charts(Page(Plain(("parties", new JsonArray(MadeUp.Plain()["parties"]![0]!.DeepClone()))))));
        Assert.Equal("Training rounds | 2.1 s | 60 epochs", Of(Plain(("job.stopReason", null)))[2]);
        Assert.Equal("Training AUC | 0.6729 | all parties together", Of(Plain(("metrics.test", null)))[0]);
        Assert.Equal(["Test AUC | 0.6669 |", "Sent | 22.1 MB | 121 messages"], Of(Plain(("parties", new JsonArray(MadeUp.Plain()["parties"]![0]!.DeepClone())))) is var alone ? [alone[0], alone[3]] : []);
        Assert.Equal("Active party alone | 0.6514 | together -0.0514", Of(Full(("metrics.test.auc", .6)))[1]);
    }

    [Fact]
    public void Metrics_OfBothSets_StandBesideTheActivePartyAlone()
    {
        string page = Page(Full(("metrics.guestOnly.train.own", .5), ("intervals.test.ks", new JsonArray(.3, null))));
        string[] table = PageTables.Table(page, "Metrics");
        Assert.Equal("metric | test | train | alone: test | alone: train", table[0]);
        Assert.Equal("AUC | 0.7431 0.7311 to 0.7541 | 0.7496 0.7376 to 0.7606 | 0.6514 | 0.6611", table[1]);
        Assert.Equal("KS | 0.3600 | 0.3665 0.3545 to 0.3775 | - | -", table[2]);
        Assert.Equal(["AUC", "KS", "PR-AUC", "Accuracy", "Precision", "Recall", "F1", "Log-loss", "Brier score", "Deviance", "D\u00B2", "Own"], table.Skip(1).Select(row => row.Split(" | ")[0]));
        Assert.Contains("Alone: the active party's own model, without the others. Below a figure: 95% interval. Figures of training rows are measured on noisy scores", PageTables.Text(page), StringComparison.Ordinal);
        Assert.DoesNotContain("alone: test", string.Concat(PageTables.Table(Page(Plain()), "Metrics")), StringComparison.Ordinal);
        Assert.DoesNotContain("noisy scores", Page(Plain()), StringComparison.Ordinal);
        Assert.Contains("Nothing was measured.", Page(Plain(("metrics", JsonNode.Parse("""{ "train": null, "test": null }""")))), StringComparison.Ordinal);
    }

    [Fact]
    public void Rounds_OfAHistory_HaveTheColumnsThatItHas()
    {
        string[] table = PageTables.Table(Page(Full()), "Rounds");
        Assert.Equal("round | loss | validation | epsilon | seconds", table[0]);
        Assert.Equal("5 | 0.614810 | 0.622337 | 0.2907 | 0.02", table[5].Replace("0.61481 ", "0.614810 ", StringComparison.Ordinal));
        Assert.Equal("-", table[1].Split(" | ")[2]);
        Assert.Equal(["roc", "precisionRecall", "calibration", "lift", "loss", "epsilon", "bytes 5", "time 3", "tuning 3"], PageTables.Charts(Page(Full())));
        string page = Page(Full(("history", JsonNode.Parse("""[{ "round": 1, "seconds": 0.5 }, { "round": 20000, "seconds": 1.23456 }]"""))));
        Assert.Equal(["round | seconds", "1 | 0.5", "20,000 | 1.235"], PageTables.Table(page, "Rounds"));
        Assert.Equal(["roc", "precisionRecall", "calibration", "lift", "bytes 5", "time 3", "tuning 3"], PageTables.Charts(page));
        page = Page(Full(("history", JsonNode.Parse("""[{ "round": 1, "validation": 1234567.8, "epsilon": null }]"""))));
        Assert.Equal(["round | validation", "1 | 1.23457E+06"], PageTables.Table(page, "Rounds"));
        Assert.Contains("loss", PageTables.Charts(page));
    }

    [Fact]
    public void Evaluation_OfBothSets_HasCurvesConfusionAndClasses()
    {
        string page = Page(Full(("evaluation.test.calibration.rows", new JsonArray([.. Enumerable.Range(1, 10).Select(i => (JsonNode)(1000 * i))]))));
        Assert.Equal(["false positive rate | true positive rate", "0.0000 | 0.0000", "0.0050 | 0.0090"], PageTables.Tables(page, "ROC")[0][..3]);
        Assert.Equal(2, PageTables.Tables(page, "ROC").Length);
        Assert.Equal(["recall | precision", "0.0090 | 0.3099"], PageTables.Table(page, "Precision and recall")[..2]);
        Assert.Equal(["mean predicted | mean observed | rows", "0.0500 | 0.0500 | 1,000", "0.1000 | 0.1080 | 2,000"], PageTables.Table(page, "Calibration")[..3]);
        Assert.Equal(["share of rows | lift | gain", "0.1000 | 2.2000 | 0.2200"], PageTables.Table(page, "Lift")[..2]);
        Assert.Equal(["| predicted 0 | predicted 1", "true 0 | 1,400 87.5% | 200 12.5%", "true 1 | 240 60% | 160 40%"], PageTables.Table(page, "Confusion, Test rows"));
        Assert.Contains("shade s9\">1,400", page, StringComparison.Ordinal);
        Assert.Equal(["class | rows | precision | recall | F1 | AUC", "0 | 1,600 | 0.8537 | 0.8750 | 0.8642 | -", "1 | 400 | 0.4444 | 0.4000 | 0.4211 | 0.7431"], PageTables.Table(page, "Classes, Test rows"));
        Assert.NotEmpty(PageTables.Table(page, "Classes, Training rows"));
        string text = PageTables.Text(page);
        Assert.All((string[])["Confusion at threshold 0.5, test rows", "ROC, test AUC 0.7431", "Intervals hold 95% of 1,000 resamples of the rows (bootstrap, seed 7); that of KS is mirrored at KS", "Equal groups of rows by predicted probability; on"],
            said => Assert.Contains(said, text, StringComparison.Ordinal));
        // A regression, and one of more classes than two.
        JsonObject other = Full(("evaluation.test.confusion", JsonNode.Parse("""{ "classes": [0, 1, 2], "counts": [[1, 0, 0], [0, 0, 0], [1, 2, 3]] }""")));
        foreach (string set in (string[])["train", "test"])
            (other["evaluation"]![set]!["roc"], other["evaluation"]![set]!["precisionRecall"]) = (null, null);
        page = Page(other);
        Assert.Equal(["| predicted 0 | predicted 1 | predicted 2", "true 0 | 1 100% | 0 0% | 0 0%", "true 1 | 0 0% | 0 0% | 0 0%", "true 2 | 1 16.7% | 2 33.3% | 3 50%"], PageTables.Table(page, "Confusion, Test rows"));
        text = PageTables.Text(page);
        Assert.All((string[])["Confusion, test rows", "by predicted mean; on"], said => Assert.Contains(said, text, StringComparison.Ordinal));
        Assert.DoesNotContain("KS is mirrored", text, StringComparison.Ordinal);
        Assert.DoesNotContain("<h3>Evaluation</h3>", Page(Plain()), StringComparison.Ordinal);
        // What an earlier release does not say.
        Assert.Contains("Below a figure: most interval.", PageTables.Text(Page(Full(("evaluation.level", null)))), StringComparison.Ordinal);
    }

    [Fact]
    public void Messages_OfThreeParties_SayWhoSentWhatToWhom()
    {
        string page = Page(Full(("parties.0.bytesReceived", 1_234), ("parties.0.messagesSent", 1_200), ("parties.0.releases.2.bytes", 1_500_000)));
        string[] table = PageTables.Table(page, "Messages");
        Assert.Equal("from | to | message | protection | messages | bytes", table[0]);
        Assert.Equal("bank | telco | noisy residuals | noised | 120 | 9800.0 kB", table[1]);
        Assert.Equal("bank | telco | alignment: common rows | in the clear | 2 | 1500.0 kB", table[3]);
        Assert.Equal($"{Three} | bank | alignment: hashed ids | in the clear | 1 | 1001.0 kB", table[^1]);
        Assert.Contains("class=\"badge kept\">noised", page, StringComparison.Ordinal);
        Assert.Contains("class=\"badge clear\">in the clear", page, StringComparison.Ordinal);
        Assert.Equal(["party | messages sent | bytes sent | bytes received", "bank | 1,200 | 22.1 MB | 1234 B", "telco | 121 | 40.1 MB | 9050 B", $"{Three} | 121 | 40.1 MB | 2001.0 kB"], PageTables.Table(page, "Bytes on the wire"));
        // The largest first.
        Assert.Equal(["party | training scores | noisy residuals | alignment: hashed ids | alignment: common rows", "bank | 0 B | 19.6 MB | 0 B | 1500.0 kB", "telco | 39.1 MB | 0 B | 1001.0 kB | 0 B", $"{Three} | 39.1 MB | 0 B | 1001.0 kB | 0 B"],
            PageTables.Table(page, "Bytes sent, by message"));
        Assert.Equal(["party | training | computing | waiting | noise", "bank | 2.1000 | 1.2000 | 0.7000 | 0.2000", "telco | 2.1000 | 1.2000 | 0.7000 | 0.2000", $"{Three} | 2.1000 | 1.2000 | 0.7000 | 0.2000"], PageTables.Table(page, "Seconds of the training rounds"));
    }

    [Fact]
    public void Messages_OfOlderReports_HaveWhatIsKnown()
    {
        string page = Page(Plain(("parties.0.releases.0.protection", "randomized-response"), ("parties.1.releases.0.protection", "own-kind"), ("parties.1.timing", null)));
        Assert.Equal(["from | to | message | protection | messages | bytes", "bank | telco | residuals | randomised | 121 | -", "telco | bank | training scores | own kind | 121 | -"], PageTables.Table(page, "Messages"));
        Assert.Empty(PageTables.Tables(page, "Bytes sent, by message"));
        Assert.Equal("bank | 2.1000 | 1.2000 | 0.7000 | 0.2000", PageTables.Table(page, "Seconds of the training rounds")[^1]);
        Assert.Equal("-", PageTables.Table(Page(Full(("parties.0.releases.0.to", null))), "Messages")[1].Split(" | ")[1]);
        Assert.Equal("telco, clinic", PageTables.Table(Page(Plain(("parties.0.releases.0.to", new JsonArray("telco", "clinic")))), "Messages")[1].Split(" | ")[1]);
        Assert.Contains("No message left a party.", Page(Plain(("parties.0.releases", new JsonArray()), ("parties.1.releases", new JsonArray()))), StringComparison.Ordinal);
    }

    /// <summary>As many as there are colours, or the largest and the rest.</summary>
    [Theory]
    [InlineData(6, "party | kind 5 | kind 4 | kind 3 | kind 2 | kind 1 | kind 0", "telco | 0 B | 0 B | 0 B | 0 B | 0 B | 0 B")]
    [InlineData(7, "party | kind 6 | kind 5 | kind 4 | kind 3 | kind 2 | other (2 kinds)", "telco | 0 B | 0 B | 0 B | 0 B | 0 B | 0 B")]
    public void Messages_OfManyKinds_AreTheLargestAndOther(int kinds, params string[] expected)
    {
        JsonArray releases = new([.. Enumerable.Range(0, kinds).Select(i => (JsonNode)new JsonObject { ["name"] = $"kind {i}", ["protection"] = "none", ["count"] = 1, ["bytes"] = 1_000 + i })]);
        string[] table = PageTables.Table(Page(Plain(("parties.0.releases", releases), ("parties.1.releases", new JsonArray()))), "Bytes sent, by message");
        Assert.Equal(expected, (string[])[table[0], table[2]]);
        Assert.EndsWith(kinds == 6 ? "| 1001 B | 1000 B" : "| 1002 B | 2001 B", table[1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5_000.0, "5000")]
    [InlineData(12_345.0, "12,345")]
    [InlineData(12_345.5, "1.235E+04")]
    [InlineData(1e15, "1E+15")]
    [InlineData(.00012345, "0.0001234")]
    public void Value_OfANumber_HasAsManyDigitsAsItNeeds(double value, string shown) => Assert.Equal(shown, Figures.Value(JsonValue.Create(value)));

    [Theory]
    [InlineData("auc", "deviance", "auc")]
    [InlineData("hr10Full", "hr10Full", "accuracy", "deviance")]
    [InlineData("deviance", "logLoss", "rmse", "deviance")]
    [InlineData("logLoss", "rmse", "logLoss", "mae")]
    public void Headline_OfReports_IsTheFigureThatAllHave(string headline, params string[] keys)
    {
        JsonObject Of(params IEnumerable<string> has) => new() { ["metrics"] = new JsonObject { ["train"] = new JsonObject { ["auc"] = 1 }, ["test"] = new JsonObject(has.Select(key => KeyValuePair.Create(key, (JsonNode?)1.0))) } };
        Assert.Equal(headline, Figures.Headline([Of(keys), Of(keys.Append("ks"))]));
        Assert.Null(Figures.Headline([Of(keys), Of("ks")]));
    }

    [Fact]
    public void Seconds_UnderEncryption_HaveTheArbiterAndTheEngines()
    {
        JsonObject report = Plain(("parties.0.encryption", JsonNode.Parse("""{ "engine": "GMP", "engineSeconds": 0.5 }""")), ("parties.1.encryption", JsonNode.Parse("""{ "engine": "GMP", "engineSeconds": 0.25 }""")));
        report["roles"]!.AsArray().Add(JsonNode.Parse("""{ "role": "arbiter", "hostedBy": "notary", "computeSeconds": 0.75, "engineSeconds": 0.125 }"""));
        string page = Page(report);
        Assert.Equal(["party | training | computing | waiting | noise | engine", "bank | 2.1000 | 1.2000 | 0.7000 | 0.2000 | 0.5000", "telco | 2.1000 | 1.2000 | 0.7000 | 0.2000 | 0.2500", "notary | - | 0.7500 | - | - | 0.1250"], PageTables.Table(page, "Seconds of the training rounds"));
        Assert.Contains("Arbiter: hosted by notary", PageTables.Terms(page));
    }

    [Fact]
    public void Privacy_OfEveryParty_StandsWithClaimsAndBudgets()
    {
        string page = Page(Full(("parties.0.privacy.ledger", null), ("parties.1.privacy.ledger.budget", null), ("parties.0.privacy.disclosures", new JsonArray("one thing", "another")), ("parties.1.privacy.disclosures", new JsonArray("one thing")),
            ("alignment.warnings", new JsonArray("ids look alike"))));
        string[] table = PageTables.Table(page, "Privacy parameters of each party");
        Assert.Equal($"parameter | bank | telco | {Three}", table[0]);
        Assert.Equal(["Mode", "Calibration", "Adjacency", "Unit", "Epsilon", "Delta", "Mu", "Sigma", "Sensitivity", "Sigma charged", "Secure noise", "Epsilon over all jobs, at delta", "Lifetime budget, at delta"], table.Skip(1).Select(r => r.Split(" | ")[0]));
        Assert.Equal("Sigma charged | 16.68 | 16.68 | 16.68", table[10]);
        Assert.Equal("Secure noise | yes | yes | yes", table[11]);
        Assert.Equal(["Epsilon over all jobs, at delta | - | 2.5 at 1E-05 | 2.5 at 1E-05", "Lifetime budget, at delta | none | none | 8 at 1E-05"], table[^2..]);
        string text = PageTables.Text(page);
        Assert.All((string[])["Disclosed outside of every claim bank, telco one thing bank another", $"Noise bank, telco, {Three} Noise is a rounded Gaussian", "Alignment (hashed) discloses the active party learns which", "Alignment: to be known ids look alike",
            "the loss grew in round 12", $"bank, telco, {Three} metrics, intervals, evaluation", "bank training messages only: all messages of 'bank'"], said => Assert.Contains(said, text, StringComparison.Ordinal));
        Assert.DoesNotContain("makes no privacy claim", text, StringComparison.Ordinal);
        string plain = PageTables.Text(Page(Plain()));
        Assert.Contains("This job makes no privacy claim.", plain, StringComparison.Ordinal);
        Assert.All((string[])["Disclosed outside", "to be known", "Lifetime budget"], said => Assert.DoesNotContain(said, plain, StringComparison.Ordinal));
    }

    [Fact]
    public void Tuning_OfCandidates_HasTheirFiguresAndTheirCost()
    {
        string page = Page(Full(("tuning.candidates.2.error", JsonNode.Parse("""{ "id": "FL6100", "message": "it diverged" }""")), ("tuning.candidates.2.mean", null), ("tuning.cost.0.runs", 1_000)));
        Assert.Equal(["Model.l2", "mean AUC"], PageTables.Table(page, "Tuning")[0].Split(" | ") is [var first, _, var mean, ..] ? [first.Replace("model", "Model", StringComparison.Ordinal), mean] : []);
        Assert.Equal(["model.l2 | training.stepSize | mean AUC | deviation | folds |", "0.001 | 0.5 | 0.731 | 0.006 | 0.725 0.731 0.738 |", "0.01 | 0.5 | 0.735 | 0.006 | 0.727 0.731 0.738 | chosen", "0.1 | 0.5 | - | 0.006 | 0.729 0.731 0.738 | FL6100"], PageTables.Table(page, "Tuning"));
        Assert.Equal(["party | charged runs | epsilon | delta", "bank | 1,000 | 3.1 | 1E-05", "telco | 9 | 3.1 | 1E-05", $"{Three} | 9 | 3.1 | 1E-05"], PageTables.Table(page, "Cost of tuning"));
        Assert.Contains("3 folds, 3 candidates.", PageTables.Text(page), StringComparison.Ordinal);
        page = Page(Full(("tuning.complete", false), ("tuning.cost", new JsonArray()), ("tuning.candidates", JsonNode.Parse("""[{ "settings": {}, "metric": "auc", "mean": null, "status": "interrupted", "scores": [null, 0.5] }]""")), ("tuning.chosen", null)));
        Assert.Equal(["mean AUC | deviation | folds |", "- | - | - 0.5 | interrupted"], PageTables.Table(page, "Tuning"));
        Assert.Contains("3 folds, 1 candidate; the table is partial, see the warnings.", PageTables.Text(page), StringComparison.Ordinal);
        Assert.DoesNotContain("What tuning cost", page, StringComparison.Ordinal);
    }

    /// <summary>The report of a tuning that trains no model is of all runs.</summary>
    [Fact]
    public void Tiles_OfATuningWithoutAModel_CountTheRowsOfAllFolds()
    {
        JsonObject report = Full(("job.stopReason", null), ("metrics", JsonNode.Parse("""{ "train": null, "test": null }""")));
        foreach (JsonNode? party in report["parties"]!.AsArray())
            party!["model"]!["weightsSha256"] = null;
        Assert.Equal(["Training rounds | 2.1 s | 60 epochs", "Training rows | 15,206 | in all folds; the job's test rows were not used"], PageTables.Tiles(Page(report)) is [_, var rounds, _, var rows] ? [rounds, rows] : []);
    }

    [Fact]
    public void Parties_OfEveryKindOfConnection_AreSaidHowTheyWereReached()
    {
        JsonNode peers = JsonNode.Parse("""
            { "reach": "network", "peers": [
              { "name": "telco", "reach": "network", "encrypted": true, "identifiedBy": "pin", "pins": ["sha256/0123456789abcdefghijklmn", "sha256/zyxwvutsrqponmlkjihgfedc"] },
              { "name": "clinic", "reach": "network", "encrypted": true, "identifiedBy": "authority" },
              { "name": "utility", "reach": "network", "encrypted": false },
              { "name": "railway", "reach": "loopback", "encrypted": false }] }
            """)!;
        JsonObject report = Full(("parties.0.transport", peers), ("parties.1.transport", JsonNode.Parse("""{ "reach": "memory" }""")), ("parties.2.transport", JsonNode.Parse("""{ "reach": "loopback" }""")),
            ("parties.0.rows", 2_000), ("parties.0.commonRows", 1_500), ("parties.1.model", JsonNode.Parse("""{ "weightsSha256": null, "features": null }""")));
        Assert.Equal(
        [
            "party | role | rows | of these common | features | peak memory | connections | weights SHA-256",
            "bank | active | 2,000 | 1,500 | 5 | 100.7 MB | telco TLS sha256/0123456789abcdef, sha256/zyxwvutsrqponmlk clinic TLS by authority utility in the clear railway on this machine | cd0b272fcd0b272f",
            "telco | passive | - | - | - | 100.7 MB | in memory | -",
            $"{Three} | passive | - | - | 5 | 100.7 MB | on this machine | cd0b272fcd0b272f",
        ], PageTables.Table(Page(report), "Parties"));
    }

    [Fact]
    public void Job_OfAReport_HasItsTermsAndDigests()
    {
        string page = Page(Full(("job.termsDigest", "the terms"), ("alignment.commonRows", 18_978)));
        Assert.Equal(["Model: glm", "Family: binomial", "L2: 0.001", "Optimizer: lbfgs", "Epochs at most: 60", "Stop reason: converged", "Transport: grpc", "Objective: 0.4712", "Seconds in all: 5.5600", "Seconds an epoch: 0.0350",
            "Common rows: 18,978", "Coordinator: hosted by bank", "FedLearn: 0.1.0", "Runtime: .NET 10.0.1", "Os: Debian 12"], PageTables.Terms(page));
        string text = PageTables.Text(page);
        Assert.All((string[])["Keys without effect in this mode: training.stepSize.", "Digest of the job 6ca08b5f6ca08b5f", "Digest of the terms, which all parties agreed on the terms"], said => Assert.Contains(said, text, StringComparison.Ordinal));
        Assert.DoesNotContain("Keys without effect", Page(Plain()), StringComparison.Ordinal);
        Assert.DoesNotContain("Digest of the job", Page(Plain(("job.digest", null))), StringComparison.Ordinal);
    }

    [Fact]
    public void Overview_OfSeveralReports_StandsSideBySide()
    {
        JsonObject[] reports = [MadeUp.Plain("plain"), MadeUp.Full("one"), MadeUp.Full("ten")];
        string page = Page(reports);
        Assert.Equal(["job | AUC | active party alone", "plain | 0.6669 | -", "one | 0.7431 0.7311 to 0.7541 | 0.6514", "ten | 0.7431 0.7311 to 0.7541 | 0.6514"], PageTables.Table(page, "AUC of every job"));
        string[] figures = PageTables.Table(page, "Test figures of every job");
        Assert.Equal(["metric | plain | one | ten", "AUC | 0.6669 | 0.7431 0.7311 to 0.7541 | 0.7431 0.7311 to 0.7541", "KS | - | 0.3600 0.3480 to 0.3710 | 0.3600 0.3480 to 0.3710"], figures[..3]);
        Assert.Equal(["compare 3", "compare-roc"], PageTables.Charts(page)[..2]);
        Assert.All((string[])["<a href=\"#job-1\">one</a>", "<h2>ten</h2>", "<title>plain</title>", "Test AUC of every job"], part => Assert.Contains(part, page, StringComparison.Ordinal));
        // One curve alone is no comparison.
        Assert.Equal("compare 2", PageTables.Charts(Page(reports[..2]))[0]);
        Assert.DoesNotContain("compare-roc", PageTables.Charts(Page(reports[..2])));
        Assert.DoesNotContain("compare", string.Concat(PageTables.Charts(Page(reports[1]))), StringComparison.Ordinal);
        Assert.DoesNotContain("<nav", Page(reports[1]), StringComparison.Ordinal);
        Assert.DoesNotContain("<h2>one</h2>", Page(reports[1]), StringComparison.Ordinal);
        // Reports without test rows are compared by training rows.
        JsonObject[] untested = [.. ((string[])["a", "b"]).Select(name => Scene.Changed(MadeUp.Full(name), ("metrics.test", null), ("metrics.guestOnly.test", null), ("intervals.test", null), ("evaluation.test", null)))];
        Assert.Equal("a | 0.7496 0.7376 to 0.7606 | 0.6611", PageTables.Table(Page(untested), "AUC of every job")[1]);
        Assert.NotEmpty(PageTables.Table(Page(untested), "Training figures of every job"));
        Assert.NotEmpty(PageTables.Table(Page(untested[0], reports[1]), "Test or training figures of every job"));
        Assert.DoesNotContain("figures of every job", Page([.. ((string[])["a", "b"]).Select(name => Scene.Changed(MadeUp.Plain(name), ("metrics", JsonNode.Parse("""{ "train": null, "test": null }"""))))]), StringComparison.Ordinal);
    }

    [Fact]
    public void Overview_WithASummary_HasTheHeadsOfItsJobs()
    {
        string page = HtmlReport.Of([MadeUp.Plain("one")], HtmlReport.Table(["report", "job", "mode", "unit", "AUC"], [["a.json", "one", "none", "-", "0.5"]]), "Side by side");
        Assert.All((string[])["<h2>Overview</h2>", "<h2>one</h2>", "<title>Side by side</title>"], part => Assert.Contains(part, page, StringComparison.Ordinal));
        Assert.Contains("<td>a.json</td><td>one</td><td>none</td><td>-</td><td class=\"n\">0.5</td>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("compare", string.Concat(PageTables.Charts(page)), StringComparison.Ordinal);
        Assert.Contains("<p class=\"notice\" role=\"alert\">NOT PRIVATE: test noise</p>", Page(MadeUp.Noticed(MadeUp.Plain())), StringComparison.Ordinal);
        Assert.StartsWith("<title>NOT PRIVATE: test noise - one</title>", HtmlReport.Of([MadeUp.Plain("one"), MadeUp.Noticed(MadeUp.Plain("two"))]) is var noticed ? noticed[noticed.IndexOf("<title>", StringComparison.Ordinal)..] : "", StringComparison.Ordinal);
    }

    [Fact]
    public void Recommendation_OfEveryKindOfEvent_StandsBesideItsBaselines()
    {
        JsonNode Figures(double hr, int events, int users) => new JsonObject { ["hr10Full"] = hr, ["ndcg10Sampled"] = hr / 2, ["events"] = events, ["users"] = users };
        JsonObject report = Plain(("job.model", "dssm"), ("metrics", new JsonObject { ["train"] = new JsonObject { ["loss"] = .5 }, ["test"] = Figures(.3, 1_200, 1_000), ["coldUsers"] = null, ["coldItems"] = Figures(.1, 1, 1) }),
            ("intervals", JsonNode.Parse("""{ "train": null, "test": { "hr10Full": [0.28, 0.32] }, "coldItems": null }""")), ("evaluation", JsonNode.Parse("""{ "level": 0.9 }""")),
            ("baselines", new JsonObject { ["popularity"] = new JsonObject { ["test"] = Figures(.2, 1_200, 1_000), ["coldItems"] = Figures(.05, 1, 1) }, ["ials"] = new JsonObject { ["test"] = Figures(.25, 1_200, 1_000) } }),
            ("history", JsonNode.Parse("""[{ "round": 1, "loss": 0.7, "validationNdcg10": 0.123456789 }]""")),
            ("parties.0.privacy.figures", JsonNode.Parse("""[{ "unit": "user", "rows": 20, "mu": 0.5, "epsilon": 2.25, "delta": 1e-6 }]""")), ("parties.0.privacy.claim", "own-messages"),
            ("combinedPrivacy", JsonNode.Parse("""[{ "unit": "user", "claim": "own-messages", "parties": ["bank", "telco"], "mu": 0.75, "epsilon": 3.5, "delta": 1e-6 }]""")));
        string page = Page(report);
        Assert.Equal("Test HR@10, all items | 0.3000 | 90% interval 0.2800 to 0.3200", PageTables.Tiles(page)[0]);
        Assert.Equal(["metric | model | Popularity | ItemKNN | iALS", "HR@10, all items | 0.3000 0.2800 to 0.3200 | 0.2000 | - | 0.2500", "NDCG@10, 99 negatives | 0.1500 | 0.1000 | - | 0.1250"], PageTables.Table(page, "Test events of users and items that training knows"));
        Assert.Equal(["metric | model | Popularity | ItemKNN | iALS", "HR@10, all items | 0.1000 | 0.0500 | - | -", "NDCG@10, 99 negatives | 0.0500 | 0.0250 | - | -"], PageTables.Table(page, "Events with items that training never saw"));
        Assert.Equal(["epoch | loss | validation NDCG@10", "1 | 0.7 | 0.123457"], PageTables.Table(page, "Rounds"));
        Assert.Equal(["baselines 4", "baselines 4", "loss", "ndcg"], PageTables.Charts(page)[..4]);
        string text = PageTables.Text(page);
        Assert.All((string[])["1,200 events of 1,000 users.", "1 event of 1 user.", "Below a figure: 90% interval over resampled users.", "Loss over epochs"], said => Assert.Contains(said, text, StringComparison.Ordinal));
        Assert.DoesNotContain("never saw Events of users", text, StringComparison.Ordinal);
        Assert.Equal(["party | unit | claim | rows of the unit | mu | epsilon | delta", "bank | user | own-messages | 20 | 0.5 | 2.25 | 1E-06"], PageTables.Table(page, "Privacy figures by unit"));
        Assert.Equal(["unit | claim | parties, squared mu added | mu | epsilon | delta", "user | own-messages | bank, telco | 0.75 | 3.5 | 1E-06"], PageTables.Table(page, "Combined privacy figures"));
        page = Page(Plain(("job.model", "dssm"), ("metrics", JsonNode.Parse("""{ "train": null, "test": null, "coldUsers": null, "coldItems": null }"""))));
        Assert.Contains("Nothing was measured.", page, StringComparison.Ordinal);
        Assert.DoesNotContain("baselines", string.Concat(PageTables.Charts(page)), StringComparison.Ordinal);
        page = Page(Plain(("job.model", "dssm"), ("metrics", new JsonObject { ["train"] = null, ["test"] = Figures(.3, 2, 1) })));
        Assert.Contains("2 events of 1 user.", page, StringComparison.Ordinal);
        Assert.DoesNotContain("over resampled users", page, StringComparison.Ordinal);
    }
}
