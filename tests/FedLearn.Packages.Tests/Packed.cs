using System.Diagnostics;
using System.IO.Compression;
using System.Reflection;

[assembly: AssemblyFixture(typeof(FedLearn.Packages.Tests.Packed))]

namespace FedLearn.Packages.Tests;

/// <summary>The packages of this checkout, packed once, and a folder for projects that use nothing else of it.</summary>
public sealed class Packed : IAsyncLifetime
{
    /// <summary>Packages that programs refer to.</summary>
    public static readonly string[] Libraries =
    [
        "FedLearn", "FedLearn.Alignment", "FedLearn.Baselines.HomomorphicEncryption", "FedLearn.Onnx", "FedLearn.Privacy", "FedLearn.Storage.Sqlite", "FedLearn.Testing", "FedLearn.Towers.LibTorch", "FedLearn.Transport.Grpc",
    ];

    /// <summary>The package of the command.</summary>
    public const string Tool = "FedLearn.Cli";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fedlearn-packages-");

    /// <summary>Root of the checkout.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>A version that no folder of packages on this machine can have yet.</summary>
    public string Version { get; } = $"0.1.0-test.{Guid.NewGuid():N}";

    /// <summary>Where the packages are.</summary>
    public string Packages => Path.Combine(_folder.FullName, "packages");

    /// <summary>Where projects that use them are; its NuGet.config knows no other source.</summary>
    public string Projects => Path.Combine(_folder.FullName, "projects");

    /// <inheritdoc />
    public async ValueTask InitializeAsync()
    {
        await DotnetAsync(Root, ["pack", "FedLearn.sln", .. PackArguments(Packages)]);
        Directory.CreateDirectory(Projects);
        // What the checkout itself needed from elsewhere, this machine has restored before: a fallback folder, so that nothing is fetched or copied.
        string restored = typeof(Packed).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "Packages").Value!;
        File.WriteAllText(Path.Combine(Projects, "NuGet.config"), $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{Path.Combine(_folder.FullName, "restored")}" /></config>
              <packageSources><clear /><add key="packed" value="{Packages}" /></packageSources>
              <fallbackPackageFolders><clear /><add key="restored" value="{restored}" /></fallbackPackageFolders>
            </configuration>
            """);
        File.WriteAllText(Path.Combine(Projects, "Directory.Build.props"), "<Project />");
    }

    /// <inheritdoc />
    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return default;
    }

    /// <summary>Packs one project of the checkout once more.</summary>
    /// <returns>The folder of its packages.</returns>
    public async Task<string> PackAgainAsync(string package)
    {
        string folder = Path.Combine(_folder.FullName, "again");
        await DotnetAsync(Root, ["pack", $"src/{package}/{package}.csproj", .. PackArguments(folder)]);
        return folder;
    }

    /// <summary>Opens a package, or with the extension snupkg its symbols.</summary>
    public ZipArchive Open(string package, string extension = "nupkg") => ZipFile.OpenRead(Path.Combine(Packages, $"{package}.{Version}.{extension}"));

    /// <summary>Runs the SDK; fails where it does.</summary>
    /// <returns>What it printed.</returns>
    public static Task<string> DotnetAsync(string folder, params string[] arguments) => RunAsync("dotnet", folder, arguments);

    /// <summary>Runs a program; fails where it does.</summary>
    /// <returns>What it printed.</returns>
    public static Task<string> RunAsync(string program, string folder, params string[] arguments) => RunAsync(program, folder, [], arguments);

    /// <summary>Runs a program with additions to the environment; fails where it does.</summary>
    /// <returns>What it printed.</returns>
    public static async Task<string> RunAsync(string program, string folder, (string Name, string Value)[] environment, params string[] arguments)
    {
        // A build server that outlives its build would keep the pipes below open.
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["MSBUILDDISABLENODEREUSE"] = "1", ["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0", ["UseSharedCompilation"] = "false" },
        };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}:\n{await output}{await error}");
        return await output;
    }

    // Built already, in the configuration of this test: only what packing itself does.
    private string[] PackArguments(string folder) =>
    [
        "--no-build", "-c", typeof(Packed).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!.Configuration, "-o", folder, $"-p:PackageVersion={Version}",
        "--nologo", "-v", "quiet",
    ];

    private static string FindRoot()
    {
        DirectoryInfo folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "FedLearn.sln")))
            folder = folder.Parent ?? throw new InvalidOperationException("The tests do not run inside a checkout.");
        return folder.FullName;
    }
}
