using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;

namespace FedLearn.Alignment;

// What is computed of a chunk, and of all of them once they are there.
internal sealed partial class PsiSession
{
    /// <summary>A chunk of own points: computed, or as an interrupted session left it.</summary>
    private byte[] Points(int chunk)
    {
        byte[] points = _state is { } state && chunk < state.Points.Count ? Stored(state, state.Points, chunk) : Blind(chunk);
        Keys(points, PointBytes, _ownPoints.AsSpan(Start(chunk)));
        if (_options.Proof)
            _sent[chunk] = points;
        return points;
    }

    /// <summary>A chunk of own points, in the order drawn.</summary>
    private byte[] Blind(int chunk)
    {
        Span<int> order = _order.AsSpan(Start(chunk), Length(chunk, OwnCount));
        byte[] points = new byte[order.Length * PointBytes], hashes = ArrayPool<byte>.Shared.Rent(ChunkIds * HashToGroup.UniformBytes), id = [];
        using var expander = new MessageExpander(_tag);
        for (int i = 0; i < order.Length; i++)
        {
            Span<byte> hash = hashes.AsSpan(i * HashToGroup.UniformBytes, HashToGroup.UniformBytes);
            if (order[i] < _ids.Count)
            {
                int length = HashToGroup.Encode(_ids[order[i]], ref id);
                expander.Expand(id.AsSpan(0, length), hash);
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
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        _session.CopyTo(input);
        for (int i = 0; i < products.Length / PointBytes; i++)
        {
            products.Slice(i * PointBytes, PointBytes).CopyTo(input[PsiHello.SessionBytes..]);
            hash.AppendData(input);
            hash.GetHashAndReset(digest);                                       // tag = first t bytes of SHA-256(sid || point)
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
            state.Guarded(state.Peer.Flush);
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
                    : PsiFaults.Peer(PsiErrors.Disagreement, _channel, "tags", "sent a tag by which an invented id would be common.", PsiFaults.SameSession);
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
}
