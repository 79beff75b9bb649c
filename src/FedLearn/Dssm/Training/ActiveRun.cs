using System.Numerics.Tensors;
using FedLearn.Aggregation;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>The active party's side of a session: fuses the views' vectors, finds the loss, and answers with gradients.</summary>
internal sealed class ActiveRun(DssmRun run, ActiveTowers towers, ActiveSamples samples, IReadOnlyList<ViewPeer> peers, PartyNoise noise, DssmKeptRun? kept = null)
{
    private readonly DssmLoss _loss = towers.Loss;
    private readonly int _width = run.Job.Width;
    private readonly double[] _items = new double[checked(samples.Items.Content.Rows * run.Job.Width)];
    private readonly IPartyChannel[] _channels = [.. peers.Select(peer => peer.Channel)];
    private readonly StepItems _stepItems = new(samples.Items.Content.Rows);
    private readonly DssmGradients _gradients = new();
    private readonly ClippedRows _clipped = new();
    private readonly PartyClock _clock = new();
    private bool? _stepsWithAllItems;
    private double[] _weights = [], _parameterSum = [], _rowNorms = [], _partNorms = [];

    /// <summary>Trains.</summary>
    public async Task<DssmEpochs> TrainAsync(IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        var now = new Progress(new BestModel(towers.All));
        int count = samples.Sets[0].Events.Count, batches = run.Job.BatchesOf(count), first = kept?.First ?? 0;
        bool validates = run.Validates(samples.Sets[1].Events.Count);
        if (kept?.Restored is { } state && first > 0)
            await run.Thread.RunAsync(() => Restore(state, now)).ConfigureAwait(false);
        for (int epoch = first / batches; epoch < run.Epochs; epoch++)
        {
            int[] order = run.Order(count, epoch);
            for (int b = Math.Max(0, first - epoch * batches); b < batches; b++)
            {
                // With no view left to wait for, as in claim one-shot, nothing else looks at it.
                cancellationToken.ThrowIfCancellationRequested();
                int round = epoch * batches + b;
                int[] batch = run.Batch(order, b);
                now.Loss += await WhileViewsWaitAsync(async stop =>
                {
                    if (kept is not null)
                        await kept.KeepAsync(round, run.Thread, state => Save(state, now)).ConfigureAwait(false);
                    return await LossAsync(round, epoch, b, batch, stop).ConfigureAwait(false);
                }, cancellationToken).ConfigureAwait(false);
                await SendGradientsAsync(round, batch.Length, cancellationToken).ConfigureAwait(false);
                await WhileViewsWaitAsync(_ => run.Thread.RunAsync(() => Step(batch.Length)), cancellationToken).ConfigureAwait(false);
            }

            int done = (epoch + 1) * batches;
            double loss = now.Loss / count;
            now.Loss = 0;
            if (!double.IsFinite(loss))
                throw new InternalFailureException(DssmErrors.Diverged, $"epoch {epoch + 1}", "the training loss is NaN or infinite.", "Lower training.stepSize or model.gamma.");
            (double? validation, StopWord word) = validates ? await JudgeAsync(epoch, done, now, cancellationToken).ConfigureAwait(false) : (null, StopWord.GoOn);
            now.History.Add(new DssmHistoryPoint(epoch + 1, loss, validation, _clock.Seconds));
            progress?.Report(new DssmProgress(samples.Party, done, run.Epochs * batches, epoch + 1, loss, validation));
            if (word is StopWord.Stop or StopWord.StopHere)
                break;
        }

        if (now.Best.Epoch > 0)
        {
            now.Best.Restore();
            now.BestFusion.CopyTo(_loss.Fusion.Values.AsSpan());
        }

        return new(validates ? now.Best.Epoch : now.History.Count, now.History, _clock.Timing(noise.Time, now.History.Count));
    }

    /// <summary>Validates after an epoch, and tells the views whether training goes on.</summary>
    private async Task<(double? Validation, StopWord Word)> JudgeAsync(int epoch, int done, Progress now, CancellationToken cancellationToken)
    {
        double validation = await ValidateAsync(done, cancellationToken).ConfigureAwait(false);
        bool better = validation > now.BestValue;
        (now.BestValue, now.Since) = better ? (validation, 0) : (now.BestValue, now.Since + 1);
        bool last = epoch + 1 == run.Epochs || now.Since >= run.Job.Training.Patience;
        StopWord word = (better, last) switch { (true, true) => StopWord.StopHere, (true, false) => StopWord.Best, (false, true) => StopWord.Stop, _ => StopWord.GoOn };
        if (better)
            now.BestFusion = [.. _loss.Fusion.Values];
        now.Best.Note(word, epoch + 1);
        foreach (ViewPeer peer in peers)
            await _clock.WaitAsync(peer.Channel.SendAsync(done, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new double[] { (int)word }), "validation: whether training goes on"), cancellationToken)).ConfigureAwait(false);
        return (validation, word);
    }

    private void Save(StateWriter state, Progress now)
    {
        for (int i = 0; i < towers.All.Count; i++)
            state.AddUncopied($"tower.{i}", towers.All[i].SaveTraining());
        state.Add("fusion", _loss.Fusion.Values);
        towers.FusionOptimizer.Save(state, "fusion");
        samples.Sampler?.Save(state);
        noise.Save(state);
        now.Save(state);
    }

    private void Restore(StateReader state, Progress now)
    {
        for (int i = 0; i < towers.All.Count; i++)
            towers.All[i].RestoreTraining(state.Bytes($"tower.{i}").Span);
        state.Doubles("fusion", _loss.Fusion.Values.Length).CopyTo(_loss.Fusion.Values, 0);
        towers.FusionOptimizer.Restore(state, "fusion");
        samples.Sampler?.Restore(state);
        noise.Continue(state);
        now.Load(state);
    }

    /// <summary>How far the training is.</summary>
    private sealed class Progress(BestModel best)
    {
        public BestModel Best { get; } = best;

        public double[] BestFusion { get; set; } = [];

        public double BestValue { get; set; } = double.NegativeInfinity;

        public int Since { get; set; }

        /// <summary>Sum of the losses of the epoch's batches so far.</summary>
        public double Loss { get; set; }

        public List<DssmHistoryPoint> History { get; } = [];

        public void Save(StateWriter state)
        {
            Best.Save(state);
            state.Add("best.fusion", BestFusion).Add("best.value", [BestValue]).Add("since", Since).Add("loss", [Loss]);
            state.Add("history", History.SelectMany(h => new[] { h.Loss ?? double.NaN, h.Validation ?? double.NaN, h.Seconds }).ToArray());
        }

        public void Load(StateReader state)
        {
            Best.Load(state);
            (BestFusion, BestValue, Since, Loss) = (state.Doubles("best.fusion"), state.Doubles("best.value", 1)[0], state.Integer32("since"), state.Doubles("loss", 1)[0]);
            History.AddRange(state.Doubles("history").Chunk(3).Select((h, i) => new DssmHistoryPoint(i + 1, Known(h[0]), Known(h[1]), h[2])));
        }

        private static double? Known(double value) => double.IsNaN(value) ? null : value;
    }

    /// <summary>Collects what a set of events is measured with, and leaves the measuring for later: nobody else has to wait for it.</summary>
    /// <returns>Measures the present model, on the thread of towers, before they step again or are disposed of; gives null for an empty set.</returns>
    public async Task<Func<Task<RankingReport?>>> PrepareReportAsync(int round, int set, CancellationToken cancellationToken)
    {
        if (samples.Sets[set].Events.Count == 0)
            return () => Task.FromResult<RankingReport?>(null);
        ViewVectors vectors = await WhileViewsWaitAsync(stop => CollectAsync(round, set, stop), cancellationToken).ConfigureAwait(false);
        return () => run.Thread.RunAsync<RankingReport?>(() =>
        {
            TakeItems();
            int from = 0;
            return samples.Evaluator.Evaluate(samples.Sets[set].Role, (events, scores) =>
            {
                Score(vectors.Slice(from, events.Length, _width), events.Length, scores);
                from += events.Length;
            }, samples.Evaluation);
        });
    }

    /// <summary>The figure of the validation events by which an epoch is chosen, for which the views wait.</summary>
    private Task<double> ValidateAsync(int round, CancellationToken cancellationToken) => WhileViewsWaitAsync(async stop =>
    {
        ViewVectors vectors = await CollectAsync(round, 1, stop).ConfigureAwait(false);
        return await run.Thread.RunAsync(() =>
        {
            TakeItems();
            int from = 0;
            return samples.Evaluator.SampledNdcg(samples.Sets[1].Role, (events, ends, items, scores) =>
            {
                ScoreEach(vectors.Slice(from, events.Length, _width), ends, items, scores);
                from += events.Length;
            }) ?? 0;
        }).ConfigureAwait(false);
    }, cancellationToken);

    private void TakeItems()
    {
        EvaluateAllItems(training: false);
        _loss.TakeItems(_items);
    }

    /// <summary>Vectors of the users of the first set, and of the items.</summary>
    public async Task<(ItemIndex Items, UserVectors Users)> RecommendAsync(string version, CancellationToken cancellationToken)
    {
        ViewVectors vectors = await WhileViewsWaitAsync(stop => CollectAsync(0, 0, stop), cancellationToken).ConfigureAwait(false);
        FusionParameters fusion = _loss.Fusion;
        double[] weights = new double[vectors.Views.Count], bias = [.. fusion.ItemBias.ToArray().Select(b => b / run.Job.Model.Gamma)];
        fusion.GetViewWeights(weights);
        double[]? matrix = run.Job.Model.Fusion == DssmFusion.Concat ? fusion.Matrix.ToArray() : null;
        await run.Thread.RunAsync(() => EvaluateAllItems(training: false)).ConfigureAwait(false);
        return (ItemIndex.FromVectors(samples.Items.Ids, _items, _width, version, bias), UserVectors.Fuse(run.Job.Model.Fusion, vectors.Views, vectors.Present, _width, version, weights, matrix));
    }

    /// <summary>Every view's vectors of a set of samples.</summary>
    private async Task<ViewVectors> CollectAsync(int round, int set, CancellationToken cancellationToken)
    {
        Task<double[][]> own = run.Thread.RunAsync(() => towers.Locals.Select(view => run.Vectors(view.Tower, view.Rows, view.Samples[set])).ToArray());
        ViewVectors received = await ReceiveAsync(round, samples.Sets[set].Events.Count, run.NoisesEvaluation, peer => peer.Present[set], cancellationToken).ConfigureAwait(false);
        return new ViewVectors(await own.ConfigureAwait(false), [.. towers.Locals.Select(view => view.Present(set))]).Then(received);
    }

    /// <summary>What the views of other parties send of some samples; under masks their sum, as one view.</summary>
    private async Task<ViewVectors> ReceiveAsync(int round, int count, bool noised, Func<ViewPeer, bool[]> present, CancellationToken cancellationToken)
    {
        if (!run.Job.MaskedSum)
        {
            var views = new List<double[]>();
            foreach (ViewPeer peer in peers)
            {
                Embeddings received = await _clock.WaitAsync(peer.Channel.ReceiveAsync<Embeddings>(round, count * _width, cancellationToken)).ConfigureAwait(false);
                ChannelGuard.Packed(received, run.Packing(noised), peer.Channel, round);
                views.Add(run.Received(received.Values, _width));
            }

            return new(views, [.. peers.Select(present)]);
        }

        var masked = new List<MaskedVector>();
        bool[] any = new bool[count];
        foreach (ViewPeer peer in peers)
        {
            masked.Add(await _clock.WaitAsync(peer.Channel.ReceiveAsync<MaskedVector>(round, count * _width, cancellationToken)).ConfigureAwait(false));
            bool[] there = present(peer);
            for (int i = 0; i < count; i++)
                any[i] |= there[i];
        }

        return new([SumMasking.Open(masked, peers.Count)], [any]);
    }

    private void Score(ViewVectors vectors, int count, Span<double> scores)
    {
        _loss.ScoreAll(vectors.Views, vectors.Present, count, scores);
        for (int i = 0; i < count; i++)
            if (IsUnknown(vectors, i))
                TensorPrimitives.ConvertChecked<int, double>(samples.Counts, scores.Slice(i * samples.Counts.Length, samples.Counts.Length));
    }

    private void ScoreEach(ViewVectors vectors, ReadOnlySpan<int> ends, ReadOnlySpan<int> items, Span<double> scores)
    {
        _loss.ScoreEach(vectors.Views, vectors.Present, ends, items, scores);
        for (int i = 0; i < ends.Length; i++)
            for (int c = i == 0 ? 0 : ends[i - 1]; c < ends[i] && IsUnknown(vectors, i); c++)
                scores[c] = samples.Counts[items[c]];
    }

    // Users that no view knows get the most popular items where lists are made, and so where they are measured. A private job gives them none, and their items tie.
    private bool IsUnknown(ViewVectors vectors, int sample) => !run.Job.Privacy.IsPrivate && vectors.Present.All(p => p is not null && !p[sample]);

    /// <summary>Works, and tells the views now and then that it does: each waits for this party, also while another view computes.</summary>
    private Task<T> WhileViewsWaitAsync<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken) => ChannelGuard.WhileTheyWaitAsync(_channels, work, cancellationToken);

    /// <summary>The loss of a batch, once every view's vectors are there, and the gradients that answer them.</summary>
    private async Task<double> LossAsync(int round, int epoch, int batchNumber, int[] batch, CancellationToken cancellationToken)
    {
        int[][] index = [.. towers.Locals.Select(view => batch.Select(i => run.Drops(epoch, i, view.Name) ? -1 : view.Samples[0][i]).ToArray())];
        var own = new ViewVectors([.. index.Select(rows => new double[rows.Length * _width])], [.. index.Select(rows => rows.Select(r => r >= 0).ToArray())]);
        int[] targets = [.. batch.Select(i => samples.Sets[0].Events[i].Item)];
        Task<int[]> forward = run.Thread.RunAsync(() =>
        {
            int[] negatives = EvaluateItems(targets, epoch, batchNumber);
            for (int v = 0; v < index.Length; v++)
                towers.Locals[v].Tower.Forward(towers.Locals[v].Rows, index[v], own.Views[v], training: true);
            return negatives;
        });
        // Under masks a view's coin is its secret.
        bool[] Kept(ViewPeer peer) => [.. batch.Select(i => peer.Present[0][i] && (run.Job.MaskedSum || !run.Drops(epoch, i, peer.Name)))];
        ViewVectors received = await ReceiveAsync(round, batch.Length, run.NoisesEmbeddings, Kept, cancellationToken).ConfigureAwait(false);
        int[] drawn = await forward.ConfigureAwait(false);
        return await run.Thread.RunAsync(() => Evaluate(own.Then(received), targets, drawn, epoch, batchNumber)).ConfigureAwait(false);
    }

    private void EvaluateAllItems(bool training)
    {
        _stepItems.TakeAll();
        towers.Items.Forward(samples.Items.Content, _stepItems.Index, _items, training);
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

    private double Evaluate(ViewVectors vectors, int[] targets, int[] negatives, int epoch, int batchNumber)
    {
        var batch = new DssmBatch { Views = vectors.Views, Present = vectors.Present, Items = _items, ItemRows = _stepItems.Rows, Targets = targets, Negatives = negatives };
        if (samples.Sampler is { } sampler && sampler.NeedsVectors(epoch))
            sampler.Draw(epoch, batchNumber, targets, negatives, _loss, batch);
        return _loss.Evaluate(batch, _gradients, keepRows: noise.Items is not null || noise.Parameters is not null);
    }

    private async Task SendGradientsAsync(int round, int count, CancellationToken cancellationToken)
    {
        if (run.SharesGradient)
        {
            double[] shared = _gradients.Fused.AsSpan(0, count * _width).ToArray();
            if (run.NoisesGradients)
                _clipped.Clip(shared, _width, run.Job.Privacy.Clip);
            Released<EmbeddingGradients> released = Release(shared);
            foreach (ViewPeer peer in peers)
                await _clock.WaitAsync(peer.Channel.SendAsync(round, released, cancellationToken)).ConfigureAwait(false);
            return;
        }

        double[] factors = noise.Messages is null ? [] : JointFactors(count);
        for (int p = 0; p < peers.Count; p++)
        {
            double[] own = _gradients.Views[towers.Locals.Count + p].AsSpan(0, count * _width).ToArray();
            for (int i = 0; i < factors.Length; i++)
                ClippedRows.Scale(own.AsSpan(i * _width, _width), factors[i]);
            await _clock.WaitAsync(peers[p].Channel.SendAsync(round, Release(own), cancellationToken)).ConfigureAwait(false);
        }
    }

    // One bound over what all views get for a sample: views that put their heads together see no more.
    private double[] JointFactors(int count)
    {
        double[] factors = new double[count];
        for (int i = 0; i < count; i++)
            for (int p = 0; p < peers.Count; p++)
                factors[i] += TensorPrimitives.SumOfSquares<double>(_gradients.Views[towers.Locals.Count + p].AsSpan(i * _width, _width));
        RowClip.Factors(factors, run.Job.Privacy.Clip, factors);
        return factors;
    }

    private Released<EmbeddingGradients> Release(double[] gradients)
    {
        if (noise.Messages is null)
            run.RoundForWire(gradients);
        var payload = new EmbeddingGradients(gradients, run.ElementType);
        return noise.Messages is { } mechanism ? mechanism.Release(payload, "training embedding gradients") : Disclosure.Unprotected(payload, DssmDisclosures.Gradients);
    }

    /// <summary>Every parameter of the party steps: items, own view, fusion.</summary>
    private void Step(int count)
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

/// <summary>Vectors of several views for the same samples.</summary>
/// <param name="Views">By view, [samples x k].</param>
/// <param name="Present">By view: which samples have it; null: all.</param>
internal sealed record ViewVectors(IReadOnlyList<double[]> Views, IReadOnlyList<bool[]?> Present)
{
    /// <summary>These views, then others.</summary>
    public ViewVectors Then(ViewVectors others) => new([.. Views, .. others.Views], [.. Present, .. others.Present]);

    /// <summary>Some of the samples.</summary>
    public ViewVectors Slice(int from, int count, int width) =>
        new([.. Views.Select(v => v.AsSpan(from * width, count * width).ToArray())], [.. Present.Select(p => p?[from..(from + count)])]);
}
