using FedLearn.Diagnostics;

namespace FedLearn.Alignment.Ristretto;

/// <summary>Chooses what computes in the group.</summary>
internal static class RistrettoEngines
{
    /// <summary>The engine that the settings ask for.</summary>
    /// <exception cref="ConfigurationException">FL2521: the vector engine was asked for, and cannot run here.</exception>
    /// <exception cref="InternalFailureException">FL6160: libsodium is missing.</exception>
    public static IRistrettoEngine Create(PsiEngine engine) => engine switch
    {
        PsiEngine.Sodium => SodiumRistretto.Instance,
        PsiEngine.Fastest => Vector() ?? SodiumRistretto.Instance,
        PsiEngine.Vector => Vector() ?? throw new ConfigurationException(PsiErrors.NoVectorEngine, "engine", "the vector engine cannot run on this processor.",
            "Use the fastest engine, which chooses by itself, or libsodium."),
        _ => throw new ArgumentOutOfRangeException(nameof(engine), engine, "There is no such engine."),
    };

    // Compared with libsodium once a process; where they do not agree it is not used.
    private static readonly Lazy<IRistrettoEngine?> Checked = new(() => VectorRistretto.IsSupported && new VectorRistretto() is var engine && engine.Agrees(SodiumRistretto.Instance) ? engine : null);

    private static IRistrettoEngine? Vector() => Checked.Value;
}
