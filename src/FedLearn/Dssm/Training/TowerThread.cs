using System.Threading.Channels;

namespace FedLearn.Dssm;

/// <summary>The one thread that works on a party's towers: native libraries keep a team of workers for every thread that calls them.</summary>
internal sealed class TowerThread : IAsyncDisposable
{
    private readonly Channel<Action> _work = Channel.CreateUnbounded<Action>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Task _ended;

    public TowerThread(string party)
    {
        var ended = new TaskCompletionSource();
        _ended = ended.Task;
        new Thread(() => Run(ended)) { IsBackground = true, Name = $"towers of {party}" }.Start();
    }

    /// <summary>Runs something on the thread, after what was given before.</summary>
    public Task<bool> RunAsync(Action action) => RunAsync(() =>
    {
        action();
        return true;
    });

    /// <summary>Runs something on the thread, after what was given before.</summary>
    public Task<T> RunAsync<T>(Func<T> function)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Writer.TryWrite(() =>
        {
            try
            {
                done.SetResult(function());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        });
        return done.Task;
    }

    /// <summary>Waits until all that was given is done, and ends the thread.</summary>
    public async ValueTask DisposeAsync()
    {
        _work.Writer.TryComplete();
        await _ended.ConfigureAwait(false);
    }

    private void Run(TaskCompletionSource ended)
    {
        while (_work.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
            while (_work.Reader.TryRead(out Action? action))
                action();
        ended.SetResult();
    }
}
