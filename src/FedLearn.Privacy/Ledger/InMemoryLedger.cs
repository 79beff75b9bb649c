namespace FedLearn.Privacy;

/// <summary>A ledger that lives as long as the process: it adds up, but forgets. Thread-safe.</summary>
/// <param name="clock">Clock of the entries; null for the system's.</param>
public sealed class InMemoryLedger(TimeProvider? clock = null) : IPrivacyLedger
{
    private readonly TimeProvider _clock = clock ?? TimeProvider.System;
    private readonly Lock _lock = new();
    private readonly List<LedgerEntry> _entries = [];
    private readonly Dictionary<(string Party, string Key), byte[]> _kept = [];

    /// <inheritdoc />
    public string Warning => "charges are kept in memory: spending over several jobs is not added up";

    /// <inheritdoc />
    public IReadOnlyList<LedgerEntry> Entries
    {
        get
        {
            lock (_lock)
                return [.. _entries];
        }
    }

    /// <inheritdoc />
    public void Check(PrivacyCharge charge) => IPrivacyLedger.CheckCharge(charge);

    /// <inheritdoc />
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5021: the run is in the ledger, which kept none of its messages to go on with.</exception>
    public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null)
    {
        IPrivacyLedger.CheckCharge(charge);
        lock (_lock)
        {
            if (_entries.Any(e => e.Charge.RunId == charge.RunId))
                throw PrivacyErrors.Refused(PrivacyErrors.RunReservedOtherwise, "ledger", "a run of this id is in the ledger already.", "Draw a new run id.");
            _entries.Add(new LedgerEntry(charge, ChargeState.Reserved, 1, _clock.GetUtcNow()));
            if (kept is not null)
                _kept[(charge.Party, kept.Key)] = kept.Bytes.ToArray();
        }

        return new Reservation(this, charge.RunId, inFull: kept is not null);
    }

    /// <inheritdoc />
    public byte[]? Find(string party, string key)
    {
        lock (_lock)
            return _kept.GetValueOrDefault((party, key));
    }

    private void Settle(string runId, double share)
    {
        lock (_lock)
        {
            int at = _entries.FindIndex(e => e.Charge.RunId == runId);
            _entries[at] = _entries[at] with { State = ChargeState.Settled, Share = share };
        }
    }

    /// <summary>Keeps no messages: a process that ends takes its runs with it.</summary>
    private sealed class Reservation(InMemoryLedger ledger, string runId, bool inFull) : IPrivacyReservation
    {
        public string RunId => runId;

        public int Kept { get; private set; }

        public byte[]? Find(int index) => null;

        public void Keep(int index, ReadOnlySpan<byte> message)
        {
            ArgumentOutOfRangeException.ThrowIfNotEqual(index, Kept);
            Kept++;
        }

        public void Settle(double share)
        {
            IPrivacyReservation.CheckShare(share, Kept);
            ledger.Settle(runId, inFull ? 1 : share);
        }

        public void Dispose() { }
    }
}
