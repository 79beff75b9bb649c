using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Glm.Serving;

public class GlmScoringTests
{
    private static readonly GlmScoringOptions Patient = new() { Timeout = TimeSpan.FromMinutes(1) };

    public static TheoryData<string, bool, int[]> Models => new()
    {
        { "gaussian", false, [2, 3] },
        { "binomial", false, [9, 17, 1] },
        { "poisson", true, [3, 2, 4] },
        { "binomial", false, [4] },
        { "multinomial", false, [2, 3] },
        { "multinomial", false, [3, 2, 4] },
    };

    [Theory]
    [MemberData(nameof(Models))]
    public async Task Score_CommonIds_HasTheBitsOfBatchPrediction(string family, bool link, int[] widths)
    {
        var scene = new ScoringScene(family, 3, link ? new GlmPeerLink(1.5, 0.1) { Slope = 0.3 } : null, widths);
        GlmPrediction batch = await LocalFederation.PredictAsync(scene.Job, scene.Inputs, scene.Models, cancellationToken: TestContext.Current.CancellationToken);
        GlmScoringActive active = scene.Active(Patient);
        for (int party = 1; party < widths.Length; party++)
            await ScoringScene.OpenAsync(active, scene.Passive(party));
        Assert.True(active.IsReady);

        string[] ids = [.. batch.Rows.Select(row => scene.Inputs[0].Table.Ids[row])];
        Assert.Equal(widths.Length == 1 ? 25 : 23, ids.Length);
        IReadOnlyList<GlmScoreAnswer> together = await active.ScoreAsync(ids, TestContext.Current.CancellationToken);
        for (int i = 0; i < ids.Length; i++)
            foreach (GlmScoreAnswer answer in (GlmScoreAnswer[])[together[i], (await active.ScoreAsync([$" {ids[i]} "], TestContext.Current.CancellationToken))[0]])
            {
                Assert.Equal(GlmScoreOutcome.Scored, answer.Outcome);
                Assert.Equal(Bits(OfRow(batch.Scores, i)), Bits(answer.Scores));
                Assert.Equal(Bits(OfRow(batch.Means, i)), Bits(answer.Means));
                Assert.Empty(answer.Degraded);
            }

        IEnumerable<double> OfRow(IReadOnlyList<double> values, int row) => Enumerable.Range(0, batch.Outputs).Select(output => values[output * ids.Length + row]);

        static IEnumerable<long> Bits(IEnumerable<double> values) => values.Select(BitConverter.DoubleToInt64Bits);
    }

    [Fact]
    public async Task Score_IdsThatAPartyLacks_SayWhichKindAndOwnUnknownOnesStayHere()
    {
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        GlmScoringPassive passive = scene.Passive();
        (Task session, Task theirSession, InMemoryChannel channel) = await ScoringScene.OpenAsync(active, passive);
        string common = scene.CommonIds[0], own = scene.Inputs[0].Table.Ids.First(id => id.StartsWith("only 0", StringComparison.Ordinal)), theirs = scene.Inputs[1].Table.Ids.First(id => id.StartsWith("only 1", StringComparison.Ordinal));
        // The question that shows that the party is there is nobody's.
        Assert.Equal(default, passive.Counts);
        IReadOnlyList<GlmScoreAnswer> answers = await active.ScoreAsync(["nobody", common, own, theirs, common, "\ud800"], TestContext.Current.CancellationToken);
        Assert.Equal([GlmScoreOutcome.UnknownId, GlmScoreOutcome.Scored, GlmScoreOutcome.NotCommon, GlmScoreOutcome.UnknownId, GlmScoreOutcome.Scored, GlmScoreOutcome.UnknownId], answers.Select(a => a.Outcome));
        Assert.Equal(["prediction scores", "prediction: ids present"], channel.Releases.Keys.Select(r => r.Name).Order(StringComparer.Ordinal));
        long messages = active.Parties[0].Messages;
        Assert.Equal(GlmScoreOutcome.UnknownId, (await active.ScoreAsync(["nobody"], TestContext.Current.CancellationToken))[0].Outcome);
        Assert.Equal(messages, active.Parties[0].Messages);
        await active.StopAsync(TimeSpan.FromMinutes(1));
        await Task.WhenAll(session, theirSession);
        // The common one once, and the one that only this party has.
        Assert.Equal(new GlmScoringCounts(1, 2, 1), passive.Counts);
    }

    [Fact]
    public async Task Score_PartyAwayWithSeveralOutputs_TheConstantIsOfEach()
    {
        var scene = new ScoringScene("multinomial", 5, null, 2, 3);
        GlmScoringActive active = scene.Active(Patient with { Fallbacks = new Dictionary<string, double> { ["p1"] = 0.25 } });
        string id = scene.CommonIds[0];
        double[] own = scene.Models[0].Score(scene.Inputs[0].Table, [scene.Inputs[0].Table.Ids.ToList().IndexOf(id)]);
        VerticalData.AssertClose([.. own.Select(score => score + 0.25)], [.. (await active.ScoreAsync([id], TestContext.Current.CancellationToken))[0].Scores], 1e-15);
    }

    [Fact]
    public async Task Score_TooManyIdsOrNone_AreNoRequest()
    {
        GlmScoringActive active = new ScoringScene().Active();
        foreach (int count in (int[])[0, GlmScoring.MostIds + 1])
            await Assert.ThrowsAsync<ArgumentException>(() => active.ScoreAsync([.. Enumerable.Repeat("nobody", count)], TestContext.Current.CancellationToken));
        Assert.Equal(GlmScoring.MostIds, (await active.ScoreAsync([.. Enumerable.Repeat("nobody", GlmScoring.MostIds)], TestContext.Current.CancellationToken)).Count);
    }

    [Fact]
    public void Active_LimitsThatAreNone_AreRefused()
    {
        var scene = new ScoringScene();
        foreach (GlmScoringOptions options in (GlmScoringOptions[])[new() { Timeout = TimeSpan.Zero }, new() { GiveUpAfter = TimeSpan.Zero }])
            Assert.Equal((GlmErrors.InvalidJob, "time limits"), (Assert.Throws<ConfigurationException>(() => scene.Active(options)) is var e ? (e.Id, e.Place) : default));
    }

    [Fact]
    public void TermsOf_OnePassiveParty_AreThoseOfTheWholeJobForServing()
    {
        GlmJob job = new ScoringScene("binomial", 4, null, 2, 2, 2).Job;
        SessionTerms first = GlmScoring.TermsOf(job, "p1"), second = GlmScoring.TermsOf(job, "p2");
        Assert.Equal(["active p1", "active p2"], ((SessionTerms[])[first, second]).Select(terms => string.Join(' ', terms.Parties.Select(p => p.Name))));
        Assert.Equal(first.TermsDigest.ToArray(), second.TermsDigest.ToArray());
        Assert.NotEqual(GlmJobTerms.Of(job).TermsDigest.ToArray(), first.TermsDigest.ToArray());
    }

    [Fact]
    public void Next_LastRound_IsTheFirst() => Assert.Equal((0, 1), (GlmScoring.Next(int.MaxValue), GlmScoring.Next(0)));

    [Fact]
    public async Task Score_QuestionsOverTheMostOfAMessage_GoInMessagesOfTheirOwn()
    {
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        (_, InMemoryChannel peer) = await scene.PlayAsync(active);
        string[] many = [.. Enumerable.Repeat(scene.CommonIds[0], (GlmScoring.MostIds / 2) + 1)];
        Task<IReadOnlyList<GlmScoreAnswer>>[] questions = new Task<IReadOnlyList<GlmScoreAnswer>>[3];
        questions[0] = active.ScoreAsync([many[0]], TestContext.Current.CancellationToken);
        for (int round = 1; round <= 3; round++)
        {
            await peer.ReceiveAsync<HashedIds>(round, 1, TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
            if (round == 1)
                (questions[1], questions[2]) = (active.ScoreAsync(many, TestContext.Current.CancellationToken), active.ScoreAsync(many, TestContext.Current.CancellationToken));
            await ScoringScene.AnswerAsync(peer, round, [1], [round]);
        }

        double own = scene.Models[0].Score(scene.Inputs[0].Table, [scene.Inputs[0].Table.Ids.ToList().IndexOf(many[0])])[0];
        for (int i = 0; i < 3; i++)
            Assert.Equal(own + i + 1, (await questions[i])[^1].Scores[0]);
    }

    [Fact]
    public async Task Score_PartyAway_RefusesOrUsesTheConstant()
    {
        var scene = new ScoringScene("binomial", 4, null, 2, 2, 2);
        string id = scene.CommonIds[0];
        GlmScoringActive refusing = scene.Active(Patient), mixed = scene.Active(Patient with { Fallbacks = new Dictionary<string, double> { ["p2"] = 0.25 } });
        Assert.Equal((GlmScoreOutcome.PartyAway, false, false), ((await refusing.ScoreAsync([id], TestContext.Current.CancellationToken))[0].Outcome, refusing.IsReady, mixed.IsReady));
        await ScoringScene.OpenAsync(mixed, scene.Passive());
        Assert.True(mixed.IsReady);
        GlmScoreAnswer answer = (await mixed.ScoreAsync([id], TestContext.Current.CancellationToken))[0];
        double Own(int party) => scene.Models[party].Score(scene.Inputs[party].Table, [scene.Inputs[party].Table.Ids.ToList().IndexOf(id)])[0];
        Assert.Equal(Own(0) + (Own(1) + 0.25), Assert.Single(answer.Scores), 1e-15);
        Assert.Equal(["p2"], answer.Degraded);
        Assert.Equal(GlmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => scene.Active(new GlmScoringOptions { Fallbacks = new Dictionary<string, double> { ["p9"] = 1 } })).Id);
        Assert.Equal(GlmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => scene.Active(new GlmScoringOptions { Fallbacks = new Dictionary<string, double> { ["p1"] = double.NaN } })).Id);
    }

    [Fact]
    public async Task Score_LateAnswer_IsNotTakenForTheNextRequests()
    {
        var scene = new ScoringScene();
        var clock = new ManualClock();
        GlmScoringActive active = scene.Active(new GlmScoringOptions { Clock = clock, GiveUpAfter = TimeSpan.FromHours(1) });
        (_, InMemoryChannel peer) = await scene.PlayAsync(active);
        string[] ids = scene.CommonIds;
        Task<IReadOnlyList<GlmScoreAnswer>> first = active.ScoreAsync([ids[0]], TestContext.Current.CancellationToken);
        await peer.ReceiveAsync<HashedIds>(1, 1, TestContext.Current.CancellationToken);
        // A second caller waits behind the first message, and gives up too: its id never leaves.
        Task<IReadOnlyList<GlmScoreAnswer>> second = active.ScoreAsync([ids[1]], TestContext.Current.CancellationToken);
        clock.Advance(TimeSpan.FromMilliseconds(500));
        Assert.Equal(GlmScoreOutcome.PartyTooSlow, (await first)[0].Outcome);
        Assert.Equal(GlmScoreOutcome.PartyTooSlow, (await second)[0].Outcome);
        Assert.Equal(2, active.Parties[0].Late);
        Assert.True(active.IsReady); // slow, not gone

        Task<IReadOnlyList<GlmScoreAnswer>> third = active.ScoreAsync([ids[2]], TestContext.Current.CancellationToken);
        await ScoringScene.AnswerAsync(peer, 1, [1], [111]);
        HashedIds asked = await peer.ReceiveAsync<HashedIds>(2, 1, TestContext.Current.CancellationToken);
        Assert.Equal(RowIds.Digest(ids[2], scene.Job.Training.Seed), asked.Digests.ToArray());
        Assert.False(third.IsCompleted);
        await ScoringScene.AnswerAsync(peer, 2, [1], [0.5]);
        double own = scene.Models[0].Score(scene.Inputs[0].Table, [scene.Inputs[0].Table.Ids.ToList().IndexOf(ids[2])])[0];
        Assert.Equal(own + 0.5, (await third)[0].Scores[0]);
    }

    [Fact]
    public async Task Score_PartyHangsAndCallersKeepComing_TurnsThemAwayAtOnce()
    {
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        (_, InMemoryChannel peer) = await scene.PlayAsync(active);
        string id = scene.CommonIds[0];
        Task<IReadOnlyList<GlmScoreAnswer>> first = active.ScoreAsync([id], TestContext.Current.CancellationToken);
        await peer.ReceiveAsync<HashedIds>(1, 1, TestContext.Current.CancellationToken);
        Task<IReadOnlyList<GlmScoreAnswer>>[] waiting = [.. Enumerable.Range(0, 4096).Select(_ => active.ScoreAsync([id], TestContext.Current.CancellationToken))];
        Assert.Equal(GlmScoreOutcome.PartyTooSlow, (await active.ScoreAsync([id], TestContext.Current.CancellationToken))[0].Outcome);
        Assert.Equal(1, active.Parties[0].Late);
        Assert.False(first.IsCompleted);
        await ScoringScene.AnswerAsync(peer, 1, [1], [1]);
        await peer.ReceiveAsync<HashedIds>(2, 1, TestContext.Current.CancellationToken);
        await ScoringScene.AnswerAsync(peer, 2, [1], [2]);
        Assert.All(await Task.WhenAll(waiting), a => Assert.Equal(GlmScoreOutcome.Scored, a[0].Outcome));
    }

    [Fact]
    public async Task Score_NoAnswerForLong_EndsTheSession()
    {
        var scene = new ScoringScene();
        var clock = new ManualClock();
        GlmScoringActive active = scene.Active(new GlmScoringOptions { Clock = clock, Timeout = TimeSpan.FromHours(1), GiveUpAfter = TimeSpan.FromSeconds(30) });
        (Task session, InMemoryChannel peer) = await scene.PlayAsync(active);
        Task<IReadOnlyList<GlmScoreAnswer>> request = active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken);
        await peer.ReceiveAsync<HashedIds>(1, 1, TestContext.Current.CancellationToken);
        clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(ProtocolErrors.TimedOut, (await Assert.ThrowsAsync<PeerException>(() => session)).Id);
        Assert.Equal(GlmScoreOutcome.PartyAway, (await request)[0].Outcome);
        Assert.False(active.IsReady);
    }

    [Fact]
    public async Task Score_ManyAtOnce_ShareTheNextMessage()
    {
        const int Callers = 200;
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        (_, InMemoryChannel peer) = await scene.PlayAsync(active);
        string[] ids = scene.CommonIds;
        Task<IReadOnlyList<GlmScoreAnswer>> first = active.ScoreAsync([ids[0]], TestContext.Current.CancellationToken);
        await peer.ReceiveAsync<HashedIds>(1, 1, TestContext.Current.CancellationToken);
        Task<IReadOnlyList<GlmScoreAnswer>>[] others = [.. Enumerable.Range(1, Callers).Select(i => active.ScoreAsync([ids[i % ids.Length]], TestContext.Current.CancellationToken))];
        await ScoringScene.AnswerAsync(peer, 1, [1], [0]);
        await first;
        HashedIds asked = await peer.ReceiveAsync<HashedIds>(2, ids.Length, TestContext.Current.CancellationToken); // each id once, however many ask for it
        // The score of each digest is its first byte: every caller must get that of its own id.
        double[] scores = [.. Enumerable.Range(0, ids.Length).Select(i => (double)asked.Digests.Span[i * HashedIds.DigestBytes])];
        await ScoringScene.AnswerAsync(peer, 2, [.. Enumerable.Repeat((byte)1, ids.Length)], scores);
        for (int i = 1; i <= Callers; i++)
        {
            string id = ids[i % ids.Length];
            double own = scene.Models[0].Score(scene.Inputs[0].Table, [scene.Inputs[0].Table.Ids.ToList().IndexOf(id)])[0];
            Assert.Equal(own + RowIds.Digest(id, scene.Job.Training.Seed)[0], (await others[i - 1])[0].Scores[0]);
        }

        Assert.Equal(3, active.Parties[0].Messages);
    }

    [Fact]
    public async Task Serve_PeerBreaksTheProtocol_EndsTheSessionAndAnswersAway()
    {
        (string Id, Func<IPartyChannel, Task> Act)[] faults =
        [
            (ProtocolErrors.WrongLength, peer => ScoringScene.AnswerAsync(peer, 1, [1, 0], [1])),
            (ProtocolErrors.WrongLength, peer => ScoringScene.AnswerAsync(peer, 1, [0], [1])),
            (ProtocolErrors.WrongRound, peer => ScoringScene.AnswerAsync(peer, 2, [1], [1])),
            (ProtocolErrors.NotFinite, peer => ScoringScene.AnswerAsync(peer, 1, [1], [double.NaN])),
            (ProtocolErrors.IllegalValue, peer => ScoringScene.AnswerAsync(peer, 1, [2], [1])),
            (ProtocolErrors.UnexpectedMessage, peer => peer.SendAsync(1, Disclosure.Unprotected(new Scores(new double[1]), "test")).AsTask()),
            (ProtocolErrors.PeerGone, peer => peer.DisposeAsync().AsTask()),
        ];
        foreach ((string id, Func<IPartyChannel, Task> act) in faults)
        {
            var scene = new ScoringScene();
            GlmScoringActive active = scene.Active(Patient);
            (Task session, InMemoryChannel peer) = await scene.PlayAsync(active);
            Task<IReadOnlyList<GlmScoreAnswer>> request = active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken);
            await peer.ReceiveAsync<HashedIds>(1, 1, TestContext.Current.CancellationToken);
            await act(peer);
            Assert.Equal(id, (await Assert.ThrowsAsync<PeerException>(() => session)).Id);
            Assert.Equal(GlmScoreOutcome.PartyAway, (await request)[0].Outcome);
            // It may come back, and is used again.
            await ScoringScene.OpenAsync(active, scene.Passive());
            Assert.Equal(GlmScoreOutcome.Scored, (await active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken))[0].Outcome);
        }
    }

    [Fact]
    public async Task Serve_AnswerBeforeAQuestionOrLossWhileIdle_IsSeenAtOnce()
    {
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        (Task session, InMemoryChannel peer) = await scene.PlayAsync(active);
        await ScoringScene.AnswerAsync(peer, 1, [1], [1]);
        Assert.Equal(ProtocolErrors.UnexpectedMessage, (await Assert.ThrowsAsync<PeerException>(() => session)).Id);
        (session, peer) = await scene.PlayAsync(active);
        await peer.DisposeAsync();
        Assert.Equal(ProtocolErrors.PeerGone, (await Assert.ThrowsAsync<PeerException>(() => session)).Id);
        Assert.False(active.IsReady);
    }

    [Fact]
    public async Task Passive_QuestionsThatBreakTheProtocol_EndTheSession()
    {
        byte[] rising = [.. Enumerable.Range(0, 2 * HashedIds.DigestBytes).Select(i => (byte)i)], falling = [.. rising.Reverse()], twice = [.. rising[..32], .. rising[..32]];
        (string Id, int Round, byte[] Digests)[] faults =
        [
            (ProtocolErrors.IllegalValue, 0, falling), (ProtocolErrors.IllegalValue, 0, twice), (ProtocolErrors.WrongRound, 1, rising),
            (ProtocolErrors.WrongLength, 0, new byte[(GlmScoring.MostIds + 1) * HashedIds.DigestBytes]),
        ];
        var scene = new ScoringScene();
        foreach ((string id, int round, byte[] digests) in faults)
        {
            GlmScoringPassive passive = scene.Passive();
            (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("active", "p1", ScoringScene.Idle);
            Task session = passive.RunAsync(ScoringScene.Agreement(scene.Active(), passive.JoinRequest), own, TestContext.Current.CancellationToken);
            await peer.SendAsync(round, Disclosure.Unprotected(new HashedIds(digests), "test"), TestContext.Current.CancellationToken);
            Assert.Equal(id, (await Assert.ThrowsAsync<PeerException>(() => session)).Id);
            Assert.Equal(0, passive.Counts.Requests);
        }
    }

    /// <summary>Of two jobs, and of one job that was trained twice.</summary>
    [Theory]
    [InlineData('b', null)]
    [InlineData('a', "b")]
    public async Task Sessions_PartsOfDifferentTrainings_AreRefusedByBoth(char digest, string? training)
    {
        var scene = new ScoringScene();
        GlmModel part = scene.Models[1];
        var other = new GlmScoringPassive(scene.Job, scene.Inputs[1], new GlmModel(part.JobName, new string(digest, 64), part.Party, part.Family, part.Features, part.Weights, part.Intercepts) { TrainingId = training });
        GlmScoringActive active = scene.Active();
        (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("active", "p1", ScoringScene.Idle);
        SessionAgreement agreement = ScoringScene.Agreement(active, other.JoinRequest);
        Assert.Equal(GlmErrors.OtherModel, (await Assert.ThrowsAsync<ConfigurationException>(() => other.RunAsync(agreement, second, TestContext.Current.CancellationToken))).Id);
        Assert.Equal(GlmErrors.OtherModel, (await Assert.ThrowsAsync<ConfigurationException>(() => active.ServeAsync(agreement, first, TestContext.Current.CancellationToken))).Id);
        Assert.False(active.IsReady);
        Assert.Equal(GlmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => new GlmScoringPassive(scene.Job, scene.Inputs[0], scene.Models[0])).Id);
        Assert.Equal(GlmErrors.InvalidJob, Assert.Throws<ConfigurationException>(() => new GlmScoringActive(scene.Job, scene.Inputs[1], scene.Models[1])).Id);
    }

    [Theory]
    [InlineData(PrivacyMode.HdpVfl)]
    [InlineData(PrivacyMode.OneRound)]
    [InlineData(PrivacyMode.LabelDp)]
    [InlineData(PrivacyMode.He)]
    [InlineData(PrivacyMode.HeDp)]
    public void Roles_EvaluationNone_RefuseEachForItself(PrivacyMode mode)
    {
        var scene = new ScoringScene();
        GlmJob disclosed = scene.Job with
        {
            Model = scene.Job.Model with { L2 = 0.1, Intercept = GlmIntercept.Default },
            Training = new() { Optimizer = GlmOptimizer.Sgd, Epochs = 1, StepSize = 0.5, WeightNorm = 1, ResidualClip = 1 },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Privacy = new() { Mode = mode, Budget = mode == PrivacyMode.He ? null : new(1, 1e-3) },
        };
        GlmJob none = disclosed with { Privacy = disclosed.Privacy with { Evaluation = EvaluationDisclosure.None } };
        Action[] Roles(GlmJob job) =>
        [
            () => _ = new GlmPredictor(job, scene.Inputs[0], scene.Models[0]),
            () => _ = new GlmPredictor(job, scene.Inputs[1], scene.Models[1]),
            () => _ = new GlmScoringActive(job, scene.Inputs[0], scene.Models[0]),
            () => _ = new GlmScoringPassive(job, scene.Inputs[1], scene.Models[1]),
        ];
        Assert.All(Roles(none), role => Assert.Equal(GlmErrors.NoScoresLeave, Assert.Throws<PrivacyRefusedException>(role).Id));
        Assert.All(Roles(disclosed), role => role());
    }

    [Fact]
    public void Roles_EvaluationNoneWithoutAPromiseOrAPeer_Predict()
    {
        var scene = new ScoringScene();
        _ = new GlmPredictor(scene.Job with { Privacy = new() { Evaluation = EvaluationDisclosure.None } }, scene.Inputs[1], scene.Models[1]);
        var alone = new ScoringScene(widths: [4]);
        GlmJob job = alone.Job with
        {
            Training = new() { WeightNorm = 1, ResidualClip = 1 },
            Preprocessing = new() { Scaling = Scaling.None, Rows = RowBound.Clip },
            Privacy = new() { Mode = PrivacyMode.HdpVfl, Budget = new(1, 1e-3), Evaluation = EvaluationDisclosure.None },
        };
        _ = new GlmPredictor(job, alone.Inputs[0], alone.Models[0]);
    }

    [Fact]
    public async Task Stop_EitherSide_EndsInGoodOrder()
    {
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        using var stop = new CancellationTokenSource();
        (Task own, Task theirs, _) = await ScoringScene.OpenAsync(active, scene.Passive(), stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => theirs);
        PeerException left = await Assert.ThrowsAsync<PeerException>(() => own);
        Assert.Equal((ProtocolErrors.PeerAborted, true), (left.Id, left.Message.Contains(ProtocolErrors.Cancelled, StringComparison.Ordinal)));

        (own, theirs, _) = await ScoringScene.OpenAsync(active, scene.Passive(), TestContext.Current.CancellationToken);
        await active.StopAsync(TimeSpan.FromMinutes(1));
        await own;
        await theirs;
        Assert.Equal(GlmScoreOutcome.PartyAway, (await active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken))[0].Outcome);

        // One that begins afterwards ends at once.
        (own, theirs, _) = await ScoringScene.OpenAsync(active, scene.Passive(), TestContext.Current.CancellationToken);
        await Task.WhenAll(own, theirs).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Stop_PartyThatHangs_IsNotWaitedForAndIsAwayFromThen()
    {
        var scene = new ScoringScene();
        var clock = new ManualClock();
        GlmScoringActive active = scene.Active(new GlmScoringOptions { Clock = clock, Timeout = TimeSpan.FromHours(1), GiveUpAfter = TimeSpan.FromHours(2) });
        (Task session, InMemoryChannel peer) = await scene.PlayAsync(active);
        Task<IReadOnlyList<GlmScoreAnswer>> first = active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken);
        await peer.ReceiveAsync<HashedIds>(1, 1, TestContext.Current.CancellationToken);
        Task stopped = active.StopAsync(TimeSpan.FromSeconds(1));
        clock.Advance(TimeSpan.FromSeconds(1));
        await stopped.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        Assert.Equal(GlmScoreOutcome.PartyAway, (await active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken))[0].Outcome);
        Assert.Equal((false, false), (session.IsCompleted, first.IsCompleted));
    }

    [Fact]
    public async Task Serve_SecondSessionOfAParty_IsRefusedAndTheFirstGoesOn()
    {
        var scene = new ScoringScene();
        GlmScoringActive active = scene.Active(Patient);
        GlmScoringPassive passive = scene.Passive();
        await ScoringScene.OpenAsync(active, passive);
        (InMemoryChannel first, _) = InMemoryChannel.CreatePair("active", "p1", ScoringScene.Idle);
        Assert.Equal(ProtocolErrors.AlreadyJoined, (await Assert.ThrowsAsync<PeerException>(() => active.ServeAsync(ScoringScene.Agreement(active, passive.JoinRequest), first).WaitAsync(TimeSpan.FromMinutes(1)))).Id);
        Assert.Equal(GlmScoreOutcome.Scored, (await active.ScoreAsync([scene.CommonIds[0]], TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromMinutes(1)))[0].Outcome);
    }
}
