using FedLearn.Diagnostics;
using FedLearn.Parties;

namespace FedLearn.Alignment;

/// <summary>A log that forgets when the process ends. It counts the sessions that each peer began with each party within 24 hours.</summary>
/// <param name="clock">Clock.</param>
internal sealed class InMemoryAlignmentLog(TimeProvider clock) : IAlignmentLog
{
    private static readonly TimeSpan Day = TimeSpan.FromHours(24);

    private readonly Dictionary<string, DateTimeOffset> _begun = [];
    private readonly Dictionary<(string Party, string Peer), Queue<(string Session, DateTimeOffset At)>> _recent = [];
    private readonly Lock _gate = new();

    /// <summary>The one of this process, for those who name no other.</summary>
    public static InMemoryAlignmentLog Shared { get; } = new(TimeProvider.System);

    /// <inheritdoc />
    public void Begin(AlignmentRecord record, AlignmentCaps caps)
    {
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(caps);
        if (record.PeerIds > caps.PeerIds)
            throw TooManyIds(record.Peer, record.PeerIds, caps.PeerIds);
        lock (_gate)
        {
            DateTimeOffset now = clock.GetUtcNow();
            if (!_recent.TryGetValue((record.Party, record.Peer), out Queue<(string Session, DateTimeOffset At)>? recent))
                _recent[(record.Party, record.Peer)] = recent = new();
            while (recent.TryPeek(out (string Session, DateTimeOffset At) oldest) && now - oldest.At >= Day)
                _begun.Remove(recent.Dequeue().Session);
            string key = $"{record.Party}\n{record.Session}";
            if (_begun.ContainsKey(key))
                return;
            if (recent.Count >= caps.SessionsPerDay)
            {
                throw new PrivacyRefusedException(AlignmentErrors.TooManySessions, $"peer '{record.Peer}', alignment", $"it has begun {recent.Count} alignments within 24 hours, as many as it may.",
                    "Wait, or allow more (caps) if you trust the peer: each lets it test as many ids as it announces.");
            }

            recent.Enqueue((key, now));
            _begun.Add(key, now);
        }
    }

    /// <inheritdoc />
    public void End(string session, long? commonIds) { }

    /// <summary>The error of a peer that brings more ids than it may.</summary>
    public static PrivacyRefusedException TooManyIds(string peer, long ids, long most) => new(AlignmentErrors.TooManyIds, $"peer '{peer}', alignment",
        $"it announces {ids} ids; it may bring {most}.", "Allow more (caps) if you trust the peer: it can test as many ids as it announces.");
}
