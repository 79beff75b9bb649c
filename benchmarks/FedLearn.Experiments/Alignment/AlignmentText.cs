using System.Globalization;
using System.Text;
using FedLearn.Alignment;

namespace FedLearn.Experiments.Alignment;

/// <summary>The figures as a page to read.</summary>
internal static class AlignmentText
{
    private const int BarIds = 1_000_000;

    /// <summary>The whole page.</summary>
    public static string Document(AlignmentFigures figures)
    {
        var text = new StringBuilder();
        Line($"# Private set intersection, {figures.Date:yyyy-MM-dd}");
        Line($"");
        Line($"Measured {figures.Date:yyyy-MM-dd HH:mm} UTC in {figures.Seconds / 60:0.0} minutes on {figures.Machine}; libsodium {figures.Sodium}, vectors of .NET: {figures.Vectors}.");
        Line($"Command: `{figures.Command}`.");
        foreach (string note in figures.Notes)
            Line($"{note}");
        Line($"");
        Line($"## {figures.Ids:N0} x {figures.Ids:N0} ids, two processes over loopback gRPC");
        Line($"");
        Line($"Half of the ids are common; ids are 13 characters. From the first message of the protocol to the common rows in their order, at both parties; start-up, compiling, making the ids and joining are excluded.");
        Line($"ids/s: ids of a side / wall-clock time. CPU: processor time of both processes, all threads, a side and id. Bytes: all bytes of the channel, framing included, both ways, a side and id. Memory: peak resident memory (VmHWM) of each");
        Line($"process, runtime and ids as strings included; `before` is what it was when the alignment began. Least wall-clock time of {(figures.Runs.Count == 0 ? 0 : figures.Runs.Count(r => r.Engine == figures.Runs[0].Engine))} run(s) with each engine; the JSON has all.");
        Line($"");
        Line($"| engine | wall s | ids/s a side | CPU us an id and side | bytes an id and side | peak memory, active, passive (before) MB | share of 1/(map + 2 multiplications), by wall | by CPU |");
        Line($"|---|---|---|---|---|---|---|---|");
        foreach (PsiEngine engine in (PsiEngine[])[PsiEngine.Sodium, PsiEngine.Vector])
            if (figures.Best(engine) is { } run)
                Line($"| {Name(engine)} | {run.WallSeconds:0.00} | {run.IdsPerSecond:N0} | {run.CpuMicros:0.0} | {run.BytesPerId:0.0} | {Mb(run.Active.PeakBytes)}, {Mb(run.Passive.PeakBytes)} ({Mb(run.Active.BaseBytes)}, {Mb(run.Passive.BaseBytes)}) | {Share(figures, engine, run):0.00} | {ShareOfCpu(figures, engine, run):0.00} |");
        Line($"");
        Line($"## The parts");
        Line($"");
        Line($"Microseconds of processor time a point, lists of 4,096, the least of all rounds before and after the runs above. Map: what blinding takes beyond a multiplication. All cores busy: the same on every core at once, as the two parties are; what it takes longer");
        Line($"is what cores share (two of them may be one core's threads), and no cost of the protocol.");
        Line($"");
        Line($"| engine | map | multiplication | map + 2 multiplications | so at most ids/s on one core | with all cores busy | CPU of the protocol / that |");
        Line($"|---|---|---|---|---|---|---|");
        foreach ((EngineSpeed speed, EngineSpeed busy) in figures.Engines.Zip(figures.Busy))
            Line($"| {speed.Engine} | {speed.Map:0.00} | {speed.Multiply:0.00} | {speed.PerId:0.00} | {1e6 / speed.PerId:N0} | {busy.PerId:0.00} | {Overhead(figures, busy)} |");
        Line($"");
        Line($"Hashes, the same with each engine: normal form and expand_message_xmd {figures.Hashes.Expand:0.00} us an id, tag {figures.Hashes.Tag:0.00}, common order {figures.Hashes.Order:0.00}.");
        Line($"");
        Peer(figures, Line);
        Bars(figures, Line);
        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }

    private static void Peer(AlignmentFigures figures, Action<FormattableString> line)
    {
        if (figures.BestPeer is not { } peer)
            return;
        line($"## {figures.PeerIds:N0} x {figures.PeerIds:N0} ids beside OpenMined PSI");
        line($"");
        line($"@openmined/psi.js {peer.Version} (WebAssembly, P-256) on Node.js {peer.Node}, server and client in one process, default structure (GCS), its messages serialised. One side learns the intersection there, both here; {peer.Found:N0} common ids found.");
        line($"Processor seconds of both sides, start-up excluded, least of {figures.PeerRuns.Count} runs by turns.");
        line($"");
        line($"| what | CPU s, both sides | OpenMined / ours | bytes an id and side |");
        line($"|---|---|---|---|");
        line($"| OpenMined PSI | {peer.CpuSeconds:0.00} | | {peer.Bytes / (2.0 * peer.Ids):0.0} |");
        foreach (PsiEngine engine in (PsiEngine[])[PsiEngine.Sodium, PsiEngine.Vector])
            if (figures.BestSmall(engine) is { } run)
                line($"| {Name(engine)} | {run.CpuSeconds:0.00} | {peer.CpuSeconds / run.CpuSeconds:0.0} | {run.BytesPerId:0.0} |");
        line($"");
    }

    private static void Bars(AlignmentFigures figures, Action<FormattableString> line)
    {
        line($"## Bars");
        line($"");
        if (figures.Ids != BarIds)
            line($"The bars are for {BarIds:N0} x {BarIds:N0} ids; this run had {figures.Ids:N0}, so that its figures only hint at them.\n");
        line($"| what | bar | measured | met |");
        line($"|---|---|---|---|");
        ProtocolRun? sodium = figures.Best(PsiEngine.Sodium), vector = figures.Best(PsiEngine.Vector);
        if (sodium is not null)
        {
            line($"| libsodium, ids/s a side, or CPU us an id and side where the machine is shared | at least 10,000, or at most 95 | {sodium.IdsPerSecond:N0}; {sodium.CpuMicros:0.0} | {Met(sodium.IdsPerSecond >= 10_000 || sodium.CpuMicros <= 95)} |");
            double share = Share(figures, PsiEngine.Sodium, sodium), cpu = ShareOfCpu(figures, PsiEngine.Sodium, sodium);
            line($"| libsodium, share of 1/(map + 2 multiplications), by wall (by CPU) | at least .8 | {share:0.00} ({cpu:0.00}) | {Met(share >= .8 || cpu >= .8)} |");
            double busy = figures.Busy.First(e => e.Engine == "libsodium").PerId / sodium.CpuMicros;
            line($"| the same by CPU, the parts timed while all cores are busy, as they are in the protocol | at least .8 | {busy:0.00} | {Met(busy >= .8)} |");
        }

        if (sodium is not null && vector is not null)
            line($"| vector / libsodium, end to end, by wall (by CPU) | at least 2 | {sodium.WallSeconds / vector.WallSeconds:0.00} ({sodium.CpuMicros / vector.CpuMicros:0.00}) | {Met(sodium.WallSeconds / vector.WallSeconds >= 2)} |");
        if (figures.Runs.Count > 0)
        {
            double bytes = figures.Runs.Max(r => r.BytesPerId);
            long peak = figures.Runs.Max(r => r.PeakBytes);
            line($"| bytes an id and side | at most 45 | {bytes:0.0} | {Met(bytes <= 45)} |");
            line($"| peak memory of a side, MB (10^6 bytes) | below 400 | {Mb(peak)} | {Met(peak < 400_000_000)} |");
        }

        if (figures.BestPeer is { } peer && figures.BestSmall(PsiEngine.Sodium) is { } small)
            line($"| OpenMined PSI / libsodium at {figures.PeerIds:N0}, CPU seconds | to be printed | {peer.CpuSeconds / small.CpuSeconds:0.0} | |");
    }

    /// <summary>Ids a second and side over what one core could do at most.</summary>
    private static double Share(AlignmentFigures figures, PsiEngine engine, ProtocolRun run) => run.IdsPerSecond * Speed(figures, engine).PerId / 1e6;

    private static double ShareOfCpu(AlignmentFigures figures, PsiEngine engine, ProtocolRun run) => Speed(figures, engine).PerId / run.CpuMicros;

    // libsodium is measured first where both are.
    private static EngineSpeed Speed(AlignmentFigures figures, PsiEngine engine) => engine == PsiEngine.Sodium ? figures.Engines.First(e => e.Engine == "libsodium") : figures.Engines.First(e => e.Engine != "libsodium");

    private static string Overhead(AlignmentFigures figures, EngineSpeed busy) => figures.Best(busy.Engine == "libsodium" ? PsiEngine.Sodium : PsiEngine.Vector) is { } run
        ? (run.CpuMicros / busy.PerId).ToString("0.00", CultureInfo.InvariantCulture) : "";

    private static string Name(PsiEngine engine) => engine == PsiEngine.Sodium ? "libsodium" : "vector";

    private static string Mb(long bytes) => (bytes / 1e6).ToString("0", CultureInfo.InvariantCulture);

    private static string Met(bool met) => met ? "yes" : "no";
}
