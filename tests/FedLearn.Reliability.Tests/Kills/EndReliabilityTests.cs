using System.Globalization;
using System.Text.Json.Nodes;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Storage.Sqlite;
using FedLearn.Tests.Shared;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>Real processes of three parties, of which one cannot save its model, or is killed (SIGKILL), while the run ends.</summary>
public sealed class EndReliabilityTests : IDisposable
{
    private const string Job = "hdp-three";

    private const int Epochs = 3;

    private static readonly string[] Parties = KillJobs.Parties(Job);

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-end-").FullName, _port = FreePorts.Next().ToString(CultureInfo.InvariantCulture);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("bank")]
    [InlineData("telco")]
    [InlineData("shop")]
    public async Task Party_CannotSaveItsModel_NobodyHasEndedAndTheRunGoesOn(string party)
    {
        string inTheWay = KillChild.ModelOf(_folder, party);
        Directory.CreateDirectory(inTheWay);
        await using Child bank = Start("bank"), telco = Start("telco"), shop = Start("shop");
        Child victim = party switch { "bank" => bank, "telco" => telco, _ => shop };
        await victim.EndAsync(code: 2);
        Directory.Delete(inTheWay);
        await using Child again = Start(party);
        await EndWithTheWholeModelAsync([.. new[] { bank, telco, shop }.Select(child => child == victim ? again : child)]);
    }

    [Fact]
    public async Task Passive_KilledBeforeItHasSaved_NobodyHasEndedAndTheRunGoesOn()
    {
        await using Child bank = Start("bank"), telco = Start("telco"), shop = Start("shop", "saving");
        await shop.LineAsync("saving");
        await shop.KillAsync();
        await using Child again = Start("shop");
        await EndWithTheWholeModelAsync(bank, telco, again);
    }

    [Fact]
    public async Task Active_KilledBeforeItSaysThatAllHaveSaved_TheRunGoesOn()
    {
        await using Child bank = Start("bank", "heard"), telco = Start("telco"), shop = Start("shop");
        await bank.LineAsync("heard");
        await bank.KillAsync();
        await using Child again = Start("bank");
        await EndWithTheWholeModelAsync(again, telco, shop);
    }

    [Fact]
    public async Task Passive_KilledWhenAllHaveSaved_TheOthersEndAndItKeepsItsState()
    {
        await using Child bank = Start("bank", "heard"), telco = Start("telco"), shop = Start("shop");
        await bank.LineAsync("heard");
        await shop.KillAsync();
        bank.Tell();
        await bank.EndAsync();
        await telco.EndAsync();
        // Its model is the result, too, and its one charge what the run has cost.
        IReadOnlyList<GlmPartyResult> whole = await WholeAsync();
        Assert.Equal(whole.Select(r => r.Model.WeightsSha256), Parties.Select(p => File.ReadAllText(KillChild.ModelOf(_folder, p))));
        Assert.Equal([ChargeState.Settled, ChargeState.Settled, ChargeState.Reserved], Parties.Select(p => Assert.Single(SqliteLedger.Audit(LedgerOf(p)).Entries).State));
        Assert.Equal(["shop"], Directory.GetFiles(_folder, "*.start.state").Select(f => Path.GetFileName(f).Split('.')[0]));
    }

    private string LedgerOf(string party) => Path.Combine(_folder, party + ".ledger.db");

    private Child Start(string party, params string[] hold) => Child.StartAs(["kills", Job, "test", Epochs.ToString(CultureInfo.InvariantCulture), party, _folder, _port, .. hold]);

    private static Task<IReadOnlyList<GlmPartyResult>> WholeAsync() => CutRun.WholeAsync(Job, KillJobs.Job(Job, testNoise: true, Epochs, every: 5));

    private async Task EndWithTheWholeModelAsync(params Child[] children)
    {
        IReadOnlyList<GlmPartyResult> whole = await WholeAsync();
        foreach ((Child child, GlmPartyResult due) in children.Zip(whole))
        {
            await child.EndAsync();
            JsonNode result = JsonNode.Parse(Assert.Single(child.Lines, line => line.StartsWith("result ", StringComparison.Ordinal))["result ".Length..])!;
            Assert.Equal((due.Model.WeightsSha256, 1), ((string?)result["weights"], (int)result["resumed"]!));
            Assert.Equal(due.Model.WeightsSha256, File.ReadAllText(KillChild.ModelOf(_folder, due.Party.Name)));
            LedgerEntry charge = Assert.Single(SqliteLedger.Audit(LedgerOf(due.Party.Name)).Entries);
            Assert.Equal((ChargeState.Settled, 1.0), (charge.State, charge.Share));
        }

        Assert.DoesNotContain(Directory.GetFiles(_folder), f => f.Contains(".state", StringComparison.Ordinal) || f.EndsWith(".outbox", StringComparison.Ordinal));
    }
}
