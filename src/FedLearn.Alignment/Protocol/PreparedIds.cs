using System.Buffers.Binary;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using FedLearn.Data;
using FedLearn.Diagnostics;

namespace FedLearn.Alignment;

/// <summary>A party's ids, checked once for all its peers: without duplicates, and with how many are announced.</summary>
internal sealed class PreparedIds
{
    private const int Chunk = 4096;

    private readonly IReadOnlyList<string> _ids;
    private readonly int[]? _rows;

    private PreparedIds(IReadOnlyList<string> ids, int[]? rows, int announced, string? lowEntropy) =>
        (_ids, _rows, Announced, LowEntropy) = (ids, rows, announced, lowEntropy);

    /// <summary>Different ids.</summary>
    public int Count => _rows?.Length ?? _ids.Count;

    /// <summary>Ids announced: with the invented ones.</summary>
    public int Announced { get; }

    /// <summary>A warning about ids that can be guessed; null for none.</summary>
    public string? LowEntropy { get; }

    /// <summary>The id of a number below <see cref="Count"/>.</summary>
    public string this[int index] => _ids[RowOf(index)];

    /// <summary>The row of a number below <see cref="Count"/>.</summary>
    public int RowOf(int index) => _rows is null ? index : _rows[index];

    /// <summary>Checks ids.</summary>
    /// <param name="ids">As they were read.</param>
    /// <param name="options">Settings.</param>
    /// <param name="threads">Threads that compute.</param>
    /// <exception cref="ArgumentException">An id is null, or has half a surrogate pair.</exception>
    /// <exception cref="BadInputException">FL3150: two ids are equal.</exception>
    /// <exception cref="ConfigurationException">FL2520 and the like: a setting is out of range.</exception>
    public static PreparedIds Create(IReadOnlyList<string> ids, PsiOptions options, int threads)
    {
        int[]? rows = Distinct(ids, options.Duplicates, threads);
        int count = rows?.Length ?? ids.Count;
        return new PreparedIds(ids, rows, Padded(count, options.PadTo), IdSpace.Warning(ids));
    }

    /// <summary>SHA-256 over all encodings in row order, with their lengths.</summary>
    public byte[] Digest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = [], length = new byte[sizeof(int)];
        for (int i = 0; i < Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(length, HashToGroup.Encode(this[i], ref buffer));
            hash.AppendData(length);
            hash.AppendData(buffer, 0, BinaryPrimitives.ReadInt32LittleEndian(length));
        }

        return hash.GetHashAndReset();
    }

    // No rows at all is padded as well: that a party has none is as much hidden as how many it has.
    private static int Padded(int count, int padTo) => padTo == 1 ? count : checked((int)(((long)Math.Max(count, 1) + padTo - 1) / padTo * padTo));

    /// <summary>Rows to keep, rising; null for all of them.</summary>
    private static int[]? Distinct(IReadOnlyList<string> ids, DuplicateIds rule, int threads)
    {
        int n = ids.Count;
        var digests = new UInt128[n];
        try
        {
            Parallel.For(0, (n + Chunk - 1) / Chunk, new ParallelOptions { MaxDegreeOfParallelism = threads }, chunk =>
            {
                byte[] buffer = [];
                using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
                for (int i = chunk * Chunk; i < Math.Min(n, (chunk + 1) * Chunk); i++)
                {
                    int length = HashToGroup.Encode(ids[i] ?? throw new ArgumentException($"The id of row {i + 1} is null.", nameof(ids)), ref buffer);
                    hash.AppendData(buffer, 0, length);
                    hash.GetHashAndReset(digest);
                    digests[i] = BinaryPrimitives.ReadUInt128BigEndian(digest);
                }
            });
        }
        catch (AggregateException e)
        {
            // The error itself, as if there were no threads.
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }

        int[] rows = new int[n];
        for (int i = 0; i < n; i++)
            rows[i] = i;
        Array.Sort(digests, rows);
        var dropped = new List<int>();
        for (int start = 0, end; start < n; start = end)
        {
            int first = rows[start];
            for (end = start + 1; end < n && digests[end] == digests[start]; end++)
            {
                dropped.Add(Math.Max(first, rows[end]));
                first = Math.Min(first, rows[end]);
            }

            if (end - start > 1 && rule == DuplicateIds.Refuse)
            {
                throw new BadInputException(PsiErrors.DuplicateId, "ids", $"rows {first + 1} and {rows[(start + 1)..end].Append(rows[start]).Where(r => r != first).Min() + 1} have the same id, once white space "
                    + "at its ends and the form of its characters are left out of account.", "Leave one of them out, or let the first row with an id stand for all of them (duplicates).");
            }
        }

        if (dropped.Count == 0)
            return null;
        var drop = new bool[n];
        foreach (int row in dropped)
            drop[row] = true;
        return [.. Enumerable.Range(0, n).Where(row => !drop[row])];
    }
}

/// <summary>Guesses from above how many ids there could be.</summary>
internal static class IdSpace
{
    /// <summary>Below so many bits a user is warned.</summary>
    public const double WarnBits = 40;

    // Longer ids count as impossible to guess: with so many places a space is small only where nearly all of them are fixed.
    private const int Places = 64;

    // A place that shows the same character in so many ids is taken as fixed, such as the letters before a number.
    private const int FewestForFixed = 16;

    /// <summary>A warning where the ids look as if there were fewer than 2^40 of them; null otherwise. It quotes no id.</summary>
    public static string? Warning(IReadOnlyList<string> ids)
    {
        double bits = Bits(ids);
        return ids.Count == 0 || bits >= WarnBits ? null
            : $"the ids look as if there were at most about {Amount(bits)} different ones, few enough to guess: a peer that brings invented ids learns which of them this party has, as many in a session as it may "
            + "announce. Use ids that are harder to guess, or allow peers fewer ids and sessions (caps).";
    }

    /// <summary>Logarithm to base 2 of an upper bound: over the places of each column, the sizes of the alphabets (digits, small and capital letters, others seen) that occur there, for every length seen.</summary>
    public static double Bits(IReadOnlyList<string> ids)
    {
        var columns = new List<Column>();
        foreach (string id in ids)
        {
            int column = 0;
            foreach (Range range in id.AsSpan().Split(RowIds.ColumnSeparator))
            {
                if (columns.Count == column)
                    columns.Add(new Column());
                columns[column++].Add(id.AsSpan(range).Trim());
            }
        }

        return columns.Sum(c => c.Bits());
    }

    private static string Amount(double bits) => Math.Pow(2, bits) switch
    {
        < 999.5 and var few => $"{few:0}",
        < 999.5e3 and var some => $"{some / 1e3:0} thousand",
        < 999.5e6 and var many => $"{many / 1e6:0} million",
        var all => $"{all / 1e9:0} billion",
    };

    private sealed class Column
    {
        private readonly Place[] _places = [.. Enumerable.Range(0, Places).Select(_ => new Place())];
        private int _shortest = int.MaxValue, _longest;

        public void Add(ReadOnlySpan<char> text)
        {
            (_shortest, _longest) = (Math.Min(_shortest, text.Length), Math.Max(_longest, text.Length));
            for (int i = 0; i < Math.Min(text.Length, Places); i++)
                _places[i].Add(text[i]);
        }

        public double Bits()
        {
            if (_longest > Places)
                return double.PositiveInfinity;
            // log2 of the sum over lengths of the product over places.
            double bits = 0, sum = double.NegativeInfinity;
            for (int length = 0; length <= _longest; length++)
            {
                if (length > 0)
                    bits += _places[length - 1].Bits();
                if (length >= _shortest)
                    sum = Math.Max(sum, bits) + Math.Log2(1 + Math.Pow(2, -Math.Abs(sum - bits)));
            }

            return double.IsNegativeInfinity(sum) ? 0 : sum;
        }
    }

    private sealed class Place
    {
        private readonly HashSet<char> _others = [];
        private int _count;
        private char _first;
        private bool _same = true, _digits, _small, _capital;

        public void Add(char c)
        {
            if (_count++ == 0)
                _first = c;
            _same &= c == _first;
            _digits |= char.IsAsciiDigit(c);
            _small |= char.IsAsciiLetterLower(c);
            _capital |= char.IsAsciiLetterUpper(c);
            if (!char.IsAsciiLetterOrDigit(c))
                _others.Add(c);
        }

        public double Bits() => _same && _count >= FewestForFixed ? 0
            : Math.Log2(Math.Max(1, (_digits ? 10 : 0) + (_small ? 26 : 0) + (_capital ? 26 : 0) + _others.Count));
    }
}
