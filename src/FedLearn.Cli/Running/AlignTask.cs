using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using FedLearn.Alignment;
using FedLearn.Alignment.Ristretto;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Protocol;

namespace FedLearn.Cli.Running;

/// <summary>What <c>fedlearn align</c> is asked for.</summary>
internal sealed record AlignRequest
{
    /// <summary>Who learns what, in place of what the job says.</summary>
    public PsiOutput? Output { get; init; }

    /// <summary>Whether to prove, in place of what the job says.</summary>
    public bool? Proof { get; init; }

    /// <summary>Whether the first row with an id stands for all of them; else two are an error.</summary>
    public bool KeepFirst { get; init; }

    /// <summary>The index of the one party of this process; null where <see cref="Folder"/> says.</summary>
    public string? File { get; init; }

    /// <summary>Folder of the indexes of all parties.</summary>
    public string? Folder { get; init; }

    /// <summary>Folder for the rows that other sessions will use instead of an index; null: an index is written.</summary>
    public string? KeepIn { get; init; }

    /// <summary>Where the index of a party goes.</summary>
    public string PlaceOf(string party) => File ?? Path.Combine(Folder!, $"{party}.aligned.csv");

    /// <summary>A job with what stands in place of its own settings.</summary>
    /// <exception cref="ConfigurationException">FL2101: the settings do not go together; FL2525: the output is for two parties.</exception>
    public GlmRunFile On(GlmRunFile run)
    {
        JobAlignment alignment = run.Alignment with { Output = Output ?? run.Alignment.Output, Proof = Proof ?? run.Alignment.Proof };
        if (run.Parties.Count < 2)
            throw new ConfigurationException(RunFileErrors.Parties, $"{run.Path}: parties", "the job has one party, which has nobody to align with.", "Add a passive party.");
        if (alignment.Proof && alignment.Output == PsiOutput.SizeOnly)
            throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn align", "a proof shows which of the receiver's ids a point belongs to, which an output of the size alone hides.", "Choose one of the two.");
        if (alignment.Output != PsiOutput.Both && run.Parties.Count > 2)
            throw new ConfigurationException(AlignErrors.OutputOfTwo, $"{run.Path}: alignment.output", $"{JobAlignment.WordOf(alignment.Output)} is for two parties, and the job has {run.Parties.Count}.",
                "Write both, which every number of parties can have, or align two parties at a time.");
        // A job that trains on hashed ids can be aligned privately all the same: nothing but this verb reads the result.
        alignment = alignment with { Method = AlignmentMethod.Psi };
        return run with { Alignment = alignment, Job = run.Job with { Alignment = AlignmentMethod.Psi, AlignmentProof = alignment.Proof } };
    }

    /// <summary>Whether a party learns which of its rows are common.</summary>
    public static bool Learns(GlmRunFile run, PartyRole role) => run.Alignment.Output switch
    {
        PsiOutput.Both => true,
        PsiOutput.ActiveOnly => role == PartyRole.Active,
        PsiOutput.PassiveOnly => role == PartyRole.Passive,
        _ => false,
    };
}

/// <summary>Private set intersection between the parties of a job, and nothing else.</summary>
internal static class AlignTask
{
    /// <summary>Column of the index that has the number of the data row, the first one being 0.</summary>
    private const string RowColumn = "row";

    /// <summary>What the parties must agree on: who they are, what is told, and in what order rows come.</summary>
    /// <param name="run">The job.</param>
    /// <param name="columns">Columns of an id, as this party's file has them.</param>
    public static SessionTerms Terms(GlmRunFile run, int columns) => SessionTerms.Of(run.Name,
    [
        TermSections.Name(run.Name, "align"),
        ("alignment.output", json => json.WriteString("output", JobAlignment.WordOf(run.Alignment.Output))),
        ("alignment.proof", json => json.WriteBoolean("proof", run.Alignment.Proof)),
        ("number of id columns", json => json.WriteNumber("columns", columns)),
        ("training.seed", json => json.WriteNumber("seed", run.Job.Training.Seed)),
        TermSections.Parties(run.Job.Parties.Select(p => p.Party)),
    ], run.Job.Parties.Select(p => p.Party));

    /// <summary>What one party does.</summary>
    /// <param name="order">What all parties do.</param>
    /// <param name="run">The job, with the request's settings.</param>
    /// <param name="party">The party.</param>
    /// <param name="progress">Told how far it is; null for nobody.</param>
    public static PartyTask Of(SessionOrder order, GlmRunFile run, string party, IProgress<JobProgress>? progress)
    {
        GlmRunFileParty self = run.Party(party);
        TableSource data = run.DataOf(self);
        SessionTerms terms = Terms(run, Columns(data));
        return new PartyTask(party, terms, stop =>
        {
            PsiOptions options = Alignments.Options(order, self, out NotedLog log);
            IdTable table = IdTable.Load(data, order.Align.KeepFirst, stop);
            PartyDescription description = new(party, self.Role);
            // The order of features and their ranges is no affair of an alignment.
            var request = new JoinRequest(SessionDesk.ProtocolVersion, description, terms.JobName, terms.TermsDigest, terms.Sections, SHA256.HashData("no schema"u8));
            return new ReadyParty(request, async (agreement, channels, cancel) =>
            {
                long start = Stopwatch.GetTimestamp();
                var task = new AlignmentTask
                {
                    Role = self.Role,
                    Ids = table.Ids,
                    Seed = run.Job.Training.Seed,
                    JobDigest = agreement.JobDigest,
                    Parties = run.Parties.Count,
                    Progress = Alignments.Progress(progress),
                };
                Found found = options.Output == PsiOutput.Both ? await BothAsync(task, options, channels, cancel).ConfigureAwait(false)
                    : await PairAsync(task, options, channels[0], cancel).ConfigureAwait(false);
                foreach (IPartyChannel channel in channels)
                    await channel.CompleteAsync(cancel).ConfigureAwait(false);
                double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
                string? index = null;
                if (found.Rows is { } rows)
                {
                    if (order.Align.KeepIn is { } folder)
                        AlignedBefore.Write(folder, party, table.Ids, new AlignedRows(rows, found.Leaks, found.Warnings));
                    else
                        OutputFile.WriteCsv(index = order.Align.PlaceOf(party), Index(table, rows), ownerOnly: true);
                }

                return Document(run, self, agreement, table, found, log, channels, index, seconds);
            });
        });
    }

    /// <summary>How many columns make an id, which must be the same at every party.</summary>
    private static int Columns(TableSource data) => System.IO.Path.GetExtension(data.Path).ToLowerInvariant() is not ".csv" ? 1
        : CsvTable.IdNames(data, data.Schema is { } schema ? TableSchema.Load(schema) : null).Length;

    private static async Task<Found> BothAsync(AlignmentTask task, PsiOptions options, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        AlignedRows aligned = await ChannelGuard.RunAsync(channels, () => new PsiAlignment(options).AlignAsync(task, channels, cancellationToken)).ConfigureAwait(false);
        return new Found(aligned.Rows, aligned.Rows.Length, aligned.Leaks, aligned.Warnings, RistrettoEngines.Create(options.Engine).Name);
    }

    private static async Task<Found> PairAsync(AlignmentTask task, PsiOptions options, IPartyChannel channel, CancellationToken cancellationToken)
    {
        PsiResult result = await PsiParty.RunAsync(task.Role, task.Ids, task.JobDigest, channel, options, task.Progress, cancellationToken).ConfigureAwait(false);
        int[]? rows = result.Rows is { } common ? RowIds.Order(task.Ids, common, task.Seed) : null;
        return new Found(rows, rows?.Length ?? result.Size, [.. LeaksOf(options, task.Role, channel.RemoteParty, result)], result.Warnings, result.Engine);
    }

    private static IEnumerable<string> LeaksOf(PsiOptions options, PartyRole role, string peer, PsiResult result)
    {
        string padded = options.PadTo > 1 ? $", here a multiple of {options.PadTo.ToString(CultureInfo.InvariantCulture)}" : "";
        yield return $"each of the two parties learns how many ids the other announces{padded}";
        bool learns = options.Output == (role == PartyRole.Active ? PsiOutput.ActiveOnly : PsiOutput.PassiveOnly), sizeOnly = options.Output == PsiOutput.SizeOnly;
        yield return sizeOnly ? "each of the two parties learns how many ids are common, and not which"
            : learns ? $"this party learns which of its ids '{peer}' has, and '{peer}' does not learn which of its own are common" : $"'{peer}' learns which of its ids this party has, and this party does not learn which of its own are common";
        if (!learns)
            yield return string.Create(CultureInfo.InvariantCulture,
                $"a party that brings invented ids learns {(sizeOnly ? "how many" : "which")} of them the other has: in this session '{peer}' brought {result.PeerIds}");
    }

    /// <summary>The index: row of the table and id, in the common order.</summary>
    private static IEnumerable<string[]> Index(IdTable table, int[] rows) => rows
        .Select(row => (string[])[table.Rows[row].ToString(CultureInfo.InvariantCulture), .. table.Ids[row].Split(RowIds.ColumnSeparator)])
        .Prepend([table.Columns.Contains(RowColumn) ? $"{RowColumn}_number" : RowColumn, .. table.Columns]);

    private static JsonObject Document(GlmRunFile run, GlmRunFileParty self, SessionAgreement agreement, IdTable table, Found found, NotedLog log, IReadOnlyList<IPartyChannel> channels,
        string? index, double seconds) => new()
        {
            ["tool"] = ReportParts.Tool(),
            ["job"] = new JsonObject { ["name"] = run.Name, ["digest"] = Convert.ToHexStringLower(agreement.JobDigest.Span) },
            ["alignment"] = new JsonObject
            {
                ["method"] = "psi",
                ["suite"] = PsiSession.Suite,
                ["output"] = JobAlignment.WordOf(run.Alignment.Output),
                ["proof"] = run.Alignment.Proof,
                ["commonRows"] = found.Size,
                ["leaks"] = ReportParts.Texts(found.Leaks),
                ["warnings"] = ReportParts.Texts([.. found.Warnings, .. SmallOverlap.Warnings(self.Name, table.Ids.Length, found.Size), .. run.Transport.Party?.Warnings(self.Name) ?? []]),
            },
            ["parties"] = new JsonArray(new JsonObject
            {
                ["name"] = self.Name,
                ["role"] = Words.Of(self.Role),
                ["ids"] = table.Ids.Length,
                ["repeatedRows"] = table.Repeated,
                ["commonRows"] = found.Size,
                ["index"] = index,
                ["engine"] = found.Engine,
                ["seconds"] = seconds,
                ["idsPerSecond"] = seconds > 0 ? table.Ids.Length / seconds : null,
                ["bytesSent"] = channels.Sum(c => c.Statistics.BytesSent),
                ["bytesReceived"] = channels.Sum(c => c.Statistics.BytesReceived),
                ["peakMemoryBytes"] = ReportParts.PeakMemory(),
                ["transport"] = PartyTransport.Document(run.Transport),
                ["sessions"] = new JsonArray([.. log.Sessions.Select(s => (JsonNode)new JsonObject
                {
                    ["peer"] = s.Record.Peer,
                    ["session"] = s.Record.Session,
                    ["ownIds"] = s.Record.OwnIds,
                    ["peerIds"] = s.Record.PeerIds,
                    ["commonIds"] = s.Common,
                    ["resumed"] = s.Resumed,
                })]),
            }),
        };

    /// <summary>What a party has after an alignment.</summary>
    /// <param name="Rows">Own rows in the common order; null where it does not learn them.</param>
    /// <param name="Size">How many; null where it does not learn it.</param>
    /// <param name="Leaks">What was told besides.</param>
    /// <param name="Warnings">What a user should know.</param>
    /// <param name="Engine">What computed.</param>
    private sealed record Found(int[]? Rows, int? Size, IReadOnlyList<string> Leaks, IReadOnlyList<string> Warnings, string Engine);
}
