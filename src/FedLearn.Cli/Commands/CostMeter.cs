using System.Diagnostics;
using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Commands;

/// <summary>Measures on this machine what a job's seconds are made of: computing, durable writes beside a ledger, messages over gRPC and loopback.</summary>
internal static class CostMeter
{
    /// <summary>Ratio of the upper quartile of equal epochs to the lower one, above which the machine had other work.</summary>
    private const double LargestSpread = 1.5;

    private const int SmallRows = 256, LargeRows = 1 << 17, Warm = 200, Trips = 300, LargeTrips = 24, SmallBytes = 1 << 10, LargeBytes = 1 << 19, Writes = 60;

    /// <summary>Measures.</summary>
    /// <param name="family">Family of the job.</param>
    /// <param name="ledgerFolder">Where the ledger will be; files made there are removed.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>The rates; what could not be measured, as a sentence, null when all was; and that other work was in the way, null when none was seen.</returns>
    public static async Task<(GlmCostRates Rates, string? Note, string? Disturbed)> MeasureAsync(IGlmFamily family, string ledgerFolder, CancellationToken cancellationToken)
    {
        GlmCostRates rates = GlmCostMeter.Measure(family);
        (double trip, double processor, double perByte) = await MessagesAsync(cancellationToken).ConfigureAwait(false);
        rates = rates with { SecondsPerMessage = trip, ProcessorSecondsPerMessage = processor, SecondsPerMessageByte = perByte };
        (double round, double start, string? disturbed) = await BeyondAsync(rates, null, cancellationToken).ConfigureAwait(false);
        rates = rates with { SecondsPerRound = round, SecondsOfStart = start };
        try
        {
            (double sync, double syncedByte) = Syncs(ledgerFolder);
            rates = rates with { SecondsPerSync = sync, SecondsPerSyncedByte = syncedByte };
            (double noisyRound, double noisyStart, string? disturbedToo) = await BeyondAsync(rates, ledgerFolder, cancellationToken).ConfigureAwait(false);
            return (rates with { SecondsPerNoisyRound = noisyRound, SecondsOfNoisyStart = Math.Max(0, noisyStart - start) }, null, disturbed ?? disturbedToo);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FedLearnException)
        {
            return (rates, "durable writes could not be measured in the ledger's folder: the shipped rate stands for them.", disturbed);
        }
    }

    /// <summary>What a round takes beyond its parts, or less: a short training, less what the rates so far predict. And what its first rounds take longer.</summary>
    /// <param name="rates">The rates so far.</param>
    /// <param name="ledgerFolder">Mode hdp-vfl with ledgers there; null for mode none.</param>
    /// <param name="stop">Stops.</param>
    private static async Task<(double Round, double Start, string? Disturbed)> BeyondAsync(GlmCostRates rates, string? ledgerFolder, CancellationToken stop)
    {
        (GlmJob job, double[] epochs, double start) = await CostTrial.RunAsync(ledgerFolder, stop).ConfigureAwait(false);
        double seconds = epochs[epochs.Length / 2];
        GlmCost parts = GlmCost.Predict(job, CostTrial.Sizes, rates with { SecondsPerNoisyRound = 0, SecondsOfStart = 0, SecondsOfNoisyStart = 0 }, GlmCostLink.Loopback, oneMachine: true);
        // Below 0 where a round's threads are more awake than those that the parts were measured with; but a round takes at least a quarter of what its messages take.
        double beyond = (seconds - parts.SecondsPerEpoch) * parts.Epochs / parts.Rounds, least = -1.5 * rates.SecondsPerMessage;
        return (Math.Max(least, beyond), start, Disturbed(epochs, tooFast: beyond < least));
    }

    /// <summary>Whether other work was in the way: epochs of one training that all do the same took very different times, or all of them less than their parts, measured before them, can take.</summary>
    /// <param name="epochs">Seconds of the epochs, the shortest first.</param>
    /// <param name="tooFast">Whether a round took less than its parts by more than can be.</param>
    /// <returns>That as a sentence; null where nothing speaks for it.</returns>
    internal static string? Disturbed(double[] epochs, bool tooFast) => tooFast || epochs[3 * epochs.Length / 4] > LargestSpread * epochs[epochs.Length / 4]
        ? "other work disturbed the measurement, and seconds may be far off: measure again on a machine that has nothing else to do." : null;

    /// <summary>Half a round trip between two parties of this process, its processor time, and the time of a byte.</summary>
    private static async Task<(double Seconds, double Processor, double PerByte)> MessagesAsync(CancellationToken stop)
    {
        PartyDescription[] parties = [new("active", PartyRole.Active), new("passive", PartyRole.Passive)];
        byte[] digest = SHA256.HashData("measurement"u8);
        var terms = new SessionTerms("measurement", digest, new Dictionary<string, ReadOnlyMemory<byte>>(), parties);
        JoinRequest Request(int party) => new(SessionDesk.ProtocolVersion, parties[party], terms.JobName, digest, terms.Sections, digest);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), terms, stop).ConfigureAwait(false);
        Task<GrpcSession> hosting = host.JoinAsync(Request(0), stop);
        await using GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, Request(1), cancellationToken: stop).ConfigureAwait(false);
        await using GrpcSession active = await hosting.ConfigureAwait(false);
        Task answering = Task.Run(AnswerAsync, stop);
        int round = 0;
        await TripsAsync(SmallRows, Warm).ConfigureAwait(false);
        double[] small = await TripsAsync(SmallRows, Trips, pause: true).ConfigureAwait(false);
        TimeSpan before = Environment.CpuUsage.TotalTime;
        await TripsAsync(SmallRows, Trips).ConfigureAwait(false);
        double processor = (Environment.CpuUsage.TotalTime - before).TotalSeconds / (2 * Trips);
        await TripsAsync(LargeRows, 4).ConfigureAwait(false);
        double[] large = await TripsAsync(LargeRows, LargeTrips, pause: true).ConfigureAwait(false);
        await answering.ConfigureAwait(false);
        await Task.WhenAll(active.Channels[0].CompleteAsync(stop).AsTask(), passive.Channels[0].CompleteAsync(stop).AsTask()).ConfigureAwait(false);
        double perByte = Math.Max(0, Median(large) - Median(small)) / (2 * sizeof(double) * (double)(LargeRows - SmallRows));
        return (Median(small) / 2, processor, perByte);

        async Task<double[]> TripsAsync(int rows, int count, bool pause = false)
        {
            Released<Scores> message = Disclosure.Unprotected(new Scores(new double[rows]), "measurement");
            double[] times = new double[count];
            for (int i = 0; i < count; i++, round++)
            {
                // Both sides have waited for a while when a message comes, as in a round.
                if (pause)
                    Thread.Sleep(1);
                long start = Stopwatch.GetTimestamp();
                await passive.Channels[0].SendAsync(round, message, stop).ConfigureAwait(false);
                // Memory goes back, as in a round.
                passive.Channels[0].Return(await passive.Channels[0].ReceiveAsync<Residuals>(round, rows, stop).ConfigureAwait(false));
                times[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }

            return times;
        }

        async Task AnswerAsync()
        {
            Released<Residuals> small = Disclosure.Unprotected(new Residuals(new double[SmallRows]), "measurement"), large = Disclosure.Unprotected(new Residuals(new double[LargeRows]), "measurement");
            for (int i = 0; i < Warm + 2 * Trips + 4 + LargeTrips; i++)
            {
                Scores scores = await active.Channels[0].ReceiveAsync<Scores>(i, null, stop).ConfigureAwait(false);
                Released<Residuals> answer = scores.Length == SmallRows ? small : large;
                active.Channels[0].Return(scores);
                await active.Channels[0].SendAsync(i, answer, stop).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Seconds of a small durable write and of each further byte, beside a ledger.</summary>
    private static (double Seconds, double PerByte) Syncs(string folder)
    {
        string path = Path.Combine(folder, $".fedlearn-{Guid.NewGuid():N}.ledger.db");
        try
        {
            double small = Writes(SmallBytes), large = Writes(LargeBytes);
            double perByte = Math.Max(0, large - small) / (LargeBytes - SmallBytes);
            return (Math.Max(0, small - SmallBytes * perByte), perByte);
        }
        finally
        {
            foreach (string file in Directory.GetFiles(folder, Path.GetFileName(path) + "*"))
                File.Delete(file);
        }

        double Writes(int bytes)
        {
            using IPrivacyReservation reservation = new SqliteLedger(path).Reserve(GlmWarmup.ChargeOf("measurement", CostMeter.Writes, muSquared: 0));
            byte[] message = new byte[bytes];
            reservation.Prepare(bytes, CostMeter.Writes);
            double[] times = new double[CostMeter.Writes];
            for (int i = 0; i < times.Length; i++)
            {
                // The disk has been idle for a while when a message comes, as in a round.
                Thread.Sleep(1);
                long start = Stopwatch.GetTimestamp();
                reservation.Keep(i, message);
                times[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }

            reservation.Settle(1);
            return Median(times);
        }
    }

    private static double Median(double[] times)
    {
        Array.Sort(times);
        return times[times.Length / 2];
    }
}
