using System.Numerics.Tensors;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>How the embeddings of a bag become one vector.</summary>
public enum BagPooling
{
    /// <summary>Weighted sum: with weights this is a sparse row times a dense matrix.</summary>
    Sum = 0,

    /// <summary>Weighted sum divided by the number of ids; an empty bag gives 0.</summary>
    Mean = 1,
}

/// <summary>A field that holds any number of ids a row.</summary>
/// <param name="Name">Name of the field.</param>
/// <param name="Buckets">Ids run from 0 to Buckets - 1; at least 1.</param>
/// <param name="Pooling">How the embeddings of the ids are put together.</param>
public sealed record BagField(string Name, int Buckets, BagPooling Pooling);

/// <summary>What a tower reads of a row: a dense vector and any number of bags, either of which may be absent.</summary>
/// <param name="DenseWidth">Numbers of the dense vector; at least 0.</param>
/// <param name="Bags">The bags.</param>
public sealed record TowerInputs(int DenseWidth, IReadOnlyList<BagField> Bags)
{
    /// <summary>Width of the first layer's input: dense numbers and buckets.</summary>
    public int Width => Bags.Aggregate(DenseWidth, (sum, bag) => checked(sum + bag.Buckets));

    /// <inheritdoc />
    public bool Equals(TowerInputs? other) => other is not null && DenseWidth == other.DenseWidth && Bags.SequenceEqual(other.Bags);

    /// <inheritdoc />
    public override int GetHashCode() => HashCode.Combine(DenseWidth, Bags.Count);
}

/// <summary>The bags of one field for every row, in compressed rows.</summary>
/// <param name="Offsets">Row r has the entries Offsets[r] to Offsets[r + 1] - 1; one more than there are rows.</param>
/// <param name="Ids">The ids.</param>
/// <param name="Weights">One weight an id; null: all 1.</param>
public sealed record BagRows(int[] Offsets, int[] Ids, double[]? Weights = null);

/// <summary>Rows that a tower reads. Immutable: towers may keep a copy in their own memory for as long as this object lives.</summary>
public sealed class TowerRows
{
    /// <summary>Creates rows.</summary>
    /// <param name="inputs">What a row has.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="dense">Dense vectors one after the other, rows x DenseWidth; every number finite.</param>
    /// <param name="bags">One for each field of the inputs.</param>
    /// <exception cref="ArgumentException">Lengths, ids or numbers do not fit.</exception>
    public TowerRows(TowerInputs inputs, int rows, double[] dense, IReadOnlyList<BagRows> bags)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(dense);
        ArgumentNullException.ThrowIfNull(bags);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        if (dense.LongLength != (long)rows * inputs.DenseWidth)
            throw new ArgumentException("There are not DenseWidth numbers a row.", nameof(dense));
        if (!VectorKernels.AllFinite(dense))
            throw new ArgumentException("A number is NaN or infinite.", nameof(dense));
        if (bags.Count != inputs.Bags.Count)
            throw new ArgumentException("There is not one bag a field.", nameof(bags));
        for (int b = 0; b < bags.Count; b++)
            Check(bags[b], rows, inputs.Bags[b].Buckets);
        (Inputs, Rows, Dense, Bags) = (inputs, rows, dense, bags);
    }

    /// <summary>What a row has.</summary>
    public TowerInputs Inputs { get; }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Dense vectors one after the other. Must not be changed.</summary>
    public double[] Dense { get; }

    /// <summary>One for each field of the inputs. Must not be changed.</summary>
    public IReadOnlyList<BagRows> Bags { get; }

    /// <summary>These rows with no number larger than a bound: a larger one counts as the bound. Themselves where there is none.</summary>
    internal TowerRows Within(double bound)
    {
        double[] dense = Within(Dense, bound);
        BagRows[] bags = [.. Bags.Select(bag => bag.Weights is { } weights && Within(weights, bound) is var within && within != weights ? bag with { Weights = within } : bag)];
        return dense == Dense && bags.SequenceEqual(Bags) ? this : new TowerRows(Inputs, Rows, dense, bags);
    }

    /// <summary>How many numbers are larger than a bound.</summary>
    internal long CountBeyond(double bound) => CountBeyond(Dense, bound) + Bags.Sum(bag => bag.Weights is { } weights ? CountBeyond(weights, bound) : 0L);

    private static int CountBeyond(double[] numbers, double bound) => numbers.Count(number => Math.Abs(number) > bound);

    private static double[] Within(double[] numbers, double bound) =>
        numbers.Length == 0 || Math.Abs(TensorPrimitives.MaxMagnitude<double>(numbers)) <= bound ? numbers : Array.ConvertAll(numbers, number => Math.Clamp(number, -bound, bound));

    private static void Check(BagRows bag, int rows, int buckets)
    {
        if (bag.Offsets.Length != rows + 1 || bag.Offsets[0] != 0 || bag.Offsets[^1] != bag.Ids.Length || (bag.Weights is { } w && w.Length != bag.Ids.Length))
            throw new ArgumentException("A bag's offsets do not fit its ids, weights or the number of rows.");
        for (int r = 0; r < rows; r++)
            if (bag.Offsets[r] > bag.Offsets[r + 1])
                throw new ArgumentException("A bag's offsets decrease.");
        foreach (int id in bag.Ids)
            if ((uint)id >= (uint)buckets)
                throw new ArgumentException("A bag has an id outside its buckets.");
        if (bag.Weights is { } weights && !VectorKernels.AllFinite(weights))
            throw new ArgumentException("A bag has a weight that is NaN or infinite.");
    }
}
