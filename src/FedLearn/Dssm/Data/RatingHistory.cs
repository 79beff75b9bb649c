namespace FedLearn.Dssm;

/// <summary>What is known of a user from the ratings before a moment. Numbers are scaled by public constants to [0, 1], and rounded so that a file holds them exactly.</summary>
internal sealed class RatingHistory
{
    /// <summary>Positives that the history view holds.</summary>
    public const int Length = 50;

    /// <summary>Ends of the bands of years: before 1940, the decades to 1989, then 1990 to 1992, single years, and 1997 and later.</summary>
    public static readonly double[] YearEdges = [1940, 1950, 1960, 1970, 1980, 1990, 1993, 1994, 1995, 1996, 1997];

    public static readonly string[] YearBands =
        ["year_before_1940", "year_1940s", "year_1950s", "year_1960s", "year_1970s", "year_1980s", "year_1990_1992", "year_1993", "year_1994", "year_1995", "year_1996", "year_from_1997"];

    public static readonly string[] TasteNumbers = ["ratings", "mean", "positive_share"];

    public static readonly string[] SessionNumbers = ["sessions", "span", "session_ratings", "session_gap", "longest_pause", "hour_spread"];

    private const int Hours = 24, Weekdays = 7, Decimals = 6;

    // Two ratings further apart are of two sessions: an hour. Scales: counts to 1,000, days to a year, seconds to an hour.
    private const double SessionGap = 3600, MostCount = 1000, MostDays = 365, SecondsOfDay = 86_400;

    private readonly RatingSet _set;
    private readonly int[] _likedGenres, _otherGenres, _years = new int[YearBands.Length], _hours = new int[Hours], _weekdays = new int[Weekdays];
    private readonly List<int> _positives = [];
    private int _ratings, _stars, _sessions, _gaps;
    private long _first, _last, _gapSeconds, _longestPause;

    public RatingHistory(RatingSet set) => (_set, _likedGenres, _otherGenres) = (set, new int[set.Genres.Count], new int[set.Genres.Count]);

    /// <summary>Takes up the next rating.</summary>
    public void Add(Rating rating)
    {
        RatingItem item = _set.Items[rating.Item];
        foreach (int genre in item.Genres)
            (rating.IsPositive ? _likedGenres : _otherGenres)[genre]++;
        if (rating.IsPositive)
        {
            _positives.Add(rating.Item);
            if (item.Year is { } year)
                _years[YearEdges.Count(edge => edge <= year)]++;
        }

        _stars += rating.Value;
        DateTime time = DateTime.UnixEpoch.AddSeconds(rating.Time);
        _hours[time.Hour]++;
        _weekdays[(int)time.DayOfWeek]++;
        if (_ratings == 0)
        {
            _first = rating.Time;
            _sessions = 1;
        }
        else if (rating.Time - _last is var pause && pause > SessionGap)
        {
            _sessions++;
            _longestPause = Math.Max(_longestPause, pause);
        }
        else
        {
            _gaps++;
            _gapSeconds += pause;
        }

        _last = rating.Time;
        _ratings++;
    }

    /// <summary>The last positives, the latest last.</summary>
    public int[] Positives() => [.. _positives.Skip(_positives.Count - Length)];

    /// <summary>Shares of the genres among positives and among other ratings, of the bands of years among positives; number, mean and positive share of the ratings.</summary>
    public double[] Taste()
    {
        int likes = _positives.Count;
        return Rounded(
        [
            .. _likedGenres.Select(count => Share(count, likes)), .. _otherGenres.Select(count => Share(count, _ratings - likes)), .. _years.Select(count => Share(count, likes)),
            Scaled(_ratings, MostCount), Share(_stars, 5 * _ratings), Share(likes, _ratings),
        ]);
    }

    /// <summary>Shares of the hours (UTC) and weekdays (from Sunday) of the ratings; number of sessions, days from first to last rating, mean ratings a session, mean
    /// seconds between ratings of a session, longest pause between sessions in days, and entropy of the hours over its largest value.</summary>
    public double[] Behaviour() => Rounded(
    [
        .. _hours.Select(count => Share(count, _ratings)), .. _weekdays.Select(count => Share(count, _ratings)),
        Scaled(_sessions, MostCount), Scaled((_last - _first) / SecondsOfDay, MostDays), Scaled(_sessions == 0 ? 0 : (double)_ratings / _sessions, MostCount),
        Scaled(_gaps == 0 ? 0 : (double)_gapSeconds / _gaps, SessionGap), Scaled(_longestPause / SecondsOfDay, MostDays),
        _hours.Where(count => count > 0).Sum(count => -Share(count, _ratings) * Math.Log(Share(count, _ratings))) / Math.Log(Hours),
    ]);

    private static double Share(int count, int of) => of == 0 ? 0 : (double)count / of;

    private static double Scaled(double value, double most) => Math.Min(1, Math.Log(1 + value) / Math.Log(1 + most));

    private static double[] Rounded(double[] values) => [.. values.Select(value => Math.Round(value, Decimals) + 0.0)];
}
