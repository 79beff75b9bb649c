using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace FedLearn.Cli;

/// <summary>Help of the tool as a whole: one line a verb.</summary>
/// <remarks>Whoever asks for nothing else gets it before the command line is built and System.CommandLine loaded, a quarter of the time of the command. A test compares the lines with the verbs.</remarks>
internal static class RootHelp
{
    /// <summary>What the tool is.</summary>
    public const string About = """
        Vertical federated learning: organisations that hold different columns about the same people train one model without moving a column.

        Every verb: --json prints one JSON document on standard output, and everything else goes to standard error. Exit codes: 0 success,
        2 usage or configuration, 3 data, 4 peer or network, 5 privacy refused, 6 internal. Each error has an id and a page under docs/errors.
        """;

    private const string Text = $"""
        {About}

        Usage: fedlearn VERB [options]

          train        Train one model, all parties of the job on this machine
          party        Take part in a session as one party
          coordinator  Connect parties of which neither can open a port
          predict      Score the rows that all parties have
          compare      Train one job in every way to train it, on the same rows and processes, and put quality, seconds, bytes and memory side by side
          align        Find the rows that all parties have by private set intersection, without training
          serve        Answer predictions for single ids over REST, by asking the passive parties for their scores
          recommend    Train, evaluate and use recommendation models (FL-MV-DSSM)
          report       Put training reports side by side
          model        Read one party's part of a trained model, or write it as ONNX
          privacy      Compute noise and privacy loss before any data is touched
          ledger       Read the ledger of a party
          keys         Keys and certificates, by which the parties of a session know each other

          --help     this, and after a verb its options and examples: fedlearn train --help
          --version  the version
        """;

    /// <summary>Whether a command line asks for this help and nothing else.</summary>
    public static bool IsAsked(string[] args) => args is [] or ["--help" or "-h" or "-?"];

    /// <summary>Writes it.</summary>
    public static void Write(TextWriter output) => output.WriteLine(Text);
}

/// <summary>Help on a command line: of the tool, or a verb's own, with examples, by the library.</summary>
internal sealed class HelpOfAll : SynchronousCommandLineAction
{
    private readonly HelpAction _ofVerbs = new();

    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        if (parseResult.CommandResult.Command != parseResult.RootCommandResult.Command)
            return _ofVerbs.Invoke(parseResult);
        RootHelp.Write(parseResult.InvocationConfiguration.Output);
        return 0;
    }
}
