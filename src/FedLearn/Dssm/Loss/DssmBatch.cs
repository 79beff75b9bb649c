namespace FedLearn.Dssm;

/// <summary>One batch as the loss reads it: b samples, vectors of width k, N items. Matrices are row-major; arrays may be longer than needed, so that a smaller last batch
/// can use the arrays of the others. Arrays are only read.</summary>
internal sealed record DssmBatch
{
    /// <summary>Vectors y_v of each view, [b x k]. Rows of absent views are not read.</summary>
    public required IReadOnlyList<double[]> Views { get; init; }

    /// <summary>By view: which samples have it, a dropped view counting as absent; null for a view that all have.</summary>
    public required IReadOnlyList<bool[]?> Present { get; init; }

    /// <summary>Vectors Y of all items, [N x k].</summary>
    public required double[] Items { get; init; }

    /// <summary>Items whose vectors are there, in ascending order: all targets and negatives at least. The other items' rows are not read, and their gradients are 0. Null: all.</summary>
    internal int[]? ItemRows { get; init; }

    /// <summary>Positive item of each sample; the length is b.</summary>
    public required int[] Targets { get; init; }

    /// <summary>Drawn items, [b x J], for <see cref="DssmLossKind.Sampled"/>; empty otherwise.</summary>
    public int[] Negatives { get; init; } = [];
}
