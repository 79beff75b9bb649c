using FedLearn.Diagnostics;
using FedLearn.Privacy;
using SQLitePCL;

namespace FedLearn.Storage.Sqlite;

/// <summary>Errors of the ledger on disk: FL231n, FL502n and FL631n; each has a page under docs/errors. The budget's own are in <see cref="PrivacyErrors"/>.</summary>
public static class SqliteLedgerErrors
{
    /// <summary>The file is no ledger, or one of a later version.</summary>
    public const string NotALedger = "FL2310";

    /// <summary>The ledger is absent, or cannot be opened or written.</summary>
    public const string CannotOpen = "FL2311";

    /// <summary>The run is open in another place.</summary>
    public const string RunInUse = "FL2312";

    /// <summary>The ledger's hash chain does not verify: rows were changed, dropped, inserted or reordered.</summary>
    public const string Broken = "FL5022";

    /// <summary>The run is settled and releases nothing more.</summary>
    public const string RunEnded = "FL5023";

    /// <summary>A message was noised before and its bytes are kept no longer, so that it cannot be sent again.</summary>
    public const string MessageLost = "FL5024";

    /// <summary>A run's files are an older copy, put back after the run had gone on.</summary>
    public const string OlderCopy = "FL5025";

    /// <summary>Others held the ledger for too long.</summary>
    public const string Busy = "FL6310";

    /// <summary>The disk is full.</summary>
    public const string DiskFull = "FL6311";

    /// <summary>The storage failed to read, write or sync.</summary>
    public const string StorageFailed = "FL6312";

    /// <summary>Bytes that SQLite needs for its own files at a time, and then some.</summary>
    private const long LeastRoom = 1 << 17;

    internal static PrivacyRefusedException Refused(string id, string place, string cause, string remedy) => new(id, place, cause, remedy);

    internal static ConfigurationException NoLedger(string path, string cause, Exception? inner = null) =>
        new(NotALedger, path, cause, "Name another file, or upgrade FedLearn if a later version wrote it.", inner);

    internal static PrivacyRefusedException ChainBroken(string path, string fault) => new(Broken, path, $"the ledger does not verify: {fault}",
        "Find out who changed it (fedlearn ledger verify says where), restore the newest good copy and add what was spent since; do not start a fresh one, which would forget what was spent.");

    /// <summary>What a failure of SQLite or of the file system means to a user; null for what is neither.</summary>
    /// <param name="path">The file.</param>
    /// <param name="e">What was thrown. Its message stays out: it may quote anything.</param>
    internal static FedLearnException? Of(string path, Exception e) => e switch
    {
        SqliteFailure { IsLocked: true } => new InternalFailureException(Busy, path, "other jobs held the ledger for too long.", "Let them finish and try again.", e),
        SqliteFailure { Code: raw.SQLITE_FULL } => NoSpace(path, e),
        SqliteFailure { Code: raw.SQLITE_NOTADB } => NoLedger(path, "it is no SQLite file.", e),
        SqliteFailure { Code: raw.SQLITE_CORRUPT } => ChainBroken(path, "the file is damaged."),
        // Every statement is a constant, so that one which does not compile speaks of a table that was dropped or changed.
        SqliteFailure { Code: raw.SQLITE_ERROR } => ChainBroken(path, "its tables are not those of a ledger."),
        SqliteFailure { Code: raw.SQLITE_PERM or raw.SQLITE_READONLY or raw.SQLITE_CANTOPEN or raw.SQLITE_AUTH } or UnauthorizedAccessException or DirectoryNotFoundException or FileNotFoundException =>
            CannotBeOpened(path, e),
        IOException when IsReadOnly(e) => CannotBeOpened(path, e),
        IOException { HResult: 28 or unchecked((int)0x80070070) } => NoSpace(path, e),
        // SQLite says this of files beside its own that it cannot make larger.
        SqliteFailure { Code: raw.SQLITE_IOERR } when IsFull(path) => NoSpace(path, e),
        SqliteFailure or IOException => new InternalFailureException(StorageFailed, path, "the storage failed.",
            "Check the disk. What was charged stays charged; a run that was under way may be continued under its id.", e),
        _ => null,
    };

    /// <summary>Whether storage is mounted for reading alone: EROFS of Linux and of macOS, and ERROR_WRITE_PROTECT.</summary>
    internal static bool IsReadOnly(Exception e) => e is IOException { HResult: 30 or unchecked((int)0x80070013) };

    private static ConfigurationException CannotBeOpened(string path, Exception e) =>
        new(CannotOpen, path, "it is absent, or cannot be opened for reading and writing.", "Check the path, that its folder exists, and the permissions of both.", e);

    private static bool IsFull(string path)
    {
        try
        {
            return new DriveInfo(Path.GetDirectoryName(Path.GetFullPath(path))!).AvailableFreeSpace < LeastRoom;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return false;
        }
    }

    private static InternalFailureException NoSpace(string path, Exception e) => new(DiskFull, path, "the disk is full.", "Make room and try again; what was charged stays charged.", e);
}
