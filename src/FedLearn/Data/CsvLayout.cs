using System.Buffers;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace FedLearn.Data;

/// <summary>Which cell of a row goes where.</summary>
/// <param name="Header">Names of all cells of a row, in order.</param>
/// <param name="Ids">Places of the columns of the id, at least one.</param>
/// <param name="Inputs">Cells beside the features.</param>
/// <param name="Columns">Cells that become features.</param>
/// <param name="Width">Number of features.</param>
/// <param name="LabelRange">Declared range of the label, or null.</param>
internal sealed record CsvLayout(string[] Header, int[] Ids, CsvInput[] Inputs, CsvColumn[] Columns, int Width, (double Low, double High)? LabelRange);

/// <summary>A cell beside the features.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Name">Name in the header.</param>
/// <param name="Index">Place in the row.</param>
internal sealed record CsvInput(RowInputKind Kind, string Name, int Index);

/// <summary>A cell that becomes one feature or several.</summary>
/// <param name="Name">Name in the header.</param>
/// <param name="Index">Place in the row.</param>
/// <param name="Feature">First feature that it fills.</param>
/// <param name="Kind">How it is read.</param>
/// <param name="Values">UTF-8 of the categories.</param>
/// <param name="Missing">What stands for a missing value: a number, or the place of a category; null: it is refused.</param>
internal sealed record CsvColumn(string Name, int Index, int Feature, FieldKind Kind, byte[][] Values, double? Missing)
{
    /// <summary>Fills the features of a row; false for a cell that is not legal.</summary>
    internal bool TryRead(ReadOnlySpan<byte> text, Span<double> features)
    {
        if (Kind == FieldKind.Category)
        {
            int category = CategoryOf(text);
            if (category < 0)
                return false;
            features.Slice(Feature, Values.Length).Clear();
            features[Feature + category] = 1;
            return true;
        }

        if (!CsvNumber.TryParse(text, out double value))
        {
            if (Missing is null || !CsvNumber.IsMissing(text))
                return false;
            value = Missing.Value;
        }

        features[Feature] = value;
        return Kind != FieldKind.OneHot || value is 0 or 1;
    }

    /// <summary>Place of a cell's category, -1 for none. A listed value is itself, even where it looks like a missing one.</summary>
    private int CategoryOf(ReadOnlySpan<byte> text)
    {
        for (int i = 0; i < Values.Length; i++)
        {
            if (text.SequenceEqual(Values[i]))
                return i;
        }

        return Missing is { } missing && CsvNumber.IsMissing(text) ? (int)missing : -1;
    }
}

/// <summary>Numbers as text: digits, a point, signs and an exponent; nothing between thousands, no blanks, no words.</summary>
internal static class CsvNumber
{
    private const ulong LargestExact = 1UL << 53;

    private const NumberStyles Styles = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;

    private static readonly SearchValues<byte> Bytes = SearchValues.Create("0123456789.+-eE"u8);

    private static ReadOnlySpan<double> PowersOfTen =>
        [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

    /// <summary>Reads a finite number, correctly rounded; false for anything else.</summary>
    internal static bool TryParse(ReadOnlySpan<byte> text, out double value)
    {
        if (!text.IsEmpty && Exact(text, out value) == text.Length)
            return true;
        value = 0;
        return !text.ContainsAnyExcept(Bytes)
            && double.TryParse(text, Styles, CultureInfo.InvariantCulture, out value)
            && double.IsFinite(value);
    }

    /// <summary>Whether a cell says that its value is missing. Exactly these words, since a misspelt one may be a value.</summary>
    internal static bool IsMissing(ReadOnlySpan<byte> text) => text.IsEmpty || text.SequenceEqual("NA"u8) || text.SequenceEqual("NaN"u8)
        || text.SequenceEqual("nan"u8) || text.SequenceEqual("null"u8) || text.SequenceEqual("?"u8);

    /// <summary>Whether a text that is no finite number is NaN, infinite, or a number beyond float64.</summary>
    internal static bool IsNotFinite(ReadOnlySpan<byte> text)
    {
        if (!text.ContainsAnyExcept(Bytes) && double.TryParse(text, Styles, CultureInfo.InvariantCulture, out _))
            return true;
        if (!text.IsEmpty && text[0] is (byte)'+' or (byte)'-')
            text = text[1..];
        return Ascii.EqualsIgnoreCase(text, "nan"u8) || Ascii.EqualsIgnoreCase(text, "inf"u8) || Ascii.EqualsIgnoreCase(text, "infinity"u8);
    }

    /// <summary>Reads the digits, with a sign before and a point among them, that a text begins with, where one division gives their value.</summary>
    /// <returns>How many bytes were read; 0 when the general way has to look, and the value means nothing.</returns>
    /// <remarks>Several times faster than double.Parse, and as exact: whole numbers up to 2^53 and powers of ten up to 1e22 are float64 numbers, so that
    /// the division rounds correctly (Clinger, PLDI 1990, section 3).</remarks>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static int Exact(ReadOnlySpan<byte> text, out double value)
    {
        unchecked
        {
            ulong digits = 0;
            int sign = text.Length > 0 && text[0] == (byte)'-' ? 1 : 0, i = sign, point = 0;
            for (; i < text.Length; i++)
            {
                uint digit = text[i] - (uint)'0';
                if (digit <= 9)
                    digits = (digits * 10) + digit;                                             // 19 digits cannot overflow; more are not used
                else if (text[i] == (byte)'.' && point == 0)
                    point = i + 1;
                else
                    break;
            }

            value = digits;
            if (point > 0)
                value /= PowersOfTen[Math.Min(i - point, PowersOfTen.Length - 1)];
            if (sign > 0)
                value = -value;
            return i - sign - (point > 0 ? 1 : 0) is > 0 and <= 19 && digits <= LargestExact ? i : 0;
        }
    }
}
