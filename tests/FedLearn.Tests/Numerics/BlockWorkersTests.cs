using FedLearn.Numerics;

namespace FedLearn.Tests.Numerics;

public sealed unsafe class BlockWorkersTests
{
    private struct Count : IBlockWork
    {
        public int Done, Elsewhere, Caller;

        public static void Run(void* work, object? state, int block)
        {
            var count = (Count*)work;
            Interlocked.Increment(ref count->Done);
            if (Environment.CurrentManagedThreadId != count->Caller)
                Interlocked.Increment(ref count->Elsewhere);
        }
    }

    [Fact]
    public void Run_ThreadThatIsAlone_DoesEveryBlockItself()
    {
        var count = default(Count);
        var thread = new Thread(() =>
        {
            BlockWorkers.Alone = true;
            var own = new Count { Caller = Environment.CurrentManagedThreadId };
            for (int i = 0; i < 100; i++)
                BlockWorkers.Run(&own, null, 64);
            count = own;
        });
        thread.Start();
        thread.Join();
        Assert.Equal((6400, 0), (count.Done, count.Elsewhere));
        Assert.False(BlockWorkers.Alone, "of that thread, not of others");
    }

    [Fact]
    public void AwayFromCaller_HelperOfAnyThread_HasEveryProcessorOfItsCallerButOne()
    {
        if (!OperatingSystem.IsLinux())
            Assert.Skip("threads are placed on Linux alone");
        HelperPlace? place = null;
        int[] before = [], after = [];
        using ManualResetEventSlim ready = new(), go = new();
        var helper = new Thread(() =>
        {
            place = HelperPlace.OfThisThread();
            before = Allowed();
            ready.Set();
            go.Wait();
            after = Allowed();
        });
        helper.Start();
        ready.Wait();
        place!.AwayFromCaller();
        go.Set();
        helper.Join();

        int[] own = Allowed();
        Assert.Equal(own, before);
        if (own.Length == 1)
            Assert.Equal(own, after);
        else
            Assert.Equal(own.Length - 1, after.Intersect(own).Count());
        Assert.Subset(own.ToHashSet(), after.ToHashSet());
    }

    /// <summary>Processors of the calling thread, as the system's own file names them: 0-2,5.</summary>
    private static int[] Allowed() =>
    [
        .. File.ReadLines("/proc/thread-self/status").First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal))["Cpus_allowed_list:".Length..].Trim().Split(',')
            .Select(range => range.Split('-').Select(int.Parse).ToArray()).SelectMany(range => Enumerable.Range(range[0], range[^1] - range[0] + 1)),
    ];
}
