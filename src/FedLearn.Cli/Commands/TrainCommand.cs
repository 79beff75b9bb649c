using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn train: all parties of a job on this machine.</summary>
internal static class TrainCommand
{
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config("Run file (JSON with comments).");
        Option<bool> inProcess = CommonOptions.InProcess(), json = Options.Json();
        var model = new Option<string?>("--model") { Description = "Save each party's part of the model as DIR/PARTY.model.json.", HelpName = "DIR" };
        Option<string?> report = CommonOptions.Report(), html = CommonOptions.Html();
        var command = new Command("train", """
            Train one model, all parties of the job on this machine: each in a process of its own talking gRPC over loopback,
            or all in memory where the run file says transport.kind "in-memory".

            Examples:
              fedlearn train --config job.json
              fedlearn train --config job.json --model models --report report.json --html report.html
              fedlearn train --config job.json --in-process --json
            """) { config, inProcess, model, report, html, json };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            long start = Stopwatch.GetTimestamp();
            RunFile run = RunFile.Load(parsed.GetRequiredValue(config));
            var order = new SessionOrder(run, "train", parsed.GetValue(model), null);
            IReadOnlyList<JsonObject> documents = await ProgressView.RunAsync(view =>
                SessionRunner.RunAsync(order, parsed.GetValue(inProcess), view, Terminal.Log, cancellationToken)).ConfigureAwait(false);
            JsonObject document = PartyDocument.Merge(documents, Stopwatch.GetElapsedTime(start).TotalSeconds);
            ReportWriter.Write(document, parsed.GetValue(json) ? parsed.InvocationConfiguration.Output : null, parsed.GetValue(report), parsed.GetValue(html));
            return 0;
        });
        return command;
    }
}
