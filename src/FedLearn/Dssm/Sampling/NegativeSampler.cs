namespace FedLearn.Dssm;

/// <summary>Stub.</summary>
public sealed class NegativeSampler
{
    /// <summary>Creates a sampler.</summary>
    /// <param name="model">Says where negatives come from and how many there are.</param>
    /// <param name="items">Number of items.</param>
    /// <param name="epochs">Planned epochs.</param>
    /// <param name="seed">Seed. Not secret.</param>
    /// <param name="trainable">Which items may be drawn; null: all.</param>
    /// <param name="counts">Training events of each item; needed by <see cref="NegativeSource.Popularity"/> and only read by it.</param>
    public NegativeSampler(DssmModelOptions model, int items, int epochs, long seed, bool[]? trainable = null, int[]? counts = null) => throw new NotImplementedException();

    /// <summary>Whether the draw of an epoch looks at the current vectors.</summary>
    /// <param name="epoch">Epoch, from 0.</param>
    public bool NeedsVectors(int epoch) => throw new NotImplementedException();

    /// <summary>Draws J negatives a sample.</summary>
    /// <param name="epoch">Epoch, from 0.</param>
    /// <param name="batch">Batch of the epoch, from 0.</param>
    /// <param name="targets">Positives of the batch, [b].</param>
    /// <param name="negatives">Receives [b x J].</param>
    /// <param name="loss">Ranks candidates when <see cref="NeedsVectors"/>.</param>
    /// <param name="vectors">The batch's vectors when <see cref="NeedsVectors"/>; its negatives are not read.</param>
    public void Draw(int epoch, int batch, ReadOnlySpan<int> targets, Span<int> negatives, DssmLoss? loss = null, DssmBatch? vectors = null) => throw new NotImplementedException();
}
