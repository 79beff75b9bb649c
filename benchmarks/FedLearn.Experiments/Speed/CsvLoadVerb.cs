using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using FedLearn.Data;

namespace FedLearn.Experiments.Speed;

/// <summary>How long a large CSV file takes to load and to be checked, and how much memory.</summary>
internal static class CsvLoadVerb
{
    public static Command Create()
    {
        Option<int> rows = Verbs.Positive("--rows", "Rows of the file.", 100_000), columns = Verbs.Positive("--columns", "Columns of numbers.", 330),
            repeats = Verbs.Positive("--repeats", "Times it is loaded; the first load has to compile.", 3);
        var quoted = new Option<bool>("--quoted") { Description = "Quotes the ids, so that the file is read the general way." };
        var command = new Command("csv-load", "Writes a CSV file of random numbers of about eight characters and loads it.") { rows, columns, repeats, quoted };
        command.SetAction((result, _) => Verbs.RunAsync(() =>
        {
            string path = Path.Combine(Path.GetTempPath(), $"fedlearn-csv-load-{Environment.ProcessId}.csv");
            try
            {
                Run(path, result.GetValue(rows), result.GetValue(columns), result.GetValue(repeats), result.GetValue(quoted));
            }
            finally
            {
                File.Delete(path);
            }

            return Task.FromResult(0);
        }));
        return command;
    }

    private static void Run(string path, int rows, int columns, int repeats, bool quoted)
    {
        Write(path, rows, columns, quoted);
        double dense = 8.0 * rows * columns;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{rows} x {columns}: {new FileInfo(path).Length / 1e6:0} MB of text, {dense / 1e6:0} MB dense"));
        for (int i = 1; i <= repeats; i++)
        {
            GC.Collect();                                                                       // the earlier table, which nobody uses any more
            Load(path, i, dense);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]                                                  // so that no local of the caller keeps the table
    private static void Load(string path, int number, double dense)
    {
        using var process = Process.GetCurrentProcess();
        double bytes = new FileInfo(path).Length;
        TimeSpan before = process.TotalProcessorTime;
        var clock = Stopwatch.StartNew();
        int rows = Table.Load(new TableSource { Path = path }, needLabel: false).Ids.Count;
        clock.Stop();
        process.Refresh();
        double processors = (process.TotalProcessorTime - before).TotalSeconds;
        // The peak is that of the whole process since its start, runtime and all.
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"load {number}: {clock.Elapsed.TotalSeconds:0.00} s ({processors:0.00} s of processors: {bytes / 1e6 / processors:0} MB/s a core), {rows} rows; peak memory {process.PeakWorkingSet64 / 1e6:0} MB, {process.PeakWorkingSet64 / dense:0.00} x dense"));
    }

    private static void Write(string path, int rows, int columns, bool quoted)
    {
        var random = new Random(1);
        using var writer = new StreamWriter(path, append: false, new UTF8Encoding(false), 1 << 20);
        writer.Write("id");
        for (int j = 0; j < columns; j++)
            writer.Write($",x{j}");
        writer.Write('\n');
        Span<char> text = stackalloc char[32];
        for (int i = 0; i < rows; i++)
        {
            writer.Write(quoted ? $"\"customer-{i:0000000}\"" : $"customer-{i:0000000}");
            for (int j = 0; j < columns; j++)
            {
                writer.Write(',');
                ((random.NextDouble() * 20) - 10).TryFormat(text, out int length, "0.000000", CultureInfo.InvariantCulture);
                writer.Write(text[..length]);
            }

            writer.Write('\n');
        }
    }
}
