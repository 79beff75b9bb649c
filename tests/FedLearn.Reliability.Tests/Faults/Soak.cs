using System.Diagnostics;
using System.Globalization;
using FedLearn.Glm;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>What a soak did.</summary>
/// <param name="Sessions">Sessions that ended.</param>
/// <param name="Faulty">Those among them that were given a fault.</param>
/// <param name="Errors">Those among the faulty ones that ended with an error, as they may.</param>
/// <param name="Before">What the process held when it was warm.</param>
/// <param name="After">What it held at the end.</param>
/// <param name="ResidentBefore">Resident memory when it was warm, in bytes.</param>
/// <param name="ResidentAfter">Resident memory at the end, in bytes.</param>
/// <param name="Wrong">What went wrong, first of all; null when nothing did.</param>
internal sealed record SoakReport(long Sessions, long Faulty, long Errors, Footprint Before, Footprint After, long ResidentBefore, long ResidentAfter, string? Wrong)
{
    /// <summary>The report as a line.</summary>
    public override string ToString() => FormattableString.Invariant($"{Sessions} sessions, {Faulty} with a fault, {Errors} of these ended with FL4 errors; {Before} before, {After} after; {ResidentBefore / 1e6:0} MB resident before, {ResidentAfter / 1e6:0} MB after");
}

/// <summary>Sessions over and over, several at once, of random sizes, one in eight with a fault of the network; <c>eng/soak.sh</c> runs it for as long as one likes.</summary>
/// <param name="seed">Decides sizes and faults; which session meets which moment is the machine's affair.</param>
/// <param name="output">Told a line a minute.</param>
internal sealed class Soak(int seed, Action<string> output)
{
    /// <summary>How much a process that has warmed up may grow: its heap, its open files and sockets, its resident memory, which holds what the collector keeps for later.</summary>
    public const long HeapBound = 6_000_000, ResidentBound = 150_000_000;

    /// <inheritdoc cref="HeapBound" />
    public const int HandleBound = 8;

    private const int AtOnce = 4, FaultOneIn = 8;

    private readonly Lock _gate = new();
    private readonly Stopwatch _watch = new();
    private long _sessions, _faulty, _errors;
    private TimeSpan _nextLine;
    private string? _wrong;

    /// <summary>Runs until a time is over, or until something goes wrong.</summary>
    public async Task<SoakReport> RunAsync(TimeSpan length)
    {
        // Every kind of fault once, so that what is kept for good is there before the first measurement.
        for (int i = 0; i < FaultySession.Kinds.Count; i++)
            await SessionAsync(new Random(unchecked(seed - 1 - i)), FaultySession.Kinds.Keys.ElementAt(i));
        (_sessions, _faulty, _errors) = (0, 0, 0);
        Footprint before = Footprint.Now();
        long resident = Footprint.Resident();
        output(string.Create(CultureInfo.InvariantCulture, $"seed {seed}, {AtOnce} sessions at once, one in {FaultOneIn} with a fault; {before}, {resident / 1e6:0} MB resident; {Footprint.KindsOfHandles()}"));
        _watch.Start();
        _nextLine = TimeSpan.FromMinutes(1);
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(worker => Task.Run(() => WorkAsync(new Random(unchecked((seed * 31) + worker)), length))));
        Footprint after = await Footprint.SettledAsync(before, HeapBound, HandleBound);
        long residentAfter = Footprint.Resident();
        _wrong ??= after.HeapBytes - before.HeapBytes > HeapBound ? $"the heap has grown: {before} before, {after} after"
            : after.Handles - before.Handles > HandleBound ? $"handles were left open: {before} before, {after} after: {Footprint.KindsOfHandles()}"
            : residentAfter - resident > ResidentBound ? $"resident memory has grown from {resident / 1_000_000} to {residentAfter / 1_000_000} MB" : null;
        return new SoakReport(_sessions, _faulty, _errors, before, after, resident, residentAfter, _wrong);
    }

    private async Task WorkAsync(Random random, TimeSpan length)
    {
        while (_watch.Elapsed < length && Volatile.Read(ref _wrong) is null)
        {
            string? kind = random.Next(FaultOneIn) == 0 ? FaultySession.Kinds.Keys.ElementAt(random.Next(FaultySession.Kinds.Count)) : null;
            await SessionAsync(random, kind);
            lock (_gate)
            {
                if (_watch.Elapsed < _nextLine)
                    continue;
                _nextLine += TimeSpan.FromMinutes(1);
            }

            output(string.Create(CultureInfo.InvariantCulture,
                $"{_watch.Elapsed.TotalMinutes,5:0.0} min: {_sessions} sessions, {_faulty} with a fault, {_errors} errors from faults, 0 failures, {Footprint.Resident() / 1e6:0} MB resident, {Footprint.OpenHandles()} handles"));
        }
    }

    private async Task SessionAsync(Random random, string? kind)
    {
        string what = kind ?? "no fault";
        try
        {
            int way = random.Next(3);
            Trial trial = await Trial.CreateAsync(random.Next(), random.Next(40, 400), random.Next(1, 9), way == 1 ? GlmOptimizer.Lbfgs : GlmOptimizer.Sgd, random.Next(2, 12), noisy: way == 2);
            PartyEnd[] ends = kind is null ? await FaultySession.RunAsync(trial, _ => { }, FaultySession.PatientHost, FaultySession.PatientClient).WaitAsync(TimeSpan.FromMinutes(5))
                : await FaultySession.RunAsync(trial, kind, (Way)random.Next(2), random.Next(8000), random);
            if (kind is null ? !trial.IsRight(ends) : trial.FaultOf(ends) is not null)
                Interlocked.CompareExchange(ref _wrong, $"a session with {what}: {trial.FaultOf(ends) ?? string.Join("; ", ends.Select(e => e.Failure?.ToString() ?? "a model"))}", null);
            Interlocked.Increment(ref _sessions);
            Interlocked.Add(ref _faulty, kind is null ? 0 : 1);
            Interlocked.Add(ref _errors, kind is null || trial.IsRight(ends) ? 0 : 1);
        }
#pragma warning disable CA1031 // whatever it is, it is what the soak looks for
        catch (Exception e)
#pragma warning restore CA1031
        {
            Interlocked.CompareExchange(ref _wrong, $"a session with {what}: {e}", null);
        }
    }
}
