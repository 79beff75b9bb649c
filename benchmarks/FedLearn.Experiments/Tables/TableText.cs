using System.Globalization;
using System.Text;
using FedLearn.Experiments.HdpVfl;

namespace FedLearn.Experiments.Tables;

/// <summary>The rows for people, and what they say, told from the figures alone.</summary>
internal static class TableText
{
    /// <summary>One table of all rows.</summary>
    public static string Table(IEnumerable<TableRow> rows)
    {
        var text = new StringBuilder("""
            | data | mode | epsilon | test AUC | test accuracy | test log-loss | s an epoch | MB sent | HE set-up s | note |
            |---|---|---|---|---|---|---|---|---|---|

            """);
        foreach (TableRow row in rows)
            text.Append(CultureInfo.InvariantCulture,
                $"| {row.Data} | {row.Mode} | {Number(row.Epsilon, "R")} | {Text(row, row.Auc)} | {Text(row, row.Accuracy)} | {Text(row, row.LogLoss)} | {Number(row.SecondsPerEpoch, "0.00000")} | {Number(row.Runs.Count > 0 ? row.Runs.Average(r => r.Bytes) / 1e6 : null, "0.000")} | {Number(row.SetupSeconds, "0.00")} | {Note(row)} |\n");
        return text.ToString();
    }

    /// <summary>Where each mode is better than the guest alone, and what encryption and the noise cost.</summary>
    public static string Findings(IReadOnlyList<TableRow> rows)
    {
        var text = new StringBuilder("""
            | data | mode | AUC above guest-only at the same setting | AUC above guest-only to its optimum | accuracy above guest-only to its optimum | log-loss below guest-only to its optimum |
            |---|---|---|---|---|---|

            """);
        foreach (IGrouping<string, TableRow> data in rows.GroupBy(r => r.Data))
        {
            TableRow? same = data.FirstOrDefault(r => r.Mode == TableRuns.Guest), best = data.FirstOrDefault(r => r.Mode == TableRuns.GuestOptimum);
            foreach (IGrouping<string, TableRow> mode in data.Where(r => r.Mode is not (TableRuns.Guest or TableRuns.GuestOptimum)).GroupBy(r => r.Mode))
                text.Append(CultureInfo.InvariantCulture,
                    $"| {data.Key} | {mode.Key} | {Above(mode, same, r => r.Auc)} | {Above(mode, best, r => r.Auc)} | {Above(mode, best, r => r.Accuracy)} | {Above(mode, best, r => r.LogLoss, -1)} |\n");
        }

        text.Append('\n');
        foreach (IGrouping<string, TableRow> data in rows.GroupBy(r => r.Data))
            if (data.FirstOrDefault(r => r.Mode == TableRuns.None)?.Auc is { } none && data.FirstOrDefault(r => r.Mode == "he")?.Auc is { } he)
                text.Append(CultureInfo.InvariantCulture, $"- {data.Key}: he differs from none by {he.Mean - none.Mean:+0.0000;-0.0000;0.0000} of AUC at the same setting.\n");
        string[] broken = [.. rows.Where(r => r.Runs.Any(run => !run.SecureNoise)).Select(r => $"{r.Data}, {r.Mode}")];
        text.Append(broken.Length == 0 ? "- All noise came from the operating system's CSPRNG.\n" : $"- NOT PRIVATE, for their noise is seeded: {string.Join("; ", broken)}.\n");
        return text.ToString();
    }

    /// <summary>Epsilons at which a mode's mean is better than another's; in modes without epsilon yes or no.</summary>
    private static string Above(IEnumerable<TableRow> mode, TableRow? other, Func<TableRow, Summary?> figure, int sign = 1)
    {
        if (other is null || figure(other) is not { } bar)
            return "-";
        List<string> words = [];
        bool any = false;
        foreach (TableRow row in mode)
        {
            if (figure(row) is not { } mine)
                continue;
            any = true;
            double gap = sign * (mine.Mean - bar.Mean);
            if (gap > 0)
                words.Add((row.Epsilon is { } e ? e.ToString("R", CultureInfo.InvariantCulture) : "yes") + (gap <= mine.Deviation ? " (within a deviation)" : ""));
        }

        return words.Count > 0 ? string.Join(", ", words) : !any ? "-" : mode.First().Epsilon is null ? "no" : "at none";
    }

    private static string Note(TableRow row)
    {
        if (row.Note is not null)
            return $"{row.Status}: {row.Note}";
        List<string> notes = [];
        int silent = row.Runs.Count(r => !r.PredictsPositives);
        if (silent > 0)
            notes.Add(silent == row.Runs.Count ? "no test row is predicted positive" : $"no test row is predicted positive in {silent} of {row.Runs.Count} draws");
        if (row.Runs[0].ActualDelta is { } delta)
            notes.Add(string.Create(CultureInfo.InvariantCulture, $"the noise reaches delta {delta:G3} at this epsilon, not {row.Delta:0.######}"));
        if (row.Runs[0].Engine is { } engine)
            notes.Add(engine);
        return string.Join("; ", notes);
    }

    // Equal draws have a deviation too, and it is 0.
    private static string Text(TableRow row, Summary? summary) => summary is not { } s ? "-"
        : s.Mean.ToString("F4", CultureInfo.InvariantCulture) + (row.Runs.Count > 1 ? s.Deviation.ToString(" ± 0.0000", CultureInfo.InvariantCulture) : "");

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "-";
}
