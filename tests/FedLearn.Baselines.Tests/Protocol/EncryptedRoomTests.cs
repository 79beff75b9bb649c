using System.Diagnostics;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>Sums that the scheme's integers do not hold: a wrapped one would be read as another number, so none may be opened.</summary>
public class EncryptedRoomTests
{
    private const int Rows = 300;

    private static readonly EncryptedRows Data = new(51, "gaussian", Rows, 1, 1);

    private static GlmJob Job(GlmTrainingOptions training, (double, double)? range = null) => Data.Job(training, l2: 0) is var job
        ? job with { Parties = [job.Parties[0] with { LabelRange = range }, job.Parties[1]] } : throw new UnreachableException();

    // The active party has the large residuals and the passive one the large column: neither sees a sum that is too large in what it has itself.
    private static GlmPartyInput[] Inputs(double label, double column)
    {
        string[] ids = [.. Enumerable.Range(0, Rows).Select(i => $"row{i}")];
        double[] labels = [.. ids.Select((_, i) => label - (i % 7))];
        Table active = Table.FromMatrix(ids, ["age"], new DenseMatrix(Rows, 1, [.. ids.Select((_, i) => (i % 9) / 9.0)]), labels);
        Table passive = Table.FromMatrix(ids, ["built"], new DenseMatrix(Rows, 1, [.. ids.Select((_, i) => column - (i % 5))]));
        return [new() { Party = "active", Table = active }, new() { Party = "p1", Table = passive }];
    }

    private static GlmTrainingOptions Sgd(int epochs, double step) => new() { Optimizer = GlmOptimizer.Sgd, Epochs = epochs, StepSize = step, Seed = 3 };

    // 300 rows of 1,500 times 8,000 are 3.6e9; CKKS holds sums up to 2^31 = 2.1e9.
    [Fact]
    public async Task Labels_ThatAnotherPartysColumnsMakeTooLarge_AreRefusedBeforeAnythingIsOpened()
    {
        var federation = new EncryptedFederation(Job(Sgd(2, 1e-8)), await Schemes.NamedAsync(Schemes.Ckks));
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await federation.RunAsync(Inputs(1500, 8000));
        Assert.Empty(results);
        ConfigurationException error = Assert.IsType<ConfigurationException>(errors["active"]);
        Assert.Equal((GlmJointErrors.NotEncryptable, "labels, round 0"), (error.Id, error.Place));
        // The least power of two above 8,000 is 2^13, and 2 x 300 x 2^13 x 2^8 is below 2^31.
        Assert.Contains("2^13 leave room for up to 2^8 each", error.Message, StringComparison.Ordinal);
        Assert.Contains("units", error.Remedy, StringComparison.Ordinal);
        Assert.DoesNotContain(federation.Received, m => m.Payload is MaskedAnswers);
    }

    [Theory]
    [InlineData(Schemes.Ckks, 250, 8000)]
    [InlineData(Schemes.Paillier, 1500, 8000)]
    public async Task Labels_ThatFit_GiveTheWeightsOfPlainDescent(string name, double label, double column)
    {
        GlmJob job = Job(Sgd(2, 1e-9));
        (GlmPartyResult[] results, _) = await new EncryptedFederation(job, await Schemes.NamedAsync(name)).TrainAsync(Inputs(label, column));
        IReadOnlyList<GlmPartyResult> plain = await LocalFederation.TrainAsync(job with { Privacy = new() }, Inputs(label, column));
        double[] expected = EncryptedRows.Weights([.. plain]), weights = EncryptedRows.Weights(results);
        for (int j = 0; j < expected.Length; j++)
            Assert.Equal(1, weights[j] / expected[j], 1e-6);
    }

    // Labels fit in round 0. A step far too large then makes the active party's share grow, while its own column would leave room for it.
    [Fact]
    public async Task Shares_ThatGrowBeyondTheRoomOfAllParties_EndAsDivergence()
    {
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) =
            await new EncryptedFederation(Job(Sgd(3, 100)), await Schemes.NamedAsync(Schemes.Ckks)).RunAsync(Inputs(200, 8000));
        Assert.Empty(results);
        Assert.Contains(errors.Values, e => e is InternalFailureException { Id: GlmErrors.Diverged, Place: "round 1" });
    }

    [Theory]
    [InlineData("he", 13)]
    [InlineData("he+dp", 0)]
    public async Task Sizes_OfColumns_AreToldAsPowersOfTwoAndNeverInModeHeDp(string mode, double bits)
    {
        GlmJob job = mode == "he" ? Job(Sgd(1, 1e-9)) : Noised(1, 2000);
        var federation = new EncryptedFederation(job, new ReferenceAdditiveScheme());
        (GlmPartyResult[] results, _) = await federation.TrainAsync(Inputs(100, 8000));
        Assert.Equal(bits, federation.Received.Where(m => m.To == "arbiter" && m.From == "p1" && m.Payload is Scalars).Select(m => ((Scalars)m.Payload).Values.Span[4]).Single());
        Assert.Equal(mode == "he", results[1].Sent.Any(r => r.Name.Contains("power of two", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Rounds_UnderEncryption_TellWaitingFromComputing()
    {
        (GlmPartyResult[] results, _) = await new EncryptedFederation(Job(Sgd(3, 1e-9)), new ReferenceAdditiveScheme()).TrainAsync(Inputs(100, 8000));
        Assert.All(results, r => Assert.True(r.Timing.Wait > 0 && r.Timing.Compute > 0 && r.Timing.Wait < r.Timing.Training));
        // And what exact gradients tell is said in the words of the family.
        Assert.All(results, r => Assert.DoesNotContain(r.Privacy.Warnings, w => w.Contains("binary", StringComparison.Ordinal)));
        Assert.All(results, r => Assert.Contains(r.Privacy.Warnings, w => w.Contains("only he+dp bounds", StringComparison.Ordinal)));
    }

    // 300 rows, residuals of at most k_y + 2 k: CKKS holds sums up to 2^23 with the columns' scale of he+dp.
    private static GlmJob Noised(double epsilon, double label) => Job(Sgd(1, .1), (0, label)) is var job
        ? job with
        {
            Training = job.Training with { WeightNorm = 1 },
            Model = job.Model with { Intercept = GlmIntercept.Default },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Privacy = new() { Mode = PrivacyMode.HeDp, Budget = new(epsilon, 1e-5) },
        } : throw new UnreachableException();

    private static async Task<(IReadOnlyDictionary<string, Exception> Errors, InMemoryLedger[] Ledgers)> NoisedAsync(double epsilon, double label)
    {
        await Schemes.NamedAsync(Schemes.Ckks);
        InMemoryLedger[] ledgers = [new(), new()];
        GlmPartyInput[] inputs = Inputs(label, 1);
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await new EncryptedFederation(Noised(epsilon, label), CkksScheme.OnNode(1, 34))
            .RunAsync([.. inputs.Select((input, i) => input with { Ledger = ledgers[i] })]);
        return (errors, ledgers);
    }

    [Fact]
    public async Task Noise_LabelsWithinTheProvedBound_AreNotRefusedInRound0()
    {
        // 300 x 18,002 is 5.4e6 of 8.4e6; twice the labels, as if both parties had some, would not fit.
        (IReadOnlyDictionary<string, Exception> errors, InMemoryLedger[] ledgers) = await NoisedAsync(10, 18000);
        Assert.Empty(errors);
        Assert.All(ledgers, l => Assert.Equal(ChargeState.Settled, Assert.Single(l.Entries).State));
    }

    [Theory]
    [InlineData(10, 40000)] // the sums
    [InlineData(.001, 18000)] // the noise
    public async Task Noise_WithoutRoom_IsRefusedBeforeAnythingIsCharged(double epsilon, double label)
    {
        (IReadOnlyDictionary<string, Exception> errors, InMemoryLedger[] ledgers) = await NoisedAsync(epsilon, label);
        PrivacyRefusedException error = Assert.IsType<PrivacyRefusedException>(errors["arbiter"]);
        Assert.Equal(JointGradientErrors.NoRoom, error.Id);
        Assert.Contains("batches", error.Remedy, StringComparison.Ordinal);
        Assert.All(ledgers, l => Assert.Empty(l.Entries));
    }
}
