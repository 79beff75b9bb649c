using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;

namespace FedLearn.Cli.Commands;

/// <summary>What the verbs that run all parties of a job, and report about it, have in common.</summary>
internal static class SessionVerb
{
    /// <summary>Runs the parties and writes the report of all.</summary>
    /// <param name="parsed">Command line.</param>
    /// <param name="run">The job.</param>
    /// <param name="results">Folder of other results, to be checked first; null for none.</param>
    /// <param name="places">Where the report goes.</param>
    /// <param name="work">Runs the parties, and gives the merged report.</param>
    /// <param name="models">Folder of models that are read; null for none.</param>
    public static async Task<int> RunAsync(ParseResult parsed, RunFile run, string? results, ReportPlaces places, Func<Terminal, Task<JsonObject>> work, string? models = null)
    {
        long start = Stopwatch.GetTimestamp();
        Terminal terminal = Terminal.Of(parsed);
        OutputFile.CheckApart([.. run.StartFiles, .. run.ModelFiles(models)], null, places.Report, places.Html);
        OutputFile.CheckApart(run.Inputs, results, [places.Report, places.Html, .. run.ModelFiles(results)]);
        terminal.Log(run.Notice);
        JsonObject document = await work(terminal).ConfigureAwait(false);
        document["timing"]!["totalSeconds"] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        ReportWriter.Write(document, terminal, places);
        return 0;
    }

    /// <summary>One session of all parties; gives their merged report.</summary>
    public static async Task<JsonObject> SessionAsync(SessionOrder order, bool inProcess, Terminal terminal, CancellationToken cancellationToken) =>
        PartyDocument.Merge(await ProgressView.RunAsync(terminal, order.Parties[0], view =>
            SessionRunner.RunAsync(order, inProcess, view, terminal.Log, cancellationToken)).ConfigureAwait(false), 0);
}
