using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A party's side of the ledger for one run: what it reserves, where its noise comes from.</summary>
/// <param name="plan">The job.</param>
/// <param name="input">What the party brings.</param>
/// <param name="dataSet">The people of its table; asked for when something is charged.</param>
/// <param name="jobDigest">Digest of the job; empty while it is not agreed on.</param>
internal sealed class GlmAccount(GlmPlan plan, GlmPartyInput input, Lazy<DataSetIdentity> dataSet, string jobDigest) : IDisposable
{
    private readonly string _runId = input.RunId ?? PrivacyCharge.NewRunId();
    private readonly List<(IPrivacyReservation Reservation, Func<int, double>? ShareOf)> _open = [];

    public IPrivacyLedger Ledger { get; } = input.Ledger ?? new InMemoryLedger();

    public DataSetIdentity DataSet => dataSet.Value;

    public string Party => input.Party;

    /// <summary>The people of a table, as the ledger knows them.</summary>
    public static DataSetIdentity IdentityOf(Table table) => DataSetIdentity.Of(RowIds.Order(table.Ids, 0).Digests);

    /// <summary>A stream of noise for one kind of value.</summary>
    /// <param name="stream">Name of the stream; test noise differs by it.</param>
    public INoiseSource Noise(string stream) => plan.Job.Privacy.TestNoiseSeed is { } seed ? new TestNoise(seed, stream) : new CsprngNoise();

    /// <summary>The mechanism of one kind of value.</summary>
    /// <param name="calibration">Its noise.</param>
    /// <param name="stream">Name of its stream of noise.</param>
    /// <param name="reservation">The charge that pays for it.</param>
    public GaussianMechanism Mechanism(NoiseCalibration calibration, string stream, IPrivacyReservation reservation) => plan.Job.Privacy.TestNoiseSeed is { } seed
        ? GaussianMechanism.NotPrivate(calibration, new TestNoise(seed, stream), reservation)
        : new GaussianMechanism(calibration, new CsprngNoise(), reservation);

    /// <summary>What a report must say of the ledger.</summary>
    public IEnumerable<string> Warnings()
    {
        if (Ledger.Warning is { } warning)
            yield return warning;
        foreach (string caveat in IPrivacyLedger.Caveats(Ledger.Entries, Party, DataSet, _runId))
            yield return caveat;
    }

    /// <summary>Refuses what the budget does not allow, before a peer is met.</summary>
    /// <returns>What would be charged, as the ledger counts it.</returns>
    public PrivacyTotal Check(string mechanism, PrivacyUnit unit, double pureEpsilon, double muSquared)
    {
        PrivacyCharge charge = Charge(mechanism, new JsonObject(), unit, 1, pureEpsilon, muSquared);
        Ledger.Check(charge);
        var entry = new LedgerEntry(charge, ChargeState.Reserved, 1, default);
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

    /// <summary>Settles what the run cost: what was kept, by this process or an earlier one, may have left.</summary>
    /// <returns>What the party's rows have cost in all, null where nothing was charged, and what a report must say of the ledger. When the ledger fails, the
    /// charge stays as it was reserved, in full, which is no reason to lose what the run achieved, or the error that ended it.</returns>
    public (PrivacyTotal? Spent, IReadOnlyList<string> Warnings) Settle(PrivacyUnit unit)
    {
        try
        {
            foreach ((IPrivacyReservation reservation, Func<int, double>? shareOf) in _open)
                reservation.Settle(reservation.Kept == 0 ? 0 : Math.Min(1, shareOf?.Invoke(reservation.Kept) ?? 1));
            return plan.Private ? (Ledger.Spent(Party, DataSet, unit), [.. Warnings()]) : (null, []);
        }
        catch (FedLearnException)
        {
            return (null, []);
        }
        finally
        {
            foreach ((IPrivacyReservation reservation, _) in _open)
                reservation.Dispose();
            _open.Clear();
        }
    }

    public void Dispose() => Settle(PrivacyUnit.Record);

    private PrivacyCharge Charge(string mechanism, JsonObject parameters, PrivacyUnit unit, int messages, double pureEpsilon, double muSquared) => new()
    {
        RunId = _runId,
        Party = input.Party,
        DataSet = DataSet,
        JobName = plan.Job.Name,
        JobDigest = jobDigest,
        Mechanism = mechanism,
        Claim = Claim(unit, pureEpsilon, muSquared),
        Parameters = parameters.ToJsonString(),
        Unit = unit,
        Adjacency = plan.Job.Privacy.Adjacency,
        Messages = messages,
        PureEpsilon = pureEpsilon,
        MuSquared = muSquared,
        TestNoise = plan.Job.Privacy.TestNoiseSeed is not null,
    };

    private string Claim(PrivacyUnit unit, double pureEpsilon, double muSquared)
    {
        if (plan.Job.Privacy.TestNoiseSeed is not null)
            return GlmClaims.TestNoiseNotice;
        PrivacyBudget budget = plan.BudgetOf(plan.Job.Parties.First(p => p.Party.Name == input.Party))!;
        string protectedPart = unit == PrivacyUnit.Label ? "changing the label of one row" : plan.Job.Privacy.Adjacency == Adjacency.ZeroOut ? "making one row the null row" : "replacing one row";
        return pureEpsilon == 0 && muSquared == 0 ? "none for features; nothing of labels is sent"
            : muSquared == 0 ? string.Create(CultureInfo.InvariantCulture, $"({pureEpsilon:R}, 0)-differentially private for {protectedPart}")
            : string.Create(CultureInfo.InvariantCulture, $"mu = {Math.Sqrt(muSquared):R} (Gaussian DP; asked for epsilon {budget.Epsilon:R} at delta {budget.Delta:R}) for {protectedPart}");
    }
}
