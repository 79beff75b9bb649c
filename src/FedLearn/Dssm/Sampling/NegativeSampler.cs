using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>Draws the negatives of the sampled loss. Everything follows from seed, epoch, batch and what the source looks at; the same calls give the same items.</summary>
/// <remarks>
/// <para>Uniform draws are with replacement from the trainable items, unbiased, and depend on no data: a draw may be the sample's own positive, which the loss masks.</para>
/// <para>Mixed: half uniform (the larger half), half the positives of other samples of the batch, drawn uniformly. Cached: half uniform, half drawn from a ring of
/// the last 65,536 positives of earlier calls of <see cref="Draw"/>; uniform as long as it is empty. Hard: in the second half of the epochs, of ten times as many uniform
/// draws the J distinct ones with the highest scores, the positive left out. Popularity: probabilities proportional to count^.75 (Mikolov et al. 2013), by the alias method
/// (Vose 1991).</para>
/// <para>All but uniform depend on data and have no place in a private job. For one thread at a time.</para>
/// </remarks>
internal sealed class NegativeSampler
{
    private const int HardFactor = 10;
    private const int CacheSize = 1 << 16;

    private readonly NegativeSource _source;
    private readonly int _each, _epochs;
    private readonly long _seed;
    private readonly int[] _trainable;
    private readonly double[] _threshold = [];
    private readonly int[] _alias = [];
    private readonly int[] _ring = [];
    private long _remembered;
    private int[] _candidates = [];
    private double[] _scores = [];

    /// <summary>Creates a sampler.</summary>
    /// <param name="model">Says where negatives come from and how many there are.</param>
    /// <param name="items">Number of items; at least 1.</param>
    /// <param name="epochs">Planned epochs; at least 1.</param>
    /// <param name="seed">Seed. Not secret.</param>
    /// <param name="trainable">Which items may be drawn; null: all.</param>
    /// <param name="counts">Training events of each item; needed by <see cref="NegativeSource.Popularity"/> and only read by it.</param>
    /// <exception cref="ConfigurationException">No item may be drawn, or counts are missing (FL2432).</exception>
    public NegativeSampler(DssmModelOptions model, int items, int epochs, long seed, bool[]? trainable = null, int[]? counts = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfLessThan(items, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(epochs, 1);
        if (trainable is not null && trainable.Length != items)
            throw new ArgumentException("There is not one answer an item.", nameof(trainable));
        (_source, _each, _epochs, _seed) = (model.NegativeSource, model.Negatives, epochs, seed);
        _trainable = [.. Enumerable.Range(0, items).Where(i => trainable is null || trainable[i])];
        if (_each < 1 || !Enum.IsDefined(_source) || _trainable.Length == 0)
            throw Fault("there are no negatives, no such source, or no trainable item.", "Set the number of negatives to at least 1 and keep items for training.");
        if (_source == NegativeSource.Cached)
            _ring = new int[CacheSize];
        if (_source != NegativeSource.Popularity)
            return;
        if (counts is null || counts.Length != items || counts.Any(count => count < 0) || _trainable.All(item => counts[item] == 0))
            throw Fault("popularity needs the items' counts in the training events, and not all may be 0.", "Give the counts, or draw uniformly.");
        (_threshold, _alias) = Alias([.. _trainable.Select(item => Math.Pow(counts[item], 0.75))]);
    }

    /// <summary>Draws a sample among which hard negatives are found; 0 for other sources.</summary>
    internal static long PoolOf(DssmModelOptions model) => model.NegativeSource == NegativeSource.Hard ? (long)HardFactor * model.Negatives : 0;

    /// <summary>Whether the draw of an epoch looks at the current vectors.</summary>
    /// <param name="epoch">Epoch, from 0.</param>
    public bool NeedsVectors(int epoch) => _source == NegativeSource.Hard && epoch >= _epochs - _epochs / 2;

    /// <summary>Draws J negatives a sample.</summary>
    /// <param name="epoch">Epoch, from 0.</param>
    /// <param name="batch">Batch of the epoch, from 0.</param>
    /// <param name="targets">Positives of the batch, [b].</param>
    /// <param name="negatives">Receives [b x J].</param>
    /// <param name="loss">Ranks the draws when <see cref="NeedsVectors"/>; unused otherwise.</param>
    /// <param name="vectors">The batch's vectors when <see cref="NeedsVectors"/>, unused otherwise; its negatives are not read.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, or vectors are missing.</exception>
    public void Draw(int epoch, int batch, ReadOnlySpan<int> targets, Span<int> negatives, DssmLoss? loss = null, DssmBatch? vectors = null)
    {
        if (negatives.Length != (long)targets.Length * _each)
            throw new ArgumentException("There is not room for J negatives a sample.", nameof(negatives));
        var random = new PublicRandom(PublicRandom.Purpose.Negatives, _seed, epoch, batch);
        if (NeedsVectors(epoch))
        {
            if (loss is null || vectors is null || vectors.Targets.Length != targets.Length)
                throw new ArgumentException("Hard negatives need the batch's vectors.", nameof(vectors));
            DrawHard(ref random, targets, negatives, loss, vectors);
            return;
        }

        int uniform = _source is NegativeSource.Mixed or NegativeSource.Cached ? _each - _each / 2 : _each;
        int cached = (int)Math.Min(_remembered, CacheSize);
        for (int i = 0; i < targets.Length; i++)
            for (int j = 0; j < _each; j++)
                negatives[i * _each + j] = _source switch
                {
                    NegativeSource.Popularity => DrawPopular(ref random),
                    NegativeSource.Mixed when j >= uniform && targets.Length > 1 => targets[(i + 1 + random.Below(targets.Length - 1)) % targets.Length],
                    NegativeSource.Cached when j >= uniform && cached > 0 => _ring[random.Below(cached)],
                    _ => _trainable[random.Below(_trainable.Length)],
                };
        if (_source == NegativeSource.Cached)
            foreach (int target in targets)
                _ring[(int)(_remembered++ % CacheSize)] = target;
    }

    /// <summary>Adds what later draws depend on beside seed, epoch and batch: the positives of earlier calls.</summary>
    internal void Save(Coordination.StateWriter state)
    {
        if (_source == NegativeSource.Cached)
            state.Add("sampler.remembered", _remembered).Add("sampler.ring", _ring.AsSpan(0, (int)Math.Min(_remembered, CacheSize)));
    }

    /// <summary>Goes on with what <see cref="Save"/> added.</summary>
    internal void Restore(Coordination.StateReader state)
    {
        if (_source != NegativeSource.Cached)
            return;
        _remembered = state.Integer("sampler.remembered");
        state.Integers("sampler.ring", (int)Math.Min(Math.Max(_remembered, 0), CacheSize)).CopyTo(_ring, 0);
    }

    private int DrawPopular(ref PublicRandom random)
    {
        int slot = random.Below(_trainable.Length);
        return _trainable[random.NextDouble() < _threshold[slot] ? slot : _alias[slot]];
    }

    private void DrawHard(ref PublicRandom random, ReadOnlySpan<int> targets, Span<int> negatives, DssmLoss loss, DssmBatch vectors)
    {
        int pool = HardFactor * _each, total = targets.Length * pool;
        Span<int> candidates = Buffers.Of(ref _candidates, total);
        Span<double> all = Buffers.Of(ref _scores, total);
        foreach (ref int candidate in candidates)
            candidate = _trainable[random.Below(_trainable.Length)];
        loss.ScoreSome(vectors, candidates, pool, all);
        for (int i = 0; i < targets.Length; i++)
        {
            Span<int> own = candidates.Slice(i * pool, pool), chosen = negatives.Slice(i * _each, _each);
            Span<double> scores = all.Slice(i * pool, pool);
            int found = 0;
            for (; found < _each; found++)
            {
                int best = -1;
                for (int c = 0; c < pool; c++)
                    if (own[c] != targets[i] && scores[c] > double.NegativeInfinity
                        && (best < 0 || scores[c] > scores[best] || (scores[c] == scores[best] && own[c] < own[best])))
                        best = c;
                if (best < 0)
                    break;
                int item = chosen[found] = own[best];
                for (int c = 0; c < pool; c++)
                    if (own[c] == item)
                        scores[c] = double.NegativeInfinity;
            }

            // Fewer distinct draws than J: plain draws fill up.
            for (int c = 0; found < _each; c++)
                chosen[found++] = own[c];
        }
    }

    private static (double[] Threshold, int[] Alias) Alias(double[] weights)
    {
        double sum = weights.Sum();
        double[] threshold = [.. weights.Select(weight => weight / sum * weights.Length)];
        int[] alias = [.. Enumerable.Range(0, weights.Length)];
        var (small, large) = (new Stack<int>(), new Stack<int>());
        for (int i = 0; i < threshold.Length; i++)
            (threshold[i] < 1 ? small : large).Push(i);
        while (small.Count > 0 && large.Count > 0)
        {
            int less = small.Pop(), more = large.Pop();
            alias[less] = more;
            threshold[more] -= 1 - threshold[less];
            (threshold[more] < 1 ? small : large).Push(more);
        }

        // What is left over is 1 but for rounding, unless its weight is 0: then it keeps its partner of the largest weight.
        int heaviest = Array.IndexOf(weights, weights.Max());
        foreach (int rest in small.Concat(large))
            (threshold[rest], alias[rest]) = weights[rest] > 0 ? (1, rest) : (0, heaviest);
        return (threshold, alias);
    }

    private static ConfigurationException Fault(string cause, string remedy) => new(DssmLossErrors.InvalidNegatives, "negatives", cause, remedy);
}
