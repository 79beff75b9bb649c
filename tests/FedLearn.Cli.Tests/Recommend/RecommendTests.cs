using System.Text.Json.Nodes;
using FedLearn.Cli.Recommend;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Cli.Tests.Recommend;

public class RecommendTests
{
    private static string[] Weights(JsonObject report) => [.. report["parties"]!.AsArray().Select(p => (string)p!["model"]!["weightsSha256"]!)];

    private static string Digest(JsonObject report) => (string)report["job"]!["digest"]!;

    private static string[][] Rows(string path) => [.. File.ReadLines(path).Skip(1).Select(line => line.Split(','))];

    [Theory]
    [InlineData("topk")]
    [InlineData("evaluate")]
    public async Task Help_PrivateJobThatDisclosesNoVectors_IsSaidToBeRefused(string verb)
    {
        string help = (await ToolRun.Of("recommend", verb, "--help")).Output;
        Assert.Contains("(FL5187)", help, StringComparison.Ordinal);
        Assert.DoesNotContain("is charged", help, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("recommend", "--help")]
    [InlineData("recommend", "train", "--help")]
    [InlineData("recommend", "evaluate", "--help")]
    [InlineData("recommend", "topk", "--help")]
    public async Task Help_EveryVerb_TeachesByExample(params string[] args)
    {
        ToolRun run = await ToolRun.Of(args);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Contains("Example", run.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sum")]
    [InlineData("late")]
    [InlineData("concat")]
    public async Task Train_InMemoryAndOverGrpc_GivesTheSameModelAndDigest(string fusion)
    {
        using var scene = new RecommendScene();
        JsonObject memory = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Job(("model.fusion", fusion)));
        JsonObject grpc = await RecommendScene.DocumentAsync("train", "--config", scene.Named("grpc.json", ("model.fusion", fusion), ("transport.kind", "grpc")), "--in-process");
        Assert.Equal(Weights(memory), Weights(grpc));
        Assert.Equal(Digest(memory), Digest(grpc));
        Assert.Equal(memory["metrics"]!.ToJsonString(), grpc["metrics"]!.ToJsonString());
        Assert.Equal(memory["baselines"]!.ToJsonString(), grpc["baselines"]!.ToJsonString());
        Assert.Equal(("in-memory", "grpc"), ((string)memory["job"]!["transport"]!, (string)grpc["job"]!["transport"]!));
        Assert.Equal(memory["parties"]!.AsArray().Select(p => p!["releases"]!.ToJsonString()), grpc["parties"]!.AsArray().Select(p => p!["releases"]!.ToJsonString()));
    }

    [Fact]
    public async Task Train_TablesOfAnotherDialect_GiveTheSameModel()
    {
        using var scene = new RecommendScene();
        string[] profile = [.. File.ReadLines(scene.At("profile.csv"))];
        string Aged(string line) => string.Join(',', line.Split(',').Select((cell, column) => column == 1 && cell != "age" ? $"{cell}.5" : cell));
        scene.Write("profile.csv", [.. profile.Select(Aged)]);
        JsonObject usual = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Job());
        scene.Write("profile.csv", [.. profile.Select(line => Aged(line).Replace(',', ';').Replace('.', ','))]);
        foreach (string file in (string[])["interactions.csv", "items.csv", "taste.csv"])
            scene.Write(file, [.. File.ReadLines(scene.At(file)).ToArray().Select(line => line.Replace(',', '\t'))]);
        JsonObject other = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Job(("parties.1.data.view.decimal", ",")));
        Assert.Equal(Weights(usual), Weights(other));
        Assert.Equal(Digest(usual), Digest(other));
    }

    [Fact]
    public async Task Train_Psi_GivesTheModelOfHashedIds()
    {
        Sodium.Require();
        using var scene = new RecommendScene();
        JsonObject hashed = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Named("hashed.json"));
        JsonObject psi = await RecommendScene.DocumentAsync("recommend", "train", "--config", scene.Job(("alignment", "psi")), "--model", scene.At("models"));
        Assert.Equal(Weights(hashed), Weights(psi));
        Assert.Equal(hashed["metrics"]!.ToJsonString(), psi["metrics"]!.ToJsonString());
        Assert.NotEqual(Digest(hashed), Digest(psi));
        Assert.Equal("psi", (string)psi["alignment"]!["method"]!);
        // The active party met each view by itself.
        Assert.Equal(["profile", "taste"], FedLearn.Storage.Sqlite.SqliteLedger.Audit(scene.At("service.ledger.db")).Alignments.Select(a => a.Record.Peer).Order(StringComparer.Ordinal));
        JsonObject evaluated = await RecommendScene.DocumentAsync("recommend", "evaluate", "--config", scene.Job(("alignment", "psi")), "--model", scene.At("models"));
        Assert.Equal(psi["metrics"]!["test"]!.ToJsonString(), evaluated["metrics"]!["test"]!.ToJsonString());
    }

    [Fact]
    public async Task Train_ProcessOfItsOwnForEachParty_GivesTheModelOfOneProcess()
    {
        Assert.SkipUnless(LibTorchTowers.IsAvailable, "the native library of towers is not on this machine");
        using var scene = new RecommendScene();
        async Task<JsonObject> TrainAsync(params string[] args)
        {
            ToolRun run = await ToolRun.Of(["recommend", "train", "--json", .. args]);
            Assert.True(run.ExitCode == 0, run.Error);
            return JsonNode.Parse(run.Output)!.AsObject();
        }

        JsonObject memory = await TrainAsync("--config", scene.Job()), processes = await TrainAsync("--config", scene.Named("grpc.json", ("transport.kind", "grpc")), "--model", scene.At("models"));
        Assert.Equal(Weights(memory), Weights(processes));
        Assert.Equal(Digest(memory), Digest(processes));
        Assert.True(File.Exists(scene.At("models/taste.model.json")));
        ToolRun lists = await ToolRun.Of("recommend", "topk", "--config", scene.At("grpc.json"), "--model", scene.At("models"), "--k", "3", "--out", scene.At("lists.csv"), "--include-met");
        Assert.True(lists.ExitCode == 0, lists.Error);
        Assert.Equal(3 * RecommendScene.Users, Rows(scene.At("lists.csv")).Length);
    }

    [Fact]
    public async Task Train_Report_HoldsFiguresBesideBaselines()
    {
        using var scene = new RecommendScene();
        ToolRun run = await RecommendScene.RunAsync("recommend", "train", "--config", scene.Job(), "--json", "--report", scene.At("report.json"), "--html", scene.At("report.html"), "--model", scene.At("models"));
        Assert.True(run.ExitCode == 0, run.Error);
        Assert.Equal(File.ReadAllText(scene.At("report.json")), run.Output); // standard output is the report and nothing else
        JsonObject report = JsonNode.Parse(run.Output)!.AsObject();
        Assert.Equal("dssm", (string)report["job"]!["model"]!);
        JsonNode metrics = report["metrics"]!;
        foreach (string set in (string[])["test", "coldUsers"])
            foreach (string figure in (string[])["hr10Sampled", "ndcg10Sampled", "mrrSampled", "hr10Full", "ndcg10Full", "aucFull"])
            {
                Assert.InRange((double)metrics[set]![figure]!, 0, 1);
                Assert.Equal(2, report["intervals"]![set]![figure]!.AsArray().Count);
                foreach (string baseline in (string[])["popularity", "itemKnn", "ials"])
                    Assert.InRange((double)report["baselines"]![baseline]![set]![figure]!, 0, 1);
            }

        Assert.Null(metrics["coldItems"]); // the job has none
        Assert.True((double)metrics["train"]!["loss"]! > 0);
        Assert.Equal((27 * 5, 27, 27, 9, 0, RecommendScene.Users, RecommendScene.Items), ((int)report["rows"]!["train"]!, (int)report["rows"]!["validation"]!, (int)report["rows"]!["test"]!,
            (int)report["rows"]!["coldUsers"]!, (int)report["rows"]!["coldItems"]!, (int)report["rows"]!["users"]!, (int)report["rows"]!["items"]!));
        Assert.NotEmpty(report["history"]!.AsArray());
        Assert.All(report["history"]!.AsArray(), epoch => Assert.InRange((double)epoch!["validationNdcg10"]!, 0, 1));
        Assert.Equal(["service", "profile", "taste"], report["parties"]!.AsArray().Select(p => (string)p!["name"]!));
        Assert.All(report["parties"]!.AsArray(), p =>
        {
            Assert.True((long)p!["bytesSent"]! > 0);
            Assert.NotEmpty(p["releases"]!.AsArray());
            Assert.Equal("none", (string)p["privacy"]!["mode"]!);
            Assert.Equal(64, ((string)p["model"]!["weightsSha256"]!).Length);
        });
        Assert.All((string[])["totalSeconds", "secondsPerEpoch", "computeSeconds", "waitSeconds", "noiseSeconds"], key => Assert.True((double)report["timing"]![key]! >= 0));
        Assert.Empty(report["ignored"]!.AsArray());
        string html = File.ReadAllText(scene.At("report.html"));
        foreach (string part in (string[])["data-chart=\"baselines\"", "data-chart=\"ndcg\"", "ItemKNN", "iALS", "HR@10, all items"])
            Assert.Contains(part, html, StringComparison.Ordinal);
        Assert.Equal(["profile.model.json", "service.model.json", "taste.model.json"], Directory.GetFiles(scene.At("models")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        ToolRun side = await ToolRun.Of("report", scene.At("report.json"), scene.At("report.json"), "--html", scene.At("both.html"));
        Assert.True(side.ExitCode == 0, side.Error);
        Assert.Contains("HR@10", side.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Evaluate_SavedModel_HasTheFiguresOfItsTraining()
    {
        using var scene = new RecommendScene();
        string job = scene.Job();
        JsonObject trained = await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        JsonObject evaluated = await RecommendScene.DocumentAsync("recommend", "evaluate", "--config", job, "--model", scene.At("models"), "--html", scene.At("evaluation.html"));
        foreach (string set in (string[])["test", "coldUsers", "coldItems"])
            Assert.Equal(trained["metrics"]![set]?.ToJsonString(), evaluated["metrics"]![set]?.ToJsonString());
        Assert.Equal(Digest(trained), Digest(evaluated));
        Assert.Equal(Weights(trained), Weights(evaluated));
        Assert.Equal((string)trained["job"]!["modelVersion"]!, (string)evaluated["job"]!["modelVersion"]!);
        Assert.Empty(evaluated["history"]?.AsArray() ?? []);
        // It finds the shared users once more, and says the same of it.
        Assert.Equal(trained["alignment"]!.ToJsonString(), evaluated["alignment"]!.ToJsonString());
        Assert.Equal(trained["parties"]!.AsArray().Select(p => ((int)p!["rows"]!, (int)p["commonRows"]!)), evaluated["parties"]!.AsArray().Select(p => ((int)p!["rows"]!, (int)p["commonRows"]!)));
    }

    [Fact]
    public async Task TopK_Lists_LeaveMetItemsOutAndAreOrdered()
    {
        using var scene = new RecommendScene();
        string job = scene.Job();
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        JsonObject document = await RecommendScene.DocumentAsync("recommend", "topk", "--config", job, "--model", scene.At("models"), "--k", "5", "--out", scene.At("lists.csv"),
            "--vectors", scene.At("export/items"));
        Assert.Equal((RecommendScene.Users, 5), ((int)document["rows"]!, (int)document["k"]!));
        Assert.Equal("user,rank,item,score,source", File.ReadLines(scene.At("lists.csv")).First());
        ILookup<string, string> met = Rows(scene.At("interactions.csv")).ToLookup(row => row[0], row => row[3]);
        string[][] lists = Rows(scene.At("lists.csv"));
        Assert.Equal(5 * RecommendScene.Users, lists.Length);
        Assert.All(lists, row => Assert.DoesNotContain(row[2], met[row[0]]));
        Assert.All(lists.GroupBy(row => row[0]), list =>
        {
            Assert.Equal(["1", "2", "3", "4", "5"], list.Select(row => row[1]));
            Assert.Equal(list.Select(row => Sessions.Scene.Number(row[3])).OrderDescending(), list.Select(row => Sessions.Scene.Number(row[3])));
            Assert.Equal(5, list.Select(row => row[2]).Distinct().Count());
        });
        Assert.True(File.Exists(scene.At("export/items.npy")));
        Assert.Equal(RecommendScene.Items + 1, File.ReadLines(scene.At("export/items.ids.csv")).Count());

        // predict is the same with its defaults.
        ToolRun predicted = await RecommendScene.RunAsync("predict", "--config", job, "--model", scene.At("models"), "--out", scene.At("predicted.csv"));
        Assert.True(predicted.ExitCode == 0, predicted.Error);
        Assert.Equal(lists.Where(row => row[1] == "1"), Rows(scene.At("predicted.csv")).Where(row => row[1] == "1"));
        Assert.Contains("disclosed its vectors", predicted.Error, StringComparison.Ordinal);
        Assert.Contains($"{RecommendScene.Users} lists written: {scene.At("predicted.csv")}", predicted.Error, StringComparison.Ordinal);
        // The document has it too, and which users whom is told of; nothing of samples, of which a list has none.
        Assert.Contains(document["warnings"]!.AsArray(), w => ((string)w!).Contains("disclosed its vectors", StringComparison.Ordinal));
        Assert.Contains(document["alignment"]!["leaks"]!.AsArray(), l => ((string)l!).StartsWith("every view learns which of its users", StringComparison.Ordinal));
        Assert.DoesNotContain(document["alignment"]!["leaks"]!.AsArray(), l => ((string)l!).Contains("evaluation sample", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TopK_NamedUsers_MayBeUnknownToTheServiceOrToAll()
    {
        using var scene = new RecommendScene();
        string job = scene.Job();
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        // u30 is in the profile company's table alone, and nobody knows u99.
        JsonObject document = await RecommendScene.DocumentAsync("recommend", "topk", "--config", job, "--model", scene.At("models"), "--out", scene.At("lists.csv"), "--k", "2", "--include-met",
            "--users", scene.Write("users.txt", "u05", "\"u30\"", "", "u99", "\"u05\"", "\"\""));
        string[][] lists = Rows(scene.At("lists.csv"));
        Assert.Equal(["u05 1 model", "u05 2 model", "u30 1 model", "u30 2 model", "u99 1 popularity", "u99 2 popularity"], lists.Select(row => $"{row[0]} {row[1]} {row[4]}"));
        Assert.Contains("1 of 3 users", (string)document["notes"]![0]!, StringComparison.Ordinal);
        foreach ((string[] more, string id, int code) in new (string[], string, int)[]
        {
            (["--users", scene.At("absent.txt")], RecommendErrors.Users, 2),
            (["--users", scene.Write("blank.txt", "")], RecommendErrors.Users, 2),
            (["--users", Empty(scene.At("empty.txt"))], RecommendErrors.Users, 2),
            (["--users", Latin1(scene.At("latin1.txt"))], "FL3004", 3),
            (["--k", "0"], RecommendErrors.ListLength, 2),
        })
        {
            ToolRun run = await RecommendScene.RunAsync(["recommend", "topk", "--config", job, "--model", scene.At("models"), "--out", scene.At("none.csv"), .. more]);
            Assert.Equal((code, ""), (run.ExitCode, run.Output));
            Assert.Contains(id, run.Error, StringComparison.Ordinal);
            Assert.False(File.Exists(scene.At("none.csv")));
        }
    }

    private static string Empty(string path)
    {
        File.WriteAllText(path, "");
        return path;
    }

    private static string Latin1(string path)
    {
        File.WriteAllText(path, "u05\nJosé\n", System.Text.Encoding.Latin1);
        return path;
    }

    [Fact]
    public async Task Verbs_PartsOfTwoTrainings_AreRefused()
    {
        using var scene = new RecommendScene();
        string job = scene.Job();
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("first"));
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("second"));
        File.Copy(scene.At("second/taste.model.json"), scene.At("first/taste.model.json"), overwrite: true);
        ToolRun run = await RecommendScene.RunAsync("recommend", "evaluate", "--config", job, "--model", scene.At("first"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("different trainings", run.Error, StringComparison.Ordinal);
    }

    /// <summary>Cells would be other features, of the same number.</summary>
    [Theory]
    [InlineData("profile.schema.json", "25, 35", "25, 40")]
    [InlineData("items.schema.json", "\"buckets\": 16", "\"buckets\": 16, \"hashes\": 2")]
    public async Task Evaluate_OtherSchemaThanTheModels_IsRefused(string file, string old, string replacement)
    {
        using var scene = new RecommendScene();
        string job = scene.Job(), schema = File.ReadAllText(scene.At(file));
        await RecommendScene.DocumentAsync("recommend", "train", "--config", job, "--model", scene.At("models"));
        Assert.Contains(old, schema, StringComparison.Ordinal);
        File.WriteAllText(scene.At(file), schema.Replace(old, replacement, StringComparison.Ordinal));
        ToolRun run = await RecommendScene.RunAsync("recommend", "evaluate", "--config", job, "--model", scene.At("models"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("its schemas are not those that the model was trained with", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("recommend", "train")]
    [InlineData("recommend", "evaluate", "--model", "m")]
    [InlineData("recommend", "topk", "--model", "m", "--out", "o.csv")]
    public async Task Recommend_JobOfAnotherModel_IsRefused(params string[] verb)
    {
        using var scene = new Sessions.Scene();
        ToolRun run = await ToolRun.Of([.. verb, "--config", scene.Job()]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(RunFileErrors.OtherModel, run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("privacy", "plan")]
    [InlineData("train", "--cross-validate", "3")]
    public async Task VerbOfLinearModels_RecommendationJob_IsRefused(params string[] verb)
    {
        using var scene = new RecommendScene();
        ToolRun run = await ToolRun.Of([.. verb, "--config", scene.Job()]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(RunFileErrors.OtherModel, run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("parties.2.data.view.path", "absent.csv", 3)]
    [InlineData("parties.2.data.view.schema", "items.schema.json", 2)]
    [InlineData("parties.1.tower.torchScript", "absent.pt", 2)]
    public async Task Train_FilesThatDoNotFit_EndWithTheirExitCodeAndWriteNothing(string path, string value, int code)
    {
        using var scene = new RecommendScene();
        ToolRun run = await RecommendScene.RunAsync("recommend", "train", "--config", scene.Job((path, value)), "--model", scene.At("models"), "--report", scene.At("report.json"));
        Assert.Equal((code, ""), (run.ExitCode, run.Output));
        Assert.False(Directory.Exists(scene.At("models")) || File.Exists(scene.At("report.json")));
    }

    [Fact]
    public async Task Train_WithoutTheNativeLibrary_NamesTheCommandThatBringsIt()
    {
        using var scene = new RecommendScene();
        // A folder that holds no library stands for a machine without it.
        using ToolProcess tool = ToolProcess.StartWith("FEDLEARN_NATIVE", Path.GetDirectoryName(scene.Job()), ["recommend", "train", "--config", scene.Job()]);
        ToolRun run = await tool.EndAsync();
        Assert.Equal((6, ""), (run.ExitCode, run.Output));
        Assert.Contains("eng/setup.sh towers", run.Error, StringComparison.Ordinal);
    }
}
