using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Alignment;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;
using Spectre.Console;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn align: private set intersection of the parties' ids, and nothing else.</summary>
internal static class AlignCommand
{
    public static Verb Create() => new("align", """
            Find the rows that all parties have by private set intersection, without training: nobody learns an id that it does not have itself.

            Each party reads its id column or columns and nothing else of its table. It writes an index: a CSV file with one line for each common row,
            in the same order at every party. A line has the number of the data row (row; the first one below the header is 0) and the id. Parties
            name their tables, ids and limits as for training. data.id may be an array of columns, which make an id together.

            Each side learns how many ids the other announces. A side could bring invented ids to learn which of them the other has.
            alignment.peerIds and sessionsPerDay of the run file limit that, and every session is written to the party's ledger (fedlearn ledger
            show). If an alignment was killed, start it again at both sides: it goes on where it was.

            Examples:
              fedlearn align --config bank.party.json                              at the bank
              fedlearn align --config telco.party.json --out common.csv            at the telephone company
              fedlearn align --config bank.party.json --output size-only           how many, before anybody decides; run it at both
              fedlearn align --config bank.party.json --output active-only         only the party with the labels learns which
              fedlearn align --config job.json --out indexes                       all parties here, for a trial
            """, static command =>
    {
        Option<string> config = Options.Config("Party file: this party meets the others. Or job file: all parties run on this machine.");
        var place = new Option<string?>("--out")
        {
            Description = "Party file: the index to write, default NAME.aligned.csv beside the file. Job file: the folder of every party's NAME.aligned.csv, default that of the file.",
            HelpName = "FILE|DIR",
        };
        WordOption<PsiOutput> output = Options.Word("--output", "Who learns what, in place of alignment.output of the job; the same at every party. Others than both are for two parties.", JobAlignment.Outputs);
        output.Required = false; // without it the job's own word holds
        var proof = new Option<bool?>("--proof")
        {
            Description = "Prove to each other that one secret was used for all ids, in place of alignment.proof of the job; the same at every party. Takes about three times as long with libsodium; not with size-only.",
            HelpName = "true|false",
        };
        WordOption<DuplicateIds> duplicates = Options.Word("--duplicates", "Rows with the same id: refuse is an error, as it is for every other verb; first keeps the first such row in the index and leaves the others out. "
            + "Jobs need one row an id, so repeated ones are for looking before a table is made.", [("refuse", DuplicateIds.Refuse), ("first", DuplicateIds.KeepFirst)], DuplicateIds.Refuse);
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        Option<string?> report = Options.Report();
        command.Has(config, place, output, proof, duplicates, inProcess, report, json);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            long start = Stopwatch.GetTimestamp();
            Terminal terminal = Terminal.Of(parsed);
            string path = parsed.GetRequiredValue(config);
            var request = new AlignRequest
            {
                Output = output.In(parsed),
                Proof = parsed.GetValue(proof),
                KeepFirst = duplicates.Of(parsed) == DuplicateIds.KeepFirst,
            };
            string? wanted = parsed.GetValue(place);
            var places = ReportPlaces.Of(parsed, json, report);
            IReadOnlyList<JsonObject> documents = IsJob(path) ? await AllAsync(path, request, wanted, places.Report, parsed.GetValue(inProcess), terminal, cancellationToken).ConfigureAwait(false)
                : [await PartyAsync(path, request, wanted, places.Report, parsed.GetValue(inProcess), terminal, cancellationToken).ConfigureAwait(false)];
            JsonObject document = Merge(documents);
            document["timing"] = new JsonObject { ["totalSeconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds };
            document = ReportParts.ReadBack(document);
            ReportWriter.Document(document, places);
            Show(document, terminal);
        });
    });

    private static async Task<JsonObject> PartyAsync(string path, AlignRequest request, string? wanted, string? report, bool inProcess, Terminal terminal, CancellationToken cancellationToken)
    {
        PartyFile file = PartyFile.Load(path, alignsOnly: true, FileOverrides.Here([]));
        if (inProcess)
            throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn align", "--in-process is about all parties of a job, and the file is that of one party.", "Leave it out, or give the job file.");
        if (file.Self.Role == PartyRole.Arbiter)
            throw new ConfigurationException(RunFileErrors.Parties, $"{path}: party", "the arbiter has no ids to align.", "Give the file of a party that has data.");
        GlmRunFile run = request.On(file.Run.As<GlmRunFile>(GrpcRelay.Align)) with { Transport = file.Transport };
        bool learns = AlignRequest.Learns(run, file.Self.Role);
        if (wanted is not null && !learns)
            throw new ConfigurationException(AlignErrors.NoIndexHere, "--out", $"with the output {JobAlignment.WordOf(run.Alignment.Output)} this party does not learn which of its rows are common.",
                "Leave --out out, or agree on another output with the other party.");
        string index = Path.GetFullPath(wanted ?? Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, $"{file.Self.Name}.aligned.csv"));
        OutputFile.CheckApart(file.Inputs, null, learns ? index : null, report);
        foreach (string note in file.Notes)
            terminal.Log($"warning: {note}");
        return await ProgressView.RunAsync(terminal, file.Self.Name, view =>
        {
            PartyTask task = new SessionOrder(run, GrpcRelay.Align) { Align = request with { File = index }, Log = terminal.Log }.TaskOf(file.Self.Name, view);
            TransportSettings transport = file.TransportFor(GrpcRelay.Align);
            return file.Hosts
                ? GrpcParty.HostAsync(task, file.Listen, transport, address => terminal.Log(file.Listening(address)), terminal.Log, cancellationToken)
                : GrpcParty.JoinAsync(task, file.ActiveParty!, transport, cancellationToken);
        }).ConfigureAwait(false);
    }

    private static async Task<IReadOnlyList<JsonObject>> AllAsync(string path, AlignRequest request, string? wanted, string? report, bool inProcess, Terminal terminal, CancellationToken cancellationToken)
    {
        GlmRunFile run = request.On(RunFile.Load(path, [], alignsOnly: true).As<GlmRunFile>(GrpcRelay.Align));
        string folder = Path.GetFullPath(wanted ?? run.Directory);
        var order = new SessionOrder(run, GrpcRelay.Align) { Align = request with { Folder = folder } };
        OutputFile.CheckApart(run.Inputs, folder, [report, .. run.Parties.Select(p => order.Align.PlaceOf(p.Name))]);
        return await ProgressView.RunAsync(terminal, order.Parties[0], view => SessionRunner.RunAsync(order, inProcess, view, terminal.Log, cancellationToken)).ConfigureAwait(false);
    }

    // A job lists its parties, and a party file names its job. What is wrong with either is found by whoever reads it.
    private static bool IsJob(string path) => JsonFile.At(FileSchema.Read(path), "parties").ValueKind != JsonValueKind.Undefined;

    private static JsonObject Merge(IReadOnlyList<JsonObject> documents)
    {
        JsonObject merged = documents[0].DeepClone().AsObject();
        JsonObject alignment = merged["alignment"]!.AsObject();
        foreach (JsonObject other in documents.Skip(1))
        {
            merged["parties"]!.AsArray().Add(other["parties"]![0]!.DeepClone());
            alignment["commonRows"] ??= other["alignment"]!["commonRows"]?.DeepClone();
            ReportParts.AddAlignment(merged, other);
        }

        return merged;
    }

    private static void Show(JsonObject document, Terminal terminal)
    {
        Table table = Terminal.Table("party", "ids", "common", "seconds", "ids/s", "sent", "received", "peak memory");
        foreach (JsonObject party in ReportParts.Parties(document))
            table.AddRow(Markup.Escape((string)party["name"]!), Count(party["ids"]), party["commonRows"] is null ? "not told" : Count(party["commonRows"]), ReportWriter.Number(party["seconds"]),
                party["idsPerSecond"] is { } speed ? ((double)speed).ToString("0", CultureInfo.InvariantCulture) : "-",
                ReportWriter.Bytes((long)party["bytesSent"]!), ReportWriter.Bytes((long)party["bytesReceived"]!), ReportWriter.Bytes((long)party["peakMemoryBytes"]!));
        terminal.Styled.Write(table);
        if (document["alignment"]!["commonRows"] is { } common && (long)common == 0)
            terminal.Log("no id is common: check that the id columns hold the same kind of id, written the same way");
        foreach (JsonObject party in ReportParts.Parties(document))
        {
            string name = (string)party["name"]!;
            if ((long)party["repeatedRows"]! > 0)
                terminal.Log($"{name}: {Count(party["repeatedRows"])} {((long)party["repeatedRows"]! == 1 ? "row has the id of an earlier one and was" : "rows have the id of an earlier one and were")} left out");
            terminal.Log(party["index"] is { } index ? $"{name}: {(string)index!}" : $"{name}: no index, since the output is {(string)document["alignment"]!["output"]!}");
        }

        foreach (string leak in ReportParts.Strings(document["alignment"]!["leaks"]))
            terminal.Log($"disclosed: {leak}");
        foreach (string warning in ReportParts.Strings(document["alignment"]!["warnings"]))
            terminal.Log($"warning: {warning}");
    }

    private static string Count(JsonNode? count) => ((long)count!).ToString(CultureInfo.InvariantCulture);
}
