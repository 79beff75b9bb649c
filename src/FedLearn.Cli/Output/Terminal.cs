using System.CommandLine;
using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>Standard error, where everything for people goes; standard output is for documents, and for the text that a verb was asked for. Thread-safe.</summary>
internal sealed class Terminal
{
    /// <summary>Width of tables where that is no terminal: wide enough that nothing is cut.</summary>
    private const int PlainWidth = 200;

    private readonly Lock _gate = new();
    private readonly TextWriter _writer;
    private IAnsiConsole? _styled;

    private Terminal(TextWriter writer, bool isPlain) => (_writer, IsPlain) = (writer, isPlain);

    /// <summary>Whether it is a file, a pipe or a writer in memory: plain lines, no bars.</summary>
    public bool IsPlain { get; }

    /// <summary>For tables and bars; what draws them is loaded when the first is.</summary>
    public IAnsiConsole Styled => LazyInitializer.EnsureInitialized(ref _styled, NewConsole);

    /// <summary>Standard error of a command line.</summary>
    public static Terminal Of(ParseResult parsed)
    {
        TextWriter error = parsed.InvocationConfiguration.Error;
        return new Terminal(error, Console.IsErrorRedirected || error != Console.Error);
    }

    /// <summary>Where the text goes that a verb was asked for: standard output, and standard error where that has the document of --json.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="json">Whether it asks for the document.</param>
    public static Terminal ForResult(ParseResult parsed, bool json)
    {
        TextWriter output = parsed.InvocationConfiguration.Output;
        return json ? Of(parsed) : new Terminal(output, Console.IsOutputRedirected || output != Console.Out);
    }

    /// <summary>An empty table as all of the tool's are.</summary>
    /// <param name="heads">Heads of its columns.</param>
    public static Table Table(params string[] heads) => new Table().Border(TableBorder.Ascii2).AddColumns(heads);

    /// <summary>Runs something under a bar; for a terminal that is not plain.</summary>
    /// <param name="description">What the bar says at first.</param>
    /// <param name="most">Its value at the end.</param>
    /// <param name="time">What it shows of time.</param>
    /// <param name="work">What runs, and moves the bar.</param>
    public async Task<T> WithBarAsync<T>(string description, double most, ProgressColumn time, Func<ProgressTask, Task<T>> work) =>
        await Styled.Progress().AutoClear(true).HideCompleted(true)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), time)
            .StartAsync(context => work(context.AddTask(description, maxValue: most))).ConfigureAwait(false);

    private IAnsiConsole NewConsole()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(_writer),
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
            _writer.WriteLine(text);
    }
}
