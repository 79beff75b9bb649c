using System.Text;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Tests.Data;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Dssm.Data;

public sealed class DssmFilesTests : IDisposable
{
    private static readonly DssmSchema Plain = DssmSchema.OfView([DssmField.Numeric("a")]), Timed = DssmSchema.OfView([DssmField.Numeric("a")], timed: true),
        Bag = DssmSchema.OfView([DssmField.Bag("b", 10)]), Content = DssmSchema.OfItems([DssmField.Numeric("a")]);

    private static readonly ItemTable Two = new(["x", "y"], new TowerRows(new TowerInputs(0, []), 2, [], []));

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private ViewTable View(DssmSchema schema, string csv) => DssmFiles.ReadView(_folder.Write("v.csv", csv), schema);

    private InteractionTable Events(string csv) => DssmFiles.ReadInteractions(_folder.Write("e.csv", csv), Two);

    private void Refuses(string id, string place, DssmSchema schema, string csv, string? secret = null) => ErrorAssert.Throws<BadInputException>(id, place, secret, () => View(schema, csv));

    [Fact]
    public void ReadView_RowsInAnyOrder_AreSortedByUserAndMoment()
    {
        ViewTable view = View(Timed, """
            note,sequence,user,a,time
            -,0, bob ,1,100
            -,4,eve,2,50
            -,0,bob,3,90
            "a, b",1,bob,4,100
            -,3,eve,5,50
            """);
        Assert.Equal(["bob", "eve"], view.Users);
        Assert.Equal([0, 0, 0, 1, 1], view.RowUser);
        Assert.Equal([new(90, 0), new(100, 0), new(100, 1), new(50, 3), new(50, 4)], view.Moments!);
        Assert.Equal([3, 1, 4, 5, 2], view.Rows.Dense);
        Assert.Equal(1, view.RowOf(0, new Moment(100, 0)));
        Assert.Equal(-1, view.RowOf(1, new Moment(50, 2)));
    }

    [Theory]
    [InlineData(';', '.')]
    [InlineData('\t', '.')]
    [InlineData('|', '.')]
    [InlineData(';', ',')]
    [InlineData('\t', ',')]
    public void Read_OtherSeparatorAndDecimals_GivesTheUsualTables(char separator, char mark)
    {
        DssmSchema view = DssmSchema.OfView([DssmField.Numeric("a"), DssmField.Bucketed("p", [10.25]), DssmField.Bag("b", 10)]), content = DssmSchema.OfItems([DssmField.Numeric("a")]);
        string Written(string usual) => usual.Replace(',', separator).Replace('.', mark).Replace("COMMA", ",", StringComparison.Ordinal);
        ViewTable table = DssmFiles.ReadView(_folder.Write("v.csv", Written("user,a,p,b\nBonnCOMMA Rhein,-1.5e1,10.3,1 2:0.5\nRome,NA,10,\n")), view, mark);
        Assert.Equal(["Bonn, Rhein", "Rome"], table.Users);
        Assert.Equal([-15, 0], table.Rows.Dense);
        Assert.Equal([1, 0], table.Rows.Bags[0].Ids);
        Assert.Equal([1, 0.5], table.Rows.Bags[1].Weights!);
        ItemTable items = DssmFiles.ReadItems(_folder.Write("i.csv", Written("item,a\nx,0.25\ny,1\n")), content, mark);
        Assert.Equal([0.25, 1], items.Content.Dense);
        Assert.Equal(["u"], DssmFiles.ReadInteractions(_folder.Write("e.csv", Written("user,time,item,role\nu,1,y,train\n")), items).Users);
    }

    [Fact]
    public void ReadView_DecimalCommas_AreRefusedWhereTheyMayNotBe()
    {
        ErrorAssert.Throws<ConfigurationException>(DataErrors.UnsuitableSource, "v.csv", null, () => DssmFiles.ReadView(_folder.Write("v.csv", "user,a\nu,1\n"), Plain, ','));
        ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 2, column 'a'", "17.5", () => DssmFiles.ReadView(_folder.Write("v.csv", "user;a\nu;17.5\n"), Plain, ','));
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.NotANumber, "line 2, column 'a'", "17,5", () => DssmFiles.ReadView(_folder.Write("v.csv", "user;a\nu;17,5\n"), Plain));
        Assert.Contains("decimal in a run file", error.Remedy, StringComparison.Ordinal);
        Refuses(DataErrors.RaggedRow, "line 2", Plain, "user;a\nu;1;2\n");
    }

    [Fact]
    public void ReadView_SortedBags_MoveWithTheirRows()
    {
        ViewTable view = View(DssmSchema.OfView([DssmField.Numeric("a"), DssmField.Bag("b", 10)], timed: true), """
            user,time,sequence,a,b
            u,2,0,20,1 2:0.5
            u,1,0,10,
            u,0,0,0,9
            """);
        Assert.Equal([0, 10, 20], view.Rows.Dense);
        Assert.Equal([0, 1, 1, 3], view.Rows.Bags[0].Offsets);
        Assert.Equal([9, 1, 2], view.Rows.Bags[0].Ids);
        Assert.Equal([1, 1, 0.5], view.Rows.Bags[0].Weights!);
    }

    [Fact]
    public void ReadView_MissingCells_BecomeZeroOrMaskOrNothing()
    {
        ViewTable view = View(DssmSchema.OfView(
        [
            DssmField.Numeric("a"), DssmField.Numeric("b", mask: true), DssmField.Bucketed("c", [0, 10]), DssmField.Bucketed("d", [0, 10], mask: true), DssmField.Bag("e", 3),
            DssmField.Text("f", 8), DssmField.Hashed("g", 8),
        ]), """
            user,a,b,c,d,e,f,g
            1,,NA,?,null,,,
            2,1.5,-2,-1,0,2,,
            3,nan,0,10,11,0 0,,
            """);
        Assert.Equal([0, 0, 1, 1.5, -2, 0, 0, 0, 0], view.Rows.Dense);
        Assert.Equal([0, 2], view.Rows.Bags[0].Ids);
        Assert.Equal([0, 0, 1, 2], view.Rows.Bags[0].Offsets);
        Assert.Equal([3, 1, 2], view.Rows.Bags[1].Ids);
        Assert.Equal([0, 0, 1, 3], view.Rows.Bags[2].Offsets);
        Assert.All(view.Rows.Bags.Skip(3), bag => Assert.Empty(bag.Ids));
    }

    [Theory]
    [InlineData("3", new[] { 3 }, null)]
    [InlineData("  7\t0   7 ", new[] { 7, 0, 7 }, null)]
    [InlineData("7:1 0", new[] { 7, 0 }, null)]
    [InlineData("7:-2.5e1 0 7:0", new[] { 7, 0, 7 }, new[] { -25, 1, 0.0 })]
    [InlineData("", new int[0], null)]
    public void ReadView_BagCells_GiveIdsAndWeights(string cell, int[] ids, double[]? weights)
    {
        BagRows bag = View(Bag, $"user,b\n1,\"{cell}\"\n").Rows.Bags[0];
        Assert.Equal(ids, bag.Ids);
        Assert.Equal(weights, bag.Weights);
    }

    [Theory]
    [InlineData("1 4242x", DssmDataErrors.MalformedBag)]
    [InlineData("-4242", DssmDataErrors.MalformedBag)]
    [InlineData("1;4242", DssmDataErrors.MalformedBag)]
    [InlineData("1:", DssmDataErrors.MalformedBag)]
    [InlineData(":4242", DssmDataErrors.MalformedBag)]
    [InlineData("1:4242:1", DssmDataErrors.MalformedBag)]
    [InlineData("1:NaN", DssmDataErrors.MalformedBag)]
    [InlineData("4242.0", DssmDataErrors.MalformedBag)]
    [InlineData("0 10", DssmDataErrors.BagIdOutOfRange)]
    [InlineData("4242", DssmDataErrors.BagIdOutOfRange)]
    [InlineData("99999999999994242", DssmDataErrors.BagIdOutOfRange)]
    public void ReadView_FaultyBag_IsRefused(string cell, string id) => Refuses(id, "line 3, column 'b'", Bag, $"user,b\n1,2\n2,{cell}\n", "4242");

    [Theory]
    [InlineData("user,b\n1,1\n", DataErrors.ColumnMissing, "v.csv")]
    [InlineData("users,a\n1,1\n", DataErrors.ColumnMissing, "v.csv")]
    [InlineData("user,a,a\n1,1,1\n", DataErrors.ColumnDuplicate, "line 1")]
    [InlineData("user,a\n1,1,2\n", DataErrors.RaggedRow, "line 2")]
    [InlineData("user,a\n\"1,1\n", DataErrors.MalformedCsv, "line 2")]
    [InlineData("user,a\n1,4242x\n", DataErrors.NotANumber, "line 2, column 'a'")]
    [InlineData("user,a\n1,-inf\n", DataErrors.NotFinite, "line 2, column 'a'")]
    [InlineData("user,a\n1,1\n\n ,2\n", DataErrors.EmptyId, "line 4, column 'user'")]
    [InlineData("user,a\n", DataErrors.NoRows, "v.csv")]
    [InlineData("user,a\n1,1\n2,2\n1,3\n", DssmDataErrors.RepeatedMoment, "line 4")]
    public void ReadView_FaultyFile_IsRefused(string csv, string id, string place) => Refuses(id, place, Plain, csv, "4242");

    [Theory]
    [InlineData("1,5,0,1\n1,6,0,1\n1,5,0,1", DssmDataErrors.RepeatedMoment, "line 4")]
    [InlineData("1,,0,1", DataErrors.EmptyCell, "column 'time'")]
    [InlineData("1,4242.5,0,1", DssmDataErrors.MalformedMoment, "column 'time'")]
    [InlineData("1,1e4242,0,1", DssmDataErrors.MalformedMoment, "column 'time'")]
    [InlineData("1,1795714242000,0,1", DssmDataErrors.MalformedMoment, "column 'time'")]                 // milliseconds
    [InlineData("1,5,-4242,1", DssmDataErrors.MalformedMoment, "column 'sequence'")]
    [InlineData("1,5,4242424242,1", DssmDataErrors.MalformedMoment, "column 'sequence'")]
    public void ReadView_FaultyMoment_IsRefused(string rows, string id, string place) => Refuses(id, place, Timed, $"user,time,sequence,a\n{rows}\n", "4242");

    [Fact]
    public void ReadView_NotUtf8OrMissing_IsRefused()
    {
        string path = _folder.Write("v.csv", [.. "user,a\n"u8, 0xFF, .. ",1\n"u8]);
        ErrorAssert.Throws<BadInputException>(DataErrors.MalformedCsv, "line 2", null, () => DssmFiles.ReadView(path, Plain));
        ErrorAssert.Throws<BadInputException>(DataErrors.FileUnreadable, "none.csv", null, () => DssmFiles.ReadView(_folder["none.csv"], Plain));
    }

    [Fact]
    public void Read_SchemaOfTheOtherKind_IsRefused()
    {
        ErrorAssert.Throws<ConfigurationException>(DssmDataErrors.OtherSchema, "v.csv", null, () => View(Content, "item,a\n1,1\n"));
        ErrorAssert.Throws<ConfigurationException>(DssmDataErrors.OtherSchema, "i.csv", null, () => DssmFiles.ReadItems(_folder.Write("i.csv", "user,a\n1,1\n"), Plain));
    }

    [Fact]
    public void ReadView_ManyRows_EndsWhenCancelled()
    {
        string path = _folder.Write("v.csv", "user,a\n1,1\n");
        Assert.Throws<OperationCanceledException>(() => DssmFiles.ReadView(path, Plain, cancellationToken: new CancellationToken(canceled: true)));
    }

    [Fact]
    public void ReadItems_TitleThatIsTextToo_GivesBoth()
    {
        ItemTable items = DssmFiles.ReadItems(_folder.Write("i.csv", "item,title\nb,\"Up, up\"\na,\n"), DssmSchema.OfItems([DssmField.Text("title", 1 << 20)], titled: true));
        Assert.Equal(["b", "a"], items.Ids);
        Assert.Equal(["Up, up", ""], items.Titles!);
        int[] expected = [.. new[] { "#up", "up#" }.Select(gram => (int)(DssmHash.Fnv1a(Encoding.UTF8.GetBytes(gram)) % (1 << 20))).Order()];
        Assert.Equal(expected, items.Content.Bags[0].Ids);
        Assert.Equal([2, 2], items.Content.Bags[0].Weights!);
        Assert.Equal([0, 2, 2], items.Content.Bags[0].Offsets);
    }

    [Theory]
    [InlineData("1e39,1,2", "column 'a'")]
    [InlineData("1,-1e39,2", "column 'b'")]
    [InlineData("1,1,2:1e39", "column 'c'")]
    public void Read_BeyondSinglePrecision_IsRefusedWhereTowersHaveNoMore(string row, string column)
    {
        DssmField[] fields = [DssmField.Numeric("a"), DssmField.Numeric("b", mask: true), DssmField.Bag("c", 5)];
        string view = _folder.Write("v.csv", $"user,a,b,c\nx,3.4e38,0,1:-3.4e38\ny,{row}\n"), items = _folder.Write("i.csv", $"item,a,b,c\nx,1,0,1\ny,{row}\n");
        BadInputException error = ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "v.csv, line 3", "1e39", () => DssmFiles.ReadView(view, DssmSchema.OfView(fields), precision: TowerPrecision.Float32));
        Assert.Contains(column, error.Place, StringComparison.Ordinal);
        ErrorAssert.Throws<BadInputException>(DataErrors.NotFinite, "i.csv, line 3", "1e39", () => DssmFiles.ReadItems(items, DssmSchema.OfItems(fields), precision: TowerPrecision.Float32));
        Assert.Equal(2, DssmFiles.ReadView(view, DssmSchema.OfView(fields)).Rows.Rows);
        Assert.Equal(2, DssmFiles.ReadView(view, DssmSchema.OfView(fields, normalise: true), precision: TowerPrecision.Float32).Rows.Rows);
    }

    [Fact]
    public void ReadItems_Repeated_IsRefused() =>
        ErrorAssert.Throws<BadInputException>(DataErrors.DuplicateId, "line 4", "secret", () => DssmFiles.ReadItems(_folder.Write("i.csv", "item,a\nsecret,1\nb,1\n secret,2\n"), Content));

    [Fact]
    public void ReadItems_Normalised_HasRowsOfLengthOneOrNone()
    {
        var schema = DssmSchema.OfItems([DssmField.Numeric("a"), DssmField.Bag("b", 5), DssmField.Hashed("c", 4, hashes: 2)], normalise: true);
        TowerRows rows = DssmFiles.ReadItems(_folder.Write("i.csv", "item,a,b,c\n1,3,4:2 1 4:2,\n2,0,,\n3,0,,x|y\n"), schema).Content;
        Assert.Equal(3 / Math.Sqrt(26), rows.Dense[0], 1e-15);
        Assert.Equal([1, 4], rows.Bags[0].Ids);                                                          // equal ids are put together before the length is taken
        Assert.Equal([1 / Math.Sqrt(26), 4 / Math.Sqrt(26)], rows.Bags[0].Weights!);
        Assert.Equal([0, 0], rows.Dense[1..]);
        Assert.Equal(1, rows.Bags[1].Weights!.Sum(weight => weight * weight), 1e-14);
    }

    [Theory]
    [InlineData("5,3", "2:4", 1)]
    [InlineData("5,3", "2:4", 1e150)]
    [InlineData("5,3", "2:4", 1e200)]
    [InlineData("5,3", "2:4", 1e306)]
    [InlineData("5,3", "2:4", 1e-150)]
    [InlineData("5,3", "2:4", 1e-200)]
    [InlineData("5,3", "2:4", 1e-307)]
    public void ReadItems_NormalisedAtAnyScale_HaveLengthOne(string dense, string bag, double scale)
    {
        var schema = DssmSchema.OfItems([DssmField.Numeric("a"), DssmField.Numeric("b"), DssmField.Bag("c", 5)], normalise: true);
        string Scaled(string number) => (double.Parse(number, System.Globalization.CultureInfo.InvariantCulture) * scale).ToString("R", System.Globalization.CultureInfo.InvariantCulture);
        string cells = string.Join(',', dense.Split(',').Select(Scaled)), entry = $"{bag[..1]}:{Scaled(bag[2..])}";
        TowerRows rows = DssmFiles.ReadItems(_folder.Write("i.csv", $"item,a,b,c\n1,{cells},{entry} {entry}\n"), schema).Content;
        double norm = Math.Sqrt(25 + 9 + 64);                                                             // the two entries of one id are put together
        double[] expected = [5 / norm, 3 / norm, 8 / norm], actual = [.. rows.Dense, .. rows.Bags[0].Weights!];
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-15));
    }

    [Fact]
    public void ReadItems_Normalised_UsualRowsKeepEveryBit()
    {
        Prop.ForAll(Gen.Choose(-10_000_000, 10_000_000).Two().Zip(Gen.Choose(-120, 120)).ToArbitrary(), drawn =>
        {
            ((int one, int two), int exponent) = drawn;
            double a = one / 3.0 * Math.Pow(10, exponent), b = two / 7.0 * Math.Pow(10, exponent), norm = Math.Sqrt(a * a + b * b);
            var encoder = new DssmRowEncoder(DssmSchema.OfView([DssmField.Numeric("a"), DssmField.Numeric("b")], normalise: true));
            encoder.Number(0, a);
            encoder.Number(1, b);
            encoder.End();
            Assert.Equal(norm > 0 ? [a / norm, b / norm] : [0, 0], encoder.Build().Dense);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void ReadInteractions_EveryRole_IsSortedByUserAndMoment()
    {
        InteractionTable table = Events("""
            role,item,user,time
            train,y,u,5
            seen,y,v,1
            test,y,u,4
            validation,y,u,5
            cold-user,x,v,2
            cold-item,x,v,0
            """);
        Assert.Equal(["u", "v"], table.Users);
        Assert.Equal(
        [
            new(0, 1, new(4, 0), EventRole.Test), new(0, 1, new(5, 0), EventRole.Train), new(0, 1, new(5, 0), EventRole.Validation), new(1, 0, new(0, 0), EventRole.ColdItem),
            new(1, 1, new(1, 0), EventRole.Seen), new(1, 0, new(2, 0), EventRole.ColdUser),
        ], table.Events);
    }

    [Theory]
    [InlineData("u,1,0,secret,train", DssmDataErrors.UnknownItem, "column 'item'")]
    [InlineData("u,1,0,x,secret", DssmDataErrors.UnknownRole, "column 'role'")]
    [InlineData("u,1,0,x,Train", DssmDataErrors.UnknownRole, "column 'role'")]
    [InlineData("u,1,0,,train", DataErrors.EmptyId, "column 'item'")]
    [InlineData(",1,0,x,train", DataErrors.EmptyId, "column 'user'")]
    [InlineData("u,secret,0,x,train", DssmDataErrors.MalformedMoment, "column 'time'")]
    [InlineData("u,1,secret,x,train", DssmDataErrors.MalformedMoment, "column 'sequence'")]
    [InlineData("u,1,0,y,cold-user", DssmDataErrors.RoleContradiction, "column 'role'")]              // u is trained on
    [InlineData("v,1,0,x,cold-item", DssmDataErrors.RoleContradiction, "column 'role'")]              // so is x
    public void ReadInteractions_FaultyRow_IsRefused(string row, string id, string place)
    {
        BadInputException error = ErrorAssert.Throws<BadInputException>(id, place, "secret", () => Events($"user,time,sequence,item,role\nu,0,0,x,train\n{row}\n"));
        Assert.Contains("line 3", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public void ReadInteractions_NoRole_IsRefused() => ErrorAssert.Throws<BadInputException>(DataErrors.ColumnMissing, "e.csv", null, () => Events("user,time,item\nu,1,x\n"));
}
