using System.Net;

namespace FedLearn.Transport.Grpc;

/// <summary>An HTTP proxy through which a party calls others, by the method CONNECT, where its machine has no other way out. The proxy looks names up and passes bytes on; encryption and
/// certificates are those of the two parties, as without it.</summary>
/// <remarks>An address on this machine is called without it. Variables of the environment such as HTTPS_PROXY do not count.</remarks>
public sealed record GrpcProxy
{
    /// <summary>Address of the proxy: <c>http://host:port</c>. The request to it is not encrypted; what goes through it afterwards is what the parties say.</summary>
    public required Uri Address { get; init; }

    /// <summary>User and password, sent to the proxy in the scheme Basic. No message and no log has them.</summary>
    /// <value>Default null: none is sent. The user has no colon.</value>
    public NetworkCredential? Credential { get; init; }

    /// <summary>How messages name it.</summary>
    internal string Name => $"proxy {GrpcAddress.Name(Address)}";

    /// <summary>Why no proxy can be asked with this; null when one can.</summary>
    internal string? Fault => Address is null || !GrpcAddress.IsAddress(Address) || GrpcAddress.IsEncrypted(Address) ? "the address of a proxy has the form http://host:port, without user and password."
        : Credential?.UserName.Contains(':', StringComparison.Ordinal) == true ? "the user of a proxy has no colon, which ends it in the scheme Basic." : null;

    /// <summary>Refuses what no proxy can be asked with.</summary>
    /// <exception cref="ArgumentException">The address has not the form http://host:port, or the user has a colon.</exception>
    internal void Check()
    {
        if (Fault is { } fault)
            throw new ArgumentException($"A proxy that cannot be used: {fault}");
    }
}
