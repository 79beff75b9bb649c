namespace FedLearn.Protocol;

/// <summary>The model of a run that has ended could not be saved: nothing is wrong with the run, which ends once there is a place for it. Stays inside of a trainer, whose caller sees the cause.</summary>
/// <param name="cause">What saving threw.</param>
internal sealed class ModelNotSavedException(Exception cause) : Exception("The model could not be saved.", cause)
{
    /// <summary>Saves a model.</summary>
    /// <param name="save">How; null for nowhere.</param>
    /// <param name="model">The model.</param>
    /// <exception cref="ModelNotSavedException">That failed.</exception>
    public static void Save<T>(Action<T>? save, T model)
    {
        try
        {
            save?.Invoke(model);
        }
#pragma warning disable CA1031 // whatever the caller's own code threw is thrown again, at the end of the protocol
        catch (Exception e)
#pragma warning restore CA1031
        {
            throw new ModelNotSavedException(e);
        }
    }
}
