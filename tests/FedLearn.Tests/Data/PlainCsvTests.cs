using System.Globalization;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Data;

/// <summary>Files without quotes are read several pieces at a time, all others the general way: the same cells, with one quoted, are the reference.</summary>
public sealed class PlainCsvTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private Table Load(string csv) => Table.Load(new TableSource { Path = _folder.Write("t.csv", csv), Label = "y", Weight = "w" }, needLabel: true);

    [Fact]
    public void TryParse_ShortNumbers_EqualTheRuntimesParser() => Check.QuickThrowOnFailure(Prop.ForAll(
        (from sign in Gen.Elements("", "-")
         from whole in Gen.Choose(0, 9).Select(digit => (char)('0' + digit)).ArrayOf()
         from point in Gen.Elements("", ".")
         from fraction in Gen.Choose(0, 9).Select(digit => (char)('0' + digit)).ArrayOf()
         from exponent in Gen.Elements("", "", "", "e5", "E-7", "e+300", "e-320")
         select sign + new string(whole) + point + new string(fraction) + exponent).ToArbitrary(), text =>
    {
        bool expected = double.TryParse(text, NumberStyles.Float & ~NumberStyles.AllowLeadingWhite & ~NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out double value);
        expected &= double.IsFinite(value);
        bool read = CsvNumber.TryParse(Encoding.ASCII.GetBytes(text), out double actual);
        return read == expected && (!read || BitConverter.DoubleToInt64Bits(actual) == BitConverter.DoubleToInt64Bits(value));
    }));

    /// <summary>Within a line up to 15 digits are read at once: every number of digits, before and after a point, and whatever follows.</summary>
    [Fact]
    public void Exact_NumbersWithinALine_EqualTheRuntimesParser()
    {
        var random = new Random(3);
        for (int i = 0; i < TestCounts.Of(20_000); i++)
        {
            int whole = random.Next(18), fraction = random.Next(18);
            string Digits(int count) => string.Concat(Enumerable.Range(0, count).Select(_ => (char)('0' + random.Next(random.Next(4) == 0 ? 1 : 10))));
            string number = (random.Next(2) == 0 ? "-" : "") + Digits(whole) + (random.Next(3) > 0 ? "." + Digits(fraction) : "");
            foreach (string after in (string[])[",1.5,-2.25,3,4,5,6,7", "\n1,2,3,4,5,6,7,8,9,0", "\r\n.1.2.3.4.5.6.7.8.9", "e5,9999999999999999", ".5.5.5.5.5.5.5.5.5.5", "x0000000000000000000"])
            {
                int used = CsvNumber.Exact(Encoding.ASCII.GetBytes(number + after), out double actual);
                if (used == 0 || (used != number.Length && number.Contains('.', StringComparison.Ordinal)))
                {
                    // The general way has to look: there are too many digits, or none.
                    Assert.True(used == 0 && (number.Count(char.IsAsciiDigit) is 0 or > 15 || after[0] == '.'), number + after);
                    continue;
                }

                double expected = double.Parse((number + after)[..used], CultureInfo.InvariantCulture);
                Assert.True(BitConverter.DoubleToInt64Bits(expected) == BitConverter.DoubleToInt64Bits(actual), $"{number}{after}: {actual:R}");
                Assert.Equal(number.Length + (used > number.Length ? after.Skip(1).TakeWhile(char.IsAsciiDigit).Count() + 1 : 0), used);
            }
        }
    }

    [Theory]
    [InlineData("9007199254740993")]                                                             // 2^53 + 1: half way between two float64
    [InlineData("0.10000000000000000555111512312578270")]
    [InlineData("123456789.123456789")]
    [InlineData("0.0000000000000000000000000000001")]
    [InlineData("18446744073709551616")]
    [InlineData("-0")]
    [InlineData("00000000000000000000012.5")]
    [InlineData("4.9406564584124654e-324")]
    public void TryParse_HardNumber_IsCorrectlyRounded(string text)
    {
        Assert.True(CsvNumber.TryParse(Encoding.ASCII.GetBytes(text), out double value));
        Assert.Equal(BitConverter.DoubleToInt64Bits(double.Parse(text, CultureInfo.InvariantCulture)), BitConverter.DoubleToInt64Bits(value));
    }

    [Theory]
    [InlineData("")]
    [InlineData("-")]
    [InlineData(".")]
    [InlineData("-.")]
    [InlineData("1.2.3")]
    [InlineData("--1")]
    [InlineData("1-")]
    [InlineData("1,5")]
    [InlineData(" 1")]
    [InlineData("1e999")]
    [InlineData("0x10")]
    [InlineData("nan")]
    [InlineData("e5")]
    public void TryParse_NoNumber_Refused(string text) => Assert.False(CsvNumber.TryParse(Encoding.ASCII.GetBytes(text), out _));

    /// <summary>Several pieces of a megabyte, with lines of very different length across their ends.</summary>
    private static string Large(int rows, int columns, string ending, bool quoted)
    {
        var random = new Random(5);
        var text = new StringBuilder("id,y,w," + string.Join(',', Enumerable.Range(0, columns).Select(j => $"x{j}")) + ending);
        for (int i = 0; i < rows; i++)
        {
            string id = "é" + i + new string('z', random.Next(200) == 0 ? random.Next(5000) : 0);
            text.Append(quoted ? $"\"{id}\"" : id).Append(CultureInfo.InvariantCulture, $",{i % 2},{random.Next(5)}");
            for (int j = 0; j < columns; j++)
                text.Append(CultureInfo.InvariantCulture, $", {((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-6, 7))).ToString(random.Next(3) == 0 ? "R" : "0.###", CultureInfo.InvariantCulture)}");
            text.Append(ending);
        }

        return text.ToString();
    }

    [Theory]
    [InlineData("\n", true)]
    [InlineData("\r\n", true)]
    [InlineData("\n", false)]
    public void Load_ManyPieces_EqualsTheGeneralReader(string ending, bool lastLineEnds)
    {
        string plain = Large(20_000, 20, ending, quoted: false), quoted = Large(20_000, 20, ending, quoted: true);
        Assert.True(plain.Length > 3_000_000);
        Table expected = Load(quoted), actual = Load(lastLineEnds ? plain : plain[..^ending.Length]);
        Assert.Equal(expected.Ids, actual.Ids);
        Assert.Equal(expected.Values.Values, actual.Values.Values);
        Assert.Equal(expected.Labels!, actual.Labels!);
        Assert.Equal(expected.Weights!, actual.Weights!);
        foreach (int row in (int[])[0, 1, 9_999, 19_999])
            Assert.Equal(expected.PlaceOf(row), actual.PlaceOf(row));
    }

    [Fact]
    public void Load_FaultsInSeveralPieces_NamesTheFirst()
    {
        string[] lines = Large(20_000, 20, "\n", quoted: false).Split('\n');
        foreach (int line in (int[])[19_000, 12_345, 17_001])
            lines[line] += "x987";
        ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 12346, column 'x19'", "987", () => Load(string.Join('\n', lines)));
        lines[7_000] = "";                                                                       // an empty line is passed over, and counts
        ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 12346, column 'x19'", "987", () => Load(string.Join('\n', lines)));
        lines[11_111] = "more,cells";
        ErrorAssert.Throws<BadInputException>(DataErrors.RaggedRow, "line 11112", null, () => Load(string.Join('\n', lines)));
    }

    [Fact]
    public void Load_LineLongerThanAPiece_IsRead()
    {
        string id = new('q', 3_000_000);
        Table table = Load($"id,y,w,a\np,1,1,2\n{id},0,3,4\nr,1,5,6\n");
        Assert.Equal(["p", id, "r"], table.Ids);
        Assert.Equal([2, 4, 6], table.Values.Values);
    }
}
