using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>One party of a job in a process of its own, which the tests kill: as <c>fedlearn party</c> runs it, without reading files.</summary>
internal static class KillChild
{
    /// <summary>How long a party waits for one that was killed.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    /// <summary>Where a party's model is: of a test, its digest alone.</summary>
    public static string ModelOf(string folder, string party) => Path.Combine(folder, party + ".model");

    /// <summary>Runs a party. Lines on standard output: <c>ready</c>, <c>sent</c> for each message, <c>result SHA METRICS ATTEMPTS</c>.</summary>
    /// <param name="name">Name of the job.</param>
    /// <param name="noise"><c>test</c> or <c>secure</c>.</param>
    /// <param name="epochs">Epochs.</param>
    /// <param name="party">The party.</param>
    /// <param name="folder">Where ledger, states and the record of what was sent are.</param>
    /// <param name="port">Where the active party listens.</param>
    /// <param name="hold">Where it says so and waits for a line: <c>saving</c>, before it saves its model, or <c>heard</c>, when the active party has heard the end of the last peer. Null: nowhere.</param>
    public static async Task<int> RunAsync(string name, string noise, string epochs, string party, string folder, string port, string? hold)
    {
        GlmJob job = KillJobs.Job(name, noise == "test", int.Parse(epochs, CultureInfo.InvariantCulture), every: 5);
        string ledger = Path.Combine(folder, party + ".ledger.db");
        using var sent = new StreamWriter(new FileStream(Path.Combine(folder, party + ".sent"), FileMode.Append, FileAccess.Write, FileShare.Read)) { AutoFlush = true };
        using var said = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        void Hold(string at)
        {
            if (at != hold)
                return;
            said.WriteLine(at);
            Console.In.ReadLine();
        }

        var task = new PartyTask(party, GlmJobTerms.Of(job), _ =>
        {
            var trainer = new GlmTrainer(job, new GlmPartyInput
            {
                Party = party,
                Table = KillJobs.Table(name, party),
                Ledger = new RecordingLedger(new SqliteLedger(ledger), sent),
                Runs = new FileRunStore(ledger),
                SaveModel = model =>
                {
                    Hold("saving");
                    File.WriteAllText(ModelOf(folder, party), model.WeightsSha256);
                },
            });
            return new ReadyParty(trainer.JoinRequest, async (agreement, channels, stop) =>
            {
                GlmPartyResult result = await trainer.TrainAsync(agreement, [.. channels.Select(c => new WatchedChannel(c, (message, digest) =>
                {
                    // On disk before it leaves: a message that a peer has seen is in the record.
                    lock (sent)
                        sent.WriteLine($"{message}\t{digest}");
                    said.WriteLine("sent");
                }, heard: () =>
                {
                    if (c.RemoteParty == KillJobs.Parties(name)[^1])
                        Hold("heard");
                }))], null, stop).ConfigureAwait(false);
                return new JsonObject
                {
                    ["weights"] = result.Model.WeightsSha256,
                    ["train"] = result.Train?.Auc,
                    ["test"] = result.Test?.Auc,
                    ["resumed"] = result.Resumed.Count,
                };
            });
        })
        { KeepsRuns = true };
        var limits = new TransportSettings { ConnectTimeout = Patience, ResumeTimeout = Patience, Timeout = TimeSpan.FromSeconds(60) };
        var address = new Uri($"http://127.0.0.1:{port}");
        said.WriteLine("ready");
        try
        {
            JsonObject result = party == KillJobs.Parties(name)[0]
                ? await PartySupervisor.HostAsync(task, address, limits, _ => { }, Console.Error.WriteLine, CancellationToken.None).ConfigureAwait(false)
                : await PartySupervisor.JoinAsync(task, address, limits, Console.Error.WriteLine, CancellationToken.None).ConfigureAwait(false);
            said.WriteLine("result " + result.ToJsonString());
            return 0;
        }
        catch (FedLearnException e)
        {
            Console.Error.WriteLine(e.Message);
            return e.ExitCode;
        }
        catch (UnauthorizedAccessException)
        {
            // The model: something is in its place.
            return 2;
        }
    }

    /// <summary>A ledger that records the noised values that stay at the party, as the channel records messages.</summary>
    private sealed class RecordingLedger(IPrivacyLedger inner, StreamWriter kept) : IPrivacyLedger
    {
        public string? Warning => inner.Warning;

        public IReadOnlyList<LedgerEntry> Entries => inner.Entries;

        public void Check(PrivacyCharge charge) => inner.Check(charge);

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? release = null) => new Recording(inner.Reserve(charge, release), kept);

        public byte[]? Find(string party, string key) => inner.Find(party, key);

        private sealed class Recording(IPrivacyReservation inner, StreamWriter kept) : IPrivacyReservation
        {
            public string RunId => inner.RunId;

            public int Kept => inner.Kept;

            public int KeepsAtLeast => inner.KeepsAtLeast;

            public bool KeepsLocally => inner.KeepsLocally;

            public byte[]? Find(int index) => inner.Find(index);

            public void Prepare(int bytes, int messages) => inner.Prepare(bytes, messages);

            public void Keep(int index, ReadOnlySpan<byte> message) => inner.Keep(index, message);

            public byte[]? FindLocal(int index)
            {
                byte[]? found = inner.FindLocal(index);
                if (found is { } value)
                    Record(index, value);
                return found;
            }

            public void KeepLocal(int index, ReadOnlySpan<byte> value)
            {
                inner.KeepLocal(index, value);
                Record(index, value);
            }

            public void Settle(double share) => inner.Settle(share);

            public void Dispose() => inner.Dispose();

            private void Record(int index, ReadOnlySpan<byte> value)
            {
                string digest = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(value))[..32];
                lock (kept)
                    kept.WriteLine(string.Create(CultureInfo.InvariantCulture, $"local value {index}\t{digest}"));
            }
        }
    }
}
