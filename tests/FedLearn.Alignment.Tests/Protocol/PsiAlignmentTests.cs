using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Parties;

namespace FedLearn.Alignment.Tests.Protocol;

public sealed class PsiAlignmentTests
{
    private static int _sessions;

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task AlignAsync_SeveralParties_HaveTheSameIdsInTheCommonOrder(int parties)
    {
        string[][] ids = [.. Enumerable.Range(0, parties).Select(Ids)];
        AlignedRows[] rows = await AlignAsync(ids, new PsiOptions(), seed: 42);
        string[] common = [.. ids.Aggregate((a, b) => [.. a.Intersect(b)])];
        string[] expected = [.. RowIds.Order(common, 42).Rows.Select(r => common[r])];
        Assert.NotEmpty(expected);
        for (int p = 0; p < parties; p++)
            Assert.Equal(expected, rows[p].Rows.Select(r => ids[p][r]));
    }

    [Fact]
    public async Task AlignAsync_ColumnsInOtherForms_AreInTheSameOrderEverywhere()
    {
        string[] plain = [.. Enumerable.Range(0, 30).Select(i => $"n{i}\u001F{i * i}")];
        string[] spaced = [.. plain.Reverse().Select(id => " " + id.Replace("\u001F", " \u001F\t", StringComparison.Ordinal))];
        AlignedRows[] rows = await AlignAsync([plain, spaced], new PsiOptions(), seed: -5);
        Assert.Equal(30, rows[0].Rows.Length);
        Assert.Equal(rows[0].Rows, rows[1].Rows.Select(r => 29 - r));
    }

    [Theory]
    [InlineData(0, 5)]
    [InlineData(5, 0)]
    [InlineData(0, 0)]
    public async Task AlignAsync_NoRows_IsAnEmptyResult(int active, int passive)
    {
        AlignedRows[] rows = await AlignAsync([[.. Ids(0).Take(active)], [.. Ids(1).Take(passive)], Ids(2)], new PsiOptions(), seed: 1);
        Assert.All(rows, r => Assert.Empty(r.Rows));
    }

    [Theory]
    [InlineData(PsiOutput.ActiveOnly)]
    [InlineData(PsiOutput.PassiveOnly)]
    [InlineData(PsiOutput.SizeOnly)]
    public void Constructor_OutputThatCannotTrain_IsRefused(PsiOutput output) =>
        Assert.Equal(PsiErrors.OutputNotForTraining, Assert.Throws<ConfigurationException>(() => new PsiAlignment(new PsiOptions { Output = output })).Id);

    [Fact]
    public async Task AlignAsync_Leaks_NameWhatWhomIsTold()
    {
        AlignedRows[] two = await AlignAsync([Ids(0), Ids(1)], new PsiOptions { PadTo = 100 }, seed: 1), three = await AlignAsync([Ids(0), Ids(1), Ids(2)], new PsiOptions(), seed: 1);
        Assert.Equal(3, two[0].Leaks.Count);
        Assert.Contains("multiple of 100", two[1].Leaks[0], StringComparison.Ordinal);
        Assert.Contains("which of its ids each passive party has", three[0].Leaks[1], StringComparison.Ordinal);
        Assert.Contains("common to all parties", three[1].Leaks[2], StringComparison.Ordinal);
        Assert.All(two.Concat(three), r => Assert.Contains(r.Warnings, w => w.Contains("few enough to guess", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task AlignAsync_Progress_EndsAtTheTotal()
    {
        var seen = new Seen();
        await AlignAsync([Ids(0), Ids(1)], new PsiOptions(), seed: 1, seen);
        AlignmentProgress last = seen.All.MaxBy(p => p.Done)!;
        Assert.Equal(2 * (Ids(0).Length + Ids(1).Length), last.Total);
        Assert.Equal(last.Total, last.Done);
    }

    [Fact]
    public async Task AlignAsync_InterruptedBeforeTheSelection_GoesOn()
    {
        string folder = Directory.CreateTempSubdirectory("psi-align-").FullName;
        try
        {
            string[][] ids = [Ids(0), Ids(1), Ids(2)];
            int names = Interlocked.Increment(ref _sessions);
            // The active party's 11th message to the first passive one is the selection: hello, commitment, points, tags, confirmation each way come before.
            await Assert.ThrowsAnyAsync<Exception>(() => AlignAsync(ids, new PsiOptions { StateDirectory = folder }, seed: 1, stopAt: 10, names: names));
            Assert.NotEmpty(Directory.GetFileSystemEntries(folder));
            AlignedRows[] rows = await AlignAsync(ids, new PsiOptions { StateDirectory = folder }, seed: 1, names: names);
            string[] common = [.. ids.Aggregate((a, b) => [.. a.Intersect(b)])];
            Assert.All(rows.Zip(ids), p => Assert.Equal(common.Order(), p.First.Rows.Select(r => p.Second[r]).Order()));
            Assert.Empty(Directory.GetFileSystemEntries(folder));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData(20)]
    [InlineData(4)]
    public async Task AlignAsync_OnePairLaterThanTheTimeLimit_KeepsTheOthersWaiting(int timeout)
    {
        var clock = new ManualClock();
        int names = Interlocked.Increment(ref _sessions);
        string[][] ids = [Ids(0), Ids(1), Ids(2)];
        var options = new ChannelOptions { Clock = clock, ReceiveTimeout = TimeSpan.FromSeconds(timeout) };
        var pause = TimeSpan.FromSeconds(Math.Min(5, timeout / 3.0));
        (InMemoryChannel Active, InMemoryChannel Passive) quick = InMemoryChannel.CreatePair($"align{names}-0", $"align{names}-1", options);
        (InMemoryChannel Active, InMemoryChannel Passive) late = InMemoryChannel.CreatePair($"align{names}-0", $"align{names}-2");
        var alignment = new PsiAlignment(new PsiOptions(), clock);
        Task<AlignedRows> Side(int party, params IPartyChannel[] channels) => alignment.AlignAsync(
            new AlignmentTask
            {
                Role = party == 0 ? PartyRole.Active : PartyRole.Passive,
                Ids = ids[party],
                Seed = 1,
                JobDigest = PsiPair.JobDigest,
                Parties = 3,
            }, channels, TestContext.Current.CancellationToken);
        Task<AlignedRows> active = Side(0, quick.Active, late.Active), passive = Side(1, quick.Passive);
        // The first wait within the pause is the one for the pair that has not begun: by then the quick pair is done.
        for (int i = 0; i < 6; i++)
        {
            await clock.WaitForTimerAsync(pause, TestContext.Current.CancellationToken);
            long heard = quick.Passive.Statistics.MessagesReceived;
            clock.Advance(pause);
            while (quick.Passive.Statistics.MessagesReceived == heard)
            {
                TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
                await Task.Yield();
            }
        }

        AlignedRows[] rows = await Task.WhenAll(active, passive, Side(2, late.Passive));
        string[] common = [.. ids.Aggregate((a, b) => [.. a.Intersect(b)])];
        Assert.All(rows.Zip(ids), p => Assert.Equal(common.Order(), p.First.Rows.Select(r => p.Second[r]).Order()));
    }

    /// <summary>Reading, hashing and counting ids takes as long as there are of them.</summary>
    [Fact]
    public async Task AlignAsync_PreparesLong_TheOthersAreToldToWait()
    {
        int names = Interlocked.Increment(ref _sessions);
        (InMemoryChannel Active, InMemoryChannel Passive) pair = InMemoryChannel.CreatePair($"align{names}-0", $"align{names}-1");
        using var work = new WorkOfOthers($"align{names}-0 to align{names}-1");
        Task<AlignedRows> Side(PartyRole role, IReadOnlyList<string> ids, IPartyChannel channel) => new PsiAlignment(new PsiOptions()).AlignAsync(
            new AlignmentTask { Role = role, Ids = ids, Seed = 1, JobDigest = PsiPair.JobDigest, Parties = 2 }, [channel], TestContext.Current.CancellationToken);
        AlignedRows[] rows = await Task.WhenAll(Side(PartyRole.Active, work.Reads(Ids(0)), work.Of(pair.Active)), Side(PartyRole.Passive, Ids(1), pair.Passive));
        Assert.True(work.WereTold);
        Assert.Equal(rows[0].Rows.Select(r => Ids(0)[r]), rows[1].Rows.Select(r => Ids(1)[r]));
    }

    [Fact]
    public async Task RunAsync_TwoOfOneRole_SaysThatOneIsToBeActive()
    {
        int names = Interlocked.Increment(ref _sessions);
        (InMemoryChannel First, InMemoryChannel Second) pair = InMemoryChannel.CreatePair($"align{names}-0", $"align{names}-1");
        Task<PsiResult>[] sides = [.. new[] { pair.First, pair.Second }.Select((channel, i) => PsiParty.RunAsync(PartyRole.Active, Ids(i), PsiPair.JobDigest, channel, cancellationToken: TestContext.Current.CancellationToken))];
        foreach (Task<PsiResult> side in sides)
        {
            PeerException error = await Assert.ThrowsAsync<PeerException>(() => side);
            if (error.Id == PsiErrors.Disagreement)
                Assert.Contains("one of the two parties is active and the other passive", error.Remedy, StringComparison.Ordinal);
            else
                Assert.Equal(PsiErrors.Disagreement, error.PeerErrorId);
        }

        Assert.Contains(sides, side => side.Exception!.InnerException is PeerException { Id: PsiErrors.Disagreement });
    }

    private static string[] Ids(int party)
    {
        string[] ids = [.. Enumerable.Range(0, 60).Where(i => party == 0 || i % (party + 2) != 0).Select(i => $"id{i:00}")];
        new Random(party).Shuffle(ids);
        return ids;
    }

    private static async Task<AlignedRows[]> AlignAsync(string[][] ids, PsiOptions options, long seed, IProgress<AlignmentProgress>? progress = null, int? stopAt = null, int? names = null)
    {
        int session = names ?? Interlocked.Increment(ref _sessions);
        (InMemoryChannel Active, InMemoryChannel Passive)[] pairs = [.. Enumerable.Range(1, ids.Length - 1).Select(p => InMemoryChannel.CreatePair($"align{session}-0", $"align{session}-{p}"))];
        AlignmentTask Side(int party) => new()
        {
            Role = party == 0 ? PartyRole.Active : PartyRole.Passive,
            Ids = ids[party],
            Seed = seed,
            JobDigest = PsiPair.JobDigest,
            Parties = ids.Length,
            Progress = party == 0 ? progress : null,
        };
        var alignment = new PsiAlignment(options);
        Assert.Equal(AlignmentMethod.Psi, alignment.Method);
        IPartyChannel[] actives = [.. pairs.Select((p, i) => i == 0 && stopAt is not null ? new StoppingChannel(p.Active, stopAt) : (IPartyChannel)p.Active)];
        var sides = new List<Task<AlignedRows>> { ChannelGuard.RunAsync(actives, () => alignment.AlignAsync(Side(0), actives, TestContext.Current.CancellationToken)) };
        for (int p = 1; p < ids.Length; p++)
        {
            int party = p;
            sides.Add(ChannelGuard.RunAsync([pairs[p - 1].Passive], () => alignment.AlignAsync(Side(party), [pairs[party - 1].Passive], TestContext.Current.CancellationToken)));
        }

        return await Task.WhenAll(sides);
    }

    private sealed class Seen : IProgress<AlignmentProgress>
    {
        private readonly Lock _gate = new();

        public List<AlignmentProgress> All { get; } = [];

        public void Report(AlignmentProgress value)
        {
            lock (_gate)
                All.Add(value);
        }
    }
}
