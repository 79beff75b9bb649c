using System.CommandLine;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Commands;

/// <summary>One party's child process of <c>train</c> and <c>predict</c>: gets orders from the process that started it, and tells it what happens, in lines of JSON. Not for people.</summary>
internal static class WorkerCommand
{
    public static Verb Create() => new("worker", "One party of train or predict.", static command =>
    {
        // Not in the order, so that lists of processes show it.
        var party = new Option<string>(WorkerProcess.Party) { Required = true };
        command.Has(party);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Channel<string> orders = Channel.CreateUnbounded<string>();
            new Thread(() => Listen(orders.Writer, stop)) { IsBackground = true, Name = "FedLearn parent" }.UnsafeStart();
            await foreach (string line in orders.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                var order = WorkerOrder.Parse(line);
                int code = await DoAsync(order, parsed.GetRequiredValue(party), parsed.InvocationConfiguration.Error, stop.Token).ConfigureAwait(false);
                // What failed leaves a process that is not as new.
                if (code != 0 || !order.Stays)
                    return code;
                WorkerEvents.Stays();
            }

            return 0;
        });
    })
    { Hidden = true };

    private static async Task<int> DoAsync(WorkerOrder order, string party, TextWriter error, CancellationToken cancellationToken)
    {
        try
        {
            SessionOrder session = order.ToSession(party);
            WorkerEvents.Rehearse();
            PartyTask task = session.LocalTaskOf(party, new SynchronousProgress<JobProgress>(WorkerEvents.Progress));
            JsonObject document = order.Host is { } host
                ? await GrpcParty.JoinAsync(task, host, session.Run.Transport, cancellationToken).ConfigureAwait(false)
                : await GrpcParty.HostAsync(task, new Uri("http://127.0.0.1:0"), session.Run.Transport, WorkerEvents.Listening, WorkerEvents.Log, cancellationToken).ConfigureAwait(false);
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
            FedLearnException failure = Tool.Unexpected($"party '{party}'", e);
            WorkerEvents.Failure(failure);
            return failure.ExitCode;
        }
    }

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
