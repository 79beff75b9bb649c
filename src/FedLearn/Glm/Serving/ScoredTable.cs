using FedLearn.Data;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>A party's scores of every row of its table, computed once, to be found by the digest of an id.</summary>
/// <remarks>Costs 32 bytes and one score a row. The scores have the bits that batch prediction gives.</remarks>
internal sealed class ScoredTable
{
    private readonly byte[] _digests;
    private readonly double[] _scores;

    public ScoredTable(GlmModel model, Table table, long seed)
    {
        SortedRows sorted = RowIds.Order(table.Ids, seed);
        (_digests, _scores, Rows) = (sorted.Digests, model.Score(table, sorted.Rows), sorted.Rows.Length);
        Outputs = _scores.Length / Rows;
    }

    public int Rows { get; }

    /// <summary>Scores a row: 1, or one a class.</summary>
    public int Outputs { get; }

    /// <summary>Score of a row for an output. Scores stand output by output, as the model gives them.</summary>
    public double this[int row, int output] => _scores[output * Rows + row];

    /// <summary>The row of a digest, or -1.</summary>
    public int Find(ReadOnlySpan<byte> digest)
    {
        const int Size = HashedIds.DigestBytes;
        int low = 0, high = Rows - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1, order = _digests.AsSpan(middle * Size, Size).SequenceCompareTo(digest);
            if (order == 0)
                return middle;
            if (order < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return -1;
    }
}
