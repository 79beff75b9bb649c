using System.Text.Json;

namespace FedLearn.Privacy;

/// <summary>Where a party writes down what its releases cost, before they leave. Thread-safe.</summary>
/// <remarks>A ledger of one's own checks a charge with <see cref="CheckCharge"/> and <see cref="LedgerBudget.Check"/>, the latter in the transaction in which it writes the charge, and compares a run
/// that it holds already by <see cref="PrivacyCharge.HasTermsOf"/>. It keeps of a table what <see cref="DataSetIdentity.Restore"/> takes. <c>PrivacyLedgerConformance</c> of
/// the package FedLearn.Testing checks it.</remarks>
public interface IPrivacyLedger
{
    /// <summary>What a report must say about this ledger, as a sentence; null when charges last and a budget bounds them.</summary>
    string? Warning { get; }

    /// <summary>All charges, in the order in which they were reserved.</summary>
    /// <remarks>Their tables know all ids that the tables of the charges knew (<see cref="DataSetIdentity.Digests"/>), so that what shares people with them is found.</remarks>
    IReadOnlyList<LedgerEntry> Entries { get; }

    /// <summary>Refuses a charge that the budget does not allow, see <see cref="LedgerBudget.Check"/>; writes nothing.</summary>
    /// <param name="charge">What a run would cost. A run that is reserved already is not counted twice.</param>
    /// <exception cref="ArgumentException">The charge is none, see <see cref="CheckCharge"/>.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5020: over the budget; the message says what is left.</exception>
    void Check(PrivacyCharge charge);

    /// <summary>Refuses several runs of one cost that the budget does not allow together; writes nothing.</summary>
    /// <param name="charge">What each of them would cost.</param>
    /// <param name="runs">Runs, at least 1.</param>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5020: over the budget; the message says what they cost together and what is left.</exception>
    void Check(PrivacyCharge charge, int runs)
    {
        ArgumentNullException.ThrowIfNull(charge);
        ArgumentOutOfRangeException.ThrowIfLessThan(runs, 1);
        Check(charge with { PureEpsilon = runs * charge.PureEpsilon, MuSquared = runs * charge.MuSquared });
    }

    /// <summary>Reserves a charge durably, or finds the one of the same run again. Messages may leave only after that.</summary>
    /// <param name="charge">What the run costs.</param>
    /// <param name="kept">Something released once and used again, written in the same step as the charge; null for nothing.</param>
    /// <returns>The reservation.</returns>
    /// <exception cref="ArgumentException">The charge is none, see <see cref="CheckCharge"/>.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5020: over the budget; FL5021: the run is reserved with other terms.</exception>
    IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null);

    /// <summary>Something released before from tables that share rows with this one, to be used again free of charge.</summary>
    /// <param name="party">The party.</param>
    /// <param name="key">Key it was kept under.</param>
    /// <returns>The bytes, which the caller does not change; null: nothing was kept under the key.</returns>
    byte[]? Find(string party, string key);

    /// <summary>What no sum of a ledger shows of the people of a table: runs that protected less than their records, and charges under another name. A run with test noise
    /// is charged as if its noise had been secret, in every mode, so that a sum is never less with it; no finite number is what it told.</summary>
    /// <param name="entries">Charges of a ledger.</param>
    /// <param name="party">The party.</param>
    /// <param name="dataSet">The table.</param>
    /// <param name="exceptRun">Id of a run that is not to be counted; null for none.</param>
    /// <returns>Sentences; empty when the sums tell all.</returns>
    static IReadOnlyList<string> Caveats(IEnumerable<LedgerEntry> entries, string party, DataSetIdentity dataSet, string? exceptRun = null)
    {
        ArgumentNullException.ThrowIfNull(entries);
        LedgerEntry[] others = [.. entries.Where(e => e.Charge.RunId != exceptRun && e.Charge.DataSet.SharesRowsWith(dataSet))], own = [.. others.Where(e => e.Charge.Party == party)];
        var caveats = new List<string>();
        if (own.Count(e => e.Charge.TestNoise && e.Share > 0) is > 0 and var seeded)
            caveats.Add($"{seeded} earlier {(seeded == 1 ? "run" : "runs")} over these people used test noise and protected nothing: the sums count them as if their noise had been secret, which is less than they told");
        if (own.Count(e => e.Charge.Unit == PrivacyUnit.Label) is > 0 and var labels)
            caveats.Add($"{labels} earlier {(labels == 1 ? "run" : "runs")} over these people protected labels only: what they told of features is in no sum of the ledger");
        if (own.Count(e => e.Charge.Unit == PrivacyUnit.Record && e.Charge.Mechanism.StartsWith(PrivacyCharge.Disclosed, StringComparison.Ordinal)) is > 0 and var disclosed)
            caveats.Add($"{disclosed} earlier {(disclosed == 1 ? "run" : "runs")} over these people disclosed what this party sent: what that told is in no sum of the ledger");
        // Only of charges that were settled in full: such scores leave after the last round, which other runs did not reach.
        if (own.Count(e => e.Share == 1 && NamesEvaluationRows(e.Charge)) is > 0 and var scored)
            caveats.Add($"{scored} earlier {(scored == 1 ? "run" : "runs")} over these people sent scores of evaluation rows as they are: what a score told of its row is in no sum of the ledger");
        if (others.Length > own.Length)
            caveats.Add("the ledger holds charges over these people under another party's name: a budget counts one name only");
        return caveats;
    }

    private static bool NamesEvaluationRows(PrivacyCharge charge)
    {
        using var parameters = JsonDocument.Parse(charge.Parameters);
        return parameters.RootElement.ValueKind == JsonValueKind.Object && parameters.RootElement.TryGetProperty(PrivacyCharge.EvaluationRows, out _);
    }

    /// <summary>Refuses a charge that no ledger could keep and read again.</summary>
    /// <param name="charge">The charge.</param>
    /// <exception cref="ArgumentException">The run id is not 32 lower-case hex digits, a text is null, the parameters are no JSON, or there is no message.</exception>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300: a cost is not a finite number of at least 0.</exception>
    static void CheckCharge(PrivacyCharge charge)
    {
        ArgumentNullException.ThrowIfNull(charge);
        // The id becomes a file name.
        if (charge.RunId is not { Length: 32 } id || !id.All(char.IsAsciiHexDigitLower))
            throw new ArgumentException("A run id is 32 lower-case hex digits.", nameof(charge));
        if (charge.Party is null || charge.DataSet is null || charge.JobName is null || charge.JobDigest is null || charge.Mechanism is null || charge.Claim is null || charge.Parameters is null)
            throw new ArgumentException("A part of the charge is null.", nameof(charge));
        try
        {
            JsonDocument.Parse(charge.Parameters).Dispose();
        }
        catch (JsonException e)
        {
            throw new ArgumentException("The parameters of a charge are JSON.", nameof(charge), e);
        }

        if (charge.Messages < 1)
            throw new ArgumentOutOfRangeException(nameof(charge), "A charge covers at least one message.");
        _ = new PrivacyTotal(charge.PureEpsilon, charge.MuSquared);
    }
}

/// <summary>What every ledger can be asked.</summary>
public static class PrivacyLedgerExtensions
{
    /// <summary>What the charges for a table add up to.</summary>
    /// <param name="ledger">The ledger.</param>
    /// <param name="party">The party.</param>
    /// <param name="dataSet">The table.</param>
    /// <param name="unit">The unit.</param>
    /// <returns>Their sum, as a budget for replacing a record counts it.</returns>
    public static PrivacyTotal Spent(this IPrivacyLedger ledger, string party, DataSetIdentity dataSet, PrivacyUnit unit)
    {
        ArgumentNullException.ThrowIfNull(ledger);
        return ledger.Entries.Where(e => e.Costs(party, dataSet, unit)).Aggregate(PrivacyTotal.Zero, (sum, e) => sum + new PrivacyTotal(e.PureEpsilon, e.MuSquared));
    }
}

/// <summary>Something that is released once and used by later runs free of charge, such as randomised labels.</summary>
/// <param name="Key">Names the data, the labels and the mechanism; the same key finds it again.</param>
/// <param name="Bytes">What was released.</param>
public sealed record KeptRelease(string Key, ReadOnlyMemory<byte> Bytes);

/// <summary>The charge of one run, and its messages on their way out.</summary>
public interface IPrivacyReservation : IDisposable
{
    /// <summary>Id of the run.</summary>
    string RunId { get; }

    /// <summary>Messages kept so far, by this process and by earlier ones that ran under the same id.</summary>
    int Kept { get; }

    /// <summary>The bytes kept for a message of this run, which the caller does not change; null when it has not been noised yet.</summary>
    /// <param name="index">Number of the message in the run, from 0.</param>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5024: it was noised before and is kept no longer; a second noise is never drawn.</exception>
    byte[]? Find(int index);

    /// <summary>How many of the newest messages it keeps at least, and of the newest values that stay at the party: how far back a resumed run may send again.</summary>
    int KeepsAtLeast => int.MaxValue;

    /// <summary>Says how many of the newest messages may be asked for again, and with one more of the newest values that stay at the party, since a run's last value comes after its messages: older ones need no room, and a
    /// run over many rows fills a disk otherwise. Optional; what is kept already stays.</summary>
    /// <param name="messages">How many, at least 1; without effect where it is above <see cref="KeepsAtLeast"/>.</param>
    void KeepNoMore(int messages) { }

    /// <summary>Makes room for messages before the first is kept, so that the first costs no more than the others. Optional; it keeps and charges nothing.</summary>
    /// <param name="bytes">Size of the largest message, at least 0.</param>
    /// <param name="messages">How many there will be, at least 1.</param>
    void Prepare(int bytes, int messages) { }

    /// <summary>Keeps a message durably. On return it may leave; sent again, it is these bytes.</summary>
    /// <param name="index">Number of the message in the run, from 0; one above the last.</param>
    /// <param name="message">The noised message.</param>
    void Keep(int index, ReadOnlySpan<byte> message);

    /// <summary>Keeps a message durably, like the other, and has work begun that needs no more of this thread than its beginning: storage that writes by itself takes the message first, so that it does not wait for that.</summary>
    /// <param name="index">As above.</param>
    /// <param name="message">As above.</param>
    /// <param name="begin">Called once, unless the message is refused, at the latest before the storage is waited for. It must be short and keep nothing here.</param>
    void Keep(int index, ReadOnlySpan<byte> message, Action begin)
    {
        ArgumentNullException.ThrowIfNull(begin);
        begin();
        Keep(index, message);
    }

    /// <summary>Time spent in waiting for the storage to have what was kept; zero where nothing is waited for.</summary>
    TimeSpan SyncTime => TimeSpan.Zero;

    /// <summary>Whether noised values that stay at the party are kept too, so that another process can go on with the run.</summary>
    bool KeepsLocally => false;

    /// <summary>A noised value that stays at the party, as it was kept; null when it has not been noised yet.</summary>
    /// <param name="index">Number of the value in the run, from 0; values have numbers of their own, apart from the messages.</param>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5024: it, or one before it, was noised and is kept no longer; a second noise is never drawn.</exception>
    byte[]? FindLocal(int index) => null;

    /// <summary>Keeps a noised value that stays at the party, as durably as a message: every later message depends on it, so a second noise for it would tell
    /// more than was charged.</summary>
    /// <param name="index">Number of the value in the run, from 0; one above the last.</param>
    /// <param name="value">The noised value.</param>
    void KeepLocal(int index, ReadOnlySpan<byte> value) { }

    /// <summary>Ends the run: what it costs from now on. Its messages are kept no longer.</summary>
    /// <param name="share">Upper bound on the share of the reserved cost (of mu squared, and of pure epsilon) that the <see cref="Kept"/> messages cost;
    /// 0 to 1, and above 0 unless nothing was kept. A charge with a <see cref="KeptRelease"/> counts in full whatever the share: later runs use it.</param>
    /// <exception cref="ArgumentOutOfRangeException">The share is none.</exception>
    void Settle(double share);

    /// <summary>Refuses what cannot be the share of a settlement.</summary>
    /// <param name="share">See <see cref="Settle"/>.</param>
    /// <param name="kept">See <see cref="Kept"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is no number from 0 to 1, or 0 although messages were kept.</exception>
    static void CheckShare(double share, int kept)
    {
        if (!(share >= 0 && share <= 1) || (share == 0 && kept > 0))
            throw new ArgumentOutOfRangeException(nameof(share), "A share is a number from 0 to 1, and above 0 when messages were kept.");
    }
}
