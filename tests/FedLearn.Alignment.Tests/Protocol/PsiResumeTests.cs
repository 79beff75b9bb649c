using System.Collections.Concurrent;
using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;

namespace FedLearn.Alignment.Tests.Protocol;

public sealed class PsiResumeTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("psi-state-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // Every message of the active party's side in turn: 2 hellos, 2 commitments, chunks of points and tags each way, 2 confirmations.
    [Theory]
    [InlineData(4097, 5, PsiOutput.Both, false)]
    [InlineData(5, 4097, PsiOutput.Both, false)]
    [InlineData(60, 70, PsiOutput.SizeOnly, false)]
    [InlineData(30, 20, PsiOutput.Both, true)]
    public async Task RunAsync_StoppedAtAnyMessage_GoesOnAndFindsTheSame(int active, int passive, PsiOutput output, bool proof)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(active, passive, 4, seed: 11);
        int resumed = 0, stopAt = 0;
        for (bool stopped = true; stopped; stopAt++)
        {
            PsiOptions options = new() { Output = output, Proof = proof, StateDirectory = Path.Combine(_folder, $"{stopAt}") };
            (StoppingChannel first, stopped) = await RunAsync(own, theirs, options, stopAt);
            if (!stopped)
                break;
            (InMemoryChannel a, InMemoryChannel b) = Channels();
            var again = new StoppingChannel(a, null);
            Task<PsiResult> passiveSide = PsiParty.RunAsync(PartyRole.Passive, theirs, PsiPair.JobDigest, b, options, cancellationToken: TestContext.Current.CancellationToken);
            PsiResult activeResult = await PsiParty.RunAsync(PartyRole.Active, own, PsiPair.JobDigest, again, options, cancellationToken: TestContext.Current.CancellationToken);
            PsiResult passiveResult = await passiveSide;

            Assert.Equal((4, 4), (activeResult.Size!.Value, passiveResult.Size!.Value));
            if (output == PsiOutput.Both)
            {
                Assert.Equal(PsiPair.Common(own, theirs), activeResult.Rows!);
                Assert.Equal(PsiPair.Common(theirs, own), passiveResult.Rows!);
            }

            Assert.Equal(activeResult.Resumed, passiveResult.Resumed);
            Assert.Empty(Directory.GetFileSystemEntries(options.StateDirectory));
            if (activeResult.Resumed)
            {
                resumed++;
                AssertSame<BlindedIds>(first, again, (active + 4095) / 4096);
                AssertSame<BlindedTags>(first, again, (passive + 4095) / 4096);
            }
        }

        // All but the greetings, at which there is nothing to keep, and the last message, after which the other party has ended.
        Assert.InRange(resumed, stopAt - 6, stopAt);
        Assert.True(resumed > 3);
    }

    [Fact]
    public async Task RunAsync_TornAndForgedTail_IsCutOffAndComputedAgain()
    {
        (string[] own, string[] theirs) = PsiPair.Ids(4097, 4097, 4, seed: 12);
        PsiOptions options = new() { StateDirectory = _folder };
        // The last message but one: all points and tags are there.
        await RunAsync(own, theirs, options, 12);
        string[] files = Directory.GetFiles(_folder, "*", SearchOption.AllDirectories);
        Assert.Equal(8, files.Length);
        foreach (string path in files.Where(f => Path.GetFileName(f) != "session"))
        {
            byte[] bytes = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
            if (path.EndsWith("tags", StringComparison.Ordinal))
                bytes[^1] ^= 1;
            else
                bytes = bytes[..^1];
            await File.WriteAllBytesAsync(path, bytes, TestContext.Current.CancellationToken);
        }

        (InMemoryChannel a, InMemoryChannel b) = Channels();
        Task<PsiResult> passive = PsiParty.RunAsync(PartyRole.Passive, theirs, PsiPair.JobDigest, b, options, cancellationToken: TestContext.Current.CancellationToken);
        PsiResult active = await PsiParty.RunAsync(PartyRole.Active, own, PsiPair.JobDigest, a, options, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(active.Resumed && (await passive).Resumed);
        Assert.Equal(PsiPair.Common(own, theirs), active.Rows!);
        Assert.Equal(PsiPair.Common(theirs, own), (await passive).Rows!);
    }

    // Two chunks have come when the first meets a full disk: the second, which is shorter, may not take its place.
    [Fact]
    public async Task RunAsync_DiskFullWhileKeepingAChunk_SaysSoAndKeepsNoneAfterIt()
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Skip("Only Linux has /dev/full.");
            return;
        }

        (string[] own, string[] theirs) = PsiPair.Ids(5, 4101, 4, seed: 14);
        PsiOptions options = new() { StateDirectory = Path.Combine(_folder, "active") }, peers = new() { StateDirectory = Path.Combine(_folder, "passive") };
        (InMemoryChannel a, InMemoryChannel b) = Channels();
        Task<PsiResult> passive = PsiParty.RunAsync(PartyRole.Passive, theirs, PsiPair.JobDigest, b, peers, cancellationToken: TestContext.Current.CancellationToken);
        var full = new FullDiskChannel(a, () => FullDiskChannel.Fill(Assert.Single(Directory.GetFiles(options.StateDirectory, "peer", SearchOption.AllDirectories))));
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() =>
            PsiParty.RunAsync(PartyRole.Active, own, PsiPair.JobDigest, full, options, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal((PsiErrors.StateUnusable, "its disk is full."), (error.Id, error.Cause));
        Assert.Contains(options.StateDirectory, error.Place, StringComparison.Ordinal);
        await a.DisposeAsync();
        await Assert.ThrowsAnyAsync<FedLearnException>(() => passive);

        (a, b) = Channels();
        passive = PsiParty.RunAsync(PartyRole.Passive, theirs, PsiPair.JobDigest, b, peers, cancellationToken: TestContext.Current.CancellationToken);
        PsiResult active = await PsiParty.RunAsync(PartyRole.Active, own, PsiPair.JobDigest, a, options, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(active.Resumed && (await passive).Resumed);
        Assert.Equal(PsiPair.Common(own, theirs), active.Rows!);
    }

    [Theory]
    [InlineData("damage")]
    [InlineData("ids")]
    [InlineData("job")]
    [InlineData("forgotten")]
    public async Task RunAsync_StateThatDoesNotFit_BeginsAnewWithAWarning(string what)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(20, 30, 4, seed: 13);
        PsiOptions options = new() { StateDirectory = Path.Combine(_folder, "active") }, peers = new() { StateDirectory = Path.Combine(_folder, "passive") };
        await RunAsync(own, theirs, options, 6, peers);
        string header = Assert.Single(Directory.GetFiles(options.StateDirectory, "session", SearchOption.AllDirectories));
        byte[] job = what == "job" ? SHA256.HashData("another"u8) : PsiPair.JobDigest;
        if (what == "damage")
        {
            byte[] bytes = await File.ReadAllBytesAsync(header, TestContext.Current.CancellationToken);
            bytes[170] ^= 1;
            await File.WriteAllBytesAsync(header, bytes, TestContext.Current.CancellationToken);
        }
        else if (what == "ids")
        {
            own[3] = "another";
        }
        else if (what == "forgotten")
        {
            Directory.Delete(peers.StateDirectory, recursive: true);
        }

        (InMemoryChannel a, InMemoryChannel b) = Channels();
        Task<PsiResult> passive = PsiParty.RunAsync(PartyRole.Passive, theirs, job, b, peers, cancellationToken: TestContext.Current.CancellationToken);
        PsiResult active = await PsiParty.RunAsync(PartyRole.Active, own, job, a, options, cancellationToken: TestContext.Current.CancellationToken);
        Assert.False(active.Resumed || (await passive).Resumed);
        Assert.Equal(PsiPair.Common(own, theirs), active.Rows!);
        Assert.Contains(active.Warnings, w => w.Contains("began anew", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RunAsync_TwoAtOnceInOneFolder_TheSecondIsRefused()
    {
        PsiOptions options = new() { StateDirectory = _folder };
        var subject = new PsiSubject(PsiPair.JobDigest, new byte[32], PartyRole.Active, PsiOutput.Both, false, 1);
        using (PsiState.Open(_folder, "bank", "clinic", subject))
        {
            (InMemoryChannel a, InMemoryChannel _) = Channels();
            ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() =>
                PsiParty.RunAsync(PartyRole.Active, ["a"], PsiPair.JobDigest, a, options, cancellationToken: TestContext.Current.CancellationToken));
            Assert.Equal(PsiErrors.StateUnusable, error.Id);
            Assert.Contains(_folder, error.Place, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task RunAsync_Interrupted_LeavesFilesThatOnlyTheOwnerReads()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Windows has no such modes.");
            return;
        }

        (string[] own, string[] theirs) = PsiPair.Ids(20, 30, 4, seed: 14);
        PsiOptions options = new() { StateDirectory = Path.Combine(_folder, "new") };
        await RunAsync(own, theirs, options, 6);
        foreach (string folder in Directory.GetDirectories(_folder, "*", SearchOption.AllDirectories))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(folder));
        string[] files = Directory.GetFiles(_folder, "*", SearchOption.AllDirectories);
        Assert.NotEmpty(files);
        foreach (string file in files)
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
    }

    [Fact]
    public async Task RunAsync_PeerBreaksTheRules_NothingIsKept()
    {
        PsiOptions options = new() { StateDirectory = _folder };
        (InMemoryChannel a, InMemoryChannel b) = Channels();
        Task<PsiResult> honest = PsiParty.RunAsync(PartyRole.Active, ["a", "b"], PsiPair.JobDigest, a, options, cancellationToken: TestContext.Current.CancellationToken);
        var hello = new PsiHello(PsiOutput.Both, false, new byte[32], 1, new byte[32], 0, 0);
        await b.SendAsync(0, Disclosure.Unprotected(new AlignmentMessage(AlignmentStep.Hello, hello.Write()), "test"), TestContext.Current.CancellationToken);
        // The generator is a fine commitment; zeros are the identity, and no fine point.
        byte[] generator = Convert.FromHexString("E2F2AE0A6ABC4E71A884A961C500515F58E30B6AA582DD8DB6A65945E08D2D76");
        await b.SendAsync(0, Disclosure.Unprotected(new AlignmentMessage(AlignmentStep.Commitment, generator), "test"), TestContext.Current.CancellationToken);
        await b.SendAsync(0, Cryptosystem.Release(new BlindedIds(new byte[32]), "test", "test", "test"), TestContext.Current.CancellationToken);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => honest);
        Assert.Equal(PsiErrors.InvalidPoint, error.Id);
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    // A peer that has tags of one list must not be able to hand in another, and a point that left is of a scalar that is kept, whatever happens to the machine.
    [Theory]
    [InlineData(PsiOutput.Both, false)]
    [InlineData(PsiOutput.PassiveOnly, true)]
    public async Task RunAsync_WithState_HasSyncedWhatMustNotBeLostBeforePointsAndTagsLeave(PsiOutput output, bool proof)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(20, 30, 4, seed: 15);
        PsiOptions options = new() { Output = output, Proof = proof, StateDirectory = _folder };
        (InMemoryChannel a, InMemoryChannel b) = Channels();
        Task<PsiResult> passive = PsiParty.RunAsync(PartyRole.Passive, theirs, PsiPair.JobDigest, b, options with { StateDirectory = null }, cancellationToken: TestContext.Current.CancellationToken);
        var active = new StoppingChannel(a, null);
        var steps = new ConcurrentQueue<(DurableStep Step, string Name, int Points, int Tags)>();
        DurableFile.Watcher.Value = (step, path) => steps.Enqueue((step, Path.GetFileName(path), active.Sent.OfType<BlindedIds>().Count(), active.Sent.OfType<BlindedTags>().Count()));
        await PsiParty.RunAsync(PartyRole.Active, own, PsiPair.JobDigest, active, options, cancellationToken: TestContext.Current.CancellationToken);
        DurableFile.Watcher.Value = null;
        await passive;
        string folder = Assert.Single(steps, s => s.Step == DurableStep.Renamed).Name is "session" && !OperatingSystem.IsWindows() ? steps.First(s => s.Step == DurableStep.FolderSynced).Name : "";
        (DurableStep, string, int, int)[] expected =
        [
            (DurableStep.Synced, "session.new", 0, 0), (DurableStep.Renamed, "session", 0, 0),
            .. OperatingSystem.IsWindows() ? [] : ((DurableStep, string, int, int)[])[(DurableStep.FolderSynced, folder, 0, 0), (DurableStep.FolderSynced, Path.GetFileName(_folder), 0, 0)],
            (DurableStep.Synced, "peer", 1, 0),
            // At the end the secrets are overwritten.
            (DurableStep.Synced, "session", 1, 1),
        ];
        Assert.Equal(expected, steps);
    }

    [Fact]
    public void Clear_HeaderAndDraft_AreOverwrittenBeforeTheyAreDeleted()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "A second name of a file is made with ln.");
        var subject = new PsiSubject(PsiPair.JobDigest, new byte[32], PartyRole.Active, PsiOutput.Both, false, 1);
        using PsiState state = PsiState.Open(_folder, "bank", "clinic", subject);
        using PsiSecrets secrets = PsiSecrets.Fresh();
        state.Begin(new PsiKept(new byte[32], 1, new byte[32], secrets));
        string header = Assert.Single(Directory.GetFiles(_folder, "session", SearchOption.AllDirectories)), draft = header + ".new";
        File.Copy(header, draft);
        foreach (string path in (string[])[header, draft])
            using (System.Diagnostics.Process link = System.Diagnostics.Process.Start("ln", [path, path + ".kept"]))
                link.WaitForExit();
        Assert.True(File.ReadAllBytes(header + ".kept").AsSpan().IndexOf(secrets.All) >= 0);
        state.Clear();
        foreach (string path in (string[])[header, draft])
        {
            Assert.False(File.Exists(path));
            byte[] kept = File.ReadAllBytes(path + ".kept");
            Assert.Equal(new byte[kept.Length], kept);
            Assert.NotEmpty(kept);
        }
    }

    // The secrets first: whatever stops the rest, nobody goes on with them.
    [Fact]
    public void Clear_FileThatCannotBeDeleted_LeavesNoSecrets()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "A file that is open stays there.");
        var subject = new PsiSubject(PsiPair.JobDigest, new byte[32], PartyRole.Active, PsiOutput.Both, false, 1);
        using PsiState state = PsiState.Open(_folder, "bank", "clinic", subject);
        using PsiSecrets secrets = PsiSecrets.Fresh();
        state.Begin(new PsiKept(new byte[32], 1, new byte[32], secrets));
        string header = Assert.Single(Directory.GetFiles(_folder, "session", SearchOption.AllDirectories)), points = Path.Combine(Path.GetDirectoryName(header)!, "points");
        File.Delete(points);
        Directory.CreateDirectory(points);
        Assert.Equal(PsiErrors.StateUnusable, Assert.Throws<ConfigurationException>(state.Clear).Id);
        Assert.False(File.Exists(header));
    }

    [Fact]
    public void Open_ManyAtOnceInOneFolder_IsHeldByOneAtATime()
    {
        var subject = new PsiSubject(PsiPair.JobDigest, new byte[32], PartyRole.Active, PsiOutput.Both, false, 1);
        int holders = 0, most = 0, opened = 0;
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, _ =>
        {
            for (int i = 0; i < TestCounts.Of(2_000); i++)
                try
                {
                    using PsiState state = PsiState.Open(_folder, "bank", "clinic", subject);
                    int now = Interlocked.Increment(ref holders);
                    for (int seen = Volatile.Read(ref most); now > seen; seen = Volatile.Read(ref most))
                        Interlocked.CompareExchange(ref most, now, seen);
                    Interlocked.Increment(ref opened);
                    Thread.Yield();
                    Interlocked.Decrement(ref holders);
                }
                catch (ConfigurationException e) when (e.Id == PsiErrors.StateUnusable)
                {
                    // Another one has it.
                }
        });
        Assert.InRange(opened, 100, int.MaxValue);
        Assert.Equal(1, most);
    }

    // One pair of names: a folder belongs to them.
    private static (InMemoryChannel Active, InMemoryChannel Passive) Channels() => InMemoryChannel.CreatePair("bank", "clinic");

    /// <summary>Runs a session that stops at a message of the active party.</summary>
    private static async Task<(StoppingChannel Active, bool Stopped)> RunAsync(string[] own, string[] theirs, PsiOptions options, int stopAt, PsiOptions? passiveOptions = null)
    {
        (InMemoryChannel a, InMemoryChannel b) = Channels();
        var active = new StoppingChannel(a, stopAt);
        Task<PsiResult> first = PsiParty.RunAsync(PartyRole.Active, own, PsiPair.JobDigest, active, options, cancellationToken: TestContext.Current.CancellationToken);
        Task<PsiResult> second = PsiParty.RunAsync(PartyRole.Passive, theirs, PsiPair.JobDigest, b, passiveOptions ?? options, cancellationToken: TestContext.Current.CancellationToken);
        try
        {
            await Task.WhenAll(first, second);
        }
        catch (Exception e) when (active.Stopped && e is OperationCanceledException or PeerException { Id: ProtocolErrors.PeerAborted })
        {
            // As the test wants it.
        }

        return (active, active.Stopped);
    }

    /// <summary>What both runs sent of one kind is the same; the second began at the first chunk that the peer had not kept.</summary>
    private static void AssertSame<T>(StoppingChannel first, StoppingChannel second, int chunks) where T : SealedPayload
    {
        T[] before = [.. first.Sent.OfType<T>()], after = [.. second.Sent.OfType<T>()];
        int start = chunks - after.Length;
        for (int i = 0; i < after.Length; i++)
            if (start + i < before.Length)
                Assert.Equal(before[start + i].Bytes, after[i].Bytes);
    }
}
