using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.Report;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Tests.Reports;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>What a comparison says of reports whose figures are known.</summary>
public sealed class CompareDocumentTests : IDisposable
{
    private static readonly CompareCase None = new("none"), Alone = new("guest-only"), Tight = new("hdp-vfl") { Calibration = "tight", Epsilon = 1, Delta = 0.001 },
        OneRound = new("one-round") { Epsilon = 1, Delta = 0.001 }, He = new("he") { Scheme = "paillier" };

    private readonly Scene _scene = new();

    public void Dispose() => _scene.Dispose();

    private GlmRunFile Job(params (string Path, JsonNode? Value)[] changes) => CompareRunner.Plain(_scene.Job(Scene.Private(changes)));

    /// <summary>A report of two epochs whose times are multiples of one figure.</summary>
    private static JsonObject Report(double seconds, string metric = "auc", double figure = .8, params (string Path, JsonNode? Value)[] changes) => ReportParts.ReadBack(Scene.Changed(JsonNode.Parse(string.Create(CultureInfo.InvariantCulture, $$"""
        {
          "job": { "digest": "the digest", "termsDigest": "that of the terms" },
          "metrics": { "train": { "{{metric}}": {{figure}} }, "test": { "{{metric}}": {{figure}} } },
          "intervals": { "train": null, "test": { "{{metric}}": [0.75, 0.85] } },
          "rows": { "train": 80, "test": 20 },
          "timing": { "secondsPerEpoch": {{seconds}}, "epochs": 2, "trainingSeconds": {{2 * seconds}}, "computeSeconds": {{3 * seconds}}, "waitSeconds": {{4 * seconds}}, "noiseSeconds": {{5 * seconds}}, "syncSeconds": {{6 * seconds}} },
          "history": [{ "seconds": {{seconds}} }, { "seconds": {{2 * seconds}} }],
          "parties": [
            { "name": "bank", "bytesSent": 90000, "peakMemoryBytes": {{100 * seconds}}, "privacy": { "actualDelta": 0.002 }, "releases": [
              { "name": "alignment: common rows", "bytes": 10000 }, { "name": "agreement: row counts and split", "bytes": 20000 }, { "name": "residuals", "bytes": 300 }] },
            { "name": "telco", "bytesSent": 60000, "peakMemoryBytes": {{200 * seconds}}, "privacy": { "actualDelta": 0.003 }, "releases": [
              { "name": "training scores", "bytes": 100 }, { "name": "evaluation: test rows", "bytes": 40000 }] }
          ],
          "roles": [{ "role": "coordinator", "hostedBy": "bank" }]
        }
        """))!.AsObject(), changes));

    private static CompareResult Row(CompareCase of, GlmRunFile run, params JsonObject[] reports)
    {
        var result = new CompareResult(of) { Run = run, Planned = reports.Length };
        result.Reports.AddRange(reports);
        return result;
    }

    private static JsonObject Document(GlmRunFile plain, params CompareResult[] results) => ReportParts.ReadBack(CompareDocument.Of(plain, "of the file", new CompareRequest([1, 2], ["ckks", "paillier"], 0.001, 7, 3), true, results, [],
        new JsonObject { ["note"] = "", ["charges"] = new JsonArray() }));

    private static JsonObject At(JsonObject document, int row) => document["rows"]![row]!.AsObject();

    private static string Sentence(JsonObject document, int row) => (string)At(document, row)["sentence"]!;

    [Fact]
    public void Of_Job_SaysWhatWasAskedAndTrained()
    {
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)));
        Assert.Equal("""{"name":"scene","digest":"of the file","family":"binomial","epochs":2,"trainRows":80,"testRows":20,"transport":"in-memory","processes":true}""", document["job"]!.ToJsonString());
        Assert.Equal("""{"epsilons":[1,2],"schemes":["ckks","paillier"],"heEpochs":7,"repeats":3}""", document["request"]!.ToJsonString());
        Assert.Equal("the digest", (string)At(document, 0)["jobDigest"]!);
        Assert.Equal((80, 20), ((int)At(document, 0)["trainRows"]!, (int)At(document, 0)["testRows"]!));
    }

    /// <summary>The mean of the two in the middle where their number is even.</summary>
    [Theory]
    [InlineData(2.0, 5.0, 1.0, 2.0)]
    [InlineData(3.0, 5.0, 1.0, 2.0, 4.0)]
    public void Of_Repeats_HasTheMedianOfEachTimeAndOfEachPeak(double median, params double[] seconds)
    {
        JsonObject row = At(Document(Job(), Row(Tight, Job(), [.. seconds.Select(s => Report(s))])), 0);
        Assert.Equal([median, 2 * median, 3 * median, 4 * median, 5 * median, 6 * median],
            ((string[])["secondsPerEpoch", "trainingSeconds", "computeSeconds", "waitSeconds", "noiseSeconds", "syncSeconds"]).Select(key => (double)row["timing"]![key]!));
        Assert.Equal(seconds.Select(s => 2 * s), row["timing"]!["trainingSecondsOfEach"]!.AsArray().Select(s => (double)s!));
        Assert.Equal([100 * median, 200 * median], row["parties"]!.AsArray().Select(p => (double)p!["peakMemoryBytes"]!));
        Assert.Equal(200 * median, (double)row["peakMemoryBytes"]!);
    }

    [Theory]
    [InlineData(.67, null)]
    [InlineData(.66, "An epoch after the first takes 0.6600 s, and with HDP-VFL (tight) at epsilon 1 3.03 x that: train for more epochs")]
    public void Of_LongFirstEpoch_SaysWhatALaterOneCosts(double later, string? note)
    {
        JsonObject document = Document(Job(), Row(None, Job(), Report(1, changes: [("history.0.seconds", 2 - later)])), Row(Tight, Job(), Report(2)));
        Assert.Equal(later, (double)At(document, 0)["timing"]!["secondsPerLaterEpoch"]!, 1e-12);
        string[] notes = [.. document["notes"]!.AsArray().Select(n => (string)n!).Where(n => n.StartsWith("Starting", StringComparison.Ordinal))];
        Assert.Equal(note is null ? 0 : 1, notes.Length);
        Assert.All(notes, n => Assert.Contains(note!, n, StringComparison.Ordinal));
    }

    [Fact]
    public void Of_OneEpoch_HasNoneAfterTheFirst() =>
        Assert.Null(At(Document(Job(), Row(None, Job(), Report(1, changes: [("history", new JsonArray(new JsonObject { ["seconds"] = 1 }))]))), 0)["timing"]!["secondsPerLaterEpoch"]);

    [Fact]
    public void Of_Bytes_AreThoseOfTrainingAndOfTheWholeSession()
    {
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)), Row(OneRound, Job(), Report(1)));
        Assert.Equal("""{"session":150000,"training":400,"trainingPerEpoch":200}""", At(document, 0)["bytes"]!.ToJsonString());
        Assert.Equal("""{"session":150000,"training":400,"trainingPerEpoch":null}""", At(document, 1)["bytes"]!.ToJsonString());
    }

    [Theory]
    [InlineData(0, 350)]
    [InlineData(900, 1000)]
    public void Of_EncryptedRow_CountsTheArbiterAndTheEngines(long engineOfBank, long peak)
    {
        JsonNode arbiter = JsonNode.Parse("""{ "role": "arbiter", "bytesSent": 1000, "peakMemoryBytes": 300, "enginePeakMemoryBytes": 50 }""")!;
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)), Row(He, Job(), Report(1, changes: [("roles.0", arbiter), ("parties.0.encryption", new JsonObject { ["engine"] = "GMP", ["enginePeakMemoryBytes"] = engineOfBank })])));
        Assert.Equal("""{"session":151000,"training":1400,"trainingPerEpoch":700}""", At(document, 1)["bytes"]!.ToJsonString());
        Assert.Equal(peak, (long)At(document, 1)["peakMemoryBytes"]!);
        Assert.Contains("Engine: GMP.", (string)At(document, 1)["note"]!, StringComparison.Ordinal);
        string page = CompareReport.Of(document);
        Assert.Contains("arbiter, engine of encryption", page, StringComparison.Ordinal);
        Assert.Equal(engineOfBank > 0, page.Contains("bank, engine of encryption", StringComparison.Ordinal));
    }

    [Fact]
    public void Of_EveryRow_IsRelativeToPlain()
    {
        var fewer = new CompareCase("he") { Scheme = "paillier", Epochs = 1 };
        JsonObject document = Document(Job(), Row(None, Job(), Report(2)), Row(Alone, Job(), Report(1, changes: [("parties.1", JsonNode.Parse("""{ "name": "telco", "bytesSent": 0, "peakMemoryBytes": 1, "releases": [] }""")), ("parties.0.releases", new JsonArray())])),
            Row(Tight, Job(), Report(4)), Row(OneRound, Job(), Report(1)), Row(fewer, Job(), Report(6, changes: [("parties.1.releases.0.bytes", 900), ("timing.epochs", 1)])));
        Assert.Equal("""{"secondsPerEpoch":2,"secondsPerLaterEpoch":2,"trainingSeconds":2,"sessionBytes":1,"trainingBytes":1,"trainingBytesPerEpoch":1,"peakMemory":2}""", At(document, 2)["relative"]!.ToJsonString());
        Assert.Equal("""{"secondsPerEpoch":null,"secondsPerLaterEpoch":null,"trainingSeconds":0.5,"sessionBytes":1,"trainingBytes":1,"trainingBytesPerEpoch":null,"peakMemory":0.5}""", At(document, 3)["relative"]!.ToJsonString());
        Assert.Equal("""{"secondsPerEpoch":3,"secondsPerLaterEpoch":3,"trainingSeconds":null,"sessionBytes":null,"trainingBytes":null,"trainingBytesPerEpoch":6,"peakMemory":3}""", At(document, 4)["relative"]!.ToJsonString());
        Assert.Equal("Plain takes 2.00 s an epoch, sends 400 B in training, needs at most 400 B in a process, and reaches a test AUC of 0.8000.", Sentence(document, 0));
        Assert.Equal("Active party alone takes 0.50 x the time of plain an epoch, sends nothing and has the same test AUC.", Sentence(document, 1));
        Assert.Equal("HDP-VFL (tight) at epsilon 1 takes 2.00 x the time of plain an epoch, sends 1.00 x the bytes in training, needs 2.00 x the memory and has the same test AUC.", Sentence(document, 2));
        Assert.Equal("One-round at epsilon 1 takes 0.50 x the time of plain's whole training, sends 1.00 x the bytes in training, needs 0.50 x the memory and has the same test AUC.", Sentence(document, 3));
        Assert.Equal("HE (Paillier) takes 3.00 x the time of plain an epoch, sends 6.00 x the bytes an epoch in training, needs 3.00 x the memory and has no figure of quality.", Sentence(document, 4));
        Assert.StartsWith("One party in the tool's own process", (string)At(document, 1)["note"]!, StringComparison.Ordinal);
        Assert.StartsWith("One message each way", (string)At(document, 3)["note"]!, StringComparison.Ordinal);
        Assert.Null(At(document, 1)["peakMemoryBytes"]);
        Assert.Null(At(document, 4)["metrics"]);
        Assert.Null(At(document, 4)["intervals"]);
        string[][] cells = [.. CompareTable.Rows(document).Select(r => CompareTable.Cells(document, r))];
        Assert.Equal(["hdp-vfl", "tight", "1", "0.001", "0.8000", "4.00", "2.00", "400 B", "1.00", "800 B", "2.00", "ok"], cells[2]);
        Assert.Equal(["one-round", "-", "1", "0.001", "0.8000", "2.00 in all", "0.50", "400 B", "1.00", "200 B", "0.50", "ok"], cells[3]);
        Assert.Equal(["he", "paillier", "-", "-", "-", "6.00", "3.00", "1200 B/epoch", "6.00", "1200 B", "3.00", "ok"], cells[4]);
    }

    /// <summary>Plain's interval is from .75 to .85.</summary>
    [Theory]
    [InlineData("auc", .84, "gains 0.0400 test AUC, which is within plain's interval of 0.7500 to 0.8500.")]
    [InlineData("auc", .9, "gains 0.1000 test AUC.")]
    [InlineData("auc", .76, "loses 0.0400 test AUC, which is within plain's interval of 0.7500 to 0.8500.")]
    [InlineData("auc", .7, "loses 0.1000 test AUC.")]
    [InlineData("d2", .7, "loses 0.1000 test D\u00B2.")]
    [InlineData("rmse", .9, "ends with a test RMSE 0.1000 higher.")]
    [InlineData("deviance", .7, "ends with a test Deviance 0.1000 lower.")]
    public void Of_OtherFigure_SaysWhetherItIsBetterAndWithinPlainsInterval(string metric, double figure, string said) =>
        Assert.EndsWith(said, Sentence(Document(Job(), Row(None, Job(), Report(1, metric)), Row(Tight, Job(), Report(1, metric, figure))), 1), StringComparison.Ordinal);

    [Theory]
    [InlineData("binomial", true, "Under encryption the residual is Taylor's approximation")]
    [InlineData("gaussian", true, "residuals are not clipped, as other rows clip them at training.residualClip 1")]
    [InlineData("gaussian", false, null)]
    public void Of_ResidualThatEncryptionChanges_IsSaid(string family, bool clips, string? said)
    {
        GlmRunFile plain = Job(("model.family", family), ("training.residualClip", clips ? 1 : null));
        JsonObject document = Document(plain, Row(None, plain, Report(1)), Row(He, plain, Report(1, figure: .7)), Row(Tight, plain, Report(1)));
        foreach (string text in (string[])[(string?)At(document, 1)["note"] ?? "", Sentence(document, 1)])
            Assert.Equal(said is not null, text.Contains(said ?? "Under encryption", StringComparison.Ordinal));
        Assert.DoesNotContain("Under encryption", Sentence(document, 2), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_PlainRefused_TheOthersStandForThemselves()
    {
        var refused = new CompareResult(None) { Planned = 3 };
        refused.Refuse(new BadInputException("FL3012", "training", "the model diverged.", "Take smaller steps."));
        JsonObject document = Document(Job(), refused, Row(Tight, Job(), Report(2)));
        Assert.Equal(("Plain was refused (FL3012).", refused.Error!.Message), (Sentence(document, 0), (string?)At(document, 0)["note"]));
        Assert.Equal("HDP-VFL (tight) at epsilon 1 takes 2.00 s an epoch, sends 400 B in training, needs at most 400 B in a process, and reaches a test AUC of 0.8000.", Sentence(document, 1));
        Assert.Null(At(document, 1)["relative"]);
        Assert.Equal("auc", (string)document["quality"]!["metric"]!);
        Assert.Equal("FL3012", CompareTable.Cells(document, At(document, 0))[^1]);
    }

    [Fact]
    public void Of_Ckks_SaysWhichEngineRanAndWhatTheOtherTakes()
    {
        GlmRunFile Run(string engine) => RunFile.Load(_scene.Named($"{engine}.job.json", Scene.Private(("privacy.mode", "he"), ("training.optimizer", "sgd"), ("privacy.he.scheme", "ckks"), ("privacy.he.engine", engine)))).As<GlmRunFile>("compare");
        CompareResult Of(string engine, double seconds) => Row(new CompareCase("he") { Scheme = "ckks", Engine = engine }, Run(engine),
            Report(seconds, changes: [("parties.0.encryption", new JsonObject { ["engine"] = $"SEAL, {engine}" })]));
        JsonObject both = Document(Job(), Row(None, Job(), Report(1)), Of("node", 8), Of("native", 2)), one = Document(Job(), Row(None, Job(), Report(1)), Of("node", 8));
        Assert.Equal(.25, (double)At(both, 1)["nativeToWasm"]!);
        Assert.EndsWith("SEAL in WebAssembly (SEAL, node). The same job on SEAL's own library took 0.25 x this time (SEAL, native).", (string)At(both, 1)["note"]!, StringComparison.Ordinal);
        Assert.EndsWith("Engine: SEAL, native.", (string)At(both, 2)["note"]!, StringComparison.Ordinal);
        Assert.StartsWith("HE (CKKS) (SEAL in WebAssembly) takes", Sentence(both, 1), StringComparison.Ordinal);
        Assert.StartsWith("HE (CKKS, native) takes", Sentence(both, 2), StringComparison.Ordinal);
        Assert.Contains("There is no libsealc on this machine", (string)At(one, 1)["note"]!, StringComparison.Ordinal);
        // Rows with noise are of one engine, and compared with plain alone.
        JsonObject noised = Document(Job(), Row(None, Job(), Report(1)), Row(new CompareCase("he+dp") { Scheme = "ckks", Epsilon = 1, Delta = 0.001 }, Run("node"), Report(8, changes: [("parties.0.encryption", new JsonObject { ["engine"] = "SEAL, node" })])));
        Assert.DoesNotContain("libsealc", (string)At(noised, 1)["note"]!, StringComparison.Ordinal);
        Assert.Contains(both["notes"]!.AsArray(), n => ((string)n!).StartsWith("SEAL ran in WebAssembly", StringComparison.Ordinal));
        Assert.DoesNotContain(Document(Job(), Row(None, Job(), Report(1)))["notes"]!.AsArray(), n => ((string)n!).Contains("WebAssembly", StringComparison.Ordinal));
        Assert.Contains(both["notes"]!.AsArray(), n => ((string)n!).Contains("have the median of 3 runs", StringComparison.Ordinal));
    }

    [Fact]
    public void Of_PublishedFormulas_HasTheLargerDeltaOfTheParties()
    {
        JsonObject document = Document(Job(), Row(new CompareCase("hdp-vfl") { Calibration = "paper", Epsilon = 1, Delta = 0.001 }, Job(), Report(1)));
        Assert.Equal(.003, (double)At(document, 0)["actualDelta"]!);
        Assert.Equal("0.003", CompareTable.Cells(document, At(document, 0))[3]);
    }

    [Theory]
    [InlineData(2, 5, false, "HE (CKKS); HE (Paillier) 2")]
    [InlineData(5, 5, false, "HE (CKKS); HE (Paillier)")]
    [InlineData(9, 5, true, "HE (CKKS); HE (CKKS, native); HE (Paillier)")]
    public void All_Rows_AreInTheOrderOfTheDocument(int heEpochs, int epochs, bool native, string encrypted)
    {
        IReadOnlyList<CompareCase> rows = CompareCase.All(new CompareRequest([1, 2], ["ckks", "paillier"], null, heEpochs, 3), 0.001, epochs, native);
        Assert.Equal($"Plain; Active party alone; HDP-VFL (paper) at epsilon 1; HDP-VFL (paper) at epsilon 2; HDP-VFL (tight) at epsilon 1; HDP-VFL (tight) at epsilon 2; One-round at epsilon 1; One-round at epsilon 2; {encrypted}; HE + DP (CKKS) at epsilon 1; HE + DP (CKKS) at epsilon 2",
            string.Join("; ", rows.Select(r => r.Epochs is { } fewer ? $"{r.Name} {fewer}" : r.Name)));
        Assert.DoesNotContain(CompareCase.All(new CompareRequest([1], ["paillier"], null, 1, 3), 0.001, 5, native), r => r.Mode == "he+dp");
        Assert.Equal(["none", "guest-only", "hdp-vfl"], rows.Where(r => r.Repeats).Select(r => r.Mode).Distinct());
        Assert.Equal("privacy.mode hdp-vfl, privacy.calibration tight, privacy.epsilon 1, privacy.delta 0.001, training.optimizer sgd", Settings(Tight));
        Assert.Equal("privacy.mode one-round, privacy.epsilon 1, privacy.delta 0.001", Settings(OneRound));
        Assert.Equal("privacy.mode none, training.optimizer sgd", Settings(Alone));
        static string Settings(CompareCase row) => string.Join(", ", row.Settings([]).Select(s => $"{s.Key} {s.Text}"));
    }

    [Fact]
    public void Page_OfRows_HasTheirFiguresAndWhatTheyAreToPlain()
    {
        JsonNode arbiter = JsonNode.Parse("""{ "role": "arbiter", "bytesSent": 1000, "peakMemoryBytes": 30000, "enginePeakMemoryBytes": 50000 }""")!;
        JsonObject document = Document(Job(), Row(None, Job(), Report(2)), Row(Alone, Job(), Report(1)), Row(Tight, Job(), Report(40, figure: .7)),
            Row(He, Job(), Report(80, changes: [("roles.0", arbiter), ("parties.0.encryption", new JsonObject { ["engine"] = "GMP", ["enginePeakMemoryBytes"] = 12_345 })])));
        document["timing"]!["totalSeconds"] = 12.5;
        document["ledger"]!["charges"]!.AsArray().Add(JsonNode.Parse("""{ "party": "bank", "epsilon": 1.5, "delta": 1e-5, "runs": 3 }"""));
        string page = CompareReport.Of(document);
        Assert.Equal(["mode | how | epsilon | delta | test AUC | s/epoch | x plain | bytes | x plain | peak memory | x plain | status",
            "none | - | - | - | 0.8000 0.7500 to 0.8500 | 2.00 | 1.00 | 400 B | 1.00 | 400 B | 1.00 | ok",
            "guest-only | - | - | - | 0.8000 0.7500 to 0.8500 | 1.00 | 0.50 | 400 B | 1.00 | - | - | ok",
            "hdp-vfl | tight | 1 | 0.001 | 0.7000 0.7500 to 0.8500 | 40.00 | 20.0 | 400 B | 1.00 | 8000 B | 20.0 | ok",
            "he | paillier | - | - | 0.8000 0.7500 to 0.8500 | 80.00 | 40.0 | 1400 B | 3.50 | 80.0 kB | 200 | ok"], PageTables.Table(page, "Rows"));
        Assert.Contains("<td>none</td><td>-</td><td class=\"n\">-</td>", page, StringComparison.Ordinal);
        Assert.Equal(["row | epsilon | AUC", "Plain | - | 0.8000 0.7500 to 0.8500", "Active party alone | - | 0.8000 0.7500 to 0.8500", "HDP-VFL (tight) | 1 | 0.7000 0.7500 to 0.8500", "HE (Paillier) | - | 0.8000 0.7500 to 0.8500"], PageTables.Table(page, "Quality"));
        Assert.Equal(["row | figure | x plain", "Plain | 2.00 s | 1.00", "Active party alone | 1.00 s | 0.50", "HDP-VFL (tight) at epsilon 1 | 40.00 s | 20.0", "HE (Paillier) | 80.00 s | 40.0"], PageTables.Table(page, "Seconds an epoch, relative to plain"));
        Assert.Equal(["row | figure | x plain", "Plain | 200 B | 1.00", "Active party alone | 200 B | 1.00", "HDP-VFL (tight) at epsilon 1 | 200 B | 1.00", "HE (Paillier) | 700 B | 3.50"], PageTables.Table(page, "Training bytes on the wire an epoch, relative to plain"));
        Assert.Equal(["row | figure | x plain", "Plain | 400 B | 1.00", "HDP-VFL (tight) at epsilon 1 | 8000 B | 20.0", "HE (Paillier) | 80.0 kB | 200"], PageTables.Table(page, "Peak memory of the largest process, relative to plain"));
        Assert.Equal(["row | process | peak memory", "Plain | bank | 200 B", "Plain | telco | 400 B", "HDP-VFL (tight) at epsilon 1 | bank | 4000 B", "HDP-VFL (tight) at epsilon 1 | telco | 8000 B",
            "HE (Paillier) | bank | 8000 B", "HE (Paillier) | bank, engine of encryption | 12.3 kB", "HE (Paillier) | telco | 16.0 kB", "HE (Paillier) | arbiter | 30.0 kB", "HE (Paillier) | arbiter, engine of encryption | 50.0 kB"], PageTables.Table(page, "Peak memory of every process"));
        Assert.Equal(["trade-off", "cost 4", "cost 4", "cost 3"], PageTables.Charts(page));
        // Seconds and memory go from a half to forty and from one to two hundred.
        Assert.Equal(2, page.Split("The axis is logarithmic").Length - 1);
        string text = PageTables.Text(page);
        Assert.All((string[])["Test AUC against epsilon", $"{Sentence(document, 3)} {(string)At(document, 3)["note"]!}", "this comparison charged 'bank' epsilon 1.5 at delta 1E-05 in 3 charged runs", "Job digest of the file"], said => Assert.Contains(said, text, StringComparison.Ordinal));
        Assert.Equal(["Family: binomial", "Epochs: 2", "Train rows: 80", "Test rows: 20", "Transport: in-memory", "Processes: yes"], PageTables.Terms(page)[4..^2]);
        Assert.Equal("Seconds in all: 12.5000", PageTables.Terms(page)[^1]);
        Assert.StartsWith("Cores: ", PageTables.Terms(page)[0], StringComparison.Ordinal);
        Assert.Matches("^FedLearn: [0-9.]+$", PageTables.Terms(page)[^2]);
        Assert.DoesNotContain("Job digest", PageTables.Text(CompareReport.Of(ReportParts.ReadBack(Scene.Changed(document, ("job.digest", null))))), StringComparison.Ordinal);
    }

    [Fact]
    public void Page_OfFewRows_HasTheChartsThatSayAnything()
    {
        // What has no epsilon has no line against it; one bar alone compares nothing.
        JsonObject document = Document(Job(), Row(None, Job(), Report(2)), Row(Alone, Job(), Report(1, changes: [("parties.1", JsonNode.Parse("""{ "name": "telco", "bytesSent": 0, "peakMemoryBytes": 1, "releases": [] }""")), ("parties.0.releases", new JsonArray())])));
        Assert.Equal(["cost 2"], PageTables.Charts(CompareReport.Of(document)));
        Assert.DoesNotContain("The axis is logarithmic", CompareReport.Of(document), StringComparison.Ordinal);
        JsonObject trained = Document(Job(), Row(None, Job(), Report(1, changes: [("metrics.test", null)])), Row(new CompareCase("he+dp") { Scheme = "ckks", Epsilon = 1, Delta = 0.001 }, Job(), Report(1, changes: [("metrics.test", null)])), Row(He with { Epochs = 1 }, Job(), Report(1)));
        string page = CompareReport.Of(trained);
        Assert.Contains("Training AUC against epsilon", page, StringComparison.Ordinal);
        Assert.Equal(["row | epsilon | AUC", "Plain | - | 0.8000", "HE + DP (CKKS) | 1 | 0.8000"], PageTables.Table(page, "Quality"));
    }

    [Fact]
    public void Show_OfAComparison_HasTheTableAndWhatThereIsToSay()
    {
        var refused = new CompareResult(OneRound) { Planned = 1 };
        refused.Refuse(new PrivacyRefusedException("FL5020", "ledger", "the budget is spent.", "Raise it."));
        var cut = new CompareResult(Tight) { Planned = 2, Run = Job() };
        cut.Reports.Add(Report(1, changes: [("notice", "NOT PRIVATE: test noise")]));
        cut.Refuse(new PrivacyRefusedException("FL5021", "ledger", "another one.", "Raise it."));
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)), cut, refused);
        document["timing"]!["totalSeconds"] = 12.5;
        using var error = new StringWriter();
        System.CommandLine.ParseResult parsed = new System.CommandLine.RootCommand().Parse([]);
        parsed.InvocationConfiguration.Error = error;
        CompareTable.Show(document, Output.Terminal.Of(parsed));
        string[] lines = error.ToString().ReplaceLineEndings("\n").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("NOT PRIVATE: test noise", lines[0]);
        Assert.All((string[])["Plain takes 1.00 s an epoch", "One-round at epsilon 1 was refused (FL5020).", "refused: One-round at epsilon 1: ledger: the budget is spent."], said => Assert.Single(lines, l => l.StartsWith(said, StringComparison.Ordinal)));
        Assert.DoesNotContain(lines, l => l.StartsWith("refused: HDP-VFL", StringComparison.Ordinal)); // its sentence says so
        Assert.Equal(CompareTable.Notes(document).Select(n => $"note: {n}"), lines.Where(l => l.StartsWith("note: ", StringComparison.Ordinal)));
        Assert.Equal("12.5000 s in all.", lines[^1]);
        Assert.True(lines.Count(l => l.StartsWith("| ", StringComparison.Ordinal)) == 4, error.ToString());
    }

    /// <summary>Rows that differ in one thing from those of the other tests.</summary>
    [Fact]
    public void Of_RowsOfOtherKinds_SayWhatIsSoThere()
    {
        var both = new CompareCase("he+dp") { Scheme = "paillier", Epsilon = 1, Delta = 0.001 };
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)), Row(both, Job(), Report(1, figure: .7)), Row(OneRound, Job(), Report(1)), Row(He with { Epochs = 1 }, Job(), Report(1), Report(1)));
        // The scores of an encrypted job are the model's, on all rows.
        Assert.Equal(.7, (double)At(document, 1)["metrics"]!["train"]!["auc"]!);
        Assert.Null(At(document, 2)["metrics"]!["train"]);
        Assert.Contains("Under encryption the residual", Sentence(document, 1), StringComparison.Ordinal);
        Assert.Null(At(document, 2)["timing"]!["secondsPerEpoch"]);
        Assert.Null(At(document, 2)["timing"]!["secondsPerLaterEpoch"]);
        Assert.Null(At(document, 3)["metricsOfEach"]);
        Assert.Contains("Only 1 of the job's epochs", (string)At(document, 3)["note"]!, StringComparison.Ordinal);
        Assert.DoesNotContain("Under encryption", Sentence(document, 3), StringComparison.Ordinal);
        Assert.Contains("No quality of training rows", (string)At(document, 2)["note"]!, StringComparison.Ordinal);
        Assert.Null((string?)At(document, 0)["note"]);
        Assert.Equal(0, (int)At(document, 0)["timing"]!["repeatsRefused"]!);
        Assert.Contains(document["notes"]!.AsArray(), n => ((string)n!).Contains("but for rows of Paillier", StringComparison.Ordinal));
        Assert.DoesNotContain(Document(Job(), Row(None, Job(), Report(1)))["notes"]!.AsArray(), n => ((string)n!).Contains("but for rows of Paillier", StringComparison.Ordinal));
        Assert.Equal(Environment.ProcessorCount, (int)document["machine"]!["cores"]!);
    }

    /// <summary>A comparison that was interrupted in its first private run, when those before it had been refused.</summary>
    [Fact]
    public void Of_ChargesAndNoRunThatEnded_IsADocumentLikeEveryOther()
    {
        var refused = new CompareResult(None) { Planned = 3 };
        refused.Refuse(new InternalFailureException("FL6100", "party 'bank', round 2", "the model diverged.", "Take smaller steps."));
        var ledger = new JsonObject { ["note"] = "Charged.", ["charges"] = new JsonArray(new JsonObject { ["party"] = "telco", ["epsilon"] = .5, ["delta"] = 0.001, ["runs"] = 1 }) };
        JsonObject document = ReportParts.ReadBack(CompareDocument.Of(Job(), null, new CompareRequest([1], [], null, 1, 3), false, [refused, new CompareResult(OneRound) { Planned = 1, IsInterrupted = true }], [], ledger));
        Assert.False((bool)document["complete"]!);
        Assert.Equal(["refused", "interrupted"], document["rows"]!.AsArray().Select(r => (string)r!["status"]!));
        Assert.Equal("One-round at epsilon 1 has no run that ended before the interruption.", Sentence(document, 1));
        Assert.Equal(["one-round", "-", "1", "0.001", "-", "-", "-", "-", "-", "-", "-", "interrupted"], CompareTable.Cells(document, At(document, 1)));
        Assert.Equal("this comparison charged 'telco' epsilon 0.5 at delta 0.001 in 1 charged run", CompareTable.Notes(document).Last());
        Assert.Contains("this comparison charged &#39;telco&#39; epsilon 0.5", CompareReport.Of(document), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3, true, "2 of its 3 runs were refused (FL5020): the figures are those of the others.")]
    [InlineData(2, false, "1 of its 2 runs was interrupted or not begun: the figures are those of the others.")]
    public void Of_RunsLeftOut_SaysHowManyAndWhy(int planned, bool refused, string said)
    {
        var cut = new CompareResult(Tight) { Planned = planned, Run = Job(), IsInterrupted = !refused };
        cut.Reports.Add(Report(1));
        if (refused)
            cut.Refuse(new PrivacyRefusedException("FL5020", "ledger", "the budget is spent.", "Raise it."));
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)), cut);
        Assert.StartsWith(said, (string)At(document, 1)["note"]!, StringComparison.Ordinal);
        Assert.EndsWith(said, Sentence(document, 1), StringComparison.Ordinal);
        Assert.Equal(planned - 1, (int)At(document, 1)["timing"]!["repeatsRefused"]!);
        Assert.Equal(refused, (bool)document["complete"]!);
    }

    /// <summary>Scores of training rows have noise in a private row: what is computed from them is no figure of the model, of whichever kind.</summary>
    [Fact]
    public void Of_PrivateRow_HasNoFigureOfTrainingRows()
    {
        JsonObject Of(double figure) => Report(1, figure: figure, changes: [("intervals.train", new JsonObject { ["auc"] = new JsonArray(.7, .9) })]);
        JsonObject document = Document(Job(), Row(None, Job(), Of(.8), Of(.8)), Row(Tight, Job(), Of(.7), Of(.8)));
        foreach (string key in (string[])["metrics", "intervals", "metricsOfEach"])
            Assert.Equal((true, true, true, false), (At(document, 0)[key]!["train"] is not null, At(document, 0)[key]!["test"] is not null, At(document, 1)[key]!["test"] is not null, At(document, 1)[key]!["train"] is not null));
        Assert.EndsWith("Its 2 runs have 0.7000 to 0.8000.", Sentence(document, 1), StringComparison.Ordinal);
        Assert.DoesNotContain("Its 2 runs", Sentence(document, 0), StringComparison.Ordinal);

        // Without test rows such a row has none at all, and says why; one that was not trained to the end has none for another reason.
        JsonObject Trained(string metric = "auc") => Report(1, metric, changes: [("metrics.test", null)]);
        document = Document(Job(), Row(None, Job(), Trained()), Row(Tight, Job(), Trained()), Row(He with { Epochs = 1 }, Job(), Trained()), Row(He, Job(), Trained("rmse")));
        Assert.Equal("train", (string)document["quality"]!["set"]!);
        Assert.EndsWith("has no figure of quality, since scores of training rows would not be the model's.", Sentence(document, 1), StringComparison.Ordinal);
        Assert.All((int[])[2, 3], row => Assert.Contains("has no figure of quality.", Sentence(document, row), StringComparison.Ordinal));
        document = Document(Job(), Row(None, Job(), Report(1)), Row(Tight, Job(), Trained()));
        Assert.Equal("test", (string)document["quality"]!["set"]!);
        Assert.EndsWith("has no figure of quality.", Sentence(document, 1), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(.001, "The noise of the published formulas reaches delta 0.003 at this epsilon, above the 0.001 asked for.")]
    [InlineData(.01, "The noise of the published formulas reaches delta 0.003 at this epsilon, within the 0.01 asked for.")]
    public void Of_PublishedFormulas_SaysWhichDeltaTheyReach(double delta, string said)
    {
        JsonObject document = Document(Job(), Row(None, Job(), Report(1)), Row(new CompareCase("hdp-vfl") { Calibration = "paper", Epsilon = 1, Delta = delta }, Job(), Report(1)), Row(Tight, Job(), Report(1)));
        Assert.Contains(said, (string)At(document, 1)["note"]!, StringComparison.Ordinal);
        Assert.EndsWith(said, Sentence(document, 1), StringComparison.Ordinal);
        Assert.DoesNotContain("published formulas", (string)At(document, 2)["note"]! + Sentence(document, 2), StringComparison.Ordinal);
    }

    /// <summary>Sentences about all rows name what is among them, and nothing else.</summary>
    [Fact]
    public void Of_Notes_AreOfTheRowsThereAre()
    {
        var refused = new CompareResult(He with { Epochs = 1 }) { Planned = 1 };
        refused.Refuse(new InternalFailureException("FL6200", "privacy.he.engine", "there is none.", "Install it."));
        string[] Notes(int repeats, params CompareResult[] results) => [.. CompareDocument.Of(Job(), null, new CompareRequest([1], [], 0.001, 1, repeats), true, results, ["The last."], new JsonObject { ["charges"] = new JsonArray() })["notes"]!.AsArray().Select(n => (string)n!)];
        JsonObject slow = Report(1, changes: [("history", JsonNode.Parse("""[{ "seconds": 1.9 }, { "seconds": 2 }]"""))]);
        string[] notes = Notes(1, Row(None, Job(), slow), Row(Alone, Job(), slow), Row(Tight, Job(), slow), Row(He, Job(), slow), refused);
        Assert.DoesNotContain(notes, n => n.Contains("but for rows of Paillier", StringComparison.Ordinal));
        Assert.Contains(notes, n => n.EndsWith("take turns and are run once, so that ratios near 1 are noise, other rows one run.", StringComparison.Ordinal));
        string starting = Assert.Single(notes, n => n.StartsWith("Starting is a third", StringComparison.Ordinal));
        Assert.Contains("HDP-VFL (tight) at epsilon 1 1.00 x", starting, StringComparison.Ordinal);
        Assert.DoesNotContain("Active party alone", starting, StringComparison.Ordinal);
        Assert.Equal("The last.", notes[^1]);
        Assert.Contains(Notes(3, Row(None, Job(), Report(1))), n => n.EndsWith("Metrics and intervals are the first run's, metricsOfEach has those of all.", StringComparison.Ordinal));
    }

    /// <summary>The figure that rows are compared by is that of plain, which all of them have.</summary>
    [Fact]
    public void Of_RowsWithOtherFigures_AreComparedByThatOfPlain() =>
        Assert.Equal("rmse", (string)Document(Job(), Row(Tight, Job(), Report(1)), Row(None, Job(), Report(1, "rmse")))["quality"]!["metric"]!);
}
