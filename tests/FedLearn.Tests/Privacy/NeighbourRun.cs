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
        double[] w = Start(first[0].X.Length), v = [.. w];

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
            w = Step(mine, w, side == PartySide.Active ? message : received);
            v = Step(others, v, side == PartySide.Active ? other : received);
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
        double[] direction = [.. mine[0].X.Select(_ => Normal(random))];
        double length = p.WeightNorm * (random.Next(2) == 0 ? 1 : random.NextDouble()) / Norm(direction);
        double[] w = [.. direction.Select(x => x * length)], received = Receive(mine, others, w, w);
        double[] message = Message(mine, w, received), other = Message(others, w, received);
        double a = Clip(side == PartySide.Active ? message[0] : received[0]), b = Clip(side == PartySide.Active ? other[0] : received[0]);
        return (Distance(message, other), Norm([.. mine[0].X.Zip(others[0].X, (x, y) => a * x - b * y)]));
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
        var received = new double[first.Length];
        for (int i = 0; i < received.Length; i++)
        {
            (TableRow a, TableRow b) = (first[i], second[i]);
            received[i] = now switch
            {
                Peer.Random => Normal(random) * p.ResidualClip * 2,
                Peer.Extreme => (random.Next(2) * 2 - 1) * 1e3 * (1 + Limit),
                _ when side == PartySide.Active => -(Dot(a.X, w) + a.Offset + Dot(b.X, v) + b.Offset) / 2,
                _ when a != b => -Limit * (Dot(a.X, w) - Dot(b.X, w) - Dot(a.X, v) + Dot(b.X, v) >= 0 ? 1 : -1),
                _ => 0,
            };
        }

        return received;
    }

    private double[] Message(TableRow[] rows, double[] w, double[] received) => [.. rows.Zip(received, (row, sent) => side == PartySide.Passive
        ? Dot(row.X, w)
        : row.Null ? 0 : row.Weight * Math.Clamp(Residual(Dot(row.X, w) + row.Offset + sent, row.Label), -p.ResidualClip, p.ResidualClip))];

    private double Residual(double theta, double label) => p.Family switch
    {
        GlmFamilyKind.Gaussian => theta - label,
        GlmFamilyKind.Binomial => 1 / (1 + Math.Exp(-theta)) - label,
        _ => Math.Exp(theta) - label,
    };

    private double[] Step(TableRow[] rows, double[] w, double[] residuals)
    {
        double divisor = mutant == Mutant.DivisorFromData ? Math.Max(1, rows.Count(row => row.X[0] > 0)) : rows.Length;
        var next = new double[w.Length];
        for (int c = 0; c < w.Length; c++)
        {
            double gradient = 0;
            for (int i = 0; i < rows.Length; i++)
                gradient += (mutant == Mutant.NoReceiverClip ? residuals[i] : Clip(residuals[i])) * rows[i].X[c];
            double penalty = p.FreeIntercept && c == w.Length - 1 ? 0 : p.L2;
            next[c] = (1 - p.StepSize * penalty) * w[c] - p.StepSize / divisor * gradient;
        }

        double norm = Norm(next);
        return norm <= p.WeightNorm ? next : [.. next.Select(x => x * p.WeightNorm / norm)];
    }

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

    private double Clip(double residual) => mutant == Mutant.UnboundedSampleWeight && side == PartySide.Active ? residual : Math.Clamp(residual, -Limit, Limit);

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double Norm(double[] a) => Math.Sqrt(Dot(a, a));

    private static double Distance(double[] a, double[] b) => Norm([.. a.Zip(b, (x, y) => x - y)]);

    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
