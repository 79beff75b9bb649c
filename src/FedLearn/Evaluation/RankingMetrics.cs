using System.Numerics;
using System.Numerics.Tensors;

namespace FedLearn.Evaluation;

/// <summary>Figures of ranked events and their intervals.</summary>
public static class RankingMetrics
{
    /// <summary>Length of the lists that hit rate, NDCG, coverage and popularity look at.</summary>
    public const int ListLength = 10;

    private const int FigureCount = 4, Width = 8, Defined = 4, Events = 5;

    /// <summary>Whether a rank is on the list.</summary>
    /// <param name="rank">At least 1; half ranks come from ties.</param>
    public static bool IsHit(double rank) => rank <= ListLength;

    /// <summary>1/log2(1 + rank) on the list, 0 after it.</summary>
    /// <param name="rank">At least 1.</param>
    public static double Ndcg(double rank) => IsHit(rank) ? 1 / Math.Log2(1 + rank) : 0;

    /// <summary>1 - (rank - 1)/negatives; NaN without negatives.</summary>
    /// <param name="rank">From 1 to negatives + 1.</param>
    /// <param name="negatives">Candidates beside the target.</param>
    public static double Auc(double rank, int negatives) => negatives > 0 ? 1 - ((rank - 1) / negatives) : double.NaN;

    /// <summary>Means over events and over users, with percentile intervals (Efron and Tibshirani 1993, chapter 13) over resampled users: the events of a user stay together.</summary>
    /// <param name="ranks">One for each event, in any order.</param>
    /// <param name="options">Resamples, level and seed; null: the defaults. The threshold is not used. Fewer resamples are drawn where resamples times users would exceed
    /// 200 million, but not fewer than 200 for that reason.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    public static RankingResult Of(ReadOnlySpan<TargetRank> ranks, EvaluationOptions? options = null) => OfWays([ranks.ToArray()], options ?? new())[0];

    /// <summary>Means of the same events ranked in several ways, the same resamples serving all.</summary>
    /// <exception cref="ArgumentException">The ways do not have the same users in the same order.</exception>
    internal static RankingResult[] OfWays(IReadOnlyList<TargetRank[]> ways, EvaluationOptions options)
    {
        options.Checked();
        UserSums sums = new(ways);
        double[] point = sums.Figures(), low = [], high = [];
        if (options.Resamples > 0)
            (low, high) = Ends(sums, options, Bootstrap.Resamples(options.Resamples, sums.Users), point);
        return [.. Enumerable.Range(0, ways.Count).Select(way => new RankingResult(Part(point, way)!, sums.UserMeans(way), Part(low, way), Part(high, way)))];
    }

    /// <summary>Mean of the first ranking less that of the second, with intervals of the difference from common resamples.</summary>
    /// <exception cref="ArgumentException">They are not of the same users in the same order.</exception>
    internal static (RankingFigures Difference, RankingFigures? Low, RankingFigures? High) Difference(TargetRank[] first, TargetRank[] second, EvaluationOptions options)
    {
        options.Checked();
        UserSums sums = new([first, second]);
        double[] point = Less(sums.Figures()), low = [], high = [];
        if (options.Resamples > 0)
            (low, high) = Ends(sums, options, Bootstrap.Resamples(options.Resamples, sums.Users), point, Less);
        return (Part(point, 0)!, Part(low, 0), Part(high, 0));

        static double[] Less(double[] figures)
        {
            double[] less = new double[FigureCount];
            TensorPrimitives.Subtract(figures.AsSpan(0, FigureCount), figures.AsSpan(FigureCount, FigureCount), less);
            return less;
        }
    }

    private static RankingFigures? Part(double[] figures, int way) => figures.Length == 0 ? null : RankingFigures.From(figures.AsSpan(way * FigureCount, FigureCount));

    private static (double[] Low, double[] High) Ends(UserSums sums, EvaluationOptions options, int resamples, double[] point, Func<double[], double[]>? map = null)
    {
        double[][] drawn = new double[resamples][];
        Parallel.For(0, resamples, () => new byte[sums.Users], (resample, _, counts) =>
        {
            Bootstrap.Draw(options.Seed, resample, counts);
            drawn[resample] = map is null ? sums.Figures(counts) : map(sums.Figures(counts));
            return counts;
        }, _ => { });

        double[] low = new double[point.Length], high = new double[point.Length], sorted = new double[resamples];
        for (int figure = 0; figure < point.Length; figure++)
        {
            int defined = 0;
            foreach (double[] figures in drawn)
            {
                if (double.IsFinite(figures[figure]))
                    sorted[defined++] = figures[figure];
            }

            Span<double> values = sorted.AsSpan(0, defined);
            values.Sort();
            bool given = double.IsFinite(point[figure]) && defined > 0 && defined >= Bootstrap.LeastDefined * resamples;
            low[figure] = given ? Bootstrap.Quantile(values, (1 - options.Level) / 2) : double.NaN;
            high[figure] = given ? Bootstrap.Quantile(values, (1 + options.Level) / 2) : double.NaN;
        }

        return (low, high);
    }

    /// <summary>Sums of the figures by user: Width numbers for each way of a user, so that a resample is a weighted sum of rows.</summary>
    private sealed class UserSums
    {
        private readonly double[] _sums;
        private readonly int _ways;

        public UserSums(IReadOnlyList<TargetRank[]> ways)
        {
            _ways = ways.Count;
            TargetRank[] first = ways[0];
            var place = new Dictionary<int, int>();
            foreach (TargetRank rank in first)
                place.TryAdd(rank.User, place.Count);
            Users = place.Count;
            _sums = new double[Users * _ways * Width];
            for (int way = 0; way < _ways; way++)
            {
                if (ways[way].Length != first.Length)
                    throw new ArgumentException("The rankings are not of the same events.", nameof(ways));
                for (int e = 0; e < first.Length; e++)
                {
                    TargetRank rank = ways[way][e];
                    if (rank.User != first[e].User)
                        throw new ArgumentException("The rankings are not of the same events.", nameof(ways));
                    Span<double> row = _sums.AsSpan(((place[rank.User] * _ways) + way) * Width, Width);
                    row[0] += IsHit(rank.Rank) ? 1 : 0;
                    row[1] += Ndcg(rank.Rank);
                    row[2] += 1 / rank.Rank;
                    row[3] += rank.Negatives > 0 ? Auc(rank.Rank, rank.Negatives) : 0;
                    row[Defined] += rank.Negatives > 0 ? 1 : 0;
                    row[Events]++;
                }
            }
        }

        public int Users { get; }

        public double[] Figures()
        {
            byte[] ones = new byte[Users];
            Array.Fill(ones, (byte)1);
            return Figures(ones);
        }

        /// <summary>Means with every user counted as often as stated; 0/0 is the NaN wanted.</summary>
        public double[] Figures(ReadOnlySpan<byte> counts)
        {
            int stride = _ways * Width;
            Span<double> sum = stackalloc double[stride];
            sum.Clear();
            for (int user = 0; user < counts.Length; user++)
            {
                if (counts[user] == 0)
                    continue;
                var weight = new Vector<double>(counts[user]);
                ReadOnlySpan<double> row = _sums.AsSpan(user * stride, stride);
                for (int i = 0; i < stride; i += Vector<double>.Count)             // Width is a multiple of every vector's length
                    (new Vector<double>(sum[i..]) + (weight * new Vector<double>(row[i..]))).CopyTo(sum[i..]);
            }

            double[] figures = new double[_ways * FigureCount];
            for (int way = 0; way < _ways; way++)
                Divide(sum.Slice(way * Width, Width), figures.AsSpan(way * FigureCount, FigureCount));
            return figures;
        }

        public RankingFigures UserMeans(int way)
        {
            Span<double> sum = stackalloc double[Width], own = stackalloc double[FigureCount];
            sum.Clear();
            for (int user = 0; user < Users; user++)
            {
                Divide(_sums.AsSpan(((user * _ways) + way) * Width, Width), own);
                for (int figure = 0; figure < FigureCount; figure++)
                    sum[figure] += double.IsNaN(own[figure]) ? 0 : own[figure];
                sum[Defined] += double.IsNaN(own[^1]) ? 0 : 1;
                sum[Events]++;
            }

            Divide(sum, own);
            return RankingFigures.From(own);
        }

        private static void Divide(ReadOnlySpan<double> sums, Span<double> figures)
        {
            for (int figure = 0; figure < FigureCount; figure++)
                figures[figure] = sums[figure] / sums[figure == FigureCount - 1 ? Defined : Events];
        }
    }
}
