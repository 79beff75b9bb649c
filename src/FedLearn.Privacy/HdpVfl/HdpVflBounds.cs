namespace FedLearn.Privacy;

/// <summary>Sensitivity of all messages of one party together.</summary>
/// <param name="Sensitivity">sqrt(Own^2 + Drift^2), rounded up. The L2 distance between the message sequences of neighbouring tables is at most
/// this plus <see cref="OwnRowSlack"/>, which is 0 unless the unit is the label.</param>
/// <param name="OwnTerm">Share of the changed row's own messages.</param>
/// <param name="DriftTerm">Share of the other rows' messages, which move because the weights do.</param>
/// <param name="WorstBatch">Batch of the worst record, from 0; the first of several. 0 for a reshuffled schedule.</param>
public sealed record PartyBound(double Sensitivity, double OwnTerm, double DriftTerm, int WorstBatch)
{
    /// <summary>Unit label only: by how much the changed row's own messages may move beyond <see cref="OwnTerm"/>, as its score drifts while its
    /// features stay. Charged on top of the sensitivity, like every slack.</summary>
    public double OwnRowSlack { get; init; }

    /// <summary>Bound on the distance of the final weights, |w_T - w'_T|, given all that was received.</summary>
    public double FinalDrift { get; init; }
}

/// <summary>Sensitivities of an HDP-VFL job, worst record at each party by itself.</summary>
/// <param name="Active">The active party: its residuals.</param>
/// <param name="Passive">A passive party: its scores. All 0 when the unit is the label.</param>
public sealed record HdpVflBounds(PartyBound Active, PartyBound Passive);
