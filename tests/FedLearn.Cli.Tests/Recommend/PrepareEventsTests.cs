using System.Globalization;
using System.Text.Json;
using FedLearn.Cli.RunFiles;
using FedLearn.Dssm;

namespace FedLearn.Cli.Tests.Recommend;

public sealed class PrepareEventsTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly RatingSet _set = SyntheticTastes.Generate(new SyntheticTastesOptions { Users = 60, Items = 50, Seed = 2 });

    public PrepareEventsTests() => _folder.Write("stars.csv", "who,film,when,stars\n" + string.Concat(_set.Ratings.Select(r =>
        string.Create(CultureInfo.InvariantCulture, $"user {_set.Users[r.User].Number},{_set.Items[r.Item].Number},{DateTimeOffset.FromUnixTimeSeconds(r.Time):yyyy-MM-ddTHH:mm:ssZ},{r.Value}\n"))));

    public void Dispose() => _folder.Dispose();

    private Task<ToolRun> Prepare(params string[] more) =>
        ToolRun.Of(["recommend", "prepare-events", "--events", Place("stars.csv"), "--user", "who", "--item", "film", "--time", "when", "--out", Place("out"), .. more]);

    [Fact]
    public async Task Prepare_LogOfRatings_MakesAJobThatTrainsAtOnce()
    {
        ToolRun run = await Prepare("--rating", "stars", "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonElement document = JsonElement.Parse(run.Output), roles = document.GetProperty("events").GetProperty("job.json");
        ILookup<EventRole, Interaction> expected = new RatingTables(_set).Interactions().Events.ToLookup(e => e.Role);
        Assert.Equal((expected[EventRole.Train].Count(), expected[EventRole.Validation].Count(), expected[EventRole.Test].Count(), expected[EventRole.Seen].Count()),
            (Of(roles, "train"), Of(roles, "validation"), Of(roles, "test"), Of(roles, "seen")));
        Assert.Equal((60, _set.Ratings.Count, _set.Ratings.Count(r => r.IsPositive)), (Of(document, "users"), Of(document, "counted"), Of(document, "positives")));
        Assert.Contains("next: fedlearn recommend train", run.Error, StringComparison.Ordinal);

        ToolRun training = await ToolRun.Of("recommend", "train", "--config", Place("out/job.json"), "--json");
        Assert.True(training.ExitCode == 0, training.Error);
        Assert.Equal(expected[EventRole.Test].Count(), Of(JsonElement.Parse(training.Output).GetProperty("rows"), "test"));
    }

    [Fact]
    public async Task Prepare_OwnItems_AreNamedByTheJobAndNotCopied()
    {
        _folder.Write("films.csv", "item,year\n" + string.Concat(_set.Items.Select(i => $"{i.Number},{i.Year}\n")));
        _folder.Write("films.schema.json", """{ "item": "item", "fields": [{ "name": "year", "type": "numeric" }] }""");
        ToolRun run = await Prepare("--items", Place("films.csv"), "--items-schema", Place("films.schema.json"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.False(File.Exists(Place("out/service/items.csv")));
        JsonElement items = JsonElement.Parse(await File.ReadAllTextAsync(Place("out/job.json"))).GetProperty("parties")[0].GetProperty("data").GetProperty("items");
        Assert.Equal((Place("films.csv"), Place("films.schema.json")), (items.GetProperty("path").GetString(), items.GetProperty("schema").GetString()));
    }

    [Fact]
    public async Task Prepare_FaultsOfTheLog_NameTheOptionsAndNoSchema()
    {
        _folder.Write("stars.csv", "user,film,when,stars\nann,1,2026-03-01,\n");
        Assert.Contains("--user", (await Prepare("--rating", "stars")).Error, StringComparison.Ordinal);
        _folder.Write("stars.csv", "who,film,when,stars\nann,1,2026-03-01,\n");
        ToolRun empty = await Prepare("--rating", "stars");
        Assert.Contains("FL3007", empty.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("schema", empty.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prepare_DecimalCommas_AreReadAndHandedToTheJob()
    {
        _folder.Write("stars.csv", "who;film;when;stars\nann;1;2026-03-01;4,5\nann;2;2026-03-02;3,5\n");
        _folder.Write("films.csv", "item;price\n1;9,5\n2;10\n");
        _folder.Write("films.schema.json", """{ "item": "item", "fields": [{ "name": "price", "type": "numeric" }] }""");
        ToolRun run = await Prepare("--rating", "stars", "--decimal", ",", "--items", Place("films.csv"), "--items-schema", Place("films.schema.json"), "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(1, Of(JsonElement.Parse(run.Output), "positives"));
        Assert.Equal(',', RunFile.Load(Place("out/job.json")).As<DssmRunFile>("train").Parties[0].Data!.Items!.DecimalMark);
        Assert.Equal('.', RunFile.Load(Place("out/job.json")).As<DssmRunFile>("train").Parties[0].Data!.View!.DecimalMark);
    }

    [Fact]
    public async Task Prepare_NothingPositive_IsSaid()
    {
        ToolRun run = await Prepare("--rating", "stars", "--least", "6");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Contains("warning: nothing to train on", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--items", "films.csv")]
    [InlineData("--items-schema", "films.schema.json")]
    [InlineData("--least", "3")]
    public async Task Prepare_HalfOfAPair_IsRefusedAndWritesNothing(string option, string value)
    {
        ToolRun run = await Prepare(option, value);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("FL2446", run.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Place("out")));
    }

    private string Place(string name) => Path.Combine(_folder.Path, name);

    private static int Of(JsonElement element, string key) => element.GetProperty(key).GetInt32();
}
