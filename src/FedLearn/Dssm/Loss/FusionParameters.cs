namespace FedLearn.Dssm;

/// <summary>What the active party trains besides towers: the matrix of the fusion concat, learned view weights and the items' biases.</summary>
/// <remarks>
/// <para>Order of <see cref="Values"/>: the matrix T, [(V k) x k] input-major (row v k + j says what coordinate j of view v adds), for the fusion concat; then one number a_v a
/// view, when weights are learned; then one bias an item, when there are biases.</para>
/// <para>A learned view weight is w_v = a_v squared, in every fusion: it never is below 0, it may reach 0 and return, and a_v starts at the root of the fixed weight. T starts
/// as identity blocks divided by V, which makes an untrained concat the mean of the views; biases start at 0.</para>
/// </remarks>
internal sealed class FusionParameters
{
    private readonly int _views, _matrix, _weights, _biases;
    private readonly double[] _fixedWeights;

    internal FusionParameters(DssmFusion fusion, int width, double[] fixedWeights, bool learnWeights, int items, bool itemBias)
    {
        (_views, _fixedWeights) = (fixedWeights.Length, fixedWeights);
        _matrix = fusion == DssmFusion.Concat ? checked(_views * width * width) : 0;
        (_weights, _biases) = (learnWeights ? _views : 0, itemBias ? items : 0);
        Values = new double[checked(_matrix + _weights + _biases)];
        for (int row = 0; row < (_matrix > 0 ? _views * width : 0); row++)
            Values[row * width + row % width] = 1.0 / _views;
        for (int v = 0; v < _weights; v++)
            Values[_matrix + v] = Math.Sqrt(fixedWeights[v]);
    }

    /// <summary>All parameters, in the order of the remarks; empty when there are none. May be changed in place between batches, as an optimiser does.</summary>
    public double[] Values { get; }

    /// <summary>The matrix T, [(V k) x k] input-major; empty unless the fusion is concat.</summary>
    public Span<double> Matrix => Values.AsSpan(0, _matrix);

    /// <summary>The roots a_v of learned view weights; empty when weights are fixed.</summary>
    public Span<double> WeightRoots => Values.AsSpan(_matrix, _weights);

    /// <summary>The items' biases, [N]; empty when there are none.</summary>
    public Span<double> ItemBias => Values.AsSpan(_matrix + _weights, _biases);

    /// <summary>The view weights in force, learned or fixed, not normalised.</summary>
    /// <param name="destination">Receives one number a view.</param>
    public void GetViewWeights(Span<double> destination)
    {
        for (int v = 0; v < _views; v++)
            destination[v] = _weights > 0 ? Values[_matrix + v] * Values[_matrix + v] : _fixedWeights[v];
    }
}
