using System.Threading.Tasks.Sources;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Protocol;

/// <summary>Frames from one end of a channel in memory to the other. A frame costs no new memory. One reader at a time; writers do not wait.</summary>
internal sealed class FrameQueue : IValueTaskSource<ChannelFrame>
{
    private readonly Lock _lock = new();
    private readonly Queue<ChannelFrame> _frames = new();
    private ManualResetValueTaskSourceCore<ChannelFrame> _reader;
    private CancellationTokenRegistration _stopped;
    private CancellationToken _stop;
    private bool _waits, _closed;

    /// <summary>Memory of the messages on this way, and at the reader.</summary>
    public PayloadPool Pool { get; } = new();

    /// <summary>Whether a reader that waited goes on inside the write that served it, until it waits again, instead of in a thread of its own: for parties that work by turns, whose rounds
    /// are shorter than it takes to wake a thread.</summary>
    public bool InTurn { get; set; }

    /// <summary>The error of a reader when nothing more can come.</summary>
    public Func<PeerException>? Lost { get; set; }

    /// <summary>Appends a frame.</summary>
    /// <returns>Whether the queue is open.</returns>
    public bool TryWrite(ChannelFrame frame)
    {
        lock (_lock)
        {
            if (_closed)
                return false;
            if (!_waits)
            {
                _frames.Enqueue(frame);
                return true;
            }

            _waits = false;
        }

        _reader.SetResult(frame);
        return true;
    }

    /// <summary>Nothing more comes after what is there.</summary>
    public void Close()
    {
        lock (_lock)
        {
            _closed = true;
            if (!_waits)
                return;
            _waits = false;
        }

        _reader.SetException(Lost!());
    }

    /// <summary>Takes the next frame.</summary>
    /// <exception cref="InvalidOperationException">Another read is under way.</exception>
    public ValueTask<ChannelFrame> ReadAsync(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled<ChannelFrame>(cancellationToken);
        lock (_lock)
        {
            if (_waits)
                throw new InvalidOperationException("Another read is under way.");
            if (_frames.TryDequeue(out ChannelFrame frame))
                return new(frame);
            if (_closed)
                return ValueTask.FromException<ChannelFrame>(Lost!());
            _waits = true;
            _stop = cancellationToken;
            _reader.RunContinuationsAsynchronously = !InTurn;
            _reader.Reset();
        }

        short version = _reader.Version;
        // Outside of the lock: a token that is cancelled already calls back at once, and a read that was served meanwhile is not waiting any more.
        _stopped = cancellationToken.UnsafeRegister(static (queue, stop) => ((FrameQueue)queue!).Stop(stop), this);
        return new(this, version);
    }

    ChannelFrame IValueTaskSource<ChannelFrame>.GetResult(short token)
    {
        _stopped.Unregister();
        return _reader.GetResult(token);
    }

    ValueTaskSourceStatus IValueTaskSource<ChannelFrame>.GetStatus(short token) => _reader.GetStatus(token);

    void IValueTaskSource<ChannelFrame>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _reader.OnCompleted(continuation, state, token, flags);

    private void Stop(CancellationToken stop)
    {
        lock (_lock)
        {
            if (!_waits || stop != _stop)
                return;
            _waits = false;
        }

        _reader.SetException(new OperationCanceledException(stop));
    }
}
