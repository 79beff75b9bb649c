using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>How the active party serves predictions.</summary>
internal sealed record ServeSettings
{
    /// <summary>Where REST requests are answered. Port 0 lets the system choose.</summary>
    public Uri Rest { get; init; } = new("http://127.0.0.1:8080");

    /// <summary>How long a request waits for the passive parties.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Scores that stand in for those of passive parties; empty refuses.</summary>
    public IReadOnlyDictionary<string, double> Fallbacks { get; init; } = new Dictionary<string, double>();
}

/// <summary>A party file: which job, which party of it, and where its things and its peers are.</summary>
internal sealed record PartyFile
{
    private static readonly string[] OfActiveParties = ["listen", "serve", "quotas"], OfParties = ["data", "ledger", "alignment"], OfPeers = ["peers", "serve"], OfJoiningParties = ["service"];

    /// <summary>The file as the user named it.</summary>
    public required string Path { get; init; }

    /// <summary>The job, with this party's data and ledger in place.</summary>
    public required RunFile Run { get; init; }

    /// <summary>This party.</summary>
    public required RunFileParty Self { get; init; }

    /// <summary>Where the active party listens, https where messages are encrypted; null at a passive party. Port 0 lets the system choose.</summary>
    public Uri? Listen { get; init; }

    /// <summary>Where a passive party finds the active one, https where messages are encrypted; null at the active party.</summary>
    public Uri? ActiveParty { get; init; }

    /// <summary>Where a party of an encrypted job finds the arbiter; null elsewhere, and at the arbiter.</summary>
    public Uri? Arbiter { get; init; }

    /// <summary>The coordinator that connects this party with those it has no address of; null without one.</summary>
    public RelayRoute? Relay { get; init; }

    /// <summary>Parties that this one connects to directly although it has a coordinator.</summary>
    public IReadOnlyList<string> Direct { get; init; } = [];

    /// <summary>Whether this party hosts its sessions: the active one and the arbiter do, at an address or at the coordinator.</summary>
    public bool Hosts => Self.Role != PartyRole.Passive;

    /// <summary>How the active party serves predictions; defaults where the file says nothing.</summary>
    public required ServeSettings Serve { get; init; }

    /// <summary>How the party takes part in session after session.</summary>
    public ServiceSettings Service { get; init; } = new();

    /// <summary>Values that stand in for those of the file.</summary>
    public IReadOnlyList<RunFileSetting> Settings { get; init; } = [];

    /// <summary>The job's transport settings with this file's time limits, addresses, identity and quotas.</summary>
    public required TransportSettings Transport { get; init; }

    /// <summary>Paths of keys, of either file, that were read and have no effect here.</summary>
    public required IReadOnlyList<string> Ignored { get; init; }

    /// <summary>Sentences that are said before the party does anything.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Paths of what no result may replace: both files, the party's data and ledger, and what it proves its identity with.</summary>
    public IEnumerable<string> Inputs => [Path, .. Run.Inputs, .. IdentityFiles];

    /// <summary>Full paths of certificates, keys and lists under <c>tls</c>.</summary>
    public IReadOnlyList<string> IdentityFiles { get; init; } = [];

    /// <summary>The transport settings for sessions of one purpose, with the way through the coordinator where there is one.</summary>
    /// <param name="purpose">What the session does.</param>
    public TransportSettings TransportFor(string purpose)
    {
        if (Relay is null)
            return Transport;
        // The arbiter's sessions have one purpose, whatever the verb of the parties is.
        purpose = Self.Role == PartyRole.Arbiter ? GrpcRelay.Arbiter : purpose;
        SessionTerms terms = Run.Terms(purpose);
        string host = terms.Parties[0].Name;
        return Direct.Contains(host) ? Transport : Transport with
        {
            Relay = new GrpcRelay { Coordinator = Relay.Coordinator, Security = Relay.Security, Terms = terms, Purpose = purpose, Party = Self.Name, Host = host },
        };
    }

    /// <summary>What a host says once parties can join.</summary>
    /// <param name="address">The host's address.</param>
    public string Listening(Uri address) => (Listen, Relay) switch
    {
        (null, _) => $"waiting at the coordinator {address}",
        (_, null) => $"listening on {address}",
        _ => $"listening on {address}, and waiting at the coordinator {Relay.Coordinator}",
    };

    /// <summary>Reads party.json and the job.json it names.</summary>
    /// <param name="path">File.</param>
    /// <param name="alignsOnly">Whether the session finds common rows and does nothing else.</param>
    /// <param name="settings">Values that stand in for those of the file, and where each comes from; null for none.</param>
    /// <exception cref="ConfigurationException">A file cannot be read or has faults (FL20nn), or a value stands in for a key that there is not (FL2556);
    /// all faults of the first such file are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The job asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static PartyFile Load(string path, bool alignsOnly = false, FileOverrides? settings = null)
    {
        FileValues values = (settings ?? FileOverrides.None).For(path);
        var faults = new Faults(path) { Sources = values.Sources };
        JobKind kind = KindOf(path, values.Settings);
        Section file = Section.Load(faults, kind == JobKind.Dssm ? RunFileKeys.DssmParty : RunFileKeys.Party, values.Settings);
        file.Require("job", "Name the job file.");
        file.Require("party", "Write the name of this party in the job.");
        string job = file.FilePath("job") ?? "", name = file.Text("party") ?? "";
        OwnSide own = OwnOf(file, kind, name);
        Said said = SaidIn(file, kind);
        faults.ThrowIfAny();

        RunFile run = RunFileReader.For(job, own, alignsOnly: alignsOnly).Read();
        string? arbiter = HeRun.ArbiterOf(run, GrpcRelay.Train);
        RunFileParty self = name == arbiter ? ArbiterSelf(file, name) : run.Parties.First(party => party.Name == name);
        string active = run.Active.Name;
        if (kind == JobKind.Dssm)
            DssmRunFileReader.DataOf(file, self.Role);
        Uri? arbiterAddress = name == arbiter || arbiter is null ? null : ArbiterAddress(file, said, name, arbiter);
        Uri? listen = self.Role == PartyRole.Passive ? null : Checked(file, "listen", said.Listen, name, run.Parties.FirstOrDefault(p => p.Name != name)?.Name, said.AllowPlaintext);
        if (arbiter is not null && name != arbiter && arbiterAddress is null)
            file.Fault(RunFileErrors.MissingKey, "peers", "the address of the arbiter is missing.", $"Write {{ \"{arbiter}\": \"http://127.0.0.1:5309\" }} with its address, beside those of other peers.");
        List<string> ignored = [.. run.Ignored, .. CheckRole(file, kind, run, self.Role, arbiter, said)];
        Uri? activeAddress = self.Role == PartyRole.Passive ? ActiveAddress(file, said, name, active) : null;
        if (run.Alignment.Method == AlignmentMethod.Hashed && !alignsOnly && file.Has("alignment") && !ignored.Contains("alignment"))
            ignored.Add("alignment");
        PeerLink[] links = [.. Links(run, self, arbiter, self.Role == PartyRole.Passive ? null : listen ?? said.Relayed, activeAddress, arbiterAddress, said.Tls)];
        string[] misspelt = [.. CheckPeers(file, run, arbiter, links, said.Tls)];
        ignored.AddRange(ProtectionsWithoutUse(file, links, said.Relay));
        if (file.Has("proxy") && new[] { activeAddress, arbiterAddress, said.Relay?.Coordinator }.All(called => called is null || PartyTransport.IsLocal(called)))
            ignored.Add("proxy");
        faults.ThrowIfAny();
        var transport = new PartyTransport { Security = said.Tls?.Security, AllowPlaintext = said.AllowPlaintext, Proxy = said.Proxy, Links = links };
        string[] warnings = [.. transport.Warnings(name)];
        return new PartyFile
        {
            Path = path,
            Run = run with { Warnings = [.. run.Warnings, .. warnings] },
            Self = self,
            Listen = listen,
            ActiveParty = activeAddress,
            Arbiter = arbiterAddress,
            Relay = said.Relay,
            Direct = [.. said.Peers.Select(peer => peer.Name.Length == 0 ? active : peer.Name)],
            Serve = said.Serve,
            Service = said.Service,
            Settings = values.Settings,
            IdentityFiles = said.Tls?.Files ?? [],
            Transport = said.Transport(run.Transport, transport),
            Ignored = ignored,
            Notes = [.. said.Tls?.Notes ?? [], .. misspelt, .. warnings],
        };
    }

    /// <summary>The same with what the file says now of this party's identity and of whom it admits: <c>tls</c>, and the pins of <c>relay</c>. All else stays as it was read, but that <see cref="Notes"/> are those of the identity alone.</summary>
    /// <exception cref="ConfigurationException">The file, or one that it names there, cannot be used any more; all faults are listed.</exception>
    public PartyFile WithIdentityOfNow()
    {
        if (Transport.Party is not { Security: not null } party)
            return this;
        var faults = new Faults(Path);
        Section file = Section.Load(faults, Run is DssmRunFile ? RunFileKeys.DssmParty : RunFileKeys.Party, Settings);
        file.Require("tls", "Write it again, or start the party anew to do without.");
        TlsSettings? tls = TlsSettings.Of(file, TimeProvider.System);
        RelayRoute? relay = RelayRoute.Of(file, tls, party.AllowPlaintext);
        PeerLink[] links = [.. party.Links.Select(link => link with { Pins = PinsOf(link.Peer, link.Address, tls) })];
        CheckPeers(file, Run, HeRun.ArbiterOf(Run, GrpcRelay.Train), links, tls);
        faults.ThrowIfAny();
        return this with
        {
            Transport = Transport with { Party = party with { Security = tls!.Security, Links = links } },
            Relay = Relay is null ? null : Relay with { Security = relay?.Security },
            Notes = tls.Notes,
        };
    }

    /// <summary>What a party file says of how the party reaches others, whatever the job is.</summary>
    private sealed record Said
    {
        public required Uri? Listen { get; init; }

        public required IReadOnlyList<(string Name, Uri Address)> Peers { get; init; }

        public required TlsSettings? Tls { get; init; }

        public required bool AllowPlaintext { get; init; }

        public required RelayRoute? Relay { get; init; }

        public required GrpcProxy? Proxy { get; init; }

        /// <summary>Where parties are asked for through the coordinator.</summary>
        public required Uri? Relayed { get; init; }

        public required ServeSettings Serve { get; init; }

        public required ServiceSettings Service { get; init; }

        public required GrpcQuotas Quotas { get; init; }

        public required TimeSpan? Timeout { get; init; }

        public required TimeSpan? ConnectTimeout { get; init; }

        public required TimeSpan? ResumeTimeout { get; init; }

        /// <summary>The job's settings with this file's.</summary>
        public TransportSettings Transport(TransportSettings job, PartyTransport party) => job with
        {
            Kind = TransportKind.Grpc,
            Timeout = Timeout ?? job.Timeout,
            ConnectTimeout = ConnectTimeout ?? job.ConnectTimeout,
            ResumeTimeout = ResumeTimeout ?? job.ResumeTimeout,
            Party = party,
            Quotas = Quotas,
        };
    }

    private static Said SaidIn(Section file, JobKind kind)
    {
        TimeSpan? timeout = RunFileReader.Seconds(file, "timeoutSeconds"), connectTimeout = RunFileReader.Seconds(file, "connectTimeoutSeconds"), resume = RunFileReader.ResumeSeconds(file);
        Uri? listen = file.Text("listen") is { } text ? AddressOf(file, "listen", text, file.Has("tls")) : null;
        IReadOnlyList<(string Name, Uri Address)> peers = PeersIn(file);
        TlsSettings? tls = TlsSettings.Of(file, TimeProvider.System);
        bool allowPlaintext = file.Flag("allowPlaintext") ?? false;
        RelayRoute? relay = RelayRoute.Of(file, tls, allowPlaintext);
        return new Said
        {
            Listen = listen,
            Peers = peers,
            Tls = tls,
            AllowPlaintext = allowPlaintext,
            Relay = relay,
            Proxy = ProxySettings.Of(file),
            Relayed = relay?.End(file.Has("tls")),
            Serve = kind == JobKind.Glm ? ServeOf(file.Object("serve")) : new ServeSettings(), // only generalised linear models are served
            Service = ServiceSettings.Of(file),
            Quotas = ServiceSettings.QuotasOf(file),
            Timeout = timeout,
            ConnectTimeout = connectTimeout,
            ResumeTimeout = resume,
        };
    }

    // What the party file says of this party, in place of what the job says.
    private static OwnSide OwnOf(Section file, JobKind kind, string name) =>
        new(name, kind == JobKind.Glm ? GlmRunFileReader.DataOf(file, role: null) : null, kind == JobKind.Dssm ? DssmRunFileReader.DataOf(file, role: null) : null,
            file.Has("ledger") ? new OwnLedger(RunFileReader.LedgerOf(file, name), file.Object("ledger").Has) : null,
            below => PartyAlignment.Of(file, name, below.State, below));

    // Adds the faults of keys that do not go with the role, and returns those without effect.
    private static List<string> CheckRole(Section file, JobKind kind, RunFile run, PartyRole role, string? arbiter, Said said)
    {
        var ignored = new List<string>();
        switch (role)
        {
            case PartyRole.Arbiter:
                CheckArbiter(file, ignored);
                break;
            case PartyRole.Active:
                CheckActive(file, run, arbiter, said.Serve, ignored);
                ignored.AddRange(OfJoiningParties.Where(file.Has));
                break;
            default:
                CheckPassive(file, kind, run, arbiter, said.Peers, ignored);
                break;
        }

        return ignored;
    }

    private static IEnumerable<string> ProtectionsWithoutUse(Section file, IReadOnlyList<PeerLink> links, RelayRoute? relay)
    {
        if (file.Has("tls") && links.All(l => !l.IsEncrypted))
            yield return "tls";
        if (file.Has("allowPlaintext") && links.All(l => l.IsEncrypted || l.IsLocal) && relay?.NeedsPlaintext != true)
            yield return "allowPlaintext";
    }

    // Where a party of an encrypted job finds the arbiter.
    private static Uri? ArbiterAddress(Section file, Said said, string self, string arbiter) =>
        Checked(file, $"peers.{arbiter}", said.Peers.FirstOrDefault(peer => peer.Name == arbiter).Address, self, arbiter, said.AllowPlaintext) ?? said.Relayed;

    private static void CheckArbiter(Section file, List<string> ignored)
    {
        if (!file.Has("relay"))
            file.Require("listen", "Write the address that every party connects to, such as \"127.0.0.1:5309\"; or that of a coordinator, as relay.");
        foreach (string key in OfParties)
            if (file.Has(key))
                file.Fault(RunFileErrors.Contradiction, key, "the arbiter has no data and no ledger: whoever holds the key must hold no data.", "Leave the key out.");
        ignored.AddRange(OfPeers.Where(file.Has));
    }

    private static void CheckActive(Section file, RunFile run, string? arbiter, ServeSettings serve, List<string> ignored)
    {
        if (!file.Has("relay"))
            file.Require("listen", "Write the address the passive parties connect to, such as \"127.0.0.1:5301\"; or that of a coordinator, as relay.");
        if (file.Has("peers") && arbiter is null)
            ignored.Add("peers");
        foreach (string fallback in serve.Fallbacks.Keys.Where(peer => run.Parties.All(party => party.Name != peer || party.Role == PartyRole.Active)))
            file.Object("serve").Fault(RunFileErrors.Parties, "fallback", $"the job has no passive party '{fallback}'.",
                $"Did you mean '{Spelling.Nearest(fallback, run.Parties.Select(p => p.Name))}'?");
    }

    private static void CheckPassive(Section file, JobKind kind, RunFile run, string? arbiter, IReadOnlyList<(string Name, Uri Address)> peers, List<string> ignored)
    {
        if (kind == JobKind.Glm)
            GlmRunFileReader.DataOf(file, PartyRole.Passive);
        ignored.AddRange(OfActiveParties.Where(key => kind == JobKind.Glm || key != "serve").Where(file.Has));
        foreach ((string peer, _) in peers.Where(peer => peer.Name.Length > 0 && peer.Name != arbiter && run.Parties.All(party => party.Name != peer.Name)))
            file.Fault(RunFileErrors.Parties, "peers", $"the job has no party '{peer}'.", $"Did you mean '{Spelling.Nearest(peer, run.Parties.Select(p => p.Name))}'?");
    }

    // Where a passive party finds the active one.
    private static Uri? ActiveAddress(Section file, Said said, string self, string active)
    {
        (string key, Uri? found) = said.Peers.FirstOrDefault(peer => peer.Name.Length == 0 || peer.Name == active);
        Uri? address = Checked(file, key is { Length: > 0 } ? $"peers.{key}" : "peers", found, self, active, said.AllowPlaintext) ?? said.Relayed;
        if (address is null)
            file.Fault(RunFileErrors.MissingKey, "peers", "the address of the active party is missing.", $"Write {{ \"{active}\": \"http://127.0.0.1:5301\" }} with its address.");
        return address;
    }

    private static GlmRunFileParty ArbiterSelf(Section file, string name) => new()
    {
        Name = name,
        Role = PartyRole.Arbiter,
        Ledger = RunFileReader.LedgerOf(file, name),
        Alignment = new PartyAlignment { State = file.Folder },
    };

    // The keys that a party file may have depend on the job it names. What is wrong with either file is found afterwards.
    private static JobKind KindOf(string path, IReadOnlyList<RunFileSetting> settings)
    {
        string? job = Section.Load(new Faults(path), RunFileKeys.Party, settings).FilePath("job");
        try
        {
            return job is null ? JobKind.Glm : RunFileReader.KindOf(job);
        }
        catch (ConfigurationException)
        {
            return JobKind.Glm;
        }
    }

    private static ServeSettings ServeOf(Section serve)
    {
        var settings = new ServeSettings();
        if (serve.Text("rest") is { } rest && AddressOf(serve, "rest", rest, hasTls: false) is { } address)
        {
            if (address.Scheme == Uri.UriSchemeHttps)
                serve.Fault(RunFileErrors.Address, "rest", "REST is answered on this machine alone, without encryption.", "Write http. To answer others, put a proxy in front that encrypts and knows its callers.");
            settings = settings with { Rest = address };
        }

        if (serve.Count("timeoutMilliseconds", 1, 600_000) is { } milliseconds)
            settings = settings with { Timeout = TimeSpan.FromMilliseconds(milliseconds) };
        if (serve.Has("fallback") && !serve.Is("fallback", "refuse"))
            settings = settings with { Fallbacks = serve.FiniteMap("fallback") };
        return settings;
    }

    // Whom this party exchanges messages with. Passive parties meet nobody but the active one and the arbiter.
    private static IEnumerable<PeerLink> Links(RunFile run, RunFileParty self, string? arbiter, Uri? listen, Uri? active, Uri? arbiterAddress, TlsSettings? tls)
    {
        if (listen is not null)
            foreach (RunFileParty party in run.Parties.Where(p => p.Name != self.Name))
                yield return Link(party.Name, listen);
        if (active is not null)
            yield return Link(run.Active.Name, active);
        if (arbiterAddress is not null)
            yield return Link(arbiter!, arbiterAddress);

        PeerLink Link(string peer, Uri address) => new(peer, address, PinsOf(peer, address, tls));
    }

    private static IReadOnlyList<string> PinsOf(string peer, Uri address, TlsSettings? tls) =>
        address.Scheme == Uri.UriSchemeHttps && tls?.Security.Peers.GetValueOrDefault(peer) is { } pins ? [.. pins.Select(p => p.ToString())] : [];

    /// <summary>Refuses a table of pins that lacks a peer, and tells of names that were most likely meant otherwise. The whole table of a consortium may stand in every file, this party's own pin
    /// included: a pin lets nobody in under a name that the job lacks.</summary>
    private static IEnumerable<string> CheckPeers(Section file, RunFile run, string? arbiter, IReadOnlyList<PeerLink> links, TlsSettings? tls)
    {
        if (tls is null)
            return [];
        IReadOnlyDictionary<string, IReadOnlyList<CertificatePin>> pins = tls.Security.Peers;
        string[] names = [.. run.Parties.Select(p => p.Name), .. arbiter is null ? Array.Empty<string>() : [arbiter]], bare = [.. links.Where(l => l.IsEncrypted && !pins.ContainsKey(l.Peer)).Select(l => l.Peer)];
        string[] misspelt = bare.Length == 0 ? [] : [.. pins.Keys.Except(names).Where(peer => RunFileKeys.Meant(peer, bare) is not null)];
        if (tls.Security.Authorities.Count == 0)
            foreach (PeerLink link in links.Where(l => bare.Contains(l.Peer)))
                file.Object("tls").Fault(IdentityErrors.UnknownPeer, "peers", $"nothing here tells which certificate is that of '{link.Peer}'.",
                    $"Write \"{link.Peer}\": \"sha256:...\" with the pin that fedlearn keys new or show printed there, and compare it by telephone; or name the authority that signs the parties' certificates under tls.authorities."
                    + (misspelt.FirstOrDefault(peer => RunFileKeys.Meant(peer, [link.Peer]) is not null) is { } other ? $" There is a pin of '{other}', which the job lacks: did you mean '{link.Peer}'?" : ""));
        return misspelt.Select(peer => $"tls.peers has a pin of '{peer}', which the job lacks, and none of '{Spelling.Nearest(peer, bare)}': did you mean that?");
    }

    // An object names its peers. An array holds one address: that of the active party, the only peer a passive one has.
    private static List<(string Name, Uri Address)> PeersIn(Section file)
    {
        IReadOnlyList<(string Name, string Value)> texts = file.IsArray("peers") ? [.. file.TextList("peers").Select(text => ("", text))] : file.TextMap("peers");
        if (file.IsArray("peers") && texts.Count > 1)
            file.Fault(RunFileErrors.Address, "peers", "the array has several addresses.", "Keep that of the active party, or write { \"name\": \"address\" }.");
        var peers = new List<(string, Uri)>();
        foreach ((string name, string text) in texts)
            if (AddressOf(file, name.Length > 0 ? $"peers.{name}" : "peers", text, file.Has("tls")) is { } address)
                peers.Add((name, address));
        return peers;
    }

    // An address without http or https means https where the file has a certificate.
    internal static Uri? AddressOf(Section file, string key, string text, bool hasTls)
    {
        string full = text.Contains("://", StringComparison.Ordinal) ? text : $"{(hasTls ? Uri.UriSchemeHttps : Uri.UriSchemeHttp)}://{text}";
        if (Uri.TryCreate(full, UriKind.Absolute, out Uri? address) && address is { Scheme: "http" or "https", Host.Length: > 0, PathAndQuery: "/", Fragment: "", UserInfo: "" }
            && text.TrimEnd('/').EndsWith($":{address.Port}", StringComparison.Ordinal))
            return address;
        file.Fault(RunFileErrors.Address, key, "is no address.", "Write host and port, such as \"127.0.0.1:5301\" or \"https://bank.example:5301\".");
        return null;
    }

    // Messages that leave this machine must be encrypted, unless the file says allowPlaintext.
    private static Uri? Checked(Section file, string key, Uri? address, string self, string? peer, bool allowPlaintext)
    {
        if (address is null)
            return null;
        bool hasTls = file.Has("tls"), encrypted = address.Scheme == Uri.UriSchemeHttps;
        string remedy = $"Make a key with `fedlearn keys new --party {self}`, and write \"tls\": {{ \"certificate\": \"{self}.crt.pem\", \"key\": \"{self}.key.pem\", "
            + $"\"peers\": {{ \"{peer ?? "PEER"}\": \"sha256:...\" }} }} with the pin that the other side reads to you.";
        if (encrypted && !hasTls)
            file.Fault(IdentityErrors.IdentityMissing, key, "the address asks for encryption, and the file has no certificate of this party.", remedy);
        else if (!encrypted && !allowPlaintext && hasTls)
            file.Fault(RunFileErrors.Contradiction, key, "the address asks for no encryption, and the file has tls.", "Write https, or host and port alone.");
        else if (!encrypted && !allowPlaintext && !PartyTransport.IsLocal(address))
            file.Fault(IdentityErrors.IdentityMissing, key, "the address is beyond this machine, and nothing would encrypt messages or tell who sent them.",
                remedy + " On a network that protects messages by itself, \"allowPlaintext\": true goes without, and the report says so.");
        return address;
    }
}
