using System.Numerics.Tensors;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests.Attacks;

/// <summary>What a view reads from the gradients that the active party returns: which item a sample is about. Every figure is an observation of one attack on one data set, not the
/// guarantee: mu = 2, which is what epsilon 10 allows, guarantees top-10 below .30 only.</summary>
public class GradientAttackTests
{
    private const int Top = 10, Step = 11;

    private static readonly string[] Views = ["profile", "taste", "history"];

    /// <summary>(c) Plain protocol, no epsilon. The attacker is a view that knows the item vectors, or the fused user vector as well (the other views tell it theirs), and reads one
    /// gradient of a sample, of the last of two epochs; no popularity enters. Chance is .006.</summary>
    [Fact]
    public async Task PlainGradient_PointsAwayFromTheItem()
    {
        (double items, double fused) = await AttackAsync(Films.Job(Model(DssmFusion.Sum), 2, null, Views), from: 1);
        TestContext.Current.SendDiagnosticMessage($"(c) plain: top-10 {items:F3}, with the fused vector {fused:F3}");
        Assert.True(items > 0.2, $"top-10 {items}");
        Assert.True(fused > 0.5, $"top-10 {fused}");
    }

    /// <summary>(c) Unit sample, claim own messages, total epsilon 10 at delta 1e-5 over five epochs, C = 1. The attacker averages all five messages of the sample and those of
    /// all views, and knows the item vectors, or the fused vectors as well. Test noise of one seed: the figure repeats.</summary>
    /// <param name="fusion">Sum: all views get the same bytes. Late: each gets its own, clipped together.</param>
    [Theory]
    [InlineData(DssmFusion.Sum)]
    [InlineData(DssmFusion.Late)]
    public async Task NoisyGradients_AveragedOverASample_DoNotTellTheItem(DssmFusion fusion)
    {
        var privacy = new DssmPrivacyOptions
        {
            Noise = DssmNoise.Gradients,
            Claim = EmbeddingClaim.OwnMessages,
            Unit = EmbeddingUnit.Sample,
            Budget = new PrivacyBudget(10, 1e-5),
            Clip = 1,
            Evaluation = EvaluationDisclosure.None,
            TestNoiseSeed = 1,
        };
        (double items, double fused) = await AttackAsync(Films.Job(Model(fusion), 5, privacy, Views), from: 0);
        TestContext.Current.SendDiagnosticMessage($"(c) {fusion}, epsilon 10 a sample: top-10 {items:F3}, with the fused vectors {fused:F3}");
        Assert.True(items < 0.03, $"top-10 {items}");
        Assert.True(fused < 0.03, $"top-10 {fused}");
    }

    private static DssmModelOptions Model(DssmFusion fusion) => new() { Fusion = fusion, Layers = [64, 32] };

    // Averages the gradients of each sample from an epoch on, over messages and views, and ranks all items for every eleventh sample.
    private static async Task<(double Items, double Fused)> AttackAsync(DssmJob job, int from)
    {
        Films films = Films.Require();
        ViewTable[] tables = [films.Profile, films.Taste, films.History];
        DssmPartyInput[] inputs = [films.Label, .. Views.Select((name, v) => new DssmPartyInput { Party = name, View = tables[v] })];
        (RecordedRun run, IReadOnlyList<DssmPartyResult> results) = await RecordedRun.TrainAsync(job, inputs, typeof(EmbeddingGradients), typeof(Embeddings));
        IReadOnlyList<Interaction> samples = films.Samples(job);
        int width = job.Model.Layers[^1], count = samples.Count;
        double[][] gradients = [.. Views.Select(_ => new double[count * width])], vectors = [.. Views.Select(_ => new double[count * width])];
        for (int v = 0; v < Views.Length; v++)
        {
            ILookup<int, SentMessage> returned = run.Of("label", Views[v], typeof(EmbeddingGradients)).ToLookup(m => m.Round), sent = run.Of(Views[v], "label", typeof(Embeddings)).ToLookup(m => m.Round);
            foreach ((int sample, int epoch, int round, int place) in Films.Places(job, count))
            {
                if (epoch < from)
                    continue;
                Add(returned[round].Single().Payload, gradients[v]);
                Add(sent[round].Single().Payload, vectors[v]);

                void Add(Payload payload, double[] sums) =>
                    TensorPrimitives.Add(sums.AsSpan(sample * width, width), ((VectorPayload)payload).Values.Span.Slice(place * width, width), sums.AsSpan(sample * width, width));
            }
        }

        using ITower tower = new LibTorchTowers().Restore(results[0].Model.Items!.Spec, results[0].Model.Items!.State);
        double[] items = new double[films.Items.Ids.Count * width];
        tower.Forward(films.Items.Content, [.. Enumerable.Range(0, films.Items.Ids.Count)], items, training: false);
        items = Attack.Unit(items, width);
        if (job.Model.Fusion == DssmFusion.Sum)
        {
            // One fused vector, and one gradient that every view got.
            vectors = [Sum(vectors)];
            gradients = [Sum(gradients)];
        }

        double alone = 0, knowing = 0, tried = 0;
        double[] scores = new double[films.Items.Ids.Count], sharper = new double[scores.Length];
        for (int i = 0; i < count; i += Step, tried++)
        {
            Array.Clear(scores);
            Array.Clear(sharper);
            for (int v = 0; v < gradients.Length; v++)
            {
                ReadOnlySpan<double> g = gradients[v].AsSpan(i * width, width), y = vectors[v].AsSpan(i * width, width);
                double norm = TensorPrimitives.SumOfSquares(y);
                for (int item = 0; item < scores.Length; item++)
                {
                    ReadOnlySpan<double> candidate = items.AsSpan(item * width, width);
                    double along = TensorPrimitives.Dot(g, candidate), cosine = TensorPrimitives.Dot(y, candidate);
                    scores[item] -= along;
                    // The gradient lies across the user's vector: so must what it is compared with.
                    sharper[item] -= (along - (norm > 0 ? TensorPrimitives.Dot(g, y) * cosine / norm : 0)) / Math.Sqrt(Math.Max(1e-9, 1 - (norm > 0 ? cosine * cosine / norm : 0)));
                }
            }

            alone += IsInTop(scores, samples[i].Item) ? 1 : 0;
            knowing += IsInTop(sharper, samples[i].Item) ? 1 : 0;
        }

        return (alone / tried, knowing / tried);
    }

    private static double[] Sum(double[][] parts)
    {
        double[] sum = new double[parts[0].Length];
        foreach (double[] part in parts)
            TensorPrimitives.Add(sum, part, sum);
        return sum;
    }

    private static bool IsInTop(double[] scores, int item) => scores.Count(score => score >= scores[item]) <= Top;
}
