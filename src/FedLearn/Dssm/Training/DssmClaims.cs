using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>Words for what was proved, and for nothing more. docs/proofs/embeddings.md.</summary>
internal static class DssmClaims
{
    public const string TestNoiseNotice = "NOT PRIVATE: test noise";

    public const string OwnMessages = "own messages only; influence through trained parameters is not covered";

    public const string WhichItem = "which item; that and when are disclosed";

    /// <summary>Of evaluated rows without noise, where users are the unit: those of a static view are the very rows that were trained on.</summary>
    private const string OfTheSameUsers = ", without noise and of users whom it is about";

    /// <summary>Names every key of a private job's report that depends on rows; warnings that do so say it themselves.</summary>
    public const string ReportItself = "metrics, intervals, baselines, history.loss and weightsSha256 of this report are computed from private rows and outside the claim: leave them out where you pass it on";

    /// <summary>What a party may say after a job.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="party">The party.</param>
    /// <param name="calibration">Its noise; null when it adds none.</param>
    /// <param name="ledger">What the ledger has to say.</param>
    /// <param name="spent">What its people have cost; null when the ledger failed, which it says itself, or nothing was charged.</param>
    /// <param name="evaluationRows">Rows whose vectors were sent for evaluation.</param>
    /// <param name="disclosures">Names of what left without protection.</param>
    /// <param name="units">How many users, or else samples, the party's noise protects; null: not known.</param>
    public static DssmPrivacyStatement State(DssmPlan plan, DssmPartyOptions party, EmbeddingCalibration? calibration, IReadOnlyList<string> ledger, PrivacyTotal? spent,
        int evaluationRows, IReadOnlyList<string> disclosures, int? units = null)
    {
        DssmPrivacyOptions privacy = plan.Job.Privacy;
        var statement = new DssmPrivacyStatement { Noise = privacy.Noise, Claim = privacy.Claim, Unit = privacy.Unit, SecureNoise = true, Disclosures = disclosures };
        if (calibration is null)
            return statement with { Claims = plan.Private ? [NoClaim(plan, party)] : [], Warnings = ledger };
        PrivacyBudget budget = plan.BudgetOf(party)!;
        bool testNoise = privacy.TestNoiseSeed is not null;
        List<string> warnings = [.. testNoise ? [TestNoiseNotice] : (string[])[], ReportItself, .. LargeEpsilon.Warnings(budget.Epsilon, calibration.Mu), .. ledger];
        if (budget.Delta * units > 1)
            warnings.Add(string.Create(CultureInfo.InvariantCulture,
                $"delta {budget.Delta:G3} is above 1/{units}: it allows all of a {Name(calibration.Unit)} to be published now and then. Use a delta below 1/{units}."));
        IReadOnlyList<EmbeddingFigure> figures = calibration.Figures(budget.Delta);
        return statement with
        {
            Calibration = calibration,
            Budget = budget,
            Figures = figures,
            Spent = spent,
            SecureNoise = !testNoise,
            Claims = testNoise ? [TestNoiseNotice] : [Claim(plan, party, calibration, budget, evaluationRows), .. figures.Select(figure => Figure(figure, privacy.Claim))],
            Warnings = warnings,
        };
    }

    /// <summary>A figure with its unit and its claim, as every report prints it.</summary>
    public static string Figure(EmbeddingFigure figure, EmbeddingClaim claim) => figure.Mu is null
        ? $"unit {Name(figure.Unit)}, claim {Name(claim)}: no figure, {(figure.Unit == EmbeddingUnit.Event ? "privacy.historyEvents" : "privacy.maxSamplesPerUser")} is not declared"
        : string.Create(CultureInfo.InvariantCulture, $"unit {Name(figure.Unit)} (a = {figure.Rows}), claim {Name(claim)}: mu = {figure.Mu:R}, {Epsilon(claim)} {figure.Epsilon:R} at delta {figure.Delta:R}");

    /// <summary>The name under which the ledger books a party's charge.</summary>
    public static string Mechanism(DssmPlan plan, PartyRole role) => (plan.Job.Privacy.Claim, role) switch
    {
        (EmbeddingClaim.OwnMessages, PartyRole.Active) => "gaussian, own messages: gradients",
        (EmbeddingClaim.OwnMessages, _) => "gaussian, own messages: embeddings",
        (EmbeddingClaim.Full, PartyRole.Active) => "gaussian, full: gradients and parameters",
        (EmbeddingClaim.Full, _) => "gaussian, full: embeddings and parameters",
        _ => "gaussian, one-shot: embeddings",
    };

    /// <summary>Whether a ledger books a charge as own messages, by the claim among its <see cref="Numbers"/>: the least that the run can have cost, and no epsilon against the peer.</summary>
    public static bool IsOwnMessages(PrivacyCharge charge) => PartyAccount.Named(charge, "claim") == Name(EmbeddingClaim.OwnMessages);

    /// <summary>What the ledger keeps of a charge as its claim.</summary>
    public static string Booked(DssmPlan plan, DssmPartyOptions party, double muSquared)
    {
        DssmPrivacyOptions privacy = plan.Job.Privacy;
        PrivacyBudget budget = plan.BudgetOf(party)!;
        string scope = privacy.Claim == EmbeddingClaim.OwnMessages ? OwnMessages : $"claim {Name(privacy.Claim)}";
        return privacy.TestNoiseSeed is not null ? TestNoiseNotice : string.Create(CultureInfo.InvariantCulture,
            $"{scope}: mu = {Math.Sqrt(muSquared):R} (Gaussian DP; asked for {Epsilon(privacy.Claim)} {budget.Epsilon:R} at delta {budget.Delta:R}) for {Replacing(plan.Unit)}{Which(party)}");
    }

    /// <summary>The public numbers of a charge.</summary>
    public static JsonObject Numbers(EmbeddingCalibration calibration)
    {
        EmbeddingParameters p = calibration.Parameters;
        return new()
        {
            ["claim"] = Name(p.Claim),
            ["unit"] = Name(calibration.Unit),
            ["rows"] = calibration.Rows,
            ["clip"] = p.Clip,
            ["width"] = p.Width,
            ["epochs"] = p.Epochs,
            ["batches"] = p.Batches,
            ["batchSize"] = p.BatchSize,
            ["historyEvents"] = p.HistoryEvents,
            ["maxSamplesPerUser"] = p.MaxSamplesPerUser,
            ["sigma"] = calibration.SigmaCharged,
            ["evaluationMessages"] = p.ChargedEvaluation?.Messages,
            ["parameters"] = new JsonArray([.. calibration.GradientNoise.Select(g => new JsonObject
            {
                ["name"] = g.Group.Name,
                ["clip"] = g.Group.Clip,
                ["coordinates"] = g.Group.Coordinates,
                ["tau"] = g.TauCharged,
            })]),
        };
    }

    public static string Name(EmbeddingClaim claim) => claim switch
    {
        EmbeddingClaim.OwnMessages => "own-messages",
        EmbeddingClaim.Full => "full",
        _ => "one-shot",
    };

    public static string Name(EmbeddingUnit unit) => unit switch
    {
        EmbeddingUnit.Sample => "sample",
        EmbeddingUnit.Event => "event",
        _ => "user",
    };

    private static string Claim(DssmPlan plan, DssmPartyOptions party, EmbeddingCalibration calibration, PrivacyBudget budget, int evaluationRows)
    {
        DssmPrivacyOptions privacy = plan.Job.Privacy;
        bool label = party.Party.Role == PartyRole.Active;
        string scope = evaluationRows == 0 || !plan.Job.SendsEvaluation ? "training messages only"
            : privacy.Evaluation == EvaluationDisclosure.Disclosed ? string.Create(CultureInfo.InvariantCulture, $"training messages only; embeddings disclosed for {evaluationRows} evaluation rows are outside this claim{(!label && calibration.Unit == EmbeddingUnit.User ? OfTheSameUsers : "")}")
            : label ? "training messages only" : "training messages and noised evaluation messages";
        string unit = string.Create(CultureInfo.InvariantCulture, $"unit {Name(calibration.Unit)}, a = {calibration.Rows}");
        string replaced = Replacing(calibration.Unit) + Which(party), name = $"'{party.Party.Name}'";
        string budgeted = string.Create(CultureInfo.InvariantCulture, $"mu = {calibration.Mu:R}, own-messages epsilon {budget.Epsilon:R} at delta {budget.Delta:R} ({unit})");
        if (privacy.Claim == EmbeddingClaim.OwnMessages)
            return $"{scope}; {OwnMessages}: the {(label ? "gradients" : "vectors")} of one unit in all messages of {name} together have {budgeted} for {replaced}, "
                + "with what it received and its parameters held fixed, ids, keys and the schedule being public";
        string promised = string.Create(CultureInfo.InvariantCulture,
            $"({budget.Epsilon:R}, {budget.Delta:R})-differentially private (claim {Name(privacy.Claim)}, {unit}, mu = {calibration.Mu:R})");
        return $"{scope}: all messages of {name} together{(plan.Full ? ", and its final parameters," : "")} are {promised} for {replaced}, against all other parties together, "
            + "ids, keys and the schedule being public";
    }

    /// <summary>What a party is told whose messages get no noise in a private job.</summary>
    public static string NoClaim(DssmPlan plan, DssmPartyOptions party) => plan.Job.Parties.Count < 2 ? $"no claim: '{party.Party.Name}' is alone, sends nothing and adds no noise"
        : party.Party.Role == PartyRole.Passive
        ? $"no claim: privacy.noise is gradients, so the vectors of '{party.Party.Name}' are disclosed and its features are unprotected"
        : plan.OneShot ? $"claim one-shot: '{party.Party.Name}' sends nothing that depends on an item; that and when events happened is disclosed"
        : $"no claim: privacy.noise is embeddings, so the gradients of '{party.Party.Name}' are disclosed, and with them which item each sample has";

    private static string Replacing(EmbeddingUnit unit) => unit switch
    {
        EmbeddingUnit.Sample => "replacing one sample",
        EmbeddingUnit.Event => "replacing one event, in its own sample and in the histories that contain it",
        _ => "replacing all that the party holds of one user",
    };

    private static string Which(DssmPartyOptions party) => party.Party.Role == PartyRole.Active ? $" ({WhichItem})" : "";

    /// <summary>An own-messages figure is never called an epsilon alone.</summary>
    private static string Epsilon(EmbeddingClaim claim) => claim == EmbeddingClaim.OwnMessages ? "own-messages epsilon" : "epsilon";
}
