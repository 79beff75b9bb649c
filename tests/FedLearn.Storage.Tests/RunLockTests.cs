using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;

namespace FedLearn.Storage.Tests;

public sealed class RunLockTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string FilePath => _folder["run.state.lock"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void TryTake_Held_IsNullUntilItEnds()
    {
        RunLock held = RunLock.TryTake(FilePath)!;
        Assert.Null(RunLock.TryTake(FilePath));
        held.Dispose();
        using RunLock? again = RunLock.TryTake(FilePath);
        Assert.NotNull(again);
    }

    [Fact]
    public void IsAt_DeletedOrReplacedFile_IsFalse()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "An open file cannot be deleted there.");
        using var file = new FileStream(FilePath, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
        Assert.True(RunLock.IsAt(FilePath, file));
        File.Delete(FilePath);
        Assert.False(RunLock.IsAt(FilePath, file));
        using RunLock? other = RunLock.TryTake(FilePath);
        Assert.NotNull(other);
        Assert.False(RunLock.IsAt(FilePath, file));
    }

    [Fact]
    public void Delete_WhileOthersTakeIt_IsHeldByOneAtATime()
    {
        int holders = 0, taken = 0, most = 0;
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            for (int i = 0; i < TestCounts.Of(5_000); i++)
            {
                using RunLock? held = RunLock.TryTake(FilePath);
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
