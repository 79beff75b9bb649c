using System.Diagnostics;

namespace FedLearn.Rules.Tests;

/// <summary>Scripts that people run say how.</summary>
public sealed class ScriptTests
{
    public static TheoryData<string> Scripts => [.. Directory.GetFiles(Path.Combine(Repository.Root, "eng"), "*.sh").Select(file => "eng/" + Path.GetFileName(file)).Order(StringComparer.Ordinal), "benchmarks/run.sh", "samples/02-two-processes/tls.sh"];

    [Theory]
    [MemberData(nameof(Scripts))]
    public async Task Script_Help_PrintsItsUsageAndDoesNothing(string script)
    {
        foreach (string option in (string[])["--help", "-h"])
        {
            using Process run = Process.Start(new ProcessStartInfo("bash", [Path.Combine(Repository.Root, script), option])
            {
                WorkingDirectory = Path.GetTempPath(),
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            Task<string> output = run.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), error = run.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await run.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal((0, ""), (run.ExitCode, await error));
            string said = await output;
            Assert.Contains($"Usage: {script}", said, StringComparison.Ordinal);
            // The comment at its top, and nothing else.
            string[] top = [.. File.ReadLines(Path.Combine(Repository.Root, script)).Skip(1).TakeWhile(line => line.StartsWith('#')).Select(line => line[1..].TrimStart(' '))];
            Assert.Equal(top, said.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.TrimStart(' ')));
        }
    }
}
