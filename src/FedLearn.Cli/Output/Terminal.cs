using System.CommandLine;
using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>Standard error, where everything for people goes; standard output is for documents. Thread-safe.</summary>
internal sealed class Terminal
{
    /// <summary>Width of tables where standard error is no terminal: wide enough that nothing is cut.</summary>
    private const int PlainWidth = 200;

    private readonly Lock _gate = new();
    private readonly TextWriter _error;
    private IAnsiConsole? _styled;

    private Terminal(TextWriter error)
    {
        _error = error;
        IsPlain = Console.IsErrorRedirected || error != Console.Error;
    }

    /// <summary>Whether it is a file, a pipe or a writer in memory: plain lines, no bars.</summary>
    public bool IsPlain { get; }

    /// <summary>For tables and bars; what draws them is loaded when the first is.</summary>
    public IAnsiConsole Styled => LazyInitializer.EnsureInitialized(ref _styled, NewConsole);

    /// <summary>Standard error of a command line.</summary>
    public static Terminal Of(ParseResult parsed) => new(parsed.InvocationConfiguration.Error);

    private IAnsiConsole NewConsole()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(_error),
            Ansi = IsPlain ? AnsiSupport.No : AnsiSupport.Detect,
            Interactive = IsPlain ? InteractionSupport.No : InteractionSupport.Detect,
        });
        if (IsPlain)
            console.Profile.Width = PlainWidth;
        return console;
    }

    /// <summary>A line about what happens; nothing for null.</summary>
    public void Log(string? text)
    {
        if (text is null)
            return;
        lock (_gate)
            _error.WriteLine(text);
    }
}
