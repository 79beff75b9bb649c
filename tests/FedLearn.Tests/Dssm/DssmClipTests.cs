using System.Numerics.Tensors;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Testing;

namespace FedLearn.Tests.Dssm;

/// <summary>What the noise is calibrated for is how long a row can be: here the bounds are far below what training makes, and the noise, of a millionth of them, hides nothing.</summary>
public class DssmClipTests
{
    private const double Clip = 1e-3, ParameterClip = 1e-5, Tolerance = 1e-4;

    private static async Task<(IReadOnlyList<DssmPartyResult> Results, Dictionary<string, KeepingLedger> Ledgers)> TrainAsync(DssmModelOptions model, DssmNoise noise, EmbeddingClaim claim,
        EvaluationDisclosure evaluation = EvaluationDisclosure.None, bool masked = false, double clip = Clip, int batchSize = 16)
    {
        var ledgers = new Dictionary<string, KeepingLedger>();
        DssmPrivacyOptions privacy = new()
        {
            Noise = noise,
            Claim = claim,
            Unit = EmbeddingUnit.User,
            Budget = new PrivacyBudget(1e15, 1e-5),
            MaxSamplesPerUser = 7,
            Clip = clip,
            ParameterClip = ParameterClip,
            Evaluation = evaluation,
            TestNoiseSeed = 4,
        };
        DssmJob job = SmallRecommendation.Job(model with { Precision = TowerPrecision.Float64 }, new DssmTrainingOptions { Epochs = 1, BatchSize = batchSize, Seed = 5 }, privacy) with { MaskedSum = masked };
        IReadOnlyList<DssmPartyResult> results = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(ledger: party => ledgers[party] = new KeepingLedger()), new ReferenceTowerFactory(),
            cancellationToken: TestContext.Current.CancellationToken);
        return (results, ledgers);
    }

    private static double[] Numbers(byte[] packed, NoiseCalibration noise, int latticeBits)
    {
        int bits = GaussianMechanism.BitsOf(noise, latticeBits);
        return LatticeVector.Restore(noise.Sigma / (1 << latticeBits), bits, packed.Length * 8 / bits, packed)!.Values();
    }

    /// <summary>Squared norms of the rows of each message that a party released.</summary>
    private static double[][] Rows(DssmPartyResult result, KeepingLedger ledger, int latticeBits = GaussianMechanism.UsualLatticeBits) =>
        [.. ledger.Bytes.Messages.Select(m => Numbers(m, result.Privacy.Calibration!.MessageNoise, latticeBits).Chunk(4).Select(row => TensorPrimitives.SumOfSquares<double>(row)).ToArray())];

    /// <summary>The longest is as long as the bound, and none is longer.</summary>
    private static void AssertReach(double bound, IEnumerable<double> squaredNorms) => Assert.Equal(1, Math.Sqrt(squaredNorms.Max()) / bound, Tolerance);

    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages, false)]
    [InlineData(EmbeddingClaim.OwnMessages, true)]
    [InlineData(EmbeddingClaim.OneShot, false)]
    public async Task TrainAsync_VectorsBeyondTheClip_AreClippedToIt(EmbeddingClaim claim, bool masked)
    {
        (IReadOnlyList<DssmPartyResult> results, Dictionary<string, KeepingLedger> ledgers) = await TrainAsync(new(), DssmNoise.Embeddings, claim, masked: masked);
        foreach (DssmPartyResult view in results.Skip(1))
        {
            double[][] messages = Rows(view, ledgers[view.Model.Party.Name], masked ? GaussianMechanism.MostLatticeBits : GaussianMechanism.UsualLatticeBits);
            Assert.NotEmpty(messages);
            Assert.All(messages, rows => AssertReach(Clip, rows));
        }
    }

    [Theory]
    [InlineData(EmbeddingClaim.OwnMessages)]
    [InlineData(EmbeddingClaim.OneShot)]
    public async Task TrainAsync_ChargedVectorsForTheTestBeyondTheClip_AreClippedToIt(EmbeddingClaim claim)
    {
        (IReadOnlyList<DssmPartyResult> results, Dictionary<string, KeepingLedger> ledgers) = await TrainAsync(new(), DssmNoise.Embeddings, claim, EvaluationDisclosure.Charged);
        DssmPartyResult taste = results[2];
        double[][] messages = Rows(taste, ledgers["taste"]);
        // The messages of training, and after them that of the test samples.
        Assert.Equal(taste.Privacy.Calibration!.Parameters.TrainingMessages + 1, messages.Length);
        AssertReach(Clip, messages[^1]);
    }

    [Fact]
    public async Task TrainAsync_SharedGradientsBeyondTheClip_AreClippedToIt()
    {
        (IReadOnlyList<DssmPartyResult> results, Dictionary<string, KeepingLedger> ledgers) = await TrainAsync(new() { Fusion = DssmFusion.Sum }, DssmNoise.Gradients, EmbeddingClaim.OwnMessages);
        Assert.All(Rows(results[0], ledgers["shop"]), rows => AssertReach(Clip, rows));
    }

    [Theory]
    [InlineData(DssmFusion.Late)]
    [InlineData(DssmFusion.Concat)]
    public async Task TrainAsync_GradientsOfEachViewBeyondTheClip_AreClippedToItTogether(DssmFusion fusion)
    {
        (IReadOnlyList<DssmPartyResult> results, Dictionary<string, KeepingLedger> ledgers) = await TrainAsync(new() { Fusion = fusion }, DssmNoise.Gradients, EmbeddingClaim.OwnMessages);
        double[][] messages = Rows(results[0], ledgers["shop"]);
        Assert.Equal(0, messages.Length % 2);
        Assert.All(messages.Chunk(2), views => AssertReach(Clip, views[0].Zip(views[1], (a, b) => a + b)));
    }

    // With batches of one sample what a party noises of its parameters' gradients is one clipped row.
    [Theory]
    [InlineData(DssmFusion.Late, true)]
    [InlineData(DssmFusion.Concat, false)]
    [InlineData(DssmFusion.Sum, false)]
    public async Task TrainAsync_ParameterGradientsBeyondTheClip_AreClippedToItTogether(DssmFusion fusion, bool learnWeights)
    {
        (IReadOnlyList<DssmPartyResult> results, Dictionary<string, KeepingLedger> ledgers) = await TrainAsync(new() { Fusion = fusion, LearnViewWeights = learnWeights, ItemBias = true },
            DssmNoise.Both, EmbeddingClaim.Full, clip: 1, batchSize: 1);
        foreach (DssmPartyResult result in results)
        {
            IReadOnlyList<GradientNoise> groups = result.Privacy.Calibration!.GradientNoise;
            IReadOnlyList<byte[]> values = ledgers[result.Model.Party.Name].Bytes.Values;
            Assert.Equal(result.Model.Party.Name == "shop" ? 2 : 1, groups.Count);
            Assert.Equal(groups.Count * groups[0].Noise.Releases, values.Count);
            for (int g = 0; g < groups.Count; g++)
            {
                // Groups are noised in turn, and each of their coordinates is.
                double[][] sums = [.. values.Where((_, i) => i % groups.Count == g).Select(v => Numbers(v, groups[g].Noise, GaussianMechanism.MostLatticeBits))];
                Assert.All(sums, sum => Assert.Equal(groups[g].Group.Coordinates, sum.Length));
                AssertReach(ParameterClip, sums.Select(sum => TensorPrimitives.SumOfSquares<double>(sum)));
            }
        }
    }
}
