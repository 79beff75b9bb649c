using System.CommandLine;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn privacy calibrate</c>: from the public numbers of a job to its noise.</summary>
internal static class PrivacyCalibrateCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        var mode = Options.Word("--mode", "Mode of the job; one-round has the options of 'fedlearn privacy one-round'. Default hdp-vfl.", [("hdp-vfl", PrivacyMode.HdpVfl), ("one-round", PrivacyMode.OneRound)], PrivacyMode.HdpVfl);
        var family = Options.Word("--family", "Family of the model.",
            [("gaussian", GlmFamilyKind.Gaussian), ("binomial", GlmFamilyKind.Binomial), ("poisson", GlmFamilyKind.Poisson), ("gamma", GlmFamilyKind.Gamma),
                ("tweedie", GlmFamilyKind.Tweedie), ("multinomial", GlmFamilyKind.Multinomial)]);
        var calibration = Options.Word("--calibration",
            "tight: exact recursion and analytic Gaussian. paper: published formulas and classical Gaussian. weight-noise: noise on own gradients too. Default tight.",
            Words.Calibrations, Calibration.Tight);
        var adjacency = Options.Word("--adjacency", "What two neighbouring tables are. Default replace-one.", Words.Adjacencies, Adjacency.ReplaceOne);
        var unit = Options.Word("--unit", "What of a row may differ: all of it, or its label only, when passive parties need no noise. Default record.",
            Words.Units, PrivacyUnit.Record);
        var schedule = Options.Word("--schedule", "Batches: the same in every epoch, or reshuffled from a public seed. Default fixed.",
            [("fixed", BatchSchedule.Fixed), ("reshuffled", BatchSchedule.Reshuffled)], BatchSchedule.Fixed);
        Option<int> rows = Options.Whole("--rows", "Training rows common to all parties."), batches = Options.Whole("--batches", "Batches an epoch, from 1 to the number of rows."),
            epochs = Options.Whole("--epochs", "Passes over the rows, at least 1."), classes = Options.Whole("--classes", "Number of classes; multinomial needs it.", required: false);
        Option<double?> stepSize = Options.Number("--step-size", "Step size, above 0; at most 2/(l2 + U beta R^2), but for weight-noise."), l2 = Options.Number("--l2", "Penalty, at least 0."),
            weightNorm = Options.Number("--weight-norm", "Radius k of the ball that weights are projected on, above 0."),
            residualClip = Options.Number("--residual-clip", "Bound C on a residual, above 0."),
            targetBound = Options.Number("--target-bound", "Bound on |label|, above 0; gaussian, poisson and tweedie need it. Default for paper binomial: 1.", required: false),
            offsetBound = Options.Number("--offset-bound", "Bound O on |offset|, at least 0. Default 0: no offsets.", required: false),
            weightBound = Options.Number("--weight-bound", "Bound U on sample weights, above 0. Default: no sample weights.", required: false),
            rowNorm = Options.Number("--row-norm", "Bound R on the length of a row at each party, above 0. Default 1.", required: false),
            share = Options.Number("--share", "weight-noise: part of mu^2 for the messages, above 0 and below 1. Default 0.5.", required: false),
            evaluationShare = Options.Number("--evaluation-share", "tight: part of mu^2 for noise on a passive party's final weights, so that its scores tell no more of other rows than the one scored. Default: none.", required: false),
            epsilon = Options.Number("--epsilon", "Privacy loss of each party's record, in nats, above 0."), delta = Options.Number("--delta", "Probability of exceeding epsilon, above 0 and below 0.1.");
        Option<bool> json = Options.Json();
        var command = new Command("calibrate",
            """
            Compute the noise of an HDP-VFL job. Sensitivity, sigma and gradientSigma are those of the continuous mechanism; sigmaCharged is the noise
            used, with every slack. Epsilon and delta hold for each party by itself.

            Examples:
              fedlearn privacy calibrate --family binomial --rows 30000 --batches 50 --epochs 10 --step-size 1 --l2 0.001 \
                --weight-norm 1 --residual-clip 1 --epsilon 1 --delta 1e-5 --json
              fedlearn privacy calibrate --mode one-round --rows 30000 --label-rate 0.24 --epsilon 1 --delta 1e-5 --json
            """)
        {
            mode, family, calibration, rows, batches, epochs, stepSize, l2, weightNorm, residualClip, targetBound, classes, offsetBound, weightBound, rowNorm, adjacency, unit, schedule,
            share, evaluationShare, epsilon, delta, json,
        };
        command.Computes(parsed =>
        {
            // Where the mode is written plainly, PrivacyCommand.Route has called the other command; in a response file it is not seen there.
            Refuse(mode.Of(parsed) == PrivacyMode.OneRound, "--mode", "one-round has numbers of its own.", "Use fedlearn privacy one-round; its --help has the options.");
            GlmFamilyKind kind = family.Of(parsed);
            bool declared = parsed.GetResult(classes) is { Implicit: false }, evaluates = parsed.GetValue(evaluationShare) is not null;
            Refuse(kind is GlmFamilyKind.Gaussian or GlmFamilyKind.Poisson or GlmFamilyKind.Tweedie && parsed.GetValue(targetBound) is null, "--target-bound",
                "the gaussian, poisson and tweedie families need a bound on the label.", "Give the largest |label| that you declare, not one taken from the data.");
            Refuse(declared != (kind == GlmFamilyKind.Multinomial), "--classes", "the multinomial family has a number of classes, and no other has.", declared ? "Leave it out, or give --family multinomial." : "Give it, as in --classes 4.");
            Refuse(parsed.GetValue(share) is not null && calibration.Of(parsed) != Calibration.WeightNoise, "--share",
                "only the weight-noise calibration shares mu^2 between messages and gradients.", "Add --calibration weight-noise, or leave --share out.");
            Refuse(evaluates && calibration.Of(parsed) == Calibration.WeightNoise, "--evaluation-share",
                "weight noise covers the final weights already, at no further cost.", "Leave --evaluation-share out.");
            Refuse(evaluates && unit.Of(parsed) == PrivacyUnit.Label, "--evaluation-share",
                "unit label protects no features, so there is nothing to charge for.", "Leave --evaluation-share out, or use --unit record.");
            var parameters = new HdpVflParameters
            {
                Family = kind,
                Outputs = declared ? parsed.GetValue(classes) : 1,
                Rows = parsed.GetValue(rows),
                Batches = parsed.GetValue(batches),
                Epochs = parsed.GetValue(epochs),
                StepSize = parsed.GetRequiredValue(stepSize)!.Value,
                L2 = parsed.GetRequiredValue(l2)!.Value,
                WeightNorm = parsed.GetRequiredValue(weightNorm)!.Value,
                ResidualClip = parsed.GetRequiredValue(residualClip)!.Value,
                TargetBound = parsed.GetValue(targetBound),
                OffsetBound = parsed.GetValue(offsetBound) ?? 0,
                WeightBound = parsed.GetValue(weightBound),
                RowNorm = parsed.GetValue(rowNorm) ?? 1,
                Adjacency = adjacency.Of(parsed),
                Unit = unit.Of(parsed),
                Schedule = schedule.Of(parsed),
            };
            var noise = new HdpVflNoise(calibration.Of(parsed)) { Share = parsed.GetValue(share) ?? 0.5, EvaluationShare = parsed.GetValue(evaluationShare) };
            (JsonObject document, string[] warnings) = Calibrate(parameters, noise, parsed.GetRequiredValue(epsilon)!.Value, parsed.GetRequiredValue(delta)!.Value);
            PrivacyCommand.Print(parsed, json, document, warnings);
        });
        return command;
    }

    private static void Refuse(bool disagree, string option, string cause, string remedy)
    {
        if (disagree)
            throw new ConfigurationException(CliErrors.OptionsDisagree, option, cause, remedy);
    }

    private static (JsonObject Document, string[] Warnings) Calibrate(HdpVflParameters parameters, HdpVflNoise noise, double epsilon, double delta)
    {
        PartyCalibration active = HdpVflCalibration.Calibrate(parameters, noise, PartySide.Active, epsilon, delta);
        PartyCalibration? passive = parameters.Unit == PrivacyUnit.Label ? null : HdpVflCalibration.Calibrate(parameters, noise, PartySide.Passive, epsilon, delta);
        // One mu for both parties; the paper's is a quotient, which may differ in its last bit.
        var document = new JsonObject { ["mu"] = Math.Max(active.Mu, passive?.Mu ?? 0), ["active"] = Describe(active) };
        if (passive is not null)
            document["passive"] = Describe(passive);
        if (active.ActualDelta is { } one && passive?.ActualDelta is { } other)
            document["actualDelta"] = Math.Max(one, other);
        return (document, [.. active.Warnings.Union(passive?.Warnings ?? [])]);
    }

    /// <summary>A party's noise, and of what its sensitivity is made.</summary>
    public static JsonObject Describe(PartyCalibration party)
    {
        var document = new JsonObject
        {
            ["sensitivity"] = party.Sensitivity,
            ["sigma"] = party.Sigma,
            ["ownTerm"] = party.OwnTerm,
            ["driftTerm"] = party.DriftTerm,
            ["latticeSlack"] = party.LatticeSlack,
            ["arithmeticSlack"] = party.ArithmeticSlack,
            ["sigmaCharged"] = party.SigmaCharged,
        };
        if (party.OwnRowSlack > 0)
            document["ownRowSlack"] = party.OwnRowSlack;
        if (party.GradientSigma is { } gradient)
            (document["gradientSigma"], document["gradientSigmaCharged"]) = (gradient, party.GradientSigmaCharged);
        if (party.EvaluationNoise is { } evaluation)
            (document["finalDrift"], document["evaluationSigma"]) = (party.FinalDrift, evaluation.Sigma);
        return document;
    }
}
