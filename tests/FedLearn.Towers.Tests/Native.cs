using FedLearn.Dssm;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests;

/// <summary>What needs libtorch skips, saying so, where it is absent.</summary>
internal static class Native
{
    public static void Require()
    {
        if (!LibTorchTowers.IsAvailable)
            Assert.Skip(LibTorchTowers.Unavailable!);
    }

    public static string Describe(TowerSpec spec) =>
        $"dense {spec.Inputs.DenseWidth}, bags [{string.Join(", ", spec.Inputs.Bags.Select(bag => $"{bag.Buckets} {bag.Pooling}"))}], layers [{string.Join(", ", spec.Layers)}], {spec.Activation}, "
        + $"norm {spec.LayerNorm}, dropout {spec.Dropout}, {spec.Precision}, {spec.Optimizer.Kind}";
}
