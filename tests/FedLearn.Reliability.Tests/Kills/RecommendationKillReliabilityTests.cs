using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Dssm;
using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Split recommendation training whose parties are processes that are killed (SIGKILL) in the midst of it, one or all at once, and started again with the same command.</summary>
public sealed class RecommendationKillReliabilityTests
{
    private static readonly string[] Parties = ["shop", "profile", "taste"];

    [Fact]
    public async Task Train_PartiesAreKilled_EndInTheSameModelsAndTheSameCharges()
    {
        var log = new ReliabilityLog("kills of parties of recommendation training, seeded noise, claim full");
        DssmJob job = RecommendationChild.Job("seeded");
        IReadOnlyList<DssmPartyResult> whole = await DssmFederation.TrainAsync(job, SmallRecommendation.Inputs(), RecommendationChild.Towers);
        int kills = 0, resumed = 0, runs = TestCounts.Of(1);
        for (int run = 0; run < runs; run++)
        {
            (int killed, int goneOn) = await KilledAsync("seeded", run, folder =>
            {
                foreach (DssmPartyResult expected in whole)
                {
                    DssmModel model = DssmModel.Load(RecommendationChild.ModelOf(folder, expected.Model.Party.Name));
                    Assert.Equal(Bytes(expected.Model.Items), Bytes(model.Items));
                    Assert.Equal(Bytes(expected.Model.View), Bytes(model.View));
                    Assert.Equal(expected.Model.Fusion, model.Fusion);
                }
            });
            kills += killed;
            resumed += goneOn;
        }

        Assert.True(resumed > 0, "No run went on; all began anew.");
        log.Passed(kills, $"{runs} of {runs} runs ended with bit-identical models at all parties, one charge each; {resumed} sessions went on with a run that was cut off");
    }

    [Fact]
    public async Task Train_PartiesAreKilled_SecureNoiseAndMasks_NoStepLeavesWithOtherBytes()
    {
        var log = new ReliabilityLog("kills of parties of recommendation training, secure noise under masks, claim full");
        int kills = 0, resumed = 0, runs = TestCounts.Of(1);
        for (int run = 0; run < runs; run++)
        {
            (int killed, int goneOn) = await KilledAsync("masked", 100 + run, _ => { });
            kills += killed;
            resumed += goneOn;
        }

        Assert.True(resumed > 0, "No run went on; all began anew.");
        log.Passed(kills, $"no message of one step left with other bytes; {resumed} sessions went on with a run that was cut off");
    }

    /// <summary>One run in which four processes are killed, at messages that a seed chooses.</summary>
    private static async Task<(int Kills, int Resumed)> KilledAsync(string job, int seed, Action<string> check)
    {
        var random = new Random(seed); // which process is killed, and when
        string folder = Directory.CreateTempSubdirectory("fedlearn-kills-").FullName;
        var children = new Dictionary<string, Child>();
        int kills = 0;
        try
        {
            Child Start(string party) => children[party] = Child.Start("party", job, folder, party);
            Assert.NotNull(await Start("shop").LineAsync("listening"));
            Start("profile");
            Start("taste");
            for (int strike = 0; strike < 3; strike++)
            {
                // One of them, the first strike the active party; at the last strike two at once.
                string victim = strike == 0 ? "shop" : Parties[random.Next(3)];
                string[] victims = strike == 2 ? [.. Parties.Where(p => p != victim)] : [victim];
                if (await children[victims[0]].LineAsync("message", 10 + random.Next(30)) is null)
                    break; // it has ended already
                foreach (string one in victims)
                    await children[one].KillAsync();
                kills += victims.Length;
                foreach (string one in victims.OrderBy(v => v == "shop" ? 0 : 1))
                {
                    await children[one].DisposeAsync();
                    Start(one);
                }
            }

            foreach (string party in Parties)
                await children[party].EndAsync();
            check(folder);
            foreach (string party in Parties)
            {
                LedgerEntry entry = Assert.Single(new SqliteLedger(RecommendationChild.LedgerOf(folder, party)).Entries);
                Assert.Equal((ChargeState.Settled, 1.0), (entry.State, entry.Share));
                // Beside the ledger nothing of a run stays. In whole names: a collection's would be cut short.
                Assert.Equal("", string.Join(' ', Directory.GetFiles(folder).Select(Path.GetFileName).Where(name => name!.StartsWith($"{party}.ledger.db.", StringComparison.Ordinal))));
                // Each line: run, receiver, round, name, hash. The last may be torn by a kill. A party that is killed before it has a first state begins another run, which has charged nothing yet.
                string[][] sent = [.. File.ReadAllLines(RecommendationChild.SentOf(folder, party)).Select(l => l.Split('|')).Where(l => l.Length == 5 && l[4].Length == 64)];
                Assert.All(sent.GroupBy(l => (l[0], l[1], l[2], l[3])), same => Assert.Single(same.Select(l => l[4]).Distinct()));
            }

            int resumed = Parties.Sum(p => children[p].Lines.Count(line => line.StartsWith("joined ", StringComparison.Ordinal) && line != "joined -1"));
            return (kills, resumed);
        }
        finally
        {
            foreach (Child child in children.Values)
                await child.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static byte[] Bytes(SavedTower? tower) => tower?.State.ToArray() ?? [];
}
