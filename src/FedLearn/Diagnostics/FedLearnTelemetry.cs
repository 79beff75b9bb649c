using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace FedLearn.Diagnostics;

/// <summary>Names of what FedLearn measures and traces, for those who listen: a meter and an activity source, both <see cref="Name"/>.</summary>
/// <remarks>Nothing here holds a feature, label, score, weight, id or key. Tags are names that the job gives (<c>party</c>, <c>job</c>, <c>mode</c>), kinds of
/// messages, directions, outcomes and ids of errors. While nobody listens nothing is allocated.</remarks>
public static class FedLearnTelemetry
{
    /// <summary>Name of the meter and of the activity source.</summary>
    public const string Name = "FedLearn";

    /// <summary>Counter: sessions that a party has begun. Tags party, job, mode, operation (<c>train</c> or <c>predict</c>).</summary>
    public const string SessionsStarted = "fedlearn.sessions.started";

    /// <summary>Counter: sessions that have ended. Tags as <see cref="SessionsStarted"/>, and outcome: <c>completed</c>, <c>cancelled</c> or <c>failed</c>, then with
    /// error, the error's id.</summary>
    public const string SessionsEnded = "fedlearn.sessions.ended";

    /// <summary>Counter: rounds of training done, counted at the end of each epoch or iteration. Tags party, job, mode.</summary>
    public const string Rounds = "fedlearn.rounds";

    /// <summary>Histogram, seconds: a round of training, as the mean over the rounds of an epoch; of an iteration of L-BFGS. Tags party, job, mode.</summary>
    public const string RoundDuration = "fedlearn.round.duration";

    /// <summary>Counter: messages. Tags party, kind (the payload's type), direction (<c>sent</c> or <c>received</c>).</summary>
    public const string Messages = "fedlearn.messages";

    /// <summary>Counter, bytes: messages, framed over gRPC, packed in memory. Tags as <see cref="Messages"/>.</summary>
    public const string MessageBytes = "fedlearn.message.bytes";

    /// <summary>Counter, seconds: drawing and adding noise, told at the end of training. Tags party, job, mode.</summary>
    public const string NoiseTime = "fedlearn.noise.time";

    /// <summary>Counter, seconds: waiting for other parties, told at the end of training. Tags party, job, mode.</summary>
    public const string WaitTime = "fedlearn.wait.time";

    private static readonly Meter Meter = new(Name, Version);

    internal static readonly Counter<long> StartedCounter = Meter.CreateCounter<long>(SessionsStarted, "{session}", "Sessions begun.");
    internal static readonly Counter<long> EndedCounter = Meter.CreateCounter<long>(SessionsEnded, "{session}", "Sessions ended, by outcome.");
    internal static readonly Counter<long> RoundsCounter = Meter.CreateCounter<long>(Rounds, "{round}", "Rounds of training done.");
    internal static readonly Histogram<double> RoundSeconds = Meter.CreateHistogram<double>(RoundDuration, "s", "A round of training.");
    internal static readonly Counter<double> NoiseSeconds = Meter.CreateCounter<double>(NoiseTime, "s", "Drawing and adding noise.");
    internal static readonly Counter<double> WaitSeconds = Meter.CreateCounter<double>(WaitTime, "s", "Waiting for other parties.");
    private static readonly Counter<long> MessagesCounter = Meter.CreateCounter<long>(Messages, "{message}", "Messages.");
    private static readonly Counter<long> BytesCounter = Meter.CreateCounter<long>(MessageBytes, "By", "Bytes of messages.");

    internal static ActivitySource Source { get; } = new(Name, Version);

    private static string? Version => typeof(FedLearnTelemetry).Assembly.GetName().Version?.ToString(3);

    /// <summary>Counts a message.</summary>
    internal static void Message(string party, Type kind, string direction, long bytes)
    {
        if (!MessagesCounter.Enabled && !BytesCounter.Enabled)
            return;
        var tags = new TagList { { "party", party }, { "kind", kind.Name }, { "direction", direction } };
        MessagesCounter.Add(1, tags);
        BytesCounter.Add(bytes, tags);
    }
}
