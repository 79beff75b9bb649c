using System.Globalization;
using System.Text.Json.Nodes;
using CsvHelper;
using FedLearn.Cli.RunFiles;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using static System.FormattableString;

namespace FedLearn.Cli.Commands;

/// <summary>The plan of a job in mode hdp-vfl.</summary>
internal static class HdpVflPlan
{
    private const string Criterion = "least expected squared length of the noise that the party puts into one step's mean gradients, its own and its peer's";

    /// <summary>A calibration of a party, or why there is none.</summary>
    /// <param name="Word">The calibration's name in run files.</param>
    /// <param name="Noise">The noise; null when the mathematics refuses it.</param>
    /// <param name="Share">Weight noise: the best share for messages.</param>
    /// <param name="GradientNoise">The criterion.</param>
    /// <param name="Refusal">Why there is no noise.</param>
    private sealed record Choice(string Word, PartyCalibration? Noise, double? Share, double GradientNoise, FedLearnException? Refusal);

    public static PrivacyPlan Of(GlmRunFile run, GlmPlan plan, int rows)
    {
        BatchLayout layout = plan.Layout(rows);
        var parties = new JsonArray();
        var document = new JsonObject
        {
            ["mode"] = "hdp-vfl",
            ["rows"] = rows,
            ["batches"] = layout.Count,
            ["epochs"] = plan.Epochs,
            ["stepSize"] = plan.StepSize,
            ["criterion"] = Criterion,
            ["parties"] = parties,
        };
        List<string> lines =
        [
            Invariant($"hdp-vfl: {rows} training {Counted.Noun(rows, "row")}, epochs {plan.Epochs} x batches {layout.Count} = {plan.Epochs * layout.Count} {Counted.Noun(plan.Epochs * layout.Count, "message")} a party, batches of {(layout.SmallestSize == layout.LargestSize ? $"{layout.LargestSize}" : $"{layout.SmallestSize} to {layout.LargestSize}")} {Counted.Noun(layout.LargestSize, "row")}, stepSize {plan.StepSize:G4}"),
        ];
        string[] warnings = [.. plan.ShortSteps(layout), .. plan.NarrowBounds(plan.Job.Parties.First(p => p.Party.Role == PartyRole.Active))];
        PrivacyPlanCommand.Warn(document, lines, warnings);
        foreach (GlmPartyOptions party in plan.Job.Parties)
            parties.Add(Party(run, plan, party, plan.Parameters(party, layout), lines));
        lines.AddRange(["", $"best: {Criterion}, at the same budget.", "what if: sigma of the messages, all else the same; weight-noise with its best share."]);
        return new(document, lines);
    }

    private static JsonObject Party(GlmRunFile run, GlmPlan plan, GlmPartyOptions party, HdpVflParameters parameters, List<string> lines)
    {
        PartySide side = party.Party.Role == PartyRole.Active ? PartySide.Active : PartySide.Passive;
        PrivacyBudget budget = plan.BudgetOf(party)!;
        double mu = GaussianDp.Mu(budget.Epsilon, budget.Delta);
        int columns = Columns(run.Party(party.Party.Name), plan.Constant, lines) + (parameters.FreeIntercept ? 1 : 0);
        parameters = parameters with { MaxColumns = columns };
        var document = new JsonObject
        {
            ["name"] = party.Party.Name,
            ["role"] = Words.Of(party.Party.Role),
            ["epsilon"] = budget.Epsilon,
            ["delta"] = budget.Delta,
            ["mu"] = mu,
            ["columns"] = columns,
        };
        lines.Add("");
        if (side == PartySide.Passive && parameters.Unit == PrivacyUnit.Label)
        {
            lines.Add($"{party.Party.Name} (passive): no noise, since only labels are protected; its features are not.");
            return document;
        }

        Choice[] Choices(HdpVflParameters p) => [.. Words.Calibrations.Select(c => Choose(c.Word, plan.Noise with { Calibration = c.Meaning }, p, side, budget, columns))];
        Choice[] choices = Choices(parameters);
        // Above epsilon 1 or so the paper's noise may exceed the budget's delta; it is then not recommended.
        Choice? best = choices.Where(c => c.Noise is { } noise && !(noise.ActualDelta > budget.Delta)).MinBy(c => c.GradientNoise);
        Choice job = Choose("this job", plan.Noise, parameters, side, budget, columns, plan.Noise.Share);
        document["job"] = Describe(job);
        document["job"]!["calibration"] = Words.Of(plan.Noise.Calibration);
        document["best"] = best?.Word;
        document["calibrations"] = new JsonObject(choices.Select(c => KeyValuePair.Create(c.Word, (JsonNode?)Describe(c))));

        lines.Add(Invariant($"{party.Party.Name} ({document["role"]}): epsilon {budget.Epsilon:G4}, delta {budget.Delta:G4}, mu {mu:G6}, {columns} {Counted.Noun(columns, "column")}"));
        lines.Add(Row("calibration", "sigma", "own term", "drift term", "share", "gradient", "noise in"));
        lines.Add(Row("", "", "", "", "", "sigma", "gradients"));
        foreach (Choice choice in choices.Append(job))
        {
            lines.Add(choice.Noise is not { } noise ? $"  {choice.Word,-18} refused: {choice.Refusal!.Id}, see docs/errors/{choice.Refusal.Id}.md"
                : Row(choice.Word, Number(noise.SigmaCharged), Number(noise.OwnTerm), Number(noise.DriftTerm), Number(choice.Share), Number(noise.GradientSigmaCharged), Number(choice.GradientNoise)));
            if (choice.Noise?.ActualDelta is { } actual && actual > budget.Delta)
                lines.Add(Invariant($"  {"",-18} reaches delta {actual:G4}, above the budget"));
        }

        if (job.Noise?.EvaluationNoise is { } final)
        {
            lines.Add(Invariant($"  final weights, evaluation charged: sigma {final.Sigma:G5}"));
            PrivacyPlanCommand.Warn(document, lines, GlmClaims.DrownedWeights(final.Sigma, plan, plan.WeightNorm * plan.PreprocessingOptions.RowNorm));
        }

        lines.Add($"  best: {best?.Word ?? "none"}");
        lines.Add(Row("what if", [.. choices.Select(c => c.Word)]));
        var whatIf = new JsonArray();
        foreach ((string change, double value, HdpVflParameters changed) in Changes(parameters))
        {
            Choice[] then = Choices(changed);
            lines.Add(Row(Invariant($"{change} {value:G5}"), [.. then.Select(c => Number(c.Noise?.SigmaCharged))]));
            var sigmas = new JsonObject { ["change"] = change, ["value"] = value };
            foreach (Choice choice in then)
                sigmas[choice.Word] = choice.Noise?.SigmaCharged;
            sigmas["gradientSigma"] = then[^1].Noise?.GradientSigmaCharged;
            whatIf.Add(sigmas);
        }

        document["whatIf"] = whatIf;
        return document;
    }

    private static Choice Choose(string word, HdpVflNoise noise, HdpVflParameters parameters, PartySide side, PrivacyBudget budget, int columns, double? ownShare = null)
    {
        try
        {
            double? share = noise.Calibration == Calibration.WeightNoise ? ownShare ?? WeightNoiseShare.Best(parameters, side, columns) : null;
            PartyCalibration party = HdpVflCalibration.Calibrate(parameters, noise with { Share = share ?? noise.Share }, side, budget.Epsilon, budget.Delta);
            return new(word, party, share, WeightNoiseShare.GradientNoise(parameters, side, columns, party.SigmaCharged, party.GradientSigmaCharged ?? 0), null);
        }
        catch (FedLearnException refusal) when (refusal is PrivacyRefusedException || refusal.Id == PrivacyErrors.InvalidLayout)
        {
            // One calibration may refuse so many batches; the others are shown all the same.
            return new(word, null, null, double.NaN, refusal);
        }
    }

    private static JsonObject Describe(Choice choice)
    {
        if (choice.Noise is not { } noise)
            return new JsonObject { ["refused"] = choice.Refusal!.Id };
        JsonObject document = PrivacyCalibrateCommand.Describe(noise);
        if (choice.Share is { } share)
            document["share"] = share;
        if (noise.ActualDelta is { } actual)
            document["actualDelta"] = actual;
        document["noiseInGradients"] = choice.GradientNoise;
        return document;
    }

    /// <summary>Half and double of each number that the job can choose freely, where that is possible.</summary>
    private static IEnumerable<(string Change, double Value, HdpVflParameters Changed)> Changes(HdpVflParameters p)
    {
        if (p.Epochs > 1)
            yield return ("epochs", p.Epochs / 2, p with { Epochs = p.Epochs / 2 });
        if ((long)p.Epochs * 2 * p.Batches <= int.MaxValue)
            yield return ("epochs", p.Epochs * 2, p with { Epochs = p.Epochs * 2 });
        if (p.Batches > 1)
            yield return ("batches", p.Batches / 2, p with { Batches = p.Batches / 2 });
        if (p.Batches <= p.Rows / 2 && (long)p.Epochs * 2 * p.Batches <= int.MaxValue)
            yield return ("batches", p.Batches * 2, p with { Batches = p.Batches * 2 });
        foreach (double factor in (double[])[0.5, 2])
            yield return ("stepSize", p.StepSize * factor, p with { StepSize = p.StepSize * factor });
        foreach (double factor in (double[])[0.5, 2])
            yield return ("weightNorm", p.WeightNorm * factor, p with { WeightNorm = p.WeightNorm * factor });
    }

    /// <summary>Columns of a party as its schema says, else as the first line of its table does; the constant counts.</summary>
    internal static int Columns(GlmRunFileParty party, bool constant, List<string> lines)
    {
        int columns = 1;
        if (party.Data is not { Schema: not null } && !File.Exists(party.Data?.Path))
            lines.Add($"note: {party.Name}'s table and schema are not here: it is taken to have one column. Share, gradient sigma and the best calibration rest on that.");
        if (party.Data is { } data)
        {
            if (data.Schema is { } schema)
                columns = TableSchema.Load(schema).FeatureNames.Count;
            else if (data.Path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase) && File.Exists(data.Path))
                columns = (int)Math.Clamp(NpyFile.Shape(data.Path) is [_, long width] ? width : 1, 1, int.MaxValue - 2);
            else if (SvmTable.IsNameOf(data.Path) && File.Exists(data.Path))
                columns = Math.Max(1, SvmTable.Size(data).Columns);
            else if (File.Exists(data.Path))
            {
                string?[] others = [.. CsvTable.IdNames(data, null), data.Label, data.Weight, data.Offset, data.Exposure];
                using CsvReader reader = CsvFile.Open(data.Path, CsvDialect.Of(data));
                columns = Math.Max(1, CsvFile.Header(reader, data.Path, CsvDialect.Of(data)).Keys.Count(name => !others.Contains(name)));
            }
        }

        return columns + (constant ? 1 : 0);
    }

    private static string Row(string first, params string[] cells) => $"  {first,-18}{string.Concat(cells.Select(cell => $"{cell,13}"))}";

    private static string Number(double? value) => value is { } number ? number.ToString("G5", CultureInfo.InvariantCulture) : "-";
}
