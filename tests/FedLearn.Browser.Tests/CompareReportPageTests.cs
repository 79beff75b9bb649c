using System.Text.Json.Nodes;
using FedLearn.Cli.Report;

namespace FedLearn.Browser.Tests;

/// <summary>The page of a comparison as a browser shows it. All figures are made up.</summary>
public sealed class CompareReportPageTests(Browser browser) : IClassFixture<Browser>
{
    [Theory]
    [InlineData(1280, false)]
    [InlineData(390, true)]
    public async Task Page_EveryMode_DrawsEveryChart(int width, bool dark)
    {
        await using OpenPage open = await browser.OpenAsync(CompareReport.Of(Document()), width, dark, name: $"compare-{width}");
        await open.KeepAsync();
        Assert.Empty(open.Complaints);
        Assert.Equal(["trade-off", "cost", "cost", "cost"], await open.ChartsAsync());
        Assert.Empty(await open.BlankAsync());
        Assert.Equal(0, await open.Page.EvaluateAsync<int>("() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"));
        // Encryption is hundreds of times slower, and no line of a few percent shows beside it but on a logarithmic axis.
        Assert.Equal("logarithmic", await open.Page.EvaluateAsync<string>("() => Chart.getChart(document.querySelector('figure[data-metric=secondsPerEpoch] canvas')).options.scales.x.type"));
        Assert.Equal(["HDP-VFL (tight)", "One-round", "Plain", "Active party alone"], await open.Page.EvaluateAsync<string[]>(
            "() => Chart.getChart(document.querySelector('figure[data-chart=trade-off] canvas')).data.datasets.map(d => d.label).filter(l => l !== '')"));
    }

    [Fact]
    public async Task Page_Rows_SayWhatWasRefusedAndWhatRanInWebAssembly()
    {
        await using OpenPage open = await browser.OpenAsync(CompareReport.Of(Document()));
        string text = await open.TextAsync();
        foreach (string shown in (string[])["FL6207", "SEAL in WebAssembly", "Every run charges.", "0.7000 to 0.7400", "this comparison charged 'bank' epsilon 3"])
            Assert.Contains(shown, text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Page_OnlyPlainHasFigures_IsWhole()
    {
        JsonObject document = Document();
        JsonArray rows = document["rows"]!.AsArray();
        while (rows.Count > 1)
            rows.RemoveAt(1);
        await using OpenPage open = await browser.OpenAsync(CompareReport.Of(document));
        Assert.Empty(open.Complaints);
        Assert.Empty(await open.ChartsAsync());
    }

    [Fact]
    public async Task Page_TestNoiseAndMarkup_NoticeFirstAndTextsStayTexts()
    {
        const string Hostile = "</script><script>document.title='taken over'</script><img src=x>";
        JsonObject document = Document();
        document.Insert(0, "notice", "NOT PRIVATE: test noise");
        document["job"]!["name"] = Hostile;
        document["rows"]![2]!["series"] = Hostile;
        document["rows"]![2]!["name"] = Hostile;
        await using OpenPage open = await browser.OpenAsync(CompareReport.Of(document));
        Assert.StartsWith("NOT PRIVATE: test noise", await open.TextAsync(), StringComparison.Ordinal);
        Assert.Equal("NOT PRIVATE: test noise - " + Hostile, await open.Page.TitleAsync());
        Assert.Equal(0, await open.Page.Locator("img").CountAsync());
        Assert.Empty(open.Complaints);
    }

    private static JsonObject Document() => JsonNode.Parse(new JsonObject
    {
        ["tool"] = new JsonObject { ["name"] = "fedlearn", ["version"] = "0.1.0" },
        ["machine"] = new JsonObject { ["cores"] = 2, ["os"] = "Debian 12", ["framework"] = ".NET 10" },
        ["job"] = new JsonObject { ["name"] = "comparison", ["digest"] = string.Concat(Enumerable.Repeat("6ca08b5f", 8)), ["epochs"] = 10 },
        ["quality"] = new JsonObject { ["set"] = "test", ["metric"] = "auc" },
        ["rows"] = new JsonArray(
            Row("none", "Plain", null, null, 0.74, 1, 100e6), Row("guest-only", "Active party alone", null, null, 0.65, 0.2, null),
            Row("hdp-vfl", "HDP-VFL (tight)", null, 0.1, 0.52, 1.04, 103e6), Row("hdp-vfl", "HDP-VFL (tight)", null, 1, 0.66, 1.06, 104e6), Row("hdp-vfl", "HDP-VFL (tight)", null, 10, 0.72, 1.05, 103e6),
            Row("one-round", "One-round", null, 0.1, 0.6, null, 110e6), Row("one-round", "One-round", null, 1, 0.71, null, 110e6), Row("one-round", "One-round", null, 10, 0.73, null, 110e6),
            Row("he", "HE (CKKS)", "ckks", null, null, 210, 400e6, "SEAL in WebAssembly (node-seal 6)."), Refused()),
        ["ledger"] = new JsonObject { ["note"] = "Every run charges.", ["charges"] = new JsonArray(new JsonObject { ["party"] = "bank", ["epsilon"] = 3, ["delta"] = 1e-5, ["runs"] = 6 }) },
        ["notes"] = new JsonArray("The same rows."),
        ["timing"] = new JsonObject { ["totalSeconds"] = 12.5 },
    }.ToJsonString())!.AsObject();

    private static JsonObject Row(string mode, string series, string? scheme, double? epsilon, double? auc, double? seconds, double? memory, string? note = null) => new()
    {
        ["mode"] = mode,
        ["calibration"] = mode == "hdp-vfl" ? "tight" : null,
        ["scheme"] = scheme,
        ["epsilon"] = epsilon,
        ["status"] = "ok",
        ["name"] = epsilon is null ? series : $"{series} at epsilon {epsilon}",
        ["series"] = series,
        ["metrics"] = auc is null ? null : new JsonObject { ["train"] = null, ["test"] = new JsonObject { ["auc"] = auc } },
        ["intervals"] = auc is null ? null : new JsonObject { ["test"] = new JsonObject { ["auc"] = new JsonArray(auc - 0.02, auc + 0.02) } },
        ["timing"] = new JsonObject { ["secondsPerEpoch"] = seconds / 100, ["trainingSeconds"] = 0.1 },
        ["bytes"] = new JsonObject { ["session"] = 5_000_000, ["training"] = mode == "guest-only" ? 0 : 3_000_000, ["trainingPerEpoch"] = seconds is null ? null : mode == "guest-only" ? 0 : 300_000 },
        ["peakMemoryBytes"] = memory,
        ["relative"] = new JsonObject
        {
            ["secondsPerEpoch"] = seconds,
            ["trainingSeconds"] = seconds ?? 0.7,
            ["trainingBytes"] = mode == "guest-only" ? 0 : 1,
            ["trainingBytesPerEpoch"] = seconds is null ? null : mode == "guest-only" ? 0 : 1,
            ["peakMemory"] = memory / 100e6,
        },
        ["parties"] = new JsonArray(new JsonObject { ["name"] = "bank", ["peakMemoryBytes"] = memory }, new JsonObject { ["name"] = "telco", ["peakMemoryBytes"] = memory * 0.9 }),
        ["roles"] = new JsonArray(),
        ["sentence"] = $"{series} takes its time.",
        ["note"] = note,
    };

    private static JsonObject Refused() => new()
    {
        ["mode"] = "he",
        ["calibration"] = null,
        ["scheme"] = "paillier",
        ["epsilon"] = null,
        ["status"] = "refused",
        ["name"] = "HE (Paillier)",
        ["series"] = "HE (Paillier)",
        ["metrics"] = null,
        ["relative"] = null,
        ["parties"] = new JsonArray(),
        ["roles"] = new JsonArray(),
        ["sentence"] = "HE (Paillier) was refused (FL6207).",
        ["error"] = new JsonObject { ["id"] = "FL6207", ["message"] = "GMP is missing." },
        ["note"] = "FL6207: GMP is missing.",
    };
}
