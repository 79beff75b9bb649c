using System.Runtime.InteropServices;
using FedLearn.Dssm;

namespace FedLearn.Testing;

/// <summary>Makes towers in plain loops, for tests: slow and obvious, and without a native library.</summary>
public sealed class ReferenceTowerFactory : ITowerFactory
{
    /// <inheritdoc />
    public ITower Create(TowerSpec spec, long seed) => new ReferenceTower(spec, TowerStart.Values(spec, seed));

    /// <inheritdoc />
    public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state) => new ReferenceTower(spec, MemoryMarshal.Cast<byte, double>(state.Span).ToArray());
}

/// <summary>A tower in plain loops and float64, the reference that other towers are compared with. No layer norm, no dropout.</summary>
public sealed class ReferenceTower : ITower
{
    private readonly TowerSpec _spec;
    private readonly double[] _parameters, _gradient, _first, _second;
    private readonly int[] _offsets;
    private double[][][] _activations = [];
    private (TowerRows Rows, int[] Index)? _batch;
    private double[][] _rowGradients = [];
    private int _steps;

    internal ReferenceTower(TowerSpec spec, double[] parameters)
    {
        if (spec.LayerNorm || spec.Dropout > 0)
            throw new NotSupportedException("The reference tower has no layer norm and no dropout.");
        if (parameters.Length != TowerStart.Count(spec))
            throw new ArgumentException("The parameters are not this tower's.", nameof(parameters));
        (_spec, _parameters) = (spec, parameters);
        (_gradient, _first, _second) = (new double[parameters.Length], new double[parameters.Length], new double[parameters.Length]);
        _offsets = new int[spec.Layers.Count];
        for (int l = 1, width = spec.Inputs.Width; l < spec.Layers.Count; l++)
            (_offsets[l], width) = (_offsets[l - 1] + (width + 1) * spec.Layers[l - 1], spec.Layers[l - 1]);
    }

    /// <inheritdoc />
    public TowerInputs Inputs => _spec.Inputs;

    /// <inheritdoc />
    public int Width => _spec.Layers[^1];

    /// <inheritdoc />
    public int ParameterCount => _parameters.Length;

    /// <inheritdoc />
    public void Forward(TowerRows rows, ReadOnlySpan<int> index, Span<double> output, bool training)
    {
        ArgumentNullException.ThrowIfNull(rows);
        var kept = new double[index.Length][][];
        for (int i = 0; i < index.Length; i++)
        {
            kept[i] = Evaluate(rows, index[i]);
            kept[i][^1].CopyTo(output[(i * Width)..]);
        }

        if (training)
            (_activations, _batch) = (kept, (rows, index.ToArray()));
    }

    /// <inheritdoc />
    public void Backward(ReadOnlySpan<double> upstream)
    {
        Array.Clear(_gradient);
        for (int i = 0; i < _activations.Length; i++)
            AddGradient(i, upstream.Slice(i * Width, Width), 1, _gradient);
    }

    /// <inheritdoc />
    public void GetGradient(Span<double> destination) => _gradient.CopyTo(destination);

    /// <inheritdoc />
    public void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms)
    {
        _rowGradients = new double[_activations.Length][];
        for (int i = 0; i < _activations.Length; i++)
        {
            AddGradient(i, upstream.Slice(i * Width, Width), 1, _rowGradients[i] = new double[ParameterCount]);
            squaredNorms[i] = _rowGradients[i].Sum(g => g * g);
        }
    }

    /// <inheritdoc />
    public void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum)
    {
        sum.Clear();
        for (int i = 0; i < _rowGradients.Length; i++)
            for (int j = 0; j < sum.Length; j++)
                sum[j] += rowWeights[i] * _rowGradients[i][j];
    }

    /// <inheritdoc />
    public void Step() => Step(_gradient);

    /// <inheritdoc />
    public void Step(ReadOnlySpan<double> gradient)
    {
        TowerOptimizer o = _spec.Optimizer;
        _steps++;
        for (int j = 0; j < _parameters.Length; j++)
        {
            double g = gradient[j] + o.WeightDecay * _parameters[j];
            switch (o.Kind)
            {
                case TowerOptimizerKind.Adam:
                    _first[j] = 0.9 * _first[j] + 0.1 * g;
                    _second[j] = 0.999 * _second[j] + 0.001 * g * g;
                    double mean = _first[j] / (1 - Math.Pow(0.9, _steps)), variance = _second[j] / (1 - Math.Pow(0.999, _steps));
                    _parameters[j] -= o.Rate * mean / (Math.Sqrt(variance) + 1e-8);
                    break;
                case TowerOptimizerKind.Adagrad:
                    _second[j] += g * g;
                    _parameters[j] -= o.Rate * g / (Math.Sqrt(_second[j]) + 1e-10);
                    break;
                default:
                    _parameters[j] -= o.Rate * g;
                    break;
            }
        }
    }

    /// <inheritdoc />
    public void GetParameters(Span<double> destination) => _parameters.CopyTo(destination);

    /// <inheritdoc />
    public void SetParameters(ReadOnlySpan<double> parameters) => parameters.CopyTo(_parameters);

    /// <inheritdoc />
    public byte[] Save() => MemoryMarshal.AsBytes(_parameters.AsSpan()).ToArray();

    /// <inheritdoc />
    public IReadOnlyList<string> PrivacyFaults() => [];

    /// <inheritdoc />
    public void Dispose() { }

    // Inputs of one row as (index of the first matrix's row, weight).
    private IEnumerable<(int Row, double Weight)> Entries(TowerRows rows, int row)
    {
        for (int d = 0; d < Inputs.DenseWidth; d++)
            yield return (d, rows.Dense[row * Inputs.DenseWidth + d]);
        int first = Inputs.DenseWidth;
        for (int b = 0; b < Inputs.Bags.Count; b++)
        {
            BagRows bag = rows.Bags[b];
            int from = bag.Offsets[row], to = bag.Offsets[row + 1];
            for (int e = from; e < to; e++)
                yield return (first + bag.Ids[e], (bag.Weights?[e] ?? 1) / (Inputs.Bags[b].Pooling == BagPooling.Mean ? to - from : 1));
            first += Inputs.Bags[b].Buckets;
        }
    }

    private double[][] Evaluate(TowerRows rows, int row)
    {
        double[][] layers = [.. _spec.Layers.Select(width => new double[width])];
        if (row < 0)
            return layers;
        int width = Inputs.Width;
        for (int l = 0; l < layers.Length; l++)
        {
            double[] z = layers[l];
            _parameters.AsSpan(_offsets[l] + width * z.Length, z.Length).CopyTo(z);
            foreach ((int from, double x) in l == 0 ? Entries(rows, row) : layers[l - 1].Select((value, j) => (j, value)))
                for (int j = 0; j < z.Length; j++)
                    z[j] += x * _parameters[_offsets[l] + from * z.Length + j];
            for (int j = 0; j < z.Length; j++)
                z[j] = _spec.Activation == TowerActivation.Tanh ? Math.Tanh(z[j]) : Math.Max(0, z[j]);
            width = z.Length;
        }

        return layers;
    }

    private void AddGradient(int i, ReadOnlySpan<double> upstream, double weight, double[] sum)
    {
        (TowerRows rows, int[] index) = _batch ?? throw new InvalidOperationException("There was no training evaluation.");
        if (index[i] < 0)
            return;
        double[] above = upstream.ToArray();
        for (int l = _spec.Layers.Count - 1; l >= 0; l--)
        {
            double[] y = _activations[i][l], delta = new double[y.Length];
            for (int j = 0; j < y.Length; j++)
                delta[j] = above[j] * (_spec.Activation == TowerActivation.Tanh ? 1 - y[j] * y[j] : y[j] > 0 ? 1 : 0);
            int width = l == 0 ? Inputs.Width : _spec.Layers[l - 1];
            double[] below = new double[l == 0 ? 0 : width];
            foreach ((int from, double x) in l == 0 ? Entries(rows, index[i]) : _activations[i][l - 1].Select((value, j) => (j, value)))
                for (int j = 0; j < y.Length; j++)
                {
                    sum[_offsets[l] + from * y.Length + j] += weight * x * delta[j];
                    if (l > 0)
                        below[from] += _parameters[_offsets[l] + from * y.Length + j] * delta[j];
                }

            for (int j = 0; j < y.Length; j++)
                sum[_offsets[l] + width * y.Length + j] += weight * delta[j];
            above = below;
        }
    }
}
