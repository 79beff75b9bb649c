namespace FedLearn.Dssm;

/// <summary>Gradients of the loss summed over the samples of a batch. Used again for batch after batch: arrays grow when a batch needs it and are never shrunk.</summary>
internal sealed class DssmGradients
{
    private int[]? _itemRows;

    /// <summary>Number of samples b of the last evaluation.</summary>
    public int Samples { get; private set; }

    /// <summary>dL/dy_v of each view, [b x k]; rows of absent views are 0. An array may be longer than b k.</summary>
    public double[][] Views { get; private set; } = [];

    /// <summary>dL/dy_u of the fused vector, [b x k], of the fusions sum and concat; empty for late. In the fusion sum every present view's gradient is this times its
    /// weight. It may be longer than b k.</summary>
    public double[] Fused { get; private set; } = [];

    /// <summary>dL/dY, [N x k].</summary>
    public double[] Items { get; private set; } = [];

    /// <summary>Gradient of <see cref="FusionParameters.Values"/>.</summary>
    public double[] Fusion { get; private set; } = [];

    /// <summary>Makes room for a batch; the gradients that are added up begin with 0.</summary>
    internal void Prepare(int views, int samples, int width, int items, int fusion, bool fused, int[]? itemRows)
    {
        Samples = samples;
        if (Views.Length != views)
            Views = [.. Enumerable.Range(0, views).Select(_ => Array.Empty<double>())];
        for (int v = 0; v < views; v++)
            if (Views[v].Length < samples * width)
                Views[v] = new double[samples * width];
        if (fused && Fused.Length < samples * width)
            Fused = new double[samples * width];
        if (Items.Length != items * width)
            Items = new double[items * width];
        else if (_itemRows is null)
            Array.Clear(Items);
        else
            foreach (int item in _itemRows)
                Items.AsSpan(item * width, width).Clear();
        _itemRows = itemRows;
        if (Fusion.Length != fusion)
            Fusion = new double[fusion];
        Array.Clear(Fusion);
    }
}
