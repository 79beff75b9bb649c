using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>Public draws of device mode: the same for the same seed, device and attempt on every machine.</summary>
internal static class DeviceDraws
{
    private const int CoinStream = -1;

    /// <summary>Seed of a device's own draws.</summary>
    public static long SeedOf(long seed, string device) => unchecked((long)SplitMix64.Mix((ulong)seed ^ SplitMix64.Mix(DssmHash.Fnv1aOfChars(device))));

    /// <summary>J uniform items a sample, for one local step of one attempt.</summary>
    public static void Negatives(long deviceSeed, int attempt, int step, int items, Span<int> negatives)
    {
        var random = new PublicRandom(PublicRandom.Purpose.Negatives, deviceSeed, attempt, step);
        for (int i = 0; i < negatives.Length; i++)
            negatives[i] = random.Below(items);
    }

    /// <summary>The coin of an attempt where nothing is secret.</summary>
    public static bool Coin(long deviceSeed, int attempt, double probability) =>
        new PublicRandom(PublicRandom.Purpose.Order, deviceSeed, attempt, CoinStream).NextDouble() < probability;
}
