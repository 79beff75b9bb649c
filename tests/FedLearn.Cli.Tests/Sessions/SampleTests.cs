using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>Every sample runs and shows what its README says.</summary>
public sealed partial class SampleTests : IDisposable
{
    private static readonly string Root = FindRoot();

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "FedLearn.sln")))
            folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("The tests run outside the repository.");
    }

    // Private runs are charged to ledgers beside the run files, so they run on a copy.
    private string Copied(string sample, string data)
    {
        foreach (string folder in new[] { sample, Path.Combine("data", data) })
        {
            string target = Path.Combine(_folder.Path, folder);
            Directory.CreateDirectory(target);
            foreach (string file in Directory.GetFiles(Path.Combine(Root, "samples", folder)).Where(f => f.EndsWith(".json", StringComparison.Ordinal) || f.EndsWith(".csv", StringComparison.Ordinal)))
                File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }

        return Path.Combine(_folder.Path, sample);
    }

    private static async Task<JsonObject> TrainAsync(string job)
    {
        ToolRun run = await ToolRun.Of("train", "--config", job, "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        return JsonNode.Parse(run.Output)!.AsObject();
    }

    // A sample in code, built beside the tests in the same configuration, as people start it: from the repository's root.
    private static async Task<string> RunAsync(string sample, string assembly)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, framework = new DirectoryInfo(AppContext.BaseDirectory).Name;
        var start = new ProcessStartInfo("dotnet", [Path.Combine(Root, "samples", sample, "bin", configuration, framework, $"{assembly}.dll")])
        {
            WorkingDirectory = Root,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await Task.WhenAll(output, error).WaitAsync(ToolProcess.Patience, TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, await error);
        return await output;
    }

    private static double Figure(string output, string pattern) => double.Parse(Regex.Match(output, pattern).Groups[1].Value, CultureInfo.InvariantCulture);

    [Fact]
    public async Task TwoPartiesInProcess_PrintsTheAucOfEachBudget()
    {
        string output = await RunAsync("01-two-parties-in-process", "FedLearn.Samples.InProcess");
        Assert.Equal(0.6669, Figure(output, @"no privacy +test AUC ([\d.]+)"), 0.0002);
        Assert.Equal(["20", "10", "5", "2", "1"], Budgets().Matches(output).Select(match => match.Groups[1].Value));
    }

    [GeneratedRegex(@"epsilon +(\d+) test AUC 0\.\d{4}")]
    private static partial Regex Budgets();

    [Fact]
    public async Task TwoProcesses_Plain_ReachesTheReadmesAuc()
    {
        JsonObject report = await TrainAsync(Path.Combine(Copied("02-two-processes", "rand-hie"), "both-plain.json"));
        Assert.Equal("grpc", (string)report["job"]!["transport"]!);
        Assert.Equal(0.6669, (double)report["metrics"]!["test"]!["auc"]!, 0.0002);
    }

    [Fact]
    public async Task TwoProcesses_OverTls_KnowEachOtherByTheirPins()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "The sample is a shell script.");
        Sodium.Require();
        var start = new ProcessStartInfo("bash", [Path.Combine(Root, "samples", "02-two-processes", "tls.sh"), Scene.FreePort().ToString(CultureInfo.InvariantCulture)])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["FEDLEARN"] = $"dotnet {typeof(Tool).Assembly.Location}";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await Task.WhenAll(output, error).WaitAsync(ToolProcess.Patience, TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, await error);
        Assert.Contains("listening on https://127.0.0.1:", await error, StringComparison.Ordinal);
        Assert.Equal(2, (await output).Split("\"identifiedBy\": \"pin\"").Length - 1);
        Assert.Equal(4, (await output).Split("\"encrypted\": true").Length - 1);
    }

    [Fact]
    public async Task ThreeCompanies_Plain_ReachesTheReadmesDeviance()
    {
        JsonObject report = await TrainAsync(Path.Combine(Copied("03-three-companies", "delivery-fleet"), "plain.json"));
        Assert.Equal(3, report["parties"]!.AsArray().Count);
        Assert.Equal("converged", (string)report["job"]!["stopReason"]!);
        Assert.Equal(0.774, (double)report["metrics"]!["test"]!["deviance"]!, 0.001);
    }

    [Fact]
    public async Task ThreeCompanies_Private_ClaimsItsBudgetForEach()
    {
        string job = Path.Combine(Copied("03-three-companies", "delivery-fleet"), "private.json");
        JsonObject report = await TrainAsync(job);
        Assert.All(report["parties"]!.AsArray(), party => Assert.Contains("(8, 1E-05)-differentially private", (string)party!["privacy"]!["claims"]![0]!, StringComparison.Ordinal));
        Assert.Equal(1.039, (double)report["metrics"]!["guestOnly"]!["test"]!["deviance"]!, 0.001);

        // The noise is fresh, so a figure to count on is one of seeded noise. The budget is the sample's, and so is the noise's size.
        string seeded = Path.Combine(Path.GetDirectoryName(job)!, "seeded.json");
        await File.WriteAllTextAsync(seeded, (await File.ReadAllTextAsync(job, TestContext.Current.CancellationToken)).Replace("\"mode\": \"one-round\",", "\"mode\": \"one-round\", \"testNoiseSeed\": 1,", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        report = await TrainAsync(seeded);
        Assert.InRange((double)report["metrics"]!["test"]!["deviance"]!, 0.774, 1.0);
    }

    [Fact]
    public async Task OwnFamily_PassesTheKitAndTrainsPrivately()
    {
        string output = await RunAsync("04-own-family", "FedLearn.Samples.OwnFamily");
        Assert.Contains("negative-binomial passes the conformance kit", output, StringComparison.Ordinal);
        double plain = Figure(output, @"no privacy +test deviance ([\d.]+)"), noised = Figure(output, @"epsilon 8 +test deviance ([\d.]+)");
        Assert.Equal(0.637, plain, 0.001);
        // Fresh noise: three rows of length 1 by weights of length 1 keep the score within 3 and the deviance below 10, whatever is drawn.
        Assert.InRange(noised, 0.5, 10);
        Assert.Contains("differentially private", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PrivateAlignment_FindsTheCommonVansAndSaysWhatItTold()
    {
        if (!((string[])["libsodium.so.23", "libsodium.so.26", "libsodium"]).Any(name => NativeLibrary.TryLoad(name, out _)))
            Assert.Skip("libsodium (Debian: libsodium23) is needed.");
        string data = Path.Combine(Root, "samples", "data", "delivery-fleet");
        int common = Ids("insurer").Intersect(Ids("telematics")).Count();
        string output = await RunAsync("06-private-alignment", "FedLearn.Samples.PrivateAlignment");
        Assert.Contains($"size only: {common} common; telematics announced 4900 ids, the insurer 5000", output, StringComparison.Ordinal);
        Assert.Contains($"rows: {common} at the insurer, {common} at telematics, the same vans in the same order", output, StringComparison.Ordinal);
        Assert.Contains("told besides: each passive party learns how many ids this party has", output, StringComparison.Ordinal);
        Assert.Contains("few enough to guess", output, StringComparison.Ordinal);

        IEnumerable<string> Ids(string party) => File.ReadLines(Path.Combine(data, $"{party}.csv")).Skip(1).Select(line => line.Split(',')[0]);
    }
}
