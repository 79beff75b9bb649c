using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Dssm;

/// <summary>Settings of <see cref="SyntheticTastes"/>.</summary>
public sealed record SyntheticTastesOptions
{
    /// <summary>Users.</summary>
    /// <value>10 to 100,000. Default 1,500.</value>
    public int Users { get; init; } = 1500;

    /// <summary>Items.</summary>
    /// <value>50 to 10,000. Default 400.</value>
    public int Items { get; init; } = 400;

    /// <summary>Ratings a user, on average. No user rates more than half of the items, or fewer than 12.</summary>
    /// <value>12 to 1,000. Default 20.</value>
    public int RatingsPerUser { get; init; } = 20;

    /// <summary>Seed. Not secret.</summary>
    public long Seed { get; init; }
}

/// <summary>Ratings that nobody gave: a generator of users, items and events for trials without a data set. Figures measured on it say nothing about people.</summary>
/// <remarks>Every user has a liking for each genre (one of six common patterns, and more of its own), for a time in which films were made, and for each of six styles; a style
/// speaks through the words of a title only, and goes with the hours at which a user is active. Sources know different things: shares of genres and years say nothing of
/// styles, hours say nothing else, past positives say a little of everything, and the profile goes weakly with pattern and time. What a user rates, and how, follows the
/// sum of these likings, how good the item is, and chance. Histories are short, so that no source says all.</remarks>
public static class SyntheticTastes
{
    /// <summary>Name of the data set, and of jobs on it.</summary>
    public const string Name = "synthetic-tastes";

    private const int Patterns = 6, Styles = 6, Rhythms = 4, WordsOfGenre = 10, WordsOfStyle = 8, LeastRatings = 12;

    // 1 October 1997, and half a year in which users begin.
    private const long FirstSecond = 875_664_000, Day = 86_400;
    private const int BeginDays = 180;

    private static readonly string[] Genres = ["action", "adventure", "comedy", "crime", "documentary", "drama", "family", "history", "music", "mystery", "romance", "science"];

    private static readonly string[] Occupations = ["artist", "clerk", "engineer", "farmer", "nurse", "retired", "student", "teacher"];

    private static readonly string[] Syllables =
        ["ba", "be", "chi", "da", "du", "fa", "fi", "ga", "go", "ha", "ja", "ka", "ki", "lo", "lu", "ma", "mi", "na", "no", "pa", "pe", "ra", "ri", "sa", "so", "ta", "ti", "va", "vo", "zu"];

    /// <summary>Makes a set.</summary>
    /// <param name="options">Settings; null: the defaults.</param>
    /// <returns>The same set for the same settings.</returns>
    /// <exception cref="ConfigurationException">FL2441: a setting is out of its range.</exception>
    public static RatingSet Generate(SyntheticTastesOptions? options = null)
    {
        options ??= new SyntheticTastesOptions();
        if (options.Users is < 10 or > 100_000 || options.Items is < 50 or > 10_000 || options.RatingsPerUser is < LeastRatings or > 1000)
            throw DataErrors.Config(DssmDataErrors.InvalidTastes, "synthetic tastes", "a size is out of its range.",
                "Take 10 to 100,000 users, 50 to 10,000 items and 12 to 1,000 ratings a user.");
        var random = new Draws(options.Seed);
        double[][] patterns = Matrix(random, Patterns, Genres.Length, 0.4), rhythms = Matrix(random, Rhythms, Styles, 1.5);
        (List<RatingItem> items, int[] styles, double[] qualities) = Items(options.Items, random);
        var users = new List<RatingUser>(options.Users);
        var ratings = new List<Rating>();
        double[] utility = new double[items.Count], urge = new double[items.Count];
        for (int user = 0; user < options.Users; user++)
        {
            int pattern = random.Below(Patterns), rhythm = random.Below(Rhythms);
            double[] genres = [.. patterns[pattern].Select(liking => liking + random.Normal())], likedStyles = rhythms[rhythm];
            double time = 1985 + (9 * random.Normal());
            users.Add(new RatingUser(user + 1, Profile(random, pattern, time)));
            for (int item = 0; item < items.Count; item++)
            {
                RatingItem of = items[item];
                double distance = (of.Year!.Value - time) / 12;
                utility[item] = of.Genres.Average(genre => genres[genre]) + likedStyles[styles[item]] - (0.5 * Math.Min(4, distance * distance)) + (0.6 * qualities[item]);
                // The largest of numbers with Gumbel noise are a draw without replacement, with weights exp(...) (Vieira 2014).
                urge[item] = utility[item] + (0.5 * qualities[item]) - Math.Log(-Math.Log(random.Unit()));
            }

            int count = Math.Clamp((int)Math.Round(options.RatingsPerUser * Math.Exp((0.6 * random.Normal()) - 0.18)), LeastRatings, items.Count / 2);
            int[] rated = [.. Enumerable.Range(0, items.Count).OrderByDescending(item => urge[item]).Take(count)];
            random.Shuffle(rated);
            double middle = rated.Average(item => utility[item]);
            long second = 0;
            int left = 0;
            double day = random.Below(BeginDays);
            foreach (int item in rated)
            {
                if (left == 0)
                {
                    left = 1 + random.Below(16);
                    double hour = (3 + (6 * rhythm) + random.Normal() + 24) % 24;
                    second = Math.Max(second + Day / 2, FirstSecond + ((long)day * Day) + (long)(hour * 3600));
                    day += 1 + Math.Floor(-5 * Math.Log(random.Unit()));
                }
                else
                {
                    second += random.Below(4) == 0 ? 0 : random.Below(180);                  // ratings of one second, as people who click through a list give them
                }

                left--;
                int value = Math.Clamp((int)Math.Round(3.6 + (0.75 * (utility[item] - middle)) + (0.6 * random.Normal())), 1, 5);
                ratings.Add(new Rating(user, item, value, second));
            }
        }

        return new RatingSet(Name, Genres, Occupations, users, items, ratings);
    }

    private static (List<RatingItem> Items, int[] Styles, double[] Qualities) Items(int count, Draws random)
    {
        string[][] genreWords = [.. Genres.Select(_ => Words(random, WordsOfGenre))], styleWords = [.. Enumerable.Range(0, Styles).Select(_ => Words(random, WordsOfStyle))];
        var items = new List<RatingItem>(count);
        int[] styles = new int[count];
        double[] qualities = new double[count];
        for (int i = 0; i < count; i++)
        {
            int first = random.Below(Genres.Length), second = random.Below(Genres.Length);
            int[] genres = random.Below(3) == 0 || first == second ? [first] : [Math.Min(first, second), Math.Max(first, second)];
            (styles[i], qualities[i]) = (random.Below(Styles), random.Normal());
            int year = 1998 - (int)Math.Min(65, -13 * Math.Log(random.Unit()));
            string name = $"{Pick(genreWords[first])} {Pick(styleWords[styles[i]])} {Pick(styleWords[styles[i]])}";
            name = char.ToUpperInvariant(name[0]) + name[1..];
            items.Add(new RatingItem(i + 1, $"{name} ({year})", name, year, genres));
        }

        return (items, styles, qualities);

        string Pick(string[] words) => words[random.Below(words.Length)];
    }

    private static RatingProfile Profile(Draws random, int pattern, double time)
    {
        // Three quarters of the occupations, and most of an age, are chance.
        int occupation = random.Below(4) == 0 ? pattern : random.Below(Occupations.Length);
        int age = Math.Clamp((int)Math.Round(38 - (0.4 * (time - 1985)) + (12 * random.Normal())), 12, 85);
        return new RatingProfile(age, random.Below(2) == 0 ? 'F' : 'M', occupation, RatingTables.Id(10_000 + random.Below(89_999)));
    }

    private static string[] Words(Draws random, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => string.Concat(Enumerable.Range(0, 3).Select(_ => Syllables[random.Below(Syllables.Length)])))];

    private static double[][] Matrix(Draws random, int rows, int columns, double scale) =>
        [.. Enumerable.Range(0, rows).Select(_ => Enumerable.Range(0, columns).Select(_ => scale * random.Normal()).ToArray())];

    private sealed class Draws(long seed)
    {
        private PublicRandom _random = new(seed);

        /// <summary>Above 0 and below 1.</summary>
        public double Unit() => ((_random.Next() >> 12) + 0.5) * (1.0 / (1UL << 52));

        public int Below(int most) => (int)(_random.Next() % (ulong)most);

        public double Normal() => Math.Sqrt(-2 * Math.Log(Unit())) * Math.Cos(2 * Math.PI * Unit());

        public void Shuffle(int[] values)
        {
            for (int i = values.Length - 1; i > 0; i--)
            {
                int j = Below(i + 1);
                (values[i], values[j]) = (values[j], values[i]);
            }
        }
    }
}
