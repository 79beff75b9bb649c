using System.Diagnostics;
using FedLearn.Diagnostics;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Storage.Tests;

public sealed class OutboxTests : IDisposable
{
    private const int Page = 4096;
    private static readonly byte[] RunId = Convert.FromHexString("00112233445566778899aabbccddeeff");
    private readonly TempFolder _folder = new();
    private int _files;

    public void Dispose() => _folder.Dispose();

    private Outbox New(int limit, out string path)
    {
        path = _folder[$"{++_files}.outbox"];
        Outbox outbox = Outbox.Open(path, RunId, limit);
        outbox.Create();
        return outbox;
    }

    private static byte[] Message(int index, int length) => [.. Enumerable.Range(0, length).Select(i => (byte)((7 * index + i) % 256))];

    [Fact]
    public void Create_NewFile_MakesItsContentAndThenItsNameDurable()
    {
        string path = _folder["new.outbox"];
        var steps = new List<(DurableStep, string)>();
        using var outbox = Outbox.Open(path, RunId, 4);
        DurableFile.Watcher.Value = (step, place) => steps.Add((step, place));
        outbox.Create();
        Assert.Equal(OperatingSystem.IsWindows() ? [(DurableStep.Synced, path)] : [(DurableStep.Synced, path), (DurableStep.FolderSynced, Path.GetDirectoryName(path)!)], steps);
    }

    [Fact]
    public void Find_AnySizes_HoldsAtLeastTheLastMessagesAndRefusesOlderOnes() => Prop.ForAll(
        Gen.Choose(1, 9).ToArbitrary(), Gen.Choose(0, 20_000).ArrayOf(40).ToArbitrary(), Gen.Choose(0, 40).ToArbitrary(), (limit, sizes, reopenAt) =>
        {
            Outbox outbox = New(limit, out string path);
            for (int i = 0; i < sizes.Length; i++)
            {
                if (i == reopenAt)
                {
                    outbox.Dispose();
                    outbox = Outbox.Open(path, RunId, limit);
                }

                Assert.Equal(i, outbox.Kept);
                Assert.Null(outbox.Find(i));
                outbox.Keep(i, Message(i, sizes[i]));
                for (int j = Math.Max(0, i + 1 - limit); j <= i; j++)
                    Assert.Equal(Message(j, sizes[j]), outbox.Find(j));
                // An older one is there unchanged, or refused: never taken for one that was not noised.
                for (int j = 0; j <= i - limit; j++)
                    try
                    {
                        Assert.Equal(Message(j, sizes[j]), outbox.Find(j));
                    }
                    catch (PrivacyRefusedException e)
                    {
                        Assert.Equal(SqliteLedgerErrors.MessageLost, e.Id);
                    }
            }

            outbox.Dispose();
            Assert.InRange(new FileInfo(path).Length, Page, Page + Math.Max(limit + 1, 2 * limit) * Space(sizes.Max()));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(10)));

    private static long Space(int message) => (64 + message + 512 + Page - 1) / Page * Page;

    // A message, the note of a second file and the first page are on the disk before anybody goes on, and so are the zeros that make room, before the length that says they are there.
    [Fact]
    public void EachStep_IsSyncedBeforeItReturns()
    {
        int syncs = 0;
        DurableFile.Watcher.Value = (step, _) => syncs += step == DurableStep.Synced ? 1 : 0;
        int Syncs()
        {
            (int counted, syncs) = (syncs, 0);
            return counted;
        }

        using (Outbox outbox = New(4, out string path))
        {
            Assert.Equal(1, Syncs());
            outbox.MarkLocal();
            Assert.Equal(1, Syncs());
            outbox.Keep(0, Message(0, 100)); // makes room as well
            Assert.Equal(2, Syncs());
            outbox.Keep(1, Message(1, 100));
            Assert.Equal(1, Syncs());
            outbox.Dispose();
            // The last one may be of a process that died before its sync returned.
            using var again = Outbox.Open(path, RunId, 4);
            Assert.Equal(1, Syncs());
            Assert.Equal((2, true), (again.Kept, again.HasLocal));
        }

        using (Outbox prepared = New(4, out _))
        {
            syncs = 0;
            prepared.Prepare(100, 10);
            Assert.Equal(2, Syncs());
            prepared.Keep(0, Message(0, 100));
            Assert.Equal(1, Syncs());
        }
    }

    // Of one message alone a torn write would leave none.
    [Fact]
    public void KeepNoMore_OfOneMessage_KeepsTwo()
    {
        using Outbox outbox = New(4, out _);
        outbox.KeepNoMore(1);
        Assert.Equal(2, outbox.Limit);
        for (int i = 0; i < 9; i++)
        {
            outbox.Keep(i, Message(i, 100));
            Assert.Equal(Message(i, 100), outbox.Find(i));
            if (i > 0)
                Assert.Equal(Message(i - 1, 100), outbox.Find(i - 1));
        }
    }

    // Once the file is written from the start again, a record may be larger than all before it, and so reach into one that must stay.
    [Fact]
    public void Keep_LargerRecordsAfterTheFileWentRound_LeavesTheLastOnes()
    {
        int[] sizes = [11_576, 14_695, 1_610, 12_519, 619, 15_652, 13_269, 19_764, 19_104, 13_018, 9_040];
        using Outbox outbox = New(4, out _);
        for (int i = 0; i < sizes.Length; i++)
        {
            outbox.Keep(i, Message(i, sizes[i]));
            for (int j = Math.Max(0, i - 3); j <= i; j++)
                Assert.Equal(Message(j, sizes[j]), outbox.Find(j));
        }
    }

    [Theory]
    [InlineData(1024, 100, 100)]    // all that come
    [InlineData(9, 100, 10)]        // the limit and one more
    [InlineData(1024, 5000, 819)]   // 16 MiB
    public void Prepare_MessagesThatWillCome_HaveTheirRoomBeforeTheFirst(int limit, int messages, int room)
    {
        const int Size = 19_900;
        using Outbox outbox = New(limit, out string path);
        outbox.Prepare(Size, messages);
        long length = new FileInfo(path).Length;
        Assert.InRange(length, Page + room * Space(Size), Page + (room + 1) * Space(Size));
        for (int i = 0; i < room; i++)
            outbox.Keep(i, Message(i, Size));
        Assert.Equal(length, new FileInfo(path).Length);
        Assert.Equal(Message(room - 1, Size), outbox.Find(room - 1));
    }

    // A process may die before its first message.
    [Fact]
    public void Prepare_ThenReopened_HasNoMessage()
    {
        Outbox outbox = New(8, out string path);
        outbox.Prepare(9000, 10);
        outbox.Dispose();
        using var again = Outbox.Open(path, RunId, 8);
        Assert.Equal((0, null), (again.Kept, again.Find(0)));
        again.Keep(0, Message(0, 9000));
        again.Prepare(9000, 10); // too late: without effect
        Assert.Equal(Message(0, 9000), again.Find(0));
    }

    [Fact]
    public void Prepare_NoRoom_GivesBackWhatItTook()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The limit that stands for a full disk is Linux's.");
        using Process child = Child.Start("grow", _folder["1.outbox"]);
        // What stays of a full disk is needed to settle the run.
        Assert.Equal("True 0", child.StandardOutput.ReadLine());
        child.WaitForExit();
    }

    [Fact]
    public void Keep_RecordsOfOneSize_TakeTheLimitAndOneMore()
    {
        const int Limit = 5, Size = 9000;
        Outbox outbox = New(Limit, out string path);
        for (int i = 0; i < 10 * Limit; i++)
            outbox.Keep(i, Message(i, Size));
        outbox.Dispose();
        Assert.Equal(Page + (Limit + 1) * Space(Size), new FileInfo(path).Length);
    }

    /// <summary>Also in later processes, whatever they open it with.</summary>
    [Fact]
    public void KeepNoMore_BelowTheLimit_BoundsTheFileAndFindsThoseMessages()
    {
        const int Limit = 64, Last = 7, Size = 9000;
        string path = "";
        for (int process = 0; process < 3; process++)
        {
            using Outbox outbox = process == 0 ? New(Limit, out path) : Outbox.Open(path, RunId, Limit);
            outbox.KeepNoMore(Last);
            outbox.KeepNoMore(2 * Limit);
            Assert.Equal(Last, outbox.Limit);
            for (int i = 20 * process; i < 20 * (process + 1); i++)
                outbox.Keep(i, Message(i, Size));
            for (int i = outbox.Kept - Last; i < outbox.Kept; i++)
                Assert.Equal(Message(i, Size), outbox.Find(i));
            Assert.Equal(Page + (Last + 1) * Space(Size), new FileInfo(path).Length);
            Assert.Equal("FL5024", Assert.Throws<PrivacyRefusedException>(() => outbox.Find(0)).Id);
        }
    }

    [Fact]
    public void Open_WriteTornBeforeItLeft_IsAsIfItHadNotBegun()
    {
        // What a crash inside Keep leaves: the record of message 2 in part, and no note that it left.
        Outbox outbox = New(8, out string path);
        for (int i = 0; i < 2; i++)
            outbox.Keep(i, Message(i, 9000));
        outbox.Dispose();
        byte[] before = File.ReadAllBytes(path);
        outbox = Outbox.Open(path, RunId, 8);
        outbox.Keep(2, Message(2, 9000));
        outbox.Dispose();
        byte[] after = File.ReadAllBytes(path);
        int start = Page + 2 * 3 * Page;
        foreach (int written in (int[])[1, 64, 100, Page, 2 * Page, 9000])
        {
            byte[] torn = [.. before];
            after.AsSpan(start, written).CopyTo(torn.AsSpan(start));
            File.WriteAllBytes(path, torn);
            using var again = Outbox.Open(path, RunId, 8);
            Assert.Equal(2, again.Kept);
            Assert.Null(again.Find(2));
            Assert.Equal(Message(1, 9000), again.Find(1));
            again.Keep(2, Message(5, 9000));
            Assert.Equal(Message(5, 9000), again.Find(2));
        }
    }

    [Fact]
    public void Open_MessageDestroyedAfterItLeft_IsRefused()
    {
        Outbox outbox = New(8, out string path);
        for (int i = 0; i < 3; i++)
            outbox.Keep(i, Message(i, 100));
        outbox.Dispose();
        byte[] whole = File.ReadAllBytes(path);

        // The file cut off inside the last slot, or a byte of the last slot flipped: a second noise must not be drawn.
        File.WriteAllBytes(path, whole[..(3 * Page + 120)]);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => Outbox.Open(path, RunId, 8));
        whole[3 * Page + 130] ^= 1;
        File.WriteAllBytes(path, whole);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => Outbox.Open(path, RunId, 8));

        // One in the middle: only that one is lost.
        whole[3 * Page + 130] ^= 1;
        whole[2 * Page + 130] ^= 1;
        File.WriteAllBytes(path, whole);
        using var again = Outbox.Open(path, RunId, 8);
        Assert.Equal(Message(2, 100), again.Find(2));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => again.Find(1));
    }

    [Fact]
    public void Open_AnyByteOfARecordsDescriptionChanged_LosesThatMessageAlone()
    {
        Outbox outbox = New(8, out string path);
        for (int i = 0; i < 3; i++)
            outbox.Keep(i, Message(i, 100));
        outbox.Dispose();
        byte[] whole = File.ReadAllBytes(path);
        for (int at = 2 * Page; at < 2 * Page + 48; at++)
            foreach (byte change in (byte[])[0x01, 0x80]) // the highest bit of a number is its sign
            {
                whole[at] ^= change;
                File.WriteAllBytes(path, whole);
                using (var again = Outbox.Open(path, RunId, 8))
                {
                    Assert.Equal(3, again.Kept);
                    Assert.Equal(Message(2, 100), again.Find(2));
                    ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => again.Find(1));
                }

                whole[at] ^= change;
            }
    }

    // A process that dies between writing a record and its sync leaves a record that is whole to whoever reads it, without the note that it left. The next process sends it, and after a loss of power it must not be noised again.
    [Fact]
    public void Open_LastMessageThatWasPerhapsNotSynced_IsMadeDurableAndNoted()
    {
        Outbox outbox = New(8, out string path);
        outbox.Dispose();
        using (var empty = Outbox.Open(path, RunId, 8))
            Assert.Equal(TimeSpan.Zero, empty.SyncTime);
        outbox = Outbox.Open(path, RunId, 8);
        for (int i = 0; i < 2; i++)
            outbox.Keep(i, Message(i, 9000));
        outbox.Dispose();
        byte[] whole = File.ReadAllBytes(path), unnoted = [.. whole];
        Assert.Equal("FLIsSent"u8, whole.AsSpan(Note(1), 8));
        unnoted.AsSpan(Note(1), 28).Clear();
        File.WriteAllBytes(path, unnoted);
        using (var again = Outbox.Open(path, RunId, 8))
        {
            Assert.True(again.SyncTime > TimeSpan.Zero);
            Assert.Equal(Message(1, 9000), again.Find(1));
        }

        Assert.Equal(whole, File.ReadAllBytes(path));
        int Note(int index) => (int)(Page + (index + 1) * Space(9000) - 512);
    }

    [Fact]
    public void Open_WhatIsNoFile_IsAnErrorWithAnId()
    {
        Directory.CreateDirectory(_folder["a folder"]);
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => Outbox.Open(_folder["a folder"], RunId, 8));
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => Outbox.Open(_folder["absent/1.outbox"], RunId, 8));
    }

    [Fact]
    public void Delete_WhatCannotBeRemoved_IsAnErrorWithAnIdAndEndsTheLock()
    {
        Outbox outbox = New(8, out string path);
        File.Move(path, path + ".moved");
        Directory.CreateDirectory(path);
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, outbox.Delete);
        using var again = Outbox.Open(path + ".moved", RunId, 8);
        Assert.True(again.Exists);
    }

    [Fact]
    public void Open_FileOfAnotherRun_HasNoMessages()
    {
        Outbox outbox = New(8, out string path);
        outbox.Keep(0, Message(0, 10));
        outbox.Dispose();
        using var other = Outbox.Open(path, new byte[16], 8);
        Assert.Equal((false, 0), (other.Exists, other.Kept));
    }

    // Its messages cannot be sent again, and must not be taken for none.
    [Fact]
    public void Open_FileOfAnEarlierFormat_IsDamaged()
    {
        Outbox outbox = New(8, out string path);
        outbox.Keep(0, Message(0, 10));
        outbox.Dispose();
        byte[] earlier = File.ReadAllBytes(path);
        Assert.Equal("FLOutbx3"u8, earlier.AsSpan(0, 8));
        earlier[7]--;
        File.WriteAllBytes(path, earlier);
        using var again = Outbox.Open(path, RunId, 8);
        Assert.Equal((false, true), (again.Exists, again.IsDamaged));
    }

    [Fact]
    public void Keep_WorkToBegin_IsBegunOnceBeforeTheMessageIsKept()
    {
        using Outbox outbox = New(8, out _);
        for (int i = 0; i < 3; i++)
        {
            int begun = 0;
            outbox.Keep(i, Message(i, 5000), () =>
            {
                begun++;
                Assert.Equal(i, outbox.Kept);
                Assert.Null(outbox.Find(i));
            });
            Assert.Equal((1, i + 1), (begun, outbox.Kept));
            Assert.Equal(Message(i, 5000), outbox.Find(i));
        }
    }

    // What fails in between leaves a message whose record may be on the disk: it has not left, and the outbox takes no other for it.
    [Fact]
    public void Keep_WorkToBeginFails_MessageIsNotKeptAndTheRunGoesOnUnderItsId()
    {
        Outbox outbox = New(8, out string path);
        outbox.Keep(0, Message(0, 100));
        Assert.Throws<InvalidTimeZoneException>(() => outbox.Keep(1, Message(1, 100), () => throw new InvalidTimeZoneException()));
        Assert.Equal(1, outbox.Kept);
        ErrorAssert.Throws<InternalFailureException>(SqliteLedgerErrors.StorageFailed, () => outbox.Keep(1, Message(2, 100)));
        outbox.Dispose();
        using var again = Outbox.Open(path, RunId, 8);
        Assert.Equal(2, again.Kept);
        Assert.Equal(Message(1, 100), again.Find(1));
    }

    [Fact]
    public void Keep_OutOfOrder_IsRefused()
    {
        using Outbox outbox = New(8, out _);
        // A run whose state is further than its outbox, of which an older copy was put back.
        Assert.Equal("FL5024", Assert.Throws<PrivacyRefusedException>(() => outbox.Keep(1, [])).Id);
        outbox.Keep(0, []);
        Assert.Throws<ArgumentOutOfRangeException>(() => outbox.Keep(0, []));
    }
}
