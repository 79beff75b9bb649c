using System.Runtime.InteropServices;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Runs of every kind that are cut off at random messages and go on, all parties in one process.</summary>
public sealed class ResumeReliabilityTests
{
    public static TheoryData<string> Names => [.. KillJobs.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Train_CutOffAtRandomMessages_EndsWithTheSameModelAndOneCharge(string name)
    {
        var log = new ReliabilityLog($"cuts at random messages of a run, {name}");
        GlmJob job = KillJobs.Job(name);
        IReadOnlyList<GlmPartyResult> whole = await CutRun.WholeAsync(name, job);
        int trials = TestCounts.Of(3), cuts = 0;
        for (int trial = 0; trial < trials; trial++)
        {
            var random = new Random(100 * trial + name.Length);
            using var run = new CutRun(name, job);
            string[] parties = KillJobs.Parties(name);
            // The messages of a party in a run that nobody cuts: a cut may come at any of them.
            int most = (int)whole[^1].Traffic.MessagesSent + (int)whole[^1].Traffic.MessagesReceived, attempts = random.Next(1, 5), done = 0;
            IReadOnlyList<GlmPartyResult>? ended = null;
            for (int attempt = 0; attempt < attempts && ended is null; attempt++)
                try
                {
                    ended = await run.AttemptAsync((parties[random.Next(parties.Length)], random.Next(1, most + 1)));
                }
                catch (PeerException e) when (e.Id is ProtocolErrors.PeerGone or ProtocolErrors.PeerAborted)
                {
                    done++;
                }

            ended ??= await run.AttemptAsync();
            CutRun.AssertSame(whole, ended);
            run.AssertOneChargeEach();
            Assert.Empty(run.Sent.Different);
            cuts += done;
            // Each party counts the times that it went on; those cut before its first state are none of them.
            Assert.All(ended, r => Assert.InRange(r.Resumed.Count, 0, done));
        }

        log.Passed(cuts, "all models and metrics bit-identical, one charge each");
    }

    [Theory]
    [InlineData("hdp")]
    [InlineData("weight-noise")]
    [InlineData("hdp-three")]
    [InlineData("one-round")]
    [InlineData("label-dp")]
    public async Task Train_SecureNoiseAndCuts_NoMessageHasTwoContents(string name)
    {
        var log = new ReliabilityLog($"cuts of a run with secure noise, {name}");
        var random = new Random(5);
        int trials = TestCounts.Of(3), cuts = 0, again = 0;
        for (int trial = 0; trial < trials; trial++)
        {
            using var run = new CutRun(name, KillJobs.Job(name, testNoise: false));
            string[] parties = KillJobs.Parties(name);
            for (int attempt = 0; attempt < 3; attempt++)
                try
                {
                    await run.AttemptAsync((parties[random.Next(parties.Length)], name is "one-round" or "label-dp" ? random.Next(4, 8) : random.Next(12, 40)));
                    break;
                }
                catch (PeerException e) when (e.Id is ProtocolErrors.PeerGone or ProtocolErrors.PeerAborted)
                {
                    cuts++;
                }

            if (run.Files.Any(f => f.EndsWith(".state", StringComparison.Ordinal)))
                await run.AttemptAsync();
            Assert.Empty(run.Sent.Different);
            run.AssertOneChargeEach();
            again += run.Sent.Again;
        }

        Assert.True(again > 0, "no message was sent again, so nothing was tested");
        log.Passed(cuts, $"{again} messages sent again, none with other bytes");
    }

    [Fact]
    public async Task Train_MechanismThatNoisesAgain_IsNoticed()
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp", testNoise: false)) { Wrap = ledger => new ForgetfulLedger(ledger) };
        await run.CutAsync("telco", 30);
        await run.AttemptAsync();
        Assert.NotEmpty(run.Sent.Different);
    }

    [Theory]
    [InlineData("hdp", "scores")]
    [InlineData("none", "losses")]
    [InlineData("none-stop-objective", "stop")]
    [InlineData("none-stop-auc", "stop.weights")]
    [InlineData("hdp", "noise.0.draws")]
    [InlineData("none", "history")]
    [InlineData("none", "weights")]
    [InlineData("none", "rows.common")]
    public async Task Train_StateWithoutAPart_IsNoticed(string name, string part)
    {
        GlmJob job = KillJobs.Job(name, epochs: 9, every: part == "scores" || part == "losses" ? 7 : 4);
        IReadOnlyList<GlmPartyResult> whole = await CutRun.WholeAsync(name, job);
        bool noticed = false;
        // In the midst of the last epoch, where the scores of its first batches are in the state alone, and after the best one for early stopping.
        int messages = (int)(whole[^1].Traffic.MessagesSent + whole[^1].Traffic.MessagesReceived);
        foreach (int before in (int[])[0, 1, 2, 3, 4, 6, 9, 12])
        {
            var stores = KillJobs.Parties(name).ToDictionary(p => p, _ => (IRunStore)LossyStore(part));
            using var run = new CutRun(name, job) { Store = p => stores[p] };
            await run.CutAsync("telco", messages - before);
            try
            {
                CutRun.AssertSame(whole, await run.AttemptAsync());
            }
            catch (Exception e) when (e is Xunit.Sdk.XunitException or FedLearnException)
            {
                noticed = true;
            }
        }

        Assert.True(noticed, $"a state without '{part}' went unnoticed");
    }

    [Fact]
    public async Task Train_StoreThatKeepsOneState_IsNoticed()
    {
        // Cut off a round apart, one party is past a state that the other has not written: with one state each they have none in common.
        GlmJob job = KillJobs.Job("none", every: 1);
        IReadOnlyList<GlmPartyResult> whole = await CutRun.WholeAsync("none", job);
        async Task<bool> GoesOnAsync(Func<IRunStore, IRunStore> wrap, int at)
        {
            var stores = KillJobs.Parties("none").ToDictionary(p => p, _ => wrap(new InMemoryRunStore()));
            using var run = new CutRun("none", job) { Store = p => stores[p] };
            await run.CutAsync("telco", at);
            return (await run.AttemptAsync()).All(r => r.Resumed.Count > 0);
        }

        bool[] two = new bool[6], one = new bool[6];
        for (int i = 0; i < two.Length; i++)
            (two[i], one[i]) = (await GoesOnAsync(s => s, 20 + i), await GoesOnAsync(s => new OneStateStore(s), 20 + i));
        Assert.All(two, Assert.True);
        Assert.Contains(false, one);
    }

    /// <summary>A party that saved its part before the others were cut off has the training of the run that goes on.</summary>
    [Fact]
    public async Task Train_CutOffTwice_KeepsTheIdOfTheSessionInWhichItBegan()
    {
        GlmJob job = KillJobs.Job("hdp");
        using var run = new CutRun("hdp", job);
        await run.CutAsync("telco", 30);
        string began = new FileRunStore(run.LedgerOf("telco")).Find("telco", GlmJobTerms.Of(job).TermsDigest)!.Run.SessionId;
        await run.CutAsync("bank", 10);
        Assert.All(await run.AttemptAsync(), r => Assert.Equal((2, began), (r.Resumed.Count, r.Model.TrainingId)));
    }

    /// <summary>The limit on messages is no part of a job: a process that goes on may have a smaller one than the first, at either party. It is raised again, and nothing was lost or paid twice.</summary>
    [Theory]
    [InlineData("none", "telco", 30)]
    [InlineData("hdp", "telco", 30)]
    [InlineData("hdp", "bank", 30)]
    [InlineData("one-round", "telco", 6)]
    public async Task Train_GoesOnWithASmallerMessageLimit_KeepsTheRunAndItsCharge(string name, string party, int message)
    {
        GlmJob job = KillJobs.Job(name);
        using var run = new CutRun(name, job);
        await run.CutAsync(party, message);
        string[] kept = [.. run.Files.Where(f => f.Contains(".state", StringComparison.Ordinal)).Order()];
        run.Limit = p => p == party ? 70 : null;
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => run.AttemptAsync());
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Equal(kept, run.Files.Where(f => f.Contains(".state", StringComparison.Ordinal)).Order());
        run.Limit = _ => null;
        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        CutRun.AssertSame(await CutRun.WholeAsync(name, job), ended);
        Assert.All(ended, r => Assert.Equal(2, r.Resumed.Count));
        run.AssertOneChargeEach();
    }

    [Fact]
    public async Task Train_PeerWithoutTheRun_BeginsANewOneAndSaysSo()
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp"));
        await run.CutAsync("telco", 30);
        foreach (string file in Directory.GetFiles(Path.GetDirectoryName(run.LedgerOf("telco"))!, "telco*.state"))
            File.Delete(file);
        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        Assert.All(ended, r => Assert.Empty(r.Resumed));
        Assert.Contains(ended[0].Warnings, w => w.Contains("has been forgotten", StringComparison.Ordinal));
        // The one who is charged twice is told.
        Assert.Contains(ended[1].Warnings, w => w.StartsWith("telco: the ledger has a charge of this job whose run has not ended", StringComparison.Ordinal));
        // The bank settled what had begun; telco's charge, whose state is lost, stays in full.
        LedgerEntry[] bank = [.. new SqliteLedger(run.LedgerOf("bank")).Entries], telco = [.. new SqliteLedger(run.LedgerOf("telco")).Entries];
        Assert.Equal((2, 2), (bank.Length, telco.Length));
        Assert.Equal((ChargeState.Settled, ChargeState.Reserved), (bank[0].State, telco[0].State));
        Assert.InRange(bank[0].Share, 0.1, 0.9);
    }

    [Fact]
    public async Task Train_AllStatesDamaged_BeginsANewRunSaysSoAndRemovesWhatNobodyCanUse()
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp"));
        await run.CutAsync("telco", 30);
        string folder = Path.GetDirectoryName(run.LedgerOf("telco"))!;
        Assert.Single(Directory.GetFiles(folder, "telco*.outbox"));
        foreach (string file in Directory.GetFiles(folder, "telco*.state"))
            Damage(file);

        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        Assert.Contains(ended[1].Warnings, w => w.Contains("lost, damaged", StringComparison.Ordinal));
        Assert.DoesNotContain(run.Files, f => f.EndsWith(".outbox", StringComparison.Ordinal) || f.EndsWith(".state", StringComparison.Ordinal));
        // The bank's run was settled.
        Assert.DoesNotContain(ended[0].Warnings, w => w.Contains("the ledger has", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Train_StatesDamagedWithoutLedger_SaysWhichWereAndThatItBeganAnew()
    {
        using var run = new CutRun("none", KillJobs.Job("none"));
        await run.CutAsync("telco", 30);
        string[] states = Directory.GetFiles(Path.GetDirectoryName(run.LedgerOf("telco"))!, "telco*.round-*.state");
        Assert.Equal(2, states.Length);
        Array.ForEach(states, Damage);
        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        Assert.Empty(ended[1].Resumed);
        Assert.All(states, state => Assert.Single(ended[1].Warnings,
            $"telco: a state kept to go on with was passed over: {Path.GetFileName(state)}: its checksum does not hold; training began anew"));
        Assert.DoesNotContain(ended[0].Warnings, w => w.Contains("passed over", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Train_OneStateDamaged_GoesOnWithTheOtherAndSaysSo()
    {
        using var run = new CutRun("none", KillJobs.Job("none"));
        await run.CutAsync("telco", 30);
        string state = Directory.GetFiles(Path.GetDirectoryName(run.LedgerOf("telco"))!, "telco*.round-*.state").MaxBy(File.GetLastWriteTimeUtc)!;
        Damage(state);
        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        Assert.NotEmpty(ended[1].Resumed);
        Assert.Single(ended[1].Warnings, $"telco: a state kept to go on with was passed over: {Path.GetFileName(state)}: its checksum does not hold; the run went on with another state");
    }

    private static void Damage(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^1] ^= 1;
        File.WriteAllBytes(file, bytes);
    }

    [Fact]
    public async Task Train_Fresh_SettlesTheEpochsThatHadBegunAndBeginsAnew()
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp"));
        await run.CutAsync("telco", 30);
        Assert.All(await run.AttemptAsync(null, "bank", "telco"), r => Assert.Empty(r.Resumed));
        foreach (string party in KillJobs.Parties("hdp"))
        {
            LedgerEntry[] entries = [.. new SqliteLedger(run.LedgerOf(party)).Entries];
            Assert.Equal([ChargeState.Settled, ChargeState.Settled], entries.Select(e => e.State));
            Assert.InRange(entries[0].Share, 0.1, 0.9);
            Assert.Equal(1, entries[1].Share);
        }
    }

    [Fact]
    public async Task Train_DataChangedSince_IsRefusedUntilFresh()
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp"));
        await run.CutAsync("bank", 20);
        run.Table = p => KillJobs.Table("hdp", p, changed: p == "telco");
        Assert.Equal(GlmErrors.RunChanged, (await Assert.ThrowsAsync<ConfigurationException>(() => run.AttemptAsync())).Id);
        Assert.All(await run.AttemptAsync(null, "telco"), r => Assert.Empty(r.Resumed));
    }

    /// <summary>Everything that a party brings, one thing after the other.</summary>
    [Theory]
    [InlineData("cells", "telco")]
    [InlineData("sparse cells", "telco")]
    [InlineData("storage", "telco")]
    [InlineData("ids", "telco")]
    [InlineData("schema", "telco")]
    [InlineData("labels", "bank")]
    [InlineData("weights", "bank")]
    [InlineData("offsets", "bank")]
    [InlineData("split file", "bank")]
    [InlineData("earlier model", "telco")]
    [InlineData("test noise", "bank")]
    public async Task Train_OneInputChangedSince_IsRefusedUntilItIsPutBack(string what, string party)
    {
        string name = what == "test noise" ? "hdp" : "none";
        GlmJob job = KillJobs.Job(name);
        IReadOnlyList<GlmPartyResult> earlier = await CutRun.WholeAsync(name, job);
        job = what switch
        {
            "split file" => job with { Split = new SplitRule.FromFile() },
            "earlier model" => job with { Training = job.Training with { WarmStart = true } },
            _ => job,
        };
        using var run = new CutRun(name, job);
        string[] splits = [run.FileOf("split.csv"), run.FileOf("other.csv")];
        for (int i = 0; i < 2; i++)
            File.WriteAllLines(splits[i], ["id,split", .. Enumerable.Range(0, KillJobs.Rows).Select(row => $"person {row},{(row % 7 == i ? "test" : "train")}")]);
        bool changed = false;
        run.Bring = input => Brought(input, changed && input.Party == party);
        await run.CutAsync("bank", 20);

        changed = true;
        // The seed of test noise is no part of the agreement, and so each party's own affair.
        run.Job = what == "test noise" ? job with { Privacy = job.Privacy with { TestNoiseSeed = 8 } } : job;
        ConfigurationException error = await Assert.ThrowsAsync<ConfigurationException>(() => run.AttemptAsync());
        Assert.Equal((GlmErrors.RunChanged, $"party '{party}'"), (error.Id, error.Place));

        (changed, run.Job) = (false, job);
        Assert.All(await run.AttemptAsync(), r => Assert.NotEmpty(r.Resumed));

        GlmPartyInput Brought(GlmPartyInput input, bool other)
        {
            Table table = input.Table;
            DenseMatrix matrix = ((MatrixCells)table.Cells!).Matrix;
            double[] Numbers() => [.. table.Ids.Select((_, row) => other && row == 4 ? 0.75 : 1)];
            Table With(string[]? ids = null, double[]? labels = null, TableSchema? schema = null, double[]? weights = null, double[]? offsets = null) =>
                Table.FromMatrix(ids ?? table.Ids, table.Schema.FeatureNames, matrix, labels ?? table.Labels, schema ?? table.Schema, weights, offsets);
            bool active = input.Party == "bank";
            return what switch
            {
                "split file" => input with { SplitFile = splits[other ? 1 : 0] },
                "earlier model" => input with { WarmStart = Earlier(earlier.Single(r => r.Party.Name == input.Party).Model, other) },
                "weights" when active => input with { Table = With(weights: Numbers()) },
                "offsets" when active => input with { Table = With(offsets: Numbers()) },
                "sparse cells" when !active => input with { Table = Sparse(table, matrix, other) },
                _ when !other => input,
                "cells" => input with { Table = KillJobs.Table(name, input.Party, changed: true) },
                "storage" => input with { Table = table.With(FeatureStorage.Float32) },
                // A row that the other party lacks.
                "ids" => input with { Table = With(ids: [.. table.Ids.Select(id => id == "person 0" ? "somebody" : id)]) },
                "schema" => input with { Table = With(schema: TableSchema.Create([.. table.Schema.FeatureNames.Select(c => Field.Numeric(c, -1, 1.75))])) },
                "labels" => input with { Table = With(labels: [.. table.Labels!.Select((y, row) => row == 4 ? 1 - y : y)]) },
                _ => input,
            };
        }

        static Table Sparse(Table table, DenseMatrix matrix, bool other)
        {
            int rows = matrix.Rows, columns = matrix.Columns;
            double[] values = [.. matrix.Values];
            values[4] += other ? 0.125 : 0;
            return Table.FromSparse(table.Ids, table.Schema.FeatureNames, new SparseMatrix(rows, columns, [.. Enumerable.Range(0, rows + 1).Select(i => i * columns)], [.. Enumerable.Range(0, rows * columns).Select(k => k % columns)], values), schema: table.Schema);
        }

        static GlmModel Earlier(GlmModel model, bool other) => new(model.JobName, model.JobDigest, model.Party, model.Family, model.Features,
            [.. model.Weights.Select((w, j) => other && j == 0 ? w + 0.125 : w)], model.Intercepts, model.Outputs, model.PeerLink)
        {
            TrainingId = model.TrainingId,
        };
    }

    [Fact]
    public async Task Train_CutOffBetweenSmallImprovements_StopsWhereAWholeRunDoes()
    {
        // Each epoch is better than the one before, most of them by less than the rule asks for: what it counts from is not the best.
        GlmJob job = KillJobs.Job("none-stop-objective", epochs: 60, every: 4);
        job = job with { Training = job.Training with { StepSize = 0.1, EarlyStopping = new GlmEarlyStopping { Patience = 3, MinDelta = 0.01 } } };
        IReadOnlyList<GlmPartyResult> whole = await CutRun.WholeAsync("none-stop-objective", job);
        Assert.Equal(GlmStopReason.EarlyStopped, whole[0].StopReason);
        int messages = (int)(whole[^1].Traffic.MessagesSent + whole[^1].Traffic.MessagesReceived);
        for (int cut = 1; cut <= 8; cut++)
        {
            using var run = new CutRun("none-stop-objective", job);
            await run.CutAsync("telco", messages * cut / 9);
            CutRun.AssertSame(whole, await run.AttemptAsync());
        }
    }

    [Fact]
    public async Task Train_GoesOn_CountsTheTimesBefore()
    {
        // Longer than any test: training, of it waiting and noise, of that the disk.
        double[] before = [8e6, 2e6, 1e6, 5e5];
        var stores = KillJobs.Parties("hdp").ToDictionary(p => p, _ => (IRunStore)new ChangedStore((kind, state) =>
            state.Has("times") ? state.CopyWith(kind, "times", MemoryMarshal.Cast<double, int>(before)) : null));
        using var run = new CutRun("hdp", KillJobs.Job("hdp")) { Store = p => stores[p] };
        await run.CutAsync("telco", 30);
        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        Assert.All(ended, r =>
        {
            Assert.NotEmpty(r.Resumed);
            Assert.InRange(r.Timing.Training, 8e6, 8.1e6);
            Assert.InRange(r.Timing.Wait, 2e6, 2.1e6);
            Assert.InRange(r.Timing.Noise, 1e6, 1.1e6);
            Assert.InRange(r.Timing.Sync, 5e5, 5.1e5);
            Assert.InRange(r.Timing.Compute, 4.9e6, 5.1e6);
            Assert.InRange(r.History[^1].Seconds, 8e6, 8.1e6);
        });
    }

    [Fact]
    public async Task Train_LedgerGone_IsRefused()
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp"));
        await run.CutAsync("bank", 30);
        foreach (string file in Directory.GetFiles(Path.GetDirectoryName(run.LedgerOf("telco"))!, "telco.ledger.db*").Where(f => !f.EndsWith(".state", StringComparison.Ordinal)))
            File.Delete(file);
        Assert.Equal(GlmErrors.MessagesNotKept, (await Assert.ThrowsAnyAsync<FedLearnException>(() => run.AttemptAsync())).Id);
    }

    /// <summary>An outbox that is older than the states knows of fewer messages than have left: it must not decide what the run has cost.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public async Task Train_OutboxOlderThanTheStates_IsRefusedAndCostsNoLess(bool fresh, bool earlierVersion)
    {
        GlmJob job = KillJobs.Job("hdp", epochs: 12);
        using var run = new CutRun("hdp", job);
        await run.CutAsync("bank", 14);
        string outbox = Assert.Single(Directory.GetFiles(Path.GetDirectoryName(run.LedgerOf("telco"))!, "telco.ledger.db.*.outbox"));
        byte[] older = File.ReadAllBytes(outbox);
        await run.CutAsync("bank", 50);
        byte[] newer = File.ReadAllBytes(outbox);
        int kept = Sent();
        File.WriteAllBytes(outbox, older);
        if (earlierVersion)
        {
            // Which noted nothing of the run in the ledger; nor does a process that is killed right after.
            Forget();
            Assert.InRange(Sent(), 1, kept - 8);
        }

        Assert.Equal(earlierVersion ? GlmErrors.MessagesNotKept : SqliteLedgerErrors.OlderCopy, (await Assert.ThrowsAnyAsync<FedLearnException>(() => run.AttemptAsync())).Id);
        Assert.All(KillJobs.Parties("hdp"), p => Assert.Equal((ChargeState.Reserved, 1.0), Assert.Single(new SqliteLedger(run.LedgerOf(p)).Entries.Select(e => (e.State, e.Share)))));
        if (fresh)
        {
            await run.AttemptAsync(null, KillJobs.Parties("hdp"));
            Assert.InRange(new SqliteLedger(run.LedgerOf("telco")).Entries[0].Share, GlmRun.ShareOf(kept, 4, job.Training.Epochs!.Value), 1);
            return;
        }

        File.WriteAllBytes(outbox, newer);
        CutRun.AssertSame(await CutRun.WholeAsync("hdp", job), await run.AttemptAsync());
        run.AssertOneChargeEach();

        PrivacyCharge Charge() => Assert.Single(new SqliteLedger(run.LedgerOf("telco")).Entries).Charge;

        int Sent()
        {
            using IPrivacyReservation reservation = new SqliteLedger(run.LedgerOf("telco")).Reserve(Charge());
            return reservation.Kept;
        }

        void Forget()
        {
            using SqliteFile file = SqliteFile.Open(run.LedgerOf("telco"), TimeSpan.FromSeconds(30));
            LedgerProgress.Remove(file, Charge().RunId);
        }
    }

    /// <summary>Outbox and states of an earlier moment, of all parties, so that they go together: only the ledger, which is as it was left, knows that the run had gone on.</summary>
    [Theory]
    [InlineData(false, 14, true)]
    [InlineData(true, 14, true)]
    [InlineData(true, 6, true)]
    [InlineData(false, 14, false)]
    public async Task Train_OlderOutboxAndStatesPutBack_AreRefusedAndCostAll(bool fresh, int copiedAt, bool noted)
    {
        using var run = new CutRun("hdp", KillJobs.Job("hdp", epochs: 12, testNoise: false));
        await run.CutAsync("bank", copiedAt);
        var older = RunFiles().ToDictionary(f => f, File.ReadAllBytes);
        await run.CutAsync("bank", 50);
        foreach (string file in RunFiles())
            File.Delete(file);
        foreach ((string file, byte[] bytes) in older)
            File.WriteAllBytes(file, bytes);
        if (!noted)
        {
            // As it was without the ledger's notes: the same messages leave with other noise.
            foreach (string party in KillJobs.Parties("hdp"))
                using (SqliteFile file = SqliteFile.Open(run.LedgerOf(party), TimeSpan.FromSeconds(30)))
                    LedgerProgress.Remove(file, new SqliteLedger(run.LedgerOf(party)).Entries[0].Charge.RunId);
            await run.AttemptAsync();
            Assert.NotEmpty(run.Sent.Different);
            return;
        }

        if (fresh)
        {
            GlmPartyResult[] ended = [.. await run.AttemptAsync(null, KillJobs.Parties("hdp"))];
            Assert.All(ended, r => Assert.Contains(r.Privacy.Warnings, w => w.Contains($"({SqliteLedgerErrors.OlderCopy}), where it stays charged in full", StringComparison.Ordinal)));
        }
        else
        {
            Assert.Equal(SqliteLedgerErrors.OlderCopy, (await Assert.ThrowsAnyAsync<FedLearnException>(() => run.AttemptAsync())).Id);
            Assert.Empty(run.Sent.Different);
        }

        Assert.All(KillJobs.Parties("hdp"), p => Assert.Equal((ChargeState.Reserved, 1.0), new SqliteLedger(run.LedgerOf(p)).Entries.Select(e => (e.State, e.Share)).First()));
        Assert.All(KillJobs.Parties("hdp"), p => Assert.Equal(fresh ? 2 : 1, new SqliteLedger(run.LedgerOf(p)).Entries.Count));

        IEnumerable<string> RunFiles() => run.Files.Where(f => f.EndsWith(".outbox", StringComparison.Ordinal) || f.EndsWith(".state", StringComparison.Ordinal)).Select(run.FileOf);
    }

    [Fact]
    public async Task Train_OutboxTooSmallForTheStates_IsRefusedBeforeAnythingLeaves()
    {
        // States every 3 rounds: a run goes on from up to 6 rounds back, and a party may be one ahead.
        using var run = new CutRun("hdp", KillJobs.Job("hdp")) { Wrap = ledger => new SqliteLedger(((SqliteLedger)ledger).Path, new SqliteLedgerOptions { OutboxMessages = 8 }) };
        Assert.Equal(GlmErrors.MessagesNotKept, (await Assert.ThrowsAnyAsync<FedLearnException>(() => run.AttemptAsync())).Id);
        Assert.All(KillJobs.Parties("hdp"), p => Assert.All(new SqliteLedger(run.LedgerOf(p)).Entries, e => Assert.Equal(0, e.Share)));
        run.Wrap = ledger => new SqliteLedger(((SqliteLedger)ledger).Path, new SqliteLedgerOptions { OutboxMessages = 9 });
        await run.CutAsync("telco", 40);
        Assert.All(await run.AttemptAsync(), r => Assert.NotEmpty(r.Resumed));
    }

    [Fact]
    public async Task Train_RunThatFails_IsSettledAndNeverGoesOn()
    {
        // A step so large that weights overflow: the run's own fault.
        GlmJob job = KillJobs.Job("none") with { Model = new GlmModelOptions { Family = GlmFamilies.Poisson }, Training = KillJobs.Job("none").Training with { StepSize = 1e200 } };
        using var run = new CutRun("none", job);
        Assert.Equal(GlmErrors.Diverged, (await Assert.ThrowsAnyAsync<FedLearnException>(() => run.AttemptAsync())).Id);
        run.AssertOneChargeEach();
    }

    [Fact]
    public async Task Train_Stopped_GoesOnLater()
    {
        GlmJob job = KillJobs.Job("hdp", testNoise: true);
        IReadOnlyList<GlmPartyResult> whole = await CutRun.WholeAsync("hdp", job);
        using var run = new CutRun("hdp", job);
        using var stop = new CancellationTokenSource();
        GlmTrainer[] trainers = [.. KillJobs.Parties("hdp").Select(p => new GlmTrainer(job, new GlmPartyInput
        {
            Party = p, Table = KillJobs.Table("hdp", p), Ledger = new SqliteLedger(run.LedgerOf(p)), Runs = new FileRunStore(run.LedgerOf(p)),
        }))];
        int messages = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(t => t.JoinRequest)], new ChannelOptions(),
            (i, agreement, channels, cancel) => trainers[i].TrainAsync(agreement, [.. channels.Select(c => new WatchedChannel(c, null, () =>
            {
                if (Interlocked.Increment(ref messages) == 50)
                    stop.Cancel();
            }))], null, cancel), stop.Token));
        IReadOnlyList<GlmPartyResult> ended = await run.AttemptAsync();
        Assert.All(ended, r => Assert.NotEmpty(r.Resumed));
        CutRun.AssertSame(whole, ended);
        run.AssertOneChargeEach();
    }

    /// <summary>A ledger whose runs do not find what they have sent: the fault that would tell more than was charged.</summary>
    private sealed class ForgetfulLedger(IPrivacyLedger inner) : IPrivacyLedger
    {
        public string? Warning => inner.Warning;

        public IReadOnlyList<LedgerEntry> Entries => inner.Entries;

        public void Check(PrivacyCharge charge) => inner.Check(charge);

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null) => new Forgetful(inner.Reserve(charge, kept));

        public byte[]? Find(string party, string key) => inner.Find(party, key);

        private sealed class Forgetful(IPrivacyReservation inner) : IPrivacyReservation
        {
            public string RunId => inner.RunId;

            public int Kept => inner.Kept;

            public bool KeepsLocally => inner.KeepsLocally;

            public byte[]? Find(int index) => null;

            public void Keep(int index, ReadOnlySpan<byte> message)
            {
                if (index == inner.Kept)
                    inner.Keep(index, message);
            }

            public void Settle(double share) => inner.Settle(share);

            public void Dispose() => inner.Dispose();
        }
    }

    /// <summary>A store that loses a part of each state, or of what the run began with: zeros, or nothing where it may be absent.</summary>
    private static ChangedStore LossyStore(string part) => new((kind, state) =>
    {
        if (!state.Has(part))
            return null;
        byte[] zeros = new byte[part == "history" ? 0 : state.Bytes(part).Length];
        // What early stopping remembers at the start is no zero.
        if (part == "stop")
            zeros = new StateReader(kind, new StateWriter(kind).Add(part, [double.PositiveInfinity, double.PositiveInfinity, 0, 0, 0.0]).ToArray(), "test").Bytes(part).ToArray();
        return state.CopyWith(kind, part, MemoryMarshal.Cast<byte, int>(zeros));
    });

    /// <summary>A store that reads something else than was written where a change, given the kind and what was written, makes something of it.</summary>
    private sealed class ChangedStore(Func<string, StateReader, byte[]?> change) : IRunStore
    {
        private readonly InMemoryRunStore _inner = new();

        public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest) => _inner.Find(party, termsDigest);

        public IRunState Begin(RunIdentity run) => new State(_inner.Begin(run), change);

        public IRunState Continue(CutOffRun run) => new State(_inner.Continue(run), change);

        private sealed class State(IRunState inner, Func<string, StateReader, byte[]?> change) : IRunState
        {
            public RunIdentity Run => inner.Run;

            public ReadOnlyMemory<byte> ReadStart() => Changed(inner.ReadStart());

            public ReadOnlyMemory<byte> Read(int round) => Changed(inner.Read(round));

            private ReadOnlyMemory<byte> Changed(ReadOnlyMemory<byte> bytes)
            {
                const string Kind = "glm 2";
                return change(Kind, new StateReader(Kind, bytes, "test")) ?? bytes;
            }

            public void WriteStart(ReadOnlySpan<byte> start) => inner.WriteStart(start);

            public void Write(int round, ReadOnlySpan<byte> state) => inner.Write(round, state);

            public void Remove() => inner.Remove();

            public void Dispose() => inner.Dispose();
        }
    }

    /// <summary>A store that keeps the newest state alone.</summary>
    private sealed class OneStateStore(IRunStore inner) : IRunStore
    {
        public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest) => inner.Find(party, termsDigest) is { } run ? run with { Rounds = [run.Rounds[^1]] } : null;

        public IRunState Begin(RunIdentity run) => inner.Begin(run);

        public IRunState Continue(CutOffRun run) => inner.Continue(run);
    }
}
