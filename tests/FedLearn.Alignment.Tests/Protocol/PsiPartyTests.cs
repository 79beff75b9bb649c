using FedLearn.Coordination;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Protocol;

public sealed class PsiPartyTests
{
    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(0, 5, 0)]
    [InlineData(1, 1, 1)]
    [InlineData(5, 9, 3)]
    [InlineData(4097, 4096, 4000)]
    [InlineData(8192, 3, 2)]
    public async Task RunAsync_Both_FindsTheCommonRowsAtEachSide(int active, int passive, int common)
    {
        (string[] own, string[] theirs) = PsiPair.Ids(active, passive, common, seed: 7);
        (PsiResult a, PsiResult b) = await PsiPair.RunAsync(own, theirs, new PsiOptions());
        Assert.Equal(PsiPair.Common(own, theirs), a.Rows!);
        Assert.Equal(PsiPair.Common(theirs, own), b.Rows!);
        Assert.Equal((common, common), (a.Size!.Value, b.Size!.Value));
        Assert.Equal(a.Session, b.Session);
        Assert.Equal((active, passive), (a.OwnIds, a.PeerIds));
        Assert.Equal((passive, active), (b.OwnIds, b.PeerIds));
    }
}

/// <summary>Two parties in one process.</summary>
internal static class PsiPair
{
    public static readonly byte[] JobDigest = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    public static (string[] Active, string[] Passive) Ids(int active, int passive, int common, int seed)
    {
        var random = new Random(seed);
        string[] first = [.. Enumerable.Range(0, active).Select(i => i < common ? $"both-{i}" : $"active-{i}")];
        string[] second = [.. Enumerable.Range(0, passive).Select(i => i < common ? $"both-{i}" : $"passive-{i}")];
        random.Shuffle(first);
        random.Shuffle(second);
        return (first, second);
    }

    /// <summary>The plain intersection: own rows, rising.</summary>
    public static int[] Common(string[] own, string[] theirs)
    {
        var there = theirs.ToHashSet();
        return [.. Enumerable.Range(0, own.Length).Where(i => there.Contains(own[i]))];
    }

    public static async Task<(PsiResult Active, PsiResult Passive)> RunAsync(IReadOnlyList<string> active, IReadOnlyList<string> passive, PsiOptions options, PsiOptions? passiveOptions = null)
    {
        (InMemoryChannel a, InMemoryChannel b) = InMemoryChannel.CreatePair("bank", "clinic");
        await using (a)
        await using (b)
        {
            Task<PsiResult> first = PsiParty.RunAsync(PartyRole.Active, active, JobDigest, a, options, cancellationToken: TestContext.Current.CancellationToken);
            Task<PsiResult> second = PsiParty.RunAsync(PartyRole.Passive, passive, JobDigest, b, passiveOptions ?? options, cancellationToken: TestContext.Current.CancellationToken);
            await Task.WhenAll(first, second);
            return (await first, await second);
        }
    }
}
