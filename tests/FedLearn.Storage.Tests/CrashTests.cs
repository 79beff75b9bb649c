using System.Collections.Concurrent;
using System.Diagnostics;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;

namespace FedLearn.Storage.Tests;

/// <summary>Obligation T6: processes that are killed (SIGKILL) at random points of a run, and continue it.</summary>
public sealed class CrashTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("fresh", 70)]
    [InlineData("secure", 15)]
    [InlineData("7", 15)]
    public async Task Send_KilledAtRandomPoints_EveryMessageHasOneNoiseAndTheRunOneCharge(string seed, int kills)
    {
        // 200 kills in all; two runs at a time share one ledger file.
        int wanted = TestCounts.Of(kills);
        var where = new ConcurrentDictionary<byte, int>();
        var worlds = Enumerable.Range(0, 2).Select(world => Task.Run(() =>
        {
            var random = new Random(1000 * world + seed.Length);
            for (int done = 0; done < wanted;)
                done += OneRun(seed, random, most: Math.Min(25, wanted - done), where);
        })).ToArray();
        await Task.WhenAll(worlds);

        // The kill points reach every part of a run: before its charge, before its first message, after some message or around its settlement. A tenth of
        // the kills is aimed at the rarest part, so that 140 miss it with probability 4e-7; fewer say nothing.
        if (kills >= 70)
            Assert.All((byte[])[Program.Opening, Program.Reserved, Program.Message], part => Assert.True(where.GetValueOrDefault(part) > 0, $"no kill after '{(char)part}'"));
        TestContext.Current.SendDiagnosticMessage(string.Join(", ", where.Select(w => $"{(char)w.Key}: {w.Value}")));

        // A kill between the settlement and the removal of the outbox leaves the file; whoever asks for the run again removes it.
        foreach (string file in _folder.Files.Where(f => f.EndsWith(".outbox", StringComparison.Ordinal)))
            ErrorAssert.Throws<PrivacyRefusedException>(SqliteLedgerErrors.RunEnded, () => new SqliteLedger(_folder["bank.ledger.db"])
                .Reserve(Charges.Gaussian(file.Split('.')[^2], mu: 1, messages: Program.Messages, testNoise: seed == "7")));
        Assert.DoesNotContain(_folder.Files, file => file.EndsWith(".outbox", StringComparison.Ordinal));
    }

    /// <summary>Starts the same run again and again until it ends, killing it at most so often; the number of kills.</summary>
    private int OneRun(string seed, Random random, int most, ConcurrentDictionary<byte, int> where)
    {
        string path = _folder["bank.ledger.db"], runId = PrivacyCharge.NewRunId();
        var seen = new Dictionary<int, byte[]>();
        int kills = 0;
        for (bool ended = false; !ended;)
        {
            using Process child = Child.Start("send", path, runId, seed);
            Stream output = child.StandardOutput.BaseStream;

            // The part of the run that the kill falls into, and how long after a sign of life: a process opens its ledger for the first time in
            // some 100 ms, settles its run in some 10 ms, and sends a message in less than 1 ms.
            bool kill = kills < most;
            int part = random.Next(10), after = part < 2 ? -1 : part < 3 ? 0 : part < 4 ? Program.Messages : random.Next(Program.Messages) + 1;
            double spin = after < 0 ? 100e3 * random.NextDouble() : after == Program.Messages ? 20e3 * random.NextDouble() : 600 * random.NextDouble();
            byte last = 0;
            for (int messages = 0; ;)
            {
                int sign = output.ReadByte();
                if (sign < 0)
                    break;
                last = (byte)sign;
                if (sign == Program.Message)
                {
                    int index = output.ReadByte(), high = output.ReadByte(), low = output.ReadByte();
                    byte[] bytes = new byte[Math.Max(0, 256 * high + low)];
                    // A message that was cut off has left all the same; only whole ones can be compared.
                    if (low < 0 || output.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) < bytes.Length)
                        break;
                    Assert.Equal(messages++, index);
                    if (!seen.TryAdd(index, bytes))
                        Assert.Equal(seen[index], bytes);
                }

                if (kill && messages == Math.Max(0, after) && (after < 0 ? sign == Program.Opening : after > 0 || sign == Program.Reserved))
                {
                    long start = Stopwatch.GetTimestamp();
                    while (Stopwatch.GetElapsedTime(start).TotalMicroseconds < spin)
                        Thread.SpinWait(10);
                    child.Kill();
                    kill = false;
                }
            }

            child.WaitForExit();
            ended = child.ExitCode == 0;
            if (!ended)
            {
                // Killed when it had settled: then it has ended all the same.
                ended = StateOf(path, runId) == ChargeState.Settled;
                kills++;
                where.AddOrUpdate(last, 1, (_, n) => n + 1);
                Assert.Equal(128 + 9, child.ExitCode);
            }

            CheckLedger(path, runId, anySent: seen.Count > 0 || last is Program.Reserved or Program.Message, ended);
        }

        Assert.Equal(Program.Messages, seen.Count);
        return kills;
    }

    private static ChargeState? StateOf(string path, string runId) => new SqliteLedger(path).Entries.FirstOrDefault(e => e.Charge.RunId == runId)?.State;

    private static void CheckLedger(string path, string runId, bool anySent, bool ended)
    {
        LedgerEntry[] entries = [.. new SqliteLedger(path).Entries.Where(e => e.Charge.RunId == runId)];
        Assert.True(entries.Length == 1 || (entries.Length == 0 && !anySent));
        Assert.All(entries, e => Assert.Equal((1, 1, 0), (e.MuSquared, e.Share, e.PureEpsilon)));
        if (ended)
            Assert.Equal(ChargeState.Settled, entries[0].State);
        Assert.Null(SqliteLedger.Audit(path).Fault);
    }

    [Fact]
    public void Send_CrashBetweenKeepAndSend_SendsTheKeptBytes()
    {
        string runId = PrivacyCharge.NewRunId();
        var ledger = new SqliteLedger(_folder["l.db"]);
        PrivacyCharge charge = Charges.Gaussian(runId);
        byte[] kept;
        using (IPrivacyReservation first = ledger.Reserve(charge))
            kept = Release(first);
        using IPrivacyReservation again = ledger.Reserve(charge);
        Assert.Equal(1, again.Kept);
        Assert.Equal(kept, Release(again));
        Assert.Equal(charge.MuSquared, ledger.Spent("bank", charge.DataSet, PrivacyUnit.Record).MuSquared);

        static byte[] Release(IPrivacyReservation reservation) =>
            new GaussianMechanism(new NoiseCalibration(1, 1, 3, 1), new CsprngNoise(), reservation).Release(new Scores(new double[5]), "scores").Payload.Lattice!.Packed.ToArray();
    }

    [Fact]
    public async Task Reserve_SeveralProcesses_NeverExceedTheBudgetAndUseItUp()
    {
        string path = _folder["l.db"];
        Process[] children = [.. Enumerable.Range(0, 4).Select(_ => Child.Start("spend", path, "10"))];
        int granted = 0;
        foreach (Process child in children)
        {
            granted += int.Parse(await child.StandardOutput.ReadToEndAsync(), System.Globalization.CultureInfo.InvariantCulture);
            await child.WaitForExitAsync();
            Assert.Equal(0, child.ExitCode);
            child.Dispose();
        }

        Assert.Equal(17, granted);
        LedgerAudit audit = SqliteLedger.Audit(path);
        Assert.Equal((17, null), (audit.Rows, audit.Fault));
    }
}
