using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.Tests.Protocol;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Protocol;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;

namespace FedLearn.Baselines.Tests.Interop;

/// <summary>Our active party against passive parties and an arbiter of encrypted jobs with CKKS, in JavaScript, that share no line with ours: tests/interop/ckks_party.mjs and ckks_arbiter.mjs.
/// Skipped where Node.js or node-seal is absent.</summary>
public sealed class NodePartyTests : IDisposable
{
    private const string Arbiter = "arbiter";

    // Engines and processes share a machine with other tests.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-ckks-interop-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // 3 batches do not divide 601 rows; 4,500 rows take two blocks of slots.
    [Theory]
    [InlineData("binomial", 601, 3, new[] { 2, 3 }, "p1")]
    [InlineData("gaussian", 4500, 1, new[] { 2, 1, 2 }, "p1,p2")]
    [InlineData("binomial", 601, 3, new[] { 2, 1, 2 }, "p2,arbiter")]
    public async Task Parties_InJavaScript_TrainAsInTheClear(string family, int rows, int batches, int[] widths, string foreign)
    {
        var data = new EncryptedRows(rows, family, rows, widths);
        GlmTrainingOptions training = new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2, BatchesPerEpoch = batches, StepSize = .5, Seed = -42 };
        Session session = await RunAsync(data.Job(training), data.Inputs(), foreign, new() { ["seed"] = -42, ["epochs"] = 2, ["batches"] = batches, ["stepSize"] = .5, ["l2"] = .01, ["alpha"] = family == "gaussian" ? 1 : .25 });

        double[] expected = data.Descent(training), weights = session.Weights(widths.Length);
        // An answer has a flood within 2^77, 2^-11 of a sum; rounding of columns is a few percent of that. Later steps make no difference larger.
        double tolerance = 1.1 * 2 * batches * .5 * Math.Sqrt(expected.Length) * Math.ScaleB(1, -11) / (rows / batches);
        EncryptedGradientsTests.AssertClose(expected, weights, tolerance);
        Assert.Contains(expected, w => Math.Abs(w) > 100 * tolerance);
        Assert.Equal(rows, session.Parties["active"].TrainRows);
    }

    // The bound on rows with the constant, the split, a projection that binds, and no scores of training rows.
    [Theory]
    [InlineData(RowBound.Clip, true)]
    [InlineData(RowBound.Normalize, false)]
    public async Task PassiveParty_InJavaScriptWithNoise_TrainsLikeOurs(RowBound bound, bool constant)
    {
        var data = new EncryptedRows(22, "binomial", 900, 2, 3);
        GlmJob job = data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2, BatchesPerEpoch = 2, StepSize = 4, WeightNorm = .5, Seed = 5 }) with
        {
            Split = new SplitRule.ByHash(5, [0, 2]),
            Preprocessing = new() { Scaling = Scaling.Standardize, Rows = bound, Constant = constant },
            Privacy = new() { Mode = PrivacyMode.HeDp, Budget = new(5, 1e-3), TestNoiseSeed = 3 },
        };
        job = job with { Model = job.Model with { Intercept = constant ? GlmIntercept.Default : GlmIntercept.None } };
        (GlmPartyResult[] expected, _) = await new EncryptedFederation(job, await SchemeAsync(job)).TrainAsync(data.Inputs());
        Session session = await RunAsync(job, data.Inputs(), "p1", new()
        {
            ["seed"] = 5,
            ["epochs"] = 2,
            ["batches"] = 2,
            ["stepSize"] = 4,
            ["l2"] = .01,
            ["weightNorm"] = .5,
            ["splitMod"] = 5,
            ["splitTest"] = new[] { 0, 2 },
            ["standardize"] = true,
            ["rows"] = bound == RowBound.Clip ? "clip" : "normalize",
            ["constant"] = constant,
            ["dp"] = true,
        });

        double[] weights = session.Weights(2), ours = EncryptedRows.Weights(expected);
        // The arbiter's noise is the same in both, and the floods, each within 2^-11 of a sum, are not.
        EncryptedGradientsTests.AssertClose(ours, weights, 1.1 * 2 * 4 * 4 * Math.Sqrt(ours.Length) * Math.ScaleB(1, -11) / 250);
        Assert.Equal(expected[0].TestRows, session.Parties["active"].TestRows);
        Assert.True(expected[0].TestRows > 0);
        Assert.Equal(.5, Math.Sqrt(expected[1].Model.Weights.Sum(w => w * w)), 1e-6);
    }

    // One round of step 1 from weights of 0, so that they are a plain gradient, which mode he opens, and the noise.
    [Fact]
    public async Task Arbiter_InJavaScriptWithNoise_AddsThatNoise()
    {
        const double Sigma = .01;
        var data = new EncryptedRows(23, "binomial", 500, 2, 3);
        GlmJob job = data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1, StepSize = 1, WeightNorm = 5, Seed = 5 }) with
        {
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip, Constant = false },
        };
        (GlmPartyResult[] exact, _) = await new EncryptedFederation(job, await Schemes.NamedAsync(Schemes.Reference)).TrainAsync(data.Inputs());
        job = job with { Privacy = job.Privacy with { Mode = PrivacyMode.HeDp, Budget = new(1, 1e-5), TestNoiseSeed = 1 } };
        Session session = await RunAsync(job, data.Inputs(), Arbiter, new() { ["epochs"] = 1, ["batches"] = 1, ["sigma"] = Sigma });

        double[] noise = [.. session.Weights(2).Zip(EncryptedRows.Weights(exact), (a, b) => a - b)];
        // Beyond 6 deviations with probability 1e-8, all within a twentieth of one with 1e-7.
        Assert.All(noise, z => Assert.InRange(z, -6 * Sigma, 6 * Sigma));
        Assert.Contains(noise, z => Math.Abs(z) > Sigma / 20);
    }

    // Who finds it, with what, and what is sent; where nobody is named, the message is the arbiter's, and whichever party reads it first finds it.
    private static readonly (string At, string Id, string[] Damages)[] All =
    [
        ("active", HeErrors.BadCiphertext,
        [
            "share of other parameters", "share shorter", "share longer", "share empty", "share twice", "share of another format", "share of SEAL 5", "share called compressed", "share compressed",
            "share of another size in its header", "share not transformed", "share transformed twice", "share of three polynomials", "share of 2^56 polynomials", "share of another degree", "share of three primes",
            "share of another scale", "share of a scale that is no number", "share of another correction", "share of another array", "share of another array header", "share with a residue at its prime",
            "share with a last residue at its prime", "share with a residue of ones", "share with a first polynomial of zeros", "share with a second polynomial of zeros", "share of zeros", "share with a seed",
        ]),
        // No ciphertext of the right form can be told from the right one: what is opened is as large as the modulus, which no party goes on with.
        ("active", GlmErrors.Diverged, ["share under another key"]),
        ("active", ProtocolErrors.WrongLength, ["share of more rows", "share of no rows"]),
        ("active", ProtocolErrors.Malformed, ["share of most rows"]),
        (Arbiter, HeErrors.BadCiphertext,
        [
            "products with a coefficient at M", "products shorter", "products longer", "products empty", "products with a coefficient of ones", "products with a residue at its prime",
            "products with a last residue at its prime", "products with a polynomial of zeros",
        ]),
        (Arbiter, GlmJointErrors.SizesDiffer,
        [
            "sizes of other rows", "sizes of no rows", "sizes of half a row", "sizes of 2^60 rows", "sizes of other batches", "sizes of no batches", "sizes of no columns", "sizes of -1 columns", "sizes of 2^40 columns",
            "sizes of a bound below 0", "sizes of m = 21", "sizes of m = -1", "sizes of m = 1.5",
        ]),
        (Arbiter, ProtocolErrors.WrongLength, ["products without one", "products with one more", "products of more columns", "sizes without one", "sizes with one more"]),
        (Arbiter, ProtocolErrors.NotFinite, ["sizes of rows that are no number", "sizes of an infinite bound", "sizes of m that is no number"]),
        (Arbiter, ProtocolErrors.UnexpectedMessage, ["sizes of another kind"]),
        ("", HeErrors.BadKey,
        [
            "key with both polynomials", "key shorter", "key longer", "key empty", "key of other parameters", "key with a residue of ones", "key of zeros", "key with a header of zeros", "key with residues of zeros",
        ]),
        ("", HeErrors.BadCiphertext, ["answers with one at M", "answers shorter", "answers longer", "answers empty", "answers with one of ones"]),
        ("", GlmJointErrors.SizesDiffer, ["totals of fewer columns than its own", "totals of no columns", "totals of 2^40 columns", "totals of a bound below 0", "totals of m = 21", "totals of m = -1"]),
        ("", ProtocolErrors.WrongLength, ["answers without one", "answers of more columns", "totals without one", "totals with one more"]),
        ("", ProtocolErrors.NotFinite, ["totals of columns that are no number", "totals of a bound that is no number", "totals of m that is no number"]),
    ];

    /// <summary>All of them in the full tier; in the fast one the first of each line that has an error of encryption.</summary>
    public static TheoryData<string, string, string> Damages() =>
        [.. All.SelectMany(line => line.Damages.Where((_, i) => TestCounts.Scale > 1 || (i == 0 && line.Id is (HeErrors.BadCiphertext or HeErrors.BadKey or GlmJointErrors.SizesDiffer or GlmErrors.Diverged))).Select(damage => (damage, line.At, line.Id)))];

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task Message_DamagedByAForeignMember_IsRefusedAndTheMemberNamed(string damage, string at, string id)
    {
        var data = new EncryptedRows(24, "binomial", 60, 2, 3);
        string foreign = at.Length == 0 ? Arbiter : "p1";
        Session session = await RunAsync(data.Job(new() { Optimizer = GlmOptimizer.Sgd, Epochs = 2, StepSize = .5, Seed = 5 }), data.Inputs(), foreign,
            new() { ["seed"] = 5, ["epochs"] = 2, ["batches"] = 1, ["stepSize"] = .5, ["l2"] = .01, ["damage"] = damage });

        Assert.Equal(2, session.Errors.Count);
        FedLearnException[] errors = [.. session.Errors.Values.Select(Assert.IsAssignableFrom<FedLearnException>)], found = [.. errors.Where(e => e.Id == id)];
        Assert.NotEmpty(found);
        if (at.Length > 0)
            Assert.Same(session.Errors[at], Assert.Single(found));
        if (id != GlmErrors.Diverged)
            Assert.All(found, e => Assert.Contains($"'{foreign}'", e.Message, StringComparison.Ordinal));
        // Whoever did not find it was told of it.
        Assert.All(errors.Except(found), e => Assert.Contains(e.Id, (string[])[ProtocolErrors.PeerAborted, ProtocolErrors.PeerGone]));
        Assert.Contains(id, Assert.Single(session.ForeignErrors).Value, StringComparison.Ordinal);
    }

    private sealed record Session(IReadOnlyDictionary<string, GlmPartyResult> Parties, ArbiterResult? Arbiter, IReadOnlyDictionary<string, double[]> Foreign, IReadOnlyDictionary<string, Exception> Errors, IReadOnlyDictionary<string, string> ForeignErrors)
    {
        internal double[] Weights(int parties)
        {
            Assert.True(Errors.Count + ForeignErrors.Count == 0, string.Join("\n", Errors.Values.Select(e => e.Message).Concat(ForeignErrors.Values)));
            return [.. Enumerable.Range(0, parties).SelectMany(p => Foreign.GetValueOrDefault(EncryptedRows.Name(p)) ?? [.. Parties[EncryptedRows.Name(p)].Model.Weights]), .. Parties["active"].Model.Intercepts];
        }
    }

    /// <summary>Trains over HTTP/2, some members, by name, being foreign, who are told the settings; throws nothing.</summary>
    private async Task<Session> RunAsync(GlmJob job, GlmPartyInput[] inputs, string foreign, Dictionary<string, object> settings)
    {
        IAdditiveScheme scheme = await SchemeAsync(job);
        string[] abroad = foreign.Split(',');
        settings["seal"] = Seal;
        settings["job"] = job.Name;
        var arbiter = new EncryptionArbiter(job, scheme);
        var errors = new ConcurrentDictionary<string, Exception>();
        var foreignErrors = new ConcurrentDictionary<string, string>();
        var weights = new ConcurrentDictionary<string, double[]>();
        var parties = new ConcurrentDictionary<string, GlmPartyResult>();
        ArbiterResult? served = null;
        var processes = new List<Process>();
        var running = new List<Task>();
        await using GrpcFederationHost arbiterHost = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), arbiter.Terms);
        Uri arbiterAddress = arbiterHost.Address;
        try
        {
            if (abroad.Contains(Arbiter))
            {
                var port = new TaskCompletionSource<int>();
                running.Add(RunForeignAsync(Arbiter, "ckks_arbiter.mjs", new(settings) { ["parties"] = inputs.Select(i => i.Party), ["terms"] = Hex(arbiter.Terms.TermsDigest) }, line => port.TrySetResult(int.Parse(line, CultureInfo.InvariantCulture))));
                arbiterAddress = new Uri($"http://127.0.0.1:{await port.Task.WaitAsync(Patience)}");
            }
            else
            {
                running.Add(CaughtAsync(Arbiter, async () =>
                {
                    await using GrpcSession session = await arbiterHost.JoinAsync(arbiter.JoinRequest);
                    served = await arbiter.RunAsync(session.Channels);
                }));
            }

            GlmTrainer[] trainers = [.. inputs.Select(Trainer)];
            await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), trainers[0].Terms);
            foreach ((GlmPartyInput input, GlmTrainer trainer) in inputs.Zip(trainers))
                if (abroad.Contains(input.Party))
                    running.Add(RunForeignAsync(input.Party, "ckks_party.mjs", new(settings)
                    {
                        ["party"] = input.Party,
                        ["address"] = host.Address,
                        ["arbiter"] = arbiterAddress,
                        ["terms"] = Hex(trainers[0].Terms.TermsDigest),
                        ["arbiterTerms"] = Hex(arbiter.Terms.TermsDigest),
                        ["data"] = Write(input),
                    }, line => weights[input.Party] = JsonSerializer.Deserialize<Dictionary<string, double[]>>(line)!["weights"]));
                else
                    running.Add(CaughtAsync(input.Party, async () =>
                    {
                        await using GrpcSession session = trainer == trainers[0] ? await host.JoinAsync(trainer.JoinRequest) : await GrpcFederationClient.JoinAsync(host.Address, trainer.JoinRequest);
                        parties[input.Party] = await trainer.TrainAsync(session.Agreement, session.Channels);
                    }));

            await Task.WhenAll(running).WaitAsync(Patience);
            return new(parties, served, weights, errors, foreignErrors);
        }
        catch (TimeoutException e)
        {
            // A foreign party that ended with an error before it joined leaves the others waiting.
            throw new TimeoutException($"Somebody still waits. {string.Join(" ", foreignErrors)}", e);
        }
        finally
        {
            foreach (Process process in processes)
            {
                if (!process.HasExited)
                    process.Kill(entireProcessTree: true);
                process.Dispose();
            }
        }

        GlmTrainer Trainer(GlmPartyInput input)
        {
            GlmTrainer? trainer = null;
            return trainer = new GlmTrainer(job, input with
            {
                JointGradients = async stop =>
                {
                    GrpcSession session = await GrpcFederationClient.JoinAsync(arbiterAddress, EncryptionArbiter.PartyRequest(job, trainer!.JoinRequest), cancellationToken: stop);
                    return new EncryptedGradients(job, input.Party, scheme, session.Channels[0], session);
                },
            });
        }

        async Task CaughtAsync(string name, Func<Task> run)
        {
            try
            {
                await Task.Run(run);
            }
            catch (Exception e)
            {
                errors[name] = e;
            }
        }

        async Task RunForeignAsync(string name, string script, Dictionary<string, object> arguments, Action<string> printed)
        {
            Process process = Process.Start(new ProcessStartInfo("node", [PythonInterop.PathOf(script), JsonSerializer.Serialize(arguments)]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            processes.Add(process);
            Task<string> error = process.StandardError.ReadToEndAsync();
            while (await process.StandardOutput.ReadLineAsync() is { } line)
                printed(line);
            await process.WaitForExitAsync();
            if (process.ExitCode != 0)
                foreignErrors[name] = await error;
        }
    }

    private static async Task<IAdditiveScheme> SchemeAsync(GlmJob job)
    {
        IAdditiveScheme scheme = await Schemes.NamedAsync(Schemes.Ckks);
        return job.Privacy.Mode == PrivacyMode.HeDp ? CkksScheme.OnNode(plainScaleBits: 34) : scheme;
    }

    private static string Seal => NodeSealEngine.Folders(Environment.GetEnvironmentVariable(NodeSealEngine.Variable), AppContext.BaseDirectory, null).First(folder => Directory.Exists(Path.Combine(folder, "node_modules", "node-seal")));

    private static string Hex(ReadOnlyMemory<byte> digest) => Convert.ToHexStringLower(digest.Span);

    private string Write(GlmPartyInput input)
    {
        string path = Path.Combine(_folder, input.Party + ".csv");
        string Line(int row) => string.Join(",", input.Table.Values.Row(row).ToArray().Select(value => value.ToString("R", CultureInfo.InvariantCulture)).Prepend(input.Table.Ids[row]));
        File.WriteAllLines(path, [string.Join(",", Enumerable.Range(0, input.Table.Values.Columns).Select(j => $"c{j}").Prepend("id")), .. Enumerable.Range(0, input.Table.Ids.Count).Select(Line)]);
        return path;
    }
}
