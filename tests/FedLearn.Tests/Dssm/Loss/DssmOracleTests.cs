using System.Text.Json;
using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Dssm.Loss;

/// <summary>Losses and gradients of an independent automatic differentiation, from the inputs of towers to their parameters. Its loss is the mean over samples.</summary>
public sealed class DssmOracleTests
{
    [Fact]
    public void EveryCase_LossAndGradients_AreThoseOfTheOracle()
    {
        JsonElement oracle = Oracle.Load("dssm_oracles.json");
        int[] targets = Whole(oracle.GetProperty("pos")), negatives = Whole(oracle.GetProperty("neg"));
        JsonElement weights = oracle.GetProperty("weights");
        double[][] inputs = [.. oracle.GetProperty("X").EnumerateArray().Select(view => Numbers(view)), Numbers(oracle.GetProperty("items"))];
        string[] names = [.. Enumerable.Range(0, inputs.Length - 1).Select(v => $"u{v}"), "i"];
        int b = targets.Length, k = weights.GetProperty("i.b2").GetArrayLength(), n = oracle.GetProperty("items").GetArrayLength(), count = names.Length - 1;
        double[] logQ = [.. Numbers(oracle.GetProperty("q")).Select(share => Math.Log(share))];
        foreach (JsonProperty entry in oracle.GetProperty("cases").EnumerateObject())
        {
            JsonElement expected = entry.Value;
            string[] parts = entry.Name.Split('/');
            var model = new DssmModelOptions
            {
                Fusion = parts[0] == "late" ? DssmFusion.Late : DssmFusion.Sum,
                Loss = parts[1] switch { "sampled" => DssmLossKind.Sampled, "full" => DssmLossKind.Full, "logq" => DssmLossKind.InBatchLogQ, "inbatch" => DssmLossKind.InBatch, _ => throw new NotSupportedException(entry.Name) },
                Negatives = negatives.Length / b,
                Gamma = oracle.Number("gamma"),
            };
            ITower[] towers = [.. names.Select((name, t) => Tower(weights, name, inputs[t].Length / (t < count ? b : n)))];
            double[][] vectors = [.. towers.Select((tower, t) => Forward(tower, inputs[t], t < count ? b : n))];
            for (int v = 0; v < count; v++)
                Close(Numbers(expected.GetProperty("y")[v]), vectors[v]);
            Close(Numbers(expected.GetProperty("Y")), vectors[count]);

            var loss = new DssmLoss(model, k, names[..count], n, logQ);
            var gradients = new DssmGradients();
            double sum = loss.Evaluate(new DssmBatch { Views = vectors[..count], Present = new bool[]?[count], Items = vectors[count], Targets = targets, Negatives = negatives }, gradients);
            Close([expected.Number("loss")], [sum / b]);
            double[][] mean = [.. gradients.Views.Append(gradients.Items).Select(values => values.Select(g => g / b).ToArray())];
            for (int v = 0; v < count; v++)
                Close(Numbers(expected.GetProperty("dy")[v]), mean[v]);
            Close(Numbers(expected.GetProperty("dY")), mean[count]);
            for (int t = 0; t < names.Length; t++)
            {
                double[] gradient = new double[towers[t].ParameterCount];
                towers[t].Backward(mean[t]);
                towers[t].GetGradient(gradient);
                Close(Parameters(expected.GetProperty("dW"), names[t]), gradient);
            }
        }
    }

    private static ITower Tower(JsonElement weights, string name, int inputs)
    {
        var spec = new TowerSpec
        {
            Inputs = new TowerInputs(inputs, []),
            Layers = [weights.GetProperty($"{name}.b1").GetArrayLength(), weights.GetProperty($"{name}.b2").GetArrayLength()],
            Precision = TowerPrecision.Float64,
        };
        ITower tower = new ReferenceTowerFactory().Create(spec, 0);
        tower.SetParameters(Parameters(weights, name));
        return tower;
    }

    private static double[] Forward(ITower tower, double[] dense, int rows)
    {
        double[] output = new double[rows * tower.Width];
        tower.Forward(new TowerRows(tower.Inputs, rows, dense, []), [.. Enumerable.Range(0, rows)], output, training: true);
        return output;
    }

    // Matrices of the oracle are output-major, those of towers input-major.
    private static double[] Parameters(JsonElement weights, string name) =>
        [.. Transposed(weights.GetProperty($"{name}.W1")), .. Numbers(weights.GetProperty($"{name}.b1")), .. Transposed(weights.GetProperty($"{name}.W2")), .. Numbers(weights.GetProperty($"{name}.b2"))];

    private static IEnumerable<double> Transposed(JsonElement matrix)
    {
        double[][] rows = [.. matrix.EnumerateArray().Select(row => Numbers(row))];
        return Enumerable.Range(0, rows[0].Length).SelectMany(column => rows.Select(row => row[column]));
    }

    private static double[] Numbers(JsonElement element) => element.ValueKind == JsonValueKind.Array ? [.. element.EnumerateArray().SelectMany(Numbers)] : [element.GetDouble()];

    private static int[] Whole(JsonElement element) => [.. Numbers(element).Select(value => (int)value)];

    private static void Close(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        double scale = expected.Max(Math.Abs);
        for (int j = 0; j < expected.Length; j++)
            Assert.Equal(expected[j], actual[j], 1e-12 * scale);
    }
}
