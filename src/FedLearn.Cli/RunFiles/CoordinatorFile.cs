using FedLearn.Cli.Running;
using FedLearn.Cli.Services;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>A coordinator file: where to listen, whose parties to connect, and how much each may ask.</summary>
internal sealed record CoordinatorFile
{
    private const double LongestStop = 86_400;

    /// <summary>Where to listen; port 0 lets the system choose.</summary>
    public required Uri Listen { get; init; }

    /// <summary>Whether to listen beyond this machine although the calls themselves are not encrypted.</summary>
    public required bool AllowPlaintext { get; init; }

    /// <summary>Who the coordinator is, and by which certificates it knows the parties; null: nothing is encrypted and a party's name is a claim.</summary>
    public GrpcSecurity? Security { get; init; }

    /// <summary>What the user should know beforehand.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>The jobs whose parties are connected.</summary>
    public required IReadOnlyList<RelayJob> Jobs { get; init; }

    /// <summary>What one job may ask.</summary>
    public required RelayQuotas Quotas { get; init; }

    /// <summary>What one peer may take of the process, whatever its job.</summary>
    public required GrpcQuotas PeerQuotas { get; init; }

    /// <summary>Where health checks are answered; null for nowhere.</summary>
    public Uri? Health { get; init; }

    /// <summary>How long connections may go on once the coordinator is told to stop. Default 30 seconds.</summary>
    public required TimeSpan StopTime { get; init; }

    /// <summary>Reads coordinator.json and the job files that it names. No file of data is looked at.</summary>
    /// <param name="path">File.</param>
    /// <param name="settings">Values that stand in for those of the file, and where each comes from; null for none.</param>
    /// <exception cref="ConfigurationException">A file cannot be read or has faults; all of them are listed.</exception>
    public static CoordinatorFile Load(string path, FileOverrides? settings = null)
    {
        FileValues values = (settings ?? FileOverrides.None).For(path);
        var faults = new Faults(path) { Sources = values.Sources };
        Section file = Section.Load(faults, RunFileKeys.Coordinator, values.Settings);
        file.Require("listen", "Write the address that every party connects to, such as \"127.0.0.1:5300\".");
        file.Require("jobs", "List the job files of the parties, such as [\"job.json\"].");
        TlsSettings? tls = TlsSettings.Of(file, TimeProvider.System);
        Uri? listen = file.Text("listen") is { } text ? PartyFile.AddressOf(file, "listen", text, file.Has("tls")) : null;
        RelayQuotas quotas = QuotasOf(file.Object("quotas"));
        GrpcQuotas peerQuotas = PeerQuotasOf(file.Object("quotas"));
        TimeSpan stop = file.Positive("stopSeconds", LongestStop) is { } seconds ? TimeSpan.FromSeconds(seconds) : TimeSpan.FromSeconds(30);
        Uri? health = null;
        if (file.Text("health") is { } at && !ServiceOptions.IsHealthAddress(at, out health))
            file.Fault(RunFileErrors.Address, "health", "is no address of this machine.", "Write an IP address or localhost, and a port, such as 127.0.0.1:9090.");
        bool allowPlaintext = file.Flag("allowPlaintext") ?? false;
        IReadOnlyList<RelayJob> jobs = JobsOf(file);
        if (listen is { Scheme: "https" } && !file.Has("tls"))
            file.Fault(IdentityErrors.IdentityMissing, "listen", "the address asks for encryption, and the file has no certificate of the coordinator.", "Make a key with fedlearn keys new, and name it under tls.");
        if (listen is { Scheme: "http" } && file.Has("tls"))
            file.Fault(RunFileErrors.Contradiction, "listen", "the address asks for no encryption, and the file has tls.", "Write https, or host and port alone.");
        if (listen is { Scheme: "http" } && !file.Has("tls") && !allowPlaintext && !PartyTransport.IsLocal(listen))
            file.Fault(IdentityErrors.IdentityMissing, "listen", "the address is beyond this machine, and nothing would encrypt the calls or tell who makes them.",
                "Name a certificate under tls; or write \"allowPlaintext\": true where what the parties encrypt for each other is enough.");
        faults.ThrowIfAny();
        return new CoordinatorFile { Listen = listen!, AllowPlaintext = allowPlaintext, Security = tls?.Security, Notes = tls?.Notes ?? [], Jobs = jobs, Quotas = quotas, PeerQuotas = peerQuotas, Health = health, StopTime = stop };
    }

    private static List<RelayJob> JobsOf(Section file)
    {
        IReadOnlyList<string> paths = file.TextList("jobs");
        if (file.IsArray("jobs") && paths.Count == 0)
            file.Fault(RunFileErrors.OutOfRange, "jobs", "there is no job.", "Name one job file or more.");
        var jobs = new List<RelayJob>();
        foreach ((int index, string path) in paths.Index())
        {
            string key = $"jobs[{index}]";
            try
            {
                // A job that aligns and does nothing else is one too.
                RunFile run = RunFileReader.For(Path.GetFullPath(path, file.Folder), OwnSide.Nobody, alignsOnly: true).Read();
                if (jobs.Exists(job => job.Name == run.Name))
                    file.Fault(CoordinatorErrors.SameName, key, $"another job is called '{run.Name}' too, and parties name their job by it.", "Give each job a name of its own, at its parties as well.");
                else
                    jobs.Add(new RelayJob(run.Name, run.Purposes.ToDictionary(purpose => purpose, run.Terms)));
            }
            catch (FedLearnException e) when (e is ConfigurationException or PrivacyRefusedException)
            {
                file.Fault(CoordinatorErrors.JobFaulty, key, e.Message.TrimEnd(), "Mend that file, or take it off the list.");
            }
        }

        return jobs;
    }

    private static RelayQuotas QuotasOf(Section quotas)
    {
        var defaults = new RelayQuotas();
        long? bytes = quotas.Int64("bytesPerParty");
        if (bytes < 1)
            quotas.Fault(RunFileErrors.OutOfRange, "bytesPerParty", "is below 1.", "Write a whole number of at least 1, or leave the key out.");
        return new RelayQuotas
        {
            Connections = quotas.Count("connections", 1, 10_000) ?? defaults.Connections,
            ConnectionsPerParty = quotas.Count("connectionsPerParty", 1, 10_000) ?? defaults.ConnectionsPerParty,
            BytesPerParty = bytes,
            JoinsPerMinute = quotas.Count("joinsPerMinute", 1, 100_000) ?? defaults.JoinsPerMinute,
        };
    }

    // In a coordinator file the keys connections and joinsPerMinute limit a job (QuotasOf), not a peer.
    private static GrpcQuotas PeerQuotasOf(Section quotas)
    {
        var defaults = new GrpcQuotas();
        return new GrpcQuotas
        {
            Connections = quotas.Count("connectionsPerAddress", 1, ServiceSettings.MostConnections) ?? defaults.Connections,
            Streams = quotas.Count("streams", 1, ServiceSettings.MostConnections) ?? defaults.Streams,
            AllConnections = quotas.Count("allConnections", 1, ServiceSettings.MostConnections) ?? defaults.AllConnections,
        };
    }
}
