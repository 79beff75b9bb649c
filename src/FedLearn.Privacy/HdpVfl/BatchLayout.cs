namespace FedLearn.Privacy;

/// <summary>How n rows are cut into r consecutive batches: the first n mod r have ceil(n/r) rows, the others floor(n/r).</summary>
/// <remarks>Public and the same in every epoch: the sensitivity of HDP-VFL rests on that.</remarks>
public sealed class BatchLayout
{
    /// <summary>Creates the layout.</summary>
    /// <param name="rows">Rows n, at least 1.</param>
    /// <param name="batches">Batches r, from 1 to n.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2302: rows or batches out of range.</exception>
    public BatchLayout(int rows, int batches)
    {
        if (rows < 1)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "rows", "there are none.", "Give at least one row.");
        if (batches < 1 || batches > rows)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "batches",
                "the number of batches is not between 1 and the number of rows.", "Give at least 1 and at most as many batches as there are rows.");
        (Rows, Count) = (rows, batches);
    }

    /// <summary>Rows n.</summary>
    public int Rows { get; }

    /// <summary>Batches r.</summary>
    public int Count { get; }

    /// <summary>Rows of the largest batch, ceil(n/r).</summary>
    public int LargestSize => SmallestSize + (Larger > 0 ? 1 : 0);

    /// <summary>Rows of the smallest batch, floor(n/r).</summary>
    public int SmallestSize => Rows / Count;

    /// <summary>How many batches have one row more than <see cref="SmallestSize"/>.</summary>
    internal int Larger => Rows % Count;

    /// <summary>The layout of a job that names a batch size B: r = ceil(n/B).</summary>
    /// <param name="rows">Rows n, at least 1.</param>
    /// <param name="size">Batch size B, at least 1; above n it counts as n.</param>
    /// <returns>A layout whose batches have at most B rows.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2302: rows or size out of range.</exception>
    public static BatchLayout FromBatchSize(int rows, int size)
    {
        if (size < 1)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "batch size", "it is below 1.", "Give a batch size of at least 1.");
        return new(rows, rows < 1 ? 1 : (rows - 1) / size + 1);
    }

    /// <summary>First row of a batch.</summary>
    /// <param name="batch">Batch t, from 0 to r - 1.</param>
    /// <returns>Index of the row in the common order.</returns>
    public int Start(int batch)
    {
        CheckBatch(batch);
        return batch * SmallestSize + Math.Min(batch, Larger);
    }

    /// <summary>Rows of a batch: the public constant that its gradient is divided by.</summary>
    /// <param name="batch">Batch t, from 0 to r - 1.</param>
    /// <returns>Number of rows, at least 1.</returns>
    public int Size(int batch)
    {
        CheckBatch(batch);
        return SmallestSize + (batch < Larger ? 1 : 0);
    }

    private void CheckBatch(int batch)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(batch);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(batch, Count);
    }
}
