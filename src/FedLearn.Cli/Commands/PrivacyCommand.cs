using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn privacy</c>: numbers before data.</summary>
internal static class PrivacyCommand
{
    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Builds the command.</summary>
    public static Command Create() => new("privacy", "Compute noise and privacy loss before any data is touched.") { Calibrate(), Gaussian(), PrivacyAccountCommand.Create() };

    private static Command Calibrate()
    {
        var family = Options.Word("--family", "Family of the model.",
            [("gaussian", GlmFamilyKind.Gaussian), ("binomial", GlmFamilyKind.Binomial), ("poisson", GlmFamilyKind.Poisson)]);
        var calibration = Options.Word("--calibration", "tight: exact recursion and analytic Gaussian. paper: published formulas and classical Gaussian. Default tight.",
            [("tight", Calibration.Tight), ("paper", Calibration.Paper)], Calibration.Tight, "weight-noise");
        var adjacency = Options.Word("--adjacency", "What two neighbouring tables are. Default replace-one.", [("replace-one", Adjacency.ReplaceOne)], Adjacency.ReplaceOne, "zero-out", "label-only");
        Option<int> rows = Options.Whole("--rows", "Training rows common to all parties."), batches = Options.Whole("--batches", "Batches an epoch, from 1 to the number of rows."),
            epochs = Options.Whole("--epochs", "Passes over the rows, at least 1.");
        Option<double?> stepSize = Options.Number("--step-size", "Step size, above 0; at most 2/(l2 + beta R^2)."), l2 = Options.Number("--l2", "Penalty, at least 0."),
            weightNorm = Options.Number("--weight-norm", "Radius k of the ball that weights are projected on, above 0."),
            residualClip = Options.Number("--residual-clip", "Bound C on a residual, above 0."),
            targetBound = Options.Number("--target-bound", "Bound on |label|, above 0; gaussian and poisson need it. Default for paper binomial: 1.", required: false),
            rowNorm = Options.Number("--row-norm", "Bound R on the length of a row at each party, above 0. Default 1.", required: false),
            epsilon = Options.Number("--epsilon", "Privacy loss of each party's record, in nats, above 0."), delta = Options.Number("--delta", "Probability of exceeding epsilon, above 0 and below 0.1.");
        Option<bool> json = Options.Json();
        var command = new Command("calibrate",
            """
            Noise of an HDP-VFL job. Sensitivity and sigma are those of the continuous mechanism; epsilon and delta hold for each party by itself.

            Example:
              fedlearn privacy calibrate --family binomial --rows 30000 --batches 50 --epochs 10 --step-size 1 --l2 0.001 \
                --weight-norm 1 --residual-clip 1 --epsilon 1 --delta 1e-5 --json
            """)
        { family, calibration, rows, batches, epochs, stepSize, l2, weightNorm, residualClip, targetBound, rowNorm, adjacency, epsilon, delta, json };
        command.SetAction(parsed =>
        {
            GlmFamilyKind kind = parsed.GetValue(family);
            if (kind != GlmFamilyKind.Binomial && parsed.GetValue(targetBound) is null)
                throw new ConfigurationException(CliErrors.OptionsDisagree, "--target-bound", "the gaussian and poisson families need a bound on the label.",
                    "Give the largest |label| that you declare, not one taken from the data.");
            var parameters = new HdpVflParameters
            {
                Family = kind,
                Rows = parsed.GetValue(rows),
                Batches = parsed.GetValue(batches),
                Epochs = parsed.GetValue(epochs),
                StepSize = parsed.GetRequiredValue(stepSize)!.Value,
                L2 = parsed.GetRequiredValue(l2)!.Value,
                WeightNorm = parsed.GetRequiredValue(weightNorm)!.Value,
                ResidualClip = parsed.GetRequiredValue(residualClip)!.Value,
                TargetBound = parsed.GetValue(targetBound),
                RowNorm = parsed.GetValue(rowNorm) ?? 1,
                Adjacency = parsed.GetValue(adjacency),
            };
            PartyCalibration Party(PartySide side) => HdpVflCalibration.Calibrate(parameters, parsed.GetValue(calibration), side,
                parsed.GetRequiredValue(epsilon)!.Value, parsed.GetRequiredValue(delta)!.Value);
            PartyCalibration active = Party(PartySide.Active), passive = Party(PartySide.Passive);
            // One mu for both parties; the paper's is a quotient, which may differ in its last bit.
            var document = new JsonObject
            {
                ["mu"] = Math.Max(active.Mu, passive.Mu),
                ["active"] = new JsonObject { ["sensitivity"] = active.Sensitivity, ["sigma"] = active.Sigma },
                ["passive"] = new JsonObject { ["sensitivity"] = passive.Sensitivity, ["sigma"] = passive.Sigma },
            };
            if (active.ActualDelta is { } one && passive.ActualDelta is { } other)
                document["actualDelta"] = Math.Max(one, other);
            Print(parsed, json, document, [.. active.Warnings.Union(passive.Warnings)]);
        });
        return command;
    }

    private static Command Gaussian()
    {
        Option<double?> epsilon = Options.Number("--epsilon", "Privacy loss in nats, above 0."), delta = Options.Number("--delta", "Probability of exceeding it, above 0 and below 0.1.");
        Option<bool> json = Options.Json();
        var command = new Command("gaussian",
            """
            Noise of one release per unit of L2 sensitivity, by the analytic Gaussian mechanism (exact).

            Example:
              fedlearn privacy gaussian --epsilon 1 --delta 1e-5
            """)
        { epsilon, delta, json };
        command.SetAction(parsed =>
        {
            double e = parsed.GetRequiredValue(epsilon)!.Value, d = parsed.GetRequiredValue(delta)!.Value;
            HdpVflCalibration.CheckBudget(e, d);
            Print(parsed, json, new JsonObject { ["sigma"] = GaussianDp.Sigma(e, d), ["mu"] = GaussianDp.Mu(e, d) });
        });
        return command;
    }

    /// <summary>Prints a result: JSON on standard output, or names and numbers for people.</summary>
    internal static void Print(ParseResult parsed, Option<bool> json, JsonObject document, params string[] warnings)
    {
        TextWriter output = parsed.InvocationConfiguration.Output, error = parsed.InvocationConfiguration.Error;
        foreach (string warning in warnings)
            error.WriteLine($"warning: {warning}");
        if (parsed.GetValue(json))
            output.WriteLine(document.ToJsonString(Readable));
        else
            foreach ((string name, double value) in Leaves(document, ""))
                error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-20} {value:G10}"));
    }

    private static IEnumerable<(string Name, double Value)> Leaves(JsonObject document, string prefix) => document.SelectMany(property =>
        property.Value is JsonObject inner ? Leaves(inner, $"{property.Key} ") : [(prefix + property.Key, property.Value!.GetValue<double>())]);
}
