using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace FedLearn.Transport.Grpc;

/// <summary>Names of parties and devices in certificates.</summary>
internal static class CertificateNames
{
    /// <summary>Extended key usages.</summary>
    public const string ServerUse = "1.3.6.1.5.5.7.3.1", ClientUse = "1.3.6.1.5.5.7.3.2";

    private const string Scheme = "fedlearn:", AlternativeNames = "2.5.29.17", CommonName = "2.5.4.3";
    private static readonly Asn1Tag DnsName = new(TagClass.ContextSpecific, 2), UniformResource = new(TagClass.ContextSpecific, 6);

    /// <summary>The alternative name of a party.</summary>
    public static string UriOf(string name) => Scheme + Uri.EscapeDataString(name);

    /// <summary>The names that a certificate gives its holder: DNS names and URIs <c>fedlearn:NAME</c> among its alternative names; a certificate without any alternative
    /// name gives its common name. Compared exactly: nothing is a wildcard here.</summary>
    public static IReadOnlyList<string> Of(X509Certificate2 certificate)
    {
        try
        {
            X509Extension? extension = certificate.Extensions.FirstOrDefault(e => e.Oid?.Value == AlternativeNames);
            return extension is null ? Common(certificate) : Alternative(extension);
        }
        catch (Exception e) when (e is CryptographicException or AsnContentException)
        {
            return []; // names that cannot be read are none
        }
    }

    private static string[] Common(X509Certificate2 certificate)
    {
        string?[] names = [.. certificate.SubjectName.EnumerateRelativeDistinguishedNames()
            .Where(part => !part.HasMultipleElements && part.GetSingleElementType().Value == CommonName).Select(part => part.GetSingleElementValue())];
        return names is [{ } only] ? [only] : [];
    }

    private static List<string> Alternative(X509Extension extension)
    {
        var found = new List<string>();
        AsnReader names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
        while (names.HasData)
        {
            Asn1Tag tag = names.PeekTag();
            if (tag == DnsName)
                found.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, DnsName));
            else if (tag != UniformResource)
                names.ReadEncodedValue();
            else if (names.ReadCharacterString(UniversalTagNumber.IA5String, UniformResource) is var uri && uri.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
                found.Add(Uri.UnescapeDataString(uri[Scheme.Length..]));
        }

        return found;
    }
}
