using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FedLearn.Alignment;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Experiments.Alignment;

/// <summary>What one party measured of its own process between the first message and the common rows.</summary>
/// <param name="Role">Which party.</param>
/// <param name="Engine">What computed in the group.</param>
/// <param name="Ids">Own ids.</param>
/// <param name="Common">Common rows found.</param>
/// <param name="CommonDigest">SHA-256 over the common ids in the common order: equal at both parties.</param>
/// <param name="StartTicks">Monotonic clock of the machine when the alignment began.</param>
/// <param name="EndTicks">The same when it had ended.</param>
/// <param name="CpuSeconds">Processor time of the whole process between the two.</param>
/// <param name="BytesSent">Bytes on the channel, framing included.</param>
/// <param name="BytesReceived">Likewise.</param>
/// <param name="BaseBytes">Resident memory before the alignment: runtime, warm-up, and the ids as strings.</param>
/// <param name="PeakBytes">Largest resident memory since the process began.</param>
/// <param name="HeapBytes">Managed heap as the last collection before the end found it, holes included.</param>
/// <param name="AllocatedBytes">Managed memory allocated in all during the alignment.</param>
/// <param name="Collections">Collections of the oldest generation during the alignment.</param>
internal sealed record PartyRun(string Role, string Engine, int Ids, int Common, string CommonDigest, long StartTicks, long EndTicks, double CpuSeconds, long BytesSent, long BytesReceived,
    long BaseBytes, long PeakBytes, long HeapBytes, long AllocatedBytes, int Collections);

/// <summary>One party in a process of its own. <see cref="ProtocolRuns"/> starts two of them.</summary>
internal static class AlignmentParty
{
    public const string Verb = "alignment-party", Listening = "listening ";

    private const string Guest = "guest", Host = "host";

    public static Command Create()
    {
        var role = new Option<string>("--role") { Description = "active or passive.", Required = true };
        Option<int> ids = Verbs.Positive("--ids", "Ids.", 1000);
        var engine = new Option<PsiEngine>("--engine") { Description = "What computes.", DefaultValueFactory = _ => PsiEngine.Sodium };
        var threads = new Option<int?>("--threads") { Description = "Threads that compute." };
        var coordinator = new Option<string?>("--coordinator") { Description = "Where the active party listens." };
        var command = new Command(Verb, "One party of verb alignment.") { role, ids, engine, threads, coordinator };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => Verbs.RunAsync(async () =>
        {
            var options = new PsiOptions { Engine = parsed.GetValue(engine), Threads = parsed.GetValue(threads) };
            bool active = parsed.GetValue(role) == "active";
            PartyRun run = await RunAsync(active, Ids(parsed.GetValue(ids), active), options, parsed.GetValue(coordinator) is { } address ? new Uri(address) : null, cancellationToken).ConfigureAwait(false);
            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(run)).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    /// <summary>Ids such as <c>id-0000012345</c>, half of them the other party's too, in an order of the party's own.</summary>
    private static string[] Ids(int n, bool active)
    {
        string[] ids = new string[n];
        for (int i = 0; i < n; i++)
            ids[i] = string.Create(CultureInfo.InvariantCulture, $"id-{(active ? i : i + n - (n / 2)):0000000000}");
        new Random(active ? 1 : 2).Shuffle(ids);
        return ids;
    }

    private static async Task<PartyRun> RunAsync(bool active, string[] ids, PsiOptions options, Uri? coordinator, CancellationToken stop)
    {
        await WarmUpAsync(options, stop).ConfigureAwait(false);
        PartyDescription[] parties = [new(Guest, PartyRole.Active), new(Host, PartyRole.Passive)];
        var terms = new SessionTerms("alignment benchmark", SHA256.HashData("alignment benchmark"u8), new Dictionary<string, ReadOnlyMemory<byte>>(), parties);
        var request = new JoinRequest(SessionDesk.ProtocolVersion, parties[active ? 0 : 1], terms.JobName, terms.TermsDigest, terms.Sections, new byte[SHA256.HashSizeInBytes]);
        // One side may be done with its half minutes before the other.
        var channel = new ChannelOptions { ReceiveTimeout = TimeSpan.FromHours(1) };
        GrpcFederationHost? host = active ? await GrpcFederationHost.StartAsync(new GrpcHostOptions { Channel = channel }, terms, stop).ConfigureAwait(false) : null;
        try
        {
            if (host is not null)
                await Console.Out.WriteLineAsync(Listening + host.Address).ConfigureAwait(false);
            await using GrpcSession session = host is not null ? await host.JoinAsync(request, stop).ConfigureAwait(false)
                : await GrpcFederationClient.JoinAsync(coordinator!, request, new GrpcClientOptions { Channel = channel }, stop).ConfigureAwait(false);
            var task = new AlignmentTask { Role = parties[active ? 0 : 1].Role, Ids = ids, Seed = 1, JobDigest = session.Agreement.JobDigest, Parties = 2 };
            var alignment = new PsiAlignment(options);
            using var process = Process.GetCurrentProcess();
            long baseBytes = Status("VmRSS"), allocated = GC.GetTotalAllocatedBytes();
            int collections = GC.CollectionCount(GC.MaxGeneration);
            TimeSpan cpu = process.TotalProcessorTime;
            long start = Stopwatch.GetTimestamp();
            AlignedRows rows = await alignment.AlignAsync(task, session.Channels, stop).ConfigureAwait(false);
            long end = Stopwatch.GetTimestamp();
            process.Refresh();
            cpu = process.TotalProcessorTime - cpu;
            allocated = GC.GetTotalAllocatedBytes() - allocated;
            ChannelStatistics sent = session.Channels[0].Statistics;
            var run = new PartyRun(active ? "active" : "passive", options.Engine.ToString(), ids.Length, rows.Rows.Length, Digest(ids, rows.Rows), start, end, cpu.TotalSeconds,
                sent.BytesSent, sent.BytesReceived, baseBytes, Status("VmHWM"), GC.GetGCMemoryInfo(GCKind.Any).HeapSizeBytes, allocated, GC.CollectionCount(GC.MaxGeneration) - collections);
            await session.Channels[0].CompleteAsync(stop).ConfigureAwait(false);
            return run;
        }
        finally
        {
            if (host is not null)
                await host.DisposeAsync().ConfigureAwait(false);
        }
    }

    // Compiles what the alignment runs through, so that ten thousand ids are not measured by the compiler.
    private static async Task WarmUpAsync(PsiOptions options, CancellationToken stop)
    {
        (InMemoryChannel guest, InMemoryChannel host) = InMemoryChannel.CreatePair(Guest, Host);
        await using (guest.ConfigureAwait(false))
        await using (host.ConfigureAwait(false))
        {
            byte[] job = SHA256.HashData("warm-up"u8);
            string[] ids = Ids(2000, active: true);
            await Task.WhenAll(Side(PartyRole.Active, guest), Side(PartyRole.Passive, host)).ConfigureAwait(false);

            Task Side(PartyRole role, InMemoryChannel channel) => Task.Run(() => new PsiAlignment(options).AlignAsync(
                new AlignmentTask { Role = role, Ids = ids, Seed = 1, JobDigest = job, Parties = 2 }, [channel], stop), stop);
        }
    }

    private static string Digest(string[] ids, int[] rows)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (int row in rows)
            hash.AppendData(Encoding.UTF8.GetBytes(ids[row]));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>A figure of /proc/self/status, in bytes; 0 where there is no such file.</summary>
    private static long Status(string name)
    {
        const string status = "/proc/self/status";
        string? line = File.Exists(status) ? File.ReadLines(status).FirstOrDefault(l => l.StartsWith(name + ":", StringComparison.Ordinal)) : null;
        return line is null ? 0 : 1024 * long.Parse(line[(name.Length + 1)..].Replace("kB", "", StringComparison.Ordinal), NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
    }
}
