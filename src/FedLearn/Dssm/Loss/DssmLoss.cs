using System.Numerics.Tensors;
using FedLearn.Diagnostics;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>The loss of the label party: fused views against items by smooth cosine and softmax (DSSM, Huang et al. 2013), with exact gradients for everything it reads.</summary>
/// <remarks>
/// <para>With unit vectors yhat = y / sqrt(|y|^2 + 1e-6) the logit of item c is z_c = gamma yhat_u . Yhat_c + bias_c, and a sample's loss is -log softmax(z) at its positive.</para>
/// <para>Fusions. Late: L = sum_v m_v L_v, the weights w_v of the sample's present views divided by their sum (learned ones: by 1e-12 when the sum is less). Sum: y_u = sum_v w_v y_v. Concat: y_u = sum_v w_v y_v T_v. Absent
/// views leave the mean of late and count as 0 elsewhere. A sample without any view has loss 0 and no gradient.</para>
/// <para>Candidates. Sampled: the positive and J negatives; a negative equal to the positive gets the logit -1e9. In-batch: the positives of all samples of the batch, other
/// samples with the same positive left out. In-batch logQ: the same with z_c - log q_c, the positive's too. Full: all trainable items.</para>
/// <para>Everything is float64, in an order that depends on shapes and items alone. After the first batch of a size nothing is allocated. For one thread at a time.</para>
/// </remarks>
public sealed class DssmLoss
{
    private const double MaskedLogit = -1e9;
    private const double LeastLearnedWeight = 1e-12;
    private const int ChunkRows = 128;
    private const double UnitRoundoff = 1.0 / (1L << 53);

    private readonly DssmModelOptions _model;
    private readonly int _width, _views, _items;
    private readonly double _gamma, _leastWeight;
    private readonly double[]? _logQ;
    private readonly int[] _trainable;
    private readonly int[] _slotOfItem;

    // Heads are the vectors that meet the items: every view under late, the fused one otherwise.
    private readonly int _heads;
    private readonly double[][] _units, _lengths, _headWeights, _headLosses, _headGradients, _inputs;
    private readonly double[] _viewWeights;
    private readonly PackedMatrix _packedColumns = new(), _packedRows = new(), _packedUnits = new();
    private double[] _itemUnits = [], _itemLengths = [], _weightSums = [], _weightGradients = [], _shifts = [];
    private double[] _product = [], _offsets = [], _multiplicities = [], _candidateGradients = [];
    private double[] _coefficients = [], _cosines = [], _candidateUnits = [], _rowNorms = [], _biasNorms = [];
    private int[] _candidates = [], _sampleCandidates = [], _targetSlots = [], _marks = [], _firstSlots = [];
    private int _candidateCount, _samples, _stamp;
    private bool _kept;

    /// <summary>Creates a loss with the starting values of its parameters.</summary>
    /// <param name="model">Model.</param>
    /// <param name="width">Width k of all vectors; at least 1.</param>
    /// <param name="views">Names of the views, in the order of every batch; at least one, no two alike.</param>
    /// <param name="items">Number of items N; at least 1.</param>
    /// <param name="logQ">Natural logarithm of each item's share, [N]; needed by <see cref="DssmLossKind.InBatchLogQ"/> and only read by it. May be changed between batches.</param>
    /// <param name="trainable">Which items are candidates of <see cref="DssmLossKind.Full"/>; null: all. Items that training must not know are none.</param>
    /// <exception cref="ConfigurationException">Options are out of range (FL2430), or shares are missing (FL2431).</exception>
    public DssmLoss(DssmModelOptions model, int width, IReadOnlyList<string> views, int items, double[]? logQ = null, bool[]? trainable = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(views);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(items, 1);
        if (trainable is not null && trainable.Length != items)
            throw new ArgumentException("There is not one answer an item.", nameof(trainable));
        Check(model, views);
        if (model.Loss == DssmLossKind.InBatchLogQ && (logQ is null || logQ.Length != items))
            throw new ConfigurationException(DssmLossErrors.InvalidItemShares, "loss in-batch logQ", "there is not one share an item.",
                "Give the logarithms of the items' shares in the training events.");
        (_model, _width, _views, _items, _gamma, _logQ) = (model, width, views.Count, items, model.Gamma, logQ);
        _leastWeight = model.LearnViewWeights ? LeastLearnedWeight : 0;
        _trainable = [.. Enumerable.Range(0, items).Where(i => trainable is null || trainable[i])];
        _slotOfItem = new int[items];
        double[] weights = [.. views.Select(name => model.ViewWeights.TryGetValue(name, out double weight) ? weight : 1)];
        Fusion = new FusionParameters(model.Fusion, width, weights, model.LearnViewWeights, items, model.ItemBias);
        _viewWeights = new double[_views];
        _heads = model.Fusion == DssmFusion.Late ? _views : 1;
        (_units, _lengths, _headWeights, _headLosses, _headGradients) = (Empty(_heads), Empty(_heads), Empty(_heads), Empty(_heads), Empty(_heads));
        _inputs = Empty(model.Fusion == DssmFusion.Concat ? _views : 0);
    }

    /// <summary>Trained parameters of the label party. An optimiser may change <see cref="FusionParameters.Values"/> between batches.</summary>
    public FusionParameters Fusion { get; }

    /// <summary>Loss of a batch, summed over its samples, and its gradients.</summary>
    /// <param name="batch">The batch. Vectors must be finite.</param>
    /// <param name="gradients">Receives the gradients.</param>
    /// <param name="keepRows">Whether single samples are asked for afterwards, by the four methods below; this costs memory for b times the number of candidates.</param>
    /// <returns>The sum; divide it by b for the mean.</returns>
    /// <exception cref="ArgumentException">The parts of the batch do not fit together.</exception>
    public double Evaluate(DssmBatch batch, DssmGradients gradients, bool keepRows = false)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(gradients);
        _kept = false;
        CheckBatch(batch);
        int b = _samples = batch.Targets.Length;
        gradients.Prepare(_views, b, _width, _items, Fusion.Values.Length, _heads == 1 && _model.Fusion != DssmFusion.Late);
        Array.Clear(gradients.Items);
        Array.Clear(gradients.Fusion);
        FuseHeads(batch.Views, batch.Present, b);
        NormaliseItems(batch.Items);
        for (int h = 0; h < _heads; h++)
        {
            Grow(ref _headLosses[h], b).AsSpan(0, b).Clear();
            Grow(ref _headGradients[h], b * _width).AsSpan(0, b * _width).Clear();
        }

        if (_model.Loss == DssmLossKind.Sampled)
            EvaluateSampled(batch, gradients.Items, keepRows);
        else
            EvaluateShared(batch, gradients.Items, keepRows);
        AddBiasGradients(default, BiasOf(gradients.Fusion));
        SmoothCosine.Backward(_itemUnits.AsSpan(0, gradients.Items.Length), _itemLengths.AsSpan(0, _items), _width, gradients.Items);
        for (int h = 0; h < _heads; h++)
            SmoothCosine.Backward(_units[h].AsSpan(0, b * _width), _lengths[h].AsSpan(0, b), _width, _headGradients[h].AsSpan(0, b * _width));
        ToViews(batch, gradients);
        _kept = keepRows;
        double loss = 0;
        for (int i = 0; i < b; i++)
            loss += SampleLoss(i);
        return loss;
    }

    /// <summary>Squared L2 norm of each sample's own dL/dY, an item that is a candidate twice counting as one row. Rounding never makes it too small: it may be above the real
    /// norm by up to 1e-12 gamma^2/s^2 or so, s the smallest smooth length of a candidate.</summary>
    /// <param name="squaredNorms">Receives one number a sample of the last batch, which was evaluated with its rows kept.</param>
    /// <exception cref="InvalidOperationException">The rows were not kept.</exception>
    public void ItemBlockNorms(Span<double> squaredNorms)
    {
        CheckKept(squaredNorms.Length);
        _rowNorms.AsSpan(0, _samples).CopyTo(squaredNorms);
    }

    /// <summary>Sum over samples of weight times the sample's own dL/dY.</summary>
    /// <param name="weights">One a sample, such as min(1, G/norm).</param>
    /// <param name="sum">Receives [N x k].</param>
    /// <exception cref="InvalidOperationException">The rows were not kept.</exception>
    public void WeightedItemGradients(ReadOnlySpan<double> weights, Span<double> sum)
    {
        CheckKept(weights.Length);
        if (sum.Length != _items * _width)
            throw new ArgumentException("The sum is not of the items' size.", nameof(sum));
        sum.Clear();
        if (_model.Loss == DssmLossKind.Sampled)
            AddSampledItems(weights, sum, vectorGradients: false);
        else
        {
            Span<double> compact = Candidates();
            for (int from = 0; from < _samples; from += ChunkRows)
                for (int h = 0; h < _heads; h++)
                    AddSharedItems(h, from, Math.Min(ChunkRows, _samples - from), _coefficients.AsSpan(RowAt(h, from, kept: true)), weights, compact);
            Spread(compact, sum);
        }

        SmoothCosine.Backward(_itemUnits.AsSpan(0, sum.Length), _itemLengths.AsSpan(0, _items), _width, sum);
    }

    /// <summary>Squared L2 norm of each sample's own gradient of all fusion parameters together.</summary>
    /// <param name="squaredNorms">Receives one number a sample; 0 when there are no parameters.</param>
    /// <exception cref="InvalidOperationException">The rows were not kept.</exception>
    public void FusionRowNorms(Span<double> squaredNorms)
    {
        CheckKept(squaredNorms.Length);
        for (int i = 0; i < _samples; i++)
        {
            double squares = Fusion.ItemBias.IsEmpty ? 0 : _biasNorms[i];
            if (!Fusion.WeightRoots.IsEmpty)
                squares += Squares(_weightGradients.AsSpan(i * _views, _views));
            if (_inputs.Length > 0)
            {
                double inputs = 0;
                foreach (double[] input in _inputs)
                    inputs += Squares(input.AsSpan(i * _width, _width));
                squares += inputs * Squares(_headGradients[0].AsSpan(i * _width, _width));
            }

            squaredNorms[i] = squares;
        }
    }

    /// <summary>Sum over samples of weight times the sample's own gradient of the fusion parameters.</summary>
    /// <param name="weights">One a sample.</param>
    /// <param name="sum">Receives as many numbers as <see cref="FusionParameters.Values"/> has, in its order.</param>
    /// <exception cref="InvalidOperationException">The rows were not kept.</exception>
    public void WeightedFusionGradients(ReadOnlySpan<double> weights, Span<double> sum)
    {
        CheckKept(weights.Length);
        if (sum.Length != Fusion.Values.Length)
            throw new ArgumentException("The sum is not of the parameters' size.", nameof(sum));
        sum.Clear();
        AddFusionGradients(weights, sum);
        AddBiasGradients(weights, BiasOf(sum));
    }

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
        _kept = false;
        FuseHeads(views, present, count);
        NormaliseItems(items);
        _packedColumns.Pack(_itemUnits, 1, _width, _width, _items);
        Span<double> fused = Grow(ref _product, count * _width).AsSpan(0, count * _width);
        fused.Clear();
        for (int h = 0; h < _heads; h++)
            for (int i = 0; i < count; i++)
                if (_headWeights[h][i] > 0)
                    MatrixKernels.AddScaled(_units[h].AsSpan(i * _width, _width), _headWeights[h][i], fused.Slice(i * _width, _width));
        scores.Clear();
        Span<double> bias = Fusion.ItemBias;
        if (!bias.IsEmpty)
            for (int i = 0; i < count; i++)
                MatrixKernels.Scale(bias, 1 / _gamma, scores.Slice(i * _items, _items));
        MatrixKernels.AddProduct(fused, _width, 1, _packedColumns, scores, count);
    }

    /// <summary>Fused cosines plus bias / gamma of a few items for each sample: what <see cref="Score"/> gives for them, up to rounding.</summary>
    internal void ScoreSome(DssmBatch batch, ReadOnlySpan<int> candidates, int each, Span<double> scores)
    {
        int count = batch.Targets.Length;
        CheckViews(batch.Views, batch.Present, count);
        _kept = false;
        FuseHeads(batch.Views, batch.Present, count);
        NormaliseItems(batch.Items);
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

    // Heads, their unit vectors and their shares of each sample's loss; a head that a sample lacks has share 0, unit 0 and length 1.
    private void FuseHeads(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, int count)
    {
        Fusion.GetViewWeights(_viewWeights);
        Span<double> sums = Grow(ref _weightSums, count).AsSpan(0, count);
        sums.Clear();
        for (int v = 0; v < _views; v++)
            for (int i = 0; i < count; i++)
                if (Has(present[v], i))
                    sums[i] += _viewWeights[v];
        if (_model.Fusion == DssmFusion.Late)
        {
            for (int v = 0; v < _views; v++)
            {
                (double[] units, double[] lengths, double[] weights) = Head(v, count);
                for (int i = 0; i < count; i++)
                {
                    bool has = Has(present[v], i);
                    weights[i] = has ? _viewWeights[v] / Math.Max(sums[i], _leastWeight) : 0;
                    NormaliseHead(has, views[v].AsSpan(i * _width, _width), units.AsSpan(i * _width, _width), out lengths[i]);
                }
            }

            return;
        }

        (double[] fusedUnits, double[] fusedLengths, double[] shares) = Head(0, count);
        Span<double> fused = fusedUnits.AsSpan(0, count * _width);
        fused.Clear();
        shares.AsSpan(0, count).Clear();
        for (int v = 0; v < _views; v++)
        {
            double weight = _viewWeights[v];
            Span<double> input = _inputs.Length > 0 ? Grow(ref _inputs[v], count * _width).AsSpan(0, count * _width) : default;
            input.Clear();
            for (int i = 0; i < count; i++)
            {
                if (!Has(present[v], i))
                    continue;
                shares[i] = 1;
                MatrixKernels.AddScaled(views[v].AsSpan(i * _width, _width), weight, (_inputs.Length > 0 ? input : fused).Slice(i * _width, _width));
            }

            if (_inputs.Length == 0)
                continue;
            _packedUnits.Pack(Fusion.Matrix.Slice(v * _width * _width, _width * _width), _width, 1, _width, _width);
            MatrixKernels.AddProduct(input, _width, 1, _packedUnits, fused, count);
        }

        for (int i = 0; i < count; i++)
            NormaliseHead(shares[i] > 0, fused.Slice(i * _width, _width), fused.Slice(i * _width, _width), out fusedLengths[i]);
    }

    private static void NormaliseHead(bool has, ReadOnlySpan<double> vector, Span<double> unit, out double length)
    {
        length = 1;
        if (has)
            length = SmoothCosine.NormaliseRow(vector, unit);
        else
            unit.Clear();
    }

    private void NormaliseItems(double[] items) => SmoothCosine.Normalise(items.AsSpan(0, _items * _width), _width,
        Grow(ref _itemUnits, _items * _width).AsSpan(0, _items * _width), Grow(ref _itemLengths, _items).AsSpan(0, _items));

    private void EvaluateSampled(DssmBatch batch, Span<double> items, bool keepRows)
    {
        int b = _samples, each = _candidateCount = _model.Negatives + 1, k = _width;
        Span<int> candidates = Grow(ref _sampleCandidates, b * each).AsSpan(0, b * each);
        for (int i = 0; i < b; i++)
        {
            candidates[i * each] = batch.Targets[i];
            batch.Negatives.AsSpan(i * (each - 1), each - 1).CopyTo(candidates[(i * each + 1)..]);
        }

        int total = _heads * b * each;
        Span<double> cosines = Grow(ref _cosines, total).AsSpan(0, total), rows = Grow(ref _coefficients, total).AsSpan(0, total);
        Span<double> shifts = Grow(ref _shifts, _heads * b).AsSpan(0, _heads * b);
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
        Span<double> merged = Grow(ref _product, _heads * each).AsSpan(0, _heads * each);
        Grow(ref _rowNorms, b);
        Grow(ref _biasNorms, b);
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

    // |dL/dY|^2 and |dL/dbias|^2 of one sample from its coefficients and cosines, candidate by candidate.
    private void FindNorms(int i, ReadOnlySpan<double> coefficients, int coefficientStep, ReadOnlySpan<double> cosines, int cosineStep, ReadOnlySpan<int> items)
    {
        int heads = _heads, k = _width;
        Span<double> gram = heads <= 16 ? stackalloc double[heads * heads] : new double[heads * heads];
        for (int h = 0; h < heads; h++)
            for (int g = 0; g <= h; g++)
                gram[h * heads + g] = gram[g * heads + h] = MatrixKernels.Dot(_units[h].AsSpan(i * k, k), _units[g].AsSpan(i * k, k));
        double squares = 0, biasSquares = 0;
        for (int c = 0; c < items.Length; c++)
        {
            double along = 0, whole = 0, size = 0, bias = 0;
            for (int h = 0; h < heads; h++)
            {
                double q = coefficients[h * coefficientStep + c];
                bias += q;
                size += Math.Abs(q);
                along += q * cosines[h * cosineStep + c];
                for (int g = 0; g < heads; g++)
                    whole += q * coefficients[g * coefficientStep + c] * gram[h * heads + g];
            }

            // |g - yhat (yhat . g)|^2 with |yhat|^2 = 1 - 1e-6/s^2. The difference may cancel; what rounding can hide is added.
            double length = _itemLengths[items[c]], square = length * length;
            double rounding = 4 * (k + heads + 8) * UnitRoundoff * size * size;
            squares += (Math.Max(0, whole - (1 + SmoothCosine.Epsilon / square) * along * along) + rounding) / square;
            biasSquares += bias * bias;
        }

        (_rowNorms[i], _biasNorms[i]) = (squares * _gamma * _gamma, biasSquares);
    }

    private void EvaluateShared(DssmBatch batch, Span<double> items, bool keepRows)
    {
        int b = _samples, k = _width;
        FindCandidates(batch.Targets);
        int c = _candidateCount;
        Span<double> units = Grow(ref _candidateUnits, c * k).AsSpan(0, c * k);
        for (int j = 0; j < c; j++)
            _itemUnits.AsSpan(_candidates[j] * k, k).CopyTo(units[(j * k)..]);
        _packedColumns.Pack(units, 1, k, k, c);
        _packedRows.Pack(units, k, 1, c, k);
        int keptRows = keepRows ? b : Math.Min(b, ChunkRows), chunk = Math.Min(b, ChunkRows);
        Grow(ref _coefficients, checked(_heads * keptRows * c));
        Grow(ref _rowNorms, b);
        Grow(ref _biasNorms, b);
        if (keepRows)
            Grow(ref _cosines, checked(_heads * chunk * c));
        Grow(ref _shifts, b);
        Span<double> compact = Candidates();
        Span<double> bias = BiasOf(Fusion.Values);
        if (!bias.IsEmpty)
            Grow(ref _product, c).AsSpan(0, c).Clear();
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

    // exp(z - max) on entry, share (P - [target]) on return. The complement of P at the target is the sum of the others: no digits cancel when P is near 1.
    private static double Softmax(Span<double> row, int target, double shift, double share)
    {
        double own = row[target];
        row[target] = 0;
        double others = MatrixKernels.Sum(row), total = others + own;
        MatrixKernels.Scale(row, share / total, row);
        row[target] = -share * (others / total);
        return shift == 0 ? LogOnePlus(others) : Math.Log(total) - shift;
    }

    private static double LogOnePlus(double x)
    {
        // Kahan's form: the rounding of 1 + x cancels in the quotient.
        double sum = 1 + x;
        return sum == 1 ? x : Math.Log(sum) * (x / (sum - 1));
    }

    private void AddSharedItems(int head, int from, int count, ReadOnlySpan<double> rows, ReadOnlySpan<double> weights, Span<double> compact)
    {
        int c = _candidateCount, k = _width;
        _packedUnits.Pack(_units[head].AsSpan(from * k, count * k), k, 1, count, k, weights.IsEmpty ? default : weights.Slice(from, count));
        MatrixKernels.AddProduct(rows[..(count * c)], 1, c, _packedUnits, compact, c);
    }

    private Span<double> Candidates()
    {
        Span<double> compact = Grow(ref _candidateGradients, _candidateCount * _width).AsSpan(0, _candidateCount * _width);
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
        Grow(ref _candidates, _items);
        Grow(ref _multiplicities, _items);
        Grow(ref _offsets, _items);
        Grow(ref _targetSlots, targets.Length);
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

    private void ToViews(DssmBatch batch, DssmGradients gradients)
    {
        int b = _samples, k = _width;
        bool learned = !Fusion.WeightRoots.IsEmpty;
        if (learned)
            Grow(ref _weightGradients, b * _views).AsSpan(0, b * _views).Clear();
        if (_model.Fusion != DssmFusion.Late)
            _headGradients[0].AsSpan(0, b * k).CopyTo(gradients.Fused);
        for (int v = 0; v < _views; v++)
        {
            Span<double> gradient = gradients.Views[v].AsSpan(0, b * k);
            if (_model.Fusion == DssmFusion.Late)
                _headGradients[v].AsSpan(0, b * k).CopyTo(gradient);
            else if (_model.Fusion == DssmFusion.Concat)
            {
                _packedUnits.Pack(Fusion.Matrix.Slice(v * k * k, k * k), 1, k, k, k);
                gradient.Clear();
                MatrixKernels.AddProduct(_headGradients[0].AsSpan(0, b * k), k, 1, _packedUnits, gradient, b);
            }

            for (int i = 0; i < b; i++)
            {
                Span<double> row = gradient.Slice(i * k, k);
                if (!Has(batch.Present[v], i))
                    row.Clear();
                else if (_model.Fusion != DssmFusion.Late)
                {
                    ReadOnlySpan<double> before = _model.Fusion == DssmFusion.Sum ? _headGradients[0].AsSpan(i * k, k) : row;
                    if (learned)
                        _weightGradients[i * _views + v] = 2 * Fusion.WeightRoots[v] * MatrixKernels.Dot(before, batch.Views[v].AsSpan(i * k, k));
                    MatrixKernels.Scale(before, _viewWeights[v], row);
                }
                else if (learned)
                {
                    // m_v = w_v / sum: the sum moves with every weight until it is held at its least value.
                    double sum = _weightSums[i], moving = sum > _leastWeight ? SampleLoss(i) : 0;
                    _weightGradients[i * _views + v] = 2 * Fusion.WeightRoots[v] * (_headLosses[v][i] - moving) / Math.Max(sum, _leastWeight);
                }
            }
        }

        AddFusionGradients(default, gradients.Fusion);
    }

    // Matrix and view weights.
    private void AddFusionGradients(ReadOnlySpan<double> weights, Span<double> sum)
    {
        int b = _samples, k = _width;
        if (_inputs.Length > 0 && b > 0)
        {
            _packedUnits.Pack(_headGradients[0].AsSpan(0, b * k), k, 1, b, k, weights);
            for (int v = 0; v < _views; v++)
                MatrixKernels.AddProduct(_inputs[v].AsSpan(0, b * k), 1, k, _packedUnits, sum.Slice(v * k * k, k * k), k);
        }

        if (Fusion.WeightRoots.IsEmpty)
            return;
        Span<double> roots = sum.Slice(Fusion.Matrix.Length, _views);
        for (int i = 0; i < b; i++)
            MatrixKernels.AddScaled(_weightGradients.AsSpan(i * _views, _views), weights.IsEmpty ? 1 : weights[i], roots);
    }

    private void AddBiasGradients(ReadOnlySpan<double> weights, Span<double> bias)
    {
        if (bias.IsEmpty)
            return;
        int b = _samples, c = _candidateCount;
        bool sampled = _model.Loss == DssmLossKind.Sampled;
        if (!sampled && weights.IsEmpty)
        {
            for (int j = 0; j < c; j++)
                bias[_candidates[j]] = _product[j];
            return;
        }

        for (int i = 0; i < b; i++)
            for (int h = 0; h < _heads; h++)
                for (int j = 0; j < c; j++)
                    bias[sampled ? _sampleCandidates[i * c + j] : _candidates[j]] += (weights.IsEmpty ? 1 : weights[i]) * _coefficients[(h * b + i) * c + j];
    }

    private double SampleLoss(int i)
    {
        double loss = 0;
        for (int h = 0; h < _heads; h++)
            loss += _headWeights[h][i] * _headLosses[h][i];
        return loss;
    }

    private Span<double> BiasOf(Span<double> parameters) => parameters[(Fusion.Matrix.Length + Fusion.WeightRoots.Length)..];

    private static double Squares(ReadOnlySpan<double> values) => MatrixKernels.Dot(values, values);

    private (double[] Units, double[] Lengths, double[] Weights) Head(int head, int count) =>
        (Grow(ref _units[head], count * _width), Grow(ref _lengths[head], count), Grow(ref _headWeights[head], count));

    private static bool Has(bool[]? present, int i) => present is null || present[i];

    private static T[] Grow<T>(ref T[] array, int length) => array.Length >= length ? array : array = new T[length];

    private static double[][] Empty(int count) => [.. Enumerable.Range(0, count).Select(_ => Array.Empty<double>())];

    private void CheckKept(int length)
    {
        if (!_kept)
            throw new InvalidOperationException("The last batch was not evaluated with its rows kept.");
        if (length != _samples)
            throw new ArgumentException("There is not one number a sample.");
    }

    private void CheckViews(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, int count)
    {
        ArgumentNullException.ThrowIfNull(views);
        ArgumentNullException.ThrowIfNull(present);
        if (views.Count != _views || present.Count != _views)
            throw new ArgumentException("There are not the model's views.");
        for (int v = 0; v < _views; v++)
            if (views[v].Length < (long)count * _width || present[v]?.Length < count)
                throw new ArgumentException("A view is shorter than the batch.");
    }

    private void CheckBatch(DssmBatch batch)
    {
        int b = batch.Targets.Length;
        CheckViews(batch.Views, batch.Present, b);
        if (batch.Items.Length < _items * _width)
            throw new ArgumentException("There are not the model's items.");
        if (_model.Loss == DssmLossKind.Sampled && batch.Negatives.Length < (long)b * _model.Negatives)
            throw new ArgumentException("There are not J negatives a sample.");
        foreach (int item in batch.Targets)
            if ((uint)item >= (uint)_items)
                throw new ArgumentException("A positive item is out of range.");
        foreach (int item in batch.Negatives)
            if ((uint)item >= (uint)_items)
                throw new ArgumentException("A negative item is out of range.");
    }

    private static void Check(DssmModelOptions model, IReadOnlyList<string> views)
    {
        string? fault = views.Count == 0 ? "there is no view."
            : views.Distinct().Count() != views.Count ? "two views have one name."
            : !Enum.IsDefined(model.Fusion) || !Enum.IsDefined(model.Loss) ? "fusion or loss is none that exists."
            : !(model.Gamma > 0) || double.IsInfinity(model.Gamma) ? "gamma is not a finite number above 0."
            : model.Loss == DssmLossKind.Sampled && model.Negatives < 1 ? "there are no negatives."
            : model.ViewWeights.Values.Any(weight => !(weight > 0) || double.IsInfinity(weight)) ? "a view weight is not a finite number above 0."
            : model.ViewWeights.Keys.Any(name => !views.Contains(name)) ? "a view weight is of no view of the job."
            : null;
        if (fault is not null)
            throw new ConfigurationException(DssmLossErrors.InvalidModel, "model", fault, "Correct the model's options.");
    }
}
