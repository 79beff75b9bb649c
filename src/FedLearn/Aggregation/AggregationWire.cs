using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Privacy;

namespace FedLearn.Aggregation;

/// <summary>Writes integers and bytes, little-endian, texts as UTF-8 behind their length.</summary>
internal sealed class WireWriter
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    public WireWriter Int32(int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.GetSpan(sizeof(int)), value);
        _bytes.Advance(sizeof(int));
        return this;
    }

    public WireWriter Int64(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_bytes.GetSpan(sizeof(long)), value);
        _bytes.Advance(sizeof(long));
        return this;
    }

    public WireWriter Text(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return Int32(bytes.Length).Bytes(bytes);
    }

    public WireWriter Bytes(ReadOnlySpan<byte> bytes)
    {
        _bytes.Write(bytes);
        return this;
    }

    public WireWriter Clients(IReadOnlyCollection<int> clients)
    {
        Int32(clients.Count);
        foreach (int client in clients)
            Int32(client);
        return this;
    }

    public byte[] ToArray() => _bytes.WrittenSpan.ToArray();

    public byte[] Digest() => SHA256.HashData(_bytes.WrittenSpan);
}

/// <summary>Reads the body of a message; whatever does not fit is refused.</summary>
internal ref struct WireReader(ReadOnlyMemory<byte> body, string place)
{
    private ReadOnlyMemory<byte> _left = body;

    public ReadOnlyMemory<byte> Take(int count)
    {
        if (_left.Length < count)
            throw Malformed(place);
        ReadOnlyMemory<byte> taken = _left[..count];
        _left = _left[count..];
        return taken;
    }

    public int Int32() => BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)).Span);

    /// <summary>A number of entries of a fixed size, after which the message ends.</summary>
    public int Entries(int bytes, int most)
    {
        int count = Int32();
        if (count < 0 || count > most || _left.Length != (long)count * bytes)
            throw Malformed(place);
        return count;
    }

    /// <summary>A client, which must be above the one before it.</summary>
    public int Client(int before)
    {
        int client = Int32();
        return client > before ? client : throw Malformed(place);
    }

    public readonly void End()
    {
        if (!_left.IsEmpty)
            throw Malformed(place);
    }

    public static Diagnostics.PeerException Malformed(string place) => AggregationErrors.Peer(AggregationErrors.Malformed, place,
        "the bytes are no message of this step.", "Check that both sides run the same release of the software.");
}

/// <summary>Public keys of a client of a round.</summary>
/// <param name="Client">The client.</param>
/// <param name="Encryption">Its key for shares.</param>
/// <param name="Masking">Its key for masks.</param>
/// <param name="Signature">With an active server its signature over both, else empty.</param>
internal sealed record ClientKeys(int Client, ReadOnlyMemory<byte> Encryption, ReadOnlyMemory<byte> Masking, ReadOnlyMemory<byte> Signature);

/// <summary>What both sides of an attempt know: terms, bindings, and the form of the messages.</summary>
/// <remarks>Every message begins with the SHA-256 digest of the terms, so that one of another job, round, attempt or version is refused.</remarks>
internal sealed class AggregationContext
{
    public const int CiphertextBytes = PlaintextBytes + TagBytes;

    private const string Domain = "FedLearn secure aggregation 1";
    private const int DigestBytes = 32, PlaintextBytes = 2 * ShamirSharing.ShareBytes, TagBytes = 16, NonceBytes = 12;

    private readonly byte[] _digest;

    public AggregationContext(AggregationRound round)
    {
        round.Check();
        Round = round;
        WireWriter writer = Begin("terms").Int32(round.Clients).Int32(round.Threshold).Int32(round.Colluders).Int32((int)round.Server)
            .Int64(BitConverter.DoubleToInt64Bits(round.Step)).Int32(round.Tensors.Count);
        foreach (AggregationTensor tensor in round.Tensors)
            writer.Text(tensor.Name).Int32(tensor.Length);
        writer.Int32(round.EnrolmentKeys.Count);
        foreach ((int client, ReadOnlyMemory<byte> key) in round.EnrolmentKeys.OrderBy(key => key.Key))
            writer.Int32(client).Bytes(key.Span);
        _digest = writer.Digest();
    }

    public AggregationRound Round { get; }

    public bool IsActive => Round.Server == ServerTrust.Active;

    private int EntryBytes => sizeof(int) + 2 * Sodium.KeyBytes + (IsActive ? Sodium.SignatureBytes : 0);

    public string Place(string side) => $"secure aggregation, round {Round.Round}, attempt {Round.Attempt}, {side}";

    /// <summary>What every derivation and signature is bound to: purpose, job digest, round, attempt, model version and digest of the model.</summary>
    private WireWriter Begin(string purpose) => new WireWriter().Text(Domain).Text(purpose).Bytes(Round.JobDigest.Span).Int32(Round.Round).Int32(Round.Attempt).Int64(Round.ModelVersion).Bytes(Round.ModelDigest.Span);

    public AggregationMessage Message(AggregationStep step, WireWriter body) => new(step, new WireWriter().Bytes(_digest).Bytes(body.ToArray()).ToArray());

    public WireReader Open(AggregationMessage message, AggregationStep step, string place)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (message.Step != step)
            throw OutOfOrder(place);
        if (message.Bytes.Length < DigestBytes)
            throw WireReader.Malformed(place);
        if (!message.Bytes.Span[..DigestBytes].SequenceEqual(_digest))
            throw AggregationErrors.Peer(AggregationErrors.OtherAttempt, place, "the message belongs to another job, round, attempt or model version, or to other terms.",
                "Discard it; begin a new attempt if none of this one comes.");
        return new(message.Bytes[DigestBytes..], place);
    }

    public static Diagnostics.PeerException OutOfOrder(string place) => AggregationErrors.Peer(AggregationErrors.UnexpectedStep, place,
        "a message of another step came, or came out of order.", "Check that both sides run the same release of the software.");

    public byte[] SignedKeys(int client, ReadOnlySpan<byte> encryption, ReadOnlySpan<byte> masking) =>
        Begin("keys").Bytes(_digest).Int32(client).Bytes(encryption).Bytes(masking).ToArray();

    public byte[] SignedList(int client, ReadOnlySpan<byte> rosterDigest, IReadOnlyCollection<int> sharers, IReadOnlyCollection<int> survivors) =>
        Begin("consent").Int32(client).Bytes(Begin("list").Bytes(_digest).Bytes(rosterDigest).Clients(sharers).Clients(survivors).Digest()).ToArray();

    public AggregationMessage Keys(ClientKeys keys) => Message(AggregationStep.Keys, Entry(new WireWriter(), keys));

    private static WireWriter Entry(WireWriter writer, ClientKeys keys) =>
        writer.Int32(keys.Client).Bytes(keys.Encryption.Span).Bytes(keys.Masking.Span).Bytes(keys.Signature.Span);

    public ClientKeys ReadKeys(AggregationMessage message, string place)
    {
        WireReader reader = Open(message, AggregationStep.Keys, place);
        ClientKeys keys = ReadEntry(ref reader, -1, place);
        reader.End();
        return keys;
    }

    private ClientKeys ReadEntry(ref WireReader reader, int before, string place)
    {
        int client = reader.Client(before);
        ReadOnlyMemory<byte> encryption = reader.Take(Sodium.KeyBytes), masking = reader.Take(Sodium.KeyBytes);
        if (!IsActive)
            return new(client, encryption, masking, default);
        ReadOnlyMemory<byte> signature = reader.Take(Sodium.SignatureBytes);
        CheckSigned(client, SignedKeys(client, encryption.Span, masking.Span), signature.Span, place);
        return new(client, encryption, masking, signature);
    }

    public void CheckSigned(int client, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature, string place)
    {
        if (!Round.EnrolmentKeys.TryGetValue(client, out ReadOnlyMemory<byte> key))
            throw UnknownClient(place);
        if (!Sodium.Verify(message, signature, key.Span))
            throw AggregationErrors.Peer(AggregationErrors.BadSignature, place, $"the signature of client {client} is wrong.",
                "Do not go on with the server or client that sent it; compare enrolment keys.");
    }

    public static Diagnostics.PeerException UnknownClient(string place) => AggregationErrors.Peer(AggregationErrors.UnknownClient, place,
        "a client that is not of this round sends a message, or is named by one.", "Discard the message; check which clients were invited.");

    public AggregationMessage Roster(IReadOnlyCollection<ClientKeys> roster)
    {
        WireWriter writer = new WireWriter().Int32(roster.Count);
        foreach (ClientKeys keys in roster)
            Entry(writer, keys);
        return Message(AggregationStep.Roster, writer);
    }

    public ClientKeys[] ReadRoster(AggregationMessage message, string place)
    {
        WireReader reader = Open(message, AggregationStep.Roster, place);
        var roster = new ClientKeys[reader.Entries(EntryBytes, Round.Clients)];
        for (int i = 0, before = -1; i < roster.Length; before = roster[i++].Client)
            roster[i] = ReadEntry(ref reader, before, place);
        return roster;
    }

    public byte[] RosterDigest(IReadOnlyCollection<ClientKeys> roster)
    {
        WireWriter writer = Begin("roster").Int32(roster.Count);
        foreach (ClientKeys keys in roster)
            writer.Int32(keys.Client).Bytes(keys.Encryption.Span).Bytes(keys.Masking.Span);
        return writer.Digest();
    }

    public AggregationMessage Ciphertexts(AggregationStep step, IReadOnlyCollection<(int Client, ReadOnlyMemory<byte> Ciphertext)> ciphertexts) => Entries(step, ciphertexts);

    public (int Client, ReadOnlyMemory<byte> Ciphertext)[] ReadCiphertexts(AggregationMessage message, AggregationStep step, string place) => ReadEntries(message, step, CiphertextBytes, place);

    public AggregationMessage List(IReadOnlyCollection<int> survivors) => Entries(AggregationStep.Unmask, [.. survivors.Select(client => (client, ReadOnlyMemory<byte>.Empty))]);

    public int[] ReadList(AggregationMessage message, string place) => Array.ConvertAll(ReadEntries(message, AggregationStep.Unmask, 0, place), entry => entry.Client);

    public AggregationMessage Consents(IReadOnlyCollection<(int Client, ReadOnlyMemory<byte> Signature)> consents) => Entries(AggregationStep.Consents, consents);

    public (int Client, ReadOnlyMemory<byte> Signature)[] ReadConsents(AggregationMessage message, string place) => ReadEntries(message, AggregationStep.Consents, Sodium.SignatureBytes, place);

    /// <summary>Something of as many bytes for each of some clients, rising.</summary>
    private AggregationMessage Entries(AggregationStep step, IReadOnlyCollection<(int Client, ReadOnlyMemory<byte> Bytes)> entries)
    {
        WireWriter writer = new WireWriter().Int32(entries.Count);
        foreach ((int client, ReadOnlyMemory<byte> bytes) in entries)
            writer.Int32(client).Bytes(bytes.Span);
        return Message(step, writer);
    }

    private (int Client, ReadOnlyMemory<byte> Bytes)[] ReadEntries(AggregationMessage message, AggregationStep step, int bytes, string place)
    {
        WireReader reader = Open(message, step, place);
        var entries = new (int Client, ReadOnlyMemory<byte>)[reader.Entries(sizeof(int) + bytes, Round.Clients)];
        for (int i = 0, before = -1; i < entries.Length; before = entries[i++].Client)
            entries[i] = (reader.Client(before), reader.Take(bytes));
        return entries;
    }

    public AggregationMessage Reveal(IReadOnlyCollection<(int Client, bool SelfMask, ReadOnlyMemory<byte> Share)> shares)
    {
        WireWriter writer = new WireWriter().Int32(shares.Count);
        foreach ((int client, bool selfMask, ReadOnlyMemory<byte> share) in shares)
            writer.Int32(client).Int32(selfMask ? 1 : 0).Bytes(share.Span);
        return Message(AggregationStep.Reveal, writer);
    }

    public (int Client, bool SelfMask, ReadOnlyMemory<byte> Share)[] ReadReveal(AggregationMessage message, string place)
    {
        WireReader reader = Open(message, AggregationStep.Reveal, place);
        var shares = new (int Client, bool, ReadOnlyMemory<byte> Share)[reader.Entries(2 * sizeof(int) + ShamirSharing.ShareBytes, Round.Clients)];
        for (int i = 0, before = -1; i < shares.Length; before = shares[i++].Client)
        {
            (int client, int kind) = (reader.Client(before), reader.Int32());
            shares[i] = (client, kind == 1, reader.Take(ShamirSharing.ShareBytes));
            if (kind is not (0 or 1) || !ShamirSharing.IsShare(shares[i].Share.Span))
                throw WireReader.Malformed(place);
        }

        return shares;
    }

    /// <summary>Encrypts a client's two shares for another, under a key that serves this once: it is of this attempt and this direction.</summary>
    public byte[] Encrypt(AgreementPair own, int sender, int receiver, ReadOnlySpan<byte> receiverKey, ReadOnlySpan<byte> maskKeyShare, ReadOnlySpan<byte> selfMaskShare, string place)
    {
        byte[] ciphertext = new byte[CiphertextBytes];
        Span<byte> plaintext = stackalloc byte[PlaintextBytes];
        maskKeyShare.CopyTo(plaintext);
        selfMaskShare.CopyTo(plaintext[ShamirSharing.ShareBytes..]);
        byte[] binding = ShareBinding(sender, receiver);
        using AesGcm aead = Aead(own, receiverKey, binding, place);
        aead.Encrypt(stackalloc byte[NonceBytes], plaintext, ciphertext.AsSpan(0, PlaintextBytes), ciphertext.AsSpan(PlaintextBytes), binding);
        CryptographicOperations.ZeroMemory(plaintext);
        return ciphertext;
    }

    /// <summary>Decrypts what <see cref="Encrypt"/> made: the share of the mask key, then that of the self-mask.</summary>
    /// <returns>Whether it opens, and both are shares; else zeros are left in their place.</returns>
    public bool Decrypt(AgreementPair own, int sender, int receiver, ReadOnlySpan<byte> senderKey, ReadOnlySpan<byte> ciphertext, Span<byte> shares, string place)
    {
        byte[] binding = ShareBinding(sender, receiver);
        using AesGcm aead = Aead(own, senderKey, binding, place);
        try
        {
            aead.Decrypt(stackalloc byte[NonceBytes], ciphertext[..PlaintextBytes], ciphertext[PlaintextBytes..], shares, binding);
            if (ShamirSharing.IsShare(shares[..ShamirSharing.ShareBytes]) && ShamirSharing.IsShare(shares[ShamirSharing.ShareBytes..]))
                return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            // It was changed, or made for another.
        }

        CryptographicOperations.ZeroMemory(shares);
        return false;
    }

    private byte[] ShareBinding(int sender, int receiver) => Begin("share").Int32(sender).Int32(receiver).ToArray();

    private static AesGcm Aead(AgreementPair own, ReadOnlySpan<byte> peer, ReadOnlySpan<byte> info, string place)
    {
        Span<byte> key = stackalloc byte[32];
        own.Derive(peer, default, info, key, place);
        var aead = new AesGcm(key, TagBytes);
        CryptographicOperations.ZeroMemory(key);
        return aead;
    }

    /// <summary>Adds the pairwise mask of two clients, as the first of them does (subtract: what takes it away again).</summary>
    /// <remarks>Of two clients the lower adds and the higher subtracts, so that both masks cancel in a sum.</remarks>
    public void PairMask(ReadOnlySpan<byte> shared, ReadOnlySpan<byte> rosterDigest, int client, int other, bool takeAway, Span<ulong> vector)
    {
        foreach ((AggregationTensor tensor, int at) in Blocks())
            Apply(shared, rosterDigest, PairInfo(tensor, Math.Min(client, other), Math.Max(client, other)), client < other != takeAway, vector.Slice(at, tensor.Length));
    }

    /// <summary>Adds the self-mask of a client (takeAway: subtracts it).</summary>
    public void SelfMask(ReadOnlySpan<byte> seed, ReadOnlySpan<byte> rosterDigest, int client, bool takeAway, Span<ulong> vector)
    {
        foreach ((AggregationTensor tensor, int at) in Blocks())
            Apply(seed, rosterDigest, Begin("self").Text(tensor.Name).Int32(client).ToArray(), !takeAway, vector.Slice(at, tensor.Length));
    }

    internal byte[] PairInfo(AggregationTensor tensor, int lower, int higher) => Begin("pair").Text(tensor.Name).Int32(lower).Int32(higher).ToArray();

    private IEnumerable<(AggregationTensor Tensor, int At)> Blocks()
    {
        int at = 0;
        foreach (AggregationTensor tensor in Round.Tensors)
        {
            yield return (tensor, at);
            at += tensor.Length;
        }
    }

    private static void Apply(ReadOnlySpan<byte> secret, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> info, bool add, Span<ulong> vector)
    {
        Span<byte> seed = stackalloc byte[MaskStream.SeedBytes];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, seed, salt, info);
        if (add)
            MaskStream.Add(seed, vector);
        else
            MaskStream.Subtract(seed, vector);
        CryptographicOperations.ZeroMemory(seed);
    }
}
