using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Alignment;
using FedLearn.Alignment.Ristretto;
using FedLearn.Cli.RunFiles;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>How a party of a job finds its common rows on this machine.</summary>
internal static class Alignments
{
    /// <summary>What a party aligns with; null for hashed ids between machines, which need nothing.</summary>
    /// <param name="order">What all parties do.</param>
    /// <param name="self">The party.</param>
    /// <exception cref="InternalFailureException">FL6160: libsodium is missing.</exception>
    /// <exception cref="FedLearnException">The ledger, which holds the log of alignments, cannot be used.</exception>
    public static IEntityAlignment? Of(SessionOrder order, RunFileParty self)
    {
        if (order.Run.Alignment.Method != AlignmentMethod.Psi)
            return order.Run.Transport.Party is null ? HashedAlignment.OfOneMachine : null;
        return order.Aligned is { } folder ? new AlignedBefore(folder, self.Name) : new PsiAlignment(Options(order, self, out _));
    }

    // A party waits this many times the limit of one message while the active party aligns with the others.
    private const int MostWaits = 60;

    /// <summary>Settings of private set intersection, with the log of alignments in the party's ledger.</summary>
    /// <param name="order">What all parties do.</param>
    /// <param name="self">The party.</param>
    /// <param name="log">What will be known of the sessions.</param>
    public static PsiOptions Options(SessionOrder order, RunFileParty self, out NotedLog log)
    {
        // Made before a peer is met, so that a library which this machine lacks is no error in the middle of a session.
        RistrettoEngines.Create(self.Alignment.Engine);
        log = new NotedLog(new SqliteAlignmentLog(self.Ledger.Path), order.Log);
        JobAlignment job = order.Run.Alignment;
        return new PsiOptions
        {
            Output = job.Output,
            Proof = job.Proof,
            PadTo = self.Alignment.PadTo,
            Threads = self.Alignment.Threads,
            Engine = self.Alignment.Engine,
            StateDirectory = StateOf(order, self.Alignment),
            Log = log,
            Caps = self.Alignment.Caps,
            WaitLimit = MostWaits * order.Run.Transport.Timeout,
        };
    }

    // By the job's digest, and by what is done: a training and a prediction of one job are two sessions.
    private static string StateOf(SessionOrder order, PartyAlignment alignment) => alignment.NamesState ? alignment.State
        : Path.Combine(alignment.State, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{order.Verb}\n{order.Run.Digest(GrpcRelay.Train)}")))[..16]);

    /// <summary>Tells progress of an alignment as progress of a job; null for nobody.</summary>
    public static IProgress<AlignmentProgress>? Progress(IProgress<JobProgress>? progress) => progress is null ? null : new SynchronousProgress<AlignmentProgress>(p =>
        progress.Report(new JobProgress(p.Party, $"alignment with '{p.Peer}', step", (int)Math.Min(p.Done, int.MaxValue), (int)Math.Min(p.Total, int.MaxValue), null)));
}

/// <summary>A log in a party's ledger that remembers what this process wrote to it.</summary>
/// <param name="inner">The log.</param>
/// <param name="say">Told of a session that is taken up again; null for nobody.</param>
internal sealed class NotedLog(SqliteAlignmentLog inner, Action<string>? say) : IAlignmentLog
{
    private readonly List<(AlignmentRecord Record, bool Resumed)> _sessions = [];
    private readonly Dictionary<string, long?> _common = [];
    private readonly Lock _gate = new();

    /// <summary>Sessions of this process: the record, whether it goes on with an interrupted one, ids found common.</summary>
    public IReadOnlyList<(AlignmentRecord Record, bool Resumed, long? Common)> Sessions
    {
        get
        {
            lock (_gate)
                return [.. _sessions.Select(s => (s.Record, s.Resumed, _common.GetValueOrDefault(s.Record.Session)))];
        }
    }

    /// <inheritdoc />
    public void Begin(AlignmentRecord record, AlignmentCaps caps)
    {
        bool resumed = inner.Alignments.Any(a => a.Record.Session == record.Session && a.Record.Party == record.Party);
        inner.Begin(record, caps);
        lock (_gate)
            _sessions.Add((record, resumed));
        if (resumed)
            say?.Invoke($"going on with the interrupted alignment with '{record.Peer}'");
    }

    /// <inheritdoc />
    public void End(string session, long? commonIds)
    {
        inner.End(session, commonIds);
        lock (_gate)
            _common[session] = commonIds;
    }
}

/// <summary>Rows that an earlier session of the same tables found: the runs of a comparison align once.</summary>
/// <param name="folder">Folder of the files that <see cref="Write"/> made.</param>
/// <param name="party">The party.</param>
internal sealed class AlignedBefore(string folder, string party) : IEntityAlignment
{
    /// <inheritdoc />
    public AlignmentMethod Method => AlignmentMethod.Psi;

    /// <summary>Writes down what a session found.</summary>
    /// <param name="folder">Folder, which nobody but the user of this process can read.</param>
    /// <param name="party">The party.</param>
    /// <param name="ids">Its ids.</param>
    /// <param name="aligned">What the session found.</param>
    public static void Write(string folder, string party, IReadOnlyList<string> ids, AlignedRows aligned) => OutputFile.Write(PathOf(folder, party), new JsonObject
    {
        ["ids"] = Digest(ids),
        ["rows"] = Convert.ToBase64String(MemoryMarshal.AsBytes<int>(aligned.Rows)),
        ["leaks"] = ReportParts.Texts(aligned.Leaks),
        ["warnings"] = ReportParts.Texts(aligned.Warnings),
    }.ToJsonString());

    /// <inheritdoc />
    public Task<AlignedRows> AlignAsync(AlignmentTask task, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
    {
        JsonNode found = JsonNode.Parse(File.ReadAllText(PathOf(folder, party)))!;
        if ((string)found["ids"]! != Digest(task.Ids))
            throw new BadInputException(AlignErrors.TableChanged, $"party '{party}'", "the ids of the table changed while the runs were under way.", "Leave the files alone, and start again.");
        int[] rows = MemoryMarshal.Cast<byte, int>(Convert.FromBase64String((string)found["rows"]!)).ToArray();
        return Task.FromResult(new AlignedRows(RowIds.Order(task.Ids, rows, task.Seed), [.. ReportParts.Strings(found["leaks"])], [.. ReportParts.Strings(found["warnings"])]));
    }

    private static string PathOf(string folder, string party) => Path.Combine(folder, $"{party}.rows.json");

    private static string Digest(IReadOnlyList<string> ids)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] text = [];
        foreach (string id in ids)
        {
            int most = sizeof(int) + Encoding.UTF8.GetMaxByteCount(id.Length);
            if (text.Length < most)
                text = new byte[2 * most];
            // The length before each, so that no two lists are one text.
            int length = Encoding.UTF8.GetBytes(id, text.AsSpan(sizeof(int)));
            BinaryPrimitives.WriteInt32LittleEndian(text, length);
            hash.AppendData(text, 0, sizeof(int) + length);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}

/// <summary>One alignment for all runs of a comparison or a cross-validation, whose parties are all on this machine.</summary>
internal sealed class AlignedOnce : IDisposable
{
    private AlignedOnce(string folder) => Folder = folder;

    /// <summary>Folder of the rows.</summary>
    public string Folder { get; }

    /// <summary>Aligns; null where the job does not align by private set intersection.</summary>
    /// <param name="run">The job.</param>
    /// <param name="inProcess">Whether all parties run in this process.</param>
    /// <param name="log">Told what happens.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task<AlignedOnce?> RunAsync(GlmRunFile run, bool inProcess, Action<string> log, CancellationToken cancellationToken)
    {
        if (run.Alignment.Method != AlignmentMethod.Psi)
            return null;
        var once = new AlignedOnce(Directory.CreateTempSubdirectory("fedlearn-aligned-").FullName);
        try
        {
            log("aligning once for all runs");
            await SessionRunner.RunAsync(new SessionOrder(run, GrpcRelay.Align) { Align = new AlignRequest { KeepIn = once.Folder } }, inProcess, null, log, cancellationToken).ConfigureAwait(false);
            return once;
        }
        catch
        {
            once.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
