namespace FedLearn.Cli.Running;

/// <summary>Progress as a call, at once and on the thread that reports. Not <see cref="Progress{T}"/>, which would report from the thread pool, out of order and after the result.</summary>
/// <typeparam name="T">What is reported.</typeparam>
/// <param name="tell">Told of each report.</param>
internal sealed class SynchronousProgress<T>(Action<T> tell) : IProgress<T>
{
    /// <inheritdoc />
    public void Report(T value) => tell(value);
}
