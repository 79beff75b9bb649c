using FedLearn.Privacy;

namespace FedLearn.Tests.Shared;

/// <summary>A reservation that keeps nothing, for tests that draw many transcripts.</summary>
internal sealed class NoReservation : IPrivacyReservation
{
    public static NoReservation Instance { get; } = new();

    public string RunId => "none";

    public int Kept => 0;

    public byte[]? Find(int index) => null;

    public void Keep(int index, ReadOnlySpan<byte> message) { }

    public void Settle(double share) { }

    public void Dispose() { }
}
