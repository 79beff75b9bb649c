namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Seeds, regressions and failing inputs on disk.</summary>
internal static class FuzzFiles
{
    /// <summary>The root of the repository.</summary>
    public static string Root { get; } = FindRoot();

    public static string Corpus { get; } = Path.Combine(Root, "tests", "FedLearn.Reliability.Tests", "Fuzz", "corpus");

    /// <summary>Inputs that once broke something: <c>TARGET.what-it-was[.ending]</c>.</summary>
    public static string Regressions { get; } = Path.Combine(Corpus, "regressions");

    /// <summary>Seeds of a target, by name. The order is part of what makes a case again.</summary>
    public static IEnumerable<byte[]> Seeds(string target) => Directory.Exists(Path.Combine(Corpus, target))
        ? Directory.GetFiles(Path.Combine(Corpus, target)).Order(StringComparer.Ordinal).Select(File.ReadAllBytes)
        : [];

    /// <summary>Keeps a failing input.</summary>
    /// <returns>Where it is.</returns>
    public static string Keep(string target, ulong seed, long number, byte[] input)
    {
        string folder = Path.Combine(Root, "build", "fuzz");
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, $"{target}.seed-{seed}.case-{number}");
        File.WriteAllBytes(path, input);
        return path;
    }

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "FedLearn.sln")))
            folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("The tests do not run inside the repository.");
    }
}
