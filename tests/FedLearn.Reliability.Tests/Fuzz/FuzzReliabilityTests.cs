using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Everything that reads bytes from outside, against bytes that are made to break it: nothing crashes, hangs or takes more memory than the input is worth, and
/// every refusal has an error id.</summary>
public sealed class FuzzReliabilityTests
{
    /// <summary>All targets, or those that the environment variable FEDLEARN_FUZZ_TARGET names, with commas between them.</summary>
    public static TheoryData<string> Targets => Environment.GetEnvironmentVariable("FEDLEARN_FUZZ_TARGET") is { Length: > 0 } names
        ? [.. names.Split(',').Select(name => FuzzTargets.Named(name).Name)]
        : [.. FuzzTargets.All.Select(target => target.Name)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Read_ChangedInput_IsAcceptedOrRefusedWithAnId(string name)
    {
        FuzzTarget target = FuzzTargets.Named(name);
        var log = new ReliabilityLog($"changed inputs of {name}");
        FuzzReport report = FuzzEngine.Run(target, FuzzEngine.Seed, FuzzEngine.AskedCases ?? TestCounts.Of(target.FastCases));
        TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {report}");
        Assert.Equal(report.Cases, report.Accepted + report.Refusals.Values.Sum());
        log.Passed(report.Cases, report.ToString());
    }

    [Fact]
    public void Read_Seeds_AreAccepted()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-fuzz-").FullName;
        foreach (FuzzTarget target in FuzzTargets.All)
        {
            Assert.NotEmpty(target.Seeds);
            FuzzOutcome[] outcomes = [.. target.Seeds.Select(seed => target.Run(seed, Directory.CreateDirectory(Path.Combine(folder, target.Name)).FullName))];
            Assert.True(outcomes.Contains(FuzzOutcome.Accepted), $"No seed of {target.Name} is accepted, so that changed ones cannot reach what comes after: {string.Join(", ", outcomes)}");
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Read_Regressions_AreAcceptedOrRefusedWithAnId()
    {
        var log = new ReliabilityLog("inputs that once broke something");
        string folder = Directory.CreateTempSubdirectory("fedlearn-fuzz-").FullName;
        string[] files = [.. Directory.GetFiles(FuzzFiles.Regressions).Order(StringComparer.Ordinal)];
        Assert.NotEmpty(files);
        foreach (string file in files)
        {
            FuzzTarget target = FuzzTargets.Named(Path.GetFileName(file).Split('.')[0]);
            string own = Directory.CreateDirectory(Path.Combine(folder, target.Name)).FullName;
            // One that hung took minutes, and takes milliseconds now.
            Exception? crash = await Record.ExceptionAsync(() => Task.Run(() => FuzzEngine.RunOne(target, File.ReadAllBytes(file), own)).WaitAsync(TimeSpan.FromSeconds(30)));
            Assert.True(crash is null, $"{file}: {crash}");
        }

        Directory.Delete(folder, recursive: true);
        log.Passed(files.Length, "none breaks it again");
    }

    [Fact]
    public void Targets_FastTier_IsAHundredThousandCases()
    {
        Assert.Equal(100_000, FuzzTargets.All.Sum(target => target.FastCases));
        Assert.Equal(FuzzTargets.All.Count, FuzzTargets.All.DistinctBy(target => target.Name).Count());
    }
}
