namespace FedLearn.Rules.Tests;

/// <summary>Only Released values leave a party: what goes around it does not compile.</summary>
public class ReleasedTests
{
    private static string Program(string members) => "using FedLearn.Privacy; using FedLearn.Protocol; static class Party { " + members + " }";

    [Theory]
    [InlineData("static ValueTask Send(IPartyChannel channel, Scores scores) => channel.SendAsync(0, Disclosure.Unprotected(scores, \"test\"));")]
    [InlineData("static ValueTask Send(IPartyChannel channel, GaussianMechanism mechanism, Scores scores) => channel.SendAsync(0, mechanism.Release(scores, \"training scores\"));")]
    public void Send_ReleasedValue_Compiles(string members) => Assert.Empty(Compiler.Errors(Program(members)));

    [Theory]
    [InlineData("static ValueTask Send(IPartyChannel channel, Scores scores) => channel.SendAsync(0, scores);", "CS0411", "CS1503")]
    [InlineData("static ValueTask Send(IPartyChannel channel, Scores scores) => channel.SendAsync<Scores>(0, scores);", "CS1503")]
    [InlineData("static ValueTask Send(IPartyChannel channel, double[] scores) => channel.SendAsync(0, scores);", "CS0411", "CS1503")]
    [InlineData("static ValueTask Send(IPartyChannel channel, object scores) => channel.SendAsync(0, (Released<object>)scores);", "CS0311", "CS0452")]
    [InlineData("static Released<Scores> Make(Scores scores) => new Released<Scores>(scores, Protection.Noise, \"mine\");", "CS1729", "CS0122")]
    [InlineData("static Released<Scores> Make() => new();", "CS1729", "CS0122")]
    [InlineData("static Released<Scores> Make(Scores scores) => scores;", "CS0029")]
    [InlineData("sealed class Mine : Payload { public override int Length => 0; public override long PackedBytes => 0; }", "CS0122")]
    [InlineData("sealed class Mine : VectorPayload { public Mine() : base(default, default) { } }", "CS0122", "CS0534", "CS1729")]
    [InlineData("sealed class Mine : Released<Scores> { }", "CS0509")]
    [InlineData("static GaussianMechanism Make(NoiseCalibration c, IPrivacyReservation r) => new(c, new TestNoise(1, \"s\"), r);", "CS1503")]
    [InlineData("static GaussianMechanism Make(NoiseCalibration c, INoiseSource mine, IPrivacyReservation r) => new(c, mine, r);", "CS1503")]
    public void Send_AroundReleased_DoesNotCompile(string members, params string[] expected)
    {
        IReadOnlyList<string> errors = Compiler.Errors(Program(members));
        Assert.NotEmpty(errors);
        Assert.All(errors, error => Assert.Contains(error.Split(':')[0], expected));
    }
}
