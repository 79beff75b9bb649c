using System.Net;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>Addresses of hosts and coordinators.</summary>
public static class GrpcAddress
{
    /// <summary>Reads <c>http://host:port</c>, <c>https://host:port</c> or <c>host:port</c>; an IPv6 host stands in brackets. Without a scheme a host on this machine has
    /// http, any other https.</summary>
    /// <param name="text">The text.</param>
    /// <param name="address">The address, with a scheme and no path; null when the text is none.</param>
    /// <returns>Whether the text is an address. Port 0 is legal for a listener: the system chooses.</returns>
    public static bool TryParse(string? text, out Uri? address) => TryParse(text, allowPlaintext: false, out address);

    /// <summary>As <see cref="TryParse(string?, out Uri?)"/>, where plaintext may be what is meant.</summary>
    /// <param name="text">The text.</param>
    /// <param name="allowPlaintext">Whether any host without a scheme has http.</param>
    /// <param name="address">The address, with a scheme and no path; null when the text is none.</param>
    /// <returns>Whether the text is an address.</returns>
    public static bool TryParse(string? text, bool allowPlaintext, out Uri? address)
    {
        address = null;
        if (string.IsNullOrWhiteSpace(text))
            return false;
        bool schemeless = !text.Contains("://", StringComparison.Ordinal);
        if (!Uri.TryCreate(schemeless ? $"http://{text}" : text, UriKind.Absolute, out Uri? uri) || !IsAddress(uri))
            return false;
        if (schemeless && !IsProtected(uri, allowPlaintext) && (!Uri.TryCreate($"https://{text}", UriKind.Absolute, out uri) || !IsAddress(uri)))
            return false;
        address = uri;
        return true;
    }

    /// <summary>Refuses what is no address, https without the means for it, http in spite of them, and an address outside this machine in plaintext unless that is allowed.</summary>
    /// <param name="address">The address.</param>
    /// <param name="allowPlaintext">Whether an address outside this machine will do although nothing is encrypted.</param>
    /// <param name="security">The means: who this party is and whom it admits; null for none.</param>
    /// <exception cref="ArgumentException">It has neither the form http://host:port nor https://host:port.</exception>
    /// <exception cref="ConfigurationException">FL2530: the scheme is https and there is no <paramref name="security"/>, or it is http and there is.</exception>
    /// <exception cref="PeerException">FL4040: it is not on this machine, and nothing would be encrypted.</exception>
    public static void Check(Uri address, bool allowPlaintext, GrpcSecurity? security = null)
    {
        ArgumentNullException.ThrowIfNull(address);
        if (!IsAddress(address))
            throw new ArgumentException("An address has the form http://host:port or https://host:port.", nameof(address));
        if (IsEncrypted(address) != security is not null)
            throw new ConfigurationException(GrpcErrors.InvalidSecurity, $"address {Name(address)}",
                security is null ? "https needs a certificate of this party and pins or an authority of its peers, and there are none." : "the scheme is http, so the certificates given would not be used.",
                security is null ? "Give them, or use http on this machine." : "Write https, or leave the certificates out.");
        if (security is null && !IsProtected(address, allowPlaintext))
            throw new PeerException(GrpcErrors.PlaintextRefused, $"address {Name(address)}",
                "it is not on this machine, and the connection would not be encrypted.",
                "Use https with certificates, or a loopback address, or allow plaintext if the network itself is protected.");
    }

    /// <summary>Whether an address is for TLS.</summary>
    internal static bool IsEncrypted(Uri address) => address.Scheme == Uri.UriSchemeHttps;

    /// <summary>Whether messages to an address stay on this machine, or may be read on the way.</summary>
    internal static bool IsProtected(Uri address, bool allowPlaintext) =>
        allowPlaintext || address.Host == "localhost" || (IPAddress.TryParse(address.DnsSafeHost, out IPAddress? ip) && IPAddress.IsLoopback(ip));

    /// <summary>The address as messages show it.</summary>
    internal static string Name(Uri address) => address.GetLeftPart(UriPartial.Authority);

    // Uri leaves out a port that is its scheme's own, so host:443 and host:80 have one too.
    internal static bool IsAddress(Uri uri) => uri.IsAbsoluteUri && (uri.Scheme == Uri.UriSchemeHttp || uri.Scheme == Uri.UriSchemeHttps) && uri.Host.Length > 0
        && uri is { AbsolutePath: "/", Query: "", Fragment: "", UserInfo: "" };
}
