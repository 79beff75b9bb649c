using FedLearn.Privacy;
using FedLearn.Testing;

namespace FedLearn.Tests.Privacy;

public class PrivacyLedgerConformanceTests
{
    public static TheoryData<string> Checks => [.. PrivacyLedgerConformance.All.Keys];

    public static TheoryData<string> AllChecks => [.. PrivacyLedgerConformance.All.Keys, .. PrivacyLedgerConformance.Lasting.Keys];

    private static PrivacyLedgerConformance.Check Named(string check) => PrivacyLedgerConformance.All.GetValueOrDefault(check) ?? PrivacyLedgerConformance.Lasting[check];

    [Theory]
    [MemberData(nameof(Checks))]
    public void InMemoryLedger_Conforms(string check)
    {
        var ledger = new InMemoryLedger();
        PrivacyLedgerConformance.All[check](_ => ledger);
    }

    [Theory]
    [MemberData(nameof(AllChecks))]
    public void LastingLedger_Conforms(string check)
    {
        var store = new Store();
        Named(check)(budget => new LastingLedger(store, budget, Fault.None));
    }

    public static TheoryData<Fault, string> Faults => new()
    {
        { Fault.ForgetsTheNewestCharge, "charges last" },
        { Fault.ForgetsSettlements, "charges last" },
        { Fault.KnowsTheSketchAlone, "tables are known by all their people after opening again" },
        { Fault.TakesAnyTerms, "a run of other terms is refused" },
        { Fault.ChargesARunTwice, "a budget holds for what earlier processes spent" },
        { Fault.ChecksNoBudgetInReserve, "a budget holds for what earlier processes spent" },
        { Fault.ChecksWhatItReadBefore, "a budget holds for charges at once" },
        { Fault.ChecksOneRun, "a budget holds for several runs together" },
        { Fault.WritesWhenItChecks, "a check writes nothing" },
        { Fault.ChargesWhatWasSent, "a run that was not settled counts in full" },
        { Fault.SettlesReleases, "what was released once is found by its party and key, and counts in full" },
        { Fault.FindsAnybodysRelease, "what was released once is found by its party and key, and counts in full" },
        { Fault.TakesAnyShare, "what is no share is refused" },
        { Fault.TakesAnyIndex, "messages are kept one after the other" },
        { Fault.TakesAnyIndex, "a message is noised once" },
        { Fault.ForgetsMessages, "a run goes on with its messages" },
        { Fault.DrawsAgain, "messages that are kept no longer are not drawn again" },
        { Fault.ForgetsValues, "values that stay at the party are kept like messages" },
        { Fault.GoesOnAfterTheEnd, "a run that was settled cannot go on" },
        { Fault.TakesAnyCharge, "what is no charge is refused" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Conformance_BrokenLedger_IsCaught(Fault fault, string check)
    {
        var store = new Store();
        ConformanceException failure = Assert.Throws<ConformanceException>(() => Named(check)(budget => new LastingLedger(store, budget, fault)));
        Assert.StartsWith($"privacy ledger, {check}: ", failure.Message, StringComparison.Ordinal);
    }

    public enum Fault
    {
        None, ForgetsTheNewestCharge, ForgetsSettlements, KnowsTheSketchAlone, TakesAnyTerms, ChargesARunTwice, ChecksNoBudgetInReserve, ChecksWhatItReadBefore, ChecksOneRun, WritesWhenItChecks, ChargesWhatWasSent,
        SettlesReleases, FindsAnybodysRelease, TakesAnyShare, TakesAnyIndex, ForgetsMessages, DrawsAgain, ForgetsValues, GoesOnAfterTheEnd, TakesAnyCharge,
    }

    /// <summary>What lasts beyond a process.</summary>
    private sealed class Store
    {
        public List<LedgerEntry> Entries { get; } = [];

        public Dictionary<(string Party, string Key), (string RunId, byte[] Bytes)> Releases { get; } = [];

        public Dictionary<string, (List<byte[]> Messages, List<byte[]> Values)> Runs { get; } = [];
    }

    /// <summary>A slow, plain ledger that lasts, with one fault or none.</summary>
    private sealed class LastingLedger : IPrivacyLedger
    {
        private readonly Store _store;
        private readonly LedgerBudget? _budget;
        private readonly Fault _fault;
        private readonly LedgerEntry[] _opened;

        public LastingLedger(Store store, LedgerBudget? budget, Fault fault)
        {
            (_store, _budget, _fault) = (store, budget, fault);
            lock (_store)
            {
                if (fault == Fault.ForgetsTheNewestCharge && _store.Entries.Count > 0)
                    _store.Entries.RemoveAt(_store.Entries.Count - 1);
                for (int i = 0; i < _store.Entries.Count; i++)
                    if (fault == Fault.ForgetsSettlements)
                        _store.Entries[i] = _store.Entries[i] with { State = ChargeState.Reserved, Share = 1 };
                _opened = [.. _store.Entries];
            }
        }

        public string? Warning => null;

        public IReadOnlyList<LedgerEntry> Entries
        {
            get
            {
                lock (_store)
                    return [.. _store.Entries.Select(entry => entry with { Charge = entry.Charge with { DataSet = Known(entry.Charge.DataSet) } })];
            }
        }

        private DataSetIdentity Known(DataSetIdentity table) =>
            DataSetIdentity.Restore(table.Fingerprint, table.Rows, table.Sketch.Span, _fault == Fault.KnowsTheSketchAlone ? null : () => table.Digests!.Value);

        public void Check(PrivacyCharge charge) => Check(charge, 1);

        public void Check(PrivacyCharge charge, int runs)
        {
            if (_fault != Fault.TakesAnyCharge)
                IPrivacyLedger.CheckCharge(charge);
            lock (_store)
            {
                _budget?.Check(_store.Entries, charge, "here", _fault == Fault.ChecksOneRun ? 1 : runs);
                if (_fault == Fault.WritesWhenItChecks)
                    _store.Entries.Add(new LedgerEntry(charge, ChargeState.Reserved, 1, default));
            }
        }

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null)
        {
            if (_fault != Fault.TakesAnyCharge)
                IPrivacyLedger.CheckCharge(charge);
            lock (_store)
            {
                if (_store.Entries.Find(e => e.Charge.RunId == charge.RunId) is { } entry && _fault != Fault.ChargesARunTwice)
                {
                    if (_fault != Fault.TakesAnyTerms && !entry.Charge.HasTermsOf(charge))
                        throw Refused(PrivacyErrors.RunReservedOtherwise);
                    if (entry.State == ChargeState.Settled && _fault != Fault.GoesOnAfterTheEnd)
                        throw Refused("FL5023");
                    return new Run(_store, charge.RunId, _fault);
                }

                if (_fault != Fault.ChecksNoBudgetInReserve)
                    _budget?.Check(_fault == Fault.ChecksWhatItReadBefore ? _opened : _store.Entries, charge, "here");
                _store.Entries.Add(new LedgerEntry(charge, ChargeState.Reserved, _fault == Fault.ChargesWhatWasSent ? 0 : 1, DateTimeOffset.UtcNow));
                if (kept is not null)
                    _store.Releases[(charge.Party, kept.Key)] = (charge.RunId, kept.Bytes.ToArray());
                return new Run(_store, charge.RunId, _fault);
            }
        }

        public byte[]? Find(string party, string key)
        {
            lock (_store)
                return _fault == Fault.FindsAnybodysRelease ? _store.Releases.Values.FirstOrDefault().Bytes : _store.Releases.TryGetValue((party, key), out (string RunId, byte[] Bytes) kept) ? kept.Bytes : null;
        }

        private static FedLearn.Diagnostics.PrivacyRefusedException Refused(string id) => new(id, "here", "refused.", "None.");

        private sealed class Run(Store store, string runId, Fault fault) : IPrivacyReservation
        {
            private readonly (List<byte[]> Messages, List<byte[]> Values) _run = Opened(store, runId, fault);
            private int _most = int.MaxValue;

            private static (List<byte[]> Messages, List<byte[]> Values) Opened(Store store, string runId, Fault fault)
            {
                lock (store)
                {
                    if (!store.Runs.TryGetValue(runId, out (List<byte[]> Messages, List<byte[]> Values) run))
                        store.Runs[runId] = run = ([], []);
                    if (fault == Fault.ForgetsMessages)
                        run.Messages.Clear();
                    if (fault == Fault.ForgetsValues)
                        run.Values.Clear();
                    return run;
                }
            }

            public string RunId => runId;

            public int Kept => _run.Messages.Count;

            public bool KeepsLocally => true;

            public void KeepNoMore(int messages) => _most = messages;

            public byte[]? Find(int index) => index >= Kept ? null : _run.Messages[index] is { Length: > 0 } kept ? kept : fault == Fault.DrawsAgain ? null : throw Refused("FL5024");

            public byte[]? FindLocal(int index) => index >= _run.Values.Count ? null : _run.Values[index];

            public void Keep(int index, ReadOnlySpan<byte> message)
            {
                Put(_run.Messages, index, message);
                if (Kept > _most)
                    _run.Messages[Kept - 1 - _most] = []; // kept no longer
            }

            public void KeepLocal(int index, ReadOnlySpan<byte> value) => Put(_run.Values, index, value);

            private void Put(List<byte[]> kept, int index, ReadOnlySpan<byte> bytes)
            {
                if (fault == Fault.TakesAnyIndex && index < kept.Count)
                {
                    kept[index] = bytes.ToArray();
                    return;
                }

                if (fault != Fault.TakesAnyIndex)
                    ArgumentOutOfRangeException.ThrowIfNotEqual(index, kept.Count);
                kept.Add(bytes.ToArray());
            }

            public void Settle(double share)
            {
                if (fault != Fault.TakesAnyShare)
                    IPrivacyReservation.CheckShare(share, Kept);
                lock (store)
                {
                    int at = store.Entries.FindIndex(e => e.Charge.RunId == runId);
                    bool inFull = fault != Fault.SettlesReleases && store.Releases.Values.Any(kept => kept.RunId == runId);
                    store.Entries[at] = store.Entries[at] with { State = ChargeState.Settled, Share = inFull ? 1 : share };
                }
            }

            public void Dispose() { }
        }
    }
}
