using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace FedLearn.Experiments.Tables;

/// <summary>What a result was measured on.</summary>
/// <param name="Processor">Model of the processor.</param>
/// <param name="Cores">Processors that the program may use.</param>
/// <param name="MemoryBytes">Memory that the program may use.</param>
/// <param name="System">Operating system.</param>
/// <param name="Framework">.NET.</param>
/// <param name="Load">Processes that wanted a processor, mean of the last 1, 5 and 15 minutes: above the number of cores other work slowed the figures; null where it is not known.</param>
/// <param name="Commit">Commit of the checkout, and whether tracked files differ from it.</param>
internal sealed record Machine(string Processor, int Cores, long MemoryBytes, string System, string Framework, string? Load, string Commit)
{
    /// <summary>This one.</summary>
    public static Machine Current() => new(ProcessorName(), Environment.ProcessorCount, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, RuntimeInformation.OSDescription,
        RuntimeInformation.FrameworkDescription, LoadOf(), CommitOf(Verbs.Repository()));

    /// <inheritdoc />
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Cores} cores of an {Processor}, {MemoryBytes / (double)(1L << 30):0.0} GiB of memory, {System}, {Framework}, load {Load ?? "unknown"}; commit {Commit}");

    private static string ProcessorName()
    {
        const string cpuinfo = "/proc/cpuinfo";
        string? line = File.Exists(cpuinfo) ? File.ReadLines(cpuinfo).FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line?[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString();
    }

    private static string? LoadOf()
    {
        const string loadavg = "/proc/loadavg";
        return File.Exists(loadavg) ? string.Join(' ', File.ReadAllText(loadavg).Split(' ')[..3]) : null;
    }

    private static string CommitOf(string folder)
    {
        string? head = Git(folder, "rev-parse", "HEAD");
        return head is null ? "unknown" : string.IsNullOrEmpty(Git(folder, "status", "--porcelain", "--untracked-files=no")) ? head : head + ", with uncommitted changes";
    }

    private static string? Git(string folder, params string[] arguments)
    {
        try
        {
            var start = new ProcessStartInfo("git", arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
            using Process git = Process.Start(start)!;
            string output = git.StandardOutput.ReadToEnd();
            git.WaitForExit();
            return git.ExitCode == 0 ? output.Trim() : null;
        }
        catch (global::System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
