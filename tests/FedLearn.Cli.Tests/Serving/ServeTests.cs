using System.Diagnostics.Metrics;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Cli.Serving;
using FedLearn.Cli.Tests.Identity;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;

namespace FedLearn.Cli.Tests.Serving;

public class ServeTests
{
    private const string Short = """{ "rest": "127.0.0.1:0", "timeoutMilliseconds": 300 }""";

    [Fact]
    public async Task Serve_TwoProcesses_AnswersAsBatchPredictionAndEndsCleanly()
    {
        using ServingScene serving = await ServingScene.StartAsync();
        Assert.Equal((503, "waiting"), (await serving.GetAsync("health/ready")) is var (status, body) ? (status, (string)body!["status"]!) : default);
        using ToolProcess telco = serving.Telco();
        await serving.ConnectedAsync();
        Assert.Equal(200, (await serving.GetAsync("health/ready")).Status);
        Assert.Equal(200, (await serving.GetAsync("health/live")).Status);
        foreach (string id in serving.Ids.Take(20))
        {
            (int code, JsonNode? reply) = await serving.GetAsync("score/" + id);
            Assert.Equal(200, code);
            serving.AssertScored(reply, id);
        }

        // All at once: everything that batch prediction knows, an id of the bank alone, and one of nobody.
        string bankOnly = serving.Scene.Cells("bank.csv").Select(r => r["id"]).Except(serving.Ids).First();
        (int several, JsonNode? all) = await serving.PostAsync("score", new { ids = (string[])["nobody", .. serving.Ids, bankOnly] });
        Assert.Equal((200, serving.Ids.Length), (several, all!["scores"]!.AsArray().Count));
        foreach ((JsonNode? reply, string id) in all["scores"]!.AsArray().Zip(serving.Ids))
            serving.AssertScored(reply, id);
        Assert.Equal([("nobody", GlmServingErrors.UnknownId), (bankOnly, GlmServingErrors.NotCommon)], all["missing"]!.AsArray().Select(m => ((string)m!["id"]!, (string)m["errorId"]!)));
        foreach ((string id, string error) in (ValueTuple<string, string>[])[("nobody", GlmServingErrors.UnknownId), (bankOnly, GlmServingErrors.NotCommon)])
        {
            (int code, JsonNode? problem) = await serving.GetAsync("score/" + id);
            Assert.Equal((404, error), (code, (string)problem!["errorId"]!));
            Assert.DoesNotContain(id, problem.ToJsonString(), StringComparison.Ordinal);
        }

        foreach (object bad in (object[])[new { ids = Array.Empty<string>() }, new { id = "a" }, new { ids = new string?[] { null } }, new { ids = new int[] { 3 } }, new { ids = new string[GlmScoring.MostIds + 1].Select(_ => "a") }])
            Assert.Equal((400, ServingErrors.BadRequest), (await serving.PostAsync("score", bad)) is var (code, problem) ? (code, (string)problem!["errorId"]!) : default);

        (int large, JsonNode? limit) = await serving.PostAsync("score", new { ids = new string[GlmScoring.MostIds].Select(_ => new string('a', 256)) });
        Assert.Equal((400, ServingErrors.BadRequest), (large, (string)limit!["errorId"]!));
        Assert.Contains("at most 1 MiB", (string)limit["detail"]!, StringComparison.Ordinal);

        // What routing refuses is a problem document too.
        foreach ((string path, string method, int due) in (ValueTuple<string, string, int>[])[("nowhere", "GET", 404), ("score", "DELETE", 405), ("score", "POST", 415)])
            Assert.Equal((due, ServingErrors.BadRequest), await serving.RefusedAsync(path, method));
        (int form, JsonNode? said) = await serving.PostAsFormAsync("score", """{ "ids": ["a"] }""");
        Assert.Equal((415, ServingErrors.BadRequest), (form, (string)said!["errorId"]!));
        Assert.Contains("-H 'Content-Type: application/json'", (string)said["detail"]!, StringComparison.Ordinal);

        string[] metrics = (await serving.TextAsync("metrics")).Split('\n');
        Assert.Contains("fedlearn_serve_requests_total{outcome=\"ok\"} 21", metrics);
        Assert.Contains("fedlearn_serve_requests_total{outcome=\"unknown_id\"} 2", metrics);
        Assert.Contains("fedlearn_serve_requests_total{outcome=\"bad_request\"} 6", metrics);
        Assert.Contains("fedlearn_serve_duration_seconds_count 29", metrics);
        Assert.Contains("fedlearn_serve_party_connected{party=\"telco\"} 1", metrics);
        double[] percentiles = [.. metrics.Where(m => m.StartsWith("fedlearn_serve_duration_seconds{", StringComparison.Ordinal)).Select(m => Scene.Number(m.Split(' ')[1]))];
        Assert.Equal(3, percentiles.Length);
        Assert.True(percentiles[0] > 0 && percentiles[0] <= percentiles[1] && percentiles[1] <= percentiles[2]);

        DeathTests.RequireInterrupt();
        ToolProcess.Send(serving.Bank.Id, ToolProcess.Interrupt);
        ToolRun bank = await serving.Bank.EndAsync();
        Assert.True(bank.ExitCode == 0, bank.Error);
        Assert.Contains("stopped: 29 requests answered", bank.Error, StringComparison.Ordinal);
        await telco.SaysAsync("'bank' ended the session");
        ToolProcess.Send(telco.Id, ToolProcess.Interrupt);
        ToolRun passive = await telco.EndAsync();
        Assert.True(passive.ExitCode == 0, passive.Error);
        Assert.Contains("messages answered", passive.Error, StringComparison.Ordinal);
        Assert.Contains("warning: scores of the asked rows are disclosed to the active party", passive.Error.Split(Environment.NewLine));
        // Neither says which ids were asked for.
        Assert.All(serving.Ids.Append("nobody"), id => Assert.DoesNotContain(id, bank.Error + passive.Error, StringComparison.Ordinal));
        Assert.Equal((0, 0), (bank.Output.Length, passive.Output.Length));
    }

    [Fact]
    public async Task Serve_PartyKilledAndRestarted_RefusesMeanwhileAndRecovers()
    {
        using ServingScene serving = await ServingScene.StartAsync();
        string id = serving.Ids[0];
        using (ToolProcess telco = serving.Telco())
        {
            await serving.ConnectedAsync();
            Assert.Equal(200, (await serving.GetAsync("score/" + id)).Status);
            telco.Kill();
            await telco.EndAsync();
        }

        await serving.Bank.SaysAsync("party 'telco' left");
        (int status, JsonNode? problem) = await serving.GetAsync("score/" + id);
        Assert.Equal((503, GlmServingErrors.PartyAway), (status, (string)problem!["errorId"]!));
        Assert.Equal(503, (await serving.PostAsync("score", new { ids = (string[])[id] })).Status);
        Assert.Equal(503, (await serving.GetAsync("health/ready")).Status);
        using ToolProcess again = serving.Telco();
        await serving.ConnectedAsync(2);
        serving.AssertScored((await serving.GetAsync("score/" + id)).Body, id);
        Assert.Contains("fedlearn_serve_requests_total{outcome=\"unavailable\"} 2\n", await serving.TextAsync("metrics"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_OverTls_AnswersAndLetsNobodyElseIn()
    {
        using ServingScene serving = await ServingScene.StartAsync(encrypted: true);
        Scene scene = serving.Scene;
        Assert.Contains("listening on https://", serving.Bank.Error, StringComparison.Ordinal);
        string file = scene.At("telco.party.json"), right = File.ReadAllText(file);
        Keys.Make(scene.Folder, "telco", "stranger");
        File.WriteAllText(file, right.Replace("telco.crt.pem", "stranger.crt.pem", StringComparison.Ordinal).Replace("telco.key.pem", "stranger.key.pem", StringComparison.Ordinal));
        string refused;
        using (ToolProcess stranger = serving.Telco())
        {
            // It goes on trying, since the other side may learn of its certificate meanwhile, and says why it waits.
            await serving.Bank.SaysAsync($"({GrpcErrors.PeerUnknown})");
            await stranger.SaysAsync($"({GrpcErrors.RefusedByPeer})");
            refused = stranger.Error;
        }

        File.WriteAllText(file, right);
        using ToolProcess telco = serving.Telco();
        await serving.ConnectedAsync();
        serving.AssertScored((await serving.GetAsync("score/" + serving.Ids[0])).Body, serving.Ids[0]);
        Keys.AssertNoneIn(scene.Folder, serving.Bank.Error, telco.Error, refused);
    }

    [Fact]
    public async Task Serve_Fallback_AnswersDegradedUntilThePartyIsThere()
    {
        using ServingScene serving = await ServingScene.StartAsync("""{ "rest": "127.0.0.1:0", "timeoutMilliseconds": 60000, "fallback": { "telco": 0.125 } }""");
        string id = serving.Ids[0];
        Assert.Equal(200, (await serving.GetAsync("health/ready")).Status);
        JsonNode degraded = (await serving.GetAsync("score/" + id)).Body!;
        Assert.Equal(["telco"], degraded["degraded"]!.AsArray().Select(p => (string)p!));
        var bank = GlmModel.Load(serving.Scene.At("models"), "bank");
        IReadOnlyDictionary<string, string> row = serving.Scene.Cells("bank.csv").Single(r => r["id"] == id);
        Data.Table table = Data.Table.FromMatrix([id], ["age", "income"], new Numerics.DenseMatrix(1, 2, [Scene.Number(row["age"]), Scene.Number(row["income"])]));
        double score = bank.Score(table, [0])[0] + 0.125;
        Assert.Equal(score, (double)degraded["score"]!, 1e-12);
        Assert.Equal(1 / (1 + Math.Exp(-score)), (double)degraded["prediction"]!, 1e-12);
        using ToolProcess telco = serving.Telco();
        await serving.ConnectedAsync();
        serving.AssertScored((await serving.GetAsync("score/" + id)).Body, id);
        Assert.Contains("fedlearn_serve_requests_total{outcome=\"degraded\"} 1\n", await serving.TextAsync("metrics"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_PartyStopped_AnswersInTimeAndRecovers()
    {
        using ServingScene serving = await ServingScene.StartAsync(Short);
        using ToolProcess telco = serving.Telco();
        await serving.ConnectedAsync();
        ToolProcess.Send(telco.Id, ToolProcess.Stop);
        (int status, JsonNode? problem) = await serving.GetAsync("score/" + serving.Ids[0]);
        Assert.Equal((503, GlmServingErrors.PartyTooSlow), (status, (string)problem!["errorId"]!));
        ToolProcess.Send(telco.Id, ToolProcess.Continue);
        // The late answer belongs to the first request. On a busy machine the next one may be late as well: ask until one is in time.
        for (int tries = 0; ; tries++)
        {
            (int code, JsonNode? reply) = await serving.GetAsync("score/" + serving.Ids[1]);
            if (code == 200)
            {
                serving.AssertScored(reply, serving.Ids[1]);
                break;
            }

            Assert.True(tries < 100 && (string)reply!["errorId"]! == GlmServingErrors.PartyTooSlow, reply?.ToJsonString());
        }
    }

    [Fact]
    public async Task Serve_TwoHundredAtOnce_EachGetsItsOwn()
    {
        using ServingScene serving = await ServingScene.StartAsync();
        using ToolProcess telco = serving.Telco();
        await serving.ConnectedAsync();
        string[] ids = [.. Enumerable.Range(0, 200).Select(i => serving.Ids[i * 7 % serving.Ids.Length])];
        (int Status, JsonNode? Body)[] answers = await Task.WhenAll(ids.Select(id => serving.GetAsync("score/" + id)));
        foreach (((int status, JsonNode? body), string id) in answers.Zip(ids))
        {
            Assert.Equal(200, status);
            serving.AssertScored(body, id);
        }

        Assert.Contains("fedlearn_serve_requests_total{outcome=\"ok\"} 200\n", await serving.TextAsync("metrics"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_PartOfAnotherTraining_IsRefusedAndNotReady()
    {
        using ServingScene serving = await ServingScene.StartAsync();
        Assert.Equal(0, (await ToolRun.Of("train", "--config", serving.Scene.At("job.json"), "--model", serving.Scene.At("other"))).ExitCode);
        using ToolProcess telco = serving.Telco("other");
        ToolRun run = await telco.EndAsync();
        Assert.Equal((2, true), (run.ExitCode, run.Error.Contains("(FL2402)", StringComparison.Ordinal)));
        await serving.Bank.SaysAsync("(FL2402)");
        Assert.Equal(503, (await serving.GetAsync("health/ready")).Status);
        // Another job is refused before a session begins.
        Assert.Equal(0, (await ToolRun.Of("train", "--config", serving.Scene.Named("other.job.json", ("model.l2", 0.5)), "--model", serving.Scene.At("other"))).ExitCode);
        serving.Scene.Write("telco.party.json", File.ReadAllText(serving.Scene.At("telco.party.json")).Replace("job.json", "other.job.json", StringComparison.Ordinal));
        using ToolProcess other = serving.Telco("other");
        run = await other.EndAsync();
        Assert.Equal((4, true), (run.ExitCode, run.Error.Contains("(FL4010)", StringComparison.Ordinal)));
        await serving.Bank.SaysAsync("refused 'telco'");
    }

    [Fact]
    public async Task Serve_WrongRoleOrAddress_IsRefused()
    {
        using var scene = new Scene();
        Assert.Equal(0, (await ToolRun.Of("train", "--config", scene.Job(), "--model", scene.At("models"))).ExitCode);
        (string bank, string telco) = scene.Parties(Scene.FreePort());
        async Task RefusedAsync(int code, string id, params string[] args)
        {
            ToolRun run = await ToolRun.Of([.. args, "--model", scene.At("models")]);
            Assert.Equal((code, true), (run.ExitCode, run.Error.Contains($"({id})", StringComparison.Ordinal)));
        }

        await RefusedAsync(2, ServingErrors.WrongRole, "serve", "--config", telco);
        await RefusedAsync(2, ServingErrors.WrongRole, "party", "--serve", "--config", bank);
        await RefusedAsync(2, CliErrors.OptionsDisagree, "party", "--serve", "--config", telco, "--json");
        await RefusedAsync(2, CliErrors.OptionsDisagree, "party", "--predict", scene.At("s.csv"), "--config", telco, "--html", scene.At("page.html"));
        string Serving(string serve) => scene.Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", "listen": "127.0.0.1:{{Scene.FreePort()}}", "serve": {{serve}} }""");
        await RefusedAsync(4, GrpcErrors.PlaintextRefused, "serve", "--config", Serving("""{ "rest": "0.0.0.0:8080" }"""));
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        taken.Start();
        await RefusedAsync(4, ServingErrors.CannotListen, "serve", "--config", Serving($$"""{ "rest": "{{taken.LocalEndpoint}}" }"""));
    }

    /// <summary>Type and place, and not the message, which may quote data.</summary>
    [Fact]
    public async Task Rest_RequestThatFails_IsLoggedWithoutItsMessage()
    {
        using var scene = new Scene();
        string job = scene.Job(), said = "";
        ToolRun run = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"), "--in-process");
        Assert.True(run.ExitCode == 0, run.Error);
        GlmRunFile file = GlmRunFile.Load(job);
        using var metrics = new ServingMetrics(new GlmScoringActive(file.Job, GlmTasks.Input(file, file.Party("bank"), needLabel: false, default), GlmModel.Load(scene.At("models"), "bank")));
        List<string> durations = [];
        using var listener = new MeterListener { InstrumentPublished = (instrument, own) => { if (instrument.Name == "fedlearn.serve.duration") own.EnableMeasurementEvents(instrument); } };
        listener.SetMeasurementEventCallback<double>((_, seconds, tags, _) => durations.Add($"{seconds >= 0} {tags[0].Key} {tags[0].Value}"));
        listener.Start();
        IResult result = await RestHost.CountedAsync(metrics, line => said += line, static () => throw new InvalidOperationException("c_0001"));
        Assert.Contains("True outcome failed", durations);
        Assert.Equal(500, Assert.IsType<ProblemHttpResult>(result).StatusCode);
        Assert.StartsWith("a request failed with InvalidOperationException, which the server did not expect (FL6120)", said, StringComparison.Ordinal);
        Assert.Contains(nameof(Rest_RequestThatFails_IsLoggedWithoutItsMessage), said, StringComparison.Ordinal);
        Assert.DoesNotContain("c_0001", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OpenApi_Document_HasEveryPathWithItsAnswers()
    {
        using ServingScene serving = await ServingScene.StartAsync();
        JsonNode document = JsonNode.Parse(await serving.TextAsync("openapi/v1.json"))!;
        Assert.StartsWith("3.", (string)document["openapi"]!, StringComparison.Ordinal);
        (string Path, string Method, string[] Codes)[] expected =
        [
            ("/health/live", "get", ["200"]), ("/health/ready", "get", ["200", "503"]), ("/metrics", "get", ["200"]),
            ("/score", "post", ["200", "400", "415", "503"]), ("/score/{id}", "get", ["200", "404", "503"]),
        ];
        Assert.Equal(expected.Select(e => e.Path), document["paths"]!.AsObject().Select(p => p.Key).Order(StringComparer.Ordinal));
        foreach ((string path, string method, string[] codes) in expected)
        {
            JsonNode operation = document["paths"]![path]![method]!;
            Assert.Equal(codes, operation["responses"]!.AsObject().Select(r => r.Key).Order(StringComparer.Ordinal));
            Assert.False(string.IsNullOrWhiteSpace((string?)operation["summary"]));
        }

        JsonObject schemas = document["components"]!["schemas"]!.AsObject();
        Assert.Equal(["degraded", "id", "prediction", "score"], schemas["ScoreReply"]!["properties"]!.AsObject().Select(p => p.Key).Order(StringComparer.Ordinal));
        Assert.NotNull(schemas["ProblemDetails"]!["properties"]!["errorId"]);
        Assert.All(schemas["ScoreReply"]!["properties"]!.AsObject(), p => Assert.NotNull(p.Value!["description"]));
        Assert.Equal("Id of the row, as in the tables; white space at its ends does not matter. The columns of an id of several stand in their order with U+001F (%1F) between them.", (string)document["paths"]!["/score/{id}"]!["get"]!["parameters"]![0]!["description"]!);
    }

    [Fact]
    public async Task Rest_ForeignHostName_IsRefused()
    {
        using ServingScene serving = await ServingScene.StartAsync();
        using var http = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(serving.Rest, "health/live"));
        request.Headers.Host = "bank.example";
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal((System.Net.HttpStatusCode.BadRequest, "application/problem+json"), (response.StatusCode, response.Content.Headers.ContentType?.MediaType));
        JsonNode problem = JsonNode.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken))!;
        Assert.Equal("FL3062", (string)problem["errorId"]!);
        Assert.Contains("Host", (string)problem["detail"]!, StringComparison.Ordinal);
    }
}
