using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace FedLearn.Experiments.Alignment;

/// <summary>What OpenMined PSI took for the whole protocol, server and client together.</summary>
/// <param name="Version">Of @openmined/psi.js.</param>
/// <param name="Structure">What the server's set travels in.</param>
/// <param name="Ids">Ids of each side.</param>
/// <param name="Found">Common ids that the client found.</param>
/// <param name="Bytes">All messages.</param>
/// <param name="CpuSeconds">Processor seconds of both sides.</param>
/// <param name="WallSeconds">Wall-clock seconds; both sides run one after the other.</param>
/// <param name="Node">Version of Node.js.</param>
internal sealed record PeerRun(string Version, string Structure, int Ids, int Found, long Bytes, double CpuSeconds, double WallSeconds, string Node);

/// <summary>Runs OpenMined PSI (WebAssembly) on Node.js.</summary>
internal static class OpenMinedPsi
{
    /// <summary>Why it cannot run; null when it can.</summary>
    public static string? Missing(DirectoryInfo folder) => File.Exists(Path.Combine(folder.FullName, "node_modules", "@openmined", "psi.js", "package.json")) ? null
        : "@openmined/psi.js is not installed; benchmarks/alignment.sh does it where there is npm";

    /// <summary>One run.</summary>
    public static async Task<PeerRun> RunAsync(DirectoryInfo folder, int ids, CancellationToken stop)
    {
        var start = new ProcessStartInfo("node") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[Path.Combine(Verbs.Repository(), "benchmarks", "alignment", "openmined-psi.mjs"), folder.FullName, ids.ToString(CultureInfo.InvariantCulture), "gcs"])
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(stop), errors = process.StandardError.ReadToEndAsync(stop);
        await process.WaitForExitAsync(stop).ConfigureAwait(false);
        return process.ExitCode == 0 ? JsonSerializer.Deserialize<PeerRun>(await output.ConfigureAwait(false), JsonSerializerOptions.Web)!
            : throw new InvalidOperationException($"node ended with code {process.ExitCode}: {await errors.ConfigureAwait(false)}");
    }
}
