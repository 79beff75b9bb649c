using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Privacy;

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

    /// <summary>Largest message accepted, in bytes. 1 KiB to 1 GiB; default 256 MiB.</summary>
    public int MaxMessageBytes { get; init; } = 256 << 20;
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
internal sealed record RunFileParty
{
    /// <summary>Name, unique in the job.</summary>
    public required string Name { get; init; }

    /// <summary>Role.</summary>
    public required PartyRole Role { get; init; }

    /// <summary>Its table; null when the file does not say, as for the other parties of a real session.</summary>
    public TableSource? Data { get; init; }

    /// <summary>Full path of its split file: its own, else the job's; null unless rows are split by file.</summary>
    public string? SplitPath { get; init; }

    /// <summary>Its ledger.</summary>
    public required RunFileLedger Ledger { get; init; }
}

/// <summary>A job file: the job, and where each party's things are.</summary>
internal sealed record RunFile
{
    /// <summary>The file as the user named it.</summary>
    public required string Path { get; init; }

    /// <summary>Full path of its folder; relative paths in the file start there.</summary>
    public required string Directory { get; init; }

    /// <summary>What the parties agree on, with every default that a mode implies filled in.</summary>
    public required GlmJob Job { get; init; }

    /// <summary>The parties in the order of the file.</summary>
    public required IReadOnlyList<RunFileParty> Parties { get; init; }

    /// <summary>How the parties reach each other.</summary>
    public required TransportSettings Transport { get; init; }

    /// <summary>Full path of the job's split file; null unless rows are split by a file named for all parties.</summary>
    public string? SplitPath { get; init; }

    /// <summary>Full path of the model directory that training starts from; null without a warm start.</summary>
    public string? WarmStart { get; init; }

    /// <summary>Values that stand in for those of the file.</summary>
    public IReadOnlyList<RunFileSetting> Settings { get; init; } = [];

    /// <summary>Paths of keys that were read and have no effect in this job, for the report.</summary>
    public required IReadOnlyList<string> Ignored { get; init; }

    /// <summary>Sentences for the report.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>Reads job.json for running all of its parties.</summary>
    /// <param name="path">File.</param>
    /// <exception cref="ConfigurationException">The file cannot be read or has faults (FL20nn); all of them are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The file asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static RunFile Load(string path) => Load(path, []);

    /// <summary>Reads job.json with other values in place of some of its own.</summary>
    /// <param name="path">File.</param>
    /// <param name="settings">The values.</param>
    /// <exception cref="ConfigurationException">The file cannot be read or has faults (FL20nn); all of them are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The file asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static RunFile Load(string path, IReadOnlyList<RunFileSetting> settings) => new RunFileReader(path, settings: settings).Read() with { Settings = settings };

    /// <summary>The same job as one run of a cross-validation, which needs no standard errors.</summary>
    /// <param name="fold">The fold it tests on.</param>
    public RunFile On(CrossValidationFold fold) => this with { Job = Job with { Fold = fold, Inference = false } };

    /// <summary>A party by name.</summary>
    /// <param name="name">Name, which the job has.</param>
    public RunFileParty Party(string name) => Parties.First(party => party.Name == name);
}
