using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FedLearn.Diagnostics;

/// <summary>A step towards a file that survives a loss of power.</summary>
internal enum DurableStep
{
    /// <summary>The content of a file was made durable.</summary>
    Synced,

    /// <summary>A file got its name.</summary>
    Renamed,

    /// <summary>The names in a folder were made durable.</summary>
    FolderSynced,
}

/// <summary>Files that are replaced as a whole and survive a loss of power, and files of their owner alone.</summary>
internal static partial class DurableFile
{
    private const string ProbeName = ".fedlearn-";

    // Values of errno that are the same on Linux and on macOS.
    private const int Interrupted = 4, AccessDenied = 13, NotSupported = 22;

    // Constants of Linux, from statx(2) and inode(7).
    private const int CurrentFolder = -100, StatusBytes = 256, StatusType = 1, StatusModeAt = 28, TypeMask = 0xF000, RegularFile = 0x8000, Folder = 0x4000;

    /// <summary>Told, in the flow of whoever takes it, of each step with its file or folder once it is done; null: nobody. For tests: no file tells whether it was synced.</summary>
    public static AsyncLocal<Action<DurableStep, string>?> Watcher { get; } = new();

    /// <summary>Options of a file that nobody but its owner may read, from its first byte on. Unbuffered: no second copy of what may be secret stays in memory. On Windows the folder decides who may read.</summary>
    /// <param name="mode">How it is opened.</param>
    /// <param name="access">What for.</param>
    /// <param name="share">What others may open it for at the same time. With none the file is locked while it is open.</param>
    public static FileStreamOptions OwnerOnly(FileMode mode, FileAccess access = FileAccess.ReadWrite, FileShare share = FileShare.None)
    {
        FileStreamOptions options = Options(mode, access, share);
        // A file that must exist already keeps its mode; the runtime refuses to be given one.
        if (!OperatingSystem.IsWindows() && mode is not (FileMode.Open or FileMode.Truncate))
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        return options;
    }

    /// <summary>Makes a folder that nobody but its owner may enter, and those above it; one that is there keeps its mode. On Windows the folder above decides.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="IOException">It cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be made.</exception>
    public static void CreateFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
            return;
        }

        // One folder after the other, since the runtime gives the mode to the last one alone.
        string full = Path.GetFullPath(folder);
        if (Path.GetDirectoryName(full) is { } above && !Directory.Exists(above))
            CreateFolder(above);
        Directory.CreateDirectory(full, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Makes a file in a folder, and removes it; with it those that processes left there which were killed in between, an hour ago or earlier.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="IOException">Nothing can be written there.</exception>
    /// <exception cref="UnauthorizedAccessException">Nothing may be written there.</exception>
    public static void Touch(string folder)
    {
        File.Create(Path.Combine(folder, $"{ProbeName}{Guid.NewGuid():N}"), 1, FileOptions.DeleteOnClose).Dispose();
        try
        {
            foreach (string old in Directory.EnumerateFiles(folder, ProbeName + "*", new EnumerationOptions { AttributesToSkip = FileAttributes.Directory })
                .Where(f => f.Length - f.LastIndexOf(ProbeName, StringComparison.Ordinal) == ProbeName.Length + 32 && File.GetLastWriteTimeUtc(f) < DateTime.UtcNow.AddHours(-1)))
                Discard(old);
        }
        catch (UnauthorizedAccessException)
        {
            // The folder may be written to, but not listed.
        }
    }

    /// <summary>Replaces a file, or makes it: after a crash it holds these bytes or those before them, and once this returns these. They are written under the name with <c>.new</c> behind it first, which
    /// does not stay when that fails.</summary>
    /// <param name="path">File; its folder exists. One writer at a time.</param>
    /// <param name="bytes">What it holds, or begins with.</param>
    /// <param name="ownerOnly">Whether nobody but its owner may read it.</param>
    /// <param name="rest">What follows, where the two are not in one piece.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public static void Replace(string path, ReadOnlySpan<byte> bytes, bool ownerOnly, ReadOnlySpan<byte> rest = default)
    {
        string draft = path + ".new";
        // Outside of the try, which would delete it: a file that cannot be opened may be another writer's.
        FileStream file = new(draft, ownerOnly ? OwnerOnly(FileMode.Create, FileAccess.Write) : Options(FileMode.Create, FileAccess.Write, FileShare.None));
        try
        {
            using (file)
            {
                file.Write(bytes);
                file.Write(rest);
                Sync(file.SafeFileHandle, draft);
            }

            Rename(draft, path);
        }
        catch
        {
            Discard(draft);
            throw;
        }
    }

    /// <summary>Gives a finished file its name, as <see cref="Replace"/> does. When that fails, the file is where it was.</summary>
    /// <param name="draft">The file, closed.</param>
    /// <param name="path">Its name, in the same folder.</param>
    /// <exception cref="IOException">It cannot be made durable, or cannot be moved.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be moved there.</exception>
    public static void Publish(string draft, string path)
    {
        // The content is made durable before the name: else a loss of power could leave an empty file of that name.
        using (SafeFileHandle file = File.OpenHandle(draft, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            Sync(file, draft);
        Rename(draft, path);
    }

    /// <summary>Makes the content of a file durable.</summary>
    /// <param name="file">The file, open for writing.</param>
    /// <param name="path">Its path.</param>
    /// <exception cref="IOException">The storage failed.</exception>
    public static void Sync(SafeFileHandle file, string path)
    {
        RandomAccess.FlushToDisk(file);
        Watcher.Value?.Invoke(DurableStep.Synced, path);
    }

    /// <summary>Makes names in a folder durable. Windows has no such call; its file system journals them.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="IOException">The storage failed.</exception>
    public static void SyncFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
            return;
        int opened = Again(() => Open(folder, 0)), error = Marshal.GetLastPInvokeError();
        // A folder that may be written to and not be listed cannot be opened for this, and some file systems know no such call: the name is then as durable as they make it.
        if (opened < 0 && error == AccessDenied)
            return;
        if (opened < 0)
            throw new IOException("The folder cannot be opened.", error);
        int failed = Again(() => Sync(opened));
        error = Marshal.GetLastPInvokeError();
        _ = Close(opened);
        if (failed != 0 && error != NotSupported)
            throw new IOException("fsync failed.", error);
        Watcher.Value?.Invoke(DurableStep.FolderSynced, folder);
    }

    /// <summary>Whether a path leads, through links, to a pipe, a device or a socket: something to write into, which a rename would put a file in the place of. Known on Linux, and false elsewhere.</summary>
    /// <param name="path">The path.</param>
    public static bool IsStream(string path)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        // statx, since its struct is the same on every architecture; that of stat is not.
        Span<byte> status = stackalloc byte[StatusBytes];
        try
        {
            return Status(CurrentFolder, path, 0, StatusType, ref MemoryMarshal.GetReference(status)) == 0
                && (MemoryMarshal.Read<ushort>(status[StatusModeAt..]) & TypeMask) is not (RegularFile or Folder);
        }
        catch (EntryPointNotFoundException)
        {
            // The C library is older than the call.
            return false;
        }
    }

    private static void Rename(string draft, string path)
    {
        File.Move(draft, path, overwrite: true);
        Watcher.Value?.Invoke(DurableStep.Renamed, path);
        SyncFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <summary>Removes a file that is of no use any more, where that can be done: the error that made it useless is the one to tell.</summary>
    private static void Discard(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next writer writes over it, or it is another user's.
        }
    }

    private static FileStreamOptions Options(FileMode mode, FileAccess access, FileShare share) => new() { Mode = mode, Access = access, Share = share, BufferSize = 0 };

    private static int Again(Func<int> call)
    {
        int result;
        do
            result = call();
        while (result < 0 && Marshal.GetLastPInvokeError() == Interrupted);
        return result;
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Sync(int file);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Status(int folder, string path, int flags, uint mask, ref byte status);

    [LibraryImport("libc", EntryPoint = "close")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Close(int file);
}
