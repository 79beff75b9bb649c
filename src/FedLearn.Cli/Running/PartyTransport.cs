using System.Net;
using System.Text.Json.Nodes;
using FedLearn.Cli.RunFiles;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.Running;

/// <summary>A connection between this party and another.</summary>
/// <param name="Peer">The other party.</param>
/// <param name="Address">Where it is reached, or where this party listens for it.</param>
/// <param name="Pins">The pins that identify it; none where an authority does, or nothing.</param>
internal sealed record PeerLink(string Peer, Uri Address, IReadOnlyList<string> Pins)
{
    /// <summary>Whether messages are encrypted and both sides authenticated.</summary>
    public bool IsEncrypted => Address.Scheme == Uri.UriSchemeHttps;

    /// <summary>Whether messages stay on this machine.</summary>
    public bool IsLocal => PartyTransport.IsLocal(Address);
}

/// <summary>How a party of a real session is reached and reaches others. The one place that makes options of the transport from what files say.</summary>
internal sealed record PartyTransport
{
    /// <summary>How the party proves who it is, and whom it lets in; null: nothing is encrypted.</summary>
    public GrpcSecurity? Security { get; init; }

    /// <summary>Whether addresses beyond this machine are used without encryption.</summary>
    public bool AllowPlaintext { get; init; }

    /// <summary>The HTTP proxy through which the party calls others; null: it calls them directly.</summary>
    public GrpcProxy? Proxy { get; init; }

    /// <summary>Connections that the party has.</summary>
    public required IReadOnlyList<PeerLink> Links { get; init; }

    /// <summary>Whether an address is on this machine.</summary>
    public static bool IsLocal(Uri address) => address.Host == "localhost" || (IPAddress.TryParse(address.DnsSafeHost, out IPAddress? ip) && IPAddress.IsLoopback(ip));

    /// <summary>What a reader of a report must know of connections that nothing protects.</summary>
    /// <param name="self">This party.</param>
    public IEnumerable<string> Warnings(string self) => Links.Where(l => !l.IsEncrypted && !l.IsLocal)
        .Select(l => $"messages between '{self}' and '{l.Peer}' were neither encrypted nor authenticated: allowPlaintext");

    /// <summary>Options of a host.</summary>
    /// <param name="settings">How the parties reach each other.</param>
    /// <param name="listen">Where to listen; null: nowhere, the settings name a coordinator.</param>
    /// <param name="log">Told what happens to the coordinator; null for nobody.</param>
    public static GrpcHostOptions Host(TransportSettings settings, Uri? listen, Action<string>? log = null) => new()
    {
        Listen = listen ?? new Uri("http://127.0.0.1:0"),
        AlsoListens = listen is not null,
        Relay = Relay(settings, log),
        AllowPlaintext = settings.Party?.AllowPlaintext ?? false,
        Proxy = settings.Party?.Proxy,
        Security = listen is null || listen.Scheme == Uri.UriSchemeHttps ? settings.Party?.Security : null,
        JoinTimeout = settings.ConnectTimeout,
        Quotas = settings.Quotas,
        Channel = Channel(settings),
    };

    /// <summary>Options of a client.</summary>
    /// <param name="settings">How the parties reach each other.</param>
    /// <param name="host">Where it connects to.</param>
    /// <param name="peer">Name of the party that is there.</param>
    public static GrpcClientOptions Client(TransportSettings settings, Uri host, string peer) => new()
    {
        AllowPlaintext = settings.Party?.AllowPlaintext ?? false,
        Security = host.Scheme == Uri.UriSchemeHttps ? settings.Party?.Security : null,
        Peer = peer,
        Relay = settings.Relay,
        Proxy = settings.Party?.Proxy,
        ConnectTimeout = settings.ConnectTimeout,
        JoinTimeout = settings.ConnectTimeout,
        Channel = Channel(settings),
    };

    /// <summary>The way through the coordinator, telling what happens to it.</summary>
    /// <param name="settings">The party's settings.</param>
    /// <param name="log">Told a line.</param>
    public static GrpcRelay? Relay(TransportSettings settings, Action<string>? log) => settings.Relay is null || log is null ? settings.Relay : settings.Relay with
    {
        Changed = error => log(error is null ? $"waiting at the coordinator {settings.Relay.Coordinator} again" : $"coordinator {settings.Relay.Coordinator}: {error.Cause} ({error.Id})"),
    };

    /// <summary>How a party's messages travel, for its report: nothing secret, and no address.</summary>
    /// <param name="settings">How the parties reach each other.</param>
    public static JsonObject Document(TransportSettings settings)
    {
        if (settings.Party is not { } party)
            return new JsonObject { ["reach"] = settings.Kind == TransportKind.InMemory ? "memory" : "loopback", ["encrypted"] = false };
        bool encrypted = party.Links.Count > 0 && party.Links.All(l => l.IsEncrypted);
        var document = new JsonObject { ["reach"] = party.Links.All(l => l.IsLocal) ? "loopback" : "network", ["encrypted"] = encrypted };
        if (party.Security is { } security && party.Links.Any(l => l.IsEncrypted))
            document["pin"] = CertificatePin.OfKey(security.Certificate).ToString();
        document["peers"] = new JsonArray([.. party.Links.Select(l => (JsonNode)new JsonObject
        {
            ["name"] = l.Peer,
            ["reach"] = l.IsLocal ? "loopback" : "network",
            ["encrypted"] = l.IsEncrypted,
            ["identifiedBy"] = !l.IsEncrypted ? null : l.Pins.Count > 0 ? "pin" : "authority",
            ["pins"] = ReportParts.Texts(l.Pins),
        })]);
        return document;
    }

    /// <summary>Options of a channel.</summary>
    /// <param name="settings">How the parties reach each other.</param>
    public static ChannelOptions Channel(TransportSettings settings) => new() { ReceiveTimeout = settings.Timeout, MaxMessageBytes = settings.MaxMessageBytes };
}
