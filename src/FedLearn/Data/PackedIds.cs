using System.Collections;
using System.Text;

namespace FedLearn.Data;

/// <summary>Normalised ids as UTF-8 in one array: a string each would take several times the memory. Text is made when it is asked for.</summary>
internal sealed class PackedIds : IReadOnlyList<string>
{
    private byte[] _text;
    private int[] _ends;

    /// <summary>Makes an empty list.</summary>
    /// <param name="count">How many ids are expected.</param>
    /// <param name="bytes">How many bytes of text are expected.</param>
    internal PackedIds(int count = 0, int bytes = 0) => (_ends, _text) = (new int[count], new byte[bytes]);

    /// <inheritdoc/>
    public int Count { get; private set; }

    /// <inheritdoc/>
    public string this[int index] => Encoding.UTF8.GetString(Utf8(index));

    /// <summary>An id, as UTF-8.</summary>
    /// <param name="index">Id from 0.</param>
    internal ReadOnlySpan<byte> Utf8(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count, nameof(index));
        return _text.AsSpan((index == 0 ? 0 : _ends[index - 1]).._ends[index]);
    }

    /// <summary>Adds an id as it was read, and normalises it.</summary>
    /// <param name="id">Legal UTF-8.</param>
    internal void Add(ReadOnlySpan<byte> id)
    {
        // Visible ASCII at both ends, and nothing else but ASCII between them: in normal form C, and nothing to trim.
        if (!Ascii.IsValid(id) || (id.Length > 0 && (id[0] <= ' ' || id[^1] <= ' ')))
            id = Encoding.UTF8.GetBytes(RowIds.Normalize(Encoding.UTF8.GetString(id)));
        int start = Count == 0 ? 0 : _ends[Count - 1], end = checked(start + id.Length);
        if (end > _text.Length)
            Array.Resize(ref _text, (int)Math.Min(Array.MaxLength, Math.Max(end, 2L * _text.Length)));
        if (Count == _ends.Length)
            Array.Resize(ref _ends, Math.Max(16, checked(2 * Count)));
        id.CopyTo(_text.AsSpan(start));
        _ends[Count++] = end;
    }

    /// <summary>Takes the last id away.</summary>
    internal void RemoveLast() => Count--;

    /// <summary>The row numbers from 0, as ids.</summary>
    internal static PackedIds Numbers(int rows)
    {
        var ids = new PackedIds(rows, checked(8 * rows));
        Span<byte> text = stackalloc byte[11];
        for (int row = 0; row < rows; row++)
        {
            row.TryFormat(text, out int length, default, System.Globalization.CultureInfo.InvariantCulture);
            ids.Add(text[..length]);
        }

        return ids;
    }

    /// <inheritdoc/>
    public IEnumerator<string> GetEnumerator()
    {
        for (int i = 0; i < Count; i++)
            yield return this[i];
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
