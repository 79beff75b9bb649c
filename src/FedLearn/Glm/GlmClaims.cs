using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Words for what was proved, and for nothing more.</summary>
internal static class GlmClaims
{
    public const string TestNoiseNotice = "NOT PRIVATE: test noise";

    private const string Weaker = "adjacency is zero-out, a weaker promise than replace-one: ";

    /// <summary>What is to be known of a claim that makes one row the null row.</summary>
    public const string ZeroOut = Weaker + "for replacing a row, the same messages cost twice this mu";

    /// <summary>The same of one person's rows at all parties.</summary>
    public const string ZeroOutPerson = Weaker + "for replacing a person's rows, the same messages cost twice this mu";

    /// <summary>Names every key of a private job's report that depends on rows; warnings that do so say it themselves.</summary>
    public const string ReportItself = "metrics, intervals, evaluation, objective, history.loss, tuning.candidates and weightsSha256 of this report are computed from private rows and outside the claim: leave them out where you pass it on";

    public static GlmPrivacyStatement State(GlmPlan plan, GlmPartyOptions party, PartyCalibration? calibration, IReadOnlyList<string> ledger, PrivacyTotal? spent,
        bool scalingFromData, int testRows)
    {
        GlmPrivacyOptions privacy = plan.Job.Privacy;
        if (calibration is null)
        {
            var nothing = new GlmPrivacyStatement { Mode = privacy.Mode, SecureNoise = true };
            return !plan.Private || party.Party.Role == PartyRole.Active ? nothing : nothing with
            {
                Claims = [$"no claim: privacy.unit is label, so the messages of '{party.Party.Name}' are disclosed and its features are unprotected"],
                Warnings = ledger,
            };
        }

        PrivacyBudget budget = plan.BudgetOf(party)!;
        bool testNoise = privacy.TestNoiseSeed is not null;
        var warnings = new List<string>(calibration.Warnings);
        if (testNoise)
            warnings.Insert(0, TestNoiseNotice);
        if (plan.PreprocessingOptions.Scaling == Scaling.None)
            warnings.Add("preprocessing.scaling is none: the claim assumes that the columns were prepared without looking at the private rows");
        warnings.AddRange(DrownedWeights(calibration.EvaluationNoise?.Sigma, plan, plan.WeightNorm * plan.PreprocessingOptions.RowNorm));
        if (privacy.Adjacency == Adjacency.ZeroOut)
            warnings.Add(ZeroOut);
        warnings.Add(ReportItself);
        warnings.AddRange(ledger);
        return new GlmPrivacyStatement
        {
            Mode = privacy.Mode,
            Calibration = calibration,
            Budget = budget,
            Spent = spent,
            SecureNoise = !testNoise,
            Claims = testNoise ? [TestNoiseNotice] : [Claim(plan, party, calibration, budget, scalingFromData, testRows)],
            Warnings = warnings,
        };
    }

    /// <summary>The scope of a passive party's claim under a charged evaluation: noise on final weights hides a row from the scores of others, and from its own nothing does.</summary>
    /// <param name="testRows">Rows whose scores the training has sent.</param>
    public static string FinalWeights(int testRows) => string.Create(CultureInfo.InvariantCulture,
        $"training messages and final weights; a score tells of the features of the row scored, be it a training row, which is outside this claim ({testRows} evaluation rows so far)");

    /// <summary>Warns where a charged evaluation leaves next to nothing of the final weights: their noise moves the score of a row of full length by more than half of what scores may be.</summary>
    /// <param name="sigma">Noise on each final weight; null where there is none.</param>
    /// <param name="plan">Job.</param>
    /// <param name="bound">Largest score of the party.</param>
    public static string[] DrownedWeights(double? sigma, GlmPlan plan, double bound) => sigma * plan.PreprocessingOptions.RowNorm is { } moved && moved > bound / 2
        ? [string.Create(CultureInfo.InvariantCulture, $"privacy.evaluation is charged: its noise on the final weights moves the score of a row by about {moved:G3}, and scores are bounded by {bound:G3}: predictions, and figures of test rows, are mostly noise. Use a larger epsilon or privacy.evaluationShare, or evaluation disclosed, whose claim leaves scores out")]
        : [];

    /// <summary>What of the active party a claim about records covers.</summary>
    /// <param name="more">Whether rows have sample weights or offsets.</param>
    public static string Record(bool more) => more ? "features, label, sample weight and offset" : "features and label";

    private static string Claim(GlmPlan plan, GlmPartyOptions party, PartyCalibration calibration, PrivacyBudget budget, bool scalingFromData, int testRows)
    {
        GlmPrivacyOptions privacy = plan.Job.Privacy;
        bool active = party.Party.Role == PartyRole.Active, covered = privacy is { Evaluation: EvaluationDisclosure.Charged, Unit: PrivacyUnit.Record };
        // Final weights with their own noise, or the whole path of noisy weights, are part of what is paid for.
        string scope = covered && !active ? FinalWeights(testRows)
            : testRows == 0 || !plan.SendsTestScores || covered ? "training messages only"
            : $"training messages only; scores disclosed for {testRows} evaluation rows are outside this claim";
        bool more = plan.Job.Training.SampleWeightBound is not null || plan.Job.Training.OffsetBound is not null;
        string unit = (privacy.Unit, privacy.Adjacency) switch
        {
            (PrivacyUnit.Label, _) => $"changing the label of one row, the features of every party{(more ? ", sample weights and offsets" : "")} being unprotected",
            (_, Adjacency.ZeroOut) => "making one row of its table the null row (features and residual 0)",
            _ => active ? $"replacing one row of its table, {Record(more)}" : "replacing one row of its table",
        };
        // The classical formula does not reach the delta asked for at large epsilon; what is claimed is what the noise gives.
        double delta = Math.Max(budget.Delta, calibration.ActualDelta ?? 0);
        string condition = scalingFromData ? "; conditional on scaling constants taken from the data" : "";
        return string.Create(CultureInfo.InvariantCulture,
            $"{scope}: all messages of '{party.Party.Name}' together are ({budget.Epsilon:R}, {delta:R})-differentially private (mu = {calibration.Mu:R}) for {unit}, against all other parties together, the ids and the schedule being public{condition}");
    }
}
