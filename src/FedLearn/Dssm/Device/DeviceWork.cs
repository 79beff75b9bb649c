using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>Towers and buffers that compute a device's update. One set serves any number of devices, one after the other: parameters are swapped.</summary>
/// <remarks>Block order everywhere: the item model, then the views of the job. A full vector has all blocks; a federated one has those that leave the device.</remarks>
internal sealed class DeviceWork : IDisposable
{
    /// <summary>Keeps the norm of a clipped update under its bound in spite of round-off: the norm of d numbers is known to a relative d 2^-53.</summary>
    private const double UnderTheBound = 1 - 1e-9;

    private readonly DevicePlan _plan;
    private readonly ITower[] _towers;
    private readonly int[] _offsets;
    private readonly DssmGradients _gradients = new();
    private readonly double[] _start, _local, _gradient;
    private readonly int[] _place;

    public DeviceWork(DevicePlan plan, ITowerFactory factory)
    {
        ArgumentNullException.ThrowIfNull(factory);
        _plan = plan;
        _towers = new ITower[plan.Views.Count + 1];
        _offsets = new int[_towers.Length + 1];
        try
        {
            for (int b = 0; b < _towers.Length; b++)
            {
                _towers[b] = factory.Create(b == 0 ? plan.Item : plan.Views[b - 1], plan.SeedOf(b));
                _offsets[b + 1] = checked(_offsets[b] + _towers[b].ParameterCount);
            }

            (_start, _local, _gradient) = (new double[_offsets[^1]], new double[_offsets[^1]], new double[_offsets[^1]]);
            for (int b = 0; b < _towers.Length; b++)
                _towers[b].GetParameters(Block(_start.AsSpan(), b));
            Calibration = DeviceClaims.Calibrate(plan.Job, FederatedLength);
        }
        catch
        {
            Dispose();
            throw;
        }

        _place = new int[plan.Job.Items.Content.Rows];
        Array.Fill(_place, -1);
    }

    /// <summary>The noise; null in mode none.</summary>
    public DeviceCalibration? Calibration { get; }

    /// <summary>Numbers of all blocks.</summary>
    public int FullLength => _offsets[^1];

    /// <summary>Numbers that leave the device.</summary>
    public int FederatedLength => _plan.ItemOnly ? _offsets[1] : _offsets[^1];

    /// <summary>Numbers of an upload: in mode none one more, the number of samples.</summary>
    public int UploadLength => FederatedLength + (_plan.IsPrivate ? 0 : 1);

    /// <summary>The user models that stay at a device, one a view.</summary>
    public IReadOnlyList<double[]> OwnBlocks(double[] own) =>
        own.Length == 0 ? [] : [.. Enumerable.Range(1, _towers.Length - 1).Select(b => own[(_offsets[b] - _offsets[1])..(_offsets[b + 1] - _offsets[1])])];

    /// <summary>Starting values of all blocks.</summary>
    public ReadOnlySpan<double> Start => _start;

    /// <summary>One block of a vector.</summary>
    public Span<double> Block(Span<double> vector, int block) => vector[_offsets[block].._offsets[block + 1]];

    /// <summary>Names and lengths of the blocks that leave the device.</summary>
    public IReadOnlyList<(string Name, int Length)> FederatedBlocks =>
        [.. Enumerable.Range(0, _plan.ItemOnly ? 1 : _towers.Length).Select(b => (b == 0 ? "items" : "view " + _plan.Job.Views[b - 1].Name, _offsets[b + 1] - _offsets[b]))];

    /// <summary>Whether the last <see cref="Update"/> met what is no number, and left it out: in private modes alone, and for the device's own user alone.</summary>
    public bool HasDiverged { get; private set; }

    /// <summary>What a device uploads: its <see cref="Update"/>, and in mode none the number of its samples.</summary>
    public (double[] Numbers, double Loss) Upload(DeviceData data, ReadOnlySpan<double> model, Span<double> own, int attempt)
    {
        double[] upload = new double[UploadLength];
        double loss = Update(data, model, own, attempt, upload.AsSpan(0, FederatedLength));
        if (!_plan.IsPrivate)
            upload[^1] = data.Samples;
        return (upload, loss);
    }

    /// <summary>A device's update: unclipped in mode none without a clip, else of a norm of at most C. In private modes one that is no number becomes 0: the server picks the model, and a device that gave up there would tell of its
    /// rows by whether it did, without noise.</summary>
    /// <param name="data">The device's data.</param>
    /// <param name="model">Federated blocks as the server sent them.</param>
    /// <param name="own">User models that stay at the device, all views together, changed in place; empty unless only the item model is federated. In private modes one that would be no number stays as it was.</param>
    /// <param name="attempt">Attempt, for the negatives.</param>
    /// <param name="update">Receives the federated blocks.</param>
    /// <returns>Loss summed over samples, before the first step.</returns>
    public double Update(DeviceData data, ReadOnlySpan<double> model, Span<double> own, int attempt, Span<double> update)
    {
        update.Clear();
        HasDiverged = false;
        if (_plan.Job.Privacy.Clip is not { } clip)
            return Local(data, model, own, attempt, 0, _towers.Length - 1, update);
        if (!_plan.Job.Privacy.ClipPerView)
        {
            double loss = Local(data, model, own, attempt, 0, _towers.Length - 1, update);
            Bound(update, clip);
            return loss;
        }

        double sum = 0;
        double[] part = new double[update.Length];
        for (int v = 0; v < _towers.Length - 1; v++)
        {
            Array.Clear(part);
            sum += Local(data, model, own, attempt, v, 1, part);
            Bound(part, clip / (_towers.Length - 1));
            TensorPrimitives.Add(update, part, update);
        }

        return sum;
    }

    private void Bound(Span<double> update, double bound)
    {
        if (_plan.IsPrivate && !TensorPrimitives.IsFiniteAll<double>(update))
        {
            HasDiverged = true;
            update.Clear();
        }

        Clip(update, bound);
    }

    /// <summary>Scales a vector so that its norm is at most the bound.</summary>
    public static void Clip(Span<double> vector, double bound)
    {
        double norm = TensorPrimitives.Norm<double>(vector);
        if (norm > bound * UnderTheBound)
            TensorPrimitives.Multiply(vector, bound / norm * UnderTheBound, vector);
    }

    /// <summary>Gradient of the summed loss over the device's samples at given parameters, all blocks, with the views [first, first + count). Negatives follow from attempt and step.</summary>
    public double Gradient(DeviceData data, ReadOnlySpan<double> parameters, int attempt, int step, int first, int count, Span<double> gradient)
    {
        gradient.Clear();
        int b = data.Samples, k = _towers[0].Width;
        if (b == 0)
            return 0;
        DssmModelOptions model = _plan.Job.Model;
        long seed = DeviceDraws.SeedOf(_plan.Job.Training.Seed, data.Device);
        int[] negatives = model.Loss == DssmLossKind.Sampled ? new int[b * model.Negatives] : [];
        DeviceDraws.Negatives(seed, attempt, step, _place.Length, negatives);
        // Only items that the loss looks at are evaluated, and numbered anew.
        int[] items = model.Loss == DssmLossKind.Full ? [.. Enumerable.Range(0, _place.Length)] : Distinct(data.Positives, negatives);
        for (int i = 0; i < items.Length; i++)
            _place[items[i]] = i;
        int[] targets = Array.ConvertAll(data.Positives, item => _place[item]);
        for (int i = 0; i < negatives.Length; i++)
            negatives[i] = _place[negatives[i]];
        foreach (int item in items)
            _place[item] = -1;

        bool[][] present = Present(data, seed, attempt, step, first, count);
        double[][] vectors = new double[count][];
        for (int v = 0; v < count; v++)
        {
            vectors[v] = new double[b * k];
            if (!Array.Exists(present[v], there => there))
                continue;
            _towers[first + v + 1].SetParameters(Block(parameters, first + v + 1));
            DeviceViewRows view = data.Views[first + v]!;
            int[] rows = [.. view.Index.Zip(present[v], (row, there) => there ? row : -1)];
            _towers[first + v + 1].Forward(view.Rows, rows, vectors[v], training: true);
        }

        double[] itemVectors = new double[items.Length * k];
        _towers[0].SetParameters(Block(parameters, 0));
        _towers[0].Forward(_plan.Job.Items.Content, items, itemVectors, training: true);
        bool single = count < _plan.Views.Count;
        var loss = new DssmLoss(single ? model with { ViewWeights = new Dictionary<string, double>() } : model, k,
            [.. _plan.Job.Views.Skip(first).Take(count).Select(view => view.Name)], items.Length);
        double sum = loss.Evaluate(new DssmBatch { Views = vectors, Present = present, Items = itemVectors, Targets = targets, Negatives = negatives }, _gradients);
        Back(0, _gradients.Items.AsSpan(0, itemVectors.Length), gradient);
        // The block of a view that no sample has stays 0.
        for (int v = 0; v < count; v++)
            if (Array.Exists(present[v], there => there))
                Back(first + v + 1, _gradients.Views[v].AsSpan(0, b * k), gradient);
        if (single)
        {
            // A view by itself has its share of the loss, whichever other views a sample has.
            double share = Weight(first) / Enumerable.Range(0, _plan.Views.Count).Sum(Weight);
            TensorPrimitives.Multiply(gradient, share, gradient);
            sum *= share;
        }

        double Weight(int view) => model.ViewWeights.GetValueOrDefault(_plan.Job.Views[view].Name, 1);

        return sum;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        // Where not all could be made, some are null.
        foreach (ITower? tower in _towers)
            tower?.Dispose();
    }

    // Steps of the views [first, first + count) and their items; adds the federated blocks of the update.
    private double Local(DeviceData data, ReadOnlySpan<double> model, Span<double> own, int attempt, int first, int count, Span<double> update)
    {
        DeviceTrainingOptions training = _plan.Job.Training;
        bool averaging = training.Algorithm == DeviceAlgorithm.FedAvg;
        int steps = averaging || _plan.ItemOnly ? training.LocalSteps : 1;
        model.CopyTo(_local);
        own.CopyTo(_local.AsSpan(_offsets[1], own.Length));
        double loss = 0;
        for (int step = 0; step < steps && data.Samples > 0; step++)
        {
            // Towers take numbers only. Whoever picked a model at which a step gives none would see whether this device gave up.
            if (_plan.IsPrivate && !TensorPrimitives.IsFiniteAll<double>(_local))
            {
                HasDiverged = true;
                break;
            }

            double now = Gradient(data, _local, attempt, step, first, count, _gradient);
            if (step == 0)
                loss = now;
            // N_c (w_0 - w_K)/rate is the sum of the steps' gradients.
            if (step == 0 || averaging)
                TensorPrimitives.Add(update, _gradient.AsSpan(0, update.Length), update);
            // A FedSGD item model stays where the server put it, while user models that stay here take all their steps.
            int moving = averaging ? 0 : _offsets[1];
            if (averaging || _plan.ItemOnly)
                TensorPrimitives.MultiplyAdd(_gradient.AsSpan(moving), -training.LocalRate / data.Samples, _local.AsSpan(moving), _local.AsSpan(moving));
        }

        for (int v = first + 1; v <= first + count && own.Length > 0; v++)
            if (!_plan.IsPrivate || TensorPrimitives.IsFiniteAll(Block(_local, v)))
                Block(_local, v).CopyTo(own[(_offsets[v] - _offsets[1])..]);
            else
                HasDiverged = true;
        return loss;
    }

    private void Back(int block, ReadOnlySpan<double> upstream, Span<double> gradient)
    {
        _towers[block].Backward(upstream);
        _towers[block].GetGradient(Block(gradient, block));
    }

    private ReadOnlySpan<double> Block(ReadOnlySpan<double> vector, int block) => vector[_offsets[block].._offsets[block + 1]];

    private bool[][] Present(DeviceData data, long seed, int attempt, int step, int first, int count)
    {
        double rate = _plan.Job.Model.ViewDropout;
        bool[][] present = new bool[count][];
        for (int v = 0; v < count; v++)
            present[v] = data.Views[first + v] is { } view ? Array.ConvertAll(view.Index, row => row >= 0) : new bool[data.Samples];
        if (rate == 0)
            return present;
        // The coins of all views, also where a view works by itself: one of them always stays.
        Span<bool> kept = stackalloc bool[_plan.Views.Count];
        for (int i = 0; i < data.Samples; i++)
        {
            ViewDropout.Draw(unchecked(seed + attempt), step, i, rate, kept);
            for (int v = 0; v < count; v++)
                present[v][i] &= kept[first + v];
        }

        return present;
    }

    private static int[] Distinct(int[] positives, int[] negatives)
    {
        int[] all = [.. positives, .. negatives];
        Array.Sort(all);
        int count = 0;
        for (int i = 0; i < all.Length; i++)
            if (i == 0 || all[i] != all[i - 1])
                all[count++] = all[i];
        return all[..count];
    }
}
