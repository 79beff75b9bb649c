using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Aggregation;

/// <summary>Whatever bytes come, a decoder refuses them with PeerException, or with PrivacyRefusedException where they are a well-formed request that is not granted.</summary>
public class HostileBytesTests
{
    private static readonly Gen<(ServerTrust Trust, int Seed)> Cases =
        from trust in Gen.Elements(ServerTrust.HonestButCurious, ServerTrust.Active)
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (trust, seed);

    private static byte[] Bytes(Random random, int length)
    {
        byte[] bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    // Noise; noise behind a right header; a right message cut, lengthened, or with one byte changed.
    private static AggregationMessage Hostile(Random random, AggregationMessage right)
    {
        byte[] bytes = right.Bytes.ToArray();
        int header = Math.Min(32, bytes.Length);
        bytes = random.Next(7) switch
        {
            0 => Bytes(random, random.Next(200)),
            1 => [.. bytes[..header], .. Bytes(random, random.Next(200))],
            2 => bytes[..random.Next(bytes.Length)],
            3 => [.. bytes, .. Bytes(random, random.Next(1, 50))],
            4 => [.. bytes[..header], .. BitConverter.GetBytes(random.Next(-3, 200)), .. bytes[Math.Min(bytes.Length, header + 4)..]],
            5 => [],
            _ => Changed(random, bytes),
        };
        return new(random.Next(10) == 0 ? (AggregationStep)random.Next(9) : right.Step, bytes);
    }

    private static byte[] Changed(Random random, byte[] bytes)
    {
        bytes[random.Next(Math.Min(bytes.Length, random.Next(2) == 0 ? 60 : bytes.Length))] ^= (byte)random.Next(1, 256);
        return bytes;
    }

    private static void Refuses(Action act)
    {
        try
        {
            act();
        }
        catch (PeerException exception)
        {
            Assert.Equal(4, exception.ExitCode);
        }
        catch (PrivacyRefusedException exception)
        {
            Assert.Equal(5, exception.ExitCode);
        }
    }

    [Fact]
    public void Steps_AnyBytes_AreRefusedWithATypedError() => Prop.ForAll(Cases.ToArbitrary(), drawn =>
    {
        var random = new Random(drawn.Seed);
        using var attempt = new AggregationCase(3, 2, length: 3, trust: drawn.Trust, seed: drawn.Seed);
        int[] all = attempt.Numbers;
        SecureAggregationServer server = attempt.Server;
        SecureAggregationClient victim = attempt.Clients[all[0]];

        foreach (int client in all)
        {
            AggregationMessage keys = attempt.Clients[client].Begin(attempt.Round);
            Refuses(() => server.AcceptKeys(client, Hostile(random, keys)));
            Refuses(() => server.AcceptKeys(client, keys));
        }

        AggregationMessage roster = server.Roster();
        Refuses(() => victim.Share(Hostile(random, roster)));
        foreach (int client in all[1..])
        {
            AggregationMessage? shares = null;
            Refuses(() => shares = attempt.Clients[client].Share(roster));
            if (shares is null)
                return;
            Refuses(() => server.AcceptShares(client, Hostile(random, shares)));
            Refuses(() => server.AcceptShares(client, shares));
        }

        IReadOnlyDictionary<int, AggregationMessage> deliveries = server.Deliveries();
        foreach (int client in all[1..])
        {
            if (!deliveries.TryGetValue(client, out AggregationMessage? delivery))
                continue;
            Refuses(() => attempt.Clients[client].Upload(Hostile(random, delivery), attempt.Inputs[client], "test"));
            Refuses(() => server.AcceptUpload(client, attempt.Clients[client].Upload(delivery, attempt.Inputs[client], "test").Payload));
        }

        if (server.Clients.Count < 2)
            return;
        AggregationMessage request = server.Unmask();
        if (drawn.Trust == ServerTrust.Active)
        {
            foreach (int client in all[1..])
            {
                Refuses(() => attempt.Clients[client].Consent(Hostile(random, request)));
                AggregationMessage? consent = null;
                Refuses(() => consent = attempt.Clients[client].Consent(request));
                if (consent is null)
                    return;
                Refuses(() => server.AcceptConsent(client, Hostile(random, consent)));
                Refuses(() => server.AcceptConsent(client, consent));
            }

            request = server.Consents();
        }

        foreach (int client in all[1..])
        {
            Refuses(() => attempt.Clients[client].Reveal(Hostile(random, request)));
            AggregationMessage? reveal = null;
            Refuses(() => reveal = attempt.Clients[client].Reveal(request));
            if (reveal is null)
                return;
            Refuses(() => server.AcceptReveal(client, Hostile(random, reveal)));
            Refuses(() => server.AcceptReveal(client, reveal));
        }

        Refuses(() => server.Open());
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(400)));

    // Random bytes do not begin with the digest of the terms (false alarm 2^-256), so that every decoder must say PeerException.
    [Fact]
    public void Decoders_RandomBytes_AlwaysThrowPeerException() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new Random(seed);
        byte[] bytes = Bytes(random, random.Next(300));
        var step = (AggregationStep)random.Next(9);
        var message = new AggregationMessage(step, bytes);
        var context = new AggregationContext(AggregationCase.Terms(4, 3));
        byte[] body = [.. context.Message(step, new WireWriter()).Bytes.Span, .. bytes];
        // Read alone, so that the right header gets as far as the body. Four bytes that say "no entries" are a message, and are not drawn by chance but with 2^-32.
        foreach (AggregationMessage drawn in (AggregationMessage[])[message, new(step, body)])
        {
            Assert.Throws<PeerException>(() => context.ReadKeys(new(AggregationStep.Keys, drawn.Bytes[..Math.Min(drawn.Bytes.Length, 90)]), "test"));
            Assert.Throws<PeerException>(() => context.ReadRoster(new(AggregationStep.Roster, drawn.Bytes), "test"));
            Assert.Throws<PeerException>(() => context.ReadCiphertexts(new(AggregationStep.Shares, drawn.Bytes), AggregationStep.Shares, "test"));
            Assert.Throws<PeerException>(() => context.ReadList(new(AggregationStep.Unmask, drawn.Bytes), "test"));
            Assert.Throws<PeerException>(() => context.ReadConsents(new(AggregationStep.Consents, drawn.Bytes), "test"));
            Assert.Throws<PeerException>(() => context.ReadReveal(new(AggregationStep.Reveal, drawn.Bytes), "test"));
            Assert.Throws<PeerException>(() => context.ReadKeys(new(AggregationStep.Roster, drawn.Bytes), "test"));
        }

        using var view = new SumMaskingParty("a", ["a", "b"], new byte[32]);
        Assert.Throws<PeerException>(() => view.Agree(message));
        Assert.Throws<PeerException>(() => view.Agree(new(AggregationStep.Roster, bytes)));
        if (bytes.Length != 32)
            Assert.Throws<PeerException>(() => SumMasking.Roster([("a", view.Keys()), ("b", new(AggregationStep.Keys, bytes))]));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(300)));

    [Fact]
    public void Agree_ChangedRoster_IsRefusedOrAgreesOnSomethingElse() => Prop.ForAll(Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), seed =>
    {
        var random = new Random(seed);
        using var a = new SumMaskingParty("a", ["a", "b"], new byte[32]);
        using var b = new SumMaskingParty("b", ["a", "b"], new byte[32]);
        Refuses(() => a.Agree(Hostile(random, SumMasking.Roster([("a", a.Keys()), ("b", b.Keys())]))));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(300)));

    [Fact]
    public void Digest_OfTerms_IsTheFirstThirtyTwoBytesOfEveryMessage()
    {
        var context = new AggregationContext(AggregationCase.Terms(4, 3));
        var other = new AggregationContext(AggregationCase.Terms(4, 3) with { Threshold = 4 });
        byte[] first = context.List([1]).Bytes[..SHA256.HashSizeInBytes].ToArray();
        Assert.Equal(first, context.List([1, 2]).Bytes[..32].ToArray());
        Assert.NotEqual(first, other.List([1]).Bytes[..32].ToArray());
    }
}
