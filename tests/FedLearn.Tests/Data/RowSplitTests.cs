using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Data;

public sealed class RowSplitTests : IDisposable
{
    private static readonly string[] Ids = ["a", "b", "c", "secret987"];
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private bool[] ByFile(string csv, params int[] rows) => RowSplit.TestRows(new SplitRule.FromFile(), _folder.Write("split.csv", csv), Ids, rows);

    private void Refuses(string id, string place, string csv) => ErrorAssert.Throws<BadInputException>(id, place, "secret987", () => ByFile(csv, 0, 1, 2, 3));

    [Fact]
    public void TestRows_NoRule_HoldsNothingOut() => Assert.Equal([false, false], RowSplit.TestRows(SplitRule.None, null, Ids, [2, 0]));

    [Fact]
    public void TestRows_File_FollowsTheOrderOfRowsAndIgnoresOtherIds() =>
        Assert.Equal([true, false, true], ByFile("split,id,note\ntest,secret987,\ntrain,\" b\",x\ntest,c,\ntest,elsewhere,\n", 3, 1, 2));

    [Fact]
    public void TestRows_FileLacksIds_CountsThem()
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.SplitLacksId, "split.csv", "secret987", () => ByFile("id,split\na,test\nb,train\n", 0, 1, 2, 3));
        Assert.Contains("2 of the 4", error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void TestRows_FileFaults_AreNamedAndHideIds()
    {
        Refuses(DataErrors.SplitValue, "line 3, column 'split'", "id,split\na,test\nsecret987,validation\n");
        Refuses(DataErrors.SplitValue, "line 2, column 'split'", "id,split\nsecret987,Test\n");
        Refuses(DataErrors.SplitValue, "line 2, column 'split'", "id,split\nsecret987,\n");
        Refuses(DataErrors.DuplicateId, "line 3", "id,split\nsecret987,test\nsecret987,test\n");
        Refuses(DataErrors.EmptyId, "line 2", "id,split\n,test\n");
        Refuses(DataErrors.RaggedRow, "line 2", "id,split\nsecret987\n");
        Refuses(DataErrors.ColumnMissing, "split.csv", "id,part\nsecret987,test\n");
        ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, "none.csv", null, () => RowSplit.TestRows(new SplitRule.FromFile(), _folder["none.csv"], Ids, [0]));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SplitRuleInvalid, "split", null, () => RowSplit.TestRows(new SplitRule.FromFile(), null, Ids, [0]));
    }

    [Fact]
    public void TestRows_Hash_EqualsBigInteger() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<PositiveInt>(), ArbMap.Default.ArbFor<NonNull<string>>(), (modulus, text) =>
    {
        int m = modulus.Get + 1;
        string id = RowIds.Normalize(new string([.. text.Get.Where(c => !char.IsSurrogate(c))]));
        string hex = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(id)));
        int residue = (int)(BigInteger.Parse("0" + hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture) % m);
        bool listed = RowSplit.TestRows(new SplitRule.ByHash(m, [residue]), null, [id], [0])[0];
        bool other = RowSplit.TestRows(new SplitRule.ByHash(m, [(residue + 1) % m]), null, [id], [0])[0];
        return listed && !other;
    }));

    [Theory]
    [InlineData(int.MaxValue)]
    [InlineData(2)]
    [InlineData(3)]
    public void Residue_ExtremeNumbers_EqualBigInteger(int modulus)
    {
        byte[] largest = [.. Enumerable.Repeat((byte)0xFF, 32)];
        Assert.Equal((int)(((BigInteger.One << 256) - 1) % modulus), RowSplit.Residue(largest, modulus));
        Assert.Equal(0, RowSplit.Residue(new byte[32], modulus));
    }

    [Fact]
    public void TestRows_HashKnownIds_MatchesPython() =>                     // [i for i in range(20) if int(sha256(f"id{i}".encode()).hexdigest(), 16) % 5 == 0]
        Assert.Equal([2, 7, 10, 17, 18], Enumerable.Range(0, 20).Where(i => RowSplit.TestRows(new SplitRule.ByHash(5, [0]), null, [$"id{i}"], [0])[0]));

    [Fact]
    public void TestRows_IdsAsPeopleWriteThem_AreNormalised()
    {
        string[] ids = [" id2\t", "e\u0301", "id3"];
        Assert.Equal([true, false], RowSplit.TestRows(new SplitRule.ByHash(5, [0]), null, ids, [0, 2]));
        Assert.Equal([true, true, false], RowSplit.TestRows(new SplitRule.FromFile(), _folder.Write("split.csv", "id,split\nid2,test\n\u00e9,test\nid3,train\n"), ids, [0, 1, 2]));
        // A comma in the first line is the separator, whatever else is there.
        Assert.Equal([true], RowSplit.TestRows(new SplitRule.FromFile(), _folder.Write("split.csv", "id,split,a;b\nid2,test,1\n"), ids, [0]));
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(0, 0)]
    [InlineData(-5, 0)]
    [InlineData(5, 5)]
    [InlineData(5, -1)]
    public void TestRows_IllegalHashRule_Refused(int modulus, int residue) => ErrorAssert.Throws<ConfigurationException>(DataErrors.SplitRuleInvalid, "split", null,
        () => RowSplit.TestRows(new SplitRule.ByHash(modulus, [residue]), null, Ids, [0]));

    [Fact]
    public void Fingerprint48_KnownSplit_IsTheHeadOfSha256()
    {
        byte[] digest = SHA256.HashData([1, 0, 0, 1]);
        ulong expected = digest.Take(6).Aggregate(0UL, (sum, digit) => (sum * 256) + digit);
        Assert.Equal(expected, RowSplit.Fingerprint48([true, false, false, true]));
        Assert.Equal(expected, (ulong)(double)expected);
        Assert.NotEqual(expected, RowSplit.Fingerprint48([true, false, true, false]));
    }
}
