using System.Globalization;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Parties;

/// <summary>Refuses messages that a party's channels do not take, before anything is charged or trained: met after the last round, they would take the finished model with them.</summary>
internal static class MessageRoom
{
    /// <summary>What an envelope adds at most to its packed numbers.</summary>
    public const int Envelope = 64;

    private const long Largest = 1 << 30;

    /// <summary>Refuses a message that a channel does not take.</summary>
    /// <param name="what">The message.</param>
    /// <param name="packed">Bytes of its packed numbers.</param>
    /// <param name="smaller">What makes it smaller.</param>
    /// <param name="channels">The channels.</param>
    /// <exception cref="PeerException">FL4006.</exception>
    public static void Check(string what, long packed, string smaller, IReadOnlyList<IPartyChannel> channels)
    {
        long bytes = packed + Envelope;
        foreach (IPartyChannel channel in channels)
            if (bytes > channel.MaxMessageBytes)
                throw ProtocolErrors.Peer(ProtocolErrors.TooLarge, channel.RemoteParty, "before round 0",
                    string.Create(CultureInfo.InvariantCulture, $"{what}: one message of up to {bytes} bytes, over the limit of {channel.MaxMessageBytes}."),
                    bytes > Largest ? $"{Sentence(smaller)}: no transport.maxMessageBytes is above {Largest}."
                        : string.Create(CultureInfo.InvariantCulture, $"Set transport.maxMessageBytes to at least {bytes} at every party; or {smaller}."));
    }

    /// <summary>Bytes of so many numbers.</summary>
    public static long PackedBytes(long numbers, (ElementType Type, int Bits) element) => element.Type switch
    {
        ElementType.Lattice => (numbers * element.Bits + 7) / 8,
        ElementType.Float32 => numbers * sizeof(float),
        _ => numbers * sizeof(double),
    };

    private static string Sentence(string text) => char.ToUpperInvariant(text[0]) + text[1..];
}
