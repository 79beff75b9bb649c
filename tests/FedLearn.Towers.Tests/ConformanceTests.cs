using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests;

public sealed class ConformanceTests
{
    public static TheoryData<string> Checks => [.. TowerConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public void LibTorchTowers_EverySpec_Conform(string check)
    {
        Native.Require();
        foreach (TowerSpec spec in TowerConformance.Specs)
            Run(check, new LibTorchTowers(), spec);
    }

    [Theory]
    [MemberData(nameof(Checks))]
    public void LibTorchTowers_TwoThreads_Conform(string check)
    {
        Native.Require();
        foreach (TowerSpec spec in TowerConformance.Specs.Where((_, i) => i % 4 == 1))
            Run(check, new LibTorchTowers { Threads = 2 }, spec);
    }

    [Theory]
    [MemberData(nameof(Checks))]
    public void ReferenceTower_EverySpec_Conforms(string check)
    {
        foreach (TowerSpec spec in TowerConformance.Specs)
            Run(check, new ReferenceTowerFactory(), spec);
    }

    private static void Run(string check, ITowerFactory factory, TowerSpec spec)
    {
        try
        {
            TowerConformance.All[check](factory, spec);
        }
        catch (ConformanceException e)
        {
            Assert.Fail($"{Native.Describe(spec)}: {e.Message}");
        }
    }
}
