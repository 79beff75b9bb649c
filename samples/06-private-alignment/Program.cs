// An insurer and a telematics company find their common vans and show each other no other id. Run from the repository's root:
//   dotnet run --project samples/06-private-alignment -c Release
using System.Security.Cryptography;
using FedLearn.Alignment;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Parties;
using FedLearn.Protocol;

const string Folder = "samples/data/delivery-fleet";
IReadOnlyList<string> insurer = Ids("insurer"), telematics = Ids("telematics");
// What the parties agreed on beforehand; a job makes this digest itself.
byte[] agreed = SHA256.HashData("delivery fleet: are there enough common vans?"u8);
Console.WriteLine($"insurer: {insurer.Count} vans, telematics: {telematics.Count}");

// 1. Is it worth a job? Both learn how many vans are common, and not which; counts are rounded up to hundreds.
var sizeOnly = new PsiOptions { Output = PsiOutput.SizeOnly, PadTo = 100 };
PsiResult[] sizes = await BothAsync((role, ids, channel) => PsiParty.RunAsync(role, ids, agreed, channel, sizeOnly));
Console.WriteLine($"size only: {sizes[0].Size} common; telematics announced {sizes[0].PeerIds} ids, the insurer {sizes[1].PeerIds}");

// 2. The alignment of a job: both learn which of their own rows are common, in one order that neither chose.
AlignedRows[] rows = await BothAsync((role, ids, channel) => new PsiAlignment().AlignAsync(
    new AlignmentTask { Role = role, Ids = ids, Seed = 1, JobDigest = agreed, Parties = 2 }, [channel]));
bool same = rows[0].Rows.Select(r => insurer[r]).SequenceEqual(rows[1].Rows.Select(r => telematics[r]));
Console.WriteLine($"rows: {rows[0].Rows.Length} at the insurer, {rows[1].Rows.Length} at telematics, {(same ? "the same vans in the same order" : "NOT the same")}");
foreach (string leak in rows[0].Leaks)
    Console.WriteLine($"  told besides: {leak}");
foreach (string warning in rows[0].Warnings)
    Console.WriteLine($"  warning: {warning}");
return same ? 0 : 1;

// Each party runs its side; between companies the channel is one of FedLearn.Transport.Grpc.
async Task<T[]> BothAsync<T>(Func<PartyRole, IReadOnlyList<string>, IPartyChannel, Task<T>> side)
{
    (InMemoryChannel first, InMemoryChannel second) = InMemoryChannel.CreatePair("insurer", "telematics");
    await using (first)
    await using (second)
        return await Task.WhenAll(side(PartyRole.Active, insurer, first), side(PartyRole.Passive, telematics, second));
}

static IReadOnlyList<string> Ids(string party) => Table.Load(new TableSource { Path = $"{Folder}/{party}.csv", Schema = $"{Folder}/{party}.schema.json" }, needLabel: false).Ids;
