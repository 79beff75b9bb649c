using FedLearn.Numerics;

namespace FedLearn.Tests.Numerics;

/// <summary>Work of other tests at the same time would have the helpers.</summary>
[CollectionDefinition(nameof(HelpersAlone), DisableParallelization = true)]
public sealed class HelpersAlone;

[Collection(nameof(HelpersAlone))]
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

    /// <summary>The caller's block waits until a helper has begun with its own.</summary>
    private sealed class Meeting(int caller, bool fails) : IDisposable
    {
        private readonly ManualResetEventSlim _met = new();

        public bool Met => _met.IsSet;

        public void Meet()
        {
            if (Environment.CurrentManagedThreadId == caller)
            {
                _met.Wait(TimeSpan.FromSeconds(20));
                return;
            }

            _met.Set();
            if (fails)
                throw new InvalidOperationException("the helper's");
        }

        public void Dispose() => _met.Dispose();
    }

    private struct Met : IBlockWork
    {
        public static void Run(void* work, object? state, int block) => ((Meeting)state!).Meet();
    }

    [Fact]
    public void Run_HelperFails_TellsTheCallerOnceAndSharesTheNextWork()
    {
        if (Environment.ProcessorCount == 1)
            Assert.Skip("there is no helper on one processor");
        var work = default(Met);
        // Twice: what a failure leaves behind must hinder neither work that succeeds nor work that fails again.
        for (int i = 0; i < 2; i++)
        {
            using Meeting failing = new(Environment.CurrentManagedThreadId, fails: true), going = new(Environment.CurrentManagedThreadId, fails: false);
            string? told = null;
            try
            {
                BlockWorkers.Run(&work, failing, Environment.ProcessorCount);
            }
            catch (InvalidOperationException e)
            {
                told = e.Message;
            }

            Assert.True(failing.Met, "no helper came");
            Assert.Equal("the helper's", told);
            BlockWorkers.Run(&work, going, Environment.ProcessorCount);
            Assert.True(going.Met, "no helper came to the next work");
        }
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
