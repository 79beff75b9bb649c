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
    public static async Task<ScalingFigures[]> RunAsync(ScalingShape shape, GlmCostLink? link, CancellationToken stop)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Verbs.Repository(), "build", "bench", $"scaling-{Guid.NewGuid():N}")).FullName, json = JsonSerializer.Serialize(shape);
        var processes = new List<Process>();
        SlowLine? line = null;
        try
        {
            for (int party = 0; party < shape.Columns.Count; party++)
                Directory.CreateDirectory(folder);
            Process active = Start(0, null);
            string listening = await active.StandardOutput.ReadLineAsync(stop).ConfigureAwait(false) ?? throw new InvalidOperationException("The active party did not start.");
            var address = new Uri(listening[ScalingParty.Listening.Length..]);
            if (link is not null)
                address = (line = SlowLine.Start(address, link)).Address;
            for (int party = 1; party < shape.Columns.Count; party++)
                Start(party, address);
            return await Task.WhenAll(processes.Select(async process =>
            {
                string text = await process.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
                await process.WaitForExitAsync(stop).ConfigureAwait(false);
                return process.ExitCode == 0 ? JsonSerializer.Deserialize<ScalingFigures>(text)! : throw new InvalidOperationException($"A party ended with code {process.ExitCode}.");
            })).ConfigureAwait(false);
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

        Process Start(int party, Uri? coordinator)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
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
