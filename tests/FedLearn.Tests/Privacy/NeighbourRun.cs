using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

/// <summary>Ways to break what the theorem rests on.</summary>
internal enum Mutant
{
    None,
    NoReceiverClip,
    ExtraEpoch,
    UnprojectedStart,
    BiasAfterNormalise,
    DivisorFromData,
    FreshNoiseForEachOfTwoRecipients,
    UnboundedOffset,
    UnboundedSampleWeight,

    /// <summary>Several scores: the receiver clips entries to U C instead of rows.</summary>
    EntriesClipped,

    /// <summary>Residuals are divided by the sum of the batch's weights over its rows, as a weighted mean would be.</summary>
    WeightsOverTheirSum,

    /// <summary>A harmless one: the soft threshold of an L1 penalty before the projection, not after it.</summary>
    ThresholdBeforeProjection,
}

/// <summary>What the peer sends; it sees both tables and chooses one message for both runs.</summary>
internal enum Peer
{
    /// <summary>Normal values of moderate size.</summary>
    Random,

    /// <summary>Values far outside every bound.</summary>
    Extreme,

    /// <summary>Passive: residuals that push the two weight vectors apart. Active: scores that put every row where its residual is steepest.</summary>
    Worst,

    /// <summary>One of the others, anew at every step.</summary>
    Mixed,
}

/// <summary>What a party holds of a row; label, offset and weight at the active party only. The residual of a null row is 0 whatever the rest says.</summary>
internal sealed record TableRow(double[] X, double Label = 0, double Offset = 0, double Weight = 1, bool Null = false);

/// <summary>One party of HDP-VFL run without noise on two neighbouring tables that receive the same messages: own code, obvious and slow.</summary>
internal sealed class NeighbourRun(HdpVflParameters p, PartySide side, Random random, Peer peer, Mutant mutant = Mutant.None)
{
    public required TableRow[] Rows { get; init; }

    /// <summary>The changed row, and its other version.</summary>
    public required int Changed { get; init; }

    public required TableRow Other { get; init; }

    /// <summary>Penalty l1 |w|_1: a soft threshold of eta l1 after the projection.</summary>
    public double L1 { get; init; }

    /// <summary>Scores of a row, M. Weights, scores and residuals are class-major.</summary>
    private readonly int _outputs = p.Outputs;

    /// <summary>A pair of neighbouring tables: random rows inside the ball, some of full length, sometimes all alike.</summary>
    public static NeighbourRun Make(HdpVflParameters p, PartySide side, Random random, Peer peer, Mutant mutant = Mutant.None)
    {
        int columns = random.Next(1, 4);
        bool alike = random.Next(3) == 0;
        double[] direction = Features(1);
        TableRow[] rows = [.. Enumerable.Range(0, p.Rows).Select(_ => Row(alike ? direction : Features(random.Next(2) == 0 ? 1 : random.NextDouble())))];
        int changed = random.Next(p.Rows);
        TableRow row = rows[changed];
        return new(p, side, random, peer, mutant)
        {
            Rows = rows,
            Changed = changed,
            L1 = random.Next(3) == 0 ? random.NextDouble() * p.WeightNorm / p.StepSize : 0,
            Other = (p.Unit, p.Adjacency) switch
            {
                (PrivacyUnit.Label, _) => row with { Label = Label() },
                (_, Adjacency.ZeroOut) => new TableRow(new double[columns], Null: true),
                _ => Row(random.Next(2) == 0 ? [.. row.X.Select(x => -x)] : Features(1)),
            },
        };

        TableRow Row(double[] x) => new(x, Label(),
            Edge() * 2 * p.OffsetBound - p.OffsetBound + (mutant == Mutant.UnboundedOffset ? 20 * random.NextDouble() * p.RowNorm * p.WeightNorm : 0),
            p.WeightBound is { } bound ? Edge() * bound * (mutant == Mutant.UnboundedSampleWeight ? 3 : 1) : 1);

        double[] Features(double length)
        {
            double[] row = [.. Enumerable.Range(0, columns).Select(_ => Normal(random))];
            double scale = length * p.RowNorm / Norm(row);
            return [.. row.Select(x => x * scale)];
        }

        double Edge() => random.Next(2) == 0 ? random.Next(2) : random.NextDouble();

        double Label() => p.Family switch
        {
            GlmFamilyKind.Gaussian => (p.TargetBound ?? 1) * (2 * Edge() - 1),
            GlmFamilyKind.Binomial => random.Next(2),
            GlmFamilyKind.Multinomial => random.Next(p.Outputs),
            GlmFamilyKind.Gamma => Math.Exp(8 * random.NextDouble() - 4),
            GlmFamilyKind.Convex => (p.TargetBound ?? 1) * (2 * Edge() - 1),
            _ => (p.TargetBound ?? 1) * Edge(),
        };
    }

    /// <summary>Runs both tables and compares with the bounds.</summary>
    /// <param name="bound">Bound on the distance of the transcripts.</param>
    /// <param name="finalDrift">Bound on the distance of the final weights.</param>
    /// <returns>Realised distance of the two transcripts, and what was violated, if anything.</returns>
    public (double Distance, string? Violation) Run(double bound, double finalDrift = double.PositiveInfinity)
    {
        var layout = new BatchLayout(p.Rows, p.Batches);
        int epochs = mutant == Mutant.ExtraEpoch ? p.Epochs + 1 : p.Epochs;
        int[][] orders = [.. Enumerable.Range(0, epochs).Select(_ => Order())];
        int BatchOf(int epoch) => Enumerable.Range(0, p.Batches).Last(t => layout.Start(t) <= Array.IndexOf(orders[epoch], Changed));
        (double Drift, double Message)[] limits = [.. ReferenceBounds.Steps(p, side, BatchOf)];
        TableRow[] first = WithBias(Rows), second = [.. first];
        second[Changed] = WithBias([Other])[0];
        double[] w = Start(first[0].X.Length * _outputs), v = [.. w];

        double total = 0;
        string? violation = null;
        for (int t = 0; t < epochs * p.Batches; t++)
        {
            int[] batch = orders[t / p.Batches].AsSpan(layout.Start(t % p.Batches), layout.Size(t % p.Batches)).ToArray();
            TableRow[] mine = [.. batch.Select(i => first[i])], others = [.. batch.Select(i => second[i])];
            double[] received = Receive(mine, others, w, v);
            double[] message = Message(mine, w, received), other = Message(others, v, received);
            double distance = Distance(message, other), drift = Distance(w, v);
            if (t < limits.Length)
            {
                if (drift > limits[t].Drift * (1 + 1e-9) + 1e-9 * p.WeightNorm)
                    violation ??= $"drift at step {t}";
                if (distance > limits[t].Message * (1 + 1e-9) + 1e-9)
                    violation ??= $"message at step {t}";
            }

            total += distance * distance * (mutant == Mutant.FreshNoiseForEachOfTwoRecipients ? 2 : 1);
            w = Step(mine, w, side == PartySide.Active ? message : Clip(received));
            v = Step(others, v, side == PartySide.Active ? other : Clip(received));
        }

        if (Distance(w, v) > finalDrift * (1 + 1e-9))
            violation ??= "final weights";
        double sum = Math.Sqrt(total);
        return (sum, sum > bound * (1 + 1e-9) + 1e-9 ? "transcript" : violation);
    }

    /// <summary>One visit of the changed row at weights that both tables have in common, as in weight noise.</summary>
    /// <returns>Realised distance of the messages, and of the sums that make the gradients.</returns>
    public (double Message, double Gradient) Visit()
    {
        TableRow[] mine = [Rows[Changed]], others = [Other];
        double[] direction = [.. Enumerable.Range(0, mine[0].X.Length * _outputs).Select(_ => Normal(random))];
        double length = p.WeightNorm * (random.Next(2) == 0 ? 1 : random.NextDouble()) / Norm(direction);
        double[] w = [.. direction.Select(x => x * length)], received = Receive(mine, others, w, w);
        double[] message = Message(mine, w, received), other = Message(others, w, received);
        double[] a = side == PartySide.Active ? message : Clip(received), b = side == PartySide.Active ? other : Clip(received);
        return (Distance(message, other), Norm([.. a.Zip(b, (r, q) => mine[0].X.Zip(others[0].X, (x, y) => r * x - q * y)).SelectMany(g => g)]));
    }

    private int[] Order()
    {
        int[] order = [.. Enumerable.Range(0, p.Rows)];
        if (p.Schedule == BatchSchedule.Reshuffled)
            random.Shuffle(order);
        return order;
    }

    private double[] Receive(TableRow[] first, TableRow[] second, double[] w, double[] v)
    {
        Peer now = peer == Peer.Mixed ? (Peer)random.Next(3) : peer;
        int b = first.Length;
        var received = new double[b * _outputs];
        for (int i = 0; i < b; i++)
        {
            (TableRow one, TableRow other) = (first[i], second[i]);
            double[] z = Scores(one, w), zToo = Scores(other, v), back = Scores(one, v), backToo = Scores(other, w);
            double[] push = [.. z.Select((_, m) => backToo[m] + back[m] - z[m] - zToo[m])];
            double length = Norm(push);
            for (int m = 0; m < _outputs; m++)
                received[m * b + i] = now switch
                {
                    Peer.Random => Normal(random) * p.ResidualClip * 2,
                    Peer.Extreme => (random.Next(2) * 2 - 1) * 1e3 * (1 + Limit),
                    _ when side == PartySide.Active => -(z[m] + one.Offset + zToo[m] + other.Offset) / 2,
                    _ when one != other => length == 0 ? (m == 0 ? -Limit : 0) : (_outputs == 1 ? Math.Sign(push[0]) : push[m] / length) * Limit,
                    _ => 0,
                };
        }

        return received;
    }

    private double[] Message(TableRow[] rows, double[] w, double[] received)
    {
        int b = rows.Length;
        var message = new double[b * _outputs];
        double divisor = mutant == Mutant.WeightsOverTheirSum ? Math.Max(1e-9, rows.Sum(row => row.Weight) / b) : 1;
        for (int i = 0; i < b; i++)
        {
            double[] z = Scores(rows[i], w);
            if (side == PartySide.Active)
            {
                double[] theta = [.. z.Select((score, m) => score + rows[i].Offset + received[m * b + i])];
                z = [.. Residual(theta, rows[i].Label).Select(r => rows[i].Null ? 0 : rows[i].Weight * (_outputs == 1 ? Math.Clamp(r, -p.ResidualClip, p.ResidualClip) : r) / divisor)];
            }

            for (int m = 0; m < _outputs; m++)
                message[m * b + i] = z[m];
        }

        return message;
    }

    private double[] Scores(TableRow row, double[] w) => [.. Enumerable.Range(0, _outputs).Select(m => row.X.Select((x, c) => x * w[m * row.X.Length + c]).Sum())];

    private double[] Residual(double[] theta, double label)
    {
        if (p.Family == GlmFamilyKind.Multinomial)
        {
            double largest = theta.Max(), sum = theta.Sum(t => Math.Exp(t - largest));
            return [.. theta.Select((t, m) => Math.Exp(t - largest) / sum - (m == (int)label ? 1 : 0))];
        }

        double z = theta[0];
        return
        [
            p.Family switch
            {
                GlmFamilyKind.Gaussian => z - label,
                GlmFamilyKind.Binomial => 1 / (1 + Math.Exp(-z)) - label,
                GlmFamilyKind.Gamma => 1 - label * Math.Exp(-z),
                GlmFamilyKind.Tweedie => Math.Exp((2 - Power) * z) - (label == 0 ? 0 : label * Math.Exp((1 - Power) * z)),
                // A steep and simple one of a user's own.
                GlmFamilyKind.Convex => p.Lipschitz!.Value * (z - label),
                _ => Math.Exp(z) - label,
            },
        ];
    }

    /// <summary>Power of the Tweedie family: a different one for different tables, since one bound must hold for all.</summary>
    private double Power { get; } = 1.02 + 0.96 * random.NextDouble();

    private double[] Step(TableRow[] rows, double[] w, double[] residuals)
    {
        double divisor = mutant == Mutant.DivisorFromData ? Math.Max(1, rows.Count(row => row.X[0] > 0)) : rows.Length;
        int b = rows.Length, d = w.Length / _outputs;
        var next = new double[w.Length];
        for (int c = 0; c < w.Length; c++)
        {
            double gradient = 0;
            for (int i = 0; i < b; i++)
                gradient += residuals[c / d * b + i] * rows[i].X[c % d];
            double penalty = p.FreeIntercept && c % d == d - 1 ? 0 : p.L2;
            next[c] = (1 - p.StepSize * penalty) * w[c] - p.StepSize / divisor * gradient;
        }

        return mutant == Mutant.ThresholdBeforeProjection ? Project(Threshold(next, d)) : Threshold(Project(next), d);
    }

    private double[] Project(double[] w)
    {
        double norm = Norm(w);
        return norm <= p.WeightNorm ? w : [.. w.Select(x => x * p.WeightNorm / norm)];
    }

    private double[] Threshold(double[] w, int d) =>
        [.. w.Select((x, c) => p.FreeIntercept && c % d == d - 1 ? x : Math.Sign(x) * Math.Max(0, Math.Abs(x) - p.StepSize * L1))];

    private double[] Start(int columns)
    {
        var w = new double[columns];
        if (mutant == Mutant.UnprojectedStart)
            w[0] = 3 * p.WeightNorm;
        return w;
    }

    private TableRow[] WithBias(TableRow[] rows) =>
        mutant == Mutant.BiasAfterNormalise ? [.. rows.Select(row => row with { X = [.. row.X, p.RowNorm] })] : rows;

    /// <summary>U C, what a receiver clips to.</summary>
    private double Limit => (p.WeightBound ?? 1) * p.ResidualClip;

    /// <summary>What a receiver makes of residuals: rows of at most U C.</summary>
    private double[] Clip(double[] residuals)
    {
        if (mutant == Mutant.NoReceiverClip)
            return residuals;
        int b = residuals.Length / _outputs;
        return [.. residuals.Select((r, at) => mutant == Mutant.EntriesClipped || _outputs == 1 ? Math.Clamp(r, -Limit, Limit)
            : r * Math.Min(1, Limit / Norm([.. Enumerable.Range(0, _outputs).Select(m => residuals[m * b + at % b])])))];
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double Norm(double[] a) => Math.Sqrt(Dot(a, a));

    private static double Distance(double[] a, double[] b) => Norm([.. a.Zip(b, (x, y) => x - y)]);

    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
