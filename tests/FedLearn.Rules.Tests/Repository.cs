namespace FedLearn.Rules.Tests;

/// <summary>Where the rules look.</summary>
internal static class Repository
{
    /// <summary>Assemblies under src.</summary>
    public static string[] Assemblies { get; } = ["FedLearn.Privacy", "FedLearn", "FedLearn.Transport.Grpc", "FedLearn.Storage.Sqlite", "FedLearn.Onnx", "FedLearn.Towers.LibTorch", "FedLearn.Alignment", "FedLearn.Baselines.HomomorphicEncryption", "FedLearn.Testing", "FedLearn.Cli"];

    /// <summary>Root of the checkout.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Whether files that a rule compares are to be written instead (FEDLEARN_UPDATE_API=1).</summary>
    public static bool Update => Environment.GetEnvironmentVariable("FEDLEARN_UPDATE_API") == "1";

    /// <summary>Path of an assembly.</summary>
    public static string PathOf(string assembly) => Path.Combine(AppContext.BaseDirectory, assembly + ".dll");

    /// <summary>Compares a generated text with the committed one, or writes it.</summary>
    public static void Matches(string text, params string[] path)
    {
        string file = Path.Combine([Root, .. path]);
        if (Update)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
        }

        Assert.True(File.Exists(file), $"{file} is missing; run the rules tests once with FEDLEARN_UPDATE_API=1.");
        if (File.ReadAllText(file) == text)
            return;
        string[] committed = File.ReadAllLines(file), now = text.Split('\n');
        Assert.Fail($"{string.Join('/', path)} differs; if that is intended, run the rules tests once with FEDLEARN_UPDATE_API=1."
            + string.Concat(committed.Except(now).Select(line => $"\n- {line}")) + string.Concat(now.Except(committed).Select(line => $"\n+ {line}")));
    }

    /// <summary>Source files under a folder, without build results.</summary>
    public static IEnumerable<string> Sources(string folder) => Directory.EnumerateFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories)
        .Where(file => !file.Split(Path.DirectorySeparatorChar).Any(part => part is "bin" or "obj"));

    /// <summary>Files that git tracks, relative to the root; in a checkout without git every file outside of build results.</summary>
    public static IEnumerable<string> Files()
    {
        try
        {
            using var git = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("git", ["-C", Root, "ls-files", "-z"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            git.ErrorDataReceived += static (_, _) => { };
            git.BeginErrorReadLine();
            string[] files = git.StandardOutput.ReadToEnd().Split('\0', StringSplitOptions.RemoveEmptyEntries);
            git.WaitForExit();
            if (git.ExitCode == 0)
                return files.Where(file => File.Exists(Path.Combine(Root, file))); // some may be deleted and not committed yet
        }
        catch (System.ComponentModel.Win32Exception)
        {
            // There is no git.
        }

        return Directory.EnumerateFiles(Root, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(Root, file))
            .Where(file => !file.Split(Path.DirectorySeparatorChar).Any(part => part is "bin" or "obj" or "build" or ".git"));
    }

    private static string FindRoot()
    {
        DirectoryInfo folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "FedLearn.sln")))
            folder = folder.Parent ?? throw new InvalidOperationException("The tests do not run inside a checkout.");
        return folder.FullName;
    }
}
