using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Recommend;
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
            Take part in a session as one party. The active party listens and hosts the coordinator; a passive party connects to it
            and needs no open port. Where the active party cannot open one either, both connect to a coordinator (fedlearn coordinator)
            and their party files name it as "relay". A party that loses another waits for it to come back, up to transport.resumeSeconds,
            and the run goes on; one that was killed is started again with the same command. The arbiter of an encrypted job
            (privacy.mode he or he+dp) has a party file without data and
            listens too: every party connects to it. Order of starting does not matter within transport.connectTimeoutSeconds.
            With a trained model every party gives --predict; of a recommendation job it makes lists of items, and --evaluate measures the
            model on the held-out events. Length and users of the lists are the active party's choice; whether it may name people of whom it
            has no events is agreed on (--new-users). The passive parties disclose their scores, or their vectors of these users or events,
            which no privacy claim covers; a private recommendation job whose privacy.evaluation is not disclosed is refused (FL5187), and so is,
            for --predict and --serve, a private or encrypted job of a linear model whose privacy.evaluation is none (FL5120).
            With --service a party stays for session after session, as a daemon does: docs/deploy.md.
            With --serve a passive party joins fedlearn serve at the active party, stays, and joins again whenever the connection was lost.

            Examples:
              fedlearn party --config bank.party.json --model models --report bank.json
              fedlearn party --config telco.party.json
              fedlearn party --config arbiter.party.json
              fedlearn party --config service.party.json --model models --predict lists.csv --k 20 --users some.txt
              fedlearn party --config taste.party.json --model models --evaluate
              fedlearn party --config telco.party.json --serve --model models
              fedlearn party --config telco.party.json --digest
              fedlearn party --service --config telco.party.json --config churn.party.json --results results --health 127.0.0.1:9090
              FEDLEARN_PARTY__PEERS__BANK=10.0.0.5:5301 fedlearn party --config telco.party.json --show-config
            """, static command =>
    {
        var config = new Option<string[]>("--config") { Description = "Party file (JSON with comments): job, party, data, listen or peers. With --service once for each job.", Required = true, HelpName = "FILE" };
        Option<bool> json = Options.Json();
        var model = new Option<string?>("--model") { Description = "Save this party's part of the model as DIR/PARTY.model.json; --predict, --evaluate and --serve read it there. Default for these: models.", HelpName = "DIR" };
        var predict = new Option<string?>("--predict")
        {
            Description = "Predict with the model of --model instead of training; the active party writes id,score,prediction here (recommendation jobs: the users' lists), a passive party gives any name.",
            HelpName = "FILE",
        };
        var evaluate = new Option<bool>("--evaluate") { Description = "Recommendation jobs: evaluate the model of --model instead of training, as recommend evaluate does; the active party has the figures." };
        var lists = new TopKOptions();
        var newUsers = new Option<bool>("--new-users")
        {
            Description = "With --predict, at every party or at none: --users may name people of whom the active party has no events; passive parties send their vectors too.",
        };
        var serve = new Option<bool>("--serve") { Description = "Passive party: answer the active party's online predictions with the model of --model, and do nothing else, until Ctrl-C." };
        var service = new Option<bool>("--service") { Description = "Stay: take part in one session after the other, of one or several jobs, each by itself, until SIGTERM or Ctrl-C. An active party's job runs once." };
        var results = new Option<string?>("--results") { Description = "With --service: folder of results, JOB/PARTY/TIME-SESSION with report and model. Default results.", HelpName = "DIR" };
        var health = new Option<string?>("--health") { Description = "With --service: answer GET /healthz and GET /readyz at this address. Default: nowhere.", HelpName = "HOST:PORT" };
        Option<double?> stopSeconds = Options.Number("--stop-seconds", "With --service: how long a stop waits for sessions to end; above 0, at most 3600. Default 30.", required: false);
        var set = new Option<string[]>("--set") { Description = "A value in place of one of the party file's, such as timeoutSeconds=30 or peers.bank=10.0.0.5:5301. Stands above FEDLEARN_PARTY__TIMEOUTSECONDS, and that above the file.", HelpName = "KEY=VALUE" };
        var showConfig = new Option<bool>("--show-config") { Description = "Print the values that hold and where each comes from, as JSON, and stop." };
        var digest = new Option<bool>("--digest") { Description = "Print the SHA-256 of the job's terms, which must be equal at every party, and stop." };
        Option<string?> report = CommonOptions.Report(), html = CommonOptions.Html();
        Option<bool> fresh = CommonOptions.Fresh();
        command.Has([config, model, predict, .. lists.All, newUsers, evaluate, serve, fresh, service, results, health, stopSeconds, set, showConfig, report, html, digest, json]);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            long start = Stopwatch.GetTimestamp();
            Terminal terminal = Terminal.Of(parsed);
            string[] files = parsed.GetRequiredValue(config);
            FileOverrides overrides = FileOverrides.Here(parsed.GetValue(set) ?? []);
            bool serves = parsed.GetValue(service);
            if (!serves && files.Length > 1)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "several party files are for a service.", "Give --service as well, or one --config.");
            if (!serves && (parsed.GetValue(results) is not null || parsed.GetValue(health) is not null || parsed.GetValue(stopSeconds) is not null))
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "--results, --health and --stop-seconds are about a service.", "Give --service as well.");
            if (parsed.GetValue(showConfig))
            {
                var shown = new JsonObject { ["parties"] = new JsonArray([.. files.Select(f => (JsonNode)EffectiveConfiguration.Of(PartyFile.Load(f, settings: overrides), overrides))]) };
                if (serves)
                    shown["service"] = ServiceOptions.Of(overrides, parsed.GetValue(results), parsed.GetValue(health), parsed.GetValue(stopSeconds)).Shown();
                parsed.InvocationConfiguration.Output.Write(ReportWriter.Text(shown));
                return 0;
            }

            bool evaluates = parsed.GetValue(evaluate), hasLists = lists.IsAnyIn(parsed);
            if (parsed.GetValue(predict) is null ? hasLists || parsed.GetValue(newUsers) : evaluates)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", evaluates ? "an evaluation makes no lists." : "--k, --users, --vectors, --include-met and --new-users are about the lists of --predict.",
                    evaluates ? "Leave --predict and its options out, or --evaluate." : "Give --predict as well, or leave them out.");
            if (serves)
            {
                if (parsed.GetValue(predict) is not null || evaluates || parsed.GetValue(report) is not null || parsed.GetValue(html) is not null || parsed.GetValue(json)
                    || parsed.GetValue(model) is not null || parsed.GetValue(serve) || parsed.GetValue(digest))
                    throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "--service trains in session after session, and keeps the results of each under --results.",
                        "Leave --serve, --digest, --model, --predict, --evaluate, --report, --html and --json out.");
                ServiceOptions options = ServiceOptions.Of(overrides, parsed.GetValue(results), parsed.GetValue(health), parsed.GetValue(stopSeconds));
                // Sessions in progress may need all of their time after a stop; the tool's own limit is for verbs that do not listen to it.
                parsed.InvocationConfiguration.ProcessTerminationTimeout = options.StopTime + ServiceOptions.EndTime;
                return await PartyService.RunAsync(new ServiceRequest(files, overrides, options.Results, options.Health, options.StopTime), terminal, cancellationToken).ConfigureAwait(false);
            }

            PartyFile file = PartyFile.Load(files[0], settings: overrides);
            if (evaluates)
                file.Run.As<DssmRunFile>("party --evaluate");
            if (hasLists || parsed.GetValue(newUsers))
                file.Run.As<DssmRunFile>("a list of --predict");
            if (hasLists && file.Self.Role != PartyRole.Active)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "--k, --users, --vectors and --include-met say what lists the active party makes; a passive party gets none.",
                    "Leave them out here. --new-users is for every party.");
            TopKRequest request = lists.Read(parsed, parsed.GetValue(newUsers));
            if (parsed.GetValue(digest))
            {
                string purpose = parsed.GetValue(serve) ? "serve" : parsed.GetValue(predict) is not null ? "predict" : evaluates ? "evaluate" : "train";
                // What is agreed on beside the job file counts too.
                ReadOnlyMemory<byte> terms = request.NewUsers ? DssmTasks.TermsOf(file.Run.As<DssmRunFile>(purpose), request).TermsDigest : file.Run.Terms(purpose).TermsDigest;
                parsed.InvocationConfiguration.Output.WriteLine(Convert.ToHexStringLower(terms.Span));
                return 0;
            }

            if (parsed.GetValue(serve))
            {
                if (parsed.GetValue(predict) is not null || evaluates || parsed.GetValue(report) is not null || parsed.GetValue(html) is not null || parsed.GetValue(json))
                    throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "--serve answers until it is stopped, and has no result to write.",
                        "Leave --predict, --evaluate, --report, --html and --json out.");
                await PassiveServer.RunAsync(file, parsed.GetValue(model) ?? "models", terminal.Log, cancellationToken).ConfigureAwait(false);
                return 0;
            }

            if (parsed.GetValue(predict) is not null && parsed.GetValue(html) is not null)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "--html is about a training, and --predict scores rows with its model.", "Leave one of them out; --report writes what there is to say of a prediction.");
            bool trains = parsed.GetValue(predict) is null && !evaluates;
            string? models = parsed.GetValue(model) ?? (trains ? null : "models");
            OutputFile.CheckApart([.. file.Inputs, .. request.Inputs, .. trains ? [] : file.Run.ModelFiles(models)], trains ? models : null,
                [parsed.GetValue(predict), parsed.GetValue(report), parsed.GetValue(html), .. request.Exports, .. trains ? file.Run.ModelFiles(models) : []]);
            // This party's own view of the job, with what its own file says.
            RunFile run = file.Run with { Transport = file.Transport, Ignored = file.Ignored };
            terminal.Log(run.Notice);
            foreach (string note in file.Notes)
                terminal.Log($"warning: {note}");
            JsonObject document = await ProgressView.RunAsync(terminal, file.Self.Name, view =>
            {
                SessionOrder order = !trains
                    ? new SessionOrder(run, evaluates ? "evaluate" : "predict", models, parsed.GetValue(predict) is { } output ? Path.GetFullPath(output) : null) { TopK = request }
                    : new SessionOrder(run, "train", models, null)
                    {
                        KeepsRuns = true,
                        Fresh = parsed.GetValue(fresh),
                        Door = file.Arbiter is { } arbiter ? HeRun.OverGrpc(arbiter, HeRun.ArbiterOf(run, "train")!, file.TransportFor(GrpcRelay.Arbiter)) : null,
                    };
                order = order with { Log = terminal.Log };
                PartyTask task = order.TaskOf(file.Self.Name, view);
                TransportSettings transport = file.TransportFor(order.Verb);
                return file.Hosts
                    ? PartySupervisor.HostAsync(task, file.Listen, transport, address => terminal.Log(file.Listening(address)), terminal.Log, cancellationToken)
                    : PartySupervisor.JoinAsync(task, file.ActiveParty!, transport, terminal.Log, cancellationToken);
            }).ConfigureAwait(false);
            if (parsed.GetValue(predict) is { } scores)
            {
                document["transport"] = PartyTransport.Document(file.Transport);
                foreach (string warning in file.Transport.Party?.Warnings(file.Self.Name) ?? [])
                    document["warnings"]!.AsArray().Add(warning);
                if (parsed.GetValue(report) is { } place)
                    OutputFile.Write(place, ReportWriter.Text(document));
                if (parsed.GetValue(json))
                    parsed.InvocationConfiguration.Output.Write(ReportWriter.Text(document));
                PredictCommand.Tell(terminal, new SessionOrder(run, "predict", models, Path.GetFullPath(scores)), [document]);
                return 0;
            }

            if (document["arbiter"] is not null)
            {
                terminal.Log($"answered {(int)document["arbiter"]!["rounds"]!} rounds");
                document["timing"] = new JsonObject { ["totalSeconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds };
                if (parsed.GetValue(report) is { } place)
                    OutputFile.Write(place, ReportWriter.Text(document));
                if (parsed.GetValue(json))
                    parsed.InvocationConfiguration.Output.Write(ReportWriter.Text(document));
                return 0;
            }

            document = PartyDocument.Merge([document], Stopwatch.GetElapsedTime(start).TotalSeconds);
            ReportWriter.Write(document, terminal, parsed.GetValue(json) ? parsed.InvocationConfiguration.Output : null, parsed.GetValue(report), parsed.GetValue(html));
            return 0;
        });
    });

    /// <summary>Has the server of a party that listens compiled on another processor, while the command line and the files are read. Without effect but on time.</summary>
    /// <param name="args">Arguments of the tool.</param>
    public static void Foresee(string[] args)
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

    // Who only mentions the word loses some processor time. A pipe has no length, and can be read once.
    private static bool MayListen(string file)
    {
        try
        {
            return new FileInfo(file) is { Exists: true, Length: > 0 } && File.ReadAllText(file).Contains("\"listen\"", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return false; // told where the file is read
        }
    }
}
