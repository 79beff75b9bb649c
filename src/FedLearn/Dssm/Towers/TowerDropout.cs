using static FedLearn.Numerics.SplitMix64;

namespace FedLearn.Dssm;

/// <summary>Which hidden outputs dropout (Srivastava et al. 2014) sets to 0, so that every implementation drops the same ones: a counter hash of the tower's seed, the number of the training
/// evaluation, the layer and the element.</summary>
/// <remarks>With mix(z) the finaliser of SplitMix64 (Steele, Lea and Flood 2014) and g = 0x9E3779B97F4A7C15, all modulo 2^64: key = mix(mix(seed + g evaluation) + g (layer + 1)); element e is
/// dropped when (mix(key + g (e + 1)) >> 11) 2^-53 is below the share. Not secret, and no part of a privacy claim.</remarks>
public static class TowerDropout
{
    /// <summary>Whether an element is dropped.</summary>
    /// <param name="share">Share of the elements that are dropped.</param>
    /// <param name="seed">The tower's seed.</param>
    /// <param name="evaluation">Number of the training evaluation since the tower was made or restored, from 1.</param>
    /// <param name="layer">Layer, from 0.</param>
    /// <param name="element">Position of the row in the evaluation's index times the layer's width, plus the output's place.</param>
    public static bool Drops(double share, long seed, long evaluation, int layer, long element)
    {
        unchecked
        {
            ulong key = Mix(Mix((ulong)seed + Golden * (ulong)evaluation) + Golden * (ulong)(layer + 1));
            return PublicRandom.Unit(Mix(key + Golden * (ulong)(element + 1))) < share;
        }
    }
}
