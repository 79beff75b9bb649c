using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace FedLearn.Dssm;

/// <summary>Makes the inputs of a tower from the cells of rows, one row after the other, each field in its order.</summary>
internal sealed class DssmRowEncoder
{
    private const int UsualExponent = 400;                      // squares of numbers below 2^400 can be summed, those above 2^-400 have all their digits

    private readonly DssmSchema _schema;
    private readonly TowerInputs _inputs;
    private readonly List<double> _dense = [];
    private readonly Bag[] _bags;
    private readonly int[] _bagOf;
    private readonly List<ulong> _hashes = [];
    private int _rows;

    public DssmRowEncoder(DssmSchema schema)
    {
        _schema = schema;
        _inputs = schema.Inputs;
        _bags = [.. _inputs.Bags.Select(_ => new Bag())];
        int bags = 0;
        _bagOf = [.. schema.Fields.Select(field => field.Kind == DssmFieldKind.Numeric ? -1 : bags++)];
    }

    /// <summary>Whether another row would still fit arrays.</summary>
    public bool HasRoom => (long)_dense.Count + _inputs.DenseWidth <= Array.MaxLength;

    /// <summary>The cell of a numeric or bucketed field; null: it is missing.</summary>
    public void Number(int field, double? value)
    {
        DssmField of = _schema.Fields[field];
        if (of.Kind == DssmFieldKind.Numeric)
        {
            _dense.Add(value ?? 0);
            if (of.Mask)
                _dense.Add(value is null ? 1 : 0);
            return;
        }

        if (value is { } number)
            Id(field, of.Edges.Count(edge => edge <= number));
        else if (of.Mask)
            Id(field, of.Ids - 1);
    }

    /// <summary>An id of a bag, inside its buckets.</summary>
    public void Id(int field, int id, double weight = 1) => _bags[_bagOf[field]].Add(id, weight);

    /// <summary>The cell of a hashed or text field.</summary>
    public void Text(int field, string text)
    {
        DssmField of = _schema.Fields[field];
        _hashes.Clear();
        if (of.Kind == DssmFieldKind.Text)
            DssmHash.Ngrams(text, of.Ngrams, _hashes);
        else
            DssmHash.Words(text, _hashes);
        Bag bag = _bags[_bagOf[field]];
        foreach (ulong hash in _hashes)
            for (int function = 0; function < of.Hashes; function++)
                bag.Add(DssmHash.Bucket(hash, function, of.Buckets), 1);
        bag.Merge(_rows);
    }

    /// <summary>Ends a row.</summary>
    public void End()
    {
        if (_schema.Normalise)
            Normalise();
        foreach (Bag bag in _bags)
            bag.Offsets.Add(bag.Ids.Count);
        _rows++;
    }

    private void Normalise()
    {
        Tame();
        double squares = 0;
        foreach (Bag bag in _bags)
            bag.Merge(_rows);
        for (int part = 0; part <= _bags.Length; part++)
            foreach (double entry in Entries(part))
                squares += entry * entry;
        double norm = Math.Sqrt(squares);
        for (int part = 0; part <= _bags.Length && norm > 0; part++)
            TensorPrimitives.Divide(Entries(part), norm, Entries(part));
    }

    // Sums and squares of very large or very small numbers would be infinite or 0: such a row is scaled by a power of two first, which changes no digit of it.
    private void Tame()
    {
        double largest = 0;
        for (int part = 0; part <= _bags.Length; part++)
            foreach (double entry in Entries(part))
                largest = Math.Max(largest, Math.Abs(entry));
        if (largest == 0 || Math.ILogB(largest) is > -UsualExponent and < UsualExponent)
            return;
        for (int part = 0; part <= _bags.Length; part++)
            TensorPrimitives.ScaleB<double>(Entries(part), -Math.ILogB(largest), Entries(part));
    }

    /// <summary>The last row's entries of a bag, or after the bags its numbers; until something is added to them.</summary>
    private Span<double> Entries(int part) => part < _bags.Length ? CollectionsMarshal.AsSpan(_bags[part].Weights)[_bags[part].Offsets[_rows]..]
        : CollectionsMarshal.AsSpan(_dense)[(_rows * _inputs.DenseWidth)..];

    /// <summary>The rows.</summary>
    /// <param name="order">Which row comes where; null: as they were given.</param>
    public TowerRows Build(int[]? order = null)
    {
        double[] dense = [.. _dense];
        BagRows[] bags = [.. _bags.Select(bag => bag.Rows(order))];
        int width = _inputs.DenseWidth;
        if (order is not null)
            for (int r = 0; r < order.Length; r++)
                _dense.CopyTo(order[r] * width, dense, r * width, width);
        return new TowerRows(_inputs, _rows, dense, bags);
    }

    private sealed class Bag
    {
        public List<int> Offsets { get; } = [0];

        public List<int> Ids { get; } = [];

        public List<double> Weights { get; } = [];

        public void Add(int id, double weight)
        {
            Ids.Add(id);
            Weights.Add(weight);
        }

        /// <summary>Puts equal ids of the last row together, in ascending order.</summary>
        public void Merge(int row)
        {
            int start = Offsets[row], count = Ids.Count - start;
            if (count < 2)
                return;
            (int Id, double Weight)[] entries = [.. Enumerable.Range(start, count).Select(i => (Ids[i], Weights[i]))];
            Ids.RemoveRange(start, count);
            Weights.RemoveRange(start, count);
            foreach ((int id, double weight) in entries.OrderBy(entry => entry.Id))
            {
                if (Ids.Count > start && Ids[^1] == id)
                    Weights[^1] += weight;
                else
                    Add(id, weight);
            }
        }

        public BagRows Rows(int[]? order)
        {
            bool weighted = Weights.Exists(weight => weight != 1);
            if (order is null)
                return new BagRows([.. Offsets], [.. Ids], weighted ? [.. Weights] : null);
            int[] offsets = new int[Offsets.Count], ids = new int[Ids.Count];
            double[]? weights = weighted ? new double[Ids.Count] : null;
            for (int r = 0, at = 0; r < order.Length; r++)
            {
                for (int i = Offsets[order[r]]; i < Offsets[order[r] + 1]; i++, at++)
                {
                    ids[at] = Ids[i];
                    if (weights is not null)
                        weights[at] = Weights[i];
                }

                offsets[r + 1] = at;
            }

            return new BagRows(offsets, ids, weights);
        }
    }
}
