using System.Text.Json;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Tests.RunFiles;

public class SettingGridTests
{
    [Fact]
    public void Read_TwoKeys_EveryCombinationTheFirstKeySlowest() => Assert.Equal(
        ["model.l2=0.1 training.optimizer=sgd", "model.l2=0.1 training.optimizer=lbfgs", "model.l2=.01 training.optimizer=sgd", "model.l2=.01 training.optimizer=lbfgs"],
        SettingGrid.Read("model.l2=0.1,.01; training.optimizer = sgd, lbfgs").Select(c => string.Join(' ', c.Select(s => $"{s.Key}={s.Text}"))));

    [Fact]
    public void Read_NoGrid_OneCandidateWithoutSettings() => Assert.Empty(Assert.Single(SettingGrid.Read(null)));

    [Theory]
    [InlineData("", "FL2170")]
    [InlineData("model.l2", "FL2170")]
    [InlineData("model.l2=", "FL2170")]
    [InlineData("model.l2=1,,2", "FL2170")]
    [InlineData("model.l2=1;", "FL2170")]
    [InlineData("model.l2=1=2", "FL2170")]
    [InlineData("model.l2=1;model.l2=2", "FL2170")]
    [InlineData("model.L2=1", "FL2171")]
    [InlineData("privacy.epsilon=1", "FL2171")]
    [InlineData("training.seed=1,2", "FL2171")]
    [InlineData("model.family=poisson", "FL2171")]
    [InlineData("training.warmStart=models", "FL2171")]
    public void Read_NoGridOrWrongKey_IsRefused(string text, string id) => Assert.Equal(id, Assert.Throws<ConfigurationException>(() => SettingGrid.Read(text)).Id);

    [Fact]
    public void Read_UnknownKey_NamesTheNearest() =>
        Assert.Contains("Did you mean 'training.stepSize'?", Assert.Throws<ConfigurationException>(() => SettingGrid.Read("training.stepsize=1")).Remedy, StringComparison.Ordinal);

    /// <summary>The nearest of keys that are all far from it, <c>training.epochs</c> here, was not meant.</summary>
    [Theory]
    [InlineData("privacy.epsilon=1,2")]
    [InlineData("l2=1,2")]
    public void Read_KeyThatIsLikeNone_NamesThemAll(string grid) =>
        Assert.Equal($"It may have {string.Join(", ", SettingGrid.Keys)}.", Assert.Throws<ConfigurationException>(() => SettingGrid.Read(grid)).Remedy);

    [Fact]
    public void Read_HundredCandidates_AreTheMost()
    {
        string ten = string.Join(',', Enumerable.Range(1, 10)), eleven = ten + ",11";
        Assert.Equal(100, SettingGrid.Read($"model.l2={ten};model.l1={ten}").Count);
        Assert.All((string[])[$"model.l2={ten};model.l1={eleven}", $"model.l2={string.Join(',', Enumerable.Range(1, 101))}"],
            grid => Assert.Equal("FL2172", Assert.Throws<ConfigurationException>(() => SettingGrid.Read(grid)).Id));
    }

    [Theory]
    [InlineData("0.5", "0.5")]
    [InlineData(".5", "0.5")]
    [InlineData("1e-3", "0.001")]
    [InlineData("true", "true")]
    [InlineData("clip", "\"clip\"")]
    [InlineData("NaN", "\"NaN\"")]
    public void Value_Text_IsTheJsonItStandsFor(string text, string json) => Assert.Equal(json, new RunFileSetting("model.l2", text).Value.GetRawText());

    [Theory]
    [InlineData("""{ "a": 1, "model": { "l2": 1, "l1": 2 } }""", """{"a":1,"model":{"l1":2,"l2":7}}""")]
    [InlineData("""{ "model": {} }""", """{"model":{"l2":7}}""")]
    [InlineData("""{ "a": [1] }""", """{"a":[1],"model":{"l2":7}}""")]
    [InlineData("""{ "model": null }""", """{"model":{"l2":7}}""")]
    [InlineData("""{ "model": 3 }""", """{"model":3}""")]
    public void In_File_ReplacesThatValueAlone(string file, string expected) =>
        Assert.Equal(expected, new RunFileSetting("model.l2", "7").In(JsonSerializer.Deserialize<JsonElement>(file)).GetRawText().Replace(" ", "", StringComparison.Ordinal));
}
