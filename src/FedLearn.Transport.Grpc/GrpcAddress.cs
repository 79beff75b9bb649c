using System.Net;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>Addresses of coordinators.</summary>
public static class GrpcAddress
{
    /// <summary>Reads <c>host:port</c> or <c>http://host:port</c>; an IPv6 host stands in brackets.</summary>
    /// <param name="text">The text.</param>
    /// <param name="address">The address, with scheme http and no path; null when the text is none.</param>
    /// <returns>Whether the text is an address. Port 0 is legal for a listener: the system chooses.</returns>
    public static bool TryParse(string? text, out Uri? address)
    {
        address = null;
        if (string.IsNullOrWhiteSpace(text))
            return false;
        string full = text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}";
        if (!Uri.TryCreate(full, UriKind.Absolute, out Uri? uri) || !IsPlain(uri))
            return false;
        address = uri;
        return true;
    }

    /// <summary>Refuses an address that is no http address, or one outside this machine unless plaintext is allowed.</summary>
    /// <param name="address">The address.</param>
    /// <param name="allowPlaintext">Whether an address outside this machine will do although nothing is encrypted.</param>
    /// <exception cref="ArgumentException">It has not the form http://host:port.</exception>
    /// <exception cref="PeerException">FL4040: it is not on this machine.</exception>
    public static void Check(Uri address, bool allowPlaintext)
    {
        if (!IsPlain(address))
            throw new ArgumentException("An address has the form http://host:port.", nameof(address));
        if (!IsProtected(address, allowPlaintext))
            throw new PeerException(GrpcErrors.PlaintextRefused, $"address {Name(address)}",
                "it is not on this machine, and the connection would not be encrypted.",
                "Use a loopback address, or allow plaintext if the network itself is protected.");
    }

    /// <summary>Whether messages to an address stay on this machine, or may be read on the way.</summary>
    internal static bool IsProtected(Uri address, bool allowPlaintext) =>
        allowPlaintext || address.Host == "localhost" || (IPAddress.TryParse(address.DnsSafeHost, out IPAddress? ip) && IPAddress.IsLoopback(ip));

    /// <summary>The address as messages show it.</summary>
    internal static string Name(Uri address) => address.GetLeftPart(UriPartial.Authority);

    private static bool IsPlain(Uri uri) => uri.IsAbsoluteUri && uri.Scheme == Uri.UriSchemeHttp && uri.Host.Length > 0
        && uri is { AbsolutePath: "/", Query: "", Fragment: "", UserInfo: "" };
}
