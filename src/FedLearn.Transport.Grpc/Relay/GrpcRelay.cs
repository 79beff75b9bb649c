using FedLearn.Coordination;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>A way between two parties through a coordinator, to which both dial out: for parties of which neither can open a port.</summary>
/// <remarks>The coordinator passes bytes on. What it could read depends on what the parties speak over them: with encryption end to end, nothing.</remarks>
public sealed record GrpcRelay
{
    /// <summary>Name under which a party knows the coordinator's certificate: in <see cref="GrpcSecurity.Peers"/> of <see cref="Security"/>, or in the certificate itself where an
    /// authority vouches for it.</summary>
    public const string CoordinatorName = "coordinator";

    /// <summary>Purposes that a session may have.</summary>
    public const string Train = "train", Predict = "predict", Evaluate = "evaluate", Align = "align", Serve = "serve", Arbiter = "arbiter";

    /// <summary>Address of the coordinator.</summary>
    public required Uri Coordinator { get; init; }

    /// <summary>Who this party is, and by which certificate it knows the coordinator: encrypts the calls to it, within which the parties encrypt for each other. The address then has
    /// scheme https.</summary>
    /// <value>Default null: the calls to the coordinator are not encrypted; what the parties send each other may be.</value>
    public GrpcSecurity? Security { get; init; }

    /// <summary>The job as its file says, for the purpose: the coordinator knows it by name and digest, and finds its parties in it.</summary>
    public required SessionTerms Terms { get; init; }

    /// <summary>What the session does; sessions of different purposes do not mix.</summary>
    /// <value>Default <see cref="Train"/>.</value>
    public string Purpose { get; init; } = Train;

    /// <summary>Name of this party.</summary>
    public required string Party { get; init; }

    /// <summary>Name of the party that hosts the session; that of this party where it is the one.</summary>
    public required string Host { get; init; }

    /// <summary>Told by a host when the coordinator was lost or refuses, or cannot be called (the error: a certificate or a list of revocations that is out of its time is FL2530 to FL2534), and
    /// when it is reached again (null). The host tries again in every case. May be called on any thread.</summary>
    public Action<FedLearnException?>? Changed { get; init; }

    /// <summary>How messages name the other end.</summary>
    internal string Name => $"party '{Host}' through coordinator {GrpcAddress.Name(Coordinator)}";

    /// <summary>Refuses a coordinator that could read what the parties say to each other, unless that is allowed or it is on this machine.</summary>
    /// <param name="encrypted">Whether the parties encrypt from end to end.</param>
    /// <param name="allowPlaintext">Whether plaintext is allowed.</param>
    /// <exception cref="PeerException">FL4160.</exception>
    internal void Check(bool encrypted, bool allowPlaintext)
    {
        if (!encrypted && !GrpcAddress.IsProtected(Coordinator, allowPlaintext))
            throw new PeerException(RelayErrors.Readable, Name, "the coordinator is not on this machine, and could read what the parties send, since it is not encrypted from end to end.",
                "Give both parties certificates (tls in their party files), or allow plaintext if the coordinator may know all that the parties do.");
    }
}
