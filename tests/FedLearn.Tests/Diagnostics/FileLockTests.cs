using FedLearn.Diagnostics;
using FedLearn.Tests.Data;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Diagnostics;

public sealed class FileLockTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string FilePath => _folder["run.state.lock"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void TryTake_Held_IsNullUntilItEnds()
    {
        FileLock held = FileLock.TryTake(FilePath)!;
        Assert.Null(FileLock.TryTake(FilePath));
        held.Dispose();
        using FileLock? again = FileLock.TryTake(FilePath);
        Assert.NotNull(again);
    }

    [Fact]
    public void IsAt_DeletedOrReplacedFile_IsFalse()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "An open file cannot be deleted there.");
        using var file = new FileStream(FilePath, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
        Assert.True(FileLock.IsAt(FilePath, file));
        File.Delete(FilePath);
        Assert.False(FileLock.IsAt(FilePath, file));
        using FileLock? other = FileLock.TryTake(FilePath);
        Assert.NotNull(other);
        Assert.False(FileLock.IsAt(FilePath, file));
    }

    [Fact]
    public void Delete_EndedOrDeletedBefore_LeavesTheFileOfAnother()
    {
        FileLock ended = FileLock.TryTake(FilePath)!;
        ended.Dispose();
        using (FileLock other = FileLock.TryTake(FilePath)!)
        {
            ended.Delete();
            Assert.True(File.Exists(FilePath));
            other.Delete();
            using FileLock? next = FileLock.TryTake(FilePath);
            Assert.NotNull(next);
            other.Delete();
            Assert.True(File.Exists(FilePath));
        }
    }

    [Fact]
    public void Delete_WhileOthersTakeIt_IsHeldByOneAtATime()
    {
        int holders = 0, taken = 0, most = 0;
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            for (int i = 0; i < TestCounts.Of(5_000); i++)
            {
                using FileLock? held = FileLock.TryTake(FilePath);
                if (held is null)
                    continue;
                int now = Interlocked.Increment(ref holders);
                for (int seen = Volatile.Read(ref most); now > seen; seen = Volatile.Read(ref most))
                    Interlocked.CompareExchange(ref most, now, seen);
                Interlocked.Increment(ref taken);
                Thread.Yield();
                Interlocked.Decrement(ref holders);
                held.Delete();
            }
        });
        Assert.InRange(taken, 100, int.MaxValue);
        Assert.Equal(1, most);
    }
}
