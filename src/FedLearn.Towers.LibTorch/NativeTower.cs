using System.Numerics.Tensors;
using FedLearn.Dssm;
using FedLearn.Towers.LibTorch.Native;

namespace FedLearn.Towers.LibTorch;

/// <summary>A tower that lives in the native library.</summary>
internal sealed class NativeTower : ITower
{
    // Evaluations that are not kept need memory for this many rows at a time.
    private const int EvaluationBlock = 8192;

    private readonly TowerHandle _handle;
    private readonly Func<NativeTower, byte[]> _save;
    private int _kept = -1;
    private bool _hasGradient, _hasNorms;

    internal NativeTower(TowerSpec spec, TowerHandle handle, Func<NativeTower, byte[]> save)
    {
        (Inputs, Width, _handle, _save) = (spec.Inputs, spec.Layers[^1], handle, save);
        ParameterCount = handle.ParameterCount;
    }

    /// <inheritdoc />
    public TowerInputs Inputs { get; }

    /// <inheritdoc />
    public int Width { get; }

    /// <inheritdoc />
    public int ParameterCount { get; }

    /// <inheritdoc />
    public void Forward(TowerRows rows, ReadOnlySpan<int> index, Span<double> output, bool training)
    {
        ArgumentNullException.ThrowIfNull(rows);
        if (!rows.Inputs.Equals(Inputs))
            throw new ArgumentException("The rows are not of this tower's inputs.", nameof(rows));
        if (output.Length != (long)index.Length * Width)
            throw new ArgumentException("There is not one vector a row.", nameof(output));
        foreach (int row in index)
            if (row < -1 || row >= rows.Rows)
                throw new ArgumentException("A row is neither -1 nor one of the rows.", nameof(index));
        RowsHandle native = RowsHandle.Of(rows, _handle.Precision, _handle.IsModule);
        if (training)
        {
            (_kept, _hasNorms) = (-1, false);
            _handle.Forward(native, index, output, training: true);
            _kept = index.Length;
            return;
        }

        for (int from = 0; from < index.Length; from += EvaluationBlock)
        {
            int count = Math.Min(EvaluationBlock, index.Length - from);
            _handle.Forward(native, index.Slice(from, count), output.Slice(from * Width, count * Width), training: false);
        }
    }

    /// <inheritdoc />
    public void Backward(ReadOnlySpan<double> upstream)
    {
        RequireUpstream(upstream);
        _handle.Backward(upstream);
        _hasGradient = true;
    }

    /// <inheritdoc />
    public void GetGradient(Span<double> destination)
    {
        RequireGradient();
        RequireCount(destination.Length, nameof(destination));
        _handle.GetGradient(destination);
    }

    /// <inheritdoc />
    public void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms)
    {
        RequireUpstream(upstream);
        if (squaredNorms.Length != _kept)
            throw new ArgumentException("There is not one number a row of the last training evaluation.", nameof(squaredNorms));
        _handle.RowNorms(upstream, squaredNorms);
        _hasNorms = true;
    }

    /// <inheritdoc />
    public void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum)
    {
        if (!_hasNorms)
            throw new InvalidOperationException("RowGradientNorms comes before WeightedRowGradients.");
        if (rowWeights.Length != _kept)
            throw new ArgumentException("There is not one factor a row of the last training evaluation.", nameof(rowWeights));
        RequireCount(sum.Length, nameof(sum));
        _handle.WeightedRows(rowWeights, sum);
    }

    /// <inheritdoc />
    public void Step()
    {
        RequireGradient();
        _handle.Step();
    }

    /// <inheritdoc />
    public void Step(ReadOnlySpan<double> gradient)
    {
        RequireCount(gradient.Length, nameof(gradient));
        _handle.Step(gradient);
    }

    /// <inheritdoc />
    public void GetParameters(Span<double> destination)
    {
        RequireCount(destination.Length, nameof(destination));
        _handle.GetParameters(destination);
    }

    /// <inheritdoc />
    public void SetParameters(ReadOnlySpan<double> parameters)
    {
        RequireCount(parameters.Length, nameof(parameters));
        if (!TensorPrimitives.IsFiniteAll(parameters))
            throw new ArgumentException("A parameter is NaN or infinite.", nameof(parameters));
        _handle.SetParameters(parameters);
    }

    /// <inheritdoc />
    public byte[] Save() => _save(this);

    /// <inheritdoc />
    public byte[] SaveTraining() => _handle.SaveTraining();

    /// <inheritdoc />
    public void RestoreTraining(ReadOnlySpan<byte> state)
    {
        if (!_handle.RestoreTraining(state))
            throw new ArgumentException("The bytes are not those of this tower's training.", nameof(state));
        (_kept, _hasGradient, _hasNorms) = (-1, false, false);
    }

    /// <inheritdoc />
    public IReadOnlyList<string> PrivacyFaults() => _handle.Faults();

    /// <inheritdoc />
    public void Dispose() => _handle.Dispose();

    /// <summary>The bytes of a TorchScript file.</summary>
    internal byte[] SaveModule() => _handle.SaveModule();

    private void RequireUpstream(ReadOnlySpan<double> upstream)
    {
        if (_kept < 0)
            throw new InvalidOperationException("A training evaluation comes before its gradients.");
        if (upstream.Length != (long)_kept * Width)
            throw new ArgumentException("The gradient is not of the size of the last training evaluation's output.", nameof(upstream));
    }

    private void RequireGradient()
    {
        if (!_hasGradient)
            throw new InvalidOperationException("Backward comes before its gradient is used.");
    }

    private void RequireCount(int length, string name)
    {
        if (length != ParameterCount)
            throw new ArgumentException("There is not one number a parameter.", name);
    }
}
