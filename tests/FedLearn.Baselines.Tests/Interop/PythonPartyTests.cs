using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Baselines.Tests.Protocol;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Baselines.Tests.Interop;

/// <summary>Our active party and arbiter against a passive party in Python that shares no line with ours: tests/interop/homomorphic.py. Skipped where Debian's python3-grpcio is absent.</summary>
public sealed class PythonPartyTests : IDisposable
{
    // Key, parties and Python share a machine with other tests.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-he-interop-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task PassiveParty_InPython_TrainsLikeOurs(bool noised)
    {
        PythonInterop.Require();
        // 3 batches do not divide the training rows.
        var data = new EncryptedRows(21, "binomial", 20, 2, 3);
        GlmPartyInput[] inputs = data.Inputs();
        GlmJob job = data.Job(new GlmTrainingOptions { Optimizer = GlmOptimizer.Sgd, Epochs = 2, BatchesPerEpoch = 3, StepSize = .5, Seed = -42 }) with
        {
            Split = new SplitRule.ByHash(5, [0, 2]),
            Preprocessing = new() { Scaling = Scaling.Standardize },
        };
        if (noised)
            job = job with
            {
                Training = job.Training with { WeightNorm = .5 },
                Preprocessing = job.Preprocessing with { Rows = RowBound.Normalize, Constant = false },
                Privacy = new() { Mode = PrivacyMode.HeDp, Budget = new(5, 1e-3), TestNoiseSeed = 3 },
            };
        var scheme = new PaillierScheme();
        (GlmPartyResult[] expected, _) = await new EncryptedFederation(job, scheme).TrainAsync(inputs);

        (GlmPartyResult active, ArbiterResult arbiter, double[] weights) = await TrainAsync(job, scheme, inputs, noised ? ["--dp", "--normalize", "--weight-norm", "0.5"] : []);
        // Columns are rounded to 2^-52 and shares to 2^-64 here and there: 6 steps stay far below this. The arbiter's noise is the same in both.
        Assert.Equal(expected[1].Model.Weights.Count, weights.Length);
        Assert.All(weights.Zip(expected[1].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
        Assert.All(active.Model.Weights.Zip(expected[0].Model.Weights), pair => Assert.Equal(pair.Second, pair.First, tolerance: 1e-12));
        Assert.Contains(weights, w => Math.Abs(w) > .01);
        Assert.Equal((expected[0].TestRows, 6), (active.TestRows, arbiter.Rounds));
        Assert.True(active.TestRows > 0);
    }

    /// <summary>Trains with the Python party; throws what ended the active party.</summary>
    private async Task<(GlmPartyResult Active, ArbiterResult Arbiter, double[] Weights)> TrainAsync(GlmJob job, PaillierScheme scheme, GlmPartyInput[] inputs, params string[] more)
    {
        var arbiter = new EncryptionArbiter(job, scheme);
        await using GrpcFederationHost arbiterHost = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), arbiter.Terms);
        GlmTrainer? trainer = null;
        trainer = new GlmTrainer(job, inputs[0] with
        {
            JointGradients = async stop =>
            {
                GrpcSession session = await GrpcFederationClient.JoinAsync(arbiterHost.Address, EncryptionArbiter.PartyRequest(job, trainer!.JoinRequest), cancellationToken: stop);
                return new EncryptedGradients(job, inputs[0].Party, scheme, session.Channels[0], session);
            },
        });
        await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), trainer.Terms);
        Task<ArbiterResult> serving = ServeAsync();
        Task<GlmPartyResult> training = ActAsync();
        using Process process = PythonInterop.Start("homomorphic.py", ["--address", host.Address.Authority, "--arbiter", arbiterHost.Address.Authority, "--job", job.Name, "--party", inputs[1].Party,
            "--terms", Convert.ToHexStringLower(trainer.Terms.TermsDigest.Span), "--arbiter-terms", Convert.ToHexStringLower(arbiter.Terms.TermsDigest.Span), "--data", Write(inputs[1].Table),
            "--seed", "-42", "--epochs", "2", "--batches", "3", "--step-size", "0.5", "--l2", "0.01", "--split-mod", "5", "--split-test", "0,2", .. more]);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Patience, TestContext.Current.CancellationToken);
            try
            {
                GlmPartyResult active = await training.WaitAsync(Patience, TestContext.Current.CancellationToken);
                Assert.True(process.ExitCode == 0, await error);
                using JsonDocument document = JsonDocument.Parse(await output);
                return (active, await serving.WaitAsync(Patience, TestContext.Current.CancellationToken), [.. document.RootElement.GetProperty("weights").EnumerateArray().Select(w => w.GetDouble())]);
            }
            catch (FedLearnException e)
            {
                throw new InvalidOperationException(await error, e);
            }
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }

        async Task<ArbiterResult> ServeAsync()
        {
            await using GrpcSession session = await arbiterHost.JoinAsync(arbiter.JoinRequest);
            return await arbiter.RunAsync(session.Channels);
        }

        async Task<GlmPartyResult> ActAsync()
        {
            await using GrpcSession session = await host.JoinAsync(trainer.JoinRequest);
            return await trainer.TrainAsync(session.Agreement, session.Channels);
        }
    }

    private string Write(Table table)
    {
        string path = Path.Combine(_folder, "p1.csv");
        string Line(int row) => string.Join(",", table.Values.Row(row).ToArray().Select(value => value.ToString("R", CultureInfo.InvariantCulture)).Prepend(table.Ids[row]));
        File.WriteAllLines(path, [string.Join(",", Enumerable.Range(0, table.Values.Columns).Select(j => $"c{j}").Prepend("id")), .. Enumerable.Range(0, table.Ids.Count).Select(Line)]);
        return path;
    }
}
