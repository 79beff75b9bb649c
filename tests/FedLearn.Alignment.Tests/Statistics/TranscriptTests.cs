using System.Security.Cryptography;
using FedLearn.Alignment.Tests.Hostile;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Statistics;

/// <summary>What a party sends tells nothing beyond the output: it looks like what a simulator without its ids draws.</summary>
/// <remarks>The parties draw from the system's generator, anew in every run. Every test here raises a false alarm with a probability of at most 1e-9: each of its k statistics at 1e-9 / k.
/// Chi-square statistics are held against k + 2 sqrt(k x) + 2 x, which a chi-square variable of k degrees passes with a probability of at most e^-x (Laurent and Massart 2000, lemma 1); counts of
/// fair bits against n / 2 +- sqrt(n x / 2) (Hoeffding); numbers of fixed points of a permutation, which are Poisson of mean 1, against 15 (passed with 2e-14).</remarks>
public sealed class TranscriptTests
{
    private const double FalseAlarm = 1e-9;
    private const int Most = 15;

    [Fact]
    public async Task Tags_OfIdsThatAreNotCommon_LookUniform()
    {
        // All ids are of one form and differ in a few digits. The peer knows its ids and its scalar: to it as well the tags of what is not common are noise.
        (string[] own, string[] theirs) = Duel.Ids(1000, 8192, 0);
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs);
        Assert.Equal(0, duel.Result!.Size);
        byte[][] tags = [.. duel.Peer.TheirTags];
        Assert.Equal(8192, tags.Length);
        LooksUniform(tags, duel.Peer.Width);
        // Nor do they depend on the row: those of the first half of the rows and those of the second are of one kind.
        int[] rows = [.. duel.Peer.Order.Select(id => Array.IndexOf(theirs, id))];
        LooksAlike([.. tags.Where((_, i) => rows[i] < 4096)], [.. tags.Where((_, i) => rows[i] >= 4096)]);
    }

    [Fact]
    public void LooksUniform_TagsOfACounter_AreFound()
    {
        // The statistics see what they are for: a first byte of which half the values never occur, and a last bit that is set twice in three times.
        ReferenceSodium.Require();
        byte[][] counters = [.. Enumerable.Range(0, 8192).Select(i => (byte[])[(byte)(i / 64), .. SHA256.HashData(BitConverter.GetBytes(i))[..7]])];
        LooksUniform([.. counters.Select(c => SHA256.HashData(c)[..8])], 8);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => LooksUniform(counters, 8));
        byte[][] leaning = [.. counters.Select((c, i) => (byte[])[.. SHA256.HashData(c)[..7], (byte)(SHA256.HashData(c)[7] | (i % 3 == 0 ? 1 : 0))])];
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => LooksUniform(leaning, 8));
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Points_AgainstASimulatorWithoutIds_LookAlike(PartyRole party)
    {
        // The simulator draws random elements of the group; common ids and others, in one sample.
        (string[] own, string[] theirs) = Duel.Ids(8192, 50, 50);
        Duel duel = await Duel.FightAsync(party, own, theirs);
        Assert.Equal(50, duel.Result!.Size);
        byte[][] simulated = [.. Enumerable.Range(0, 8192).Select(_ => ReferenceSodium.Map(RandomNumberGenerator.GetBytes(64)))];
        LooksAlike([.. duel.Peer.TheirPoints], simulated);
        Assert.All(duel.Peer.TheirPoints, point => Assert.True(ReferenceSodium.IsValid(point)));
    }

    [Fact]
    public void LooksAlike_PointsOfAnotherKind_AreFound()
    {
        // Plain random bytes are no encodings: their first and last bit tell, and with these two set right nothing does.
        ReferenceSodium.Require();
        byte[][] points = [.. Enumerable.Range(0, 4096).Select(_ => ReferenceSodium.Map(RandomNumberGenerator.GetBytes(64)))];
        byte[][] bytes = [.. Enumerable.Range(0, 4096).Select(_ => RandomNumberGenerator.GetBytes(32))];
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => LooksAlike(points, bytes));
        LooksAlike(points, [.. bytes.Select(b => (byte[])[(byte)(b[0] & 0xFE), .. b[1..31], (byte)(b[31] & 0x7F)])]);
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task Order_OfSentPoints_HasNothingToDoWithTheRows(PartyRole party)
    {
        // All ids are common: the peer's tags then show which point belongs to which row.
        const int Rows = 6000;
        (string[] own, string[] theirs) = Duel.Ids(Rows, Rows, Rows);
        int[] first = await RowsInOrderAsync(party, own, theirs), second = await RowsInOrderAsync(party, own, theirs);
        foreach (int[] rows in (int[][])[first, second])
        {
            Assert.Equal(Enumerable.Range(0, Rows), rows.Order());
            // Spearman's coefficient times sqrt(n - 1) is a standard normal number to order 1/n; 6.2 is passed with 6e-10, at six statistics 1e-9 / 2 each would be 6.1.
            double coefficient = 1 - 6 * rows.Select((row, i) => Math.Pow(row - i, 2)).Sum() / ((double)Rows * ((double)Rows * Rows - 1));
            Assert.InRange(coefficient * Math.Sqrt(Rows - 1), -6.4, 6.4);
            Assert.InRange(rows.Zip(rows.Skip(1)).Count(pair => pair.Second == pair.First + 1), 0, Most);   // neighbours stay neighbours as often as by chance
            Assert.InRange(rows.Where((row, i) => row == i).Count(), 0, Most);
            // The permutation is of the whole list and not of each chunk: of the 4,096 points in the first chunk a hypergeometric number comes from the first 4,096 rows.
            double mean = 4096.0 * 4096 / Rows, sigma = Math.Sqrt(mean * (1 - 4096.0 / Rows) * (Rows - 4096.0) / (Rows - 1));
            Assert.InRange(rows[..4096].Count(row => row < 4096), mean - 6.4 * sigma, mean + 6.4 * sigma);
        }

        Assert.InRange(first.Zip(second).Count(pair => pair.First == pair.Second), 0, Most);                // another one in every session
    }

    [Fact]
    public async Task Tag_OfOneId_IsAnotherInEverySession()
    {
        HashSet<string> points = [], tags = [], commitments = [];
        for (int session = 1; session <= 20; session++)
        {
            Duel duel = await Duel.FightAsync(PartyRole.Active, ["the same person"], ["the same person"]);
            Assert.Equal(1, duel.Result!.Size);
            points.Add(Convert.ToHexString(duel.Peer.TheirPoints[0]));
            points.Add(Convert.ToHexString(duel.Peer.OwnPoints[0]));
            tags.Add(Convert.ToHexString(duel.Peer.TheirTags[0]));
            commitments.Add(Convert.ToHexString(duel.Peer.TheirCommitment));
            Assert.Equal((2 * session, session, session), (points.Count, tags.Count, commitments.Count));
        }
    }

    [Fact]
    public async Task Dictionary_AgainstTheWire_FindsNothing_AndAgainstDigestsEverything()
    {
        // The attacker sees every byte of the wire, and knows the session, the seed and the job, and a dictionary that holds every id.
        const long Seed = 7;
        (string[] own, string[] theirs) = Duel.Ids(60, 50, 30);
        string[] dictionary = [.. own.Union(theirs), .. Enumerable.Range(0, 200).Select(i => $"somebody else {i}")];
        Duel duel = await Duel.FightAsync(PartyRole.Active, own, theirs);
        IReadOnlyList<Payload> wire = [.. duel.Channel.Sent, .. duel.Channel.Received];
        Assert.Empty(Attack(wire, dictionary, duel.Peer.Session, Seed, scalars: []));

        // The same attack with one party's scalar finds that party's ids: the guesses are those that would hit.
        Assert.Equal(theirs.Order(StringComparer.Ordinal), Attack(wire, dictionary, duel.Peer.Session, Seed, [duel.Peer.Scalar]).Order(StringComparer.Ordinal));

        // And on the digests of hashed alignment it needs nothing at all.
        (InMemoryChannel active, InMemoryChannel passive) = InMemoryChannel.CreatePair("bank", "clinic");
        var recording = new RecordingChannel(active);
        Task<int[]> hashing = HashedAlignment.PassiveAsync(theirs, Seed, passive, default);
        await HashedAlignment.ActiveAsync(own, Seed, [recording], default);
        await hashing;
        Assert.Equal(theirs.Order(StringComparer.Ordinal), Attack(recording.Received, dictionary, new byte[32], Seed, []).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(PartyRole.Active)]
    [InlineData(PartyRole.Passive)]
    public async Task SizeOnly_PositionsOfTags_CarryNothing(PartyRole party)
    {
        // The peer sends its common ids first, so that its own chunks tell them apart: the first 4,096 are common, the other 4,096 are not.
        const int Half = 4096;
        (string[] own, string[] theirs) = Duel.Ids(Half, 2 * Half, Half);
        foreach (PsiOutput output in (PsiOutput[])[PsiOutput.SizeOnly, PsiOutput.Both])
        {
            Duel duel = await Duel.FightAsync(party, own, theirs, new PsiOptions { Output = output, Log = new InMemoryAlignmentLog(TimeProvider.System) }, prepare: peer => peer.KeepsOrder = true);
            Assert.Equal(Half, duel.Result!.Size);
            HashSet<string> made = [.. duel.Peer.Made.Select(Convert.ToHexString)];
            bool[] common = [.. duel.Peer.TheirTags.Select(tag => made.Contains(Convert.ToHexString(tag)))];
            Assert.Equal(Half, common.Count(c => c));
            int inTheFirstChunk = common[..Half].Count(c => c);
            if (output == PsiOutput.Both)
            {
                Assert.Equal(Half, inTheFirstChunk);        // the control: here every tag stands in the place of its point
                continue;
            }

            double sigma = Math.Sqrt(Half / 4.0 * Half / (2.0 * Half - 1));       // hypergeometric: n/4 (N - n)/(N - 1) with N = 2 n
            Assert.InRange(inTheFirstChunk, Half / 2.0 - 6.4 * sigma, Half / 2.0 + 6.4 * sigma);
            // Changes from common to not along the list: as many as a fair order has, mean n + 1 - 1 of 2 n - 1 places, about normal.
            int changes = common.Zip(common.Skip(1)).Count(pair => pair.First != pair.Second);
            Assert.InRange(changes, Half - 6.4 * Math.Sqrt(Half / 2.0), Half + 6.4 * Math.Sqrt(Half / 2.0));
        }
    }

    /// <summary>Ids of the dictionary that some formula, with what the attacker knows, finds on the wire.</summary>
    private static string[] Attack(IReadOnlyList<Payload> wire, string[] dictionary, byte[] session, long seed, IReadOnlyList<byte[]> scalars)
    {
        HashSet<string> points = [.. wire.OfType<BlindedIds>().SelectMany(p => ReferencePsi.Items(p.Bytes, 32)).Select(Convert.ToHexString)];
        HashSet<string> digests = [.. wire.OfType<HashedIds>().SelectMany(p => ReferencePsi.Items(p.Digests, 32)).Select(Convert.ToHexString)];
        BlindedTags[] messages = [.. wire.OfType<BlindedTags>()];
        HashSet<string> tags = [.. messages.SelectMany(m => ReferencePsi.Items(m.Bytes, m.Bytes.Length / m.Length)).Select(Convert.ToHexString)];
        int width = messages.Length == 0 ? 8 : messages[0].Bytes.Length / messages[0].Length;
        byte[][] commitments = [.. wire.OfType<AlignmentMessage>().Where(m => m.Step == AlignmentStep.Commitment).Select(m => m.Bytes.ToArray())];
        return [.. dictionary.Where(id =>
        {
            byte[] uniform = ReferencePsi.Uniform(id, session), point = ReferenceSodium.Map(uniform);
            byte[][] guesses = [point, .. scalars.Select(scalar => ReferenceSodium.Multiply(scalar, point)!), .. commitments.Select(c => ReferenceSodium.Add(c, point))];
            return digests.Contains(Convert.ToHexString(RowIds.Digest(id, seed)))
                || Array.Exists(guesses, guess => points.Contains(Convert.ToHexString(guess)) || tags.Contains(Convert.ToHexString(ReferencePsi.Tag(session, guess, width))))
                || tags.Contains(Convert.ToHexString(SHA256.HashData(ReferencePsi.Encode(id))[..width])) || tags.Contains(Convert.ToHexString(RowIds.Digest(id, seed)[..width]))
                || points.Contains(Convert.ToHexString(RowIds.Digest(id, seed))) || points.Contains(Convert.ToHexString(uniform[..32]));
        })];
    }

    /// <summary>The row of each point that this party sent, in the order of sending.</summary>
    private static async Task<int[]> RowsInOrderAsync(PartyRole party, string[] own, string[] theirs)
    {
        Duel duel = await Duel.FightAsync(party, own, theirs);
        Assert.Equal(own.Length, duel.Result!.Size);
        Dictionary<string, string> idOf = duel.Peer.TheirTags.Select((tag, i) => (tag, i)).ToDictionary(pair => Convert.ToHexString(pair.tag), pair => duel.Peer.Order[pair.i]);
        Dictionary<string, int> rowOf = own.Select((id, row) => (id, row)).ToDictionary(pair => pair.id, pair => pair.row);
        return [.. duel.Peer.Made.Select(tag => rowOf[idOf[Convert.ToHexString(tag)]])];
    }

    private static void LooksUniform(byte[][] items, int width)
    {
        double uniform = items.Length / 256.0, x = Math.Log(2.0 * width * 9 / FalseAlarm);
        for (int place = 0; place < width; place++)
        {
            int[] counts = new int[256];
            foreach (byte[] item in items)
                counts[item[place]]++;
            Assert.InRange(counts.Sum(c => (c - uniform) * (c - uniform) / uniform), 0, Critical(255, x));
            for (int bit = 0; bit < 8; bit++)
            {
                int ones = items.Count(item => ((item[place] >> bit) & 1) == 1);
                double slack = Math.Sqrt(items.Length * x / 2);
                Assert.InRange(ones, items.Length / 2.0 - slack, items.Length / 2.0 + slack);
            }
        }
    }

    /// <summary>Two samples of one distribution, byte by byte: sum of (a sqrt(m/n) - b sqrt(n/m))^2 / (a + b) over the values that occur.</summary>
    private static void LooksAlike(byte[][] first, byte[][] second)
    {
        double ratio = Math.Sqrt((double)second.Length / first.Length), x = Math.Log(first[0].Length / FalseAlarm);
        for (int place = 0; place < first[0].Length; place++)
        {
            int[] a = new int[256], b = new int[256];
            foreach (byte[] item in first)
                a[item[place]]++;
            foreach (byte[] item in second)
                b[item[place]]++;
            int cells = Enumerable.Range(0, 256).Count(v => a[v] + b[v] > 0);
            double statistic = Enumerable.Range(0, 256).Where(v => a[v] + b[v] > 0).Sum(v => Math.Pow(a[v] * ratio - b[v] / ratio, 2) / (a[v] + b[v]));
            Assert.InRange(statistic, 0, Critical(Math.Max(1, cells - 1), x));
        }
    }

    private static double Critical(int degrees, double x) => degrees + 2 * Math.Sqrt(degrees * x) + 2 * x;
}
