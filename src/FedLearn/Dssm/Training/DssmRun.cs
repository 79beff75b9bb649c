using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What every party of a session computes alike from the job alone: schedule, coins, weights, and how a tower steps.</summary>
internal sealed class DssmRun(DssmJob job, TowerThread thread)
{
    /// <summary>Far beyond a clipped row with noise on it and any feature that a tower can tell from another, and far below what float32 overflows at.</summary>
    public const double Largest = 1e12;

    private double[] _rowNorms = [], _sum = [];

    public DssmJob Job { get; } = job;

    public TowerThread Thread { get; } = thread;

    /// <summary>Names of the views in the order of the job.</summary>
    public List<string> Views { get; init; } = [];

    /// <summary>Names of the sets of samples of this session.</summary>
    public required IReadOnlyList<string> SetNames { get; init; }

    /// <summary>The view's masks, where passive views are added under masks; null elsewhere.</summary>
    public ViewMasking? Masking { get; init; }

    public int Epochs => Job.Training.Epochs;

    /// <summary>Whether the epoch of the best validation figure is kept: without validation events, whose number every party knows, there is none to choose by, and the last one is.</summary>
    public bool Validates(int events) => events > 0 && Job.ValidationStop;

    public ElementType ElementType => Packing(noised: false);

    /// <summary>Whether views add noise to their vectors.</summary>
    public bool NoisesEmbeddings => Job.Privacy.Noise.HasFlag(DssmNoise.Embeddings);

    /// <summary>Whether the active party adds noise to the gradients that it returns.</summary>
    public bool NoisesGradients => Job.Privacy.Noise.HasFlag(DssmNoise.Gradients);

    /// <summary>Whether views add noise to the vectors that measure the model.</summary>
    public bool NoisesEvaluation { get; init; }

    /// <summary>How vectors and gradients are packed.</summary>
    public ElementType Packing(bool noised) => noised ? ElementType.Lattice : Job.Model.Precision == TowerPrecision.Float32 ? ElementType.Float32 : ElementType.Float64;

    /// <summary>Rounds what is disclosed to the type that it is packed as, so that channels in memory carry the numbers that a wire would.</summary>
    public void RoundForWire(Span<double> values)
    {
        if (ElementType == ElementType.Float32)
            VectorKernels.RoundToSingle(values);
    }

    /// <summary>Rows that a peer sent. In a private job one that is longer than any honest one is shortened: finite numbers that overflow on their way through a tower, or do not, by what is in
    /// private rows would end the session or not, and the peer would see which. The array of the rows is used where it is theirs alone.</summary>
    public double[] Received(ReadOnlyMemory<double> values, int width)
    {
        double[] rows = MemoryMarshal.TryGetArray(values, out ArraySegment<double> array) && array.Offset == 0 && array.Count == array.Array!.Length ? array.Array : values.ToArray();
        if (Job.Privacy.IsPrivate)
            RowClip.Rows(rows, width, Largest * Math.Max(1, Job.Privacy.Clip));
        return rows;
    }

    /// <summary>Whether all views get the same gradient, of the fused vector, and weigh it themselves.</summary>
    public bool SharesGradient => Job.Model.Fusion == DssmFusion.Sum && (Job.MaskedSum || NoisesGradients);

    /// <summary>Samples evaluated at a time.</summary>
    public int EvaluationChunk => Math.Max(Job.Training.BatchSize, 1024);

    public double FixedWeight(string view) => Job.Model.ViewWeights.GetValueOrDefault(view, 1);

    /// <summary>The samples of an epoch in their order.</summary>
    public int[] Order(int samples, int epoch) => SampleOrder.Of(samples, Job.Training.Seed, epoch);

    /// <summary>The samples of a batch.</summary>
    public int[] Batch(int[] order, int batch)
    {
        int from = batch * Job.Training.BatchSize;
        return order[from..Math.Min(order.Length, from + Job.Training.BatchSize)];
    }

    /// <summary>Whether training leaves a view of a sample out in an epoch.</summary>
    public bool Drops(int epoch, int sample, string view) =>
        Job.Model.ViewDropout > 0 && !ViewDropout.Keeps(Job.Training.Seed, epoch, sample, Job.Model.ViewDropout, Views.IndexOf(view), Views.Count);

    /// <summary>What the sum over a batch is divided by: its samples, or where anything is noised the planned size, which no row changes.</summary>
    public double Divisor(int samples) => Job.Privacy.IsPrivate ? Job.Training.BatchSize : samples;

    /// <summary>A tower's vectors of rows, outside training.</summary>
    public double[] Vectors(ITower tower, TowerRows rows, int[] index)
    {
        double[] vectors = GC.AllocateUninitializedArray<double>(checked(index.Length * tower.Width));
        for (int from = 0; from < index.Length; from += EvaluationChunk)
        {
            int count = Math.Min(EvaluationChunk, index.Length - from);
            tower.Forward(rows, index.AsSpan(from, count), vectors.AsSpan(from * tower.Width, count * tower.Width), training: false);
        }

        return vectors;
    }

    /// <summary>One step of a tower with the gradients of a batch, summed over its samples, and with the noise of claim full where there is some. The gradients of the vectors are changed.</summary>
    public void StepTower(ITower tower, Span<double> upstream, GaussianMechanism? noise, int samples)
    {
        double divisor = Divisor(samples);
        if (noise is null)
        {
            TensorPrimitives.Divide(upstream, divisor, upstream);
            tower.Backward(upstream);
            tower.Step();
            return;
        }

        Span<double> norms = Buffers.Of(ref _rowNorms, samples), sum = Buffers.Of(ref _sum, tower.ParameterCount);
        tower.RowGradientNorms(upstream, norms);
        RowClip.Factors(norms, Job.Privacy.ParameterClip, norms);
        tower.WeightedRowGradients(norms, sum);
        noise.Perturb(sum, "training parameters");
        TensorPrimitives.Divide(sum, divisor, sum);
        tower.Step(sum);
    }
}
