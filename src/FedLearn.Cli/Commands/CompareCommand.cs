using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.Report;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;

namespace FedLearn.Cli.Commands;

/// <summary>fedlearn compare: one job in every way to train it, plain, private and encrypted.</summary>
internal static class CompareCommand
{
    private static readonly string[] Schemes = [.. Words.Schemes.Select(s => s.Word)];

    public static Verb Create() => new("compare", """
            Train one job in every way to train it, on the same rows and processes, and put quality, seconds, bytes and memory side
            by side: plain, the active party alone, HDP-VFL with both calibrations, one-round, homomorphic encryption with an arbiter
            (he), and encryption with noise (he+dp). If the job does not allow a way, its row has status refused and the error's
            id; the others still run.

            Private rows train on real data. Each run charges the parties' ledgers as fedlearn train does, and lifetime budgets hold.
            Use --repeats 1 to charge each row once.

            Examples:
              fedlearn compare --config job.json --epsilons 0.1,1,10 --html compare.html
              fedlearn compare --config job.json --epsilons 1 --he ckks,paillier --repeats 1 --report compare.json
            """, static command =>
    {
        Option<string> config = Options.Config("Run file (JSON with comments). Its privacy.mode, calibration and epsilon are replaced row by row.");
        var epsilons = new Option<double[]>("--epsilons")
        {
            Description = "Epsilons of the private rows, each finite and above 0; at most 20.",
            Required = true,
            Arity = ArgumentArity.ExactlyOne,
            HelpName = "0.1,1,10",
            CustomParser = result => Options.Token(result).Split(',', StringSplitOptions.TrimEntries).Select(Number).ToArray() is { Length: <= 20 } all && all.All(value => double.IsFinite(value) && value > 0)
                ? [.. all.Distinct().Order()] : Options.Fault<double[]>(result, "--epsilons: not 1 to 20 finite numbers above 0 with commas between."),
        };
        var schemes = new Option<string[]>("--he")
        {
            Description = "Schemes of homomorphic encryption to compare with: ckks, paillier, and paillier with the arithmetic of FATE or as published (paillier-fate, paillier-textbook). Default ckks; without its engine that row is refused. Paillier takes minutes for an epoch.",
            Arity = ArgumentArity.ExactlyOne,
            HelpName = "ckks,paillier",
            DefaultValueFactory = _ => ["ckks"],
            CustomParser = result => Options.Token(result).Split(',', StringSplitOptions.TrimEntries) is var words && words.All(Schemes.Contains)
                ? [.. Schemes.Where(words.Contains)] : Options.Fault<string[]>(result, $"--he: '{Options.Token(result)}' is no list of ckks, paillier, paillier-fate and paillier-textbook."),
        };
        var delta = new Option<double?>("--delta")
        {
            Description = "Delta of the private rows, above 0 and below 0.1. Default: the job's privacy.delta.",
            HelpName = "number",
            CustomParser = result => Number(Options.Token(result)) is var value and > 0 and < .1
                ? value : Options.Fault<double?>(result, $"--delta: '{Options.Token(result)}' is no number above 0 and below 0.1."),
        };
        Option<int> heEpochs = Count("--he-epochs", "Epochs of a Paillier row, at most the job's; fewer than the job's give figures per epoch and no quality.", 1, 1_000_000),
            repeats = Count("--repeats", "Runs of each plain, guest-only and HDP-VFL row, taking turns; their seconds are the median. Each private one charges the ledgers.", 3, 100);
        Option<bool> inProcess = Options.InProcess(), json = Options.Json();
        Option<string?> report = Options.Report(), html = Options.Html();
        command.Has(config, epsilons, schemes, delta, heEpochs, repeats, inProcess, report, html, json);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            long start = Stopwatch.GetTimestamp();
            Terminal terminal = Terminal.Of(parsed);
            var places = ReportPlaces.Of(parsed, json, report, html);
            GlmRunFile plain = CompareRunner.Plain(parsed.GetRequiredValue(config));
            OutputFile.CheckApart([.. plain.Inputs, .. plain.StartFiles], null, places.Report, places.Html);
            var request = new CompareRequest(parsed.GetRequiredValue(epsilons), parsed.GetRequiredValue(schemes), parsed.GetValue(delta), parsed.GetValue(heEpochs), parsed.GetValue(repeats));
            parsed.InvocationConfiguration.ProcessTerminationTimeout = CompareRunner.EndTime;
            var runner = new CompareRunner(parsed.GetRequiredValue(config), request, parsed.GetValue(inProcess), terminal, cancellationToken);
            JsonObject document = await runner.RunAsync().ConfigureAwait(false);
            document["timing"]!["totalSeconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            document = ReportParts.ReadBack(document);
            ReportWriter.Document(document, places, () => CompareReport.Of(document));
            CompareTable.Show(document, terminal);
            // The table is written all the same; a script that goes on with it must not.
            if (runner.IsInterrupted)
                throw new OperationCanceledException(cancellationToken);
        });
    });

    private static Option<int> Count(string name, string description, int absent, int most) => new(name)
    {
        Description = string.Create(CultureInfo.InvariantCulture, $"{description} 1 to {most}; default {absent}."),
        HelpName = "count",
        DefaultValueFactory = _ => absent,
        CustomParser = result => int.TryParse(Options.Token(result), NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= 1 && value <= most
            ? value : Options.Fault<int>(result, string.Create(CultureInfo.InvariantCulture, $"{name}: '{Options.Token(result)}' is no whole number from 1 to {most}.")),
    };

    // NaN for what is no number.
    private static double Number(string text) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : double.NaN;
}
