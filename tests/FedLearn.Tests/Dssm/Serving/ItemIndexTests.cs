using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Tests.Data;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Serving;

public sealed class ItemIndexTests
{
    [Fact]
    public void TopK_RandomVectors_EqualsTheSlowSortBitByBit() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        int items = random.Next(0, 90), width = random.Next(1, 20), users = random.Next(0, 110), count = random.Next(1, 40);
        bool few = random.Next(2) == 0;                              // few values make ties
        float[] vectors = Numbers(random, items * width, few), queries = Numbers(random, users * width, few);
        float[]? bias = random.Next(2) == 0 ? null : Numbers(random, items, few);
        var index = new ItemIndex(Ids(items), vectors, width, "v", bias);
        int[]?[]? exclude = random.Next(3) == 0 ? null : [.. Enumerable.Range(0, users)
            .Select(_ => random.Next(3) == 0 ? null : Enumerable.Range(0, items).Where(_ => random.Next(4) == 0).OrderBy(_ => random.Next()).ToArray())];
        RankedItem[][] actual = index.TopK(new UserVectors(queries, width, "v"), count, exclude);
        Assert.Equal(users, actual.Length);
        for (int u = 0; u < users; u++)
        {
            IEnumerable<RankedItem> all = Enumerable.Range(0, items).Where(i => exclude?[u]?.Contains(i) != true).Select(i =>
            {
                float score = bias?[i] ?? 0;
                for (int d = 0; d < width; d++)
                    score = MathF.FusedMultiplyAdd(queries[(u * width) + d], vectors[(i * width) + d], score);
                return new RankedItem(i, score);
            });
            Assert.Equal(all.OrderByDescending(r => r.Score).ThenBy(r => r.Item).Take(count), actual[u]);
        }
    }));

    [Fact]
    public void TopK_OtherVersion_IsRefused()
    {
        var index = new ItemIndex(["a"], [1], 1, "first");
        ErrorAssert.Throws<ConfigurationException>(DssmServingErrors.MixedModelVersions, "user vectors", null, () => index.TopK(new UserVectors([1], 1, "second"), 1));
        using ITower tower = new ReferenceTowerFactory().Create(Spec(2, 1), 3);
        ErrorAssert.Throws<ConfigurationException>(DssmServingErrors.MixedModelVersions, "item tower", null, () => index.Append(Content(new Random(1), 1, 2, 1), tower, "second"));
    }

    [Fact]
    public void TopK_UserWithoutView_GetsThePopularOnes()
    {
        var index = new ItemIndex(["a", "b", "c", "d"], [1, 0, 0.5f, 0.25f], 1, "v");
        UserVectors users = UserVectors.Fuse(DssmFusion.Late, [[3, 3]], [[true, false]], 1, "v");
        double[] popularity = [5, 7, 9, 7];
        RankedItem[][] lists = index.TopK(users, 2, [null, [2]], popularity);
        Assert.Equal([0, 2], lists[0].Select(r => r.Item));
        Assert.Equal([new RankedItem(1, 7), new RankedItem(3, 7)], lists[1]);
        Assert.Empty(index.TopK(users, 2)[1]);
    }

    // float32 vectors of at most 8 coordinates and length 1: the inner product is off by less than 10 half units in the last place, 6e-7.
    [Fact]
    public void Fuse_AnyFusion_GivesTheModelsCosines() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)), Prop.ForAll(ArbMap.Default.ArbFor<int>(), seed =>
    {
        var random = new Random(seed);
        int width = random.Next(1, 9), views = random.Next(1, 4), users = random.Next(1, 6), items = random.Next(1, 6);
        double[][] y = [.. Enumerable.Range(0, views).Select(_ => Normal(random, users * width))];
        double[] vectors = Normal(random, items * width);
        bool[]?[] present = [.. Enumerable.Range(0, views).Select(_ => random.Next(3) == 0 ? null : Enumerable.Range(0, users).Select(_ => random.Next(2) == 0).ToArray())];
        double[]? weights = random.Next(2) == 0 ? null : [.. Enumerable.Range(0, views).Select(_ => random.NextDouble() + 0.1)];
        ItemIndex index = ItemIndex.FromVectors(Ids(items), vectors, width, "v");
        foreach (DssmFusion fusion in Enum.GetValues<DssmFusion>())
        {
            double[]? matrix = fusion == DssmFusion.Concat ? Normal(random, views * width * width) : null;
            UserVectors fused = UserVectors.Fuse(fusion, y, present, width, "v", weights, matrix);
            RankedItem[][] lists = index.TopK(fused, items);
            for (int u = 0; u < users; u++)
            {
                int[] there = [.. Enumerable.Range(0, views).Where(v => present[v]?[u] != false)];
                Assert.Equal(there.Length > 0, fused.Known![u]);
                Assert.Equal(there.Length > 0 ? items : 0, lists[u].Length);
                foreach (RankedItem ranked in lists[u])
                    Assert.Equal(Score(fusion, there, u, vectors[(ranked.Item * width)..((ranked.Item + 1) * width)], matrix), ranked.Score, 1e-6);
            }
        }

        double Score(DssmFusion fusion, int[] there, int u, double[] item, double[]? matrix)
        {
            double[][] own = [.. there.Select(v => y[v][(u * width)..((u + 1) * width)])];
            double[] w = [.. there.Select(v => weights?[v] ?? 1)];
            if (fusion == DssmFusion.Late)
                return own.Zip(w, (vector, weight) => weight * Cosine(vector, item)).Sum() / w.Sum();
            double[] sum = new double[width];
            for (int v = 0; v < own.Length; v++)
                for (int j = 0; j < width; j++)
                    for (int o = 0; o < width; o++)
                        sum[o] += w[v] * own[v][j] * (matrix is null ? (j == o ? 1 : 0) : matrix[(((there[v] * width) + j) * width) + o]);
            return Cosine(sum, item);
        }
    }));

    [Fact]
    public void Append_NewItems_EqualsTheIndexOfAll()
    {
        var random = new Random(5);
        ItemTable all = Content(random, 9, 4, 0), known = Slice(all, 0, 6), added = Slice(all, 6, 9);
        using ITower tower = new ReferenceTowerFactory().Create(Spec(4, 3), 3);
        ItemIndex expected = ItemIndex.FromTower(all, tower, "v", [1, 2, 3, 4, 5, 6, 0, 0, 0]);
        ItemIndex actual = ItemIndex.FromTower(known, tower, "v", [1, 2, 3, 4, 5, 6]).Append(added, tower, "v");
        Same(expected, actual);
        Assert.Throws<ArgumentException>(() => actual.Append(added, tower, "v"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Load_SavedIndex_IsTheSame(bool withBias)
    {
        using var folder = new TempFolder();
        var random = new Random(8);
        var index = new ItemIndex(["plain", "with, comma", "with \"quote\"", "\u00fcml"], Numbers(random, 12, few: false), 3, "v,1", withBias ? Numbers(random, 4, few: false) : null);
        ItemIndexFiles.Save(index, folder["items"]);
        Same(index, ItemIndexFiles.Load(folder["items"]));
        Assert.Equal(0, (new FileInfo(folder["items.npy"]).Length - (12 * sizeof(float))) % 64);
        Assert.Equal([4, 3], NpyFile.Shape(folder["items.npy"]));
    }

    /// <summary>Vectors beside the ids of an earlier index would be taken for those of its model.</summary>
    [Fact]
    public void Save_IdsCannotBeWritten_LeavesNoIndexOfTwo()
    {
        using var folder = new TempFolder();
        ItemIndexFiles.Save(new ItemIndex(["a", "b"], [1, 0], 1, "earlier"), folder["items"]);
        using (File.Open(folder["items.ids.csv"], FileMode.Open, FileAccess.Read, FileShare.None))
            Record.Exception(() => ItemIndexFiles.Save(new ItemIndex(["c", "d"], [0, 1], 1, "later"), folder["items"]));
        ItemIndex loaded = ItemIndexFiles.Load(folder["items"]);
        Assert.Equal(loaded.ModelVersion == "earlier" ? [1f, 0f] : [0f, 1f], loaded.Vectors.ToArray());
    }

    [Theory]
    [InlineData("id,model\na,v\na,v\n", "FL3126", "line 3")]
    [InlineData("id,model\na,v\n", "FL3125", "items.ids.csv")]
    [InlineData("id,model\na,v\nb,w\n", "FL2435", "line 3")]
    [InlineData("id,model\na,v\nb,\n", "FL3007", "line 3")]
    [InlineData("id\na\nb\n", "FL3001", "items.ids.csv")]
    [InlineData("id,model,bias\na,v,0\nb,v,x\n", "FL3005", "line 3")]
    public void Load_DamagedIds_SaysWhere(string text, string id, string place)
    {
        using var folder = new TempFolder();
        ItemIndexFiles.Save(new ItemIndex(["a", "b"], [1, 0], 1, "v"), folder["items"]);
        folder.Write("items.ids.csv", text);
        FedLearnException error = Assert.ThrowsAny<FedLearnException>(() => ItemIndexFiles.Load(folder["items"]));
        Assert.Equal(id, error.Id);
        Assert.Contains(place, error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public void Constructor_BadParts_AreRefused()
    {
        Assert.Throws<ArgumentException>(() => new ItemIndex(["a"], [1, 2], 1, "v"));
        Assert.Throws<ArgumentException>(() => new ItemIndex(["a", "a"], [1, 2], 1, "v"));
        Assert.Throws<ArgumentException>(() => new ItemIndex(["a"], [float.NaN], 1, "v"));
        Assert.Throws<ArgumentException>(() => new UserVectors([float.PositiveInfinity], 1, "v"));
        Assert.Throws<ArgumentException>(() => new UserVectors([1, 2, 3], 2, "v"));
    }

    private static void Same(ItemIndex expected, ItemIndex actual)
    {
        Assert.Equal(expected.Ids, actual.Ids);
        Assert.Equal(expected.Vectors.ToArray(), actual.Vectors.ToArray());
        Assert.Equal(expected.Bias.ToArray(), actual.Bias.ToArray());
        Assert.Equal((expected.Width, expected.ModelVersion, expected.HasBias), (actual.Width, actual.ModelVersion, actual.HasBias));
    }

    private static double Cosine(double[] a, double[] b) => a.Zip(b, (x, z) => x * z).Sum() / (Smooth(a) * Smooth(b));

    private static double Smooth(double[] a) => Math.Sqrt(a.Sum(x => x * x) + 1e-6);

    private static TowerSpec Spec(int inputs, int width) => new() { Inputs = new TowerInputs(inputs, []), Layers = [5, width] };

    private static ItemTable Content(Random random, int count, int width, int first) =>
        new([.. Ids(count + first).Skip(first)], new TowerRows(new TowerInputs(width, []), count, Normal(random, count * width), []));

    private static ItemTable Slice(ItemTable table, int from, int to)
    {
        int width = table.Content.Inputs.DenseWidth;
        double[] dense = table.Content.Dense[(from * width)..(to * width)];
        return new ItemTable([.. table.Ids.Skip(from).Take(to - from)], new TowerRows(new TowerInputs(width, []), to - from, dense, []));
    }

    private static float[] Numbers(Random random, int count, bool few) => [.. Enumerable.Range(0, count).Select(_ => few ? random.Next(-2, 3) : (float)((2 * random.NextDouble()) - 1))];

    private static double[] Normal(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (2 * random.NextDouble()) - 1)];

    private static string[] Ids(int count) => [.. Enumerable.Range(0, count).Select(i => $"i{i}")];
}
