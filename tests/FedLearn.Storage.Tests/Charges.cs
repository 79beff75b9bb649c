using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Storage.Tests;

/// <summary>Charges to try a ledger with.</summary>
internal static class Charges
{
    public static DataSetIdentity People(int first = 0, int count = 1000) => DataSetIdentity.Of(
        [.. Enumerable.Range(first, count).Select(i => SHA256.HashData(Encoding.UTF8.GetBytes($"id {i}"))).OrderBy(Convert.ToHexString, StringComparer.Ordinal).SelectMany(d => d)]);

    private static readonly DataSetIdentity Default = People();

    public static PrivacyCharge Gaussian(string? runId = null, double mu = 1, int messages = 3, bool testNoise = false) => new()
    {
        RunId = runId ?? PrivacyCharge.NewRunId(),
        Party = "bank",
        DataSet = Default,
        JobName = "job",
        JobDigest = new string('0', 64),
        Mechanism = "gaussian: training scores",
        Claim = "as tested",
        Parameters = "{}",
        Unit = PrivacyUnit.Record,
        Adjacency = Adjacency.ReplaceOne,
        Messages = messages,
        PureEpsilon = 0,
        MuSquared = mu * mu,
        TestNoise = testNoise,
    };

    public static PrivacyCharge Pure(double epsilon) => Gaussian(mu: 0) with { PureEpsilon = epsilon };
}

/// <summary>A folder of files for one test.</summary>
internal sealed class TempFolder : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("fedlearn-tests-").FullName;

    public string this[string name] => Path.Combine(_path, name);

    public string[] Files => [.. Directory.GetFiles(_path).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal)];

    public void Dispose() => Directory.Delete(_path, recursive: true);
}

/// <summary>A child process of this program.</summary>
internal static class Child
{
    public static Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
        // The path of a test that was started as "dotnet X.dll" is that of dotnet.
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
            start.ArgumentList.Add(typeof(Child).Assembly.Location);
        foreach (string argument in (string[])["child", .. arguments])
            start.ArgumentList.Add(argument);
        start.Environment["DOTNET_TieredPGO"] = "0";
        return Process.Start(start)!;
    }
}

/// <summary>Checks of errors.</summary>
internal static class ErrorAssert
{
    public static void Throws<T>(string id, Action action) where T : FedLearnException
    {
        T error = Assert.Throws<T>(action);
        Assert.Equal(id, error.Id);
    }
}
