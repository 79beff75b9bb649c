using System.Text;
using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Data;

public sealed class DssmHashTests
{
    private static List<ulong> Ngrams(string text, int length)
    {
        var hashes = new List<ulong>();
        DssmHash.Ngrams(text, length, hashes);
        return hashes;
    }

    [Theory]                                                                     // test vectors of the authors of FNV
    [InlineData("", 0xCBF29CE484222325)]
    [InlineData("a", 0xAF63DC4C8601EC8C)]
    [InlineData("foobar", 0x85944171F73967E8)]
    public void Fnv1a_KnownTexts_Match(string text, ulong expected) => Assert.Equal(expected, DssmHash.Fnv1a(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("Toy Story", 3, "#to toy oy# #st sto tor ory ry#")]
    [InlineData("L'\u00C9t\u00E9 (2)", 3, "#l# #\u00E9t \u00E9t\u00E9 t\u00E9# #2#")]
    [InlineData("E\u0301", 3, "#\u00E9#")]                                       // normal form C
    [InlineData("A Bc", 4, "#a# #bc#")]                                          // a word shorter than an n-gram is one entry
    [InlineData("Ab", 1, "# a b #")]
    [InlineData(" -!# ", 3, "")]
    public void Ngrams_Texts_AreThoseOfPaddedWords(string text, int length, string expected) =>
        Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(gram => DssmHash.Fnv1a(Encoding.UTF8.GetBytes(gram))), Ngrams(text, length));

    [Fact]
    public void Words_BlanksAndBars_Separate()
    {
        var hashes = new List<ulong>();
        DssmHash.Words(" New York|\u00E9|  ", hashes);
        Assert.Equal(new[] { "New", "York", "\u00E9" }.Select(word => DssmHash.Fnv1a(Encoding.UTF8.GetBytes(word))), hashes);
    }

    // Entries that share a bucket under one function must not share all: with FNV-1a of longer texts they would, the buckets being a power of two.
    [Fact]
    public void Bucket_FurtherFunction_SeparatesWhatTheFirstDoesNot()
    {
        ulong[] hashes = [.. Enumerable.Range(0, 4000).Select(i => DssmHash.Fnv1a(Encoding.ASCII.GetBytes($"word{i}")))];
        ulong[] together = [.. hashes.Where(hash => DssmHash.Bucket(hash, 0, 16) == 3)];
        int[] counts = new int[16];
        foreach (ulong hash in together)
            counts[DssmHash.Bucket(hash, 1, 16)]++;
        Assert.InRange(together.Length, 150, 350);
        Assert.All(counts, count => Assert.InRange(count, 1, together.Length / 5));
    }
}
