using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Alignment.Ristretto;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Alignment;

/// <summary>What a session gives.</summary>
/// <param name="Result">What a user sees.</param>
/// <param name="RowsByTag">Own common rows in rising byte order of their tags, the order that both parties of a pair share; null where they are not learnt.</param>
internal sealed record PsiOutcome(PsiResult Result, int[]? RowsByTag);

/// <summary>One party's side of one session, suite FedLearn-PSI-v1: ristretto255 (RFC 9496), SHA-512, chunks of 4,096 ids. docs/protocol.md has the messages.</summary>
/// <remarks>Per id it keeps 16 bytes of each own point and each point of the peer until they are compared, then 16 of each tag, and 4 of the order in which it sends.</remarks>
internal sealed class PsiSession : IDisposable
{
    /// <summary>Name of the protocol and its cryptography.</summary>
    public const string Suite = "FedLearn-PSI-v1";

    /// <summary>Ids in a chunk; the last has fewer.</summary>
    public const int ChunkIds = 4096;

    /// <summary>Most ids that a side can announce: beyond it arrays end.</summary>
    public const int MostIds = 1 << 30;

    private const int PointBytes = SodiumRistretto.PointBytes, HeadBytes = 16, DigestBytes = SHA256.HashSizeInBytes;

    private readonly PartyRole _role;
    private readonly PreparedIds _ids;
    private readonly ReadOnlyMemory<byte> _jobDigest;
    private readonly IPartyChannel _channel;
    private readonly PsiOptions _options;
    private readonly IRistrettoEngine _engine;
    private readonly Workers _workers;
    private readonly IAlignmentLog _log;
    private readonly IProgress<AlignmentProgress>? _progress;

    private readonly List<string> _warnings = [];
    private PsiState? _state;
    private PsiSecrets? _secrets;
    private PsiKept? _kept;
    private byte[] _session = [], _tag = [], _commitment = [], _peerCommitment = [];
    private int[] _order = [];
    private UInt128[] _ownPoints = [], _made = [], _received = [];

    // By chunk as they arrive: a peer that announces many ids and sends none takes no memory.
    private UInt128[][] _peerPoints = [], _peerTags = [];
    private byte[][] _sent = [], _products = [], _proofs = [];
    private int _peerCount, _width, _pointsHeld, _tagsHeld;
    private long _done;
    private int? _common;

    public PsiSession(PartyRole role, PreparedIds ids, ReadOnlyMemory<byte> jobDigest, IPartyChannel channel, PsiOptions options, IRistrettoEngine engine, Workers workers,
        IProgress<AlignmentProgress>? progress)
    {
        if (role is not (PartyRole.Active or PartyRole.Passive))
            throw new ArgumentOutOfRangeException(nameof(role), role, "A party with ids is active or passive.");
        if (jobDigest.Length != DigestBytes)
            throw new ArgumentException("The digest of the job has 32 bytes.", nameof(jobDigest));
        (_role, _ids, _jobDigest, _channel, _options, _engine, _workers, _progress) = (role, ids, jobDigest, channel, options, engine, workers, progress);
        _log = options.Log ?? InMemoryAlignmentLog.Shared;
    }

    private bool SendsTags => _options.Output is PsiOutput.Both or PsiOutput.SizeOnly || _options.Output == (_role == PartyRole.Active ? PsiOutput.PassiveOnly : PsiOutput.ActiveOnly);

    private bool ReceivesTags => _options.Output is PsiOutput.Both or PsiOutput.SizeOnly || _options.Output == (_role == PartyRole.Active ? PsiOutput.ActiveOnly : PsiOutput.PassiveOnly);

    private int OwnCount => _ids.Announced;

    private long Total => OwnCount + (long)_peerCount + (SendsTags ? _peerCount : 0) + (ReceivesTags ? OwnCount : 0);

    /// <summary>Runs the session up to what it tells. Its folder of state is kept until <see cref="Finish"/>, unless the peer broke the rules.</summary>
    public async Task<PsiOutcome> RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await RunStepsAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (PsiFaults.EndsSession(e))
        {
            try
            {
                _state?.Remove();
            }
            catch (ConfigurationException)
            {
                // What the peer did is the error to tell.
            }

            throw;
        }
    }

    /// <summary>The alignment has ended well: the log is told, and the folder of state is emptied.</summary>
    public void Finish()
    {
        _log.End(Convert.ToHexStringLower(_session), _common);
        _state?.Remove();
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _state?.Dispose();
        _secrets?.Dispose();
    }

    private async Task<PsiOutcome> RunStepsAsync(CancellationToken cancellationToken)
    {
        ChannelStatistics before = _channel.Statistics;
        await GreetAsync(cancellationToken).ConfigureAwait(false);
        await CommitAsync(cancellationToken).ConfigureAwait(false);
        await ChannelGuard.AllAsync([SendPointsAsync, ReceivePointsAsync], cancellationToken).ConfigureAwait(false);
        await _workers.RunAsync(ComparePoints, cancellationToken).ConfigureAwait(false);
        await ChannelGuard.AllAsync([SendTagsAsync, ReceiveTagsAsync], cancellationToken).ConfigureAwait(false);
        (byte[] tags, int[] rows) = ReceivesTags ? await _workers.RunAsync(Intersect, cancellationToken).ConfigureAwait(false) : ([], []);
        if (_options.Output is PsiOutput.Both or PsiOutput.SizeOnly)
            await ConfirmAsync(tags, cancellationToken).ConfigureAwait(false);
        _common = ReceivesTags ? rows.Length : null;
        bool learnsRows = ReceivesTags && _options.Output != PsiOutput.SizeOnly;
        int[] rising = [.. rows];
        Array.Sort(rising);
        ChannelStatistics after = _channel.Statistics;
        return new PsiOutcome(new PsiResult
        {
            Rows = learnsRows ? rising : null,
            Size = _common,
            OwnIds = OwnCount,
            PeerIds = _peerCount,
            Session = Convert.ToHexStringLower(_session),
            Resumed = _kept is not null,
            Engine = _engine.Name,
            BytesSent = after.BytesSent - before.BytesSent,
            BytesReceived = after.BytesReceived - before.BytesReceived,
            Warnings = [.. Warnings()],
        }, learnsRows ? rows : null);
    }

    private IEnumerable<string> Warnings()
    {
        if (_ids.LowEntropy is { } guessable)
            yield return guessable;
        if (_options.Log is null)
            yield return "no log of alignments is kept on disk: how often a peer aligns is counted only until this process ends.";
        foreach (string warning in _warnings)
            yield return warning;
    }

    private async Task GreetAsync(CancellationToken cancellationToken)
    {
        PsiKept? kept = _options.StateDirectory is { } folder ? await _workers.RunAsync(() => Load(folder), cancellationToken).ConfigureAwait(false) : null;
        _secrets = kept?.Secrets;
        var own = new PsiHello(_options.Output, _options.Proof, RandomNumberGenerator.GetBytes(PsiHello.NonceBytes), (ulong)OwnCount, kept?.Session ?? new byte[PsiHello.SessionBytes],
            kept is null ? 0 : (uint)_state!.Peer.Count, kept is null ? 0 : (uint)_state!.Tags.Count);
        await _channel.SendAsync(0, Message(AlignmentStep.Hello, own.Write(), "alignment: number of rows"), cancellationToken).ConfigureAwait(false);
        PsiHello theirs = PsiHello.Read((await PsiFaults.ReceiveAsync(_channel, AlignmentStep.Hello, cancellationToken).ConfigureAwait(false)).Span, own, _channel);
        AlignmentCaps caps = _options.Caps with { PeerIds = Math.Min(_options.Caps.PeerIds, MostIds) };
        caps.Check(Record((long)Math.Min(theirs.Count, long.MaxValue)), begun: 0);
        _peerCount = (int)theirs.Count;
        _width = TagBytes(OwnCount, _peerCount);
        if (kept is not null && theirs.Count == (ulong)kept.PeerCount && theirs.Resume.AsSpan().SequenceEqual(kept.Session))
        {
            if (theirs.PointChunks > (uint)Chunks(OwnCount) || theirs.TagChunks > (uint)(SendsTags ? Chunks(_peerCount) : 0))
                throw PsiFaults.Peer(PsiErrors.WrongCount, _channel, "hello", "says that it kept more chunks than there are.");
            (_kept, _session, _pointsHeld, _tagsHeld) = (kept, kept.Session, (int)theirs.PointChunks, (int)theirs.TagChunks);
        }
        else
        {
            if (kept is not null)
            {
                _secrets!.Dispose();
                _state!.Clear();
                _warnings.Add("an alignment that was interrupted began anew, since the peer had not kept its part.");
            }

            _secrets = PsiSecrets.Fresh();
            _session = SessionId(_role, _jobDigest.Span, _channel.LocalParty, _channel.RemoteParty, own.Nonce, theirs.Nonce);
        }

        _tag = HashToGroup.Tag(_session);
        _log.Begin(Record(_peerCount), caps);
    }

    private AlignmentRecord Record(long peerIds) => new(Convert.ToHexStringLower(_session), _channel.LocalParty, _channel.RemoteParty, "psi " + Suite, OutputName(_options.Output), OwnCount, peerIds,
        Convert.ToHexStringLower(_jobDigest.Span));

    private PsiKept? Load(string folder)
    {
        _state = PsiState.Open(folder, _channel.LocalParty, _channel.RemoteParty,
            new PsiSubject(_jobDigest.ToArray(), _ids.Digest(), _role, _options.Output, _options.Proof, OwnCount));
        PsiKept? kept = _state.Load();
        if (_state.Ignored)
            _warnings.Add("the folder of interrupted alignments held one that is damaged or about another job, other ids or other settings; it was removed, and the alignment began anew.");
        return kept;
    }

    private async Task CommitAsync(CancellationToken cancellationToken)
    {
        byte[] product = new byte[PointBytes];
        _commitment = new byte[PointBytes];
        SodiumRistretto.MultiplyBase(_secrets!.Scalar, _commitment);
        await _channel.SendAsync(0, Message(AlignmentStep.Commitment, _commitment, "alignment: commitment to a secret scalar"), cancellationToken).ConfigureAwait(false);
        _peerCommitment = (await PsiFaults.ReceiveAsync(_channel, AlignmentStep.Commitment, PointBytes, cancellationToken).ConfigureAwait(false)).ToArray();
        if (_peerCommitment.AsSpan().SequenceEqual(_commitment))
            throw PsiFaults.Peer(PsiErrors.Reflection, _channel, "commitment", "sent this party's own commitment back.");
        if (SodiumRistretto.Instance.Multiply(_peerCommitment, _secrets.Scalar, product) >= 0)
            throw PsiFaults.Peer(PsiErrors.InvalidPoint, _channel, "commitment", "sent a commitment that is no point of the group, or its identity.");
        if (_kept is not null && !_peerCommitment.AsSpan().SequenceEqual(_kept.PeerCommitment))
            throw PsiFaults.Peer(PsiErrors.SettingsDiffer, _channel, "commitment", "goes on with an interrupted session, and sent another commitment than before.");
        await _workers.RunAsync(Prepare, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Takes the memory of the session, writes down that it began, or reads what an interrupted one had.</summary>
    private bool Prepare()
    {
        _order = _secrets!.Permutation("points"u8, OwnCount);
        (_ownPoints, _received) = (new UInt128[OwnCount], new UInt128[ReceivesTags ? OwnCount : 0]);
        (_peerPoints, _peerTags) = (new UInt128[Chunks(_peerCount)][], new UInt128[Chunks(_peerCount)][]);
        if (_options.Proof)
            (_sent, _products, _proofs) = (new byte[Chunks(OwnCount)][], new byte[Chunks(_peerCount)][], new byte[Chunks(_peerCount)][]);
        if (_kept is null)
            _state?.Begin(new PsiKept(_session, _peerCount, _peerCommitment, _secrets));
        else
            Restore(_state!);
        return true;
    }

    private void Restore(PsiState state)
    {
        for (int chunk = 0; chunk < state.Peer.Count; chunk++)
        {
            int length = Length(chunk, _peerCount), heads = length * HeadBytes;
            byte[] record = Stored(state.Peer, chunk);
            (_peerPoints[chunk], _peerTags[chunk]) = (new UInt128[length], new UInt128[length]);
            Keys(record.AsSpan(0, heads), HeadBytes, _peerPoints[chunk]);
            if (_options.Proof)
            {
                (_products[chunk], _proofs[chunk]) = (record[heads..^ChunkProof.Bytes], record[^ChunkProof.Bytes..]);
                TagKeys(_products[chunk], _peerTags[chunk]);
            }
            else
            {
                Keys(record.AsSpan(heads), _width, _peerTags[chunk]);
            }
        }

        for (int chunk = 0; ReceivesTags && chunk < state.Tags.Count; chunk++)
            Keys(Stored(state.Tags, chunk), _width, _received.AsSpan(Start(chunk)));
        Interlocked.Add(ref _done, Math.Min(_peerCount, state.Peer.Count * (long)ChunkIds) + Math.Min(OwnCount, state.Tags.Count * (long)ChunkIds));
    }

    private Task SendPointsAsync(CancellationToken cancellationToken) => SendChunksAsync(OwnCount, 0, Points, async (chunk, points, stop) =>
    {
        if (_state is { } state && chunk == state.Points.Count)
            PsiState.Guarded(() => state.Points.Append(points));
        if (chunk >= _pointsHeld)
            await _channel.SendAsync(0, Cryptosystem.Release(new BlindedIds(points), "alignment: blinded ids", Suite, _channel.LocalParty), stop).ConfigureAwait(false);
    }, cancellationToken);

    private Task ReceivePointsAsync(CancellationToken cancellationToken) => ReceiveChunksAsync<BlindedIds>(_peerCount, _state?.Peer.Count ?? 0, PointBytes, false, "points",
        (chunk, points, _) => Double(chunk, points), record => _state!.Peer.Append(record), cancellationToken);

    private async Task SendTagsAsync(CancellationToken cancellationToken)
    {
        if (!SendsTags)
            return;
        int[]? shuffled = _options.Output == PsiOutput.SizeOnly ? _secrets!.Permutation("tags"u8, _peerCount) : null;
        await SendChunksAsync(_peerCount, _tagsHeld, chunk => _options.Proof ? _products[chunk] : Tags(chunk, shuffled), async (chunk, tags, stop) =>
        {
            await _channel.SendAsync(0, Cryptosystem.Release(new BlindedTags(tags, Length(chunk, _peerCount)), "alignment: blinded tags", Suite, _channel.LocalParty), stop).ConfigureAwait(false);
            if (_options.Proof)
                await _channel.SendAsync(0, Message(AlignmentStep.Proof, _proofs[chunk], "alignment: proof of one scalar"), stop).ConfigureAwait(false);
        }, cancellationToken).ConfigureAwait(false);
    }

    private Task ReceiveTagsAsync(CancellationToken cancellationToken) => !ReceivesTags ? Task.CompletedTask
        : ReceiveChunksAsync<BlindedTags>(OwnCount, _state?.Tags.Count ?? 0, _options.Proof ? PointBytes : _width, _options.Proof, "tags", TakeTags, record => _state!.Tags.Append(record),
            cancellationToken);

    private async Task ConfirmAsync(byte[] commonTags, CancellationToken cancellationToken)
    {
        byte[] own = ConfirmationDigest(_session, commonTags);
        await _channel.SendAsync(0, Message(AlignmentStep.Confirmation, own, "alignment: digest of the common tags"), cancellationToken).ConfigureAwait(false);
        ReadOnlyMemory<byte> theirs = await PsiFaults.ReceiveAsync(_channel, AlignmentStep.Confirmation, DigestBytes, cancellationToken).ConfigureAwait(false);
        if (!theirs.Span.SequenceEqual(own))
            throw PsiFaults.Peer(PsiErrors.Disagreement, _channel, "confirmation", "found other common ids than this party.");
    }

    /// <summary>A chunk of own points: computed, or as an interrupted session left it.</summary>
    private byte[] Points(int chunk)
    {
        byte[] points = _state is { } state && chunk < state.Points.Count ? Stored(state.Points, chunk) : Blind(chunk);
        Keys(points, PointBytes, _ownPoints.AsSpan(Start(chunk)));
        if (_options.Proof)
            _sent[chunk] = points;
        return points;
    }

    /// <summary>A chunk of own points, in the order drawn.</summary>
    private byte[] Blind(int chunk)
    {
        Span<int> order = _order.AsSpan(Start(chunk), Length(chunk, OwnCount));
        byte[] points = new byte[order.Length * PointBytes], hashes = ArrayPool<byte>.Shared.Rent(ChunkIds * HashToGroup.UniformBytes), id = [], work = [];
        for (int i = 0; i < order.Length; i++)
        {
            Span<byte> hash = hashes.AsSpan(i * HashToGroup.UniformBytes, HashToGroup.UniformBytes);
            if (order[i] < _ids.Count)
            {
                int length = HashToGroup.Encode(_ids[order[i]], ref id);
                HashToGroup.Expand(id.AsSpan(0, length), _tag, hash, ref work);
            }
            else
            {
                Invented(order[i], hash);
            }
        }

        _engine.Blind(hashes.AsSpan(0, order.Length * HashToGroup.UniformBytes), _secrets!.Scalar, points);
        CryptographicOperations.ZeroMemory(hashes);
        ArrayPool<byte>.Shared.Return(hashes);
        return points;
    }

    // An invented id is a random element of the group, which no id of the peer hashes to.
    private void Invented(int number, Span<byte> hash)
    {
        Span<byte> message = stackalloc byte[sizeof(int) + 1];
        message[0] = (byte)'i';
        BinaryPrimitives.WriteInt32LittleEndian(message[1..], number);
        _secrets!.Derive(message, hash);
    }

    /// <summary>Checks a chunk of the peer's points, blinds it a second time and makes its tags.</summary>
    /// <returns>What the folder of state keeps of it.</returns>
    private byte[] Double(int chunk, ReadOnlyMemory<byte> points)
    {
        byte[] products = new byte[points.Length];
        if (_engine.Multiply(points.Span, _secrets!.Scalar, products) >= 0)
            throw PsiFaults.Peer(PsiErrors.InvalidPoint, _channel, "points", "sent bytes that are no point of the group, or its identity.");
        int length = points.Length / PointBytes;
        (_peerPoints[chunk], _peerTags[chunk]) = (new UInt128[length], new UInt128[length]);
        Keys(points.Span, PointBytes, _peerPoints[chunk]);
        TagKeys(products, _peerTags[chunk]);
        if (_options.Proof)
            (_products[chunk], _proofs[chunk]) = (products, ChunkProof.Prove(_session, _secrets, _commitment, points.Span, products));
        if (_state is null)
            return [];
        byte[] heads = new byte[length * HeadBytes];
        for (int i = 0; i < length; i++)
            points.Span.Slice(i * PointBytes, HeadBytes).CopyTo(heads.AsSpan(i * HeadBytes));
        return _options.Proof ? [.. heads, .. products, .. _proofs[chunk]] : [.. heads, .. Tags(_peerTags[chunk])];
    }

    /// <summary>Takes a chunk of tags of own points; in proof mode of points, of which the proof is checked and the tags are made here.</summary>
    /// <returns>The tags.</returns>
    private byte[] TakeTags(int chunk, ReadOnlyMemory<byte> tags, ReadOnlyMemory<byte> proof)
    {
        Span<UInt128> keys = _received.AsSpan(Start(chunk), Length(chunk, OwnCount));
        if (!_options.Proof)
        {
            Keys(tags.Span, _width, keys);
            return _state is null ? [] : tags.ToArray();
        }

        switch (ChunkProof.Verify(_session, _peerCommitment, _sent[chunk], tags.Span, proof.Span))
        {
            case ProofCheck.InvalidPoint:
                throw PsiFaults.Peer(PsiErrors.InvalidPoint, _channel, "tags", "sent bytes that are no point of the group, or its identity.");
            case ProofCheck.Fails:
                throw PsiFaults.Peer(PsiErrors.ProofFailed, _channel, "tags", "sent a proof that does not hold: it did not blind all ids with the scalar that it committed to.");
        }

        TagKeys(tags.Span, keys);
        return Tags(keys);
    }

    private void TagKeys(ReadOnlySpan<byte> products, Span<UInt128> keys)
    {
        Span<byte> input = stackalloc byte[PsiHello.SessionBytes + PointBytes], digest = stackalloc byte[DigestBytes];
        _session.CopyTo(input);
        for (int i = 0; i < products.Length / PointBytes; i++)
        {
            products.Slice(i * PointBytes, PointBytes).CopyTo(input[PsiHello.SessionBytes..]);
            SHA256.HashData(input, digest);                                     // tag = first t bytes of SHA-256(sid || point)
            digest[_width..].Clear();
            keys[i] = BinaryPrimitives.ReadUInt128BigEndian(digest);
        }
    }

    private byte[] Tags(int chunk, int[]? shuffled)
    {
        ReadOnlySpan<UInt128> keys = _made.AsSpan(Start(chunk), Length(chunk, _peerCount));
        if (shuffled is null)
            return Tags(keys);
        UInt128[] drawn = new UInt128[keys.Length];
        for (int i = 0; i < drawn.Length; i++)
            drawn[i] = _made[shuffled[Start(chunk) + i]];
        return Tags(drawn);
    }

    private byte[] Tags(ReadOnlySpan<UInt128> keys)
    {
        byte[] tags = new byte[keys.Length * _width];
        Span<byte> whole = stackalloc byte[16];
        for (int i = 0; i < keys.Length; i++)
        {
            BinaryPrimitives.WriteUInt128BigEndian(whole, keys[i]);
            whole[.._width].CopyTo(tags.AsSpan(i * _width));
        }

        return tags;
    }

    /// <summary>No point came twice, and none is one of this party's: then the peer would read this party's tags as its own.</summary>
    private bool ComparePoints()
    {
        UInt128[] peerPoints = Joined(ref _peerPoints);
        _made = Joined(ref _peerTags);
        Array.Sort(_ownPoints);
        Array.Sort(peerPoints);
        for (int i = 1; i < peerPoints.Length; i++)
            if (peerPoints[i] == peerPoints[i - 1])
                throw PsiFaults.Peer(PsiErrors.RepeatedPoint, _channel, "points", "sent a point twice.");
        for (int i = 0, j = 0; i < _ownPoints.Length && j < peerPoints.Length;)
        {
            if (_ownPoints[i] == peerPoints[j])
                throw PsiFaults.Peer(PsiErrors.Reflection, _channel, "points", "sent a point of this party back.");
            if (_ownPoints[i] < peerPoints[j])
                i++;
            else
                j++;
        }

        _ownPoints = [];
        // No tag leaves before this list is the one that tags can be had for, whatever happens to the machine.
        if (_state is { } state)
            PsiState.Guarded(state.Peer.Flush);
        return true;
    }

    /// <summary>All chunks in one.</summary>
    private static UInt128[] Joined(ref UInt128[][] chunks)
    {
        var all = new UInt128[chunks.Sum(chunk => chunk.Length)];
        for (int i = 0; i < chunks.Length; i++)
            chunks[i].CopyTo(all, Start(i));
        chunks = [];
        return all;
    }

    /// <summary>The common tags in rising byte order, and the own rows that they belong to (numbers without meaning for an output of the size alone).</summary>
    private (byte[] Tags, int[] Rows) Intersect()
    {
        int[] places = new int[OwnCount];
        for (int i = 0; i < places.Length; i++)
            places[i] = i;
        Array.Sort(_received, places);
        Array.Sort(_made);
        var rows = new List<int>();
        var tags = new ArrayBufferWriter<byte>();
        Span<byte> whole = stackalloc byte[16];
        bool doubtful = false;
        for (int i = 0, j = 0; i < _received.Length && j < _made.Length;)
        {
            if (_received[i] != _made[j])
            {
                if (_received[i] < _made[j])
                    i++;
                else
                    j++;
                continue;
            }

            int id = _order[places[i]], times = 1;
            while (i + times < _received.Length && _received[i + times] == _received[i])
                times++;
            bool invented = _options.Output != PsiOutput.SizeOnly && id >= _ids.Count;
            if (times == 1 && !invented)
            {
                rows.Add(id < _ids.Count ? _ids.RowOf(id) : -1);
                BinaryPrimitives.WriteUInt128BigEndian(whole, _received[i]);
                tags.Write(whole[.._width]);
            }
            else if (SendsTags)
            {
                throw times > 1 ? PsiFaults.Peer(PsiErrors.RepeatedPoint, _channel, "tags", "sent a tag twice.")
                    : PsiFaults.Peer(PsiErrors.Disagreement, _channel, "tags", "sent a tag by which an invented id would be common.");
            }
            else
            {
                // The peer is to learn nothing: an error would tell it that a tag of its choice is common.
                doubtful = true;
            }

            i += times;
        }

        if (doubtful)
            _warnings.Add("the peer sent a tag twice, or one by which an invented id would be common; these rows were left out. The peer was not told, and its other answers are not to be trusted.");
        (_received, _made) = ([], []);
        return (tags.WrittenSpan.ToArray(), [.. rows]);
    }

    /// <summary>Makes chunks on the workers, a few ahead, and sends them in order.</summary>
    private async Task SendChunksAsync(int ids, int first, Func<int, byte[]> make, Func<int, byte[], CancellationToken, Task> send, CancellationToken cancellationToken)
    {
        var making = new Queue<Task<byte[]>>();
        try
        {
            for (int sent = first, next = first, chunks = Chunks(ids); sent < chunks; sent++)
            {
                for (; next < chunks && making.Count < _workers.Window; next++)
                {
                    int chunk = next;
                    making.Enqueue(_workers.RunAsync(() => make(chunk), cancellationToken));
                }

                byte[] made = await making.Dequeue().ConfigureAwait(false);
                await send(sent, made, cancellationToken).ConfigureAwait(false);
                Report(Length(sent, ids));
            }
        }
        finally
        {
            await EndAsync(making).ConfigureAwait(false);
        }
    }

    /// <summary>Receives chunks in order, treats them on the workers, a few at once, and keeps the results in order.</summary>
    private async Task ReceiveChunksAsync<T>(int ids, int first, int width, bool proof, string step, Func<int, ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, byte[]> treat, Action<byte[]> keep,
        CancellationToken cancellationToken) where T : SealedPayload
    {
        var treating = new Queue<Task<byte[]>>();
        int taken = first;
        Task receiving = Task.CompletedTask;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            for (int i = first, chunks = Chunks(ids); i < chunks; i++)
            {
                if (treating.Count == _workers.Window)
                    await TakeAsync().ConfigureAwait(false);
                Task<T> next = _channel.ReceiveAsync<T>(0, null, stop.Token).AsTask();
                receiving = next;
                // A chunk that breaks the rules ends the session at once, whether or not another one comes.
                while (treating.Count > 0 && await Task.WhenAny(next, treating.Peek()).ConfigureAwait(false) != next)
                    await TakeAsync().ConfigureAwait(false);
                T message = await next.ConfigureAwait(false);
                int chunk = i, expected = Length(chunk, ids);
                if (message.Length != expected || message.Bytes.Length != (long)expected * width)
                    throw PsiFaults.Peer(PsiErrors.WrongCount, _channel, step, $"sent {message.Length} {step} in {message.Bytes.Length} bytes where {expected} of {width} bytes were due.");
                ReadOnlyMemory<byte> proven = proof ? await PsiFaults.ReceiveAsync(_channel, AlignmentStep.Proof, ChunkProof.Bytes, cancellationToken).ConfigureAwait(false) : default;
                treating.Enqueue(_workers.RunAsync(() => treat(chunk, message.Bytes, proven), cancellationToken));
            }

            while (treating.Count > 0)
                await TakeAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (!PsiFaults.EndsSession(e))
        {
            // What has arrived need not be sent again.
            while (treating.Count > 0 && await SucceedsAsync(treating.Peek()).ConfigureAwait(false))
                await TakeAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await EndAsync(treating).ConfigureAwait(false);
        }

        async Task TakeAsync()
        {
            byte[] record = await treating.Dequeue().ConfigureAwait(false);
            if (_state is not null)
                PsiState.Guarded(() => keep(record));
            Report(Length(taken++, ids));
        }
    }

    private static async Task<bool> SucceedsAsync(Task task)
    {
        await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompletedSuccessfully;
    }

    private static byte[] Stored(ChunkFile file, int chunk)
    {
        byte[] bytes = [];
        PsiState.Guarded(() => bytes = file.Read(chunk));
        return bytes;
    }

    // Nothing may still compute when the secrets are wiped.
    private static async Task EndAsync<T>(Queue<Task<T>> tasks)
    {
        foreach (Task<T> task in tasks)
            await ((Task)task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private void Report(int ids) => _progress?.Report(new AlignmentProgress(_channel.LocalParty, _channel.RemoteParty, Interlocked.Add(ref _done, ids), Total));

    private static Released<AlignmentMessage> Message(AlignmentStep step, byte[] bytes, string reason) => Disclosure.Unprotected(new AlignmentMessage(step, bytes), reason);

    /// <summary>Chunks of so many ids.</summary>
    public static int Chunks(int ids) => (int)(((long)ids + ChunkIds - 1) / ChunkIds);

    private static int Start(int chunk) => chunk * ChunkIds;

    /// <summary>Ids in a chunk.</summary>
    public static int Length(int chunk, int ids) => Math.Min(ChunkIds, ids - Start(chunk));

    // The order of the numbers is that of the bytes.
    private static void Keys(ReadOnlySpan<byte> items, int width, Span<UInt128> keys)
    {
        Span<byte> whole = stackalloc byte[16];
        whole.Clear();
        for (int i = 0; i < items.Length / width; i++)
        {
            items.Slice(i * width, Math.Min(width, 16)).CopyTo(whole);
            keys[i] = BinaryPrimitives.ReadUInt128BigEndian(whole);
        }
    }

    /// <summary>Who learns what, in words for a log.</summary>
    public static string OutputName(PsiOutput output) => output switch
    {
        PsiOutput.Both => "both",
        PsiOutput.ActiveOnly => "active-only",
        PsiOutput.PassiveOnly => "passive-only",
        _ => "size-only",
    };

    /// <summary>Width of a tag: ceil((40 + ceil(log2 max(1, n_G)) + ceil(log2 max(1, n_H))) / 8) bytes, so that two different ids look equal with a probability below 2^-40.</summary>
    public static int TagBytes(int own, int peer) => (40 + Bits(own) + Bits(peer) + 7) / 8;

    private static int Bits(int n) => n <= 1 ? 0 : 32 - BitOperations.LeadingZeroCount((uint)n - 1);

    /// <summary>SHA-256("FedLearn-PSI-v1 session" || job digest || length and name of the active party || of the passive one || nonce of the active party || of the passive one).</summary>
    public static byte[] SessionId(PartyRole role, ReadOnlySpan<byte> jobDigest, string own, string peer, ReadOnlySpan<byte> ownNonce, ReadOnlySpan<byte> peerNonce)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData("FedLearn-PSI-v1 session"u8);
        hash.AppendData(jobDigest);
        Span<byte> length = stackalloc byte[sizeof(uint)];
        foreach (string name in role == PartyRole.Active ? [own, peer] : new[] { peer, own })
        {
            byte[] bytes = Encoding.UTF8.GetBytes(name);
            BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)bytes.Length);
            hash.AppendData(length);
            hash.AppendData(bytes);
        }

        hash.AppendData(role == PartyRole.Active ? ownNonce : peerNonce);
        hash.AppendData(role == PartyRole.Active ? peerNonce : ownNonce);
        return hash.GetHashAndReset();
    }

    /// <summary>SHA-256("FedLearn-PSI-v1 common" || sid || common tags in rising byte order).</summary>
    public static byte[] ConfirmationDigest(ReadOnlySpan<byte> session, ReadOnlySpan<byte> commonTags) => SHA256.HashData([.. "FedLearn-PSI-v1 common"u8, .. session, .. commonTags]);
}
