using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Storage.Tests;

/// <summary>Noised values that stay at their party are kept beside the messages.</summary>
public sealed class LocalValueTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly PrivacyCharge _charge = Charges.Gaussian();

    public void Dispose() => _folder.Dispose();

    private IPrivacyReservation Reserve() => new SqliteLedger(_folder["bank.ledger.db"]).Reserve(_charge);

    [Fact]
    public void KeepLocal_AndReopen_FindsMessagesAndValuesApart()
    {
        using (IPrivacyReservation run = Reserve())
        {
            Assert.True(run.KeepsLocally);
            Assert.Null(run.FindLocal(0));
            run.Keep(0, [1, 2, 3]);
            TimeSpan messages = run.SyncTime;
            run.KeepLocal(0, [4]);
            Assert.True(run.SyncTime > messages, "The time in which values wait for the disk counts too.");
            run.KeepLocal(1, [5, 6]);
        }

        using IPrivacyReservation again = Reserve();
        Assert.Equal(1, again.Kept);
        Assert.Equal([1, 2, 3], again.Find(0));
        Assert.Equal([4], again.FindLocal(0));
        Assert.Equal([5, 6], again.FindLocal(1));
        Assert.Null(again.FindLocal(2));
    }

    /// <summary>One value more than messages: a run's last one comes after them. Also where the file is opened later.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void KeepNoMore_Messages_BoundsTheValuesToo(bool reopens)
    {
        const int Last = 3, Values = 12;
        static byte[] Value(int i) => [.. Enumerable.Repeat((byte)i, 9000)];
        IPrivacyReservation run = Reserve();
        run.KeepNoMore(Last);
        for (int i = 0; i < Values; i++)
        {
            run.KeepLocal(i, Value(i));
            if (reopens && i == Values / 2)
            {
                run.Dispose();
                run = Reserve();
                run.KeepNoMore(Last);
            }
        }

        for (int i = Values - Last - 1; i < Values; i++)
            Assert.Equal(Value(i), run.FindLocal(i));
        ErrorAssert.Throws<PrivacyRefusedException>("FL5024", () => run.FindLocal(0));
        run.Dispose();
        // A page, one value more than messages, and one more for the space at the end that a value does not fit.
        Assert.Equal(4096 + (Last + 2) * 12_288, new FileInfo(_folder[$"bank.ledger.db.{_charge.RunId}.local.outbox"]).Length);
    }

    [Fact]
    public void KeepNoMore_AfterTheFirstValue_BoundsThoseThatFollow()
    {
        using IPrivacyReservation run = Reserve();
        for (int i = 0; i < 12; i++)
        {
            run.KeepLocal(i, new byte[9000]);
            run.KeepNoMore(3);
        }

        ErrorAssert.Throws<PrivacyRefusedException>("FL5024", () => run.FindLocal(0));
    }

    [Fact]
    public void FindLocal_WhenTheFileIsGone_IsRefusedInsteadOfANewNoise()
    {
        using (IPrivacyReservation run = Reserve())
            run.KeepLocal(0, [4]);
        File.Delete(_folder[$"bank.ledger.db.{_charge.RunId}.local.outbox"]);
        using IPrivacyReservation again = Reserve();
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => again.FindLocal(0));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.MessageLost, () => again.KeepLocal(1, [4]));
    }

    [Fact]
    public void FindLocal_OlderCopyPutBack_IsRefusedWithItsReason()
    {
        string file = _folder[$"bank.ledger.db.{_charge.RunId}.local.outbox"];
        using (IPrivacyReservation run = Reserve())
            run.KeepLocal(0, [4]);
        byte[] older = File.ReadAllBytes(file);
        using (IPrivacyReservation run = Reserve())
        {
            run.KeepLocal(1, [5]);
            run.KeepLocal(2, [6]);
        }

        File.WriteAllBytes(file, older);
        using (IPrivacyReservation again = Reserve())
            // The value after the older copy's last would be noised a second time.
            Assert.All([0, 1, 2, 3], index => Assert.Contains("an older copy", Assert.Throws<PrivacyRefusedException>(() => again.FindLocal(index)).Message, StringComparison.Ordinal));

        // Of a run that an earlier version charged, the ledger knows nothing: what is beyond the copy's next is refused.
        SqliteLedgerTests.Sql(_folder["bank.ledger.db"], "DELETE FROM progress");
        using IPrivacyReservation earlier = Reserve();
        Assert.Null(earlier.FindLocal(1));
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.OlderCopy, () => earlier.FindLocal(2));
    }

    [Fact]
    public void FindLocal_FileThatCannotBeMade_IsAnErrorWithAnId()
    {
        using IPrivacyReservation run = Reserve();
        Directory.CreateDirectory(_folder[$"bank.ledger.db.{_charge.RunId}.local.outbox"]);
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => run.FindLocal(0));
        ErrorAssert.Throws<ConfigurationException>(SqliteLedgerErrors.CannotOpen, () => run.KeepLocal(0, [4]));
    }

    [Fact]
    public void Reserve_SettledByAProcessThatDiedRightAfter_IsRefusedAndRemovesBothFiles()
    {
        string[] files = [_folder[$"bank.ledger.db.{_charge.RunId}.outbox"], _folder[$"bank.ledger.db.{_charge.RunId}.local.outbox"]];
        using (IPrivacyReservation run = Reserve())
        {
            run.Keep(0, [1]);
            run.KeepLocal(0, [4]);
        }

        foreach (string file in files)
            File.Copy(file, file + ".kept");
        using (IPrivacyReservation run = Reserve())
            run.Settle(1);
        foreach (string file in files)
            File.Move(file + ".kept", file);
        ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.RunEnded, () => Reserve());
        Assert.Equal(["bank.ledger.db"], _folder.Files);
    }

    [Fact]
    public void Settle_RemovesBothFiles()
    {
        using (IPrivacyReservation run = Reserve())
        {
            run.Keep(0, [1]);
            run.KeepLocal(0, [4]);
            run.Settle(1);
        }

        Assert.Equal(["bank.ledger.db"], _folder.Files.Where(f => !f.EndsWith("-wal", StringComparison.Ordinal) && !f.EndsWith("-shm", StringComparison.Ordinal)));
    }
}
