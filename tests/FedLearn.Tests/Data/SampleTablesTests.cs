using FedLearn.Data;

namespace FedLearn.Tests.Data;

public sealed class SampleTablesTests
{
    [Fact]
    public void RandHie_Files_AreAsTheirReadmeSays()
    {
        DirectoryInfo root = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root.FullName, "FedLearn.sln")))
            root = root.Parent!;
        string folder = Path.Combine(root.FullName, "samples", "data", "rand-hie");
        Table insurer = Load(folder, "insurer", needLabel: true), clinic = Load(folder, "clinic", needLabel: false);
        Assert.Equal((19_584, 19_584), (insurer.Ids.Count, clinic.Ids.Count));
        Assert.True(insurer.Schema.DeclaresAllRanges && clinic.Schema.DeclaresAllRanges);
        Assert.Empty(insurer.IgnoredColumns.Concat(clinic.IgnoredColumns));
        Assert.All(insurer.Labels!, label => Assert.True(label is 0 or 1));
        Assert.NotEqual(insurer.Ids.Take(5), clinic.Ids.Take(5));

        HashSet<string> others = [.. clinic.Ids];
        int[] common = [.. Enumerable.Range(0, insurer.Ids.Count).Where(row => others.Contains(insurer.Ids[row]))];
        bool[] test = RowSplit.TestRows(new SplitRule.FromFile(), Path.Combine(folder, "split.csv"), insurer.Ids, common);
        Assert.Equal((15_206, 3_772), (test.Count(held => !held), test.Count(held => held)));
        Assert.Equal(RowSplit.TestRows(new SplitRule.ByHash(5, [0]), null, insurer.Ids, common), test);
        foreach (Table table in (Table[])[insurer, clinic])
            Assert.NotNull(FeatureMap.Fit(table, [.. Enumerable.Range(0, table.Ids.Count)], new PreprocessingOptions { Scaling = Scaling.Standardize }, constant: false));
    }

    private static Table Load(string folder, string party, bool needLabel) => Table.Load(new TableSource
    {
        Path = Path.Combine(folder, party + ".csv"),
        Schema = Path.Combine(folder, party + ".schema.json"),
    }, needLabel);
}
