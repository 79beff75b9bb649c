using System.Numerics.Tensors;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>An item of a list and its score.</summary>
/// <param name="Item">Index of the item.</param>
/// <param name="Score">Inner product of its vector and the user's, plus its bias: for a model's vectors the cosine plus bias/gamma. Of a user that no view knows: the
/// popularity.</param>
public readonly record struct RankedItem(int Item, float Score);

/// <summary>The items' normalised vectors, searched exactly.</summary>
/// <remarks>Vectors are yhat = y/sqrt(|y|^2 + 1e-6) in float32, so that an inner product is the smooth cosine that the model was trained with. Biases, in units of the cosine
/// (a trained bias divided by gamma), are kept beside the vectors; a library for inner products alone takes them as one more coordinate against a 1. Immutable, and for any number
/// of threads.</remarks>
public sealed class ItemIndex
{
    private const int TowerRowsAtOnce = 1024;

    private readonly PackedItems _packed;
    private readonly float[] _vectors;
    private readonly float[]? _bias;

    /// <summary>Creates an index of vectors that are normalised already.</summary>
    /// <param name="ids">Id of each item; no two alike.</param>
    /// <param name="vectors">Normalised vectors, [N x width] row-major; finite. Not copied.</param>
    /// <param name="width">Width k, at least 1.</param>
    /// <param name="modelVersion">Version of the model whose item tower gave them.</param>
    /// <param name="bias">Bias of each item in units of the cosine, finite; null: none. Not copied.</param>
    /// <exception cref="ArgumentException">The parts do not fit together, an id is there twice, or a number is NaN or infinite.</exception>
    public ItemIndex(IReadOnlyList<string> ids, float[] vectors, int width, string modelVersion, float[]? bias = null)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(vectors);
        ArgumentException.ThrowIfNullOrEmpty(modelVersion);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        if (vectors.LongLength != (long)ids.Count * width || (bias is not null && bias.Length != ids.Count))
            throw new ArgumentException("There are not width numbers and one bias an item.", nameof(vectors));
        if (ids.Count > 0 && !(TensorPrimitives.IsFiniteAll<float>(vectors) && (bias is null || TensorPrimitives.IsFiniteAll<float>(bias))))
            throw new ArgumentException("A number is NaN or infinite.", nameof(vectors));
        if (ids.Distinct(StringComparer.Ordinal).Count() != ids.Count)
            throw new ArgumentException("An id is there twice.", nameof(ids));
        (Ids, Width, ModelVersion, _vectors, _bias) = ([.. ids], width, modelVersion, vectors, bias);
        _packed = new PackedItems(vectors, width, bias);
    }

    /// <summary>Id of each item.</summary>
    public IReadOnlyList<string> Ids { get; }

    /// <summary>Width k of the vectors.</summary>
    public int Width { get; }

    /// <summary>Version of the model whose item tower gave the vectors.</summary>
    public string ModelVersion { get; }

    /// <summary>Normalised vectors, [N x <see cref="Width"/>] row-major.</summary>
    public ReadOnlySpan<float> Vectors => _vectors;

    /// <summary>Bias of each item in units of the cosine; empty without biases.</summary>
    public ReadOnlySpan<float> Bias => _bias;

    internal bool HasBias => _bias is not null;

    /// <summary>An index of the vectors that an item tower gave.</summary>
    /// <param name="ids">Id of each item.</param>
    /// <param name="vectors">Vectors y as the tower gave them, [N x width] row-major.</param>
    /// <param name="width">Width k.</param>
    /// <param name="modelVersion">Version of the model.</param>
    /// <param name="bias">Bias of each item in units of the cosine: the trained one divided by gamma. Null: none.</param>
    public static ItemIndex FromVectors(IReadOnlyList<string> ids, ReadOnlySpan<double> vectors, int width, string modelVersion, ReadOnlySpan<double> bias = default)
    {
        float[]? narrow = null;
        if (!bias.IsEmpty)
            TensorPrimitives.ConvertTruncating(bias, narrow = new float[bias.Length]);
        return new ItemIndex(ids, Normalised(vectors, width), width, modelVersion, narrow);
    }

    /// <summary>An index of the items' content.</summary>
    /// <param name="items">The items.</param>
    /// <param name="tower">The item tower.</param>
    /// <param name="modelVersion">Version of the model.</param>
    /// <param name="bias">Bias of each item in units of the cosine; empty: none.</param>
    public static ItemIndex FromTower(ItemTable items, ITower tower, string modelVersion, ReadOnlySpan<double> bias = default)
    {
        ArgumentNullException.ThrowIfNull(items);
        ArgumentNullException.ThrowIfNull(tower);
        return FromVectors(items.Ids, Evaluate(tower, items.Content), tower.Width, modelVersion, bias);
    }

    /// <summary>This index with new items after the others: their content through the item tower is all they need, no training.</summary>
    /// <param name="items">The new items.</param>
    /// <param name="tower">The item tower, of the same version of the model.</param>
    /// <param name="modelVersion">Version of the model that the tower belongs to.</param>
    /// <returns>A new index; with biases, a new item's is 0, the value that training starts from.</returns>
    /// <exception cref="ConfigurationException">The tower is of another version of the model (FL2435).</exception>
    public ItemIndex Append(ItemTable items, ITower tower, string modelVersion)
    {
        ArgumentNullException.ThrowIfNull(items);
        ArgumentNullException.ThrowIfNull(tower);
        CheckVersion(modelVersion, "item tower");
        float[] added = Normalised(Evaluate(tower, items.Content), Width);
        return new ItemIndex([.. Ids, .. items.Ids], [.. _vectors, .. added], Width, ModelVersion, _bias is null ? null : [.. _bias, .. new float[items.Ids.Count]]);
    }

    /// <summary>The best items of each user, exactly: by falling score, equal scores by index.</summary>
    /// <remarks>A score is the bias, then for each coordinate in order a fused multiply-add in float32; it does not depend on the other users or items of the call.</remarks>
    /// <param name="users">The users.</param>
    /// <param name="count">Length of a list, at least 1; a list is shorter where fewer items are left.</param>
    /// <param name="exclude">Per user, indices of items that are left out, such as those it met; null, or null for a user: none.</param>
    /// <param name="popularity">A number an item, by which a user that no view knows gets its list; null: such a user gets an empty list. Counts of events are private: in a private
    /// job they are a release of their own.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="ConfigurationException">The users' vectors are of another version of the model (FL2435).</exception>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public RankedItem[][] TopK(UserVectors users, int count, IReadOnlyList<IReadOnlyCollection<int>?>? exclude = null, IReadOnlyList<double>? popularity = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        CheckVersion(users.ModelVersion, "user vectors");
        if (users.Width != Width || (exclude is not null && exclude.Count != users.Count) || (popularity is not null && popularity.Count != Ids.Count))
            throw new ArgumentException("The users, their exclusions or the popularity do not fit the index.", nameof(users));
        int[][] left = [.. Enumerable.Range(0, users.Count).Select(user => exclude?[user] is { Count: > 0 } own ? own.Order().ToArray() : [])];
        RankedItem[][] lists = _packed.Search(users.Values, users.Count, Math.Min(count, Math.Max(1, Ids.Count)), left, cancellationToken);
        if (users.Known is { } known)
        {
            int[]? order = popularity is null || Array.TrueForAll(known, k => k) ? null : [.. Enumerable.Range(0, Ids.Count).OrderByDescending(item => popularity[item])];
            for (int user = 0; user < lists.Length; user++)
                if (!known[user])
                    lists[user] = order is null ? [] : [.. order.Where(item => Array.BinarySearch(left[user], item) < 0).Take(count).Select(item => new RankedItem(item, (float)popularity![item]))];
        }

        return lists;
    }

    private static double[] Evaluate(ITower tower, TowerRows rows)
    {
        double[] vectors = new double[checked(rows.Rows * tower.Width)];
        for (int begin = 0; begin < rows.Rows; begin += TowerRowsAtOnce)
        {
            int count = Math.Min(TowerRowsAtOnce, rows.Rows - begin);
            tower.Forward(rows, [.. Enumerable.Range(begin, count)], vectors.AsSpan(begin * tower.Width, count * tower.Width), training: false);
        }

        return vectors;
    }

    private static float[] Normalised(ReadOnlySpan<double> vectors, int width)
    {
        float[] normalised = new float[vectors.Length];
        double[] unit = new double[width];
        for (int row = 0; row + width <= vectors.Length; row += width)
        {
            SmoothCosine.NormaliseRow(vectors.Slice(row, width), unit);
            TensorPrimitives.ConvertTruncating<double, float>(unit, normalised.AsSpan(row, width));
        }

        return normalised;
    }

    private void CheckVersion(string version, string place)
    {
        if (version != ModelVersion)
            throw new ConfigurationException(DssmServingErrors.MixedModelVersions, place, "the vectors come from another version of the model than the item index.",
                "Build the index and the users' vectors with the same trained model.");
    }
}
