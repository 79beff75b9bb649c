using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Loss;

public sealed class PrivateLossRulesTests
{
    [Theory]
    [InlineData(DssmLossKind.InBatch, NegativeSource.Uniform, DssmLossErrors.BatchLossRefused)]
    [InlineData(DssmLossKind.InBatchLogQ, NegativeSource.Uniform, DssmLossErrors.BatchLossRefused)]
    [InlineData(DssmLossKind.Sampled, NegativeSource.Mixed, DssmLossErrors.NegativesRefused)]
    [InlineData(DssmLossKind.Sampled, NegativeSource.Cached, DssmLossErrors.NegativesRefused)]
    [InlineData(DssmLossKind.Sampled, NegativeSource.Hard, DssmLossErrors.NegativesRefused)]
    [InlineData(DssmLossKind.Sampled, NegativeSource.Popularity, DssmLossErrors.NegativesRefused)]
    public void Check_DependsOnOtherSamples_IsRefused(DssmLossKind loss, NegativeSource source, string id) =>
        Assert.Equal(id, Assert.Throws<PrivacyRefusedException>(() => PrivateLossRules.Check(new DssmModelOptions { Loss = loss, NegativeSource = source })).Id);

    [Theory]
    [InlineData(DssmLossKind.Sampled)]
    [InlineData(DssmLossKind.Full)]
    public void Check_UniformOrFull_Passes(DssmLossKind loss) => PrivateLossRules.Check(new DssmModelOptions { Loss = loss });
}
