using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>Where the parties of <c>train</c> run.</summary>
internal enum TransportKind
{
    /// <summary>Over gRPC: one process a party, or all in one with --in-process.</summary>
    Grpc = 0,

    /// <summary>All in the tool's own process, without a network.</summary>
    InMemory = 1,
}

/// <summary>How parties reach each other.</summary>
internal sealed record TransportSettings
{
    /// <summary>Where the parties run.</summary>
    public TransportKind Kind { get; init; } = TransportKind.Grpc;

    /// <summary>How long one message is waited for. Above 0 and at most a day; default 60 seconds.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long the parties are waited for before the first round. Above 0 and at most a day; default 60 seconds.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long <c>fedlearn party</c> waits for peers that it has lost, so that the run can go on. 0 to a day; default 300 seconds, 0: it ends.</summary>
    public TimeSpan ResumeTimeout { get; init; } = TimeSpan.FromSeconds(300);

    /// <summary>Largest message accepted, in bytes. 1 KiB to 1 GiB; default 256 MiB.</summary>
    public int MaxMessageBytes { get; init; } = 256 << 20;

    /// <summary>In a real session, this party's addresses and identity; null where all parties run on this machine.</summary>
    public PartyTransport? Party { get; init; }

    /// <summary>In a real session, the way through a coordinator; null where the parties connect directly.</summary>
    public GrpcRelay? Relay { get; init; }

    /// <summary>What one peer may take of a party that listens. From the party file.</summary>
    public GrpcQuotas Quotas { get; init; } = new();
}

/// <summary>A party's privacy ledger.</summary>
internal sealed record RunFileLedger
{
    /// <summary>Full path of the file.</summary>
    public required string Path { get; init; }

    /// <summary>What may be spent in total; null: every charge is recorded, and nothing refused.</summary>
    public PrivacyBudget? Budget { get; init; }
}

/// <summary>A party of the job, with what only its own machine needs.</summary>
internal abstract record RunFileParty
{
    /// <summary>Name, unique in the job.</summary>
    public required string Name { get; init; }

    /// <summary>Role.</summary>
    public required PartyRole Role { get; init; }

    /// <summary>Its ledger.</summary>
    public required RunFileLedger Ledger { get; init; }

    /// <summary>Its own part of private set intersection.</summary>
    public required PartyAlignment Alignment { get; init; }
}

/// <summary>Kinds of jobs.</summary>
internal enum JobKind
{
    /// <summary>A generalised linear model.</summary>
    Glm = 0,

    /// <summary>A recommendation model.</summary>
    Dssm = 1,
}

/// <summary>A job file: the job, and where each party's things are.</summary>
internal abstract record RunFile
{
    /// <summary>The file as the user named it.</summary>
    public required string Path { get; init; }

    /// <summary>Full path of its folder; relative paths in the file start there.</summary>
    public required string Directory { get; init; }

    /// <summary>How the parties reach each other.</summary>
    public required TransportSettings Transport { get; init; }

    /// <summary>How the common rows are found.</summary>
    public required JobAlignment Alignment { get; init; }

    /// <summary>Values that stand in for those of the file.</summary>
    public IReadOnlyList<RunFileSetting> Settings { get; init; } = [];

    /// <summary>Paths of keys that were read and have no effect in this job, for the report.</summary>
    public required IReadOnlyList<string> Ignored { get; init; }

    /// <summary>Sentences for the report.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>Name of the job.</summary>
    public abstract string Name { get; }

    /// <summary>The parties in the order of the file.</summary>
    public abstract IReadOnlyList<RunFileParty> Parties { get; }

    /// <summary>The party that has the labels, or the events.</summary>
    public RunFileParty Active => Parties.First(party => party.Role == PartyRole.Active);

    /// <summary>Whether the job is private: it adds noise, and charges the ledgers of its parties.</summary>
    public abstract bool IsPrivate { get; }

    /// <summary>Full paths of what no result may replace: the file itself, the parties' tables with what belongs to them, and their ledgers.</summary>
    public IEnumerable<string> Inputs => Tables.OfType<string>().Concat(Parties.Select(party => party.Ledger.Path)).Append(Path);

    /// <summary>Paths of the parties' tables, schemas, splits and other files of data; null for those that a party lacks.</summary>
    protected abstract IEnumerable<string?> Tables { get; }

    /// <summary>The files of a model directory that the parties' parts are in.</summary>
    /// <param name="directory">The directory; null for none.</param>
    public string[] ModelFiles(string? directory) => directory is not { Length: > 0 } ? [] : [.. Parties.Select(party => System.IO.Path.Combine(directory, GlmModel.FileName(party.Name)))];

    /// <summary>The files of the model that a training starts from. No report may replace them; the new model may.</summary>
    public virtual string[] StartFiles => [];

    /// <summary>What a reader of the report, the page or the terminal must meet before any figure; null for nothing.</summary>
    public abstract string? Notice { get; }

    /// <summary>What sessions of the job may be for, as those who connect its parties know them.</summary>
    public abstract IReadOnlyList<string> Purposes { get; }

    /// <summary>What the parties must agree on for one purpose, the party that hosts its sessions first.</summary>
    /// <param name="purpose">Verb.</param>
    public abstract SessionTerms Terms(string purpose);

    /// <summary>The job as one verb has it, as hexadecimal SHA-256; equal at every party.</summary>
    /// <param name="purpose">Verb.</param>
    public string Digest(string purpose) => Convert.ToHexStringLower(Terms(purpose).TermsDigest.Span);

    /// <summary>Reads job.json for running all of its parties.</summary>
    /// <param name="path">File.</param>
    /// <exception cref="ConfigurationException">The file cannot be read or has faults (FL20nn); all of them are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The file asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static RunFile Load(string path) => Load(path, []);

    /// <summary>Reads job.json with other values in place of some of its own.</summary>
    /// <param name="path">File.</param>
    /// <param name="settings">The values.</param>
    /// <param name="alignsOnly">Whether the job finds common rows and does nothing else: then any party may be the one to learn them.</param>
    /// <exception cref="ConfigurationException">The file cannot be read or has faults (FL20nn); all of them are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The file asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static RunFile Load(string path, IReadOnlyList<RunFileSetting> settings, bool alignsOnly = false) =>
        RunFileReader.For(path, settings: settings, alignsOnly: alignsOnly).Read() with { Settings = settings };

    /// <summary>This job as one of a kind that a verb works on.</summary>
    /// <param name="verb">The verb, for the message.</param>
    /// <typeparam name="T">The kind.</typeparam>
    /// <exception cref="ConfigurationException">FL2013: it is of another kind.</exception>
    public T As<T>(string verb) where T : RunFile => this as T ?? throw new ConfigurationException(RunFileErrors.OtherModel, $"{Path}: model.type",
        typeof(T) == typeof(GlmRunFile) ? $"{verb} works on generalised linear models, and this job is of type dssm." : $"{verb} works on recommendation models, and this job is of type glm.",
        typeof(T) == typeof(GlmRunFile) ? "Use train, predict, party or recommend with this job." : "Use train, predict or party, or give a job whose model.type is dssm.");
}
