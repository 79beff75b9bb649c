using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Coordination;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary>What one-round training costs each party.</summary>
internal static class OneRoundPlan
{
    /// <summary>Columns of a party are not known before its data is read; they enter an allowance for rounding only.</summary>
    private const int LargestColumns = 1 << 16;

    /// <summary>The plan of a job.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="rows">Training rows.</param>
    public static PrivacyPlan Of(GlmPlan plan, int rows)
    {
        GlmPartyOptions active = plan.Job.Parties.First(p => p.Party.Role == PartyRole.Active);
        PrivacyBudget labels = plan.BudgetOf(active)!;
        double? rate = plan.Job.Privacy.OneRound.LabelRate;
        OneRoundColumn[] columns;
        JsonObject own;
        if (plan.HasClasses)
        {
            RandomizedResponse response = LabelRelease.ResponseOf(plan);
            columns = [.. Enumerable.Repeat(OneRoundColumn.OfClass(response, rate ?? 1.0 / response.Classes), plan.Family.Outputs)];
            own = new JsonObject { ["party"] = active.Party.Name, ["epsilon"] = labels.Epsilon, ["delta"] = 0.0, ["flipProbability"] = response.FlipProbability };
        }
        else
        {
            (double low, double high) = active.LabelRange ?? throw new Diagnostics.PrivacyRefusedException(GlmErrors.LabelRangeMissing, $"party '{active.Party.Name}', data.labelRange",
                "the sensitivity of a continuous or count label needs its declared range.", "Declare data.labelRange: [low, high].");
            var mechanism = new NoisyTargetMechanism(low, high, labels.Epsilon, labels.Delta);
            columns = [OneRoundColumn.OfRange(mechanism, rate ?? (low + high) / 2)];
            own = new JsonObject { ["party"] = active.Party.Name, ["epsilon"] = labels.Epsilon, ["delta"] = labels.Delta, ["mu"] = mechanism.Mu, ["sigmaCharged"] = mechanism.Sigma };
        }

        bool charged = plan.Job.Privacy.Evaluation == EvaluationDisclosure.Charged;
        var passive = new JsonArray();
        List<string> lines = [Line(own)];
        if (rate is null)
            lines.Add("The centre of the label is assumed, since a job takes it from the released labels; privacy.oneRound.labelRate would fix it.");
        foreach (GlmPartyOptions party in plan.Job.Parties.Where(p => p.Party.Role == PartyRole.Passive))
        {
            PrivacyBudget budget = plan.BudgetOf(party)!;
            OneRoundCalibration calibration = OneRoundCalibration.Calibrate(OneRoundRules.Parameters(plan, rows, LargestColumns, columns), budget.Epsilon, budget.Delta, charged ? plan.Job.Privacy.EvaluationShare : 0);
            JsonObject described = PrivacyOneRoundCommand.Describe(calibration);
            described.Insert(0, "party", party.Party.Name);
            described.Insert(1, "epsilon", budget.Epsilon);
            described.Insert(2, "delta", budget.Delta);
            lines.Add(Line(described));
            PrivacyPlanCommand.Warn(described, lines, GlmClaims.DrownedWeights(calibration.WeightNoise?.Sigma, plan, plan.Job.Privacy.OneRound.ScoreClip));
            passive.Add(described);
        }

        return new PrivacyPlan(new JsonObject { ["mode"] = "one-round", ["rows"] = rows, ["labelRateAssumed"] = rate is null, ["active"] = own, ["passive"] = passive }, lines);
    }

    private static string Line(JsonObject figures) => string.Join(", ", figures.Select(f => f.Value!.GetValueKind() == System.Text.Json.JsonValueKind.String
        ? (string)f.Value! : string.Create(CultureInfo.InvariantCulture, $"{f.Key} {(double)f.Value!:G6}")));
}
