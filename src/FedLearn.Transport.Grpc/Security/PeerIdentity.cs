using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>The peer at the other end of an encrypted connection: its certificate, which was found good, and the names for which it stands.</summary>
/// <param name="security">What was checked against.</param>
/// <param name="certificate">Its certificate; a copy, since the connection owns the original.</param>
/// <param name="names">Names for which the certificate stands here, at least one.</param>
internal sealed class PeerIdentity(GrpcSecurity security, X509Certificate2 certificate, IReadOnlyList<string> names)
{
    /// <summary>SHA-256 of the public key, 32 bytes.</summary>
    public byte[] KeyHash { get; } = CertificatePin.KeyHash(certificate);

    /// <summary>The names, for messages.</summary>
    public string Name => string.Join(", ", names);

    /// <summary>Refuses the peer unless it is the one of a name.</summary>
    /// <param name="name">As whom it acts.</param>
    /// <param name="place">Where, for messages.</param>
    /// <exception cref="PeerException">FL4131: it is another; FL4130: its certificate has expired since the connection was made.</exception>
    public void Require(string name, string place)
    {
        PeerVerifier.RefuseExpired(security, certificate, place);
        if (!names.Contains(name))
            throw new PeerException(GrpcErrors.PeerWrongName, place, $"the certificate belongs to {string.Join(", ", names.Select(n => $"'{n}'"))}, and not to '{name}'.",
                "Use the certificate of the party that is meant, or correct the names beside the pins.");
    }
}

/// <summary>Decides whether a peer's certificate is good, and for which names.</summary>
internal static class PeerVerifier
{
    /// <summary>Examines a certificate: neither denied nor revoked, within its time, and known.</summary>
    /// <param name="security">What to check against.</param>
    /// <param name="certificate">The certificate; null when the peer showed none.</param>
    /// <param name="sent">Other certificates that the peer sent, from which a chain may be built.</param>
    /// <param name="use">What the peer uses it for: <see cref="CertificateNames.ClientUse"/> or <see cref="CertificateNames.ServerUse"/>.</param>
    /// <param name="place">Where, for messages.</param>
    /// <exception cref="PeerException">FL4130, FL4132, FL4133, FL4134 or FL4135.</exception>
    public static PeerIdentity Examine(GrpcSecurity security, X509Certificate2? certificate, X509Certificate2Collection? sent, string use, string place)
    {
        if (certificate is null)
            throw new PeerException(GrpcErrors.PeerWithoutCertificate, place, "it showed no certificate.", "Give the peer a certificate and its private key, and list its pin here.");
        using X509Chain chain = Chain(security, sent, use);
        bool vouched = security.Authorities.Count > 0 && chain.Build(certificate);
        X509Certificate2[] path = vouched ? [.. chain.ChainElements.Select(e => e.Certificate)] : [certificate];
        if (path.Any(c => security.Denied.Any(pin => pin.Matches(c)) || security.RevocationLists.Any(list => list.Revokes(c))))
            throw new PeerException(GrpcErrors.PeerRevoked, place, $"its certificate ({CertificatePin.OfKey(certificate)}) is denied or revoked.",
                "Ask the peer for its new certificate; its old key may be in strange hands.");
        RefuseExpired(security, certificate, place);
        if (security.RevocationLists.FirstOrDefault(list => !list.IsCurrent(security.Clock.GetUtcNow()) && path.Any(list.IsAbout)) is not null)
            throw new PeerException(GrpcErrors.PeerNotCheckable, place, "the list of revoked certificates of its authority has gone out of date since this process began.",
                "Fetch the authority's newest list and start again.");
        string[] names = [.. security.Peers.Where(p => p.Value.Any(pin => pin.Matches(certificate))).Select(p => p.Key),
            .. vouched ? CertificateNames.Of(certificate).Where(name => !security.Peers.ContainsKey(name)) : []];
        if (names.Length > 0)
            return new PeerIdentity(security, X509CertificateLoader.LoadCertificate(certificate.RawDataMemory.Span), names);
        if (!vouched && chain.ChainStatus.Length > 0 && chain.ChainStatus.All(s => s.Status == X509ChainStatusFlags.NotTimeValid))
            throw new PeerException(GrpcErrors.PeerExpired, place, "a certificate that vouches for its own has expired or is not valid yet.", "Renew the authority's certificate, and check this machine's clock.");
        throw new PeerException(GrpcErrors.PeerUnknown, place, $"its certificate ({CertificatePin.OfKey(certificate)}) is {(vouched ? "from an authority, but bears no name of a peer" : "neither pinned nor from an authority")}.",
            "If the peer confirms this pin by another way than this connection, list it under the peer's name. If it is not theirs, something on the way ends TLS with a certificate of its own (a proxy, a balancer, a firewall that inspects): have it pass TLS through.");
    }

    /// <summary>Refuses a certificate outside its time.</summary>
    /// <exception cref="PeerException">FL4130.</exception>
    public static void RefuseExpired(GrpcSecurity security, X509Certificate2 certificate, string place)
    {
        if (Outside(security.Clock, certificate) is { } when)
            throw new PeerException(GrpcErrors.PeerExpired, place, $"its certificate {when}.", "The peer needs a new certificate, or one of the two clocks is wrong.");
    }

    /// <summary>How a certificate is outside its time; null when it is within.</summary>
    public static string? Outside(TimeProvider clock, X509Certificate2 certificate)
    {
        DateTime now = clock.GetUtcNow().UtcDateTime, from = certificate.NotBefore.ToUniversalTime(), until = certificate.NotAfter.ToUniversalTime();
        return now > until ? $"has expired on {until:yyyy-MM-dd HH:mm} UTC" : now < from ? $"is not valid before {from:yyyy-MM-dd HH:mm} UTC" : null;
    }

    /// <summary>How the platform's own check goes while a handshake runs: without a network, and without the machine's authorities. Its result does not count.</summary>
    public static X509ChainPolicy Offline() => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };

    private static X509Chain Chain(GrpcSecurity security, X509Certificate2Collection? sent, string use)
    {
        X509ChainPolicy policy = Offline();
        foreach (X509Certificate2 authority in security.Authorities)
            policy.CustomTrustStore.Add(authority);
        policy.ApplicationPolicy.Add(new System.Security.Cryptography.Oid(use));
        policy.VerificationTime = security.Clock.GetUtcNow().LocalDateTime;
        if (sent is not null)
            policy.ExtraStore.AddRange(sent);
        return new X509Chain { ChainPolicy = policy };
    }
}
