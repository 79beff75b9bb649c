using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What the active party computes: items and own views, the loss of the fused views, its gradients, and steps. On the thread of towers.</summary>
internal sealed class ActiveModel(DssmRun run, ActiveTowers towers, ActiveSamples samples, PartyNoise noise)
{
    private readonly DssmLoss _loss = towers.Loss;
    private readonly int _width = run.Job.Width;
    private readonly double[] _items = new double[checked(samples.Items.Content.Rows * run.Job.Width)];
    private readonly StepItems _stepItems = new(samples.Items.Content.Rows);
    private readonly DssmGradients _gradients = new();
    private readonly ClippedRows _clipped = new();
    private bool? _stepsWithAllItems;
    private double[] _weights = [], _parameterSum = [], _rowNorms = [], _partNorms = [];

    /// <summary>Adds all that a step changes.</summary>
    public void Save(StateWriter state)
    {
        for (int i = 0; i < towers.All.Count; i++)
            state.AddUncopied($"tower.{i}", towers.All[i].SaveTraining());
        state.Add("fusion", _loss.Fusion.Values);
        towers.FusionOptimizer.Save(state, "fusion");
        samples.Sampler?.Save(state);
        noise.Save(state);
    }

    /// <summary>Goes on with what <see cref="Save"/> added.</summary>
    public void Restore(StateReader state)
    {
        for (int i = 0; i < towers.All.Count; i++)
            towers.All[i].RestoreTraining(state.Bytes($"tower.{i}").Span);
        state.Doubles("fusion", _loss.Fusion.Values.Length).CopyTo(_loss.Fusion.Values, 0);
        towers.FusionOptimizer.Restore(state, "fusion");
        samples.Sampler?.Restore(state);
        noise.Continue(state);
    }

    /// <summary>Vectors of all items outside training, until they are evaluated again.</summary>
    public double[] Items() => EvaluateAllItems(training: false);

    /// <summary>Takes the items in that <see cref="Score"/> and <see cref="ScoreEach"/> score.</summary>
    public void TakeItems() => _loss.TakeItems(Items());

    /// <summary>Scores all items for samples, one row a sample.</summary>
    public void Score(ViewVectors vectors, int count, Span<double> scores)
    {
        _loss.ScoreAll(vectors.Views, vectors.Present, count, scores);
        for (int i = 0; i < count; i++)
            if (IsUnknown(vectors, i))
                TensorPrimitives.ConvertChecked<int, double>(samples.Counts, scores.Slice(i * samples.Counts.Length, samples.Counts.Length));
    }

    /// <summary>Scores a few items of each sample. The items of a sample follow those of the sample before; ends says where each sample's items end.</summary>
    public void ScoreEach(ViewVectors vectors, ReadOnlySpan<int> ends, ReadOnlySpan<int> items, Span<double> scores)
    {
        _loss.ScoreEach(vectors.Views, vectors.Present, ends, items, scores);
        for (int i = 0; i < ends.Length; i++)
            for (int c = i == 0 ? 0 : ends[i - 1]; c < ends[i] && IsUnknown(vectors, i); c++)
                scores[c] = samples.Counts[items[c]];
    }

    // Users that no view knows get the most popular items where lists are made, and so where they are measured. A private job gives them none, and their items tie.
    private bool IsUnknown(ViewVectors vectors, int sample) => !run.Job.Privacy.IsPrivate && vectors.Present.All(p => p is not null && !p[sample]);

    /// <summary>Evaluates what the loss of a batch reads of this party: the items, and its own views.</summary>
    /// <returns>The negatives, as <see cref="EvaluateItems"/> gives them.</returns>
    public int[] Forward(int[] targets, int[][] index, ViewVectors own, int epoch, int batchNumber)
    {
        int[] negatives = EvaluateItems(targets, epoch, batchNumber);
        for (int v = 0; v < index.Length; v++)
            towers.Locals[v].Tower.Forward(towers.Locals[v].Rows, index[v], own.Views[v], training: true);
        return negatives;
    }

    /// <summary>Draws a batch's negatives, and evaluates the items that its loss looks at.</summary>
    /// <returns>The negatives, room for J a sample; hard ones are drawn only when the vectors of all are there.</returns>
    private int[] EvaluateItems(int[] targets, int epoch, int batchNumber)
    {
        int[] negatives = samples.Sampler is null ? [] : new int[targets.Length * run.Job.Model.Negatives];
        bool needsVectors = samples.Sampler?.NeedsVectors(epoch) ?? false;
        if (!needsVectors)
            samples.Sampler?.Draw(epoch, batchNumber, targets, negatives);
        // Noise goes into the gradient of every item; and a row whose vector depends on other rows has all the others.
        if (needsVectors || (_stepsWithAllItems ??= run.Job.Model.Loss == DssmLossKind.Full || noise.Items is not null || towers.Items.PrivacyFaults().Count > 0))
        {
            EvaluateAllItems(training: true);
            return negatives;
        }

        _stepItems.Take(targets, negatives, pads: run.Job.Privacy.IsPrivate);
        towers.Items.Forward(samples.Items.Content, _stepItems.Index, _items, training: true);
        return negatives;
    }

    /// <summary>The loss of a batch, summed over its samples, once every view's vectors are there; keeps its gradients.</summary>
    public double Evaluate(ViewVectors vectors, int[] targets, int[] negatives, int epoch, int batchNumber)
    {
        var batch = new DssmBatch { Views = vectors.Views, Present = vectors.Present, Items = _items, ItemRows = _stepItems.Rows, Targets = targets, Negatives = negatives };
        if (samples.Sampler is { } sampler && sampler.NeedsVectors(epoch))
            sampler.Draw(epoch, batchNumber, targets, negatives, _loss, batch);
        return _loss.Evaluate(batch, _gradients, keepRows: noise.Items is not null || noise.Parameters is not null);
    }

    private double[] EvaluateAllItems(bool training)
    {
        _stepItems.TakeAll();
        towers.Items.Forward(samples.Items.Content, _stepItems.Index, _items, training);
        return _items;
    }

    /// <summary>Gradients of the fused vectors, which all views get.</summary>
    public double[] SharedGradients(int count)
    {
        double[] shared = _gradients.Fused.AsSpan(0, count * _width).ToArray();
        if (run.NoisesGradients)
            _clipped.Clip(shared, _width, run.Job.Privacy.Clip);
        return shared;
    }

    /// <summary>Gradients of the vectors of another party's view, multiplied by a factor a sample where there are any.</summary>
    public double[] GradientsOf(int peer, int count, double[] factors)
    {
        double[] gradients = _gradients.Views[towers.Locals.Count + peer].AsSpan(0, count * _width).ToArray();
        for (int i = 0; i < factors.Length; i++)
            ClippedRows.Scale(gradients.AsSpan(i * _width, _width), factors[i]);
        return gradients;
    }

    /// <summary>What the gradients of a sample are multiplied by, under one bound over what all views get for it: views that put their heads together see no more.</summary>
    public double[] JointFactors(int peers, int count)
    {
        double[] factors = new double[count];
        for (int i = 0; i < count; i++)
            for (int p = 0; p < peers; p++)
                factors[i] += TensorPrimitives.SumOfSquares<double>(_gradients.Views[towers.Locals.Count + p].AsSpan(i * _width, _width));
        RowClip.Factors(factors, run.Job.Privacy.Clip, factors);
        return factors;
    }

    /// <summary>Every parameter of the party steps: items, own view, fusion.</summary>
    public void Step(int count)
    {
        double divisor = run.Divisor(count);
        if (noise.Items is { } itemNoise)
        {
            Span<double> weights = Buffers.Of(ref _weights, count);
            _loss.ItemBlockNorms(weights);
            RowClip.Factors(weights, run.Job.Privacy.ParameterClip, weights);
            _loss.WeightedItemGradients(weights, _gradients.Items);
            itemNoise.Perturb(_gradients.Items, "training item gradients");
        }

        if (_stepItems.Rows is not { } rows)
            TensorPrimitives.Divide(_gradients.Items, divisor, _gradients.Items);
        else
            foreach (int item in rows)
            {
                Span<double> gradient = _gradients.Items.AsSpan(item * _width, _width);
                TensorPrimitives.Divide(gradient, divisor, gradient);
            }

        towers.Items.Backward(_gradients.Items);
        towers.Items.Step();
        if (noise.Parameters is { } parameterNoise)
        {
            StepJointly(count, parameterNoise, divisor);
            return;
        }

        for (int v = 0; v < towers.Locals.Count; v++)
            run.StepTower(towers.Locals[v].Tower, _gradients.Views[v].AsSpan(0, count * _width), null, count);
        if (_gradients.Fusion.Length > 0)
        {
            TensorPrimitives.Divide(_gradients.Fusion, divisor, _gradients.Fusion);
            towers.FusionOptimizer.Step(_loss.Fusion.Values, _gradients.Fusion);
        }
    }

    // Own towers and fusion: one bound over a sample's gradient of all of them together, one noise.
    private void StepJointly(int count, GaussianMechanism mechanism, double divisor)
    {
        int own = towers.Locals.Sum(view => view.Tower.ParameterCount), fusion = _gradients.Fusion.Length, at = 0;
        Span<double> norms = Buffers.Of(ref _rowNorms, count), part = Buffers.Of(ref _partNorms, count), sum = Buffers.Of(ref _parameterSum, own + fusion);
        norms.Clear();
        for (int v = 0; v < towers.Locals.Count; v++)
        {
            towers.Locals[v].Tower.RowGradientNorms(_gradients.Views[v].AsSpan(0, count * _width), part);
            TensorPrimitives.Add<double>(norms, part, norms);
        }

        if (fusion > 0)
        {
            _loss.FusionRowNorms(part);
            TensorPrimitives.Add<double>(norms, part, norms);
        }

        RowClip.Factors(norms, run.Job.Privacy.ParameterClip, norms);
        foreach (LocalView view in towers.Locals)
        {
            view.Tower.WeightedRowGradients(norms, sum.Slice(at, view.Tower.ParameterCount));
            at += view.Tower.ParameterCount;
        }

        if (fusion > 0)
            _loss.WeightedFusionGradients(norms, sum[own..]);
        mechanism.Perturb(sum, "training parameters");
        TensorPrimitives.Divide(sum, divisor, sum);
        at = 0;
        foreach (LocalView view in towers.Locals)
        {
            view.Tower.Step(sum.Slice(at, view.Tower.ParameterCount));
            at += view.Tower.ParameterCount;
        }

        if (fusion > 0)
            towers.FusionOptimizer.Step(_loss.Fusion.Values, sum[own..]);
    }
}
