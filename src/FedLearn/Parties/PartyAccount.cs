using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Parties;

/// <summary>What an account must know of a job.</summary>
/// <param name="Party">Party whose records are charged.</param>
/// <param name="Name">Name of the job.</param>
/// <param name="Digest">Digest of the job; empty while it is not agreed on.</param>
/// <param name="Adjacency">What two neighbouring tables are.</param>
/// <param name="TestNoiseSeed">Seed of test noise, which protects nothing; null: secure noise.</param>
/// <param name="IsPrivate">Whether anything is charged.</param>
internal sealed record AccountedJob(string Party, string Name, string Digest, Adjacency Adjacency, long? TestNoiseSeed, bool IsPrivate);

/// <summary>What a report must say of a ledger.</summary>
/// <param name="Warnings">All of it, as sentences.</param>
/// <param name="Caveats">Of these: what the sums do not tell of other runs (<see cref="IPrivacyLedger.Caveats"/>).</param>
internal sealed record LedgerWords(IReadOnlyList<string> Warnings, IReadOnlyList<string> Caveats);

/// <summary>A party's side of the ledger for one run: what it reserves, where its noise comes from.</summary>
/// <param name="job">The job.</param>
/// <param name="ledger">Where charges are written down; null: in memory.</param>
/// <param name="runId">Id of a run that is resumed; null: a fresh one.</param>
/// <param name="dataSet">The people of its table; asked for when something is charged.</param>
internal abstract class PartyAccount(AccountedJob job, IPrivacyLedger? ledger, string? runId, Lazy<DataSetIdentity> dataSet) : IDisposable
{
    private readonly string _runId = runId ?? PrivacyCharge.NewRunId();
    private readonly List<(IPrivacyReservation Reservation, Func<int, double>? ShareOf)> _open = [];

    public IPrivacyLedger Ledger { get; } = ledger ?? new InMemoryLedger();

    public DataSetIdentity DataSet => dataSet.Value;

    public string Party => job.Party;

    protected string RunId => _runId;

    /// <summary>A stream of noise for one kind of value.</summary>
    /// <param name="stream">Name of the stream; test noise differs by it.</param>
    public INoiseSource Noise(string stream) => job.TestNoiseSeed is { } seed ? new TestNoise(unchecked((ulong)seed), stream) : new CsprngNoise();

    /// <summary>The mechanism of one kind of value.</summary>
    /// <param name="calibration">Its noise.</param>
    /// <param name="stream">Name of its stream of noise.</param>
    /// <param name="reservation">The charge that pays for it.</param>
    /// <param name="firstLocal">Number of its first value that stays at the party; numbers of mechanisms of one reservation must not meet.</param>
    /// <param name="localStep">From one such number to the next.</param>
    /// <param name="latticeBits">Binary logarithm of the steps that a deviation has in its messages.</param>
    public GaussianMechanism Mechanism(NoiseCalibration calibration, string stream, IPrivacyReservation reservation, int firstLocal = 0, int localStep = 1,
        int latticeBits = GaussianMechanism.UsualLatticeBits) => job.TestNoiseSeed is { } seed
        ? GaussianMechanism.NotPrivate(calibration, new TestNoise(unchecked((ulong)seed), stream), reservation, firstLocal, localStep, latticeBits)
        : new GaussianMechanism(calibration, new CsprngNoise(), reservation, firstLocal, localStep, latticeBits);

    /// <summary>What a report must say of the ledger.</summary>
    /// <param name="entries">All its charges.</param>
    /// <param name="caveats">What its sums do not tell of other runs, which is a part of it.</param>
    protected virtual IEnumerable<string> Warnings(IReadOnlyList<LedgerEntry> entries, IReadOnlyList<string> caveats)
    {
        if (Ledger.Warning is { } warning)
            yield return warning;
        foreach (string caveat in caveats)
            yield return caveat;
        if (entries.Any(e => e.Charge.RunId != _runId && e.Costs(Party, DataSet, PrivacyUnit.Record) && UnitOf(e.Charge) != Unit))
            yield return $"the ledger holds charges over these people for other units: {SmallestUnit}";
    }

    /// <summary>What a report must say of the ledger as it is now.</summary>
    public LedgerWords Words()
    {
        LedgerEntry[] entries = [.. Ledger.Entries];
        IReadOnlyList<string> caveats = IPrivacyLedger.Caveats(entries, Party, DataSet, _runId);
        return new([.. Warnings(entries, caveats)], caveats);
    }

    /// <summary>What this job's charge protects, as <see cref="UnitOf"/> has it.</summary>
    protected virtual string Unit => Person;

    /// <summary>A part of what a person is to the ledger, a sample or an event; all of it where the charge names no unit, or users.</summary>
    protected const string Person = "user";

    /// <summary>What a sum of charges for several units is about.</summary>
    internal const string SmallestUnit = "their sum holds for the smallest of the units only";

    /// <summary>What a charge protects: the unit that its parameters name, else the person.</summary>
    internal static string UnitOf(PrivacyCharge charge) => NamedUnit(charge) ?? Person;

    /// <summary>The unit that a charge's parameters name, such as sample, event or user; null where they name none.</summary>
    internal static string? NamedUnit(PrivacyCharge charge) => Named(charge, "unit");

    /// <summary>A word among a charge's parameters; null where they have none of that name.</summary>
    internal static string? Named(PrivacyCharge charge, string name)
    {
        using var numbers = JsonDocument.Parse(charge.Parameters);
        return numbers.RootElement.ValueKind == JsonValueKind.Object && numbers.RootElement.TryGetProperty(name, out JsonElement word) && word.ValueKind == JsonValueKind.String
            ? word.GetString() : null;
    }

    /// <summary>Refuses what the budget does not allow, before a peer is met. Runs: how many of that cost there will be; isChecked false: it only tells what they cost.</summary>
    /// <returns>What would be charged, as the ledger counts it.</returns>
    public PrivacyTotal Check(string mechanism, PrivacyUnit unit, double pureEpsilon, double muSquared, int runs = 1, bool isChecked = true)
    {
        PrivacyCharge charge = Charge(mechanism, new JsonObject(), unit, 1, pureEpsilon, muSquared);
        if (isChecked)
            Ledger.Check(charge, runs);
        var entry = new LedgerEntry(charge with { PureEpsilon = runs * pureEpsilon, MuSquared = runs * muSquared }, ChargeState.Reserved, 1, default);
        return new PrivacyTotal(entry.PureEpsilon, entry.MuSquared);
    }

    /// <summary>Reserves the cost of messages, before the first of them. For a run that fails, shareOf bounds the share of the cost that so many messages
    /// make up; null: the first costs all.</summary>
    public IPrivacyReservation Reserve(string mechanism, JsonObject parameters, PrivacyUnit unit, int messages, double pureEpsilon, double muSquared,
        KeptRelease? kept = null, Func<int, double>? shareOf = null)
    {
        IPrivacyReservation reservation = Ledger.Reserve(Charge(mechanism, parameters, unit, messages, pureEpsilon, muSquared), kept);
        _open.Add((reservation, shareOf));
        return reservation;
    }

    /// <summary>Writes down a run of a private job whose messages leave as they are, because no later sum would tell what they told.</summary>
    /// <param name="message">What is disclosed.</param>
    /// <param name="unit">What the job protects: labels, which the messages cost nothing, or records of other parties.</param>
    /// <param name="parameters">The public numbers.</param>
    public void ReserveDisclosed(string message, PrivacyUnit unit, JsonObject parameters) => Reserve(PrivacyCharge.Disclosed + message, parameters, unit, 1, 0, 0);

    /// <summary>Settles what the run cost: what was kept, by this process or an earlier one, may have left.</summary>
    /// <returns>What the party's rows have cost in all, null where nothing was charged, and what a report must say of the ledger. When the ledger fails, the
    /// charge stays as it was reserved, in full, which is no reason to lose what the run achieved, or the error that ended it.</returns>
    public (PrivacyTotal? Spent, LedgerWords Words) Settle(PrivacyUnit unit)
    {
        try
        {
            SettleOpen();
        }
        catch (FedLearnException e)
        {
            return (null, new([CutOffRuns.StaysInFull("this run", e)], []));
        }

        if (!job.IsPrivate)
            return (null, new([], []));
        try
        {
            return (Ledger.Spent(Party, DataSet, unit), Words());
        }
        catch (FedLearnException e)
        {
            return (null, new([$"the ledger could not be read at the end of this run ({e.Id}), so that what these people have cost in all is not told"], []));
        }
    }

    /// <summary>Leaves the run as it is, so that another process, or a later attempt of this one, can go on with it under its id: charged in full until then.</summary>
    public void Suspend()
    {
        foreach ((IPrivacyReservation reservation, _) in _open)
            reservation.Dispose();
        _open.Clear();
    }

    /// <summary>Settles what is still open. Sums of the whole ledger are not asked for: it would be read and verified for nobody.</summary>
    public void Dispose()
    {
        try
        {
            SettleOpen();
        }
        catch (FedLearnException)
        {
            // As in Settle.
        }
    }

    private void SettleOpen()
    {
        try
        {
            foreach ((IPrivacyReservation reservation, Func<int, double>? shareOf) in _open)
                reservation.Settle(reservation.Kept == 0 ? 0 : Math.Min(1, shareOf?.Invoke(reservation.Kept) ?? 1));
        }
        finally
        {
            Suspend();
        }
    }

    private PrivacyCharge Charge(string mechanism, JsonObject parameters, PrivacyUnit unit, int messages, double pureEpsilon, double muSquared) => new()
    {
        RunId = _runId,
        Party = job.Party,
        DataSet = DataSet,
        JobName = job.Name,
        JobDigest = job.Digest,
        Mechanism = mechanism,
        Claim = Claim(unit, pureEpsilon, muSquared),
        Parameters = parameters.ToJsonString(),
        Unit = unit,
        Adjacency = job.Adjacency,
        Messages = messages,
        PureEpsilon = pureEpsilon,
        MuSquared = muSquared,
        TestNoise = job.TestNoiseSeed is not null,
    };

    /// <summary>What a charge promises, as a sentence.</summary>
    protected abstract string Claim(PrivacyUnit unit, double pureEpsilon, double muSquared);
}
