using System.CommandLine;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Cli.Commands;

/// <summary>One party's child process of <c>train</c> and <c>predict</c>: talks lines of JSON to the process that started it. Not for people.</summary>
internal static class WorkerCommand
{
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config("Run file.");
        var verb = new Option<string>("--verb") { Required = true };
        var party = new Option<string>("--party") { Required = true };
        Option<string?> coordinator = new("--coordinator"), model = new("--model"), output = new("--out");
        var command = new Command("worker", "One party of train or predict.") { config, verb, party, coordinator, model, output };
        command.Hidden = true;
        command.SetAction(async (parsed, cancellationToken) =>
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            // The parent holds the other end of standard input: its end, by whatever death, ends this process too.
            _ = Task.Run(() => { while (Console.In.Read() >= 0) { } stop.Cancel(); }, CancellationToken.None);
            try
            {
                var order = new SessionOrder(RunFile.Load(parsed.GetRequiredValue(config)), parsed.GetRequiredValue(verb), parsed.GetValue(model), parsed.GetValue(output));
                PartyTask task = order.TaskOf(parsed.GetRequiredValue(party), new Relay());
                JsonObject document = parsed.GetValue(coordinator) is { } address
                    ? await GrpcParty.JoinAsync(task, new Uri(address), order.Run.Transport, stop.Token).ConfigureAwait(false)
                    : await GrpcParty.HostAsync(task, new Uri("http://127.0.0.1:0"), order.Run.Transport, WorkerEvents.Listening, WorkerEvents.Log, stop.Token)
                        .ConfigureAwait(false);
                WorkerEvents.Result(document);
                return 0;
            }
            catch (FedLearnException e)
            {
                WorkerEvents.Failure(e);
                return e.ExitCode;
            }
        });
        return command;
    }

    // Not Progress<T>, which would report from the thread pool, out of order and after the result.
    private sealed class Relay : IProgress<GlmProgress>
    {
        public void Report(GlmProgress value) => WorkerEvents.Progress(value);
    }
}
