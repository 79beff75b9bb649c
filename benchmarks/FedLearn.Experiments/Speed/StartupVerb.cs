using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using FedLearn.Experiments.Tables;

namespace FedLearn.Experiments.Speed;

/// <summary>How long the tool takes to show its help, and a party to listen, beside a program of .NET that does nothing.</summary>
/// <remarks>Everything from the start of the process: to its end, and for a party to the line that says where it listens, which it does. Starts of the three kinds take turns.</remarks>
internal static class StartupVerb
{
    private const int Rows = 200;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static Command Create()
    {
        Option<int> starts = Verbs.Positive("--starts", "Starts of each kind.", 20);
        var tool = new Option<string>("--tool") { Description = "The tool's assembly. Default that of this checkout.", DefaultValueFactory = _ => Path.Combine(Verbs.Repository(), "src", "FedLearn.Cli", "bin", "Release", "net10.0", "FedLearn.Cli.dll") };
        Option<DirectoryInfo> output = Verbs.Out();
        Option<bool> quick = Ratio.Quick("8 starts of each kind, no result file.");
        var command = new Command("startup", "Milliseconds that fedlearn --help takes, and a party until it listens, beside an empty program.") { starts, tool, output, quick };
        command.SetAction((parsed, cancellationToken) => Verbs.RunAsync(async () =>
        {
            DirectoryInfo folder = Directory.CreateTempSubdirectory("fedlearn-startup-");
            try
            {
                bool isQuick = parsed.GetValue(quick);
                return await RunAsync(folder.FullName, Path.GetFullPath(parsed.GetRequiredValue(tool)), isQuick ? 8 : parsed.GetValue(starts), isQuick ? null : parsed.GetValue(output), cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        }));
        return command;
    }

    /// <summary>Milliseconds that are allowed.</summary>
    private const double HelpBar = 80, ListeningBar = 250;

    private static async Task<int> RunAsync(string folder, string tool, int starts, DirectoryInfo? output, CancellationToken cancellationToken)
    {
        string empty = await EmptyProgramAsync(folder, cancellationToken).ConfigureAwait(false);
        WriteJob(folder);
        var kinds = new (string Name, Func<Task<double>> Start)[]
        {
            ("an empty program", () => ToEndAsync([empty], cancellationToken)),
            ("fedlearn --help", () => ToEndAsync([tool, "--help"], cancellationToken)),
            ("fedlearn party, until it listens", () => ToListeningAsync(folder, tool, cancellationToken)),
        };
        var taken = kinds.ToDictionary(kind => kind.Name, _ => new List<double>());
        for (int i = -1; i < starts; i++)
            foreach ((string name, Func<Task<double>> start) in kinds)
            {
                double seconds = await start().ConfigureAwait(false);
                if (i >= 0)                                                                     // the first start brings files into memory
                    taken[name].Add(seconds);
            }

        var text = new StringBuilder();
        text.AppendLine("# Start-up of the tool").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{Machine.Current()}; {starts} starts of each, by turns, `dotnet FILE.dll`, files in memory.");
        text.AppendLine();
        text.AppendLine("| start | ms, least | ms, median | ms beyond the empty program (median) |");
        text.AppendLine("|---|---|---|---|");
        double nothing = Verbs.Median(taken[kinds[0].Name]);
        foreach ((string name, _) in kinds)
        {
            double median = Verbs.Median(taken[name]);
            text.AppendLine(CultureInfo.InvariantCulture, $"| {name} | {taken[name].Min() * 1e3:0} | {median * 1e3:0} | {(median - nothing) * 1e3:0} |");
        }

        double help = Verbs.Median(taken[kinds[1].Name]), listening = Verbs.Median(taken[kinds[2].Name]);
        var ratios = new List<Ratio> { new("startup.help-over-empty-program", help / nothing, null), new("startup.listening-over-empty-program", listening / nothing, null) };
        if (output is not null)
            ratios.AddRange([new("startup.help-over-80-ms", help * 1e3 / HelpBar, 1), new("startup.listening-over-250-ms", listening * 1e3 / ListeningBar, 1)]);
        return Ratio.Finish("startup", text.ToString(), ratios, output);
    }

    private static Process Start(string[] arguments) =>
        Process.Start(new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;

    private static async Task<double> ToEndAsync(string[] arguments, CancellationToken cancellationToken)
    {
        long start = Stopwatch.GetTimestamp();
        using Process process = Start(arguments);
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancellationToken), errors = process.StandardError.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return process.ExitCode == 0 && (await output.ConfigureAwait(false)).Length > 0
            ? seconds
            : throw new InvalidOperationException($"{arguments[0]} ended with code {process.ExitCode}: {await errors.ConfigureAwait(false)}");
    }

    private static async Task<double> ToListeningAsync(string folder, string tool, CancellationToken cancellationToken)
    {
        string file = Path.Combine(folder, "bank.party.json");
        await File.WriteAllTextAsync(file, """{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:0" }""", cancellationToken).ConfigureAwait(false);
        using var timeUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeUp.CancelAfter(Patience);
        long start = Stopwatch.GetTimestamp();
        using Process process = Start([tool, "party", "--config", file]);
        try
        {
            string? line = await process.StandardError.ReadLineAsync(timeUp.Token).ConfigureAwait(false);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            return line?.StartsWith("listening on ", StringComparison.Ordinal) == true ? seconds : throw new InvalidOperationException($"The party does not listen. {line}");
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Builds what any program of .NET pays: the host, the runtime, one line of output.</summary>
    private static async Task<string> EmptyProgramAsync(string folder, CancellationToken cancellationToken)
    {
        string source = Path.Combine(folder, "empty");
        Directory.CreateDirectory(source);
        await File.WriteAllTextAsync(Path.Combine(source, "empty.csproj"),
            """<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework></PropertyGroup></Project>""", cancellationToken).ConfigureAwait(false);
        await File.WriteAllTextAsync(Path.Combine(source, "Program.cs"), "System.Console.WriteLine(\"nothing\");", cancellationToken).ConfigureAwait(false);
        await ToEndAsync(["build", source, "-c", "Release", "--nologo"], cancellationToken).ConfigureAwait(false);
        return Path.Combine(source, "bin", "Release", "net10.0", "empty.dll");
    }

    private static void WriteJob(string folder)
    {
        File.WriteAllText(Path.Combine(folder, "job.json"), """
            {
              "name": "startup",
              "model": { "type": "glm", "family": "binomial", "l2": 0.001, "intercept": true },
              "training": { "epochs": 10, "batchesPerEpoch": 4, "stepSize": 0.5, "weightNorm": 1, "residualClip": 1 },
              "privacy": { "mode": "hdp-vfl", "calibration": "tight", "epsilon": 1, "delta": 1e-5, "evaluation": "disclosed" },
              "preprocessing": { "scaling": "declared", "rows": "clip", "constant": true },
              "parties": [
                { "name": "bank", "role": "active", "data": { "path": "bank.csv", "id": "id", "label": "y", "schema": "bank.schema.json" } },
                { "name": "telco", "role": "passive", "data": { "path": "telco.csv", "id": "id", "schema": "telco.schema.json" } }
              ],
              "evaluation": { "split": { "hash": "sha256", "mod": 5, "test": [0] } },
              "transport": { "kind": "grpc" }
            }
            """);
        File.WriteAllText(Path.Combine(folder, "bank.schema.json"), """
            { "id": "id", "label": "y", "fields": [ { "name": "age", "type": "numeric", "min": 0, "max": 100 }, { "name": "income", "type": "numeric", "min": 0, "max": 9 } ] }
            """);
        var random = new Random(1);
        File.WriteAllLines(Path.Combine(folder, "bank.csv"), ["id,y,age,income", .. Enumerable.Range(0, Rows).Select(i => string.Create(CultureInfo.InvariantCulture, $"c{i:0000},{i % 2},{random.Next(100)},{random.NextDouble() * 9:0.000}"))]);
    }
}
