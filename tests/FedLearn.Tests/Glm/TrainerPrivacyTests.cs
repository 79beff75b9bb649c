using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Glm;

/// <summary>The privacy claim at the real trainers, noise included, and proof that the checks notice when one of its assumptions is broken.</summary>
public class TrainerPrivacyTests(ITestOutputHelper output)
{
    private const int Seed = 20090276;

    /// <summary>Cases of the fast tier; ten times as many in the full one.</summary>
    private const int Cases = 10_000;

    [Fact]
    public void Trainings_AnyNeighboursAndPeers_StayWithinTheClaim()
    {
        double closest = 0;
        Parallel.For(0, TestCounts.Of(Cases), i =>
        {
            (string? violation, double realised, double claimed) = NeighbourCheck.Run(Case(i), TrainerMutant.None, guarded: i % 2 == 0);
            Assert.True(violation is null, $"case {i}, {violation}: mu {realised} of {claimed}");
            lock (output)
                closest = Math.Max(closest, realised / claimed);
        });
        output.WriteLine($"{TestCounts.Of(Cases)} cases, the closest at {closest:F4} of its claim");
        Assert.True(closest > 0.95, "the search should come near the bound");
    }

    public static TheoryData<string> Mutants => [.. Enum.GetNames<TrainerMutant>().Where(name => name != nameof(TrainerMutant.None))];

    /// <summary>The checks of the test above, on the trainer with one act broken and the mechanism's own guards taken away.</summary>
    [Theory]
    [MemberData(nameof(Mutants))]
    public void Trainings_Mutant_IsCaught(string name)
    {
        TrainerMutant mutant = Enum.Parse<TrainerMutant>(name);
        for (int i = 0; i < Cases; i++)
            if (NeighbourCheck.Run(Case(i), mutant, guarded: false) is { Violation: { } violation } found)
            {
                output.WriteLine($"{mutant}: case {i}, {violation}; mu {found.Realised:G4} of {found.Claimed:G4}");
                return;
            }

        Assert.Fail("the mutant lives");
    }

    private static NeighbourCase Case(int i) => NeighbourCase.Draw(new Random(Seed + i));
}
