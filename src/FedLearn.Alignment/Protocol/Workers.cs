namespace FedLearn.Alignment;

/// <summary>So many threads that compute, shared by all that an alignment does at once.</summary>
/// <param name="threads">How many; at least 1.</param>
internal sealed class Workers(int threads) : IDisposable
{
    private readonly SemaphoreSlim _free = new(threads);

    /// <summary>How many chunks one direction may have in the works: one a thread, and one that waits for it. Bounds the memory.</summary>
    public int Window { get; } = threads + 1;

    /// <summary>How many threads.</summary>
    public int Threads { get; } = threads;

    /// <summary>Computes something once a thread is free.</summary>
    public async Task<T> RunAsync<T>(Func<T> work, CancellationToken cancellationToken)
    {
        await _free.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await Task.Run(work, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _free.Release();
        }
    }

    /// <inheritdoc />
    public void Dispose() => _free.Dispose();
}
