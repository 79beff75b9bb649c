using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>Standard error, where everything for people goes; standard output is for documents.</summary>
internal static class Terminal
{
    /// <summary>Width of tables where standard error is no terminal: wide enough that nothing is cut.</summary>
    private const int PlainWidth = 200;

    public static IAnsiConsole Error { get; } = Create();

    /// <summary>A line about what happens.</summary>
    public static void Log(string text) => Console.Error.WriteLine(text);

    private static IAnsiConsole Create()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(Console.Error),
            Ansi = Console.IsErrorRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            Interactive = Console.IsErrorRedirected ? InteractionSupport.No : InteractionSupport.Detect,
        });
        if (Console.IsErrorRedirected)
            console.Profile.Width = PlainWidth;
        return console;
    }
}
