using System.Text;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Tests.Glm;

namespace FedLearn.Tests.Data;

public sealed class RowInputTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private Table Load(string csv, Func<TableSource, TableSource> with, bool needLabel = true) => Table.Load(
        with(new TableSource { Path = _folder.Write("t.csv", csv), Label = "y" }), needLabel);

    private TableSource Arrays(string weights, string exposures)
    {
        string Npy(string name, string numbers)
        {
            double[] values = [.. numbers.Split(' ').Select(number => double.Parse(number, System.Globalization.CultureInfo.InvariantCulture))];
            string header = $"{{'descr': '<f8', 'fortran_order': False, 'shape': ({(name == "x.npy" ? $"{values.Length}, 1" : $"{values.Length},")}), }}".PadRight(117) + "\n";
            return _folder.Write(name, [0x93, .. "NUMPY"u8, 1, 0, 118, 0, .. Encoding.ASCII.GetBytes(header), .. values.SelectMany(BitConverter.GetBytes)]);
        }

        return new TableSource { Path = Npy("x.npy", "1 2"), Labels = Npy("y.npy", "0 1"), Weight = Npy("w.npy", weights), Exposure = Npy("e.npy", exposures) };
    }

    [Fact]
    public void Load_WeightOffsetExposure_AreReadAndAreNoFeatures()
    {
        Table table = Load("id,y,w,o,e,a\nx,1,2,-1.5,2,7\nz,0,0,3,1,8\n", s => s with { Weight = "w", Offset = "o", Exposure = "e" });
        Assert.Equal(["a"], table.Schema.FeatureNames);
        Assert.Equal([2, 0], table.Weights!);
        Assert.Equal([Math.Log(2) - 1.5, 3], table.Offsets!);
        Assert.Empty(table.IgnoredColumns);
    }

    [Fact]
    public void Load_NothingNamed_BringsNothing()
    {
        Table table = Load("id,y,w\nx,1,2\n", s => s);
        Assert.Null(table.Weights);
        Assert.Null(table.Offsets);
        Assert.Equal(["w"], table.Schema.FeatureNames);
    }

    [Fact]
    public void Load_ExposureAlone_IsItsLogarithm() =>
        Assert.Equal([Math.Log(0.25)], Load("id,y,e,a\nx,1,0.25,7\n", s => s with { Exposure = "e" }).Offsets!);

    [Fact]
    public void Load_ToPredict_ReadsOffsetsAndLeavesWeightsOut()
    {
        Table table = Load("id,w,o,a\nx,,3,7\n", s => s with { Weight = "w", Offset = "o" }, needLabel: false);
        Assert.Null(table.Weights);
        Assert.Equal([3], table.Offsets!);
        Assert.Equal(["a"], table.Schema.FeatureNames);
        Assert.Null(Load("id,o,a\nx,3,7\n", s => s with { Weight = "w" }, needLabel: false).Weights);
    }

    [Theory]
    [InlineData("weight", true)]
    [InlineData("offset", true)]
    [InlineData("exposure", true)]
    [InlineData("offset", false)]
    [InlineData("exposure", false)]
    public void Load_NamedColumnAbsent_Refused(string key, bool needLabel)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.ColumnMissing, "t.csv", null, () => Load("id,y,a\nx,1,7\n", s => With(s, key, "absent"), needLabel));
        Assert.Contains("'absent'", error.Cause, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("weight", "-0.987", DataErrors.WeightNegative)]
    [InlineData("weight", "inf", DataErrors.NotFinite)]
    [InlineData("weight", "", DataErrors.EmptyCell)]
    [InlineData("offset", "nan", DataErrors.NotFinite)]
    [InlineData("offset", "987x", DataErrors.NotANumber)]
    [InlineData("exposure", "0", DataErrors.ExposureNotPositive)]
    [InlineData("exposure", "-987", DataErrors.ExposureNotPositive)]
    [InlineData("exposure", "1e999", DataErrors.NotFinite)]
    public void Load_IllegalCell_NamesItsPlace(string key, string cell, string id) => ErrorAssert.Throws<BadInputException>(id, "t.csv, line 3, column 'c'", "987",
        () => Load($"id,y,c,a\nx,1,1,7\nz,1,{cell},7\n", s => With(s, key, "c")));

    [Theory]
    [InlineData("weight", "id")]
    [InlineData("offset", "y")]
    [InlineData("exposure", "b")]
    public void Load_ColumnOfTwoUses_Refused(string key, string column)
    {
        string schema = _folder.Write("s.json", """{ "fields": [ { "name": "a", "type": "numeric" }, { "name": "b", "type": "numeric" } ] }""");
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaDuplicate, "s.json", null,
            () => Load("id,y,a,b\nx,1,7,8\n", s => With(s with { Schema = schema }, key, column)));
        ErrorAssert.Throws<ConfigurationException>(DataErrors.SchemaDuplicate, "t.csv", null,
            () => Load("id,y,a,b\nx,1,7,8\n", s => s with { Offset = "b", Exposure = "b" }));
    }

    [Fact]
    public void Load_Arrays_AreRead()
    {
        Table table = Table.Load(Arrays("0.5 0", "1 4"), needLabel: true);
        Assert.Equal([0.5, 0], table.Weights!);
        Assert.Equal([0, Math.Log(4)], table.Offsets!);
        Table predicted = Table.Load(Arrays("0.5 0", "1 4"), needLabel: false);
        Assert.Null(predicted.Weights);
        Assert.Equal([0, Math.Log(4)], predicted.Offsets!);
    }

    [Fact]
    public void Load_ArrayFaults_AreNamed()
    {
        ErrorAssert.Throws<BadInputException>(DataErrors.WeightNegative, "w.npy, row 2", "987", () => Table.Load(Arrays("1 -987", "1 1"), true));
        ErrorAssert.Throws<BadInputException>(DataErrors.ExposureNotPositive, "e.npy, row 1", null, () => Table.Load(Arrays("1 1", "0 1"), true));
        ErrorAssert.Throws<BadInputException>(DataErrors.WrongShape, "w.npy", null, () => Table.Load(Arrays("1 1 1", "1 1"), true));
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "e.npy, row 2, column 'exposure'", null, () => Table.Load(Arrays("1 1", "1 NaN"), true));
        ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, "no.npy", null, () => Table.Load(Arrays("1 1", "1 1") with { Offset = _folder["no.npy"] }, true));
    }

    [Fact]
    public void FromMatrix_WeightsAndOffsets_AreCheckedAndKept()
    {
        Table Make(double[]? weights, double[]? offsets) => Table.FromMatrix(["p", "q"], ["a"], new DenseMatrix(2, 1), weights: weights, offsets: offsets);
        Assert.Equal([0, 2], Make([0, 2], null).Weights!);
        Assert.Equal([-1, 2], Make(null, [-1, 2]).Offsets!);
        ErrorAssert.Throws<BadInputException>(DataErrors.WeightNegative, "row 2", "987", () => Make([1, -987], null));
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "row 1, column 'weight'", null, () => Make([double.NaN, 1], null));
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "row 2, column 'offset'", null, () => Make(null, [0, double.PositiveInfinity]));
        Assert.Throws<ArgumentException>(() => Make([1], null));
        Assert.Throws<ArgumentException>(() => Make(null, [1, 2, 3]));
    }

    [Theory]
    [InlineData("gaussian", false)]
    [InlineData("binomial", false)]
    [InlineData("poisson", true)]
    [InlineData("gamma", true)]
    public async Task Exposure_LinkOfTheFamily_IsTheLogarithm(string family, bool legal)
    {
        Table exposed = Load("id,y,e,a\nx,1,2,7\nz,1,1,8\n", s => s with { Exposure = "e" }), offset = Load("id,y,e,a\nx,1,2,7\nz,1,1,8\n", s => s with { Offset = "e" });
        var job = new GlmJob { Name = "job", Model = new() { Family = ShippedFamilies.Named(family) }, Parties = [new() { Party = new("a", PartyRole.Active) }] };
        GlmModel model = (await LocalFederation.TrainAsync(job, [new() { Party = "a", Table = offset }]))[0].Model;
        foreach (Table table in new[] { exposed, exposed.With(FeatureStorage.Float32) })
        {
            Exception? training = Record.Exception(() => new GlmTrainer(job, new() { Party = "a", Table = table })), scoring = Record.Exception(() => model.Score(table, [0]));
            foreach (Exception? refusal in new[] { training, scoring })
            {
                Assert.Equal(legal ? null : GlmErrors.InvalidJob, (refusal as ConfigurationException)?.Id);
                Assert.Equal(!legal, refusal is ConfigurationException { Place: var place } && place.Contains("data.exposure", StringComparison.Ordinal) && refusal.Message.Contains("data.offset", StringComparison.Ordinal));
            }
        }
    }

    private static TableSource With(TableSource source, string key, string column) => key switch
    {
        "weight" => source with { Weight = column },
        "offset" => source with { Offset = column },
        _ => source with { Exposure = column },
    };
}
