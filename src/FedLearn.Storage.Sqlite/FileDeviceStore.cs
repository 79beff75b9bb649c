using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Storage.Sqlite;

/// <summary>A device's memory in one file, beside its ledger. Nobody but the owner may read it.</summary>
/// <remarks>The bytes are written under another name, synced and renamed, and the folder is synced, so that a crash leaves the new ones or those before them, whole. What was replaced cannot be read back
/// by name; whether a disk still holds its blocks is the disk's affair. While the store is open its lock file is held, so that no two processes act for one device.</remarks>
public sealed class FileDeviceStore : IDeviceStore, IDisposable
{
    private static readonly byte[] Magic = "FLDevic1"u8.ToArray();

    private readonly string _path;
    private readonly FileLock _held;
    private readonly Lock _gate = new();

    /// <summary>Opens the store of a device, or one that is empty yet.</summary>
    /// <param name="path">File; its folder exists.</param>
    /// <exception cref="ConfigurationException">FL2547: another process uses it.</exception>
    /// <exception cref="InternalFailureException">FL6310 to FL6312: the storage fails.</exception>
    public FileDeviceStore(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        _path = Path.GetFullPath(path);
        _held = Guard(() => FileLock.TryTake(_path + ".lock")) ?? throw new ConfigurationException(DeviceErrors.StoreInUse, _path, "another process uses the store of this device.",
            "Stop that process; a device takes part once.");
    }

    /// <inheritdoc />
    /// <exception cref="ConfigurationException">FL2546: the file is damaged.</exception>
    /// <exception cref="InternalFailureException">FL6310 to FL6312: the storage fails.</exception>
    public byte[]? Read() => Guard<byte[]?>(() =>
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(_path);
        }
        catch (FileNotFoundException)
        {
            return null;
        }

        int head = Magic.Length + SHA256.HashSizeInBytes;
        return bytes.Length >= head && bytes.AsSpan().StartsWith(Magic) && SHA256.HashData(bytes.AsSpan(head)).AsSpan().SequenceEqual(bytes.AsSpan(Magic.Length, SHA256.HashSizeInBytes))
            ? bytes[head..]
            : throw new ConfigurationException(DeviceErrors.OtherState, _path, "the file is damaged.", "Remove it: the device has then dropped out of the attempt that was under way; what it spent stays in its ledger.");
    });

    /// <inheritdoc />
    /// <exception cref="InternalFailureException">FL6310 to FL6312: the storage fails.</exception>
    public void Write(ReadOnlySpan<byte> state)
    {
        byte[] bytes = [.. Magic, .. SHA256.HashData(state), .. state];
        Guard(() =>
        {
            try
            {
                DurableFile.Replace(_path, bytes, ownerOnly: true);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(bytes);
            }

            return true;
        });
    }

    /// <summary>Ends the lock.</summary>
    public void Dispose() => _held.Dispose();

    private T Guard<T>(Func<T> action)
    {
        lock (_gate)
            return LedgerFile.Guard(_path, action);
    }
}
