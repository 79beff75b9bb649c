using System.Net;
using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;

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
    private static readonly string[] OfActiveParties = ["listen", "serve"], OfParties = ["data", "ledger", "alignment"], OfPeers = ["peers", "serve"];

    /// <summary>The file as the user named it.</summary>
    public required string Path { get; init; }

    /// <summary>The job, with this party's data and ledger in place.</summary>
    public required RunFile Run { get; init; }

    /// <summary>This party.</summary>
    public required RunFileParty Self { get; init; }

    /// <summary>Where the active party listens; null at a passive party. Port 0 lets the system choose.</summary>
    public DnsEndPoint? Listen { get; init; }

    /// <summary>Where a passive party finds the active one; null at the active party.</summary>
    public Uri? ActiveParty { get; init; }

    /// <summary>Where a party of an encrypted job finds the arbiter; null elsewhere, and at the arbiter.</summary>
    public Uri? Arbiter { get; init; }

    /// <summary>How the active party serves predictions; defaults where the file says nothing.</summary>
    public required ServeSettings Serve { get; init; }

    /// <summary>The job's transport settings with this file's time limits.</summary>
    public required TransportSettings Transport { get; init; }

    /// <summary>Paths of keys, of either file, that were read and have no effect here.</summary>
    public required IReadOnlyList<string> Ignored { get; init; }

    /// <summary>Reads party.json and the job.json it names.</summary>
    /// <param name="path">File.</param>
    /// <param name="alignsOnly">Whether the session finds common rows and does nothing else.</param>
    /// <exception cref="ConfigurationException">A file cannot be read or has faults (FL20nn); all faults of the first such file are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The job asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static PartyFile Load(string path, bool alignsOnly = false)
    {
        var faults = new Faults(path);
        JobKind kind = KindOf(path);
        Section file = Section.Load(faults, kind == JobKind.Dssm ? RunFileKeys.DssmParty : RunFileKeys.Party);
        file.Require("job", "Name the job file.");
        file.Require("party", "Write the name of this party in the job.");
        string job = file.FilePath("job") ?? "", name = file.Text("party") ?? "";
        if (file.Has("tls"))
            file.Fault(RunFileErrors.NotYet, "tls", "encrypted connections come with a later release.",
                "Leave the key out, and put the connection inside a tunnel or a service mesh that encrypts it.");
        var own = new OwnSide(name, kind == JobKind.Glm ? GlmRunFileReader.DataOf(file, role: null) : null, kind == JobKind.Dssm ? DssmRunFileReader.DataOf(file, role: null) : null,
            file.Has("ledger") ? new OwnLedger(RunFileReader.LedgerOf(file, name), file.Object("ledger").Has) : null,
            below => PartyAlignment.Of(file, name, below.State, below));
        TimeSpan? timeout = RunFileReader.Seconds(file, "timeoutSeconds"), connectTimeout = RunFileReader.Seconds(file, "connectTimeoutSeconds"), resume = RunFileReader.ResumeSeconds(file);
        DnsEndPoint? listen = ListenAddress(file);
        IReadOnlyList<(string Name, Uri Address)> peers = Peers(file);
        ServeSettings serve = kind == JobKind.Glm ? ServeOf(file.Object("serve")) : new ServeSettings(); // only generalised linear models are served
        faults.ThrowIfAny();

        RunFileReader reader = RunFileReader.For(job, own);
        reader.AlignsOnly = alignsOnly;
        RunFile run = reader.Read();
        string? arbiter = HeRun.ArbiterOf(run, "train");
        RunFileParty self = name == arbiter ? ArbiterSelf(file, name) : run.Parties.First(party => party.Name == name), active = run.Parties.First(party => party.Role == PartyRole.Active);
        var ignored = new List<string>(run.Ignored);
        Uri? activeAddress = null;
        if (kind == JobKind.Dssm)
            DssmRunFileReader.DataOf(file, self.Role);
        Uri? arbiterAddress = arbiter is null || name == arbiter ? null : peers.FirstOrDefault(peer => peer.Name == arbiter).Address;
        if (arbiter is not null && name != arbiter && arbiterAddress is null)
            file.Fault(RunFileErrors.MissingKey, "peers", "the address of the arbiter is missing.", $"Write {{ \"{arbiter}\": \"http://127.0.0.1:5309\" }} with its address, beside those of other peers.");
        if (self.Role == PartyRole.Arbiter)
        {
            file.Require("listen", "Write the address that every party connects to, such as \"127.0.0.1:5309\".");
            foreach (string key in OfParties)
                if (file.Has(key))
                    file.Fault(RunFileErrors.Contradiction, key, "the arbiter has no data and no ledger: whoever holds the key must hold no data.", "Leave the key out.");
            ignored.AddRange(OfPeers.Where(file.Has));
        }
        else if (self.Role == PartyRole.Active)
        {
            file.Require("listen", "Write the address the passive parties connect to, such as \"127.0.0.1:5301\".");
            if (file.Has("peers") && arbiter is null)
                ignored.Add("peers");
            foreach (string fallback in serve.Fallbacks.Keys.Where(peer => run.Parties.All(party => party.Name != peer || party.Role == PartyRole.Active)))
                file.Object("serve").Fault(RunFileErrors.Parties, "fallback", $"the job has no passive party '{fallback}'.",
                    $"Did you mean '{RunFileKeys.Nearest(fallback, run.Parties.Select(p => p.Name))}'?");
        }
        else
        {
            if (kind == JobKind.Glm)
                GlmRunFileReader.DataOf(file, self.Role);
            ignored.AddRange(OfActiveParties.Where(key => kind == JobKind.Glm || key == "listen").Where(file.Has));
            foreach ((string peer, _) in peers.Where(peer => peer.Name.Length > 0 && peer.Name != arbiter && run.Parties.All(party => party.Name != peer.Name)))
                file.Fault(RunFileErrors.Parties, "peers", $"the job has no party '{peer}'.", $"Did you mean '{RunFileKeys.Nearest(peer, run.Parties.Select(p => p.Name))}'?");
            activeAddress = peers.FirstOrDefault(peer => peer.Name.Length == 0 || peer.Name == active.Name).Address;
            if (activeAddress is null)
                file.Fault(RunFileErrors.MissingKey, "peers", "the address of the active party is missing.",
                    $"Write {{ \"{active.Name}\": \"http://127.0.0.1:5301\" }} with its address.");
        }

        faults.ThrowIfAny();
        return new PartyFile
        {
            Path = path,
            Run = run,
            Self = self,
            Listen = self.Role != PartyRole.Passive ? listen : null,
            ActiveParty = activeAddress,
            Arbiter = arbiterAddress,
            Serve = serve,
            Transport = run.Transport with { Kind = TransportKind.Grpc, Timeout = timeout ?? run.Transport.Timeout, ConnectTimeout = connectTimeout ?? run.Transport.ConnectTimeout, ResumeTimeout = resume ?? run.Transport.ResumeTimeout },
            Ignored = ignored,
        };
    }

    private static GlmRunFileParty ArbiterSelf(Section file, string name) => new()
    {
        Name = name,
        Role = PartyRole.Arbiter,
        Ledger = RunFileReader.LedgerOf(file, name),
        Alignment = new PartyAlignment { State = file.Folder },
    };

    // The keys that a party file may have depend on the job it names. What is wrong with either file is found afterwards.
    private static JobKind KindOf(string path)
    {
        string? job = Section.Load(new Faults(path), RunFileKeys.Party).FilePath("job");
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
        if (serve.Text("rest") is { } rest && AddressOf(serve, "rest", rest) is { } address)
            settings = settings with { Rest = address };
        if (serve.Count("timeoutMilliseconds", 1, 600_000) is { } milliseconds)
            settings = settings with { Timeout = TimeSpan.FromMilliseconds(milliseconds) };
        if (serve.Has("fallback") && !serve.Is("fallback", "refuse"))
            settings = settings with { Fallbacks = serve.Numbers("fallback") };
        return settings;
    }

    private static DnsEndPoint? ListenAddress(Section file)
    {
        return file.Text("listen") is { } text && AddressOf(file, "listen", text) is { } address ? new DnsEndPoint(address.IdnHost, address.Port) : null;
    }

    // An object names its peers. An array holds one address: that of the active party, the only peer a passive one has.
    private static List<(string Name, Uri Address)> Peers(Section file)
    {
        IReadOnlyList<(string Name, string Value)> texts = file.IsArray("peers") ? [.. file.TextList("peers").Select(text => ("", text))] : file.Texts("peers");
        if (file.IsArray("peers") && texts.Count > 1)
            file.Fault(RunFileErrors.Address, "peers", "the array has several addresses.", "Keep that of the active party, or write { \"name\": \"address\" }.");
        var peers = new List<(string, Uri)>();
        foreach ((string name, string text) in texts)
            if (AddressOf(file, name.Length > 0 ? $"peers.{name}" : "peers", text) is { } address)
                peers.Add((name, address));
        return peers;
    }

    private static Uri? AddressOf(Section file, string key, string text)
    {
        bool legal = Uri.TryCreate(text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}", UriKind.Absolute, out Uri? address)
            && address.Scheme is "http" or "https" && address.Host.Length > 0 && address.PathAndQuery == "/" && text.TrimEnd('/').EndsWith($":{address.Port}", StringComparison.Ordinal);
        if (legal && address!.Scheme == "http")
            return address;
        if (legal)
            file.Fault(RunFileErrors.NotYet, key, "https comes with a later release.", "Use http, inside a tunnel or a service mesh that encrypts it.");
        else
            file.Fault(RunFileErrors.Address, key, "is no address.", "Write host and port, such as \"http://127.0.0.1:5301\".");
        return null;
    }
}
