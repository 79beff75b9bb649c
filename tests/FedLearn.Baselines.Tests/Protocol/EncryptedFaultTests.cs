using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.Tests.Conformance;
using FedLearn.Baselines.Tests.Seal;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>Members that break the protocol, leave it or are given what they cannot use: each failure has its id and its culprit, and nobody waits for ever.</summary>
public class EncryptedFaultTests
{
    private static readonly EncryptedRows Data = new(11, "binomial", 40, 2, 3), Three = new(12, "binomial", 40, 2, 1, 1);

    private static GlmTrainingOptions Sgd(int epochs = 3, int batches = 1) => new() { Optimizer = GlmOptimizer.Sgd, Epochs = epochs, BatchesPerEpoch = batches };

    private static EncryptedFederation Altering(EncryptedRows data, Func<string, string, int, Payload, Payload> alter, IAdditiveScheme? scheme = null) =>
        new(data.Job(Sgd()), scheme ?? new ReferenceAdditiveScheme()) { Alter = alter };

    private static void AssertFault(IReadOnlyDictionary<string, Exception> errors, string at, string id, params string[] parts)
    {
        var error = Assert.IsAssignableFrom<FedLearnException>(errors[at]);
        Assert.Equal(id, error.Id);
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
        // Whoever did not find it was told of it.
        Assert.All(errors.Where(e => e.Key != at), e => Assert.Contains(Assert.IsAssignableFrom<FedLearnException>(e.Value).Id, (string[])[ProtocolErrors.PeerAborted, ProtocolErrors.PeerGone]));
    }

    [Theory]
    [InlineData("short")]
    [InlineData("long")]
    [InlineData("empty")]
    [InlineData("modulus")]
    [InlineData("largest")]
    public async Task Answers_OfWrongSizeOrRange_AreRefusedAndTheArbiterNamed(string fault)
    {
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await Altering(Data, (to, from, round, payload) => to != "p1" || round != 1 || payload is not MaskedAnswers answers ? payload : new MaskedAnswers(fault switch
        {
            "short" => answers.Bytes[..^1],
            "long" => (byte[])[.. answers.Bytes.Span, 0],
            "empty" => default,
            "modulus" => (byte[])[.. answers.Bytes.Span[..^20], .. ReferenceAdditiveScheme.Prime.ToByteArray(isUnsigned: true)],
            _ => (byte[])[.. Enumerable.Repeat((byte)255, answers.Bytes.Length)],
        }, answers.Length)).RunAsync(Data.Inputs());
        Assert.Equal(3, errors.Count);
        AssertFault(errors, "p1", HeErrors.BadCiphertext, "'arbiter'", "round 1");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    public async Task Key_OfAnotherForm_IsRefusedAndTheArbiterNamed(int bytes)
    {
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await Altering(Data, (to, _, _, payload) => to == "active" && payload is EncryptionKey ? new EncryptionKey(new byte[bytes]) : payload).RunAsync(Data.Inputs());
        Assert.Equal(3, errors.Count);
        AssertFault(errors, "active", HeErrors.BadKey, "'arbiter'");
    }

    // Nobody can tell one legal key from another: what is opened is then noise as large as the modulus, which no party goes on with.
    [Fact]
    public async Task Key_OfSomebodyElse_EndsTheTrainingWithAnError()
    {
        var scheme = new ReferenceAdditiveScheme();
        await using IKeyHolder other = await scheme.CreateKeyAsync();
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await Altering(Data, (to, _, _, payload) => to == "active" && payload is EncryptionKey ? new EncryptionKey(other.PublicKey) : payload, scheme).RunAsync(Data.Inputs());
        Assert.Empty(results);
        Assert.Equal(3, errors.Count);
        Assert.All(errors.Values, e => Assert.IsAssignableFrom<FedLearnException>(e));
        Assert.Contains(errors.Values, e => e is InternalFailureException { Id: GlmErrors.Diverged });
    }

    [Theory]
    [InlineData(true, "short")]
    [InlineData(true, "range")]
    [InlineData(false, "short")]
    [InlineData(false, "range")]
    public async Task Shares_ThatAreNoCiphertexts_AreRefusedAndTheSenderNamed(bool atActive, string fault)
    {
        string victim = atActive ? "active" : "p2", culprit = atActive ? "p1" : "active";
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await Altering(Three, (to, from, _, payload) => to == victim && from == culprit && payload is EncryptedShares shares
            ? new EncryptedShares(fault == "short" ? shares.Bytes[..^1] : (byte[])[.. Enumerable.Repeat((byte)255, shares.Bytes.Length)], shares.Length) : payload).RunAsync(Three.Inputs());
        Assert.Equal(4, errors.Count);
        AssertFault(errors, victim, HeErrors.BadCiphertext, $"'{culprit}'", "round 0");
    }

    [Theory]
    [InlineData("short")]
    [InlineData("range")]
    [InlineData("parameters")]
    public async Task Shares_ThatAreNoCkksCiphertexts_ReachNoEngine(string fault)
    {
        await Schemes.NamedAsync(Schemes.Ckks);
        var engines = new List<RecordingEngine>();
        var recording = new CkksScheme(async stop =>
        {
            engines.Add(new RecordingEngine(await NodeSealEngine.StartAsync(stop)));
            return engines[^1];
        }, "", 1, 26);
        int before = -1;
        var federation = new EncryptedFederation(Data.Job(Sgd()), CkksScheme.OnNode())
        {
            Schemes = new Dictionary<string, IAdditiveScheme> { ["active"] = recording },
            Alter = (to, _, round, payload) =>
            {
                if (to != "active" || payload is not EncryptedShares shares || round != 1)
                    return payload;
                before = engines.Sum(e => e.Given);
                byte[] bytes = shares.Bytes.ToArray();
                // Residues begin at byte 113, the hash of the parameters at 16.
                bytes.AsSpan(fault == "range" ? CkksParameters.Residues : 16, 8).Fill(255);
                return new EncryptedShares(fault == "short" ? bytes.AsMemory()[..^1] : bytes, shares.Length);
            },
        };
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await federation.RunAsync(Data.Inputs());
        AssertFault(errors, "active", HeErrors.BadCiphertext, "'p1'");
        Assert.Equal(before, engines.Sum(e => e.Given));
    }

    [Theory]
    [InlineData("short")]
    [InlineData("range")]
    public async Task MaskedProducts_ThatAreNoCiphertexts_AreRefusedAndThePartyNamed(string fault)
    {
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await Altering(Data, (to, from, _, payload) => to == "arbiter" && from == "p1" && payload is MaskedProducts masked
            ? new MaskedProducts(fault == "short" ? masked.Bytes[..^1] : (byte[])[.. Enumerable.Repeat((byte)255, masked.Bytes.Length)], masked.Length) : payload).RunAsync(Data.Inputs());
        Assert.Equal(3, errors.Count);
        AssertFault(errors, "arbiter", HeErrors.BadCiphertext, "'p1'");
    }

    [Theory]
    [InlineData(0, 41)]
    [InlineData(1, 2)]
    [InlineData(0, 40.5)]
    [InlineData(0, 0)]
    [InlineData(2, 0)]
    [InlineData(2, 1e300)]
    [InlineData(2, int.MaxValue)]
    [InlineData(3, -1)]
    [InlineData(4, 21)]
    [InlineData(4, .5)]
    public async Task Sizes_ThatDifferOrAreImpossible_AreRefusedAndThePartyNamed(int index, double value)
    {
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await Altering(Data, (to, from, _, payload) =>
        {
            if (to != "arbiter" || from != "p1" || payload is not Scalars sizes)
                return payload;
            double[] values = [.. sizes.Values.Span];
            values[index] = value;
            return new Scalars(sizes.Kind, values);
        }).RunAsync(Data.Inputs());
        Assert.Equal(3, errors.Count);
        AssertFault(errors, "arbiter", GlmJointErrors.SizesDiffer, "'p1'");
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(0, 5.5)]
    [InlineData(0, 1e300)]
    [InlineData(1, -1)]
    [InlineData(2, 21)]
    [InlineData(2, -1)]
    [InlineData(2, .5)]
    public async Task Agreement_ThatIsImpossible_IsRefusedAndTheArbiterNamed(int index, double value)
    {
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await Altering(Data, (to, from, _, payload) =>
        {
            if (to != "p1" || from != "arbiter" || payload is not Scalars agreed)
                return payload;
            double[] values = [.. agreed.Values.Span];
            values[index] = value;
            return new Scalars(agreed.Kind, values);
        }).RunAsync(Data.Inputs());
        AssertFault(errors, "p1", GlmJointErrors.SizesDiffer, "'arbiter'");
    }

    // Noise for labels within 4 would not cover those within 8.
    [Fact]
    public async Task Agreement_WithABoundOfLabelsBelowThePartys_IsRefusedAndTheArbiterNamed()
    {
        var data = new EncryptedRows(13, "gaussian", 40, 2, 3);
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await new EncryptedFederation(EncryptedRulesTests.Noised(data), new ReferenceAdditiveScheme())
        {
            Alter = (to, from, _, payload) => to == "active" && from == "arbiter" && payload is Scalars agreed ? new Scalars(agreed.Kind, new[] { agreed.Values.Span[0], 4, agreed.Values.Span[2] }) : payload,
        }.RunAsync(data.Inputs());
        AssertFault(errors, "active", GlmJointErrors.SizesDiffer, "'arbiter'");
    }

    [Fact]
    public async Task Shares_OverTheLimitOfAMessage_EndTheExchangeAtOnce()
    {
        const int Rows = 200;
        double[] numbers = new double[Rows];
        // A receive that is waited for to the end of its time would outlast the test's patience.
        var federation = new EncryptedFederation(Data.Job(Sgd()), new ReferenceAdditiveScheme()) { Options = new ChannelOptions { MaxMessageBytes = 1 << 10, ReceiveTimeout = TimeSpan.FromHours(1) } };
        var error = await Assert.ThrowsAsync<PeerException>(() => federation.GradientsAsync(new BatchLayout(Rows, 1), [[numbers], [numbers]], [[numbers], [numbers]]));
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("more batches", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("arbiter", 100, "fewer columns")]
    [InlineData("active", 1000, "more batches")]
    public async Task Train_MessagesOfARoundAreTooLarge_IsRefusedBeforeRoundZero(string tight, int limit, string remedy)
    {
        var federation = new EncryptedFederation(Data.Job(Sgd()), new ReferenceAdditiveScheme()) { LimitOf = (local, remote) => local == "p1" && remote == tight ? limit : int.MaxValue };
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await federation.RunAsync(Data.Inputs());
        AssertFault(errors, "p1", ProtocolErrors.TooLarge, $"'{tight}'", "before round 0", remedy);
        Assert.DoesNotContain(federation.Received, message => message.Payload is EncryptedShares or MaskedProducts);
    }

    [Fact]
    public async Task MaskedProducts_OverTheLimitOfAMessage_SayThatColumnsMakeThemLarge()
    {
        (InMemoryChannel party, _) = InMemoryChannel.CreatePair("p1", "arbiter", new ChannelOptions { MaxMessageBytes = 1 << 10 });
        var error = await Assert.ThrowsAsync<PeerException>(async () => await party.SendAsync(0, Cryptosystem.Release(new MaskedProducts(new byte[2000], 5), "masked inner products", "scheme", "arbiter")));
        Assert.Equal(ProtocolErrors.TooLarge, error.Id);
        Assert.Contains("fewer columns", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("batches", error.Message, StringComparison.Ordinal);
    }

    // Each alone would end the job by the time limit of somebody that waits for a party that itself waits.
    [Theory]
    [InlineData("p2's ids", "p2", "active", typeof(HashedIds), "active to arbiter", "p1 to arbiter", "p2 to arbiter")]
    [InlineData("p2's sizes", "p2", "arbiter", typeof(Scalars), "arbiter to active", "arbiter to p1")]
    [InlineData("p2's rows", "p2", "active", typeof(Scalars), "active to arbiter", "active to p1", "p1 to arbiter")]
    [InlineData("p2's evaluation", "p2", "active", typeof(Scores), "active to arbiter", "active to p1", "p1 to arbiter", "p2 to arbiter")]
    public async Task Train_OnePartyIsSlow_ThoseThatWaitForOthersAreTold(string what, string slow, string to, Type message, params string[] told)
    {
        var federation = new EncryptedFederation(Three.Job(Sgd()), new ReferenceAdditiveScheme())
        {
            HeldUntilTold = (sender, receiver, payload) => sender == slow && receiver == to && payload.GetType() == message ? told : [],
        };
        await federation.TrainAsync(Three.Inputs());
        Assert.True(federation.WereTold, what);
    }

    // An engine may be a process of its own, and a party that stays for the next job must not gather them.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Training_ThatEndsOrFails_DisposesOfEveryEncryptor(bool fails)
    {
        int made = 0, ended = 0;
        var scheme = new FaultyScheme(new ReferenceAdditiveScheme(), new Fault
        {
            UseKey = (inner, key, token) =>
            {
                Interlocked.Increment(ref made);
                return inner.UseKeyAsync(key, token);
            },
            Disposal = () => Interlocked.Increment(ref ended),
        });
        var federation = new EncryptedFederation(Data.Job(Sgd(2)), scheme) { Dies = fails ? ("p1", 1) : null };
        Assert.Equal(fails, (await federation.RunAsync(Data.Inputs())).Errors.Count > 0);
        Assert.Equal((2, 2), (made, ended));
    }

    [Fact]
    public async Task Arbiter_ThatIsStopped_EndsEveryParty()
    {
        GlmJob job = Three.Job(Sgd(epochs: 50));
        using var stop = new CancellationTokenSource();
        var scheme = new ReferenceAdditiveScheme();
        var federation = new EncryptedFederation(job, scheme)
        {
            ArbiterRun = async channels => await new EncryptionArbiter(job, scheme).RunAsync(channels, new StopsAt(3, stop), stop.Token),
        };
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await federation.RunAsync(Three.Inputs());
        Assert.Empty(results);
        Assert.IsAssignableFrom<OperationCanceledException>(errors["arbiter"]);
        foreach (string party in (string[])["active", "p1", "p2"])
            Assert.Equal(ProtocolErrors.PeerAborted, Assert.IsType<PeerException>(errors[party]).Id);
        Assert.Contains(errors.Values, e => e.Message.Contains(ProtocolErrors.Cancelled, StringComparison.Ordinal) && e.Message.Contains("'arbiter'", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("active")]
    [InlineData("p1")]
    [InlineData("p2")]
    public async Task Party_ThatDies_EndsTheArbiterAndTheOthers(string victim)
    {
        var federation = new EncryptedFederation(Three.Job(Sgd(epochs: 50)), new ReferenceAdditiveScheme()) { Dies = (victim, 4) };
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, ArbiterResult? arbiter) = await federation.RunAsync(Three.Inputs());
        Assert.Empty(results);
        Assert.Null(arbiter);
        Assert.Equal(4, errors.Count);
        Assert.IsType<EncryptedFederation.DeathException>(errors[victim]);
        Assert.All(errors.Where(e => e.Key != victim), e => Assert.Contains(Assert.IsType<PeerException>(e.Value).Id, (string[])[ProtocolErrors.PeerGone, ProtocolErrors.PeerAborted]));
        Assert.Contains(errors.Values, e => e is PeerException { Id: ProtocolErrors.PeerGone } gone && gone.Message.Contains($"'{victim}'", StringComparison.Ordinal));
    }

    // A step this large makes the weights grow by a factor a round until no integer of the scheme could hold a sum.
    [Theory]
    [InlineData(Schemes.Reference)]
    [InlineData(Schemes.Ckks)]
    [InlineData(Schemes.Paillier)]
    public async Task Training_ThatDiverges_EndsWithTheErrorOfDivergence(string name)
    {
        IAdditiveScheme scheme = await Schemes.NamedAsync(name);
        (IReadOnlyDictionary<string, Exception> errors, GlmPartyResult[] results, _) = await new EncryptedFederation(Data.Job(Sgd(epochs: 40) with { StepSize = 1e4 }), scheme).RunAsync(Data.Inputs());
        Assert.Empty(results);
        Assert.All(errors.Values, e => Assert.IsAssignableFrom<FedLearnException>(e));
        Assert.Contains(errors.Values, e => e is InternalFailureException { Id: GlmErrors.Diverged });
    }

    [Theory]
    [InlineData(Schemes.Reference)]
    [InlineData(Schemes.Paillier)]
    public async Task Column_ThatIsTooLargeToEncode_IsRefusedWithARemedy(string name)
    {
        IAdditiveScheme scheme = await Schemes.NamedAsync(name);
        GlmPartyInput[] inputs = Data.Inputs();
        double[] large = [.. Enumerable.Range(0, 120).Select(i => i % 3 == 1 ? 2e6 + i : .5)];
        inputs[1] = inputs[1] with { Table = FedLearn.Data.Table.FromMatrix([.. Enumerable.Range(0, 40).Select(i => $"row{i}")], ["c2", "c3", "c4"], new FedLearn.Numerics.DenseMatrix(40, 3, large)) };
        (IReadOnlyDictionary<string, Exception> errors, _, _) = await new EncryptedFederation(Data.Job(Sgd()), scheme).RunAsync(inputs);
        AssertFault(errors, "p1", GlmJointErrors.NotEncryptable, "preprocessing.scaling");
    }

    private sealed class StopsAt(int rounds, CancellationTokenSource stop) : IProgress<(int Rounds, int Of)>
    {
        public void Report((int Rounds, int Of) value)
        {
            if (value.Rounds == rounds)
                stop.Cancel();
        }
    }
}
