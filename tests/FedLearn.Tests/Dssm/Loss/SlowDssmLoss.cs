using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Loss;

/// <summary>The loss in plain loops, one sample at a time with full-size gradients: slow, obvious, and the truth for the kernels.</summary>
internal sealed class SlowDssmLoss(DssmModelOptions model, int width, string[] views, int items, double[]? logQ, bool[]? trainable, double[] parameters)
{
    internal sealed record Row(double Loss, double[][] Views, double[] Items, double[] Fusion);

    private readonly int _matrix = model.Fusion == DssmFusion.Concat ? views.Length * width * width : 0;

    private int Roots => _matrix;

    private int Bias => _matrix + (model.LearnViewWeights ? views.Length : 0);

    private double Weight(int v) => model.LearnViewWeights ? parameters[Roots + v] * parameters[Roots + v] : model.ViewWeights.GetValueOrDefault(views[v], 1);

    internal Row Sample(DssmBatch batch, int i)
    {
        int count = views.Length;
        var row = new Row(0, [.. views.Select(_ => new double[width])], new double[items * width], new double[parameters.Length]);
        int[] present = [.. Enumerable.Range(0, count).Where(v => batch.Present[v]?[i] ?? true)];
        if (present.Length == 0)
            return row;
        double[] View(int v) => batch.Views[v].AsSpan(i * width, width).ToArray();
        double loss = 0;
        if (model.Fusion == DssmFusion.Late)
        {
            double sum = present.Sum(Weight), divisor = model.LearnViewWeights ? Math.Max(sum, 1e-12) : sum;
            double[] losses = new double[count];
            foreach (int v in present)
            {
                losses[v] = Head(batch, i, View(v), Weight(v) / divisor, row, out double[] gradient);
                row.Views[v] = gradient;
                loss += Weight(v) / divisor * losses[v];
            }

            if (model.LearnViewWeights)
                foreach (int v in present)
                    row.Fusion[Roots + v] = 2 * parameters[Roots + v] * (losses[v] - (sum > 1e-12 ? loss : 0)) / divisor;
            return row with { Loss = loss };
        }

        double[] fused = new double[width];
        foreach (int v in present)
            for (int to = 0; to < width; to++)
                for (int from = 0; from < width; from++)
                    fused[to] += Weight(v) * View(v)[from] * Map(v, from, to);
        loss = Head(batch, i, fused, 1, row, out double[] above);
        foreach (int v in present)
            for (int from = 0; from < width; from++)
            {
                double before = 0;
                for (int to = 0; to < width; to++)
                {
                    before += above[to] * Map(v, from, to);
                    if (_matrix > 0)
                        row.Fusion[(v * width + from) * width + to] += Weight(v) * View(v)[from] * above[to];
                }

                row.Views[v][from] = Weight(v) * before;
                if (model.LearnViewWeights)
                    row.Fusion[Roots + v] += 2 * parameters[Roots + v] * before * View(v)[from];
            }

        return row with { Loss = loss };
    }

    private double Map(int v, int from, int to) => _matrix > 0 ? parameters[(v * width + from) * width + to] : from == to ? 1 : 0;

    // One softmax: adds share times its gradients of items and biases to the row; the vector's gradient has the share too, the loss does not.
    private double Head(DssmBatch batch, int i, double[] vector, double share, Row row, out double[] gradient)
    {
        int target = batch.Targets[i];
        int[] negatives = model.Loss switch
        {
            DssmLossKind.Sampled => [.. batch.Negatives.Skip(i * model.Negatives).Take(model.Negatives)],
            DssmLossKind.Full => [.. Enumerable.Range(0, items).Where(item => item != target && (trainable?[item] ?? true))],
            _ => [.. batch.Targets.Where(other => other != target)],
        };
        int[] candidates = [target, .. negatives];
        double[][] itemVectors = [.. candidates.Select(item => batch.Items.AsSpan(item * width, width).ToArray())];
        (double[] unit, double length) = Unit(vector);
        (double[] Unit, double Length)[] units = [.. itemVectors.Select(Unit)];
        double[] logits = new double[candidates.Length];
        for (int c = 0; c < candidates.Length; c++)
        {
            logits[c] = model.Gamma * unit.Zip(units[c].Unit, (a, b) => a * b).Sum() + (model.ItemBias ? parameters[Bias + candidates[c]] : 0);
            if (model.Loss == DssmLossKind.InBatchLogQ)
                logits[c] -= logQ![candidates[c]];
            if (c > 0 && candidates[c] == target)
                logits[c] = -1e9;
        }

        double largest = logits.Max(), total = logits.Sum(z => Math.Exp(z - largest));
        double[] unitGradient = new double[width];
        for (int c = 0; c < candidates.Length; c++)
        {
            double dz = share * (Math.Exp(logits[c] - largest) / total - (c == 0 ? 1 : 0));
            if (model.ItemBias)
                row.Fusion[Bias + candidates[c]] += dz;
            for (int j = 0; j < width; j++)
                unitGradient[j] += model.Gamma * dz * units[c].Unit[j];
            double[] item = Back(units[c].Unit, units[c].Length, [.. unit.Select(u => model.Gamma * dz * u)]);
            for (int j = 0; j < width; j++)
                row.Items[candidates[c] * width + j] += item[j];
        }

        gradient = Back(unit, length, unitGradient);
        return largest + Math.Log(total) - logits[0];
    }

    private static (double[] Unit, double Length) Unit(double[] y)
    {
        double length = Math.Sqrt(y.Sum(value => value * value) + 1e-6);
        return ([.. y.Select(value => value / length)], length);
    }

    private static double[] Back(double[] unit, double length, double[] gradient)
    {
        double along = unit.Zip(gradient, (a, b) => a * b).Sum();
        return [.. unit.Zip(gradient, (u, g) => (g - u * along) / length)];
    }
}
