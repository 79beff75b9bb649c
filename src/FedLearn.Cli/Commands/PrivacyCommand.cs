using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn privacy</c>: numbers before data.</summary>
internal static class PrivacyCommand
{
    /// <summary><c>privacy calibrate --mode one-round</c> is <c>privacy one-round</c>: the modes share no numbers but rows, epsilon and delta, so each
    /// has its own options.</summary>
    /// <param name="args">Arguments of the tool.</param>
    /// <returns>The arguments of the command that is meant.</returns>
    public static string[] Route(string[] args)
    {
        if (args is not ["privacy", "calibrate", ..])
            return args;
        int joined = Array.FindIndex(args, arg => arg is "--mode=one-round" or "--mode:one-round"), apart = Array.IndexOf(args, "--mode");
        bool apartSaysSo = apart >= 0 && apart + 1 < args.Length && args[apart + 1] == "one-round";
        return joined >= 0 ? ["privacy", "one-round", .. args[2..joined], .. args[(joined + 1)..]]
            : apartSaysSo ? ["privacy", "one-round", .. args[2..apart], .. args[(apart + 2)..]]
            : args;
    }

    /// <summary>Builds the command.</summary>
    public static Verb Create() => new("privacy", "Compute noise and privacy loss before any data is touched.", static command =>
        command.Has(PrivacyPlanCommand.Create(), PrivacyCalibrateCommand.Create(), PrivacyOneRoundCommand.Create(), Gaussian(), PrivacyAccountCommand.Create()));

    private static Command Gaussian()
    {
        Option<double?> epsilon = Options.Number("--epsilon", "Privacy loss in nats, above 0."), delta = Options.Number("--delta", "Probability of exceeding it, above 0 and below 0.1.");
        Option<bool> json = Options.Json();
        var command = new Command("gaussian",
            """
            Compute the noise of one release per unit of L2 sensitivity, by the analytic Gaussian mechanism (exact).

            Example:
              fedlearn privacy gaussian --epsilon 1 --delta 1e-5
            """)
        { epsilon, delta, json };
        command.Computes(parsed =>
        {
            double e = parsed.GetRequiredValue(epsilon)!.Value, d = parsed.GetRequiredValue(delta)!.Value;
            HdpVflCalibration.CheckBudget(e, d);
            Print(parsed, json, new JsonObject { ["sigma"] = GaussianDp.Sigma(e, d), ["mu"] = GaussianDp.Mu(e, d) });
        });
        return command;
    }

    /// <summary>Sets what a command does, whose errors then name the option that was typed and not the number of the calculation.</summary>
    internal static void Computes(this Command command, Action<ParseResult> action) => command.SetAction(parsed =>
    {
        try
        {
            action(parsed);
        }
        // stepSize is --step-size, weightNorm (A2) is --weight-norm and target bound --target-bound.
        catch (ConfigurationException e) when (OptionOf(command, e) is { } name)
        {
            throw new ConfigurationException(e.Id, name, e.Cause, e.Remedy, e);
        }
        catch (PrivacyRefusedException e) when (OptionOf(command, e) is { } name)
        {
            throw new PrivacyRefusedException(e.Id, name, e.Cause, e.Remedy, e);
        }
    });

    private static string? OptionOf(Command command, FedLearnException e) =>
        "--" + JsonNamingPolicy.KebabCaseLower.ConvertName(e.Place.Split(" (")[0]) is var name && command.Options.Any(option => option.Name == name) ? name : null;

    /// <summary>Prints a result: as JSON on standard output, or its numbers one a line on standard error. Warnings go to standard error.</summary>
    internal static void Print(ParseResult parsed, Option<bool> json, JsonObject document, params string[] warnings)
    {
        TextWriter error = parsed.InvocationConfiguration.Error;
        foreach (string warning in warnings)
            error.WriteLine($"warning: {warning}");
        ReportWriter.Print(parsed, json, document);
        if (!parsed.GetValue(json))
            foreach ((string name, double value) in Leaves(document, ""))
                error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-20} {value:G10}"));
    }

    private static IEnumerable<(string Name, double Value)> Leaves(JsonObject document, string prefix) => document.SelectMany(property =>
        property.Value is JsonObject inner ? Leaves(inner, $"{property.Key} ") : [(prefix + property.Key, property.Value!.GetValue<double>())]);
}
