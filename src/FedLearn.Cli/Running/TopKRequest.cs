using System.Text.Json.Serialization;

namespace FedLearn.Cli.Running;

/// <summary>Which lists a recommendation job makes, and what else it exports.</summary>
internal sealed record TopKRequest
{
    /// <summary>Length of a list. At least 1.</summary>
    public int K { get; init; } = 10;

    /// <summary>Full path of a file with one user id a line; null: all users of the active party.</summary>
    public string? Users { get; init; }

    /// <summary>Full path that the names of the item vectors' files begin with; null exports none.</summary>
    public string? Vectors { get; init; }

    /// <summary>Whether items that a user has met may be in the user's list.</summary>
    public bool WithMet { get; init; }

    /// <summary>Whether users of whom the active party has no events may be among <see cref="Users"/>: what all parties agree on.</summary>
    public bool NewUsers { get; init; }

    /// <summary>Files that are written beside the lists; none where nothing is exported.</summary>
    [JsonIgnore]
    public string[] Exports => Vectors is null ? [] : [$"{Vectors}.npy", $"{Vectors}.ids.csv"];

    /// <summary>Files that are read; none where no users are named.</summary>
    [JsonIgnore]
    public string[] Inputs => Users is null ? [] : [Users];
}
