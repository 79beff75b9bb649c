using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>A view's side of a session: in every round it sends the vectors of the batch and steps its tower with the gradients that come back.</summary>
internal sealed class ViewRun(DssmRun run, ITower tower, ViewTable table, ViewSamples samples, IPartyChannel channel, PartyNoise noise, DssmKeptRun? kept = null)
{
    private readonly ClippedRows _clipped = new();
    private readonly int _width = tower.Width;
    private readonly PartyClock _clock = new();
    private readonly double _weight = run.FixedWeight(channel.LocalParty);

    /// <summary>Trains until the active party says that training ends.</summary>
    public async Task<DssmEpochs> TrainAsync(IProgress<DssmProgress>? progress, CancellationToken cancellationToken)
    {
        var history = new List<DssmHistoryPoint>();
        var best = new BestModel(tower);
        int[] rows = samples.Rows[0];
        int batches = run.Job.BatchesOf(rows.Length), first = kept?.First ?? 0;
        bool validates = run.Validates(samples.Rows[1].Length);
        if (kept?.Restored is { } state && first > 0)
            await run.Thread.RunAsync(() => Restore(state, best, history)).ConfigureAwait(false);
        for (int epoch = first / batches; epoch < run.Epochs; epoch++)
        {
            int[] order = run.Order(rows.Length, epoch);
            for (int b = Math.Max(0, first - epoch * batches); b < batches; b++)
            {
                int round = epoch * batches + b;
                if (kept is not null)
                    await ChannelGuard.WhileTheyWaitAsync([channel], _ => kept.KeepAsync(round, run.Thread, writer => Save(writer, best, history)), cancellationToken).ConfigureAwait(false);
                int[] batch = run.Batch(order, b);
                await RoundAsync(round, batch, rows, epoch, cancellationToken).ConfigureAwait(false);
            }

            int done = (epoch + 1) * batches;
            history.Add(new DssmHistoryPoint(epoch + 1, null, null, _clock.Seconds));
            progress?.Report(new DssmProgress(channel.LocalParty, done, run.Epochs * batches, epoch + 1, null, null));
            if (!validates)
                continue;
            await SendEvaluationAsync(done, 1, cancellationToken).ConfigureAwait(false);
            Scalars told = await _clock.WaitAsync(ChannelGuard.ReceiveScalarsAsync(channel, done, ScalarsKind.Step, 1, cancellationToken)).ConfigureAwait(false);
            StopVerdict verdict = ChannelGuard.Choice<StopVerdict>(told.Values.Span[0], channel, done);
            best.Note(verdict, epoch + 1);
            if (verdict.Ends())
                break;
        }

        best.Restore();
        return new(validates ? best.Epoch : history.Count, history, _clock.Timing(noise.Time, history.Count));
    }

    /// <summary>Sends the vectors of a set of evaluation samples, as the job's evaluation says.</summary>
    public async Task SendEvaluationAsync(int round, int set, CancellationToken cancellationToken)
    {
        if (samples.Rows[set].Length == 0)
            return;
        double[] vectors = await ComputeAsync(() => run.Thread.RunAsync(() => run.Vectors(tower, table.Rows, samples.Rows[set])), cancellationToken).ConfigureAwait(false);
        if (run.Masking is { } masking)
        {
            // Without noise: the plan refuses a charged evaluation under masks.
            Scale(vectors);
            await channel.SendAsync(round, masking.Mask(vectors, run.SetNames[set], noise: null), cancellationToken).ConfigureAwait(false);
            return;
        }

        if (noise.Evaluation is not null)
            _clipped.Clip(vectors, _width, run.Job.Privacy.Clip);
        await channel.SendAsync(round, Release(vectors, run.SetNames[set], noise.Evaluation, $"embeddings: {run.SetNames[set]}"), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Claim one-shot: the frozen map of every row that the job needs, once; nothing comes back. A static view sends every shared user, which is all that the job
    /// will ever need.</summary>
    public async Task<DssmEpochs> SendOnceAsync(CancellationToken cancellationToken)
    {
        int[] rows = table.Moments is null ? [.. samples.CommonUsers.Select(user => table.RowOf(user, default))] : samples.Rows[0];
        double[] vectors = await ComputeAsync(() => run.Thread.RunAsync(() => run.Vectors(tower, table.Rows, rows)), cancellationToken).ConfigureAwait(false);
        _clipped.Clip(vectors, _width, run.Job.Privacy.Clip);
        await channel.SendAsync(0, noise.Messages!.Release(new Embeddings(vectors, run.ElementType), "embeddings, once"), cancellationToken).ConfigureAwait(false);
        for (int set = 1; table.Moments is not null && set < run.SetNames.Count; set++)
            await SendEvaluationAsync(0, set, cancellationToken).ConfigureAwait(false);
        return new(0, [], _clock.Timing(noise.Time, 0));
    }

    /// <summary>Lets vectors leave: with noise under one name, or as a disclosure of what they are for.</summary>
    private Released<Embeddings> Release(double[] vectors, string set, GaussianMechanism? mechanism, string noised)
    {
        if (mechanism is null)
            run.RoundForWire(vectors);
        var payload = new Embeddings(vectors, run.ElementType);
        return mechanism?.Release(payload, noised) ?? Disclosure.Unprotected(payload, DssmDisclosures.Embeddings(set));
    }

    private void Save(StateWriter state, BestModel best, List<DssmHistoryPoint> history)
    {
        state.AddUncopied("tower", tower.SaveTraining()).Add("seconds", history.Select(h => h.Seconds).ToArray());
        best.Save(state);
        noise.Save(state);
        run.Masking?.Save(state);
    }

    private void Restore(StateReader state, BestModel best, List<DssmHistoryPoint> history)
    {
        tower.RestoreTraining(state.Bytes("tower").Span);
        history.AddRange(state.Doubles("seconds").Select((seconds, i) => new DssmHistoryPoint(i + 1, null, null, seconds)));
        best.Load(state);
        noise.Continue(state);
    }

    /// <summary>Works, and tells the active party, which waits, now and then that it does.</summary>
    private Task<T> ComputeAsync<T>(Func<Task<T>> work, CancellationToken cancellationToken) => ChannelGuard.WhileTheyWaitAsync([channel], _ => work(), cancellationToken);

    private void Scale(double[] vectors) => TensorPrimitives.Multiply(vectors, _weight, vectors);

    private async Task RoundAsync(int round, int[] batch, int[] rows, int epoch, CancellationToken cancellationToken)
    {
        int[] index = [.. batch.Select(i => (run.Masking is null ? run.Drops(epoch, i, channel.LocalParty) : run.Masking.Drops(run.Job.Model.ViewDropout, epoch, i)) ? -1 : rows[i])];
        double[] vectors = GC.AllocateUninitializedArray<double>(index.Length * _width);
        bool clips = run.NoisesEmbeddings;
        await ComputeAsync(() => run.Thread.RunAsync(() =>
        {
            tower.Forward(table.Rows, index, vectors, training: true);
            if (clips)
                _clipped.Clip(vectors, _width, run.Job.Privacy.Clip);
        }), cancellationToken).ConfigureAwait(false);
        if (run.Masking is { } masking)
        {
            // The view weighs its own rows: nobody else can, under masks.
            double[] weighed = [.. vectors];
            Scale(weighed);
            await _clock.WaitAsync(channel.SendAsync(round, masking.Mask(weighed, SampleSet.Training, noise.Messages), cancellationToken)).ConfigureAwait(false);
        }
        else
        {
            await _clock.WaitAsync(channel.SendAsync(round, Release(vectors, SampleSet.Training, noise.Messages, "training embeddings"), cancellationToken)).ConfigureAwait(false);
        }

        EmbeddingGradients received = await _clock.WaitAsync(channel.ReceiveAsync<EmbeddingGradients>(round, vectors.Length, cancellationToken)).ConfigureAwait(false);
        ChannelGuard.Packed(received, run.Packing(run.NoisesGradients), channel, round);
        double[] upstream = [.. run.Received(received.Values, _width)];
        // The tower's step overlaps with what the active party does; the thread keeps the order.
        await ComputeAsync(() => run.Thread.RunAsync(() =>
        {
            if (run.SharesGradient)
                Scale(upstream);
            if (clips)
                _clipped.Backward(upstream, vectors, _width, run.Job.Privacy.Clip);
            run.StepTower(tower, upstream, noise.Parameters, index.Length);
        }), cancellationToken).ConfigureAwait(false);
    }
}
