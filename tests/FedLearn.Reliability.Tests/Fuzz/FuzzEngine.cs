using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>What a run counted.</summary>
/// <param name="Cases">Inputs.</param>
/// <param name="Accepted">Of them accepted.</param>
/// <param name="Refusals">How often each error id refused one.</param>
/// <param name="MostAllocated">Most bytes that one input took beyond the length of it.</param>
/// <param name="Seconds">Time of all.</param>
internal sealed record FuzzReport(long Cases, long Accepted, IReadOnlyDictionary<string, long> Refusals, long MostAllocated, double Seconds)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"0 crashes, 0 hangs; {Accepted} accepted, {Cases - Accepted} refused with {Refusals.Count} ids; at most {MostAllocated / 1048576.0:0.0} MiB for one; {Cases / Seconds:0} cases/s");
}

/// <summary>A fuzzing run failed; the message says how to make the input again, and where it is.</summary>
internal sealed class FuzzFailedException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Runs the cases of a target on worker threads, under a watch for crashes, hangs and memory.</summary>
internal static class FuzzEngine
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    /// <summary>How long the other threads have, after a failure, to end their case. One that hangs does not, and is a background thread.</summary>
    private static readonly TimeSpan LastCases = TimeSpan.FromSeconds(1);

    /// <summary>The seed: 20261127, or what the environment variable FEDLEARN_FUZZ_SEED says.</summary>
    public static ulong Seed { get; } = Environment.GetEnvironmentVariable("FEDLEARN_FUZZ_SEED") is { Length: > 0 } text ? ulong.Parse(text, CultureInfo.InvariantCulture) : 20261127;

    /// <summary>Cases of each target that the environment variable FEDLEARN_FUZZ_CASES asks for; null for the counts of the tier.</summary>
    public static long? AskedCases { get; } = Environment.GetEnvironmentVariable("FEDLEARN_FUZZ_CASES") is { Length: > 0 } text ? long.Parse(text, CultureInfo.InvariantCulture) : null;

    /// <summary>Runs cases.</summary>
    /// <param name="target">What is run.</param>
    /// <param name="seed">Seed of all cases.</param>
    /// <param name="cases">How many.</param>
    /// <param name="patience">Longest that one may take: far more than any needs, also on a busy machine. Default 20 seconds.</param>
    /// <exception cref="FuzzFailedException">An input crashed, hung, or took more memory than its length allows.</exception>
    public static FuzzReport Run(FuzzTarget target, ulong seed, long cases, TimeSpan? patience = null)
    {
        long start = Stopwatch.GetTimestamp();
        _ = target.Seeds;
        var state = new State(target, seed, cases);
        string folder = Directory.CreateTempSubdirectory("fedlearn-fuzz-").FullName;
        int workers = (int)Math.Clamp(cases, 1, Environment.ProcessorCount);
        state.Working.Reset(workers);
        Worker[] threads = [.. Enumerable.Range(0, workers).Select(i => new Worker(state, Path.Combine(folder, $"{i}")))];
        while (!state.Working.Wait(Look) && state.Failure is null)
        {
            foreach (Worker worker in threads)
                if (worker.Elapsed > (patience ?? TimeSpan.FromSeconds(20)))
                    state.Fail(worker.Number, target.Make(FuzzRandom.Of(seed, target.Name, worker.Number)), $"took more than {(patience ?? TimeSpan.FromSeconds(20)).TotalSeconds:0.#} s", null);
        }

        if (state.Failure is { } failure)
        {
            state.Working.Wait(LastCases);
            Discard(folder);
            throw failure;
        }

        Directory.Delete(folder, recursive: true);
        return new FuzzReport(cases, state.Outcomes.GetValueOrDefault(""), state.Outcomes.Where(o => o.Key.Length > 0).ToDictionary(o => o.Key, o => o.Value),
            state.MostAllocated, Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    private static void Discard(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A thread that hangs has a file of it open, or made one just now: what failed is worth more than a clean folder.
        }
    }

    /// <summary>Runs one input, as a case is run.</summary>
    /// <exception cref="FuzzCrashException">It crashed, or took more memory than its length allows.</exception>
    public static (FuzzOutcome Outcome, long Allocated) RunOne(FuzzTarget target, byte[] input, string folder)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        FuzzOutcome outcome = target.Run(input, folder);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        long limit = target.AllocationLimit(input.Length);
        return allocated <= limit ? (outcome, allocated)
            : throw new FuzzCrashException($"allocated {allocated} bytes ({outcome.Id ?? "accepted"}); the limit for {input.Length} bytes of input is {limit}");
    }

    private sealed class State(FuzzTarget target, ulong seed, long cases)
    {
        private FuzzFailedException? _failure;
        private long _next, _most;

        public FuzzTarget Target => target;

        public ulong Seed => seed;

        public CountdownEvent Working { get; } = new(1);

        public ConcurrentDictionary<string, long> Outcomes { get; } = new();

        public FuzzFailedException? Failure => Volatile.Read(ref _failure);

        public long MostAllocated => Volatile.Read(ref _most);

        public long? Next() => Failure is null && Interlocked.Increment(ref _next) - 1 is var number && number < cases ? number : null;

        public void Took(long bytes)
        {
            for (long most = MostAllocated; bytes > most && Interlocked.CompareExchange(ref _most, bytes, most) != most; most = MostAllocated) { }
        }

        public void Fail(long number, byte[] input, string what, Exception? inner)
        {
            string path = FuzzFiles.Keep(target.Name, seed, number, input);
            var failure = new FuzzFailedException($"Target {target.Name}, seed {seed}, case {number}: an input of {input.Length} bytes {what}. It is kept as {path}; "
                + $"copy it to {FuzzFiles.Regressions}/{target.Name}.WHAT-IT-WAS once the reason is known.", inner);
            Interlocked.CompareExchange(ref _failure, failure, null);
        }
    }

    private sealed class Worker
    {
        private readonly State _state;
        private readonly string _folder;
        private long _number = -1, _since;

        public Worker(State state, string folder)
        {
            (_state, _folder) = (state, folder);
            new Thread(Work, maxStackSize: 1 << 20) { IsBackground = true, Name = $"fuzz {state.Target.Name}" }.Start(); // 1 MiB: less than a thread pool's, so that recursion shows
        }

        /// <summary>The case in progress.</summary>
        public long Number => Volatile.Read(ref _number);

        public TimeSpan Elapsed => Volatile.Read(ref _since) is > 0 and var since ? Stopwatch.GetElapsedTime(since) : TimeSpan.Zero;

        private void Work()
        {
            try
            {
                Directory.CreateDirectory(_folder);
                while (_state.Next() is { } number)
                {
                    byte[] input = _state.Target.Make(FuzzRandom.Of(_state.Seed, _state.Target.Name, number));
                    Volatile.Write(ref _number, number);
                    Volatile.Write(ref _since, Stopwatch.GetTimestamp());
                    try
                    {
                        (FuzzOutcome outcome, long allocated) = RunOne(_state.Target, input, _folder);
                        _state.Outcomes.AddOrUpdate(outcome.Id ?? "", 1, static (_, count) => count + 1);
                        _state.Took(allocated - input.Length);
                    }
                    catch (FuzzCrashException e)
                    {
                        _state.Fail(number, input, e.Message, e.InnerException);
                    }

                    Volatile.Write(ref _since, 0);
                }
            }
            catch (Exception e)
            {
                _state.Fail(Number, [], $"could not be made: {e.Message}", e);     // an error of the fuzzer itself
            }
            finally
            {
                _state.Working.Signal();
            }
        }
    }
}
