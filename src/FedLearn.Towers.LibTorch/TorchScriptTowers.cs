using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Towers.LibTorch.Native;

namespace FedLearn.Towers.LibTorch;

/// <summary>Makes towers of a TorchScript module of one's own.</summary>
/// <remarks><para>The module's <c>forward</c> takes, in this order: the dense block [b, d] when DenseWidth d is above 0; then for each bag its ids (int64, all rows one after the
/// other), its offsets (int64, [b], where each row's ids begin, as torch.nn.functional.embedding_bag has them) and its weights (one an id, 1 where the rows have none). It gives [b, k]. Floating-point
/// tensors have the tower's precision, to which the module is converted. Pooling is the module's affair. Absent rows are left out of b; with none left, forward is not called.</para>
/// <para>Of the specification the inputs, the last layer (k), the precision and the optimiser count; the optimiser acts on the module's named parameters that require gradients, in their
/// order. Training evaluations run in training mode, from a state of torch's random numbers that the tower's seed and the evaluation's number decide, so that the same calls give the same
/// bits; others in evaluation mode. <see cref="ITower.Save"/> gives a file for <c>torch.jit.load</c>.</para>
/// <para>The module's own error text is shown when it fails on made-up rows while the tower is being made, and withheld when it fails on a party's rows.</para></remarks>
public sealed class TorchScriptTowers : ITowerFactory
{
    private readonly byte[] _module;
    private readonly bool _isSource;
    private readonly string _place;

    private TorchScriptTowers(byte[] module, bool isSource, string place) => (_module, _isSource, _place) = (module, isSource, place);

    /// <summary>Threads that one tower computes with, the caller's included. libtorch's matrix products share one setting in a process: the last call's.</summary>
    /// <value>At least 1. Default 1.</value>
    public int Threads { get; init; } = 1;

    /// <summary>SHA-256 of the module's bytes, or of its text.</summary>
    public ReadOnlyMemory<byte> Fingerprint => SHA256.HashData([_isSource ? (byte)1 : (byte)0, .. _module]);

    /// <summary>A module from a file that <c>torch.jit.save</c> or <see cref="ITower.Save"/> wrote.</summary>
    /// <param name="path">The file. Its parameters are the starting values; the seed decides the rest, such as dropout.</param>
    /// <exception cref="ConfigurationException">The file cannot be read (FL2421); whether it is a module is seen when a tower is made.</exception>
    public static TorchScriptTowers FromFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            return new TorchScriptTowers(File.ReadAllBytes(path), isSource: false, path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ConfigurationException(LibTorchErrors.ModuleUnreadable, path, "The module cannot be read.", "Give a file that torch.jit.save wrote.", e);
        }
    }

    /// <summary>A module from TorchScript text: methods one after the other, <c>def forward(self, ...)</c> among them, and one function
    /// <c>def start() -&gt; Dict[str, Tensor]</c> that gives the parameters by name with their starting values. It is called once for each tower, with torch's random numbers seeded by the
    /// tower's seed.</summary>
    /// <param name="torchScriptText">The text. A line that begins with <c>def</c> begins a method.</param>
    public static TorchScriptTowers FromSource(string torchScriptText)
    {
        ArgumentNullException.ThrowIfNull(torchScriptText);
        return new TorchScriptTowers(System.Text.Encoding.UTF8.GetBytes(torchScriptText), isSource: true, "TorchScript text");
    }

    /// <inheritdoc />
    /// <exception cref="ConfigurationException">The specification is out of range (FL2420), the module cannot be read or compiled (FL2421) or does not fit the inputs (FL2422).</exception>
    /// <exception cref="InternalFailureException">The native library is absent or fails (FL6130, FL6131, FL6132).</exception>
    public ITower Create(TowerSpec spec, long seed)
    {
        SpecCheck.Require(spec, Threads);
        NativeLoader.Require();
        return Make(spec, TowerHandle.CreateModule(spec, seed, _module, _isSource, Threads, _place));
    }

    /// <inheritdoc />
    /// <remarks>The bytes may also be those of any TorchScript file with such a forward. Dropout then begins as for seed 0.</remarks>
    /// <exception cref="BadInputException">The bytes are no module (FL3120).</exception>
    /// <exception cref="ConfigurationException">The specification is out of range (FL2420) or the module does not fit it (FL2422).</exception>
    /// <exception cref="InternalFailureException">The native library is absent or fails (FL6130, FL6131, FL6132).</exception>
    public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state)
    {
        SpecCheck.Require(spec, Threads);
        NativeLoader.Require();
        try
        {
            return Make(spec, TowerHandle.CreateModule(spec, 0, state.Span, isSource: false, Threads, "saved tower"));
        }
        catch (ConfigurationException e) when (e.Id == LibTorchErrors.ModuleUnreadable)
        {
            throw TowerState.Foreign("The bytes are no TorchScript module.", e);
        }
    }

    private static NativeTower Make(TowerSpec spec, TowerHandle handle) => new(spec, handle, tower => tower.SaveModule());
}
