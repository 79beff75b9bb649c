using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The sizes on which the cost of a job rests. All are public: counts of rows and columns.</summary>
public sealed record GlmCostSizes
{
    /// <summary>Common training rows.</summary>
    /// <value>At least 1.</value>
    public required int TrainRows { get; init; }

    /// <summary>Common test rows.</summary>
    /// <value>At least 0. Default 0.</value>
    public int TestRows { get; init; }

    /// <summary>Feature columns of each party in the order of the job, encoded, without the constant and the intercept.</summary>
    /// <value>One number of at least 0 for each party.</value>
    public required IReadOnlyList<int> Columns { get; init; }

    /// <summary>Rows of each party's table in the order of the job.</summary>
    /// <value>Null, the default: the common rows at every party.</value>
    public IReadOnlyList<int>? TableRows { get; init; }
}

/// <summary>What a party sends in a part of a job.</summary>
/// <param name="Messages">Messages, to all receivers together.</param>
/// <param name="PayloadBytes">Packed numbers without framing: what a channel in memory counts as sent.</param>
/// <param name="MessageBytes">The same as gRPC messages, protocol buffer and prefix included: what a channel over gRPC counts as sent.</param>
/// <param name="FrameBytes">The same in HTTP/2 frames of 16 KiB at most; TCP, IP and TLS not counted.</param>
public readonly record struct GlmTrafficCount(long Messages, long PayloadBytes, long MessageBytes, long FrameBytes)
{
    /// <summary>Both together.</summary>
    /// <param name="a">One part.</param>
    /// <param name="b">Another.</param>
    public static GlmTrafficCount operator +(GlmTrafficCount a, GlmTrafficCount b) =>
        new(a.Messages + b.Messages, a.PayloadBytes + b.PayloadBytes, a.MessageBytes + b.MessageBytes, a.FrameBytes + b.FrameBytes);

    /// <summary>So many times as much.</summary>
    /// <param name="times">How often, at least 0.</param>
    /// <param name="a">A part.</param>
    public static GlmTrafficCount operator *(long times, GlmTrafficCount a) => new(times * a.Messages, times * a.PayloadBytes, times * a.MessageBytes, times * a.FrameBytes);

    /// <inheritdoc cref="op_Addition"/>
    public static GlmTrafficCount Add(GlmTrafficCount a, GlmTrafficCount b) => a + b;

    /// <inheritdoc cref="op_Multiply"/>
    public static GlmTrafficCount Multiply(long times, GlmTrafficCount a) => times * a;
}

/// <summary>What one party sends in a job.</summary>
/// <param name="Party">Name and role.</param>
/// <param name="Preparation">Before round 0: alignment, agreement on rows. The one message more that ends a session is never counted.</param>
/// <param name="Rounds">Scores, or residuals to all passive parties.</param>
/// <param name="Evaluation">Scores of the final model.</param>
public sealed record GlmPartyTraffic(PartyDescription Party, GlmTrafficCount Preparation, GlmTrafficCount Rounds, GlmTrafficCount Evaluation)
{
    /// <summary>All of it.</summary>
    public GlmTrafficCount Total => Preparation + Rounds + Evaluation;
}

/// <summary>Messages and bytes of a job, from its message formats: no estimate, but what a run counts.</summary>
/// <remarks>Exact for the modes none and hdp-vfl with SGD and without early stopping and inference, for a session that is not cut off, with alignment by hashed ids; with <see cref="AlignmentMethod.Psi"/>
/// and more than two parties the active party may have to tell the others to wait, and ids that two parties share and a third lacks are not known: neither is counted.</remarks>
public static class GlmTraffic
{
    private const int LargestFrame = 1 << 14, FrameHeader = 9, Prefix = 5, PsiChunk = 4096;

    /// <summary>Whether the number of a job's messages is known before it runs: modes none and hdp-vfl with SGD, no early stopping, no inference, classes declared.</summary>
    /// <param name="job">The job.</param>
    public static bool Covers(GlmJob job)
    {
        ArgumentNullException.ThrowIfNull(job);
        return job.Privacy.Mode is PrivacyMode.None or PrivacyMode.HdpVfl && GlmPlan.OptimizerOf(job) == GlmOptimizer.Sgd && job.Training.EarlyStopping is null && !job.Inference
            && job.Model.Family is not MultinomialFamily { Classes: null };
    }

    /// <summary>What every party of a job sends.</summary>
    /// <param name="job">A job that <see cref="Covers"/> admits.</param>
    /// <param name="sizes">Its sizes.</param>
    /// <returns>One entry for each party, in the order of the job.</returns>
    /// <exception cref="FedLearnException">The job is inconsistent, or has more batches than rows, or more rows than messages hold (FL2302).</exception>
    /// <exception cref="ArgumentException">The job is not covered, or the sizes are not one for each party.</exception>
    public static IReadOnlyList<GlmPartyTraffic> Of(GlmJob job, GlmCostSizes sizes)
    {
        var plan = GlmPlan.Create(job);
        CheckSizes(job, sizes);
        if (!Covers(job))
            throw new ArgumentException("The messages of this job are not known before it runs.", nameof(job));
        BatchLayout layout = plan.Layout(sizes.TrainRows);
        int peers = job.Parties.Count - 1;
        int[] tables = [.. sizes.TableRows ?? Enumerable.Repeat(sizes.TrainRows + sizes.TestRows, job.Parties.Count)];
        int active = job.Parties.ToList().FindIndex(p => p.Party.Role == PartyRole.Active);
        return [.. job.Parties.Select((party, i) =>
        {
            bool isActive = i == active;
            GlmTrafficCount preparation = default, rounds = default, evaluation = default;
            if (peers == 0)
                return new GlmPartyTraffic(party.Party, preparation, rounds, evaluation);
            for (int j = 0; j < tables.Length; j++)
                if (isActive && j != active)
                    preparation += Alignment(job, tables[i], tables[j], sizes.TrainRows + sizes.TestRows, true);
            preparation += isActive ? peers * Scalars(1) : Alignment(job, tables[active], tables[i], 0, false) + Scalars(3);
            int outputs = plan.Family.Outputs;
            rounds = (isActive ? peers : 1) * Rounds(plan, layout, ElementOf(plan, party, layout, sizes.Columns[i]));
            if (!isActive && plan.SendsTrainScores)
                evaluation += Vector(plan.Epochs * layout.Count, sizes.TrainRows * outputs, (plan.ElementType, 0));
            if (!isActive && sizes.TestRows > 0 && plan.SendsTestScores)
                evaluation += Vector(plan.Epochs * layout.Count, sizes.TestRows * outputs, (plan.ElementType, 0));
            return new GlmPartyTraffic(party.Party, preparation, rounds, evaluation);
        })];
    }

    /// <summary>Refuses sizes that are not those of a job.</summary>
    internal static void CheckSizes(GlmJob job, GlmCostSizes sizes)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        ArgumentOutOfRangeException.ThrowIfLessThan(sizes.TrainRows, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(sizes.TestRows);
        CheckLengths((long)sizes.TrainRows + sizes.TestRows, 0, job.Model.Family is MultinomialFamily { Classes: null } ? 1 : job.Model.Family.Outputs);
        if (sizes.Columns.Count != job.Parties.Count || (sizes.TableRows is { } rows && rows.Count != job.Parties.Count))
            throw new ArgumentException("The sizes are not one for each party.", nameof(sizes));
    }

    /// <summary>Refuses rows, or columns of a party, of which no array holds the scores or weights.</summary>
    internal static void CheckLengths(long rows, long columns, int outputs)
    {
        if (Math.Max(rows, columns + 1) * outputs > Array.MaxLength)
            throw new ConfigurationException(PrivacyErrors.InvalidLayout, "rows", string.Create(CultureInfo.InvariantCulture,
                $"training and test rows, or columns of a party, times the scores of a row, are more than {Array.MaxLength:N0}: no message holds as many."), "Give fewer rows, columns or classes.");
    }

    /// <summary>How the training messages of a party are packed: with noise in as many bits as its calibration needs.</summary>
    internal static (ElementType Type, int Bits) ElementOf(GlmPlan plan, GlmPartyOptions party, BatchLayout layout, int columns)
    {
        if (!plan.Noises(party.Party.Role))
            return (plan.ElementType, 0);
        bool free = party.Party.Role == PartyRole.Active && plan.FreeIntercept;
        return (ElementType.Lattice, GaussianMechanism.BitsOf(plan.Calibrate(party, layout, columns + (plan.Constant ? 1 : 0) + (free ? 1 : 0)).MessageNoise, plan.Job.Training.LatticeBits));
    }

    /// <summary>A message with a vector of a round.</summary>
    internal static GlmTrafficCount Vector(int round, int length, (ElementType Type, int Bits) element)
    {
        long packed = element.Type switch
        {
            ElementType.Lattice => LatticeVector.BytesOf(length, element.Bits),
            ElementType.Float32 => (long)length * sizeof(float),
            _ => (long)length * sizeof(double),
        };
        long body = Field(packed) + (element.Type == ElementType.Float64 ? 0 : 2)
            + (element.Type == ElementType.Lattice ? 1 + sizeof(double) + 1 + Varint(element.Bits) + (length > 0 ? 1 + Varint(length) : 0) : 0);
        return Message(round, packed, 1 + Varint(body) + body);
    }

    /// <summary>All rounds of one sender to one receiver. A round is told apart by its batch's size and the bytes of its number alone.</summary>
    private static GlmTrafficCount Rounds(GlmPlan plan, BatchLayout layout, (ElementType Type, int Bits) element)
    {
        long all = (long)plan.Epochs * layout.Count, larger = layout.Rows % layout.Count;
        int outputs = plan.Family.Outputs;
        GlmTrafficCount sum = default;
        long first = 0;
        foreach (long end in (long[])[1, 1L << 7, 1L << 14, 1L << 21, 1L << 28, 1L << 35])
        {
            long last = Math.Min(end, all);
            if (last <= first)
                break;
            long large = Larger(last) - Larger(first);
            if (large > 0)
                sum += large * Vector((int)first, layout.LargestSize * outputs, element);
            if (last - first > large)
                sum += (last - first - large) * Vector((int)first, layout.SmallestSize * outputs, element);
            first = last;
        }

        return sum;

        // Rounds before one whose batch has a row more than the smallest.
        long Larger(long rounds) => rounds / layout.Count * larger + Math.Min(rounds % layout.Count, larger);
    }

    private static GlmTrafficCount Alignment(GlmJob job, long active, long passive, long common, bool fromActive)
    {
        if (job.Alignment != AlignmentMethod.Psi)
            return fromActive ? Message(0, passive, BytesField(1, passive)) : Message(0, passive * HashedIds.DigestBytes, BytesField(1, passive * HashedIds.DigestBytes));
        (long own, long theirs) = fromActive ? (active, passive) : (passive, active);
        long tag = Math.Min(32, (40 + Log2(active) + Log2(passive) + 7) / 8);
        GlmTrafficCount sum = Step(84, 0) + Step(32, 2) + Step(32, 2);
        foreach (long chunk in Chunks(own))
            sum += Message(0, chunk * 32, BytesField(2, chunk * 32));
        foreach (long chunk in Chunks(theirs))
        {
            long items = job.AlignmentProof ? 32 : tag, body = Field(chunk * items) + 1 + Varint(chunk);
            sum += Message(0, chunk * items, 2 + Varint(body) + body);
            if (job.AlignmentProof)
                sum += Step(64, 2);
        }

        return sum + (fromActive && job.Parties.Count > 2 ? Message(0, common, BytesField(1, common)) : default);

        // Steps but the first carry their number.
        static GlmTrafficCount Step(long bytes, long kind) => Message(0, bytes, 2 + Varint(Field(bytes) + kind) + Field(bytes) + kind);
        static long Log2(long count) => (long)Math.Ceiling(Math.Log2(Math.Max(1, count)));
        static IEnumerable<long> Chunks(long count)
        {
            for (; count > 0; count -= PsiChunk)
                yield return Math.Min(count, PsiChunk);
        }
    }

    private static GlmTrafficCount Scalars(int length)
    {
        long packed = (long)length * sizeof(double), body = 2 + Field(packed);
        return Message(0, packed, 1 + Varint(body) + body);
    }

    private static GlmTrafficCount Message(int round, long packed, long body)
    {
        long message = Prefix + (round > 0 ? 1 + Varint(round) : 0) + body;
        return new(1, packed, message, message + FrameHeader * ((message + LargestFrame - 1) / LargestFrame));
    }

    /// <summary>A bytes field with a tag of one byte; absent when empty.</summary>
    private static long Field(long bytes) => bytes == 0 ? 0 : BytesField(1, bytes);

    private static long BytesField(int tag, long bytes) => tag + Varint(bytes) + bytes;

    private static int Varint(long value)
    {
        int bytes = 1;
        for (; value >= 1 << 7; value >>= 7)
            bytes++;
        return bytes;
    }
}
