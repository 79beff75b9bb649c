using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FedLearn.Glm;

namespace FedLearn.Experiments.Costs;

/// <summary>Runs jobs, each party in a process of its own.</summary>
internal static class ScalingRuns
{
    /// <summary>One run.</summary>
    /// <param name="shape">The job.</param>
    /// <param name="link">The line between the parties; null for loopback.</param>
    /// <param name="stop">Stops.</param>
    /// <returns>Figures of every party, the active one first.</returns>
    public static Task<ScalingFigures[]> RunAsync(ScalingShape shape, GlmCostLink? link, CancellationToken stop) => RunAsync(shape, link, false, stop);

    /// <summary>One run with all parties in one process, over gRPC all the same.</summary>
    /// <returns>Figures of every party; processor time is that of the process, at every party.</returns>
    public static Task<ScalingFigures[]> TogetherAsync(ScalingShape shape, CancellationToken stop) => RunAsync(shape, null, true, stop);

    private static async Task<ScalingFigures[]> RunAsync(ScalingShape shape, GlmCostLink? link, bool together, CancellationToken stop)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Verbs.Repository(), "build", "bench", $"scaling-{Guid.NewGuid():N}")).FullName, json = JsonSerializer.Serialize(shape);
        var processes = new List<Process>();
        SlowLine? line = null;
        try
        {
            if (together)
                return JsonSerializer.Deserialize<ScalingFigures[]>(await OutputAsync(Start(ScalingParty.Together, null)).ConfigureAwait(false))!;
            Process active = Start(0, null);
            string listening = await active.StandardOutput.ReadLineAsync(stop).ConfigureAwait(false) ?? throw new InvalidOperationException("The active party did not start.");
            var address = new Uri(listening[ScalingParty.Listening.Length..]);
            if (link is not null)
                address = (line = SlowLine.Start(address, link)).Address;
            for (int party = 1; party < shape.Columns.Count; party++)
                Start(party, address);
            return await Task.WhenAll(processes.Select(async process => JsonSerializer.Deserialize<ScalingFigures>(await OutputAsync(process).ConfigureAwait(false))!)).ConfigureAwait(false);
        }
        finally
        {
            foreach (Process process in processes)
            {
                if (!process.HasExited)
                    process.Kill();
                process.Dispose();
            }

            line?.Dispose();
            Directory.Delete(folder, recursive: true);
        }

        async Task<string> OutputAsync(Process process)
        {
            string text = await process.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
            await process.WaitForExitAsync(stop).ConfigureAwait(false);
            return process.ExitCode == 0 ? text : throw new InvalidOperationException($"A party ended with code {process.ExitCode}.");
        }

        Process Start(int party, Uri? coordinator)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
            // Else a job of a second is one of the compiler's first tier.
            ToolSettings.AddTo(start.Environment);
            // Through the dotnet host or as a program of its own.
            if (Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet")
                start.ArgumentList.Add(typeof(ScalingRuns).Assembly.Location);
            foreach (string argument in (string[])[ScalingParty.Verb, "--shape", json, "--party", party.ToString(CultureInfo.InvariantCulture), "--folder", folder])
                start.ArgumentList.Add(argument);
            if (coordinator is not null)
            {
                start.ArgumentList.Add("--coordinator");
                start.ArgumentList.Add(coordinator.ToString());
            }

            Process process = Process.Start(start)!;
            processes.Add(process);
            return process;
        }
    }
}
