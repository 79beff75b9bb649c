using System.CommandLine;

namespace FedLearn.Cli.Commands;

/// <summary>A verb whose options and verbs are made when a command line names it: making those of all verbs takes longer than anything else that help does.</summary>
/// <param name="name">Name.</param>
/// <param name="description">What it is for.</param>
/// <param name="fill">Adds what belongs to it, and its action.</param>
internal sealed class Verb(string name, string description, Action<Verb> fill) : Command(name, description)
{
    /// <summary>Makes it whole.</summary>
    public void Fill() => fill(this);

    /// <summary>Adds options and verbs, in the order that help shows.</summary>
    public void Has(params ReadOnlySpan<Symbol> symbols)
    {
        foreach (Symbol symbol in symbols)
            if (symbol is Option option)
                Add(option);
            else
                Add((Command)symbol);
    }
}
