using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Services;

/// <summary>How many sessions of a job a party has taken part in within 24 hours: one line for each in a file beside its ledger, written before the session begins.</summary>
/// <remarks>A peer decides when a session begins, and every session of a private job spends of this party's budget. A line that a crash cut short is of a session that never began.
/// Times to come, of a clock that was set back, count. Thread-safe, also between processes.</remarks>
/// <param name="path">The file. The sessions of every job that has this ledger are in it.</param>
/// <param name="job">Name of the job; the file has its hash only.</param>
/// <param name="most">Most sessions within 24 hours.</param>
/// <param name="clock">Clock.</param>
internal sealed class SessionCount(string path, string job, int most, TimeProvider clock)
{
    /// <summary>How long a session counts.</summary>
    public static readonly TimeSpan Window = TimeSpan.FromHours(24);

    private const int Tries = 200, MostOldLines = 64;

    private static readonly Lock Gate = new();

    private long _fullUntil;
    private readonly string _job = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(job)).AsSpan(0, 8));

    /// <summary>Path of the file beside a ledger.</summary>
    public static string PathOf(string ledger) => ledger + ".sessions";

    /// <summary>Until when no session can begin, as of the last look; in the past where one can.</summary>
    public DateTimeOffset FullUntil
    {
        get => new(Volatile.Read(ref _fullUntil), TimeSpan.Zero);
        private set => Volatile.Write(ref _fullUntil, value.UtcTicks);
    }

    /// <summary>Reads the file.</summary>
    /// <exception cref="ConfigurationException">FL2558: it cannot be read.</exception>
    public void Look()
    {
        lock (Gate)
            Guarded(() =>
            {
                if (!File.Exists(path) && !Directory.Exists(path))
                    return;
                using FileStream file = Open();
                var all = new List<(DateTimeOffset At, string Job)>();
                Read(file, all);
                Judge([.. all.Where(s => s.Job == _job && clock.GetUtcNow() - s.At < Window).Select(s => s.At).Order()]);
            });
    }

    /// <summary>Counts a session that is about to begin.</summary>
    /// <exception cref="PeerException">FL4170: there were too many.</exception>
    /// <exception cref="ConfigurationException">FL2558: the file cannot be read or written.</exception>
    public void Take()
    {
        lock (Gate)
            Guarded(() =>
            {
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                using FileStream file = Open();
                DateTimeOffset now = clock.GetUtcNow();
                var kept = new List<(DateTimeOffset At, string Job)>();
                long end = Read(file, kept);
                int read = kept.Count;
                kept.RemoveAll(s => now - s.At >= Window);
                DateTimeOffset[] own = [.. kept.Where(s => s.Job == _job).Select(s => s.At).Order()];
                Judge(own);
                if (own.Length >= most)
                    throw new PeerException(ServiceErrors.TooManySessions, $"party file: service.sessionsPerDay, job '{job}'",
                        string.Create(CultureInfo.InvariantCulture, $"the active party has begun {own.Length} {Counted.Noun(own.Length, "session")} within 24 hours, and this party takes part in {most}; the next one can be at {own[^most] + Window:yyyy-MM-dd HH:mm} UTC."),
                        "Ask why there are so many sessions: each spends of this party's privacy budget. If they are right, raise service.sessionsPerDay at this party.");
                file.SetLength(end); // a crash may have left a part of a line
                file.Position = end;
                file.Write(Encoding.UTF8.GetBytes(Line(now, _job)));
                file.Flush(flushToDisk: true);
                if (end == 0)
                    DurableFile.SyncFolder(Path.GetDirectoryName(path)!); // the file may be new, and its name has to last too
                Judge([.. own.Append(now).Order()]);
                if (read <= MostOldLines || kept.Count >= read / 2)
                    return;
                // Lines of other days are dropped. Windows does not replace a file that is open.
                if (OperatingSystem.IsWindows())
                    file.Dispose();
                DurableFile.Replace(path, Encoding.UTF8.GetBytes(string.Concat(kept.Append((now, _job)).Select(s => Line(s.Item1, s.Item2)))), ownerOnly: false);
                if (!OperatingSystem.IsWindows())
                    file.SetLength(0); // another process that has opened this file sees by its length that it was replaced
            });
    }

    private void Judge(DateTimeOffset[] own) => FullUntil = own.Length >= most ? own[^most] + Window : DateTimeOffset.MinValue;

    private static string Line(DateTimeOffset at, string job) => string.Create(CultureInfo.InvariantCulture, $"{at.UtcDateTime:yyyy-MM-ddTHH:mm:ss.fffffffZ} {job}\n");

    private long Read(FileStream file, List<(DateTimeOffset At, string Job)> sessions)
    {
        using var memory = new MemoryStream();
        file.CopyTo(memory);
        byte[] bytes = memory.ToArray();
        int end = Array.LastIndexOf(bytes, (byte)'\n') + 1;
        foreach (string line in Encoding.UTF8.GetString(bytes, 0, end).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Split(' ') is not [var time, { Length: 16 } job]
                || !DateTimeOffset.TryParseExact(time, "yyyy-MM-ddTHH:mm:ss.fffffffZ", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset at))
                throw Unusable("a line of it is not one that this software writes.", null);
            sessions.Add((at, job));
        }

        return end;
    }

    // Tried again, since another process may have the file open while it writes its line.
    private FileStream Open()
    {
        for (int tried = 1; ; tried++)
        {
            try
            {
                var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                if (file.Length == new FileInfo(path).Length)
                    return file;
                // The file was replaced between opening and locking it: a line written to it would be lost.
                file.Dispose();
            }
            catch (IOException) when (tried < Tries && File.Exists(path))
            {
                Thread.Sleep(10);
            }
        }
    }

    private void Guarded(Action use)
    {
        try
        {
            use();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unusable("it cannot be read or written.", e);
        }
    }

    private ConfigurationException Unusable(string cause, Exception? inner) => new(ServiceErrors.CountUnusable, path, cause,
        "No session begins before its count is safe. Check the permissions of its folder; move a file that somebody changed away once you know how many sessions there were.", inner);
}
