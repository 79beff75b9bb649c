using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc;

/// <summary>Who this party is and whom it admits, over connections that TLS encrypts: its own certificate, and by which certificates it knows the others.</summary>
/// <remarks>
/// Both sides of a connection show a certificate and check the other's. A certificate is admitted for a name when one of the name's pins in <see cref="Peers"/> is of
/// it; for a name without pins when its chain ends at one of the <see cref="Authorities"/> and it bears the name. In every case it must be within its time, and
/// neither denied nor on a revocation list. What a certificate says of its holder counts only where an authority vouches for it. Devices are enrolled either way.
/// Immutable and thread-safe. Nothing here looks anything up over a network.
/// </remarks>
public sealed class GrpcSecurity
{
    private SslStreamCertificateContext? _shown;

    /// <summary>This party's certificate, with its private key.</summary>
    public required X509Certificate2 Certificate { get; init; }

    /// <summary>Certificates between <see cref="Certificate"/> and its authority, sent along so that peers can build the chain.</summary>
    /// <value>Default none, as a self-signed certificate needs.</value>
    public IReadOnlyList<X509Certificate2> Intermediates { get; init; } = [];

    /// <summary>Names of parties or devices, and the pins by which each is known. Any one of them suffices, so that a new key can be listed before the old one goes.</summary>
    /// <value>Default none.</value>
    public IReadOnlyDictionary<string, IReadOnlyList<CertificatePin>> Peers { get; init; } = new Dictionary<string, IReadOnlyList<CertificatePin>>();

    /// <summary>Authorities that vouch for parties without pins and for devices, under the names in their certificates: DNS names and URIs <c>fedlearn:NAME</c> among
    /// the alternative names; the common name where a certificate has no alternative names at all. Usage (client, server) is honoured where a certificate limits it.</summary>
    /// <value>Self-signed certificates. Default none.</value>
    public IReadOnlyList<X509Certificate2> Authorities { get; init; } = [];

    /// <summary>Pins of certificates that are refused whatever else speaks for them.</summary>
    /// <value>Default none.</value>
    public IReadOnlyCollection<CertificatePin> Denied { get; init; } = [];

    /// <summary>Lists of revoked certificates. That of one of the <see cref="Authorities"/> must bear its signature; any other is taken as given: it can only refuse.</summary>
    /// <value>Default none.</value>
    public IReadOnlyList<RevocationList> RevocationLists { get; init; } = [];

    /// <summary>Clock by which certificates and lists expire.</summary>
    /// <value>Default the system's.</value>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Reads a certificate and its private key.</summary>
    /// <param name="certificatePath">PEM file whose first certificate is taken.</param>
    /// <param name="keyPath">PEM file with the private key, not encrypted; may be the same file. On Unix it must not be readable by others nor writable by anybody but its
    /// owner. Its group may read it, as where a service manager hands keys to a service.</param>
    /// <exception cref="ConfigurationException">FL2531: a file cannot be read, or the key is not that of the certificate; FL2532: others may read the key.</exception>
    public static X509Certificate2 LoadCertificate(string certificatePath, string keyPath)
    {
        ArgumentNullException.ThrowIfNull(certificatePath);
        ArgumentNullException.ThrowIfNull(keyPath);
        string certificate = ReadText(certificatePath, "certificate", isSecret: false), key = ReadText(keyPath, "private key", isSecret: true);
        if (!HasLabel(certificate, "CERTIFICATE"))
            throw Unreadable(certificatePath, "certificate", "it holds no certificate in PEM.");
        if (HasLabel(key, "ENCRYPTED PRIVATE KEY") || key.Contains("Proc-Type: 4,ENCRYPTED", StringComparison.Ordinal))
            throw Unreadable(keyPath, "private key", "the key is encrypted with a password, and passwords are not asked for.");
        if (!PrivateKeys.Any(label => HasLabel(key, label)))
            throw Unreadable(keyPath, "private key", "it holds no private key in PEM.");
        try
        {
            X509Certificate2 own = X509Certificate2.CreateFromPem(certificate, key);
            // Windows' TLS takes no key that lives in memory only.
            return OperatingSystem.IsWindows() ? X509CertificateLoader.LoadPkcs12(own.Export(X509ContentType.Pkcs12), null) : own;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw Unreadable(keyPath, "private key", "its private key is damaged, of an unknown kind, or not the one of the certificate.", e);
        }
    }

    /// <summary>Reads certificates without keys: authorities, or those between a certificate and its authority.</summary>
    /// <param name="path">PEM file with one certificate or more, or DER file with one.</param>
    /// <exception cref="ConfigurationException">FL2531: the file cannot be read, or holds no certificate.</exception>
    public static IReadOnlyList<X509Certificate2> LoadCertificates(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        string text = ReadText(path, "certificate", isSecret: false);
        try
        {
            if (!HasLabel(text, "CERTIFICATE"))
                return [X509CertificateLoader.LoadCertificateFromFile(path)];
            var found = new X509Certificate2Collection();
            found.ImportFromPem(text);
            return [.. found];
        }
        catch (CryptographicException e)
        {
            throw Unreadable(path, "certificate", "it holds no certificate, neither PEM nor DER.", e);
        }
    }

    /// <summary>How many peers and authorities there are; no certificate, key or name.</summary>
    public override string ToString() => $"GrpcSecurity {{ Peers = {Peers.Count}, Authorities = {Authorities.Count} }}";

    /// <summary>What TLS sends: the certificate and those between it and its authority. Made once, without looking anything up.</summary>
    internal SslStreamCertificateContext Shown => LazyInitializer.EnsureInitialized(ref _shown, () => SslStreamCertificateContext.Create(Certificate, [.. Intermediates], offline: true));

    /// <summary>Refuses settings that cannot work, before anything is sent.</summary>
    /// <exception cref="ConfigurationException">FL2530: no peers, or settings that do not go together; FL2531: the certificate has no key or is outside its time; FL2533: a
    /// revocation list is past its time; FL2534: its signature is wrong.</exception>
    internal void Check()
    {
        const string place = "certificate of this party";
        if (!Certificate.HasPrivateKey)
            throw new ConfigurationException(GrpcErrors.CertificateUnusable, place, "it comes without its private key.", "Load the certificate together with its key.");
        if (PeerVerifier.Outside(Clock, Certificate) is { } when)
            throw new ConfigurationException(GrpcErrors.CertificateUnusable, place, $"it {when}.", "Make or ask for a new certificate, and check this machine's clock.");
        if (Peers.Count == 0 && Authorities.Count == 0)
            throw Invalid("peers", "there is neither a pin of a peer nor an authority, so nobody could be admitted.", "List each peer's pin, or the authority that enrols them.");
        if (Peers.FirstOrDefault(p => p.Value.Count == 0) is { Key: { } name })
            throw Invalid($"peer '{name}'", "it is listed without a pin.", "Give its pin, or leave it out where an authority vouches for it.");
        if (Authorities.Any(a => !a.SubjectName.RawData.AsSpan().SequenceEqual(a.IssuerName.RawData)))
            throw Invalid("authorities", "one of the certificates is not self-signed, and chains end at self-signed ones only.", "Give the authority's own certificate; those between come from the peer.");
        DateTimeOffset now = Clock.GetUtcNow();
        foreach (RevocationList list in RevocationLists)
        {
            if (!list.IsCurrent(now))
                throw list.Stale(now);
            if (list.IsSignedBy(Authorities) == false)
                throw list.Forged();
        }
    }

    /// <summary>The name under which a client knows the peer that it calls.</summary>
    /// <param name="named">The name that its options give; null for the only peer with pins.</param>
    /// <exception cref="ConfigurationException">FL2530: none is given, and there is not exactly one.</exception>
    internal string PeerToCall(string? named) => named ?? (Peers.Count == 1 ? Peers.Keys.Single()
        : throw Invalid("peers", $"{Peers.Count} peers have pins, and it is not said which of them is called.", "Name the peer that is called."));

    private static ConfigurationException Invalid(string what, string cause, string remedy) => new(GrpcErrors.InvalidSecurity, $"identity, {what}", cause, remedy);

    private static readonly string[] PrivateKeys = ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"];

    private static bool HasLabel(string text, string label) => text.Contains($"-----BEGIN {label}-----", StringComparison.Ordinal);

    private static string ReadText(string path, string what, bool isSecret)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            // The mode of what was opened, not of a link to it.
            if (isSecret && !OperatingSystem.IsWindows() && (File.GetUnixFileMode(file.SafeFileHandle) & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.GroupWrite)) != 0)
                throw new ConfigurationException(GrpcErrors.KeyExposed, $"{what} {path}", "users other than its owner may read or change it.",
                    $"Run: chmod 600 {path}. If somebody may have read it, make a new key and tell the peers its pin.");
            using var reader = new StreamReader(file, Encoding.Latin1);
            return reader.ReadToEnd();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ConfigurationException(GrpcErrors.CertificateUnusable, $"{what} {path}", FileFault.Of(e), "Check the path, which in a party file is relative to that file, and its permissions.", e);
        }
    }

    private static ConfigurationException Unreadable(string path, string what, string cause, Exception? inner = null) => new(GrpcErrors.CertificateUnusable, $"{what} {path}", cause,
        "Give a certificate and its unencrypted private key, both in PEM; fedlearn keys new makes them for a trial.", inner);
}
