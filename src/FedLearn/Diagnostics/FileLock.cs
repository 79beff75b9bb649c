using System.Security.Cryptography;

namespace FedLearn.Diagnostics;

/// <summary>A lock: a file that one process has open alone. It ends with the process, however that ends.</summary>
internal sealed class FileLock : IDisposable
{
    private readonly string _path;
    private readonly FileStream _file;
    private bool _ended;

    private FileLock(string path, FileStream file) => (_path, _file) = (path, file);

    /// <summary>Takes a lock; null where somebody holds it.</summary>
    /// <param name="path">File; its folder exists. It is made where there is none.</param>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be opened.</exception>
    public static FileLock? TryTake(string path)
    {
        while (true)
        {
            FileStream file;
            try
            {
                file = new FileStream(path, DurableFile.OwnerOnly(FileMode.OpenOrCreate));
            }
            catch (IOException e) when (IsTaken(e))
            {
                return null;
            }

            // Except on Windows a file is opened first and then locked. In between its holder may have deleted it, and another process may have made a new one of that name and hold that.
            if (OperatingSystem.IsWindows() || IsAt(path, file))
                return new FileLock(path, file);
            file.Dispose();
        }
    }

    /// <summary>Whether a file could not be opened because its lock is taken: EAGAIN of Linux and of macOS, and a sharing violation of Windows.</summary>
    public static bool IsTaken(IOException e) => e.HResult is 11 or 35 or unchecked((int)0x80070020);

    /// <summary>Whether a path leads to an open file.</summary>
    /// <remarks>By a mark in its times, which are read without opening it: the lock would forbid that. In whole seconds, since some file systems keep no more of a time.</remarks>
    internal static bool IsAt(string path, FileStream file)
    {
        File.SetLastWriteTimeUtc(file.SafeFileHandle, DateTime.UnixEpoch.AddSeconds(RandomNumberGenerator.GetInt32(1 << 30, int.MaxValue)));
        return File.GetLastWriteTimeUtc(path) == File.GetLastWriteTimeUtc(file.SafeFileHandle);
    }

    /// <summary>Deletes the file; whoever waits for the lock makes another. Without effect once the lock has ended or was deleted: a file of that name is another's.</summary>
    public void Delete()
    {
        if (_ended)
            return;
        _ended = true;
        if (OperatingSystem.IsWindows())
            _file.Dispose();
        try
        {
            File.Delete(_path);
        }
        catch (IOException e) when (IsTaken(e))
        {
            // Windows: another process took the lock in between, and the file is that one's.
        }
    }

    public void Dispose()
    {
        _ended = true;
        _file.Dispose();
    }
}
