using FedLearn.Diagnostics;
using FedLearn.Parties;

namespace FedLearn.Testing;

/// <summary>What every implementation of <see cref="IAlignmentLog"/> must do. Depends on no test framework.</summary>
/// <remarks>A check throws <see cref="ConformanceException"/> where the log fails it. That a session survives a loss of power, no check can tell.</remarks>
public static class AlignmentLogConformance
{
    /// <summary>A check.</summary>
    /// <param name="open">Opens the log, as a process does when it starts: every call one over the same sessions, with the clock that is handed over. There is no session before the first.</param>
    public delegate void Check(Func<TimeProvider, IAlignmentLog> open);

    /// <summary>Every check, by name.</summary>
    public static IReadOnlyDictionary<string, Check> All { get; } = new Dictionary<string, Check>
    {
        ["a peer has its sessions of 24 hours and no more"] = Sessions,
        ["sessions that failed, and those of earlier processes, count"] = Last,
        ["a session that is taken up again is not counted again"] = TakenUp,
        ["a session with too many ids is refused and does not count"] = TooManyIds,
        ["sessions at once are within the cap together"] = AtOnce,
    }.ToDictionary(check => check.Key, check => new Check(open =>
    {
        ArgumentNullException.ThrowIfNull(open);
        try
        {
            check.Value(open);
        }
        catch (Exception e) when (e is ConformanceException or FedLearnException) // the latter where what is allowed was refused
        {
            throw new ConformanceException($"alignment log, {check.Key}: {e.Message}", e);
        }
    }));

    private static AlignmentRecord Record(int session, string peer = "telco", long peerIds = 100) => new($"{session:x32}", "bank", peer, "psi", "both", 200, peerIds, new string('0', 64));

    private static AlignmentCaps Caps(int sessions) => new() { SessionsPerDay = sessions, PeerIds = 100 };

    private static void Sessions(Func<TimeProvider, IAlignmentLog> open)
    {
        var clock = new ManualClock();
        IAlignmentLog log = open(clock);
        log.Begin(Record(1), Caps(2));
        log.End(Record(1).Session, 50);
        clock.Advance(TimeSpan.FromHours(1));
        log.Begin(Record(2), Caps(2));
        log.End(Record(2).Session, null);
        Refused(log, Record(3), Caps(2), AlignmentErrors.TooManySessions, "a third session of two");
        log.Begin(Record(4, "shop"), Caps(2));
        clock.Advance(TimeSpan.FromHours(22.9));
        Refused(log, Record(5), Caps(2), AlignmentErrors.TooManySessions, "a third session within 24 hours");
        clock.Advance(TimeSpan.FromHours(.2));
        log.Begin(Record(6), Caps(2));
        Refused(log, Record(7), Caps(2), AlignmentErrors.TooManySessions, "a session beside one of now and one of 23 hours ago");
    }

    private static void Last(Func<TimeProvider, IAlignmentLog> open)
    {
        var clock = new ManualClock();
        open(clock).Begin(Record(1), Caps(1));
        Refused(open(clock), Record(2), Caps(1), AlignmentErrors.TooManySessions, "a second session of one, the first of which never ended");
    }

    private static void TakenUp(Func<TimeProvider, IAlignmentLog> open)
    {
        var clock = new ManualClock();
        for (int process = 0; process < 3; process++)
            open(clock).Begin(Record(1), Caps(2));
        open(clock).Begin(Record(2), Caps(2));
        Refused(open(clock), Record(3), Caps(2), AlignmentErrors.TooManySessions, "a third session of two");
        open(clock).Begin(Record(1), Caps(1));
    }

    private static void TooManyIds(Func<TimeProvider, IAlignmentLog> open)
    {
        IAlignmentLog log = open(new ManualClock());
        Refused(log, Record(1, peerIds: 101), Caps(1), AlignmentErrors.TooManyIds, "a session with 101 ids of 100");
        log.Begin(Record(2), Caps(1));
    }

    private static void AtOnce(Func<TimeProvider, IAlignmentLog> open)
    {
        var clock = new ManualClock();
        IAlignmentLog[] logs = [.. Enumerable.Range(0, 4).Select(_ => open(clock))];
        int begun = 0;
        Parallel.For(0, 24, session =>
        {
            try
            {
                logs[session % logs.Length].Begin(Record(session), Caps(8));
                Interlocked.Increment(ref begun);
            }
            catch (PrivacyRefusedException e) when (e.Id == AlignmentErrors.TooManySessions)
            {
                // One of the sixteen that are too many.
            }
        });
        if (begun != 8)
            throw new ConformanceException($"of 24 sessions at once, of which 8 are within the cap, {begun} began");
    }

    private static void Refused(IAlignmentLog log, AlignmentRecord record, AlignmentCaps caps, string id, string what)
    {
        try
        {
            log.Begin(record, caps);
        }
        catch (PrivacyRefusedException e) when (e.Id == id)
        {
            return;
        }

        throw new ConformanceException($"{what} was not refused ({id})");
    }
}
