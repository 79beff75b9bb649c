namespace FedLearn.Cli.RunFiles;

/// <summary>Reads what a job says of training on users' own devices.</summary>
internal static class DssmDeviceReader
{
    /// <summary>Refuses device mode, which this release has no run file for.</summary>
    /// <param name="training">The object <c>training</c>.</param>
    /// <param name="isDevice">Whether the mode is device.</param>
    /// <param name="ignore">Told the keys without effect.</param>
    public static void Read(Section training, bool isDevice, Action<Section, string> ignore)
    {
        if (isDevice)
            training.Fault(RunFileErrors.NotYet, "mode", "'device' comes with a later release of the run file.", "Use split, or the library's device rounds.");
        else if (training.Has("device"))
            ignore(training, "device");
    }
}
