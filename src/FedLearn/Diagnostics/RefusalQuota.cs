namespace FedLearn.Diagnostics;

/// <summary>What was refused and not written down in a minute.</summary>
/// <param name="Who">Whom; null: all of whom nothing was written.</param>
/// <param name="ErrorId">Why; null with <paramref name="Who"/>.</param>
/// <param name="Count">How often; at least 1.</param>
internal readonly record struct RefusalsLeftOut(string? Who, string? ErrorId, long Count);

/// <summary>How many refusals a log gets within a minute. Whoever is refused may come again at once, under another name and from another address: without a limit a peer fills the disk. Thread-safe.</summary>
/// <remarks>The first <see cref="EachPerMinute"/> of a peer and cause are written, and <see cref="AllPerMinute"/> of all; when the minute is over, one line for each of them says how many more there were, and
/// one how many of others. A minute begins with a refusal.</remarks>
/// <param name="clock">Clock of the minutes.</param>
/// <param name="leftOut">Told of what was left out, when the minute or the log ends. What it throws is lost.</param>
internal sealed class RefusalQuota(TimeProvider clock, Action<RefusalsLeftOut> leftOut) : IDisposable
{
    /// <summary>Refusals of one peer and cause that are written within a minute.</summary>
    public const int EachPerMinute = 3;

    /// <summary>Refusals of all peers and causes that are written within a minute.</summary>
    public const int AllPerMinute = 20;

    private readonly Lock _gate = new();
    private Dictionary<(string Who, string ErrorId), (int Written, long LeftOut)> _counts = [];
    private int _written;
    private long _others;
    private ITimer? _minute;
    private bool _ended;

    /// <summary>Counts a refusal.</summary>
    /// <param name="who">Who was refused.</param>
    /// <param name="errorId">Why.</param>
    /// <returns>Whether it may be written.</returns>
    public bool Admits(string who, string errorId)
    {
        lock (_gate)
        {
            if (_ended)
                return false;
            _minute ??= clock.CreateTimer(_ => EndMinute(), null, TimeSpan.FromMinutes(1), Timeout.InfiniteTimeSpan);
            bool isKnown = _counts.TryGetValue((who, errorId), out (int Written, long LeftOut) count);
            if (_written < AllPerMinute && count.Written < EachPerMinute)
            {
                _written++;
                _counts[(who, errorId)] = (count.Written + 1, 0);
                return true;
            }

            // Callers of whom no line was written are only counted: so inventing names takes no memory here.
            if (isKnown)
                _counts[(who, errorId)] = (count.Written, count.LeftOut + 1);
            else
                _others++;
            return false;
        }
    }

    /// <summary>Ends the log: says what was left out. Later refusals are not written.</summary>
    public void Dispose()
    {
        lock (_gate)
            _ended = true;
        EndMinute();
    }

    private void EndMinute()
    {
        Dictionary<(string Who, string ErrorId), (int Written, long LeftOut)> counts;
        long others;
        lock (_gate)
        {
            (counts, _counts, others, _others, _written) = (_counts, [], _others, 0, 0);
            _minute?.Dispose();
            _minute = null;
        }

        foreach (((string who, string errorId), (_, long count)) in counts)
            if (count > 0)
                Tell(new RefusalsLeftOut(who, errorId, count));
        if (others > 0)
            Tell(new RefusalsLeftOut(null, null, others));
    }

    private void Tell(RefusalsLeftOut left)
    {
        try
        {
            leftOut(left);
        }
#pragma warning disable CA1031 // somebody else's code, and on a timer's thread nobody is left to catch what it throws
        catch (Exception)
#pragma warning restore CA1031
        {
            // A log that cannot be written ends no host.
        }
    }
}
