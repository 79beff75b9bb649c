using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Privacy;

/// <summary>Two tables that differ in one unit go through the real clip and the real lattice, without noise: what they send, and what their parameters are given, never lies
/// farther apart than the claim says.</summary>
public class EmbeddingNeighbourTests
{
    /// <summary>No noise, so that the integers before it can be seen.</summary>
    private sealed class NoNoise : INoiseSource
    {
        public bool IsSecure => false;

        public void Fill(Span<int> destination) => destination.Clear();
    }

    /// <summary>A job of one party, its two tables, and where each row is: a row's vector and gradients may be another one at every visit, as they are when a peer chooses
    /// what comes back, but only those of the unit may differ.</summary>
    private sealed record Pair(EmbeddingParameters Parameters, EmbeddingUnit Unit, IReadOnlyList<int[]> Batches, HashSet<int> Changed)
    {
        public required Func<int, int, int, bool, double[]> Vector { get; init; }
    }

    [Fact]
    public void Mechanism_RandomNeighbours_StayWithinTheClaim()
    {
        double largest = 0;
        for (int seed = 0; seed < TestCounts.Of(10_000); seed++)
        {
            var random = new Random(seed);
            Pair pair = Next(random, worst: false);
            double share = ShareOf(pair, random);
            Assert.True(share <= 1, $"seed {seed}: {share:R} of the claim");
            largest = Math.Max(largest, share);
        }

        Assert.InRange(largest, 0.5, 1);
    }

    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages)]
    [InlineData(EmbeddingClaim.Full)]
    [InlineData(EmbeddingClaim.OneShot)]
    public void Mechanism_OppositeRows_ReachTheClaim(EmbeddingClaim claim)
    {
        for (int seed = 0; seed < TestCounts.Of(100); seed++)
        {
            var random = new Random(seed);
            Pair pair = Next(random, worst: true, claim);
            Assert.InRange(ShareOf(pair, random), 0.99, 1);
        }
    }

    [Fact]
    public void Mechanism_WithoutClip_LeavesTheClaim()
    {
        // Or the tests above could not fail.
        Pair pair = Next(new Random(3), worst: true, EmbeddingClaim.OwnMessages);
        EmbeddingParameters p = pair.Parameters;
        Assert.True(ShareOf(pair with { Parameters = p with { Clip = p.Clip / 2 } }, new Random(3), clip: p.Clip) > 1.9);
    }

    private static Pair Next(Random random, bool worst, EmbeddingClaim? only = null)
    {
        EmbeddingClaim claim = only ?? (EmbeddingClaim)random.Next(3);
        int rows = random.Next(1, 25), a = random.Next(1, Math.Min(rows, 6) + 1);
        var p = new EmbeddingParameters
        {
            Claim = claim,
            Clip = Math.Pow(10, random.NextDouble() * 4 - 2),
            Width = random.Next(1, 9),
            Epochs = claim == EmbeddingClaim.OneShot ? 1 : random.Next(1, 4),
            BatchSize = random.Next(worst ? a : 1, rows + 1),
            MessageShare = 0.2 + 0.6 * random.NextDouble(),
            IsStatic = !worst && random.Next(4) == 0,
            MaxSamplesPerUser = a,
            HistoryEvents = a - 1,
            Gradients = claim != EmbeddingClaim.Full ? []
                : [new("tower", Math.Pow(10, random.NextDouble() * 2 - 1), random.Next(1, 20)), .. random.Next(2) == 0 ? [new("items", 1, random.Next(1, 30)) { Weight = 2 }] : (GradientGroup[])[]],
        };
        p = p with { Batches = (rows + p.BatchSize - 1) / p.BatchSize };
        EmbeddingUnit unit = p.IsStatic ? EmbeddingUnit.User : a == 1 ? EmbeddingUnit.Sample : (EmbeddingUnit)random.Next(1, 3);
        int changed = p.RowsOf(unit)!.Value;
        return new(p, unit, [], [.. Enumerable.Range(0, changed)])
        {
            // All rows of the unit in one batch where that is the worst; anywhere else.
            Batches = [.. Enumerable.Range(0, p.Epochs).SelectMany(_ => Order().Chunk(p.BatchSize))],
            Vector = (_, _, width, other) => worst ? Opposite(width, other) : Any(width),
        };

        int[] Order()
        {
            int[] order = [.. Enumerable.Range(0, rows)];
            if (!worst && random.Next(2) == 0)
                random.Shuffle(order);
            return order;
        }

        // One long coordinate, so that clipping cannot turn it; of opposite sign in the other table.
        static double[] Opposite(int width, bool other)
        {
            double[] row = new double[width];
            row[0] = other ? -1e6 : 1e6;
            return row;
        }

        double[] Any(int width)
        {
            double scale = random.Next(6) switch { 0 => 1e-200, 1 => 1e-3, 2 => 1e200, _ => 10 };
            return [.. Enumerable.Range(0, width).Select(_ => random.Next(5) == 0 ? 0 : scale * (2 * random.NextDouble() - 1))];
        }
    }

    /// <summary>Distance of what the two tables release, over the claim.</summary>
    private static double ShareOf(Pair pair, Random random, double? clip = null)
    {
        EmbeddingCalibration calibration = EmbeddingCalibration.Calibrate(pair.Parameters, pair.Unit, 0.5 + 4 * random.NextDouble(), 1e-5);
        EmbeddingParameters p = pair.Parameters;
        // Not clamped by the mechanism where a test leaves out the clip.
        NoiseCalibration messages = calibration.MessageNoise with { ValueBound = clip ?? p.Clip };
        GaussianMechanism[] mechanisms = [Mechanism(messages), Mechanism(messages)];
        GaussianMechanism[][] sums = [.. calibration.GradientNoise.Select(g => (GaussianMechanism[])[Mechanism(g.Noise), Mechanism(g.Noise)])];
        double squares = 0;
        for (int t = 0; t < pair.Batches.Count; t++)
        {
            int[] batch = pair.Batches[t];
            double[][] rows = Both(pair, batch, t, p.Width);
            var sent = new double[2][];
            for (int world = 0; world < 2; world++)
            {
                RowClip.Rows(rows[world], p.Width, clip ?? p.Clip);
                LatticeVector lattice = mechanisms[world].Release(new Embeddings(rows[world]), "embeddings: training").Payload.Lattice!;
                sent[world] = [.. lattice.Values().Select(v => Math.Round(v / lattice.Step))];
            }

            squares += Distance(sent);
            for (int g = 0; g < sums.Length; g++)
            {
                GradientNoise noise = calibration.GradientNoise[g];
                int width = (int)noise.Group.Coordinates;
                double[][] gradients = Both(pair, batch, t, width);
                for (int world = 0; world < 2; world++)
                {
                    double[] sum = Sum(gradients[world], width, noise.Group.Clip);
                    sums[g][world].Perturb(sum, "gradient");
                    sent[world] = [.. sum.Select(v => Math.Round(v / (noise.Noise.Sigma / INoiseSource.LatticeScale)))];
                }

                squares += Distance(sent);
            }
        }

        return Math.Sqrt(squares) / INoiseSource.LatticeScale / calibration.MuOf(pair.Unit)!.Value;
    }

    private static GaussianMechanism Mechanism(NoiseCalibration calibration) => new(calibration, new NoNoise(), NoReservation.Instance, latticeBits: GaussianMechanism.MostLatticeBits);

    /// <summary>The batch's vectors in both tables.</summary>
    private static double[][] Both(Pair pair, int[] batch, int t, int width)
    {
        double[][] rows = [new double[batch.Length * width], new double[batch.Length * width]];
        for (int i = 0; i < batch.Length; i++)
        {
            double[] one = pair.Vector(batch[i], t, width, false), other = pair.Changed.Contains(batch[i]) ? pair.Vector(batch[i], t, width, true) : one;
            one.CopyTo(rows[0], i * width);
            other.CopyTo(rows[1], i * width);
        }

        return rows;
    }

    private static double[] Sum(double[] gradients, int width, double bound)
    {
        int count = gradients.Length / width;
        double[] norms = new double[count], factors = new double[count], sum = new double[width];
        for (int i = 0; i < gradients.Length; i++)
            norms[i / width] += gradients[i] * gradients[i];
        RowClip.Factors(norms, bound, factors);
        for (int i = 0; i < gradients.Length; i++)
            sum[i % width] += factors[i / width] * gradients[i];
        return sum;
    }

    private static double Distance(double[][] sent) => sent[0].Zip(sent[1], (x, y) => (x - y) * (x - y)).Sum();
}
