using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedLearn.Alignment;
using FedLearn.Alignment.Ristretto;
using FedLearn.Diagnostics;
using FedLearn.Experiments.Tables;

namespace FedLearn.Experiments.Alignment;

/// <summary>All that one call measured.</summary>
/// <param name="Date">When.</param>
/// <param name="Machine">On what.</param>
/// <param name="Command">How to measure it again.</param>
/// <param name="Seconds">How long it took.</param>
/// <param name="Sodium">Version of libsodium.</param>
/// <param name="Vectors">Vector instructions that .NET uses here.</param>
/// <param name="Ids">Ids of each party.</param>
/// <param name="Engines">The parts in the group on one thread, the least of all rounds, before and after the runs.</param>
/// <param name="Busy">The same while every core does it.</param>
/// <param name="Hashes">The hashes, likewise.</param>
/// <param name="Runs">Every run of the whole protocol.</param>
/// <param name="PeerIds">Ids of each party next to OpenMined PSI.</param>
/// <param name="SmallRuns">Every run next to OpenMined PSI.</param>
/// <param name="PeerRuns">OpenMined's.</param>
/// <param name="Notes">What was not measured, and why.</param>
internal sealed record AlignmentFigures(DateTime Date, Machine Machine, string Command, double Seconds, string Sodium, string Vectors, int Ids, IReadOnlyList<EngineSpeed> Engines, IReadOnlyList<EngineSpeed> Busy,
    HashSpeed Hashes, IReadOnlyList<ProtocolRun> Runs, int PeerIds, IReadOnlyList<ProtocolRun> SmallRuns, IReadOnlyList<PeerRun> PeerRuns, IReadOnlyList<string> Notes)
{
    /// <summary>The run of an engine that took the least wall-clock time; null where there is none.</summary>
    public ProtocolRun? Best(PsiEngine engine) => Runs.Where(r => r.Engine == engine.ToString()).MinBy(r => r.WallSeconds);

    /// <summary>The small run of an engine that took the least processor time.</summary>
    public ProtocolRun? BestSmall(PsiEngine engine) => SmallRuns.Where(r => r.Engine == engine.ToString()).MinBy(r => r.CpuSeconds);

    /// <summary>OpenMined's run that took the least processor time.</summary>
    public PeerRun? BestPeer => PeerRuns.MinBy(r => r.CpuSeconds);
}

/// <summary>Private set intersection: its parts, the whole protocol between two processes, and OpenMined PSI beside it.</summary>
internal static class AlignmentVerb
{
    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    public static Command Create()
    {
        Option<int> ids = Verbs.Positive("--ids", "Ids of each party, half of them common.", 1_000_000), repeats = Verbs.Positive("--repeats", "Runs with each engine, by turns.", 1),
            rounds = Verbs.Positive("--rounds", "Rounds in which the parts are timed, before and after the runs.", 5),
            peerIds = Verbs.Positive("--peer-ids", "Ids of each party next to OpenMined PSI.", 10_000), peerRepeats = Verbs.Positive("--peer-repeats", "Runs next to OpenMined PSI, by turns.", 2);
        Option<PsiEngine[]> engines = new("--engines")
        {
            Description = "What computes: sodium, vector. Default sodium,vector.",
            DefaultValueFactory = _ => [PsiEngine.Sodium, PsiEngine.Vector],
            CustomParser = result => [.. result.Tokens.SelectMany(t => t.Value.Split(',')).Select(e => Enum.Parse<PsiEngine>(e, ignoreCase: true))],
        };
        var conserve = new Option<int>("--conserve-memory") { Description = "DOTNET_GCConserveMemory of both parties, 0 to 9; 0 is what the runtime does by itself. Default 5, as the tool has it.", DefaultValueFactory = _ => 5 };
        conserve.Validators.Add((OptionResult result) =>
        {
            if (result.Tokens.Count > 0 && result.GetValueOrDefault<int>() is < 0 or > 9)
                result.AddError("--conserve-memory is 0 to 9.");
        });
        var threads = new Option<int?>("--threads") { Description = "Threads of each party. Default one a processor." };
        var openMined = new Option<DirectoryInfo>("--openmined")
        {
            Description = "Folder whose node_modules hold @openmined/psi.js. Default build/openmined-psi.",
            DefaultValueFactory = _ => new DirectoryInfo(Path.Combine(Verbs.Repository(), "build", "openmined-psi")),
        };
        var check = new Option<long>("--check") { Description = "Instead of timing: compare the vector engine with libsodium bit for bit on so many random inputs, on all cores." };
        check.Validators.Add((OptionResult result) =>
        {
            if (result.Tokens.Count > 0 && result.GetValueOrDefault<long>() < 1)
                result.AddError("--check is at least 1.");
        });
        var seed = new Option<long?>("--seed") { Description = "Seed of --check. Default a random one, which is printed." };
        Option<DirectoryInfo> folder = Verbs.Out();
        var command = new Command("alignment", "Private set intersection: ids a second, bytes and memory of two processes, the parts on one thread, OpenMined PSI beside it.")
        {
            ids, engines, repeats, rounds, threads, conserve, peerIds, peerRepeats, openMined, check, seed, folder,
        };
        command.SetAction((parsed, stop) => Verbs.RunAsync(async () =>
        {
            if (parsed.GetValue(check) is > 0 and var inputs)
                return Check(inputs, parsed.GetValue(seed) ?? RandomNumberGenerator.GetInt32(int.MaxValue), stop);
            string text = string.Create(CultureInfo.InvariantCulture, $"benchmarks/alignment.sh --ids {parsed.GetValue(ids)} --engines {string.Join(',', parsed.GetValue(engines)!).ToLowerInvariant()} --repeats {parsed.GetValue(repeats)} "
                + $"--peer-ids {parsed.GetValue(peerIds)} --peer-repeats {parsed.GetValue(peerRepeats)}") + (parsed.GetValue(threads) is { } t ? $" --threads {t}" : "") + $" --conserve-memory {parsed.GetValue(conserve)}";
            var settings = new PartySettings(parsed.GetValue(threads), parsed.GetValue(conserve));
            AlignmentFigures figures = await MeasureAsync(text, parsed.GetValue(ids), parsed.GetValue(engines)!, parsed.GetValue(repeats), parsed.GetValue(rounds), settings,
                parsed.GetValue(peerIds), parsed.GetValue(peerRepeats), parsed.GetValue(openMined)!, stop).ConfigureAwait(false);
            string table = AlignmentText.Document(figures);
            await Console.Out.WriteAsync(table).ConfigureAwait(false);
            DirectoryInfo output = parsed.GetValue(folder)!;
            output.Create();
            string path = Path.Combine(output.FullName, $"{figures.Date:yyyy-MM-dd}-alignment");
            await File.WriteAllTextAsync(path + ".md", table, stop).ConfigureAwait(false);
            await File.WriteAllTextAsync(path + ".json", JsonSerializer.Serialize(figures, Json) + "\n", stop).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    private static async Task<AlignmentFigures> MeasureAsync(string command, int ids, PsiEngine[] wanted, int repeats, int rounds, PartySettings settings, int peerIds, int peerRepeats, DirectoryInfo openMined,
        CancellationToken stop)
    {
        long start = Stopwatch.GetTimestamp();
        List<string> notes = [];
        List<PsiEngine> kinds = [];
        List<IRistrettoEngine> engines = [];
        foreach (PsiEngine kind in wanted)
        {
            if (Engine(kind) is { } engine)
            {
                kinds.Add(kind);
                engines.Add(engine);
            }
            else
            {
                notes.Add($"The {kind.ToString().ToLowerInvariant()} engine was not measured: it is not there, or cannot run on this processor.");
            }
        }

        if (engines.Count == 0)
            throw new ConfigurationException(PsiErrors.NoVectorEngine, "--engines", "none of the engines can run here.", "Name sodium among them.");
        Say("parts");
        (IReadOnlyList<EngineSpeed> before, HashSpeed hashesBefore) = GroupSpeed.Measure(engines, rounds, 1);
        IReadOnlyList<EngineSpeed> busyBefore = GroupSpeed.Measure(engines, rounds, Environment.ProcessorCount).Engines;

        List<ProtocolRun> runs = [], small = [];
        for (int repeat = 0; repeat < repeats; repeat++)
            foreach (PsiEngine kind in kinds)
            {
                Say($"{ids:N0} x {ids:N0}, {kind}");
                runs.Add(await ProtocolRuns.RunAsync(kind, ids, settings, stop).ConfigureAwait(false));
                Say($"  {runs[^1].WallSeconds:0.0} s, {runs[^1].CpuMicros:0.0} us of processor an id and side");
            }

        Say("parts again");
        (IReadOnlyList<EngineSpeed> after, HashSpeed hashesAfter) = GroupSpeed.Measure(engines, rounds, 1);
        IReadOnlyList<EngineSpeed> busyAfter = GroupSpeed.Measure(engines, rounds, Environment.ProcessorCount).Engines;

        List<PeerRun> peers = [];
        if (OpenMinedPsi.Missing(openMined) is { } missing)
        {
            notes.Add($"OpenMined PSI was not measured: {missing}.");
        }
        else
        {
            for (int repeat = 0; repeat < peerRepeats; repeat++)
            {
                foreach (PsiEngine kind in kinds)
                {
                    Say($"{peerIds:N0} x {peerIds:N0}, {kind}");
                    small.Add(await ProtocolRuns.RunAsync(kind, peerIds, settings, stop).ConfigureAwait(false));
                }

                Say($"{peerIds:N0} x {peerIds:N0}, OpenMined PSI");
                peers.Add(await OpenMinedPsi.RunAsync(openMined, peerIds, stop).ConfigureAwait(false));
            }
        }

        return new AlignmentFigures(DateTime.UtcNow, Machine.Current(), command, Stopwatch.GetElapsedTime(start).TotalSeconds, SodiumVersion(), Vectors(), ids,
            [.. before.Zip(after, Least)], [.. busyBefore.Zip(busyAfter, Least)],
            new HashSpeed(Math.Min(hashesBefore.Expand, hashesAfter.Expand), Math.Min(hashesBefore.Tag, hashesAfter.Tag), Math.Min(hashesBefore.Order, hashesAfter.Order)),
            runs, peerIds, small, peers, notes);
    }

    private static EngineSpeed Least(EngineSpeed a, EngineSpeed b) => new(a.Engine, Math.Min(a.Blind, b.Blind), Math.Min(a.Multiply, b.Multiply));

    private static int Check(long inputs, long seed, CancellationToken stop) => Engine(PsiEngine.Vector) is { } vector
        ? new EngineCheck(RistrettoEngines.Create(PsiEngine.Sodium), vector, seed).Run(inputs, stop)
        : throw new ConfigurationException(PsiErrors.NoVectorEngine, "--check", "the vector engine is not there, or cannot run on this processor.", "Run the check where it can.");

    private static IRistrettoEngine? Engine(PsiEngine kind)
    {
        try
        {
            return RistrettoEngines.Create(kind);
        }
        catch (ConfigurationException e) when (e.Id == PsiErrors.NoVectorEngine)
        {
            return null;
        }
    }

    private static string SodiumVersion()
    {
        foreach (string name in (string[])["libsodium.so.23", "libsodium.so.26", "libsodium"])
            if (NativeLibrary.TryLoad(name, out nint handle) && NativeLibrary.TryGetExport(handle, "sodium_version_string", out nint version))
                return Marshal.PtrToStringUTF8(Marshal.GetDelegateForFunctionPointer<Text>(version)()) ?? "unknown";
        return "unknown";
    }

    private delegate nint Text();

    private static string Vectors() => Avx512DQ.IsSupported ? "AVX-512" : Avx2.IsSupported ? "AVX2" : "none";

    private static void Say(FormattableString line) => Console.Error.WriteLine(line.ToString(CultureInfo.InvariantCulture));

    private static void Say(string line) => Console.Error.WriteLine(line);
}
