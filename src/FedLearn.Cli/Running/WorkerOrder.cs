using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>What a party's process does in one session: a line of JSON on its standard input.</summary>
/// <param name="Verb">As <see cref="SessionOrder"/> has it.</param>
/// <param name="Config">The run file.</param>
internal sealed record WorkerOrder(string Verb, string Config)
{
    /// <summary>Keys of the run file and the values that stand in for its own.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; } = [];

    /// <summary>The run of a cross-validation; null elsewhere.</summary>
    public CrossValidationFold? Fold { get; init; }

    /// <summary>Where the party joins; null: it is the host.</summary>
    public Uri? Host { get; init; }

    /// <summary>Where the arbiter of an encrypted job is; null without one, and at the arbiter.</summary>
    public Uri? Arbiter { get; init; }

    /// <summary>Id of the run in the party's ledger; null: it draws one.</summary>
    public string? RunId { get; init; }

    /// <summary>As <see cref="SessionOrder"/> has it.</summary>
    public SessionSettings Session { get; init; } = new();

    /// <summary>Whether the process waits for the next order when this one is done.</summary>
    public bool Stays { get; init; }

    /// <summary>The order of one of the parties of a session.</summary>
    /// <param name="order">What all of them do.</param>
    /// <param name="party">Its name.</param>
    /// <param name="host">Where it joins; null at the host.</param>
    /// <param name="arbiter">Where the arbiter is; null without one.</param>
    public static WorkerOrder Of(SessionOrder order, string party, Uri? host, Uri? arbiter) => new(order.Verb, order.Run.Path)
    {
        Settings = [.. order.Run.Settings.Select(setting => KeyValuePair.Create(setting.Key, setting.Text))],
        Fold = (order.Run as GlmRunFile)?.Job.Fold,
        Host = host,
        Arbiter = arbiter,
        RunId = order.RunIds.GetValueOrDefault(party),
        Session = order is { Verb: GrpcRelay.Align, Run: GlmRunFile run } ? order with { Align = order.Align with { Output = run.Alignment.Output, Proof = run.Alignment.Proof } } : order,
        Stays = order.Workers is not null,
    };

    /// <summary>What the party's process makes of it.</summary>
    /// <param name="party">Name of the party.</param>
    /// <exception cref="ConfigurationException">The run file cannot be used.</exception>
    public SessionOrder ToSession(string party)
    {
        bool aligns = Verb == GrpcRelay.Align;
        RunFile run = RunFile.Load(Config, [.. Settings.Select(setting => new RunFileSetting(setting.Key, setting.Value))], aligns);
        if (Fold is not null)
            run = run.As<GlmRunFile>("worker").On(Fold);
        if (aligns)
            run = Session.Align.On(run.As<GlmRunFile>(GrpcRelay.Align));
        return new SessionOrder(run, Verb, Session)
        {
            Door = Arbiter is null ? null : HeRun.OverGrpc(Arbiter, HeRun.ArbiterOf(run, GrpcRelay.Train)!, run.Transport),
            RunIds = RunId is null ? new() : new Dictionary<string, string> { [party] = RunId },
            Log = WorkerEvents.Log,
        };
    }

    /// <summary>The order as a line.</summary>
    public string ToLine() => JsonSerializer.Serialize(this, WorkerOrderJson.Default.WorkerOrder);

    /// <summary>An order from its line.</summary>
    public static WorkerOrder Parse(string line) => JsonSerializer.Deserialize(line, WorkerOrderJson.Default.WorkerOrder)!;
}

// Made when the tool is built: reflection would take longer than the rest of reading an order.
[JsonSerializable(typeof(WorkerOrder))]
internal sealed partial class WorkerOrderJson : JsonSerializerContext;
