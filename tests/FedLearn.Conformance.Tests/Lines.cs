using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace FedLearn.Conformance.Tests;

/// <summary>What was logged.</summary>
internal sealed class Lines : ILoggerFactory, ILogger
{
    public ConcurrentQueue<(LogLevel Level, string Text)> Text { get; } = [];

    public void AddProvider(ILoggerProvider provider) { }

    public ILogger CreateLogger(string categoryName) => this;

    public void Dispose() { }

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        Text.Enqueue((logLevel, formatter(state, exception)));
}
