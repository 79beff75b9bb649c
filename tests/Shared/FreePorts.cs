using System.Net;
using System.Net.Sockets;

namespace FedLearn.Tests.Shared;

/// <summary>Ports for those whose files name one before they listen.</summary>
internal static class FreePorts
{
    // Below the ports that systems give to outgoing connections, which could take one that was free a moment ago. Programs of tests that run at once take
    // theirs from blocks of their own, unless their numbers are equal modulo the number of blocks; within one program none comes back soon.
    private const int First = 12_000, Blocks = 40, BlockLength = 450;

    private static uint _taken = (uint)Random.Shared.Next(BlockLength);

    /// <summary>A port that nobody listens at.</summary>
    public static int Next()
    {
        while (true)
            try
            {
                int port = First + Environment.ProcessId % Blocks * BlockLength + (int)(Interlocked.Increment(ref _taken) % BlockLength);
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
