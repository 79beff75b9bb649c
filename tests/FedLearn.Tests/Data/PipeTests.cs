using System.Diagnostics;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

/// <summary>Opening a pipe that nobody writes to waits for ever.</summary>
public sealed class PipeTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string Pipe(string name)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Named pipes are no files there.");
        using Process made = Process.Start("mkfifo", [_folder[name]]);
        made.WaitForExit();
        Assert.Equal(0, made.ExitCode);
        return _folder[name];
    }

    private static void Refused(string pipe, Action read)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.NoRows, pipe, null, read);
        Assert.Contains("pipe", error.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("t.csv")]
    [InlineData("t.npy")]
    [InlineData("t.svm")]
    public void Load_Pipe_Refused(string name) => Refused(name, () => Table.Load(new TableSource { Path = Pipe(name) }, needLabel: false));

    [Fact]
    public void Load_MappedPipe_Refused() => Refused("t.npy", () => Table.Load(new TableSource { Path = Pipe("t.npy"), Scratch = _folder["scratch"] }, needLabel: false));

    [Fact]
    public void Read_SplitPipe_Refused() => Refused("s.csv", () => RowSplit.TestRows(new SplitRule.FromFile(), Pipe("s.csv"), ["a"], [0]));

    [Fact]
    public void Read_IdPipe_Refused() => Refused("ids.txt", () => Table.Load(new TableSource { Path = _folder.Write("t.svm", "1 1:1\n"), Ids = Pipe("ids.txt") }, needLabel: false));

    [Fact]
    public void Load_Device_Refused() => Refused("null.csv", () =>
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "There are no devices among files there.");
        File.CreateSymbolicLink(_folder["null.csv"], "/dev/null");
        Table.Load(new TableSource { Path = _folder["null.csv"] }, needLabel: false);
    });
}
