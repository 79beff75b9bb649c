using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>Reads MovieLens 100K (F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015), which whoever uses it has to get from its
/// home: its terms forbid redistribution, of what is made from it as well.</summary>
public static partial class MovieLens100K
{
    /// <summary>Name of the data set, and of jobs on it.</summary>
    public const string Name = "movielens-100k";

    /// <summary>Where the data set is to be had.</summary>
    public const string Home = "https://grouplens.org/datasets/movielens/100k/";

    /// <summary>Users of the original.</summary>
    public const int Users = 943;

    /// <summary>Items of the original.</summary>
    public const int Items = 1682;

    /// <summary>Ratings of the original.</summary>
    public const int Ratings = 100_000;

    private const int ItemCells = 24, FirstGenreCell = 5;

    private static readonly string[] Genres =
    [
        "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery",
        "Romance", "Sci-Fi", "Thriller", "War", "Western",
    ];

    private static readonly string[] Occupations =
    [
        "administrator", "artist", "doctor", "educator", "engineer", "entertainment", "executive", "healthcare", "homemaker", "lawyer", "librarian", "marketing", "none",
        "other", "programmer", "retired", "salesman", "scientist", "student", "technician", "writer",
    ];

    /// <summary>Reads the data set.</summary>
    /// <param name="directory">Directory with u.data (tab between user, item, rating, seconds), u.user and u.item (| between cells, ISO-8859-1).</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The set. Copies with other numbers of users, items or ratings than the original are read too; a user without a line in u.user has no profile.</returns>
    /// <exception cref="BadInputException">A file is missing (FL3136) or unreadable (FL3000), a line is malformed (FL3137), or the files do not fit together (FL3138).</exception>
    public static RatingSet Read(string directory, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(directory);
        string dataPath = Path.Combine(directory, "u.data"), userPath = Path.Combine(directory, "u.user"), itemPath = Path.Combine(directory, "u.item");
        string[] missing = [.. new[] { dataPath, userPath, itemPath }.Where(path => !File.Exists(path)).Select(path => Path.GetFileName(path))];
        if (missing.Length > 0)
            throw DataErrors.Bad(DssmDataErrors.SourceMissing, directory, $"MovieLens 100K is not there: {string.Join(", ", missing)} missing.",
                $"Download ml-100k.zip from {Home}, unpack it, and name the directory that holds u.data. Its terms forbid redistribution, so it is not delivered here.");
        var profiles = new SortedDictionary<int, RatingProfile?>();
        foreach ((string place, string line) in Lines(userPath, cancellationToken))
        {
            string[] cells = line.Split('|');
            int occupation = cells.Length == 5 ? Array.IndexOf(Occupations, cells[3]) : -1;
            if (occupation < 0 || !Whole(cells[0], out int number) || !Whole(cells[1], out int age) || age > 150 || cells[2] is not ("M" or "F"))
                throw Malformed(place, "id|age|M or F|occupation|zip");
            if (!profiles.TryAdd(number, new RatingProfile(age, cells[2][0], occupation, cells[4])))
                throw Repeated(place, "user");
        }

        var items = new SortedDictionary<int, RatingItem>();
        foreach ((string place, string line) in Lines(itemPath, cancellationToken))
        {
            string[] cells = line.Split('|');
            int? year = null;
            if (cells.Length != ItemCells || !Whole(cells[0], out int number) || cells[1].Trim().Length == 0 || cells.Skip(FirstGenreCell).Any(flag => flag is not ("0" or "1"))
                || !(cells[2].Length == 0 || TryYear(cells[2], out year)))
            {
                throw Malformed(place, "id|title|dd-Mon-yyyy or nothing|date or nothing|address|19 flags");
            }

            string title = cells[1].Trim(), name = EndingYear().Replace(title, "");
            if (!items.TryAdd(number, new RatingItem(number, title, name, year, [.. Enumerable.Range(0, Genres.Length).Where(genre => cells[FirstGenreCell + genre] == "1")])))
                throw Repeated(place, "item");
        }

        var read = new List<(int User, int Item, int Value, long Time)>();
        var met = new HashSet<(int, int)>();
        foreach ((string place, string line) in Lines(dataPath, cancellationToken))
        {
            string[] cells = line.Split('\t');
            if (cells.Length != 4 || !Whole(cells[0], out int user) || !Whole(cells[1], out int item) || cells[2] is not ("1" or "2" or "3" or "4" or "5")
                || !long.TryParse(cells[3], NumberStyles.None, CultureInfo.InvariantCulture, out long time))
            {
                throw Malformed(place, "user, item, rating from 1 to 5 and seconds, with tabs between them");
            }

            if (!items.ContainsKey(item))
                throw Inconsistent(place, "u.item has no such item.", "Take all files from one copy of the data set.");
            if (!met.Add((user, item)))
                throw Repeated(place, "pair of user and item");
            profiles.TryAdd(user, null);
            read.Add((user, item, cells[2][0] - '0', time));
        }

        if (read.Count == 0)
            throw Inconsistent(dataPath, "the file has no ratings.", "Take all files from one copy of the data set.");
        Dictionary<int, int> userPlace = profiles.Keys.Select((number, place) => (number, place)).ToDictionary(pair => pair.number, pair => pair.place),
            itemPlace = items.Keys.Select((number, place) => (number, place)).ToDictionary(pair => pair.number, pair => pair.place);
        return new RatingSet(Name, Genres, Occupations, [.. profiles.Select(pair => new RatingUser(pair.Key, pair.Value))], [.. items.Values],
            read.Select(r => new Rating(userPlace[r.User], itemPlace[r.Item], r.Value, r.Time)));
    }

    private static IEnumerable<(string Place, string Line)> Lines(string path, CancellationToken cancellationToken)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path, Encoding.Latin1);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DataErrors.Bad(DataErrors.FileUnreadable, path, "the file cannot be read.", "Make the file readable, or copy it anew.", e);
        }

        for (int i = 0; i < lines.Length; i++)
        {
            if ((i & 0xFFF) == 0)
                cancellationToken.ThrowIfCancellationRequested();
            if (lines[i].Length > 0)
                yield return ($"{path}, line {i + 1}", lines[i]);
        }
    }

    private static bool Whole(string text, out int number) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number > 0;

    private static bool TryYear(string text, out int? year)
    {
        bool read = DateOnly.TryParseExact(text, ["d-MMM-yyyy", "dd-MMM-yyyy"], CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly date);
        year = read ? date.Year : null;
        return read;
    }

    private static BadInputException Malformed(string place, string form) =>
        DataErrors.Bad(DssmDataErrors.SourceMalformed, place, $"the line is not {form}.", $"Correct the line, or get the original from {Home}.");

    private static BadInputException Repeated(string place, string what) => Inconsistent(place, $"the {what} has an earlier line.", $"Keep one of them, or get the original from {Home}.");

    private static BadInputException Inconsistent(string place, string cause, string remedy) => DataErrors.Bad(DssmDataErrors.SourceInconsistent, place, cause, remedy);

    [GeneratedRegex(@"\s*\(\d{4}\)\s*$")]
    private static partial Regex EndingYear();
}
