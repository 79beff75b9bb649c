using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Conformance.Tests;

public sealed class ChannelConformanceTests
{
    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public Task InMemoryChannel_EveryCheck_Passes(string check) => ChannelConformance.All[check](InMemory);

    [Theory]
    [MemberData(nameof(Checks))]
    public Task GrpcChannel_ActiveFirst_Passes(string check) => ChannelConformance.All[check](options => GrpcPairs.CreateAsync(options));

    [Theory]
    [MemberData(nameof(Checks))]
    public Task GrpcChannel_PassiveFirst_Passes(string check) => ChannelConformance.All[check](options => GrpcPairs.CreateAsync(options, passiveFirst: true));

    internal static Task<ChannelPair> InMemory(ChannelOptions options)
    {
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("bank", "telco", options);
        return Task.FromResult(new ChannelPair(first, second));
    }
}
