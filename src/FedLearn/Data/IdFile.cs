using System.Text;

namespace FedLearn.Data;

/// <summary>Ids beside a file that has none.</summary>
internal static class IdFile
{
    /// <summary>Reads one id a line.</summary>
    /// <param name="path">The file.</param>
    /// <param name="rows">How many there have to be; null: as many as there are.</param>
    internal static string[] Read(string path, int? rows)
    {
        string[] ids;
        try
        {
            ids = File.ReadAllLines(path, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true));
        }
        catch (DecoderFallbackException e)
        {
            throw DataErrors.Bad(DataErrors.MalformedCsv, path, "the text is no UTF-8.", "Save the file as UTF-8.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw DataErrors.Bad(DataErrors.FileUnreadable, path, "the file cannot be read.", "Correct the path, or make the file readable.", e);
        }

        if (ids.Length > 0 && (rows is null || ids.Length == rows + 1) && string.IsNullOrWhiteSpace(ids[^1]))                // a blank line at the end is no id
            ids = ids[..^1];
        return ids.Length == (rows ?? ids.Length)
            ? ids
            : throw DataErrors.Bad(DataErrors.WrongShape, path, $"there are {ids.Length} ids for {rows} rows.", "Give one id a line, without a header.");
    }
}
