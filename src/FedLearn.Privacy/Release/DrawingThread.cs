using System.Collections.Concurrent;

namespace FedLearn.Privacy;

/// <summary>A thread of the process that draws noise ahead. Not one of the pool: that takes a thread which waits for the disk for one at work, and on two processors it has two at work, so what is queued may be done
/// after the wait instead of beside it.</summary>
internal static class DrawingThread
{
    private static readonly ConcurrentQueue<IThreadPoolWorkItem> Asked = new();
    private static readonly AutoResetEvent Rings = Start();

    /// <summary>Has something drawn, after what was asked for before. Whoever needs the draws earlier draws them.</summary>
    public static void Ask(IThreadPoolWorkItem drawer)
    {
        Asked.Enqueue(drawer);
        Rings.Set();
    }

    private static AutoResetEvent Start()
    {
        var rings = new AutoResetEvent(false);
        new Thread(() =>
        {
            while (rings.WaitOne())
                while (Asked.TryDequeue(out IThreadPoolWorkItem? drawer))
                    drawer.Execute();
        })
        { IsBackground = true, Name = "FedLearn noise" }.UnsafeStart();
        return rings;
    }
}
