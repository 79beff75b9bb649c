namespace FedLearn.Dssm;

/// <summary>What follows the linear part of every layer.</summary>
public enum TowerActivation
{
    /// <summary>Hyperbolic tangent.</summary>
    Tanh = 0,

    /// <summary>max(0, x).</summary>
    Relu = 1,
}

/// <summary>What a tower computes in.</summary>
public enum TowerPrecision
{
    /// <summary>IEEE 754 binary32.</summary>
    Float32 = 0,

    /// <summary>IEEE 754 binary64.</summary>
    Float64 = 1,
}

/// <summary>Optimisers.</summary>
public enum TowerOptimizerKind
{
    /// <summary>w -= rate (g + decay w).</summary>
    Sgd = 0,

    /// <summary>Adam (Kingma and Ba 2015) with beta1 .9, beta2 .999, epsilon 1e-8 and bias correction, as PyTorch has it; decay is added to the gradient.</summary>
    Adam = 1,

    /// <summary>Adagrad (Duchi, Hazan and Singer 2011) with epsilon 1e-10, as PyTorch has it; decay is added to the gradient.</summary>
    Adagrad = 2,
}

/// <summary>An optimiser and its settings.</summary>
public sealed record TowerOptimizer
{
    /// <summary>Which.</summary>
    /// <value>Default Adam.</value>
    public TowerOptimizerKind Kind { get; init; } = TowerOptimizerKind.Adam;

    /// <summary>Learning rate.</summary>
    /// <value>Finite, above 0. Default 0.002.</value>
    public double Rate { get; init; } = 0.002;

    /// <summary>Weight decay.</summary>
    /// <value>Finite, at least 0. Default 0.</value>
    public double WeightDecay { get; init; }
}

/// <summary>A tower: the first layer maps dense numbers and bags to Layers[0] numbers (their contributions are added, then a bias), each further one is dense.
/// Every layer: linear, then layer norm where asked for, activation, dropout (not after the last).</summary>
public sealed record TowerSpec
{
    /// <summary>What a row has.</summary>
    public required TowerInputs Inputs { get; init; }

    /// <summary>Widths of the layers; the last is that of the vectors.</summary>
    /// <value>At least one, each at least 1. Default 128, 64.</value>
    public IReadOnlyList<int> Layers { get; init; } = [128, 64];

    /// <summary>Activation.</summary>
    public TowerActivation Activation { get; init; }

    /// <summary>Whether each layer but the last normalises its rows before the activation (Ba, Kiros and Hinton 2016; epsilon 1e-5, with gain and bias).</summary>
    public bool LayerNorm { get; init; }

    /// <summary>Share of a hidden layer's outputs that training sets to 0; the others are divided by 1 - share.</summary>
    /// <value>At least 0 and below 1. Default 0.</value>
    public double Dropout { get; init; }

    /// <summary>Precision.</summary>
    public TowerPrecision Precision { get; init; }

    /// <summary>Optimiser.</summary>
    public TowerOptimizer Optimizer { get; init; } = new();
}

/// <summary>The parameters of shipped towers: their order and their starting values, so that every implementation starts alike.</summary>
/// <remarks>Order: for each layer its matrix, input-major (of the first layer: a row of Layers[0] numbers for every dense number, then for every bucket of each bag),
/// then its bias, then gain and bias of its layer norm. An input-major matrix W maps x to x W + b.</remarks>
public static class TowerStart
{
    /// <summary>Number of parameters.</summary>
    /// <param name="spec">The tower.</param>
    public static int Count(TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        int count = 0, width = spec.Inputs.Width;
        for (int l = 0; l < spec.Layers.Count; l++)
        {
            count = checked(count + width * spec.Layers[l] + spec.Layers[l] * (spec.LayerNorm && l < spec.Layers.Count - 1 ? 3 : 1));
            width = spec.Layers[l];
        }

        return count;
    }

    /// <summary>Starting values: Xavier-uniform matrices (Glorot and Bengio 2010), each bag and the dense part having its own fan-in, that of a mean of ids being 1; biases uniform within
    /// 1/sqrt(fan-in), so that an empty row does not give a vector of 0; gains 1.</summary>
    /// <param name="spec">The tower.</param>
    /// <param name="seed">Seed. Not secret.</param>
    public static double[] Values(TowerSpec spec, long seed)
    {
        double[] values = new double[Count(spec)];
        var random = new PublicRandom(seed);
        int at = 0, width = spec.Inputs.Width;
        for (int l = 0; l < spec.Layers.Count; l++)
        {
            int outputs = spec.Layers[l];
            (int Inputs, int FanIn)[] blocks = l == 0
                ? [(spec.Inputs.DenseWidth, spec.Inputs.DenseWidth), .. spec.Inputs.Bags.Select(bag => (bag.Buckets, bag.Pooling == BagPooling.Mean ? 1 : bag.Buckets))] : [(width, width)];
            foreach ((int inputs, int fanIn) in blocks)
            {
                double limit = Math.Sqrt(6.0 / (fanIn + outputs));
                for (int i = 0; i < inputs * outputs; i++)
                    values[at++] = limit * (2 * random.NextDouble() - 1);
            }

            double bias = 1 / Math.Sqrt(Math.Max(1, l == 0 && spec.Inputs.DenseWidth > 0 ? spec.Inputs.DenseWidth : width));
            for (int i = 0; i < outputs; i++)
                values[at++] = bias * (2 * random.NextDouble() - 1);
            if (spec.LayerNorm && l < spec.Layers.Count - 1)
            {
                values.AsSpan(at, outputs).Fill(1);
                at += 2 * outputs;
            }

            width = outputs;
        }

        return values;
    }
}
