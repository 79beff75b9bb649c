using System.Numerics.Tensors;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

// All samples share their candidates: the batch's positives, or all trainable items.
internal sealed partial class DssmLoss
{
    private void EvaluateShared(DssmBatch batch, Span<double> items, bool keepRows)
    {
        int b = _samples, k = _width;
        FindCandidates(batch.Targets);
        int c = _candidateCount;
        Span<double> units = Buffers.Of(ref _candidateUnits, c * k);
        for (int j = 0; j < c; j++)
            _itemUnits.AsSpan(_candidates[j] * k, k).CopyTo(units[(j * k)..]);
        _packedColumns.Pack(units, 1, k, k, c);
        _packedRows.Pack(units, k, 1, c, k);
        int keptRows = keepRows ? b : Math.Min(b, ChunkRows), chunk = Math.Min(b, ChunkRows);
        Buffers.Of(ref _coefficients, checked(_heads * keptRows * c));
        Buffers.Of(ref _rowNorms, b);
        Buffers.Of(ref _biasNorms, b);
        if (keepRows)
            Buffers.Of(ref _cosines, checked(_heads * chunk * c));
        Span<double> compact = Candidates();
        Span<double> bias = BiasOf(Fusion.Values);
        if (!bias.IsEmpty)
            Buffers.Of(ref _product, c).Clear();
        for (int from = 0; from < b; from += ChunkRows)
        {
            int count = Math.Min(ChunkRows, b - from);
            for (int h = 0; h < _heads; h++)
            {
                Span<double> rows = _coefficients.AsSpan(RowAt(h, from, keepRows), count * c);
                rows.Clear();
                MatrixKernels.AddProduct(_units[h].AsSpan(from * k, count * k), k, 1, _packedColumns, rows, count);
                if (keepRows)
                    rows.CopyTo(_cosines.AsSpan(h * chunk * c));
                for (int i = 0; i < count; i++)
                    SharedRow(h, from + i, rows.Slice(i * c, c));
                MatrixKernels.AddProduct(rows, c, 1, _packedRows, _headGradients[h].AsSpan(from * k, count * k), count);
                AddSharedItems(h, from, count, rows, default, compact);
                for (int i = 0; i < (bias.IsEmpty ? 0 : count); i++)
                    MatrixKernels.AddScaled(rows.Slice(i * c, c), 1, _product.AsSpan(0, c));
            }

            for (int i = 0; i < (keepRows ? count : 0); i++)
                FindNorms(from + i, _coefficients.AsSpan(RowAt(0, from + i, kept: true)), b * c, _cosines.AsSpan(i * c), chunk * c, _candidates.AsSpan(0, c));
        }

        for (int h = 0; h < _heads; h++)
            MatrixKernels.Scale(_headGradients[h].AsSpan(0, b * k), _gamma, _headGradients[h].AsSpan(0, b * k));
        Spread(compact, items);
    }

    private int RowAt(int head, int sample, bool kept) => checked(kept ? (head * _samples + sample) * _candidateCount : head * Math.Min(_samples, ChunkRows) * _candidateCount);

    // From cosines to coefficients dz, which have the head's share of the loss in them.
    private void SharedRow(int head, int i, Span<double> row)
    {
        double share = _headWeights[head][i];
        if (!(share > 0))
        {
            row.Clear();
            return;
        }

        int target = _targetSlots[i];
        TensorPrimitives.Multiply(row, _gamma, row);
        TensorPrimitives.Add(row, _offsets.AsSpan(0, row.Length), row);
        TensorPrimitives.Subtract(row, TensorPrimitives.Max<double>(row), row);
        double shift = row[target];
        MatrixKernels.ExpOfNegative(row);
        if (_model.Loss != DssmLossKind.Full)
        {
            double own = row[target];
            TensorPrimitives.Multiply(row, _multiplicities.AsSpan(0, row.Length), row);
            row[target] = own;
        }

        _headLosses[head][i] = Softmax(row, target, shift, share);
    }

    private void AddSharedItems(int head, int from, int count, ReadOnlySpan<double> rows, ReadOnlySpan<double> weights, Span<double> compact)
    {
        int c = _candidateCount, k = _width;
        _packedUnits.Pack(_units[head].AsSpan(from * k, count * k), k, 1, count, k, weights.IsEmpty ? default : weights.Slice(from, count));
        MatrixKernels.AddProduct(rows[..(count * c)], 1, c, _packedUnits, compact, c);
    }

    private Span<double> Candidates()
    {
        Span<double> compact = Buffers.Of(ref _candidateGradients, _candidateCount * _width);
        compact.Clear();
        return compact;
    }

    private void Spread(ReadOnlySpan<double> compact, Span<double> items)
    {
        for (int j = 0; j < _candidateCount; j++)
            MatrixKernels.Scale(compact.Slice(j * _width, _width), _gamma, items.Slice(_candidates[j] * _width, _width));
    }

    // The distinct candidates that all samples share, how often each is in the batch, and what is added to its logit.
    private void FindCandidates(int[] targets)
    {
        Array.Fill(_slotOfItem, -1);
        Buffers.Of(ref _candidates, _items);
        Buffers.Of(ref _multiplicities, _items);
        Buffers.Of(ref _offsets, _items);
        Buffers.Of(ref _targetSlots, targets.Length);
        int count = 0;
        bool full = _model.Loss == DssmLossKind.Full;
        foreach (int item in full ? _trainable : targets)
        {
            if (_slotOfItem[item] < 0)
            {
                _candidates[count] = item;
                _multiplicities[count] = 0;
                _slotOfItem[item] = count++;
            }

            _multiplicities[_slotOfItem[item]]++;
        }

        Span<double> bias = Fusion.ItemBias;
        for (int j = 0; j < count; j++)
            _offsets[j] = (bias.IsEmpty ? 0 : bias[_candidates[j]]) - (_model.Loss == DssmLossKind.InBatchLogQ ? _logQ![_candidates[j]] : 0);
        for (int i = 0; i < targets.Length; i++)
            _targetSlots[i] = _slotOfItem[targets[i]] >= 0 ? _slotOfItem[targets[i]] : throw new ArgumentException("A positive item is none of the candidates.", nameof(targets));
        _candidateCount = count;
    }
}
