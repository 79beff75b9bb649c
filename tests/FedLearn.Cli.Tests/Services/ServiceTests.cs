using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Threading.Channels;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Services;
using FedLearn.Cli.Tests.Identity;
using FedLearn.Cli.Tests.Sessions;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;
using SQLitePCL;

namespace FedLearn.Cli.Tests.Services;

/// <summary>fedlearn party --service in a process of its own.</summary>
public class ServiceTests
{
    private static readonly CancellationToken Token = TestContext.Current.CancellationToken;

    /// <summary>A job of the bank and the telephone company, and a party file for each.</summary>
    private static (string Bank, string Telco) Job(Scene scene, string name, int port, string more = "", params (string, JsonNode?)[] changes)
    {
        scene.Named($"{name}.job.json", [("name", name), ("transport.kind", "grpc"), .. changes]);
        return (scene.Write($"{name}.bank.party.json", $$"""{ "job": "{{name}}.job.json", "party": "bank", "listen": "127.0.0.1:{{port}}", "timeoutSeconds": 120, "connectTimeoutSeconds": 120 }"""),
            scene.Write($"{name}.telco.party.json", $$"""
                { "job": "{{name}}.job.json", "party": "telco", "peers": { "bank": "127.0.0.1:{{port}}" }, "ledger": { "path": "{{name}}.telco.ledger.db" }, "timeoutSeconds": 120, "connectTimeoutSeconds": 120{{more}} }
                """));
    }

    private static string[] Service(Scene scene, params string[] files) =>
        ["party", "--service", .. files.SelectMany(f => (string[])["--config", f]), "--results", scene.At("results"), "--health", "127.0.0.1:0"];

    private static async Task<(int Status, JsonNode Body)> GetAsync(ToolProcess service, string path)
    {
        await service.SaysAsync("health checks on");
        string address = service.Error.Split("health checks on ")[1].Split('\n')[0].Trim();
        using var http = new HttpClient();
        using HttpResponseMessage response = await http.GetAsync(new Uri(new Uri(address), path), Token).WaitAsync(ToolProcess.Patience, Token);
        return ((int)response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync(Token))!);
    }

    private static (string? Job, string State, string? Error)[] Jobs(JsonNode body) =>
        [.. body["jobs"]!.AsArray().Select(j => ((string?)j!["job"], (string)j["state"]!, (string?)j["lastError"]))];

    // Without the folder that a party has while it waits for a host which may be about to end.
    private static string[] Sessions(Scene scene, string job, string party) =>
        Directory.Exists(scene.At($"results/{job}/{party}")) ? [.. Directory.GetDirectories(scene.At($"results/{job}/{party}")).Where(folder => !Path.GetFileName(folder).StartsWith(".unfinished", StringComparison.Ordinal)).Order(StringComparer.Ordinal)] : [];

    private static async Task<string> NoticeAsync(Socket manager)
    {
        byte[] buffer = new byte[1000];
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Token);
        patience.CancelAfter(ToolProcess.Patience);
        return Encoding.UTF8.GetString(buffer, 0, await manager.ReceiveAsync(buffer, SocketFlags.None, patience.Token));
    }

    [Fact]
    public async Task Passive_SeveralJobs_TakesPartInSessionAfterSessionWhateverHappensToOthers()
    {
        using var scene = new Scene();
        using var listener = new TcpListener(IPAddress.Loopback, 0); // an active party that is there, for the job whose data are not
        listener.Start();
        (string alphaBank, string alpha) = Job(scene, "alpha", Scene.FreePort());
        (string betaBank, string beta) = Job(scene, "beta", Scene.FreePort(), "", ("model.l2", 0.1));
        string gamma = Job(scene, "gamma", ((IPEndPoint)listener.LocalEndpoint).Port, "", ("parties.1.data.path", "nowhere.csv")).Telco;
        string broken = scene.Write("broken.party.json", "{ \"job\": 5, \"party\": \"telco\" }");
        using var manager = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(scene.At("notify")));
        using ToolProcess service = ToolProcess.StartWith("NOTIFY_SOCKET", scene.At("notify"), Service(scene, alpha, broken, beta, gamma));
        await service.SaysAsync("service started: 3 jobs");
        Assert.Equal("READY=1", await NoticeAsync(manager));
        await service.SaysAsync("[gamma/telco] waits for the next session");
        Assert.False(service.HasMapped("OpenTelemetry.dll"), "what nobody asked for was loaded");

        Assert.Equal(200, (await GetAsync(service, "healthz")).Status);
        (int status, JsonNode body) = await GetAsync(service, "readyz");
        Assert.Equal((503, "notReady"), (status, (string)body["status"]!));
        (string? Job, string State, string? Error)[] jobs = Jobs(body);
        Assert.Equal(["alpha ready", "beta ready", "gamma waiting", " failed"], jobs.Select(j => $"{j.Job} {j.State}"));
        Assert.StartsWith("FL3", jobs[2].Error, StringComparison.Ordinal);
        Assert.Equal(RunFileErrors.WrongType, jobs[3].Error);

        async Task BankAsync(string file, string models)
        {
            ToolRun run = await ToolRun.Of("party", "--config", file, "--model", scene.At(models));
            Assert.True(run.ExitCode == 0, run.Error + service.Error);
        }

        await Task.WhenAll(Task.Run(async () => { await BankAsync(alphaBank, "m1"); await BankAsync(alphaBank, "m2"); }, Token), Task.Run(() => BankAsync(betaBank, "m3"), Token));
        await service.SaysAsync("session finished", times: 3);
        Assert.Equal((2, 1, 0), (Sessions(scene, "alpha", "telco").Length, Sessions(scene, "beta", "telco").Length, Sessions(scene, "gamma", "telco").Length));
        foreach ((string folder, string job) in Sessions(scene, "alpha", "telco").Select(s => (s, "alpha")).Concat(Sessions(scene, "beta", "telco").Select(s => (s, "beta"))))
        {
            JsonNode report = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "report.json")))!;
            Assert.Equal((job, "telco"), ((string)report["job"]!["name"]!, (string)report["parties"]![0]!["name"]!));
            Assert.True(File.Exists(Path.Combine(folder, "models", "telco.model.json")));
        }

        JsonNode[] counts = [.. (await GetAsync(service, "healthz")).Body["jobs"]!.AsArray().Select(j => j!["sessions"]!)];
        Assert.Equal([2, 1, 0, 0], counts.Select(c => (int)c));
        Assert.DoesNotMatch(@"\bc[0-9]{4}\b", service.Error); // no id of a row; names of sessions are hexadecimal digits
        ToolProcess.Send(service.Id, ToolProcess.Terminate);
        Assert.Equal("STOPPING=1", await NoticeAsync(manager));
        ToolRun end = await service.EndAsync();
        Assert.True(end.ExitCode == 0, end.Error);
        Assert.Contains("stopping: no new sessions", end.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Passive_OnlyWayOutIsAProxy_WaitsReadyAndTakesPart()
    {
        using var scene = new Scene();
        int port = Scene.FreePort();
        await using var proxy = new ScriptedProxy(new Uri($"http://127.0.0.1:{port}"), ScriptedProxy.Yes);
        await using var strict = new ScriptedProxy(null, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        (string bank, string telco) = Proxied("alpha", proxy);
        (_, string unknown) = Proxied("beta", strict);
        using ToolProcess service = ToolProcess.Start(Service(scene, telco, unknown));
        // The proxy accepts for a host that is not there yet, and closes: the job waits as for any host. Credentials that are missing are for somebody to mend.
        await service.SaysAsync("[alpha/telco] waits for the next session");
        await service.SaysAsync("[beta/telco] waits for the next session");
        Assert.Equal([("alpha", "ready", null), ("beta", "waiting", GrpcErrors.ProxyWantsCredentials)], Jobs((await GetAsync(service, "readyz")).Body));
        ToolRun run = await ToolRun.Of("party", "--config", bank);
        Assert.True(run.ExitCode == 0, run.Error + service.Error);
        await service.SaysAsync("session finished");
        Assert.All(proxy.Heads, head => Assert.StartsWith("CONNECT bank.invalid:5301 HTTP/1.1", head, StringComparison.Ordinal));
        ToolProcess.Send(service.Id, ToolProcess.Terminate);
        Assert.Equal(0, (await service.EndAsync()).ExitCode);

        (string Bank, string Telco) Proxied(string name, ScriptedProxy by)
        {
            (string bank, string telco) = Job(scene, name, port, $", \"allowPlaintext\": true, \"proxy\": \"{by.Address.Authority}\"");
            File.WriteAllText(telco, File.ReadAllText(telco).Replace($"127.0.0.1:{port}", "http://bank.invalid:5301", StringComparison.Ordinal));
            return (bank, telco);
        }
    }

    [Fact]
    public async Task Coordinator_Service_TakesItsEnvironmentAnswersProbesTellsItsManagerAndSendsCounts()
    {
        using var scene = new Scene();
        scene.Job(("preprocessing.scaling", "none"));
        int port = Scene.FreePort();
        string file = scene.Write("coordinator.party.json", """{ "listen": "127.0.0.1:1", "jobs": ["job.json"] }""");
        using var manager = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(scene.At("notify")));
        await using OtlpCollector collector = await OtlpCollector.StartAsync(grpc: false);
        using ToolProcess coordinator = ToolProcess.StartWith([("NOTIFY_SOCKET", scene.At("notify")), ("FEDLEARN_COORDINATOR__LISTEN", $"127.0.0.1:{port}"), (Telemetry.EndpointVariable, collector.Address.ToString()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], ["coordinator", "--config", file, "--set", "health=127.0.0.1:0"]);
        Assert.Equal("READY=1", await NoticeAsync(manager));
        await coordinator.SaysAsync($"listening on http://127.0.0.1:{port}");
        Assert.All(coordinator.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Matches("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z ", line));
        Assert.Equal(200, (await GetAsync(coordinator, "healthz")).Status);
        (int status, JsonNode body) = await GetAsync(coordinator, "readyz");
        Assert.Equal((200, "ready"), (status, (string)body["status"]!));
        Assert.Equal([("scene", "ready", null)], Jobs(body));

        string Party(string name) => scene.Write($"{name}.party.json", $$"""{ "job": "job.json", "party": "{{name}}", "relay": "127.0.0.1:{{port}}", "timeoutSeconds": 100 }""");
        ToolRun[] runs = await Task.WhenAll(((string[])["bank", "telco"]).Select(name => ToolRun.Of("party", "--config", Party(name))));
        Assert.All(runs, run => Assert.True(run.ExitCode == 0, run.Error));
        await coordinator.SaysAsync("connection 1 ended: ");
        ToolProcess.Send(coordinator.Id, ToolProcess.Terminate);
        Assert.Equal("STOPPING=1", await NoticeAsync(manager));
        ToolRun end = await coordinator.EndAsync();
        Assert.True(end.ExitCode == 0, end.Error);

        (string Signal, byte[] Body)[] sent = [.. collector.Requests.Where(r => r.Signal == "metrics")];
        string[] names = [.. sent.SelectMany(r => ProtobufWalk.Names(r.Body, "metrics"))];
        Assert.All((string[])["fedlearn.coordinator.connections", "fedlearn.coordinator.connections.ended", "fedlearn.coordinator.bytes"], name => Assert.Contains(name, names));
        Assert.Subset(TelemetryTests.Allowed, sent.SelectMany(r => ProtobufWalk.Attributes(r.Body)).Select(t => t.Key).ToHashSet());
        Match ended = Regex.Match(end.Error, "connection 1 ended: ([0-9]+) bytes to 'bank', ([0-9]+) bytes to 'telco'");
        Assert.NotEqual(ended.Groups[1].Value, ended.Groups[2].Value);
        (string, long)[] expected =
        [
            ("job=scene operation=train party=telco", 0), ("job=scene operation=train outcome=completed party=telco", 1),
            ("direction=sent job=scene party=telco", long.Parse(ended.Groups[1].Value, CultureInfo.InvariantCulture)), ("direction=received job=scene party=telco", long.Parse(ended.Groups[2].Value, CultureInfo.InvariantCulture)),
        ];
        Assert.Subset(ProtobufWalk.Sums(sent[^1].Body).ToHashSet(), expected.ToHashSet());
    }

    [Fact]
    public void FolderOf_NamesThatLookAlike_AreFoldersOfTheirOwn()
    {
        string[] names = ["credit", "a-b_c", "a.b", "a b", "a_b", "模型一", "模型二", "..", "/"];
        string[] folders = [.. names.Select(ServiceJob.FolderOf)];
        Assert.Equal(names.Length, folders.Distinct(StringComparer.OrdinalIgnoreCase).Count());
        Assert.All(folders, folder => Assert.Matches("^[A-Za-z0-9_-]+$", folder));
        Assert.Equal(["credit", "a-b_c", "a_b"], folders.Intersect(names)); // what can be a folder's name is one
    }

    [Fact]
    public async Task Passive_ReportCannotBeWritten_KeepsTheModelThatWasPaidFor()
    {
        using var scene = new Scene();
        (string bankFile, string telcoFile) = Job(scene, "credit", Scene.FreePort(), """, "service": { "longestPauseSeconds": 0.5 }""", Scene.Private());
        var log = new ConcurrentQueue<string>();
        var kept = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var job = new ServiceJob(PartyFile.Load(telcoFile), scene.At("results"), line =>
        {
            log.Enqueue(line);
            if (line.EndsWith("session begins", StringComparison.Ordinal)) // a folder stands where the report has to be
                Directory.CreateDirectory(Path.Combine(Assert.Single(Directory.GetDirectories(scene.At("results/credit/telco"), ".unfinished*")), "report.json"));
            if (line.Contains(".incomplete", StringComparison.Ordinal))
                kept.TrySetResult();
        }, TimeProvider.System);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task running = job.RunAsync(stop.Token);

        ToolRun bank = await ToolRun.Of("party", "--config", bankFile);
        Assert.True(bank.ExitCode == 0, bank.Error + string.Join('\n', log));
        await kept.Task.WaitAsync(ToolProcess.Patience, Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);

        string folder = Assert.Single(Sessions(scene, "credit", "telco"));
        Assert.Matches(@"/\d{8}T\d{6}Z-[0-9a-f]{8}\.incomplete$", folder.Replace('\\', '/'));
        Assert.True(File.Exists(Path.Combine(folder, "models", "telco.model.json")));
        Assert.Contains(log, line => line.Contains("session finished, but not its results: ", StringComparison.Ordinal) && line.EndsWith("Nothing has to run again. (FL2102)", StringComparison.Ordinal));
        Assert.Contains(log, line => line.EndsWith($"the model that was saved is kept in {folder}; there is no report beside it", StringComparison.Ordinal));
        Assert.Equal("FL2102", job.Status.LastError);
    }

    [Fact]
    public async Task Start_AfterAProcessThatWasKilled_LosesNoModel()
    {
        using var scene = new Scene();
        string telco = Job(scene, "credit", Scene.FreePort()).Telco;
        scene.Write("results/credit/telco/.unfinished-00000001/models/telco.model.json", "a model");
        scene.Write("results/credit/telco/.unfinished-00000002/models/telco.model.json", "another");
        scene.Write("results/credit/telco/.unfinished-00000002/report.json", "its report");
        scene.Write("results/credit/telco/.unfinished-00000003/models/telco.model.json.new", "half a mod");
        using ToolProcess service = ToolProcess.Start(Service(scene, telco));

        await service.SaysAsync("(FL4015)");
        string[] kept = [.. Sessions(scene, "credit", "telco").Select(s => Path.GetFileName(s)!.Split('-')[1]).Order(StringComparer.Ordinal)];
        Assert.Equal(["00000001.incomplete", "00000002"], kept);
        Assert.Contains("the model that was saved is kept in ", service.Error, StringComparison.Ordinal);
        Assert.Contains("the results of a session that finished are in ", service.Error, StringComparison.Ordinal);
        ToolProcess.Send(service.Id, ToolProcess.Terminate);
        Assert.Equal(0, (await service.EndAsync()).ExitCode);
        Assert.Equal(["a model", "another"], Sessions(scene, "credit", "telco").Select(s => File.ReadAllText(Path.Combine(s, "models", "telco.model.json")).TrimEnd()).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Passive_PinsChangeWhileItRuns_TheNextSessionObeysThem()
    {
        using var scene = new Scene();
        (string bankFile, string telcoFile) = Job(scene, "credit", Scene.FreePort(), """, "service": { "longestPauseSeconds": 0.5 }""");
        string bankPin = Keys.Make(scene.Folder, "bank"), telcoPin = Keys.Make(scene.Folder, "telco"), plain = File.ReadAllText(telcoFile).TrimEnd().TrimEnd('}');
        File.WriteAllText(bankFile, $$"""{{File.ReadAllText(bankFile).TrimEnd().TrimEnd('}')}}, "tls": {{Keys.Tls("bank", ("telco", telcoPin))}} }""");
        void Pins(string more) => File.WriteAllText(telcoFile, $$"""{{plain}}, "tls": { "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "{{bankPin}}" }{{more}} } }""");
        Pins("");
        var log = Channel.CreateUnbounded<string>();
        async Task<string> SaysAsync(string part)
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(Token);
            patience.CancelAfter(ToolProcess.Patience);
            string line;
            do
                line = await log.Reader.ReadAsync(patience.Token);
            while (!line.Contains(part, StringComparison.Ordinal));
            return line;
        }

        var job = new ServiceJob(PartyFile.Load(telcoFile), scene.At("results"), line => log.Writer.TryWrite(line), TimeProvider.System);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task running = job.RunAsync(stop.Token);
        await SaysAsync("(FL4015)");
        Assert.Equal(("ready", null), (job.Status.State, job.Status.LastError));

        Pins(""", "deny": ["sha256:12"]"""); // the old list would let in whom the new one denies
        await SaysAsync("tls.deny");
        Assert.Equal(("waiting", IdentityErrors.NoPin), (job.Status.State, job.Status.LastError));
        Pins("");
        await SaysAsync("(FL4015)");
        Assert.Equal("ready", job.Status.State);

        Pins($$""", "deny": ["{{bankPin}}"]""");
        using ToolProcess bank = ToolProcess.Start("party", "--config", bankFile);
        Assert.Contains("party 'bank' at https://127.0.0.1:", await SaysAsync($"({GrpcErrors.PeerRevoked})"), StringComparison.Ordinal);
        Assert.Equal(("waiting", GrpcErrors.PeerRevoked), (job.Status.State, job.Status.LastError)); // able it is not
        Pins("");
        await SaysAsync("session finished");
        Assert.Equal(("ready", null), (job.Status.State, job.Status.LastError));
        ToolRun run = await bank.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task Passive_CertificateNearsItsEndWhileItRuns_IsWarnedOfOnce()
    {
        using var scene = new Scene();
        (_, string telcoFile) = Job(scene, "credit", Scene.FreePort(), """, "service": { "longestPauseSeconds": 0.2 }""");
        string bankPin = Keys.Make(scene.Folder, "bank");
        Keys.Make(scene.Folder, "telco");
        Keys.Make(scene.Folder, "telco", "aged", TimeSpan.FromDays(80));
        string plain = File.ReadAllText(telcoFile).TrimEnd().TrimEnd('}');
        void Certificate(string file) => File.WriteAllText(telcoFile, $$"""{{plain}}, "tls": {{Keys.Tls(file, ("bank", bankPin))}} }""");
        Certificate("telco");
        var log = Channel.CreateUnbounded<string>();
        var said = new List<string>();
        async Task SaysAsync(string part)
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(Token);
            patience.CancelAfter(ToolProcess.Patience);
            do
                said.Add(await log.Reader.ReadAsync(patience.Token));
            while (!said[^1].Contains(part, StringComparison.Ordinal));
        }

        var job = new ServiceJob(PartyFile.Load(telcoFile), scene.At("results"), line => log.Writer.TryWrite(line), TimeProvider.System);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task running = job.RunAsync(stop.Token);
        await SaysAsync("(FL4015)");
        Assert.DoesNotContain(said, line => line.Contains("expires", StringComparison.Ordinal));
        Certificate("aged");
        await SaysAsync("warning: this party's certificate expires on");
        // Two more attempts: each other reason to wait is said once as well, so that a file that cannot be used shows that there was one.
        foreach (string broken in (string[])["no", "nor"])
        {
            Certificate(broken);
            await SaysAsync("tls.certificate");
            Certificate("aged");
            await SaysAsync("(FL4015)");
        }

        Assert.Single(said, line => line.Contains("expires on", StringComparison.Ordinal));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task Passive_SessionInProgress_OtherJobsGoOnAndAStopTellsThePeer()
    {
        using var scene = new Scene();
        (string longBank, string longTelco) = Job(scene, "long", Scene.FreePort(), "", Scene.Endless(("transport.resumeSeconds", 0)));
        (string quickBank, string quickTelco) = Job(scene, "quick", Scene.FreePort());
        using ToolProcess service = ToolProcess.Start(Service(scene, longTelco, quickTelco));
        await service.SaysAsync("service started: 2 jobs");
        Assert.Equal(200, (await GetAsync(service, "readyz")).Status);
        using (ToolProcess bank = ToolProcess.Start("party", "--config", longBank))
        {
            await service.SaysAsync("session begins");
            (int status, JsonNode body) = await GetAsync(service, "readyz");
            Assert.Equal((200, "running"), (status, Jobs(body)[0].State));
            ToolRun quick = await ToolRun.Of("party", "--config", quickBank);
            Assert.True(quick.ExitCode == 0, quick.Error);
            await bank.SaysAsync("round ");
            bank.Kill();
            await bank.EndAsync();
            await service.SaysAsync("session failed");
        }

        // A peer that died is no end: its next session is taken part in, and the run goes on.
        using ToolProcess again = ToolProcess.Start("party", "--config", longBank);
        await service.SaysAsync("session goes on");
        await again.SaysAsync("round ");
        ToolProcess.Send(service.Id, ToolProcess.Terminate);
        ToolRun end = await service.EndAsync(), told = await again.EndAsync();
        Assert.True(end.ExitCode == 0, end.Error);
        Assert.Equal(4, told.ExitCode);
        Assert.Contains("(FL4008)", told.Error, StringComparison.Ordinal); // told, not cut off
        Assert.Empty(Sessions(scene, "long", "telco"));
        Assert.Single(Sessions(scene, "quick", "telco"));
        Assert.Empty(Directory.GetDirectories(scene.At("results"), ".unfinished*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task Passive_DoesNotStopInTime_SaysWhatGivesItMore()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Open files are looked up in /proc.");
        using var scene = new Scene();
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        string telco = Job(scene, "credit", ((IPEndPoint)listener.LocalEndpoint).Port, "", Scene.Private()).Telco, path = scene.At("credit.telco.ledger.db");
        Batteries_V2.Init();
        // Another program that keeps the ledger to itself: whoever opens it waits for that, whatever it is told meanwhile.
        Assert.Equal(raw.SQLITE_OK, raw.sqlite3_open(path, out sqlite3 ledger));
        using (ledger)
        {
            Assert.Equal(raw.SQLITE_OK, raw.sqlite3_exec(ledger, "BEGIN EXCLUSIVE"));
            using ToolProcess service = ToolProcess.Start([.. Service(scene, telco), "--stop-seconds", "0.5"]);
            await service.OpensAsync(path);
            ToolProcess.Send(service.Id, ToolProcess.Terminate);
            ToolRun end = await service.EndAsync();
            Assert.Equal(4, end.ExitCode);
            Assert.Contains("the session of 'credit/telco' did not end within 0.5 s. Its peer sees a lost connection. Give a stop more time with --stop-seconds. (FL4171)", end.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("stopped", end.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Passive_ResultsCannotBeWritten_WaitsAndPaysNothing()
    {
        using var scene = new Scene();
        int port = Scene.FreePort();
        (string bankFile, string telcoFile) = Job(scene, "credit", port, """, "service": { "longestPauseSeconds": 0.5 }""", Scene.Private());
        string inTheWay = scene.Write("results/credit", "not a folder");
        using ToolProcess service = ToolProcess.Start(Service(scene, telcoFile));
        await service.SaysAsync("(FL2102)");
        (int status, JsonNode body) = await GetAsync(service, "readyz");
        Assert.Equal((503, ("credit", "waiting", "FL2102")), (status, Jobs(body)[0]));
        using ToolProcess bank = ToolProcess.Start("party", "--config", bankFile);
        await bank.SaysAsync("listening on");
        Assert.DoesNotContain(scene.Ledgers, f => f.StartsWith("credit.telco", StringComparison.Ordinal));

        File.Delete(inTheWay);
        ToolRun run = await bank.EndAsync();
        Assert.True(run.ExitCode == 0, run.Error);
        await service.SaysAsync("session finished");
        string folder = Assert.Single(Sessions(scene, "credit", "telco"));
        if (!OperatingSystem.IsWindows())
        {
            const UnixFileMode Own = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            Assert.Equal((Own | UnixFileMode.UserExecute, Own, Own),
                (File.GetUnixFileMode(folder), File.GetUnixFileMode(Path.Combine(folder, "report.json")), File.GetUnixFileMode(Path.Combine(folder, "models", "telco.model.json"))));
        }

        // The bank is away again, which is nothing to mend.
        await service.SaysAsync("(FL4015)");
        (status, body) = await GetAsync(service, "readyz");
        Assert.Equal((200, ("credit", "ready", null)), (status, Jobs(body)[0]));
        Assert.All(service.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Matches(@"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line));
        ToolProcess.Send(service.Id, ToolProcess.Terminate);
        Assert.Equal(0, (await service.EndAsync()).ExitCode);
    }

    [Fact]
    public async Task Passive_MoreSessionsThanADayMayHave_AreRefusedAlsoAfterARestart()
    {
        using var scene = new Scene();
        (string bank, string telco) = Job(scene, "credit", Scene.FreePort(), """, "service": { "sessionsPerDay": 1, "longestPauseSeconds": 0.5 }""", Scene.Private());
        async Task<ToolRun> BankAsync() => await ToolRun.Of("party", "--config", bank);
        using (ToolProcess service = ToolProcess.Start(Service(scene, telco)))
        {
            ToolRun first = await BankAsync(), second = await BankAsync();
            Assert.True(first.ExitCode == 0, first.Error);
            Assert.Equal(4, second.ExitCode);
            Assert.Contains(ServiceErrors.TooManySessions, second.Error, StringComparison.Ordinal); // the active party learns why
            await service.SaysAsync($"({ServiceErrors.TooManySessions})");
            (int status, JsonNode body) = await GetAsync(service, "readyz");
            Assert.Equal((503, ("credit", "waiting", ServiceErrors.TooManySessions)), (status, Jobs(body)[0]));
            service.Kill();
            await service.EndAsync();
        }

        string spent = (await ToolRun.Of("ledger", "show", "--ledger", scene.At("credit.telco.ledger.db"), "--json")).Output;
        using (ToolProcess service = ToolProcess.Start(Service(scene, telco)))
        {
            ToolRun third = await BankAsync();
            Assert.Equal(4, third.ExitCode);
            Assert.Contains(ServiceErrors.TooManySessions, third.Error, StringComparison.Ordinal);
            Assert.Equal(spent, (await ToolRun.Of("ledger", "show", "--ledger", scene.At("credit.telco.ledger.db"), "--json")).Output); // nothing was charged
            ToolProcess.Send(service.Id, ToolProcess.Terminate);
            ToolRun end = await service.EndAsync();
            Assert.True(end.ExitCode == 0, end.Error);
        }

        Assert.Single(Sessions(scene, "credit", "telco"));
    }

    [Fact]
    public async Task Active_EveryJobOnce_EndsWithTheFirstFailureOrZero()
    {
        using var scene = new Scene();
        int port = Scene.FreePort();
        (string alpha, string telco) = Job(scene, "alpha", Scene.FreePort());
        string alone = Job(scene, "alone", port).Bank;
        File.WriteAllText(alone, File.ReadAllText(alone).Replace("\"connectTimeoutSeconds\": 120", "\"connectTimeoutSeconds\": 1", StringComparison.Ordinal));
        string real = File.ReadAllText(telco).Split("\"bank\": \"")[1].Split('"')[0];
        scene.Write("alpha.telco.party.json", File.ReadAllText(telco).Replace(real, "127.0.0.1:1", StringComparison.Ordinal));

        async Task<ToolRun> TrainAsync(params string[] jobs)
        {
            using ToolProcess service = ToolProcess.Start(Service(scene, jobs));
            // The passive party's file has a wrong address, and the environment the right one.
            using ToolProcess other = ToolProcess.StartWith("FEDLEARN_PARTY__PEERS__BANK", real, ["party", "--config", telco]);
            ToolRun run = await other.EndAsync();
            Assert.True(run.ExitCode == 0, run.Error);
            return await service.EndAsync();
        }

        ToolRun good = await TrainAsync(alpha);
        Assert.True(good.ExitCode == 0, good.Error);
        ToolRun mixed = await TrainAsync(alone, alpha);
        Assert.Equal(4, mixed.ExitCode);
        Assert.Contains("[alone/bank] session failed", mixed.Error, StringComparison.Ordinal);
        Assert.Contains("(FL4016)", mixed.Error, StringComparison.Ordinal);
        Assert.Equal((2, 0), (Sessions(scene, "alpha", "bank").Length, Sessions(scene, "alone", "bank").Length));
    }

    [Fact]
    public async Task Start_FilesOrOptionsThatCannotBe_AreRefused()
    {
        using var scene = new Scene();
        (string bank, string telco) = Job(scene, "alpha", 1);
        async Task RefusedAsync(string id, int code, params string[] args)
        {
            ToolRun run = await ToolRun.Of(["party", .. args]);
            Assert.Equal(code, run.ExitCode);
            Assert.Contains($"({id})", run.Error, StringComparison.Ordinal);
        }

        await RefusedAsync(CliErrors.OptionsDisagree, 2, "--config", bank, "--config", telco);
        foreach (string[] ofService in (string[][])[["--health", "127.0.0.1:0"], ["--results", "results"], ["--stop-seconds", "5"]])
            await RefusedAsync(CliErrors.OptionsDisagree, 2, ["--config", bank, .. ofService]);
        foreach (string[] alone in (string[][])[["--model", "m"], ["--serve"], ["--digest"], ["--predict", "p.csv"], ["--evaluate"], ["--report", "r.json"], ["--html", "r.html"], ["--json"]])
            await RefusedAsync(CliErrors.OptionsDisagree, 2, ["--service", "--config", bank, .. alone]);
        await RefusedAsync(RunFileErrors.OutOfRange, 2, "--service", "--config", bank, "--stop-seconds", "0");
        await RefusedAsync(RunFileErrors.OutOfRange, 2, "--service", "--config", bank, "--stop-seconds", "NaN");
        await RefusedAsync(RunFileErrors.Address, 2, "--service", "--config", bank, "--health", "example.org:80");
        await RefusedAsync(RunFileErrors.Unreadable, 2, "--service", "--config", scene.At("nowhere.json"), "--results", scene.At("results"));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        await RefusedAsync(ServiceErrors.CannotListen, 4, "--service", "--config", telco, "--results", scene.At("results"), "--health", listener.LocalEndpoint.ToString()!);
        // The same party of the same job twice: the second is left out.
        using ToolProcess service = ToolProcess.Start(Service(scene, telco, telco));
        await service.SaysAsync($"({ServiceErrors.SameJobTwice})");
        await service.SaysAsync("service started: 1 job");
        ToolProcess.Send(service.Id, ToolProcess.Terminate);
        ToolRun end = await service.EndAsync();
        Assert.True(end.ExitCode == 0, end.Error);
    }
}
