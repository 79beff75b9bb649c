using System.CommandLine;
using System.Text.Json.Nodes;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn privacy one-round</c>: from public numbers to the noise of one-round training.</summary>
internal static class PrivacyOneRoundCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        Option<int> rows = Options.Whole("--rows", "Training rows common to all parties."), classes = Options.Whole("--classes", "Number of declared classes, 2 to 256. Default 2.", required: false);
        classes.DefaultValueFactory = _ => 2;
        var range = new Option<double[]?>("--label-range")
        {
            Description = "Declared range LOW,HIGH of a continuous or count label, in place of classes.",
            Arity = ArgumentArity.ExactlyOne,
            HelpName = "low,high",
            CustomParser = result =>
            {
                string[] parts = result.Tokens[0].Value.Split(',');
                double[] ends = [.. parts.Select(p => double.TryParse(p, System.Globalization.CultureInfo.InvariantCulture, out double end) ? end : double.NaN)];
                if (ends.Length == 2 && ends.All(double.IsFinite))
                    return ends;
                result.AddError("--label-range takes two numbers, such as 0,10.");
                return null;
            },
        };
        Option<double?> rate = Options.Number("--label-rate", "Public share of the positive class, .01 to .99, or centre of the range. Default: 1/classes, or the middle of the range; a job without one takes it from the released labels.", required: false),
            scoreClip = Options.Number("--score-clip", "Bound ks on a score, above 0. Default 2.", required: false),
            gradientClip = Options.Number("--gradient-clip", "Bound K on the slope of the fit, at least ks. Default 4.", required: false),
            alpha = Options.Number("--alpha", "Largest drift over ks, above 0. Default 1.", required: false),
            rowNorm = Options.Number("--row-norm", "Bound R on the length of a row, above 0. Default 1.", required: false),
            evaluationShare = Options.Number("--evaluation-share", "Part of mu^2 for noise on the passive party's final weights. Default: none.", required: false),
            epsilon = Options.Number("--epsilon", "Privacy loss of each party's record, in nats, above 0."), delta = Options.Number("--delta", "Probability of exceeding epsilon, above 0 and below 0.1.");
        Option<bool> json = Options.Json();
        var command = new Command("one-round",
            """
            Compute the noise of one-round training: labels are released once, and a passive party answers one noisy score for each row.
            Epsilon and delta hold for each party by itself; randomised labels have no delta.

            Examples:
              fedlearn privacy one-round --rows 30000 --label-rate 0.24 --epsilon 1 --delta 1e-5 --json
              fedlearn privacy one-round --rows 30000 --classes 4 --epsilon 1 --delta 1e-5
              fedlearn privacy one-round --rows 5000 --label-range 0,10 --epsilon 2 --delta 1e-5
            """)
        { rows, classes, range, rate, scoreClip, gradientClip, alpha, rowNorm, evaluationShare, epsilon, delta, json };
        command.Computes(parsed =>
        {
            double e = parsed.GetRequiredValue(epsilon)!.Value, d = parsed.GetRequiredValue(delta)!.Value;
            var document = new JsonObject();
            OneRoundColumn[] columns = Columns(document, parsed.GetValue(range), parsed.GetValue(classes), parsed.GetValue(rate), e, d);
            OneRoundCalibration calibration = OneRoundCalibration.Calibrate(new OneRoundParameters
            {
                Rows = parsed.GetValue(rows),
                Columns = columns,
                RowNorm = parsed.GetValue(rowNorm) ?? 1,
                ScoreClip = parsed.GetValue(scoreClip) ?? 2,
                GradientClip = parsed.GetValue(gradientClip) ?? 4,
                Alpha = parsed.GetValue(alpha) ?? 1,
            }, e, d, parsed.GetValue(evaluationShare) ?? 0);
            document["passive"] = Describe(calibration);
            PrivacyCommand.Print(parsed, json, document, [.. calibration.Warnings]);
        });
        return command;
    }

    /// <summary>A passive party's noise, and of what its sensitivity is made. The first column of targets stands for all.</summary>
    public static JsonObject Describe(OneRoundCalibration calibration)
    {
        OneRoundParameters p = calibration.Parameters;
        var document = new JsonObject
        {
            ["mu"] = calibration.Mu,
            ["targetBound"] = p.Columns[0].TargetBound,
            ["targetScale"] = p.Columns[0].Scale,
            ["lambda"] = p.L2(0),
            ["tolerance"] = p.Tolerance(0),
            ["sensitivity"] = p.Sensitivity,
            ["ownTerm"] = p.OwnTerm,
            ["driftTerm"] = p.DriftTerm,
            ["sigma"] = calibration.Sigma,
            ["solverSlack"] = p.SolverSlack,
            ["arithmeticSlack"] = p.ArithmeticSlack,
            ["latticeSlack"] = calibration.LatticeSlack,
            ["sigmaCharged"] = calibration.SigmaCharged,
        };
        if (calibration.WeightNoise is { } weights)
            (document["weightSensitivity"], document["evaluationSigma"]) = (p.WeightSensitivity, weights.Sigma);
        return document;
    }

    private static OneRoundColumn[] Columns(JsonObject document, double[]? range, int classes, double? rate, double epsilon, double delta)
    {
        if (range is { Length: 2 })
        {
            if (classes != 2)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "--classes", "a label has either classes or a range.", "Leave one of the two out.");
            var mechanism = new NoisyTargetMechanism(range[0], range[1], epsilon, delta);
            document["active"] = new JsonObject { ["mu"] = mechanism.Mu, ["sensitivity"] = range[1] - range[0], ["sigma"] = (range[1] - range[0]) / mechanism.Mu, ["sigmaCharged"] = mechanism.Sigma };
            return [OneRoundColumn.OfRange(mechanism, rate ?? (range[0] + range[1]) / 2)];
        }

        var response = new RandomizedResponse(epsilon, classes);
        document["active"] = new JsonObject { ["keepProbability"] = response.KeepProbability, ["flipProbability"] = response.FlipProbability };
        return classes == 2 ? [OneRoundColumn.OfClass(response, rate ?? .5)]
            : [.. Enumerable.Repeat(OneRoundColumn.OfClass(response, rate ?? 1.0 / classes), classes)];
    }
}
