using System.Collections.ObjectModel;

namespace FedLearn.Aggregation;

/// <summary>What the server of an aggregation is assumed to do.</summary>
public enum ServerTrust
{
    /// <summary>It follows the protocol and may read everything that it receives: the claim is "server honest but curious".</summary>
    HonestButCurious = 0,

    /// <summary>It may deviate. Enrolled clients sign the keys of a round, and sign the list of clients before they reveal any share.</summary>
    Active = 1,
}

/// <summary>One block of the vector that is summed. Its masks are derived from its name.</summary>
/// <param name="Name">Name, not empty, unique in the round.</param>
/// <param name="Length">Number of elements, at least 1.</param>
public sealed record AggregationTensor(string Name, int Length);

/// <summary>One attempt of one round of secure aggregation, as its server and all its clients agree on it (Bonawitz et al., CCS 2017).</summary>
/// <remarks>A round that failed is repeated as a new attempt, with new keys and a new charge. What the terms promise is in docs/proofs/secure-aggregation.md.</remarks>
public sealed record AggregationRound
{
    /// <summary>Most clients of one round: every client shares secrets with every other (complete graph).</summary>
    public const int MostClients = 128;

    /// <summary>Bytes of <see cref="JobDigest"/> and <see cref="ModelDigest"/>.</summary>
    public const int DigestBytes = 32;

    /// <summary>SHA-256 digest of the job, equal at every party.</summary>
    public required ReadOnlyMemory<byte> JobDigest { get; init; }

    /// <summary>Round, at least 0.</summary>
    public required int Round { get; init; }

    /// <summary>Attempt of the round, at least 0. Never used twice.</summary>
    public required int Attempt { get; init; }

    /// <summary>Version of the model that the clients trained from.</summary>
    public required long ModelVersion { get; init; }

    /// <summary>SHA-256 digest of the model that the clients trained from, so that a server that gives one of them another model opens no sum; empty: not bound.</summary>
    public ReadOnlyMemory<byte> ModelDigest { get; init; }

    /// <summary>The blocks of the vector, in its order. At least one.</summary>
    public required IReadOnlyList<AggregationTensor> Tensors { get; init; }

    /// <summary>What 1 stands for in every client's integers. Positive, normal, finite; 2^-20 without noise, the lattice of the noise with it.</summary>
    public double Step { get; init; } = NoiselessStep;

    /// <summary>Most clients n that the roster may have. From 2 to <see cref="MostClients"/>.</summary>
    public required int Clients { get; init; }

    /// <summary>Threshold t: fewer survivors abort the attempt, and so many shares open a secret. 2 t &gt; n + c.</summary>
    public required int Threshold { get; init; }

    /// <summary>Clients c assumed to collude with the server, or to add no noise. At least 0, below t.</summary>
    public int Colluders { get; init; }

    /// <summary>What the server is assumed to do.</summary>
    public ServerTrust Server { get; init; }

    /// <summary>With an active server: the enrolment keys (Ed25519, 32 bytes) of all clients that may take part, by client. Known to everybody beforehand, and
    /// not from the server.</summary>
    public IReadOnlyDictionary<int, ReadOnlyMemory<byte>> EnrolmentKeys { get; init; } = ReadOnlyDictionary<int, ReadOnlyMemory<byte>>.Empty;

    /// <summary>Step of exact values: 2^-20.</summary>
    public const double NoiselessStep = 1.0 / (1 << 20);

    /// <summary>Number of elements of the whole vector.</summary>
    public int Length => Tensors.Sum(tensor => tensor.Length);

    /// <summary>Refuses terms under which the protocol promises nothing.</summary>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2450: the number of clients. FL2451: the threshold. FL2453: anything else.</exception>
    public void Check()
    {
        if (Clients is < 2 or > MostClients)
            throw AggregationErrors.Configuration(AggregationErrors.RoundSize, "clients a round", $"{Clients} is not from 2 to {MostClients}.",
                $"Invite at most {MostClients} clients to a masked round: each shares secrets with every other.");
        if (Threshold > Clients || Colluders < 0 || Colluders >= Threshold || 2 * Threshold <= Clients + Colluders)
            throw AggregationErrors.Configuration(AggregationErrors.Threshold, "threshold",
                $"threshold {Threshold} does not fit {Clients} clients of which {Colluders} may collude: 2 t > n + c, c < t and t <= n are needed.",
                "Raise the threshold, or assume fewer colluders.");
        if (JobDigest.Length != DigestBytes || ModelDigest.Length is not (0 or DigestBytes) || Round < 0 || Attempt < 0 || !(double.IsNormal(Step) && Step > 0))
            throw Terms("a digest is not of 32 bytes, the round or attempt negative, or the step not above 0.");
        if (Tensors.Count == 0 || Tensors.Any(tensor => string.IsNullOrWhiteSpace(tensor.Name) || tensor.Length < 1)
            || Tensors.DistinctBy(tensor => tensor.Name, StringComparer.Ordinal).Count() != Tensors.Count || Tensors.Sum(tensor => (long)tensor.Length) > Array.MaxLength / sizeof(long))
            throw Terms("the tensors are none, unnamed, empty, of one name, or together too long.");
        if (Server == ServerTrust.Active && (EnrolmentKeys.Count < Threshold || EnrolmentKeys.Values.Any(key => key.Length != EnrolmentKey.PublicBytes)))
            throw Terms("with an active server every client that may take part needs an enrolment key of 32 bytes.");
    }

    private static Diagnostics.ConfigurationException Terms(string cause) =>
        AggregationErrors.Configuration(AggregationErrors.RoundTerms, "terms of the round", cause, "Correct the terms that the job gives to the round.");
}
