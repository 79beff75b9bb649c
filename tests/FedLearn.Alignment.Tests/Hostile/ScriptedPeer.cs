using System.Buffers.Binary;
using System.Security.Cryptography;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment.Tests.Hostile;

/// <summary>The other party of a private set intersection, step by step, without a line of the library's own: honest until a test makes it something else.</summary>
internal sealed class ScriptedPeer(IPartyChannel channel, PartyRole role, IReadOnlyList<string> ids, byte[] jobDigest, PsiOutput output = PsiOutput.Both, bool proof = false)
{
    private ScriptedPeer? _resumes;

    /// <summary>What may be changed on the way out; each gets the honest thing.</summary>
    public Func<byte[], byte[]> ChangeHello { get; set; } = bytes => bytes;

    public Func<byte[], byte[]> ChangeCommitment { get; set; } = bytes => bytes;

    public Func<List<byte[]>, List<byte[]>> ChangePoints { get; set; } = points => points;

    public Func<IReadOnlyList<byte[]>, IReadOnlyList<byte[]>> ChangePointChunks { get; set; } = chunks => chunks;

    public Func<List<byte[]>, List<byte[]>> ChangeTags { get; set; } = tags => tags;

    /// <summary>In proof mode: the products in place of tags, and the proof made for those that the first of the two changes left.</summary>
    public Func<List<byte[]>, List<byte[]>> ChangeProducts { get; set; } = products => products;

    public Func<byte[], byte[]> ChangeProof { get; set; } = bytes => bytes;

    public Func<byte[], byte[]> ChangeConfirmation { get; set; } = bytes => bytes;

    /// <summary>Called before each step that sends something, with its name: to send what the step would not, or to stop.</summary>
    public Func<string, Task> Before { get; set; } = _ => Task.CompletedTask;

    /// <summary>Goes on with a session that an earlier script began, with its scalar and its points.</summary>
    public ScriptedPeer? Resumes
    {
        set
        {
            _resumes = value;
            Scalar = value!.Scalar;
        }
    }

    /// <summary>Chunks of this peer's points that the other side says it kept.</summary>
    public int PointChunksTheyHold => BinaryPrimitives.ReadInt32LittleEndian(TheirHello.AsSpan(76));

    /// <summary>Sends its points in the order of its rows, to see what comes back in which order.</summary>
    public bool KeepsOrder { get; set; }

    public IPartyChannel Channel { get; } = channel;

    public byte[] Nonce { get; } = RandomNumberGenerator.GetBytes(32);

    public byte[] Scalar { get; private set; } = ReferencePsi.Scalar();

    public long AnnouncedCount { get; set; } = ids.Count;

    public byte[] TheirHello { get; private set; } = [];

    public byte[] TheirCommitment { get; private set; } = [];

    public byte[] Session { get; private set; } = [];

    public int Width { get; private set; }

    /// <summary>Own ids in the order in which their points were sent.</summary>
    public string[] Order { get; private set; } = [];

    public List<byte[]> OwnPoints { get; private set; } = [];

    public List<byte[]> TheirPoints { get; } = [];

    public List<byte[]> Made { get; private set; } = [];

    public List<byte[]> TheirTags { get; } = [];

    public string[] Common { get; private set; } = [];

    public long TheirCount => BinaryPrimitives.ReadInt64LittleEndian(TheirHello.AsSpan(36));

    private bool SendsTags => output is PsiOutput.Both or PsiOutput.SizeOnly || output == (role == PartyRole.Active ? PsiOutput.PassiveOnly : PsiOutput.ActiveOnly);

    private bool ReceivesTags => output is PsiOutput.Both or PsiOutput.SizeOnly || output == (role == PartyRole.Active ? PsiOutput.ActiveOnly : PsiOutput.PassiveOnly);

    /// <summary>The whole protocol.</summary>
    public async Task RunAsync()
    {
        await GreetAsync();
        await CommitAsync();
        await SendPointsAsync();
        await ReceivePointsAsync();
        await SendTagsAsync();
        await ReceiveTagsAsync();
        await ConfirmAsync();
    }

    public async Task GreetAsync()
    {
        byte[] hello = [1, 1, (byte)output, proof ? (byte)1 : (byte)0, .. Nonce, .. new byte[8 + 32 + 8]];
        BinaryPrimitives.WriteInt64LittleEndian(hello.AsSpan(36), AnnouncedCount);
        _resumes?.Session.CopyTo(hello, 44);            // it holds none of the other side's points and tags
        await Before("hello");
        await SayAsync(AlignmentStep.Hello, ChangeHello(hello));
        TheirHello = await HearAsync(AlignmentStep.Hello);
        byte[] theirNonce = TheirHello[4..36];
        if (_resumes is not null && TheirHello.AsSpan(44, 32).SequenceEqual(_resumes.Session))
            (Session, Order, OwnPoints) = (_resumes.Session, _resumes.Order, _resumes.OwnPoints);
        else
            Session = role == PartyRole.Active
            ? ReferencePsi.Session(jobDigest, Channel.LocalParty, Channel.RemoteParty, Nonce, theirNonce)
            : ReferencePsi.Session(jobDigest, Channel.RemoteParty, Channel.LocalParty, theirNonce, Nonce);
        Width = ReferencePsi.TagBytes(AnnouncedCount, TheirCount);
    }

    public async Task CommitAsync()
    {
        await Before("commitment");
        // The peer's may be needed to make one's own: a cheat waits for it.
        TheirCommitment = await HearAsync(AlignmentStep.Commitment);
        await SayAsync(AlignmentStep.Commitment, ChangeCommitment(ReferenceSodium.MultiplyBase(Scalar)));
    }

    public async Task SendPointsAsync()
    {
        int held = 0;
        if (OwnPoints.Count == 0)
        {
            Order = [.. ids];
            if (!KeepsOrder)
                Random.Shared.Shuffle(Order);
            OwnPoints = ChangePoints([.. Order.Select(Blind)]);
        }
        else
        {
            held = PointChunksTheyHold;
        }

        await Before("points");
        foreach (byte[] chunk in ChangePointChunks([.. ReferencePsi.Chunks(OwnPoints).Skip(held)]))
            await SendAsync(new BlindedIds(chunk));
    }

    public byte[] Blind(string id) => ReferenceSodium.Multiply(Scalar, ReferenceSodium.Map(ReferencePsi.Uniform(id, Session)))!;

    public async Task ReceivePointsAsync()
    {
        while (TheirPoints.Count < TheirCount)
            TheirPoints.AddRange(ReferencePsi.Items((await Channel.ReceiveAsync<BlindedIds>(0, null)).Bytes, 32));
        Made = [.. TheirPoints.Select(point => ReferencePsi.Tag(Session, ReferenceSodium.Multiply(Scalar, point)!, Width))];
    }

    public async Task SendTagsAsync()
    {
        await Before("tags");
        if (!SendsTags)
            return;
        if (proof)
        {
            // Sets of one chunk: the slow group proves. What was changed is sent; the proof is that of what is right.
            List<byte[]> products = [.. TheirPoints.Select(point => ReferenceSodium.Multiply(Scalar, point)!)];
            byte[] right = ReferenceProof.Prove(Session, Scalar, TheirPoints, products);
            await SendAsync(new BlindedTags(ChangeProducts(products).SelectMany(product => product).ToArray(), TheirPoints.Count));
            await Before("proof");
            await SayAsync(AlignmentStep.Proof, ChangeProof(right));
            return;
        }

        byte[][] tags = [.. Made];
        if (output == PsiOutput.SizeOnly)
            Random.Shared.Shuffle(tags);
        int held = _resumes is not null && Session == _resumes.Session ? BinaryPrimitives.ReadInt32LittleEndian(TheirHello.AsSpan(80)) : 0;
        foreach (byte[][] chunk in ChangeTags([.. tags]).Chunk(ReferencePsi.ChunkIds).Skip(held))
            await SendAsync(new BlindedTags(chunk.SelectMany(tag => tag).ToArray(), chunk.Length));
    }

    public async Task ReceiveTagsAsync()
    {
        while (ReceivesTags && TheirTags.Count < OwnPoints.Count)
        {
            byte[][] items = [.. ReferencePsi.Items((await Channel.ReceiveAsync<BlindedTags>(0, null)).Bytes, proof ? 32 : Width)];
            if (proof)
                Assert.True(ReferenceProof.Holds(Session, TheirCommitment, OwnPoints, items, await HearAsync(AlignmentStep.Proof)));
            TheirTags.AddRange(proof ? items.Select(product => ReferencePsi.Tag(Session, product, Width)) : items);
        }

        HashSet<string> made = [.. Made.Select(Convert.ToHexString)];
        Common = [.. Order.Where((_, i) => i < TheirTags.Count && made.Contains(Convert.ToHexString(TheirTags[i])))];
    }

    public async Task ConfirmAsync()
    {
        await Before("confirmation");
        if (output is not (PsiOutput.Both or PsiOutput.SizeOnly))
            return;
        HashSet<string> made = [.. Made.Select(Convert.ToHexString)];
        byte[] digest = ReferencePsi.Confirmation(Session, TheirTags.Where(tag => made.Contains(Convert.ToHexString(tag))));
        await SayAsync(AlignmentStep.Confirmation, ChangeConfirmation(digest));
        await HearAsync(AlignmentStep.Confirmation);
    }

    public Task SayAsync(AlignmentStep step, byte[] bytes) => SendAsync(new AlignmentMessage(step, bytes));

    public Task SendAsync<T>(T payload, int round = 0) where T : Payload => Channel.SendAsync(round, Disclosure.Unprotected(payload, "script")).AsTask();

    public async Task<byte[]> HearAsync(AlignmentStep step)
    {
        AlignmentMessage message = await Channel.ReceiveAsync<AlignmentMessage>(0, null);
        Assert.Equal(step, message.Step);
        return message.Bytes.ToArray();
    }
}
