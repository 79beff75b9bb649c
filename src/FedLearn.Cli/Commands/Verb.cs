using System.CommandLine;

namespace FedLearn.Cli.Commands;

/// <summary>A verb that has verbs of its own, which are made when a command line names it: making all of them takes longer than anything else that help does.</summary>
/// <param name="name">Name.</param>
/// <param name="description">What it is for.</param>
/// <param name="verbs">Makes its verbs.</param>
internal sealed class Verb(string name, string description, Func<Command[]> verbs) : Command(name, description)
{
    /// <summary>Adds its verbs.</summary>
    public void Fill()
    {
        foreach (Command verb in verbs())
            Add(verb);
    }
}
