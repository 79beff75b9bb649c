using FedLearn.Dssm;

namespace FedLearn.Tests.Dssm.Training;

public class EventWarningsTests
{
    private static readonly DssmJob Job = SmallRecommendation.Job();

    private static Interaction Event(int user, int item, EventRole role) => new(user, item, new Moment(item, (int)role), role);

    private static string[] Of(bool trains, DssmJob job, params Interaction[] events)
    {
        var table = new InteractionTable([.. Enumerable.Range(0, 50).Select(u => $"u{u}")], events);
        IReadOnlyList<SampleSet> sets = trains ? ActiveSamples.TrainingSets(job, table) : ActiveSamples.EvaluationSets(table, evaluates: true);
        return [.. EventWarnings.Of(job, table, sets, trains)];
    }

    [Fact]
    public void Of_NoValidationEvent_IsSaidWhereOneWouldStopTraining()
    {
        Interaction[] events = [Event(0, 1, EventRole.Train), Event(1, 2, EventRole.Train), Event(0, 2, EventRole.Test)];
        Assert.StartsWith("no event has the role validation", Assert.Single(Of(true, Job, events)), StringComparison.Ordinal);
        Assert.Empty(Of(true, Job with { Training = Job.Training with { ValidationStop = false } }, events));
        Assert.Empty(Of(false, Job, events));
        Assert.Empty(Of(true, Job, [.. events, Event(0, 2, EventRole.Validation)]));
    }

    [Fact]
    public void Of_NothingToMeasure_IsSaidOfATraining()
    {
        Interaction[] events = [Event(0, 1, EventRole.Train), Event(0, 2, EventRole.Validation)];
        Assert.StartsWith("no event has the role test, cold-user or cold-item", Assert.Single(Of(true, Job, events)), StringComparison.Ordinal);
        Assert.Empty(Of(true, Job, [.. events, Event(1, 1, EventRole.ColdUser)]));
    }

    [Fact]
    public void Of_EventsThatAreRepeated_AreCounted()
    {
        Interaction train = Event(0, 1, EventRole.Train), other = train with { Moment = new Moment(1, 7) };
        Assert.StartsWith("2 of the 4 events stand in the file before", Assert.Single(Of(false, Job, train, train, other, train)), StringComparison.Ordinal);
        Assert.Empty(Of(false, Job, train, other));
    }

    /// <summary>What is said of private events says that no claim covers it.</summary>
    [Fact]
    public void Of_PrivateJob_SaysThatItIsOutsideTheClaim()
    {
        Interaction[] events = [Event(0, 1, EventRole.Train), Event(0, 1, EventRole.Test)];
        DssmJob job = Job with { Privacy = new() { Noise = DssmNoise.Both } };
        Assert.EndsWith("; this sentence is computed from private rows and outside the claim", Assert.Single(Of(false, job, events)), StringComparison.Ordinal);
        Assert.DoesNotContain("private rows", Assert.Single(Of(false, Job, events)), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_TestEventOfATrainingPair_IsCounted() =>
        Assert.StartsWith("1 of the 2 test events have the user and the item of a training event",
            Assert.Single(Of(false, Job, Event(0, 1, EventRole.Train), Event(1, 2, EventRole.Train), Event(0, 1, EventRole.Test), Event(0, 2, EventRole.Test))), StringComparison.Ordinal);

    /// <summary>One of twenty is usual; two are a split that says something else than its roles.</summary>
    [Theory]
    [InlineData(1, false)]
    [InlineData(2, true)]
    public void Of_TestEventsOfUnknownUsersAndItems_AreCounted(int unknown, bool warns)
    {
        Interaction[] train = [.. Enumerable.Range(0, 20).Select(u => Event(u, u, EventRole.Train))], test = [.. Enumerable.Range(0, 20).Select(i => Event(i < unknown ? 30 + i : i, i < unknown ? i + 40 : (i + 1) % 20, EventRole.Test))];
        string[] found = Of(false, Job, [.. train, .. test]);
        Assert.Equal(warns ? [$"{unknown} of the 20 test events have a user without a training event: the role cold-user is for those",
            $"{unknown} of the 20 test events have an item without a training event: the role cold-item is for those"] : [], found);
    }

    [Theory]
    [InlineData(98, true)]
    [InlineData(99, false)]
    public void OfNegatives_SmallCatalogue_IsSaid(int negatives, bool warns)
    {
        var report = new FedLearn.Evaluation.RankingReport { Events = 1, Users = 1, Sampled = null!, Full = null!, SampledRanks = [new(0, 1, 3), new(1, 1, negatives)] };
        Assert.Equal(warns, EventWarnings.OfNegatives(Job, [null, report]).Any());
    }
}
