using System.Text.Json.Nodes;
using FedLearn.Data;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A party's side of the ledger for one run: what it reserves, where its noise comes from.</summary>
internal sealed class GlmAccount(GlmPlan plan, GlmPartyInput input, string jobDigest) : IDisposable
{
    private readonly string _runId = input.RunId ?? PrivacyCharge.NewRunId();
    private readonly List<IPrivacyReservation> _reservations = [];

    public IPrivacyLedger Ledger { get; } = input.Ledger ?? new InMemoryLedger();

    public DataSetIdentity DataSet { get; } = IdentityOf(input.Table);

    public string Party => input.Party;

    /// <summary>The people of a table, as the ledger knows them.</summary>
    public static DataSetIdentity IdentityOf(Table table) => DataSetIdentity.Of(RowIds.Order(table.Ids, 0).Digests);

    /// <summary>A stream of noise for one kind of value.</summary>
    /// <param name="stream">Name of the stream; test noise differs by it.</param>
    public INoiseSource Noise(string stream) => plan.Job.Privacy.TestNoiseSeed is { } seed ? new TestNoise(seed, stream) : new CsprngNoise();

    /// <summary>Refuses what the budget does not allow, before a peer is met.</summary>
    public void Check(string mechanism, PrivacyUnit unit, double pureEpsilon, double muSquared) =>
        Ledger.Check(Charge(mechanism, new JsonObject(), unit, 1, pureEpsilon, muSquared));

    /// <summary>Reserves the cost of messages, before the first of them.</summary>
    public IPrivacyReservation Reserve(string mechanism, JsonObject parameters, PrivacyUnit unit, int messages, double pureEpsilon, double muSquared, KeptRelease? kept = null)
    {
        IPrivacyReservation reservation = Ledger.Reserve(Charge(mechanism, parameters, unit, messages, pureEpsilon, muSquared), kept);
        _reservations.Add(reservation);
        return reservation;
    }

    public void Dispose()
    {
        foreach (IPrivacyReservation reservation in _reservations)
            reservation.Dispose();
    }

    private PrivacyCharge Charge(string mechanism, JsonObject parameters, PrivacyUnit unit, int messages, double pureEpsilon, double muSquared) => new()
    {
        RunId = _runId,
        Party = input.Party,
        DataSet = DataSet,
        JobName = plan.Job.Name,
        JobDigest = jobDigest,
        Mechanism = mechanism,
        Parameters = parameters.ToJsonString(),
        Unit = unit,
        Adjacency = plan.Job.Privacy.Adjacency,
        Messages = messages,
        PureEpsilon = pureEpsilon,
        MuSquared = muSquared,
        TestNoise = plan.Job.Privacy.TestNoiseSeed is not null,
    };
}
