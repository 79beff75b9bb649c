using System.Security.Cryptography;
using System.Text.Json;

namespace FedLearn.Coordination;

/// <summary>What a party does in a job.</summary>
public enum PartyRole
{
    /// <summary>Holds the labels, and usually features.</summary>
    Active = 0,

    /// <summary>Holds features only.</summary>
    Passive = 1,

    /// <summary>Holds the secret key of homomorphic encryption, and no data. It serves a session of its own beside the parties'.</summary>
    Arbiter = 2,
}

/// <summary>A party as the job names it.</summary>
/// <param name="Name">Name, unique in the job.</param>
/// <param name="Role">Role.</param>
public sealed record PartyDescription(string Name, PartyRole Role);

/// <summary>What the host of a session, or a coordinator, knows of a job: enough to check who joins, nothing of data or weights.</summary>
/// <param name="JobName">Name of the job.</param>
/// <param name="TermsDigest">SHA-256 of everything the parties must agree on, schemas excepted, 32 bytes.</param>
/// <param name="Sections">SHA-256 of each section of the job, to say where two jobs differ.</param>
/// <param name="Parties">Every party, the active one first.</param>
public sealed record SessionTerms(string JobName, ReadOnlyMemory<byte> TermsDigest,
    IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Sections, IReadOnlyList<PartyDescription> Parties)
{
    /// <summary>The terms of a job from its sections: the name of each, and what writes its members in a fixed order with every default filled in.</summary>
    internal static SessionTerms Of(string jobName, IEnumerable<(string Name, Action<Utf8JsonWriter> Write)> sections, IEnumerable<PartyDescription> parties)
    {
        var digests = new Dictionary<string, ReadOnlyMemory<byte>>();
        using var all = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, Action<Utf8JsonWriter> write) in sections)
        {
            using var buffer = new MemoryStream();
            using (var json = new Utf8JsonWriter(buffer))
            {
                json.WriteStartObject();
                json.WriteStartObject(name);
                write(json);
                json.WriteEndObject();
                json.WriteEndObject();
            }

            digests[name] = SHA256.HashData(buffer.ToArray());
            all.AppendData(digests[name].Span);
        }

        return new SessionTerms(jobName, all.GetHashAndReset(), digests, [.. parties.OrderBy(p => (int)p.Role)]);
    }
}

/// <summary>A party's request to join a session.</summary>
/// <param name="ProtocolVersion">Version the party speaks; see <see cref="SessionDesk.ProtocolVersion"/>.</param>
/// <param name="Party">Its name and role.</param>
/// <param name="JobName">Name of its job.</param>
/// <param name="TermsDigest">Digest of its job.</param>
/// <param name="Sections">Digest of each section of its job; may be empty.</param>
/// <param name="SchemaFingerprint">SHA-256 of its schema: names, types and declared ranges, no data.</param>
public sealed record JoinRequest(int ProtocolVersion, PartyDescription Party, string JobName, ReadOnlyMemory<byte> TermsDigest,
    IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Sections, ReadOnlyMemory<byte> SchemaFingerprint)
{
    /// <summary>A run of this job that was cut off and that the party can go on with; null for none.</summary>
    public ResumeOffer? Resume { get; init; }
}

/// <summary>What a party still has of a run that was cut off.</summary>
/// <param name="SessionId">Id of the session in which the run began.</param>
/// <param name="Rounds">Rounds before which it can go on, ascending; at least one, at most <see cref="MostRounds"/>.</param>
public sealed record ResumeOffer(string SessionId, IReadOnlyList<int> Rounds)
{
    /// <summary>Most rounds of an offer.</summary>
    public const int MostRounds = 16;
}

/// <summary>Where a run that was cut off goes on.</summary>
/// <param name="SessionId">Id of the session in which it began.</param>
/// <param name="Round">The round that comes next.</param>
public sealed record ResumePoint(string SessionId, int Round);

/// <summary>A party that joined.</summary>
/// <param name="Name">Its name.</param>
/// <param name="SchemaFingerprint">SHA-256 of its schema.</param>
public sealed record JoinedParty(string Name, ReadOnlyMemory<byte> SchemaFingerprint);

/// <summary>What every party holds once all have joined.</summary>
/// <param name="SessionId">Random id of the session.</param>
/// <param name="JobDigest">SHA-256 over the terms digest and every party's name and schema fingerprint, in the job's order, 32 bytes.</param>
/// <param name="Parties">Every party, in the job's order.</param>
public sealed record SessionAgreement(string SessionId, ReadOnlyMemory<byte> JobDigest, IReadOnlyList<JoinedParty> Parties)
{
    /// <summary>Where the run goes on: the last round that every party offered of the same run. Null: the run begins, also where a party offered one that
    /// another does not have.</summary>
    public ResumePoint? Resume { get; init; }
}
