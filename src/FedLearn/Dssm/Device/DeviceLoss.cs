namespace FedLearn.Dssm;

internal sealed class DeviceLoss(DssmModelOptions model, int width, IReadOnlyList<string> views, int items)
{
    public double Evaluate(DssmBatch batch, DssmGradients gradients)
    {
        int b = batch.Targets.Length, k = width;
        gradients.Prepare(views.Count, b, k, items, 0, false);
        foreach (double[] view in gradients.Views)
            Array.Clear(view);
        Array.Clear(gradients.Items);
        double loss = 0;
        for (int i = 0; i < b; i++)
        {
            if (model.Fusion == DssmFusion.Late)
                for (int v = 0; v < views.Count; v++)
                {
                    if (batch.Present[v] is { } p && !p[i])
                        continue;
                    double weight = model.ViewWeights.GetValueOrDefault(views[v], 1) / views.Count;
                    loss += weight * Sample(batch, i, batch.Views[v].AsSpan(i * k, k), weight, gradients.Views[v].AsSpan(i * k, k), gradients.Items);
                }
            else
            {
                double[] fused = new double[k], d = new double[k];
                bool any = false;
                for (int v = 0; v < views.Count; v++)
                    if (batch.Present[v] is null || batch.Present[v]![i])
                    {
                        any = true;
                        for (int j = 0; j < k; j++)
                            fused[j] += model.ViewWeights.GetValueOrDefault(views[v], 1) * batch.Views[v][i * k + j];
                    }

                if (!any)
                    continue;
                loss += Sample(batch, i, fused, 1, d, gradients.Items);
                for (int v = 0; v < views.Count; v++)
                    if (batch.Present[v] is null || batch.Present[v]![i])
                        for (int j = 0; j < k; j++)
                            gradients.Views[v][i * k + j] = model.ViewWeights.GetValueOrDefault(views[v], 1) * d[j];
            }
        }

        return loss;
    }

    private double Sample(DssmBatch batch, int i, ReadOnlySpan<double> y, double weight, Span<double> dy, double[] dItems)
    {
        int k = width, target = batch.Targets[i];
        int[] candidates = model.Loss == DssmLossKind.Full ? [.. Enumerable.Range(0, items).OrderByDescending(c => c == target)]
            : [target, .. batch.Negatives.AsSpan(i * model.Negatives, model.Negatives)];
        double s = Norm(y);
        double[] z = new double[candidates.Length];
        for (int c = 0; c < z.Length; c++)
        {
            ReadOnlySpan<double> item = batch.Items.AsSpan(candidates[c] * k, k);
            double dot = 0;
            for (int j = 0; j < k; j++)
                dot += y[j] * item[j];
            z[c] = c > 0 && candidates[c] == target ? -1e9 : model.Gamma * dot / (s * Norm(item));
        }

        double max = z.Max(), sum = z.Sum(value => Math.Exp(value - max));
        double[] dyHat = new double[k];
        for (int c = 0; c < z.Length; c++)
        {
            double dz = weight * model.Gamma * (Math.Exp(z[c] - max) / sum - (c == 0 ? 1 : 0));
            ReadOnlySpan<double> item = batch.Items.AsSpan(candidates[c] * k, k);
            double t = Norm(item), along = 0;
            for (int j = 0; j < k; j++)
            {
                dyHat[j] += dz * item[j] / t;
                along += item[j] / t * (y[j] / s) * dz;
            }

            for (int j = 0; j < k; j++)
                dItems[candidates[c] * k + j] += (dz * y[j] / s - item[j] / t * along) / t;
        }

        double radial = 0;
        for (int j = 0; j < k; j++)
            radial += y[j] / s * dyHat[j];
        for (int j = 0; j < k; j++)
            dy[j] = (dyHat[j] - y[j] / s * radial) / s;
        return max + Math.Log(sum) - z[0];
    }

    private static double Norm(ReadOnlySpan<double> y)
    {
        double sum = 1e-6;
        foreach (double value in y)
            sum += value * value;
        return Math.Sqrt(sum);
    }
}
