using System.Collections.Concurrent;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Tests.Dssm;

/// <summary>A ledger in memory that keeps what a run noised, as one in a file does: a run is reserved again under its id. It fails where something is noised twice.</summary>
internal sealed class KeepingLedger : IPrivacyLedger
{
    private readonly Lock _lock = new();
    private readonly List<LedgerEntry> _entries = [];
    private readonly Dictionary<string, (List<byte[]> Messages, List<byte[]> Values)> _kept = [];

    public string? Warning => null;

    public IReadOnlyList<LedgerEntry> Entries
    {
        get
        {
            lock (_lock)
                return [.. _entries];
        }
    }

    /// <summary>Messages of each run.</summary>
    public IReadOnlyDictionary<string, int> Messages => _kept.ToDictionary(k => k.Key, k => k.Value.Messages.Count);

    /// <summary>Values that stayed at the party, of each run.</summary>
    public IReadOnlyDictionary<string, int> Values => _kept.ToDictionary(k => k.Key, k => k.Value.Values.Count);

    /// <summary>The bytes of what the only run of a party released, message by message, and of what it noised and kept.</summary>
    public (IReadOnlyList<byte[]> Messages, IReadOnlyList<byte[]> Values) Bytes => _kept.Values.Single();

    /// <summary>Whether it cannot be written at the end of a run.</summary>
    public bool Fails { get; set; }

    /// <summary>What it says of each run that it keeps.</summary>
    public int KeepsAtLeast { get; init; } = int.MaxValue;

    /// <summary>How many of the newest messages of each run may be asked for, where it says so.</summary>
    public ConcurrentDictionary<string, int> Bounds { get; } = [];

    public void Check(PrivacyCharge charge) => ArgumentNullException.ThrowIfNull(charge);

    public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null)
    {
        lock (_lock)
        {
            if (_entries.Find(e => e.Charge.RunId == charge.RunId) is not { } entry)
            {
                _entries.Add(new LedgerEntry(charge, ChargeState.Reserved, 1, default));
                _kept[charge.RunId] = ([], []);
            }
            else if (entry.State == ChargeState.Settled || entry.Charge with { DataSet = charge.DataSet } != charge || entry.Charge.DataSet.Fingerprint != charge.DataSet.Fingerprint)
            {
                throw new InvalidOperationException("The run is settled, or reserved with other terms.");
            }
        }

        return new Reservation(this, charge);
    }

    public byte[]? Find(string party, string key) => null;

    private sealed class Reservation(KeepingLedger ledger, PrivacyCharge charge) : IPrivacyReservation
    {
        private readonly (List<byte[]> Messages, List<byte[]> Values) _kept = ledger._kept[charge.RunId];

        public string RunId => charge.RunId;

        public int Kept => _kept.Messages.Count;

        public int KeepsAtLeast => ledger.KeepsAtLeast;

        public void KeepNoMore(int messages) => ledger.Bounds[charge.RunId] = messages;

        public bool KeepsLocally => true;

        // As a bounded outbox would after a write that was torn, it holds one less than its bound.
        public byte[]? Find(int index) => index >= Kept ? null
            : Kept - index < ledger.Bounds.GetValueOrDefault(charge.RunId, int.MaxValue) ? _kept.Messages[index] : throw new InvalidOperationException("The message is kept no longer.");

        public void Keep(int index, ReadOnlySpan<byte> message)
        {
            ArgumentOutOfRangeException.ThrowIfNotEqual(index, Kept);
            _kept.Messages.Add(message.ToArray());
        }

        public byte[]? FindLocal(int index) => index >= _kept.Values.Count ? null
            : _kept.Values.Count - index <= ledger.Bounds.GetValueOrDefault(charge.RunId, int.MaxValue) ? _kept.Values[index] : throw new InvalidOperationException("The value is kept no longer.");

        public void KeepLocal(int index, ReadOnlySpan<byte> value)
        {
            ArgumentOutOfRangeException.ThrowIfNotEqual(index, _kept.Values.Count);
            _kept.Values.Add(value.ToArray());
        }

        public void Settle(double share)
        {
            if (ledger.Fails)
                throw new InternalFailureException("FL6312", "ledger", "the storage failed.", "Check the disk.");
            lock (ledger._lock)
            {
                int at = ledger._entries.FindIndex(e => e.Charge.RunId == charge.RunId);
                ledger._entries[at] = ledger._entries[at] with { State = ChargeState.Settled, Share = share };
            }
        }

        public void Dispose() { }
    }
}
