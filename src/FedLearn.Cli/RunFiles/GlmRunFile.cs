using FedLearn.Cli.Running;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>A party of a generalised linear model.</summary>
internal sealed record GlmRunFileParty : RunFileParty
{
    /// <summary>Its table; null when the file does not say, as for the other parties of a real session.</summary>
    public TableSource? Data { get; init; }

    /// <summary>Full path of its split file: its own, else the job's; null unless rows are split by file.</summary>
    public string? SplitPath { get; init; }
}

/// <summary>What does the arithmetic of CKKS.</summary>
internal enum SealEngine
{
    /// <summary>The native library where there is one, else Node.js.</summary>
    Auto = 0,

    /// <summary>SEAL in WebAssembly, in a process of Node.js.</summary>
    Node = 1,

    /// <summary>SEAL's own C library.</summary>
    Native = 2,
}

/// <summary>A machine's own part of homomorphic encryption.</summary>
internal sealed record HeEngineSettings
{
    /// <summary>What does the arithmetic.</summary>
    public SealEngine Engine { get; init; }

    /// <summary>Engines or threads of a party, 1 to 64. Null: one a core, shared by all parties that run on this machine.</summary>
    public int? Workers { get; init; }
}

/// <summary>The job file of a generalised linear model.</summary>
internal sealed record GlmRunFile : RunFile
{
    /// <summary>Creates a job file.</summary>
    /// <param name="parties">The parties in the order of the file.</param>
    public GlmRunFile(IReadOnlyList<GlmRunFileParty> parties) => Parties = parties;

    /// <summary>What the parties agree on, with every default that a mode implies filled in.</summary>
    public required GlmJob Job { get; init; }

    /// <summary>Full path of the job's split file; null unless rows are split by a file named for all parties.</summary>
    public string? SplitPath { get; init; }

    /// <summary>Full path of the model directory that training starts from; null without a warm start.</summary>
    public string? WarmStart { get; init; }

    /// <summary>What does homomorphic encryption on this machine.</summary>
    public HeEngineSettings HeEngine { get; init; } = new();

    /// <inheritdoc />
    public override string Name => Job.Name;

    /// <inheritdoc />
    public override IReadOnlyList<GlmRunFileParty> Parties { get; }

    /// <inheritdoc />
    public override bool IsPrivate => GlmPlan.IsPrivate(Job.Privacy.Mode);

    /// <inheritdoc />
    public override string? Notice => Job.Privacy.TestNoiseSeed is null ? null : GlmClaims.TestNoiseNotice;

    /// <inheritdoc />
    public override IReadOnlyList<string> Purposes =>
        [GrpcRelay.Train, GrpcRelay.Predict, GrpcRelay.Serve, GrpcRelay.Align, .. HeRun.ArbiterOf(this, GrpcRelay.Train) is null ? Array.Empty<string>() : [GrpcRelay.Arbiter]];

    /// <inheritdoc />
    public override SessionTerms Terms(string purpose) => purpose == GrpcRelay.Arbiter ? GlmJobTerms.OfArbiter(Job) : GlmJobTerms.Of(Job, purpose);

    /// <inheritdoc />
    public override string[] StartFiles => ModelFiles(WarmStart);

    /// <inheritdoc />
    protected override IEnumerable<string?> Tables => Parties.SelectMany(p => p.Data is not { } data ? [p.SplitPath]
        : (string?[])[p.SplitPath, data.Path, data.Schema, data.Ids, data.Labels, FileOf(data.Weight), FileOf(data.Offset), FileOf(data.Exposure)]).Append(SplitPath);

    // Weights and offsets are files beside .npy tables and sparse rows; in a CSV file they are columns, and these texts their names.
    private static string? FileOf(string? name) => System.IO.Path.IsPathFullyQualified(name ?? "") ? name : null;

    /// <summary>The same job as one run of a cross-validation, which needs no standard errors.</summary>
    /// <param name="fold">The fold it tests on.</param>
    public GlmRunFile On(CrossValidationFold fold) => this with { Job = Job with { Fold = fold, Inference = false } };

    /// <summary>A party by name.</summary>
    /// <param name="name">Name, which the job has.</param>
    public GlmRunFileParty Party(string name) => Parties.First(party => party.Name == name);

    /// <summary>A party's table.</summary>
    /// <param name="party">One of the parties.</param>
    /// <exception cref="ConfigurationException">FL2004: the file does not say where it is.</exception>
    public TableSource DataOf(GlmRunFileParty party) => party.Data ?? throw new ConfigurationException(RunFileErrors.MissingKey, $"{Path}: parties, '{party.Name}'",
        "the party has no data.", "Give data.path in the run file, or in the party file of that party.");

    /// <summary>Reads job.json for running all of its parties.</summary>
    /// <param name="path">File.</param>
    /// <param name="settings">Values in place of some of its own; null for none.</param>
    /// <exception cref="ConfigurationException">The file cannot be read, has faults or describes another kind of job (FL20nn); all faults are listed.</exception>
    /// <exception cref="PrivacyRefusedException">The file asks for what the privacy mathematics does not cover (FL505n).</exception>
    public static GlmRunFile Load(string path, IReadOnlyList<RunFileSetting>? settings = null) => RunFile.Load(path, settings ?? []).As<GlmRunFile>("this");
}
