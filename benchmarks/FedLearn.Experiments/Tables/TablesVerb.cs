using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Data;

namespace FedLearn.Experiments.Tables;

/// <summary>The tables of the field's papers: data sets by epsilon by mode, at one setting that nobody searched for.</summary>
internal static class TablesVerb
{
    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    public static Command Create()
    {
        Option<string[]> sets = Verbs.List("--data-sets", "Data sets of FEDLEARN_DATA with a label of two classes. One that is absent is skipped.", "adult", "credit", "breast");
        Option<double[]> epsilons = Verbs.List("--epsilons", "Privacy budgets of each party.", .1, 1.0, 10);
        epsilons.Validators.Add((OptionResult result) =>
        {
            if (result.Tokens.Count > 0 && !result.GetValueOrDefault<double[]>().All(e => double.IsFinite(e) && e > 0))
                result.AddError("--epsilons are finite and above 0.");
        });
        Option<int> draws = Verbs.Positive("--draws", "Models of each row with noise, with noise drawn afresh.", 3);
        Option<DirectoryInfo> folder = Verbs.Out();
        var command = new Command("tables", "Test metrics, seconds and bytes of every mode, by data set and epsilon.") { sets, epsilons, draws, folder };
        command.SetAction((parsed, cancellationToken) => Verbs.RunAsync(async () =>
        {
            string options = string.Create(CultureInfo.InvariantCulture,
                $"--data-sets {string.Join(',', parsed.GetValue(sets)!)} --epsilons {string.Join(',', parsed.GetValue(epsilons)!.Select(e => e.ToString("R", CultureInfo.InvariantCulture)))} --draws {parsed.GetValue(draws)}");
            long start = Stopwatch.GetTimestamp();
            List<TableRow> rows = [];
            List<string> absent = [];
            foreach (string set in parsed.GetValue(sets)!)
            {
                if (Load(set, cancellationToken) is not { } data)
                {
                    absent.Add(set);
                    await Console.Error.WriteLineAsync($"{set}: skipped, it is not where the data is looked for (FEDLEARN_DATA).").ConfigureAwait(false);
                    continue;
                }

                await foreach (TableRow row in TableRuns.MeasureAsync(data, parsed.GetValue(epsilons)!, parsed.GetValue(draws), cancellationToken).ConfigureAwait(false))
                {
                    await Console.Error.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
                        $"{Stopwatch.GetElapsedTime(start).TotalSeconds,5:F0} s  {row.Data}, {row.Mode}, epsilon {row.Epsilon}: {row.Status}, AUC {row.Auc}")).ConfigureAwait(false);
                    rows.Add(row);
                }
            }

            if (rows.Count == 0)
                throw new DirectoryNotFoundException("None of the data sets is where the data is looked for. Let the environment variable FEDLEARN_DATA name the folder that holds adult, credit and breast.");
            await Console.Out.WriteAsync(TableText.Table(rows)).ConfigureAwait(false);
            await WriteAsync(parsed.GetValue(folder)!, options, rows, absent, Stopwatch.GetElapsedTime(start), cancellationToken).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    private static TableData? Load(string set, CancellationToken cancellationToken)
    {
        try
        {
            var data = VerticalData.Load(set, cancellationToken);
            return new TableData(set, data.Inputs, new SplitRule.FromFile());
        }
        catch (DirectoryNotFoundException)
        {
            return null;
        }
    }

    private static async Task WriteAsync(DirectoryInfo folder, string options, List<TableRow> rows, List<string> absent, TimeSpan elapsed, CancellationToken cancellationToken)
    {
        folder.Create();
        DateTime now = DateTime.UtcNow;
        Machine machine = Machine.Current();
        string path = Path.Combine(folder.FullName, $"{now:yyyy-MM-dd}-tables");
        string command = $"benchmarks/tables.sh {options}";
        string deltas = string.Join(", ", rows.Where(r => r.Delta is not null).GroupBy(r => r.Data)
            .Select(g => string.Create(CultureInfo.InvariantCulture, $"{g.First().Delta:0.######} on {g.Key}")));
        string text = string.Create(CultureInfo.InvariantCulture, $"""
            # Modes by data set and epsilon, {now:yyyy-MM-dd}

            Measured {now:yyyy-MM-dd HH:mm} UTC in {elapsed.TotalMinutes:F1} minutes on {machine}.
            Command: `{command}`.{(absent.Count > 0 ? $" Skipped, for they were not there: {string.Join(", ", absent)}." : "")}

            **Setting**, the same in every iterative mode, so that rows compare: logistic regression by projected gradient descent, {TableRuns.Epochs} epochs of one batch,
            step {TableRuns.StepSize}, weights of a party within a ball of radius k = {TableRuns.WeightNorm}, residuals clipped to C = {TableRuns.ResidualClip}, l2 {TableRuns.L2}. Features: declared public ranges to
            [-1, 1], rows clipped, the constant appended at each party. None of it was searched for, on test rows or others: k = C = 1 are the published ones
            (arXiv 2009.02763), the step is 1/L of logistic loss on rows of length at most 1 at two parties. Other settings reach more, see hdp-vfl-accuracy.
            What modes must do differently: none, guest-only and he have one free intercept at the guest besides, which private modes refuse; he and he+dp take Taylor's residual and
            clip nothing; one-round fits locally to the optimum with default settings of its own. So he+dp tends to he without that intercept, not to he. Rows "to the optimum" are L-BFGS
            without k and C, l2 {TableRuns.OptimumL2:0.####}: guest-only is then what a guest can do by itself, and what every private report names beside its result.

            **Budgets.** Replace-one; each party at the stated epsilon by itself, he+dp both together, against everybody but the arbiter. delta 1e-5, below 10,000 training rows
            1/(10 n) rounded to one digit: {deltas}. One-round: the guest's labels (epsilon, 0). Test scores are disclosed outside of the claims.

            **Figures.** Test rows of split.csv; mean ± sample deviation over draws of noise; rows where nothing is random are run once. All roles in one process over channels in
            memory: seconds an epoch are the guest's (one-round: all of its training), medians; MB are the payloads of all roles for the whole job, alignment and evaluation included.
            What the same costs between processes over gRPC `fedlearn compare` measures.

            {TableText.Table(rows)}
            ## What the figures say

            Made from the table above. "within a deviation": the mean is better by at most its own deviation over the draws.

            {TableText.Findings(rows)}
            """);
        await File.WriteAllTextAsync(path + ".md", text, cancellationToken).ConfigureAwait(false);
        var document = new
        {
            Experiment = "tables",
            Date = now,
            Machine = machine,
            Command = command,
            Seconds = elapsed.TotalSeconds,
            Settings = new
            {
                TableRuns.Epochs,
                BatchesPerEpoch = 1,
                TableRuns.StepSize,
                TableRuns.WeightNorm,
                TableRuns.ResidualClip,
                TableRuns.L2,
                TableRuns.OptimumL2,
                Preprocessing = new { Scaling = "declared", Rows = "clip", Constant = true },
                Adjacency = "replace-one",
                HeScheme = "ckks",
            },
            Absent = absent,
            Rows = rows,
        };
        await File.WriteAllTextAsync(path + ".json", JsonSerializer.Serialize(document, Json) + "\n", cancellationToken).ConfigureAwait(false);
    }
}
