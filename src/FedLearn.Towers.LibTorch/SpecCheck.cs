using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Towers.LibTorch;

/// <summary>Whether a specification can be a tower.</summary>
internal static class SpecCheck
{
    private const int MaxThreads = 1024;

    /// <summary>Refuses what cannot.</summary>
    internal static void Require(TowerSpec spec, int threads)
    {
        ArgumentNullException.ThrowIfNull(spec);
        Check(threads is >= 1 and <= MaxThreads, "threads", $"{threads} threads are not from 1 to {MaxThreads}.");
        Check(spec.Inputs is { DenseWidth: >= 0, Bags: not null }, "inputs", "A width is negative or the bags are missing.");
        Check(spec.Inputs.Bags!.All(bag => bag is { Buckets: >= 1 } && Enum.IsDefined(bag.Pooling)), "inputs", "A bag has no buckets or no such pooling.");
        Check(spec.Layers is { Count: >= 1 } && spec.Layers.All(width => width >= 1), "layers", "There is no layer, or one without outputs.");
        Check(spec.Dropout is >= 0 and < 1, "dropout", "The share is not from 0 to below 1.");
        Check(Enum.IsDefined(spec.Activation) && Enum.IsDefined(spec.Precision), "activation", "There is no such activation or precision.");
        TowerOptimizer optimizer = spec.Optimizer;
        Check(optimizer is not null && Enum.IsDefined(optimizer.Kind) && double.IsFinite(optimizer.Rate) && optimizer.Rate > 0, "optimizer", "The rate is not a finite number above 0.");
        Check(double.IsFinite(optimizer!.WeightDecay) && optimizer.WeightDecay >= 0, "optimizer", "The weight decay is not a finite number of at least 0.");
        try
        {
            Check(spec.Inputs.Width >= 1, "inputs", "A row has neither dense numbers nor bags.");
            _ = TowerStart.Count(spec);
        }
        catch (OverflowException e)
        {
            throw Refused("layers", "The tower has more parameters than an array holds.", e);
        }
    }

    private static void Check(bool holds, string part, string cause)
    {
        if (!holds)
            throw Refused(part, cause);
    }

    private static ConfigurationException Refused(string part, string cause, Exception? inner = null) =>
        new(LibTorchErrors.InvalidTower, $"tower, {part}", cause, "Correct the tower's options.", inner);
}
