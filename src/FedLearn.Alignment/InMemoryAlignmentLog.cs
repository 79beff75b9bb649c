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
            caps.Check(record, recent.Count);
            recent.Enqueue((key, now));
            _begun.Add(key, now);
        }
    }

    /// <inheritdoc />
    public void End(string session, long? commonIds) { }
}
