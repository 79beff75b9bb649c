using FedLearn.Dssm;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Cli.Running;

/// <summary>Where the tool's towers come from.</summary>
internal static class TowerFactories
{
    /// <summary>Another factory for whatever runs from here on; for tests.</summary>
    internal static AsyncLocal<ITowerFactory?> Instead { get; } = new();

    /// <summary>The towers that a model describes.</summary>
    /// <param name="threads">Threads of a tower.</param>
    public static ITowerFactory Default(int threads) => Instead.Value ?? new LibTorchTowers { Threads = threads };

    /// <summary>Towers of a user's TorchScript module.</summary>
    /// <param name="path">File; null for none.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2421: the file cannot be read.</exception>
    public static ITowerFactory? OfModule(string? path) => path is null ? null : TorchScriptTowers.FromFile(path);

    /// <summary>Makes a tower of one number, so that a machine without the native library says so before anything is read or sent.</summary>
    /// <param name="factory">The factory.</param>
    public static void Try(ITowerFactory factory) => factory.Create(new TowerSpec { Inputs = new TowerInputs(1, []), Layers = [1] }, 0).Dispose();
}
