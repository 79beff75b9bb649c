using System.Security.Cryptography;
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
internal sealed partial class PsiSession : IDisposable
{
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

    // Kept chunk by chunk as they arrive, so that a peer which announces many ids and sends none takes no memory.
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
                // The error to tell is what the peer did.
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
        PsiKept? kept = _options.StateDirectory is { } folder
            ? await ChannelGuard.WhileTheyWaitAsync([_channel], stop => _workers.RunAsync(() => Load(folder), stop), cancellationToken).ConfigureAwait(false) : null;
        var own = new PsiHello(_options.Output, _options.Proof, RandomNumberGenerator.GetBytes(PsiHello.NonceBytes), (ulong)OwnCount, kept?.Session ?? new byte[PsiHello.SessionBytes],
            kept is null ? 0 : (uint)_state!.Peer.Count, kept is null ? 0 : (uint)_state!.Tags.Count);
        await _channel.SendAsync(0, Message(AlignmentStep.Hello, own.Write(), "alignment: number of rows"), cancellationToken).ConfigureAwait(false);
        // The peer may still be preparing its ids, and says WAITING until it is done.
        Payload first = await PsiFaults.OtherThanWaitingAsync(_channel, _options.WaitLimit, TimeProvider.System, "hello", "it to begin", cancellationToken).ConfigureAwait(false);
        PsiHello theirs = PsiHello.Read(PsiFaults.BytesOf(first as AlignmentMessage ?? throw PsiFaults.Peer(ProtocolErrors.UnexpectedMessage, _channel, "hello",
            $"sent {first.GetType().Name} where {nameof(AlignmentMessage)} was due."), _channel, AlignmentStep.Hello).Span, own, _channel);
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
        _secrets = kept?.Secrets;
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
            byte[] record = Stored(state, state.Peer, chunk);
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
            Keys(Stored(state, state.Tags, chunk), _width, _received.AsSpan(Start(chunk)));
        Interlocked.Add(ref _done, Math.Min(_peerCount, state.Peer.Count * (long)ChunkIds) + Math.Min(OwnCount, state.Tags.Count * (long)ChunkIds));
    }

    private Task SendPointsAsync(CancellationToken cancellationToken) => SendChunksAsync(OwnCount, 0, Points, async (chunk, points, stop) =>
    {
        if (_state is { } state && chunk == state.Points.Count)
            state.Guarded(() => state.Points.Append(points));
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
            throw PsiFaults.Peer(PsiErrors.Disagreement, _channel, "confirmation", "found other common ids than this party.", PsiFaults.SameSession);
    }

    private static Released<AlignmentMessage> Message(AlignmentStep step, byte[] bytes, string reason) => Disclosure.Unprotected(new AlignmentMessage(step, bytes), reason);
}
