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

    /// <summary>Runs two things at once; when one fails, the other is stopped, and the first failure is thrown once both have ended.</summary>
    public static Task BothAsync(Func<CancellationToken, Task> first, Func<CancellationToken, Task> second, CancellationToken cancellationToken) =>
        AllAsync([first, second], cancellationToken);

    /// <summary>Runs several things at once; when one fails, the others are stopped, and the first failure is thrown once all have ended.</summary>
    public static async Task AllAsync(IReadOnlyList<Func<CancellationToken, Task>> all, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = all.Select(one => Task.Run(() => one(stop.Token), CancellationToken.None)).ToList();
        Task? failed = null;
        while (running.Count > 0)
        {
            Task ended = await Task.WhenAny(running).ConfigureAwait(false);
            running.Remove(ended);
            if (ended.IsCompletedSuccessfully || failed is not null)
                continue;
            failed = ended;
            await stop.CancelAsync().ConfigureAwait(false);
        }

        if (failed is not null)
            await failed.ConfigureAwait(false);
    }

    /// <inheritdoc />
    public void Dispose() => _free.Dispose();
}
