using BenchmarkDotNet.Attributes;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Kernels;

/// <summary>What a message of a private round goes through at its party, the disk left out.</summary>
[MemoryDiagnoser]
public class ReleaseBenchmarks
{
    private const double Step = 1.0 / (1 << GaussianMechanism.UsualLatticeBits);

    /// <summary>That of a message whose sigma is the bound on its values.</summary>
    private const double Bound = 13;

    private readonly CsprngNoise _noise = new();
    private double[] _scores = [], _labels = [], _residuals = [];
    private int[] _draws = [];
    private LatticeVector _packed = null!;

    /// <summary>Rows of a batch.</summary>
    [Params(4096, 30_000)]
    public int Rows { get; set; }

    /// <summary>Makes scores and labels.</summary>
    [GlobalSetup]
    public void Setup()
    {
        var random = new Random(1);
        (_scores, _labels) = ([.. Enumerable.Range(0, Rows).Select(_ => random.NextDouble() - .5)], [.. Enumerable.Range(0, Rows).Select(_ => (double)random.Next(2))]);
        (_residuals, _draws, _packed) = (new double[Rows], new int[Rows], LatticeVector.Of(_scores, Step, Bound));
    }

    /// <summary>Residuals of logistic regression.</summary>
    [Benchmark]
    public void LogisticResiduals() => GlmFamilies.Binomial.Residuals(_scores, _labels, _residuals);

    /// <summary>Secure noise, with its key.</summary>
    [Benchmark]
    public void Noise() => _noise.Fill(_draws);

    /// <summary>Integers packed for the wire.</summary>
    [Benchmark]
    public LatticeVector Pack() => LatticeVector.Of(_scores, Step, Bound);

    /// <summary>Numbers of a packed message.</summary>
    [Benchmark]
    public double[] Unpack() => _packed.Values();
}
