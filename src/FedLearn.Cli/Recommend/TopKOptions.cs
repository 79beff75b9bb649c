using System.CommandLine;
using FedLearn.Cli.Commands;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Recommend;

/// <summary>Options of the lists of a recommendation job, for the verbs that make some.</summary>
internal sealed class TopKOptions
{
    private readonly Option<int> _k = Options.Whole("--k", "Length of a list; at least 1. Default 10.", required: false);

    private readonly Option<string?> _users = new("--users") { Description = "File with one user id a line, quoted as in a CSV file or not. Absent: every user of the active party. A user without events is ranked by the views that know it.", HelpName = "FILE" };

    private readonly Option<string?> _vectors = new("--vectors") { Description = "Also write the items' vectors as PREFIX.npy and their ids as PREFIX.ids.csv.", HelpName = "PREFIX" };

    private readonly Option<bool> _met = new("--include-met") { Description = "Let lists contain items that the user has met." };

    /// <summary>The options, in the order that help shows.</summary>
    public Option[] All => [_k, _users, _vectors, _met];

    /// <summary>Whether any of them was given.</summary>
    public bool IsAnyIn(ParseResult parsed) => All.Any(option => parsed.GetResult(option) is { Implicit: false });

    /// <summary>What was asked for.</summary>
    /// <param name="parsed">Command line.</param>
    /// <param name="newUsers">Whether the parties agree that users without events may be named; null: one speaks for all, who agrees to whomever the file names.</param>
    /// <exception cref="ConfigurationException">FL2455: a list of fewer than one item. FL2102: the vectors cannot be written.</exception>
    public TopKRequest Read(ParseResult parsed, bool? newUsers)
    {
        bool hasK = parsed.GetResult(_k) is { Implicit: false };
        if (hasK && parsed.GetValue(_k) < 1)
            throw new ConfigurationException(RecommendErrors.ListLength, "--k", "a list has at least one item.", "Write a whole number of at least 1.");
        string? prefix = parsed.GetValue(_vectors);
        if (prefix is not null)
            OutputFile.Check(null, $"{prefix}.npy", $"{prefix}.ids.csv");
        string? users = parsed.GetValue(_users);
        return new TopKRequest
        {
            K = hasK ? parsed.GetValue(_k) : new TopKRequest().K,
            Users = users is null ? null : Path.GetFullPath(users),
            Vectors = prefix is null ? null : Path.GetFullPath(prefix),
            WithMet = parsed.GetValue(_met),
            NewUsers = newUsers ?? users is not null,
        };
    }
}
