using System.Net;
using System.Net.Sockets;

namespace FedLearn.Tests.Shared;

/// <summary>Ports for those whose files name one before they listen.</summary>
internal static class FreePorts
{
    // Below the ports that systems give to outgoing connections, which could take one that was free a moment ago. A program of tests takes whole blocks, locked while it runs, so that none
    // listens at the port of another's process that was killed and will come back; its own come back when all blocks are used up.
    private const int First = 12_000, Blocks = 40, BlockLength = 450;

    private static readonly Lock _lock = new();
    private static readonly List<(int Number, FileStream Held)> _blocks = [];
    private static int _block = -1, _used = BlockLength;

    /// <summary>A port that nobody listens at.</summary>
    public static int Next()
    {
        lock (_lock)
            while (true)
            {
                if (_used == BlockLength)
                {
                    Begin();
                    _used = 0;
                }

                int port = First + _blocks[_block].Number * BlockLength + _used++;
                try
                {
                    using var listener = new TcpListener(IPAddress.Loopback, port);
                    listener.Start();
                    return port;
                }
                catch (SocketException)
                {
                    // Taken.
                }
            }
    }

    /// <summary>Begins the next block: one that no program has, or the oldest of this one.</summary>
    private static void Begin()
    {
        string folder = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), "fedlearn-test-ports")).FullName;
        for (int i = 0; i < Blocks; i++)
            try
            {
                int number = (Environment.ProcessId + i) % Blocks;
                _blocks.Add((number, new FileStream(Path.Combine(folder, $"{number}.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None)));
                _block = _blocks.Count - 1;
                return;
            }
            catch (IOException)
            {
                // Another program's, or one of this one.
            }

        _block = _blocks.Count == 0 ? throw new InvalidOperationException($"Other programs hold all blocks of ports; their locks are in {folder}.") : (_block + 1) % _blocks.Count;
    }
}
