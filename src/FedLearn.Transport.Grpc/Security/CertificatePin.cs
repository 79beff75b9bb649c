using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace FedLearn.Transport.Grpc;

/// <summary>A hash by which a peer's certificate is known: SHA-256 of its public key (SubjectPublicKeyInfo, DER) or of the whole certificate. Not a secret.</summary>
/// <remarks>The hash of the key stays the same when a certificate is renewed with the same key; that of the certificate does not. The default value matches nothing.</remarks>
public readonly record struct CertificatePin
{
    private const string Prefix = "sha256:";
    private const int HashBytes = 32, PlainDigits = 2 * HashBytes, DigitsWithColons = (3 * HashBytes) - 1;

    private readonly string? _hex;

    private CertificatePin(ReadOnlySpan<byte> hash) => _hex = Convert.ToHexStringLower(hash);

    /// <summary>Reads <c>sha256:HEX</c>: 64 hexadecimal digits in either case, with a colon between any two bytes or between none.</summary>
    /// <param name="text">The text.</param>
    /// <param name="pin">The pin; the default value when the text is none.</param>
    /// <returns>Whether the text is a pin.</returns>
    public static bool TryParse(string? text, out CertificatePin pin)
    {
        pin = default;
        if (text is null || !text.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
            return false;
        string digits = text[Prefix.Length..];
        if (digits.Length == DigitsWithColons)
        {
            for (int i = 2; i < digits.Length; i += 3)
                if (digits[i] != ':')
                    return false;
            digits = digits.Replace(":", "", StringComparison.Ordinal);
        }

        if (digits.Length != PlainDigits || !digits.All(char.IsAsciiHexDigit))
            return false;
        pin = new CertificatePin(Convert.FromHexString(digits));
        return true;
    }

    /// <summary>The pin of a certificate's key.</summary>
    /// <param name="certificate">The certificate.</param>
    public static CertificatePin OfKey(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        return new CertificatePin(KeyHash(certificate));
    }

    /// <summary>The pin of a whole certificate.</summary>
    /// <param name="certificate">The certificate.</param>
    public static CertificatePin OfCertificate(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        return new CertificatePin(SHA256.HashData(certificate.RawDataMemory.Span));
    }

    /// <summary>Whether this is the pin of a certificate: of its key or of the whole.</summary>
    /// <param name="certificate">The certificate.</param>
    public bool Matches(X509Certificate2 certificate) => this == OfKey(certificate) || this == OfCertificate(certificate);

    /// <summary><c>sha256:</c> and 64 lower-case hexadecimal digits.</summary>
    public override string ToString() => Prefix + (_hex ?? new string('0', PlainDigits));

    /// <summary>SHA-256 of the SubjectPublicKeyInfo, 32 bytes.</summary>
    internal static byte[] KeyHash(X509Certificate2 certificate) => SHA256.HashData(certificate.PublicKey.ExportSubjectPublicKeyInfo());
}
