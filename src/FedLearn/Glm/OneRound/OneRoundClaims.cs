using FedLearn.Data;
using FedLearn.Privacy;
using static System.FormattableString;

namespace FedLearn.Glm;

/// <summary>Words for what was proved of the modes one-round and label-dp, and for nothing more.</summary>
internal static class OneRoundClaims
{
    private const string ClipBias = "scores, and continuous labels with their noise, are clipped: the model is biased towards the middle, which is the price of one bounded message";

    /// <summary>Labels that change no more often than this are nearly the plain ones: of two classes from epsilon 5 on, of M from 5 + log(M - 1).</summary>
    private const double RareFlip = 0.0067;

    /// <summary>A party that met nobody.</summary>
    public static GlmPrivacyStatement Nothing(GlmPlan plan) => new() { Mode = plan.Mode, SecureNoise = plan.Job.Privacy.TestNoiseSeed is null };

    /// <summary>The active party's randomised labels.</summary>
    public static GlmPrivacyStatement Randomized(GlmPlan plan, string party, RandomizedResponse response, bool reused, GlmTargets train) => Statement(plan, new PrivacyBudget(response.Epsilon, 0),
        new OneRoundStatement { FlipProbability = response.FlipProbability, LabelsReused = reused }, Invariant(
            $"training messages only: the randomised labels, all that '{party}' sends of its table, are ({response.Epsilon:R}, 0)-differentially private for replacing one row of its table, {GlmClaims.Record(More(train))}, against all other parties together, the ids being public{NearlyPlain(response)}"),
        Reuse(reused));

    /// <summary>The active party's noisy labels.</summary>
    public static GlmPrivacyStatement Noisy(GlmPlan plan, string party, NoisyTargetMechanism mechanism, bool reused, GlmTargets train)
    {
        PrivacyBudget budget = plan.BudgetOf(plan.Job.Parties.First(p => p.Party.Name == party))!;
        string[] delta = budget.Delta > 1.0 / train.Rows ? [Invariant($"delta {budget.Delta:G3} is above 1/{train.Rows}: it allows whole rows to be published. Use a delta below 1/rows.")] : [];
        return Statement(plan, budget, new OneRoundStatement { LabelSigma = mechanism.Sigma, LabelMu = mechanism.Mu, LabelSensitivity = mechanism.High - mechanism.Low, LabelsReused = reused }, Invariant(
            $"training messages only: the noisy labels, all that '{party}' sends of its table, are ({budget.Epsilon:R}, {budget.Delta:R})-differentially private (mu = {mechanism.Mu:R}) for replacing one row of its table, {GlmClaims.Record(More(train))}, against all other parties together, the ids and the declared range of the label being public"),
            [.. delta, .. LargeEpsilon.Warnings(budget.Epsilon, mechanism.Mu), .. Reuse(reused), ClipBias]);
    }

    /// <summary>A passive party's scores.</summary>
    public static GlmPrivacyStatement Scores(GlmPlan plan, string party, PrivacyBudget budget, OneRoundCalibration calibration, double? flip, double? labelSigma,
        bool scalingFromData, int testRows)
    {
        string scope = calibration.WeightNoise is not null ? GlmClaims.FinalWeights(testRows)
            : testRows == 0 || !plan.SendsTestScores ? "training messages only"
            : $"training messages only; scores disclosed for {testRows} evaluation rows are outside this claim";
        string scaling = scalingFromData ? " and on scaling constants taken from the data" : " and declared preprocessing";
        List<string> warnings = [.. calibration.Warnings, ClipBias, .. GlmClaims.DrownedWeights(calibration.WeightNoise?.Sigma, plan, plan.Job.Privacy.OneRound.ScoreClip)];
        if (plan.PreprocessingOptions.Scaling == Scaling.None)
            warnings.Add("preprocessing.scaling is none: the claim assumes that the columns were prepared without looking at the private rows");
        return Statement(plan, budget, new OneRoundStatement { FlipProbability = flip, LabelSigma = labelSigma, Calibration = calibration }, Invariant(
            $"{scope}: all messages of '{party}' together are ({budget.Epsilon:R}, {budget.Delta:R})-differentially private (mu = {calibration.Mu:R}) for replacing one row of its table, against all other parties together, the ids being public; conditional on public numbers (rows, centre and scale of the label, penalty, gradient and score clip){scaling}"),
            warnings);
    }

    /// <summary>The active party's labels in mode label-dp.</summary>
    public static GlmPrivacyStatement LabelsOnly(GlmPlan plan, string party, RandomizedResponse response, bool reused, GlmTargets train) => Statement(plan, new PrivacyBudget(response.Epsilon, 0),
        new OneRoundStatement { FlipProbability = response.FlipProbability, LabelsReused = reused }, Invariant(
            $"labels only; features of every party unprotected: all training messages together are ({response.Epsilon:R}, 0)-differentially private for changing the label of one row of '{party}', against all other parties together{NearlyPlain(response)}"),
        [.. Reuse(reused), "features of every party are unprotected: scores and residuals crossed as they are", .. More(train)
            ? (string[])["sample weights and offsets are unprotected too, and taken to say nothing of labels: residuals carry them as they are"] : []]);

    /// <summary>A passive party in mode label-dp.</summary>
    public static GlmPrivacyStatement Unprotected(GlmPlan plan, string party) => Nothing(plan) with
    {
        Claims = [$"no claim: the mode is label-dp, so the messages of '{party}' are disclosed and its features are unprotected"],
    };

    /// <summary>A statement with what the ledger says once the run has ended.</summary>
    public static GlmPrivacyStatement Settled(GlmPrivacyStatement statement, IReadOnlyList<string> ledger, PrivacyTotal? spent)
    {
        // A passive party in mode label-dp has no figures, and a line in its ledger. A party that met nobody has neither.
        if (statement.OneRound is null)
            return statement.Claims.Count > 0 ? statement with { Warnings = ledger } : statement;
        var warnings = new List<string>(statement.Warnings);
        warnings.Add(GlmClaims.ReportItself);
        warnings.AddRange(ledger);
        return statement with { Spent = spent, Warnings = warnings };
    }

    /// <summary>The end of a claim about labels that are nearly the plain ones; empty for others.</summary>
    internal static string NearlyPlain(RandomizedResponse response) => response.FlipProbability <= RareFlip
        ? Invariant($"; at this epsilon a label is {(response.Classes > 2 ? "changed" : "flipped")} with probability {response.FlipProbability:G2} only: what is sent is nearly the plain label") : "";

    private static bool More(GlmTargets train) => train.Weights is not null || train.Offsets is not null;

    private static IEnumerable<string> Reuse(bool reused) => reused
        ? ["the released labels were drawn by an earlier job over the same table and are sent again: they cost nothing more; whoever got both sees that no label of the table has changed in between, which no claim covers"] : [];

    private static GlmPrivacyStatement Statement(GlmPlan plan, PrivacyBudget budget, OneRoundStatement released, string claim, IEnumerable<string> warnings)
    {
        bool test = plan.Job.Privacy.TestNoiseSeed is not null;
        return new GlmPrivacyStatement
        {
            Mode = plan.Mode,
            OneRound = released,
            Budget = budget,
            SecureNoise = !test,
            Claims = test ? [GlmClaims.TestNoiseNotice] : [claim],
            Warnings = test ? [GlmClaims.TestNoiseNotice, .. warnings] : [.. warnings],
        };
    }
}
