using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FedLearn.Alignment;

namespace FedLearn.Experiments.Alignment;

/// <summary>The whole protocol once, between two processes.</summary>
/// <param name="Engine">What computed.</param>
/// <param name="Ids">Ids of each party.</param>
/// <param name="Active">The active party's figures.</param>
/// <param name="Passive">The passive party's.</param>
internal sealed record ProtocolRun(string Engine, int Ids, PartyRun Active, PartyRun Passive)
{
    /// <summary>From the first party's start to the last one's end.</summary>
    public double WallSeconds => (Math.Max(Active.EndTicks, Passive.EndTicks) - Math.Min(Active.StartTicks, Passive.StartTicks)) / (double)Stopwatch.Frequency;

    /// <summary>Ids a second and side: n / wall.</summary>
    public double IdsPerSecond => Ids / WallSeconds;

    /// <summary>Processor seconds of both processes.</summary>
    public double CpuSeconds => Active.CpuSeconds + Passive.CpuSeconds;

    /// <summary>Processor time, microseconds an id and side.</summary>
    public double CpuMicros => CpuSeconds * 1e6 / (2.0 * Ids);

    /// <summary>All bytes of the channel, an id and side.</summary>
    public double BytesPerId => (Active.BytesSent + Active.BytesReceived) / (2.0 * Ids);

    /// <summary>Peak memory of the larger process.</summary>
    public long PeakBytes => Math.Max(Active.PeakBytes, Passive.PeakBytes);
}

/// <summary>How both parties run.</summary>
/// <param name="Threads">Threads that compute; null for one a processor.</param>
/// <param name="ConserveMemory">How hard the collector tries to keep memory small, 1 to 9; 0 for what it does by itself.</param>
internal sealed record PartySettings(int? Threads, int ConserveMemory);

/// <summary>Runs the whole protocol between two processes over loopback gRPC.</summary>
internal static class ProtocolRuns
{
    /// <summary>One run, checked: both parties found the half that is common, in one order.</summary>
    public static async Task<ProtocolRun> RunAsync(PsiEngine engine, int ids, PartySettings settings, CancellationToken stop)
    {
        using Process active = Start("active", engine, ids, settings, null);
        Task<string> activeErrors = active.StandardError.ReadToEndAsync(stop);
        try
        {
            string? listening = await active.StandardOutput.ReadLineAsync(stop).ConfigureAwait(false);
            if (listening?.StartsWith(AlignmentParty.Listening, StringComparison.Ordinal) is not true)
                throw new InvalidOperationException($"The active party did not start: {await activeErrors.ConfigureAwait(false)}");
            using Process passive = Start("passive", engine, ids, settings, listening[AlignmentParty.Listening.Length..]);
            Task<string> passiveErrors = passive.StandardError.ReadToEndAsync(stop);
            try
            {
                // Whoever fails first says why; the other would only wait for it.
                Task<PartyRun>[] parties = [ResultAsync(active, activeErrors, stop), ResultAsync(passive, passiveErrors, stop)];
                await (await Task.WhenAny(parties).ConfigureAwait(false)).ConfigureAwait(false);
                PartyRun[] runs = await Task.WhenAll(parties).ConfigureAwait(false);
                if (runs.Any(r => r.Common != ids / 2) || runs[0].CommonDigest != runs[1].CommonDigest)
                    throw new InvalidOperationException($"The parties found {runs[0].Common} and {runs[1].Common} common ids, or not in one order; {ids / 2} are there.");
                return new ProtocolRun(engine.ToString(), ids, runs[0], runs[1]);
            }
            finally
            {
                End(passive);
            }
        }
        finally
        {
            End(active);
        }
    }

    private static Process Start(string role, PsiEngine engine, int ids, PartySettings settings, string? coordinator)
    {
        string program = typeof(ProtocolRuns).Assembly.Location;
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[program, AlignmentParty.Verb, "--role", role, "--engine", engine.ToString(), "--ids", ids.ToString(CultureInfo.InvariantCulture),
            .. settings.Threads is { } t ? ["--threads", t.ToString(CultureInfo.InvariantCulture)] : Array.Empty<string>(), .. coordinator is null ? [] : (string[])["--coordinator", coordinator]])
            start.ArgumentList.Add(argument);
        if (settings.ConserveMemory > 0)
            start.Environment["DOTNET_GCConserveMemory"] = settings.ConserveMemory.ToString(CultureInfo.InvariantCulture);
        return Process.Start(start)!;
    }

    private static async Task<PartyRun> ResultAsync(Process process, Task<string> errors, CancellationToken stop)
    {
        string output = await process.StandardOutput.ReadToEndAsync(stop).ConfigureAwait(false);
        await process.WaitForExitAsync(stop).ConfigureAwait(false);
        return process.ExitCode == 0 ? JsonSerializer.Deserialize<PartyRun>(output)! : throw new InvalidOperationException($"A party ended with code {process.ExitCode}: {await errors.ConfigureAwait(false)}");
    }

    private static void End(Process process)
    {
        if (!process.HasExited)
            process.Kill();
    }
}
