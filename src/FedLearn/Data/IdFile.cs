using System.Text;
using System.Text.Unicode;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>Ids beside a file that has none.</summary>
internal static class IdFile
{
    /// <summary>Reads one id a line; lines end as those of a text file do on any system.</summary>
    /// <param name="path">The file.</param>
    /// <param name="rows">How many there have to be; null: as many as there are.</param>
    internal static PackedIds Read(string path, int? rows)
    {
        byte[] text;
        try
        {
            DataErrors.RefuseWithoutLength(path);
            text = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Unreadable(path, e);
        }

        ReadOnlySpan<byte> rest = text;
        if (rest.StartsWith(Encoding.UTF8.Preamble))
            rest = rest[Encoding.UTF8.Preamble.Length..];
        if (rest.StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]))
            throw CsvFile.Compressed(path);
        if (rest.StartsWith((ReadOnlySpan<byte>)[0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y']))
            throw DataErrors.Bad(DataErrors.MalformedCsv, path, "the file is a NumPy array, and ids are read from a text file.", "Write one id a line, without a header: numpy.savetxt('ids.txt', ids, fmt='%s').");
        if (!Utf8.IsValid(rest))
            throw DataErrors.Bad(DataErrors.MalformedCsv, path, "the text is no UTF-8.", "Save the file as UTF-8.");
        var ids = new PackedIds(rows ?? 0, rest.Length);
        while (!rest.IsEmpty)
        {
            int length = rest.IndexOfAny((byte)'\n', (byte)'\r');
            if (length < 0)
                length = rest.Length;
            ids.Add(rest[..length]);
            rest = rest[length..];
            rest = rest[(rest.StartsWith("\r\n"u8) ? 2 : Math.Min(1, rest.Length))..];
        }

        if (ids.Count > 0 && (rows is null || ids.Count == rows + 1) && ids.Utf8(ids.Count - 1).IsEmpty)                // a blank line at the end is no id
            ids.RemoveLast();
        return ids.Count == (rows ?? ids.Count)
            ? ids
            : throw DataErrors.Bad(DataErrors.WrongShape, path, $"there {Counted.Noun(ids.Count, "is", "are")} {ids.Count} {Counted.Noun(ids.Count, "id")} for {rows} {Counted.Noun(rows ?? 0, "row")}.", "Give one id a line, without a header.");
    }
}
