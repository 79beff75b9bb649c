using FedLearn.Glm;

namespace FedLearn.Tests.Glm;

/// <summary>The families that FedLearn ships; multinomial has three classes.</summary>
internal static class ShippedFamilies
{
    internal static IReadOnlyList<IGlmFamily> All { get; } =
        [GlmFamilies.Gaussian, GlmFamilies.Binomial, GlmFamilies.Poisson, GlmFamilies.Gamma, GlmFamilies.Tweedie(), GlmFamilies.Multinomial(3)];

    internal static IGlmFamily Named(string name) => All.Single(family => family.Name == name);
}
