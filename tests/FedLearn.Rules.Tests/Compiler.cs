using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;

namespace FedLearn.Rules.Tests;

/// <summary>Compiles C# with the SDK's own compiler, against everything this test project references.</summary>
internal static partial class Compiler
{
    private const string Usings = """
        global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq; global using System.Threading; global using System.Threading.Tasks;
        """;

    /// <summary>Compiles one file.</summary>
    /// <param name="source">The file.</param>
    /// <param name="kind">library, or exe for a file with top-level statements.</param>
    /// <param name="keep">Folder for the result, out.dll; null: a folder that is deleted.</param>
    /// <returns>Errors, such as <c>CS0122: ...</c>.</returns>
    public static IReadOnlyList<string> Errors(string source, string kind = "library", string? keep = null) => Run([source], kind, keep)[0];

    /// <summary>Compiles several files of a library together: a compiler takes longer to start than to compile them.</summary>
    /// <returns>The errors of each file.</returns>
    public static IReadOnlyList<string>[] Errors(IReadOnlyList<string> sources)
    {
        var found = new IReadOnlyList<string>[sources.Count];
        Array.Fill(found, []);
        int[] pending = [.. Enumerable.Range(0, sources.Count)];
        while (pending.Length > 0)
        {
            // Errors of declarations keep the compiler from looking into bodies: what had none is compiled once more, without the others.
            IReadOnlyList<string>[] errors = Run([.. pending.Select(i => sources[i])], "library", null);
            for (int i = 0; i < pending.Length; i++)
                found[pending[i]] = errors[i];
            int[] clean = [.. pending.Where(i => found[i].Count == 0)];
            if (clean.Length == pending.Length)
                break;
            pending = clean;
        }

        return found;
    }

    private static IReadOnlyList<string>[] Run(IReadOnlyList<string> sources, string kind, string? keep)
    {
        string csc = typeof(Compiler).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "Compiler").Value!;
        Assert.True(File.Exists(csc), $"The compiler is not at {csc}.");
        string folder = keep ?? Directory.CreateTempSubdirectory("fedlearn-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(folder, "usings.cs"), Usings);
            for (int i = 0; i < sources.Count; i++)
                File.WriteAllText(Path.Combine(folder, $"source{i}.cs"), sources[i]);
            // Native libraries stand in the same list, under names that are no assemblies.
            string[] references = [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Where(path => path.EndsWith(".dll", StringComparison.Ordinal))];
            File.WriteAllLines(Path.Combine(folder, "arguments.rsp"),
                ["-nologo", "-nostdlib", "-nullable:enable", "-langversion:latest", $"-target:{kind}", "-out:out.dll", "usings.cs", .. sources.Select((_, i) => $"source{i}.cs"), .. references.Select(path => $"-r:\"{path}\"")]);
            // A compiler that stays for the next file is compiled itself once. It ends when nothing was asked of it for ten seconds.
            var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet",
                [csc, $"-shared:fedlearn-rules-{Environment.ProcessId}", "-keepalive:10", "@arguments.rsp"])
            {
                WorkingDirectory = folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            using Process process = Process.Start(start)!;
            Task<string> problems = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            ILookup<int, string> errors = ErrorLine().Matches(output).ToLookup(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), match => match.Groups[2].Value.Trim());
            Assert.True(process.ExitCode == 0 == (errors.Count == 0), $"The compiler failed: {output}{problems.Result}");
            return [.. sources.Select((_, i) => (IReadOnlyList<string>)[.. errors[i]])];
        }
        finally
        {
            if (keep is null)
                Directory.Delete(folder, recursive: true);
        }
    }

    [GeneratedRegex(@"source(\d+)\.cs\(.*?error (CS\d+: .*)")]
    private static partial Regex ErrorLine();
}
