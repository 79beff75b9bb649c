using System.Text.Json.Serialization;

namespace FedLearn.Glm;

/// <summary>Wall-clock seconds of one pass over a batch of rows with all cores: a call, each row, each byte of the features.</summary>
/// <param name="SecondsPerCall">Of a call, whatever its size.</param>
/// <param name="SecondsPerRow">Of a row, whatever its columns.</param>
/// <param name="CachedSecondsPerByte">Of a byte of features that was touched a moment ago.</param>
/// <param name="SecondsPerByte">Of a byte that comes from memory.</param>
public sealed record GlmPassRates(double SecondsPerCall, double SecondsPerRow, double CachedSecondsPerByte, double SecondsPerByte)
{
    /// <summary>Seconds of a pass.</summary>
    /// <param name="rows">Rows, at least 0.</param>
    /// <param name="columns">Columns, at least 0.</param>
    /// <param name="near">Share of the bytes that are in a cache, 0 to 1.</param>
    public double Of(double rows, double columns, double near) =>
        SecondsPerCall + rows * SecondsPerRow + sizeof(double) * rows * columns * (near * CachedSecondsPerByte + (1 - near) * SecondsPerByte);
}

/// <summary>Both ways a pass is computed: on one thread, and on all. A small batch takes the first.</summary>
/// <param name="One">One thread.</param>
/// <param name="All">All cores.</param>
public sealed record GlmKernelRates(GlmPassRates One, GlmPassRates All)
{
    /// <summary>Seconds of a pass, and the cores that it keeps busy.</summary>
    internal (double Seconds, bool OnAll) Of(double rows, double columns, double near)
    {
        double one = One.Of(rows, columns, near), all = All.Of(rows, columns, near);
        return one <= all ? (one, false) : (all, true);
    }
}

/// <summary>What the parts of a round cost on a machine. Each has a meaning of its own and is measured by itself, but for what a round takes beyond them.</summary>
public sealed record GlmCostRates
{
    /// <summary>Which machine, and when, as a sentence without a full stop.</summary>
    public required string Source { get; init; }

    /// <summary>Cores that a party's process uses.</summary>
    public required int Cores { get; init; }

    /// <summary>Bytes of features that stay in the caches from one pass to the next.</summary>
    public required double CacheBytes { get; init; }

    /// <summary>z = X w.</summary>
    public required GlmKernelRates Scores { get; init; }

    /// <summary>g = X' r.</summary>
    public required GlmKernelRates Gradient { get; init; }

    /// <summary>Residual and clipping of a row, on one thread. Depends on the family; measured with binomial unless the meter was told another.</summary>
    public required double SecondsPerResidual { get; init; }

    /// <summary>Loss of a row, on one thread.</summary>
    public required double SecondsPerLoss { get; init; }

    /// <summary>A draw of noise, on one thread, beside other work.</summary>
    public required double SecondsPerDraw { get; init; }

    /// <summary>Adding noise to a row and packing it, on one thread.</summary>
    public required double SecondsPerNoisedRow { get; init; }

    /// <summary>Unpacking a row of a received message with noise, on one thread.</summary>
    public required double SecondsPerUnpackedRow { get; init; }

    /// <summary>Keeping a message durably, whatever its size: one synced write.</summary>
    public required double SecondsPerSync { get; init; }

    /// <summary>Of a byte that is kept durably.</summary>
    public required double SecondsPerSyncedByte { get; init; }

    /// <summary>A small message from one process to another over gRPC and loopback: half a round trip.</summary>
    public required double SecondsPerMessage { get; init; }

    /// <summary>Of these: processor time of both ends together.</summary>
    public required double ProcessorSecondsPerMessage { get; init; }

    /// <summary>Of a byte of a message, sending and receiving together.</summary>
    public required double SecondsPerMessageByte { get; init; }

    /// <summary>What a round of two parties takes beyond its parts: threads that wake, checks, bookkeeping. Negative where it takes less, since its threads are more awake than those that the parts were
    /// measured with; of that no more than three quarters of its messages count. From a short training of a shape of its own.</summary>
    public required double SecondsPerRound { get; init; }

    /// <summary>What it takes more in mode hdp-vfl, beyond its parts.</summary>
    public required double SecondsPerNoisyRound { get; init; }

    /// <summary>What the first rounds of a job take more than as many later ones, all of them together. From the same trainings.</summary>
    public double SecondsOfStart { get; init; }

    /// <summary>What they take more in mode hdp-vfl, beyond that.</summary>
    public double SecondsOfNoisyStart { get; init; }

    /// <summary>Rates that ship with the library, for an estimate without a measurement.</summary>
    [JsonIgnore]
    public static GlmCostRates Reference { get; } = new()
    {
        Source = "that ship with the library: 2 cores of an Intel Xeon with AVX-512, 27 November 2026",
        Cores = 2,
        CacheBytes = 2 << 20,
        Scores = new(new(1.0e-6, 2.8e-9, 3.0e-11, 1.3e-10), new(6.4e-5, 0, 3.4e-11, 7.2e-11)),
        Gradient = new(new(1.0e-6, 5.1e-10, 5.5e-11, 9.8e-11), new(5.5e-5, 0, 2.6e-11, 6.3e-11)),
        SecondsPerResidual = 3.1e-9,
        SecondsPerLoss = 3.2e-9,
        SecondsPerDraw = 7.9e-9,
        SecondsPerNoisedRow = 4.3e-9,
        SecondsPerUnpackedRow = 2.5e-9,
        SecondsPerSync = 9.4e-5,
        SecondsPerSyncedByte = 1.8e-9,
        SecondsPerMessage = 1.13e-4,
        ProcessorSecondsPerMessage = 6.5e-5,
        SecondsPerMessageByte = 2.3e-9,
        SecondsPerRound = 0,
        SecondsPerNoisyRound = 4.6e-4,
    };
}

/// <summary>The line between two parties: what it adds to the machine's own part of a message.</summary>
/// <param name="LatencySeconds">One way: half of what ping shows. At least 0.</param>
/// <param name="BytesPerSecond">Of each party's own access, each way. Above 0; infinity for a line that is no limit.</param>
public sealed record GlmCostLink(double LatencySeconds, double BytesPerSecond)
{
    /// <summary>None: processes of one machine.</summary>
    public static GlmCostLink Loopback { get; } = new(0, double.PositiveInfinity);
}
