using System.Diagnostics;
using System.Globalization;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>Measures what computing costs on this machine, with the code that trains. Takes about two seconds and 160 MB.</summary>
public static class GlmCostMeter
{
    /// <summary>Far larger than the caches of a core, and small enough to be there everywhere.</summary>
    private const int FarBytes = 128 << 20;

    private const int Entries = 8192, Passes = 41, FarTimes = 8;

    // Long enough for the compiler's last tier, which comes some tenths of a second after a method's thirtieth call.
    private static readonly TimeSpan WarmUp = TimeSpan.FromMilliseconds(300);

    /// <summary>Measures.</summary>
    /// <param name="family">Family whose residuals and losses count; null for binomial.</param>
    /// <returns>Rates of this machine; those of <see cref="GlmCostRates.Reference"/> for durable writes and messages, which the caller measures where it keeps its files and opens its channels.</returns>
    public static GlmCostRates Measure(IGlmFamily? family = null)
    {
        double[] store = new double[FarBytes / sizeof(double)];
        for (int i = 0; i < store.Length; i++)
            store[i] = 1e-3 * (i % 97);
        (double residual, double loss) = Family(family ?? GlmFamilies.Binomial);
        (double draw, double noised, double unpacked) = Noise();
        GlmKernelRates scores = Kernel(store, (rows, start, weights, vector) => rows.Scores(start, weights, vector)), gradient = Kernel(store, (rows, start, weights, vector) => rows.Gradient(start, vector, weights));
        return GlmCostRates.Reference with
        {
            Source = string.Create(CultureInfo.InvariantCulture, $"measured on this machine, {Environment.ProcessorCount} cores"),
            Cores = Environment.ProcessorCount,
            CacheBytes = CacheBytes(store),
            Scores = scores,
            Gradient = gradient,
            SecondsPerResidual = residual,
            SecondsPerLoss = loss,
            SecondsPerDraw = draw,
            SecondsPerNoisedRow = noised,
            SecondsPerUnpackedRow = unpacked,
        };
    }

    /// <summary>Seconds of an act: the median of several groups of calls, after a warm-up.</summary>
    /// <param name="act">What is measured.</param>
    /// <param name="warmUp">How long it is done before.</param>
    internal static double Seconds(Action act, TimeSpan warmUp)
    {
        const int Groups = 9;
        const double GroupSeconds = 1e-3;
        long start = Stopwatch.GetTimestamp();
        int calls = 0;
        for (; calls == 0 || Stopwatch.GetElapsedTime(start) < warmUp; calls++)
            act();
        start = Stopwatch.GetTimestamp();
        act();
        double once = Math.Max(1e-9, Stopwatch.GetElapsedTime(start).TotalSeconds);
        int group = (int)Math.Clamp(GroupSeconds / once, 1, 1e6);
        double[] times = new double[Groups];
        for (int i = 0; i < Groups; i++)
        {
            start = Stopwatch.GetTimestamp();
            for (int call = 0; call < group; call++)
                act();
            times[i] = Stopwatch.GetElapsedTime(start).TotalSeconds / group;
        }

        Array.Sort(times);
        return times[Groups / 2];
    }

    private delegate void Pass(FeatureRows rows, int start, double[] weights, double[] vector);

    // What a call, a row and a byte cost, from three shapes that are in the cache; then what a byte costs that is not.
    private static GlmKernelRates Kernel(double[] store, Pass pass)
    {
        Time(store, pass, 512, 100, near: true, WarmUp);
        Time(store, pass, 4096, 64, near: true, WarmUp);
        return new(Rates((32, 16), (6144, 8), (400, 160)), Rates((1024, 64), (24576, 8), (1000, 400)));

        GlmPassRates Rates((int Rows, int Columns) small, (int Rows, int Columns) slim, (int Rows, int Columns) wide)
        {
            double a = Near(small), b = Near(slim), c = Near(wide);
            // Solves three equations call + rows R + bytes B = time. Where noise makes a solution negative it is taken as 0.
            (double n1, double m1) = (slim.Rows - small.Rows, Bytes(slim) - Bytes(small));
            (double n2, double m2) = (wide.Rows - small.Rows, Bytes(wide) - Bytes(small));
            double determinant = n1 * m2 - n2 * m1, row = Math.Max(0, ((b - a) * m2 - (c - a) * m1) / determinant);
            double cached = Math.Max(0, (c - a - n2 * row) / m2), call = Math.Max(0, a - small.Rows * row - Bytes(small) * cached);
            // A pass as large as those over full batches are.
            (int Rows, int Columns) large = (FarTimes * wide.Rows, wide.Columns);
            double far = Time(store, pass, large.Rows, large.Columns, near: false, TimeSpan.Zero);
            return new(call, row, cached, Math.Max(cached, (far - call - large.Rows * row) / Bytes(large)));
        }

        double Near((int Rows, int Columns) shape) => Time(store, pass, shape.Rows, shape.Columns, near: true, TimeSpan.FromMilliseconds(5));
        static double Bytes((int Rows, int Columns) shape) => (double)sizeof(double) * shape.Rows * shape.Columns;
    }

    private static double Time(double[] store, Pass pass, int rows, int columns, bool near, TimeSpan warmUp)
    {
        int batches = near ? 1 : store.Length / columns / rows, batch = 0;
        FeatureRows features = new DenseRows(new DenseMatrix(batches * rows, columns, batches * rows * columns == store.Length ? store : store[..(batches * rows * columns)]));
        double[] weights = new double[columns], vector = new double[rows];
        Array.Fill(weights, 1e-3);
        Array.Fill(vector, 1e-3);
        void Next()
        {
            pass(features, batch * rows, weights, vector);
            batch = (batch + 1) % batches;
        }

        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < warmUp;)
            Next();
        // In a round every pass comes after a wait for another party: its threads have gone to sleep, as they do here.
        double[] times = new double[Passes];
        for (int i = 0; i < times.Length; i++)
        {
            Thread.Sleep(1);
            long start = Stopwatch.GetTimestamp();
            Next();
            times[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        Array.Sort(times);
        return times[Passes / 2];
    }

    private static (double Residual, double Loss) Family(IGlmFamily family)
    {
        double[] scores = new double[Entries * family.Outputs], residuals = new double[scores.Length], labels = new double[Entries];
        for (int i = 0; i < scores.Length; i++)
            scores[i] = Math.Sin(i);
        Array.Fill(labels, 1);
        return (Seconds(() =>
        {
            family.Residuals(scores, labels, residuals);
            VectorKernels.Clip(residuals, 1);
            VectorKernels.AllFinite(residuals);
        }, WarmUp / 2) / scores.Length, Seconds(() => family.LossSum(scores, labels), WarmUp / 2) / scores.Length);
    }

    private static (double Draw, double Noised, double Unpacked) Noise()
    {
        int[] drawn = new int[Entries];
        var noise = new CsprngNoise();
        double draw = Seconds(() => noise.Fill(drawn), WarmUp) / Entries;
        // A mechanism for this measurement alone: it draws its noise as part of the messages, and charges nothing.
        const int Messages = 1 << 20;
        using IPrivacyReservation reservation = new Nowhere();
        var mechanism = new GaussianMechanism(new NoiseCalibration(1, 1, Messages, 1), new CsprngNoise(), reservation);
        var scores = new Scores(new double[Entries]);
        Released<Scores>? last = null;
        double released = Seconds(() => last = mechanism.Release(scores, "measurement"), WarmUp) / Entries;
        LatticeVector lattice = last!.Payload.Lattice!;
        double unpacked = Seconds(() => lattice.Values(), WarmUp / 2) / Entries;
        return (draw, Math.Max(0, released - draw), unpacked);
    }

    /// <summary>Bytes that passes find in a cache when they come again: up to there they take less than halfway between the least and the most time a byte. Virtual processors share their last cache with
    /// others, so no table of sizes tells it.</summary>
    private static double CacheBytes(double[] store)
    {
        const int Columns = 128, BatchRows = 512, BatchBytes = BatchRows * Columns * sizeof(double);
        var rows = new DenseRows(new DenseMatrix(store.Length / Columns, Columns, store));
        double[] weights = new double[Columns], scores = new double[BatchRows];
        var sizes = new List<(double Bytes, double SecondsPerByte)>();
        for (int batches = 1; batches * BatchBytes <= FarBytes; batches *= 2)
        {
            double seconds = Seconds(() =>
            {
                for (int batch = 0; batch < batches; batch++)
                    rows.Scores(batch * BatchRows, weights, scores);
            }, TimeSpan.Zero);
            sizes.Add((batches * (double)BatchBytes, seconds / batches / BatchBytes));
        }

        double halfway = (sizes.Min(s => s.SecondsPerByte) + sizes[^1].SecondsPerByte) / 2;
        int last = sizes.FindLastIndex(s => s.SecondsPerByte <= halfway);
        (double near, double far) = (sizes[last].SecondsPerByte, last + 1 < sizes.Count ? sizes[last + 1].SecondsPerByte : halfway);
        double crossing = sizes[last].Bytes * (1 + (far > near ? (halfway - near) / (far - near) : 0));
        // As GlmCostRound has it: a pass over half as much again as the cache holds finds half of its bytes there.
        return crossing / 1.5;
    }

    /// <summary>A reservation that keeps nothing.</summary>
    private sealed class Nowhere : IPrivacyReservation
    {
        public string RunId => "";

        public int Kept { get; private set; }

        public byte[]? Find(int index) => null;

        public void Keep(int index, ReadOnlySpan<byte> message) => Kept = index + 1;

        public void Settle(double share) { }

        public void Dispose() { }
    }
}
