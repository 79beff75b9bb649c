using System.Globalization;
using FedLearn.Data;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Words for what encryption and the arbiter's noise promise, and for nothing more.</summary>
internal static class JointClaims
{
    public const string RealLabels = "exact gradients are an equation in the residuals for each column and round, and can determine labels, above all those of few possible values: only he+dp bounds what gradients reveal";

    public const string Gradients = "exact gradients of binary labels can determine the labels, also over batches of many rows: only he+dp bounds what gradients reveal";

    public const string SemiHonest = "encryption holds while all parties follow the protocol and the arbiter colludes with none of them; the arbiter could decrypt for a party that does not";

    public static GlmPrivacyStatement State(GlmPlan plan, GlmPartyOptions party, JointAgreement joint, IReadOnlyList<string> ledger, PrivacyTotal? spent, bool scalingFromData, int testRows)
    {
        GlmPrivacyOptions privacy = plan.Job.Privacy;
        bool testNoise = privacy.TestNoiseSeed is not null;
        if (joint.Calibration is not { } noise)
            return new GlmPrivacyStatement { Mode = privacy.Mode, SecureNoise = true, Warnings = [plan.Family.Kind() == GlmFamilyKind.Binomial ? Gradients : RealLabels, SemiHonest] };
        var warnings = new List<string> { SemiHonest, GlmClaims.ReportItself };
        if (testNoise)
            warnings.Insert(0, GlmClaims.TestNoiseNotice);
        if (plan.PreprocessingOptions.Scaling == Scaling.None)
            warnings.Add("preprocessing.scaling is none: the claim assumes that the columns were prepared without looking at the private rows");
        if (privacy.Adjacency == Adjacency.ZeroOut)
            warnings.Add(GlmClaims.ZeroOutPerson);
        warnings.AddRange(LargeEpsilon.Warnings(privacy.Budget!.Epsilon, noise.Mu));
        warnings.AddRange(ledger);
        return new GlmPrivacyStatement
        {
            Mode = privacy.Mode,
            Joint = noise,
            Budget = privacy.Budget,
            Spent = spent,
            SecureNoise = !testNoise,
            Claims = testNoise ? [GlmClaims.TestNoiseNotice] : [Claim(plan, noise, scalingFromData, testRows)],
            Warnings = warnings,
        };
    }

    private static string Claim(GlmPlan plan, JointGradientCalibration noise, bool scalingFromData, int testRows)
    {
        PrivacyBudget budget = plan.Job.Privacy.Budget!;
        string scope = testRows == 0 || !plan.SendsTestScores ? "training" : $"training; scores disclosed for {testRows} evaluation rows are outside this claim";
        string unit = plan.Job.Privacy.Adjacency == Adjacency.ZeroOut ? "making one person's rows at all parties null rows (features and residual 0)" : "replacing one person's rows at all parties, label included";
        string condition = scalingFromData ? "; conditional on scaling constants taken from the data" : "";
        return string.Create(CultureInfo.InvariantCulture,
            $"{scope}: all gradients that the parties receive, and so their weights, are together ({budget.Epsilon:R}, {budget.Delta:R})-differentially private (mu = {noise.Mu:R}) for {unit}; {JointGradientCalibration.ClaimStatement}; ciphertexts are protected computationally, the ids and the schedule being public{condition}");
    }
}
