using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Tests.Shared;

namespace FedLearn.Towers.Tests;

/// <summary>The sample of a streaming service and three companies, on its generator.</summary>
public sealed class SampleTests
{
    private const string Sample = "FedLearn.Samples.Recommendation.dll";

    [Fact]
    public async Task Recommendation_Generator_SaysWhatItMeasuredAndWhatMayBeSaidOfIt()
    {
        Native.Require();
        string file = Path.Combine(Path.GetTempPath(), $"sample-{Guid.NewGuid():N}.json");
        try
        {
            // As delivered in the full run; elsewhere fewer people, of whom the same can be said.
            (int code, string output, string errors) = await RunAsync(["--report", file, .. TestCounts.Scale > 1 ? [] : (string[])["--users", "700", "--items", "300"]]);
            Assert.True(code == 0, errors);
            JsonObject report = JsonNode.Parse(await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken))!.AsObject();
            Assert.Contains("SYNTHETIC", output, StringComparison.Ordinal);
            Assert.Contains("made from the same events as the labels", output, StringComparison.Ordinal);
            CheckViews(report);
            CheckPrivacy(report, output);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Recommendation_UnknownArgument_SaysWhichThereAre()
    {
        (int code, string output, string errors) = await RunAsync("--sources", "x");
        Assert.NotEqual(0, code);
        Assert.Empty(output);
        Assert.Contains("--source DIR", errors, StringComparison.Ordinal);
    }

    // Training is seeded. Areas are compared because hit rates on so few events are too coarse to order views by.
    private static void CheckViews(JsonObject report)
    {
        Dictionary<string, double> auc = Figures(report, "views", "aucFull");
        double single = auc.Where(row => row.Key.EndsWith(" alone", StringComparison.Ordinal)).Max(row => row.Value);
        Assert.True(auc["all views, sum"] >= single + 0.002, $"sum {auc["all views, sum"]}, best view alone {single}");
        Assert.True(auc["all views, sum"] >= auc["popularity"] + 0.03, $"sum {auc["all views, sum"]}, popularity {auc["popularity"]}");
        Assert.True(Figures(report, "coldItems", "aucAmongCold") is var cold && cold["all views, sum"] > 0.6 && cold["popularity"] == 0.5, "cold items");
        Assert.All(new[] { "views", "coldUsers", "coldItems", "privacy" }, part => Assert.Superset(new HashSet<string> { "popularity", "ItemKNN", "iALS" }, Figures(report, part, "hr10Sampled").Keys.ToHashSet()));
    }

    private static void CheckPrivacy(JsonObject report, string output)
    {
        JsonObject[] rows = [.. report["privacy"]!["rows"]!.AsArray().Select(r => r!.AsObject()).Where(r => r["epsilon"] is not null)];
        Assert.Equal([10, 2, 10, 10, 10], rows.Select(r => (double)r["epsilon"]!));
        Assert.Equal(["own-messages", "own-messages", "full", "own-messages", "one-shot"], rows.Select(r => (string?)r["claim"]));
        Assert.Equal(["sample", "sample", "sample", "sample", "user"], rows.Select(r => (string?)r["unit"]));
        // No line has an epsilon without its unit and its claim, and one of own messages is never called an epsilon alone.
        Assert.All(output.Split('\n').Where(line => line.Contains("epsilon ", StringComparison.Ordinal)), line =>
        {
            Assert.Contains("unit ", line, StringComparison.Ordinal);
            Assert.Matches("claim |own messages only", line);
            if (line.Contains("claim own-messages", StringComparison.Ordinal))
                Assert.DoesNotMatch("(?<!own-messages )epsilon ", line);
        });
        JsonObject[] statements = [.. report["statements"]!.AsArray().Select(s => s!.AsObject())];
        Assert.All(statements, s => Assert.All(s["parties"]!.AsArray(), p => Assert.True(p!["claims"]!.AsArray().Count > 0 && p["disclosures"]!.AsArray().Count > 0)));
        JsonObject[] combined = [.. statements.SelectMany(s => s["combined"]!.AsArray()).Select(c => c!.AsObject())];
        Assert.Contains(combined, c => (string?)c["claim"] == "own-messages" && c["parties"]!.AsArray().Select(p => (string)p!["name"]!).SequenceEqual(["streaming", "taste", "behaviour"]));
        Assert.Contains(combined, c => (string?)c["claim"] == "one-shot" && (string?)c["unit"] == "event" && c["parties"]!.AsArray().Select(p => (string)p!["name"]!).SequenceEqual(["taste", "behaviour"]));
        Assert.All(combined, c => Assert.Equal(Math.Sqrt(c["parties"]!.AsArray().Sum(p => Math.Pow((double)p!["mu"]!, 2))), (double)c["mu"]!, 1e-12));
    }

    private static Dictionary<string, double> Figures(JsonObject report, string part, string figure) =>
        report[part]!["rows"]!.AsArray().ToDictionary(row => (string)row!["name"]!, row => (double)row![figure]!);

    private static async Task<(int Code, string Output, string Errors)> RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[Path.Combine(AppContext.BaseDirectory, Sample), .. arguments])
            start.ArgumentList.Add(argument);
        start.Environment.Remove("FEDLEARN_DATA");
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output, await errors);
    }
}
