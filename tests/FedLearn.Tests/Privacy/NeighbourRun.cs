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

/// <summary>One party of HDP-VFL run without noise on two neighbouring tables that receive the same messages: own code, obvious and slow.</summary>
internal sealed class NeighbourRun(HdpVflParameters p, PartySide side, Random random, Peer peer, Mutant mutant = Mutant.None)
{
    public required double[][] Rows { get; init; }

    /// <summary>The replaced row, and its two versions.</summary>
    public required int Replaced { get; init; }

    public required double[] OtherRow { get; init; }

    public double[] Labels { get; init; } = [];

    public double OtherLabel { get; init; }

    /// <summary>A pair of neighbouring tables: random rows inside the ball, some of full length, sometimes all alike.</summary>
    public static NeighbourRun Make(HdpVflParameters p, PartySide side, Random random, Peer peer, Mutant mutant = Mutant.None)
    {
        int columns = random.Next(1, 4);
        bool alike = random.Next(3) == 0;
        double[] direction = Row(1);
        var rows = new double[p.Rows][];
        for (int i = 0; i < p.Rows; i++)
            rows[i] = alike ? direction : Row(random.Next(2) == 0 ? 1 : random.NextDouble());
        int replaced = random.Next(p.Rows);
        return new(p, side, random, peer, mutant)
        {
            Rows = rows,
            Replaced = replaced,
            OtherRow = random.Next(2) == 0 ? [.. rows[replaced].Select(x => -x)] : Row(1),
            Labels = [.. rows.Select(_ => Label())],
            OtherLabel = Label(),
        };

        double[] Row(double length)
        {
            double[] row = [.. Enumerable.Range(0, columns).Select(_ => Normal(random))];
            double scale = length * p.RowNorm / Norm(row);
            return [.. row.Select(x => x * scale)];
        }

        double Label()
        {
            double target = p.TargetBound ?? 1, edge = random.Next(2) == 0 ? random.Next(2) : random.NextDouble();
            return p.Family switch
            {
                GlmFamilyKind.Gaussian => target * (2 * edge - 1),
                GlmFamilyKind.Binomial => random.Next(2),
                _ => target * edge,
            };
        }
    }

    /// <summary>Runs both tables and compares with the bounds.</summary>
    /// <returns>Realised distance of the two transcripts, and what was violated, if anything.</returns>
    public (double Distance, string? Violation) Run(double bound)
    {
        var layout = new BatchLayout(p.Rows, p.Batches);
        int batchOfReplaced = Enumerable.Range(0, p.Batches).Last(t => layout.Start(t) <= Replaced);
        (double Drift, double Message)[] limits = [.. ReferenceBounds.Steps(p, side, batchOfReplaced)];
        double[][] first = WithBias(Rows), second = [.. first];
        second[Replaced] = WithBias([OtherRow])[0];
        double[] labels = Labels, otherLabels = [.. Labels];
        if (side == PartySide.Active)
            otherLabels[Replaced] = OtherLabel;
        double[] w = Start(first[0].Length), v = [.. w];

        double total = 0;
        string? violation = null;
        int steps = p.Batches * (mutant == Mutant.ExtraEpoch ? p.Epochs + 1 : p.Epochs);
        for (int t = 0; t < steps; t++)
        {
            int start = layout.Start(t % p.Batches), b = layout.Size(t % p.Batches);
            double[] received = Receive(first, second, w, v, start, b);
            double[] message = Message(first, labels, w, start, received), other = Message(second, otherLabels, v, start, received);
            double distance = Distance(message, other), drift = Distance(w, v);
            if (t < limits.Length)
            {
                if (drift > limits[t].Drift * (1 + 1e-9) + 1e-9 * p.WeightNorm)
                    violation ??= $"drift at step {t}";
                if (distance > limits[t].Message * (1 + 1e-9) + 1e-9)
                    violation ??= $"message at step {t}";
            }

            total += distance * distance * (mutant == Mutant.FreshNoiseForEachOfTwoRecipients ? 2 : 1);
            w = Step(first, w, start, b, side == PartySide.Active ? message : received);
            v = Step(second, v, start, b, side == PartySide.Active ? other : received);
        }

        double sum = Math.Sqrt(total);
        return (sum, sum > bound * (1 + 1e-9) + 1e-9 ? "transcript" : violation);
    }

    private double[] Receive(double[][] first, double[][] second, double[] w, double[] v, int start, int b)
    {
        Peer now = peer == Peer.Mixed ? (Peer)random.Next(3) : peer;
        var received = new double[b];
        for (int i = 0; i < b; i++)
        {
            int row = start + i;
            received[i] = now switch
            {
                Peer.Random => Normal(random) * p.ResidualClip * 2,
                Peer.Extreme => (random.Next(2) * 2 - 1) * 1e3 * (1 + p.ResidualClip),
                _ when side == PartySide.Active => -(Dot(first[row], w) + Dot(second[row], v)) / 2,
                _ when row == Replaced => -p.ResidualClip * (Dot(first[row], w) - Dot(second[row], w) - Dot(first[row], v) + Dot(second[row], v) >= 0 ? 1 : -1),
                _ => 0,
            };
        }

        return received;
    }

    private double[] Message(double[][] rows, double[] labels, double[] w, int start, double[] received)
    {
        var message = new double[received.Length];
        for (int i = 0; i < message.Length; i++)
        {
            double score = Dot(rows[start + i], w);
            message[i] = side == PartySide.Passive ? score : Clip(Residual(score + received[i], labels[start + i]));
        }

        return message;
    }

    private double Residual(double theta, double label) => p.Family switch
    {
        GlmFamilyKind.Gaussian => theta - label,
        GlmFamilyKind.Binomial => 1 / (1 + Math.Exp(-theta)) - label,
        _ => Math.Exp(theta) - label,
    };

    private double[] Step(double[][] rows, double[] w, int start, int b, double[] residuals)
    {
        double divisor = mutant == Mutant.DivisorFromData ? Math.Max(1, rows.Skip(start).Take(b).Count(row => row[0] > 0)) : b;
        var next = new double[w.Length];
        for (int c = 0; c < w.Length; c++)
        {
            double gradient = 0;
            for (int i = 0; i < b; i++)
                gradient += (mutant == Mutant.NoReceiverClip ? residuals[i] : Clip(residuals[i])) * rows[start + i][c];
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

    private double[][] WithBias(double[][] rows) =>
        mutant == Mutant.BiasAfterNormalise ? [.. rows.Select(row => (double[])[.. row, p.RowNorm])] : rows;

    private double Clip(double residual) => Math.Clamp(residual, -p.ResidualClip, p.ResidualClip);

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double Norm(double[] a) => Math.Sqrt(Dot(a, a));

    private static double Distance(double[] a, double[] b) => Norm([.. a.Zip(b, (x, y) => x - y)]);

    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
