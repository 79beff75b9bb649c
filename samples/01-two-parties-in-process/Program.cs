// A sweep over epsilon in a few lines: what privacy costs on the data of the demo. Run from the repository's root:
//   dotnet run --project samples/01-two-parties-in-process -c Release
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;

const string Folder = "samples/data/rand-hie";
Table insurer = Table.Load(new TableSource { Path = $"{Folder}/insurer.csv", Label = "y", Schema = $"{Folder}/insurer.schema.json" }, needLabel: true);
Table clinic = Table.Load(new TableSource { Path = $"{Folder}/clinic.csv", Schema = $"{Folder}/clinic.schema.json" }, needLabel: false);

// 1. No privacy: the optimum of the pooled columns, by L-BFGS.
Console.WriteLine($"no privacy   test AUC {await TestAucAsync(new GlmPrivacyOptions()):0.0000}");

// 2. The same work with every training message noised, for each party by itself.
foreach (double epsilon in (double[])[20, 10, 5, 2, 1])
{
    var privacy = new GlmPrivacyOptions { Mode = PrivacyMode.HdpVfl, Budget = new PrivacyBudget(epsilon, Delta: 1e-5) };
    Console.WriteLine($"epsilon {epsilon,4} test AUC {await TestAucAsync(privacy):0.0000}");
}

async Task<double?> TestAucAsync(GlmPrivacyOptions privacy)
{
    bool isPrivate = privacy.Mode != PrivacyMode.None;
    var job = new GlmJob
    {
        Name = "in-process",
        Model = new GlmModelOptions { Family = GlmFamilies.Binomial },
        // k and C bound what one row can change; the noise is calibrated to them.
        Training = isPrivate ? new() { Epochs = 1, BatchesPerEpoch = 50, StepSize = 2, WeightNorm = 2, ResidualClip = 1 } : new(),
        Privacy = privacy,
        Split = new SplitRule.FromFile(),
        Parties = [new() { Party = new("insurer", PartyRole.Active) }, new() { Party = new("clinic", PartyRole.Passive) }],
    };
    IReadOnlyList<GlmPartyResult> results = await LocalFederation.TrainAsync(job,
    [
        new() { Party = "insurer", Table = insurer, SplitFile = $"{Folder}/split.csv" },
        new() { Party = "clinic", Table = clinic, SplitFile = $"{Folder}/split.csv" },
    ]);
    return results[0].Test?.Auc;
}
