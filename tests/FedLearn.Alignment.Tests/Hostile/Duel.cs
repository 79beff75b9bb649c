using System.Security.Cryptography;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Alignment.Tests.Hostile;

/// <summary>The library's party against a scripted one, in one process.</summary>
internal sealed class Duel
{
    public static readonly byte[] JobDigest = SHA256.HashData("job"u8);

    /// <summary>How long a side may take by the system's clock: it computes for thousands of ids, on a machine that does other things as well.</summary>
    public static readonly TimeSpan Patience = 6 * ChannelConformance.Patience;

    private Duel(PsiResult? result, Exception? error, RecordingChannel channel, PeerException? told, ScriptedPeer peer) =>
        (Result, Error, Channel, PeerWasTold, Peer) = (result, error, channel, told, peer);

    /// <summary>What the library's party has; null where it refused.</summary>
    public PsiResult? Result { get; }

    /// <summary>Why it refused.</summary>
    public Exception? Error { get; }

    /// <summary>What it sent and received.</summary>
    public RecordingChannel Channel { get; }

    /// <summary>What the peer was told of the refusal.</summary>
    public PeerException? PeerWasTold { get; }

    public ScriptedPeer Peer { get; }

    /// <summary>Different ids, of which so many are common to both sides.</summary>
    public static (string[] Own, string[] Theirs) Ids(int own, int theirs, int common) =>
        ([.. Enumerable.Range(0, own).Select(i => i < common ? $"common-person-{i}" : $"own-person-{i}")],
         [.. Enumerable.Range(0, theirs).Select(i => i < common ? $"common-person-{i}" : $"their-person-{i}")]);

    /// <summary>Runs both sides to their ends; a side that hangs fails the test.</summary>
    /// <param name="victim">Role of the library's party.</param>
    /// <param name="own">Its ids.</param>
    /// <param name="theirs">Ids of the scripted party.</param>
    /// <param name="options">Settings of the library's party.</param>
    /// <param name="script">What the scripted party does; null for what is right.</param>
    /// <param name="prepare">Sets the changes of the scripted party.</param>
    /// <param name="channelOptions">Settings of the channel.</param>
    public static async Task<Duel> FightAsync(PartyRole victim, string[] own, string[] theirs, PsiOptions? options = null, Func<ScriptedPeer, Task>? script = null,
        Action<ScriptedPeer>? prepare = null, ChannelOptions? channelOptions = null)
    {
        ReferenceSodium.Require();
        options ??= new PsiOptions { Log = new InMemoryAlignmentLog(TimeProvider.System) };
        (InMemoryChannel here, InMemoryChannel there) = InMemoryChannel.CreatePair("victim", "mallory", channelOptions);
        var recording = new RecordingChannel(here);
        var peer = new ScriptedPeer(there, victim == PartyRole.Active ? PartyRole.Passive : PartyRole.Active, theirs, JobDigest, options.Output, options.Proof);
        prepare?.Invoke(peer);
        Task<PsiResult> running = Task.Run(() => PsiParty.RunAsync(victim, own, JobDigest, recording, options));
        Task<PeerException?> scripted = Task.Run(async () =>
        {
            try
            {
                await (script is null ? peer.RunAsync() : script(peer));
                return null;
            }
            catch (PeerException e)
            {
                return e;
            }
        });
        PsiResult? result = null;
        Exception? error = null;
        try
        {
            result = await running.WaitAsync(Patience);
        }
        catch (FedLearnException e)
        {
            error = e;
        }

        PeerException? told = await scripted.WaitAsync(Patience);
        if (error is not null && told is null)
            told = await DrainAsync(there);
        await here.DisposeAsync();
        await there.DisposeAsync();
        return new Duel(result, error, recording, told, peer);
    }

    /// <summary>The library's party refused with this id, told the peer so, and says nothing of ids, points and tags.</summary>
    public void RefusedWith(string id, params byte[][] secrets)
    {
        Assert.True(Error is not null, $"nothing was refused where {id} is due");
        var error = Assert.IsAssignableFrom<FedLearnException>(Error);
        Assert.True(id == error.Id, $"{error.Id} came where {id} is due: {error.Message}");
        Assert.Contains("mallory", error.Message, StringComparison.Ordinal);
        Assert.Contains(id, PeerWasTold!.Message, StringComparison.Ordinal);
        string text = error.ToString();
        Assert.DoesNotContain("person", text, StringComparison.Ordinal);
        foreach (byte[] secret in secrets.Concat(Channel.Sent.Concat(Channel.Received).SelectMany(Pieces)).Where(piece => piece.Length > 0))
        {
            Assert.DoesNotContain(Convert.ToHexString(secret), text, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(Convert.ToBase64String(secret), text, StringComparison.Ordinal);
        }
    }

    /// <summary>No tag left, and no commitment either where the peer's hello was refused.</summary>
    public Duel NoTagLeft()
    {
        Assert.DoesNotContain(Channel.Sent, payload => payload is BlindedTags);
        Assert.DoesNotContain(Channel.Sent, payload => payload is AlignmentMessage { Step: AlignmentStep.Proof or AlignmentStep.Confirmation });
        return this;
    }

    /// <summary>Nothing left but the hello.</summary>
    public Duel OnlyTheHelloLeft()
    {
        Assert.Equal([AlignmentStep.Hello], Channel.Sent.Select(payload => Assert.IsType<AlignmentMessage>(payload).Step));
        return this;
    }

    private const int LeastTag = 4;

    private static IEnumerable<byte[]> Pieces(Payload payload) => payload switch
    {
        AlignmentMessage { Step: AlignmentStep.Commitment or AlignmentStep.Proof or AlignmentStep.Confirmation } message => [message.Bytes.ToArray()],
        BlindedIds ids => ReferencePsi.Items(ids.Bytes, 32).Take(50),
        // Where the number of tags lies, what is left at the end is no tag, and one random byte of it, two digits, stands in many an error by chance.
        BlindedTags tags => ReferencePsi.Items(tags.Bytes, Math.Max(LeastTag, tags.Bytes.Length / Math.Max(1, tags.Length))).Where(tag => tag.Length >= LeastTag).Take(50),
        _ => [],
    };

    // Reads on until the words of the party that gave up.
    private static async Task<PeerException> DrainAsync(InMemoryChannel channel)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
            try
            {
                await channel.ReceiveAsync<Payload>(0, null, patience.Token);
            }
            catch (PeerException e)
            {
                return e;
            }
    }
}
