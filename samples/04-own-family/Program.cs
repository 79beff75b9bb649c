// A family of one's own: check it, train it in the clear, train it with differential privacy. Run from the repository's root:
//   dotnet run --project samples/04-own-family -c Release
using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Samples.OwnFamily;
using FedLearn.Testing;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
const string Folder = "samples/data/delivery-fleet";
var family = new NegativeBinomialFamily(spread: 0.5);

// 1. Derivatives, deviance, means, start, bounds: the kit compares the family with itself.
GlmFamilyConformance.Check(family, labels: [0, 1, 0, 2, 5, 1]);
Console.WriteLine($"{family.Name} passes the conformance kit");

Table Load(string party, bool active) => Table.Load(new TableSource
{
    Path = $"{Folder}/{party}.csv",
    Schema = $"{Folder}/{party}.schema.json",
    Label = active ? "claims" : null,
    Exposure = active ? "years" : null,
}, needLabel: active);
GlmPartyInput[] inputs =
[
    new() { Party = "insurer", Table = Load("insurer", active: true) },
    new() { Party = "telematics", Table = Load("telematics", active: false) },
    new() { Party = "registry", Table = Load("registry", active: false) },
];
var plain = new GlmJob
{
    Name = "own-family",
    Model = new GlmModelOptions { Family = family, L2 = 0.0001 },
    Split = new SplitRule.ByHash(Modulus: 5, Test: [0]),
    Parties = [new() { Party = new("insurer", PartyRole.Active) }, new() { Party = new("telematics", PartyRole.Passive) }, new() { Party = new("registry", PartyRole.Passive) }],
};

// 2. In the clear: the optimum of the pooled columns.
IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(plain, inputs);
Console.WriteLine($"no privacy   test deviance {results[0].Test?.Deviance:0.0000}");

// 3. With noise on every training message, which 3,800 rows are too few to profit from: the family's Bounds say how fast a clipped residual can move, and the noise is calibrated to it.
GlmJob noised = plain with
{
    Training = new() { BatchesPerEpoch = 50, Epochs = 1, StepSize = 0.66, WeightNorm = 1, ResidualClip = 1, OffsetBound = 2.31 },
    Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new PrivacyBudget(Epsilon: 8, Delta: 1e-5) },
};
results = await LocalFederation.TrainAsync(noised, inputs);
Console.WriteLine($"epsilon 8    test deviance {results[0].Test?.Deviance:0.0000}, active party alone {results[0].GuestOnly?.Test?.Deviance:0.0000}");
Console.WriteLine(results[1].Privacy.Claims[0]);
