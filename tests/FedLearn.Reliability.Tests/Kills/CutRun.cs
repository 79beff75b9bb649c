using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>All parties of a job in this process, with ledgers and states on disk, that are cut off and go on.</summary>
internal sealed class CutRun : IDisposable
{
    private readonly string _name;
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-cut-").FullName;

    public CutRun(string name, GlmJob job) => (_name, Job) = (name, job);

    public GlmJob Job { get; set; }

    public SentContents Sent { get; } = new();

    /// <summary>The tables, where they are not those of <see cref="KillJobs"/>.</summary>
    public Func<string, Data.Table>? Table { get; set; }

    /// <summary>The stores, where they are not files beside the ledgers.</summary>
    public Func<string, IRunStore>? Store { get; set; }

    /// <summary>Bytes of a message that a party takes at most, where they are not those of its channel.</summary>
    public Func<string, int?> Limit { get; set; } = _ => null;

    /// <summary>What a party brings in place of what it would.</summary>
    public Func<GlmPartyInput, GlmPartyInput> Bring { get; set; } = input => input;

    /// <summary>Wraps a ledger.</summary>
    public Func<IPrivacyLedger, IPrivacyLedger> Wrap { get; set; } = ledger => ledger;

    public string LedgerOf(string party) => FileOf(party + ".ledger.db");

    public string FileOf(string name) => Path.Combine(_folder, name);

    public IEnumerable<string> Files => Directory.GetFiles(_folder).Select(f => Path.GetFileName(f)!);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>The job as it ends when nothing happens.</summary>
    public static Task<IReadOnlyList<GlmPartyResult>> WholeAsync(string name, GlmJob job) =>
        LocalFederation.TrainAsync(job, [.. KillJobs.Parties(name).Select(p => new GlmPartyInput { Party = p, Table = KillJobs.Table(name, p) })], cancellationToken: TestContext.Current.CancellationToken);

    /// <summary>One attempt.</summary>
    /// <param name="cutAt">Who vanishes, and before which of its messages, sent or received, counted from 1; null: nobody.</param>
    /// <param name="fresh">Parties that forget what was cut off.</param>
    public Task<IReadOnlyList<GlmPartyResult>> AttemptAsync((string Party, int Message)? cutAt = null, params string[] fresh)
    {
        GlmTrainer[] trainers = [.. KillJobs.Parties(_name).Select(p => new GlmTrainer(Job, Bring(new GlmPartyInput
        {
            Party = p,
            Table = Table?.Invoke(p) ?? KillJobs.Table(_name, p),
            Ledger = Wrap(new SqliteLedger(LedgerOf(p))),
            Runs = Store?.Invoke(p) ?? new FileRunStore(LedgerOf(p)),
            Fresh = fresh.Contains(p),
        })))];
        int left = cutAt?.Message ?? int.MaxValue;
        return LocalSession.RunAsync(trainers[0].Terms, [.. trainers.Select(t => t.JoinRequest)], new ChannelOptions { ReceiveTimeout = TimeSpan.FromSeconds(60) },
            (i, agreement, channels, stop) =>
            {
                string self = KillJobs.Parties(_name)[i];
                return trainers[i].TrainAsync(agreement, [.. channels.Select(c => new WatchedChannel(c, Sent.Add, () =>
                {
                    if (self == cutAt?.Party && Interlocked.Decrement(ref left) <= 0)
                        throw WatchedChannel.Gone(c.RemoteParty);
                })
                { MaxMessageBytes = Limit(self) ?? c.MaxMessageBytes })], null, stop);
            }, TestContext.Current.CancellationToken);
    }

    /// <summary>One attempt that must be cut off.</summary>
    public async Task CutAsync(string party, int message)
    {
        PeerException error = await Assert.ThrowsAnyAsync<PeerException>(() => AttemptAsync((party, message)));
        Assert.True(error.Id is ProtocolErrors.PeerGone or ProtocolErrors.PeerAborted, error.Message);
    }

    /// <summary>Whether two results are the same in everything but times, traffic and what tells of the attempts.</summary>
    public static void AssertSame(IReadOnlyList<GlmPartyResult> whole, IReadOnlyList<GlmPartyResult> resumed)
    {
        // Their parts go together, and with those of no other run.
        Assert.NotEqual(whole[0].Model.TrainingId, Assert.Single(resumed.Select(r => r.Model.TrainingId).Distinct()));
        foreach ((GlmPartyResult one, GlmPartyResult other) in whole.Zip(resumed))
        {
            Assert.Equal(one.Model.WeightsSha256, other.Model.WeightsSha256);
            Assert.Equal(one.Train?.Named(), other.Train?.Named());
            Assert.Equal(one.Test?.Named(), other.Test?.Named());
            Assert.Equal((one.Objective, one.StopReason, one.CommonRows, one.TrainRows, one.TestRows), (other.Objective, other.StopReason, other.CommonRows, other.TrainRows, other.TestRows));
            Assert.Equal(one.History.Select(h => h with { Seconds = 0 }), other.History.Select(h => h with { Seconds = 0 }));
            Assert.Equal(one.Timing.Epochs, other.Timing.Epochs);
            Assert.Equal(one.Privacy.Claims, other.Privacy.Claims);
            Assert.Equal(one.AlignmentLeaks, other.AlignmentLeaks);
        }
    }

    /// <summary>What the ledgers must hold when one run has ended: each at most one charge, settled in full, and nothing else on disk.</summary>
    public void AssertOneChargeEach()
    {
        foreach (string party in KillJobs.Parties(_name).Where(p => File.Exists(LedgerOf(p))))
        {
            LedgerAudit audit = SqliteLedger.Audit(LedgerOf(party));
            Assert.Null(audit.Fault);
            // A run that was cut off before any party had a state in common is settled at nothing.
            Assert.True(audit.Entries.Count(e => e.Share > 0) <= 1, $"{party} has {audit.Entries.Count} charges");
            // A disclosure is written down and costs nothing.
            Assert.All(audit.Entries, e => Assert.Equal((ChargeState.Settled, e.Share > 0 ? 1 : 0), (e.State, e.Share)));
        }

        Assert.DoesNotContain(Files, f => f.Contains(".state", StringComparison.Ordinal) || f.EndsWith(".outbox", StringComparison.Ordinal));
    }
}
