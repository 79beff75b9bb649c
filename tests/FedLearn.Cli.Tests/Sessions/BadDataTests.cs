using System.Diagnostics;
using System.Text.Json.Nodes;

namespace FedLearn.Cli.Tests.Sessions;

public class BadDataTests
{
    /// <summary>Stands for the value that no message may repeat.</summary>
    private const string Secret = "17.25kg";

    // Id of the error; file; line; column; what the cell becomes. Line 1 is the header.
    public static TheoryData<string, string, int, int, string> Cells => new()
    {
        { "FL3005", "telco.csv", 9, 1, Secret },
        { "FL3005", "bank.csv", 9, 2, Secret },
        { "FL3005", "telco.csv", 9, 2, "\"17,25\"" },
        { "FL3006", "telco.csv", 9, 2, "1e999" },
        { "FL3006", "bank.csv", 9, 3, "NaN" },
        { "FL3006", "bank.csv", 9, 3, "Infinity" },
        { "FL3007", "telco.csv", 9, 1, "" },
        { "FL3008", "telco.csv", 9, 0, "" },
        { "FL3003", "telco.csv", 9, 1, "0,0" },
        { "FL3100", "bank.csv", 9, 1, "0.25" },
        { "FL3005", "bank.csv", 9, 1, Secret },
    };

    private static async Task<ToolRun> TrainAsync(Scene scene, params (string, JsonNode?)[] changes) =>
        await ToolRun.Of("train", "--config", scene.Job([("transport.timeoutSeconds", 100), ("transport.connectTimeoutSeconds", 100), .. changes]),
            "--json", "--model", scene.At("models"), "--report", scene.At("report.json"));

    private static void AssertRefused(string id, ToolRun run, Scene scene)
    {
        Assert.Equal((3, ""), (run.ExitCode, run.Output));
        Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        Assert.Empty(scene.Results);
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public async Task Train_BadCell_NamesThePlaceAndNotTheValue(string id, string file, int line, int column, string cell)
    {
        using var scene = new Scene();
        string was = "";
        scene.Edit(file, line, text =>
        {
            string[] cells = text.Split(',');
            was = cells[0];
            cells[column] = cell;
            return string.Join(',', cells);
        });
        ToolRun run = await TrainAsync(scene);
        AssertRefused(id, run, scene);
        Assert.Contains($"{file}, line 9", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(was, run.Error, StringComparison.Ordinal);
        if (cell.Length > 3)
            Assert.DoesNotContain(cell.Trim('"'), run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_DuplicateId_NamesBothLinesAndNotTheId()
    {
        using var scene = new Scene();
        string first = File.ReadLines(scene.At("telco.csv")).ElementAt(4);
        scene.Edit("telco.csv", 9, _ => first);
        ToolRun run = await TrainAsync(scene);
        AssertRefused("FL3009", run, scene);
        Assert.Contains("telco.csv, line 9", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(first.Split(',')[0], run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_MissingFileOrColumn_IsRefused()
    {
        using var scene = new Scene();
        ToolRun run = await TrainAsync(scene, ("parties.1.data.path", "nowhere.csv"));
        AssertRefused("FL3000", run, scene);
        Assert.Contains("nowhere.csv", run.Error, StringComparison.Ordinal);
        run = await TrainAsync(scene, ("parties.1.data.id", "customer"));
        AssertRefused("FL3001", run, scene);
        Assert.Contains("customer", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Train_NoCommonIds_IsRefused()
    {
        using var scene = new Scene();
        for (int line = 2; line <= File.ReadLines(scene.At("telco.csv")).Count(); line++)
            scene.Edit("telco.csv", line, text => "x" + text);
        AssertRefused("FL3102", await TrainAsync(scene), scene);
    }

    [Fact]
    public async Task Train_CommonIdWithoutSplit_IsRefused()
    {
        using var scene = new Scene();
        scene.Write("split.csv", ["id,split", .. scene.Cells("bank.csv").Skip(1).Select(r => r["id"] + ",train")]);
        bool common = scene.Cells("telco.csv").Any(r => r["id"] == scene.Cells("bank.csv")[0]["id"]);
        Assert.True(common, "the row without a split must be a common one for this test");
        AssertRefused("FL3019", await TrainAsync(scene, ("evaluation.split", JsonNode.Parse("""{ "path": "split.csv" }"""))), scene);
    }

    [Theory]
    [InlineData("FL3005", true)]   // before joining, at the passive party: the active one waits for it meanwhile
    [InlineData("FL3018", false)]  // after joining and aligning
    [InlineData("FL3102", false)]  // at both parties at once
    public async Task Train_BadDataAtOneProcess_IsTheRootCauseAndQuick(string id, bool beforeJoining)
    {
        using var scene = new Scene();
        for (int line = 2; line <= File.ReadLines(scene.At("telco.csv")).Count(); line++)
            scene.Edit("telco.csv", line, text => id switch
            {
                "FL3018" => text[..text.LastIndexOf(',')] + ",0.5",
                "FL3102" => "x" + text,
                _ => line == 9 ? text + "kg" : text,
            });
        long start = Stopwatch.GetTimestamp();
        ToolRun run = await TrainAsync(scene, ("transport.kind", "grpc"));
        AssertRefused(id, run, scene);
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(60), "the other party was waited for");
        Assert.Equal(beforeJoining, run.Error.Contains("line 9", StringComparison.Ordinal));
    }
}
