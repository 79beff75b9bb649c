namespace FedLearn.Dssm;

/// <summary>One view of a device: a table, and the row of it that each sample reads.</summary>
/// <param name="Rows">Rows; devices of one process may share a table.</param>
/// <param name="Index">Row of each sample; -1 where the view knows nothing.</param>
public sealed record DeviceViewRows(TowerRows Rows, int[] Index);

/// <summary>What one device holds: its samples in every view, and the item of each. It stays there.</summary>
public sealed class DeviceData
{
    /// <summary>Creates the data of a device.</summary>
    /// <param name="device">Name under which the device is enrolled; unique among devices. The server knows it.</param>
    /// <param name="views">One for each view of the job, in its order; null for a view that the device does not have.</param>
    /// <param name="positives">Item of each sample.</param>
    /// <exception cref="ArgumentException">The parts do not fit together.</exception>
    public DeviceData(string device, IReadOnlyList<DeviceViewRows?> views, int[] positives)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(device);
        ArgumentNullException.ThrowIfNull(views);
        ArgumentNullException.ThrowIfNull(positives);
        foreach (DeviceViewRows? view in views)
            if (view is not null && (view.Index.Length != positives.Length || Array.Exists(view.Index, row => row < -1 || row >= view.Rows.Rows)))
                throw new ArgumentException("A view has not one row a sample.", nameof(views));
        (Device, Views, Positives) = (device, views, positives);
    }

    /// <summary>Name under which the device is enrolled.</summary>
    public string Device { get; }

    /// <summary>One for each view of the job; null for one that the device does not have.</summary>
    public IReadOnlyList<DeviceViewRows?> Views { get; }

    /// <summary>Item of each sample. Must not be changed.</summary>
    public int[] Positives { get; }

    /// <summary>Number of samples.</summary>
    public int Samples => Positives.Length;
}
