using FedLearn.Dssm;
using FedLearn.Towers.LibTorch.Native;

namespace FedLearn.Towers.LibTorch;

/// <summary>Makes the shipped towers on libtorch's machine: sparse first layers, dense layers, layer norm, dropout and the optimisers of <see cref="TowerSpec"/>, in explicit
/// forward and backward passes.</summary>
/// <remarks>Results do not depend on <see cref="Threads"/>, nor does a row's vector on the other rows: every number is a sum in one fixed order. The same machine gives the same
/// bits; another processor may round differently. Dropout acts by <see cref="TowerDropout"/>. Towers are used by one thread at a time; let one dedicated thread own
/// all towers of a party.</remarks>
public sealed class LibTorchTowers : ITowerFactory
{
    /// <summary>Threads that one tower computes with, the caller's included.</summary>
    /// <value>At least 1. Default 1.</value>
    public int Threads { get; init; } = 1;

    /// <summary>Whether the native library and libtorch are there; never throws.</summary>
    public static bool IsAvailable => NativeLoader.IsAvailable;

    /// <summary>Why they are not; null when they are.</summary>
    public static string? Unavailable => NativeLoader.Unavailable;

    /// <inheritdoc />
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">The specification is out of range (FL2420).</exception>
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">The native library is absent or fails (FL6130, FL6131, FL6132).</exception>
    public ITower Create(TowerSpec spec, long seed)
    {
        SpecCheck.Require(spec, Threads);
        return Make(spec, seed, TowerStart.Values(spec, seed));
    }

    /// <inheritdoc />
    /// <exception cref="FedLearn.Diagnostics.BadInputException">The bytes are not those of such a tower (FL3120).</exception>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">The specification is out of range (FL2420).</exception>
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">The native library is absent or fails (FL6130, FL6131, FL6132).</exception>
    public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state)
    {
        SpecCheck.Require(spec, Threads);
        (long seed, double[] parameters) = TowerState.Read(spec, state.Span);
        return Make(spec, seed, parameters);
    }

    private NativeTower Make(TowerSpec spec, long seed, double[] parameters)
    {
        NativeLoader.Require();
        return new NativeTower(spec, TowerHandle.Create(spec, seed, parameters, Threads), tower => TowerState.Write(spec, seed, tower));
    }
}
