using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Data;

public sealed class RowIdsTests
{
    [Theory]
    [InlineData(" a b\t", "a b")]
    [InlineData("\u00A0x\u2003", "x")]
    [InlineData("e\u0301", "é")]
    [InlineData("\u212B", "Å")]                                              // Angstrom sign: a singleton
    [InlineData("q\u0307\u0323", "q\u0323\u0307")]                           // marks in the order of their classes
    [InlineData("\u1112\u1161\u11AB", "한")]
    [InlineData("\u0958", "\u0915\u093C")]                                   // excluded from composition
    [InlineData("", "")]
    public void Normalize_KnownText_TrimmedAndComposed(string id, string expected) => Assert.Equal(expected, RowIds.Normalize(id));

    // The digests are of the UTF-8 of Python's unicodedata.normalize("NFC", text), a line feed after each text.
    // A table has millions of ids, and each is normalised more than once.
    [Fact]
    public void Normalize_AsciiId_AllocatesNothing()
    {
        string id = RowIds.Normalize("customer-0001");
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            id = RowIds.Normalize(id);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void NormalForm_EveryCharacter_MatchesPython() => AssertDigest("9cc65524a9d8082bf10840c616cd199bd2ac12ee49a3381bd6fb7957711f342b", Characters());

    [Fact]
    public void NormalForm_BaseAndTwoMarks_MatchesPython() => AssertDigest("06604d76b04ae796a8637f7234dd667d3ff4786ad1e188f14ef3df19b2194b06",
        from letter in "aeiouAEIOUcnszСиеуαηω" from mark in Marks() from second in "\u0301\u0323\u0345" select $"{letter}{mark}{second}");

    private static IEnumerable<string> Characters() =>
        from code in Enumerable.Range(0, 0x110000) where code is < 0xD800 or > 0xDFFF select char.ConvertFromUtf32(code);

    private static IEnumerable<string> Marks() => Characters().Where(mark => NormalFormC.ClassOf(char.ConvertToUtf32(mark, 0)) != 0);

    private static void AssertDigest(string expected, IEnumerable<string> texts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string text in texts)
            hash.AppendData(Encoding.UTF8.GetBytes(NormalFormC.Of(text) + "\n"));
        Assert.Equal(expected, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    [Fact]
    public void Normalize_Twice_ChangesNothing() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<UnicodeString>(), text =>
    {
        string valid = new([.. text.Get.Where(c => !char.IsSurrogate(c))]);
        return RowIds.Normalize(RowIds.Normalize(valid)) == RowIds.Normalize(valid);
    }));

    [Fact]
    public void Normalize_HalfSurrogatePair_Refused() => Assert.Throws<ArgumentException>(() => RowIds.Normalize("a\uD800b"));

    [Theory]                                                                 // from Python: sha256(struct.pack("<q", seed) + id.encode())
    [InlineData("p000123", 0, "38f88951a14b79ba6dc97b447a66f96b682d2ba63538fd17363d31d1d4910607")]
    [InlineData("p000123", -2, "39997e0eb7aaaf7d5e325c9a5d826190a73019e73eeb4e9b67f4b1f28fcd2b98")]
    [InlineData("é", 7, "bbddef6f7a19620ece952d9c3e292426f5edb307c7387853e83a1eb83986bb56")]
    public void Digest_KnownId_MatchesPython(string id, long seed, string expected) =>
        Assert.Equal(expected, Convert.ToHexStringLower(RowIds.Digest(id, seed)));

    [Fact]
    public void Order_RandomIds_EqualsSlowSort() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<int>(), ArbMap.Default.ArbFor<ushort>(), (seed, count) =>
    {
        string[] ids = [.. Enumerable.Range(0, count % 50).Select(i => $"id{i * 17 % 50}")];
        SortedRows fast = RowIds.Order(ids, seed);
        int[] slow = [.. Enumerable.Range(0, ids.Length).OrderBy(i => Convert.ToHexString(RowIds.Digest(ids[i], seed)), StringComparer.Ordinal)];
        return fast.Rows.SequenceEqual(slow) && fast.Digests.SequenceEqual(slow.SelectMany(row => RowIds.Digest(ids[row], seed)));
    }));

    [Fact]
    public void Order_IdsOfATable_AreHashedOnAllThreadsToTheSameOrder()
    {
        PackedIds packed = PackedIds.Numbers(10_001);
        SortedRows threads = RowIds.Order(packed, -3), one = RowIds.Order([.. packed.Select(id => id + " ")], -3);
        Assert.Equal(one.Rows, threads.Rows);
        Assert.Equal(one.Digests, threads.Digests);
    }

    [Fact]
    public void Order_EqualDigests_KeepsRowOrder() => Assert.Equal([0, 1, 2], RowIds.Order(["a", " a", "a "], 3).Rows);

    [Fact]
    public void Order_NoIds_IsEmpty() => Assert.Empty(RowIds.Order([], 3).Rows);

    [Fact]
    public void Order_OtherSeed_GivesAnotherOrder()
    {
        string[] ids = [.. Enumerable.Range(0, 100).Select(i => $"{i}")];
        Assert.NotEqual(RowIds.Order(ids, 1).Rows, RowIds.Order(ids, 2).Rows);
    }

    [Fact]
    public void Order_SomeRows_IsThatOfTheirIdsWhereverTheyStandAndHoweverColumnsAreWritten()
    {
        string[] ids = [.. Enumerable.Range(0, 40).Select(i => $"n{i}\u001F{i * i}")], written = [.. ids.Select(id => " " + id.Replace("\u001F", "\t\u001F ", StringComparison.Ordinal)).Reverse()];
        int[] rows = [.. Enumerable.Range(0, 40).Where(i => i % 3 != 0)];
        string[] expected = [.. RowIds.Order([.. rows.Select(r => ids[r])], 5).Rows.Select(i => ids[rows[i]])];
        Assert.Equal(expected, RowIds.Order(ids, rows, 5).Select(r => ids[r]));
        Assert.Equal(expected, RowIds.Order(written, [.. rows.Select(r => 39 - r)], 5).Select(r => ids[39 - r]));
        Assert.Empty(RowIds.Order(ids, [], 5));
    }
}
