using System.CommandLine;
using System.CommandLine.Help;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Recommend;

namespace FedLearn.Cli;

/// <summary>The verbs of the tool.</summary>
internal static class RootCommandFactory
{
    /// <summary>Builds the command line: one line a verb.</summary>
    /// <param name="args">Arguments of the tool, which decide what of it is made.</param>
    public static Command Create(string[] args)
    {
        Command root = Verbs();
        // A file of arguments (@FILE) may name any verb.
        bool all = args.Any(argument => argument.StartsWith('@'));
        foreach (Command command in root.Subcommands)
            if (command is Verb verb && (all || args.Contains(verb.Name)))
                verb.Fill();
        return root;
    }

    private static Command Verbs() => new("fedlearn", RootHelp.About)
    {
        TrainCommand.Create(),
        PartyCommand.Create(),
        CoordinatorCommand.Create(),
        PredictCommand.Create(),
        CompareCommand.Create(),
        AlignCommand.Create(),
        ServeCommand.Create(),
        RecommendCommand.Create(),
        ReportCommand.Create(),
        ModelCommand.Create(),
        PrivacyCommand.Create(),
        LedgerCommand.Create(),
        KeysCommand.Create(),
        WorkerCommand.Create(),
        new HelpOption { Action = new HelpOfAll() },
        new VersionOption(),
    };
}
