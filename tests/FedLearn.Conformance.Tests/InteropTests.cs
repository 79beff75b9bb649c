using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>The wire against grpcio, an implementation that shares nothing with ours. Skipped where Debian's python3-grpcio is absent.</summary>
public sealed class InteropTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-interop").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Health_CalledByGrpcio_Answers()
    {
        PythonInterop.Require();
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcPairs.Terms("telco"));
        using JsonDocument answer = JsonDocument.Parse(await PythonInterop.RunAsync("health.py", host.Address.Authority));
        Assert.Equal("SERVING", answer.RootElement.GetProperty("known").GetString());
        Assert.Equal("NOT_FOUND", answer.RootElement.GetProperty("unknown").GetString());
        Assert.Equal("SERVING", answer.RootElement.GetProperty("watch").GetString());
        Assert.Equal("UNIMPLEMENTED", answer.RootElement.GetProperty("method").GetString());
    }

    [Theory]
    [InlineData(1, 0, false)]
    [InlineData(7, 5, false)] // 7 batches do not divide the rows; one row in five is held out
    [InlineData(7, 5, true)]
    public async Task PassiveParty_InPython_TrainsLikeOurs(int batches, int splitMod, bool encrypted)
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        GlmJob job = Job(batches, splitMod == 0 ? SplitRule.None : new SplitRule.ByHash(splitMod, [0, 2]));
        GlmPartyInput active = new() { Party = "bank", Table = bank }, passive = new() { Party = "telco", Table = telco };
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, [active, passive]);

        var party = new GlmTrainer(job, active);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(encrypted ? TlsPeers.Host(TlsPeers.Security("bank", "telco")) : new GrpcHostOptions(), party.Terms);
        Task<GlmPartyResult> training = TrainAsync(party, host);
        string printed = await PythonInterop.RunAsync("passive_party.py", ["--address", host.Address.Authority, "--job", job.Name, "--party", "telco",
            "--terms", Convert.ToHexStringLower(party.Terms.TermsDigest.Span), "--data", telcoFile, "--seed", "-42", "--epochs", "5",
            "--batches", $"{batches}", "--step-size", "0.5", "--l2", "0.01", "--split-mod", $"{splitMod}", "--split-test=0,2",
            .. (encrypted ? TlsArguments("telco", "bank") : [])]);
        GlmPartyResult result = await training;

        using JsonDocument document = JsonDocument.Parse(printed);
        double[] weights = [.. document.RootElement.GetProperty("weights").EnumerateArray().Select(w => w.GetDouble())];
        Assert.Equal(expected[1].Model.Weights.Count, weights.Length);
        // The same sums in another order: 35 steps on 40 rows stay far below this.
        Assert.All(weights.Zip(expected[1].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
        Assert.All(result.Model.Weights.Zip(expected[0].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
        Assert.Equal(expected[0].TestRows, result.TestRows);
        Assert.Equal(splitMod > 0, result.TestRows > 0);
        Assert.Contains(weights, w => Math.Abs(w) > 0.01);
    }

    [Theory]
    [InlineData("lbfgs", 0.01, 0, 30, false)]
    [InlineData("lbfgs", 0, 0, 60, true)]
    [InlineData("lbfgs", 0.01, 0, 3, false)] // ends at the limit
    [InlineData("accelerated", 0.01, 0.02, 200, false)]
    [InlineData("accelerated", 0.01, 0, 4, false)]
    [InlineData("irls", 0.01, 0, 30, true)]
    [InlineData("irls", 0, 0, 30, true)]
    [InlineData("irls", 0, 0, 2, false)]
    public async Task PassiveParty_InPython_FitsFullBatchesLikeOurs(string optimizer, double l2, double l1, int epochs, bool inference)
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        GlmJob job = Job(1, new SplitRule.ByHash(5, [0, 2])) with
        {
            Model = new() { Family = GlmFamilies.Binomial, L2 = l2, L1 = l1 },
            Training = new GlmTrainingOptions { Epochs = epochs, Seed = -42, Optimizer = Enum.Parse<GlmOptimizer>(optimizer, ignoreCase: true) },
            Inference = inference,
        };
        string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
        GlmPartyInput active = new() { Party = "bank", Table = bank }, passive = new() { Party = "telco", Table = telco };
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, [active, passive]);
        var party = new GlmTrainer(job, active);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), party.Terms);
        Task<GlmPartyResult> training = TrainAsync(party, host);
        string printed = await PythonInterop.RunAsync("passive_party.py", ["--address", host.Address.Authority, "--job", job.Name, "--party", "telco", "--terms", Convert.ToHexStringLower(party.Terms.TermsDigest.Span),
            "--data", telcoFile, "--seed", "-42", "--epochs", $"{epochs}", "--l2", Number(l2), "--l1", Number(l1), "--split-mod", "5", "--split-test=0,2", "--optimizer", optimizer, .. inference ? ["--inference"] : Array.Empty<string>()]);
        GlmPartyResult result = await training;

        using JsonDocument document = JsonDocument.Parse(printed);
        double[] Printed(string name) => [.. document.RootElement.GetProperty(name).EnumerateArray().Select(w => w.GetDouble())];
        // The same steps on sums in another order, which a fit that converges forgets; irls mixes the columns otherwise than ours.
        void Close(IEnumerable<double> wanted, IEnumerable<double> actual)
        {
            Assert.Equal(wanted.Count(), actual.Count());
            Assert.All(wanted.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, tolerance: 1e-9));
        }

        Close(expected[1].Model.Weights, Printed("weights"));
        Close(expected[0].Model.Weights, result.Model.Weights);
        Assert.Equal(expected[0].StopReason, result.StopReason);
        Assert.Contains(result.Model.Weights, w => Math.Abs(w) > 0.01);
        Assert.Equal(inference, result.Inference is not null);
        Close(expected[1].Inference?.Coefficients.Select(c => c.StandardError) ?? [], Printed("errors"));
        Close(expected[0].Inference?.Coefficients.Select(c => c.StandardError) ?? [], result.Inference?.Coefficients.Select(c => c.StandardError) ?? []);
    }

    [Theory]
    [InlineData(7, 0)]
    [InlineData(1, 5)]
    public async Task ActiveParty_InPython_TrainsLikeOurs(int batches, int splitMod)
    {
        PythonInterop.Require();
        (Table bank, Table telco, _) = MakeTables();
        GlmJob job = Job(batches, splitMod == 0 ? SplitRule.None : new SplitRule.ByHash(splitMod, [0, 2]));
        GlmPartyInput active = new() { Party = "bank", Table = bank }, passive = new() { Party = "telco", Table = telco };
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, [active, passive]);

        var party = new GlmTrainer(job, passive);
        using Process process = PythonInterop.Start("active_party.py", "--job", job.Name, "--party", "bank", "--peers", "telco", "--terms", Convert.ToHexStringLower(party.Terms.TermsDigest.Span),
            "--data", Path.Combine(_folder, "bank.csv"), "--seed", "-42", "--epochs", "5", "--batches", $"{batches}", "--step-size", "0.5", "--l2", "0.01", "--split-mod", $"{splitMod}", "--split-test=0,2");
        (GlmPartyResult result, JsonDocument printed) = await AgainstAsync(process, async address =>
        {
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(address, party.JoinRequest);
            return await party.TrainAsync(session.Agreement, session.Channels);
        });
        using (printed)
        {
            double[] weights = [.. printed.RootElement.GetProperty("weights").EnumerateArray().Select(w => w.GetDouble())];
            Assert.Equal([.. expected[0].Model.Weights, .. expected[0].Model.Intercepts], weights, (wanted, actual) => Math.Abs(wanted - actual) < 1e-12);
            Assert.Equal(expected[0].Train!.LogLoss!.Value, printed.RootElement.GetProperty("loss").GetDouble(), tolerance: 1e-12);
        }

        Assert.Equal(expected[1].Model.Weights, result.Model.Weights, (wanted, actual) => Math.Abs(wanted - actual) < 1e-12);
        Assert.Equal(expected[1].TestRows, result.TestRows);
        Assert.Equal(splitMod > 0, result.TestRows > 0);
    }

    [Fact]
    public async Task ActiveParty_InPythonWithAnotherJob_IsNamedWithItsError()
    {
        PythonInterop.Require();
        (_, Table telco, _) = MakeTables();
        var party = new GlmTrainer(Job(1, SplitRule.None), new GlmPartyInput { Party = "telco", Table = telco });
        using Process process = PythonInterop.Start("active_party.py", "--job", "interop", "--party", "bank", "--peers", "telco", "--terms", new string('0', 64), "--data", Path.Combine(_folder, "bank.csv"));
        var error = await Assert.ThrowsAsync<PeerException>(() => AgainstAsync(process, async address =>
        {
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(address, party.JoinRequest);
            return session.Agreement;
        }));
        Assert.Equal(ProtocolErrors.DifferentJob, error.Id);
        Assert.Contains("the job differs from the one here", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OnlinePrediction_PassivePartyInPython_AnswersLikeOurs()
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        (GlmJob job, IReadOnlyList<GlmPartyResult> models) = await UnscaledAsync(bank, telco);
        var active = new GlmScoringActive(job, new GlmPartyInput { Party = "bank", Table = bank }, models[0].Model, new GlmScoringOptions { Timeout = TimeSpan.FromMinutes(1) });
        var connected = new TaskCompletionSource();
        active.PartyConnected += _ => connected.TrySetResult();
        SessionTerms terms = active.TermsFor("telco");
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(new GrpcHostOptions { Channel = new ChannelOptions { ReceiveTimeout = Timeout.InfiniteTimeSpan } },
            [new GrpcPair(terms, active.JoinRequest)], (session, stop) => active.ServeAsync(session.Agreement, session.Channels[0], stop));
        Task<string> answering = PythonInterop.RunAsync("online_prediction.py", "--address", host.Address.Authority, "--job", job.Name, "--party", "telco", "--terms", Convert.ToHexStringLower(terms.TermsDigest.Span),
            "--training", $"{models[1].Model.TrainingId} {models[1].Model.JobDigest}", "--data", telcoFile, "--seed", "-42",
            "--weights=" + string.Join(',', models[1].Model.Weights.Select(w => w.ToString("R", CultureInfo.InvariantCulture))));
        await await Task.WhenAny(connected.Task, answering).WaitAsync(Patience, TestContext.Current.CancellationToken);

        string[] common = [.. bank.Ids.Intersect(telco.Ids)], alone = [.. bank.Ids.Except(telco.Ids)];
        Assert.Equal((40, 10), (common.Length, alone.Length));
        IReadOnlyList<GlmScoreAnswer> one = await active.ScoreAsync([common[3]], TestContext.Current.CancellationToken), all = await active.ScoreAsync([.. common, .. alone], TestContext.Current.CancellationToken);
        double Score(string id) => models[0].Model.Intercepts[0] + Dot(bank, id, models[0].Model.Weights) + Dot(telco, id, models[1].Model.Weights);
        Assert.Equal(Score(common[3]), one.Single().Scores.Single(), tolerance: 1e-12);
        Assert.All(all.Take(40), answer => Assert.Equal(Score(answer.Id), answer.Scores.Single(), tolerance: 1e-12));
        Assert.All(all.Skip(40), answer => Assert.Equal(GlmScoreOutcome.NotCommon, answer.Outcome));
        await active.StopAsync(Patience);
        using JsonDocument printed = JsonDocument.Parse(await answering);
        Assert.Equal(3, printed.RootElement.GetProperty("answered").GetInt32());
    }

    [Fact]
    public async Task OnlinePrediction_PassivePartyInPythonOfAnotherTraining_IsRefused()
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        (GlmJob job, IReadOnlyList<GlmPartyResult> models) = await UnscaledAsync(bank, telco);
        var active = new GlmScoringActive(job, new GlmPartyInput { Party = "bank", Table = bank }, models[0].Model);
        SessionTerms terms = active.TermsFor("telco");
        await using GrpcPairHost host = await GrpcPairHost.StartAsync(new GrpcHostOptions(), [new GrpcPair(terms, active.JoinRequest)], (session, stop) => active.ServeAsync(session.Agreement, session.Channels[0], stop));
        var ended = new TaskCompletionSource<Exception?>();
        host.SessionEnded += (_, error) => ended.TrySetResult(error);
        (int code, _, string said) = await PythonInterop.RunRawAsync("online_prediction.py", "--address", host.Address.Authority, "--job", job.Name, "--party", "telco", "--terms", Convert.ToHexStringLower(terms.TermsDigest.Span),
            "--training", $"another {models[1].Model.JobDigest}", "--data", telcoFile);
        Assert.NotEqual(0, code);
        Assert.Contains("parts of different trainings", said, StringComparison.Ordinal);
        Assert.Equal(GlmErrors.OtherModel, Assert.IsAssignableFrom<FedLearnException>(await ended.Task.WaitAsync(Patience, TestContext.Current.CancellationToken)).Id);
    }

    [Fact]
    public async Task OnlinePrediction_ActivePartyInPython_IsAnswered()
    {
        PythonInterop.Require();
        (Table bank, Table telco, _) = MakeTables();
        (GlmJob job, IReadOnlyList<GlmPartyResult> models) = await UnscaledAsync(bank, telco);
        var passive = new GlmScoringPassive(job, new GlmPartyInput { Party = "telco", Table = telco }, models[1].Model);
        string[] common = [.. bank.Ids.Intersect(telco.Ids)], alone = [.. bank.Ids.Except(telco.Ids)];
        using Process process = PythonInterop.Start("online_prediction.py", "--job", job.Name, "--party", "bank", "--ask", "telco", "--terms", Convert.ToHexStringLower(passive.JoinRequest.TermsDigest.Span),
            "--training", $"{models[1].Model.TrainingId} {models[1].Model.JobDigest}", "--seed", "-42", "--questions", common[0], string.Join(' ', common.Concat(alone)), string.Join(' ', alone));
        (GlmScoringCounts counts, JsonDocument printed) = await AgainstAsync(process, async address =>
        {
            await using GrpcSession session = await GrpcFederationClient.JoinAsync(address, passive.JoinRequest);
            await passive.RunAsync(session.Agreement, session.Channels[0]);
            return passive.Counts;
        });
        using (printed)
        {
            Assert.All(common, id => Assert.Equal(Dot(telco, id, models[1].Model.Weights), printed.RootElement.GetProperty(id).GetDouble(), tolerance: 1e-12));
            Assert.All(alone, id => Assert.Equal(JsonValueKind.Null, printed.RootElement.GetProperty(id).ValueKind));
        }

        Assert.Equal((3, 61, 20), (counts.Requests, counts.Ids, counts.Unknown)); // the one about nobody, by which a session begins, does not count
    }

    /// <summary>Two parts of a model on columns as they are, so that a score is a plain product.</summary>
    private static async Task<(GlmJob Job, IReadOnlyList<GlmPartyResult> Models)> UnscaledAsync(Table bank, Table telco)
    {
        GlmJob job = Job(1, SplitRule.None) with { Preprocessing = new() { Scaling = Scaling.None } };
        return (job, await LocalFederation.TrainAsync(job with { Training = job.Training with { StepSize = 0.01 } }, [new() { Party = "bank", Table = bank }, new() { Party = "telco", Table = telco }]));
    }

    private static double Dot(Table table, string id, IReadOnlyList<double> weights) => table.Values.Row(table.Ids.ToList().IndexOf(id)).ToArray().Zip(weights, (x, w) => x * w).Sum();

    /// <summary>Runs our party against one in Python that serves; what both have in the end.</summary>
    private static async Task<(T Ours, JsonDocument Printed)> AgainstAsync<T>(Process process, Func<Uri, Task<T>> ours)
    {
        try
        {
            Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            string? port = await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(Patience, TestContext.Current.CancellationToken);
            Assert.True(port is not null, port is null ? await error : "");
            T result = await ours(new Uri($"http://127.0.0.1:{port}")).WaitAsync(Patience, TestContext.Current.CancellationToken);
            string output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken).WaitAsync(Patience, TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(process.ExitCode == 0, await error);
            return (result, JsonDocument.Parse(output));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    [Fact]
    public async Task PassiveParty_InPythonThroughACoordinator_TrainsLikeOurs()
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        GlmJob job = Job(7, new SplitRule.ByHash(5, [0, 2]));
        GlmPartyInput active = new() { Party = "bank", Table = bank }, passive = new() { Party = "telco", Table = telco };
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, [active, passive]);

        var party = new GlmTrainer(job, active);
        string terms = Convert.ToHexStringLower(party.Terms.TermsDigest.Span);
        await using GrpcRelayServer relay = await Relays.StartAsync(party.Terms);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(Relays.Host(relay.Address, party.Terms), party.Terms);
        Task<GlmPartyResult> training = TrainAsync(party, host);
        using Process tunnel = PythonInterop.Start("relay_tunnel.py", "--coordinator", relay.Address.Authority, "--job", job.Name, "--terms", terms, "--party", "telco", "--host", "bank");
        try
        {
            string? port = await tunnel.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            Assert.NotNull(port);
            string printed = await PythonInterop.RunAsync("passive_party.py", "--address", $"127.0.0.1:{port}", "--job", job.Name, "--party", "telco", "--terms", terms, "--data", telcoFile, "--seed", "-42", "--epochs", "5",
                "--batches", "7", "--step-size", "0.5", "--l2", "0.01", "--split-mod", "5", "--split-test", "0,2");
            GlmPartyResult result = await training;
            using JsonDocument document = JsonDocument.Parse(printed);
            double[] weights = [.. document.RootElement.GetProperty("weights").EnumerateArray().Select(w => w.GetDouble())];
            Assert.Equal(expected[1].Model.Weights.Count, weights.Length);
            Assert.All(weights.Zip(expected[1].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
            Assert.All(result.Model.Weights.Zip(expected[0].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
        }
        finally
        {
            tunnel.Kill(entireProcessTree: true);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task PassiveParty_InPython_TrainsHdpVflOnTheLattice(bool reshuffle)
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        const double Step = 0.5, L2 = 0.01, Sigma = 3.25;
        GlmJob job = Job(7, new SplitRule.ByHash(5, [0, 2]));
        job = job with
        {
            Training = job.Training with { WeightNorm = 1, ResidualClip = 1, Reshuffle = reshuffle },
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-3), TestNoiseSeed = 3 },
            Preprocessing = new() { Scaling = Scaling.Standardize, Rows = RowBound.Normalize, Constant = false },
        };
        var party = new GlmTrainer(job, new GlmPartyInput { Party = "bank", Table = bank });
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), party.Terms);
        Recorder? recorder = null;
        Task<GlmPartyResult> training = TrainAsync(party, host, channel => recorder = new Recorder(channel));
        using JsonDocument document = JsonDocument.Parse(await PythonInterop.RunAsync("passive_party.py", "--mode", "hdp-vfl", "--address", host.Address.Authority, "--job", job.Name, "--party", "telco",
            "--terms", Convert.ToHexStringLower(party.Terms.TermsDigest.Span), "--data", telcoFile, "--seed", "-42", "--epochs", "5", "--batches", "7", "--step-size", "0.5", "--l2", "0.01",
            "--split-mod", "5", "--split-test", "0,2", "--weight-norm", "1", "--residual-clip", "1", "--normalize", "--sigma", "3.25", reshuffle ? "--reshuffle" : "--mode=hdp-vfl"));
        GlmPartyResult result = await training;

        // What it sent came from its lattice, in the width that its bound and noise need; what it did with our noisy residuals is what plain loops do.
        Assert.All(recorder!.Received.OfType<Scores>().SkipLast(1), s => Assert.Equal((Sigma / (1 << GaussianMechanism.UsualLatticeBits), 11), (s.Lattice!.Step, s.Lattice.Bits)));
        Residuals[] residuals = [.. recorder.Sent.OfType<Residuals>()];
        Assert.Equal(35, residuals.Length);
        Assert.All(residuals, r => Assert.Equal(ElementType.Lattice, r.ElementType));
        int[] rows = [.. RowIds.Order(telco.Ids, -42).Rows.Where(row => bank.Ids.Contains(telco.Ids[row]))];
        bool[] test = RowSplit.TestRows(job.Split, null, telco.Ids, rows);
        int[] train = [.. rows.Where((_, i) => !test[i])];
        Assert.Equal(result.TrainRows, train.Length);
        DenseMatrix matrix = FeatureMap.Fit(telco, train, job.Preprocessing!, false).Transform(telco, train);
        double[][] x = [.. Enumerable.Range(0, train.Length).Select(i => matrix.Row(i).ToArray())];
        var layout = new BatchLayout(train.Length, 7);
        double[] w = new double[x[0].Length];
        for (int round = 0; round < residuals.Length; round++)
        {
            int[] order = reshuffle ? EpochOrder.Of(train.Length, -42, round / 7) : [.. Enumerable.Range(0, train.Length)];
            int[] batch = order[layout.Start(round % 7)..(layout.Start(round % 7) + layout.Size(round % 7))];
            double[] r = [.. residuals[round].Values.ToArray().Select(v => Math.Clamp(v, -1, 1))];
            w = [.. w.Select((v, j) => v - Step * L2 * v - Step / batch.Length * batch.Select((row, i) => r[i] * x[row][j]).Sum())];
            double shrink = Math.Min(1, 1 / Math.Sqrt(w.Sum(v => v * v)));
            w = [.. w.Select(v => v * shrink)];
        }

        double[] weights = [.. document.RootElement.GetProperty("weights").EnumerateArray().Select(v => v.GetDouble())];
        Assert.All(weights.Zip(w), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
    }

    [Fact]
    public async Task PassiveParty_InPython_FitsOneRoundLikeOurs()
    {
        PythonInterop.Require();
        (Table bank, Table telco, string telcoFile) = MakeTables();
        GlmJob job = Job(1, new SplitRule.ByHash(5, [0]));
        job = job with
        {
            Training = new() { Seed = -42 },
            Privacy = new() { Mode = PrivacyMode.OneRound, Budget = new(1, 1e-3), TestNoiseSeed = 3, OneRound = new() { LabelRate = 0.4 } },
            Preprocessing = new() { Scaling = Scaling.Standardize, Rows = RowBound.Normalize, Constant = false },
        };
        GlmPartyInput active = new() { Party = "bank", Table = bank };
        // The labels are randomised by a seed here, so that our own passive party meets the same ones.
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, [active, new() { Party = "telco", Table = telco }]);
        var party = new GlmTrainer(job, active);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), party.Terms);
        Recorder? recorder = null;
        Task<GlmPartyResult> training = TrainAsync(party, host, channel => recorder = new Recorder(channel));
        using JsonDocument document = JsonDocument.Parse(await PythonInterop.RunAsync("passive_party.py", "--mode", "one-round", "--address", host.Address.Authority, "--job", job.Name, "--party", "telco",
            "--terms", Convert.ToHexStringLower(party.Terms.TermsDigest.Span), "--data", telcoFile, "--seed", "-42", "--split-mod", "5", "--split-test", "0",
            "--normalize", "--sigma", "9.5", "--epsilon", "1", "--label-rate", "0.4"));
        GlmPartyResult result = await training;
        double[] weights = [.. document.RootElement.GetProperty("weights").EnumerateArray().Select(v => v.GetDouble())];
        // Ours stops at a gradient of tau, at most 1e-5 of the sensitivity away.
        Assert.All(weights.Zip(expected[1].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-5));
        Assert.Contains(weights, v => Math.Abs(v) > 0.01);
        Assert.Equal(expected[0].TestRows, result.TestRows);
        Assert.Equal(9.5 / (1 << GaussianMechanism.UsualLatticeBits), recorder!.Received.OfType<Scores>().First().Lattice!.Step);
    }

    [Fact]
    public async Task PassiveParty_InPythonWithAnotherJob_IsToldWhy()
    {
        PythonInterop.Require();
        (Table bank, _, string telcoFile) = MakeTables();
        var party = new GlmTrainer(Job(1, SplitRule.None), new GlmPartyInput { Party = "bank", Table = bank });
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), party.Terms);
        (int code, _, string error) = await PythonInterop.RunRawAsync("passive_party.py", "--address", host.Address.Authority, "--job", "interop", "--party", "telco",
            "--terms", new string('0', 64), "--data", telcoFile, "--epochs", "1", "--step-size", "0.5", "--l2", "0.01");
        Assert.NotEqual(0, code);
        Assert.Contains("FAILED_PRECONDITION", error, StringComparison.Ordinal);
        Assert.Contains("its job differs from the host's", error, StringComparison.Ordinal);
    }

    /// <summary>What is wrong on the Python side, the error at the host, and what grpcio tells.</summary>
    public static TheoryData<string, string, string> BadPeers => new()
    {
        { "unknown certificate", GrpcErrors.PeerUnknown, "UNAVAILABLE" },
        { "no certificate", GrpcErrors.PeerWithoutCertificate, "UNAVAILABLE" },
        { "another host expected", GrpcErrors.RefusedByPeer, "UNAVAILABLE" },
        { "another party's certificate", GrpcErrors.PeerWrongName, "PERMISSION_DENIED" },
        { "wrong binding", GrpcErrors.BindingMismatch, "PERMISSION_DENIED" },
        { "plaintext", "", "UNAVAILABLE" },
    };

    [Theory]
    [MemberData(nameof(BadPeers))]
    public async Task PassiveParty_InPythonWithABadIdentity_IsRefusedAndTheHostSaysWhy(string what, string id, string status)
    {
        PythonInterop.Require();
        (Table bank, _, string telcoFile) = MakeTables();
        var party = new GlmTrainer(Job(1, SplitRule.None), new GlmPartyInput { Party = "bank", Table = bank });
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(TlsPeers.Host(TlsPeers.Security("bank", "telco", "clinic")), party.Terms);
        RefusalLog refused = host.Watch();
        Task<GrpcSession> joining = host.JoinAsync(party.JoinRequest); // what becomes of it is no matter here
        string[] identity = what switch
        {
            "unknown certificate" => TlsArguments("mallory", "bank"),
            "no certificate" => TlsArguments("telco", "bank")[4..],
            "another host expected" => TlsArguments("telco", "clinic"),
            "another party's certificate" => TlsArguments("clinic", "bank"),
            "wrong binding" => [.. TlsArguments("telco", "bank"), "--wrong-binding"],
            _ => [],
        };
        (int code, _, string error) = await PythonInterop.RunRawAsync("passive_party.py", ["--address", host.Address.Authority, "--job", "interop", "--party", "telco",
            "--terms", Convert.ToHexStringLower(party.Terms.TermsDigest.Span), "--data", telcoFile, "--epochs", "1", "--step-size", "0.5", "--l2", "0.01", "--no-wait", .. identity]);
        Assert.NotEqual(0, code);
        Assert.Contains(status, error, StringComparison.Ordinal);
        if (id.Length > 0)
            Assert.Equal(id, (await refused.NextAsync()).Error.Id);
    }

    /// <summary>Files and arguments with which a party shows its certificate and accepts one other.</summary>
    private string[] TlsArguments(string own, string peer)
    {
        string Write(string name, string pem)
        {
            string path = Path.Combine(_folder, name);
            File.WriteAllText(path, pem);
            return path;
        }

        X509Certificate2 certificate = TlsPeers.Of(own);
        return ["--certificate", Write(own + ".crt", certificate.ExportCertificatePem()), "--key", Write(own + ".key", certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem()),
            "--peer-certificate", Write(peer + ".crt", TlsPeers.Of(peer).ExportCertificatePem()), "--peer", peer];
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Training_OverGrpc_IsBitIdenticalToInMemory(bool encrypted)
    {
        (Table bank, Table telco, _) = MakeTables();
        GlmJob job = Job(3, new SplitRule.ByHash(5, [0]));
        GlmPartyInput active = new() { Party = "bank", Table = bank }, passive = new() { Party = "telco", Table = telco };
        IReadOnlyList<GlmPartyResult> expected = await LocalFederation.TrainAsync(job, [active, passive]);
        GlmTrainer here = new(job, active), there = new(job, passive);
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(encrypted ? TlsPeers.Host(TlsPeers.Security("bank", "telco")) : new GrpcHostOptions(), here.Terms);
        Task<GlmPartyResult> training = TrainAsync(here, host);
        await using GrpcSession session = await GrpcFederationClient.JoinAsync(host.Address, there.JoinRequest, encrypted ? TlsPeers.Client(TlsPeers.Security("telco", "bank")) : null);
        GlmPartyResult telcoResult = await there.TrainAsync(session.Agreement, session.Channels);
        Assert.Equal(expected[1].Model.WeightsSha256, telcoResult.Model.WeightsSha256);
        Assert.Equal(expected[0].Model.WeightsSha256, (await training).Model.WeightsSha256);
    }

    private static async Task<GlmPartyResult> TrainAsync(GlmTrainer party, GrpcFederationHost host, Func<IPartyChannel, IPartyChannel>? wrap = null)
    {
        await using GrpcSession session = await host.JoinAsync(party.JoinRequest);
        return await party.TrainAsync(session.Agreement, [.. session.Channels.Select(channel => wrap?.Invoke(channel) ?? channel)]);
    }

    /// <summary>A channel that keeps what crosses it.</summary>
    private sealed class Recorder(IPartyChannel inner) : IPartyChannel
    {
        public List<Payload> Sent { get; } = [];

        public List<Payload> Received { get; } = [];

        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public async ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload
        {
            Sent.Add(message.Payload);
            await inner.SendAsync(round, message, cancellationToken);
        }

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
        {
            T payload = await inner.ReceiveAsync<T>(round, length, cancellationToken);
            Received.Add(payload);
            return payload;
        }

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }

    private static GlmJob Job(int batches, SplitRule split) => new()
    {
        Name = "interop",
        Model = new GlmModelOptions { Family = GlmFamilies.Binomial, L2 = 0.01 },
        Training = new GlmTrainingOptions { Epochs = 5, BatchesPerEpoch = batches, StepSize = 0.5, Seed = -42, Optimizer = GlmOptimizer.Sgd },
        Split = split,
        Parties = [new GlmPartyOptions { Party = new PartyDescription("bank", PartyRole.Active) }, new GlmPartyOptions { Party = new PartyDescription("telco", PartyRole.Passive) }],
    };

    /// <summary>Fifty rows a party of which forty are common, in different orders, with ids beyond ASCII and white space around some.</summary>
    private (Table Bank, Table Telco, string TelcoFile) MakeTables()
    {
        var random = new Random(11);
        StringBuilder bank = new("id,age,income,y\n"), telco = new("id,calls,roaming,years\n");
        double Next() => Math.Round(random.NextDouble() * 10, 3);
        int[] there = [.. Enumerable.Range(10, 50)];
        random.Shuffle(there);
        for (int i = 0; i < 50; i++)
        {
            bank.Append(CultureInfo.InvariantCulture, $"kunde-é{i},{Next()},{Next()},{random.Next(2)}\n");
            telco.Append(CultureInfo.InvariantCulture, $"{(i % 7 == 0 ? " " : "")}kunde-e\u0301{there[i]},{Next()},{Next()},{Next()}\n"); // the same ids, decomposed
        }

        return (Load("bank.csv", bank, "y"), Load("telco.csv", telco, null), Path.Combine(_folder, "telco.csv"));

        Table Load(string name, StringBuilder text, string? label)
        {
            string path = Path.Combine(_folder, name);
            File.WriteAllText(path, text.ToString());
            return Table.Load(new TableSource { Path = path, Id = "id", Label = label }, needLabel: label is not null);
        }
    }
}
