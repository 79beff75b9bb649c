using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>Many sessions at once.</summary>
[Collection(nameof(NetworkAlone))]
public sealed class LoadReliabilityTests
{
    [Fact]
    public async Task HundredSessions_AtOnce_EndRightWithFlatMemory()
    {
        const int sessions = 100;
        const long heapBound = 8_000_000, peakBound = 600_000_000;
        const int handleBound = 16;
        int waves = TestCounts.Of(1);
        var log = new ReliabilityLog("sessions of two parties over gRPC in one process, 100 at once");
        Trial[] trials = await Task.WhenAll(Enumerable.Range(0, sessions).Select(i => Trial.CreateAsync(1000 + i, rows: 80 + i, columns: 4, epochs: 10)));
        await WaveAsync(trials[..4]);
        Footprint before = Footprint.Now();
        Footprint.ForgetPeak();
        long resident = Footprint.Resident();
        for (int wave = 0; wave < waves; wave++)
            await WaveAsync(trials);
        long peak = Footprint.PeakResident();
        Footprint after = await Footprint.SettledAsync(before, heapBound, handleBound);
        Assert.True(after.HeapBytes - before.HeapBytes <= heapBound && after.Handles - before.Handles <= handleBound, $"The sessions left something behind: {before} before, {after} after.");
        Assert.True(peak - resident <= peakBound, $"The peak is {peak / 1e6:0} MB, {resident / 1e6:0} MB before; at most {peakBound / 1e6:0} MB more are right.");
        log.Passed(sessions * waves, FormattableString.Invariant($"{sessions * waves} of {sessions * waves} models of both parties bit-identical; peak {peak / 1e6:0} MB resident, {resident / 1e6:0} MB before; {before} before, {after} after"));
    }

    private static async Task WaveAsync(Trial[] trials)
    {
        // No session begins to train before all are open.
        var open = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        int joined = 0;
        Task JoinedAsync()
        {
            if (Interlocked.Increment(ref joined) == trials.Length)
                open.SetResult();
            return open.Task;
        }

        // A machine of two cores that runs two hundred parties is no reason for a time limit to end one.
        PartyEnd[][] ends = await Task.WhenAll(trials.Select(async trial =>
        {
            var listening = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
            Task<PartyEnd> active = trial.RunActiveAsync(FaultySession.PatientHost, listening.SetResult);
            return await Task.WhenAny(active, listening.Task) == active ? [await active] : await Task.WhenAll(active, trial.RunPassiveAsync(await listening.Task, FaultySession.PatientClient, JoinedAsync));
        })).WaitAsync(TimeSpan.FromMinutes(10));
        for (int i = 0; i < trials.Length; i++)
            Assert.True(trials[i].IsRight(ends[i]), $"Session {i}: {trials[i].Describe(ends[i])}");
    }
}
