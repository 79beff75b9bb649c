using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Text;
using FedLearn.Experiments.Tables;
using FedLearn.Privacy;
using FedLearn.Privacy.Numerics;
using MathNet.Numerics.Distributions;
using MathNet.Numerics.Random;

namespace FedLearn.Experiments.Speed;

/// <summary>Million draws a second of the noise on one thread, next to MathNet's normal distribution.</summary>
internal static class NoiseSpeedVerb
{
    public static Command Create()
    {
        Option<int> length = Verbs.Positive("--length", "Draws of a call.", 1 << 20), repeats = Verbs.Positive("--repeats", "Rounds, interleaved.", 9);
        Option<bool> quick = Ratio.Quick("3 rounds, no result file.");
        Option<DirectoryInfo> output = Verbs.Out();
        var command = new Command("noise-speed", "Draws a second on one thread: secure rounded Gaussian noise against MathNet's Normal.") { length, repeats, quick, output };
        command.SetAction(parsed => Run(parsed.GetValue(length), parsed.GetValue(quick) ? 3 : parsed.GetValue(repeats), parsed.GetValue(quick) ? null : parsed.GetValue(output)));
        return command;
    }

    private static int Run(int length, int repeats, DirectoryInfo? output)
    {
        var text = new StringBuilder();
        var draws = new int[length];
        var values = new double[length];
        var words = new ulong[512];
        var fast = new Normal(0, INoiseSource.LatticeScale, new Xoshiro256StarStar(1));
        var crypto = new Normal(0, INoiseSource.LatticeScale, new CryptoRandomSource());
        CsprngNoise noise = new(), chaCha = new(aes: false);
        long exact = 0, counted = 0;

        (string Name, int Items, Action Work)[] tasks =
        [
            ("CsprngNoise", length, () => noise.Fill(draws)),
            ("CsprngNoise without AES: ChaCha20", length, () => chaCha.Fill(draws)),
            ("MathNet Normal.Samples", length, () => Normal.Samples(values, 0, INoiseSource.LatticeScale)),
            ("MathNet Normal, Xoshiro256**", length, () => fast.Samples(values)),
            ("MathNet Normal, CryptoRandomSource", length, () => crypto.Samples(values)),
            ("words of AES-128-CTR alone", length, () =>
            {
                KeyStream bits = Stream();
                for (int at = 0; at < length; at += words.Length)
                    bits.Leading((ulong)at, words);
            }),
            ("words and draws, counting integer decisions", length, () =>
            {
                KeyStream bits = Stream();
                for (int at = 0; at + words.Length <= length; at += words.Length)
                {
                    bits.Leading((ulong)counted, words);
                    exact += RoundedNormal.Transform(ref bits, (ulong)counted, words, draws.AsSpan(at), RoundedNormal.MaximumScaleBits);
                    counted += words.Length;
                }
            }),
        ];

        var rates = tasks.Select(_ => new List<double>()).ToArray();
        for (int repeat = -1; repeat < repeats; repeat++)
            for (int i = 0; i < tasks.Length; i++)
            {
                // At least .2 seconds of each, after a first round that compiles.
                long start = Stopwatch.GetTimestamp();
                int calls = 0;
                TimeSpan spent;
                for (spent = TimeSpan.Zero; spent < TimeSpan.FromSeconds(0.2); calls++, spent = Stopwatch.GetElapsedTime(start))
                    tasks[i].Work();
                if (repeat >= 0)
                    rates[i].Add((double)calls * tasks[i].Items / spent.TotalSeconds / 1e6);
            }

        string vectors = Avx512DQ.IsSupported && Vector512.IsHardwareAccelerated ? "AVX-512" : "no AVX-512";
        Print($"# Secure noise beside MathNet's normal distribution");
        Print($"");
        Print($"{Machine.Current()}. {length:N0} draws a call, one thread, .NET {Environment.Version}, {vectors}, {(KeyStream.HasAes ? "AES" : "no AES")} instructions; medians of {repeats} interleaved rounds.");
        Print($"");
        Print($"| what | million a second (min, max) |");
        Print($"|---|---|");
        double[] medians = [.. rates.Select(r => r.Order().ElementAt(r.Count / 2))];
        for (int i = 0; i < tasks.Length; i++)
            Print($"| {tasks[i].Name} | {medians[i]:0.0} ({rates[i].Min():0.0}, {rates[i].Max():0.0}) |");
        Print($"");
        Print($"CsprngNoise / MathNet Normal.Samples: {medians[0] / medians[2]:0.0}; / MathNet on a cryptographic source: {medians[0] / medians[4]:0.0}");
        Print($"AES-128-CTR: {medians[5] * 8 / 1000:0.0} GB/s");
        Print($"decided by integers: {(double)exact / counted:0.00e0} of {counted:N0} draws; certified error {RoundedNormal.MaximumError:0e0}, band {RoundedNormal.MaximumError * INoiseSource.LatticeScale:0.0e0} lattice steps");
        return Ratio.Finish("noise-speed", text.ToString(), [new Ratio("noise-speed.secure-over-mathnet", medians[0] / medians[2], 1, LargerIsBetter: true)], output);

        void Print(FormattableString line) => text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
    }

    private static KeyStream Stream() => new(new byte[KeyStream.KeyLength], new Vector128<byte>[KeyStream.ScheduleLength], KeyStream.HasAes);
}
