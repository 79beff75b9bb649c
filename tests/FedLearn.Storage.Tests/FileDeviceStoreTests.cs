using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Storage.Tests;

public sealed class FileDeviceStoreTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string StatePath => _folder["device.state"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Write_IsReadByTheNextProcess_AndByNobodyElse()
    {
        using (var store = new FileDeviceStore(StatePath))
        {
            Assert.Null(store.Read());
            store.Write([1, 2, 3]);
            store.Write([4, 5]);
        }

        using var again = new FileDeviceStore(StatePath);
        Assert.Equal([4, 5], again.Read()!);
        again.Write([]);
        Assert.Empty(again.Read()!);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(StatePath));
    }

    [Fact]
    public void Write_IsOnTheDiskBeforeItHasItsName()
    {
        var steps = new List<(DurableStep, string)>();
        using var store = new FileDeviceStore(StatePath);
        DurableFile.Watcher.Value = (step, path) => steps.Add((step, path));
        store.Write([1, 2, 3]);
        Assert.Equal([(DurableStep.Synced, StatePath + ".new"), (DurableStep.Renamed, StatePath)], steps.Take(2));
    }

    [Fact]
    public void Open_WhileAnotherHoldsIt_IsRefused()
    {
        using (new FileDeviceStore(StatePath))
            Assert.Equal(DeviceErrors.StoreInUse, Assert.Throws<ConfigurationException>(() => new FileDeviceStore(StatePath)).Id);
        using var after = new FileDeviceStore(StatePath);
        Assert.Null(after.Read());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    [InlineData(41)]
    public void Read_DamagedFile_IsRefused(int place)
    {
        using var store = new FileDeviceStore(StatePath);
        store.Write([1, 2, 3]);
        byte[] bytes = File.ReadAllBytes(StatePath);
        bytes[place] ^= 1;
        File.WriteAllBytes(StatePath, bytes);
        Assert.Equal(DeviceErrors.OtherState, Assert.Throws<ConfigurationException>(() => store.Read()).Id);
        File.WriteAllBytes(StatePath, bytes[..20]);
        Assert.Equal(DeviceErrors.OtherState, Assert.Throws<ConfigurationException>(() => store.Read()).Id);
    }

    [Fact]
    public void Write_AfterACrashInTheMidstOfOne_GoesOn()
    {
        using var store = new FileDeviceStore(StatePath);
        store.Write([1]);
        File.WriteAllBytes(StatePath + ".new", [9, 9]); // what a process left that died before it renamed its draft
        Assert.Equal([1], store.Read()!);
        store.Write([2]);
        Assert.Equal([2], store.Read()!);
    }

    [Fact]
    public void Open_InAFolderThatIsAbsent_SaysSo() =>
        Assert.Equal("FL2311", Assert.Throws<ConfigurationException>(() => new FileDeviceStore(Path.Combine(_folder["absent"], "device.state"))).Id);
}
