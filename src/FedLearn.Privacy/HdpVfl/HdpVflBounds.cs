namespace FedLearn.Privacy;

/// <summary>Sensitivity of all messages of one party together.</summary>
/// <param name="Sensitivity">L2 distance between the message sequences of neighbouring tables at most, sqrt(Own^2 + Drift^2), rounded up.</param>
/// <param name="OwnTerm">Share of the replaced row's own messages.</param>
/// <param name="DriftTerm">Share of the other rows' messages, which move because the weights do.</param>
/// <param name="WorstBatch">Batch of the worst record, from 0; the first of several.</param>
public sealed record PartyBound(double Sensitivity, double OwnTerm, double DriftTerm, int WorstBatch);

/// <summary>Sensitivities of an HDP-VFL job, worst record at each party by itself.</summary>
/// <param name="Active">The active party: its residuals.</param>
/// <param name="Passive">A passive party: its scores.</param>
public sealed record HdpVflBounds(PartyBound Active, PartyBound Passive);
