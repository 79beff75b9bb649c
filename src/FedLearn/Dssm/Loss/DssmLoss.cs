namespace FedLearn.Dssm;

/// <summary>Stub.</summary>
public sealed class DssmLoss
{
    /// <summary>Creates a loss.</summary>
    /// <param name="model">Model.</param>
    /// <param name="width">Width k of all vectors.</param>
    /// <param name="views">Names of the views, in the order of every batch.</param>
    /// <param name="items">Number of items N.</param>
    /// <param name="logQ">Natural logarithm of each item's share, [N]; needed by <see cref="DssmLossKind.InBatchLogQ"/> and only read by it.</param>
    /// <param name="trainable">Which items may be candidates of <see cref="DssmLossKind.Full"/>; null: all.</param>
    public DssmLoss(DssmModelOptions model, int width, IReadOnlyList<string> views, int items, double[]? logQ = null, bool[]? trainable = null) => throw new NotImplementedException();

    /// <summary>Trained parameters of the label party.</summary>
    public FusionParameters Fusion => throw new NotImplementedException();

    /// <summary>Loss of a batch, summed over its samples, and its gradients.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="gradients">Receives the gradients.</param>
    /// <param name="keepRows">Whether single samples are asked for afterwards.</param>
    public double Evaluate(DssmBatch batch, DssmGradients gradients, bool keepRows = false) => throw new NotImplementedException();

    /// <summary>Squared L2 norm of each sample's own dL/dY.</summary>
    /// <param name="squaredNorms">Receives [b].</param>
    public void ItemBlockNorms(Span<double> squaredNorms) => throw new NotImplementedException();

    /// <summary>Sum over samples of weight times the sample's own dL/dY.</summary>
    /// <param name="weights">[b].</param>
    /// <param name="sum">Receives [N x k].</param>
    public void WeightedItemGradients(ReadOnlySpan<double> weights, Span<double> sum) => throw new NotImplementedException();

    /// <summary>Squared L2 norm of each sample's own gradient of the fusion parameters.</summary>
    /// <param name="squaredNorms">Receives [b].</param>
    public void FusionRowNorms(Span<double> squaredNorms) => throw new NotImplementedException();

    /// <summary>Sum over samples of weight times the sample's own gradient of the fusion parameters.</summary>
    /// <param name="weights">[b].</param>
    /// <param name="sum">Receives as many numbers as there are fusion parameters.</param>
    public void WeightedFusionGradients(ReadOnlySpan<double> weights, Span<double> sum) => throw new NotImplementedException();

    /// <summary>Scores of all items at serving.</summary>
    /// <param name="views">Vectors of each view, [count x k].</param>
    /// <param name="present">By view: which samples have it; null: all.</param>
    /// <param name="items">Vectors of the items, [N x k]; N may differ from that of training when there are no biases.</param>
    /// <param name="count">Number of samples.</param>
    /// <param name="scores">Receives [count x N].</param>
    public void Score(IReadOnlyList<double[]> views, IReadOnlyList<bool[]?> present, double[] items, int count, Span<double> scores) => throw new NotImplementedException();
}
