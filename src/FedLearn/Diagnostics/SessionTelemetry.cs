using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace FedLearn.Diagnostics;

/// <summary>One session of a party, as logs, metrics and traces show it.</summary>
/// <param name="operation">train or predict.</param>
/// <param name="party">Name of the party.</param>
/// <param name="job">Name of the job.</param>
/// <param name="mode">What protects the messages.</param>
/// <param name="logs">Where to log; null for nowhere.</param>
internal sealed class SessionTelemetry(string operation, string party, string job, string mode, ILoggerFactory? logs)
{
    private readonly ILogger _log = logs?.CreateLogger("FedLearn.Session") ?? NullLogger.Instance;
    private long _lastReport = Stopwatch.GetTimestamp();
    private int _lastRound;

    /// <summary>Runs the session.</summary>
    public async Task<T> RunAsync<T>(Func<Task<T>> session)
    {
        long start = Stopwatch.GetTimestamp();
        TagList tags = Tags();
        tags.Add("operation", operation);
        FedLearnTelemetry.StartedCounter.Add(1, tags);
        _log.Started(party, operation, job, mode);
        using Activity? activity = Begin("fedlearn." + operation);
        try
        {
            T result = await session().ConfigureAwait(false);
            tags.Add("outcome", "completed");
            _log.Completed(party, operation, Stopwatch.GetElapsedTime(start).TotalSeconds, job);
            return result;
        }
        catch (OperationCanceledException)
        {
            tags.Add("outcome", "cancelled");
            activity?.SetStatus(ActivityStatusCode.Error, "cancelled");
            _log.Cancelled(party, operation, job);
            throw;
        }
        catch (Exception e)
        {
            // Never the message: one of another library may quote data.
            string error = (e as FedLearnException)?.Id ?? e.GetType().Name;
            tags.Add("outcome", "failed");
            tags.Add("error", error);
            activity?.SetStatus(ActivityStatusCode.Error, error);
            _log.Failed(party, operation, error, job);
            throw;
        }
        finally
        {
            FedLearnTelemetry.EndedCounter.Add(1, tags);
        }
    }

    /// <summary>Begins an activity within the session; null when nobody listens.</summary>
    /// <param name="name">Its name, <c>fedlearn.</c> and a word.</param>
    public Activity? Begin(string name) =>
        FedLearnTelemetry.Source.StartActivity(name)?.SetTag("party", party).SetTag("job", job).SetTag("mode", mode);

    /// <summary>The parties' rows are aligned.</summary>
    public void Aligned(int rows) => _log.Aligned(party, rows, job);

    /// <summary>Ids were compared by hash over a connection.</summary>
    /// <param name="warning">What there is to know of it.</param>
    public void ComparedByHash(string warning) => _log.ComparedByHash(party, warning, job);

    /// <summary>Training begins: the first round's time counts from here.</summary>
    public Activity? BeginTraining()
    {
        _lastReport = Stopwatch.GetTimestamp();
        return Begin("fedlearn.training");
    }

    /// <summary>Rounds of training are done.</summary>
    /// <param name="round">How many, in all.</param>
    /// <param name="rounds">How many are planned.</param>
    public void RoundsDone(int round, int rounds)
    {
        long now = Stopwatch.GetTimestamp();
        int done = round - _lastRound;
        if (done > 0)
        {
            TagList tags = Tags();
            FedLearnTelemetry.RoundsCounter.Add(done, tags);
            FedLearnTelemetry.RoundSeconds.Record(Stopwatch.GetElapsedTime(_lastReport, now).TotalSeconds / done, tags);
        }

        (_lastReport, _lastRound) = (now, round);
        _log.RoundsDone(party, round, rounds, job);
    }

    /// <summary>Training has ended.</summary>
    /// <param name="reason">Why.</param>
    /// <param name="training">Seconds in all.</param>
    /// <param name="wait">Of these: waiting for other parties.</param>
    /// <param name="noise">Of these: noise.</param>
    public void Trained(string reason, double training, double wait, double noise)
    {
        TagList tags = Tags();
        FedLearnTelemetry.WaitSeconds.Add(wait, tags);
        FedLearnTelemetry.NoiseSeconds.Add(noise, tags);
        _log.Trained(party, reason, training, wait, noise, job);
    }

    private TagList Tags() => new() { { "party", party }, { "job", job }, { "mode", mode } };
}
