using System.Collections.Concurrent;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Tests that look at the whole process: its memory, its handles, exceptions that nobody awaited. They run alone.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class WholeProcessTests : ICollectionFixture<UnobservedExceptions>
{
    /// <summary>Name of the collection.</summary>
    public const string Name = "whole process";
}

/// <summary>Fails the tests whose tasks ended with an exception that nobody looked at.</summary>
public sealed class UnobservedExceptions : IDisposable
{
    private readonly ConcurrentQueue<Exception> _exceptions = new();

    /// <summary>Begins to listen; what other tests left behind does not count.</summary>
    public UnobservedExceptions()
    {
        Finalise();
        TaskScheduler.UnobservedTaskException += Keep;
    }

    /// <summary>Ends to listen.</summary>
    public void Dispose()
    {
        Finalise();
        TaskScheduler.UnobservedTaskException -= Keep;
        Assert.Empty(_exceptions);
    }

    /// <summary>Fails when a task has ended unobserved so far.</summary>
    public void AssertNone()
    {
        Finalise();
        Assert.Empty(_exceptions);
    }

    private static void Finalise()
    {
        for (int i = 0; i < 2; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    private void Keep(object? sender, UnobservedTaskExceptionEventArgs e) => _exceptions.Enqueue(e.Exception);
}
