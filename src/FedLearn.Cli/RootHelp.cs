using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace FedLearn.Cli;

/// <summary>Help of the tool as a whole: one line a verb. Verbs have the library's own help, with examples.</summary>
/// <remarks>Written out because that of the library would show every verb's whole text, and because its queries take a fifth of the time of the command to compile.</remarks>
internal sealed class RootHelp : SynchronousCommandLineAction
{
    private readonly HelpAction _ofVerbs = new();

    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        Command root = parseResult.RootCommandResult.Command;
        if (parseResult.CommandResult.Command != root)
            return _ofVerbs.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine(root.Description);
        output.WriteLine();
        output.WriteLine("Usage: fedlearn VERB [options]");
        output.WriteLine();
        int width = 0;
        foreach (Command verb in root.Subcommands)
            width = Math.Max(width, verb.Name.Length);
        foreach (Command verb in root.Subcommands)
            if (!verb.Hidden)
                output.WriteLine($"  {verb.Name.PadRight(width)}  {FirstSentence(verb.Description!)}");
        output.WriteLine();
        output.WriteLine("  --help     this, and after a verb its options and examples: fedlearn train --help");
        output.WriteLine("  --version  the version");
        return 0;
    }

    /// <summary>A description up to its first full stop or colon.</summary>
    private static string FirstSentence(string description)
    {
        int end = 0;
        while (end < description.Length && !(description[end] is '.' or ':' && (end + 1 == description.Length || char.IsWhiteSpace(description[end + 1]))))
            end++;
        return description[..end].ReplaceLineEndings(" ");
    }
}
