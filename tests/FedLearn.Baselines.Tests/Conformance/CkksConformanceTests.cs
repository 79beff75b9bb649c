using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.Tests.Protocol;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Conformance;

public class CkksConformanceTests
{
    [Fact]
    public async Task Ckks_OnNode_Conforms()
    {
        IAdditiveScheme scheme = await Schemes.NamedAsync(Schemes.Ckks);
        IReadOnlyDictionary<string, ConformanceException> failures = await AdditiveSchemeConformance.FailuresAsync(scheme, new() { Draws = 128 }, TestContext.Current.CancellationToken);
        Assert.Empty(failures);
    }

    [Fact]
    public async Task Ckks_Native_Conforms()
    {
        CkksScheme? scheme = CkksScheme.OnNative();
        if (scheme is null)
            Assert.Skip("There is no libsealc on this machine.");
        await AdditiveSchemeConformance.CheckAsync(scheme!, new() { Draws = 128 }, TestContext.Current.CancellationToken);
    }
}
