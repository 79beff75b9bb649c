using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace FedLearn.Packages.Tests;

/// <summary>Programs that have the packed files and nothing else of the checkout: each is the example of a package's own readme.</summary>
public sealed partial class FreshProjectTests(Packed packed, FreshProjectTests.Built built) : IClassFixture<FreshProjectTests.Built>
{
    [Fact]
    public async Task FedLearn_Readme_TrainsToThePooledOptimum()
    {
        string output = await RunAsync("FedLearn");
        Match auc = TestAuc().Match(output);
        Assert.True(auc.Success, output);
        // The pooled optimum of this split: samples/data/rand-hie/README.md, by another program.
        Assert.Equal(0.667, double.Parse(auc.Groups[1].Value, CultureInfo.InvariantCulture), 0.0005);
        Assert.Contains("Converged", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Grpc_Readme_TrainsBetweenTwoParties()
    {
        Match messages = Messages().Match(await RunAsync("FedLearn.Transport.Grpc"));
        Assert.True(messages.Success);
        Assert.True(int.Parse(messages.Groups[1].Value, CultureInfo.InvariantCulture) > 10);
        Assert.True(int.Parse(messages.Groups[2].Value, CultureInfo.InvariantCulture) > 10);
    }

    // The analytic Gaussian mechanism needs sigma 3.730632 for sensitivity 1, epsilon 1, delta 1e-5 (Balle and Wang 2018, algorithm 1): mu is its inverse.
    [Fact]
    public async Task Privacy_Readme_PrintsTheKnownParameter() => Assert.StartsWith("mu 0.2681, ", await RunAsync("FedLearn.Privacy"), StringComparison.Ordinal);

    [Fact]
    public async Task Storage_Readme_ChargesALedger() => Assert.StartsWith("1 charge of job visits, head ", await RunAsync("FedLearn.Storage.Sqlite"), StringComparison.Ordinal);

    [Fact]
    public async Task Alignment_Readme_FindsTheCommonIds() => Assert.StartsWith("2 common ids, rows 0, 2 of the insurer; ", await RunAsync("FedLearn.Alignment"), StringComparison.Ordinal);

    [Fact]
    public async Task Onnx_Readme_WritesAModel() => Assert.StartsWith("written: input x, output scores", await RunAsync("FedLearn.Onnx"), StringComparison.Ordinal);

    // In a program that has no checkout the library is where FEDLEARN_NATIVE says, and without it the example says what is missing.
    [Fact]
    public async Task Towers_Readme_TrainsOrSaysWhatIsMissing()
    {
        Assert.Contains("eng/setup.sh towers", await RunAsync("FedLearn.Towers.LibTorch", ("FEDLEARN_NATIVE", packed.Projects)), StringComparison.Ordinal);
        string native = Path.Combine(Packed.Root, "build", "native");
        if (!File.Exists(Path.Combine(native, "libfedlearn_towers.so")))
            Assert.Skip($"{native} has no native library; run eng/setup.sh towers.");
        Assert.Equal("loss fell: True\n84 parameters, 0 privacy faults\n", await RunAsync("FedLearn.Towers.LibTorch", ("FEDLEARN_NATIVE", native)));
    }

    // The worker comes with the package; node-seal is lent from the checkout, where npm has installed it.
    [Fact]
    public async Task Encryption_Readme_TrainsOrSaysWhatIsMissing()
    {
        const string Package = "FedLearn.Baselines.HomomorphicEncryption";
        string worker = Path.Combine(built.Folder, Package, "bin", "Release", "net10.0", "seal-worker");
        Assert.Equal(["package-lock.json", "package.json", "worker.mjs"], Directory.GetFiles(worker).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal));
        (string, string)[] nodeOnly = [("FEDLEARN_SEALC", Path.Combine(packed.Projects, "none.so"))];
        Assert.StartsWith("no CKKS here: ", await RunAsync(Package, [.. nodeOnly, ("FEDLEARN_SEAL_WORKER", packed.Projects)]), StringComparison.Ordinal);
        string modules = Path.Combine(Packed.Root, "build", "seal-worker", "node_modules");
        if (!Directory.Exists(Path.Combine(modules, "node-seal")))
            Assert.Skip($"{modules} has no node-seal; run eng/setup.sh he.");
        Directory.CreateSymbolicLink(Path.Combine(worker, "node_modules"), modules);
        string output = await RunAsync(Package, nodeOnly);
        Match auc = TestAuc().Match(output);
        Assert.True(auc.Success, output);
        // Twenty steps with Taylor's residual from 0 come near the pooled optimum, .667.
        Assert.Equal(0.665, double.Parse(auc.Groups[1].Value, CultureInfo.InvariantCulture), 0.005);
        Assert.Contains("after 20 rounds, node-seal ", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Testing_Readme_RunsTheKit()
    {
        string[] lines = (await RunAsync("FedLearn.Testing")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(lines.Length > 10);
        Assert.All(lines, line => Assert.EndsWith(": passed", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Tool_Installed_SaysItsVersion()
    {
        string folder = Path.Combine(packed.Projects, "tool");
        await Packed.DotnetAsync(packed.Projects, "tool", "install", Packed.Tool, "--tool-path", folder, "--version", packed.Version);
        string version = await Packed.RunAsync(Path.Combine(folder, OperatingSystem.IsWindows() ? "fedlearn.exe" : "fedlearn"), packed.Projects, "--version");
        Assert.StartsWith("0.1.0", version, StringComparison.Ordinal);
    }

    private async Task<string> RunAsync(string package, params (string Name, string Value)[] environment)
    {
        string folder = Path.Combine(built.Folder, package);
        return await Packed.RunAsync("dotnet", folder, environment, Path.Combine(folder, "bin", "Release", "net10.0", $"Example.{package}.dll"));
    }

    [GeneratedRegex(@"test AUC (0\.\d{4})")]
    private static partial Regex TestAuc();

    [GeneratedRegex(@"(\d+) messages one way, (\d+) the other")]
    private static partial Regex Messages();

    [GeneratedRegex(@"```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    /// <summary>The projects, built together.</summary>
    public sealed class Built(Packed packed) : IAsyncLifetime
    {
        /// <summary>One folder a package.</summary>
        public string Folder => packed.Projects;

        /// <inheritdoc />
        public async ValueTask InitializeAsync()
        {
            foreach (string package in Packed.Libraries)
                Write(package);
            File.WriteAllText(Path.Combine(Folder, "all.slnx"),
                $"<Solution>{string.Concat(Packed.Libraries.Select(package => $"<Project Path=\"{package}/Example.{package}.csproj\" />"))}</Solution>");
            // What the analyzers say of ten lines is not what is tested, and each compiler would compile them first.
            await Packed.DotnetAsync(Folder, "build", "all.slnx", "-c", "Release", "--nologo", "-v", "quiet", "-p:RunAnalyzers=false");
        }

        /// <inheritdoc />
        public ValueTask DisposeAsync() => default;

        private void Write(string package)
        {
            string folder = Path.Combine(Folder, package);
            Directory.CreateDirectory(folder);
            // The ledger alone knows no jobs; its readme says so.
            string[] needed = package == "FedLearn.Storage.Sqlite" ? [package, "FedLearn"] : [package];
            string references = string.Concat(needed.Select(name => $"<PackageReference Include=\"{name}\" Version=\"{packed.Version}\" />"));
            File.WriteAllText(Path.Combine(folder, $"Example.{package}.csproj"), $"""
                <Project Sdk="Microsoft.NET.Sdk">
                  <PropertyGroup>
                    <OutputType>Exe</OutputType>
                    <TargetFramework>net10.0</TargetFramework>
                    <ImplicitUsings>enable</ImplicitUsings>
                    <Nullable>enable</Nullable>
                    <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                    <InvariantGlobalization>true</InvariantGlobalization>
                  </PropertyGroup>
                  <ItemGroup>{references}</ItemGroup>
                </Project>
                """);
            string readme = File.ReadAllText(Path.Combine(Packed.Root, "src", package, "README.md"));
            File.WriteAllText(Path.Combine(folder, "Program.cs"), CSharpBlock().Match(readme).Groups[1].Value.Replace(":5301", $":{FreePort()}", StringComparison.Ordinal));
            foreach (string table in new[] { "insurer.csv", "insurer.schema.json", "clinic.csv", "clinic.schema.json" })
                File.Copy(Path.Combine(Packed.Root, "samples", "data", "rand-hie", table), Path.Combine(folder, table));
        }

        private static int FreePort()
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            return ((IPEndPoint)listener.LocalEndpoint).Port;
        }
    }
}
