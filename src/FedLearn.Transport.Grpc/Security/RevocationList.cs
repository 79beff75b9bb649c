using System.Formats.Asn1;
using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>An authority's list of revoked certificates (CRL, RFC 5280 section 5), read from a file. Nothing is ever looked up over a network.</summary>
public sealed class RevocationList
{
    private const string PemLabel = "X509 CRL";
    private const long LargestFile = 64 << 20;

    private readonly byte[] _issuer, _signed, _signature;
    private readonly string _algorithm;
    private readonly HashSet<BigInteger> _serials = [];

    private RevocationList(string place, byte[] der)
    {
        Place = place;
        var file = new AsnReader(der, AsnEncodingRules.DER);
        AsnReader list = file.ReadSequence();
        file.ThrowIfNotEmpty(); // such as a second list behind the first
        _signed = list.PeekEncodedValue().ToArray();
        AsnReader body = list.ReadSequence();
        _algorithm = list.ReadSequence().ReadObjectIdentifier();
        _signature = list.ReadBitString(out _);
        list.ThrowIfNotEmpty();
        if (body.PeekTag() == Asn1Tag.Integer)
            body.ReadInteger(); // version
        body.ReadSequence(); // the algorithm, which stands again outside of the signed part
        _issuer = body.ReadEncodedValue().ToArray();
        ThisUpdate = ReadTime(body);
        if (body.HasData && body.PeekTag() is { TagClass: TagClass.Universal, TagValue: (int)UniversalTagNumber.UtcTime or (int)UniversalTagNumber.GeneralizedTime })
            NextUpdate = ReadTime(body);
        if (body.HasData && body.PeekTag() == Asn1Tag.Sequence)
        {
            AsnReader entries = body.ReadSequence();
            while (entries.HasData)
            {
                AsnReader entry = entries.ReadSequence();
                _serials.Add(entry.ReadInteger());
                ReadTime(entry);
                RefuseCritical(entry.HasData ? entry.ReadSequence() : null);
            }
        }

        var extensions = new Asn1Tag(TagClass.ContextSpecific, 0);
        if (body.HasData && body.PeekTag().HasSameClassAndValue(extensions))
            RefuseCritical(body.ReadSequence(extensions).ReadSequence());
        body.ThrowIfNotEmpty();
    }

    /// <summary>When the list was made.</summary>
    public DateTimeOffset ThisUpdate { get; }

    /// <summary>Until when a newer list appears; null when the list does not say. A list is of no use after that.</summary>
    public DateTimeOffset? NextUpdate { get; }

    /// <summary>How many certificates it revokes.</summary>
    public int Count => _serials.Count;

    /// <summary>Where it came from, for messages.</summary>
    internal string Place { get; }

    /// <summary>Reads the only list of a file.</summary>
    /// <param name="path">A file, PEM (<c>X509 CRL</c>) or DER.</param>
    /// <exception cref="ConfigurationException">FL2534: the file cannot be read, or holds anything but one full list.</exception>
    public static RevocationList Load(string path) =>
        LoadAll(path) is [var only] ? only : throw Unusable($"revocation list {path}", "it holds more than one list, and one is asked for.");

    /// <summary>Reads every list of a file, in its order.</summary>
    /// <param name="path">A PEM file of one list (<c>X509 CRL</c>) or more, with or without text around them as openssl writes it; or a DER file of one.</param>
    /// <returns>At least one list.</returns>
    /// <exception cref="ConfigurationException">FL2534: the file cannot be read, or holds something that is no full list.</exception>
    public static IReadOnlyList<RevocationList> LoadAll(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        string place = $"revocation list {path}";
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: > LargestFile })
                throw Unusable(place, "it is larger than 64 MiB.");
            byte[] content = File.ReadAllBytes(path);
            List<byte[]> blocks = FromPem(content);
            return blocks.Count == 0 ? [new RevocationList(place, content)]
                : [.. blocks.Select((der, index) => new RevocationList(blocks.Count == 1 ? place : $"{place}, list {index + 1}", der))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unusable(place, FileFault.Of(e), e);
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or FormatException)
        {
            throw Unusable(place, e is CryptographicException ? e.Message : "it is no list of revoked certificates, neither PEM nor DER.", e);
        }
    }

    /// <summary>Whether the list revokes a certificate: same issuer, and its serial number is listed.</summary>
    /// <param name="certificate">The certificate.</param>
    public bool Revokes(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        return IsAbout(certificate) && _serials.Contains(new BigInteger(certificate.SerialNumberBytes.Span, isUnsigned: false, isBigEndian: true));
    }

    /// <summary>Number of revoked certificates and times; nothing else.</summary>
    public override string ToString() => $"RevocationList of {Count}";

    /// <summary>Whether a certificate has the list's issuer.</summary>
    internal bool IsAbout(X509Certificate2 certificate) => certificate.IssuerName.RawData.AsSpan().SequenceEqual(_issuer);

    /// <summary>Whether the list is in force at a time.</summary>
    internal bool IsCurrent(DateTimeOffset now) => ThisUpdate <= now && (NextUpdate is not { } next || now <= next);

    /// <summary>Whether an authority of the list's issuer's name signed it; null when none of them has that name.</summary>
    internal bool? IsSignedBy(IEnumerable<X509Certificate2> authorities)
    {
        X509Certificate2[] named = [.. authorities.Where(a => a.SubjectName.RawData.AsSpan().SequenceEqual(_issuer))];
        return named.Length == 0 ? null : named.Any(IsSignedBy);
    }

    /// <summary>The error of a list that is not in force at a time.</summary>
    internal ConfigurationException Stale(DateTimeOffset now) => new(GrpcErrors.RevocationListStale, Place,
        NextUpdate is { } next && ThisUpdate <= now ? $"it was good until {next.UtcDateTime:yyyy-MM-dd HH:mm} UTC, and peers revoked since then would be let in." : "it is from the future.",
        "Fetch the authority's newest list, and check this machine's clock.");

    /// <summary>The error of a list that its issuer did not sign.</summary>
    internal ConfigurationException Forged() => Unusable(Place, "its signature is not that of the authority whose name it bears.");

    private bool IsSignedBy(X509Certificate2 authority)
    {
        HashAlgorithmName? hash = _algorithm switch
        {
            "1.2.840.113549.1.1.11" or "1.2.840.10045.4.3.2" => HashAlgorithmName.SHA256,
            "1.2.840.113549.1.1.12" or "1.2.840.10045.4.3.3" => HashAlgorithmName.SHA384,
            "1.2.840.113549.1.1.13" or "1.2.840.10045.4.3.4" => HashAlgorithmName.SHA512,
            _ => null,
        };
        if (hash is not { } name)
            throw Unusable(Place, $"its signature is of a kind that is not supported ({_algorithm}).");
        using ECDsa? curve = authority.GetECDsaPublicKey();
        using RSA? rsa = authority.GetRSAPublicKey();
        return curve?.VerifyData(_signed, _signature, name, DSASignatureFormat.Rfc3279DerSequence) ?? rsa?.VerifyData(_signed, _signature, name, RSASignaturePadding.Pkcs1) ?? false;
    }

    private static ConfigurationException Unusable(string place, string cause, Exception? inner = null) => new(GrpcErrors.RevocationListUnusable, place, cause,
        "Give the full list of the authority in PEM or DER; openssl crl -in FILE -noout -text shows what a file holds.", inner);

    // Between the blocks there may be text. Five dashes in it are what is left of a block that cannot be read, and a list that is passed over lets revoked peers in.
    private static List<byte[]> FromPem(byte[] content)
    {
        ReadOnlySpan<char> rest = Encoding.ASCII.GetString(content);
        var blocks = new List<byte[]>();
        while (PemEncoding.TryFind(rest, out PemFields fields))
        {
            if (!rest[fields.Label].SequenceEqual(PemLabel) || rest[..fields.Location.Start].Contains("-----", StringComparison.Ordinal))
                throw Foreign();
            blocks.Add(Convert.FromBase64String(rest[fields.Base64Data].ToString()));
            rest = rest[fields.Location.End..];
        }

        return blocks.Count > 0 && rest.Contains("-----", StringComparison.Ordinal) ? throw Foreign() : blocks;

        static CryptographicException Foreign() => new($"it holds a block that is no list of revoked certificates ({PemLabel}), or is cut off.");
    }

    private static DateTimeOffset ReadTime(AsnReader reader) =>
        reader.PeekTag().TagValue == (int)UniversalTagNumber.UtcTime ? reader.ReadUtcTime() : reader.ReadGeneralizedTime();

    // A critical extension narrows what a list is about (part of the certificates, only changes, several issuers): read without it, it would say too little.
    private static void RefuseCritical(AsnReader? extensions)
    {
        while (extensions is { HasData: true })
        {
            AsnReader extension = extensions.ReadSequence();
            string id = extension.ReadObjectIdentifier();
            if (extension.PeekTag() == Asn1Tag.Boolean && extension.ReadBoolean())
                throw new CryptographicException($"it has a critical extension ({id}), as partial lists have, and only full lists are read.");
        }
    }
}
