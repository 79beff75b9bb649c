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
    private readonly ActiveModel _model = new(run, towers, samples, noise);
    private readonly FusionParameters _fusion = towers.Loss.Fusion;
    private readonly int _width = run.Job.Width;
    private readonly IPartyChannel[] _channels = [.. peers.Select(peer => peer.Channel)];
    private readonly PartyClock _clock = new();

    /// <summary>Trains.</summary>
    public async Task<DssmEpochs> TrainAsync(IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        var now = new Progress(new BestModel(towers.All));
        int count = samples.Sets[0].Events.Count, batches = run.Job.BatchesOf(count), first = kept?.First ?? 0;
        bool validates = run.Validates(samples.Sets[1].Events.Count);
        if (kept?.Restored is { } state && first > 0)
            await run.Thread.RunAsync(() =>
            {
                _model.Restore(state);
                now.Load(state);
            }).ConfigureAwait(false);
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
                        await kept.KeepAsync(round, run.Thread, state =>
                        {
                            _model.Save(state);
                            now.Save(state);
                        }).ConfigureAwait(false);
                    return await LossAsync(round, epoch, b, batch, stop).ConfigureAwait(false);
                }, cancellationToken).ConfigureAwait(false);
                await SendGradientsAsync(round, batch.Length, cancellationToken).ConfigureAwait(false);
                await WhileViewsWaitAsync(_ => run.Thread.RunAsync(() => _model.Step(batch.Length)), cancellationToken).ConfigureAwait(false);
            }

            int done = (epoch + 1) * batches;
            double loss = now.Loss / count;
            now.Loss = 0;
            if (!double.IsFinite(loss))
                throw new InternalFailureException(DssmErrors.Diverged, $"epoch {epoch + 1}", "the training loss is NaN or infinite.", "Lower training.stepSize or model.gamma.");
            (double? validation, StopVerdict verdict) = validates ? await JudgeAsync(epoch, done, now, cancellationToken).ConfigureAwait(false) : (null, StopVerdict.GoOn);
            now.History.Add(new DssmHistoryPoint(epoch + 1, loss, validation, _clock.Seconds));
            progress?.Report(new DssmProgress(samples.Party, done, run.Epochs * batches, epoch + 1, loss, validation));
            if (verdict.Ends())
                break;
        }

        if (now.Best.Epoch > 0)
        {
            now.Best.Restore();
            now.BestFusion.CopyTo(_fusion.Values.AsSpan());
        }

        return new(validates ? now.Best.Epoch : now.History.Count, now.History, _clock.Timing(noise.Time, now.History.Count));
    }

    /// <summary>Validates after an epoch, and tells the views whether training goes on.</summary>
    private async Task<(double? Validation, StopVerdict Verdict)> JudgeAsync(int epoch, int done, Progress now, CancellationToken cancellationToken)
    {
        double validation = await ValidateAsync(done, cancellationToken).ConfigureAwait(false);
        bool better = validation > now.BestValue;
        (now.BestValue, now.Since) = better ? (validation, 0) : (now.BestValue, now.Since + 1);
        bool last = epoch + 1 == run.Epochs || now.Since >= run.Job.Training.Patience;
        var verdict = StopVerdicts.Of(better, ends: last);
        if (better)
            now.BestFusion = [.. _fusion.Values];
        now.Best.Note(verdict, epoch + 1);
        foreach (ViewPeer peer in peers)
            await _clock.WaitAsync(peer.Channel.SendAsync(done, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new double[] { (int)verdict }), "validation: whether training goes on"), cancellationToken)).ConfigureAwait(false);
        return (validation, verdict);
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
            _model.TakeItems();
            int from = 0;
            return samples.Evaluator.Evaluate(samples.Sets[set].Role, (events, scores) =>
            {
                _model.Score(vectors.Slice(from, events.Length, _width), events.Length, scores);
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
            _model.TakeItems();
            int from = 0;
            return samples.Evaluator.SampledNdcg(samples.Sets[1].Role, (events, ends, items, scores) =>
            {
                _model.ScoreEach(vectors.Slice(from, events.Length, _width), ends, items, scores);
                from += events.Length;
            }) ?? 0;
        }).ConfigureAwait(false);
    }, cancellationToken);

    /// <summary>Vectors of the users of the first set, and of the items.</summary>
    public async Task<(ItemIndex Items, UserVectors Users)> RecommendAsync(string version, CancellationToken cancellationToken)
    {
        ViewVectors vectors = await WhileViewsWaitAsync(stop => CollectAsync(0, 0, stop), cancellationToken).ConfigureAwait(false);
        double[] weights = new double[vectors.Views.Count], bias = [.. _fusion.ItemBias.ToArray().Select(b => b / run.Job.Model.Gamma)];
        _fusion.GetViewWeights(weights);
        double[]? matrix = run.Job.Model.Fusion == DssmFusion.Concat ? _fusion.Matrix.ToArray() : null;
        double[] items = await run.Thread.RunAsync(() => _model.Items()).ConfigureAwait(false);
        return (ItemIndex.FromVectors(samples.Items.Ids, items, _width, version, bias), UserVectors.Fuse(run.Job.Model.Fusion, vectors.Views, vectors.Present, _width, version, weights, matrix));
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

    /// <summary>Works, and tells the views now and then that it does: each waits for this party, also while another view computes.</summary>
    private Task<T> WhileViewsWaitAsync<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken) => ChannelGuard.WhileTheyWaitAsync(_channels, work, cancellationToken);

    /// <summary>The loss of a batch, once every view's vectors are there, and the gradients that answer them.</summary>
    private async Task<double> LossAsync(int round, int epoch, int batchNumber, int[] batch, CancellationToken cancellationToken)
    {
        int[][] index = [.. towers.Locals.Select(view => batch.Select(i => run.Drops(epoch, i, view.Name) ? -1 : view.Samples[0][i]).ToArray())];
        var own = new ViewVectors([.. index.Select(rows => new double[rows.Length * _width])], [.. index.Select(rows => rows.Select(r => r >= 0).ToArray())]);
        int[] targets = [.. batch.Select(i => samples.Sets[0].Events[i].Item)];
        Task<int[]> forward = run.Thread.RunAsync(() => _model.Forward(targets, index, own, epoch, batchNumber));
        // Under masks a view's coin is its secret.
        bool[] Kept(ViewPeer peer) => [.. batch.Select(i => peer.Present[0][i] && (run.Job.MaskedSum || !run.Drops(epoch, i, peer.Name)))];
        ViewVectors received = await ReceiveAsync(round, batch.Length, run.NoisesEmbeddings, Kept, cancellationToken).ConfigureAwait(false);
        int[] drawn = await forward.ConfigureAwait(false);
        return await run.Thread.RunAsync(() => _model.Evaluate(own.Then(received), targets, drawn, epoch, batchNumber)).ConfigureAwait(false);
    }

    private async Task SendGradientsAsync(int round, int count, CancellationToken cancellationToken)
    {
        if (run.SharesGradient)
        {
            Released<EmbeddingGradients> released = Release(_model.SharedGradients(count));
            foreach (ViewPeer peer in peers)
                await _clock.WaitAsync(peer.Channel.SendAsync(round, released, cancellationToken)).ConfigureAwait(false);
            return;
        }

        double[] factors = noise.Messages is null ? [] : _model.JointFactors(peers.Count, count);
        for (int p = 0; p < peers.Count; p++)
            await _clock.WaitAsync(peers[p].Channel.SendAsync(round, Release(_model.GradientsOf(p, count, factors)), cancellationToken)).ConfigureAwait(false);
    }

    private Released<EmbeddingGradients> Release(double[] gradients)
    {
        if (noise.Messages is null)
            run.RoundForWire(gradients);
        var payload = new EmbeddingGradients(gradients, run.ElementType);
        return noise.Messages is { } mechanism ? mechanism.Release(payload, "training embedding gradients") : Disclosure.Unprotected(payload, DssmDisclosures.Gradients);
    }
}
