using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Words for what was proved, and for nothing more.</summary>
internal static class GlmClaims
{
    public const string TestNoiseNotice = "NOT PRIVATE: test noise";

    public static GlmPrivacyStatement State(GlmPlan plan, GlmPartyOptions party, PartyCalibration? calibration, bool scalingFromData, int testRows)
    {
        if (calibration is null)
            return new GlmPrivacyStatement { Mode = plan.Job.Privacy.Mode, SecureNoise = true };
        PrivacyBudget budget = (party.Budget ?? plan.Job.Privacy.Budget)!;
        bool testNoise = plan.Job.Privacy.TestNoiseSeed is not null;
        var warnings = new List<string>(calibration.Warnings);
        if (testNoise)
            warnings.Insert(0, TestNoiseNotice);
        if (plan.PreprocessingOptions.Scaling == Scaling.None)
            warnings.Add("preprocessing.scaling is none: the claim assumes that the columns were prepared without looking at the private rows");
        if (!testNoise)
            warnings.Add(CsprngNoise.AccuracyStatement + " That error is not part of delta.");
        warnings.Add("charges are kept in memory: spending over several jobs is not added up");
        return new GlmPrivacyStatement
        {
            Mode = plan.Job.Privacy.Mode,
            Calibration = calibration,
            Budget = budget,
            SecureNoise = !testNoise,
            Claims = testNoise ? [TestNoiseNotice] : [Claim(plan, party, calibration, budget, scalingFromData, testRows)],
            Warnings = warnings,
        };
    }

    private static string Claim(GlmPlan plan, GlmPartyOptions party, PartyCalibration calibration, PrivacyBudget budget, bool scalingFromData, int testRows)
    {
        string scope = testRows == 0 || !plan.SendsTestScores ? "training messages only: "
            : $"training messages only; scores disclosed for {testRows} evaluation rows are outside this claim: ";
        string unit = party.Party.Role == PartyRole.Active ? "one row of its table, features and label" : "one row of its table";
        // The classical formula does not reach the delta asked for at large epsilon; what is claimed is what the noise gives.
        double delta = Math.Max(budget.Delta, calibration.ActualDelta ?? 0);
        string condition = scalingFromData ? "; conditional on scaling constants taken from the data" : "";
        return string.Create(CultureInfo.InvariantCulture,
            $"{scope}all messages of '{party.Party.Name}' together are ({budget.Epsilon:R}, {delta:R})-differentially private (mu = {calibration.Mu:G6}) for replacing {unit}, against all other parties together, the ids and the schedule being public{condition}");
    }
}
