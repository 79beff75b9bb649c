using FedLearn.Diagnostics;
using FedLearn.Evaluation;

namespace FedLearn.Dssm;

/// <summary>A view whose tower the active party trains: its own, or under claim one-shot one on vectors that were received.</summary>
/// <param name="Name">Name of the view.</param>
/// <param name="Tower">Its tower.</param>
/// <param name="Rows">What the tower reads.</param>
/// <param name="Samples">For each set the row of each sample, -1 for none.</param>
internal sealed record LocalView(string Name, ITower Tower, TowerRows Rows, IReadOnlyList<int[]> Samples)
{
    public bool[] Present(int set) => [.. Samples[set].Select(r => r >= 0)];
}

/// <summary>What the active party trains: the items' tower, those of views that are at hand, the fusion.</summary>
internal sealed class ActiveTowers(TowerThread thread, ITower items, IReadOnlyList<LocalView> locals, DssmLoss loss, TowerOptimizer optimizer) : IAsyncDisposable
{
    public ITower Items { get; } = items;

    public IReadOnlyList<LocalView> Locals { get; } = locals;

    public DssmLoss Loss { get; } = loss;

    public ParameterOptimizer FusionOptimizer { get; } = new(optimizer);

    public IReadOnlyList<ITower> All { get; } = [items, .. locals.Select(view => view.Tower)];

    /// <summary>On the thread of towers, after what it still works on: a session may fail while it does.</summary>
    public ValueTask DisposeAsync() => new(thread.RunAsync(() =>
    {
        foreach (ITower tower in All)
            tower.Dispose();
    }));
}

/// <summary>Towers on their way into <see cref="ActiveTowers"/>: unless all get there, none stays, since a native library's memory is not collected soon.</summary>
internal sealed class MadeTowers : IDisposable
{
    private readonly List<ITower> _made = [];

    public ITower Add(ITower tower)
    {
        _made.Add(tower);
        return tower;
    }

    /// <summary>From here on they are somebody else's to dispose of.</summary>
    public void Keep() => _made.Clear();

    public void Dispose() => _made.ForEach(tower => tower.Dispose());
}

/// <summary>What the active party knows of its samples.</summary>
internal sealed class ActiveSamples
{
    /// <summary>Takes a job's samples from the active party's tables.</summary>
    public ActiveSamples(DssmParty party, IReadOnlyList<SampleSet> sets)
    {
        (DssmJob job, InteractionTable table) = (party.Job, party.Input.Interactions!);
        (Party, Items, OwnTable, Sets) = (party.Name, party.Input.Items!, party.View, sets);
        (Evaluator, Evaluation) = (new DssmEvaluator(table, Items), party.Input.Evaluation with { Seed = job.Training.Seed });
        OwnRows = OwnTable is null ? [] : RowsOf(OwnTable, table, sets);
        bool[] trainable = [.. Enumerable.Repeat(true, Items.Ids.Count)];
        int[] counts = new int[Items.Ids.Count];
        foreach (Interaction e in table.Events)
            if (e.Role == EventRole.ColdItem && !job.Privacy.IsPrivate)
                trainable[e.Item] = false;
            else if (e.Role == EventRole.Train)
                counts[e.Item]++;
        (Trainable, Counts) = (trainable.All(t => t) ? null : trainable, counts);
        if (job.Model.Loss == DssmLossKind.Sampled && sets[0].Role == EventRole.Train)
            Sampler = new NegativeSampler(job.Model, Items.Ids.Count, job.Training.Epochs, job.Training.Seed, Trainable, job.Model.NegativeSource == NegativeSource.Popularity ? counts : null);
    }

    public string Party { get; }

    public ItemTable Items { get; }

    public ViewTable? OwnTable { get; }

    public IReadOnlyList<SampleSet> Sets { get; }

    /// <summary>For each set the own view's row of each sample, -1 for none.</summary>
    public IReadOnlyList<int[]> OwnRows { get; }

    /// <summary>Which items training may know; null: all. All in a private job: which items are cold follows from events, and negatives must not (docs/proofs/embeddings.md).</summary>
    public bool[]? Trainable { get; }

    /// <summary>Training events of each item.</summary>
    public int[] Counts { get; }

    /// <summary>Draws negatives; null where nothing is trained, or not against drawn ones.</summary>
    public NegativeSampler? Sampler { get; }

    /// <summary>Measures events of the table; it asks for those of a role in the order that its set has.</summary>
    public DssmEvaluator Evaluator { get; }

    /// <summary>How intervals of figures are found.</summary>
    public EvaluationOptions Evaluation { get; }

    /// <summary>The samples of a job that trains: training, validation, test, cold users, cold items.</summary>
    public static IReadOnlyList<SampleSet> TrainingSets(DssmJob job, InteractionTable table)
    {
        List<Interaction> train = Of(EventRole.Train);
        if (job.Privacy.MaxSamplesPerUser is { } cap)
        {
            bool[] keep = SampleCap.Keep(table.Users, [.. train.Select(e => (e.User, e.Moment))], cap, job.Training.Seed);
            train = [.. train.Where((_, i) => keep[i])];
        }

        if (train.Count == 0)
            throw new BadInputException(DssmErrors.NoSamples, "interactions", "no event has the role train.", "Give the events that are to be trained on the role train.");
        return
        [
            new(SampleSet.Training, EventRole.Train, train),
            new(SampleSet.Validation, EventRole.Validation, job.ValidationStop ? Of(EventRole.Validation) : []),
            .. EvaluationSets(table, job.SendsEvaluation),
        ];

        List<Interaction> Of(EventRole role) => [.. table.Events.Where(e => e.Role == role)];
    }

    /// <summary>The events that a finished model is measured on: test, cold users, cold items.</summary>
    public static IReadOnlyList<SampleSet> EvaluationSets(InteractionTable table, bool evaluates) =>
    [
        .. new[] { (SampleSet.Test, EventRole.Test), (SampleSet.ColdUsers, EventRole.ColdUser), (SampleSet.ColdItems, EventRole.ColdItem) }
            .Select(set => new SampleSet(set.Item1, set.Item2, evaluates ? [.. table.Events.Where(e => e.Role == set.Item2)] : [])),
    ];

    private static int[][] RowsOf(ViewTable view, InteractionTable interactions, IReadOnlyList<SampleSet> sets)
    {
        Dictionary<string, int> place = view.Users.Select((id, i) => (id, i)).ToDictionary(u => u.id, u => u.i, StringComparer.Ordinal);
        int[] users = [.. interactions.Users.Select(id => place.GetValueOrDefault(id, -1))];
        return [.. sets.Select(set => set.Events.Select(e => view.RowOf(users[e.User], e.Moment)).ToArray())];
    }
}
