using System.Globalization;
using FedLearn.Transport.Grpc.Rpc;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Conformance.Tests;

public sealed class HeaderTextTests
{
    [Theory]
    [InlineData("plain text", "plain text")]
    [InlineData("100%", "100%25")]
    [InlineData("Straße\n", "Stra%C3%9Fe%0A")]
    [InlineData("", "")]
    public void Encode_KnownText_MatchesTheProtocol(string text, string expected)
    {
        Assert.Equal(expected, HeaderText.Encode(text));
        Assert.Equal(text, HeaderText.Decode(expected));
    }

    [Theory]
    [InlineData("50% off", "50% off")]
    [InlineData("%", "%")]
    [InlineData("%4", "%4")]
    [InlineData("%zz%41", "%zzA")]
    public void Decode_WrongEscapes_StayAsTheyAre(string encoded, string expected) => Assert.Equal(expected, HeaderText.Decode(encoded));

    [Fact]
    public void EncodeThenDecode_AnyText_IsTheSameAndAscii() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<UnicodeString>(), text =>
    {
        string plain = text.Item is { } t && !t.Any(char.IsSurrogate) ? t : ""; // half a surrogate pair is no text
        string encoded = HeaderText.Encode(plain);
        return HeaderText.Decode(encoded) == plain && encoded.All(c => c is >= ' ' and <= '~');
    }));

    [Theory]
    [InlineData("1H", 3600)]
    [InlineData("2M", 120)]
    [InlineData("5S", 5)]
    [InlineData("250m", 0.25)]
    [InlineData("100u", 0.0001)]
    [InlineData("1000n", 0.000001)]
    [InlineData("99999999H", 30 * 86400)] // read as a month
    public void TryParseTimeout_ValidText_IsRead(string text, double seconds)
    {
        Assert.True(HeaderText.TryParseTimeout(text, out TimeSpan time));
        Assert.Equal(TimeSpan.FromSeconds(seconds), time);
    }

    [Theory]
    [InlineData("")]
    [InlineData("S")]
    [InlineData("5")]
    [InlineData("5s")]
    [InlineData("-5S")]
    [InlineData("5.0S")]
    [InlineData("123456789S")]
    public void TryParseTimeout_WrongText_IsRefused(string text) => Assert.False(HeaderText.TryParseTimeout(text, out _));

    [Theory]
    [InlineData(0.001, "1000u")]
    [InlineData(60, "60000000u")]
    [InlineData(99.9999985, "99999999u")]
    [InlineData(99.9999995, "100000m")] // 99,999,999.5 microseconds rounded up have nine digits
    [InlineData(86400, "86400000m")]
    [InlineData(1e9, "16666667M")]
    public void FormatTimeout_Time_FitsInEightDigitsAndIsNotShorter(double seconds, string expected)
    {
        string text = HeaderText.FormatTimeout(TimeSpan.FromSeconds(seconds));
        Assert.Equal(expected, text);
        Assert.True(long.Parse(text[..^1], CultureInfo.InvariantCulture) <= 99_999_999);
    }

    [Theory]
    [InlineData("FL4001", true)]
    [InlineData("FL1001", false)]
    [InlineData("FL40011", false)]
    [InlineData("FL40x1", false)]
    [InlineData("", false)]
    [InlineData(null, false)]
    public void IsErrorId_Text_IsRecognised(string? text, bool expected) => Assert.Equal(expected, HeaderText.IsErrorId(text));
}
