namespace FedLearn.Rules.Tests;

/// <summary>Only Released values leave a party: what goes around it does not compile.</summary>
public class ReleasedTests
{
    private static readonly string[] Legal =
    [
        "static ValueTask Send(IPartyChannel channel, Scores scores) => channel.SendAsync(0, Disclosure.Unprotected(scores, \"test\"));",
        "static ValueTask Send(IPartyChannel channel, GaussianMechanism mechanism, Scores scores) => channel.SendAsync(0, mechanism.Release(scores, \"training scores\"));",
    ];

    // What is tried, and the errors that may come of it.
    private static readonly (string Members, string[] Errors)[] Illegal =
    [
        ("static ValueTask Send(IPartyChannel channel, Scores scores) => channel.SendAsync(0, scores);", ["CS0411", "CS1503"]),
        ("static ValueTask Send(IPartyChannel channel, Scores scores) => channel.SendAsync<Scores>(0, scores);", ["CS1503"]),
        ("static ValueTask Send(IPartyChannel channel, double[] scores) => channel.SendAsync(0, scores);", ["CS0411", "CS1503"]),
        ("static ValueTask Send(IPartyChannel channel, object scores) => channel.SendAsync(0, (Released<object>)scores);", ["CS0311", "CS0452"]),
        ("static Released<Scores> Make(Scores scores) => new Released<Scores>(scores, Protection.Noise, \"mine\");", ["CS1729", "CS0122"]),
        ("static Released<Scores> Make() => new();", ["CS1729", "CS0122"]),
        ("static Released<Scores> Make(Scores scores) => scores;", ["CS0029"]),
        ("sealed class Mine : Payload { public override int Length => 0; public override long PackedBytes => 0; }", ["CS0122"]),
        ("sealed class Mine : VectorPayload { public Mine() : base(default, default) { } }", ["CS0122", "CS0534", "CS1729"]),
        ("sealed class Mine : Released<Scores> { }", ["CS0509"]),
        ("static GaussianMechanism Make(NoiseCalibration c, IPrivacyReservation r) => new(c, new TestNoise(1, \"s\"), r);", ["CS1503"]),
        ("static GaussianMechanism Make(NoiseCalibration c, INoiseSource mine, IPrivacyReservation r) => new(c, mine, r);", ["CS1503"]),
    ];

    // All are compiled at once, each in a namespace of its own.
    private static readonly Lazy<IReadOnlyList<string>[]> Errors = new(() => Compiler.Errors([.. Legal.Concat(Illegal.Select(c => c.Members)).Select((members, i) =>
        $"namespace Case{i} {{ using FedLearn.Privacy; using FedLearn.Protocol; static class Party {{ {members} }} }}")]));

    public static TheoryData<int> LegalCases => [.. Enumerable.Range(0, Legal.Length)];

    public static TheoryData<int> IllegalCases => [.. Enumerable.Range(0, Illegal.Length)];

    [Theory]
    [MemberData(nameof(LegalCases))]
    public void Send_ReleasedValue_Compiles(int number) => Assert.True(Errors.Value[number].Count == 0, $"{Legal[number]}: {string.Join("; ", Errors.Value[number])}");

    [Theory]
    [MemberData(nameof(IllegalCases))]
    public void Send_AroundReleased_DoesNotCompile(int number)
    {
        IReadOnlyList<string> errors = Errors.Value[Legal.Length + number];
        Assert.True(errors.Count > 0, $"{Illegal[number].Members}: it compiles");
        Assert.All(errors, error => Assert.Contains(error.Split(':')[0], Illegal[number].Errors));
    }
}
