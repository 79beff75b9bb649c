using System.Buffers.Text;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using FedLearn.Data;
using FedLearn.Experiments.Tables;

namespace FedLearn.Experiments.Speed;

/// <summary>How long a large CSV file takes to load and to be checked, and how much memory.</summary>
internal static class CsvLoadVerb
{
    public static Command Create()
    {
        Option<int> rows = Verbs.Positive("--rows", "Rows of the file.", 100_000), columns = Verbs.Positive("--columns", "Columns of numbers.", 330),
            repeats = Verbs.Positive("--repeats", "Times it is loaded; the first load has to compile.", 6);
        var quoted = new Option<bool>("--quoted") { Description = "Quotes the ids, so that the file is read the general way." };
        var semicolons = new Option<bool>("--semicolons") { Description = "Separates cells by semicolons, with commas before decimals." };
        Option<bool> quick = Ratio.Quick("20,000 rows, no result file.");
        Option<DirectoryInfo> output = Verbs.Out();
        var command = new Command("csv-load", "Writes a CSV file of random numbers of about eight characters and loads it.") { rows, columns, repeats, quoted, semicolons, quick, output };
        command.SetAction((result, _) => Verbs.RunAsync(() =>
        {
            bool isQuick = result.GetValue(quick);
            string path = Path.Combine(Path.GetTempPath(), $"fedlearn-csv-load-{Environment.ProcessId}.csv");
            try
            {
                var text = new StringBuilder();
                (double speed, double plain) = Run(path, isQuick ? 20_000 : result.GetValue(rows), result.GetValue(columns), result.GetValue(repeats), result.GetValue(quoted), result.GetValue(semicolons), text);
                var ratios = new List<Ratio> { new("csv-load.speed-over-plain-loop", speed / plain, null, LargerIsBetter: true) };
                if (!isQuick)
                    ratios.Add(new("csv-load.speed-over-350-megabytes-a-core-second", speed / Bar, 1, LargerIsBetter: true));
                return Task.FromResult(Ratio.Finish("csv-load", text.ToString(), ratios, isQuick ? null : result.GetValue(output)));
            }
            finally
            {
                File.Delete(path);
            }
        }));
        return command;
    }

    /// <summary>MB/s of a core, checks included.</summary>
    private const double Bar = 350;

    private static (double Speed, double Plain) Run(string path, int rows, int columns, int repeats, bool quoted, bool semicolons, StringBuilder text)
    {
        Write(path, rows, columns, quoted, semicolons);
        double dense = 8.0 * rows * columns;
        text.AppendLine(CultureInfo.InvariantCulture, $"# A CSV file of {rows:N0} x {columns}").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{Machine.Current()}. {new FileInfo(path).Length / 1e6:0} MB of text, {dense / 1e6:0} MB dense, {(quoted ? "ids in quotes: the general reader" : "no quotes: read in pieces on all cores")}; the first load compiles.").AppendLine();
        text.AppendLine("| load | s | s of processors | MB/s a core | peak memory, MB | of the dense size |").AppendLine("|---|---|---|---|---|---|");
        List<double> speeds = [], plain = [];
        for (int i = 1; i <= repeats; i++)
        {
            GC.Collect();                                                                       // the earlier table, which nobody uses any more
            speeds.Add(Load(path, semicolons, i, dense, text));
        }

        if (semicolons)
            Write(path, rows, columns, quoted, semicolons: false);
        // After them, since the peak of memory would be this.
        for (int i = 1; i <= repeats; i++)
            plain.Add(PlainLoop(path));

        text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"A plain loop on one core that cuts at commas, parses with Utf8Parser and checks nothing: {Median(plain):0} MB/s.");
        return (Median(speeds), Median(plain));
    }

    /// <summary>The median but for the first, which compiles.</summary>
    private static double Median(List<double> speeds) => Verbs.Median(speeds.Skip(1).DefaultIfEmpty(speeds[0]));

    private static double PlainLoop(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        ReadOnlySpan<byte> rest = bytes.AsSpan(bytes.AsSpan().IndexOf((byte)'\n') + 1);
        double sum = 0;
        long start = Stopwatch.GetTimestamp();
        while (rest.IndexOf((byte)'\n') is >= 0 and var end)
        {
            ReadOnlySpan<byte> line = rest[(rest.IndexOf((byte)',') + 1)..end];
            while (Utf8Parser.TryParse(line, out double value, out int used))
            {
                sum += value;
                line = line[Math.Min(line.Length, used + 1)..];
            }

            rest = rest[(end + 1)..];
        }

        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return double.IsFinite(sum) ? bytes.Length / 1e6 / seconds : throw new InvalidOperationException("The sum is no number.");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]                                                  // so that no local of the caller keeps the table
    private static double Load(string path, bool semicolons, int number, double dense, StringBuilder text)
    {
        using var process = Process.GetCurrentProcess();
        double bytes = new FileInfo(path).Length;
        TimeSpan before = process.TotalProcessorTime;
        var clock = Stopwatch.StartNew();
        _ = Table.Load(new TableSource { Path = path, Separator = semicolons ? ';' : ',', DecimalMark = semicolons ? ',' : '.' }, needLabel: false);
        clock.Stop();
        process.Refresh();
        double processors = (process.TotalProcessorTime - before).TotalSeconds;
        // The peak is that of the whole process since its start, runtime and all.
        text.AppendLine(CultureInfo.InvariantCulture, $"| {number} | {clock.Elapsed.TotalSeconds:0.00} | {processors:0.00} | {bytes / 1e6 / processors:0} | {process.PeakWorkingSet64 / 1e6:0} | {process.PeakWorkingSet64 / dense:0.00} |");
        return bytes / 1e6 / processors;
    }

    private static void Write(string path, int rows, int columns, bool quoted, bool semicolons)
    {
        char separator = semicolons ? ';' : ',';
        var random = new Random(1);
        using var writer = new StreamWriter(path, append: false, new UTF8Encoding(false), 1 << 20);
        writer.Write("id");
        for (int j = 0; j < columns; j++)
            writer.Write($"{separator}x{j}");
        writer.Write('\n');
        Span<char> text = stackalloc char[32];
        for (int i = 0; i < rows; i++)
        {
            writer.Write(quoted ? $"\"customer-{i:0000000}\"" : $"customer-{i:0000000}");
            for (int j = 0; j < columns; j++)
            {
                writer.Write(separator);
                ((random.NextDouble() * 20) - 10).TryFormat(text, out int length, "0.000000", CultureInfo.InvariantCulture);
                if (semicolons)
                    text[..length].Replace('.', ',');
                writer.Write(text[..length]);
            }

            writer.Write('\n');
        }
    }
}
