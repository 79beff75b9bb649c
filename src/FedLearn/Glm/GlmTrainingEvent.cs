using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace FedLearn.Glm;

/// <summary>What a job that is watched tells: any number of reports, then one result for each party that it was asked of.</summary>
public abstract record GlmTrainingEvent
{
    private GlmTrainingEvent() { }

    /// <summary>An epoch, or an iteration of L-BFGS, is done at a party.</summary>
    /// <param name="Progress">Where the party is.</param>
    public sealed record RoundDone(GlmProgress Progress) : GlmTrainingEvent;

    /// <summary>A party has ended; nothing more comes of it.</summary>
    /// <param name="Result">What it has.</param>
    public sealed record Completed(GlmPartyResult Result) : GlmTrainingEvent;
}

/// <summary>Turns a job that reports to an <see cref="IProgress{T}"/> into a sequence.</summary>
/// <remarks>Reports wait in a queue without a limit of its own: at most one a party and epoch, some hundred bytes each. So a slow reader loses none and
/// never holds up a round, which would let the other parties' time limits run out.</remarks>
internal static class GlmTrainingStream
{
    /// <summary>Starts a job and yields what it reports, then its results. A reader that stops early stops the job, and waits until it has ended.</summary>
    /// <param name="train">The job.</param>
    /// <param name="cancellationToken">Stops the job.</param>
    public static async IAsyncEnumerable<GlmTrainingEvent> RunAsync(Func<IProgress<GlmProgress>, CancellationToken, Task<IReadOnlyList<GlmPartyResult>>> train,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var reports = Channel.CreateUnbounded<GlmProgress>(new UnboundedChannelOptions { SingleReader = true });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<IReadOnlyList<GlmPartyResult>> training = Task.Run(async () =>
        {
            try
            {
                return await train(new Writer(reports.Writer), stop.Token).ConfigureAwait(false);
            }
            finally
            {
                reports.Writer.Complete();
            }
        }, CancellationToken.None);
        try
        {
            // Not cancelled: the job itself is, and what it has reported by then is still told.
            await foreach (GlmProgress progress in reports.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
                yield return new GlmTrainingEvent.RoundDone(progress);
            foreach (GlmPartyResult result in await training.ConfigureAwait(false))
                yield return new GlmTrainingEvent.Completed(result);
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            // The peers have been told once it has ended. Whether it failed, the lines above have said, or the reader no longer asks.
            await ((Task)training).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // Progress<T> would post to other threads, out of order.
    private sealed class Writer(ChannelWriter<GlmProgress> reports) : IProgress<GlmProgress>
    {
        public void Report(GlmProgress value) => reports.TryWrite(value);
    }
}
