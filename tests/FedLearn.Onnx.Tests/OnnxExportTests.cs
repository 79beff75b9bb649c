using System.Diagnostics;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace FedLearn.Onnx.Tests;

/// <summary>Exported files, run by ONNX Runtime and checked by the onnx package of Debian: neither shares code with the export.</summary>
public sealed class OnnxExportTests : IDisposable
{
    // Debian's, which eng/setup.sh installs; another python3 on the path may lack the package.
    private const string Python = "/usr/bin/python3";

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-onnx-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<Scaling, RowBound, bool, int> Cases()
    {
        var cases = new TheoryData<Scaling, RowBound, bool, int>();
        foreach (Scaling scaling in Enum.GetValues<Scaling>())
            foreach (RowBound rows in Enum.GetValues<RowBound>())
                foreach (bool constant in (bool[])[false, true])
                    foreach (int outputs in (int[])[1, 3])
                        cases.Add(scaling, rows, constant, outputs);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Save_RunByOnnxRuntime_ScoresAsTheModel(Scaling scaling, RowBound rows, bool constant, int outputs)
    {
        var random = new Random(((int)scaling * 100) + ((int)rows * 10) + outputs);
        for (int repeat = 0; repeat < 6; repeat++)
        {
            Table table = RandomTable(random, 1 + random.Next(40), oneColumn: repeat > 3);
            GlmModel model = RandomModel(random, table, scaling, rows, constant, outputs, intercepts: repeat % 2 == 0);
            Assert.InRange(LargestError(model, table), 0, 1e-9);
        }
    }

    [Fact]
    public void Save_OneColumnAndAwkwardRows_ScoresAsTheModel()
    {
        // A row of zeros, lengths whose squares are beyond float64 on either side, and lengths at the clip.
        double[] values = [0, 1e-200, -1e-310, 1e200, -1e300, 1, -1, Math.BitIncrement(1), 0.5];
        var column = new DenseMatrix(values.Length, 1);
        for (int i = 0; i < values.Length; i++)
            column.Row(i)[0] = values[i];
        var table = Table.FromMatrix([.. values.Select((_, i) => $"r{i}")], ["x"], column);
        foreach (RowBound rows in (RowBound[])[RowBound.Clip, RowBound.Normalize])
            foreach (bool constant in (bool[])[false, true])
                Assert.InRange(LargestError(RandomModel(new Random(5), table, Scaling.None, rows, constant, 1, intercepts: true), table), 0, 1e-12);
    }

    [Theory]
    [InlineData(RowBound.None)]
    [InlineData(RowBound.Clip)]
    [InlineData(RowBound.Normalize)]
    public void Save_RangesFromMinusOneToOneAndCellsOutside_ScoresAsTheModelOnDenseAndSparseRows(RowBound rows)
    {
        const int Rows = 40, Columns = 3;
        var random = new Random(11);
        var schema = TableSchema.Create([.. Enumerable.Range(0, Columns).Select(j => Field.Numeric($"x{j}", -1, 1))]);
        var values = new DenseMatrix(Rows, Columns, [.. Enumerable.Range(0, Rows * Columns).Select(_ => (100 * random.NextDouble()) - 50)]);
        string[] ids = [.. Enumerable.Range(0, Rows).Select(i => $"r{i}")];
        Table dense = Table.FromMatrix(ids, schema.FeatureNames, values, schema: schema);
        Table sparse = Table.FromSparse(ids, schema.FeatureNames, new SparseMatrix(Rows, Columns, [.. Enumerable.Range(0, Rows + 1).Select(i => i * Columns)],
            [.. Enumerable.Range(0, Rows * Columns).Select(k => k % Columns)], [.. values.Values]), schema: schema);
        GlmModel model = RandomModel(random, dense, Scaling.Declared, rows, constant: true, 1, intercepts: true);
        Assert.InRange(LargestError(model, dense), 0, 1e-9);
        int[] all = [.. Enumerable.Range(0, Rows)];
        Assert.All(model.Score(dense, all).Zip(model.Score(sparse, all)), scores => Assert.Equal(scores.First, scores.Second, 1e-12));
    }

    [Fact]
    public void Save_NoRows_GivesNoScores()
    {
        Table table = RandomTable(new Random(6), 5);
        GlmModel model = RandomModel(new Random(6), table, Scaling.Declared, RowBound.Clip, true, 3, intercepts: true);
        using InferenceSession session = Session(model);
        Assert.Equal([0, 3], Run(session, new DenseMatrix(0, table.Values.Columns)).Dimensions.ToArray());
    }

    [Fact]
    public void Save_Metadata_SaysWhatTheInputIs()
    {
        Table table = RandomTable(new Random(7), 5);
        GlmModel model = RandomModel(new Random(7), table, Scaling.Standardize, RowBound.None, true, 1, intercepts: false);
        using InferenceSession session = Session(model);
        Dictionary<string, string> facts = session.ModelMetadata.CustomMetadataMap;
        Assert.Equal(table.Schema.FeatureNames, JsonSerializer.Deserialize<string[]>(facts["columns"]));
        Assert.Equal(model.Features.FeatureNames, JsonSerializer.Deserialize<string[]>(facts["features"]));
        Assert.DoesNotContain("trainingId", facts.Keys);
        Assert.Equal((model.JobDigest, "p", "passive", "tweedie", "log", "1.5", "false"),
            (facts["jobDigest"], facts["party"], facts["role"], facts["family"], facts["link"], facts["family.power"], facts["usesOffsets"]));
        Assert.Equal("FedLearn", session.ModelMetadata.ProducerName);
        Assert.Equal(typeof(double), session.InputMetadata[OnnxExport.Input].ElementType);
        Assert.Equal([-1, table.Values.Columns], session.InputMetadata[OnnxExport.Input].Dimensions);
        Assert.Equal([-1, 1], session.OutputMetadata[OnnxExport.Output].Dimensions);
    }

    [Fact]
    public void Save_ActivePartyOfALogLink_SaysHowTheOthersEnter()
    {
        Table table = RandomTable(new Random(9), 5);
        GlmModel part = RandomModel(new Random(9), table, Scaling.Declared, RowBound.Clip, true, 1, intercepts: false);
        var model = new GlmModel(part.JobName, part.JobDigest, part.Party, part.Family, part.Features, part.Weights, part.Intercepts, peerLink: new GlmPeerLink(1.5, 0.1) { Slope = 0.25 }) { TrainingId = "a1" };
        using InferenceSession session = Session(model);
        Dictionary<string, string> facts = session.ModelMetadata.CustomMetadataMap;
        Assert.Equal(("a1", "1.5", "0.25", "0.1"), (facts["trainingId"], facts["peerCenter"], facts["peerSlope"], facts["peerLeast"]));
    }

    [Fact]
    public void Save_EveryCase_PassesTheOnnxChecker()
    {
        (int code, string error) = Checker("import onnx");
        if (code != 0)
            Assert.Skip($"{Python} cannot import onnx; Debian's package python3-onnx is absent.");
        var random = new Random(8);
        Table table = RandomTable(random, 10);
        int number = 0;
        foreach (Scaling scaling in Enum.GetValues<Scaling>())
            foreach (RowBound rows in Enum.GetValues<RowBound>())
                foreach (bool constant in (bool[])[false, true])
                    OnnxExport.Save(RandomModel(random, table, scaling, rows, constant, 1 + (2 * (number % 2)), intercepts: number % 3 == 0), Path.Combine(_folder, $"{number++}.onnx"));
        (code, error) = Checker("""
            import glob, onnx, sys
            files = glob.glob(sys.argv[1] + "/*.onnx")
            for file in files:
                model = onnx.load(file)
                onnx.checker.check_model(model, full_check=True)
                inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
                assert len(inferred.graph.value_info) == len(model.graph.node) - 1, file
            assert len(files) == int(sys.argv[2]), len(files)
            """, _folder, $"{number}");
        Assert.True(code == 0, error);
    }

    private static (int Code, string Error) Checker(params string[] arguments)
    {
        if (!File.Exists(Python))
            return (1, "");
        using Process process = Process.Start(new ProcessStartInfo(Python, ["-c", .. arguments]) { RedirectStandardError = true })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error);
    }

    private InferenceSession Session(GlmModel model)
    {
        string path = Path.Combine(_folder, "model.onnx");
        OnnxExport.Save(model, path);
        return new InferenceSession(path);
    }

    private static DenseTensor<double> Run(InferenceSession session, DenseMatrix values)
    {
        var input = new DenseTensor<double>([values.Rows, values.Columns]);
        for (int i = 0; i < values.Rows; i++)
            values.Row(i).CopyTo(input.Buffer.Span[(i * values.Columns)..]);
        using IDisposableReadOnlyCollection<DisposableNamedOnnxValue> results = session.Run([NamedOnnxValue.CreateFromTensor(OnnxExport.Input, input)]);
        return results.Single(r => r.Name == OnnxExport.Output).AsTensor<double>().ToDenseTensor();
    }

    private double LargestError(GlmModel model, Table table)
    {
        int[] rows = [.. Enumerable.Range(0, table.Values.Rows)];
        double[] expected = model.Score(table, rows);
        using InferenceSession session = Session(model);
        DenseTensor<double> scores = Run(session, table.Values);
        double largest = 0;
        foreach (int i in rows)
            for (int m = 0; m < model.Outputs; m++)
            {
                double error = Math.Abs(scores[i, m] - expected[(m * rows.Length) + i]);
                largest = error <= largest ? largest : error;
            }

        return largest;
    }

    /// <summary>Numeric columns of very different ranges, values outside them too, one-hot columns and categories.</summary>
    private static Table RandomTable(Random random, int rows, bool oneColumn = false)
    {
        int numbers = oneColumn ? 1 : 1 + random.Next(5);
        double[] scales = [.. Enumerable.Range(0, numbers).Select(_ => Math.Pow(10, random.Next(-6, 7)))];
        Field[] fields =
        [
            .. scales.Select((s, j) => Field.Numeric($"n{j}", -s, 2 * s)),
            .. oneColumn ? Array.Empty<Field>() :
            [
                new Field("sex", FieldKind.OneHot, null, null, ["sex_f", "sex_m"], []),
                new Field("city", FieldKind.Category, null, null, [], ["Köln", "a,\"b"]),
            ],
        ];
        var schema = TableSchema.Create(fields);
        var values = new DenseMatrix(rows + 2, schema.FeatureNames.Count);
        for (int i = 0; i < values.Rows; i++)
        {
            Span<double> row = values.Row(i);
            for (int j = 0; j < numbers; j++)
                row[j] = scales[j] * ((5 * random.NextDouble()) - 2);
            if (oneColumn)
                continue;
            // The two first rows differ everywhere, so that no column is constant.
            row[numbers + (i < 2 ? i : random.Next(2))] = 1;
            row[numbers + 2 + (i < 2 ? i : random.Next(2))] = 1;
        }

        return Table.FromMatrix([.. Enumerable.Range(0, values.Rows).Select(i => $"r{i}")], schema.FeatureNames, values, schema: schema);
    }

    private static GlmModel RandomModel(Random random, Table table, Scaling scaling, RowBound rows, bool constant, int outputs, bool intercepts)
    {
        int[] all = [.. Enumerable.Range(0, table.Values.Rows)];
        var map = FeatureMap.Fit(table, all, new PreprocessingOptions { Scaling = scaling, Rows = rows, RowNorm = 0.5 + random.NextDouble() }, constant);
        // Without scaling and bound, weights are as small as their columns are large, as trained ones are.
        double[] sizes = [.. map.FeatureNames.Select((_, j) => scaling == Scaling.None && rows == RowBound.None && j < table.Values.Columns
            ? all.Max(i => Math.Abs(table.Values.Row(i)[j])) : 1)];
        return new GlmModel("job", new string('a', 64), new("p", PartyRole.Passive), "tweedie", map,
            [.. Enumerable.Range(0, outputs).SelectMany(_ => sizes.Select(s => ((2 * random.NextDouble()) - 1) / s))],
            intercepts ? [.. Enumerable.Range(0, outputs).Select(_ => random.NextDouble())] : [], outputs)
        {
            Link = "log",
            FamilyParameters = new Dictionary<string, double> { ["power"] = 1.5 },
        };
    }
}
