using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;

namespace FedLearn.Storage.Tests;

/// <summary>The test runner, and the child processes that the tests start and kill.</summary>
internal static partial class Program
{
    /// <summary>What a child that sends messages writes: before it opens the ledger, when its run is reserved, before each message, when it has settled.</summary>
    public const byte Opening = (byte)'O', Reserved = (byte)'R', Message = (byte)'M', Settled = (byte)'S';

    public const int Messages = 40, Length = 64;

    /// <summary>Sessions that the children that align may begin, all together.</summary>
    public const int SessionsPerDay = 11;

    public static int Main(string[] args)
    {
        switch (args)
        {
            case ["child", "send", var path, var runId, var seed]:
                Send(path, runId, seed);
                return 0;
            case ["child", "spend", var path, var attempts]:
                Spend(path, int.Parse(attempts, CultureInfo.InvariantCulture));
                return 0;
            case ["child", "align", var path, var first, var attempts]:
                Align(path, int.Parse(first, CultureInfo.InvariantCulture), int.Parse(attempts, CultureInfo.InvariantCulture));
                return 0;
            case ["child", "states", var path]:
                WriteStates(path);
                return 0;
            case ["child", "grow", var path]:
                Grow(path);
                return 0;
            default:
                return Test(args);
        }
    }

    // Methods of their own, so that a child loads no test framework.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Test(string[] args) => args.Any(a => a is "--server" or "--internal-msbuild-node")
        ? Xunit.MicrosoftTestingPlatform.TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions).GetAwaiter().GetResult()
        : Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args).GetAwaiter().GetResult();

    /// <summary>One run: every message goes to standard output once it may leave.</summary>
    private static void Send(string path, string runId, string seed)
    {
        using Stream output = Console.OpenStandardOutput();
        output.WriteByte(Opening);
        var ledger = new SqliteLedger(path);
        using IPrivacyReservation reservation = ledger.Reserve(Charges.Gaussian(runId, mu: 1, messages: Messages, testNoise: seed is not ("secure" or "fresh")));
        output.WriteByte(Reserved);
        INoiseSource noise = seed switch
        {
            "secure" => new CsprngNoise(),
            "fresh" => new FreshNoise(),
            _ => new TestNoise(ulong.Parse(seed, CultureInfo.InvariantCulture), runId),
        };
        var mechanism = new GaussianMechanism(new NoiseCalibration(1, 1, Messages, 1), noise, reservation);
        for (int i = 0; i < Messages; i++)
        {
            mechanism.Prefetch(Length);
            var exact = new double[Length];
            Array.Fill(exact, 1.0 / (i + 1));
            ReadOnlyMemory<byte> bytes = mechanism.Release(new Scores(exact), "scores").Payload.Lattice!.Packed;
            output.Write([Message, (byte)i, checked((byte)(bytes.Length / 256)), (byte)(bytes.Length % 256), .. bytes.Span]);
        }

        reservation.Settle(1);
        output.WriteByte(Settled);
    }

    /// <summary>Makes room for more messages than files of this process may hold, and writes how long the outbox is before and after.</summary>
    private static void Grow(string path)
    {
        const int FileSize = 1, TooLarge = 25; // RLIMIT_FSIZE, SIGXFSZ
        using Outbox outbox = Outbox.Open(path, new byte[16], 1024);
        outbox.Create();
        long before = new FileInfo(path).Length;
        Ignore(TooLarge, 1);
        SetLimit(FileSize, [1 << 20, 1 << 20]);
        bool failed = false;
        try
        {
            outbox.Prepare(20_000, 1024);
        }
        catch (ArgumentOutOfRangeException)
        {
            // As the runtime has it of a file that is too large; of a full disk it would be an IOException.
            failed = true;
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{failed} {new FileInfo(path).Length - before}"));
    }

    [LibraryImport("libc", EntryPoint = "setrlimit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetLimit(int resource, ulong[] limits);

    [LibraryImport("libc", EntryPoint = "signal")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint Ignore(int signal, nint handler);

    /// <summary>Reserves charges of pure epsilon 1 against a budget of 17 and writes how many were granted.</summary>
    private static void Spend(string path, int attempts)
    {
        var ledger = new SqliteLedger(path, new SqliteLedgerOptions { Budget = new LedgerBudget(17, 0) });
        int granted = 0;
        for (int i = 0; i < attempts; i++)
            try
            {
                using IPrivacyReservation reservation = ledger.Reserve(Charges.Pure(1));
                granted++;
            }
            catch (Diagnostics.PrivacyRefusedException e) when (e.Id == PrivacyErrors.BudgetSpent)
            {
                // Nothing is left.
            }

        Console.Out.Write(granted.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Begins sessions with one peer and writes how many were granted.</summary>
    private static void Align(string path, int first, int attempts)
    {
        var log = new SqliteAlignmentLog(path);
        int granted = 0;
        for (int i = 0; i < attempts; i++)
            try
            {
                log.Begin(SqliteAlignmentLogTests.Session(first + i), new AlignmentCaps { SessionsPerDay = SessionsPerDay });
                granted++;
            }
            catch (Diagnostics.PrivacyRefusedException e) when (e.Id == AlignmentErrors.TooManySessions)
            {
                // The cap is reached.
            }

        Console.Out.Write(granted.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>The state that a child keeps before a round.</summary>
    public static byte[] StateOf(int round) => [.. Enumerable.Range(0, 20_000).Select(i => (byte)((i * round) % 251))];

    /// <summary>Keeps one state after the other until it is killed, and says so after each.</summary>
    private static void WriteStates(string path)
    {
        var store = new FileRunStore(path);
        RunIdentity identity = new("bank", Testing.RunStoreConformance.Identity(9).TermsDigest, "session", Testing.RunStoreConformance.Identity(9).RunId);
        CutOffRun? found = store.Find(identity.Party, identity.TermsDigest);
        using IRunState run = found is null ? store.Begin(identity) : store.Continue(found);
        for (int round = found is null ? 0 : found.Rounds[^1] + 1; ; round++)
        {
            run.Write(round, StateOf(round));
            Console.Out.WriteLine(round.ToString(CultureInfo.InvariantCulture));
            Console.Out.Flush();
        }
    }

    /// <summary>Random numbers that no process draws again: a second noise for one message would show. Starts 0.2 s faster than the library's.</summary>
    private sealed class FreshNoise : INoiseSource
    {
        public bool IsSecure => true;

        public void Fill(Span<int> destination)
        {
            RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(destination));
            for (int i = 0; i < destination.Length; i++)
                destination[i] >>= 6;
        }
    }
}
