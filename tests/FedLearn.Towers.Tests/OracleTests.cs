using System.Text.Json;
using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests;

/// <summary>The tower part of the oracles: outputs, and gradients of all weights from the gradients of the outputs.</summary>
public sealed class OracleTests
{
    private const double Tolerance = 1e-12;

    [Fact]
    public void ReferenceTower_OracleWeights_GivesItsOutputsAndGradients() => Agree(new ReferenceTowerFactory());

    [Fact]
    public void LibTorchTowers_OracleWeights_GivesItsOutputsAndGradients()
    {
        Native.Require();
        Agree(new LibTorchTowers());
    }

    private static void Agree(ITowerFactory factory)
    {
        JsonElement oracle = Oracle.Load("dssm_oracles.json"), weights = oracle.GetProperty("weights");
        int cases = 0;
        foreach (JsonProperty each in oracle.GetProperty("cases").EnumerateObject())
        {
            JsonElement gradients = each.Value.GetProperty("dW");
            for (int view = 0; view < 2; view++)
                Check($"u{view}", oracle.GetProperty("X")[view], each.Value.GetProperty("y")[view], each.Value.GetProperty("dy")[view]);
            Check("i", oracle.GetProperty("items"), each.Value.GetProperty("Y"), each.Value.GetProperty("dY"));
            cases++;

            void Check(string name, JsonElement inputs, JsonElement outputs, JsonElement upstream)
            {
                double[] x = Flat(inputs), expected = Flat(outputs);
                int rows = inputs.GetArrayLength();
                var spec = new TowerSpec
                {
                    Inputs = new(x.Length / rows, []),
                    Layers = [weights.GetProperty($"{name}.b1").GetArrayLength(), weights.GetProperty($"{name}.b2").GetArrayLength()],
                    Precision = TowerPrecision.Float64,
                };
                using ITower tower = factory.Create(spec, 1);
                tower.SetParameters(Parameters(weights, name));
                double[] y = new double[expected.Length], gradient = new double[tower.ParameterCount];
                tower.Forward(new TowerRows(spec.Inputs, rows, x, []), [.. Enumerable.Range(0, rows)], y, training: true);
                Near(expected, y, $"{each.Name} {name} outputs");
                tower.Backward(Flat(upstream));
                tower.GetGradient(gradient);
                // dy, dY and dW of the oracle belong to one loss, so that no factor stands between them.
                Near(Parameters(gradients, name), gradient, $"{each.Name} {name} gradient");
            }
        }

        Assert.NotEqual(0, cases);
    }

    // The oracle's matrices are output-major.
    private static double[] Parameters(JsonElement values, string name) =>
    [
        .. Transposed(values.GetProperty($"{name}.W1")), .. Flat(values.GetProperty($"{name}.b1")), .. Transposed(values.GetProperty($"{name}.W2")), .. Flat(values.GetProperty($"{name}.b2")),
    ];

    private static IEnumerable<double> Transposed(JsonElement matrix) =>
        Enumerable.Range(0, matrix[0].GetArrayLength()).SelectMany(column => matrix.EnumerateArray().Select(row => row[column].GetDouble()));

    private static double[] Flat(JsonElement values) =>
        [.. values.EnumerateArray().SelectMany(value => value.ValueKind == JsonValueKind.Array ? Flat(value) : [value.GetDouble()])];

    private static void Near(double[] expected, double[] found, string what)
    {
        double scale = expected.Max(Math.Abs), worst = expected.Zip(found, (a, b) => Math.Abs(a - b)).Max();
        Assert.True(worst <= Tolerance * scale, $"{what}: {worst / scale}");
    }
}
