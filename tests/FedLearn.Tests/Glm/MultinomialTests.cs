using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>Models of classes: how their number is agreed on, their labels, and their predictions.</summary>
public class MultinomialTests
{
    private static readonly GlmTrainingOptions Lbfgs = new() { Optimizer = GlmOptimizer.Lbfgs };

    private static GlmJob Undeclared(VerticalData data)
    {
        GlmJob job = data.Job("multinomial", Lbfgs);
        return job with { Model = job.Model with { Family = GlmFamilies.Multinomial() } };
    }

    [Theory]
    [InlineData(3)]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Train_ClassesNotDeclared_AreOneMoreThanTheLargestLabel(int passives)
    {
        var data = VerticalData.Random(41, "multinomial", 60, [2, .. Enumerable.Repeat(1, passives)]);
        IReadOnlyList<GlmPartyResult> declared = await LocalFederation.TrainAsync(data.Job("multinomial", Lbfgs), data.Inputs()),
            found = await LocalFederation.TrainAsync(Undeclared(data), data.Inputs());
        Assert.Equal(VerticalData.Weights(declared), VerticalData.Weights(found));
        Assert.All(found, r => Assert.Equal(3, r.Model.Outputs));
        // What the others are told is in the report.
        Assert.Equal(passives, found[0].Sent.Where(s => s.Name == "agreement: number of classes").Sum(s => s.Messages));
        Assert.DoesNotContain(declared[0].Sent, sent => sent.Name.Contains("classes", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Train_OneClassAlone_IsAModelOfTwo()
    {
        VerticalData data = VerticalData.Random(42, "multinomial", 20, 2, 2).WithLabels(_ => 0);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(Undeclared(data), data.Inputs());
        Assert.All(results, r => Assert.Equal(2, r.Model.Outputs));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(0)]
    [InlineData(-3)]
    [InlineData(2.5)]
    [InlineData(257)]
    [InlineData(1e300)]
    public async Task Train_PeerNamesNoLegalNumberOfClasses_IsRefused(double classes)
    {
        var data = VerticalData.Random(43, "multinomial", 10, 2, 2);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => PassiveAsync(data, classes));
        Assert.Equal(ProtocolErrors.UnexpectedMessage, error.Id);
        Assert.Contains("'active'", error.Place, StringComparison.Ordinal);
    }

    // A passive party against a scripted active one, up to the number of classes.
    private static async Task PassiveAsync(VerticalData data, double classes)
    {
        GlmPartyInput input = data.Inputs()[1];
        var party = new GlmTrainer(Undeclared(data), input);
        JoinedParty[] parties = [.. party.Terms.Parties.Select(p => new JoinedParty(p.Name, party.JoinRequest.SchemaFingerprint))];
        (InMemoryChannel active, InMemoryChannel own) = InMemoryChannel.CreatePair("active", input.Party);
        Task<GlmPartyResult> training = party.TrainAsync(new SessionAgreement("scripted", SessionDesk.DigestOf(party.Terms.TermsDigest, parties), parties), [own]);
        HashedIds ids = await active.ReceiveAsync<HashedIds>(0, data.Rows);
        await active.SendAsync(0, Disclosure.Unprotected(new RowSelection(Enumerable.Repeat((byte)1, ids.Length).ToArray()), "script"));
        await active.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { classes }), "script"));
        await training;
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(0.5)]
    [InlineData(3)]
    public async Task Train_LabelThatIsNoClass_IsRefused(double label)
    {
        var data = VerticalData.Random(44, "multinomial", 20, 2, 2);
        VerticalData bad = data.WithLabels(y => y == 2 ? label : y);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(data.Job("multinomial", Lbfgs), bad.Inputs()));
        Assert.Equal(GlmErrors.IllegalLabel, error.Id);
        Assert.Contains("row ", error.Place, StringComparison.Ordinal);
        Assert.Contains("model.classes", error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_LabelOverTheMostClasses_IsRefusedUndeclared()
    {
        VerticalData data = VerticalData.Random(45, "multinomial", 20, 2, 2).WithLabels(y => y == 2 ? 256 : y);
        BadInputException error = await Assert.ThrowsAsync<BadInputException>(() => LocalFederation.TrainAsync(Undeclared(data), data.Inputs()));
        Assert.Equal(GlmErrors.IllegalLabel, error.Id);
    }

    [Fact]
    public async Task Train_TestRowOfAClassThatTrainingLacks_IsAClassAllTheSame()
    {
        // The number of classes is that of all common rows: a class that only the split holds out must not end a job, nor one fold of several.
        var data = VerticalData.Random(46, "multinomial", 40, 2, 2);
        int held = Enumerable.Range(0, 40).First(i => TestRow($"row{i}"));
        int at = 0;
        VerticalData bad = data.WithLabels(_ => at++ == held ? 2 : at % 2);
        GlmJob job = Undeclared(bad) with { Split = new SplitRule.ByHash(5, [0]) };
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, bad.Inputs(), cancellationToken: TestContext.Current.CancellationToken);
        Assert.All(results, r => Assert.Equal(3, r.Model.Outputs));
        Assert.NotNull(results[0].Test!.Accuracy);
    }

    private static bool TestRow(string id) => System.Numerics.BigInteger.Parse(
        "0" + Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(id))), System.Globalization.NumberStyles.HexNumber, null) % 5 == 0;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Predict_Classes_AreProbabilitiesClassMajor(bool undeclared)
    {
        var data = VerticalData.Random(47, "multinomial", 40, 2, 1, 1);
        GlmJob job = undeclared ? Undeclared(data) : data.Job("multinomial", Lbfgs);
        IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job, data.Inputs());
        GlmPartyInput[] inputs = data.Inputs(order: 3, oneSided: 2);
        GlmPrediction prediction = await LocalFederation.PredictAsync(job, inputs, [.. results.Select(r => r.Model)]);
        Assert.Equal((3, 120), (prediction.Outputs, prediction.Means.Count));
        double[] weights = VerticalData.Weights(results);
        for (int i = 0; i < 40; i++)
        {
            string id = inputs[0].Table.Ids[prediction.Rows[i]];
            double[] row = [.. inputs.SelectMany(input => input.Table.Values.Row(input.Table.Ids.ToList().IndexOf(id)).ToArray())];
            double[] z = [.. Enumerable.Range(0, 3).Select(m => weights[12 + m] + row.Select((x, j) => x * weights[m * 4 + j]).Sum())];
            for (int m = 0; m < 3; m++)
            {
                Assert.Equal(z[m], prediction.Scores[m * 40 + i], 1e-12);
                Assert.Equal(Math.Exp(z[m]) / z.Sum(Math.Exp), prediction.Means[m * 40 + i], 1e-12);
            }
        }
    }

    [Fact]
    public async Task TwoClasses_Multinomial_IsTheBinomialModel()
    {
        // softmax of (z_0, z_1) is the logistic of their difference; with weights +-w/2 the penalty is half of that of w.
        var data = VerticalData.Random(48, "binomial", 80, 2, 2);
        GlmJob two = data.Job("binomial", Lbfgs, l2: 0.02);
        double[] binomial = VerticalData.Weights(await LocalFederation.TrainAsync(data.Job("binomial", Lbfgs, l2: 0.01), data.Inputs()));
        double[] both = VerticalData.Weights(await LocalFederation.TrainAsync(two with { Model = two.Model with { Family = GlmFamilies.Multinomial(2) } }, data.Inputs()));
        for (int j = 0; j < 4; j++)
            Assert.Equal(binomial[j], both[4 + j] - both[j], 1e-6);
        Assert.Equal(binomial[4], both[9] - both[8], 1e-6);
    }
}
