using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace FedLearn.Numerics;

/// <summary>Work that falls into numbered blocks, each of which may run on any thread, in any order.</summary>
internal interface IBlockWork
{
    /// <summary>Does one block.</summary>
    /// <param name="work">The work. Threads share it.</param>
    /// <param name="state">What the caller handed over.</param>
    /// <param name="block">Block from 0.</param>
    static abstract unsafe void Run(void* work, object? state, int block);
}

/// <summary>Shares blocks of work between the calling thread and one helper thread for every further processor. Costs no allocation and, while the helpers are awake, about a microsecond.</summary>
/// <remarks>Every thread has a range of blocks of its own, the same one for the same number of blocks, so that a second pass over the same rows finds them in its cache; who is
/// done early takes blocks of the others. A helper looks for work for some microseconds and then sleeps: processes of several parties may share a machine. One caller is served at a time;
/// others do their blocks alone meanwhile. Results cannot depend on who did which block, since blocks write to places of their own.</remarks>
internal static unsafe class BlockWorkers
{
    private const int MostThreads = 16;
    // A range of blocks is one number, next block | end << 32, and has a cache line of its own.
    private const int Line = 16;
    private static readonly int Threads = Math.Min(Environment.ProcessorCount, MostThreads);
    private static readonly long SpinTicks = Stopwatch.Frequency * 30 / 1_000_000;
    private static readonly long[] Ranges = new long[(Threads + 1) * Line];
    private static readonly object Gate = new();
    private static readonly HelperPlace?[] Places = new HelperPlace?[Threads];

    private static int _taken, _started, _parked, _open;
    private static volatile int _turn;
    // How many helpers are at work now. A helper joins only while the work is open, so that the caller need not wait for one that wakes up late.
    private static int _inside;
    private static delegate*<void*, object?, int, void> _run;
    private static void* _work;
    private static object? _state;
    private static bool _backwards;
    private static ExceptionDispatchInfo? _failure;

    /// <summary>Whether the calling thread does its blocks alone: one that works beside another which must not wait for a processor.</summary>
    [field: ThreadStatic]
    public static bool Alone { get; set; }

    /// <summary>Runs the blocks and returns when all are done.</summary>
    /// <param name="work">The work; on the caller's stack, or pinned.</param>
    /// <param name="state">Handed to every block.</param>
    /// <param name="blocks">Number of blocks.</param>
    /// <param name="backwards">Every thread takes its last block first: what an earlier pass read last may still be in the cache.</param>
    public static void Run<T>(T* work, object? state, int blocks, bool backwards = false) where T : unmanaged, IBlockWork
    {
        if (blocks > 1 && Threads > 1 && !Alone && Interlocked.CompareExchange(ref _taken, 1, 0) == 0)
        {
            try
            {
                Share(work, state, blocks, backwards, &T.Run);
            }
            finally
            {
                Volatile.Write(ref _taken, 0);
            }

            return;
        }

        for (int i = 0; i < blocks; i++)
            T.Run(work, state, backwards ? blocks - 1 - i : i);
    }

    private static void Share(void* work, object? state, int blocks, bool backwards, delegate*<void*, object?, int, void> run)
    {
        if (_started == 0)
            Start();
        (_state, _backwards) = (state, backwards);
        _run = run;
        _work = work;
        for (int t = 0; t < Threads; t++)
            Ranges[(t + 1) * Line] = (long)blocks * t / Threads | (long)blocks * (t + 1) / Threads << 32;
        Volatile.Write(ref _open, 1);
        _turn = unchecked(_turn + 1);
        // The barrier stands between saying that there is work and asking who sleeps; a helper does the two the other way round.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _parked) > 0)
        {
            foreach (HelperPlace? place in Places)
                place?.AwayFromCaller();
            lock (Gate)
                Monitor.PulseAll(Gate);
        }

        ExceptionDispatchInfo? failure = null;
        try
        {
            Take(0);
        }
        catch (Exception e)
        {
            failure = ExceptionDispatchInfo.Capture(e);
            Drop();
        }

        Volatile.Write(ref _open, 0);
        Interlocked.MemoryBarrier();
        var wait = new SpinWait();
        while (Volatile.Read(ref _inside) > 0)
            wait.SpinOnce(sleep1Threshold: -1);
        failure ??= _failure;
        (_state, _failure) = (null, null);
        failure?.Throw();
    }

    private static void Start()
    {
        _started = 1;
        for (int t = 1; t < Threads; t++)
        {
            int number = t;
            new Thread(() => Help(number)) { IsBackground = true, Name = "FedLearn kernels" }.UnsafeStart();
        }
    }

    private static void Help(int thread)
    {
        int seen = 0;
        Volatile.Write(ref Places[thread], HelperPlace.OfThisThread());
        while (true)
        {
            Await(seen);
            seen = _turn;
            Interlocked.Increment(ref _inside);
            try
            {
                if (Volatile.Read(ref _open) != 0)
                    Take(thread);
            }
#pragma warning disable CA1031 // it is thrown at the caller
            catch (Exception e)
#pragma warning restore CA1031
            {
                Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
                Drop();
            }

            Interlocked.Decrement(ref _inside);
        }
    }

    private static void Await(int seen)
    {
        long until = Stopwatch.GetTimestamp() + SpinTicks;
        while (_turn == seen && Stopwatch.GetTimestamp() < until)
            Thread.SpinWait(8);
        if (_turn != seen)
            return;
        lock (Gate)
        {
            Interlocked.Increment(ref _parked);
            while (_turn == seen)
                Monitor.Wait(Gate);
            Interlocked.Decrement(ref _parked);
        }
    }

    // A thread takes its own blocks first, then those of the others, beginning at the end that their owner reaches last.
    private static void Take(int thread)
    {
        for (int i = 0; i < Threads; i++)
        {
            ref long range = ref Ranges[((thread + i) % Threads + 1) * Line];
            while (Next(ref range, last: _backwards == (i == 0)) is var block and >= 0)
                _run(_work, _state, block);
        }
    }

    private static int Next(ref long range, bool last)
    {
        while (true)
        {
            long now = Volatile.Read(ref range);
            int next = unchecked((int)now), end = (int)(now >> 32);
            if (next >= end)
                return -1;
            long then = last ? (uint)next | (long)(end - 1) << 32 : (uint)(next + 1) | (long)end << 32;
            if (Interlocked.CompareExchange(ref range, then, now) == now)
                return last ? end - 1 : next;
        }
    }

    private static void Drop()
    {
        for (int t = 0; t < Threads; t++)
            Interlocked.Exchange(ref Ranges[(t + 1) * Line], 0);
    }
}
