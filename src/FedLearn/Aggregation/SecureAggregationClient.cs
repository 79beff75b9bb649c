using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Privacy;

namespace FedLearn.Aggregation;

/// <summary>A client of secure aggregation (Bonawitz et al., CCS 2017): its vector leaves under masks that cancel in the sum over the clients of a round, and
/// it helps to open that sum and no other. It knows no transport: it takes and gives messages.</summary>
/// <remarks>
/// <para>An attempt: <see cref="Begin"/>, <see cref="Share"/>, <see cref="Upload{T}"/>, <see cref="Reveal"/>; with an active server
/// <see cref="Consent"/> before the last. Secrets are wiped as soon as they have served. The rules, and why each is needed, are in docs/proofs/secure-aggregation.md.</para>
/// <para>Errors of every step: <see cref="FedLearn.Diagnostics.PeerException"/> for a message that is malformed (FL4062), of another attempt (FL4061), out of order (FL4060) or
/// not that of an honest server (FL4063, FL4067, FL4070, FL4071, FL4073). A message that is refused as it stands leaves the attempt where it was; a key that turns out to be wrong ends it. Not for several threads at once.</para>
/// </remarks>
public sealed class SecureAggregationClient : IDisposable
{
    private readonly EnrolmentKey? _enrolment;
    private readonly Dictionary<int, bool> _asked = [];
    private Phase _phase = Phase.Idle;
    private ReadOnlyMemory<byte> _job;
    private AggregationContext? _context;
    private AgreementPair? _encryption, _masking;
    private byte[] _selfMask = [], _rosterDigest = [], _received = [];
    private ClientKeys[] _roster = [];
    private int[] _sharers = [], _survivors = [];
    private bool _returned;

    private enum Phase { Idle, Keys, Shares, Uploaded, Consented, Done }

    /// <summary>Creates a client of one job.</summary>
    /// <param name="client">Its number, at least 0, unique among the clients.</param>
    /// <param name="enrolment">Its signing key, needed with an active server; not disposed of.</param>
    /// <param name="last">The last attempt that an earlier object of this client began, where one did and the client kept it: older ones are refused.</param>
    public SecureAggregationClient(int client, EnrolmentKey? enrolment = null, (int Round, int Attempt)? last = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(client);
        (Client, _enrolment, LastAttempt) = (client, enrolment, last ?? (-1, -1));
    }

    /// <summary>The client of an attempt in which an earlier object of it has uploaded, from what <see cref="Save"/> gave: it can answer for that, and do nothing else of the attempt.</summary>
    internal static SecureAggregationClient Restore(int client, EnrolmentKey? enrolment, AggregationRound round, Coordination.StateReader state)
    {
        var restored = new SecureAggregationClient(client, enrolment, (round.Round, round.Attempt))
        {
            _context = new AggregationContext(round),
            _job = round.JobDigest.ToArray(),
            _returned = true,
            _phase = (Phase)state.Integer("phase"),
            _roster = [.. state.Integers("roster").Select(number => new ClientKeys(number, default, default, default))],
            _rosterDigest = state.Bytes("rosterDigest").ToArray(),
            _sharers = state.Integers("sharers"),
            _survivors = state.Integers("survivors"),
        };
        ReadOnlyMemory<byte> shares = state.Bytes("shares");
        if (restored._phase is not (Phase.Uploaded or Phase.Consented) || shares.Length != restored._roster.Length * 2 * ShamirSharing.ShareBytes)
            throw state.Damaged();
        restored._received = GC.AllocateArray<byte>(shares.Length, pinned: true);
        shares.Span.CopyTo(restored._received);
        return restored;
    }

    /// <summary>Tells the client that its connection was lost: it then gives a consent that it gave before once more, the same one, for the same list.</summary>
    internal void Return() => _returned = true;

    /// <summary>What the client needs after a restart to answer the one request to open the sum in which its upload is. As secret as its data, until the attempt is over.</summary>
    /// <exception cref="InvalidOperationException">It has not uploaded, or has answered.</exception>
    internal byte[] Save() => _phase is not (Phase.Uploaded or Phase.Consented) ? throw new InvalidOperationException("There is nothing to answer for.")
        : new Coordination.StateWriter(SavedKind).Add("phase", (long)_phase).Add("roster", _roster.Select(keys => keys.Client).ToArray()).Add("rosterDigest", _rosterDigest)
            .Add("sharers", _sharers).Add("survivors", _survivors).Add("shares", _received).ToArray();

    /// <summary>Kind of what <see cref="Save"/> gives.</summary>
    internal const string SavedKind = "secure aggregation client 1";

    /// <summary>Its number.</summary>
    public int Client { get; }

    /// <summary>The last attempt that was begun; (-1, -1): none. A client that can be restarted keeps it before it sends the keys.</summary>
    public (int Round, int Attempt) LastAttempt { get; private set; }

    private string Place => (_context ?? throw new InvalidOperationException("No attempt was begun.")).Place($"client {Client}");

    /// <summary>Begins an attempt with fresh keys, and gives up the one before it.</summary>
    /// <param name="round">Its terms, which are those of the client's own job.</param>
    /// <returns>The keys, for the server.</returns>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2450, FL2451, FL2453: the terms promise nothing.</exception>
    /// <exception cref="FedLearn.Diagnostics.PrivacyRefusedException">FL5142: this attempt, or a later one, was begun already.</exception>
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">FL6143: libsodium is missing.</exception>
    public AggregationMessage Begin(AggregationRound round)
    {
        ArgumentNullException.ThrowIfNull(round);
        var context = new AggregationContext(round);
        if (!_job.IsEmpty && !_job.Span.SequenceEqual(round.JobDigest.Span))
            throw new ArgumentException("A client object serves one job.", nameof(round));
        if (context.IsActive && (_enrolment is null || !round.EnrolmentKeys.TryGetValue(Client, out ReadOnlyMemory<byte> own) || !own.Span.SequenceEqual(_enrolment.PublicKey.Span)))
            throw AggregationErrors.Configuration(AggregationErrors.RoundTerms, context.Place($"client {Client}"), "this client's enrolment key is missing or not that of the terms.",
                "Enrol the client and give it its signing key.");
        if ((round.Round, round.Attempt).CompareTo(LastAttempt) <= 0)
            throw AggregationErrors.Refused(AggregationErrors.UsedAgain, context.Place($"client {Client}"), "this attempt, or a later one, was begun already.",
                "Repeat a failed round as a new attempt, which is charged by itself.");
        Wipe();
        (_context, _job, LastAttempt) = (context, round.JobDigest.ToArray(), (round.Round, round.Attempt));
        (_encryption, _masking) = (new AgreementPair(), new AgreementPair());
        _selfMask = GC.AllocateArray<byte>(ShamirSharing.SecretBytes, pinned: true);
        RandomNumberGenerator.Fill(_selfMask);
        _phase = Phase.Keys;
        byte[] signature = context.IsActive ? _enrolment!.Sign(context.SignedKeys(Client, _encryption.PublicKey, _masking.PublicKey)) : [];
        return context.Keys(new(Client, _encryption.PublicKey, _masking.PublicKey, signature));
    }

    /// <summary>Splits this attempt's secrets among the clients of the roster.</summary>
    /// <param name="roster">The server's list of keys.</param>
    /// <returns>Encrypted shares, for the server to deliver.</returns>
    public AggregationMessage Share(AggregationMessage roster)
    {
        AggregationContext context = Expect(Phase.Keys);
        ClientKeys[] clients = context.ReadRoster(roster, Place);
        ClientKeys? own = Array.Find(clients, keys => keys.Client == Client);
        if (clients.Length < context.Round.Threshold || own is null || !own.Encryption.Span.SequenceEqual(_encryption!.PublicKey) || !own.Masking.Span.SequenceEqual(_masking!.PublicKey)
            || clients.DistinctBy(keys => Convert.ToHexString(keys.Encryption.Span)).Count() != clients.Length
            || clients.DistinctBy(keys => Convert.ToHexString(keys.Masking.Span)).Count() != clients.Length)
            throw AggregationErrors.Peer(AggregationErrors.BadRoster, Place, "the roster is under the threshold, lacks this client or its keys, or names a key twice.",
                "Wait for an attempt with enough clients; if it persists, do not trust the server.");
        // From here on every failure ends the attempt: its secrets are split once.
        _phase = Phase.Done;
        _roster = clients;
        _rosterDigest = context.RosterDigest(clients);
        byte[] keyShares = ShamirSharing.Split(_masking.Secret, context.Round.Threshold, clients.Length);
        byte[] selfShares = ShamirSharing.Split(_selfMask, context.Round.Threshold, clients.Length);
        try
        {
            _received = GC.AllocateArray<byte>(clients.Length * 2 * ShamirSharing.ShareBytes, pinned: true);
            var ciphertexts = new List<(int, ReadOnlyMemory<byte>)>(clients.Length);
            for (int i = 0; i < clients.Length; i++)
            {
                ReadOnlySpan<byte> keyShare = At(keyShares, i), selfShare = At(selfShares, i);
                if (clients[i] == own)
                {
                    keyShare.CopyTo(Received(i, selfMask: false));
                    selfShare.CopyTo(Received(i, selfMask: true));
                }
                else
                {
                    ciphertexts.Add((clients[i].Client, context.Encrypt(_encryption, Client, clients[i].Client, clients[i].Encryption.Span, keyShare, selfShare, Place)));
                }
            }

            _phase = Phase.Shares;
            return context.Ciphertexts(AggregationStep.Shares, ciphertexts);
        }
        catch
        {
            Wipe();
            throw;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(keyShares);
            CryptographicOperations.ZeroMemory(selfShares);
        }
    }

    /// <summary>Masks what was released on the round's lattice.</summary>
    /// <typeparam name="T">The payload; its integers are on a lattice of the round's step.</typeparam>
    /// <param name="delivery">The shares that the others encrypted to this client.</param>
    /// <param name="update">What may leave already.</param>
    /// <param name="name">Name of the release for the report.</param>
    /// <returns>The masked integers, for the server; no second time.</returns>
    /// <exception cref="ArgumentException">The vector has another length or step than the round.</exception>
    public Released<MaskedVector> Upload<T>(AggregationMessage delivery, Released<T> update, string name = "masked update") where T : VectorPayload
    {
        AggregationContext context = Expect(Phase.Shares);
        ArgumentNullException.ThrowIfNull(update);
        if (update.Payload.Lattice is not { } lattice || lattice.Length != context.Round.Length || !lattice.Step.Equals(context.Round.Step))
            throw new ArgumentException("The vector is not of the round's length on the round's lattice.", nameof(update));
        ulong[] mask = Mask(context, delivery);
        Released<MaskedVector> masked = AdditiveMask.Apply(update, mask, name);
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(mask.AsSpan()));
        return masked;
    }

    /// <summary>Masks integers that nothing but the masks protects.</summary>
    /// <param name="delivery">The shares that the others encrypted to this client.</param>
    /// <param name="integers">The vector; sums over the clients are mod 2^64.</param>
    /// <param name="reason">Why it may leave without noise; the report lists it.</param>
    /// <inheritdoc cref="Upload{T}" path="/returns" />
    /// <exception cref="ArgumentException">The vector has another length than the round, or the reason is empty.</exception>
    public Released<MaskedVector> Upload(AggregationMessage delivery, ReadOnlySpan<long> integers, string reason)
    {
        AggregationContext context = Expect(Phase.Shares);
        ArgumentException.ThrowIfNullOrWhiteSpace(reason);
        if (integers.Length != context.Round.Length)
            throw new ArgumentException("The vector is not of the round's length.", nameof(integers));
        ulong[] mask = Mask(context, delivery);
        byte[] masked = GC.AllocateUninitializedArray<byte>(integers.Length * sizeof(ulong));
        for (int i = 0; i < integers.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(masked.AsSpan(i * sizeof(ulong)), unchecked((ulong)integers[i] + mask[i]));
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(mask.AsSpan()));
        return Disclosure.Unprotected(new MaskedVector(masked, context.Round.Step), reason);
    }

    /// <summary>Opens the delivered shares and makes this client's mask: its self-mask, and one with every other client that shared.</summary>
    private ulong[] Mask(AggregationContext context, AggregationMessage delivery)
    {
        (int Client, ReadOnlyMemory<byte> Ciphertext)[] ciphertexts = context.ReadCiphertexts(delivery, AggregationStep.Delivery, Place);
        if (ciphertexts.Length + 1 < context.Round.Threshold)
            throw AggregationErrors.Peer(AggregationErrors.TooFewClients, Place, "fewer clients than the threshold shared their secrets.", "Wait for a new attempt.");
        // From here on every failure ends the attempt: a half of these steps must not be repeated with other messages.
        _phase = Phase.Done;
        ulong[] mask = new ulong[context.Round.Length];
        byte[] shared = GC.AllocateArray<byte>(Sodium.KeyBytes, pinned: true);
        try
        {
            foreach ((int other, ReadOnlyMemory<byte> ciphertext) in ciphertexts)
            {
                int place = PlaceOf(other);
                if (place < 0 || other == Client)
                    throw AggregationContext.UnknownClient(Place);
                // One that does not open is the other's fault: this client goes on, and has none of it to give.
                context.Decrypt(_encryption!, other, Client, _roster[place].Encryption.Span, ciphertext.Span, Received(place), Place);
            }

            foreach ((int other, _) in ciphertexts)
            {
                AgreementPair.Agree(_masking!.Secret, _roster[PlaceOf(other)].Masking.Span, shared, Place);
                context.PairMask(shared, _rosterDigest, Client, other, takeAway: false, mask);
            }

            context.SelfMask(_selfMask, _rosterDigest, Client, takeAway: false, mask);
        }
        catch
        {
            Wipe();
            throw;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(shared);
        }

        _sharers = [.. ciphertexts.Select(ciphertext => ciphertext.Client).Append(Client).Order()];
        WipeKeys();
        _phase = Phase.Uploaded;
        return mask;
    }

    /// <summary>With an active server: signs the list of clients whose sum is to be opened.</summary>
    /// <param name="unmask">The server's list.</param>
    /// <returns>The signature, for the server.</returns>
    /// <inheritdoc cref="Reveal" path="/exception" />
    public AggregationMessage Consent(AggregationMessage unmask)
    {
        AggregationContext context = Attempt(active: true);
        int[] survivors = context.ReadList(unmask, Place);
        // The same list again after a restart: its signature may be lost, and is the same.
        if (!(_returned && _phase == Phase.Consented && survivors.AsSpan().SequenceEqual(_survivors)))
            CheckList(context, survivors);
        _survivors = survivors;
        _phase = Phase.Consented;
        return context.Message(AggregationStep.Consent, new WireWriter().Bytes(_enrolment!.Sign(context.SignedList(Client, _rosterDigest, _sharers, survivors))));
    }

    /// <summary>Answers the one request of an attempt to open a sum: of every client of the list the share of its self-mask, of every other that shared the
    /// share of its mask key; of one whose shares did not open none. Wipes what is left of the attempt's secrets.</summary>
    /// <param name="request">The server's list; with an active server the clients' signatures of the list that this client signed.</param>
    /// <returns>The shares, for the server.</returns>
    /// <exception cref="FedLearn.Diagnostics.PrivacyRefusedException">FL5138: a request was answered already. FL5139: the list is under the threshold or names a client that
    /// did not share. FL5140: it lacks this client. FL5141: a client is asked for whose other share was given.</exception>
    public AggregationMessage Reveal(AggregationMessage request)
    {
        AggregationContext context = Attempt(active: null);
        if (context.IsActive)
        {
            if (_phase == Phase.Done && _asked.Count > 0)
                throw Second();
            if (_phase != Phase.Consented)
                throw AggregationContext.OutOfOrder(Place);
            CheckConsents(context, request);
        }
        else
        {
            int[] survivors = context.ReadList(request, Place);
            CheckList(context, survivors);
            _survivors = survivors;
        }

        var shares = new List<(int, bool, ReadOnlyMemory<byte>)>(_sharers.Length);
        foreach (int client in _sharers)
        {
            bool survived = Array.BinarySearch(_survivors, client) >= 0;
            _asked[client] = survived;
            // Zeros stand where none was opened.
            if (Received(PlaceOf(client)).ContainsAnyExcept((byte)0))
                shares.Add((client, survived, Received(PlaceOf(client), survived).ToArray()));
        }

        _phase = Phase.Done;
        CryptographicOperations.ZeroMemory(_received);
        return context.Reveal(shares);
    }

    /// <summary>Wipes the secrets of an attempt. The client then takes part in no more of it.</summary>
    public void Dispose()
    {
        Wipe();
        _phase = Phase.Done;
    }

    private AggregationContext Attempt(bool? active)
    {
        if (_context is not { } context)
            throw new InvalidOperationException("No attempt was begun.");
        return active is null || active == context.IsActive ? context : throw AggregationContext.OutOfOrder(Place);
    }

    private AggregationContext Expect(Phase phase)
    {
        AggregationContext context = Attempt(active: null);
        if (_phase == phase)
            return context;
        if (phase == Phase.Shares && _phase > phase)
            throw AggregationErrors.Refused(AggregationErrors.UsedAgain, Place, "the masks of this attempt have served, and a second vector under them would tell the difference of both.",
                "Begin a new attempt.");
        throw AggregationContext.OutOfOrder(Place);
    }

    /// <summary>Refuses a list after the one that was signed or answered, and says when it asks for the other kind of share; then one whose sum must not be opened.</summary>
    private void CheckList(AggregationContext context, int[] survivors)
    {
        foreach ((int client, bool survived) in _asked)
            if (Array.BinarySearch(survivors, client) >= 0 != survived)
                throw AggregationErrors.Refused(AggregationErrors.BothShares, Place, $"both kinds of share are asked for client {client}, which would open its vector.",
                    "Do not trust the server: no honest one asks for both.");
        if (_asked.Count > 0 || _phase == Phase.Consented)
            throw Second();
        if (_phase != Phase.Uploaded)
            throw AggregationContext.OutOfOrder(Place);
        if (survivors.Length < context.Round.Threshold || survivors.Any(client => Array.BinarySearch(_sharers, client) < 0))
            throw AggregationErrors.Refused(AggregationErrors.ListRefused, Place, "the list of clients whose sum is to be opened is under the threshold, or names one that did not share.",
                "Begin a new attempt with enough clients.");
        if (Array.BinarySearch(survivors, Client) < 0)
            throw AggregationErrors.Refused(AggregationErrors.ListWithoutMe, Place, "the list of clients whose sum is to be opened lacks this client, which uploaded.",
                "Ask only clients of the sum.");
    }

    private Diagnostics.PrivacyRefusedException Second() => AggregationErrors.Refused(AggregationErrors.SecondUnmask, Place,
        "a second request to open a sum of the same attempt.", "Begin a new attempt: a client opens one sum of each.");

    private void CheckConsents(AggregationContext context, AggregationMessage message)
    {
        (int Client, ReadOnlyMemory<byte> Signature)[] consents = context.ReadConsents(message, Place);
        foreach ((int client, ReadOnlyMemory<byte> signature) in consents)
        {
            if (Array.BinarySearch(_survivors, client) < 0)
                throw AggregationContext.UnknownClient(Place);
            context.CheckSigned(client, context.SignedList(client, _rosterDigest, _sharers, _survivors), signature.Span, Place);
        }

        if (consents.Length < context.Round.Threshold)
            throw AggregationErrors.Peer(AggregationErrors.TooFewConsents, Place, "fewer clients than the threshold signed the same list.", "Wait for a new attempt.");
    }

    private int PlaceOf(int client) => Array.FindIndex(_roster, keys => keys.Client == client);

    private static ReadOnlySpan<byte> At(byte[] shares, int index) => shares.AsSpan(index * ShamirSharing.ShareBytes, ShamirSharing.ShareBytes);

    private Span<byte> Received(int place) => _received.AsSpan(place * 2 * ShamirSharing.ShareBytes, 2 * ShamirSharing.ShareBytes);

    private Span<byte> Received(int place, bool selfMask) => Received(place).Slice(selfMask ? ShamirSharing.ShareBytes : 0, ShamirSharing.ShareBytes);

    private void WipeKeys()
    {
        _encryption?.Dispose();
        _masking?.Dispose();
        CryptographicOperations.ZeroMemory(_selfMask);
    }

    private void Wipe()
    {
        WipeKeys();
        CryptographicOperations.ZeroMemory(_received);
        (_encryption, _masking, _selfMask, _received, _roster, _sharers, _survivors) = (null, null, [], [], [], [], []);
        _asked.Clear();
    }
}
