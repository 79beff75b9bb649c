using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>One party's child process of <c>train</c> and <c>predict</c>: talks lines of JSON to the process that started it. Not for people.</summary>
internal static class WorkerCommand
{
    public static Verb Create() => new("worker", "One party of train or predict.", static command =>
    {
        Option<string> config = Options.Config("Run file.");
        var verb = new Option<string>("--verb") { Required = true };
        var party = new Option<string>("--party") { Required = true };
        Option<string?> host = new("--host"), arbiter = new("--arbiter"), model = new("--model"), output = new("--out"), fold = new("--fold"), runId = new("--run"), lists = new("--lists"),
            aligned = new("--aligned"), psiOutput = new("--psi-output"), proof = new("--psi-proof"), duplicates = new("--duplicates"), indexes = new("--index"), keep = new("--keep"), resume = new("--resume");
        var set = new Option<string[]>("--set");
        var stay = new Option<bool>(WorkerProcess.Stay);
        command.Has(config, verb, party, host, arbiter, model, output, fold, runId, lists, aligned, psiOutput, proof, duplicates, indexes, keep, resume, set, stay);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Channel<string> orders = Channel.CreateUnbounded<string>();
            new Thread(() => Listen(orders.Writer, stop)) { IsBackground = true, Name = "FedLearn parent" }.UnsafeStart();
            int code = await DoAsync(parsed, parsed.InvocationConfiguration.Error, stop.Token).ConfigureAwait(false);
            if (!parsed.GetValue(stay))
                return code;
            // What failed leaves a process that is not as new.
            while (code == 0)
            {
                WorkerEvents.Stays();
                if (!await orders.Reader.WaitToReadAsync(stop.Token).ConfigureAwait(false) || !orders.Reader.TryRead(out string? next))
                    break;
                code = await DoAsync(command.Parse(WorkerEvents.ReadOrder(next)), parsed.InvocationConfiguration.Error, stop.Token).ConfigureAwait(false);
            }

            return code;
        });

        async Task<int> DoAsync(ParseResult parsed, TextWriter error, CancellationToken cancellationToken)
        {
            try
            {
                string self = parsed.GetRequiredValue(party);
                bool aligns = parsed.GetRequiredValue(verb) == GrpcRelay.Align;
                RunFile run = RunFile.Load(parsed.GetRequiredValue(config), [.. (parsed.GetValue(set) ?? []).Select(s => s.Split('=', 2)).Select(s => new RunFileSetting(s[0], s[1]))], aligns);
                if (parsed.GetValue(fold)?.Split('/') is [var index, var count])
                    run = run.As<GlmRunFile>("worker").On(new(int.Parse(count, CultureInfo.InvariantCulture), int.Parse(index, CultureInfo.InvariantCulture)));
                var request = new AlignRequest
                {
                    Output = parsed.GetValue(psiOutput) is { } word ? JobAlignment.Outputs.First(o => o.Word == word).Meaning : null,
                    Proof = parsed.GetValue(proof) is { } proves ? proves == "yes" : null,
                    KeepFirst = parsed.GetValue(duplicates) == "first",
                    Folder = parsed.GetValue(indexes),
                    KeepIn = parsed.GetValue(keep),
                };
                if (aligns)
                    run = request.On(run.As<GlmRunFile>(GrpcRelay.Align));
                var order = new SessionOrder(run, parsed.GetRequiredValue(verb))
                {
                    ModelDirectory = parsed.GetValue(model),
                    Output = parsed.GetValue(output),
                    Door = parsed.GetValue(arbiter) is { } keyHolder ? HeRun.OverGrpc(new Uri(keyHolder), HeRun.ArbiterOf(run, GrpcRelay.Train)!, run.Transport) : null,
                    RunIds = parsed.GetValue(runId) is { } id ? new Dictionary<string, string> { [self] = id } : new(),
                    Align = request,
                    Aligned = parsed.GetValue(aligned),
                    Log = WorkerEvents.Log,
                    KeepsRuns = parsed.GetValue(resume) is not null,
                    Fresh = parsed.GetValue(resume) == "fresh",
                    TopK = parsed.GetValue(lists) is { } text ? TopKRequest.Parse(text) : new(),
                };
                WorkerEvents.Rehearse();
                PartyTask task = order.LocalTaskOf(self, new Told<JobProgress>(WorkerEvents.Progress));
                JsonObject document = parsed.GetValue(host) is { } address
                    ? await GrpcParty.JoinAsync(task, new Uri(address), order.Run.Transport, cancellationToken).ConfigureAwait(false)
                    : await GrpcParty.HostAsync(task, new Uri("http://127.0.0.1:0"), order.Run.Transport, WorkerEvents.Listening, WorkerEvents.Log, cancellationToken)
                        .ConfigureAwait(false);
                WorkerEvents.Result(document);
                return 0;
            }
            catch (FedLearnException e)
            {
                WorkerEvents.Failure(e);
                return e.ExitCode;
            }
#pragma warning disable CA1031 // the outermost frame of the process: its parent gets an id for every error
            catch (Exception e) when (e is not OperationCanceledException)
#pragma warning restore CA1031
            {
                error.WriteLine(e.StackTrace);
                FedLearnException failure = Tool.Unexpected($"party '{parsed.GetValue(party)}'", e);
                WorkerEvents.Failure(failure);
                return failure.ExitCode;
            }
        }
    })
    { Hidden = true };

    /// <summary>The parent holds the other end of standard input: its end, by whatever death, ends this process too. Until then a line is an order. On a thread of its own: on two processors the pool has two
    /// at work, and does not count out one that waits for input.</summary>
    private static void Listen(ChannelWriter<string> orders, CancellationTokenSource stop)
    {
        using (var input = new StreamReader(Console.OpenStandardInput()))
            while (input.ReadLine() is { } line)
                orders.TryWrite(line);
        orders.Complete();
        try
        {
            stop.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The party had ended.
        }
    }
}
