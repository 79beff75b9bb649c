using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using CsvHelper;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary>What a privacy mode has to say about a job.</summary>
/// <param name="Document">For <c>--json</c>.</param>
/// <param name="Lines">The same for people.</param>
internal sealed record PrivacyPlan(JsonObject Document, IReadOnlyList<string> Lines);

/// <summary><c>fedlearn privacy plan</c>: what a job's privacy costs, and how many seconds and bytes the job takes, before any data is touched.</summary>
internal static class PrivacyPlanCommand
{
    /// <summary>Builds the command.</summary>
    public static Command Create()
    {
        Option<string> config = Options.Config("Run file (JSON with comments).");
        Option<int> rows = Options.Whole("--rows", "Training rows common to all parties. Default: an upper estimate from the training rows of the split file and the lengths of the parties' tables.", required: false);
        var bandwidth = new Option<string?>("--bandwidth") { Description = "Bandwidth of each party's line, each way, such as 100Mbit/s. Default: no limit.", HelpName = "BIT/S" };
        var latency = new Option<string?>("--latency") { Description = "How long a byte travels to the other party, such as 20ms: half of what ping shows. Default: 0.", HelpName = "TIME" };
        WordOption<bool> machines = Options.Word("--machines", "Whether all parties share one machine, or each has one of its own like this one. Default: one, and each with --bandwidth or --latency.",
            [("one", true), ("each", false)]);
        machines.Required = false;
        var measure = new Option<bool>("--measure") { Description = "Use the speed of this machine, measured in some seconds with the code that trains, instead of the rates that ship with the tool." };
        Option<bool> json = Options.Json();
        var command = new Command("plan",
            """
            Show what the privacy of a job costs, before any data is touched: mu and noise of each party under each calibration, what its sensitivity is
            made of, what twice and half of the epochs, batches, step size and weight norm would cost, and which calibration is best at this budget.

            Of modes he and he+dp it shows the rounds, and whether the steps are too short for them.

            For modes hdp-vfl and none with optimiser sgd, it also shows messages, bytes and seconds of each party; for a private job the same job in
            mode none beside it. Bytes are exact. Those before and after the rounds depend on the number of test rows; the output says where that is an
            estimate. Seconds are predicted for the training rounds over gRPC: kernels, family, noise, durable writes (sync), messages, and what the line
            between the parties adds. Without --bandwidth and --latency all parties share one machine; with either, each has one of its own.

            Examples:
              fedlearn privacy plan --config job.json
              fedlearn privacy plan --config job.json --rows 30000 --json
              fedlearn privacy plan --config job.json --bandwidth 100Mbit/s --latency 20ms
              fedlearn privacy plan --config job.json --measure
            """)
        { config, rows, bandwidth, latency, machines, measure, json };
        command.SetAction(async (parsed, stop) =>
        {
            TextWriter error = parsed.InvocationConfiguration.Error;
            GlmRunFile run = RunFile.Load(parsed.GetRequiredValue(config)).As<GlmRunFile>("privacy plan");
            var plan = GlmPlan.Create(run.Job);
            var setting = CostPlan.Setting.Of(parsed.GetValue(bandwidth), parsed.GetValue(latency), machines.In(parsed));
            int? given = parsed.GetResult(rows) is null ? null : parsed.GetValue(rows);
            if (run.Notice is { } notice)
                error.WriteLine(notice);
            PrivacyPlan result = await PlanAsync(run, plan, given, setting, parsed.GetValue(measure), error, stop).ConfigureAwait(false);
            if (run.Notice is not null)
                result.Document.Insert(0, "notice", run.Notice);
            ReportWriter.Print(parsed, json, result.Document);
            if (!parsed.GetValue(json))
                foreach (string line in result.Lines)
                    error.WriteLine(line);
        });
        return command;
    }

    private static async Task<PrivacyPlan> PlanAsync(GlmRunFile run, GlmPlan plan, int? given, CostPlan.Setting setting, bool measure, TextWriter error, CancellationToken stop)
    {
        string? unknown = CostPlan.Unknown(run.Job);
        if (plan.Mode == PrivacyMode.None && unknown is not null)
            throw new ConfigurationException(CliErrors.NothingToPlan, $"{run.Path}: privacy.mode", $"the mode adds no noise, so that there is none to plan, and {unknown}",
                "Set privacy.mode to hdp-vfl, with epsilon and delta; or, for seconds and bytes without noise, privacy.mode to none and training.optimizer to sgd.");
        if (given < 1)
            throw new ConfigurationException(CliErrors.Usage, "--rows", "it is below 1.", "Give the number of common training rows, at least 1.");
        (int count, int test, string? estimate) = given is { } n ? (n, 0, null) : TrainingRows(run);
        // How many rows a split tests on is known for sure only with the ids.
        string? testRows = run.Job.Split switch
        {
            SplitRule.ByHash => "the average of a split by hash",
            SplitRule.FromFile when given is null => "the most that the split file allows",
            _ => null,
        };
        if (given is not null)
            (test, testRows) = TestRows(run, count, testRows);
        if (estimate is not null)
            error.WriteLine($"note: {estimate}");
        PrivacyPlan result = Plan(run, plan, count);
        result.Document["rowsAreAnEstimate"] = estimate is not null;
        if (unknown is not null)
        {
            result.Document["cost"] = null;
            return result with { Lines = [.. result.Lines, $"cost: {unknown}"] };
        }

        var sizes = new GlmCostSizes
        {
            TrainRows = count,
            TestRows = test,
            Columns = [.. run.Job.Parties.Select(p => HdpVflPlan.Columns(run.Party(p.Party.Name), false, []))],
            TableRows = given is null ? [.. run.Job.Parties.Select(p => Rows(run.Party(p.Party.Name)) ?? (int)Math.Min(int.MaxValue, (long)count + test))] : null,
        };
        string? disturbed = null;
        GlmCostRates rates = GlmCostRates.Reference;
        if (measure)
        {
            string ledger = run.Active.Ledger.Path;
            (rates, string? note, disturbed) = await CostMeter.MeasureAsync(plan.Family, Path.GetDirectoryName(Path.GetFullPath(ledger))!, stop).ConfigureAwait(false);
            if (note is not null)
                error.WriteLine($"note: {note}");
        }

        PrivacyPlan cost = CostPlan.Of(plan, sizes, rates, setting, testRows, disturbed);
        result.Document["cost"] = cost.Document;
        return result with { Lines = [.. result.Lines, .. cost.Lines] };
    }

    // The place where a privacy mode adds its own plan.
    private static PrivacyPlan Plan(GlmRunFile run, GlmPlan plan, int rows) => plan.Job.Privacy.Mode switch
    {
        PrivacyMode.None => Plain(plan, rows, "none", "no noise"),
        PrivacyMode.He => Plain(plan, rows, "he", "no noise"),
        PrivacyMode.HdpVfl => HdpVflPlan.Of(run, plan, rows),
        PrivacyMode.OneRound => OneRoundPlan.Of(plan, rows),
        PrivacyMode.HeDp => Plain(plan, rows, "he+dp", "the noise rests on the columns of all parties together and on the error of the scheme, which are known when a session begins: the report of train has it"),
        _ => throw new ConfigurationException(CliErrors.NothingToPlan, $"{run.Path}: privacy.mode", "a job of mode label-dp has nothing to plan: its labels of M classes become another class with probability (M - 1)/(M - 1 + e^epsilon), once.", "Plan a job of mode hdp-vfl or one-round."),
    };

    /// <summary>What is known of a job without a calibration: its rounds, and whether they are enough.</summary>
    private static PrivacyPlan Plain(GlmPlan plan, int rows, string mode, string noise)
    {
        BatchLayout layout = plan.Layout(rows);
        long messages = (long)plan.Epochs * layout.Count;
        var document = new JsonObject { ["mode"] = mode, ["rows"] = rows, ["batches"] = layout.Count, ["epochs"] = plan.Epochs };
        List<string> lines = [string.Create(CultureInfo.InvariantCulture, $"{mode}: {rows} training {Counted.Noun(rows, "row")}, epochs {plan.Epochs} x batches {layout.Count} = {messages} {Counted.Noun(messages, mode == "none" ? "message" : "round")}{(mode == "none" ? " a party" : "")}; {noise}")];
        Warn(document, lines, [.. plan.ShortSteps(layout)]);
        return new(document, lines);
    }

    /// <summary>Training and test rows at most, as the files tell without their ids, with a sentence that says so.</summary>
    private static (int Rows, int Test, string Estimate) TrainingRows(GlmRunFile run)
    {
        if (SplitFiles(run) is { Length: > 0 } splits)
        {
            (int train, int test) = Split(splits);
            // The split file may list ids that a party lacks, and a party's table may not be here.
            int most = Math.Max(1, run.Parties.Select(Rows).Min() ?? int.MaxValue), used = Math.Min(train, most);
            return (used, Math.Min(test, most - used), $"{used} training {Counted.Noun(used, "row is", "rows are")} an estimate, and maybe too many: {(used < train ? "the rows of the shortest table" : "the training rows of the split file, which may list ids that a party lacks")}. {FewerRows}");
        }

        long common = long.MaxValue;
        foreach (GlmRunFileParty party in run.Parties)
            common = Math.Min(common, TableRows(party));
        double kept = run.Job.Split is SplitRule.ByHash hash ? 1 - ((double)hash.Test.Distinct().Count() / hash.Modulus) : 1;
        int rows = (int)Math.Clamp(Math.Ceiling(common * kept), 1, int.MaxValue);
        return (rows, (int)Math.Min(common - Math.Min(common, rows), int.MaxValue), $"{rows} training {Counted.Noun(rows, "row is", "rows are")} an estimate, and most likely too many: the rows of the shortest table{(kept < 1 ? ", times the part that the split trains on" : "")}. "
            + FewerRows);
    }

    private const string FewerRows = "Fewer rows need more noise. Give --rows when the number of common rows is known.";

    /// <summary>Test rows beside so many training rows, in the proportion of the split, and what kind of estimate they are; null for none.</summary>
    private static (int Test, string? Estimate) TestRows(GlmRunFile run, int rows, string? estimate)
    {
        int Beside(int train, int test) => (int)Math.Min(int.MaxValue, Math.Round((double)rows * test / Math.Max(1, train)));
        if (run.Job.Split is SplitRule.ByHash hash)
            return hash.Test.Distinct().Count() is var tested && tested < hash.Modulus ? (Beside(hash.Modulus - tested, tested), estimate) : (0, estimate);
        if (SplitFiles(run) is not { Length: > 0 } splits)
            return (0, estimate);
        // Rows may be planned for before any file is there.
        if (!splits.All(File.Exists))
            return (0, "because the split file is not there to count them");
        (int train, int test) = Split(splits);
        return (Beside(train, test), train == rows ? estimate : $"in the proportion of the split file, which has {train} training and {test} test {Counted.Noun(test, "row")}");
    }

    /// <summary>The files of a split by file; of each party's own, those that are known here.</summary>
    private static string[] SplitFiles(GlmRunFile run) => run.Job.Split is not SplitRule.FromFile ? []
        : [.. run.Parties.Select(party => party.SplitPath).Append(run.SplitPath).OfType<string>().Distinct(StringComparer.Ordinal)];

    private static (int Train, int Test) Split(string[] files) => files.Select(Lines).MinBy(lines => lines.Train);

    private static int? Rows(GlmRunFileParty party) => party.Data is { } data && File.Exists(data.Path) ? (int)Math.Min(int.MaxValue, TableRows(party)) : null;

    private static (int Train, int Test) Lines(string path) => Existing(path, () =>
    {
        using CsvReader reader = CsvFile.Open(path, CsvDialect.OfFirstLine(path));
        int split = CsvFile.Find(CsvFile.Header(reader, path, null), "split", path, null), train = 0, test = 0;
        while (CsvFile.Next(reader, path, null))
            if (reader.GetSpan(split).SequenceEqual("train"u8))
                train++;
            else
                test++;
        return (train, test);
    });

    /// <summary>Adds what is to be known of a plan, or of one party in it, to its document and lines; nothing where there is nothing.</summary>
    public static void Warn(JsonObject document, List<string> lines, string[] warnings)
    {
        if (warnings.Length > 0)
            document["warnings"] = ReportParts.Texts(warnings);
        lines.AddRange(warnings.Select(warning => "warning: " + warning));
    }

    /// <summary>Lines of data, or rows announced by an array's header.</summary>
    private static long TableRows(GlmRunFileParty party)
    {
        if (party.Data is not { } data)
            throw Unknown($"party '{party.Name}'", "the job does not say where its table is.");
        return Existing(data.Path, () =>
        {
            if (data.Path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase))
                return NpyFile.Shape(data.Path)[0];
            if (SvmTable.IsNameOf(data.Path))
                return SvmTable.Size(data).Rows;
            CsvDialect dialect = CsvDialect.Of(data);
            using CsvReader reader = CsvFile.Open(data.Path, dialect);
            CsvFile.Header(reader, data.Path, dialect);
            long count = 0;
            while (CsvFile.Next(reader, data.Path, dialect))
                count++;
            return count;
        });
    }

    private static T Existing<T>(string path, Func<T> count) => File.Exists(path) ? count() : throw Unknown(path, "there is no such file.");

    private static ConfigurationException Unknown(string place, string cause) =>
        new(CliErrors.RowsUnknown, place, cause, "Give the number of common training rows by --rows.");
}
