using FedLearn.Privacy;

namespace FedLearn.Tests.Shared;

/// <summary>A reservation whose messages a second mechanism finds again, as a resumed run does.</summary>
internal sealed class KeptMessages : IPrivacyReservation
{
    private readonly List<byte[]> _messages = [];

    public string RunId => "kept";

    public int Kept => _messages.Count;

    public byte[]? Find(int index) => index < _messages.Count ? _messages[index] : null;

    public void Keep(int index, ReadOnlySpan<byte> message) => _messages.Add(message.ToArray());

    public void Settle(double share) { }

    public void Dispose() { }
}
