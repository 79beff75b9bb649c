using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Alignment;

// Chunks on their way: computed on the workers a few at once, sent and kept in order.
internal sealed partial class PsiSession
{
    /// <summary>Makes chunks on the workers, a few ahead, and sends them in order.</summary>
    private async Task SendChunksAsync(int ids, int first, Func<int, byte[]> make, Func<int, byte[], CancellationToken, Task> send, CancellationToken cancellationToken)
    {
        var making = new Queue<Task<byte[]>>();
        try
        {
            for (int sent = first, next = first, chunks = Chunks(ids); sent < chunks; sent++)
            {
                for (; next < chunks && making.Count < _workers.Window; next++)
                {
                    int chunk = next;
                    making.Enqueue(_workers.RunAsync(() => make(chunk), cancellationToken));
                }

                byte[] made = await making.Dequeue().ConfigureAwait(false);
                await send(sent, made, cancellationToken).ConfigureAwait(false);
                Report(Length(sent, ids));
            }
        }
        finally
        {
            await EndAsync(making).ConfigureAwait(false);
        }
    }

    /// <summary>Receives chunks in order, treats them on the workers, a few at once, and keeps the results in order.</summary>
    private async Task ReceiveChunksAsync<T>(int ids, int first, int width, bool proof, string step, Func<int, ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, byte[]> treat, Action<byte[]> keep,
        CancellationToken cancellationToken) where T : SealedPayload
    {
        var treating = new Queue<Task<byte[]>>();
        int taken = first;
        bool keeps = true;
        Task receiving = Task.CompletedTask;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            for (int i = first, chunks = Chunks(ids); i < chunks; i++)
            {
                if (treating.Count == _workers.Window)
                    await TakeAsync().ConfigureAwait(false);
                Task<T> next = _channel.ReceiveAsync<T>(0, null, stop.Token).AsTask();
                receiving = next;
                // A chunk that breaks the rules ends the session at once, whether or not another one comes.
                while (treating.Count > 0 && await Task.WhenAny(next, treating.Peek()).ConfigureAwait(false) != next)
                    await TakeAsync().ConfigureAwait(false);
                T message = await next.ConfigureAwait(false);
                int chunk = i, expected = Length(chunk, ids);
                if (message.Length != expected || message.Bytes.Length != (long)expected * width)
                    throw PsiFaults.Peer(PsiErrors.WrongCount, _channel, step, $"sent {message.Length} {step} in {message.Bytes.Length} bytes where {expected} of {width} bytes were due.");
                ReadOnlyMemory<byte> proven = proof ? await PsiFaults.ReceiveAsync(_channel, AlignmentStep.Proof, ChunkProof.Bytes, cancellationToken).ConfigureAwait(false) : default;
                treating.Enqueue(_workers.RunAsync(() => treat(chunk, message.Bytes, proven), cancellationToken));
            }

            while (treating.Count > 0)
                await TakeAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (!PsiFaults.EndsSession(e))
        {
            // What has arrived need not be sent again; but a chunk that could not be kept leaves a place that no later one may take.
            while (keeps && treating.Count > 0 && await SucceedsAsync(treating.Peek()).ConfigureAwait(false))
                await TakeAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await EndAsync(treating).ConfigureAwait(false);
        }

        async Task TakeAsync()
        {
            byte[] record = await treating.Dequeue().ConfigureAwait(false);
            if (_state is { } state)
            {
                keeps = false;
                state.Guarded(() => keep(record));
                keeps = true;
            }

            Report(Length(taken++, ids));
        }
    }

    private static async Task<bool> SucceedsAsync(Task task)
    {
        await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompletedSuccessfully;
    }

    private static byte[] Stored(PsiState state, ChunkFile file, int chunk)
    {
        byte[] bytes = [];
        state.Guarded(() => bytes = file.Read(chunk));
        return bytes;
    }

    // Nothing may still compute when the secrets are wiped.
    private static async Task EndAsync<T>(Queue<Task<T>> tasks)
    {
        foreach (Task<T> task in tasks)
            await ((Task)task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private void Report(int ids) => _progress?.Report(new AlignmentProgress(_channel.LocalParty, _channel.RemoteParty, Interlocked.Add(ref _done, ids), Total));
}
