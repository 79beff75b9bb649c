namespace FedLearn.Privacy;

/// <summary>What one run of a job costs a party, written down before its first message leaves.</summary>
public sealed record PrivacyCharge
{
    /// <summary>How the mechanism of a charge begins that costs nothing, of messages that left as they are beside others that were protected.</summary>
    public const string Disclosed = "disclosed: ";

    /// <summary>Name of the parameter of a charge that says how many rows' scores of the final model the run sends without noise, to evaluate it; absent where it sends none.</summary>
    public const string EvaluationRows = "evaluationRows";

    /// <summary>Id of the run, 32 hex digits, drawn at random when the run began. A run that is resumed keeps it, and is charged once.</summary>
    public required string RunId { get; init; }

    /// <summary>Party whose records it costs.</summary>
    public required string Party { get; init; }

    /// <summary>The table.</summary>
    public required DataSetIdentity DataSet { get; init; }

    /// <summary>Name of the job.</summary>
    public required string JobName { get; init; }

    /// <summary>Digest of the job, hex.</summary>
    public required string JobDigest { get; init; }

    /// <summary>What is released and how, such as <c>gaussian: training scores</c>.</summary>
    public required string Mechanism { get; init; }

    /// <summary>What is promised of the messages, as a sentence.</summary>
    public required string Claim { get; init; }

    /// <summary>The public numbers that the charge rests on, as JSON.</summary>
    public required string Parameters { get; init; }

    /// <summary>What the charge protects.</summary>
    public required PrivacyUnit Unit { get; init; }

    /// <summary>What two neighbouring tables are.</summary>
    public required Adjacency Adjacency { get; init; }

    /// <summary>Messages that it covers; their ids are RunId/0 to RunId/(Messages - 1).</summary>
    public required int Messages { get; init; }

    /// <summary>Cost in pure epsilon (delta 0), in nats; 0 for none.</summary>
    public required double PureEpsilon { get; init; }

    /// <summary>Cost as the square of a Gaussian-DP mu; 0 for none.</summary>
    public required double MuSquared { get; init; }

    /// <summary>Whether the noise was seeded test noise, so that the messages protect nothing. The charge counts all the same, as if the noise had been secret.</summary>
    public bool TestNoise { get; init; }

    /// <summary>Whether another charge is the same one: of the same people, whose tables are equal when their fingerprints are, and otherwise equal by value. A ledger refuses a run that it holds with other terms (FL5021).</summary>
    /// <param name="other">The other charge.</param>
    public bool HasTermsOf(PrivacyCharge other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return DataSet.Fingerprint == other.DataSet.Fingerprint && this with { DataSet = other.DataSet } == other;
    }

    /// <summary>A fresh run id.</summary>
    public static string NewRunId() => Guid.NewGuid().ToString("N");
}

/// <summary>Where a charge is in its life.</summary>
public enum ChargeState
{
    /// <summary>Reserved in full; messages may have left. A run that died stays here, charged in full.</summary>
    Reserved = 0,

    /// <summary>The run has ended and costs what its settlement says.</summary>
    Settled = 1,
}

/// <summary>A charge as the ledger holds it.</summary>
/// <param name="Charge">What was reserved.</param>
/// <param name="State">Where it is in its life.</param>
/// <param name="Share">Share of the reserved cost that counts, from 0 to 1; 1 while reserved.</param>
/// <param name="At">When it was reserved.</param>
public sealed record LedgerEntry(PrivacyCharge Charge, ChargeState State, double Share, DateTimeOffset At)
{
    /// <summary>Pure epsilon that counts against a budget for replacing a record.</summary>
    /// <remarks>A replacement is two zero-out steps, so a zero-out charge counts twice: eps doubles, and so does mu (group privacy).</remarks>
    public double PureEpsilon => Charge.PureEpsilon * Share * Steps;

    /// <summary>Squared mu that counts against a budget for replacing a record; see <see cref="PureEpsilon"/>.</summary>
    public double MuSquared => Charge.MuSquared * Share * Steps * Steps;

    private double Steps => Charge.Adjacency == Adjacency.ZeroOut ? 2 : 1;

    /// <summary>Whether the entry costs what a budget for this unit and these people protects.</summary>
    /// <param name="party">The party.</param>
    /// <param name="dataSet">The table.</param>
    /// <param name="unit">The unit. A label is part of its record, so charges for records count for labels too.</param>
    public bool Costs(string party, DataSetIdentity dataSet, PrivacyUnit unit) =>
        Charge.Party == party && (Charge.Unit == PrivacyUnit.Record || unit == PrivacyUnit.Label) && Charge.DataSet.SharesRowsWith(dataSet);
}
