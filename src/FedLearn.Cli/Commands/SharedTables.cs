using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using FedLearn.Privacy;

namespace FedLearn.Cli.Commands;

/// <summary>Which of many tables share rows, for all of them at once: to compare each two, as <see cref="DataSetIdentity.SharesRowsWith"/> does, reads the ids of K tables K times K times.</summary>
/// <remarks>The digests of all tables are sorted together, a part of their range after the other; tables that have one in common stand side by side. So each table is read once for each part.</remarks>
internal sealed class SharedTables
{
    /// <summary>Digests in memory at a time, of 12 bytes each.</summary>
    private const int MostDigests = 1 << 23;

    private readonly ulong[][] _shares;

    private SharedTables(ulong[][] shares) => _shares = shares;

    /// <summary>Compares tables.</summary>
    /// <param name="tables">The tables, each once.</param>
    /// <param name="mostDigests">Digests in memory at a time, at least 1; those of one part of the range, if they are more.</param>
    public static SharedTables Of(IReadOnlyList<DataSetIdentity> tables, int mostDigests = MostDigests)
    {
        ulong[][] shares = [.. Enumerable.Range(0, tables.Count).Select(t => new ulong[(tables.Count + 63) / 64])];
        for (int t = 0; t < shares.Length; t++)
            Mark(shares[t], t);
        // Digests are evenly spread over their range.
        long all = tables.Sum(t => (long)t.Rows), parts = Math.Max(1, (all + mostDigests - 1) / mostDigests);
        ulong Edge(long part) => (ulong)(((UInt128)part << 64) / (UInt128)parts);
        // Tables that grow from job to job have many digests in the same tables: each such set of tables is marked once.
        var marked = new HashSet<UInt128>();
        for (long part = 0; part < parts; part++)
            Mark(tables, Edge(part), part + 1 < parts ? Edge(part + 1) - 1 : ulong.MaxValue, shares, marked);
        return new SharedTables(shares);
    }

    /// <summary>Whether two tables share rows.</summary>
    /// <param name="one">Number of one of them, from 0.</param>
    /// <param name="other">Number of the other.</param>
    public bool AreShared(int one, int other) => (_shares[one][other / 64] >> (other % 64) & 1) != 0;

    /// <summary>A text that is the same for tables which share rows with the same tables.</summary>
    /// <param name="table">Number of the table.</param>
    public string KeyOf(int table) => new(MemoryMarshal.Cast<ulong, char>(_shares[table]));

    /// <summary>Marks the tables that have digests of a part of the range in common.</summary>
    private static void Mark(IReadOnlyList<DataSetIdentity> tables, ulong from, ulong to, ulong[][] shares, HashSet<UInt128> marked)
    {
        var digests = new List<ulong>();
        var owners = new List<int>();
        for (int t = 0; t < tables.Count; t++)
        {
            ReadOnlySpan<byte> known = (tables[t].Digests ?? tables[t].Sketch).Span;
            for (int i = First(known, from); i < known.Length / DataSetIdentity.SketchDigestBytes && At(known, i) <= to; i++)
            {
                digests.Add(At(known, i));
                owners.Add(t);
            }
        }

        Span<ulong> sorted = CollectionsMarshal.AsSpan(digests);
        Span<int> their = CollectionsMarshal.AsSpan(owners);
        MemoryExtensions.Sort(sorted, their);
        var together = new ulong[(tables.Count + 63) / 64];
        for (int start = 0, end; start < sorted.Length; start = end)
        {
            for (end = start + 1; end < sorted.Length && sorted[end] == sorted[start]; end++) { }
            if (end - start == 1)
                continue;
            Span<int> having = their[start..end];
            having.Sort();
            if (!marked.Add(XxHash128.HashToUInt128(MemoryMarshal.AsBytes(having))))
                continue;
            Array.Clear(together);
            foreach (int t in having)
                Mark(together, t);
            foreach (int t in having)
                for (int word = 0; word < together.Length; word++)
                    shares[t][word] |= together[word];
        }
    }

    private static void Mark(ulong[] set, int table) => set[table / 64] |= 1UL << (table % 64);

    /// <summary>Number of the first digest of at least a value.</summary>
    private static int First(ReadOnlySpan<byte> digests, ulong least)
    {
        int low = 0, high = digests.Length / DataSetIdentity.SketchDigestBytes;
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            if (At(digests, middle) < least)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    // Big-endian: the order of numbers is that of bytes.
    private static ulong At(ReadOnlySpan<byte> digests, int index) => BinaryPrimitives.ReadUInt64BigEndian(digests[(index * DataSetIdentity.SketchDigestBytes)..]);
}
