using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Alignment;

/// <summary>A log that forgets when the process ends. It counts the sessions that each peer began with each party within 24 hours.</summary>
/// <param name="clock">Clock.</param>
internal sealed class InMemoryAlignmentLog(TimeProvider clock) : IAlignmentLog
{
    private static readonly TimeSpan Day = TimeSpan.FromHours(24);

    // By party and session. As in a ledger, an id stands for a session with one peer: another session under the same id must not go uncounted.
    private readonly Dictionary<(string Party, string Session), AlignmentRecord> _begun = [];
    private readonly Dictionary<(string Party, string Peer), Queue<(AlignmentRecord Record, DateTimeOffset At)>> _recent = [];
    private readonly Lock _gate = new();

    /// <summary>The one of this process, for those who name no other.</summary>
    public static InMemoryAlignmentLog Shared { get; } = new(TimeProvider.System);

    /// <inheritdoc />
    public void Begin(AlignmentRecord record, AlignmentCaps caps)
    {
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(caps);
        lock (_gate)
        {
            DateTimeOffset now = clock.GetUtcNow();
            if (!_recent.TryGetValue((record.Party, record.Peer), out Queue<(AlignmentRecord Record, DateTimeOffset At)>? recent))
                _recent[(record.Party, record.Peer)] = recent = new();
            while (recent.TryPeek(out (AlignmentRecord Record, DateTimeOffset At) oldest) && now - oldest.At >= Day)
            {
                recent.Dequeue();
                _begun.Remove((oldest.Record.Party, oldest.Record.Session));
            }

            if (_begun.TryGetValue((record.Party, record.Session), out AlignmentRecord? earlier))
            {
                if (earlier != record)
                    throw new PrivacyRefusedException(PrivacyErrors.RunReservedOtherwise, $"alignment with '{record.Peer}'", "a session of that id began with another peer or other numbers.",
                        "Remove the state of the interrupted alignment and start it anew.");
                return;
            }

            caps.Check(record, recent.Count);
            recent.Enqueue((record, now));
            _begun.Add((record.Party, record.Session), record);
        }
    }

    /// <inheritdoc />
    public void End(string session, long? commonIds) { }
}
