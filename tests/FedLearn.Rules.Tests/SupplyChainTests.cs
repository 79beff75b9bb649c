using System.Text.Json;

namespace FedLearn.Rules.Tests;

public class SupplyChainTests
{
    private static readonly string[] Folders = ["src", "tests", "samples", "benchmarks"];

    [Fact]
    public void EveryProject_HasALockFile() =>
        Assert.Empty(from project in Projects() where !File.Exists(LockOf(project)) select Path.GetRelativePath(Repository.Root, project));

    [Fact]
    public void Licences_ListThePackagesOfTheLockFiles_AndNoOthers()
    {
        string[] locked = [.. (from project in Projects() from package in Packages(LockOf(project)) select package).Distinct().Order(StringComparer.Ordinal)];
        string[] listed = [.. from line in File.ReadLines(Path.Combine(Repository.Root, "docs", "licences.md"))
                              let cells = line.Split('|', StringSplitOptions.TrimEntries)
                              where cells.Length == 5 && cells[2].Length > 0 && char.IsAsciiDigit(cells[2][0])
                              select $"{cells[1]} {cells[2]}"];
        Assert.NotEmpty(locked);
        Assert.True(locked.SequenceEqual(listed.Order(StringComparer.Ordinal)), "docs/licences.md is old: run eng/licences.py after a restore."
            + string.Concat(locked.Except(listed).Select(p => $"\n+ {p}")) + string.Concat(listed.Except(locked).Select(p => $"\n- {p}")));
    }

    private static IEnumerable<string> Projects() => Folders.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Repository.Root, folder), "*.csproj", SearchOption.AllDirectories));

    private static string LockOf(string project) => Path.Combine(Path.GetDirectoryName(project)!, "packages.lock.json");

    private static IEnumerable<string> Packages(string lockFile)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(lockFile));
        return [.. from framework in document.RootElement.GetProperty("dependencies").EnumerateObject()
                   from package in framework.Value.EnumerateObject()
                   where package.Value.GetProperty("type").GetString() != "Project"
                   select $"{package.Name} {package.Value.GetProperty("resolved").GetString()}"];
    }
}
