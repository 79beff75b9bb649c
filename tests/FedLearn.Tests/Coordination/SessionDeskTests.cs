using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Coordination;

public class SessionDeskTests
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private static readonly SessionTerms Terms = new("credit", Hash("terms"),
        new Dictionary<string, ReadOnlyMemory<byte>> { ["model"] = Hash("m"), ["training"] = Hash("t"), ["privacy"] = Hash("p") },
        [new("bank", PartyRole.Active), new("telco", PartyRole.Passive), new("shop", PartyRole.Passive)]);

    private readonly ManualClock _clock = new();

    private static byte[] Hash(string text) => SHA256.HashData([.. text.Select(c => (byte)c)]);

    private static JoinRequest Request(int party) =>
        new(SessionDesk.ProtocolVersion, Terms.Parties[party], Terms.JobName, Terms.TermsDigest, Terms.Sections, Hash("schema of " + party));

    private SessionDesk Desk() => new(Terms, Minute, _clock);

    private static async Task<PeerException> RefusedAsync(SessionDesk desk, JoinRequest request, string id)
    {
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => desk.JoinAsync(request));
        Assert.Equal(id, error.Id);
        return error;
    }

    [Fact]
    public async Task Join_AllParties_GetOneAgreementInTheJobsOrder()
    {
        SessionDesk desk = Desk();
        Task<SessionAgreement>[] joins = [desk.JoinAsync(Request(2)), desk.JoinAsync(Request(0)), desk.JoinAsync(Request(1))];
        SessionAgreement[] agreements = await Task.WhenAll(joins);
        Assert.All(agreements, agreement => Assert.Same(agreements[0], agreement));
        Assert.Equal(["bank", "telco", "shop"], agreements[0].Parties.Select(p => p.Name));
        Assert.Matches("^[0-9a-f]{32}$", agreements[0].SessionId);
        for (int i = 0; i < 3; i++)
            SessionDesk.Verify(Request(i), agreements[0]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Join_OtherVersion_IsRefused(int version)
    {
        PeerException error = await RefusedAsync(Desk(), Request(1) with { ProtocolVersion = version }, ProtocolErrors.DifferentVersion);
        Assert.Contains("'telco'", error.Place, StringComparison.Ordinal);
        Assert.Contains($"version {version}", error.Cause, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("stranger", PartyRole.Passive)]
    [InlineData("telco", PartyRole.Active)]     // the right name in the wrong role
    [InlineData("bank", PartyRole.Passive)]
    [InlineData("Telco", PartyRole.Passive)]
    public async Task Join_UnknownNameOrRole_IsRefused(string name, PartyRole role) =>
        await RefusedAsync(Desk(), Request(1) with { Party = new(name, role) }, ProtocolErrors.UnknownParty);

    [Fact]
    public async Task Join_OtherJob_NamesTheSectionsThatDiffer()
    {
        var sections = new Dictionary<string, ReadOnlyMemory<byte>>(Terms.Sections) { ["training"] = Hash("x"), ["privacy"] = Hash("y") };
        PeerException error = await RefusedAsync(Desk(), Request(1) with { TermsDigest = Hash("other"), Sections = sections }, ProtocolErrors.DifferentJob);
        Assert.Contains("training, privacy.", error.Cause, StringComparison.Ordinal);
        Assert.DoesNotContain("model", error.Cause, StringComparison.Ordinal);
        Assert.DoesNotContain("hashed ids", error.Remedy, StringComparison.Ordinal); // advice for those whose alignment differs
    }

    [Fact]
    public async Task Join_OtherJobWithoutSections_IsRefusedAllTheSame()
    {
        await RefusedAsync(Desk(), Request(1) with { TermsDigest = Hash("other"), Sections = new Dictionary<string, ReadOnlyMemory<byte>>() }, ProtocolErrors.DifferentJob);
        await RefusedAsync(Desk(), Request(1) with { JobName = "other" }, ProtocolErrors.DifferentJob);
    }

    [Fact]
    public async Task Join_Twice_IsRefusedTheSecondTime()
    {
        SessionDesk desk = Desk();
        Task<SessionAgreement> first = desk.JoinAsync(Request(1));
        await RefusedAsync(desk, Request(1), ProtocolErrors.AlreadyJoined);
        Task<SessionAgreement> others = Task.WhenAll(desk.JoinAsync(Request(0)), desk.JoinAsync(Request(2))).ContinueWith(t => t.Result[0], TaskScheduler.Default);
        Assert.Same(await others, await first);
        await RefusedAsync(desk, Request(1), ProtocolErrors.AlreadyJoined);
    }

    [Fact]
    public async Task Join_RefusedOnceThenMended_Completes()
    {
        SessionDesk desk = Desk();
        var refusals = new List<(string Party, string Id)>();
        desk.Refused += (party, error) => refusals.Add((party, error.Id));
        await RefusedAsync(desk, Request(1) with { TermsDigest = Hash("other") }, ProtocolErrors.DifferentJob);
        Assert.Equal([("telco", ProtocolErrors.DifferentJob)], refusals);
        await Task.WhenAll(desk.JoinAsync(Request(0)), desk.JoinAsync(Request(1)), desk.JoinAsync(Request(2)));
    }

    [Fact]
    public async Task Join_PartiesMissing_TimesOutNamingThem()
    {
        SessionDesk desk = Desk();
        Task<SessionAgreement> waiting = desk.JoinAsync(Request(1));
        _clock.Advance(Minute - TimeSpan.FromTicks(1));
        Assert.False(waiting.IsCompleted);
        _clock.Advance(TimeSpan.FromTicks(1));
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => waiting);
        Assert.Equal(ProtocolErrors.PartyMissing, error.Id);
        Assert.Equal(4, error.ExitCode);
        Assert.Contains("waited 60 s for 'bank', 'shop' to join", error.Cause, StringComparison.Ordinal);
        Assert.DoesNotContain("telco", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_OneOfThePartiesMissing_NamesThatOneAlone()
    {
        SessionDesk desk = Desk();
        Task<SessionAgreement> early = desk.JoinAsync(Request(1));
        _clock.Advance(TimeSpan.FromSeconds(1));
        Task<SessionAgreement> late = desk.JoinAsync(Request(0));
        _clock.Advance(Minute - TimeSpan.FromSeconds(1));
        Assert.Contains("waited 60 s for 'shop' to join", (await Assert.ThrowsAsync<PeerException>(() => early)).Cause, StringComparison.Ordinal);
        Assert.False(late.IsCompleted);
    }

    [Fact]
    public async Task Join_PartyMissingAfterARefusal_SaysWhatWasRefused()
    {
        SessionDesk desk = Desk();
        Task<SessionAgreement>[] waiting = [desk.JoinAsync(Request(0)), desk.JoinAsync(Request(1))];
        await RefusedAsync(desk, Request(2) with { ProtocolVersion = 9 }, ProtocolErrors.DifferentVersion);
        _clock.Advance(Minute);
        foreach (Task<SessionAgreement> task in waiting)
        {
            PeerException error = await Assert.ThrowsAsync<PeerException>(() => task);
            Assert.Contains("'shop'", error.Cause, StringComparison.Ordinal);
            Assert.Contains(ProtocolErrors.DifferentVersion, error.Cause, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Join_AfterATimeout_StartsAfresh()
    {
        SessionDesk desk = Desk();
        Task<SessionAgreement> early = desk.JoinAsync(Request(1));
        _clock.Advance(Minute);
        await Assert.ThrowsAsync<PeerException>(() => early);
        // The party that gave up does not count as there.
        Task<SessionAgreement> active = desk.JoinAsync(Request(0)), shop = desk.JoinAsync(Request(2));
        Assert.False(active.IsCompleted);
        SessionAgreement agreement = await desk.JoinAsync(Request(1));
        Assert.Same(agreement, await active);
        Assert.Same(agreement, await shop);
    }

    [Fact]
    public async Task Join_Cancelled_CountsAsNotJoined()
    {
        SessionDesk desk = Desk();
        using var stop = new CancellationTokenSource();
        Task<SessionAgreement> cancelled = desk.JoinAsync(Request(1), stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        await Task.WhenAll(desk.JoinAsync(Request(0)), desk.JoinAsync(Request(1)), desk.JoinAsync(Request(2)));
    }

    // On a clock that stands still the others would wait for ever for the one that was refused.
    [Fact]
    public async Task LocalSession_APartyIsRefused_EndsAtOnceWithWhy()
    {
        JoinRequest[] requests = [Request(0), Request(1), Request(2) with { TermsDigest = Hash("other terms") }];
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => LocalSession.RunAsync<int>(Terms, requests, new ChannelOptions { Clock = _clock },
            (_, _, _, _) => throw new InvalidOperationException("nobody runs"), TestContext.Current.CancellationToken));
        Assert.Equal(ProtocolErrors.DifferentJob, error.Id);
    }

    [Fact]
    public void Digest_EveryPart_CountsAndKeepsItsPlace()
    {
        JoinedParty[] parties = [new("bank", Hash("1")), new("telco", Hash("2"))];
        byte[] digest = SessionDesk.DigestOf(Hash("terms"), parties);
        byte[][] others =
        [
            SessionDesk.DigestOf(Hash("other terms"), parties),
            SessionDesk.DigestOf(Hash("terms"), [new("bank", Hash("3")), parties[1]]),
            SessionDesk.DigestOf(Hash("terms"), [parties[0], new("telco", Hash("3"))]),
            SessionDesk.DigestOf(Hash("terms"), [parties[0], new("telcos", Hash("2"))]),
            SessionDesk.DigestOf(Hash("terms"), [parties[1], parties[0]]),
            SessionDesk.DigestOf(Hash("terms"), [parties[0]]),
        ];
        Assert.Equal(others.Length, others.Append(digest).Select(Convert.ToHexString).Distinct().Count() - 1);
        // As documented: terms, then length, name and fingerprint of each party.
        Assert.Equal(SHA256.HashData([.. Hash("terms"), 4, 0, 0, 0, .. "bank"u8, .. Hash("1"), 5, 0, 0, 0, .. "telco"u8, .. Hash("2")]), digest);
    }

    [Fact]
    public void Verify_OtherJobSchemaOrParty_IsRefused()
    {
        JoinedParty[] parties = [.. Terms.Parties.Select((p, i) => new JoinedParty(p.Name, Request(i).SchemaFingerprint))];
        SessionAgreement Agree(ReadOnlyMemory<byte> terms, JoinedParty[] joined) => new("session", SessionDesk.DigestOf(terms, joined), joined);
        SessionDesk.Verify(Request(1), Agree(Terms.TermsDigest, parties));

        JoinedParty[] otherSchema = [parties[0], new("telco", Hash("another schema")), parties[2]];
        SessionAgreement[] wrong =
        [
            Agree(Hash("other"), parties),
            Agree(Terms.TermsDigest, otherSchema),
            Agree(Terms.TermsDigest, [parties[0], parties[1] with { Name = "another" }, parties[2]]),
            Agree(Terms.TermsDigest, [parties[0], parties[2]]),
            Agree(Terms.TermsDigest, parties) with { JobDigest = Hash("made up") },
        ];
        Assert.All(wrong, agreement => Assert.Equal(ProtocolErrors.DifferentJob, Assert.Throws<PeerException>(() => SessionDesk.Verify(Request(1), agreement)).Id));
    }
}
