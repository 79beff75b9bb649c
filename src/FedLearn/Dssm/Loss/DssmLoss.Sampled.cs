using FedLearn.Numerics;

namespace FedLearn.Dssm;

// Every sample has candidates of its own: its positive and J negatives.
internal sealed partial class DssmLoss
{
    private void EvaluateSampled(DssmBatch batch, Span<double> items, bool keepRows)
    {
        int b = _samples, each = _candidateCount = _model.Negatives + 1, k = _width;
        Span<int> candidates = Buffers.Of(ref _sampleCandidates, b * each);
        for (int i = 0; i < b; i++)
        {
            candidates[i * each] = batch.Targets[i];
            batch.Negatives.AsSpan(i * (each - 1), each - 1).CopyTo(candidates[(i * each + 1)..]);
        }

        int total = _heads * b * each;
        Span<double> cosines = Buffers.Of(ref _cosines, total), rows = Buffers.Of(ref _coefficients, total);
        Span<double> shifts = Buffers.Of(ref _shifts, _heads * b);
        ReadOnlySpan<double> units = _itemUnits, bias = Fusion.ItemBias;
        for (int h = 0; h < _heads; h++)
            for (int i = 0; i < b; i++)
            {
                int at = (h * b + i) * each;
                Span<double> row = rows.Slice(at, each), cosine = cosines.Slice(at, each);
                ReadOnlySpan<int> own = candidates.Slice(i * each, each);
                ReadOnlySpan<double> unit = _units[h].AsSpan(i * k, k);
                double largest = double.NegativeInfinity;
                for (int c = 0; c < each; c++)
                {
                    cosine[c] = MatrixKernels.Dot(unit, units.Slice(own[c] * k, k));
                    row[c] = c > 0 && own[c] == own[0] ? MaskedLogit : _gamma * cosine[c] + (bias.IsEmpty ? 0 : bias[own[c]]);
                    largest = Math.Max(largest, row[c]);
                }

                for (int c = 0; c < each; c++)
                    row[c] -= largest;
                shifts[h * b + i] = row[0];
            }

        MatrixKernels.ExpOfNegative(rows);
        for (int h = 0; h < _heads; h++)
            for (int i = 0; i < b; i++)
                _headLosses[h][i] = Softmax(rows.Slice((h * b + i) * each, each), 0, shifts[h * b + i], _headWeights[h][i]);
        AddSampledItems(default, items, vectorGradients: true);
        if (keepRows)
            FindSampledNorms();
    }

    // Sums over samples, then heads, then candidates: gradients of the items' unit vectors and, when asked for, of the heads'.
    private void AddSampledItems(ReadOnlySpan<double> weights, Span<double> items, bool vectorGradients)
    {
        int b = _samples, each = _candidateCount, k = _width;
        ReadOnlySpan<double> units = _itemUnits;
        for (int i = 0; i < b; i++)
            for (int h = 0; h < _heads; h++)
            {
                if (!(_headWeights[h][i] > 0))
                    continue;
                ReadOnlySpan<double> unit = _units[h].AsSpan(i * k, k), row = _coefficients.AsSpan((h * b + i) * each, each);
                Span<double> gradient = _headGradients[h].AsSpan(i * k, k);
                double factor = weights.IsEmpty ? _gamma : _gamma * weights[i];
                for (int c = 0; c < each; c++)
                {
                    int item = _sampleCandidates[i * each + c];
                    MatrixKernels.AddScaled(unit, factor * row[c], items.Slice(item * k, k));
                    if (vectorGradients)
                        MatrixKernels.AddScaled(units.Slice(item * k, k), factor * row[c], gradient);
                }
            }
    }

    private void FindSampledNorms()
    {
        int b = _samples, each = _candidateCount;
        Span<double> merged = Buffers.Of(ref _product, _heads * each);
        Buffers.Of(ref _rowNorms, b);
        Buffers.Of(ref _biasNorms, b);
        if (_marks.Length < _items)
            (_marks, _firstSlots, _stamp) = (new int[_items], new int[_items], 0);
        for (int i = 0; i < b; i++)
        {
            if (_stamp == int.MaxValue)
            {
                Array.Clear(_marks);
                _stamp = 0;
            }

            _stamp++;
            merged.Clear();
            ReadOnlySpan<int> own = _sampleCandidates.AsSpan(i * each, each);
            for (int c = 0; c < each; c++)
            {
                int item = own[c];
                if (_marks[item] != _stamp)
                    (_marks[item], _firstSlots[item]) = (_stamp, c);
                for (int h = 0; h < _heads; h++)
                    merged[h * each + _firstSlots[item]] += _coefficients[(h * b + i) * each + c];
            }

            FindNorms(i, merged, each, _cosines.AsSpan(i * each), b * each, own);
        }
    }
}
