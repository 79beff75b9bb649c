using FedLearn.Numerics;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>What the active party does with its own rows once a round's residuals are known: its gradient, its step, and its scores of the next batch. A thread of its own does it while the
/// residuals' message is made durable, which leaves processors idle for longer than it takes.</summary>
/// <remarks>The bits are those of <see cref="ActivePass.Run"/> and <see cref="GlmWork.Step"/> one after the other: the same sums in the same order. The pool would do it later than asked where it counts the thread
/// that waits for the disk as one at work, and with two processors it has two: the message then waits for the step that should have been beside it.</remarks>
internal sealed class OwnStep : IAsyncDisposable
{
    /// <summary>Cells of a batch below which the work, some microseconds, is not worth waking a thread for. Reasoned, not measured.</summary>
    private const int LeastCells = 1 << 14;

    /// <summary>Cells of a batch up to which one thread does them, in about the time of a sync (reasoned from a batch of half as many): the other processor is then free for the thread that comes back from it. Syncs of the active party took 63 us instead of 190 at the
    /// median of 50 rounds, with both changes (batches of 4,096 x 30; two processors of KVM).</summary>
    private const int MostCellsAlone = 1 << 18;

    private readonly GlmWork _work;
    private readonly GaussianMechanism _mechanism;
    private readonly double[] _weights, _gradient, _scores;
    private readonly AutoResetEvent _asked = new(false);
    private Thread? _thread;
    private volatile HelperPlace? _place;
    private LinearPart? _rows;
    private ReadOnlyMemory<double> _residuals;
    private TaskCompletionSource _done = new();
    private int _batch, _next = -1, _taken = 1;
    private bool _isDue;
    private volatile bool _ends;

    /// <summary>Creates it for the rounds of a training.</summary>
    /// <param name="work">What it works on.</param>
    /// <param name="mechanism">What the residuals leave by.</param>
    /// <param name="weights">Weights; nobody else touches them between <see cref="Prepare"/> and the end of <see cref="FinishAsync"/>.</param>
    public OwnStep(GlmWork work, GaussianMechanism mechanism, double[] weights)
    {
        (_work, _mechanism, _weights) = (work, mechanism, weights);
        (_gradient, _scores) = (new double[weights.Length], new double[work.Layout.LargestSize]);
        _done.SetResult();
        mechanism.BeforeKeeping = Begin;
    }

    /// <summary>Own scores of a batch, made ahead where they could be.</summary>
    /// <param name="rows">The rows of the epoch.</param>
    /// <param name="batch">Batch.</param>
    /// <param name="scores">Receives them, shape [b].</param>
    public void Scores(LinearPart rows, int batch, Span<double> scores)
    {
        if (_next == batch)
            _scores.AsSpan(0, scores.Length).CopyTo(scores);
        else
            rows.Scores(_work.Layout.Start(batch), _weights, scores);                                       // z_A = X_A w_A    [b]
    }

    /// <summary>Says what the round's work is; it begins when the mechanism is about to wait for its storage.</summary>
    /// <param name="rows">The rows of the epoch.</param>
    /// <param name="batch">Batch.</param>
    /// <param name="residuals">Its residuals, shape [b]; they stay as they are.</param>
    /// <param name="next">The batch of the same rows whose scores are made ahead; -1 for none.</param>
    public void Prepare(LinearPart rows, int batch, ReadOnlyMemory<double> residuals, int next) => (_rows, _batch, _residuals, _next, _isDue) = (rows, batch, residuals, next, true);

    /// <summary>Returns when the work is done.</summary>
    public Task FinishAsync()
    {
        // The work has not begun: it is small, or the message was kept by an earlier process, so that nothing waited for storage.
        if (_isDue)
        {
            _isDue = false;
            Run();
        }

        Take();
        return _done.Task;
    }

    /// <summary>Lets go of the mechanism; work that has begun is waited for.</summary>
    public async ValueTask DisposeAsync()
    {
        _mechanism.BeforeKeeping = null;
        await _done.Task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _ends = true;
        _asked.Set();
        _thread?.Join();
        _asked.Dispose();
    }

    private void Begin()
    {
        if (!_isDue || (long)_residuals.Length * _rows!.Dimension < LeastCells)
            return;
        _isDue = false;
        if (_thread is null)
        {
            _thread = new Thread(Help) { IsBackground = true, Name = "FedLearn own step" };
            _thread.UnsafeStart();
        }

        _done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Volatile.Write(ref _taken, 0);
        _place?.AwayFromCaller();
        _asked.Set();
    }

    private void Help()
    {
        _place = HelperPlace.OfThisThread();
        BlockWorkers.Alone = (long)_work.Layout.LargestSize * _work.Train.Dimension <= MostCellsAlone;
        while (_asked.WaitOne() && !_ends)
            Take();
    }

    // Does the work once, in whichever comes first: the thread, or the round that needs the result.
    private void Take()
    {
        if (Interlocked.Exchange(ref _taken, 1) != 0)
            return;
        try
        {
            Run();
            _done.SetResult();
        }
#pragma warning disable CA1031 // it is thrown where the result is waited for
        catch (Exception e)
#pragma warning restore CA1031
        {
            _done.SetException(e);
        }
    }

    private void Run()
    {
        _rows!.Gradient(_work.Layout.Start(_batch), _residuals.Span, _gradient);                            // X_A' r           [d_A]
        _work.Step(_weights, _gradient, _residuals.Length);
        if (_next >= 0)
            _rows.Scores(_work.Layout.Start(_next), _weights, _scores.AsSpan(0, _work.Layout.Size(_next)));
    }
}
