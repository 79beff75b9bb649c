using System.Net.Http.Json;
using System.Text.Json.Nodes;
using FedLearn.Cli.Tests.Identity;
using FedLearn.Cli.Tests.Sessions;

namespace FedLearn.Cli.Tests.Serving;

/// <summary>The bank serving predictions in a process of its own, with the scores that fedlearn predict gives for the same model.</summary>
internal sealed class ServingScene : IDisposable
{
    private readonly int _port = Scene.FreePort();
    private readonly HttpClient _http = new();

    private ServingScene(Scene scene) => Scene = scene;

    public Scene Scene { get; }

    public ToolProcess Bank { get; private set; } = null!;

    /// <summary>Score and prediction by id, as the file has them.</summary>
    public IReadOnlyDictionary<string, (double Score, double Prediction)> Batch { get; private set; } = null!;

    public string[] Ids => [.. Batch.Keys];

    public Uri Rest => _http.BaseAddress!;

    /// <summary>Trains, predicts, and starts the bank.</summary>
    /// <param name="serve">The bank's settings.</param>
    /// <param name="encrypted">Whether the parties talk over TLS.</param>
    /// <param name="coordinator">Port of a coordinator through which both meet; null where the bank listens.</param>
    public static async Task<ServingScene> StartAsync(string serve = """{ "rest": "127.0.0.1:0", "timeoutMilliseconds": 60000 }""", bool encrypted = false, int? coordinator = null)
    {
        var serving = new ServingScene(new Scene());
        Scene scene = serving.Scene;
        string job = scene.Job();
        ToolRun run = await ToolRun.Of("train", "--config", job, "--model", scene.At("models"));
        Assert.True(run.ExitCode == 0, run.Error);
        run = await ToolRun.Of("predict", "--config", job, "--model", scene.At("models"), "--out", scene.At("scores.csv"));
        Assert.True(run.ExitCode == 0, run.Error);
        serving.Batch = scene.Cells("scores.csv").ToDictionary(r => r["id"], r => (Scene.Number(r["score"]), Scene.Number(r["prediction"])));
        (string bankTls, string telcoTls) = ("null", "null");
        if (encrypted)
        {
            string bank = Keys.Make(scene.Folder, "bank"), telco = Keys.Make(scene.Folder, "telco");
            (bankTls, telcoTls) = (Keys.Tls("bank", ("telco", telco)), Keys.Tls("telco", ("bank", bank)));
        }

        (string atBank, string atTelco) = coordinator is { } port ? ($"\"relay\": \"http://127.0.0.1:{port}\"", $"\"relay\": \"http://127.0.0.1:{port}\"")
            : ($"\"listen\": \"127.0.0.1:{serving._port}\"", $"\"peers\": {{ \"bank\": \"127.0.0.1:{serving._port}\" }}");
        scene.Write("bank.party.json", $$"""{ "job": "job.json", "party": "bank", {{atBank}}, "serve": {{serve}}, "tls": {{bankTls}} }""");
        scene.Write("telco.party.json", $$"""{ "job": "job.json", "party": "telco", {{atTelco}}, "tls": {{telcoTls}} }""");
        serving.Bank = ToolProcess.Start("serve", "--config", scene.At("bank.party.json"), "--model", scene.At("models"));
        await serving.Bank.SaysAsync("answering on http://127.0.0.1:");
        string address = serving.Bank.Error.Split("answering on ")[1].Split('\n')[0];
        serving._http.BaseAddress = new Uri(address);
        return serving;
    }

    /// <summary>Starts the telephone company's side.</summary>
    public ToolProcess Telco(string models = "models") => ToolProcess.Start("party", "--serve", "--config", Scene.At("telco.party.json"), "--model", Scene.At(models));

    /// <summary>Waits until the bank has counted the telephone company as connected this often.</summary>
    public Task ConnectedAsync(int times = 1) => Bank.SaysAsync("party 'telco' connected", times);

    public Task<(int Status, JsonNode? Body)> GetAsync(string path) => AnswerOf(_http.GetAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken));

    public Task<(int Status, JsonNode? Body)> PostAsync(string path, object body) => AnswerOf(_http.PostAsJsonAsync(new Uri(path, UriKind.Relative), body, TestContext.Current.CancellationToken));

    /// <summary>A request of any method, with a body that is no JSON; what it is refused with.</summary>
    public async Task<(int Status, string? ErrorId)> RefusedAsync(string path, string method)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(path, UriKind.Relative)) { Content = method == "GET" ? null : new StringContent("a") };
        (int status, JsonNode? body) = await AnswerOf(_http.SendAsync(request, TestContext.Current.CancellationToken));
        return (status, (string?)body?["errorId"]);
    }

    /// <summary>What <c>curl -d</c> sends, which says of its body that it is a form.</summary>
    public async Task<(int Status, JsonNode? Body)> PostAsFormAsync(string path, string body)
    {
        using var content = new StringContent(body, new System.Net.Http.Headers.MediaTypeHeaderValue("application/x-www-form-urlencoded"));
        return await AnswerOf(_http.PostAsync(new Uri(path, UriKind.Relative), content, TestContext.Current.CancellationToken));
    }

    public Task<string> TextAsync(string path) => _http.GetStringAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken);

    /// <summary>Checks a full answer against batch prediction, bit for bit.</summary>
    public void AssertScored(JsonNode? reply, string id)
    {
        Assert.Equal(id, (string)reply!["id"]!);
        Assert.Equal(Batch[id], ((double)reply["score"]!, (double)reply["prediction"]!));
        Assert.Empty(reply["degraded"]!.AsArray());
    }

    public void Dispose()
    {
        _http.Dispose();
        Bank?.Dispose();
        Scene.Dispose();
    }

    private static async Task<(int Status, JsonNode? Body)> AnswerOf(Task<HttpResponseMessage> sent)
    {
        using HttpResponseMessage response = await sent.WaitAsync(ToolProcess.Patience, TestContext.Current.CancellationToken);
        string body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        return ((int)response.StatusCode, body.StartsWith('{') ? JsonNode.Parse(body) : null);
    }
}
