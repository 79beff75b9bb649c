using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FedLearn.Cli;
using FedLearn.Cli.Output;
using FedLearn.Cli.Report;
using FedLearn.Tests.Shared;

namespace FedLearn.Browser.Tests;

/// <summary>The HTML report as a browser shows it. Pages and pictures are kept under build/test-artifacts.</summary>
public sealed partial class ReportPageTests(Browser browser) : IClassFixture<Browser>
{
    private const string Notice = "NOT PRIVATE: test noise";

    private static readonly string[] AllCharts = ["roc", "precisionRecall", "calibration", "lift", "loss", "epsilon", "bytes", "time", "tuning"];

    [Theory]
    [InlineData(1280, false)]
    [InlineData(1280, true)]
    [InlineData(390, false)]
    [InlineData(320, true)]
    public async Task Page_EveryPart_DrawsEveryChartAndFits(int width, bool dark)
    {
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([Reports.Full()]), width, dark, name: $"report-{width}-{(dark ? "dark" : "light")}");
        await open.KeepAsync();
        await AssertSoundAsync(open, AllCharts);
        string background = await open.Page.EvaluateAsync<string>("() => getComputedStyle(document.body).backgroundColor");
        Assert.Equal(dark ? "rgb(18, 22, 27)" : "rgb(245, 246, 248)", background);
    }

    [Fact]
    public async Task Page_ReaderTurnsDark_ChartsFollow()
    {
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([Reports.Full()]));
        const string Colour = "() => Chart.getChart(document.querySelector('figure[data-chart=roc] canvas')).data.datasets[0].borderColor";
        string light = await open.Page.EvaluateAsync<string>(Colour);
        await open.Page.EmulateMediaAsync(new() { ColorScheme = Microsoft.Playwright.ColorScheme.Dark });
        await open.Page.WaitForFunctionAsync($"light => ({Colour})() !== light", light);
        await AssertSoundAsync(open, AllCharts);
    }

    [Fact]
    public async Task Page_OnlyWhatEveryReportHas_IsWhole()
    {
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([Reports.Plain()]));
        await AssertSoundAsync(open, ["bytes", "time"]);
        string text = await open.TextAsync();
        Assert.Contains("0.6669", text, StringComparison.Ordinal);
        Assert.Contains("This job makes no privacy claim.", text, StringComparison.Ordinal);
        // Between two parties the receiver is known.
        Assert.Equal(["bank", "telco"], await open.Page.Locator("[aria-label=Messages] tbody tr").First.Locator("td").AllInnerTextsAsync() is [var from, var to, ..] ? [from, to] : []);
    }

    [Fact]
    public async Task Page_OfOnePartyAlone_SaysThatNothingLeftIt()
    {
        JsonObject report = Reports.Plain();
        report["parties"]!.AsArray().RemoveAt(1);
        report["parties"]![0]!["releases"] = new JsonArray();
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([report]));
        await AssertSoundAsync(open, ["time"]);
        Assert.Contains("No message left a party.", await open.TextAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("test")]
    [InlineData("both")]
    [InlineData("parties")]
    [InlineData("evaluation")]
    [InlineData("curves")]
    [InlineData("history")]
    public async Task Page_PartsAreNull_IsWhole(string missing)
    {
        JsonObject report = Reports.Full();
        string[] charts = AllCharts;
        switch (missing)
        {
            case "test":
                foreach (JsonNode? part in (JsonNode?[])[report["metrics"], report["metrics"]!["guestOnly"], report["intervals"], report["evaluation"]])
                    part!["test"] = null;
                break;
            case "both":
                report["metrics"] = new JsonObject { ["train"] = null, ["test"] = null };
                report["intervals"] = report["evaluation"] = null;
                charts = AllCharts[4..];
                break;
            case "parties":
                // What one party writes for itself.
                report["parties"]!.AsArray().RemoveAt(2);
                report["parties"]!.AsArray().RemoveAt(1);
                break;
            case "evaluation":
                report["evaluation"] = report["history"] = report["tuning"] = report["intervals"] = null;
                charts = ["bytes", "time"];
                break;
            case "curves":
                // A regression ranks nothing.
                foreach (string set in (string[])["train", "test"])
                    foreach (string part in (string[])["roc", "precisionRecall", "confusion", "perClass"])
                        report["evaluation"]![set]![part] = null;
                charts = AllCharts[2..];
                break;
            default:
                foreach (JsonNode? round in report["history"]!.AsArray())
                    round!["validation"] = round["epsilon"] = null;
                charts = [.. AllCharts.Where(c => c != "epsilon")];
                break;
        }

        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([report]), name: $"report-without-{missing}");
        await AssertSoundAsync(open, charts);
    }

    [Fact]
    public async Task Page_SeveralReports_StandSideBySide()
    {
        JsonObject[] reports = [Reports.Plain("both, plain"), Reports.Full("both, epsilon 1"), Reports.Full("both, epsilon 10")];
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of(reports, HtmlReport.Table(["job", "AUC"], reports.Select(r => (string[])[(string)r["job"]!["name"]!, "0.5"])), "Side by side"), width: 390);
        await open.KeepAsync();
        await AssertSoundAsync(open, ["compare", "compare-roc", "bytes", "time", .. AllCharts, .. AllCharts]);
        Assert.Equal(3, await open.Page.Locator("main > header nav a").CountAsync());
    }

    [Fact]
    public async Task Page_TestNoise_SaysSoFirst()
    {
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([Reports.Plain(), Reports.Noticed(Reports.Full())]));
        Assert.StartsWith(Notice, await open.TextAsync(), StringComparison.Ordinal);
        Assert.StartsWith(Notice, await open.Page.TitleAsync(), StringComparison.Ordinal);
        Assert.Equal(0, await open.Page.Locator(".notice").EvaluateAsync<double>("n => n.getBoundingClientRect().top"));
        Assert.Empty(open.Complaints);
    }

    [Fact]
    public async Task Page_NoScripts_HasEveryFigureInTables()
    {
        JsonObject report = Reports.Full();
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([report]), scripts: false);
        Assert.Empty(open.Complaints);
        Assert.Contains("Every figure also stands in a table", await open.TextAsync(), StringComparison.Ordinal);
        Assert.Equal(0, await open.Page.Locator("canvas:visible").CountAsync());
        foreach (string chart in AllCharts)
        {
            // Opened by hand, as a reader does.
            await open.Page.Locator($"figure[data-chart={chart}] summary").ClickAsync();
            Assert.True(await open.Page.Locator($"figure[data-chart={chart}] tbody tr:visible").CountAsync() > 0, chart);
        }

        JsonArray roc = report["evaluation"]!["test"]!["roc"]!["truePositiveRate"]!.AsArray();
        string[] cells = [.. await open.Page.Locator("figure[data-chart=roc] table").First.Locator("tbody td:nth-child(2)").AllInnerTextsAsync()];
        Assert.Equal(roc.Select(v => ((double)v!).ToString("0.0000", CultureInfo.InvariantCulture)), cells);
    }

    [Fact]
    public async Task Page_FiguresOfTheReport_AreOnThePage()
    {
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([Reports.Full()]));
        string text = await open.TextAsync();
        foreach (string shown in (string[])["0.7431", "0.7311 to 0.7541", "95% interval", "0.6514", "0.5100", "noisy residuals", "9800.0 kB", "utility with a rather long name", "noised", "in the clear",
            "the loss grew in round 12", "are (1, 1E-05)-differentially private", "2.5 at 1E-05", "8 at 1E-05", ".NET 10.0.1", "Debian 12", "0.1.0", "chosen", "hosted by bank"])
            Assert.Contains(shown, text, StringComparison.Ordinal);
        Assert.Equal(["1400", "200"], (await open.Page.Locator(".confusion").First.Locator("tbody tr").First.Locator(".shade").AllInnerTextsAsync()).Select(c => Digits().Replace(c.Split('\n')[0], "")));
    }

    /// <summary>A colour and a place in the legend for each, and the same split in the figures.</summary>
    [Theory]
    [InlineData(1280, 6)]
    [InlineData(1280, 16)]
    [InlineData(390, 6)]
    [InlineData(390, 16)]
    public async Task Page_ManyKindsOfMessages_AreTheLargestAndOther(int width, int kinds)
    {
        JsonObject report = Reports.Plain();
        string[] names = [.. Enumerable.Range(0, kinds).Select(i => $"messages of a rather long name, kind {i}")];
        // Both parties send all of them: kind 0 the least, the last one the most.
        foreach (JsonNode? party in report["parties"]!.AsArray())
            party!["releases"] = new JsonArray([.. names.Select((name, i) => (JsonNode)new JsonObject { ["name"] = name, ["protection"] = "none", ["count"] = 1, ["bytes"] = 1000L * (i + 1) })]);
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([report]), width, name: $"report-{kinds}-kinds-{width}");
        await open.KeepAsync();
        await AssertSoundAsync(open, ["bytes", "time"]);
        string[] largest = [.. names.Reverse().Take(kinds > 6 ? 5 : 6)], labels = [.. largest, .. kinds > 6 ? [$"other ({kinds - 5} kinds)"] : Array.Empty<string>()];
        double[] bytes = [.. Enumerable.Range(0, largest.Length).Select(i => 1000.0 * (kinds - i)), .. kinds > 6 ? [500.0 * (kinds - 5) * (kinds - 4)] : Array.Empty<double>()];
        const string Drawn = "Chart.getChart(document.querySelector('figure[data-chart=bytes] canvas'))";
        Assert.Equal(labels, await open.Page.EvaluateAsync<string[]>($"() => {Drawn}.data.datasets.map(d => d.label)"));
        Assert.Equal(bytes, await open.Page.EvaluateAsync<double[]>($"() => {Drawn}.data.datasets.map(d => d.data[1])"));
        Assert.Equal(labels.Length, (await open.Page.EvaluateAsync<string[]>($"() => {Drawn}.data.datasets.map(d => d.backgroundColor)")).Distinct().Count());
        // The legend is drawn whole, and leaves the bars room.
        Assert.All(await open.Page.EvaluateAsync<bool[]>($"() => [{Drawn}.legend.legendHitBoxes.every(b => b.top + b.height <= {Drawn}.height && b.left + b.width <= {Drawn}.width), {Drawn}.chartArea.height >= 60]"), Assert.True);
        await open.Page.Locator("figure[data-chart=bytes] summary").ClickAsync();
        Microsoft.Playwright.ILocator table = open.Page.Locator("figure[data-chart=bytes] table").First;
        Assert.Equal(["party", .. labels], await table.Locator("th").AllInnerTextsAsync());
        Assert.Equal(["telco", .. bytes.Select(b => ReportWriter.Bytes((long)b))], await table.Locator("tbody tr").Last.Locator("td").AllInnerTextsAsync());
    }

    [Fact]
    public async Task Page_TextsThatAreMarkup_StayTexts()
    {
        const string Hostile = "</script><script>document.title='taken over'</script><img src=x onerror=document.title='taken over'> \" & '<!--";
        JsonObject report = Reports.Full(Hostile);
        foreach (JsonNode? part in (JsonNode?[])[report["parties"]![1], report["parties"]![1]!["releases"]![0]])
            part!["name"] = Hostile;
        report["parties"]![1]!["privacy"]!["claims"]![0] = Hostile;
        report["tuning"]!["candidates"]![0]!["settings"]![Hostile] = Hostile;
        report["metrics"]!["test"]![Hostile] = 1;
        report["evaluation"]!["test"]!["confusion"]!["classes"]![0] = Hostile;
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([report, report], title: Hostile));
        Assert.Empty(open.Complaints);
        Assert.Equal(Hostile, await open.Page.TitleAsync());
        Assert.Equal(Hostile, await open.Page.Locator("h1").InnerTextAsync());
        Assert.Equal((0, 3), (await open.Page.Locator("img").CountAsync(), await open.Page.Locator("script").CountAsync()));
        Assert.Empty(await open.BlankAsync());
    }

    [Fact]
    public async Task ReportVerb_AnyPartIsAbsentOrOfAnotherKind_ShowsOrRefuses()
    {
        // Reports come from other companies too: whatever is in them, the verb shows them or says that this is no report.
        string file = Path.Combine(Browser.Artifacts, "changed.json");
        int shown = 0, refused = 0;
        var failed = new List<string>();
        (string[] Path, string? Value)[] changes = [.. Paths(Reports.Full()).SelectMany(path => ((string?[])[null, "null", "[]", "-1e300"]).Select(value => (path.Split('\n'), value)))];
        // The fast tier takes one of five, which meets every value, since five and four have no common divisor.
        foreach ((string[] path, string? value) in changes.Where((_, i) => TestCounts.Scale > 1 || i % 5 == 0))
        {
            JsonObject report = Reports.Full();
            JsonNode parent = path[..^1].Aggregate((JsonNode)report, (node, step) => node is JsonArray array ? array[int.Parse(step, CultureInfo.InvariantCulture)]! : node[step]!);
            if (parent is JsonArray items)
                items[int.Parse(path[^1], CultureInfo.InvariantCulture)] = JsonNode.Parse(value ?? "{}");
            else if (value is null)
                parent.AsObject().Remove(path[^1]);
            else
                parent[path[^1]] = JsonNode.Parse(value);
            await File.WriteAllTextAsync(file, report.ToJsonString());
            using StringWriter output = new(), error = new();
            int code = await Tool.RunAsync(["report", file], output, error, TestContext.Current.CancellationToken);
            shown += code == 0 ? 1 : 0;
            refused += code == 2 ? 1 : 0;
            if (code is not (0 or 2))
                failed.Add($"{string.Join('.', path)} = {value ?? "absent"}: exit {code}, {error}");
        }

        Assert.Empty(failed);
        Assert.True(shown > 50 && refused > 50, $"{shown} shown, {refused} refused");
    }

    [Fact]
    public async Task Page_OfARealTraining_IsWhole()
    {
        string html = Path.Combine(Browser.Artifacts, "trained.html");
        using StringWriter output = new(), error = new();
        int code = await Tool.RunAsync(["train", "--config", Path.Combine(Browser.Root(), "samples", "02-two-processes", "both-plain.json"), "--in-process", "--html", html],
            output, error, TestContext.Current.CancellationToken);
        Assert.True(code == 0, error.ToString());
        await using OpenPage open = await browser.OpenAsync(await File.ReadAllTextAsync(html));
        await open.KeepAsync();
        string[] charts = await open.ChartsAsync();
        Assert.Equal(["bytes", "time"], charts.Intersect(["bytes", "time"]));
        await AssertSoundAsync(open, charts);
    }

    [Theory]
    [InlineData("<img src=\"http://127.0.0.1:9/x.png\">", "request")]
    [InlineData("<script>document.title = 'ran'</script>", "Content Security Policy")]
    [InlineData("<p style=\"width:1px\">x</p>", "Content Security Policy")]
    [InlineData("<link rel=\"stylesheet\" href=\"file:///etc/hostname\">", "Content Security Policy")]
    public async Task Complaints_PageThatIsNotSound_AreSeen(string planted, string complaint)
    {
        // The instrument itself: a page that loads, or runs what is not its own, must not pass, and the page's policy must stop it.
        string html = HtmlReport.Of([Reports.Plain()]).Replace("</main>", planted + "</main>", StringComparison.Ordinal);
        await using OpenPage open = await browser.OpenAsync(html);
        Assert.Contains(open.Complaints, c => c.Contains(complaint, StringComparison.OrdinalIgnoreCase) || c.Contains("Content Security Policy", StringComparison.Ordinal));
        Assert.NotEqual("ran", await open.Page.TitleAsync());
    }

    [Fact]
    public async Task Blank_ChartWithoutFigures_IsSeen()
    {
        // The instrument itself: axes and a legend are no chart.
        JsonObject report = Reports.Full();
        foreach (JsonNode? round in report["history"]!.AsArray())
            round!["round"] = "none";
        await using OpenPage open = await browser.OpenAsync(HtmlReport.Of([report]));
        Assert.Contains("loss", await open.BlankAsync());
    }

    private static async Task AssertSoundAsync(OpenPage open, string[] charts)
    {
        Assert.Empty(open.Complaints);
        Assert.Equal(charts, await open.ChartsAsync());
        Assert.Empty(await open.BlankAsync());
        // Nothing makes the page wider than the window; tables scroll in boxes of their own.
        Assert.Equal(0, await open.Page.EvaluateAsync<int>("() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - document.documentElement.clientWidth"));
        Assert.Empty(await open.Page.EvaluateAsync<string[]>("""
            () => [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll > *') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 120))
            """));
    }

    // Every value of a report, as the steps that lead to it; of an array the first two.
    private static IEnumerable<string> Paths(JsonNode? node)
    {
        IEnumerable<(string Step, JsonNode? Value)> inside = node switch
        {
            JsonObject o => o.Select(p => (p.Key, p.Value)),
            JsonArray a => a.Take(2).Select((value, i) => (i.ToString(CultureInfo.InvariantCulture), value)),
            _ => [],
        };
        return inside.SelectMany(i => Paths(i.Value).Select(rest => $"{i.Step}\n{rest}").Prepend(i.Step));
    }

    [GeneratedRegex("[^0-9]")]
    private static partial Regex Digits();
}
