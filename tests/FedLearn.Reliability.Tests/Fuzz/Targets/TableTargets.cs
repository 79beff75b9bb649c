using System.Text;
using FedLearn.Data;
using FedLearn.Dssm;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>A target that reads a table.</summary>
/// <param name="name">Name.</param>
/// <param name="fastCases">Cases of the fast tier.</param>
/// <param name="separator">What separates cells.</param>
internal abstract class TableTarget(string name, int fastCases, char separator = ',') : FuzzTarget(name, fastCases)
{
    private readonly TextMutator _mutator = new(separator);

    // Names of columns, schemas and dictionaries beside the cells; and what reading a file costs whatever its size.
    public override long AllocationLimit(int length) => (8L << 20) + 1000L * length;

    public override byte[] Make(FuzzRandom random) => _mutator.Mutate(random, Seeds);

    protected static string Write(byte[] input, string folder, string name)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllBytes(path, input);
        return path;
    }

    protected static void Check(Table table)
    {
        Require(table.Ids.Count > 0 && table.Ids.All(id => id.Length > 0) && table.Ids.Distinct(StringComparer.Ordinal).Count() == table.Ids.Count, "Ids are empty or not unique.");
        Require(table.Labels is null || table.Labels.All(double.IsFinite), "A label is not finite.");
        if (table.Sparse is null)
            for (int row = 0; row < table.Values.Rows; row++)
                foreach (double value in table.Values.Row(row))
                    Require(double.IsFinite(value), "A value is not finite.");
        _ = table.PlaceOf(table.Ids.Count - 1);
    }
}

/// <summary>A CSV file without a schema.</summary>
internal sealed class CsvTableTarget() : TableTarget("csv-table", 3_000)
{
    protected override void Read(byte[] input, string folder) => Check(Table.Load(new TableSource { Path = Write(input, folder, "t.csv"), Label = "y" }, needLabel: true));
}

/// <summary>A CSV file with semicolons between cells and decimal commas.</summary>
internal sealed class CsvDialectTarget() : TableTarget("csv-dialect", 2_000, ';')
{
    protected override IEnumerable<byte[]> MadeSeeds() => ["id;y;a\nx;0;1,5\ny;1;-2,25e3\n"u8.ToArray(), "y;id;a\n1;\"p;q\";,5\n0;r.s;2\n"u8.ToArray()];

    protected override void Read(byte[] input, string folder) =>
        Check(Table.Load(new TableSource { Path = Write(input, folder, "t.csv"), Separator = ';', DecimalMark = ',', Label = "y" }, needLabel: true));
}

/// <summary>A CSV file with fields of every kind, ids of two columns and a weight.</summary>
internal sealed class CsvSchemaTarget() : TableTarget("csv-schema", 3_000)
{
    protected override void Read(byte[] input, string folder)
    {
        string schema = Path.Combine(folder, "t.schema.json");
        if (!File.Exists(schema))
            File.Copy(Path.Combine(FuzzFiles.Corpus, "table-schema", "all.json"), schema);
        Check(Table.Load(new TableSource { Path = Write(input, folder, "t.csv"), Schema = schema, LabelRange = (0, 1) }, needLabel: input.Length % 2 == 0));
    }
}

/// <summary>The ids of a CSV file, of two columns.</summary>
internal sealed class IdTableTarget() : TableTarget("id-table", 2_000)
{
    protected override void Read(byte[] input, string folder)
    {
        IdTable table = IdTable.Load(new TableSource { Path = Write(input, folder, "t.csv"), IdColumns = ["id", "part"] }, keepFirst: input.Length % 2 == 0, default);
        Require(RowIds.Order(table.Ids, 7).Digests.Length == 32 * table.Ids.Length, "Rows are lost in their order.");
    }
}

/// <summary>A file that says which rows are for testing.</summary>
internal sealed class RowSplitTarget() : TableTarget("row-split", 2_000)
{
    protected override void Read(byte[] input, string folder) =>
        Require(RowSplit.TestRows(new SplitRule.FromFile(), Write(input, folder, "split.csv"), ["a", "b", "c"], [0, 1, 2]).Length == 3, "A row has no place in the split.");
}

/// <summary>Sparse rows.</summary>
internal sealed class SvmTableTarget() : TableTarget("svm-table", 4_000, ' ')
{
    protected override void Read(byte[] input, string folder) => Check(Table.Load(new TableSource { Path = Write(input, folder, "t.svm"), FirstIndex = input.Length % 2 }, needLabel: input.Length % 4 < 2));
}

/// <summary>NumPy arrays: a table, and labels of it.</summary>
internal sealed class NpyTableTarget() : TableTarget("npy-table", 5_000)
{
    public override byte[] Make(FuzzRandom random) => NpyMutator.Make(random, Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() => [Array("(3, 2)", 48), Array("(6,)", 48)];

    protected override void Read(byte[] input, string folder)
    {
        string path = Write(input, folder, "t.npy");
        if (input.Length % 4 == 0)
            NpyTable.ReadInput(RowInputKind.Label, path, (0, 1), 6, default);
        else
            Check(Table.Load(new TableSource { Path = path }, needLabel: false));
    }

    internal static byte[] Array(string shape, int bytes)
    {
        byte[] header = Encoding.ASCII.GetBytes($"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
        return [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. header, .. new byte[bytes]];
    }
}

/// <summary>The three tables of a recommendation job; which one an input is, its header says.</summary>
internal sealed class DssmTablesTarget() : TableTarget("dssm-tables", 4_000)
{
    private static readonly DssmSchema View = Schema("view"), Items = Schema("items");

    private static readonly ItemTable Known = new(["i1", "i2"], new TowerRows(new TowerInputs(1, []), 2, new double[2], []));

    protected override void Read(byte[] input, string folder)
    {
        string path = Write(input, folder, "t.csv");
        if (input.AsSpan().IndexOf("role"u8) >= 0)
            Require(DssmFiles.ReadInteractions(path, Known).Events.All(e => e.Item is 0 or 1), "An event names no item.");
        else if (input.AsSpan().StartsWith("item"u8))
            Require(DssmFiles.ReadItems(path, Items) is { } items && items.Ids.Count == items.Content.Rows, "An item has no content.");
        else
            Require(DssmFiles.ReadView(path, View).Rows.Rows > 0, "A view has no rows.");
    }

    private static DssmSchema Schema(string name) => DssmSchema.Load(Path.Combine(FuzzFiles.Corpus, "dssm-schema", $"{name}.json"));
}

/// <summary>The files of MovieLens 100K; the one that is changed is the first whose form it has.</summary>
internal sealed class MovieLensTarget() : TableTarget("movielens", 2_000, '|')
{
    private static readonly string[] Names = ["u.data", "u.item", "u.user"];

    protected override void Read(byte[] input, string folder)
    {
        int which = input.Contains((byte)'\t') ? 0 : input.AsSpan().Count((byte)'|') > 2 * 4 * Math.Max(1, input.AsSpan().Count((byte)'\n')) ? 1 : 2;
        for (int i = 0; i < Names.Length; i++)
            File.WriteAllBytes(Path.Combine(folder, Names[i]), i == which ? input : Seeds[i]);
        Require(MovieLens100K.Read(folder).Ratings.Count > 0, "A set has no ratings.");
    }
}

/// <summary>An index of items: its array, which begins with the byte 0x93, or its lines; the other of the two is right.</summary>
internal sealed class ItemIndexTarget() : TableTarget("item-index", 1_000)
{
    private static readonly byte[] Lines = "id,model,bias\na,v1,0.5\nb,v1,1e-3\nc,v1,0\n"u8.ToArray(), Vectors = NpyTableTarget.Array("(3, 2)", 48);

    public override byte[] Make(FuzzRandom random) => random.OneIn(3) ? NpyMutator.Make(random, [Vectors]) : base.Make(random);

    protected override IEnumerable<byte[]> MadeSeeds() => [Lines, "id,model\na,v1\nb,v1\nc,v1\n"u8.ToArray(), Vectors];

    protected override void Read(byte[] input, string folder)
    {
        string name = Path.Combine(folder, "items");
        bool isArray = input.Length > 0 && input[0] == 0x93;
        File.WriteAllBytes(name + ".npy", isArray ? input : Vectors);
        File.WriteAllBytes(name + ".ids.csv", isArray ? Lines : input);
        Require(ItemIndexFiles.Load(name).Ids.Count == 3, "An index has lost an item.");
    }
}
