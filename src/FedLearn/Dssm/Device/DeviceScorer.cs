namespace FedLearn.Dssm;

/// <summary>Scores items for samples, as a device does with a version of the model: nothing leaves it. New users need no training, and a new item only its content.</summary>
/// <remarks>For one thread at a time.</remarks>
public sealed class DeviceScorer : IDisposable
{
    private readonly DevicePlan _plan;
    private readonly ITower[] _towers;
    private readonly DssmLoss _loss;
    private readonly double[] _items;

    /// <summary>Creates a scorer for a version of the model.</summary>
    /// <param name="job">The job.</param>
    /// <param name="model">The version.</param>
    /// <param name="towers">Makes towers.</param>
    /// <param name="own">User models of the device, one a view, where they stay there; null: those of <paramref name="model"/>.</param>
    /// <param name="items">Content of the items to score; null: the job's.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2470, FL2471: the job is inconsistent; FL2472: the parameters are not those of its towers.</exception>
    public DeviceScorer(DeviceJob job, DeviceModel model, ITowerFactory towers, IReadOnlyList<double[]>? own = null, TowerRows? items = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(towers);
        _plan = new DevicePlan(job);
        IReadOnlyList<double[]> users = own ?? model.Views;
        _towers = [.. _plan.Views.Prepend(_plan.Item).Select((spec, b) => towers.Create(spec, _plan.SeedOf(b)))];
        if (users.Count != _plan.Views.Count || model.Item.Length != _towers[0].ParameterCount || users.Where((view, v) => view.Length != _towers[v + 1].ParameterCount).Any())
        {
            Dispose();
            throw new Diagnostics.ConfigurationException(DeviceErrors.DataDoesNotFit, "device model", "its parameters are not those of the job's towers.",
                "Give the model of this job, and where user models stay at their device those of the device.");
        }

        _towers[0].SetParameters(model.Item);
        for (int v = 0; v < users.Count; v++)
            _towers[v + 1].SetParameters(users[v]);
        TowerRows content = items ?? job.Items.Content;
        Width = _towers[0].Width;
        _items = new double[content.Rows * Width];
        _towers[0].Forward(content, [.. Enumerable.Range(0, content.Rows)], _items, training: false);
        _loss = new DssmLoss(job.Model, Width, [.. job.Views.Select(view => view.Name)], content.Rows);
    }

    /// <summary>Width k of the vectors.</summary>
    public int Width { get; }

    /// <summary>Vectors of the items, one row of k numbers after the other.</summary>
    public ReadOnlySpan<double> ItemVectors => _items;

    /// <summary>Scores every item for every sample: fused cosines, the mean over the views that a sample has under late.</summary>
    /// <param name="data">The samples; their positives are not read.</param>
    /// <param name="scores">Receives samples x items numbers, row-major.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2472: the data does not fit the job.</exception>
    public void Score(DeviceData data, Span<double> scores)
    {
        ArgumentNullException.ThrowIfNull(data);
        _plan.CheckData(data);
        double[][] vectors = new double[data.Views.Count][];
        bool[][] present = new bool[data.Views.Count][];
        for (int v = 0; v < vectors.Length; v++)
        {
            (vectors[v], present[v]) = (new double[data.Samples * Width], new bool[data.Samples]);
            if (data.Views[v] is not { } view)
                continue;
            present[v] = Array.ConvertAll(view.Index, row => row >= 0);
            _towers[v + 1].Forward(view.Rows, view.Index, vectors[v], training: false);
        }

        _loss.Score(vectors, present, _items, data.Samples, scores);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (ITower tower in _towers)
            tower.Dispose();
    }
}
