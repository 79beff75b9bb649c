using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>The loss of the active party: fused views against items by smooth cosine and softmax (DSSM, Huang et al. 2013), with exact gradients for everything it reads.</summary>
/// <remarks>
/// <para>With unit vectors yhat = y / sqrt(|y|^2 + 1e-6) the logit of item c is z_c = gamma yhat_u . Yhat_c + bias_c, and a sample's loss is -log softmax(z) at its positive.</para>
/// <para>Fusions. Late: L = sum_v m_v L_v, the weights w_v of the sample's present views divided by their sum (learned ones: by 1e-12 when the sum is less). Sum: y_u = sum_v w_v y_v. Concat: y_u = sum_v w_v y_v T_v. Absent
/// views leave the mean of late and count as 0 elsewhere. A sample without any view has loss 0 and no gradient.</para>
/// <para>Candidates. Sampled: the positive and J negatives; a negative equal to the positive gets the logit -1e9. In-batch: the positives of all samples of the batch, other
/// samples with the same positive left out. In-batch logQ: the same with z_c - log q_c, the positive's too. Full: all trainable items.</para>
/// <para>Everything is float64, in an order that depends on shapes and items alone. After the first batch of a size nothing is allocated. For one thread at a time.</para>
/// </remarks>
internal sealed partial class DssmLoss
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
    private int[]? _itemRows;
    private int _candidateCount, _samples, _stamp;
    private bool _kept, _taken, _packed;

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

    /// <summary>Trained parameters of the active party. An optimiser may change <see cref="FusionParameters.Values"/> between batches.</summary>
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
        _kept = _taken = false;
        CheckBatch(batch);
        int b = _samples = batch.Targets.Length;
        gradients.Prepare(_views, b, _width, _items, Fusion.Values.Length, _model.Fusion != DssmFusion.Late, batch.ItemRows);
        FuseHeads(batch.Views, batch.Present, b);
        NormaliseItems(batch.Items, batch.ItemRows);
        for (int h = 0; h < _heads; h++)
        {
            Buffers.Of(ref _headLosses[h], b).Clear();
            Buffers.Of(ref _headGradients[h], b * _width).Clear();
        }

        if (_model.Loss == DssmLossKind.Sampled)
            EvaluateSampled(batch, gradients.Items, keepRows);
        else
            EvaluateShared(batch, gradients.Items, keepRows);
        AddBiasGradients(default, BiasOf(gradients.Fusion));
        ItemsBackward(gradients.Items);
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

        ItemsBackward(sum);
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

    // Heads, their unit vectors and their shares of each sample's loss; a head that a sample lacks has share 0, unit 0 and length 1.
    private void FuseHeads(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, int count)
    {
        Fusion.GetViewWeights(_viewWeights);
        Span<double> sums = Buffers.Of(ref _weightSums, count);
        sums.Clear();
        for (int v = 0; v < _views; v++)
            for (int i = 0; i < count; i++)
                if (Has(present[v], i))
                    sums[i] += _viewWeights[v];
        if (_model.Fusion == DssmFusion.Late)
        {
            for (int v = 0; v < _views; v++)
            {
                Span<double> units = Buffers.Of(ref _units[v], count * _width), lengths = Buffers.Of(ref _lengths[v], count), weights = Buffers.Of(ref _headWeights[v], count);
                for (int i = 0; i < count; i++)
                {
                    bool has = Has(present[v], i);
                    weights[i] = has ? _viewWeights[v] / Math.Max(sums[i], _leastWeight) : 0;
                    NormaliseHead(has, views[v].AsSpan(i * _width, _width), units.Slice(i * _width, _width), out lengths[i]);
                }
            }

            return;
        }

        Span<double> fused = Buffers.Of(ref _units[0], count * _width), fusedLengths = Buffers.Of(ref _lengths[0], count), shares = Buffers.Of(ref _headWeights[0], count);
        fused.Clear();
        shares.Clear();
        for (int v = 0; v < _views; v++)
        {
            double weight = _viewWeights[v];
            Span<double> input = _inputs.Length > 0 ? Buffers.Of(ref _inputs[v], count * _width) : default;
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

    private void NormaliseItems(double[] items, int[]? rows)
    {
        _itemRows = rows;
        Span<double> units = Buffers.Of(ref _itemUnits, _items * _width), lengths = Buffers.Of(ref _itemLengths, _items);
        if (rows is null)
            SmoothCosine.Normalise(items.AsSpan(0, units.Length), _width, units, lengths);
        else
            foreach (int item in rows)
                lengths[item] = SmoothCosine.NormaliseRow(items.AsSpan(item * _width, _width), units.Slice(item * _width, _width));
    }

    // From gradients of the items' unit vectors to those of their vectors; what is no row of the batch is 0, and stays it.
    private void ItemsBackward(Span<double> gradients)
    {
        if (_itemRows is null)
            SmoothCosine.Backward(_itemUnits.AsSpan(0, gradients.Length), _itemLengths.AsSpan(0, _items), _width, gradients);
        else
            foreach (int item in _itemRows)
                SmoothCosine.BackwardRow(_itemUnits.AsSpan(item * _width, _width), _itemLengths[item], gradients.Slice(item * _width, _width));
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

    // exp(z - max) on entry, share (P - [target]) on return. The complement of P at the target is the sum of the others: no digits cancel when P is near 1.
    private static double Softmax(Span<double> row, int target, double shift, double share)
    {
        double own = row[target];
        row[target] = 0;
        double others = MatrixKernels.Sum(row), total = others + own;
        MatrixKernels.Scale(row, share / total, row);
        row[target] = -share * (others / total);
        return shift == 0 ? Metrics.Log1p(others) : Math.Log(total) - shift;
    }

    private void ToViews(DssmBatch batch, DssmGradients gradients)
    {
        int b = _samples, k = _width;
        bool learned = !Fusion.WeightRoots.IsEmpty;
        if (learned)
            Buffers.Of(ref _weightGradients, b * _views).Clear();
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

    private static bool Has(bool[]? present, int i) => present is null || present[i];

    private static double[][] Empty(int count) => [.. Enumerable.Range(0, count).Select(_ => Array.Empty<double>())];

    private void CheckKept(int length)
    {
        if (!_kept)
            throw new InvalidOperationException("The last batch was not evaluated with its rows kept.");
        if (length != _samples)
            throw new ArgumentException("There is not one number a sample.");
    }

    /// <summary>Numbers of the largest array that a batch needs for its candidates.</summary>
    internal static long LargestArray(DssmModelOptions model, int views, int items, int samples, bool keepRows)
    {
        long heads = model.Fusion == DssmFusion.Late ? views : 1;
        return model.Loss == DssmLossKind.Sampled ? samples * Math.Max(heads * (model.Negatives + 1L), NegativeSampler.PoolOf(model))
            : heads * (keepRows ? samples : Math.Min(samples, ChunkRows)) * (model.Loss == DssmLossKind.Full ? items : Math.Min(items, samples));
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

    /// <summary>Whether a view may have a weight: weights, and sums of them, stay far from where numbers end.</summary>
    internal static bool IsViewWeight(double weight) => weight is >= 1e-100 and <= 1e100;

    private static void Check(DssmModelOptions model, IReadOnlyList<string> views)
    {
        string? fault = views.Count == 0 ? "there is no view."
            : views.Distinct().Count() != views.Count ? "two views have one name."
            : !Enum.IsDefined(model.Fusion) || !Enum.IsDefined(model.Loss) ? "fusion or loss is none that exists."
            : !(model.Gamma > 0) || double.IsInfinity(model.Gamma) ? "gamma is not a finite number above 0."
            : model.Loss == DssmLossKind.Sampled && model.Negatives < 1 ? "there are no negatives."
            : !model.ViewWeights.Values.All(IsViewWeight) ? "a view weight is not between 1e-100 and 1e100."
            : model.ViewWeights.Keys.Any(name => !views.Contains(name)) ? "a view weight is of no view of the job."
            : null;
        if (fault is not null)
            throw new ConfigurationException(DssmLossErrors.InvalidModel, "model", fault, "Correct the model's options.");
    }
}
