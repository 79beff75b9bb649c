using FedLearn.Diagnostics;
using FedLearn.Tests.Data;

namespace FedLearn.Tests.Diagnostics;

public sealed class DurableFileTests : IDisposable
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly TempFolder _folder = new();

    private string Folder => Path.GetDirectoryName(File1)!;

    private string File1 => _folder["a.state"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Touch_FilesOfProcessesThatWereKilled_AreRemovedOnceTheyAreOld()
    {
        string old = _folder[$".fedlearn-{Guid.NewGuid():N}"], young = _folder[$".fedlearn-{Guid.NewGuid():N}"], other = _folder[".fedlearn-notes"];
        foreach (string file in new[] { old, young, other })
            File.WriteAllText(file, "");
        foreach (string file in new[] { old, other })
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddDays(-1));
        DurableFile.Touch(Folder);
        Assert.Equal(new[] { young, other }.Order(StringComparer.Ordinal), Directory.GetFiles(Folder).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ReplaceAndPublish_SyncTheContentBeforeTheNameAndThenTheName(bool replaces)
    {
        string draft = File1 + ".new";
        var steps = new List<(DurableStep, string)>();
        DurableFile.Watcher.Value = (step, path) => steps.Add((step, path));
        if (replaces)
        {
            DurableFile.Replace(File1, [1], ownerOnly: true);
        }
        else
        {
            File.WriteAllBytes(draft, [1]);
            DurableFile.Publish(draft, File1);
        }

        (DurableStep, string)[] expected = [(DurableStep.Synced, draft), (DurableStep.Renamed, File1), (DurableStep.FolderSynced, Folder)];
        Assert.Equal(OperatingSystem.IsWindows() ? expected[..2] : expected, steps);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Replace_NewAndOld_HoldsTheLastBytesAndLeavesNothingElse(bool ownerOnly)
    {
        foreach (byte[] bytes in (byte[][])[[1, 2, 3], [], [4]])
        {
            DurableFile.Replace(File1, bytes, ownerOnly);
            Assert.Equal(bytes, File.ReadAllBytes(File1));
        }

        Assert.Equal([File1], Directory.GetFiles(Folder));
        if (ownerOnly && !OperatingSystem.IsWindows())
            Assert.Equal(Owner, File.GetUnixFileMode(File1));
    }

    [Fact]
    public void Replace_DraftOfACrash_IsWrittenOver()
    {
        File.WriteAllBytes(File1 + ".new", new byte[100]);
        DurableFile.Replace(File1, [1], ownerOnly: false);
        Assert.Equal([1], File.ReadAllBytes(File1));
        Assert.Equal([File1], Directory.GetFiles(Folder));
    }

    [Fact]
    public void Replace_CannotBeMoved_LeavesNoDraft()
    {
        Directory.CreateDirectory(Path.Combine(File1, "in the way"));
        Exception error = Assert.ThrowsAny<Exception>(() => DurableFile.Replace(File1, [1], ownerOnly: true));
        Assert.True(error is IOException or UnauthorizedAccessException);
        Assert.Empty(Directory.GetFiles(Folder));
    }

    [Fact]
    public void Replace_WhileAnotherWrites_LeavesTheOthersDraft()
    {
        using (var other = new FileStream(File1 + ".new", DurableFile.OwnerOnly(FileMode.Create)))
        {
            Assert.ThrowsAny<IOException>(() => DurableFile.Replace(File1, [1], ownerOnly: true));
            Assert.True(File.Exists(File1 + ".new"));
        }

        DurableFile.Replace(File1, [1], ownerOnly: true);
    }

    [Fact]
    public void Publish_RelativeName_ReplacesTheFile()
    {
        File.WriteAllText(File1, "old");
        string draft = Path.GetRelativePath(Environment.CurrentDirectory, File1 + ".draft");
        File.WriteAllText(draft, "new");
        DurableFile.Publish(draft, Path.GetRelativePath(Environment.CurrentDirectory, File1));
        Assert.Equal("new", File.ReadAllText(File1));
        Assert.False(File.Exists(draft));
    }

    [Fact]
    public void Publish_DraftThatIsNotThere_LeavesTheOldFile()
    {
        File.WriteAllText(File1, "old");
        Assert.Throws<FileNotFoundException>(() => DurableFile.Publish(File1 + ".draft", File1));
        Assert.Equal("old", File.ReadAllText(File1));
    }

    [Fact]
    public void SyncFolder_FolderThatIsNotThere_Fails()
    {
        DurableFile.SyncFolder(Folder);
        if (!OperatingSystem.IsWindows())
            Assert.Throws<IOException>(() => DurableFile.SyncFolder(_folder["absent"]));
    }

    [Fact]
    public void OwnerOnly_EveryMode_OpensTheFileForItsOwner()
    {
        foreach (FileMode mode in (FileMode[])[FileMode.CreateNew, FileMode.Create, FileMode.OpenOrCreate, FileMode.Open, FileMode.Truncate])
            using (var file = new FileStream(File1, DurableFile.OwnerOnly(mode)))
                if (!OperatingSystem.IsWindows())
                    Assert.Equal(Owner, File.GetUnixFileMode(File1));
    }
}
