using FedLearn.Numerics;

namespace FedLearn.Dssm;

// What a model is served and measured by.
internal sealed partial class DssmLoss
{
    /// <summary>Scores of all items at serving: the fused cosine, for late the weighted mean of the cosines of the present views, plus bias / gamma. No share q takes part.</summary>
    /// <param name="views">Vectors of each view, [count x k].</param>
    /// <param name="present">By view: which samples have it; null: all.</param>
    /// <param name="items">Vectors of the N items, [N x k].</param>
    /// <param name="count">Number of samples.</param>
    /// <param name="scores">Receives [count x N]. A sample without a view has only the biases' part, which is 0 without biases.</param>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public void Score(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, double[] items, int count, Span<double> scores)
    {
        ArgumentNullException.ThrowIfNull(items);
        CheckViews(views, present, count);
        if (items.Length < _items * _width || scores.Length != (long)count * _items)
            throw new ArgumentException("Items or scores are not of the model's size.");
        TakeItems(items);
        ScoreAll(views, present, count, scores);
    }

    /// <summary>Takes the items in that <see cref="ScoreAll"/> and <see cref="ScoreEach"/> score, once for as many of their calls as there are; until the next batch or other items.</summary>
    internal void TakeItems(double[] items)
    {
        _kept = false;
        NormaliseItems(items, null);
        (_taken, _packed) = (true, false);
    }

    /// <summary>What <see cref="Score"/> gives, of the items that were taken in.</summary>
    internal void ScoreAll(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, int count, Span<double> scores)
    {
        ReadOnlySpan<double> fused = FuseTaken(views, present, count);
        if (!_packed)
            _packedColumns.Pack(_itemUnits, 1, _width, _width, _items);
        _packed = true;
        scores.Clear();
        Span<double> bias = Fusion.ItemBias;
        if (!bias.IsEmpty)
            for (int i = 0; i < count; i++)
                MatrixKernels.Scale(bias, 1 / _gamma, scores.Slice(i * _items, _items));
        MatrixKernels.AddProduct(fused, _width, 1, _packedColumns, scores, count);
    }

    /// <summary>What <see cref="Score"/> gives for a few items of each sample, to the bit, of the items that were taken in. The items of a sample follow those of the sample before; ends says where each sample's items end.</summary>
    internal void ScoreEach(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, ReadOnlySpan<int> ends, ReadOnlySpan<int> items, Span<double> scores)
    {
        ReadOnlySpan<double> fused = FuseTaken(views, present, ends.Length), bias = Fusion.ItemBias;
        double inverse = 1 / _gamma;
        for (int i = 0, c = 0; i < ends.Length; i++)
        {
            ReadOnlySpan<double> user = fused.Slice(i * _width, _width);
            for (; c < ends[i]; c++)
            {
                // In the order of the product of all, one fused multiply-add after the other: ranks, and so the epoch that is kept, are the same.
                ReadOnlySpan<double> unit = _itemUnits.AsSpan(items[c] * _width, _width);
                double score = bias.IsEmpty ? 0 : bias[items[c]] * inverse;
                for (int p = 0; p < user.Length; p++)
                    score = Math.FusedMultiplyAdd(user[p], unit[p], score);
                scores[c] = score;
            }
        }
    }

    /// <summary>Rows whose products with the items' unit vectors are the fused cosines.</summary>
    private ReadOnlySpan<double> FuseTaken(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, int count)
    {
        if (!_taken)
            throw new InvalidOperationException("No items were taken in since the last batch.");
        CheckViews(views, present, count);
        FuseHeads(views, present, count);
        Span<double> fused = Buffers.Of(ref _product, count * _width);
        fused.Clear();
        for (int h = 0; h < _heads; h++)
            for (int i = 0; i < count; i++)
                if (_headWeights[h][i] > 0)
                    MatrixKernels.AddScaled(_units[h].AsSpan(i * _width, _width), _headWeights[h][i], fused.Slice(i * _width, _width));
        return fused;
    }

    /// <summary>Fused cosines plus bias / gamma of a few items for each sample: what <see cref="Score"/> gives for them, up to rounding.</summary>
    internal void ScoreSome(DssmBatch batch, ReadOnlySpan<int> candidates, int each, Span<double> scores)
    {
        int count = batch.Targets.Length;
        CheckViews(batch.Views, batch.Present, count);
        _kept = _taken = false;
        FuseHeads(batch.Views, batch.Present, count);
        NormaliseItems(batch.Items, batch.ItemRows);
        Span<double> bias = Fusion.ItemBias;
        for (int i = 0; i < count; i++)
            for (int c = i * each; c < (i + 1) * each; c++)
            {
                int item = candidates[c];
                double score = bias.IsEmpty ? 0 : bias[item] / _gamma;
                for (int h = 0; h < _heads; h++)
                    if (_headWeights[h][i] > 0)
                        score += _headWeights[h][i] * MatrixKernels.Dot(_units[h].AsSpan(i * _width, _width), _itemUnits.AsSpan(item * _width, _width));
                scores[c] = score;
            }
    }
}
