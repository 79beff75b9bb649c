using System.Security.Cryptography;
using FedLearn.Diagnostics;

namespace FedLearn.Storage.Sqlite;

/// <summary>The lock of a run: a file that one process has open alone. It ends with the process, however that ends.</summary>
internal sealed class RunLock : IDisposable
{
    private readonly string _path;
    private readonly FileStream _file;

    private RunLock(string path, FileStream file) => (_path, _file) = (path, file);

    /// <summary>Takes a lock; null where somebody holds it.</summary>
    public static RunLock? TryTake(string path)
    {
        while (true)
        {
            FileStream file;
            try
            {
                file = new FileStream(path, DurableFile.OwnerOnly(FileMode.OpenOrCreate));
            }
            catch (IOException e) when (Outbox.IsTaken(e))
            {
                return null;
            }

            // A file is opened first and locked then, but for Windows: in between, who held it may have deleted it, and another may have made a new one and hold that.
            if (OperatingSystem.IsWindows() || IsAt(path, file))
                return new RunLock(path, file);
            file.Dispose();
        }
    }

    /// <summary>Whether a path leads to an open file.</summary>
    /// <remarks>By a mark in its times, which are read without opening it: the lock would forbid that. In whole seconds, since some file systems keep no more of a time.</remarks>
    internal static bool IsAt(string path, FileStream file)
    {
        File.SetLastWriteTimeUtc(file.SafeFileHandle, DateTime.UnixEpoch.AddSeconds(RandomNumberGenerator.GetInt32(1 << 30, int.MaxValue)));
        return File.GetLastWriteTimeUtc(path) == File.GetLastWriteTimeUtc(file.SafeFileHandle);
    }

    /// <summary>Deletes the file; whoever waits for the lock makes another.</summary>
    public void Delete()
    {
        if (OperatingSystem.IsWindows())
            _file.Dispose();
        try
        {
            File.Delete(_path);
        }
        catch (IOException e) when (Outbox.IsTaken(e))
        {
            // Windows: another process took the lock in between, and the file is that one's.
        }
    }

    public void Dispose() => _file.Dispose();
}
