using System.Text;

namespace FedLearn.Data;

/// <summary>What separates the cells of a CSV file, and what stands before decimals.</summary>
internal sealed record CsvDialect
{
    /// <summary>What may separate cells.</summary>
    internal const string Separators = ",;\t|";

    private readonly byte[]? _map;

    private CsvDialect(char separator, char mark)
    {
        (Separator, Mark) = (separator, mark);
        if (this is { Separator: ',', Mark: '.' })
            return;
        _map = [.. Enumerable.Range(0, 256).Select(value => (byte)value)];
        _map[separator] = (byte)',';
        if (mark == ',')
            _map[','] = (byte)'.';
        // The map has to be one to one, so the character whose place was taken gets the separator's. A tab would count as white space there, so it becomes a control character, at which the fast reader gives up.
        _map[Displaced] = separator == '\t' ? (byte)1 : (byte)separator;
    }

    /// <summary>Commas between cells, points before decimals.</summary>
    internal static CsvDialect Usual { get; } = new(',', '.');

    internal char Separator { get; }

    internal char Mark { get; }

    /// <summary>Whether a file of this dialect is the usual one.</summary>
    internal bool IsUsual => _map is null;

    private char Displaced => Mark == ',' ? '.' : ',';

    /// <summary>The dialect that a source says its file has.</summary>
    /// <exception cref="Diagnostics.ConfigurationException">Such files are not read (FL2207).</exception>
    internal static CsvDialect Of(TableSource source) => Of(source.Path, source.Separator, source.DecimalMark, "Name the separator of the file, such as \";\", or leave the decimal mark out.");

    /// <summary>The dialect of a file that needs two columns: another separator where the first line has one, and no comma.</summary>
    /// <param name="path">The file.</param>
    /// <param name="mark">What stands before decimals.</param>
    /// <exception cref="Diagnostics.ConfigurationException">Such files are not read (FL2207).</exception>
    internal static CsvDialect OfFirstLine(string path, char mark = '.') =>
        Of(path, CsvFile.FirstLine(path) is { } line && SeparatorOf(line) is { } separator ? separator : ',', mark, "Leave the decimal mark out, or save the file with semicolons between cells.");

    private static CsvDialect Of(string path, char separator, char mark, string otherComma)
    {
        if (separator == ',' && mark == '.')
            return Usual;
        if (!Separators.Contains(separator, StringComparison.Ordinal) || mark is not ('.' or ','))
        {
            throw DataErrors.Config(DataErrors.UnsuitableSource, path, "the separator is no comma, semicolon, tab or vertical bar, or the decimal mark neither a point nor a comma.",
                "Use one of these, or save the file anew.");
        }

        return separator != mark ? new CsvDialect(separator, mark) : throw DataErrors.Config(DataErrors.UnsuitableSource, path, "cells and decimals cannot both have the comma.", otherComma);
    }

    /// <summary>What else seems to separate the cells of a line without this dialect's separator; null for nothing.</summary>
    internal char? OtherSeparator(string line) => line.Contains(Separator, StringComparison.Ordinal) ? null : SeparatorOf(line, Separators.Replace($"{Separator}", "", StringComparison.Ordinal));

    private static char? SeparatorOf(string line, string among = ";\t|") =>
        line.Contains(',', StringComparison.Ordinal) && !among.Contains(',', StringComparison.Ordinal) ? null
        : line.IndexOfAny(among.ToCharArray()) is >= 0 and int at ? line[at] : null;

    /// <summary>Words for a separator.</summary>
    internal static string Named(char separator) => separator switch { ';' => "semicolons", '\t' => "tabs", '|' => "vertical bars", _ => "commas" };

    /// <summary>One of it.</summary>
    internal static string NamedOne(char separator) => Named(separator)[..^1];

    /// <summary>How it is written in a run file.</summary>
    internal static string Written(char separator) => separator == '\t' ? "\"\\t\"" : $"\"{separator}\"";

    /// <summary>A cell of a number with a point before decimals. A point in it becomes what no number holds.</summary>
    internal ReadOnlySpan<byte> Number(ReadOnlySpan<byte> cell)
    {
        if (Mark == '.' || !cell.ContainsAny((byte)',', (byte)'.'))
            return cell;
        byte[] number = new byte[cell.Length];
        for (int i = 0; i < number.Length; i++)
            number[i] = cell[i] switch { (byte)',' => (byte)'.', (byte)'.' => (byte)',', byte other => other };
        return number;
    }

    /// <summary>Turns lines without quotes into those that the fast reader knows. Nothing is lost: characters change places, and those of a text are put back.</summary>
    internal void ToUsual(Span<byte> text)
    {
        if (_map is not { } map)
            return;
        for (int i = 0; i < text.Length; i++)
            text[i] = map[text[i]];
    }

    /// <summary>A text as the fast reader finds it.</summary>
    internal byte[] ToUsual(byte[] text)
    {
        byte[] usual = [.. text];
        ToUsual(usual.AsSpan());
        return usual;
    }

    /// <summary>A cell of text that the fast reader found, as it is in the file.</summary>
    internal string FromUsual(string cell)
    {
        if (IsUsual || cell.AsSpan().IndexOfAny(Separator, '.') < 0)
            return cell;
        var text = new StringBuilder(cell.Length);
        foreach (char c in cell)
            text.Append(c == Separator ? Displaced : c == '.' && Mark == ',' ? ',' : c);
        return text.ToString();
    }
}
