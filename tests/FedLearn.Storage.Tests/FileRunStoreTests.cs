using System.Diagnostics;
using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Storage.Sqlite;
using FedLearn.Testing;
using FedLearn.Tests.Shared;

namespace FedLearn.Storage.Tests;

public sealed class FileRunStoreTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public static TheoryData<string> Checks => [.. RunStoreConformance.All.Keys];

    public void Dispose() => _folder.Dispose();

    private FileRunStore Open() => new(_folder["bank.ledger.db"], TimeSpan.Zero);

    private static RunIdentity Run => RunStoreConformance.Identity(9);

    private string PathOf(int round) => _folder[$"bank.ledger.db.{Run.RunId}.round-{round}.state"];

    private string StartPath => _folder[$"bank.ledger.db.{Run.RunId}.start.state"];

    private CutOffRun? Found => Open().Find("bank", Run.TermsDigest);

    [Theory]
    [MemberData(nameof(Checks))]
    public void FileRunStore_Conforms(string check)
    {
        RunStoreConformance.All[check](Open);
        if (OperatingSystem.IsWindows())
            return;
        foreach (string file in _folder.Files)
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_folder[file]));
    }

    [Fact]
    public void Write_StartAndStates_AreOnTheDiskBeforeTheyHaveTheirNames()
    {
        var steps = new List<(DurableStep, string)>();
        using IRunState run = Open().Begin(Run);
        DurableFile.Watcher.Value = (step, path) => steps.Add((step, path));
        run.WriteStart([5]);
        run.Write(0, [1, 2]);
        foreach (string file in OperatingSystem.IsWindows() ? [] : (string[])[StartPath, PathOf(0)])
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, OperatingSystem.IsWindows() ? default : File.GetUnixFileMode(file));
        Assert.Equal([(DurableStep.Synced, StartPath + ".new"), (DurableStep.Renamed, StartPath), (DurableStep.Synced, PathOf(0) + ".new"), (DurableStep.Renamed, PathOf(0))],
            steps.Where(step => step.Item1 != DurableStep.FolderSynced));
    }

    [Fact]
    public void Remove_LeavesNoFile()
    {
        using IRunState run = Open().Begin(Run);
        run.WriteStart([5]);
        run.Write(0, [1, 2]);
        CutOffRun found = Found!;
        run.Remove();
        Assert.Empty(_folder.Files);
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => Open().Continue(found));
        Assert.Empty(_folder.Files);
    }

    // A crash in between must not leave an older state as the newest: others have left it behind.
    [Fact]
    public async Task Remove_States_GoFromTheNewestOn()
    {
        using IRunState run = Open().Begin(Run);
        run.Write(9, [1]);
        run.Write(10, [1]);
        var gone = new List<string>();
        var locked = new TaskCompletionSource();
        using var watcher = new FileSystemWatcher(Path.GetDirectoryName(PathOf(9))!) { EnableRaisingEvents = true };
        watcher.Deleted += (_, file) =>
        {
            gone.Add(file.FullPath);
            if (file.FullPath.EndsWith(".state.lock", StringComparison.Ordinal))
                locked.SetResult();
        };
        run.Remove();
        await locked.Task.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        Assert.Equal([PathOf(10), PathOf(9)], gone.Take(2));
    }

    // The id becomes a file name.
    [Theory]
    [InlineData("..", 30)]
    [InlineData("G", 31)]
    [InlineData("A", 31)]
    [InlineData("", 31)]
    public void Begin_IdThatIsNone_IsRefused(string start, int zeros)
    {
        RunIdentity run = Run with { RunId = start + new string('0', zeros) };
        Assert.Throws<ArgumentException>(() => Open().Begin(run));
        Assert.Throws<ArgumentException>(() => Open().Continue(new CutOffRun(run, [0])));
        Assert.Empty(_folder.Files);
    }

    // One that a process has open is of a charge that is still to be settled; any other was left by a process that was killed before its charge or right after the settlement, and nobody asks for it again.
    [Fact]
    public void Remove_OutboxesOfTheLedger_GoUnlessAProcessHasThem()
    {
        string open = $"bank.ledger.db.{Run.RunId}.outbox", left = $"bank.ledger.db.{Run.RunId}.local.outbox", other = $"bank.ledger.db.{RunStoreConformance.Identity(3).RunId}.outbox";
        using IRunState run = Open().Begin(Run);
        run.Write(0, [1]);
        foreach (string file in (string[])[open, left, other])
            File.WriteAllBytes(_folder[file], [1]);
        using (new FileStream(_folder[open], FileMode.Open, FileAccess.ReadWrite, FileShare.None))
            run.Remove();
        string held = $"bank.ledger.db.{Run.RunId}.state.lock";
        Assert.Equal([other, open, held], _folder.Files);
        run.Dispose();
        Assert.Equal([other, open], _folder.Files);

        // A process that was killed before it had settled the charge leaves its lock, by which the next run finds what nobody asks for again.
        File.WriteAllBytes(_folder[held], []);
        using IRunState next = Open().Begin(RunStoreConformance.Identity(4));
        Assert.Equal([other, $"bank.ledger.db.{next.Run.RunId}.state.lock"], _folder.Files);
    }

    // What a process leaves that was killed before it had written its charge: the state before round 0, and the outbox that was made first.
    [Fact]
    public void Forget_RunKilledBeforeItsCharge_LeavesNoFile()
    {
        using (IRunState run = Open().Begin(Run))
            run.Write(0, [1]);
        using (Outbox made = Outbox.Open(_folder[$"bank.ledger.db.{Run.RunId}.outbox"], Convert.FromHexString(Run.RunId), 8))
            made.Create();
        Assert.Null(CutOffRuns.Forget(Open(), Found!, new SqliteLedger(_folder["bank.ledger.db"]), (_, _) => 1));
        Assert.Empty(_folder.Files);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(60)]
    [InlineData(-1)]
    public void Find_NewestTornAnywhere_FallsBackToTheOneBefore(int length)
    {
        using (IRunState run = Open().Begin(Run))
        {
            run.Write(100, new byte[5000]);
            run.Write(200, new byte[5000]);
        }

        byte[] whole = File.ReadAllBytes(PathOf(200));
        File.WriteAllBytes(PathOf(200), whole[..(length < 0 ? whole.Length - 1 : length)]);
        Assert.Equal([100], Found!.Rounds);
        Assert.Equal([$"{Path.GetFileName(PathOf(200))}: its checksum does not hold"], Open().PassedOver(Run.Party, Run.TermsDigest));
        using IRunState again = Open().Continue(Found!);
        Assert.Equal(RunStateErrors.Unusable, Assert.Throws<ConfigurationException>(() => again.Read(200)).Id);
        Assert.Equal(5000, again.Read(100).Length);
        again.Write(200, [7]);
        Assert.Equal([100, 200], Found!.Rounds);
    }

    [Fact]
    public void Find_AnyByteOfTheNewestChanged_FallsBackToTheOneBefore()
    {
        using (IRunState run = Open().Begin(Run))
        {
            run.Write(1, [1]);
            run.Write(2, [2, 3, 4]);
        }

        byte[] whole = File.ReadAllBytes(PathOf(2));
        for (int at = 0; at < whole.Length; at++)
            foreach (byte change in (byte[])[0x10, 0x20, 0x80]) // a is no digit any more; the highest bit of a length is its sign
            {
                whole[at] ^= change;
                File.WriteAllBytes(PathOf(2), whole);
                Assert.Equal([1], Found!.Rounds);
                whole[at] ^= change;
            }

        File.WriteAllBytes(PathOf(2), whole);
        Assert.Equal([1, 2], Found!.Rounds);
        // A whole file under another name is another round's or another run's.
        File.Move(PathOf(2), PathOf(3));
        Assert.Equal([1], Found!.Rounds);
        using IRunState again = Open().Continue(Found!);
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => again.Read(3));
        Assert.Throws<ArgumentOutOfRangeException>(() => again.Write(-1, [1]));
        using (IRunState other = Open().Begin(RunStoreConformance.Identity(3, "telco")))
            other.Write(1, [9]);
        byte[] own = File.ReadAllBytes(PathOf(1));
        File.Copy(_folder[$"bank.ledger.db.{RunStoreConformance.Identity(3).RunId}.round-1.state"], PathOf(1), overwrite: true);
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => again.Read(1));
        File.WriteAllBytes(PathOf(1), own);
        // Longer than an array. Windows would make room for it on the disk.
        if (OperatingSystem.IsWindows())
            return;
        using (FileStream file = File.OpenWrite(PathOf(1)))
            file.SetLength(3L << 30);
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => again.Read(1));
    }

    [Fact]
    public void Find_StatesOfOtherJobs_AreNotRead()
    {
        FileRunStore store = Open();
        using IRunState other = store.Begin(RunStoreConformance.Identity(3, "telco"));
        other.Write(1, [1]);
        Assert.Null(store.Find("bank", Run.TermsDigest));
        // The content of a file is read in pieces of 128 KiB.
        Assert.InRange(Taken(() => Assert.Null(store.Find("bank", Run.TermsDigest))), 0, 1 << 16);
        Assert.InRange(Taken(() => Assert.NotNull(store.Find("telco", Run.TermsDigest))), 1 << 17, int.MaxValue);
    }

    private static long Taken(Action action)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        action();
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    [Fact]
    public void State_OfManyBytes_IsInMemoryOnceWhereItIsReadAndElseNotAtAll()
    {
        const int Size = 1 << 24;
        byte[] state = new byte[Size];
        new Random(1).NextBytes(state);
        FileRunStore store = Open();
        using IRunState run = store.Begin(Run);
        Assert.InRange(Taken(() => run.WriteStart(state)), 0, Size / 4);
        Assert.InRange(Taken(() => run.Write(1, state)), 0, Size / 4);
        Assert.InRange(Taken(() => Assert.NotNull(store.Find("bank", Run.TermsDigest))), 0, Size / 4);
        ReadOnlyMemory<byte> read = default;
        Assert.InRange(Taken(() => read = run.Read(1)), Size, Size + Size / 4);
        Assert.True(read.Span.SequenceEqual(state));
        Assert.True(run.ReadStart().Span.SequenceEqual(state));
    }

    [Fact]
    public void Find_StartThatIsDamagedOrAnother_FindsNoRunAndBeginRemovesIt()
    {
        using (IRunState run = Open().Begin(Run))
        {
            run.WriteStart([1, 2, 3]);
            run.Write(1, [1]);
        }

        CutOffRun found = Found!;
        Assert.Equal([1], found.Rounds);
        byte[] whole = File.ReadAllBytes(StartPath);
        for (int at = 0; at < whole.Length; at++)
        {
            whole[at] ^= 0x20;
            File.WriteAllBytes(StartPath, whole);
            Assert.Null(Found);
            whole[at] ^= 0x20;
        }

        using (IRunState other = Open().Begin(RunStoreConformance.Identity(3, "telco")))
        {
            other.WriteStart([1, 2, 3, 4]);
            other.Write(1, [1]);
            File.Copy(_folder[$"bank.ledger.db.{other.Run.RunId}.start.state"], StartPath, overwrite: true);
            Assert.Null(Found);
            other.Remove();
        }

        File.Delete(StartPath);
        Assert.StartsWith($"{Path.GetFileName(StartPath)}: it is missing or damaged", Assert.Single(Open().PassedOver(Run.Party, Run.TermsDigest)), StringComparison.Ordinal);
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => Open().Continue(found));
        File.WriteAllBytes(StartPath, whole);
        Assert.Empty(Open().PassedOver(Run.Party, Run.TermsDigest));
        using (IRunState again = Open().Continue(Found!))
        {
            Assert.Equal(3, again.ReadStart().Length);
            File.WriteAllBytes(StartPath, whole[..^1]);
            ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => again.ReadStart());
        }

        using IRunState next = Open().Begin(RunStoreConformance.Identity(2));
        Assert.Equal([$"bank.ledger.db.{next.Run.RunId}.state.lock"], _folder.Files);
    }

    [Fact]
    public void Continue_RunThatIsOpen_IsRefusedUntilItIsNot()
    {
        IRunState run = Open().Begin(Run);
        run.Write(0, [1]);
        CutOffRun found = Found!;
        var told = new List<TimeSpan>();
        var patience = TimeSpan.FromMilliseconds(1);
        Assert.Equal(RunStateErrors.InUse, Assert.Throws<ConfigurationException>(() => new FileRunStore(_folder["bank.ledger.db"], patience, told.Add).Continue(found)).Id);
        Assert.Equal([patience], told);
        run.Dispose();
        using IRunState again = Open().Continue(found);
        Assert.Equal(1, again.Read(0).Length);
    }

    [Fact]
    public void Continue_RunThatAnotherProcessEnds_IsNotTakenForALostOne()
    {
        IRunState run = Open().Begin(Run);
        run.Write(0, [1]);
        CutOffRun found = Found!;
        Assert.Throws<ConfigurationException>(() => Open().Continue(found)); // what is loaded once is
        Exception? error = null;
        var second = new Thread(() => error = Record.Exception(() => new FileRunStore(_folder["bank.ledger.db"], TimeSpan.FromMinutes(2)).Continue(found)));
        second.Start();
        Assert.True(SpinWait.SpinUntil(() => second.ThreadState.HasFlag(System.Threading.ThreadState.WaitSleepJoin), TimeSpan.FromMinutes(1)));
        run.Remove();
        run.Dispose();
        second.Join();
        // Not FL2543, whose remedy is charged again.
        Assert.Equal(RunStateErrors.InUse, Assert.IsType<ConfigurationException>(error).Id);
        Assert.Contains("has ended the run", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Continue_FolderThatCannotBeRead_EndsTheLock()
    {
        using (IRunState run = Open().Begin(Run))
            run.Write(0, [1]);
        CutOffRun found = Found!;
        using (var locked = new FileStream(_folder["bank.ledger.db.other.round-0.state"], FileMode.Create, FileAccess.ReadWrite, FileShare.None))
            ErrorAssert.Throws<InternalFailureException>(SqliteLedgerErrors.StorageFailed, () => Open().Continue(found));
        using IRunState again = Open().Continue(found);
        Assert.Equal(1, again.Read(0).Length);
    }

    [Fact]
    public void Remove_FileThatCannotBeRemoved_EndsTheLock()
    {
        IRunState run = Open().Begin(Run);
        string messages = _folder[$"bank.ledger.db.{Run.RunId}.masked.outbox"];
        Directory.CreateDirectory(messages);
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, run.Remove);
        Directory.Delete(messages);
        Open().Begin(Run).Remove();
        Assert.Empty(_folder.Files);
    }

    [Fact]
    public void Outbox_MessagesThatAreDamaged_AreNotMaskedAgain()
    {
        string path = _folder[$"bank.ledger.db.{Run.RunId}.masked.outbox"];
        using IRunState run = Open().Begin(Run);
        run.Outbox!.Keep(0, [1, 2, 3]);
        run.Write(0, [1]);
        run.Dispose();
        byte[] bytes = File.ReadAllBytes(path);
        bytes[3] ^= 1;
        File.WriteAllBytes(path, bytes);
        using (IRunState again = Open().Continue(Found!))
            ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => again.Outbox!.Find(0));
        Assert.Equal(bytes, File.ReadAllBytes(path));

        // What a crash leaves that came before the first message: nothing left, and the run goes on.
        File.WriteAllBytes(path, new byte[4096]);
        using IRunState fresh = Open().Continue(Found!);
        Assert.Null(fresh.Outbox!.Find(0));
    }

    [Fact]
    public void Outbox_FileThatCannotBeMade_IsAnErrorWithAnId()
    {
        using IRunState run = Open().Begin(Run);
        Directory.CreateDirectory(_folder[$"bank.ledger.db.{Run.RunId}.masked.outbox"]);
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => run.Outbox!.Keep(0, [1]));
    }

    [Fact]
    public void Begin_WhileAnotherRunIsOpen_LeavesThatOneAlone()
    {
        using IRunState run = Open().Begin(Run), early = Open().Begin(RunStoreConformance.Identity(3, "telco"));
        run.Write(0, [1]);
        early.WriteStart([1, 2]); // and has no state yet
        using IRunState other = Open().Begin(RunStoreConformance.Identity(10));
        Assert.Equal((1, 2), (run.Read(0).Length, early.ReadStart().Length));
    }

    [Fact]
    public void Begin_AfterProcessesThatDiedInTheMidst_RemovesWhatTheyLeft()
    {
        using (IRunState early = Open().Begin(RunStoreConformance.Identity(1)))
            early.WriteStart([1]);
        Assert.Equal(2, _folder.Files.Length);
        using (IRunState run = Open().Begin(Run))
        {
            run.WriteStart([1]);
            run.Write(4, [1]);
        }

        File.WriteAllBytes(PathOf(8) + ".new", [1, 2, 3]);
        Assert.Empty(Open().PassedOver(Run.Party, Run.TermsDigest)); // a draft is no state
        // Of another ledger, and of nobody.
        string[] others = ["bank.ledger.db.abc.state.lock", $"bank.ledger.db.{new string('g', 32)}.round-8.state.new", $"shop.ledger.db.{Run.RunId}.round-8.state.new"];
        foreach (string other in others)
            File.WriteAllBytes(_folder[other], [1]);
        using IRunState next = Open().Begin(RunStoreConformance.Identity(2));
        Assert.Equal(((string[])[$"bank.ledger.db.{RunStoreConformance.Identity(2).RunId}.state.lock", .. others]).Order(StringComparer.Ordinal), _folder.Files);
    }

    [Fact]
    public void Begin_RunWithoutAWholeState_RemovesItsMessagesUnlessAProcessHasThem()
    {
        RunIdentity other = RunStoreConformance.Identity(3, "telco");
        string[] outboxes = [.. ((RunIdentity[])[Run, other]).Select(run => _folder[$"bank.ledger.db.{run.RunId}.outbox"])];
        foreach (RunIdentity run in (RunIdentity[])[Run, other])
            using (IRunState state = Open().Begin(run))
                state.Write(1, [1]);
        foreach (string outbox in outboxes)
            File.WriteAllBytes(outbox, [1]);
        using (IRunState next = Open().Begin(RunStoreConformance.Identity(4, "shop")))
            Assert.All(outboxes, file => Assert.True(File.Exists(file))); // both can go on
        File.WriteAllBytes(PathOf(1), [1]);
        using (IRunState next = Open().Begin(RunStoreConformance.Identity(5, "shop")))
            Assert.Equal([false, true], outboxes.Select(File.Exists));
        using (new FileStream(outboxes[1], FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            File.Delete(_folder[$"bank.ledger.db.{other.RunId}.round-1.state"]);
            using IRunState next = Open().Begin(RunStoreConformance.Identity(6, "shop"));
            Assert.True(File.Exists(outboxes[1]));
        }
    }

    /// <summary>Nobody goes on with the run before, so that what it sent is of no use.</summary>
    [Fact]
    public void Begin_AfterARunThatCouldGoOn_RemovesItsStatesAndItsMessages()
    {
        using (IRunState run = Open().Begin(Run))
        {
            run.Write(1, [1]);
            run.Outbox!.Keep(0, [1]);
        }

        File.WriteAllBytes(_folder[$"bank.ledger.db.{Run.RunId}.outbox"], [1]);
        using IRunState next = Open().Begin(RunStoreConformance.Identity(10));
        Assert.Equal([$"bank.ledger.db.{next.Run.RunId}.state.lock"], _folder.Files);
    }

    [Fact]
    public void Find_SeveralRuns_IsTheOneOfTheNewestState()
    {
        using IRunState older = Open().Begin(Run), newer = Open().Begin(RunStoreConformance.Identity(10));
        foreach ((IRunState run, int round, int minute) in ((IRunState, int, int)[])[(older, 1, 3), (older, 2, 2), (newer, 1, 1), (newer, 2, 4)])
        {
            run.Write(round, [1]);
            File.SetLastWriteTimeUtc(_folder[$"bank.ledger.db.{run.Run.RunId}.round-{round}.state"], DateTime.UnixEpoch.AddMinutes(minute));
        }

        Assert.Equal(newer.Run.RunId, Found!.Run.RunId);
        File.SetLastWriteTimeUtc(PathOf(1), DateTime.UnixEpoch.AddMinutes(5));
        Assert.Equal(Run.RunId, Found!.Run.RunId);
    }

    /// <summary>Another process worked on the run before as this one began. Copies that are put back have other times, and so have files of a clock that was set.</summary>
    [Fact]
    public void Find_RunThatBeganAfterAStateOfAnother_IsTheOneWhateverTheTimesOfFiles()
    {
        using IRunState older = Open().Begin(Run);
        older.Write(1, [1]);
        using IRunState newer = Open().Begin(RunStoreConformance.Identity(10));
        newer.Write(1, [1]);
        older.Write(2, [1]);
        File.SetLastWriteTimeUtc(PathOf(2), DateTime.UtcNow.AddYears(1));
        Assert.Equal(newer.Run.RunId, Found!.Run.RunId);
        newer.Dispose();
        using IRunState again = Open().Continue(Found!);
        again.Write(2, [1]);
        File.Delete(_folder[$"bank.ledger.db.{newer.Run.RunId}.round-1.state"]);
        Assert.Equal(newer.Run.RunId, Found!.Run.RunId);
    }

    /// <summary>Each file is whole, and of the same run: that they are of one beginning their checksums tell.</summary>
    [Fact]
    public void Read_FilesOfAnotherBeginning_AreNotMixed()
    {
        using var elsewhere = new TempFolder();
        using IRunState run = Open().Begin(Run), other = new FileRunStore(elsewhere["bank.ledger.db"]).Begin(Run);
        foreach ((IRunState state, byte start) in ((IRunState, byte)[])[(run, 1), (other, 2)])
        {
            state.WriteStart([start]);
            state.Write(1, [start]);
        }

        Assert.Equal([1, 1], [.. run.ReadStart().Span, .. run.Read(1).Span]);
        File.Copy(elsewhere[Path.GetFileName(StartPath)], StartPath, overwrite: true);
        File.Copy(elsewhere[Path.GetFileName(PathOf(1))], PathOf(1), overwrite: true);
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => run.ReadStart());
        ErrorAssert.Throws<ConfigurationException>(RunStateErrors.Unusable, () => run.Read(1));
    }

    /// <summary>Whose a damaged file was cannot be told, even where it says so.</summary>
    [Fact]
    public void PassedOver_DamagedStateOfAnotherJob_IsTold()
    {
        using (IRunState other = Open().Begin(RunStoreConformance.Identity(3, "telco")))
            other.Write(1, [1]);
        string path = _folder[$"bank.ledger.db.{RunStoreConformance.Identity(3, "telco").RunId}.round-1.state"];
        Assert.Empty(Open().PassedOver(Run.Party, Run.TermsDigest));
        byte[] bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
        Assert.Equal($"{Path.GetFileName(path)}: its checksum does not hold", Assert.Single(Open().PassedOver(Run.Party, Run.TermsDigest)));
    }

    [Fact]
    public void Begin_FolderThatIsAbsent_IsAnErrorWithAnId() =>
        Assert.Equal(SqliteLedgerErrors.CannotOpen, Assert.Throws<ConfigurationException>(() => new FileRunStore(_folder["none/bank.ledger.db"]).Begin(Run)).Id);

    [Fact]
    public void Write_KilledAtRandomMoments_LeavesTwoStatesInARowAndWhole()
    {
        var random = new Random(20261127);
        int kills = TestCounts.Of(10);
        for (int kill = 0, last = 0; kill < kills; kill++)
        {
            using Process child = Child.Start("states", _folder["bank.ledger.db"]);
            int until = last + random.Next(1, 40);
            while (child.StandardOutput.ReadLine() is { } line && (last = int.Parse(line, CultureInfo.InvariantCulture)) < until)
            {
            }

            long start = Stopwatch.GetTimestamp(), spin = random.Next(3000);
            while (Stopwatch.GetElapsedTime(start).TotalMicroseconds < spin)
                Thread.SpinWait(10);
            child.Kill();
            while (child.StandardOutput.ReadLine() is { Length: > 0 } line && int.TryParse(line, CultureInfo.InvariantCulture, out int round))
                last = Math.Max(last, round);
            child.WaitForExit();
            Assert.Equal(128 + 9, child.ExitCode);

            // What the child said was written is there, and the one before; the one after may be. Killed between writing one and removing the oldest, it leaves three.
            int[] rounds = [.. Found!.Rounds];
            Assert.True(rounds is [.., var one, var two] && rounds.Length <= 3 && two == one + 1 && two >= last && two <= last + 1, $"after round {last} there are {string.Join(", ", rounds)}");
            using IRunState run = Open().Continue(Found!);
            Assert.All(rounds, round => Assert.Equal(Program.StateOf(round), run.Read(round)));
        }
    }
}
