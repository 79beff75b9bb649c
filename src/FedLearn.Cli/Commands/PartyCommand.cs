using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Cli.Serving;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn party: one party of a real session.</summary>
internal static class PartyCommand
{
    public static Verb Create() => new("party", """
            Take part in a session as one party. The active party listens and hosts the session; a passive party connects to it and needs no open
            port. The order of starting does not matter within transport.connectTimeoutSeconds. If the active party cannot open a port either, both
            connect to a coordinator (fedlearn coordinator), which their party files name as "relay". The arbiter of an encrypted job (privacy.mode
            he or he+dp) has a party file without data and listens too: every party connects to it.

            A party that loses another waits for it to come back, up to transport.resumeSeconds, and the run goes on. If a party was killed, start
            it again with the same command.

            To use a trained model, give --predict at every party. For a recommendation job it makes lists of items, and --evaluate measures the
            model on the held-out events. The active party chooses length and users of the lists; all parties agree on whether it may name people of
            whom it has no events (--new-users). The passive parties disclose their scores, or their vectors of these users or events, which no
            privacy claim covers. A private recommendation job whose privacy.evaluation is not disclosed is refused (FL5187). So is, for --predict
            and --serve, a private or encrypted job of a linear model whose privacy.evaluation is none (FL5120).

            With --service a party runs as a daemon, for session after session: docs/deploy.md. With --serve a passive party joins fedlearn serve at
            the active party, stays, and joins again whenever the connection was lost.

            Examples:
              fedlearn party --config bank.party.json --model models --report bank.json
              fedlearn party --config telco.party.json
              fedlearn party --config arbiter.party.json
              fedlearn party --config service.party.json --model models --predict lists.csv --k 20 --users some.txt
              fedlearn party --config taste.party.json --model models --evaluate
              fedlearn party --config telco.party.json --serve --model models
              fedlearn party --config telco.party.json --digest
              fedlearn party --service --config telco.party.json --config churn.party.json --results results --health 127.0.0.1:9090
              FEDLEARN_PARTY__TIMEOUTSECONDS=30 fedlearn party --config telco.party.json --show-config
            """, static command =>
    {
        var options = new PartyOptions();
        command.Has([.. options.All]);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            long start = Stopwatch.GetTimestamp();
            Terminal terminal = Terminal.Of(parsed);
            PartyChoice choice = options.Read(parsed);
            switch (choice.Verb)
            {
                case PartyVerb.ShowConfig:
                    ShowConfig(choice, () => options.Service(parsed, choice.Overrides), parsed.InvocationConfiguration.Output);
                    return 0;
                case PartyVerb.Service:
                    ServiceOptions service = options.Service(parsed, choice.Overrides);
                    // Sessions in progress may need all of their time after a stop; the usual limit is for verbs that do not react to it.
                    parsed.InvocationConfiguration.ProcessTerminationTimeout = service.StopTime + ServiceOptions.EndTime;
                    return await PartyService.RunAsync(choice.Files, choice.Overrides, service, terminal, cancellationToken).ConfigureAwait(false);
            }

            PartyFile file = Load(choice);
            TopKRequest lists = options.Lists(parsed);
            switch (choice.Verb)
            {
                case PartyVerb.Digest:
                    Digest(choice, file, lists, parsed.InvocationConfiguration.Output);
                    break;
                case PartyVerb.Serve:
                    await PassiveServer.RunAsync(file, choice.Model ?? Models, terminal.Log, cancellationToken).ConfigureAwait(false);
                    break;
                case PartyVerb.Predict:
                    await PredictAsync(choice, file, lists, terminal, cancellationToken).ConfigureAwait(false);
                    break;
                case PartyVerb.Evaluate:
                    await EvaluateAsync(choice, file, terminal, start, cancellationToken).ConfigureAwait(false);
                    break;
                default:
                    await TrainAsync(choice, file, terminal, start, cancellationToken).ConfigureAwait(false);
                    break;
            }

            return 0;
        });
    });

    /// <summary>Folder of models where none is given and some are read.</summary>
    private const string Models = "models";

    private static void ShowConfig(PartyChoice choice, Func<ServiceOptions> service, TextWriter output)
    {
        var shown = new JsonObject
        {
            ["parties"] = new JsonArray([.. choice.Files.Select(f => (JsonNode)EffectiveConfiguration.Of(PartyFile.Load(f, settings: choice.Overrides), choice.Overrides))]),
        };
        if (choice.IsService)
            shown["service"] = service().Shown();
        output.Write(ReportWriter.Text(shown));
    }

    /// <summary>Reads the one party file, and checks it against what is asked for.</summary>
    /// <exception cref="ConfigurationException">A fault of the file; FL2101: it is that of a party which gets no lists.</exception>
    private static PartyFile Load(PartyChoice choice)
    {
        PartyFile file = PartyFile.Load(choice.Files[0], settings: choice.Overrides);
        if (choice.Evaluates)
            file.Run.As<DssmRunFile>("party --evaluate");
        if (choice.HasLists || choice.NewUsers)
            file.Run.As<DssmRunFile>("a list of --predict");
        if (choice.HasLists && file.Self.Role != PartyRole.Active)
            throw PartyOptions.Disagree("--k, --users, --vectors and --include-met say what lists the active party makes; a passive party gets none.", "Leave them out here. --new-users is for every party.");
        return file;
    }

    private static void Digest(PartyChoice choice, PartyFile file, TopKRequest lists, TextWriter output)
    {
        // What is agreed on beside the job file counts too.
        ReadOnlyMemory<byte> terms = lists.NewUsers ? DssmTasks.TermsOf(file.Run.As<DssmRunFile>(choice.Purpose), lists).TermsDigest : file.Run.Terms(choice.Purpose).TermsDigest;
        output.WriteLine(Convert.ToHexStringLower(terms.Span));
    }

    private static async Task TrainAsync(PartyChoice choice, PartyFile file, Terminal terminal, long start, CancellationToken cancellationToken)
    {
        OutputFile.CheckApart(file.Run.StartFiles, null, choice.Places.Report, choice.Places.Html);
        OutputFile.CheckApart(file.Inputs, choice.Model, [choice.Places.Report, choice.Places.Html, .. file.Run.ModelFiles(choice.Model)]);
        SessionOrder order = SessionOrder.OfParty(file, GrpcRelay.Train) with { ModelDirectory = choice.Model, KeepsRuns = true, Fresh = choice.Fresh };
        JsonObject document = await SessionAsync(file, order, terminal, cancellationToken).ConfigureAwait(false);
        document = PartyDocument.Alone(document, Stopwatch.GetElapsedTime(start).TotalSeconds);
        if (document["arbiter"] is not { } arbiter)
        {
            ReportWriter.Write(document, terminal, choice.Places);
            return;
        }

        terminal.Log($"answered {(int)arbiter["rounds"]!} {Counted.Noun((int)arbiter["rounds"]!, "round")}");
        ReportWriter.Document(document, choice.Places);
    }

    private static async Task EvaluateAsync(PartyChoice choice, PartyFile file, Terminal terminal, long start, CancellationToken cancellationToken)
    {
        string models = choice.Model ?? Models;
        OutputFile.CheckApart([.. file.Inputs, .. file.Run.ModelFiles(models)], null, choice.Places.Report, choice.Places.Html);
        JsonObject document = await SessionAsync(file, SessionOrder.OfParty(file, GrpcRelay.Evaluate) with { ModelDirectory = models }, terminal, cancellationToken).ConfigureAwait(false);
        ReportWriter.Write(PartyDocument.Alone(document, Stopwatch.GetElapsedTime(start).TotalSeconds), terminal, choice.Places);
    }

    private static async Task PredictAsync(PartyChoice choice, PartyFile file, TopKRequest lists, Terminal terminal, CancellationToken cancellationToken)
    {
        string models = choice.Model ?? Models;
        OutputFile.CheckApart([.. file.Inputs, .. lists.Inputs, .. file.Run.ModelFiles(models)], null, [choice.Output, choice.Places.Report, .. lists.Exports]);
        SessionOrder order = SessionOrder.OfParty(file, GrpcRelay.Predict) with { ModelDirectory = models, Output = Path.GetFullPath(choice.Output!), TopK = lists };
        JsonObject document = await SessionAsync(file, order, terminal, cancellationToken).ConfigureAwait(false);
        document["transport"] = PartyTransport.Document(file.Transport);
        foreach (string warning in file.Transport.Party?.Warnings(file.Self.Name) ?? [])
            document["warnings"]!.AsArray().Add(warning);
        ReportWriter.Document(document, choice.Places);
        PredictCommand.Tell(terminal, order, [document]);
    }

    /// <summary>Takes part in one session, after what there is to say of the job and the file.</summary>
    private static Task<JsonObject> SessionAsync(PartyFile file, SessionOrder order, Terminal terminal, CancellationToken cancellationToken)
    {
        terminal.Log(order.Run.Notice);
        foreach (string note in file.Notes)
            terminal.Log($"warning: {note}");
        order = order with { Log = terminal.Log };
        return ProgressView.RunAsync(terminal, file.Self.Name, view => PartySupervisor.RunAsync(file, order, order.TaskOf(file.Self.Name, view), terminal.Log, cancellationToken));
    }

    /// <summary>Has the server of a party that listens compiled on another processor, while the command line and the files are read. Without effect but on time.</summary>
    /// <param name="args">Arguments of the tool.</param>
    public static void RehearseHost(string[] args)
    {
        if (args is not ["party", ..])
            return;
        _ = Task.Run(() =>
        {
            bool listens = false;
            for (int i = 1; i < args.Length; i++)
            {
                if (args[i] is "--digest" or "--show-config")
                    return;
                string? file = args[i - 1] == "--config" ? args[i] : args[i].StartsWith("--config=", StringComparison.Ordinal) ? args[i]["--config=".Length..] : null;
                listens |= file is not null && MayListen(file);
            }

            if (listens)
                GrpcFederationHost.Rehearse();
        });
    }

    // A passive party's file that mentions the word costs some processor time, and nothing else. Pipes are left alone, since they can be read once only; their length is 0.
    private static bool MayListen(string file)
    {
        try
        {
            return new FileInfo(file) is { Exists: true, Length: > 0 } && File.ReadAllText(file).Contains("\"listen\"", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return false; // reading the file for good reports it
        }
    }
}
