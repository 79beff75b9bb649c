using FedLearn.Aggregation;
using FedLearn.Alignment;
using FedLearn.Cli.Serving;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Dssm;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Storage.Sqlite;
using Microsoft.AspNetCore.Http;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Messages of secure aggregation: the first byte is the step, then the body. Three in four begin with the right digest of the terms.</summary>
internal sealed class AggregationTarget() : FuzzTarget("aggregation", 4_000)
{
    private static readonly AggregationContext Context = new(new AggregationRound { JobDigest = new byte[32], Round = 1, Attempt = 0, ModelVersion = 3, Tensors = [new AggregationTensor("w", 4)], Clients = 4, Threshold = 3 });

    public override byte[] Make(FuzzRandom random)
    {
        byte[] seed = random.Of(Seeds), changed = ByteMutator.Mutate(random, seed, Seeds);
        if (changed.Length > 33 && !random.OneIn(4))
            seed.AsSpan(1, 32).CopyTo(changed.AsSpan(1));
        return changed;
    }

    protected override IEnumerable<byte[]> MadeSeeds()
    {
        ClientKeys Keys(int client) => new(client, new byte[32], new byte[32], default);
        AggregationMessage[] messages =
        [
            Context.Keys(Keys(1)), Context.Roster([Keys(0), Keys(1), Keys(3)]), Context.Ciphertexts(AggregationStep.Shares, [(0, new byte[AggregationContext.CiphertextBytes]), (2, new byte[AggregationContext.CiphertextBytes])]),
            Context.Ciphertexts(AggregationStep.Delivery, [(1, new byte[AggregationContext.CiphertextBytes])]), Context.List([0, 1, 3]), Context.Consents([(0, new byte[64])]),
            Context.Reveal([(0, true, new byte[ShamirSharing.ShareBytes]), (2, false, new byte[ShamirSharing.ShareBytes])]),
        ];
        return messages.Select(message => (byte[])[(byte)message.Step, .. message.Bytes.Span]);
    }

    protected override void Read(byte[] input, string folder)
    {
        const string place = "fuzz";
        var step = (AggregationStep)(input.Length > 0 ? input[0] : 0);
        var message = new AggregationMessage(step, input.AsMemory(Math.Min(1, input.Length)));
        int clients = step switch
        {
            AggregationStep.Keys => Context.ReadKeys(message, place) is { Client: >= 0 } ? 1 : 0,
            AggregationStep.Roster => Context.ReadRoster(message, place).Length,
            AggregationStep.Unmask => Context.ReadList(message, place).Length,
            AggregationStep.Consents => Context.ReadConsents(message, place).Length,
            AggregationStep.Reveal => Context.ReadReveal(message, place).Length,
            _ => Context.ReadCiphertexts(message, AggregationStep.Shares, place).Length,
        };
        Require(clients <= 4, "More clients than the round has.");
    }
}

/// <summary>Invitations of devices.</summary>
internal sealed class DeviceInvitationTarget() : FuzzTarget("device-invitation", 1_000)
{
    public override byte[] Make(FuzzRandom random) => ByteMutator.Mutate(random, random.Of(Seeds), Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() => [new DeviceInvitation(DeviceInvitationKind.Begin, 1, 2, 3, 4, 5).Message().Payload.Bytes.ToArray()];

    protected override void Read(byte[] input, string folder) =>
        Require(DeviceInvitation.Read(new AggregationMessage(AggregationStep.Invitation, input), "device", 0) is { Attempt: >= 0, Client: >= 0 }, "An invitation has a negative number.");
}

/// <summary>The first message of private set intersection.</summary>
internal sealed class PsiHelloTarget() : FuzzTarget("psi-hello", 1_000)
{
    private static readonly PsiHello Own = new(PsiOutput.Both, false, new byte[32], 10, new byte[32], 0, 0);

    private static readonly IPartyChannel Channel = InMemoryChannel.CreatePair("bank", "telco").First;

    public override byte[] Make(FuzzRandom random) => ByteMutator.Mutate(random, random.Of(Seeds), Seeds);

    protected override IEnumerable<byte[]> MadeSeeds() => [Own.Write()];

    protected override void Read(byte[] input, string folder) => Require(PsiHello.Read(input, Own, Channel).Nonce.Length == 32, "A greeting has no nonce.");
}

/// <summary>The header of an interrupted alignment, as it lies in its folder. What cannot be used is removed, and the session begins anew: nothing is refused.</summary>
internal sealed class PsiStateTarget() : FuzzTarget("psi-state", 500)
{
    private static readonly PsiSubject Subject = new(new byte[32], new byte[32], PartyRole.Active, PsiOutput.Both, false, 10);

    public override byte[] Make(FuzzRandom random)
    {
        byte[] changed = ByteMutator.Mutate(random, random.Of(Seeds), Seeds);
        if (changed.Length > 32 && !random.OneIn(4))
            System.Security.Cryptography.SHA256.HashData(changed.AsSpan(0, changed.Length - 32), changed.AsSpan(changed.Length - 32));
        return changed;
    }

    protected override IEnumerable<byte[]> MadeSeeds()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-fuzz-").FullName;
        using (var state = PsiState.Open(folder, "bank", "telco", Subject))
        {
            using var secrets = PsiSecrets.Of(new byte[PsiSecrets.Bytes]);
            state.Begin(new PsiKept(new byte[32], 12, new byte[32], secrets));
            yield return File.ReadAllBytes(Directory.GetFiles(folder, "session", SearchOption.AllDirectories).Single());
        }

        Directory.Delete(folder, recursive: true);
    }

    protected override void Read(byte[] input, string folder)
    {
        using var state = PsiState.Open(folder, "bank", "telco", Subject);
        File.WriteAllBytes(Path.Combine(Directory.GetDirectories(folder).Single(), "session"), input);
        PsiKept? kept = state.Load();
        Require(kept is { PeerCount: >= 0 } || state.Ignored, "A session is neither kept nor ignored.");
        kept?.Secrets.Dispose();
    }
}

/// <summary>The body of a request for predictions: ids that are looked up, or null, which the server answers with the status 400.</summary>
internal sealed class ScoreRequestTarget() : FuzzTarget("score-request", 1_500)
{
    private JsonMutator? _mutator;

    public override byte[] Make(FuzzRandom random) => (_mutator ??= new JsonMutator(Seeds)).Mutate(random);

    protected override IEnumerable<byte[]> MadeSeeds() => ["{\"ids\":[\"a\",\"b\\u0301\",\"e\\u0301\\u0327\"]}"u8.ToArray()];

    protected override void Read(byte[] input, string folder)
    {
        var context = new DefaultHttpContext();
        (context.Request.ContentType, context.Request.Body) = ("application/json", new MemoryStream(input));
        IReadOnlyList<string>? ids = RestHost.ReadAsync(context.Request, default).GetAwaiter().GetResult();
        foreach (string id in ids ?? [])
            _ = RowIds.Digest(id, 7);
    }
}

/// <summary>A state of a run that was cut off, as a party finds it when it is started again. Three in four have the right checksum.</summary>
internal sealed class RunStateTarget() : FuzzTarget("run-state", 1_000)
{
    // SHA-256 of everything else stands behind the 8 bytes that tell the format.
    private const int HashAt = 8, HashBytes = 32;

    private static readonly RunIdentity Identity = new("bank", new byte[32], "a1", new string('0', 32));

    public override byte[] Make(FuzzRandom random)
    {
        byte[] changed = ByteMutator.Mutate(random, random.Of(Seeds), Seeds);
        if (changed.Length >= HashAt + HashBytes && !random.OneIn(4))
            System.Security.Cryptography.SHA256.HashData([.. changed[..HashAt], .. changed[(HashAt + HashBytes)..]], changed.AsSpan(HashAt));
        return changed;
    }

    protected override IEnumerable<byte[]> MadeSeeds()
    {
        string folder = Directory.CreateTempSubdirectory("fedlearn-fuzz-").FullName;
        foreach (int round in (int[])[0, 100])
        {
            using (GlmRun run = GlmRun.New(new FileRunStore(Path.Combine(folder, $"{round}.ledger.db")), Identity, 100))
            {
                run.Begin(new GlmRunStart(new AlignedRows([3, 1, 2], ["leak"], []), 4, new byte[32], new byte[32], 10));
                if (round > 0)
                    run.Keep(round, kept => kept.Add("weights", (double[])[1, double.NaN]).Add("history", (double[])[1, 2, 3]));
            }

            yield return File.ReadAllBytes(Directory.GetFiles(folder, $"{round}.*round-{round}.state").Single());
        }

        Directory.Delete(folder, true);
    }

    protected override void Read(byte[] input, string folder)
    {
        const int round = 100;
        string ledger = Path.Combine(folder, "bank.ledger.db");
        foreach (string old in Directory.GetFiles(folder))
            File.Delete(old);
        File.WriteAllBytes($"{ledger}.{Identity.RunId}.round-{round}.state", input);
        var store = new FileRunStore(ledger);
        if (store.Find(Identity.Party, Identity.TermsDigest) is not { } found)
            return; // damaged: as if it were not there
        Require(found.Rounds is [round], "A state is found under another round than its file's.");
        using GlmRun run = GlmRun.GoOn(store, found, round, 100, new byte[32]);
        run.Before!.Doubles("weights");
    }
}
