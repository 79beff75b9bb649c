using System.Runtime.InteropServices;
using FedLearn.Dssm;

namespace FedLearn.Statistical.Tests;

/// <summary>Makes towers of one layer without bias and activation, whose rows are a number of a feature and its value: a vector is the value times what the feature has learned, which begins as (1, 0).</summary>
/// <param name="features">Features.</param>
/// <param name="rate">Step: the mean gradient is taken so many times.</param>
internal sealed class CanaryTowers(int features, double rate) : ITowerFactory
{
    public ITower Create(TowerSpec spec, long seed) => new Tower(spec.Inputs, features, rate);

    public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state) => throw new NotSupportedException();

    private sealed class Tower(TowerInputs inputs, int features, double rate) : ITower
    {
        private readonly double[] _parameters = [.. Enumerable.Range(0, features).SelectMany(_ => new[] { 1.0, 0 })], _gradient = new double[2 * features];
        private (int Feature, double Value)[] _rows = [];
        private double[] _upstream = [];

        public TowerInputs Inputs => inputs;

        public int Width => 2;

        public int ParameterCount => 2 * features;

        public void Forward(TowerRows rows, ReadOnlySpan<int> index, Span<double> output, bool training)
        {
            var read = new (int Feature, double Value)[index.Length];
            for (int i = 0; i < index.Length; i++)
            {
                read[i] = ((int)rows.Dense[2 * index[i]], rows.Dense[2 * index[i] + 1]);
                for (int j = 0; j < 2; j++)
                    output[2 * i + j] = read[i].Value * _parameters[2 * read[i].Feature + j];
            }

            if (training)
                _rows = read;
        }

        public void Backward(ReadOnlySpan<double> upstream)
        {
            _upstream = upstream.ToArray();
            double[] ones = new double[_rows.Length];
            Array.Fill(ones, 1);
            WeightedRowGradients(ones, _gradient);
        }

        public void GetGradient(Span<double> destination) => _gradient.CopyTo(destination);

        public void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms)
        {
            _upstream = upstream.ToArray();
            for (int i = 0; i < _rows.Length; i++)
                squaredNorms[i] = _rows[i].Value * _rows[i].Value * (_upstream[2 * i] * _upstream[2 * i] + _upstream[2 * i + 1] * _upstream[2 * i + 1]);
        }

        public void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum)
        {
            sum.Clear();
            for (int i = 0; i < _rows.Length; i++)
                for (int j = 0; j < 2; j++)
                    sum[2 * _rows[i].Feature + j] += rowWeights[i] * _rows[i].Value * _upstream[2 * i + j];
        }

        public void Step() => Step(_gradient);

        public void Step(ReadOnlySpan<double> gradient)
        {
            for (int j = 0; j < _parameters.Length; j++)
                _parameters[j] -= rate * gradient[j];
        }

        public void GetParameters(Span<double> destination) => _parameters.CopyTo(destination);

        public void SetParameters(ReadOnlySpan<double> parameters) => parameters.CopyTo(_parameters);

        public byte[] Save() => MemoryMarshal.AsBytes(_parameters.AsSpan()).ToArray();

        public byte[] SaveTraining() => Save();

        public void RestoreTraining(ReadOnlySpan<byte> state) => throw new NotSupportedException();

        public IReadOnlyList<string> PrivacyFaults() => [];

        public void Dispose() { }
    }
}
