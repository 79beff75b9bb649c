using System.Globalization;
using System.Text;
using FedLearn.Experiments.Tables;
using FedLearn.Glm;

namespace FedLearn.Experiments.Costs;

/// <summary>The tables of verb scaling.</summary>
internal static class ScalingText
{
    public static string Document(DateTime date, Machine machine, TimeSpan took, int repeats, GlmCostRates rates, IReadOnlyList<ScalingCurve> curves, IReadOnlyList<HeldBack> held, double bar)
    {
        var text = new StringBuilder();
        void Line(FormattableString line) => text.AppendLine(line.ToString(CultureInfo.InvariantCulture));
        Line($"# What a GLM job costs, and how that grows");
        Line($"");
        Line($"{date:yyyy-MM-dd HH:mm} UTC, {machine}. {took.TotalMinutes:0.0} minutes. Binomial, SGD, float64, gRPC over loopback, a process for each party, ledger and outbox durable; seconds of the training rounds.");
        Line($"");
        Line($"## The cost model on points held back");
        Line($"");
        Line($"Medians of {held[0].Seconds.Count} runs by turns. Rates: `fedlearn privacy plan --measure`, medians of measurements before, between and after these runs; none is fitted to these runs; what a round takes beyond its parts, and the first rounds beyond later ones, come from a short training of another shape. Bar: {100 * bar:0} %.");
        Line($"");
        Line($"| point | job | measured s (min, max) | predicted s | miss | kernels, family, noise, sync, messages, line, start |");
        Line($"|---|---|---|---|---|---|");
        foreach (HeldBack h in held)
        {
            GlmCostSeconds p = h.Predicted;
            Line($"| {h.Name}: {h.Reason} | {Job(h.Shape)} | {h.Median:0.0000} ({h.Seconds.Min():0.0000}, {h.Seconds.Max():0.0000}) | {p.Total:0.0000} | {100 * h.Miss:+0.0;-0.0} % | {p.Kernels:0.000}, {p.Family:0.000}, {p.Noise:0.000}, {p.Sync:0.000}, {p.Messages:0.000}, {p.Link:0.000}, {p.Start:0.000} |");
        }

        Line($"");
        Line($"| rate | |");
        Line($"|---|---|");
        foreach ((string name, GlmKernelRates kernel) in (ReadOnlySpan<(string, GlmKernelRates)>)[("scores", rates.Scores), ("gradient", rates.Gradient)])
            foreach ((string threads, GlmPassRates pass) in (ReadOnlySpan<(string, GlmPassRates)>)[("one thread", kernel.One), ("all cores", kernel.All)])
                Line($"| {name}, {threads} | {1e6 * pass.SecondsPerCall:0.00} us a call, {1e9 * pass.SecondsPerRow:0.00} ns a row, {Speed(pass.CachedSecondsPerByte)} from cache, {Speed(pass.SecondsPerByte)} from memory |");
        Line($"| family | {1e9 * rates.SecondsPerResidual:0.00} ns a residual, {1e9 * rates.SecondsPerLoss:0.00} ns a loss |");
        Line($"| noise | {1e9 * rates.SecondsPerDraw:0.00} ns a draw, {1e9 * rates.SecondsPerNoisedRow:0.00} to add and pack, {1e9 * rates.SecondsPerUnpackedRow:0.00} to unpack |");
        Line($"| sync | {1e6 * rates.SecondsPerSync:0.0} us, {1e-9 / rates.SecondsPerSyncedByte:0.00} GB/s |");
        Line($"| message | {1e6 * rates.SecondsPerMessage:0.0} us one way, {1e6 * rates.ProcessorSecondsPerMessage:0.0} us of processor, {1e-9 / rates.SecondsPerMessageByte:0.00} GB/s |");
        Line($"| a round beyond its parts | {1e6 * rates.SecondsPerRound:0.0} us, in hdp-vfl {1e6 * rates.SecondsPerNoisyRound:0.0} us more |");
        Line($"| the first rounds beyond later ones | {1e3 * rates.SecondsOfStart:0.0} ms, in hdp-vfl {1e3 * rates.SecondsOfNoisyStart:0.0} ms more |");
        if (curves.Count == 0)
            return text.ToString();

        Line($"");
        Line($"## Exponents");
        Line($"");
        Line($"y = c x^k by least squares of logarithms, k ± standard error; figures of an epoch, against epochs those of the whole job. All are sums over the parties but seconds. A curve that is no power law has a large error: a fixed part bends it.");
        Line($"");
        Line($"| against | mode | seconds | bytes | messages | processor seconds |");
        Line($"|---|---|---|---|---|---|");
        foreach (ScalingCurve c in curves)
            Line($"| {c.Axis} {c.Points[0].X:0} .. {c.Points[^1].X:0} | {c.Mode} | {Exponent(c, "seconds")} | {Exponent(c, "bytes")} | {Exponent(c, "messages")} | {Exponent(c, "processorSeconds")} |");
        Line($"");
        Line($"## Points");
        Line($"");
        Line($"Medians of {repeats} runs by turns; messages and bytes were as predicted to the byte at every party of every run, else the program would have stopped. Predicted seconds are no fit to these points.");
        foreach (ScalingCurve c in curves)
        {
            Line($"");
            Line($"### {c.Axis}, {c.Mode}");
            Line($"");
            Line($"| {c.Axis} | job | s (min, max) | s an epoch | predicted s | miss | processor s an epoch | messages | bytes |");
            Line($"|---|---|---|---|---|---|---|---|---|");
            foreach (ScalingPoint p in c.Points)
            {
                string measured = p.Median is { } s ? string.Create(CultureInfo.InvariantCulture, $"{s:0.0000} ({p.Seconds.Min():0.0000}, {p.Seconds.Max():0.0000}) | {s / p.Shape.Epochs:0.000000} | {p.Predicted.Total:0.0000} | {100 * (p.Predicted.Total / s - 1):+0;-0} %")
                    : "one process | - | - | -";
                string cpu = p.CpuSecondsPerEpoch is { } seconds ? seconds.ToString("0.0000", CultureInfo.InvariantCulture) : "-";
                Line($"| {p.X:0} | {Job(p.Shape)} | {measured} | {cpu} | {p.Messages} | {p.Bytes} |");
            }
        }

        return text.ToString();
    }

    private static string Exponent(ScalingCurve curve, string figure) => curve.Fits.TryGetValue(figure, out PowerLaw? fit)
        ? string.Create(CultureInfo.InvariantCulture, $"{fit.Exponent:0.00}") + (fit.StandardError is { } error ? string.Create(CultureInfo.InvariantCulture, $" ± {error:0.00}") : "") : "-";

    private static string Speed(double secondsPerByte) => secondsPerByte > 0 ? string.Create(CultureInfo.InvariantCulture, $"{1e-9 / secondsPerByte:0.0} GB/s") : "no limit seen";

    private static string Job(ScalingShape shape) => string.Create(CultureInfo.InvariantCulture,
        $"{shape.Rows:N0} x ({(shape.Columns.Count > 4 ? $"{shape.Columns.Count} x {shape.Columns[0]}" : string.Join(" + ", shape.Columns))}), batch {(shape.Batch >= shape.Rows ? "full" : shape.Batch.ToString("N0", CultureInfo.InvariantCulture))}, {shape.Epochs} epochs, {shape.Mode}");
}
