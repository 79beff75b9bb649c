using FedLearn.Parties;
using FedLearn.Testing;

namespace FedLearn.Tests.Parties;

public class AlignmentLogConformanceTests
{
    public static TheoryData<string> Checks => [.. AlignmentLogConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public void PlainLog_Conforms(string check)
    {
        var sessions = new List<(AlignmentRecord Record, DateTimeOffset At)>();
        AlignmentLogConformance.All[check](clock => new Log(sessions, clock, Fault.None));
    }

    [Theory]
    [InlineData(Fault.ForgetsSessions, "sessions that failed, and those of earlier processes, count")]
    [InlineData(Fault.CountsTwice, "a session that is taken up again is not counted again")]
    [InlineData(Fault.CountsRefused, "a session with too many ids is refused and does not count")]
    [InlineData(Fault.CountsAllPeers, "a peer has its sessions of 24 hours and no more")]
    [InlineData(Fault.NeverForgets, "a peer has its sessions of 24 hours and no more")]
    [InlineData(Fault.ChecksNothing, "sessions at once are within the cap together")]
    public void Conformance_BrokenLog_IsCaught(Fault fault, string check)
    {
        var sessions = new List<(AlignmentRecord Record, DateTimeOffset At)>();
        ConformanceException failure = Assert.Throws<ConformanceException>(() => AlignmentLogConformance.All[check](clock => new Log(fault == Fault.ForgetsSessions ? [] : sessions, clock, fault)));
        Assert.StartsWith($"alignment log, {check}: ", failure.Message, StringComparison.Ordinal);
    }

    public enum Fault
    {
        None, ForgetsSessions, CountsTwice, CountsRefused, CountsAllPeers, NeverForgets, ChecksNothing,
    }

    /// <summary>A plain log over sessions that last, with one fault or none.</summary>
    private sealed class Log(List<(AlignmentRecord Record, DateTimeOffset At)> sessions, TimeProvider clock, Fault fault) : IAlignmentLog
    {
        public void Begin(AlignmentRecord record, AlignmentCaps caps)
        {
            lock (sessions)
            {
                if (fault != Fault.CountsTwice && sessions.Exists(s => s.Record.Session == record.Session))
                    return;
                DateTimeOffset now = clock.GetUtcNow();
                int begun = sessions.Count(s => (fault == Fault.CountsAllPeers || s.Record.Peer == record.Peer) && (fault == Fault.NeverForgets || now - s.At < TimeSpan.FromHours(24)));
                if (fault == Fault.CountsRefused)
                    sessions.Add((record, now));
                if (fault != Fault.ChecksNothing)
                    caps.Check(record, begun);
                if (fault != Fault.CountsRefused)
                    sessions.Add((record, now));
            }
        }

        public void End(string session, long? commonIds) { }
    }
}
