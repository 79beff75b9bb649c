using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Aggregation;

public class SecureAggregationTests
{
    private static string Id(Action act) => Assert.ThrowsAny<FedLearnException>(act).Id;

    [Theory]
    [InlineData(ServerTrust.HonestButCurious)]
    [InlineData(ServerTrust.Active)]
    public void Open_NobodyFallsOut_IsTheIntegerSumExactly(ServerTrust trust)
    {
        using var attempt = new AggregationCase(7, 5, 1, trust: trust);
        AggregationSum sum = attempt.Run();
        Assert.Equal(attempt.PlainSum(attempt.Numbers), sum.Integers);
        Assert.Equal(attempt.Numbers, sum.Clients);
        Assert.Equal(sum.Integers.Select(integer => integer / 1048576.0), sum.Values());
    }

    [Theory]
    [InlineData(ServerTrust.HonestButCurious)]
    [InlineData(ServerTrust.Active)]
    public void Open_OneFallsOutBeforeEachStep_IsTheSumOfThoseThatUploaded(ServerTrust trust)
    {
        using var attempt = new AggregationCase(8, 5, 1, trust: trust);
        int[] all = attempt.Numbers;
        AggregationSum sum = attempt.Run(keys: [all[0]], shares: [all[3]], uploads: [all[5]]);
        int[] uploaded = [.. all.Except([all[0], all[3], all[5]])];
        Assert.Equal(uploaded, sum.Clients);
        Assert.Equal(attempt.PlainSum(uploaded), sum.Integers);
    }

    [Theory]
    [InlineData(ServerTrust.HonestButCurious)]
    [InlineData(ServerTrust.Active)]
    public void Open_OneFallsOutAfterItsUpload_IsStillInTheSum(ServerTrust trust)
    {
        using var attempt = new AggregationCase(7, 5, trust: trust);
        AggregationSum sum = attempt.Run(uploads: [attempt.Numbers[6]], reveals: [attempt.Numbers[2]]);
        Assert.Equal(attempt.PlainSum(attempt.Numbers[..6]), sum.Integers);
        Assert.Contains(attempt.Numbers[2], sum.Clients);
    }

    private static readonly Gen<(int Clients, int Threshold, int Colluders, ServerTrust Trust, int Seed)> Attempts =
        from clients in Gen.Choose(2, 9)
        from colluders in Gen.Choose(0, 2)
        from threshold in Gen.Choose(1, clients)
        where colluders < threshold && 2 * threshold > clients + colluders
        from trust in Gen.Elements(ServerTrust.HonestButCurious, ServerTrust.Active)
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (clients, threshold, colluders, trust, seed);

    [Fact]
    public void Open_AnySizesAndDropouts_IsThePlainSumOrEndsUnderTheThreshold() => Prop.ForAll(Attempts.ToArbitrary(), drawn =>
    {
        var random = new Random(drawn.Seed);
        using var attempt = new AggregationCase(drawn.Clients, drawn.Threshold, drawn.Colluders, random.Next(1, 30), drawn.Trust, seed: drawn.Seed);
        double chance = random.NextDouble() / 3;
        int[][] falls = [.. Enumerable.Range(0, 4).Select(_ => attempt.Numbers.Where(_ => random.NextDouble() < chance).ToArray())];
        int[][] left = new int[4][];
        for (int step = 0; step < 4; step++)
            left[step] = [.. (step == 0 ? attempt.Numbers : left[step - 1]).Except(falls[step])];
        if (left.Any(clients => clients.Length < drawn.Threshold))
        {
            Assert.Equal(AggregationErrors.TooFewClients, Assert.Throws<PeerException>(() => attempt.Run(falls[0], falls[1], falls[2], falls[3])).Id);
            return;
        }

        AggregationSum sum = attempt.Run(falls[0], falls[1], falls[2], falls[3]);
        Assert.Equal(left[2], sum.Clients);
        Assert.Equal(attempt.PlainSum(left[2]), sum.Integers);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(60)));

    [Fact]
    public void Open_MostClients_IsTheIntegerSumExactly()
    {
        using var attempt = new AggregationCase(AggregationRound.MostClients, 80, 20, length: 5);
        int[] late = [.. attempt.Numbers.Where(number => number % 5 == 0)];
        AggregationSum sum = attempt.Run(uploads: late);
        Assert.Equal(attempt.PlainSum(attempt.Numbers.Except(late)), sum.Integers);
    }

    [Fact]
    public void Open_SumsNearTheEndsOfTheRange_AreExact()
    {
        using var attempt = new AggregationCase(4, 3, length: 4);
        long quarter = long.MaxValue / 4;
        foreach (int client in attempt.Numbers)
            attempt.Inputs[client] = [quarter, -quarter, long.MinValue / 4, 1];
        Assert.Equal([4 * quarter, -4 * quarter, long.MinValue, 4], attempt.Run().Integers);
    }

    [Theory]
    [InlineData(129, 100, 0, AggregationErrors.RoundSize)]
    [InlineData(1, 1, 0, AggregationErrors.RoundSize)]
    [InlineData(10, 11, 0, AggregationErrors.Threshold)]
    [InlineData(10, 5, 0, AggregationErrors.Threshold)]
    [InlineData(10, 6, 2, AggregationErrors.Threshold)]
    [InlineData(3, 3, 3, AggregationErrors.Threshold)]
    [InlineData(10, 6, -1, AggregationErrors.Threshold)]
    public void Check_TermsThatPromiseNothing_AreRefused(int clients, int threshold, int colluders, string id)
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(AggregationCase.Terms(clients, threshold, colluders).Check);
        Assert.Equal(id, error.Id);
    }

    [Fact]
    public void Check_WrongTerms_AreRefused()
    {
        AggregationRound right = AggregationCase.Terms(4, 3);
        right.Check();
        AggregationRound[] wrong =
        [
            right with { JobDigest = new byte[31] }, right with { Round = -1 }, right with { Attempt = -1 }, right with { Step = 0 }, right with { Step = double.NaN },
            right with { Tensors = [] }, right with { Tensors = [new("", 1)] }, right with { Tensors = [new("a", 0)] }, right with { Tensors = [new("a", 1), new("a", 1)] },
            right with { Server = ServerTrust.Active }, right with { Tensors = [new("a", int.MaxValue), new("b", int.MaxValue)] },
        ];
        Assert.All(wrong, round => Assert.Equal(AggregationErrors.RoundTerms, Assert.Throws<ConfigurationException>(round.Check).Id));
    }

    [Fact]
    public void Roster_FewerThanTheThreshold_EndsTheAttempt()
    {
        using var attempt = new AggregationCase(5, 4);
        PeerException error = Assert.Throws<PeerException>(() => attempt.Keys(without: attempt.Numbers[..2]));
        Assert.Equal(AggregationErrors.TooFewClients, error.Id);
        Assert.Equal(4, error.ExitCode);
    }

    [Fact]
    public void AcceptUpload_AfterUnmask_IsRefusedAndStaysHidden()
    {
        using var attempt = new AggregationCase(5, 3, length: 20_000);
        int late = attempt.Numbers[4];
        AggregationMessage roster = attempt.Keys();
        attempt.Shares(roster);
        attempt.Upload(late: [late]);
        AggregationMessage list = attempt.Server.Unmask();
        Assert.Equal(AggregationErrors.TooLate, Id(() => attempt.Server.AcceptUpload(late, attempt.Uploads[late])));
        // What the server sees of every client's answer.
        var reveals = attempt.Server.Clients.ToDictionary(client => client, client => attempt.Clients[client].Reveal(list));
        foreach ((int client, AggregationMessage reveal) in reveals)
            attempt.Server.AcceptReveal(client, reveal);
        Assert.Equal(attempt.PlainSum(attempt.Numbers[..4]), attempt.Server.Open().Integers);
        Assert.Equal(AggregationErrors.TooLate, Id(() => attempt.Server.AcceptUpload(late, attempt.Uploads[late])));

        // No client helps to open it: neither those that answered nor the late one, with a list that has it or lacks it.
        var context = new AggregationContext(attempt.Round);
        AggregationMessage everybody = context.List(attempt.Numbers);
        Assert.All(attempt.Numbers[..4], client => Assert.Equal(AggregationErrors.BothShares, Id(() => attempt.Clients[client].Reveal(everybody))));
        Assert.All(attempt.Numbers[..4], client => Assert.Equal(AggregationErrors.SecondUnmask, Id(() => attempt.Clients[client].Reveal(list))));
        Assert.Equal(AggregationErrors.ListWithoutMe, Id(() => attempt.Clients[late].Reveal(list)));

        // With the mask key that was opened the pairwise masks fall, and the self-mask stays: nobody gave a share of it. Of 20,000 words none equals its input, and
        // |r| < 6 / sqrt(20,000) fails once in 5e8 runs (fresh randomness).
        ulong[] opened = [.. AggregationCase.Words(attempt.Uploads[late]).Select(word => unchecked((ulong)word))];
        byte[] secret = Opened(context, reveals, late, selfMask: false, attempt.Numbers, attempt.Round.Threshold)!;
        Assert.Null(Opened(context, reveals, late, selfMask: true, attempt.Numbers, attempt.Round.Threshold));
        ClientKeys[] keys = context.ReadRoster(roster, "test");
        byte[] shared = new byte[32];
        foreach (ClientKeys other in keys.Where(other => other.Client != late))
        {
            AgreementPair.Agree(secret, other.Masking.Span, shared, "test");
            context.PairMask(shared, context.RosterDigest(keys), late, other.Client, takeAway: true, opened);
        }

        long[] words = [.. opened.Select(word => unchecked((long)word))];
        Assert.DoesNotContain(true, words.Zip(attempt.Inputs[late], (word, input) => word == input));
        Assert.InRange(AggregationCase.Correlation(words, attempt.Inputs[late]), -0.0425, 0.0425);
    }

    /// <summary>A secret of a client from what others revealed; null when fewer than the threshold gave a share of it.</summary>
    private static byte[]? Opened(AggregationContext context, IReadOnlyDictionary<int, AggregationMessage> reveals, int client, bool selfMask, int[] numbers, int threshold)
    {
        var shares = new List<(int Point, ReadOnlyMemory<byte> Share)>();
        foreach ((int from, AggregationMessage reveal) in reveals)
            foreach ((int of, bool kind, ReadOnlyMemory<byte> share) in context.ReadReveal(reveal, "test"))
                if (of == client && kind == selfMask)
                    shares.Add((Array.IndexOf(numbers, from) + 1, share));
        if (shares.Count < threshold)
            return null;
        byte[] secret = new byte[32];
        (int Point, ReadOnlyMemory<byte> Share)[] used = [.. shares.Take(threshold)];
        Assert.True(ShamirSharing.Combine(ShamirSharing.Coefficients([.. used.Select(share => share.Point)]), [.. used.Select(share => share.Share)], secret));
        return secret;
    }

    [Fact]
    public void Reveal_SecondRequest_IsRefused()
    {
        using var attempt = new AggregationCase(5, 3);
        attempt.Shares(attempt.Keys());
        attempt.Upload();
        int first = attempt.Numbers[0];
        var context = new AggregationContext(attempt.Round);
        attempt.Clients[first].Reveal(context.List(attempt.Numbers));
        PrivacyRefusedException error = Assert.Throws<PrivacyRefusedException>(() => attempt.Clients[first].Reveal(context.List(attempt.Numbers)));
        Assert.Equal(AggregationErrors.SecondUnmask, error.Id);
        Assert.Equal(5, error.ExitCode);
        Assert.Equal(AggregationErrors.BothShares, Id(() => attempt.Clients[first].Reveal(context.List(attempt.Numbers[..4]))));
    }

    [Fact]
    public void Reveal_ListThatIsNoHonestOne_IsRefusedAndCanBeAskedAgainRightly()
    {
        using var attempt = new AggregationCase(6, 4);
        int[] all = attempt.Numbers;
        attempt.Shares(attempt.Keys(), without: [all[5]]);
        attempt.Upload();
        var context = new AggregationContext(attempt.Round);
        SecureAggregationClient client = attempt.Clients[all[0]];
        Assert.Equal(AggregationErrors.ListRefused, Id(() => client.Reveal(context.List(all[..3]))));
        Assert.Equal(AggregationErrors.ListRefused, Id(() => client.Reveal(context.List(all))));
        Assert.Equal(AggregationErrors.ListRefused, Id(() => client.Reveal(context.List([.. all[..4], 999]))));
        Assert.Equal(AggregationErrors.ListWithoutMe, Id(() => client.Reveal(context.List(all[1..5]))));
        Assert.Equal(AggregationErrors.Malformed, Id(() => client.Reveal(context.List([all[0], all[0], all[1], all[2]]))));
        Assert.Equal(AggregationErrors.UnexpectedStep, Id(() => client.Reveal(new(AggregationStep.Consents, context.List(all[..5]).Bytes))));
        client.Reveal(context.List(all[..5]));
    }

    [Fact]
    public void Reveal_OneKindOfShareForEveryClient_NeverBoth()
    {
        using var attempt = new AggregationCase(6, 4);
        int[] all = attempt.Numbers;
        attempt.Shares(attempt.Keys());
        attempt.Upload(without: [all[1]]);
        AggregationMessage list = attempt.Server.Unmask();
        var context = new AggregationContext(attempt.Round);
        (int Client, bool SelfMask, ReadOnlyMemory<byte> Share)[] shares = context.ReadReveal(attempt.Clients[all[0]].Reveal(list), "test");
        Assert.Equal(all, shares.Select(share => share.Client));
        Assert.All(shares, share => Assert.Equal(share.Client != all[1], share.SelfMask));
        Assert.Equal(AggregationErrors.BothShares, Id(() => attempt.Clients[all[0]].Reveal(context.List(all))));
    }

    [Fact]
    public void Upload_SecondVector_IsRefused()
    {
        using var attempt = new AggregationCase(4, 3);
        attempt.Shares(attempt.Keys());
        attempt.Upload();
        int first = attempt.Numbers[0];
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => attempt.Clients[first].Upload(attempt.Deliveries[first], new long[40], "again")));
        Assert.Equal(AggregationErrors.AnsweredTwice, Id(() => attempt.Server.AcceptUpload(first, attempt.Uploads[first])));
    }

    [Fact]
    public void Begin_RepeatedOrEarlierAttempt_IsRefused()
    {
        AggregationRound round = AggregationCase.Terms(4, 3);
        using var client = new SecureAggregationClient(2);
        client.Begin(round with { Attempt = 1 });
        Assert.Equal((5, 1), client.LastAttempt);
        Assert.Equal(AggregationErrors.UsedAgain, Assert.Throws<PrivacyRefusedException>(() => client.Begin(round with { Attempt = 1 })).Id);
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => client.Begin(round)));
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => client.Begin(round with { Round = 4, Attempt = 9 })));
        client.Begin(round with { Attempt = 2 });
        client.Begin(round with { Round = 6 });
        using var restarted = new SecureAggregationClient(2, last: client.LastAttempt);
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => restarted.Begin(round with { Round = 6 })));
    }

    [Fact]
    public void Begin_NextAttempt_HasOtherKeysAndRefusesMessagesOfTheLast()
    {
        using var attempt = new AggregationCase(3, 2);
        AggregationMessage roster = attempt.Keys();
        int first = attempt.Numbers[0];
        AggregationMessage again = attempt.Clients[first].Begin(attempt.Round with { Attempt = 1 });
        var before = new AggregationContext(attempt.Round);
        var after = new AggregationContext(attempt.Round with { Attempt = 1 });
        ClientKeys next = after.ReadKeys(again, "test");
        ClientKeys last = before.ReadRoster(roster, "test")[0];
        Assert.False(next.Encryption.Span.SequenceEqual(last.Encryption.Span));
        Assert.False(next.Masking.Span.SequenceEqual(last.Masking.Span));
        Assert.Equal(AggregationErrors.OtherAttempt, Id(() => attempt.Clients[first].Share(roster)));
    }

    [Fact]
    public void Share_RosterThatIsNotHonest_IsRefused()
    {
        using var attempt = new AggregationCase(4, 3);
        var context = new AggregationContext(attempt.Round);
        ClientKeys[] honest = context.ReadRoster(attempt.Keys(), "test");
        SecureAggregationClient client = attempt.Clients[honest[0].Client];
        ClientKeys[][] wrong =
        [
            honest[..2], honest[1..], [honest[0] with { Masking = honest[1].Masking }, .. honest[1..]], [.. honest[..3], honest[3] with { Masking = honest[2].Masking }],
            [.. honest[..3], honest[3] with { Encryption = honest[2].Encryption }],
        ];
        Assert.All(wrong, roster => Assert.Equal(AggregationErrors.BadRoster, Id(() => client.Share(context.Roster(roster)))));
        Assert.Equal(AggregationErrors.UnusableKey, Id(() => client.Share(context.Roster([.. honest[..3], honest[3] with { Encryption = new byte[32] }]))));
        Assert.Equal(AggregationErrors.UnexpectedStep, Id(() => client.Share(context.Roster(honest))));
    }

    // The server shows three clients a mask key of low order for the fourth, and the fourth its own.
    [Fact]
    public void Upload_MaskKeyOfLowOrder_IsRefused()
    {
        using var attempt = new AggregationCase(4, 3);
        var context = new AggregationContext(attempt.Round);
        ClientKeys[] honest = context.ReadRoster(attempt.Keys(), "test");
        ClientKeys[] hostile = [.. honest[..3], honest[3] with { Masking = new byte[32] }];
        int first = honest[0].Client;
        var delivered = new List<(int, ReadOnlyMemory<byte>)>();
        foreach (int client in attempt.Numbers)
        {
            AggregationMessage shares = attempt.Clients[client].Share(context.Roster(client == honest[3].Client ? honest : hostile));
            if (client != first)
                delivered.Add((client, context.ReadCiphertexts(shares, AggregationStep.Shares, "test").Single(share => share.Client == first).Ciphertext));
        }

        AggregationMessage delivery = context.Ciphertexts(AggregationStep.Delivery, delivered);
        Assert.Equal(AggregationErrors.UnusableKey, Id(() => attempt.Clients[first].Upload(delivery, new long[40], "test")));
        Assert.Equal(AggregationErrors.UsedAgain, Id(() => attempt.Clients[first].Upload(delivery, new long[40], "test")));
    }

    [Fact]
    public void Upload_ChangedOrMisdeliveredShare_IsNotRevealed()
    {
        foreach (bool misdelivered in (bool[])[false, true])
        {
            using var attempt = new AggregationCase(4, 3);
            attempt.Shares(attempt.Keys());
            var context = new AggregationContext(attempt.Round);
            int first = attempt.Numbers[0], second = attempt.Numbers[1];
            var own = context.ReadCiphertexts(attempt.Deliveries[first], AggregationStep.Delivery, "test");
            byte[] changed = own[0].Ciphertext.ToArray();
            changed[70] ^= 0x10;
            own[0].Ciphertext = misdelivered ? context.ReadCiphertexts(attempt.Deliveries[second], AggregationStep.Delivery, "test")[1].Ciphertext : changed;
            SecureAggregationClient client = attempt.Clients[first];
            attempt.Server.AcceptUpload(first, client.Upload(context.Ciphertexts(AggregationStep.Delivery, own), attempt.Inputs[first], "test").Payload);
            Assert.Equal(AggregationErrors.UsedAgain, Id(() => client.Upload(attempt.Deliveries[first], new long[40], "test")));
            attempt.Upload(without: [first]);
            AggregationMessage list = attempt.Server.Unmask();
            AggregationMessage revealed = client.Reveal(list);
            Assert.Equal([first, .. attempt.Numbers[2..]], context.ReadReveal(revealed, "test").Select(share => share.Client));
            attempt.Server.AcceptReveal(first, revealed);
            foreach (int other in attempt.Numbers[1..])
                attempt.Server.AcceptReveal(other, attempt.Clients[other].Reveal(list));
            Assert.Empty(attempt.Server.Unopened);
            Assert.Equal(attempt.PlainSum(attempt.Numbers), attempt.Server.Open().Integers);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Open_SharesThatTooFewCanOpen_NamesTheClient(bool uploads)
    {
        using var attempt = new AggregationCase(4, 3);
        attempt.Shares(attempt.Keys());
        var context = new AggregationContext(attempt.Round);
        int bad = attempt.Numbers[3];
        foreach (int client in attempt.Numbers.Where(client => client != bad || uploads))
        {
            var ciphertexts = context.ReadCiphertexts(attempt.Deliveries[client], AggregationStep.Delivery, "test");
            for (int i = 0; i < ciphertexts.Length; i++)
                if (ciphertexts[i].Client == bad)
                    ciphertexts[i].Ciphertext = new byte[ciphertexts[i].Ciphertext.Length];
            attempt.Server.AcceptUpload(client, attempt.Clients[client].Upload(context.Ciphertexts(AggregationStep.Delivery, ciphertexts), attempt.Inputs[client], "test").Payload);
        }

        attempt.Reveal(attempt.Server.Unmask());
        Assert.Equal([bad], attempt.Server.Unopened);
        PeerException error = Assert.Throws<PeerException>(() => attempt.Server.Open());
        Assert.Equal(AggregationErrors.ShareTampered, error.Id);
        Assert.Contains($"client {bad}", error.Place, StringComparison.Ordinal);
    }

    [Fact]
    public void Decrypt_NumbersThatAreNoShares_AreLeftOut()
    {
        var context = new AggregationContext(AggregationCase.Terms(4, 3));
        using var sender = new AgreementPair();
        using var receiver = new AgreementPair();
        byte[] share = new byte[ShamirSharing.ShareBytes], none = [.. Enumerable.Repeat((byte)0xFF, ShamirSharing.ShareBytes)], read = new byte[2 * ShamirSharing.ShareBytes];
        share[0] = 7;
        Assert.True(context.Decrypt(receiver, 1, 2, sender.PublicKey, context.Encrypt(sender, 1, 2, receiver.PublicKey, share, share, "test"), read, "test"));
        Assert.Equal([.. share, .. share], read);
        foreach ((byte[] key, byte[] self) in new[] { (none, share), (share, none) })
        {
            Assert.False(context.Decrypt(receiver, 1, 2, sender.PublicKey, context.Encrypt(sender, 1, 2, receiver.PublicKey, key, self, "test"), read, "test"));
            Assert.Equal(new byte[2 * ShamirSharing.ShareBytes], read);
        }
    }

    [Fact]
    public void Open_WrongShare_IsFoundAndOpensNothing()
    {
        using var attempt = new AggregationCase(4, 3);
        attempt.Shares(attempt.Keys());
        attempt.Upload(without: [attempt.Numbers[3]]);
        AggregationMessage list = attempt.Server.Unmask();
        var context = new AggregationContext(attempt.Round);
        foreach (int client in attempt.Server.Clients)
        {
            var shares = context.ReadReveal(attempt.Clients[client].Reveal(list), "test");
            if (client == attempt.Numbers[1])
                shares[0].Share = shares[1].Share;
            attempt.Server.AcceptReveal(client, context.Reveal(shares));
        }

        Assert.Equal(AggregationErrors.SharesDisagree, Id(() => attempt.Server.Open()));
    }

    // Every client would refuse the roster that it stands in, and leave the job.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AcceptKeys_KeyOfLowOrder_IsRefusedAndTheRoundGoesOn(bool masking)
    {
        using var attempt = new AggregationCase(4, 3);
        int first = attempt.Numbers[0];
        var context = new AggregationContext(attempt.Round);
        ClientKeys keys = context.ReadKeys(attempt.Clients[first].Begin(attempt.Round), "test"), wrong = masking ? keys with { Masking = new byte[32] } : keys with { Encryption = new byte[32] };
        Assert.Equal(AggregationErrors.UnusableKey, Id(() => attempt.Server.AcceptKeys(first, context.Keys(wrong))));
        Assert.Equal(attempt.PlainSum(attempt.Numbers[1..]), attempt.Run(keys: [first]).Integers);
    }

    [Fact]
    public void Accept_WrongClientTwiceOrLate_IsRefusedAndTheRoundGoesOn()
    {
        using var attempt = new AggregationCase(4, 3);
        int[] all = attempt.Numbers;
        AggregationMessage keys = attempt.Clients[all[0]].Begin(attempt.Round);
        Assert.Equal(AggregationErrors.UnknownClient, Id(() => attempt.Server.AcceptKeys(all[1], keys)));
        Assert.Equal(AggregationErrors.UnexpectedStep, Id(() => attempt.Server.AcceptShares(all[0], keys)));
        attempt.Server.AcceptKeys(all[0], keys);
        Assert.Equal(AggregationErrors.AnsweredTwice, Id(() => attempt.Server.AcceptKeys(all[0], keys)));
        AggregationMessage roster = attempt.Keys(without: [all[0]]);
        Assert.Equal(AggregationErrors.TooLate, Id(() => attempt.Server.AcceptKeys(all[0], keys)));
        Assert.Equal(AggregationErrors.UnknownClient, Id(() => attempt.Server.AcceptShares(999, keys)));
        foreach (int client in all)
            attempt.Server.AcceptShares(client, attempt.Clients[client].Share(roster));
        IReadOnlyDictionary<int, AggregationMessage> deliveries = attempt.Server.Deliveries();
        foreach (int client in all[1..])
            attempt.Server.AcceptUpload(client, attempt.Clients[client].Upload(deliveries[client], attempt.Inputs[client], "test").Payload);
        Assert.Equal(AggregationErrors.WrongVector, Id(() => attempt.Server.AcceptUpload(all[0], new MaskedVector(new byte[8], attempt.Round.Step))));
        Assert.Equal(AggregationErrors.WrongVector, Id(() => attempt.Server.AcceptUpload(all[0], new MaskedVector(new byte[320], 1))));
        attempt.Reveal(attempt.Server.Unmask());
        Assert.Equal(attempt.PlainSum(all[1..]), attempt.Server.Open().Integers);
    }

    // Ten lists of 7 out of 10: six clients are on every list, the others on at most three, so that of each of those at least seven leave it out.
    private static int[][] SplitLists(int[] all)
    {
        int[] extra = [6, 7, 8, 9, 6, 7];
        return [.. Enumerable.Range(0, 10).Select(i => (int[])[.. all[..6], all[i < 6 ? extra[i] : i]])];
    }

    // The attack that the claim leaves out: a server that sends every client another list opens the sum of six, below the threshold of seven. It shows why the claim
    // says "honest but curious".
    [Fact]
    public void SplitView_HonestButCuriousRules_OpenASumBelowTheThreshold()
    {
        using var attempt = new AggregationCase(10, 7, length: 12);
        int[] all = attempt.Numbers;
        AggregationMessage roster = attempt.Keys();
        attempt.Shares(roster);
        attempt.Upload();
        var context = new AggregationContext(attempt.Round);
        int[][] lists = SplitLists(all);
        var reveals = Enumerable.Range(0, 10).ToDictionary(i => all[i], i => attempt.Clients[all[i]].Reveal(context.List(lists[i])));

        ClientKeys[] keys = context.ReadRoster(roster, "test");
        byte[] digest = context.RosterDigest(keys), shared = new byte[32];
        ulong[] sum = new ulong[attempt.Round.Length];
        foreach (int victim in all[..6])
        {
            SumMasking.AddTo(sum, attempt.Uploads[victim]);
            context.SelfMask(Opened(context, reveals, victim, selfMask: true, all, 7)!, digest, victim, takeAway: true, sum);
            foreach (int other in all[6..])
            {
                AgreementPair.Agree(Opened(context, reveals, other, selfMask: false, all, 7)!, Array.Find(keys, key => key.Client == victim)!.Masking.Span, shared, "test");
                context.PairMask(shared, digest, victim, other, takeAway: true, sum);
            }
        }

        Assert.Equal(attempt.PlainSum(all[..6]), sum.Select(word => unchecked((long)word)));
    }

    [Fact]
    public void SplitView_ActiveServer_NobodyRevealsAnything()
    {
        using var attempt = new AggregationCase(10, 7, length: 12, trust: ServerTrust.Active);
        int[] all = attempt.Numbers;
        attempt.Shares(attempt.Keys());
        attempt.Upload();
        var context = new AggregationContext(attempt.Round);
        int[][] lists = SplitLists(all);
        (int Client, ReadOnlyMemory<byte> Signature)[] consents = [.. Enumerable.Range(0, 10).Select(i =>
        {
            AggregationMessage consent = attempt.Clients[all[i]].Consent(context.List(lists[i]));
            return (all[i], consent.Bytes[^Sodium.SignatureBytes..]);
        })];
        for (int i = 0; i < 10; i++)
        {
            SecureAggregationClient client = attempt.Clients[all[i]];
            // All signatures are of other lists; those of the same list are too few; a second list is not signed.
            var listed = consents.Where(consent => lists[i].Contains(consent.Client)).ToArray();
            Assert.Equal(AggregationErrors.BadSignature, Id(() => client.Reveal(context.Consents(listed))));
            var same = Enumerable.Range(0, 10).Where(j => lists[j].SequenceEqual(lists[i])).Select(j => consents[j]).Where(consent => lists[i].Contains(consent.Client)).ToArray();
            Assert.InRange(same.Length, 1, 6);
            Assert.Equal(AggregationErrors.TooFewConsents, Id(() => client.Reveal(context.Consents(same))));
            Assert.Equal(AggregationErrors.SecondUnmask, Id(() => client.Consent(context.List(all))));
            Assert.Equal(AggregationErrors.UnexpectedStep, Id(() => client.Reveal(context.List(lists[i]))));
        }
    }

    /// <summary>A server that gives all others a model at which nobody's update is anything would open the sum of one.</summary>
    [Fact]
    public void ActiveServer_KeysOfClientsWithAnotherModel_AreRefused()
    {
        EnrolmentKey[] enrolment = [.. Enumerable.Range(0, 3).Select(_ => EnrolmentKey.Create())];
        AggregationRound round = AggregationCase.Terms(3, 2) with
        {
            Server = ServerTrust.Active,
            EnrolmentKeys = enrolment.Index().ToDictionary(e => e.Index, e => e.Item.PublicKey),
            ModelDigest = new byte[32],
        };
        ClientKeys[] Keys(AggregationRound others, SecureAggregationClient victim)
        {
            var (own, theirs) = (new AggregationContext(round), new AggregationContext(others));
            List<ClientKeys> roster = [own.ReadKeys(victim.Begin(round), "test")];
            foreach (int client in new[] { 1, 2 })
            {
                using var other = new SecureAggregationClient(client, enrolment[client]);
                roster.Add(theirs.ReadKeys(other.Begin(others), "test"));
            }

            return [.. roster];
        }

        using SecureAggregationClient same = new(0, enrolment[0]), alone = new(0, enrolment[0]);
        Assert.Equal(AggregationStep.Shares, same.Share(new AggregationContext(round).Roster(Keys(round, same))).Step);
        Assert.Equal(AggregationErrors.BadSignature, Id(() => alone.Share(new AggregationContext(round).Roster(Keys(round with { ModelDigest = Enumerable.Repeat((byte)1, 32).ToArray() }, alone)))));
        foreach (EnrolmentKey key in enrolment)
            key.Dispose();
    }

    [Fact]
    public void ActiveServer_KeysItMadeItself_AreRefused()
    {
        using var attempt = new AggregationCase(4, 3, trust: ServerTrust.Active);
        var context = new AggregationContext(attempt.Round);
        ClientKeys[] roster = context.ReadRoster(attempt.Keys(), "test");
        using var servers = new AgreementPair();
        SecureAggregationClient client = attempt.Clients[roster[0].Client];
        Assert.Equal(AggregationErrors.BadSignature, Id(() => client.Share(context.Roster([.. roster[..3], roster[3] with { Masking = servers.PublicKey }]))));
        Assert.Equal(AggregationErrors.BadSignature, Id(() => client.Share(context.Roster([.. roster[..3], roster[3] with { Signature = roster[2].Signature }]))));
        Assert.Equal(AggregationErrors.UnknownClient, Id(() => client.Share(context.Roster([.. roster[..3], roster[3] with { Client = 999 }]))));
        Assert.Equal(AggregationErrors.UnexpectedStep, Id(() => attempt.Clients[roster[1].Client].Consent(context.List(attempt.Numbers))));
    }

    // A signature of the last attempt's list does not serve the next.
    [Fact]
    public void ActiveServer_SecondAnswer_IsRefused()
    {
        using var attempt = new AggregationCase(4, 3, trust: ServerTrust.Active);
        attempt.Shares(attempt.Keys());
        attempt.Upload();
        AggregationMessage list = attempt.Server.Unmask();
        attempt.Reveal(list);
        SecureAggregationClient client = attempt.Clients[attempt.Numbers[0]];
        var context = new AggregationContext(attempt.Round);
        Assert.Equal(AggregationErrors.SecondUnmask, Id(() => client.Consent(list)));
        Assert.Equal(AggregationErrors.BothShares, Id(() => client.Consent(context.List(attempt.Numbers[..3]))));
        Assert.Equal(AggregationErrors.SecondUnmask, Id(() => client.Reveal(context.Consents([]))));
        Assert.Equal(attempt.PlainSum(attempt.Numbers), attempt.Server.Open().Integers);
    }

    [Fact]
    public void Begin_ActiveServerWithoutOwnKey_IsRefused()
    {
        using var attempt = new AggregationCase(4, 3, trust: ServerTrust.Active);
        using var stranger = EnrolmentKey.Create();
        using var without = new SecureAggregationClient(attempt.Numbers[0]);
        using var wrong = new SecureAggregationClient(attempt.Numbers[0], stranger);
        Assert.Equal(AggregationErrors.RoundTerms, Id(() => without.Begin(attempt.Round)));
        Assert.Equal(AggregationErrors.RoundTerms, Id(() => wrong.Begin(attempt.Round)));
    }

    // Masks are fresh in every run, so the bound has a false-alarm rate and no seed: |r| is normal with deviation 1/sqrt(40,000), and 6 deviations are 2e-9.
    [Fact]
    public void Upload_MaskedVector_IsNotCorrelatedWithItsInput()
    {
        using var attempt = new AggregationCase(3, 2, length: 40_000);
        var random = new Random(3);
        int first = attempt.Numbers[0];
        attempt.Inputs[first] = [.. Enumerable.Range(0, 40_000).Select(_ => (long)((random.NextDouble() - 0.5) * (1 << 20)))];
        attempt.Run();
        Assert.InRange(AggregationCase.Correlation(attempt.Inputs[first], AggregationCase.Words(attempt.Uploads[first])), -0.03, 0.03);
    }

    [Fact]
    public void PairMask_AnyBindingChanged_IsAnother()
    {
        AggregationRound round = AggregationCase.Terms(4, 3, length: 8) with { Tensors = [new("a", 8)] };
        byte[] job = round.JobDigest.ToArray();
        job[31] ^= 1;
        AggregationRound[] rounds =
        [
            round, round with { JobDigest = job }, round with { Round = 6 }, round with { Attempt = 1 }, round with { ModelVersion = 5 }, round with { ModelDigest = job }, round with { Tensors = [new("b", 8)] },
        ];
        byte[] shared = [.. Enumerable.Repeat((byte)9, 32)], digest = new byte[32], otherDigest = [1, .. new byte[31]];
        var masks = new List<ulong[]>();
        foreach (AggregationRound terms in rounds)
        {
            masks.Add(new ulong[8]);
            new AggregationContext(terms).PairMask(shared, digest, 1, 2, takeAway: false, masks[^1]);
            masks.Add(new ulong[8]);
            new AggregationContext(terms).SelfMask(shared, digest, 1, takeAway: false, masks[^1]);
        }

        masks.Add(new ulong[8]);
        new AggregationContext(round).PairMask(shared, digest, 1, 3, takeAway: false, masks[^1]);
        masks.Add(new ulong[8]);
        new AggregationContext(round).PairMask(shared, otherDigest, 1, 2, takeAway: false, masks[^1]);
        ulong[] words = [.. masks.SelectMany(mask => mask)];
        Assert.Equal(words.Length, words.Distinct().Count());

        // The same terms give the same mask, and the other side takes it away.
        ulong[] back = [.. masks[0]];
        new AggregationContext(round).PairMask(shared, digest, 2, 1, takeAway: false, back);
        Assert.All(back, word => Assert.Equal(0UL, word));
    }

    [Fact]
    public void Upload_ReleasedUpdates_KeepTheirProtectionAndSumExactly()
    {
        using var attempt = new AggregationCase(3, 2, length: 6);
        attempt.Shares(attempt.Keys());
        var random = new Random(5);
        double[] expected = new double[6];
        long[] integers = new long[6];
        foreach (int client in attempt.Numbers)
        {
            double[] values = [.. Enumerable.Range(0, 6).Select(_ => random.NextDouble() * 2 - 1)];
            var lattice = LatticeVector.Of(values, AggregationRound.NoiselessStep, 1);
            long[] own = lattice.Integers();
            for (int i = 0; i < 6; i++)
                (integers[i], expected[i]) = (integers[i] + own[i], expected[i] + values[i]);
            Released<MaskedVector> masked = attempt.Clients[client].Upload(attempt.Deliveries[client], Disclosure.Unprotected(new ModelUpdate(lattice), "test"));
            Assert.Equal((Protection.None, "masked update"), (masked.Protection, masked.Name));
            attempt.Server.AcceptUpload(client, masked.Payload);
        }

        attempt.Reveal(attempt.Server.Unmask());
        AggregationSum sum = attempt.Server.Open();
        Assert.Equal(integers, sum.Integers);
        // Each of three roundings errs by half a step at most.
        Assert.All(sum.Values().Zip(expected), pair => Assert.InRange(pair.First - pair.Second, -1.5 * sum.Step, 1.5 * sum.Step));
    }

    [Fact]
    public void Upload_VectorOffTheRound_IsRefusedBeforeAnyMask()
    {
        using var attempt = new AggregationCase(3, 2, length: 3);
        attempt.Shares(attempt.Keys());
        int first = attempt.Numbers[0];
        SecureAggregationClient client = attempt.Clients[first];
        AggregationMessage delivery = attempt.Deliveries[first];
        Assert.Throws<ArgumentException>(() => client.Upload(delivery, new long[2], "test"));
        Assert.Throws<ArgumentException>(() => client.Upload(delivery, Disclosure.Unprotected(new ModelUpdate(new double[3]), "test")));
        Assert.Throws<ArgumentException>(() => client.Upload(delivery, Disclosure.Unprotected(new ModelUpdate(LatticeVector.Of(new double[3], 0.5, 1)), "test")));
        Assert.Equal(3, client.Upload(delivery, new long[3], "test").Payload.Length);
    }
}
