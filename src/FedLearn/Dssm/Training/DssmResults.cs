using FedLearn.Evaluation;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>Where a running job is. Made at a party; holds no private value of another.</summary>
/// <param name="Party">Party that reports.</param>
/// <param name="Round">Batches done.</param>
/// <param name="Rounds">Batches planned.</param>
/// <param name="Epoch">Epochs done.</param>
/// <param name="Loss">Mean training loss of the last epoch; active party only.</param>
/// <param name="Validation">NDCG@10 of the validation events against sampled negatives; null where it is not measured.</param>
public sealed record DssmProgress(string Party, int Round, int Rounds, int Epoch, double? Loss, double? Validation);

/// <summary>Where a job was after an epoch.</summary>
/// <param name="Epoch">Epochs done.</param>
/// <param name="Loss">Mean training loss from the vectors as received; active party only.</param>
/// <param name="Validation">NDCG@10 of the validation events against sampled negatives; null where it is not measured.</param>
/// <param name="Seconds">Seconds since round 0.</param>
public sealed record DssmHistoryPoint(int Epoch, double? Loss, double? Validation, double Seconds);

/// <summary>Messages of one kind that a party sent to another.</summary>
/// <param name="To">Receiver.</param>
/// <param name="Name">Name of the release.</param>
/// <param name="Protection">What protects the values.</param>
/// <param name="Messages">Number of messages.</param>
/// <param name="Bytes">Size of their packed payloads in bytes, without framing.</param>
public sealed record DssmSentMessages(string To, string Name, Privacy.Protection Protection, long Messages, long Bytes)
{
    internal static IReadOnlyList<DssmSentMessages> Of(IReadOnlyList<IPartyChannel> channels) => [.. channels.SelectMany(c => c.Releases.OrderBy(r => r.Key.Name, StringComparer.Ordinal)
        .Select(r => new DssmSentMessages(c.RemoteParty, r.Key.Name, r.Key.Protection, r.Value, c.BytesOf(r.Key.Name, r.Key.Protection))))];
}

/// <summary>Seconds of a job at one party. Compute, wait and noise add up to training.</summary>
/// <param name="Training">From the first round to the last one's step.</param>
/// <param name="Compute">Of these: own arithmetic.</param>
/// <param name="Wait">Of these: sending, and waiting for other parties.</param>
/// <param name="Noise">Of these: drawing and adding noise.</param>
/// <param name="Epochs">Epochs done.</param>
public sealed record DssmTiming(double Training, double Compute, double Wait, double Noise, int Epochs)
{
    /// <summary>Training seconds an epoch.</summary>
    public double PerEpoch => Epochs == 0 ? 0 : Training / Epochs;
}

/// <summary>Counts of a job; those that a party does not know are null.</summary>
/// <param name="Train">Training samples.</param>
/// <param name="Validation">Validation events.</param>
/// <param name="Test">Test events of users and items that training knows.</param>
/// <param name="ColdUsers">Events of users that training never sees.</param>
/// <param name="ColdItems">Events with items that training never sees.</param>
/// <param name="Users">Distinct users of the active party's events, or of a view those it shares with the active party.</param>
/// <param name="Items">Items.</param>
public sealed record DssmCounts(int Train, int Validation, int Test, int ColdUsers, int ColdItems, int Users, int? Items);

/// <summary>Figures of a recommendation model; active party only.</summary>
public sealed record DssmMetrics
{
    /// <summary>Test events of users and items that training knows; null when there are none or evaluation is switched off.</summary>
    public RankingReport? Test { get; init; }

    /// <summary>Events of users that training never saw.</summary>
    public RankingReport? ColdUsers { get; init; }

    /// <summary>Events with items that training never saw, ranked among such items.</summary>
    public RankingReport? ColdItems { get; init; }
}

/// <summary>What a party has when a job ends.</summary>
public sealed record DssmPartyResult
{
    /// <summary>Its part of the model.</summary>
    public required DssmModel Model { get; init; }

    /// <summary>Figures of the final model; active party only.</summary>
    public DssmMetrics? Metrics { get; init; }

    /// <summary>What it may claim of its privacy.</summary>
    public required DssmPrivacyStatement Privacy { get; init; }

    /// <summary>Rounds before which the run went on after it was cut off, in their order; empty when it never was.</summary>
    public IReadOnlyList<int> Resumed { get; init; } = [];

    /// <summary>One point an epoch.</summary>
    public required IReadOnlyList<DssmHistoryPoint> History { get; init; }

    /// <summary>The epoch whose model was kept, from 1; the last one without a validation stop.</summary>
    public required int BestEpoch { get; init; }

    /// <summary>Counts.</summary>
    public required DssmCounts Counts { get; init; }

    /// <summary>The users that it shares with others.</summary>
    public required SharedUsers SharedUsers { get; init; }

    /// <summary>What a user should know of the party's own view, and at the active party of the events and the run.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Seconds.</summary>
    public required DssmTiming Timing { get; init; }

    /// <summary>What it sent and received.</summary>
    public required ChannelStatistics Traffic { get; init; }

    /// <summary>What left it, by receiver, name and protection.</summary>
    public required IReadOnlyList<DssmSentMessages> Sent { get; init; }
}
