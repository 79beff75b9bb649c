using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Tests.Identity;

/// <summary>Keys and certificates that tests make when they run: none is in the repository.</summary>
internal static class Keys
{
    /// <summary>Makes NAME.crt.pem and NAME.key.pem.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="party">To whom the certificate is made out.</param>
    /// <param name="file">NAME; null for the party's.</param>
    /// <param name="ago">How long ago the certificate was made.</param>
    /// <param name="days">For how many days.</param>
    /// <returns>Its pin.</returns>
    public static string Make(string folder, string party, string? file = null, TimeSpan ago = default, int days = 90)
    {
        (string certificate, string key) = TrialCertificate.Create(party, TimeSpan.FromDays(days), new Earlier(ago));
        return Write(folder, file ?? party, certificate, key);
    }

    /// <summary>Makes a certificate that an authority signs.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="party">To whom the certificate is made out.</param>
    /// <param name="authority">The authority, from <see cref="Authority"/>.</param>
    /// <param name="file">NAME of the files; null for the party's.</param>
    /// <returns>Its pin.</returns>
    public static string MakeSigned(string folder, string party, X509Certificate2 authority, string? file = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={party}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(party);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 certificate = request.Create(authority, now.AddMinutes(-5), now.AddDays(30), RandomNumberGenerator.GetBytes(12).Prepend((byte)1).ToArray());
        return Write(folder, file ?? party, certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    /// <summary>Makes an authority, and FILE with its certificate.</summary>
    public static X509Certificate2 Authority(string file)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=authority of the tests", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        X509Certificate2 authority = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(60));
        File.WriteAllText(file, authority.ExportCertificatePem() + "\n");
        return authority;
    }

    /// <summary>Makes an authority's list of one revoked certificate, in DER.</summary>
    /// <param name="file">Where.</param>
    /// <param name="authority">The authority.</param>
    /// <param name="certificateFile">The certificate.</param>
    public static void Revoke(string file, X509Certificate2 authority, string certificateFile)
    {
        using X509Certificate2 certificate = X509CertificateLoader.LoadCertificateFromFile(certificateFile);
        var list = new CertificateRevocationListBuilder();
        list.AddEntry(certificate);
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        File.WriteAllBytes(file, list.Build(authority, 1, now.AddDays(7), HashAlgorithmName.SHA256, thisUpdate: now.AddMinutes(-5)));
    }

    /// <summary>The key <c>tls</c> of a party file.</summary>
    /// <param name="file">NAME of the party's files.</param>
    /// <param name="peers">Peers and their pins.</param>
    public static string Tls(string file, params (string Peer, string Pin)[] peers) =>
        $$"""{ "certificate": "{{file}}.crt.pem", "key": "{{file}}.key.pem", "peers": { {{string.Join(", ", peers.Select(p => $"\"{p.Peer}\": \"{p.Pin}\""))}} } }""";

    /// <summary>Fails when a text has any line of a private key of a folder.</summary>
    public static void AssertNoneIn(string folder, params string[] texts)
    {
        string[] lines = [.. Directory.GetFiles(folder, "*.key.pem").SelectMany(File.ReadAllLines).Where(l => l.Length > 20 && !l.StartsWith('-'))];
        Assert.NotEmpty(lines);
        // In parts: whoever prints bytes may break them elsewhere.
        Assert.All(lines.SelectMany(l => l.Chunk(20).Where(c => c.Length == 20)), part => Assert.All(texts, text => Assert.DoesNotContain(new string(part), text, StringComparison.Ordinal)));
    }

    private static string Write(string folder, string file, string certificate, string key)
    {
        File.WriteAllText(Path.Combine(folder, $"{file}.crt.pem"), certificate);
        string keyFile = Path.Combine(folder, $"{file}.key.pem");
        File.WriteAllText(keyFile, key);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(keyFile, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        using var read = X509Certificate2.CreateFromPem(certificate);
        return CertificatePin.OfKey(read).ToString();
    }

    /// <summary>A clock that is late.</summary>
    internal sealed class Earlier(TimeSpan by) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() - by;
    }
}
