using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FedLearn.Numerics;

/// <summary>Writes rows that come in any order to their places in a file.</summary>
/// <remarks>The file is cut into stretches that fit in memory. A row goes to the stretch of its place, behind those that came before it; when all are there, each stretch is put in order. So the file is written in
/// large pieces, twice at most, whatever the order. Written to their places through a map, rows in random order dirty every page as often as it has rows, and the system writes it out again and again: 10 million rows
/// of 50 float64 at two parties took a quarter of an hour.</remarks>
internal sealed class RowScatter
{
    private const int MostStretches = 1024;

    private readonly SafeFileHandle? _file;
    private readonly int _rows, _rowBytes, _stretchRows, _pieceRows;
    // Places of the rows of each stretch, in the order in which they came.
    private readonly int[] _places;
    private readonly Stretch[] _stretches;

    private struct Stretch
    {
        public int Came;
        public byte[]? Piece;
    }

    /// <summary>Begins.</summary>
    /// <param name="file">Receives the rows; null where there are no bytes to write.</param>
    /// <param name="rows">Number of rows, at least 0.</param>
    /// <param name="rowBytes">Bytes of a row.</param>
    /// <param name="stretchBytes">Bytes of a stretch, which is held in memory twice while it is put in order. Of a huge file they are more, so that there are no more than <see cref="MostStretches"/>.</param>
    /// <param name="pieceBytes">Bytes that are written at once, and held in memory for each stretch.</param>
    public RowScatter(SafeFileHandle? file, int rows, int rowBytes, int stretchBytes = 16 << 20, int pieceBytes = 1 << 16)
    {
        (_file, _rows, _rowBytes, _places) = (file, rows, rowBytes, new int[rows]);
        long stretch = Math.Max(stretchBytes, (long)rows * rowBytes / MostStretches);
        _stretchRows = (int)Math.Clamp(stretch / Math.Max(1, rowBytes), 1, Array.MaxLength / Math.Max(1, rowBytes));
        _pieceRows = Math.Min(_stretchRows, Math.Max(1, pieceBytes / Math.Max(1, rowBytes)));
        _stretches = new Stretch[(rows + (long)_stretchRows - 1) / _stretchRows];
    }

    /// <summary>Takes a row.</summary>
    /// <param name="place">Its place from 0; each once.</param>
    /// <param name="cells">Its cells.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Add<T>(int place, ReadOnlySpan<T> cells) where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)place, (uint)_rows, nameof(place));
        ReadOnlySpan<byte> row = MemoryMarshal.AsBytes(cells);
        ArgumentOutOfRangeException.ThrowIfNotEqual(row.Length, _rowBytes, nameof(cells));
        int number = place / _stretchRows, first = number * _stretchRows, size = SizeOf(number);
        ref Stretch stretch = ref _stretches[number];
        if (stretch.Came == size)
            throw new InvalidOperationException("A place was taken twice.");
        _places[first + stretch.Came] = place;
        int held = stretch.Came++ % _pieceRows;
        if (_pieceRows == 1)
        {
            Write(row, first + stretch.Came - 1);
            return;
        }

        stretch.Piece ??= GC.AllocateUninitializedArray<byte>(_pieceRows * _rowBytes);
        row.CopyTo(stretch.Piece.AsSpan(held * _rowBytes));
        if (held + 1 == _pieceRows || stretch.Came == size)
            Write(stretch.Piece.AsSpan(0, (held + 1) * _rowBytes), first + stretch.Came - held - 1);
        if (stretch.Came == size)
            stretch.Piece = null;
    }

    /// <summary>Puts the rows in order.</summary>
    /// <exception cref="IOException">They cannot be read or written.</exception>
    /// <exception cref="InvalidOperationException">A row is missing.</exception>
    public void Finish()
    {
        byte[] came = [], ordered = [];
        for (int number = 0; number < _stretches.Length; number++)
        {
            int first = number * _stretchRows, size = SizeOf(number);
            if (_stretches[number].Came != size)
                throw new InvalidOperationException("A row is missing.");
            ReadOnlySpan<int> places = _places.AsSpan(first, size);
            if (IsInOrder(places, first))
                continue;
            if (came.Length == 0)
                (came, ordered) = (GC.AllocateUninitializedArray<byte>(_stretchRows * _rowBytes), GC.AllocateUninitializedArray<byte>(_stretchRows * _rowBytes));
            Read(came.AsSpan(0, size * _rowBytes), first);
            for (int i = 0; i < size; i++)
                came.AsSpan(i * _rowBytes, _rowBytes).CopyTo(ordered.AsSpan((places[i] - first) * _rowBytes));
            Write(ordered.AsSpan(0, size * _rowBytes), first);
        }
    }

    private static bool IsInOrder(ReadOnlySpan<int> places, int first)
    {
        for (int i = 0; i < places.Length; i++)
            if (places[i] != first + i)
                return false;
        return true;
    }

    private int SizeOf(int stretch) => Math.Min(_stretchRows, _rows - stretch * _stretchRows);

    private void Write(ReadOnlySpan<byte> rows, int at)
    {
        if (_file is not null)
            RandomAccess.Write(_file, rows, (long)at * _rowBytes);
    }

    private void Read(Span<byte> rows, int at)
    {
        for (int done = 0; done < rows.Length;)
        {
            int read = RandomAccess.Read(_file!, rows[done..], (long)at * _rowBytes + done);
            done += read > 0 ? read : throw new EndOfStreamException("The scratch file became shorter.");
        }
    }
}
