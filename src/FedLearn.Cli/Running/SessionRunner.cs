using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>What the parties of a session are told beside their job. It goes to their processes as it is.</summary>
internal record SessionSettings
{
    /// <summary>Where models are written or read; null writes none.</summary>
    public string? ModelDirectory { get; init; }

    /// <summary>Where the active party writes predictions; null at the others, and where none are made.</summary>
    public string? Output { get; init; }

    /// <summary>What <c>align</c> is asked for.</summary>
    public AlignRequest Align { get; init; } = new();

    /// <summary>Folder of the rows that one alignment found for many sessions; null: each session aligns.</summary>
    public string? Aligned { get; init; }

    /// <summary>Whether parties keep their state between rounds, to go on after a crash.</summary>
    public bool KeepsRuns { get; init; }

    /// <summary>Whether a run of the same job that was cut off is forgotten.</summary>
    public bool Fresh { get; init; }

    /// <summary>Which lists a recommendation job makes, and what else it exports.</summary>
    public TopKRequest TopK { get; init; } = new();
}

/// <summary>What all parties of a session do.</summary>
internal sealed record SessionOrder : SessionSettings
{
    /// <param name="run">The run file.</param>
    /// <param name="verb"><c>train</c>, <c>predict</c>, <c>evaluate</c> or <c>align</c>: names of <see cref="GrpcRelay"/>.</param>
    /// <param name="settings">What else the parties are told; null for nothing.</param>
    public SessionOrder(RunFile run, string verb, SessionSettings? settings = null) : base(settings ?? new()) => (Run, Verb) = (run, verb);

    /// <summary>What one party of a real session does.</summary>
    /// <param name="file">Its file, whose settings hold for its own view of the job.</param>
    /// <param name="verb">As above.</param>
    public static SessionOrder OfParty(PartyFile file, string verb) => new(file.Run with { Transport = file.Transport, Ignored = file.Ignored }, verb)
    {
        Door = file.Arbiter is { } address && HeRun.ArbiterOf(file.Run, verb) is { } name ? HeRun.OverGrpc(address, name, file.TransportFor(GrpcRelay.Arbiter)) : null,
    };

    public RunFile Run { get; init; }

    public string Verb { get; init; }

    /// <summary>Id of the run in each party's ledger; a party that is absent draws its own.</summary>
    public IReadOnlyDictionary<string, string> RunIds { get; init; } = new Dictionary<string, string>();

    /// <summary>The parties' way to the arbiter of an encrypted job; null without one, and at the arbiter.</summary>
    public ArbiterDoor? Door { get; init; }

    /// <summary>Processes that stay for the next session; null: each session starts its own.</summary>
    public WorkerPool? Workers { get; init; }

    /// <summary>Told a line about what happens at a party; null for nobody.</summary>
    public Action<string>? Log { get; init; }

    /// <summary>Name of the arbiter; null without one.</summary>
    public string? Arbiter => HeRun.ArbiterOf(Run, Verb);

    /// <summary>Parties, the active one first, then in the job's order.</summary>
    public IReadOnlyList<string> Parties => [.. Run.Parties.OrderBy(p => p.Role).Select(p => p.Name)];

    /// <summary>What one of the parties does where all of them are on this machine: the active one alone says what concerns them all.</summary>
    /// <param name="party">Its name.</param>
    /// <param name="progress">Told how far it is.</param>
    public PartyTask LocalTaskOf(string party, IProgress<JobProgress>? progress) =>
        TaskOf(party, progress) is var task && task.IsActive && Log is { } log ? task.Telling(log) : task;

    /// <summary>What one party does.</summary>
    /// <param name="party">Its name.</param>
    /// <param name="progress">Told how far it is.</param>
    public PartyTask TaskOf(string party, IProgress<JobProgress>? progress) => Run switch
    {
        DssmRunFile run => DssmTasks.Of(this, run, party, progress),
        GlmRunFile run when party == Arbiter => HeRun.Arbiter(run, progress),
        GlmRunFile run when Verb == GrpcRelay.Align => AlignTask.Of(this, run, party, progress),
        GlmRunFile run when Verb == GrpcRelay.Train => GlmTasks.Train(this, run, party, progress),
        _ => GlmTasks.Predict(this, Run.As<GlmRunFile>(Verb), party, progress),
    };
}

/// <summary>Runs every party of a job on this machine: in this process, or each in a process of its own.</summary>
internal static class SessionRunner
{
    /// <returns>One document a party, the active party's first, the arbiter's last.</returns>
    public static async Task<IReadOnlyList<JsonObject>> RunAsync(SessionOrder order, bool inProcess, IProgress<JobProgress>? progress, Action<string> log,
        CancellationToken cancellationToken)
    {
        try
        {
            order = order with { Log = log };
            return await (order.Run.Transport.Kind switch
            {
                TransportKind.InMemory => InMemoryAsync(order, progress, cancellationToken),
                _ when inProcess => GrpcParty.AllAsync(order, progress, log, cancellationToken),
                _ => ProcessesAsync(order, progress, log, cancellationToken),
            }).ConfigureAwait(false);
        }
        catch (FedLearnException e) when (cancellationToken.IsCancellationRequested)
        {
            // A party that is stopped tells its peers, and their errors may arrive first. What happened is still that the user stopped the job.
            throw new OperationCanceledException("The user stopped the job.", e, cancellationToken);
        }
    }

    private static async Task<IReadOnlyList<JsonObject>> InMemoryAsync(SessionOrder order, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        LocalArbiter? arbiter = null;
        if (order.Arbiter is not null)
            order = order with { Door = (request, stop) => arbiter!.JoinAsync(request, stop) };
        PartyTask[] tasks = [.. order.Parties.Select(p => order.LocalTaskOf(p, progress))];
        ReadyParty[] ready = [.. tasks.Select(t => t.Prepare(cancellationToken))];
        ChannelOptions options = PartyTransport.Channel(order.Run.Transport);
        Task<IReadOnlyList<JsonObject>> Parties(CancellationToken cancel) => LocalSession.RunAsync(tasks[0].Terms, [.. ready.Select(r => r.Request)], options,
            (i, agreement, channels, stop) => ready[i].Run(agreement, channels, stop), cancel);
        if (order.Arbiter is not { } name)
            return await Parties(cancellationToken).ConfigureAwait(false);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        arbiter = new LocalArbiter(order.TaskOf(name, progress), [.. ready.Select(r => EncryptionArbiter.PartyRequest(order.Run.As<GlmRunFile>(GrpcRelay.Train).Job, r.Request))], options, stop.Token);
        IReadOnlyList<IReadOnlyList<JsonObject>> all = await FirstFailure.WhenAllAsync([Parties(stop.Token), Alone(arbiter.Result)], stop).ConfigureAwait(false);
        return [.. all.SelectMany(d => d)];

        static async Task<IReadOnlyList<JsonObject>> Alone(Task<JsonObject> document) => [await document.ConfigureAwait(false)];
    }

    private static async Task<IReadOnlyList<JsonObject>> ProcessesAsync(SessionOrder order, IProgress<JobProgress>? progress, Action<string> log,
        CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var address = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        var arbiter = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        async Task<JsonObject> PartyAsync(string party, bool active)
        {
            Uri? keyHolder = order.Arbiter is null ? null : await arbiter.Task.WaitAsync(stop.Token).ConfigureAwait(false);
            Uri? host = active ? null : await address.Task.WaitAsync(stop.Token).ConfigureAwait(false);
            return await ChildAsync(order, party, host, keyHolder, uri => address.TrySetResult(uri), progress, log, stop.Token).ConfigureAwait(false);
        }

        Task<JsonObject>[] running = [.. order.Parties.Select((party, i) => PartyAsync(party, active: i == 0)),
            .. order.Arbiter is { } name ? [ChildAsync(order, name, null, null, uri => arbiter.TrySetResult(uri), progress, log, stop.Token)] : Array.Empty<Task<JsonObject>>()];
        return await FirstFailure.WhenAllAsync(running, stop).ConfigureAwait(false);
    }

    /// <summary>Gives a party's process its order, and follows it to the end of the session.</summary>
    private static async Task<JsonObject> ChildAsync(SessionOrder order, string party, Uri? host, Uri? arbiter, Action<Uri> listening,
        IProgress<JobProgress>? progress, Action<string> log, CancellationToken cancellationToken)
    {
        var asked = WorkerOrder.Of(order, party, host, arbiter);
        WorkerProcess child = order.Workers?.Ask(party, asked) ?? WorkerProcess.Start(party, asked);
        bool isKept = false;
        try
        {
            (JsonObject? document, FedLearnException? failure, bool stays) = await FollowAsync(child, listening, progress, text => log($"{party}: {text}"), cancellationToken).ConfigureAwait(false);
            if (stays && document is not null && !cancellationToken.IsCancellationRequested)
            {
                order.Workers!.Keep(party, child);
                isKept = true;
                return document;
            }

            // A process that stays although its session was stopped would wait for its next order for ever.
            if (stays)
                child.Kill();
            int code = await child.EndAsync().ConfigureAwait(false);
            string said = (await child.Errors.ConfigureAwait(false)).Trim();
            if (failure?.Id == CliErrors.Unexpected)
                log(said);
            if (failure is not null)
                throw failure;
            // A party that had ended when it was stopped has its result.
            if (document is not null)
                return document;
            cancellationToken.ThrowIfCancellationRequested();
            throw new PeerException(RunningErrors.ChildDied, $"party '{party}'",
                $"its process ended with code {code} before the job did{(said.Length > 0 ? ": " + said.Split('\n')[0] : "")}.",
                "Run the job again; look for a lack of memory if it happens twice.");
        }
        finally
        {
            if (!isKept)
                child.Dispose();
        }
    }

    /// <summary>Passes on what a party's process says, until it ends or waits for its next order.</summary>
    private static async Task<(JsonObject? Document, FedLearnException? Failure, bool Stays)> FollowAsync(WorkerProcess child, Action<Uri> listening, IProgress<JobProgress>? progress, Action<string> log,
        CancellationToken cancellationToken)
    {
        JsonObject? document = null;
        FedLearnException? failure = null;
        // Disposed of before the process is kept for its next order, so that a later stop does not kill it.
        await using ConfiguredAsyncDisposable stopping = cancellationToken.Register(child.Stop).ConfigureAwait(false);
        while (await child.Lines.ReadLineAsync(CancellationToken.None).ConfigureAwait(false) is { } text)
        {
            if (WorkerEvents.Read(text) is not { } line)
                continue;
            switch ((string)line["event"]!)
            {
                case "listening":
                    listening(new Uri((string)line["address"]!));
                    break;
                case "progress":
                    progress?.Report(WorkerEvents.ReadProgress(line));
                    break;
                case "log":
                    log((string)line["text"]!);
                    break;
                case "result":
                    document = line["document"]!.DeepClone().AsObject();
                    break;
                case "error":
                    failure = WorkerEvents.ReadFailure(line);
                    break;
                case "stays":
                    return (document, failure, true);
            }
        }

        return (document, failure, false);
    }
}
