using System.Diagnostics;

namespace FedLearn.Storage.Tests;

public sealed class ChildTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Child_Killed_LeavesNoDoorOfTheRuntime()
    {
        Assert.SkipWhen(Environment.GetEnvironmentVariable("DOTNET_EnableDiagnostics") != "0", "DOTNET_EnableDiagnostics asks for them.");
        HashSet<string> before = [.. Doors("*")];
        using Process child = Child.Start("states", _folder["l.db"]);
        Assert.Equal("0", child.StandardOutput.ReadLine());    // it runs: what the runtime opens at its start is open
        child.Kill();
        child.WaitForExit();
        Assert.DoesNotContain(Doors($"{child.Id}-*"), door => !before.Contains(door));
    }

    // Of an earlier process with the same number there may be some.
    private static IEnumerable<string> Doors(string whose) =>
        new[] { "clr-debug-pipe-", "dotnet-diagnostic-" }.SelectMany(kind => Directory.EnumerateFiles(Path.GetTempPath(), kind + whose));
}
