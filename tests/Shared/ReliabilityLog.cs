using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace FedLearn.Tests.Shared;

/// <summary>Counts the cases of a test for the table of docs/reliability.md, which <c>eng/reliability.sh</c> makes from what is written here.</summary>
/// <param name="what">What one case is, such as <c>kills of a random party</c>; stands in the table.</param>
/// <param name="test">Filled in by the compiler.</param>
internal sealed class ReliabilityLog(string what, [CallerMemberName] string test = "")
{
    private static readonly Lock Gate = new();
    private readonly long _start = Stopwatch.GetTimestamp();

    /// <summary>Writes one line to the file that FEDLEARN_RELIABILITY names, if any. The last statement of a test: a test that fails has no line.</summary>
    /// <param name="cases">Cases that were run.</param>
    /// <param name="result">What came out, measured, such as <c>100 of 100 models bit-identical, peak 93 MB</c>.</param>
    public void Passed(long cases, string result)
    {
        if (Environment.GetEnvironmentVariable("FEDLEARN_RELIABILITY") is not { Length: > 0 } path)
            return;
        string line = JsonSerializer.Serialize(new { test, what, cases, result, seconds = Stopwatch.GetElapsedTime(_start).TotalSeconds }) + "\n";
        lock (Gate)
            File.AppendAllText(path, line);
    }
}
