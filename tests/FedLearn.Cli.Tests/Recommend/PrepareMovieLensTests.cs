using System.Text.Json;
using FedLearn.Dssm;
using FedLearn.Tests.Shared;

namespace FedLearn.Cli.Tests.Recommend;

public sealed class PrepareMovieLensTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public PrepareMovieLensTests()
    {
        Directory.CreateDirectory(Source);
        string flags = string.Concat(Enumerable.Repeat("|0", 18));
        _folder.Write("source/u.user", "1|24|M|technician|85711\n2|53|F|other|94043\n");
        _folder.Write("source/u.item", string.Concat(Enumerable.Range(1, 8).Select(i => $"{i}|Film {i}, The (1995)|01-Jan-1995||x|1{flags}\n")));
        _folder.Write("source/u.data", string.Concat(Enumerable.Range(1, 8).Select(i => $"1\t{i}\t5\t{100 + i}\n2\t{i}\t{1 + i % 5}\t{200 + i}\n")));
    }

    public void Dispose() => _folder.Dispose();

    private string Source => Path.Combine(_folder.Path, "source");

    private string Out => Path.Combine(_folder.Path, "out");

    private Task<ToolRun> Prepare(params string[] more) => ToolRun.Of(["recommend", "prepare-movielens", "--source", Source, "--out", Out, .. more]);

    private string[] Written() => [.. Directory.GetFiles(Out, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(Out, path)).Order(StringComparer.Ordinal)];

    [Fact]
    public async Task Prepare_SmallCopy_WritesFilesOfFourPartiesAndJobs()
    {
        ToolRun run = await Prepare("--json");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(
        [
            "behaviour/users.csv", "behaviour/users.schema.json", "job.cold-items.json", "job.cold-users.json", "job.json", "preparation.json", "profile/users.csv", "profile/users.schema.json",
            "streaming/history.csv", "streaming/history.schema.json", "streaming/interactions.cold-items.csv", "streaming/interactions.cold-users.csv", "streaming/interactions.csv",
            "streaming/items.csv", "streaming/items.schema.json", "taste/users.csv", "taste/users.schema.json",
        ], Written());
        JsonElement document = JsonElement.Parse(run.Output);
        Assert.Equal((2, 8, 16, 11), (Number(document, "users"), Number(document, "items"), Number(document, "ratings"), Number(document, "positives")));
        Assert.Equal((7, 2, 2, 5), (Number(document.GetProperty("events").GetProperty("job.json"), "train"), Number(document.GetProperty("events").GetProperty("job.json"), "validation"),
            Number(document.GetProperty("events").GetProperty("job.json"), "test"), Number(document.GetProperty("events").GetProperty("job.json"), "seen")));
        Assert.Equal(16, Number(document.GetProperty("files"), "streaming/interactions.cold-users.csv"));
        Assert.Contains("warning: 2 users", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Film", run.Error, StringComparison.Ordinal);
        Assert.Single(Directory.GetDirectories(_folder.Path, "out*"));
    }

    [Fact]
    public async Task Prepare_Jobs_NameFilesThatRead()
    {
        await Prepare();
        foreach (string name in (string[])["job.json", "job.cold-users.json", "job.cold-items.json"])
        {
            JsonElement job = JsonElement.Parse(await File.ReadAllTextAsync(Path.Combine(Out, name)));                        // without comments: parsed strictly
            Assert.Equal(("dssm", "sum", 4, 10), (job.GetProperty("model").GetProperty("type").GetString(), job.GetProperty("model").GetProperty("fusion").GetString(),
                Number(job.GetProperty("model"), "negatives"), Number(job.GetProperty("model"), "gamma")));
            Assert.Equal((12, 256, 7), (Number(job.GetProperty("training"), "epochs"), Number(job.GetProperty("training"), "batchSize"), Number(job.GetProperty("training"), "seed")));
            Assert.Equal(("none", "in-memory"), (job.GetProperty("privacy").GetProperty("mode").GetString(), job.GetProperty("transport").GetProperty("kind").GetString()));
            Assert.Equal(["streaming", "profile", "taste", "behaviour"], job.GetProperty("parties").EnumerateArray().Select(party => party.GetProperty("name").GetString()));
            foreach (JsonElement party in job.GetProperty("parties").EnumerateArray())
            {
                JsonElement data = party.GetProperty("data"), view = data.GetProperty("view");
                Assert.Equal(2, DssmFiles.ReadView(At(view, "path"), DssmSchema.Load(At(view, "schema"))).Users.Count);
                if (party.GetProperty("role").GetString() == "active")
                {
                    ItemTable items = DssmFiles.ReadItems(At(data.GetProperty("items"), "path"), DssmSchema.Load(At(data.GetProperty("items"), "schema")));
                    Assert.Equal("Film 1, The (1995)", items.Titles![0]);
                    Assert.Equal(16, DssmFiles.ReadInteractions(At(data, "interactions"), items).Events.Count);
                }
            }
        }
    }

    [Fact]
    public async Task Prepare_Again_ReplacesAnUnchangedPreparation()
    {
        await Prepare();
        _folder.Write("source/u.data", "1\t1\t5\t9\n1\t2\t5\t10\n");
        ToolRun run = await Prepare("--split", "time");
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(3, (await File.ReadAllLinesAsync(Path.Combine(Out, "streaming", "interactions.csv"))).Length);
        Assert.Equal(["out", "source"], Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("out/models/a.json", "beside")]
    [InlineData("out/job.json", "changed")]
    [InlineData("out/preparation.json", "no earlier preparation")]
    public async Task Prepare_SomethingAddedOrChanged_IsRefused(string name, string cause)
    {
        await Prepare();
        Directory.CreateDirectory(Path.Combine(Out, "models"));
        _folder.Write(name, "{}");
        ToolRun run = await Prepare();
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("FL2445", run.Error, StringComparison.Ordinal);
        Assert.Contains(cause, run.Error, StringComparison.Ordinal);
        Assert.Equal("{}", await File.ReadAllTextAsync(Path.Combine(_folder.Path, name)));
    }

    [Fact]
    public async Task Prepare_OtherDirectory_IsRefused()
    {
        ToolRun run = await ToolRun.Of("recommend", "prepare-movielens", "--source", Source, "--out", Source);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("FL2445", run.Error, StringComparison.Ordinal);
        Assert.Equal(3, Directory.GetFiles(Source).Length);
    }

    [Fact]
    public async Task Prepare_NoSource_SaysWhereToGetIt()
    {
        ToolRun run = await ToolRun.Of("recommend", "prepare-movielens", "--source", Path.Combine(_folder.Path, "nowhere"), "--out", Out);
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("FL3136", run.Error, StringComparison.Ordinal);
        Assert.Contains("https://grouplens.org/datasets/movielens/100k/", run.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Out));
    }

    [Fact]
    public async Task Prepare_FaultySource_LeavesNothing()
    {
        _folder.Write("source/u.data", "1,1,5,9\n");
        ToolRun run = await Prepare();
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("u.data, line 1", run.Error, StringComparison.Ordinal);
        Assert.Equal(["source"], Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public async Task PrepareSynthetic_Sizes_AreThoseAskedFor()
    {
        ToolRun run = await ToolRun.Of("recommend", "prepare-synthetic", "--out", Out, "--users", "20", "--items", "50", "--seed", "5", "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonElement document = JsonElement.Parse(run.Output);
        Assert.Equal(("synthetic-tastes", 20, 50), (document.GetProperty("data").GetString(), Number(document, "users"), Number(document, "items")));
        foreach (string[] outside in (string[][])[["--items", "7"], ["--items", "0"], ["--users", "0"], ["--users", "-1"]])
        {
            ToolRun refused = await ToolRun.Of(["recommend", "prepare-synthetic", "--out", Out, .. outside]);
            Assert.Equal(2, refused.ExitCode);
            Assert.Contains("FL2441", refused.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Prepare_DataSet_HasTheKnownCounts()
    {
        string source = Path.GetDirectoryName(SharedData.Require("ml-100k", "u.data"))!;
        ToolRun run = await ToolRun.Of("recommend", "prepare-movielens", "--source", source, "--out", Out, "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        JsonElement events = JsonElement.Parse(run.Output).GetProperty("events");
        Assert.Equal((53_491, 942, 942), (Number(events.GetProperty("job.json"), "train"), Number(events.GetProperty("job.json"), "validation"), Number(events.GetProperty("job.json"), "test")));
        Assert.Equal(1819, Number(events.GetProperty("job.cold-users.json"), "cold-user"));
        Assert.Equal(5751, Number(events.GetProperty("job.cold-items.json"), "cold-item"));
        Assert.DoesNotContain("warning", run.Error, StringComparison.Ordinal);
        Assert.Equal(1024, Number(JsonElement.Parse(await File.ReadAllTextAsync(Path.Combine(Out, "job.json"))).GetProperty("training"), "batchSize"));
    }

    private string At(JsonElement json, string key) => Path.Combine(Out, json.GetProperty(key).GetString()!);

    private static int Number(JsonElement json, string key) => json.GetProperty(key).GetInt32();
}
