using FedLearn.Cli.Running;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>The coordinator that a party file names: the key <c>relay</c>, an address, or an object with an address and the pins of the coordinator's certificate.</summary>
/// <param name="Coordinator">Its address; https where the calls to it are encrypted.</param>
/// <param name="Security">Who this party is at the coordinator, and by which certificate it knows it; null where the calls are not encrypted.</param>
internal sealed record RelayRoute(Uri Coordinator, GrpcSecurity? Security)
{
    /// <summary>Whether calls go beyond this machine without encryption of their own, whatever the parties encrypt within them.</summary>
    public bool NeedsPlaintext => Coordinator.Scheme != Uri.UriSchemeHttps && !PartyTransport.IsLocal(Coordinator);

    /// <summary>Address under which the party at the other end of the connection is asked for: https where the parties encrypt for each other, whatever the calls to the coordinator do.</summary>
    /// <param name="encrypted">Whether they do.</param>
    public Uri End(bool encrypted) => new UriBuilder(encrypted ? Uri.UriSchemeHttps : Uri.UriSchemeHttp, Coordinator.Host, Coordinator.Port).Uri;

    /// <summary>Reads the key.</summary>
    /// <param name="file">The party file.</param>
    /// <param name="tls">Its identity; null without one.</param>
    /// <param name="allowPlaintext">Whether plaintext is allowed.</param>
    /// <returns>Null where the key is absent or has faults, which are added to those of the file.</returns>
    public static RelayRoute? Of(Section file, TlsSettings? tls, bool allowPlaintext)
    {
        if (!file.Has("relay"))
            return null;
        bool hasTls = file.Has("tls"), isObject = file.IsObject("relay");
        Section relay = isObject ? file.Object("relay") : file;
        if (isObject)
            relay.Require("address", "Write the coordinator's address, such as \"coordinator.example:5300\".");
        string key = isObject ? "address" : "relay";
        CertificatePin[] pins = isObject ? [.. TlsSettings.Pins(relay, "pins", relay.TextList("pins"))] : [];
        if (relay.Text(key) is not { } text || PartyFile.AddressOf(relay, key, text, hasTls) is not { } address)
            return null;
        if (address.Scheme != Uri.UriSchemeHttps)
        {
            if (!PartyTransport.IsLocal(address) && !allowPlaintext)
                relay.Fault(IdentityErrors.IdentityMissing, key, "the coordinator is beyond this machine, and nothing would encrypt the calls to it.",
                    "Write https with tls at both, or \"allowPlaintext\": true where what the parties encrypt for each other is enough.");
            if (pins.Length > 0)
                relay.Fault(RunFileErrors.Contradiction, "pins", "the address asks for no encryption, so that the pins would not be used.", "Write https, or leave the pins out.");
            return new RelayRoute(address, null);
        }

        if (tls is null)
        {
            if (!hasTls) // with tls, its own faults are reported already
                relay.Fault(IdentityErrors.IdentityMissing, key, "the address asks for encryption, and the file has no certificate of this party.", "Make a key with fedlearn keys new, and name it under tls.");
            return null;
        }

        if (pins.Length == 0 && tls.Security.Authorities.Count == 0)
            relay.Fault(IdentityErrors.UnknownPeer, isObject ? "pins" : key, "nothing here tells which certificate is that of the coordinator.",
                $"Write \"relay\": {{ \"address\": \"{text}\", \"pins\": [\"sha256:...\"] }} with the pin that fedlearn keys show prints there.");
        GrpcSecurity own = tls.Security;
        return new RelayRoute(address, new GrpcSecurity
        {
            Certificate = own.Certificate,
            Intermediates = own.Intermediates,
            Peers = pins.Length > 0 ? new Dictionary<string, IReadOnlyList<CertificatePin>> { [GrpcRelay.CoordinatorName] = pins } : new Dictionary<string, IReadOnlyList<CertificatePin>>(),
            Authorities = own.Authorities,
            Denied = own.Denied,
            RevocationLists = own.RevocationLists,
            Clock = own.Clock,
        });
    }
}
