using System.CommandLine;
using System.Text.Json.Nodes;
using CsvHelper;
using FedLearn.Cli.RunFiles;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Cli.Commands;

/// <summary>What a privacy mode has to say about a job.</summary>
/// <param name="Document">For <c>--json</c>.</param>
/// <param name="Lines">The same for people.</param>
internal sealed record PrivacyPlan(JsonObject Document, IReadOnlyList<string> Lines);

/// <summary><c>fedlearn privacy plan</c>: what a job's privacy costs, before any data is touched.</summary>
internal static class PrivacyPlanCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config("Run file (JSON with comments).");
        Option<int> rows = Options.Whole("--rows", "Training rows common to all parties. Default: the training rows of the split file, else an upper estimate from the lengths of the parties' tables.");
        rows.Required = false;
        Option<bool> json = Options.Json();
        var command = new Command("plan",
            """
            What the privacy of a job costs, before any data is touched: mu and noise of each party under each calibration, what its sensitivity is made of,
            what twice and half of the epochs, batches, step size and weight norm would cost, and which calibration is best at this budget.

            Examples:
              fedlearn privacy plan --config job.json
              fedlearn privacy plan --config job.json --rows 30000 --json
            """)
        { config, rows, json };
        command.SetAction(parsed =>
        {
            GlmRunFile run = RunFile.Load(parsed.GetRequiredValue(config)).As<GlmRunFile>("privacy plan");
            var plan = GlmPlan.Create(run.Job);
            if (!plan.Private)
                throw new ConfigurationException(CliErrors.NothingToPlan, $"{run.Path}: privacy.mode", "the mode adds no noise, so that there is none to plan.",
                    "Set privacy.mode to hdp-vfl, with epsilon and delta.");
            TextWriter output = parsed.InvocationConfiguration.Output, error = parsed.InvocationConfiguration.Error;
            int? given = parsed.GetResult(rows) is null ? null : parsed.GetValue(rows);
            if (given < 1)
                throw new ConfigurationException(CliErrors.Usage, "--rows", "it is below 1.", "Give the number of common training rows, at least 1.");
            (int count, string? estimate) = given is { } n ? (n, null) : TrainingRows(run);
            if (estimate is not null)
                error.WriteLine($"note: {estimate}");
            PrivacyPlan result = Plan(run, plan, count);
            result.Document["rowsAreAnEstimate"] = estimate is not null;
            if (parsed.GetValue(json))
                output.WriteLine(result.Document.ToJsonString(PrivacyCommand.Readable));
            else
                foreach (string line in result.Lines)
                    error.WriteLine(line);
        });
        return command;
    }

    // The place where a privacy mode adds its own plan.
    private static PrivacyPlan Plan(GlmRunFile run, GlmPlan plan, int rows) => plan.Job.Privacy.Mode switch
    {
        PrivacyMode.HdpVfl => HdpVflPlan.Of(run, plan, rows),
        PrivacyMode.OneRound => OneRoundPlan.Of(plan, rows),
        PrivacyMode.HeDp => throw new ConfigurationException(CliErrors.NothingToPlan, $"{run.Path}: privacy.mode",
            "the noise of he+dp rests on the columns of all parties together and on the error of the scheme, which are known when a session begins.", "Train: the report has sigma and what it rests on."),
        _ => throw new ConfigurationException(CliErrors.NothingToPlan, $"{run.Path}: privacy.mode", "a job of mode label-dp has nothing to plan: its labels are flipped with probability 1/(1 + e^epsilon), once.", "Plan a job of mode hdp-vfl or one-round."),
    };

    /// <summary>Training rows as the files tell: exactly from a split file, else an estimate with a sentence that says so.</summary>
    private static (int Rows, string? Estimate) TrainingRows(GlmRunFile run)
    {
        string[] splits = [.. run.Parties.Select(party => party.SplitPath).Append(run.SplitPath).OfType<string>().Distinct(StringComparer.Ordinal)];
        if (run.Job.Split is SplitRule.FromFile && splits.Length > 0)
            return (splits.Min(TrainingLines), null);

        long common = long.MaxValue;
        foreach (GlmRunFileParty party in run.Parties)
            common = Math.Min(common, TableRows(party));
        double kept = run.Job.Split is SplitRule.ByHash hash ? 1 - ((double)hash.Test.Distinct().Count() / hash.Modulus) : 1;
        int rows = (int)Math.Clamp(Math.Ceiling(common * kept), 1, int.MaxValue);
        return (rows, $"{rows} training rows are an estimate, and most likely too many: the rows of the shortest table{(kept < 1 ? ", times the part that the split trains on" : "")}. "
            + "Fewer rows need more noise. Give --rows when the number of common rows is known.");
    }

    private static int TrainingLines(string path) => Counted(path, () =>
    {
        using CsvReader reader = CsvFile.Open(path);
        int split = CsvFile.Find(CsvFile.Header(reader, path), "split", path), count = 0;
        while (CsvFile.Next(reader, path))
            count += reader.GetSpan(split).SequenceEqual("train"u8) ? 1 : 0;
        return count;
    });

    /// <summary>Lines of data, or rows announced by an array's header. No value is looked at.</summary>
    private static long TableRows(GlmRunFileParty party)
    {
        if (party.Data is not { } data)
            throw Unknown($"party '{party.Name}'", "the job does not say where its table is.");
        return Counted(data.Path, () =>
        {
            if (data.Path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase))
                return NpyFile.Shape(data.Path)[0];
            using CsvReader reader = CsvFile.Open(data.Path);
            CsvFile.Header(reader, data.Path);
            long count = 0;
            while (CsvFile.Next(reader, data.Path))
                count++;
            return count;
        });
    }

    private static T Counted<T>(string path, Func<T> count) => File.Exists(path) ? count() : throw Unknown(path, "there is no such file.");

    private static ConfigurationException Unknown(string place, string cause) =>
        new(CliErrors.RowsUnknown, place, cause, "Give the number of common training rows by --rows.");
}
