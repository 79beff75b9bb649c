using System.Numerics;
using System.Security.Cryptography;
using FedLearn.Privacy;

namespace FedLearn.Aggregation;

/// <summary>The sum of a round's vectors.</summary>
/// <param name="Integers">The integers, mod 2^64 as two's complement: exactly the sum of the clients' integers while that is below 2^63 in size.</param>
/// <param name="Step">What 1 stands for.</param>
/// <param name="Clients">Whose vectors were added, rising.</param>
public sealed record AggregationSum(long[] Integers, double Step, IReadOnlyList<int> Clients)
{
    /// <summary>The numbers: step times each integer.</summary>
    public double[] Values() => Array.ConvertAll(Integers, integer => Step * integer);
}

/// <summary>The server of one attempt of secure aggregation (Bonawitz et al., CCS 2017): relays keys and shares, adds masked vectors, and opens their sum when
/// at least t clients help. It knows no transport.</summary>
/// <remarks>
/// <para>In order: <see cref="AcceptKeys"/>, <see cref="Roster"/>, <see cref="AcceptShares"/>, <see cref="Deliveries"/>, <see cref="AcceptUpload"/>, <see cref="Unmask"/>, with an active
/// server <see cref="AcceptConsent"/> and <see cref="Consents"/>, then <see cref="AcceptReveal"/> and <see cref="Open"/>. A client may fall out anywhere.</para>
/// <para>An error of an Accept method is that client's, and leaves the attempt as it was: malformed (FL4062), of another attempt (FL4061), of a client that is not of the round
/// (FL4063), twice (FL4064), too late (FL4066), of wrong length (FL4072). The methods that end a phase throw FL4065 under the threshold. Not for several threads at once.</para>
/// </remarks>
public sealed class SecureAggregationServer
{
    private readonly AggregationContext _context;
    private readonly SortedDictionary<int, ClientKeys> _keys = [];
    private readonly SortedDictionary<int, Dictionary<int, ReadOnlyMemory<byte>>> _shares = [];
    private readonly SortedSet<int> _uploaded = [];
    private readonly SortedDictionary<int, ReadOnlyMemory<byte>> _consents = [];
    private readonly SortedDictionary<int, Dictionary<int, ReadOnlyMemory<byte>>> _revealed = [];
    private readonly ulong[] _sum;
    private ClientKeys[] _roster = [];
    private byte[] _rosterDigest = [];
    private int[] _sharers = [], _survivors = [];
    private Phase _phase = Phase.Keys;

    private enum Phase { Keys, Shares, Uploads, Consents, Reveals, Open }

    /// <summary>Begins an attempt.</summary>
    /// <param name="round">Its terms.</param>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2450, FL2451, FL2453: the terms promise nothing.</exception>
    public SecureAggregationServer(AggregationRound round)
    {
        ArgumentNullException.ThrowIfNull(round);
        _context = new(round);
        _sum = new ulong[round.Length];
    }

    /// <summary>The terms.</summary>
    public AggregationRound Round => _context.Round;

    /// <summary>Clients that are in so far: that sent keys, then shares, then their vector; rising.</summary>
    public IReadOnlyList<int> Clients => _phase switch
    {
        Phase.Keys => [.. _keys.Keys],
        Phase.Shares => [.. _shares.Keys],
        Phase.Uploads => [.. _uploaded],
        _ => _survivors,
    };

    private string Place => _context.Place("server");

    /// <summary>Takes a client's keys.</summary>
    /// <param name="client">Who sent them, as the connection knows.</param>
    /// <param name="message">The message.</param>
    /// <exception cref="FedLearn.Diagnostics.PeerException">See the remarks of the class; the roster is full (FL4066); a key has low order (FL4067).</exception>
    public void AcceptKeys(int client, AggregationMessage message)
    {
        string place = Admit(client, Phase.Keys, isOfRound: true, _keys.ContainsKey(client));
        ClientKeys keys = _context.ReadKeys(message, place);
        if (keys.Client != client)
            throw AggregationContext.UnknownClient(place);
        if (_keys.Count == Round.Clients)
            throw Late(place);
        // Every client of the roster would refuse it, and leave the job.
        AgreementPair.CheckPublic(keys.Encryption.Span, place);
        AgreementPair.CheckPublic(keys.Masking.Span, place);
        _keys.Add(client, keys);
    }

    /// <summary>Ends the phase of keys.</summary>
    /// <returns>The list of keys, for every client of it.</returns>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4065: fewer clients than the threshold.</exception>
    public AggregationMessage Roster()
    {
        Close(Phase.Keys, _keys.Count);
        _roster = [.. _keys.Values];
        _rosterDigest = _context.RosterDigest(_roster);
        _phase = Phase.Shares;
        return _context.Roster(_roster);
    }

    /// <summary>Takes a client's encrypted shares, which must be for all others of the roster.</summary>
    /// <inheritdoc cref="AcceptKeys" path="/param" />
    /// <exception cref="FedLearn.Diagnostics.PeerException">See the remarks of the class.</exception>
    public void AcceptShares(int client, AggregationMessage message)
    {
        string place = Admit(client, Phase.Shares, _keys.ContainsKey(client), _shares.ContainsKey(client));
        (int Client, ReadOnlyMemory<byte> Ciphertext)[] shares = _context.ReadCiphertexts(message, AggregationStep.Shares, place);
        if (!shares.Select(share => share.Client).SequenceEqual(_keys.Keys.Where(other => other != client)))
            throw WireReader.Malformed(place);
        _shares.Add(client, shares.ToDictionary(share => share.Client, share => share.Ciphertext));
    }

    /// <summary>Ends the phase of shares.</summary>
    /// <returns>For every client that shared, what the others that shared encrypted to it.</returns>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4065: fewer clients than the threshold.</exception>
    public IReadOnlyDictionary<int, AggregationMessage> Deliveries()
    {
        Close(Phase.Shares, _shares.Count);
        _sharers = [.. _shares.Keys];
        _phase = Phase.Uploads;
        var deliveries = _sharers.ToDictionary(client => client, client =>
            _context.Ciphertexts(AggregationStep.Delivery, [.. _shares.Where(sender => sender.Key != client).Select(sender => (sender.Key, sender.Value[client]))]));
        _shares.Clear();
        return deliveries;
    }

    /// <summary>Adds a client's masked vector.</summary>
    /// <param name="client">Who sent it, as the connection knows.</param>
    /// <param name="upload">The vector.</param>
    /// <exception cref="FedLearn.Diagnostics.PeerException">See the remarks of the class. A vector that comes after <see cref="Unmask"/> is refused and stays hidden: its
    /// self-mask is opened for nobody.</exception>
    public void AcceptUpload(int client, MaskedVector upload)
    {
        ArgumentNullException.ThrowIfNull(upload);
        string place = Admit(client, Phase.Uploads, Array.BinarySearch(_sharers, client) >= 0, _uploaded.Contains(client));
        if (upload.Length != _sum.Length || !upload.Step.Equals(Round.Step))
            throw AggregationErrors.Peer(AggregationErrors.WrongVector, place, "the masked vector has another length or step than the round.",
                "Check that client and server run the same job and release.");
        SumMasking.AddTo(_sum, upload);
        _uploaded.Add(client);
    }

    /// <summary>Ends the phase of uploads.</summary>
    /// <returns>The list of clients whose sum is to be opened, for every client of it.</returns>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4065: fewer clients than the threshold.</exception>
    public AggregationMessage Unmask()
    {
        Close(Phase.Uploads, _uploaded.Count);
        _survivors = [.. _uploaded];
        _phase = _context.IsActive ? Phase.Consents : Phase.Reveals;
        return _context.List(_survivors);
    }

    /// <summary>With an active server: takes a client's signature of the list.</summary>
    /// <inheritdoc cref="AcceptKeys" path="/param" />
    /// <exception cref="FedLearn.Diagnostics.PeerException">See the remarks of the class; FL4070: the signature is wrong.</exception>
    public void AcceptConsent(int client, AggregationMessage message)
    {
        string place = Admit(client, Phase.Consents, _uploaded.Contains(client), _consents.ContainsKey(client));
        WireReader reader = _context.Open(message, AggregationStep.Consent, place);
        ReadOnlyMemory<byte> signature = reader.Take(Sodium.SignatureBytes);
        reader.End();
        _context.CheckSigned(client, _context.SignedList(client, _rosterDigest, _sharers, _survivors), signature.Span, place);
        _consents.Add(client, signature);
    }

    /// <summary>With an active server: ends the phase of signatures.</summary>
    /// <returns>The signatures, for every client that signed.</returns>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4065: fewer clients than the threshold.</exception>
    public AggregationMessage Consents()
    {
        Close(Phase.Consents, _consents.Count);
        _phase = Phase.Reveals;
        return _context.Consents([.. _consents.Select(consent => (consent.Key, consent.Value))]);
    }

    /// <summary>Takes the shares that a client reveals.</summary>
    /// <inheritdoc cref="AcceptKeys" path="/param" />
    /// <exception cref="FedLearn.Diagnostics.PeerException">See the remarks of the class.</exception>
    public void AcceptReveal(int client, AggregationMessage message)
    {
        string place = Admit(client, Phase.Reveals, _uploaded.Contains(client), _revealed.ContainsKey(client));
        (int Client, bool SelfMask, ReadOnlyMemory<byte> Share)[] shares = _context.ReadReveal(message, place);
        // It lacks those of a client whose shares did not open for it.
        if (Array.Exists(shares, share => Array.BinarySearch(_sharers, share.Client) < 0 || share.SelfMask != _uploaded.Contains(share.Client)))
            throw WireReader.Malformed(place);
        _revealed.Add(client, shares.ToDictionary(share => share.Client, share => share.Share));
    }

    /// <summary>Clients whose shares fewer of those that revealed could open than the threshold needs.</summary>
    internal IReadOnlyList<int> Unopened => [.. _sharers.Where(client => _revealed.Values.Count(shares => shares.ContainsKey(client)) < Round.Threshold)];

    /// <summary>Opens the sum.</summary>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4065: fewer clients than the threshold revealed. FL4068: fewer could open a client's shares. FL4069: their shares do not fit together.</exception>
    public AggregationSum Open()
    {
        Close(Phase.Reveals, _revealed.Count);
        _phase = Phase.Open;
        int[] helpers = [];
        BigInteger[] coefficients = [];
        byte[] secret = new byte[ShamirSharing.SecretBytes], shared = new byte[Sodium.KeyBytes];
        foreach (int client in _sharers)
        {
            int[] able = [.. _revealed.Where(shares => shares.Value.ContainsKey(client)).Select(shares => shares.Key).Take(Round.Threshold)];
            if (able.Length < Round.Threshold)
                throw AggregationErrors.Peer(AggregationErrors.ShareTampered, At(client), "its shares do not open for so many other clients that the sum cannot be opened.",
                    "Begin a new attempt without it; one that sends such shares again and again is broken or hostile.");
            if (!able.AsSpan().SequenceEqual(helpers))
                (helpers, coefficients) = (able, ShamirSharing.Coefficients([.. able.Select(helper => PlaceOf(helper) + 1)]));
            if (!ShamirSharing.Combine(coefficients, [.. helpers.Select(helper => _revealed[helper][client])], secret))
                throw Disagree(client);
            if (_uploaded.Contains(client))
            {
                _context.SelfMask(secret, _rosterDigest, client, takeAway: true, _sum);
                continue;
            }

            using var pair = new AgreementPair(secret);
            if (!_roster[PlaceOf(client)].Masking.Span.SequenceEqual(pair.PublicKey))
                throw Disagree(client);
            foreach (int survivor in _survivors)
            {
                AgreementPair.Agree(secret, _roster[PlaceOf(survivor)].Masking.Span, shared, Place);
                _context.PairMask(shared, _rosterDigest, survivor, client, takeAway: true, _sum);
            }
        }

        CryptographicOperations.ZeroMemory(secret);
        CryptographicOperations.ZeroMemory(shared);
        return new(Array.ConvertAll(_sum, word => unchecked((long)word)), Round.Step, _survivors);
    }

    private string At(int client) => _context.Place($"client {client}");

    private int PlaceOf(int client) => Array.FindIndex(_roster, keys => keys.Client == client);

    /// <summary>Refuses a message that comes out of its phase, from a client that is not of the round, or again.</summary>
    /// <returns>The client in errors.</returns>
    private string Admit(int client, Phase phase, bool isOfRound, bool hasAnswered)
    {
        string place = At(client);
        return _phase > phase ? throw Late(place)
            : _phase < phase ? throw AggregationContext.OutOfOrder(place)
            : !isOfRound ? throw AggregationContext.UnknownClient(place)
            : hasAnswered ? throw AggregationErrors.Peer(AggregationErrors.AnsweredTwice, place, "the client answered this step twice.", "Discard the second answer.")
            : place;
    }

    private void Close(Phase phase, int clients)
    {
        if (_phase != phase)
            throw new InvalidOperationException($"The attempt is in phase {_phase}, not {phase}.");
        if (clients < Round.Threshold)
            throw AggregationErrors.Peer(AggregationErrors.TooFewClients, Place, $"{clients} clients are left, fewer than the threshold {Round.Threshold}: the attempt ends and opens nothing.",
                "Begin a new attempt with more clients, or wait longer for them.");
    }

    private Diagnostics.PeerException Disagree(int client) => AggregationErrors.Peer(AggregationErrors.SharesDisagree, Place,
        $"the shares of client {client} do not fit together, so that the sum cannot be opened.", "Begin a new attempt; a client that sends wrong shares again and again is broken or hostile.");

    private static Diagnostics.PeerException Late(string place) =>
        AggregationErrors.Peer(AggregationErrors.TooLate, place, "the message came after its phase had ended, or after enough clients had come.", "Discard it; the client may take part in the next round.");
}
