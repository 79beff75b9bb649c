using System.Globalization;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Onnx.Wire;
using Google.Protobuf;

namespace FedLearn.Onnx;

/// <summary>One party's part of a GLM as ONNX (operator set 13), float64 throughout: for scoring outside FedLearn.</summary>
/// <remarks>
/// <para>Input <c>x</c>, shape [N, columns]: the party's encoded columns, unscaled, in the order of the metadata <c>columns</c>; numbers as they are, 0 and 1 for categories
/// and one-hot columns. Output <c>scores</c>, shape [N, outputs]: the party's linear predictor, its free intercepts included. Scaling, clipping, the bound of the row's
/// length and the constant are part of the graph.</para>
/// <para>Not part of it: the row's offset, the other parties' scores and, where the metadata has <c>peerCenter</c>, the link those enter by; and the inverse link that
/// makes a mean of the sum. Finite inputs are assumed.</para>
/// <para>Equal to <see cref="GlmModel.Score"/> up to rounding: of a row, to about (features + 8) 2^-52 of the sum of |weight times feature|.</para>
/// <para>The file holds the party's weights and scaling constants and is as private as its model file.</para>
/// </remarks>
public static class OnnxExport
{
    /// <summary>Name of the input.</summary>
    public const string Input = "x";

    /// <summary>Name of the output.</summary>
    public const string Output = "scores";

    private const int IrVersion = 7, OperatorSet = 13;

    // Smallest normal number: what lengths are held above, so that a row of zeros stays one.
    private const double Tiny = 2.2250738585072014e-308;

    /// <summary>Writes a part of a model to a file.</summary>
    /// <param name="model">The part.</param>
    /// <param name="path">The file; replaced when it exists.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Save(GlmModel model, string path)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(path);
        File.WriteAllBytes(path, ModelOf(model).ToByteArray());
    }

    private static ModelProto ModelOf(GlmModel model) => new()
    {
        IrVersion = IrVersion,
        ProducerName = "FedLearn",
        ProducerVersion = model.SoftwareVersion,
        DocString = $"Linear predictor of party {model.Party.Name}, one of several: the model's is the sum over the parties, plus offsets. "
            + "The columns of x, encoded and unscaled, are those of the metadata 'columns', in that order.",
        Graph = GraphOf(model),
        OpsetImport = { new OperatorSetIdProto { Version = OperatorSet } },
        MetadataProps = { Metadata(model).Select(m => new StringStringEntryProto { Key = m.Key, Value = m.Value }) },
    };

    private static IEnumerable<(string Key, string Value)> Metadata(GlmModel model)
    {
        static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
        yield return ("job", model.JobName);
        yield return ("jobDigest", model.JobDigest);
        if (model.TrainingId is { } training)
            yield return ("trainingId", training);
        yield return ("party", model.Party.Name);
        yield return ("role", model.Party.Role == PartyRole.Active ? "active" : "passive");
        yield return ("family", model.Family);
        if (model.Link is { } link)
            yield return ("link", link);
        foreach ((string name, double value) in model.FamilyParameters)
            yield return ($"family.{name}", Number(value));
        if (model.SchemaFingerprint is { } fingerprint)
            yield return ("schemaFingerprint", fingerprint);
        yield return ("columns", JsonSerializer.Serialize(model.Features.Description.Columns.Select(c => c.Name)));
        yield return ("features", JsonSerializer.Serialize(model.Features.FeatureNames));
        yield return ("usesOffsets", model.UsesOffsets ? "true" : "false");
        if (model.PeerLink is not { } peers)
            yield break;
        yield return ("peerCenter", Number(peers.Center));
        yield return ("peerSlope", Number(peers.Slope));
        yield return ("peerLeast", Number(peers.Least));
    }

    // As FeatureMap: scale, bound, append, multiply; then z = X W + b. ONNX Runtime fuses a constant of one number into a matrix product next to it and keeps that
    // number as float32. So R and the square root of 2 are multiplied into the weights here, and the width of a single column is kept apart by bounds that are infinite.
    private static GraphProto GraphOf(GlmModel model)
    {
        FeatureMapDescription map = model.Features.Description;
        int features = model.Features.FeatureNames.Count, outputs = model.Outputs;
        var graph = new GraphBuilder(Input);
        Scale(graph, map);
        switch (map.Rows)
        {
            case RowBound.None:
                Append(graph, map);
                break;
            case RowBound.Clip:
                DivideByLength(graph, map.ClipLength);
                Append(graph, map);
                break;
            case RowBound.Normalize:
                Append(graph, map);
                DivideByLength(graph, 0);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(model), map.Rows, "Rows are bounded in a way that the export does not know.");
        }

        double factor = map switch
        {
            { Rows: RowBound.None } => 1,
            { Rows: RowBound.Clip, Constant: true } => map.RowNorm / Math.Sqrt(2),
            _ => map.RowNorm,
        };
        // Weights are class by class, a matrix product wants them feature by feature.
        double[] weights = [.. Enumerable.Range(0, features).SelectMany(j => Enumerable.Range(0, outputs).Select(m => factor * model.Weights[(m * features) + j]))];
        graph.Apply("MatMul", graph.Constant("weights", weights, features, outputs));
        if (model.Intercepts.Count > 0)
            graph.Apply("Add", graph.Constant("intercepts", [.. model.Intercepts], outputs));
        return graph.Build($"{model.JobName}/{model.Party.Name}", map.Columns.Count, Output, outputs);
    }

    private static void Scale(GraphBuilder graph, FeatureMapDescription map)
    {
        IReadOnlyList<ScaledColumn> columns = map.Columns;
        if (columns.Any(c => c.Center != 0))
            graph.Apply("Sub", graph.Constant("centers", [.. columns.Select(c => c.Center)], columns.Count));
        if (columns.Any(c => c.Width != 1))
            graph.Apply("Div", graph.Constant("widths", [.. columns.Select(c => c.Width)], columns.Count));
        if (!columns.Any(c => c.Clip) && columns.Count > 1)
            return;
        graph.Apply("Max", graph.Constant("lowest", [.. columns.Select(c => c.Clip ? -1 : double.NegativeInfinity)], columns.Count));
        graph.Apply("Min", graph.Constant("highest", [.. columns.Select(c => c.Clip ? 1 : double.PositiveInfinity)], columns.Count));
    }

    private static void Append(GraphBuilder graph, FeatureMapDescription map)
    {
        if (map.Constant)
            graph.Apply("Pad", graph.Whole("one_more_column", 0, 0, 0, 1), graph.Number("one", 1));
    }

    /// <summary>x / max(|x|, limit): a row that is longer than the limit is shortened to it and divided by it, as any other is divided by it.</summary>
    /// <remarks>In units u of the row's largest magnitude, y = x / u, so that no square leaves float64: y / max(|y|, limit / u).</remarks>
    private static void DivideByLength(GraphBuilder graph, double limit)
    {
        string row = graph.Last, tiny = graph.Number("tiny", Tiny);
        graph.Apply("Abs");
        string unit = graph.Apply("Max", graph.ApplyOver("ReduceMax", 1), tiny);
        string inUnits = graph.ApplyTo("Div", row, unit);
        graph.ApplyTo("Mul", inUnits, inUnits);
        graph.Apply("ReduceSum", graph.Whole("columns_axis", 1));
        string length = graph.Apply("Sqrt");
        string least = limit == 0 ? tiny : graph.ApplyTo("Div", graph.Number("clip_length", limit), unit);
        graph.ApplyTo("Div", inUnits, graph.ApplyTo("Max", length, least));
    }
}
