using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Services;
using FedLearn.Diagnostics;

namespace FedLearn.Cli;

/// <summary>The tool as a function of its arguments. The one place where errors become messages and exit codes.</summary>
internal static class Tool
{
    /// <summary>Exit code after Ctrl+C, as shells have it: 128 + SIGINT.</summary>
    public const int Interrupted = 130;

    /// <summary>Runs one command line.</summary>
    /// <param name="args">Arguments; none shows the help.</param>
    /// <param name="output">Standard output: with --json the document, and nothing else.</param>
    /// <param name="error">Standard error: everything else.</param>
    /// <param name="cancellationToken">Ends the run as Ctrl+C does.</param>
    /// <returns>0 success, 2 usage or configuration, 3 data, 4 peer or network, 5 privacy refused, 6 internal, 130 interrupted.</returns>
    public static Task<int> RunAsync(string[] args, TextWriter output, TextWriter error, CancellationToken cancellationToken = default)
    {
        if (!RootHelp.IsAsked(args))
            return RunAsync(RootCommandFactory.Create(args), PrivacyCommand.Route(args), output, error, cancellationToken);
        try
        {
            RootHelp.Write(output);
            return Task.FromResult(0);
        }
        catch (FedLearnException e)
        {
            return Task.FromResult(Report(error, e));
        }
    }

    /// <summary>Runs one command line of any command.</summary>
    /// <param name="root">The command and its verbs.</param>
    /// <param name="args">Arguments.</param>
    /// <param name="output">Standard output.</param>
    /// <param name="error">Standard error.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    /// <returns>The exit code.</returns>
    internal static async Task<int> RunAsync(Command root, string[] args, TextWriter output, TextWriter error, CancellationToken cancellationToken)
    {
        ParseResult parsed = root.Parse(args);
        try
        {
            if (parsed.Action is ParseErrorAction)
                throw Usage(parsed);
            using IDisposable? telemetry = Telemetry.Start(parsed.CommandResult.Command.Name);
            var configuration = new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false };
            return await parsed.InvokeAsync(configuration, cancellationToken).ConfigureAwait(false);
        }
        catch (FedLearnException e)
        {
            return Report(error, e);
        }
        catch (OperationCanceledException)
        {
            error.WriteLine("fedlearn: interrupted.");
            return Interrupted;
        }
#pragma warning disable CA1031 // the outermost frame: whatever is left is a defect of the tool, and gets an id like every other error
        catch (Exception e)
#pragma warning restore CA1031
        {
            // The type and the stack, never the message: a message of another library may quote data.
            int code = Report(error, Unexpected(parsed.CommandResult.Command.Name, e));
            error.WriteLine(e.StackTrace);
            return code;
        }
    }

    /// <summary>The error for whatever nobody expected.</summary>
    /// <param name="place">Where it came up.</param>
    /// <param name="e">What was thrown; its message stays out, since it may quote data.</param>
    internal static InternalFailureException Unexpected(string place, Exception e) => new(CliErrors.Unexpected, place,
        $"the tool failed with {e.GetType().Name}, which it did not expect.", "Please report it with the lines below.", e);

    private static int Report(TextWriter error, FedLearnException e)
    {
        // A place that is a command says whose message it is.
        error.WriteLine(e.Message.StartsWith("fedlearn ", StringComparison.Ordinal) ? e.Message : $"fedlearn: {e.Message}");
        error.WriteLine($"See {PageOf(e.Id)}");
        return e.ExitCode;
    }

    /// <summary>The page of an error: beside an installed tool, else of the checkout.</summary>
    private static string PageOf(string id) =>
        Path.Combine(AppContext.BaseDirectory, "docs", "errors", $"{id}.md") is var installed && File.Exists(installed) ? installed : $"docs/errors/{id}.md";

    private static ConfigurationException Usage(ParseResult parsed)
    {
        string command = string.Join(' ', Names(parsed.CommandResult).Reverse());
        return new ConfigurationException(CliErrors.Usage, command, string.Join(' ', parsed.Errors.Select(e => e.Message)), $"Try '{command} --help'.");
    }

    private static IEnumerable<string> Names(SymbolResult? result)
    {
        for (; result is not null; result = result.Parent)
            if (result is CommandResult command)
                yield return command.Command.Name;
    }
}
