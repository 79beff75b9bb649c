using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Microsoft.Extensions.Logging;

namespace FedLearn.Coordination;

/// <summary>Where the parties of one session join: checks each request and answers all of them once everybody is there.</summary>
/// <remarks>Thread-safe. A refused request changes nothing, so that a party with a wrong file can mend it and come again.</remarks>
/// <param name="terms">The job.</param>
/// <param name="joinTimeout">How long a request waits for the other parties.</param>
/// <param name="clock">Clock for the time limit; null for the system's.</param>
/// <param name="log">Told of handlers of <see cref="Refused"/> that throw; null for nobody.</param>
public sealed class SessionDesk(SessionTerms terms, TimeSpan joinTimeout, TimeProvider? clock = null, ILogger? log = null)
{
    /// <summary>Version of messages and their order that this release speaks.</summary>
    public const int ProtocolVersion = 1;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (ReadOnlyMemory<byte> Fingerprint, ResumeOffer? Resume)> _joined = [];
    private readonly TaskCompletionSource<SessionAgreement> _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private FedLearnException? _lastRefusal;

    /// <summary>Told of each refused request: the name the request gave, and the error. What a handler throws is logged; the party is told the refusal all the same.</summary>
    public event Action<string, FedLearnException>? Refused;

    /// <summary>Joins a party and waits for the others.</summary>
    /// <param name="request">The request.</param>
    /// <param name="cancellationToken">Stops waiting; the party then counts as not joined.</param>
    /// <returns>The agreement, the same for every party.</returns>
    /// <exception cref="PeerException">The request is refused (FL4010 to FL4013), or a party did not appear in time (FL4016).</exception>
    public async Task<SessionAgreement> JoinAsync(JoinRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        try
        {
            Admit(request);
        }
        catch (FedLearnException refusal)
        {
            _lastRefusal = refusal;
            EventHandlers.CallEach(Refused, handler => handler(request.Party.Name, refusal), failure => log?.HandlerFailed(request.Party.Name, failure));
            throw;
        }

        try
        {
            return await _complete.Task.WaitAsync(joinTimeout, clock ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            string missing;
            lock (_gate)
            {
                if (_complete.Task.IsCompletedSuccessfully)
                    return _complete.Task.Result;
                _joined.Remove(request.Party.Name);
                missing = string.Join(", ", terms.Parties.Where(p => p.Name != request.Party.Name && !_joined.ContainsKey(p.Name)).Select(p => $"'{p.Name}'"));
            }

            if (e is OperationCanceledException)
                throw;
            string refused = _lastRefusal is { } last ? $" The last refused request: {last.Cause} ({last.Id})" : "";
            throw new PeerException(ProtocolErrors.PartyMissing, $"session of job '{terms.JobName}'",
                $"waited {joinTimeout.TotalSeconds:0.#} s for {missing} to join, in vain.{refused}",
                "Start the missing party, check its address and its job file, or give it more time with transport.connectTimeoutSeconds.", e);
        }
    }

    /// <summary>The digest of a job with the schemas of its parties.</summary>
    /// <param name="termsDigest">Digest of the terms.</param>
    /// <param name="parties">Every party in the job's order.</param>
    /// <returns>SHA-256, 32 bytes: terms digest, then for each party its UTF-8 name (length as 4 bytes little-endian, then bytes) and fingerprint.</returns>
    public static byte[] DigestOf(ReadOnlyMemory<byte> termsDigest, IReadOnlyList<JoinedParty> parties)
    {
        ArgumentNullException.ThrowIfNull(parties);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(termsDigest.Span);
        Span<byte> length = stackalloc byte[sizeof(int)];
        foreach (JoinedParty party in parties)
        {
            byte[] name = Encoding.UTF8.GetBytes(party.Name);
            BinaryPrimitives.WriteInt32LittleEndian(length, name.Length);
            hash.AppendData(length);
            hash.AppendData(name);
            hash.AppendData(party.SchemaFingerprint.Span);
        }

        return hash.GetHashAndReset();
    }

    /// <summary>Checks, at a party that joined elsewhere, that the agreement it was given is about its own job and schema.</summary>
    /// <param name="request">What it asked.</param>
    /// <param name="agreement">What it was answered.</param>
    /// <exception cref="PeerException">The agreement is about something else.</exception>
    public static void Verify(JoinRequest request, SessionAgreement agreement)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(agreement);
        bool own = agreement.Parties.Any(p => p.Name == request.Party.Name && p.SchemaFingerprint.Span.SequenceEqual(request.SchemaFingerprint.Span));
        if (!own || !agreement.JobDigest.Span.SequenceEqual(DigestOf(request.TermsDigest, agreement.Parties)))
            throw new PeerException(ProtocolErrors.DifferentJob, "joining", "the host's agreement is not about this party's job and schema.",
                "Use the same job file at every party.");
        if (agreement.Resume is { } point && (request.Resume is not { } offer || offer.SessionId != point.SessionId || !offer.Rounds.Contains(point.Round)))
            throw new PeerException(ProtocolErrors.NotOffered, "joining", "the host goes on with a run that this party did not offer.",
                "Check that both parties run the same release of the software, and look at the host's log.");
    }

    private void Admit(JoinRequest request)
    {
        string place = $"party '{request.Party.Name}', joining";
        if (request.ProtocolVersion != ProtocolVersion)
            throw new PeerException(ProtocolErrors.DifferentVersion, place,
                $"it speaks protocol version {request.ProtocolVersion}; this session needs {ProtocolVersion}.", "Install the same release at every party.");
        if (!terms.Parties.Contains(request.Party))
            throw new PeerException(ProtocolErrors.UnknownParty, place,
                $"the job has no {(request.Party.Role == PartyRole.Active ? "active" : "passive")} party of that name.", "Use a name and role that the job lists.");
        if (request.JobName != terms.JobName || !request.TermsDigest.Span.SequenceEqual(terms.TermsDigest.Span))
        {
            string[] different = [.. terms.Sections.Where(s => request.Sections.TryGetValue(s.Key, out ReadOnlyMemory<byte> theirs)
                && !theirs.Span.SequenceEqual(s.Value.Span)).Select(s => s.Key)];
            throw new PeerException(ProtocolErrors.DifferentJob, place,
                different.Length > 0 ? $"its job differs from the host's in: {string.Join(", ", different)}." : "its job differs from the host's.",
                "Use the same job file at every party, and start the same there: a training, --predict or --evaluate, and --new-users at all or at none."
                + (different.Contains("alignment") ? " A job in code compares hashed ids unless its Alignment is AlignmentMethod.Psi, which is what fedlearn party does by default." : ""));
        }

        lock (_gate)
        {
            if (!_joined.TryAdd(request.Party.Name, (request.SchemaFingerprint.ToArray(), request.Resume)))
                throw new PeerException(ProtocolErrors.AlreadyJoined, place, "a party of that name has joined already.", "Start each party once.");
            if (_joined.Count < terms.Parties.Count)
                return;
            JoinedParty[] parties = [.. terms.Parties.Select(p => new JoinedParty(p.Name, _joined[p.Name].Fingerprint))];
            string id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
            _complete.TrySetResult(new SessionAgreement(id, DigestOf(terms.TermsDigest, parties), parties) { Resume = CommonPoint([.. _joined.Values.Select(j => j.Resume)]) });
        }
    }

    /// <summary>The last round that every party offers of the same run; null where there is none.</summary>
    private static ResumePoint? CommonPoint(IReadOnlyList<ResumeOffer?> offers)
    {
        if (offers[0] is not { } first || offers.Any(o => o?.SessionId != first.SessionId))
            return null;
        int[] common = [.. first.Rounds.Where(round => offers.All(o => o!.Rounds.Contains(round)))];
        return common.Length == 0 ? null : new ResumePoint(first.SessionId, common.Max());
    }
}
