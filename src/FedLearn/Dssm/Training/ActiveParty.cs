using FedLearn.Diagnostics;
using FedLearn.Evaluation;
using FedLearn.Privacy;

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

    public IReadOnlyList<ITower> All => [Items, .. Locals.Select(view => view.Tower)];

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

/// <summary>Scores all items for the samples of a set from a place on, one row a sample.</summary>
internal delegate void ScoreRows(int from, Span<double> scores);

/// <summary>Scores a few items of each of the samples of a set from a place on.</summary>
/// <param name="from">The place.</param>
/// <param name="ends">Where each sample's items end, the next one's begin.</param>
/// <param name="items">The items of one sample after the other.</param>
/// <param name="scores">Receives a score an item.</param>
internal delegate void ScoreItems(int from, ReadOnlySpan<int> ends, ReadOnlySpan<int> items, Span<double> scores);

/// <summary>What the active party knows of its samples.</summary>
internal sealed class ActiveSamples
{
    private readonly DssmEvaluator _evaluator;
    private readonly EvaluationOptions _evaluation;

    /// <summary>Takes a job's samples from the active party's tables.</summary>
    /// <param name="job">The job.</param>
    /// <param name="input">The tables.</param>
    /// <param name="sets">The samples of the session.</param>
    public ActiveSamples(DssmJob job, DssmPartyInput input, IReadOnlyList<SampleSet> sets)
    {
        (Party, Items, OwnTable, Sets) = (input.Party, input.Items!, input.View is { } view ? DssmRun.Own(job, view) : null, sets);
        (_evaluator, _evaluation) = (new DssmEvaluator(input.Interactions!, Items), input.Evaluation with { Seed = job.Training.Seed });
        OwnRows = OwnTable is null ? [] : RowsOf(OwnTable, input.Interactions!, sets);
        bool[] trainable = [.. Enumerable.Repeat(true, Items.Ids.Count)];
        int[] counts = new int[Items.Ids.Count];
        foreach (Interaction e in input.Interactions!.Events)
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

    /// <summary>Figures of a set of events.</summary>
    /// <param name="set">The set.</param>
    /// <param name="scores">Scores all items for the events of the set from a place on.</param>
    public RankingReport Evaluate(int set, ScoreRows scores) => _evaluator.Evaluate(Sets[set].Role, Following(scores), _evaluation);

    /// <summary>NDCG@10 against drawn negatives of a set of events.</summary>
    /// <param name="set">The set.</param>
    /// <param name="scores">Scores the asked items for the events of the set from a place on.</param>
    public double SampledNdcg(int set, ScoreItems scores)
    {
        int from = 0;
        return _evaluator.SampledNdcg(Sets[set].Role, (events, ends, items, destination) =>
        {
            scores(from, ends, items, destination);
            from += events.Length;
        }) ?? 0;
    }

    /// <summary>The evaluator asks for a role's events in the table's order, which is that of the sets.</summary>
    private static DssmScores Following(ScoreRows scores)
    {
        int from = 0;
        return (events, destination) =>
        {
            scores(from, destination);
            from += events.Length;
        };
    }

    /// <summary>The samples of a job that trains: training, validation, test, cold users, cold items.</summary>
    public static IReadOnlyList<SampleSet> TrainingSets(DssmJob job, InteractionTable table)
    {
        bool evaluates = !job.Privacy.IsPrivate || job.Privacy.Evaluation != EvaluationDisclosure.None;
        bool validates = job.Training.ValidationStop ?? !job.Privacy.IsPrivate;
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
            new(SampleSet.Validation, EventRole.Validation, validates ? Of(EventRole.Validation) : []),
            .. EvaluationSets(table, evaluates),
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
