using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Serving;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn party: one party of a real session.</summary>
internal static class PartyCommand
{
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config("Party file (JSON with comments): job, party, data, listen or peers.");
        Option<bool> json = Options.Json();
        var model = new Option<string?>("--model") { Description = "Save this party's part of the model as DIR/PARTY.model.json.", HelpName = "DIR" };
        var predict = new Option<string?>("--predict")
        {
            Description = "Predict with the model of --model instead of training; the active party writes id,score,prediction here (recommendation jobs: the users' lists), a passive party gives any name.",
            HelpName = "FILE",
        };
        var serve = new Option<bool>("--serve") { Description = "Passive party: answer the active party's online predictions with the model of --model, and do nothing else, until Ctrl-C." };
        var digest = new Option<bool>("--digest") { Description = "Print the SHA-256 of the job's terms, which must be equal at every party, and stop." };
        Option<string?> report = CommonOptions.Report(), html = CommonOptions.Html();
        Option<bool> fresh = CommonOptions.Fresh();
        var command = new Command("party", """
            Take part in a session as one party. The active party listens and hosts the coordinator; a passive party connects to it
            and needs no open port. A party that loses another waits for it to come back, up to transport.resumeSeconds, and the run goes
            on; one that was killed is started again with the same command. The arbiter of an encrypted job (privacy.mode he or he+dp) has a party file without data and
            listens too: every party connects to it. Order of starting does not matter within transport.connectTimeoutSeconds.
            With --serve a passive party joins fedlearn serve at the active party, stays, and joins again whenever the connection was lost.

            Examples:
              fedlearn party --config bank.party.json --model models --report bank.json
              fedlearn party --config telco.party.json
              fedlearn party --config arbiter.party.json
              fedlearn party --config telco.party.json --serve --model models
              fedlearn party --config telco.party.json --digest
            """) { config, model, predict, serve, fresh, report, html, digest, json };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            long start = Stopwatch.GetTimestamp();
            Terminal terminal = Terminal.Of(parsed);
            PartyFile file = PartyFile.Load(parsed.GetRequiredValue(config));
            if (parsed.GetValue(digest))
            {
                string purpose = parsed.GetValue(serve) ? "serve" : "train";
                parsed.InvocationConfiguration.Output.WriteLine(file.Run.Digest(purpose));
                return 0;
            }

            if (parsed.GetValue(serve))
            {
                if (parsed.GetValue(predict) is not null || parsed.GetValue(report) is not null || parsed.GetValue(html) is not null || parsed.GetValue(json))
                    throw new ConfigurationException(CliErrors.OptionsDisagree, "fedlearn party", "--serve answers until it is stopped, and has no result to write.",
                        "Leave --predict, --report, --html and --json out.");
                await PassiveServer.RunAsync(file, parsed.GetValue(model) ?? "models", terminal.Log, cancellationToken).ConfigureAwait(false);
                return 0;
            }

            OutputFile.Check(parsed.GetValue(predict) is null ? parsed.GetValue(model) : null, parsed.GetValue(predict), parsed.GetValue(report), parsed.GetValue(html));
            // This party's own view of the job, with what its own file says.
            RunFile run = file.Run with { Transport = file.Transport, Ignored = file.Ignored };
            terminal.Log(run.Notice);
            JsonObject document = await ProgressView.RunAsync(terminal, file.Self.Name, view =>
            {
                SessionOrder order = parsed.GetValue(predict) is { } output
                    ? new SessionOrder(run, "predict", parsed.GetValue(model) ?? "models", Path.GetFullPath(output))
                    : new SessionOrder(run, "train", parsed.GetValue(model), null) { KeepsRuns = true, Fresh = parsed.GetValue(fresh), Door = file.Arbiter is { } arbiter ? HeRun.OverGrpc(arbiter, file.Transport) : null };
                order = order with { Log = terminal.Log };
                PartyTask task = order.TaskOf(file.Self.Name, view);
                return file.Listen is { } listen
                    ? PartySupervisor.HostAsync(task, new UriBuilder("http", listen.Host, listen.Port).Uri, file.Transport,
                        address => terminal.Log($"listening on {address}"), terminal.Log, cancellationToken)
                    : PartySupervisor.JoinAsync(task, file.ActiveParty!, file.Transport, terminal.Log, cancellationToken);
            }).ConfigureAwait(false);
            if (parsed.GetValue(predict) is not null)
            {
                if ((string?)document["note"] is { } note)
                    terminal.Log($"note: {note}");
                if (parsed.GetValue(json))
                    parsed.InvocationConfiguration.Output.Write(ReportWriter.Text(document));
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
        return command;
    }
}
