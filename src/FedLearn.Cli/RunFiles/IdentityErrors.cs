namespace FedLearn.Cli.RunFiles;

/// <summary>Errors of keys, certificates and addresses that need them; each has a page under docs/errors. Those of the transport are in <see cref="Transport.Grpc.GrpcErrors"/>.</summary>
internal static class IdentityErrors
{
    /// <summary>An address beyond this machine, or one that asks for encryption, in a party file without a certificate.</summary>
    public const string IdentityMissing = "FL2535";

    /// <summary>A value that should be a pin is none.</summary>
    public const string NoPin = "FL2536";

    /// <summary>The private key cannot be read with the password, or without one.</summary>
    public const string Password = "FL2537";

    /// <summary>A file that a new key or certificate would replace.</summary>
    public const string KeyExists = "FL2538";

    /// <summary>The password for a proxy is missing, cannot be read, or lies in a file that others may read.</summary>
    public const string ProxyPassword = "FL2544";

    /// <summary>A peer that nothing identifies: no pin, and no authority.</summary>
    public const string UnknownPeer = "FL2539";
}
