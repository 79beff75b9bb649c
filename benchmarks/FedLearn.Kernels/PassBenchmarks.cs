using BenchmarkDotNet.Attributes;
using FedLearn.Numerics;

namespace FedLearn.Kernels;

/// <summary>How rows are stored.</summary>
public enum Storage
{
    /// <summary>Every cell, 8 bytes.</summary>
    Float64,

    /// <summary>Every cell, 4 bytes.</summary>
    Float32,

    /// <summary>One cell in ten.</summary>
    Sparse,
}

/// <summary>The two passes of a linear model over a batch, and the plain loop of the same sums on one thread.</summary>
public class PassBenchmarks
{
    private const int Rows = 4096, SparseEvery = 10;

    private DenseMatrix _matrix = null!;
    private FeatureRows _rows = null!;
    private double[] _weights = [], _scores = [], _residuals = [], _gradient = [];

    /// <summary>Columns; a batch of 4,096 rows has 1.6 and 9.8 MB of float64.</summary>
    [Params(50, 300)]
    public int Columns { get; set; }

    /// <summary>Storage.</summary>
    [Params(Storage.Float64, Storage.Float32, Storage.Sparse)]
    public Storage Storage { get; set; }

    /// <summary>Makes rows.</summary>
    [GlobalSetup]
    public void Setup()
    {
        var random = new Random(1);
        _matrix = new DenseMatrix(Rows, Columns);
        for (int i = 0; i < _matrix.Values.Length; i++)
            _matrix.Values[i] = Storage == Storage.Sparse && random.Next(SparseEvery) > 0 ? 0 : (float)(random.NextDouble() - .5);
        _rows = Storage switch
        {
            Storage.Float64 => new DenseRows(_matrix),
            Storage.Float32 => new SingleRows(Rows, Columns, [.. _matrix.Values.Select(value => (float)value)]),
            _ => new SparseRows(Compressed(_matrix)),
        };
        (_weights, _gradient) = (Numbers(random, Columns), new double[Columns]);
        (_scores, _residuals) = (new double[Rows], Numbers(random, Rows));
    }

    /// <summary>z = X w.</summary>
    [Benchmark]
    public void Scores() => _rows.Scores(0, _weights, _scores);

    /// <summary>g = X' r.</summary>
    [Benchmark]
    public void Gradient() => _rows.Gradient(0, _residuals, _gradient);

    /// <summary>z = X w by a loop, of all cells.</summary>
    [Benchmark(Baseline = true)]
    public void PlainScores()
    {
        double[] cells = _matrix.Values;
        for (int i = 0; i < Rows; i++)
        {
            double sum = 0;
            for (int j = 0; j < Columns; j++)
                sum += cells[i * Columns + j] * _weights[j];
            _scores[i] = sum;
        }
    }

    private static double[] Numbers(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextDouble() - .5)];

    private static SparseMatrix Compressed(DenseMatrix matrix)
    {
        List<int> starts = [0], columns = [];
        List<double> values = [];
        for (int i = 0; i < matrix.Rows; i++)
        {
            for (int j = 0; j < matrix.Columns; j++)
                if (matrix.Values[i * matrix.Columns + j] is not 0 and var value)
                {
                    columns.Add(j);
                    values.Add(value);
                }

            starts.Add(columns.Count);
        }

        return new SparseMatrix(matrix.Rows, matrix.Columns, [.. starts], [.. columns], [.. values]);
    }
}
