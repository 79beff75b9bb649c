using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Tests.Shared;

namespace FedLearn.Towers.Tests.Attacks;

/// <summary>MovieLens 100K as the attacks use it: the training events of 943 users, profiles, tastes, histories, 1,682 items. Absent: the test skips.</summary>
internal sealed class Films
{
    private static readonly Lazy<Films> Read = new(() => new Films(Path.GetDirectoryName(SharedData.Require("ml-100k", "u.data"))!));

    private readonly Lazy<ViewTable> _profile, _taste, _history;

    private Films(string folder)
    {
        Set = MovieLens100K.Read(folder);
        Tables = new RatingTables(Set);
        Items = Tables.Items();
        InteractionTable all = Tables.Interactions();
        // Nothing is evaluated here: other events are met, and no more.
        Interactions = new InteractionTable(all.Users, [.. all.Events.Select(e => e.Role == EventRole.Train ? e : e with { Role = EventRole.Seen })]);
        (_profile, _taste, _history) = (new(Tables.Profile), new(Tables.Taste), new(Tables.History));
        Popularity = new double[Items.Ids.Count];
        foreach (Interaction e in Interactions.Events)
            if (e.Role == EventRole.Train)
                Popularity[e.Item]++;
    }

    public RatingSet Set { get; }

    public RatingTables Tables { get; }

    public ItemTable Items { get; }

    public InteractionTable Interactions { get; }

    public ViewTable Profile => _profile.Value;

    public ViewTable Taste => _taste.Value;

    public ViewTable History => _history.Value;

    /// <summary>Training events of each item.</summary>
    public double[] Popularity { get; }

    /// <summary>The data; a test that asks for it skips where it, or libtorch, is absent.</summary>
    public static Films Require()
    {
        Native.Require();
        SharedData.Require("ml-100k", "u.data");
        return Read.Value;
    }

    /// <summary>A job of an active party and views.</summary>
    public static DssmJob Job(DssmModelOptions model, int epochs, DssmPrivacyOptions? privacy, params string[] views) => new()
    {
        Name = "attacked",
        Model = model,
        Training = new DssmTrainingOptions { Epochs = epochs, BatchSize = 1024, ValidationStop = false, Seed = 1 },
        Privacy = privacy ?? new DssmPrivacyOptions(),
        Parties = [new() { Party = new("label", PartyRole.Active) }, .. views.Select(view => new DssmPartyOptions { Party = new(view, PartyRole.Passive) })],
    };

    /// <summary>What the active party brings.</summary>
    public DssmPartyInput Label => new() { Party = "label", Items = Items, Interactions = Interactions };

    /// <summary>The training samples of a job, in the order in which both sides number them.</summary>
    public IReadOnlyList<Interaction> Samples(DssmJob job) => ActiveSamples.TrainingSets(job, Interactions)[0].Events;

    /// <summary>Where each sample's row is: for every epoch, round and place in its batch of each sample.</summary>
    public static IEnumerable<(int Sample, int Epoch, int Round, int Place)> Places(DssmJob job, int samples)
    {
        int size = job.Training.BatchSize, batches = (samples + size - 1) / size;
        for (int epoch = 0; epoch < job.Training.Epochs; epoch++)
            foreach ((int at, int sample) in SampleOrder.Of(samples, job.Training.Seed, epoch).Index())
                yield return (sample, epoch, epoch * batches + at / size, at % size);
    }
}
