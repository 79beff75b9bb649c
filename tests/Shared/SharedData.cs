namespace FedLearn.Tests.Shared;

/// <summary>Data sets and oracles outside the repository; tests that need them skip, saying so, where they are absent.</summary>
internal static class SharedData
{
    /// <summary>The data folder: FEDLEARN_DATA, else ../shared/data beside the repository; null when there is none.</summary>
    internal static string? Folder { get; } = Find();

    /// <summary>Path of a data file.</summary>
    internal static string Require(params string[] parts) => Existing(Folder is null ? null : Path.Combine([Folder, .. parts]));

    /// <summary>Path of an oracle file.</summary>
    internal static string RequireOracle(string name) => Existing(Folder is null ? null : Path.Combine(Folder, "..", "oracles", name));

    private static string Existing(string? path)
    {
        if (!Path.Exists(path))
            Assert.Skip($"Shared data is absent ({path ?? "set FEDLEARN_DATA"}).");
        return path!;
    }

    private static string? Find()
    {
        if (Environment.GetEnvironmentVariable("FEDLEARN_DATA") is { Length: > 0 } folder)
            return folder;
        DirectoryInfo? root = new(AppContext.BaseDirectory);
        while (root is not null && !File.Exists(Path.Combine(root.FullName, "FedLearn.sln")))
            root = root.Parent;
        string? beside = root is null ? null : Path.GetFullPath(Path.Combine(root.FullName, "..", "shared", "data"));
        return Directory.Exists(beside) ? beside : null;
    }
}
