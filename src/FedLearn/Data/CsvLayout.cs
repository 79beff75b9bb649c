using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Text;

namespace FedLearn.Data;

/// <summary>Which cell of a row goes where.</summary>
/// <param name="Header">Names of all cells of a row, in order.</param>
/// <param name="Ids">Places of the columns of the id, at least one.</param>
/// <param name="Inputs">Cells beside the features.</param>
/// <param name="Columns">Cells that become features.</param>
/// <param name="Width">Number of features.</param>
/// <param name="LabelRange">Declared range of the label, or null.</param>
/// <param name="Dialect">How the file is written.</param>
internal sealed record CsvLayout(string[] Header, int[] Ids, CsvInput[] Inputs, CsvColumn[] Columns, int Width, (double Low, double High)? LabelRange, CsvDialect Dialect)
{
    /// <summary>The layout with the texts that the fast reader looks for.</summary>
    internal CsvLayout ToUsual() => Dialect.IsUsual ? this : this with
    {
        Columns = [.. Columns.Select(column => column with { Values = [.. column.Values.Select(Dialect.ToUsual)] })],
        Inputs = [.. Inputs.Select(input => input with { Words = [.. input.Words.Select(Dialect.ToUsual)] })],
    };
}

/// <summary>A cell beside the features.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Name">Name in the header.</param>
/// <param name="Index">Place in the row.</param>
/// <param name="Words">UTF-8 of the words that stand for 0, 1 and so on; none where the cell is a number.</param>
internal sealed record CsvInput(RowInputKind Kind, string Name, int Index, byte[][] Words)
{
    /// <summary>Reads a cell; false for one that is not legal.</summary>
    internal bool TryRead(ReadOnlySpan<byte> text, out double value)
    {
        if (Words.Length == 0)
            return CsvNumber.TryParse(text, out value);
        value = CsvColumn.PlaceOf(Words, text);
        return value >= 0;
    }
}

/// <summary>A cell that becomes one feature or several.</summary>
/// <param name="Name">Name in the header.</param>
/// <param name="Index">Place in the row.</param>
/// <param name="Feature">First feature that it fills.</param>
/// <param name="Kind">How it is read.</param>
/// <param name="Values">UTF-8 of the categories.</param>
/// <param name="Missing">What stands for a missing value: a number, or the place of a category; null: it is refused.</param>
/// <param name="Base">Place of the category that fills no feature; null: there is none.</param>
internal sealed record CsvColumn(string Name, int Index, int Feature, FieldKind Kind, byte[][] Values, double? Missing, int? Base = null)
{
    /// <summary>Fills the features of a row; false for a cell that is not legal.</summary>
    internal bool TryRead(ReadOnlySpan<byte> text, Span<double> features)
    {
        if (Kind == FieldKind.Category)
        {
            int category = CategoryOf(text);
            if (category < 0)
                return false;
            features.Slice(Feature, Values.Length - (Base is null ? 0 : 1)).Clear();
            if (category != Base)
                features[Feature + category - (category > Base ? 1 : 0)] = 1;
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
    private int CategoryOf(ReadOnlySpan<byte> text) =>
        PlaceOf(Values, text) is >= 0 and int place ? place : Missing is { } missing && CsvNumber.IsMissing(text) ? (int)missing : -1;

    /// <summary>Place of a text among some, -1 for none.</summary>
    internal static int PlaceOf(byte[][] values, ReadOnlySpan<byte> text)
    {
        for (int i = 0; i < values.Length; i++)
        {
            if (text.SequenceEqual(values[i]))
                return i;
        }

        return -1;
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
    /// <remarks>Many times faster than double.Parse, and as exact: whole numbers up to 2^53 and powers of ten up to 1e22 are float64 numbers, so that
    /// the division rounds correctly (Clinger, PLDI 1990, section 3).</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static int Exact(ReadOnlySpan<byte> text, out double value)
    {
        if (text.Length > Vector128<byte>.Count)
        {
            int used = ExactShort(ref MemoryMarshal.GetReference(text), out value);
            if (used > 0)
                return used;
        }

        return ExactLong(text, out value);
    }

    /// <summary>Reads up to 15 digits without a loop or a branch on their number.</summary>
    /// <param name="text">The first of at least 17 bytes.</param>
    /// <param name="value">The number, when it ends within its first 16 bytes after a sign.</param>
    /// <returns>How many bytes were read; 0 for no number, or a longer one.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int ExactShort(ref byte text, out double value)
    {
        unchecked
        {
            int sign = text == (byte)'-' ? 1 : 0;
            Vector128<byte> digits = Vector128.LoadUnsafe(ref text, (nuint)sign) - Vector128.Create((byte)'0');
            uint others = Vector128.GreaterThan(digits, Vector128.Create((byte)9)).ExtractMostSignificantBits();
            int point = BitOperations.TrailingZeroCount(others), end = point, fraction = 0;
            if (others != 0 && Unsafe.Add(ref text, sign + point) == (byte)'.')
            {
                others &= others - 1;
                end = BitOperations.TrailingZeroCount(others);
                fraction = end - point - 1;
            }

            if (others == 0 || end - (end > point ? 1 : 0) == 0)
            {
                value = 0;
                return 0;
            }

            // Where each place of a vector comes from in which the digits stand at the end: those before the point move one place further than those behind it. Places before the first digit become 0.
            Vector128<sbyte> from = Vector128<sbyte>.Indices + Vector128.Create((sbyte)(end - Vector128<byte>.Count));
            if (end > point)
                from += Vector128.LessThanOrEqual(from, Vector128.Create((sbyte)point));
            // Exact, since fifteen digits are below 2^53.
            value = (double)(long)FifteenDigits(digits, from.AsByte()) / PowersOfTen[fraction];
            value = BitConverter.Int64BitsToDouble(BitConverter.DoubleToInt64Bits(value) | ((long)sign << 63));
            return sign + end;
        }
    }

    /// <summary>The number of the digits at some places, most significant first; a place beyond the vector has 0. Pairs, fours, eights, and all of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong FifteenDigits(Vector128<byte> digits, Vector128<byte> places)
    {
        unchecked
        {
            if (Sse41.IsSupported)
            {
                Vector128<short> pairs = Ssse3.MultiplyAddAdjacent(Ssse3.Shuffle(digits, places), Vector128.Create(0x010A_010A_010A_010AUL).AsSByte());
                Vector128<int> fours = Sse2.MultiplyAddAdjacent(pairs, Vector128.Create(0x0001_0064_0001_0064UL).AsInt16());
                ulong halves = Sse2.MultiplyAddAdjacent(Sse41.PackUnsignedSaturate(fours, fours).AsInt16(), Vector128.Create(0x0001_2710_0001_2710UL).AsInt16()).AsUInt64().ToScalar();
                return ((halves & uint.MaxValue) * 100_000_000) + (halves >> 32);
            }

            Vector128<ulong> parts = Vector128.Shuffle(digits, places).AsUInt64();
            return (EightDigits(parts[0]) * 100_000_000) + EightDigits(parts[1]);
        }
    }

    /// <summary>The number of eight decimal digits, one a byte, the first in the lowest byte: pairs, fours, and all of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong EightDigits(ulong digits)
    {
        unchecked
        {
            const ulong pairs = 0x00FF00FF00FF00FF, fours = 0x0000FFFF0000FFFF;
            digits = ((digits * 10) + (digits >> 8)) & pairs;
            digits = ((digits * 100) + (digits >> 16)) & fours;
            return ((digits * 10_000) + (digits >> 32)) & uint.MaxValue;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ExactLong(ReadOnlySpan<byte> text, out double value)
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
