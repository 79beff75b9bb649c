using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm;

/// <summary>The pooled training that split training must equal: one program, one loop, no messages.</summary>
internal static class PooledDssm
{
    public static (Dictionary<string, byte[]> Towers, double[] Fusion) Train(DssmJob job, IReadOnlyList<DssmPartyInput> inputs, ITowerFactory factory)
    {
        DssmPartyInput label = inputs[0];
        InteractionTable table = label.Interactions!;
        Interaction[] samples = [.. table.Events.Where(e => e.Role == EventRole.Train)];
        int width = job.Model.Layers[^1];
        TowerSpec Spec(TowerInputs shape) => new()
        {
            Inputs = shape,
            Layers = job.Model.Layers,
            Precision = job.Model.Precision,
            Optimizer = job.Training.Optimizer,
        };
        long Seed(string name) => DssmTraining.SeedOf(job.Training.Seed, name);
        ITower items = factory.Create(Spec(label.Items!.Content.Inputs), Seed("\0items"));
        DssmPartyInput[] views = [.. inputs.Where(i => i.View is not null)];
        ITower[] towers = [.. views.Select(v => factory.Create(Spec(v.View!.Rows.Inputs), Seed(v.Party)))];
        int[] counts = new int[label.Items.Ids.Count];
        foreach (Interaction e in samples)
            counts[e.Item]++;
        var loss = new DssmLoss(job.Model, width, [.. views.Select(v => v.Party)], label.Items.Ids.Count, job.Model.Loss == DssmLossKind.InBatchLogQ ? ItemFrequency.LogQ(counts) : null);
        var optimizer = new ParameterOptimizer(job.Training.Optimizer);
        var sampler = new NegativeSampler(job.Model, label.Items.Ids.Count, job.Training.Epochs, job.Training.Seed);
        var gradients = new DssmGradients();
        double[] itemVectors = new double[label.Items.Ids.Count * width];
        for (int epoch = 0; epoch < job.Training.Epochs; epoch++)
        {
            int[] order = SampleOrder.Of(samples.Length, job.Training.Seed, epoch);
            for (int b = 0; b * job.Training.BatchSize < samples.Length; b++)
            {
                int[] batch = [.. order.Skip(b * job.Training.BatchSize).Take(job.Training.BatchSize)];
                items.Forward(label.Items.Content, [.. Enumerable.Range(0, label.Items.Ids.Count)], itemVectors, true);
                var vectors = new double[views.Length][];
                var present = new bool[views.Length][];
                for (int v = 0; v < views.Length; v++)
                {
                    int[] rows = [.. batch.Select(i => RowOf(views[v].View!, table.Users[samples[i].User], samples[i].Moment,
                        job.Model.ViewDropout > 0 && !ViewDropout.Keeps(job.Training.Seed, epoch, i, job.Model.ViewDropout, v, views.Length)))];
                    vectors[v] = new double[batch.Length * width];
                    towers[v].Forward(views[v].View!.Rows, rows, vectors[v], true);
                    present[v] = [.. rows.Select(r => r >= 0)];
                }

                int[] targets = [.. batch.Select(i => samples[i].Item)];
                int[] negatives = new int[job.Model.Loss == DssmLossKind.Sampled ? batch.Length * job.Model.Negatives : 0];
                var data = new DssmBatch { Views = vectors, Present = present, Items = itemVectors, Targets = targets };
                if (negatives.Length > 0)
                    sampler.Draw(epoch, b, targets, negatives, loss, data);
                loss.Evaluate(data with { Negatives = negatives }, gradients);
                Step(items, gradients.Items, gradients.Items.Length, batch.Length);
                for (int v = 0; v < views.Length; v++)
                    Step(towers[v], gradients.Views[v], batch.Length * width, batch.Length);
                if (gradients.Fusion.Length > 0)
                    optimizer.Step(loss.Fusion.Values, [.. gradients.Fusion.Select(g => g / batch.Length)]);
            }
        }

        var states = views.Select((v, i) => (v.Party, towers[i].Save())).ToDictionary(s => s.Party, s => s.Item2);
        states["\0items"] = items.Save();
        return (states, loss.Fusion.Values);
    }

    private static int RowOf(ViewTable view, string user, Moment moment, bool dropped) => dropped ? -1 : view.RowOf(view.Users.ToList().IndexOf(user), moment);

    private static void Step(ITower tower, double[] gradient, int length, int samples)
    {
        tower.Backward([.. gradient.Take(length).Select(g => g / samples)]);
        tower.Step();
    }
}
