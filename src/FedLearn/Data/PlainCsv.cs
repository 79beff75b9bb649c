using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace FedLearn.Data;

/// <summary>Rows of a CSV file as they were read.</summary>
/// <param name="Ids">Ids as written.</param>
/// <param name="Values">Features, row-major.</param>
/// <param name="Inputs">What the rows bring beside the features.</param>
/// <param name="LineOf">Line of a row, from 1.</param>
internal sealed record CsvRows(IReadOnlyList<string> Ids, double[] Values, IReadOnlyDictionary<RowInputKind, double[]> Inputs, Func<int, int> LineOf);

/// <summary>A CSV file cut at line ends.</summary>
/// <param name="Lines">Lines of the file, of which the last need not end in a line feed.</param>
/// <param name="IsPlain">Whether no byte is a quote, so that every line feed ends a row.</param>
/// <param name="Pieces">Where each piece begins and ends in the file and which line it begins with, from 0.</param>
internal sealed record CsvPieces(long Lines, bool IsPlain, IReadOnlyList<(long Start, long End, long Line)> Pieces)
{
    private const int BlockBytes = 1 << 20;

    /// <summary>Counts lines in blocks; a piece goes from the last line end of one block to that of the next.</summary>
    internal static CsvPieces Of(string path, CancellationToken cancellationToken)
    {
        using SafeFileHandle file = File.OpenHandle(path);
        long length = RandomAccess.GetLength(file);
        var blocks = new (int Lines, int End, bool Quoted)[checked((int)((length + BlockBytes - 1) / BlockBytes))];
        Parallel.For(0, blocks.Length, new ParallelOptions { CancellationToken = cancellationToken }, block =>
        {
            byte[] buffer = ArrayPool<byte>.Shared.Rent(BlockBytes);
            ReadOnlySpan<byte> bytes = buffer.AsSpan(0, Fill(file, buffer.AsSpan(0, BlockBytes), (long)block * BlockBytes));
            blocks[block] = (bytes.Count((byte)'\n'), bytes.LastIndexOf((byte)'\n') + 1, bytes.Contains((byte)'"'));
            ArrayPool<byte>.Shared.Return(buffer);
        });

        var pieces = new List<(long, long, long)>();
        long start = 0, line = 0, lines = 0;
        for (int block = 0; block < blocks.Length; block++)
        {
            lines += blocks[block].Lines;
            long end = block == blocks.Length - 1 ? length : ((long)block * BlockBytes) + blocks[block].End;
            if (end > start && (blocks[block].Lines > 0 || end == length))
            {
                pieces.Add((start, end, line));
                (start, line) = (end, lines);
            }
        }

        bool unended = blocks.Length > 0 && blocks[^1].End < length - ((long)(blocks.Length - 1) * BlockBytes);
        return new CsvPieces(lines + (unended ? 1 : 0), !blocks.Any(block => block.Quoted), pieces);
    }

    /// <summary>Reads until the buffer is full or the file ends.</summary>
    internal static int Fill(SafeFileHandle file, Span<byte> buffer, long offset)
    {
        int filled = 0;
        for (int read; filled < buffer.Length && (read = RandomAccess.Read(file, buffer[filled..], offset + filled)) > 0;)
            filled += read;
        return filled;
    }
}

/// <summary>Reads CSV files without quotes, several pieces at a time: the usual large file of numbers.</summary>
/// <remarks>It knows legal files alone. Whatever it does not expect (a fault, an empty line, another encoding) makes it give up, and the general reader
/// then reads the file from its beginning, and names the first fault. Both read a cell by the same code.</remarks>
internal static class PlainCsv
{
    /// <summary>The rows, or null when the general reader has to look.</summary>
    internal static CsvRows? Read(string path, CsvLayout layout, CsvPieces pieces, CancellationToken cancellationToken)
    {
        if (!pieces.IsPlain || layout.Ids.Length > 1)
            return null;
        using SafeFileHandle file = File.OpenHandle(path);
        long rows = pieces.Lines - 1;                                                        // less the header
        if (rows < 1 || rows * layout.Width > Array.MaxLength)
            return null;

        string[] ids = new string[rows];
        double[] values = GC.AllocateUninitializedArray<double>((int)(rows * layout.Width));      // every cell is written, or nothing is returned
        var inputs = layout.Inputs.ToDictionary(input => input.Kind, _ => new double[rows]);
        var work = new Work(file, layout.ToUsual(), ids, values, [.. layout.Inputs.Select(input => inputs[input.Kind])]);
        bool legal = true;
        try
        {
            Parallel.ForEach(pieces.Pieces, new ParallelOptions { CancellationToken = cancellationToken }, (piece, state) =>
            {
                if (work.Read(piece))
                    return;
                legal = false;
                state.Stop();
            });
        }
        catch (AggregateException e) when (e.InnerExceptions.All(inner => inner is IOException or DecoderFallbackException))
        {
            return null;
        }

        return legal ? new CsvRows(ids, values, inputs, row => row + 2) : null;
    }

    /// <summary>Where the pieces of one file are read to; each row is written by one thread.</summary>
    private sealed class Work(SafeFileHandle file, CsvLayout layout, string[] ids, double[] values, double[][] inputs)
    {
        private readonly int[] _numbers = At(layout, layout.Columns.Where(column => column.Kind == FieldKind.Numeric).Select(column => (column.Index, column.Feature)));
        private readonly int[] _columns = At(layout, layout.Columns.Select((column, place) => (column.Index, place)));
        private readonly int[] _inputs = At(layout, layout.Inputs.Select((input, place) => (input.Index, place)));

        internal bool Read((long Start, long End, long Line) piece)
        {
            int length = checked((int)(piece.End - piece.Start));
            byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
            try
            {
                Span<byte> bytes = buffer.AsSpan(0, CsvPieces.Fill(file, buffer.AsSpan(0, length), piece.Start));
                ReadOnlySpan<byte> text = bytes;
                int at = 0;
                if (piece.Line == 0)
                {
                    int end = text.IndexOf((byte)'\n');
                    if (!IsHeader(end < 0 ? text : text[..end]))
                        return false;
                    at = end < 0 ? text.Length : end + 1;
                }

                layout.Dialect.ToUsual(bytes[at..]);

                for (long row = Math.Max(0, piece.Line - 1); at < text.Length; row++)
                {
                    int used = ReadRow((int)row, text[at..]);
                    if (used == 0)
                        return false;
                    at += used;
                }

                return true;
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }

        /// <summary>For every cell of a row what is known of it, or -1.</summary>
        private static int[] At(CsvLayout layout, IEnumerable<(int Index, int What)> known)
        {
            int[] cells = new int[layout.Header.Length];
            Array.Fill(cells, -1);
            foreach ((int index, int what) in known)
                cells[index] = what;
            return cells;
        }

        /// <summary>Whether the first line is the one that the general reader took the names from.</summary>
        private bool IsHeader(ReadOnlySpan<byte> text) =>
            StrictUtf8.Encoding.GetString(text.EndsWith("\r"u8) ? text[..^1] : text).TrimStart('\uFEFF').Split(layout.Dialect.Separator).Select(name => name.Trim()).SequenceEqual(layout.Header, StringComparer.Ordinal);

        /// <summary>Reads the row that a text begins with, and its line end; gives the bytes read, 0 when the general reader has to look.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]                                  // a large file is read before tiered compilation gets round to it
        private int ReadRow(int row, ReadOnlySpan<byte> text)
        {
            Span<double> features = values.AsSpan(row * layout.Width, layout.Width);
            int[] numbers = _numbers;
            int at = 0;
            for (int cell = 0; cell < numbers.Length; cell++)
            {
                byte separator = cell < numbers.Length - 1 ? (byte)',' : (byte)'\n';
                ReadOnlySpan<byte> rest = text[at..];
                int feature = numbers[cell];
                if (feature >= 0)
                {
                    // Finding the comma first would take as long again as reading the number.
                    int used = CsvNumber.Exact(rest, out features[feature]);
                    if (used > 0 && used < rest.Length && rest[used] == separator)
                    {
                        at += used + 1;
                        continue;
                    }
                }

                int length = rest.IndexOfAny((byte)',', (byte)'\n');
                bool ended = length < 0;                                                        // the last line need not end in a line feed
                length = ended ? rest.Length : length;
                if (ended ? separator != (byte)'\n' : rest[length] != separator)
                    return 0;
                ReadOnlySpan<byte> found = rest[..length];
                if (separator == (byte)'\n' && found.EndsWith("\r"u8))
                    found = found[..^1];
                if (!ReadCell(cell, row, found.Trim(" \t"u8), features))
                    return 0;
                at += ended ? length : length + 1;
            }

            return at;
        }

        private bool ReadCell(int cell, int row, ReadOnlySpan<byte> text, Span<double> features)
        {
            if (text.ContainsAnyInRange((byte)0, (byte)0x1F))                                    // a lone carriage return would be a line end
                return false;
            if (cell == layout.Ids[0])
                ids[row] = layout.Dialect.FromUsual(StrictUtf8.Encoding.GetString(text));
            if (_columns[cell] is >= 0 and int column)
                return layout.Columns[column].TryRead(text, features);
            return _inputs[cell] is not (>= 0 and int input)
                || (layout.Inputs[input].TryRead(text, out inputs[input][row]) && RowInputs.IsLegal(layout.Inputs[input].Kind, inputs[input][row], layout.LabelRange));
        }
    }
}
