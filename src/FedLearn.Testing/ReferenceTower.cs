using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FedLearn.Dssm;

namespace FedLearn.Testing;

/// <summary>Makes towers in plain loops, for tests: slow and obvious, and without a native library.</summary>
public sealed class ReferenceTowerFactory : ITowerFactory
{
    /// <inheritdoc />
    public ITower Create(TowerSpec spec, long seed) => new ReferenceTower(spec, seed, TowerStart.Values(spec, seed));

    /// <inheritdoc />
    public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state)
    {
        if (state.Length != (long)sizeof(double) * TowerStart.Count(spec) + sizeof(long))
            throw new ArgumentException("The bytes are not those of this tower.", nameof(state));
        return new ReferenceTower(spec, BinaryPrimitives.ReadInt64LittleEndian(state.Span), MemoryMarshal.Cast<byte, double>(state.Span[sizeof(long)..]).ToArray());
    }
}

/// <summary>A tower in plain loops and float64, whatever precision is asked for: the reference that other towers are compared with.</summary>
public sealed class ReferenceTower : ITower
{
    private const double NormEpsilon = 1e-5;

    private readonly TowerSpec _spec;
    private readonly long _seed;
    private readonly double[] _parameters, _gradient, _first, _second;
    private readonly int[] _offsets;
    private Row[]? _kept;
    private double[][]? _rowGradients;
    private bool _hasGradient;
    private int _steps;
    private long _evaluation;

    internal ReferenceTower(TowerSpec spec, long seed, double[] parameters)
    {
        ArgumentNullException.ThrowIfNull(spec);
        (_spec, _seed, _parameters) = (spec, seed, parameters);
        (_gradient, _first, _second) = (new double[parameters.Length], new double[parameters.Length], new double[parameters.Length]);
        _offsets = new int[spec.Layers.Count];
        for (int l = 1; l < _offsets.Length; l++)
            _offsets[l] = _offsets[l - 1] + (InputsOf(l - 1) + (HasNorm(l - 1) ? 3 : 1)) * spec.Layers[l - 1];
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
        if (!rows.Inputs.Equals(Inputs))
            throw new ArgumentException("The rows are not of this tower's inputs.", nameof(rows));
        RequireLength(output.Length, index.Length * Width, nameof(output));
        foreach (int row in index)
            if (row < -1 || row >= rows.Rows)
                throw new ArgumentException("A row is neither -1 nor one of the rows.", nameof(index));
        if (training)
            _evaluation++;
        var kept = new Row[index.Length];
        for (int i = 0; i < index.Length; i++)
        {
            kept[i] = Evaluate(rows, index[i], i, training);
            kept[i].Layers[^1].Output.CopyTo(output[(i * Width)..]);
        }

        if (training)
            (_kept, _rowGradients) = (kept, null);
    }

    /// <inheritdoc />
    public void Backward(ReadOnlySpan<double> upstream)
    {
        Row[] kept = RequireKept(upstream);
        Array.Clear(_gradient);
        for (int i = 0; i < kept.Length; i++)
            AddGradient(kept[i], upstream.Slice(i * Width, Width), _gradient);
        _hasGradient = true;
    }

    /// <inheritdoc />
    public void GetGradient(Span<double> destination)
    {
        RequireGradient();
        RequireLength(destination.Length, ParameterCount, nameof(destination));
        _gradient.CopyTo(destination);
    }

    /// <inheritdoc />
    public void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms)
    {
        Row[] kept = RequireKept(upstream);
        RequireLength(squaredNorms.Length, kept.Length, nameof(squaredNorms));
        _rowGradients = new double[kept.Length][];
        for (int i = 0; i < kept.Length; i++)
        {
            AddGradient(kept[i], upstream.Slice(i * Width, Width), _rowGradients[i] = new double[ParameterCount]);
            squaredNorms[i] = _rowGradients[i].Sum(g => g * g);
        }
    }

    /// <inheritdoc />
    public void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum)
    {
        double[][] rows = _rowGradients ?? throw new InvalidOperationException("RowGradientNorms comes before WeightedRowGradients.");
        RequireLength(rowWeights.Length, rows.Length, nameof(rowWeights));
        RequireLength(sum.Length, ParameterCount, nameof(sum));
        sum.Clear();
        for (int i = 0; i < rows.Length; i++)
            for (int j = 0; j < sum.Length; j++)
                sum[j] += rowWeights[i] * rows[i][j];
    }

    /// <inheritdoc />
    public void Step()
    {
        RequireGradient();
        Step(_gradient);
    }

    /// <inheritdoc />
    public void Step(ReadOnlySpan<double> gradient)
    {
        RequireLength(gradient.Length, ParameterCount, nameof(gradient));
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
    public void GetParameters(Span<double> destination)
    {
        RequireLength(destination.Length, ParameterCount, nameof(destination));
        _parameters.CopyTo(destination);
    }

    /// <inheritdoc />
    public void SetParameters(ReadOnlySpan<double> parameters)
    {
        RequireLength(parameters.Length, ParameterCount, nameof(parameters));
        if (!System.Numerics.Tensors.TensorPrimitives.IsFiniteAll(parameters))
            throw new ArgumentException("A parameter is NaN or infinite.", nameof(parameters));
        parameters.CopyTo(_parameters);
    }

    /// <inheritdoc />
    public byte[] Save()
    {
        byte[] state = new byte[sizeof(long) + sizeof(double) * ParameterCount];
        BinaryPrimitives.WriteInt64LittleEndian(state, _seed);
        MemoryMarshal.AsBytes(_parameters.AsSpan()).CopyTo(state.AsSpan(sizeof(long)));
        return state;
    }

    /// <inheritdoc />
    public byte[] SaveTraining()
    {
        byte[] state = new byte[TrainingBytes];
        BinaryPrimitives.WriteInt64LittleEndian(state, _seed);
        BinaryPrimitives.WriteInt64LittleEndian(state.AsSpan(sizeof(long)), _steps);
        BinaryPrimitives.WriteInt64LittleEndian(state.AsSpan(2 * sizeof(long)), _evaluation);
        Span<double> numbers = MemoryMarshal.Cast<byte, double>(state.AsSpan(3 * sizeof(long)));
        _parameters.CopyTo(numbers);
        _first.CopyTo(numbers[ParameterCount..]);
        _second.CopyTo(numbers[(2 * ParameterCount)..]);
        return state;
    }

    /// <inheritdoc />
    public void RestoreTraining(ReadOnlySpan<byte> state)
    {
        if (state.Length != TrainingBytes || BinaryPrimitives.ReadInt64LittleEndian(state) != _seed)
            throw new ArgumentException("The bytes are not those of this tower's training.", nameof(state));
        ReadOnlySpan<double> numbers = MemoryMarshal.Cast<byte, double>(state[(3 * sizeof(long))..]);
        if (!System.Numerics.Tensors.TensorPrimitives.IsFiniteAll(numbers))
            throw new ArgumentException("A number is NaN or infinite.", nameof(state));
        _steps = checked((int)BinaryPrimitives.ReadInt64LittleEndian(state[sizeof(long)..]));
        _evaluation = BinaryPrimitives.ReadInt64LittleEndian(state[(2 * sizeof(long))..]);
        numbers[..ParameterCount].CopyTo(_parameters);
        numbers.Slice(ParameterCount, ParameterCount).CopyTo(_first);
        numbers[(2 * ParameterCount)..].CopyTo(_second);
        (_kept, _rowGradients, _hasGradient) = (null, null, false);
    }

    /// <inheritdoc />
    public IReadOnlyList<string> PrivacyFaults() => [];

    /// <inheritdoc />
    public void Dispose() { }

    // Seed, steps, evaluation, then parameters and both moments.
    private int TrainingBytes => checked(3 * sizeof(long) + 3 * sizeof(double) * ParameterCount);

    private bool HasNorm(int layer) => _spec.LayerNorm && layer < _spec.Layers.Count - 1;

    private int InputsOf(int layer) => layer == 0 ? Inputs.Width : _spec.Layers[layer - 1];

    // Where a layer's bias, gain and shift begin; its matrix begins at _offsets[layer].
    private int Bias(int layer) => _offsets[layer] + InputsOf(layer) * _spec.Layers[layer];

    private int Gain(int layer) => Bias(layer) + _spec.Layers[layer];

    private int Shift(int layer) => Gain(layer) + _spec.Layers[layer];

    // Inputs of one row as (row of the first matrix, weight).
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

    private Row Evaluate(TowerRows rows, int row, int place, bool training)
    {
        var result = new Row(row < 0, [.. _spec.Layers.Select(width => new Layer(width))]);
        if (row < 0)
            return result;
        (int, double)[] inputs = [.. Entries(rows, row)];
        for (int l = 0; l < result.Layers.Length; l++)
        {
            Layer layer = result.Layers[l];
            int width = _spec.Layers[l];
            layer.Inputs = inputs;
            double[] z = _parameters.AsSpan(Bias(l), width).ToArray();
            foreach ((int from, double x) in inputs)
                for (int j = 0; j < width; j++)
                    z[j] += x * _parameters[_offsets[l] + from * width + j];
            if (HasNorm(l))
            {
                double mean = z.Average();
                layer.Deviation = Math.Sqrt(z.Average(value => (value - mean) * (value - mean)) + NormEpsilon);
                for (int j = 0; j < width; j++)
                {
                    layer.Normal[j] = (z[j] - mean) / layer.Deviation;
                    z[j] = layer.Normal[j] * _parameters[Gain(l) + j] + _parameters[Shift(l) + j];
                }
            }

            for (int j = 0; j < width; j++)
            {
                layer.Active[j] = _spec.Activation == TowerActivation.Tanh ? Math.Tanh(z[j]) : Math.Max(0, z[j]);
                bool drops = training && l < result.Layers.Length - 1 && TowerDropout.Drops(_spec.Dropout, _seed, _evaluation, l, (long)place * width + j);
                layer.Scale[j] = drops ? 0 : training && l < result.Layers.Length - 1 ? 1 / (1 - _spec.Dropout) : 1;
                layer.Output[j] = layer.Active[j] * layer.Scale[j];
            }

            inputs = [.. layer.Output.Select((value, j) => (j, value))];
        }

        return result;
    }

    private void AddGradient(Row row, ReadOnlySpan<double> upstream, double[] sum)
    {
        if (row.IsAbsent)
            return;
        double[] above = upstream.ToArray();
        for (int l = _spec.Layers.Count - 1; l >= 0; l--)
        {
            Layer layer = row.Layers[l];
            int width = _spec.Layers[l];
            double[] delta = new double[width];
            for (int j = 0; j < width; j++)
                delta[j] = above[j] * layer.Scale[j] * (_spec.Activation == TowerActivation.Tanh ? 1 - layer.Active[j] * layer.Active[j] : layer.Active[j] > 0 ? 1 : 0);
            if (HasNorm(l))
            {
                for (int j = 0; j < width; j++)
                {
                    sum[Gain(l) + j] += delta[j] * layer.Normal[j];
                    sum[Shift(l) + j] += delta[j];
                    delta[j] *= _parameters[Gain(l) + j];
                }

                double mean = delta.Average(), along = delta.Select((d, j) => d * layer.Normal[j]).Average();
                for (int j = 0; j < width; j++)
                    delta[j] = (delta[j] - mean - layer.Normal[j] * along) / layer.Deviation;
            }

            above = new double[l == 0 ? 0 : InputsOf(l)];
            foreach ((int from, double x) in layer.Inputs)
                for (int j = 0; j < width; j++)
                {
                    sum[_offsets[l] + from * width + j] += x * delta[j];
                    if (l > 0)
                        above[from] += _parameters[_offsets[l] + from * width + j] * delta[j];
                }

            for (int j = 0; j < width; j++)
                sum[Bias(l) + j] += delta[j];
        }
    }

    private Row[] RequireKept(ReadOnlySpan<double> upstream)
    {
        Row[] kept = _kept ?? throw new InvalidOperationException("A training evaluation comes before its gradients.");
        RequireLength(upstream.Length, kept.Length * Width, nameof(upstream));
        return kept;
    }

    private void RequireGradient()
    {
        if (!_hasGradient)
            throw new InvalidOperationException("Backward comes before its gradient is used.");
    }

    private static void RequireLength(int length, int expected, string name)
    {
        if (length != expected)
            throw new ArgumentException("The length does not fit.", name);
    }

    private sealed class Layer(int width)
    {
        public (int From, double Value)[] Inputs { get; set; } = [];

        public double Deviation { get; set; }

        public double[] Normal { get; } = new double[width];

        public double[] Active { get; } = new double[width];

        public double[] Scale { get; } = new double[width];

        public double[] Output { get; } = new double[width];
    }

    private sealed record Row(bool IsAbsent, Layer[] Layers);
}
