using FedLearn.Coordination;
using FedLearn.Dssm;
using FedLearn.Transport.Grpc;

namespace FedLearn.Cli.RunFiles;

/// <summary>A table with its schema.</summary>
/// <param name="Path">Full path of the table.</param>
/// <param name="Schema">Full path of its schema.</param>
/// <param name="DecimalMark">What stands before decimals.</param>
internal sealed record DssmTableFile(string Path, string? Schema, char DecimalMark = '.');

/// <summary>Where the tables of a party of a recommendation job are.</summary>
internal sealed record DssmData
{
    /// <summary>Full path of the events; active party only.</summary>
    public string? Interactions { get; init; }

    /// <summary>The items and their content; active party only.</summary>
    public DssmTableFile? Items { get; init; }

    /// <summary>The view; the active party may have none.</summary>
    public DssmTableFile? View { get; init; }
}

/// <summary>A party of a recommendation model.</summary>
internal sealed record DssmRunFileParty : RunFileParty
{
    /// <summary>Its tables; null when the file does not say, as for the other parties of a real session.</summary>
    public DssmData? Data { get; init; }

    /// <summary>Full path of the user's TorchScript module for its view; null: the tower that the model describes.</summary>
    public string? Tower { get; init; }

    /// <summary>Full path of the user's TorchScript module for the items; null: the tower that the model describes.</summary>
    public string? ItemTower { get; init; }
}

/// <summary>The job file of a recommendation model.</summary>
internal sealed record DssmRunFile : RunFile
{
    /// <summary>What stands before everything else when noise comes from a seed.</summary>
    public const string TestNoiseNotice = "NOT PRIVATE: test noise";

    /// <summary>Creates a job file.</summary>
    /// <param name="parties">The parties in the order of the file.</param>
    public DssmRunFile(IReadOnlyList<DssmRunFileParty> parties) => Parties = parties;

    /// <summary>What the parties agree on, with every default that a mode implies filled in.</summary>
    public required DssmJob Job { get; init; }

    /// <summary>Threads of a party's towers. At least 1; default 1.</summary>
    public int Threads { get; init; } = 1;

    /// <inheritdoc />
    public override string Name => Job.Name;

    /// <inheritdoc />
    public override IReadOnlyList<DssmRunFileParty> Parties { get; }

    /// <inheritdoc />
    public override bool IsPrivate => Job.Privacy.IsPrivate;

    /// <inheritdoc />
    public override string? Notice => Job.Privacy is { IsPrivate: true, TestNoiseSeed: not null } ? TestNoiseNotice : null;

    /// <inheritdoc />
    public override IReadOnlyList<string> Purposes => [GrpcRelay.Train, GrpcRelay.Predict, GrpcRelay.Evaluate];

    /// <inheritdoc />
    public override SessionTerms Terms(string purpose) => DssmJobTerms.Of(Job, purpose == GrpcRelay.Predict ? "recommend" : purpose);

    /// <inheritdoc />
    protected override IEnumerable<string?> Tables => Parties.SelectMany(p => (string?[])[p.Tower, p.ItemTower, p.Data?.Interactions,
        p.Data?.Items?.Path, p.Data?.Items?.Schema, p.Data?.View?.Path, p.Data?.View?.Schema]);

    /// <summary>A party by name.</summary>
    /// <param name="name">Name, which the job has.</param>
    public DssmRunFileParty Party(string name) => Parties.First(party => party.Name == name);
}
