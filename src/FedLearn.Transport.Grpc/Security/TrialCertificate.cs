using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace FedLearn.Transport.Grpc;

/// <summary>Makes a party's key and certificate for a trial. For lasting use take those of the company's own authority, if it has one.</summary>
public static class TrialCertificate
{
    // A peer whose clock is a little slow must not find the certificate to be from the future.
    private static readonly TimeSpan ClockSkew = TimeSpan.FromMinutes(5);

    // X.520 allows 64 characters in a common name; the whole name is in the alternative names anyway.
    private const int LongestCommonName = 64, SerialBytes = 16;

    /// <summary>How long a certificate lasts unless told otherwise: 90 days.</summary>
    public static readonly TimeSpan DefaultLifetime = TimeSpan.FromDays(90);

    /// <summary>Makes a key on the curve P-256 and a certificate that it signs itself, for use as server and as client.</summary>
    /// <param name="name">The party's name in the job. It becomes the common name and the alternative name <c>fedlearn:NAME</c> (URI, percent-encoded), and a DNS
    /// name too where it can be one.</param>
    /// <param name="lifetime">How long the certificate lasts from now, above zero. <see cref="DefaultLifetime"/> is a good choice. It begins five minutes ago.</param>
    /// <param name="clock">Clock that says what now is.</param>
    /// <returns>The certificate and the private key (PKCS #8), each as PEM. Whoever holds the key can act as the party: keep its file readable by its owner alone.</returns>
    /// <exception cref="ArgumentException">The name is empty or has control characters, or the lifetime is not above zero.</exception>
    public static (string CertificatePem, string KeyPem) Create(string name, TimeSpan lifetime, TimeProvider clock)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(clock);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(lifetime, TimeSpan.Zero);
        if (name.Any(char.IsControl))
            throw new ArgumentException("A name has no control characters.", nameof(name));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var subject = new X500DistinguishedNameBuilder();
        subject.AddCommonName(name.Length <= LongestCommonName ? name : "FedLearn party");
        var request = new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(CertificateNames.ServerUse), new Oid(CertificateNames.ClientUse)], critical: false));
        var names = new SubjectAlternativeNameBuilder();
        if (IsDnsLabel(name))
            names.AddDnsName(name);
        names.AddUri(new Uri(CertificateNames.UriOf(name)));
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset now = clock.GetUtcNow();
        byte[] serial = RandomNumberGenerator.GetBytes(SerialBytes);
        serial[0] = (byte)((serial[0] & 0x7F) | 0x40); // positive, and not shortened
        using X509Certificate2 certificate = request.Create(request.SubjectName, X509SignatureGenerator.CreateForECDsa(key), now - ClockSkew, now + lifetime, serial);
        return (certificate.ExportCertificatePem() + "\n", key.ExportPkcs8PrivateKeyPem() + "\n");
    }

    private static bool IsDnsLabel(string name) =>
        name.Length is >= 1 and <= 63 && name[0] != '-' && name[^1] != '-' && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-') && !IPAddress.TryParse(name, out _);
}
