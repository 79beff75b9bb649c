using System.Diagnostics;

namespace FedLearn.Rules.Tests;

/// <summary>The script that decides whether a benchmark has lost ground.</summary>
public sealed class BenchmarkRatioTests
{
    private const string Committed = """
        {
          "here": {
            "a.time": { "value": 0.5, "better": "lower", "bar": 0.6, "tolerance": 0.25 },
            "a.rate": { "value": 0.8, "better": "higher", "bar": null, "tolerance": 0.25 },
            "b.time": { "value": 2.0, "better": "lower", "bar": null, "tolerance": 0.5 }
          },
          "elsewhere": {
            "a.time": { "value": 0.4, "better": "lower", "bar": 0.6, "tolerance": 0.25 },
            "a.rate": { "value": 0.6, "better": "higher", "bar": null, "tolerance": 0.25 },
            "b.time": { "value": 3.0, "better": "lower", "bar": null, "tolerance": 0.5 }
          }
        }
        """;

    [Theory]
    [InlineData(0.5 * 1.24, 0.8 * 0.76, 2.9, 0)]
    [InlineData(0.5 * 1.26, 0.8, 2.0, 1)]
    [InlineData(0.5, 0.8 * 0.74, 2.0, 1)]
    [InlineData(0.5, 0.8, 3.1, 1)]
    [InlineData(0.1, 8, 0.1, 0)]
    public void Ratios_Loss_FailsBeyondItsTolerance(double time, double rate, double other, int code) =>
        Assert.Equal(code, Compare(FormattableString.Invariant($"noise\nratio a.time {time} <= 0.6\nratio a.rate {rate} >= -\nratio b.time {other} <= -\n")).Code);

    [Fact]
    public void Ratios_NotMeasured_FailUnlessSkippedOrNotAskedFor()
    {
        const string half = "ratio a.time 0.5 <= 0.6\nratio a.rate 0.8 >= -\n";
        (int code, string output, _) = Compare(half);
        Assert.Equal(1, code);
        Assert.Contains("MISSING", output, StringComparison.Ordinal);
        Assert.Equal(0, Compare(half + "skip b.time no peer here\n").Code);
        Assert.Equal(0, Compare(half, "--only", "a").Code);
    }

    [Fact]
    public void Ratios_MissedBar_IsSaidAndDoesNotFail()
    {
        (int code, string output, _) = Compare("ratio a.time 0.61 <= 0.6\nratio a.rate 0.8 >= -\nratio b.time 2 <= -\n");
        Assert.Equal(0, code);
        Assert.Contains("bar missed", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ratio a.time nan <= 1")]
    [InlineData("ratio a.time 1 < 1")]
    [InlineData("ratio a.time 1 <= 1\nratio a.time 1 <= 1")]
    public void Ratios_MalformedLine_IsAnError(string lines) => Assert.Equal(2, Compare(lines + "\n").Code);

    [Fact]
    public void Ratios_Update_WritesWhatWasMeasuredAndKeepsWhatWasSkipped()
    {
        (int code, _, string committed) = Compare("ratio a.time 0.9 <= 0.6\nskip b.time no peer here\nratio c.new 3 >= 2\n", "--update");
        Assert.Equal(0, code);
        using var document = System.Text.Json.JsonDocument.Parse(committed);
        System.Text.Json.JsonElement here = document.RootElement.GetProperty("here");
        Assert.Equal(["a.time", "b.time", "c.new"], here.EnumerateObject().Select(p => p.Name));
        Assert.Equal((0.9, 2.0, "higher"), (here.GetProperty("a.time").GetProperty("value").GetDouble(), here.GetProperty("b.time").GetProperty("value").GetDouble(), here.GetProperty("c.new").GetProperty("better").GetString()));
        Assert.Equal(0.4, document.RootElement.GetProperty("elsewhere").GetProperty("a.time").GetProperty("value").GetDouble());
    }

    [Theory]
    [InlineData(0.5 * 1.24, 0.6 * 0.76, 3.0 * 1.4, 0)] // the weakest of each
    [InlineData(0.5 * 1.26, 0.6, 3.0, 1)]
    [InlineData(0.5, 0.6 * 0.74, 3.0, 1)]
    public void Ratios_ProcessorWithoutAny_AreComparedWithTheWeakest(double time, double rate, double other, int code)
    {
        string measured = FormattableString.Invariant($"ratio a.time {time} <= 0.6\nratio a.rate {rate} >= -\nratio b.time {other} <= -\n");
        (int actual, string output, _) = Compare(measured, "--machine", "new");
        Assert.Equal(code, actual);
        Assert.Contains("no ratios of this processor (new)", output, StringComparison.Ordinal);
        using var updated = System.Text.Json.JsonDocument.Parse(Compare(measured, "--machine", "new", "--update").Committed);
        Assert.Equal(["elsewhere", "here", "new"], updated.RootElement.EnumerateObject().Select(p => p.Name));
    }

    private static (int Code, string Output, string Committed) Compare(string measured, params string[] options)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("ratios");
        try
        {
            string lines = Path.Combine(folder.FullName, "measured.txt"), committed = Path.Combine(folder.FullName, "ratios.json");
            File.WriteAllText(lines, measured);
            File.WriteAllText(committed, Committed);
            var start = new ProcessStartInfo("python3", [Path.Combine(Repository.Root, "benchmarks", "ratios.py"), lines, "--committed", committed, "--machine", "here", .. options]) { RedirectStandardOutput = true, RedirectStandardError = true };
            try
            {
                using Process process = Process.Start(start)!;
                string output = process.StandardOutput.ReadToEnd();
                process.WaitForExit();
                return (process.ExitCode, output, File.ReadAllText(committed));
            }
            catch (System.ComponentModel.Win32Exception)
            {
                Assert.Skip("python3 is needed.");
                throw;
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
