using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What a party may claim of its privacy, and on what grounds.</summary>
public sealed record DssmPrivacyStatement
{
    /// <summary>Which messages of the job are noised.</summary>
    public required DssmNoise Noise { get; init; }

    /// <summary>What noised messages promise.</summary>
    public required EmbeddingClaim Claim { get; init; }

    /// <summary>Unit that the budget is for.</summary>
    public required EmbeddingUnit Unit { get; init; }

    /// <summary>Noise of this party; null when it adds none.</summary>
    public EmbeddingCalibration? Calibration { get; init; }

    /// <summary>Budget of this party; null when it adds no noise.</summary>
    public PrivacyBudget? Budget { get; init; }

    /// <summary>What its noise costs for each unit that its rows admit. Under claim own-messages these are own-messages figures.</summary>
    public IReadOnlyList<EmbeddingFigure> Figures { get; init; } = [];

    /// <summary>What the people of its table have cost in all according to its ledger, this job included; null where nothing was charged.</summary>
    public PrivacyTotal? Spent { get; init; }

    /// <summary>Whether the noise came from a CSPRNG. True where there is none.</summary>
    public required bool SecureNoise { get; init; }

    /// <summary>What is claimed, as sentences, unit and claim beside every epsilon. Empty in a job without noise.</summary>
    public IReadOnlyList<string> Claims { get; init; } = [];

    /// <summary>What leaves the party outside of every claim, by name.</summary>
    public IReadOnlyList<string> Disclosures { get; init; } = [];

    /// <summary>What weakens or conditions a claim.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}
