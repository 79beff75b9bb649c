using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace FedLearn.Cli.Commands;

/// <summary>Options that several verbs have, and options that read numbers and words the same way everywhere.</summary>
internal static class Options
{
    /// <summary>The option <c>--json</c>.</summary>
    public static Option<bool> Json() => new("--json") { Description = "Print the result as JSON on standard output, and nothing else there." };

    /// <summary>The option <c>--config</c>, required.</summary>
    /// <param name="description">What file it names.</param>
    public static Option<string> Config(string description) => new("--config") { Description = description, Required = true, HelpName = "FILE" };

    /// <summary>The option <c>--report</c>.</summary>
    public static Option<string?> Report() => new("--report") { Description = "Write the report as JSON.", HelpName = "FILE" };

    /// <summary>The option <c>--html</c>.</summary>
    public static Option<string?> Html() => new("--html") { Description = "Write the report as one self-contained HTML page.", HelpName = "FILE" };

    /// <summary>The option <c>--fresh</c>.</summary>
    public static Option<bool> Fresh() => new("--fresh")
    {
        Description = "Forget a run of this job that was cut off, and begin again. The charge of the forgotten run is settled by the epochs that had begun.",
    };

    /// <summary>The option <c>--in-process</c>.</summary>
    public static Option<bool> InProcess() => new("--in-process")
    {
        Description = "Run all parties in this process; with transport grpc they still talk gRPC over loopback.",
    };

    /// <summary>A number in invariant notation. NaN and infinity are read, so that whoever checks the range can say what is wrong.</summary>
    /// <param name="name">Name with dashes.</param>
    /// <param name="description">What it is, with its range and unit.</param>
    /// <param name="required">Whether it must be given.</param>
    public static Option<double?> Number(string name, string description, bool required = true) => new(name)
    {
        Description = description,
        Required = required,
        HelpName = "number",
        CustomParser = result => double.TryParse(Token(result), NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
            ? value
            : Fault<double?>(result, $"{name}: '{Token(result)}' is no number."),
    };

    /// <summary>A whole number of 32 bits.</summary>
    /// <param name="name">Name with dashes.</param>
    /// <param name="description">What it is, with its range.</param>
    /// <param name="required">Whether it must be given; else 0 stands for its absence.</param>
    public static Option<int> Whole(string name, string description, bool required = true) => new(name)
    {
        Description = description,
        Required = required,
        HelpName = "count",
        CustomParser = result => int.TryParse(Token(result), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value)
            ? value
            : Fault<int>(result, $"{name}: '{Token(result)}' is no whole number of 32 bits."),
    };

    /// <summary>One of some words.</summary>
    /// <typeparam name="T">What they stand for.</typeparam>
    /// <param name="name">Name with dashes.</param>
    /// <param name="description">What it is.</param>
    /// <param name="words">The words and their meanings.</param>
    /// <param name="absent">Meaning when the option is absent; null makes it required.</param>
    /// <param name="later">Words that a later release will know.</param>
    public static WordOption<T> Word<T>(string name, string description, IReadOnlyList<(string Word, T Meaning)> words, T? absent = null, params string[] later) where T : struct
    {
        string listed = string.Join('|', words.Select(word => word.Word));
        var option = new WordOption<T>(name, words)
        {
            Description = description,
            Required = absent is null,
            HelpName = listed,
            CustomParser = result =>
            {
                string text = Token(result);
                return words.Any(word => word.Word == text) ? text
                    : Fault<string>(result, later.Contains(text) ? $"{name}: '{text}' comes with a later release; use {listed}." : $"{name}: '{text}' is none of {listed}.");
            },
        };
        if (absent is { } meaning)
        {
            string usual = words.First(word => EqualityComparer<T>.Default.Equals(word.Meaning, meaning)).Word;
            option.DefaultValueFactory = _ => usual;
        }

        return option;
    }

    /// <summary>The value of an option, as it was typed.</summary>
    public static string Token(ArgumentResult result) => result.Tokens[0].Value;

    /// <summary>Says what is wrong with the value of an option.</summary>
    public static T? Fault<T>(ArgumentResult result, string message)
    {
        result.AddError(message);
        return default;
    }
}

/// <summary>An option whose value is one of some words. It holds the word rather than its meaning, so that help prints a default that can be written.</summary>
/// <typeparam name="T">What the words stand for.</typeparam>
/// <param name="name">Name with dashes.</param>
/// <param name="words">The words and their meanings.</param>
internal sealed class WordOption<T>(string name, IReadOnlyList<(string Word, T Meaning)> words) : Option<string>(name) where T : struct
{
    /// <summary>What the word stands for; null where none is written and there is no default.</summary>
    /// <param name="parsed">The command line.</param>
    public T? In(ParseResult parsed) => parsed.GetValue(this) is { } text ? words.First(word => word.Word == text).Meaning : null;

    /// <summary>What the word stands for.</summary>
    /// <param name="parsed">The command line.</param>
    public T Of(ParseResult parsed) => In(parsed)!.Value;
}
