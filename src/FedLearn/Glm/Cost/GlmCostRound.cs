using FedLearn.Coordination;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The time of one SGD round, step by step as <c>GlmTrainers.Sgd</c> takes them: what waits for what, and what goes on beside it.</summary>
/// <remarks>
/// <para>Critical path: every passive party its scores, noise and sync; their messages one after the other into the active party; the active party its scores, residuals, noise and sync; the
/// messages back; every party its gradient. Steps of several parties at once take the longest of them, or, where the parties share a machine, at least their work over its cores. The active
/// party's gradient begins where its residuals are on their way, or with noise before them, and so fills time in which it would wait.</para>
/// <para>Noise is drawn ahead beside all that: it costs time only where a machine has no cores to spare.</para>
/// </remarks>
internal sealed class GlmCostRound(GlmPlan plan, BatchLayout layout, GlmCostSizes sizes, GlmCostRates rates, GlmCostLink link, bool oneMachine, bool durable)
{
    // Draws that every party makes before round 0.
    private const double DrawnBefore = 1 << 20;

    /// <summary>A step of a party: wall-clock time by itself, and processor time.</summary>
    private readonly record struct Step(GlmCostSeconds Alone, double Processor)
    {
        public static Step operator +(Step a, Step b) => new(a.Alone + b.Alone, a.Processor + b.Processor);
    }

    /// <summary>A round with a batch of so many rows.</summary>
    /// <returns>Its seconds, and the processor seconds of all parties.</returns>
    public (GlmCostSeconds Seconds, double Processor) Of(int rows)
    {
        int outputs = plan.Family.Outputs, entries = rows * outputs;
        int active = plan.Job.Parties.ToList().FindIndex(p => p.Party.Role == PartyRole.Active), peers = sizes.Columns.Count - 1;
        int[] passives = [.. Enumerable.Range(0, sizes.Columns.Count).Where(i => i != active)];
        bool noisy = plan.Noises(PartyRole.Active), noisyScores = plan.Noises(PartyRole.Passive);

        Step[] forward = [.. passives.Select(p => Pass(rates.Scores, rows, p, again: false) + Release(noisyScores, entries, p))];
        Step own = Pass(rates.Scores, rows, active, again: false) + Row(new(0, entries * rates.SecondsPerResidual, 0, 0, 0, 0));
        Step answer = peers == 0 ? default : Release(noisy, entries, active);
        Step[] back = [.. passives.Select(p => Unpack(noisy, entries) + Pass(rates.Gradient, rows, p, again: true))];
        Step gradient = Pass(rates.Gradient, rows, active, again: true) + Row(new(0, entries * rates.SecondsPerLoss, 0, 0, 0, 0));
        Step unpack = Row((double)peers * Unpack(noisyScores, entries).Alone);
        Step up = passives.Length == 0 ? default : Send(passives.Sum(p => Bytes(entries, p)), peers), down = passives.Length == 0 ? default : Send((double)peers * Bytes(entries, active), peers);

        // While its answer is on its way, the active party computes this part of its own gradient.
        double idle = down.Alone.Link + (noisy ? answer.Alone.Sync : 0), hidden = gradient.Alone.Total == 0 ? 0 : Math.Min(1, idle / gradient.Alone.Total);
        Step rest = new((1 - hidden) * gradient.Alone, (1 - hidden) * gradient.Processor);
        // The rates may say that a round takes less than its parts, since its threads are more awake than those of the measurement. It takes at least a quarter of its messages' time, and no less processor time.
        double beyond = peers == 0 ? 0 : Math.Max(rates.SecondsPerRound + (noisy ? rates.SecondsPerNoisyRound : 0), -0.75 * (up.Alone.Messages + down.Alone.Messages));
        GlmCostSeconds path = new GlmCostSeconds(0, 0, 0, 0, beyond, 0) + AtOnce(forward) + up.Alone + unpack.Alone + own.Alone + answer.Alone + down.Alone + AtOnce([.. back, rest]);

        double all = layout.Rows * (double)plan.Epochs * outputs, share = Math.Max(0, 1 - DrawnBefore / all);
        double draws = share * entries * rates.SecondsPerDraw, drawing = draws * ((noisy && peers > 0 ? 1 : 0) + (noisyScores ? peers : 0));
        double processor = forward.Concat(back).Append(own).Append(answer).Append(gradient).Append(unpack).Append(up).Append(down).Sum(s => s.Processor) + drawing + Math.Max(0, beyond);
        // Noise is drawn in time that the steps leave idle: of all cores where the parties share a machine, else of each party's own. What that does not suffice for takes longer, and is shown as noise; without noise it is the passes that the cores are short for.
        double short_ = Math.Max(0, oneMachine ? processor / rates.Cores - path.Total : drawing > 0 ? draws - path.Total : 0);
        return (drawing > 0 ? path with { Noise = path.Noise + short_ } : path with { Kernels = path.Kernels + short_ }, processor);
    }

    /// <summary>Seconds until all of several parties' steps are done that begin together.</summary>
    private GlmCostSeconds AtOnce(Step[] steps)
    {
        if (steps.Length == 0)
            return default;
        Step longest = steps.MaxBy(s => s.Alone.Total);
        double least = oneMachine ? steps.Sum(s => s.Processor) / rates.Cores : 0;
        // Time that the cores are short of is computing: it is divided as the computing of the longest step is.
        double computing = longest.Alone.Kernels + longest.Alone.Family + longest.Alone.Noise, more = least - longest.Alone.Total;
        if (more <= 0 || computing <= 0)
            return longest.Alone;
        double factor = 1 + more / computing;
        return longest.Alone with { Kernels = factor * longest.Alone.Kernels, Family = factor * longest.Alone.Family, Noise = factor * longest.Alone.Noise };
    }

    /// <summary>A pass over a batch of a party.</summary>
    /// <param name="kernel">Which pass.</param>
    /// <param name="rows">Rows of the batch.</param>
    /// <param name="party">Index of the party.</param>
    /// <param name="again">Whether it follows another pass over the same batch, and not one over the rest of the rows.</param>
    private Step Pass(GlmKernelRates kernel, int rows, int party, bool again)
    {
        int columns = Columns(party);
        // Bytes that were read since the same ones were: those of the batch, or of all rows, by everybody who shares the caches.
        double touched = (again ? rows : (double)layout.Rows) * sizeof(double) * (oneMachine ? Enumerable.Range(0, sizes.Columns.Count).Sum(Columns) : columns);
        double near = touched <= rates.CacheBytes ? 1 : touched >= 2 * rates.CacheBytes ? 0 : 2 - touched / rates.CacheBytes;
        (double seconds, bool onAll) = kernel.Of(rows, columns, near);
        double all = plan.Family.Outputs * seconds;
        return new(new(all, 0, 0, 0, 0, 0), onAll ? all * rates.Cores : all);
    }

    private int Columns(int party) => sizes.Columns[party] + (plan.Constant ? 1 : 0);

    private Step Release(bool noisy, int entries, int party)
    {
        if (!noisy)
            return default;
        double sync = durable ? rates.SecondsPerSync + Packed(entries, party) * rates.SecondsPerSyncedByte : 0, noise = entries * rates.SecondsPerNoisedRow;
        return new(new(0, 0, noise, sync, 0, 0), noise);
    }

    private Step Unpack(bool noisy, int entries) => noisy ? Row(new(0, 0, entries * rates.SecondsPerUnpackedRow, 0, 0, 0)) : default;

    // Messages to or from one party share its line. Each costs its receiver or sender processor time, and all of them together wait for the latency once.
    private Step Send(double bytes, int messages)
    {
        double processor = messages * rates.ProcessorSecondsPerMessage + bytes * rates.SecondsPerMessageByte;
        double software = rates.SecondsPerMessage + (messages - 1) * rates.ProcessorSecondsPerMessage + bytes * rates.SecondsPerMessageByte;
        // A slow line carries bytes while the machine copies the next ones, so only the longer of the two counts.
        double line = link.LatencySeconds + Math.Max(0, bytes / link.BytesPerSecond - bytes * rates.SecondsPerMessageByte);
        return new(new(0, 0, 0, 0, software, line), processor);
    }

    private double Bytes(int entries, int party) => GlmTraffic.Vector(1, entries, Element(party)).FrameBytes;

    private double Packed(int entries, int party) => GlmTraffic.Vector(1, entries, Element(party)).PayloadBytes;

    private readonly (ElementType Type, int Bits)[] _elements = [.. plan.Job.Parties.Select((p, i) => GlmTraffic.ElementOf(plan, p, layout, sizes.Columns[i]))];

    private (ElementType Type, int Bits) Element(int party) => _elements[party];

    private static Step Row(GlmCostSeconds seconds) => new(seconds, seconds.Total);
}
