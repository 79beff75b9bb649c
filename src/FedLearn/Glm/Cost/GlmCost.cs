using FedLearn.Coordination;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Predicted seconds of a job's training rounds, by what they go into. The parts add up to <see cref="Total"/>.</summary>
/// <param name="Kernels">Scores and gradients.</param>
/// <param name="Family">Residuals and losses.</param>
/// <param name="Noise">Drawing, adding, packing and unpacking.</param>
/// <param name="Sync">Keeping messages durably.</param>
/// <param name="Messages">The machine's own part of sending and receiving, and what a round takes beyond its parts.</param>
/// <param name="Link">Latency and bandwidth of the line.</param>
/// <param name="Start">What the first rounds take longer than later ones: code is compiled, and threads and caches are cold. Once a job.</param>
public readonly record struct GlmCostSeconds(double Kernels, double Family, double Noise, double Sync, double Messages, double Link, double Start = 0)
{
    /// <summary>All of it.</summary>
    public double Total => Kernels + Family + Noise + Sync + Messages + Link + Start;

    /// <summary>Both together.</summary>
    /// <param name="a">One part.</param>
    /// <param name="b">Another.</param>
    public static GlmCostSeconds operator +(GlmCostSeconds a, GlmCostSeconds b) =>
        new(a.Kernels + b.Kernels, a.Family + b.Family, a.Noise + b.Noise, a.Sync + b.Sync, a.Messages + b.Messages, a.Link + b.Link, a.Start + b.Start);

    /// <summary>So many times as much.</summary>
    /// <param name="times">How often, at least 0.</param>
    /// <param name="a">A part.</param>
    public static GlmCostSeconds operator *(double times, GlmCostSeconds a) =>
        new(times * a.Kernels, times * a.Family, times * a.Noise, times * a.Sync, times * a.Messages, times * a.Link, times * a.Start);

    /// <inheritdoc cref="op_Addition"/>
    public static GlmCostSeconds Add(GlmCostSeconds a, GlmCostSeconds b) => a + b;

    /// <inheritdoc cref="op_Multiply"/>
    public static GlmCostSeconds Multiply(double times, GlmCostSeconds a) => times * a;
}

/// <summary>What a job costs before it runs.</summary>
/// <param name="Traffic">What each party sends, in the order of the job: exact.</param>
/// <param name="Training">Seconds of the training rounds: an estimate.</param>
/// <param name="Rounds">Training rounds.</param>
/// <param name="Epochs">Epochs.</param>
/// <param name="ProcessorSeconds">Processor time of all parties in the training rounds.</param>
/// <param name="OutsideSeconds">Seconds that messages before and after the rounds spend on the line; reading tables, alignment's own arithmetic and metrics are not in it.</param>
public sealed record GlmCost(IReadOnlyList<GlmPartyTraffic> Traffic, GlmCostSeconds Training, long Rounds, int Epochs, double ProcessorSeconds, double OutsideSeconds)
{
    /// <summary>Seconds an epoch.</summary>
    public double SecondsPerEpoch => Training.Total / Epochs;

    /// <summary>Predicts what a job costs.</summary>
    /// <param name="job">A job that <see cref="GlmTraffic.Covers"/> admits, with gRPC between its parties.</param>
    /// <param name="sizes">Its sizes.</param>
    /// <param name="rates">What the parts cost on the parties' machines, which are taken to be alike.</param>
    /// <param name="link">The line between them.</param>
    /// <param name="oneMachine">Whether all parties share one machine, and so its cores and its caches.</param>
    /// <param name="durable">Whether messages with noise and states are kept in files, as the tool does.</param>
    /// <exception cref="Diagnostics.FedLearnException">The job is inconsistent, or has more batches than rows.</exception>
    /// <exception cref="ArgumentException">The job is not covered, or the sizes are not one for each party.</exception>
    public static GlmCost Predict(GlmJob job, GlmCostSizes sizes, GlmCostRates rates, GlmCostLink link, bool oneMachine, bool durable = true)
    {
        ArgumentNullException.ThrowIfNull(rates);
        ArgumentNullException.ThrowIfNull(link);
        IReadOnlyList<GlmPartyTraffic> traffic = GlmTraffic.Of(job, sizes);
        var plan = GlmPlan.Create(job);
        BatchLayout layout = plan.Layout(sizes.TrainRows);
        var round = new GlmCostRound(plan, layout, sizes, rates, link, oneMachine, durable);
        long larger = layout.Rows % layout.Count;
        GlmCostSeconds seconds = default;
        double processor = 0;
        foreach ((long batches, int size) in (ReadOnlySpan<(long, int)>)[(larger, layout.LargestSize), (layout.Count - larger, layout.SmallestSize)])
        {
            if (batches == 0)
                continue;
            (GlmCostSeconds one, double cores) = round.Of(size);
            seconds += (double)batches * plan.Epochs * one;
            processor += batches * plan.Epochs * cores;
        }

        // States of the parties, so that they can go on after a crash: file and folder are synced at all parties at once. The active party's hold its rows and their scores.
        long states = durable && plan.Job.Training.CheckpointRounds > 0 ? ((long)plan.Epochs * layout.Count - 1) / plan.Job.Training.CheckpointRounds : 0;
        double stateBytes = sizes.TrainRows * (sizeof(int) + sizeof(double) * (double)plan.Family.Outputs);
        seconds = seconds with { Sync = seconds.Sync + states * (2 * rates.SecondsPerSync + stateBytes * rates.SecondsPerSyncedByte) };
        double start = traffic.Count < 2 ? 0 : rates.SecondsOfStart + (plan.Noises(PartyRole.Active) ? rates.SecondsOfNoisyStart : 0);
        (seconds, processor) = (seconds with { Start = start }, processor + start);
        GlmPartyTraffic active = traffic.First(t => t.Party.Role == PartyRole.Active);
        GlmTrafficCount[] passive = [.. traffic.Where(t => t.Party.Role != PartyRole.Active).Select(t => t.Preparation + t.Evaluation)];
        long bytes = active.Preparation.FrameBytes + passive.Sum(p => p.FrameBytes);
        // Four steps that wait for each other: ids there, the answer back, agreement, scores at the end.
        double outside = passive.Length == 0 ? 0 : 4 * link.LatencySeconds + bytes * Math.Max(rates.SecondsPerMessageByte, 1 / link.BytesPerSecond);
        return new(traffic, seconds, (long)plan.Epochs * layout.Count, plan.Epochs, processor, outside);
    }
}
