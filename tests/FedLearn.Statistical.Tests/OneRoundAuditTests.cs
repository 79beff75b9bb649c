using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Numerics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Tests.Dssm;
using FedLearn.Tests.Glm;
using FedLearn.Tests.Shared;

namespace FedLearn.Statistical.Tests;

/// <summary>An attacker who is all other parties, and knows both neighbouring tables, tries to tell them apart by what one real party of the modes one-round and label-dp sends.</summary>
/// <remarks>Whole sessions with secure noise, so that no result is the same twice: each condition fails by chance with probability 1e-9. The attacker chooses its messages, and its threshold beforehand. Limits of Clopper and Pearson on both error rates bound
/// mu, or epsilon, from below; that must not exceed the claim, and must reach what an attack of this size reaches, or the audit would be blind.</remarks>
public class OneRoundAuditTests(ITestOutputHelper output)
{
    private const double FalseAlarm = 1e-9;

    /// <summary>Of labels.</summary>
    private const double Epsilon = 2;

    /// <summary>Position of the row that differs, in the order of the alignment.</summary>
    private const int Changed = 0;

    /// <summary>Sessions in each world; ten times as many in the full tier.</summary>
    private static readonly int Runs = TestCounts.Of(2_000);

    private static GlmJob Job(string family, PrivacyMode mode, PrivacyBudget active, PrivacyBudget passive, EvaluationDisclosure evaluation = EvaluationDisclosure.None, int passives = 1)
    {
        GlmJob job = NeighbourCase.JobOf(family, new() { Epochs = mode == PrivacyMode.LabelDp ? 2 : null, StepSize = 1 }, 0.001, 1, passives);
        return job with
        {
            Model = job.Model with { Family = family == "multinomial" ? GlmFamilies.Multinomial(4) : job.Model.Family },
            Privacy = new() { Mode = mode, Budget = active, Evaluation = evaluation, EvaluationShare = .5 },
            Parties = [job.Parties[0], .. job.Parties.Skip(1).Select(p => p with { Budget = passive })],
        };
    }

    /// <summary>Eight rows of 1 that got label 1 and eight of -1 that got 0: the fit is pushed to the largest score that is sent. One row turns.</summary>
    private static double[] Rows(bool other) => [.. Enumerable.Range(0, 16).Select(i => i == Changed ? (other ? -1.0 : 1) : i < 8 ? 1 : -1)];

    private static readonly byte[] Labels = [.. Enumerable.Range(0, 16).Select(i => (byte)(i < 8 ? 1 : 0))];

    [Theory]
    [InlineData(EvaluationDisclosure.None, .85)]
    [InlineData(EvaluationDisclosure.Charged, .6)]
    public async Task Audit_PassiveParty_StaysBelowTheClaimAndNearTheTruth(EvaluationDisclosure evaluation, double share)
    {
        GlmJob job = Job("binomial", PrivacyMode.OneRound, new(1, 1e-3), new(12, 1e-3), evaluation);
        (_, GlmPartyResult first) = await PassiveAsync(job, Rows(false));
        OneRoundCalibration calibration = first.Privacy.OneRound!.Calibration!;
        (double[] Scores, double Weight)[] silent = [Silent(calibration.Parameters, Rows(false)), Silent(calibration.Parameters, Rows(true))];
        double squares = 0;
        // The log-likelihood ratio of scores and, where the evaluation is charged, the final weights.
        double Ratio(IEnumerable<(double Seen, double One, double Other, double Sigma)> values)
        {
            (double ratio, squares) = (0, 0);
            foreach ((double seen, double one, double other, double sigma) in values)
            {
                double distance = (other - one) / sigma;
                ratio += ((seen - one) / sigma * distance) - (distance * distance / 2);
                squares += distance * distance;
            }

            return ratio;
        }

        (long falsePositives, long falseNegatives) = await CountAsync(async world =>
        {
            (double[] scores, GlmPartyResult result) = await PassiveAsync(job, Rows(world));
            var seen = scores.Select((score, i) => (score, silent[0].Scores[i], silent[1].Scores[i], calibration.ScoreNoise.Sigma)).ToList();
            if (calibration.WeightNoise is { } noise)
                seen.Add((result.Model.Weights[0], silent[0].Weight, silent[1].Weight, noise.Sigma));
            return Ratio(seen) > 0;
        });
        AssertMu(calibration.Mu, Math.Sqrt(squares), share, falsePositives, falseNegatives);
    }

    /// <summary>A score is a row's own features times weights: those of other rows give the weights away, whatever noise these have.</summary>
    [Fact]
    public async Task Audit_LaterScoreOfATrainingRow_TellsOfThatRowWhichTheClaimLeavesOut()
    {
        GlmJob job = Job("binomial", PrivacyMode.OneRound, new(1, 1e-3), new(1, 1e-3), EvaluationDisclosure.Charged);
        string claim = "";
        (long falsePositives, long falseNegatives) = await CountAsync(async world =>
        {
            (_, GlmPartyResult result) = await PassiveAsync(job, Rows(world));
            claim = Assert.Single(result.Privacy.Claims);
            double[] scores = await PredictAsync(job, Rows(world), result.Model);
            return Math.Sign(scores[Changed]) != Math.Sign(scores[Changed + 1]);
        }, 300);
        Assert.Equal((0, 0), (falsePositives, falseNegatives));
        double limit = Statistics.ClopperPearsonUpper(0, 300, FalseAlarm / 2);
        Assert.True(Math.Log((1 - limit - 1e-3) / limit) > 1, "too few runs to see it");
        Assert.StartsWith("training messages and final weights; ", claim, StringComparison.Ordinal);
        Assert.Contains("of the row scored", claim, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("binomial")]
    [InlineData("multinomial")]
    public async Task Audit_RandomisedLabels_StayBelowTheClaimAndNearTheTruth(string family)
    {
        GlmJob job = Job(family, PrivacyMode.OneRound, new(Epsilon, 1e-3), new(1, 1e-3));
        double most = family == "binomial" ? 1 : 3;
        RandomizedResponse response = new(Epsilon, (int)most + 1);
        (long falsePositives, long falseNegatives) = await CountAsync(async world => ((RandomizedLabels)await ActiveAsync(job, world ? most : 0)).Classes.Span[Changed] == most);
        AssertEpsilon(response, falsePositives, falseNegatives);
    }

    /// <summary>Two jobs of one ledger send the same labels; with a ledger each they would be drawn twice, and the audit sees it.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Audit_LabelsOfTwoJobs_AreDrawnTwiceOnlyWithoutTheirLedger(bool oneLedger)
    {
        GlmJob job = Job("binomial", PrivacyMode.OneRound, new(Epsilon, 1e-3), new(1, 1e-3));
        int differ = 0;
        (long falsePositives, long falseNegatives) = await CountAsync(async world =>
        {
            var ledger = new InMemoryLedger();
            byte first = await SentAsync(ledger), second = await SentAsync(oneLedger ? ledger : new InMemoryLedger());
            differ += first == second ? 0 : 1;
            return first == 1 && second == 1;

            async Task<byte> SentAsync(InMemoryLedger kept) => ((RandomizedLabels)await ActiveAsync(job, world ? 1 : 0, kept)).Classes.Span[Changed];
        });
        double lower = Lower(falsePositives, falseNegatives, Runs);
        output.WriteLine($"epsilon claimed {Epsilon:F4}, lower bound {lower:F4} from {Runs} runs a world");
        Assert.Equal(oneLedger, lower <= Epsilon);
        Assert.Equal(oneLedger, differ == 0);
    }

    [Fact]
    public async Task Audit_NoisyLabels_StayBelowTheClaimAndNearTheTruth()
    {
        PrivacyBudget budget = new(12, 1e-3);
        GlmJob job = Job("gaussian", PrivacyMode.OneRound, budget, new(1, 1e-3));
        NoisyTargetMechanism mechanism = new(-1, 1, budget.Epsilon, budget.Delta);
        // Labels beyond the declared range count as its ends.
        (long falsePositives, long falseNegatives) = await CountAsync(async world => ((NoisyTargets)await ActiveAsync(job, world ? 5 : -5)).Values.Span[Changed] > 0);
        AssertMu(mechanism.Mu, 2 / mechanism.Sigma, .999, falsePositives, falseNegatives);
    }

    /// <summary>All residuals of all rounds are the same bits wherever the released labels are: nothing else of a true label is in them.</summary>
    /// <param name="family">Family.</param>
    /// <param name="releases">Releases that so many sessions see at least, of all that there are.</param>
    [Theory]
    [InlineData("binomial", 8)]
    [InlineData("multinomial", 32)]
    public async Task Audit_LabelDp_IsAFunctionOfTheReleasedLabelsAndStaysBelowTheClaim(string family, int releases)
    {
        GlmJob job = Job(family, PrivacyMode.LabelDp, new(Epsilon, 0), new(Epsilon, 0));
        int outputs = job.Model.Family.Outputs, most = Math.Max(1, outputs - 1);
        RandomizedResponse response = new(Epsilon, most + 1);
        // Classes get equal scores, so that the released one has the smallest residual.
        double[] said = [.. Enumerable.Range(0, outputs).SelectMany(_ => Said)];
        var seen = new Dictionary<string, double[]>();
        (long falsePositives, long falseNegatives) = await CountAsync(async world =>
        {
            double[] sent = await ResidualsAsync(job, world ? most : 0, said);
            // Weights are 0 in the first round: a residual is the mean at the score that was sent, less the debiased label.
            string released = string.Concat(Enumerable.Range(0, Few).Select(i => outputs > 1 ? Enumerable.Range(0, outputs).MinBy(m => sent[m * Few + i])
                : sent[i] < GlmFamilies.Binomial.Mean(Said[i]) - .5 ? 1 : 0));
            if (!seen.TryAdd(released, sent))
                Assert.Equal(seen[released], sent);
            return released[Changed] == '0' + most;
        });
        Assert.InRange(seen.Count, releases, (int)Math.Pow(most + 1, Few));
        AssertEpsilon(response, falsePositives, falseNegatives);
    }

    /// <summary>Three real parties. Every coalition of two attacks the third: both passive parties the labels, the active one and either passive one the scores of the other. So does the active party alone a person of whom both passive ones have a row.</summary>
    /// <remarks>The changed row turns at each party by itself, so that every session is a trial of all four attacks; claims hold whatever the others' rows are. Half of twice <see cref="Runs"/> are in each world of one party.</remarks>
    [Fact]
    public async Task Audit_ThreeParties_NoCoalitionLearnsMoreThanTheClaims()
    {
        PrivacyBudget passive = new(12, 1e-3);
        GlmJob job = Job("binomial", PrivacyMode.OneRound, new(Epsilon, 1e-3), passive, passives: 2);
        RandomizedResponse response = new(Epsilon);
        int sessions = 2 * Runs;
        double claimed = GaussianDp.Mu(passive.Epsilon, passive.Delta);
        Errors labels = new(), both = new();
        Errors[] scores = [new(), new()];
        for (int session = 0; session < sessions; session++)
        {
            // At the active party, and at the two passive ones.
            bool[] turned = [(session & 1) > 0, (session & 2) > 0, (session & 4) > 0];
            ThreeParties seen = await ThreePartiesAsync(job, turned);
            Assert.Equal(seen.Labels[0], seen.Labels[1]);
            labels.Add(turned[0], seen.Labels[0][Changed] == 0);
            double sum = 0, squares = 0;
            for (int p = 0; p < 2; p++)
            {
                OneRoundCalibration calibration = seen.Results[p + 1].Privacy.OneRound!.Calibration!;
                double[] one = Silent(calibration.Parameters, Rows(false), seen.Labels[p]).Scores, other = Silent(calibration.Parameters, Rows(true), seen.Labels[p]).Scores;
                (double ratio, double square) = (0, 0);
                for (int i = 0; i < one.Length; i++)
                {
                    double distance = (other[i] - one[i]) / calibration.ScoreNoise.Sigma;
                    ratio += ((seen.Scores[p][i] - one[i]) / calibration.ScoreNoise.Sigma * distance) - (distance * distance / 2);
                    square += distance * distance;
                }

                Assert.InRange(Math.Sqrt(square), 0, calibration.Mu);
                scores[p].Add(turned[p + 1], ratio > 0, Math.Sqrt(square));
                (sum, squares) = (sum + ratio, squares + square);
            }

            if (turned[1] == turned[2])
                both.Add(turned[1], sum > 0, Math.Sqrt(squares));

            // Each party pays for what it sent, once, however many got it.
            if (session == 0)
                Assert.Equal([(Epsilon, 0.0), (0, claimed * claimed), (0, claimed * claimed)], seen.Ledgers.Select(ledger => Assert.Single(ledger.Entries)).Select(e => (e.PureEpsilon, e.MuSquared)));
        }

        AssertEpsilon(response, labels.FalsePositives, labels.FalseNegatives, sessions / 2);
        foreach (Errors each in scores)
            AssertMu(claimed, each.Realised(sessions / 2), .5, each.FalsePositives, each.FalseNegatives, sessions / 2);
        AssertMu(Math.Sqrt(2) * claimed, both.Realised(sessions / 4), .5, both.FalsePositives, both.FalseNegatives, sessions / 4);
    }

    /// <summary>An attacker's errors in two worlds, where released labels decide how far apart these are in a session.</summary>
    /// <summary>An active party that has the scores breaks the session off, and has the run go on under labels of its choice, as often as it likes: it gets the bytes that it has, or nothing.</summary>
    /// <param name="rate">The label's declared rate: with one, nothing that is charged follows from labels.</param>
    /// <param name="evaluation">With the noise of final weights, or without.</param>
    [Theory]
    [InlineData(.5, EvaluationDisclosure.None)]
    [InlineData(null, EvaluationDisclosure.None)]
    [InlineData(.5, EvaluationDisclosure.Charged)]
    public async Task Audit_RunThatGoesOnUnderOtherLabels_HasOneNoiseAndOneCharge(double? rate, EvaluationDisclosure evaluation)
    {
        GlmJob job = Job("binomial", PrivacyMode.OneRound, new(1, 1e-3), new(1, 1e-3), evaluation);
        job = job with { Privacy = job.Privacy with { OneRound = job.Privacy.OneRound with { LabelRate = rate } } };
        (KeepingLedger ledger, InMemoryRunStore store) = (new(), new());
        var heard = new HashSet<string>();
        byte[][] labels = [Labels, [.. Labels.Select(z => (byte)(1 - z))], new byte[16], [.. Enumerable.Repeat((byte)1, 16)]];
        int refused = 0;
        foreach (byte[] chosen in labels)
        {
            var party = new GlmTrainer(job, Input("passive", Rows(false), null, job) with { Ledger = ledger, Runs = store });
            (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("active", "passive");
            ResumeOffer? offer = party.JoinRequest.Resume;
            Assert.Equal(heard.Count == 0 && refused == 0, offer is null);
            Task<GlmPartyResult> training = party.TrainAsync(Agreement(party.Terms, party.JoinRequest) with { Resume = offer is null ? null : new(offer.SessionId, offer.Rounds[^1]) }, [own]);
            if (offer is null)
                await AlignAsync(peer);
            await peer.ReceiveAsync<Scalars>(0, 3);
            await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "script"));
            await peer.SendAsync(0, Disclosure.Unprotected(new RandomizedLabels(chosen), "script"));
            try
            {
                Scores scores = await peer.ReceiveAsync<Scores>(0, 16);
                heard.Add(Convert.ToHexString(scores.Lattice!.Packed.Span));
                await peer.DisposeAsync();
            }
            catch (PeerException)
            {
                // The charge has other terms.
                refused++;
            }

            await Assert.ThrowsAnyAsync<Exception>(() => training);
            if (refused > 0)
                break;
        }

        output.WriteLine($"{heard.Count} contents heard, {refused} attempts refused");
        Assert.Single(heard);
        Assert.Equal(rate is null ? 1 : 0, refused);
        LedgerEntry charge = Assert.Single(ledger.Entries);
        Assert.Equal(1, charge.Share);
    }

    /// <summary>Any range, lattice and labels that an active party may declare, up to the ends of double numbers: two neighbouring tables that hear the same and draw the same noise send integers no farther apart than the noise allows, or nothing.</summary>
    /// <remarks>Draws are from a fixed seed, and the bound holds always: a failure is a fault.</remarks>
    [Theory]
    [InlineData("gaussian")]
    [InlineData("poisson")]
    public async Task Passive_AnyNumbersThatTheActivePartyDeclares_SendsNoMoreThanItsNoiseAllows(string family)
    {
        var random = new Random(11);
        (double largest, int sent, int refused) = (0, 0, 0);
        for (int trial = 0; trial < TestCounts.Of(150); trial++)
        {
            GlmJob job = Job(family, PrivacyMode.OneRound, new(12, 1e-3), new(12, 1e-3));
            job = job with { Privacy = job.Privacy with { TestNoiseSeed = trial } };
            double low = Signed(), high = low + Math.Pow(10, random.Next(10) == 0 ? random.Next(-300, 300) : random.Next(-6, 7)), step = Math.Pow(10, random.Next(10) == 0 ? random.Next(-300, 300) : random.Next(-9, 2));
            int bits = random.Next(2, 54);
            double most = Math.Pow(2, bits - 1) - 1;
            double[] labels = [.. Enumerable.Range(0, 16).Select(i => Math.Round(random.Next(3) switch { 0 => i < 8 ? most : -most, 1 => random.NextDouble() * most, _ => 0 }))];
            Scores?[] worlds = new Scores?[2];
            double mu = 0, sigma = 0;
            foreach (bool other in (bool[])[false, true])
            {
                var ledger = new InMemoryLedger();
                (Scores? scores, GlmPartyResult? result) = await OfDeclaredAsync(job, Rows(other), ledger, low, high, LatticeVector.Pack(labels, step, bits));
                worlds[other ? 1 : 0] = scores;
                if (scores is null)
                {
                    // Nothing has left, and nothing is paid for.
                    Assert.All(ledger.Entries, entry => Assert.Equal(0, entry.Share));
                    continue;
                }

                OneRoundCalibration calibration = result!.Privacy.OneRound!.Calibration!;
                (mu, sigma) = (calibration.Mu, calibration.ScoreNoise.Sigma);
            }

            // Whether anything is sent does not follow from rows.
            Assert.Equal(worlds[0] is null, worlds[1] is null);
            if (worlds is not [{ } one, { } two])
            {
                refused++;
                continue;
            }

            sent++;
            double distance = Math.Sqrt(one.Values.ToArray().Zip(two.Values.ToArray()).Sum(pair => Math.Pow((pair.First - pair.Second) / sigma, 2)));
            largest = Math.Max(largest, distance / mu);
            Assert.InRange(distance, 0, mu);
        }

        output.WriteLine($"{sent} sent, {refused} refused; largest distance {largest:F3} of what is allowed");
        Assert.True(sent > 20 && refused > 5 && largest > .5);

        double Signed() => (random.Next(2) == 0 ? -1 : 1) * (random.Next(3) == 0 ? 0 : Math.Pow(10, random.Next(10) == 0 ? random.Next(-300, 300) : random.Next(-6, 7)));
    }

    /// <summary>Predictions are in units of the label, whose range the active party declares: where weights in that unit overflowed for some rows and not for others, the ending would tell them apart without noise.</summary>
    [Theory]
    [InlineData(EvaluationDisclosure.None)]
    [InlineData(EvaluationDisclosure.Charged)]
    public async Task Passive_RangeAtTheEndOfTheNumbers_EndsTheSameWhateverTheRowsAre(EvaluationDisclosure evaluation)
    {
        GlmJob job = Job("gaussian", PrivacyMode.OneRound, new(12, 1e-3), new(12, 1e-3), evaluation);
        job = job with { Privacy = job.Privacy with { TestNoiseSeed = 1 } };
        const int Many = 400, Bits = 30;
        double most = Math.Pow(2, Bits - 1) - 1;
        double[] Features(bool other) => [.. Enumerable.Range(0, Many).Select(i => i == Changed && other ? -.2 : i < Many / 2 ? .2 : -.2)];
        var endings = new HashSet<bool>();
        // Weights are about 5 times the share, in quarters of the range: of the first range more than any number for some shares. One row moves them by half a hundredth. A range whose square is no number is refused before rows enter.
        foreach (double high in (double[])[1.7e308, 1e154])
            for (double share = .83; share < .86; share += .004)
            {
                LatticeVector labels = LatticeVector.Pack([.. Enumerable.Range(0, Many).Select(i => Math.Round((i < Many / 2 ? 1 + share : 1 - share) / 2 * most))], high / most, Bits);
                bool[] ends = [await EndsAsync(false), await EndsAsync(true)];
                Assert.True(ends[0] == ends[1], $"range to {high}, labels {share:F3} of it apart: the session ends for one table, and gives up for its neighbour");
                endings.Add(ends[0]);

                async Task<bool> EndsAsync(bool other) => (await OfDeclaredAsync(job, Features(other), new(), 0, high, labels)).Result is not null;
            }

        Assert.Equal(2, endings.Count);
    }

    /// <summary>A passive party's session with an active one that declares a range and labels of its choice: what it sends, and its result; null where it gives up.</summary>
    private static async Task<(Scores? Scores, GlmPartyResult? Result)> OfDeclaredAsync(GlmJob job, double[] x, InMemoryLedger ledger, double low, double high, LatticeVector labels)
    {
        var party = new GlmTrainer(job, Input("passive", x, null, job) with { Ledger = ledger });
        (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("active", "passive");
        Task<GlmPartyResult> training = party.TrainAsync(Agreement(party.Terms, party.JoinRequest), [own]);
        await AlignAsync(peer);
        await peer.ReceiveAsync<Scalars>(0, 3);
        await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "script"));
        await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { low, high }), "script"));
        await peer.SendAsync(0, Disclosure.Unprotected(new NoisyTargets(labels), "script"));
        Scores? scores = null;
        try
        {
            scores = await peer.ReceiveAsync<Scores>(0, x.Length);
            await peer.CompleteAsync();
            await peer.PeerCompletedAsync();
            return (scores, await training);
        }
        catch (PeerException e) when (e.Id == ProtocolErrors.PeerAborted)
        {
            await Assert.ThrowsAnyAsync<FedLearnException>(() => training);
            return (scores, null);
        }
    }

    private sealed class Errors
    {
        public long FalsePositives { get; private set; }

        public long FalseNegatives { get; private set; }

        private readonly double[] _expected = new double[2];

        /// <summary>The mu at which an attacker would be wrong as often as is expected in the world with more errors. Errors of unequal chances vary less than a binomial number of the same mean (Hoeffding 1956).</summary>
        public double Realised(int runs) => -2 * Statistics.Quantile(_expected.Max() / runs);

        public void Add(bool other, bool guess, double mu = 0)
        {
            _expected[other ? 1 : 0] += Statistics.Phi(-mu / 2);
            FalsePositives += !other && guess ? 1 : 0;
            FalseNegatives += other && !guess ? 1 : 0;
        }
    }

    private sealed record ThreeParties(byte[][] Labels, double[][] Scores, IReadOnlyList<GlmPartyResult> Results, InMemoryLedger[] Ledgers);

    /// <summary>One session of real parties, by what crosses between them.</summary>
    private static async Task<ThreeParties> ThreePartiesAsync(GlmJob job, bool[] turned)
    {
        InMemoryLedger[] ledgers = [new(), new(), new()];
        GlmTrainer[] parties = [.. job.Parties.Select((p, i) => new GlmTrainer(job, Input(p.Party.Name, Rows(turned[i]),
            i == 0 ? [.. Labels.Select((y, row) => row == Changed && turned[0] ? 1.0 - y : y)] : null, job) with { Ledger = ledgers[i] }))];
        (byte[][] labels, double[][] scores) = (new byte[2][], new double[2][]);
        IReadOnlyList<GlmPartyResult> results = await LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(t => t.JoinRequest)], new ChannelOptions(), (i, agreement, channels, stop) =>
            parties[i].TrainAsync(agreement, [.. channels.Select((channel, p) => new ChangedChannel(channel, payload =>
            {
                if (payload is RandomizedLabels heard)
                    labels[i - 1] = heard.Classes.ToArray();
                if (payload is Scores said)
                    scores[p] = said.Values.ToArray();
                return payload;
            }))], null, stop), TestContext.Current.CancellationToken);
        return new(labels, scores, results, ledgers);
    }

    private static async Task<(long FalsePositives, long FalseNegatives)> CountAsync(Func<bool, Task<bool>> guess, int? runs = null)
    {
        (long falsePositives, long falseNegatives) = (0, 0);
        for (int run = 0; run < (runs ?? Runs); run++)
        {
            falsePositives += await guess(false) ? 1 : 0;
            falseNegatives += await guess(true) ? 0 : 1;
        }

        return (falsePositives, falseNegatives);
    }

    private void AssertMu(double claimed, double truth, double share, long falsePositives, long falseNegatives, int? runs = null)
    {
        int trials = runs ?? Runs;
        double lower = AuditBound.Lower(falsePositives, falseNegatives, trials, FalseAlarm), reach = AuditBound.Reach(truth, trials, FalseAlarm);
        output.WriteLine($"mu claimed {claimed:F4}, realised without noise {truth:F4}, lower bound {lower:F4} from {trials} runs a world (at least {reach:F4} expected)");
        Assert.InRange(truth, share * claimed, claimed);
        Assert.InRange(lower, reach, claimed);
        Assert.True(reach > truth / 2, "too few runs for an audit that sees");
    }

    private void AssertEpsilon(RandomizedResponse response, long falsePositives, long falseNegatives, int? runs = null)
    {
        int trials = runs ?? Runs;
        double lower = Lower(falsePositives, falseNegatives, trials),
            reach = Lower(Statistics.BinomialUpperQuantile(trials, response.OtherProbability, FalseAlarm / 2), Statistics.BinomialUpperQuantile(trials, response.FlipProbability, FalseAlarm / 2), trials);
        output.WriteLine($"epsilon claimed {response.Epsilon:F4}, lower bound {lower:F4} from {trials} runs a world (at least {reach:F4} expected)");
        Assert.InRange(lower, reach, response.Epsilon);
        Assert.True(reach > response.Epsilon / 2, "too few runs for an audit that sees");
    }

    /// <summary>A lower bound on a pure epsilon from errors in two worlds.</summary>
    private static double Lower(long falsePositives, long falseNegatives, int runs) =>
        Math.Log((1 - Statistics.ClopperPearsonUpper(falseNegatives, runs, FalseAlarm / 2)) / Statistics.ClopperPearsonUpper(falsePositives, runs, FalseAlarm / 2));

    /// <summary>What the passive party would send without noise.</summary>
    private static (double[] Scores, double Weight) Silent(OneRoundParameters parameters, double[] x, byte[]? labels = null)
    {
        var response = new RandomizedResponse(labels is null ? 1 : Epsilon);
        double[] targets = [.. (labels ?? Labels).Select(z => parameters.Columns[0].Target(response.Debias(z == 1)))];
        NewtonResult fit = ClippedRidge.Fit(new LinearPart(new DenseMatrix(x.Length, 1, x), false), targets, parameters, 0);
        return ([.. fit.Scores.Select(score => Math.Clamp(score, -parameters.ScoreClip, parameters.ScoreClip))], fit.Weights[0]);
    }

    /// <summary>One session of a passive party against an attacker who sends the labels that it likes.</summary>
    private static async Task<(double[] Scores, GlmPartyResult Result)> PassiveAsync(GlmJob job, double[] x)
    {
        var party = new GlmTrainer(job, Input("passive", x, null, job));
        (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("active", "passive");
        Task<GlmPartyResult> training = party.TrainAsync(Agreement(party.Terms, party.JoinRequest), [own]);
        await AlignAsync(peer);
        await peer.ReceiveAsync<Scalars>(0, 3);
        await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "script"));
        await peer.SendAsync(0, Disclosure.Unprotected(new RandomizedLabels(Labels), "script"));
        double[] scores = (await peer.ReceiveAsync<Scores>(0, x.Length)).Values.ToArray();
        await peer.CompleteAsync();
        return (scores, await training);
    }

    /// <summary>What a passive party sends where its rows are predicted.</summary>
    private static async Task<double[]> PredictAsync(GlmJob job, double[] x, GlmModel model)
    {
        var party = new GlmPredictor(job, Input("passive", x, null, job), model);
        (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("active", "passive");
        Task<GlmPredictionResult> predicting = party.PredictAsync(Agreement(party.Terms, party.JoinRequest), [own]);
        await AlignAsync(peer);
        double[] scores = (await peer.ReceiveAsync<Scores>(0, x.Length)).Values.ToArray();
        await peer.CompleteAsync();
        await predicting;
        return scores;
    }

    private static async Task AlignAsync(InMemoryChannel peer)
    {
        HashedIds ids = await peer.ReceiveAsync<HashedIds>(0, null);
        await peer.SendAsync(0, Disclosure.Unprotected(new RowSelection(Enumerable.Repeat((byte)1, ids.Length).ToArray()), "script"));
    }

    /// <summary>Rows of the active party, and the scores that it is sent.</summary>
    private const int Few = 3;

    private static readonly double[] Said = [1, -2, 3];

    /// <summary>The labels that an active party sends. The changed row's label is given; its feature goes with it, since the claim is about the whole row.</summary>
    private static async Task<Payload> ActiveAsync(GlmJob job, double label, IPrivacyLedger? ledger = null)
    {
        (InMemoryChannel peer, Task<GlmPartyResult> training) = await BeginAsync(job, label, label, ledger);
        Payload labels;
        if (job.Model.Family.Name == "gaussian")
        {
            await peer.ReceiveAsync<Scalars>(0, 2);
            labels = await peer.ReceiveAsync<NoisyTargets>(0, Few);
        }
        else
        {
            labels = await peer.ReceiveAsync<RandomizedLabels>(0, Few);
        }

        await peer.SendAsync(0, Disclosure.Unprotected(new Scores(LatticeVector.Pack(new double[Few * job.Model.Family.Outputs], .01, 8)), "script"));
        await peer.CompleteAsync();
        await training;
        return labels;
    }

    /// <summary>All residuals that an active party sends, round after round. The changed row's label is given.</summary>
    private static async Task<double[]> ResidualsAsync(GlmJob job, double label, double[] said)
    {
        (InMemoryChannel peer, Task<GlmPartyResult> training) = await BeginAsync(job, label, 1);
        var heard = new List<double>();
        for (int round = 0; round < job.Training.Epochs; round++)
        {
            await peer.SendAsync(round, Disclosure.Unprotected(new Scores(said), "script"));
            heard.AddRange((await peer.ReceiveAsync<Residuals>(round, said.Length)).Values.ToArray());
        }

        await peer.CompleteAsync();
        await training;
        return [.. heard];
    }

    private static async Task<(InMemoryChannel Peer, Task<GlmPartyResult> Training)> BeginAsync(GlmJob job, double label, double feature, IPrivacyLedger? ledger = null)
    {
        double[] x = [.. Enumerable.Range(0, Few).Select(i => i == Changed ? feature / 8 : .5)], y = [.. Enumerable.Range(0, Few).Select(i => i == Changed ? label : i % 2)];
        GlmPartyInput input = Input("active", x, y, job) with { Ledger = ledger };
        var party = new GlmTrainer(job, input);
        (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("passive", "active");
        Task<GlmPartyResult> training = party.TrainAsync(Agreement(party.Terms, party.JoinRequest), [own]);
        await peer.SendAsync(0, Disclosure.Unprotected(new HashedIds(RowIds.Order(input.Table.Ids, job.Training.Seed).Digests), "script"));
        await peer.ReceiveAsync<RowSelection>(0, Few);
        await peer.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { Few, 0, (double)RowSplit.Fingerprint48(new bool[Few]) }), "script"));
        await peer.ReceiveAsync<Scalars>(0, 1);
        return (peer, training);
    }

    private static SessionAgreement Agreement(SessionTerms terms, JoinRequest request)
    {
        JoinedParty[] parties = [.. terms.Parties.Select(p => new JoinedParty(p.Name, request.SchemaFingerprint))];
        return new("scripted", SessionDesk.DigestOf(terms.TermsDigest, parties), parties);
    }

    /// <summary>Rows given in the order of the alignment, which is that of hashed ids.</summary>
    private static GlmPartyInput Input(string party, double[] x, double[]? y, GlmJob job)
    {
        string[] ids = [.. Enumerable.Range(0, x.Length).Select(i => $"row{i}")];
        int[] order = RowIds.Order(ids, job.Training.Seed).Rows;
        string[] sorted = [.. order.Select(row => ids[row])];
        return new() { Party = party, Table = Table.FromMatrix(sorted, ["x"], new DenseMatrix(x.Length, 1, x), y) };
    }
}
