using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>How a party proves who it is, and how it knows its peers: the key <c>tls</c> of party.json, read and checked.</summary>
/// <remarks>Holds a private key, so that nothing of it is printed but what <see cref="CertificatePin"/> tells.</remarks>
internal sealed class TlsSettings
{
    private static readonly TimeSpan NearlyExpired = TimeSpan.FromDays(14);

    private TlsSettings(GrpcSecurity security, IReadOnlyList<string> notes) => (Security, Notes) = (security, notes);

    /// <summary>What the transport needs.</summary>
    public GrpcSecurity Security { get; }

    /// <summary>What the user should know before anything is sent.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>Full paths of the files that it was read from.</summary>
    public IReadOnlyList<string> Files { get; private init; } = [];

    /// <summary>Reads the key <c>tls</c>, and the files that it names.</summary>
    /// <param name="owner">The party file.</param>
    /// <param name="clock">Clock by which certificates expire.</param>
    /// <returns>Null where the key is absent or has faults, which are added to those of the file.</returns>
    public static TlsSettings? Of(Section owner, TimeProvider clock)
    {
        if (!owner.Has("tls"))
            return null;
        Section tls = owner.Object("tls");
        if (owner.IsObject("tls"))
        {
            tls.Require("certificate", "Name the file of this party's certificate (PEM); fedlearn keys new makes one for a trial.");
            tls.Require("key", "Name the file of the certificate's private key (PEM).");
        }

        string? certificatePath = tls.FilePath("certificate"), keyPath = tls.FilePath("key"), variable = tls.Text("passwordVariable");
        X509Certificate2? certificate = certificatePath is not null && keyPath is not null ? Own(tls, certificatePath, keyPath, variable) : null;
        var peers = new Dictionary<string, IReadOnlyList<CertificatePin>>(StringComparer.Ordinal);
        foreach ((string name, IReadOnlyList<string> values) in tls.TextListMap("peers"))
        {
            if (values.Count == 0)
                tls.Fault(IdentityErrors.UnknownPeer, $"peers.{name}", "there is no pin.", "Write what fedlearn keys show prints for that party's certificate, such as \"sha256:...\".");
            peers.TryAdd(name, [.. Pins(tls, $"peers.{name}", values)]);
        }

        X509Certificate2[] authorities = [.. tls.TextList("authorities").SelectMany(path => Certificates(tls, "authorities", path))];
        CertificatePin[] denied = [.. Pins(tls, "deny", tls.TextList("deny"), onlyOne: true)];
        RevocationList[] revoked = [.. tls.TextList("revocationLists").SelectMany(path => Try(tls, "revocationLists", () => RevocationList.LoadAll(Path.GetFullPath(path, tls.Folder))) ?? [])];
        if (certificate is null || IsOutdated(tls, certificate, clock))
            return null;
        DateTimeOffset until = certificate.NotAfter.ToUniversalTime();
        var security = new GrpcSecurity
        {
            Certificate = certificate,
            Intermediates = [.. GrpcSecurity.LoadCertificates(certificatePath!).Skip(1)],
            Peers = peers,
            Authorities = authorities,
            Denied = denied,
            RevocationLists = revoked,
            Clock = clock,
        };
        return new TlsSettings(security, until - clock.GetUtcNow() >= NearlyExpired ? []
            : [$"this party's certificate expires on {until:yyyy-MM-dd}: make a new one in time, and give its pin, where it has another key, to the others that know this one by its pin"])
        {
            Files = [certificatePath!, keyPath!, .. tls.TextList("authorities").Concat(tls.TextList("revocationLists")).Select(path => Path.GetFullPath(path, tls.Folder))],
        };
    }

    private static X509Certificate2? Own(Section tls, string certificate, string key, string? variable)
    {
        // Looked for beforehand, since a failed decryption does not tell a missing password from a wrong one.
        bool encrypted = Holds(key, "ENCRYPTED");
        if (Holds(key, "Proc-Type: 4,ENCRYPTED"))
        {
            tls.Fault(IdentityErrors.Password, "key", $"{key}: the key is encrypted in the old form of PEM (Proc-Type: 4,ENCRYPTED), which is not read.",
                "Convert it once: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.pem -out NEW.pem keeps it encrypted; then chmod 600 NEW.pem.");
            return null;
        }

        string? password = variable is null ? null : Environment.GetEnvironmentVariable(variable);
        if (encrypted && password is null)
        {
            tls.Fault(IdentityErrors.Password, "passwordVariable", variable is null ? "the key is encrypted, and the file does not say where its password is." : $"the environment has no variable '{variable}'.",
                "Name an environment variable here, and put the password into it where the party is started; it never stands in a file that is read.");
            return null;
        }

        // The certificate is read by itself first, so that a fault in it is reported under its key, not under that of the private key.
        if (Certificates(tls, "certificate", certificate).Count == 0)
            return null;
        return Try(tls, "key", () => encrypted ? Decrypted(certificate, key, password!) : GrpcSecurity.LoadCertificate(certificate, key));
    }

    private static X509Certificate2 Decrypted(string certificate, string key, string password)
    {
        try
        {
            var own = X509Certificate2.CreateFromEncryptedPemFile(certificate, password, key);
            // Windows' TLS takes no key that lives in memory only.
            return OperatingSystem.IsWindows() ? X509CertificateLoader.LoadPkcs12(own.Export(X509ContentType.Pkcs12), null) : own;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException(IdentityErrors.Password, key, "the key cannot be read with that password, or is not that of the certificate.", "Check the variable that passwordVariable names, and both files.", e);
        }
    }

    private static bool Holds(string key, string text)
    {
        try
        {
            return File.ReadAllText(key).Contains(text, StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // loading the file reports it
        }
    }

    /// <summary>The pins that texts give or point to; what is none is a fault.</summary>
    /// <param name="tls">Where they stand.</param>
    /// <param name="key">Under which key.</param>
    /// <param name="values">The texts.</param>
    /// <param name="onlyOne">Whether a file with several certificates is a fault; else its first one is meant.</param>
    internal static IEnumerable<CertificatePin> Pins(Section tls, string key, IEnumerable<string> values, bool onlyOne = false)
    {
        foreach (string value in values)
        {
            if (CertificatePin.TryParse(value, out CertificatePin pin))
                yield return pin;
            else if (value.StartsWith("sha256:", StringComparison.OrdinalIgnoreCase) || (value.Length >= 40 && value.All(c => char.IsAsciiHexDigit(c) || c == ':')))
                tls.Fault(IdentityErrors.NoPin, key, "a pin is sha256: and 64 hexadecimal digits.", "Copy what fedlearn keys show prints, whole; or give the path of the certificate.");
            else if (Certificates(tls, key, value) is { Count: > 0 } found)
            {
                // After its first certificate a file may hold the authorities that signed it. Denying the first alone may be less than is meant; denying all would deny everybody for whom the authorities vouch.
                if (onlyOne && found.Count > 1)
                    tls.Fault(IdentityErrors.NoPin, key, $"{value} holds {found.Count} certificates, and which of them are meant it does not say.",
                        "Write the pin of each that is meant; fedlearn keys show prints those of a file.");
                yield return CertificatePin.OfKey(found[0]);
            }
        }
    }

    private static IReadOnlyList<X509Certificate2> Certificates(Section tls, string key, string path) =>
        Try(tls, key, () => GrpcSecurity.LoadCertificates(Path.GetFullPath(path, tls.Folder))) ?? [];

    // An error of the transport about a file becomes a fault of the key that names the file, so that all faults are listed together.
    private static T? Try<T>(Section tls, string key, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (FedLearnException e)
        {
            tls.Fault(e.Id, key, $"{e.Place}: {e.Cause}", e.Remedy);
            return default;
        }
    }

    // Reported here, since the peers would refuse the party and it would learn why from them alone.
    private static bool IsOutdated(Section tls, X509Certificate2 certificate, TimeProvider clock)
    {
        DateTimeOffset now = clock.GetUtcNow(), from = certificate.NotBefore.ToUniversalTime(), until = certificate.NotAfter.ToUniversalTime();
        if (now >= from && now <= until)
            return false;
        tls.Fault(GrpcErrors.CertificateUnusable, "certificate", now > until ? $"it expired on {until:yyyy-MM-dd}." : $"it is not valid before {from:yyyy-MM-dd}.",
            "Make or ask for a new one and give the others its pin; check this machine's clock.");
        return true;
    }
}
