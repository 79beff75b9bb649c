using FedLearn.Alignment;
using FedLearn.Parties;

namespace FedLearn.Cli.RunFiles;

/// <summary>How the parties of a job find their common rows, the same at every party.</summary>
/// <param name="Method">Hashed ids, or private set intersection.</param>
/// <param name="Output">Who learns what of an intersection.</param>
/// <param name="Proof">Whether the parties prove that each used one scalar for all ids.</param>
internal sealed record JobAlignment(AlignmentMethod Method, PsiOutput Output, bool Proof)
{
    /// <summary>Outputs as files and options write them.</summary>
    public static readonly (string Word, PsiOutput Meaning)[] Outputs =
        [("both", PsiOutput.Both), ("active-only", PsiOutput.ActiveOnly), ("passive-only", PsiOutput.PassiveOnly), ("size-only", PsiOutput.SizeOnly)];

    /// <summary>Methods as files write them.</summary>
    public static readonly (string Word, AlignmentMethod Meaning)[] Methods = [("hashed", AlignmentMethod.Hashed), ("psi", AlignmentMethod.Psi)];

    /// <summary>The output as a word.</summary>
    public static string WordOf(PsiOutput output) => Outputs.First(o => o.Meaning == output).Word;
}

/// <summary>A party's own part of private set intersection; nobody else's affair.</summary>
internal sealed record PartyAlignment
{
    private static readonly (string, PsiEngine)[] Engines = [("fastest", PsiEngine.Fastest), ("sodium", PsiEngine.Sodium), ("vector", PsiEngine.Vector)];

    /// <summary>The announced number of ids is a multiple of this one.</summary>
    public int PadTo { get; init; } = 1;

    /// <summary>Threads; null: one a core.</summary>
    public int? Threads { get; init; }

    /// <summary>What computes.</summary>
    public PsiEngine Engine { get; init; }

    /// <summary>What a peer may do.</summary>
    public AlignmentCaps Caps { get; init; } = new();

    /// <summary>Full path of the folder in which an interrupted alignment leaves what it needs to go on.</summary>
    public required string State { get; init; }

    /// <summary>Whether a file names that folder. Each job has a folder of its own in the default one, so that jobs of one service with the same peer do not meet there.</summary>
    public bool NamesState { get; init; }

    /// <summary>Reads the key <c>alignment</c> of a party of job.json, or of a party.json.</summary>
    /// <param name="owner">The object that has the key.</param>
    /// <param name="party">Name of the party.</param>
    /// <param name="ledger">Full path of its ledger, beside which the state lies.</param>
    /// <param name="below">What stands for the keys that are absent; null: the defaults.</param>
    public static PartyAlignment Of(Section owner, string party, string ledger, PartyAlignment? below = null)
    {
        Section own = owner.Object("alignment");
        AlignmentCaps caps = below?.Caps ?? new();
        return new PartyAlignment
        {
            PadTo = own.Count("padTo", 1, 1_000_000_000) ?? below?.PadTo ?? 1,
            Threads = own.Count("threads", 1, 1024) ?? below?.Threads,
            Engine = own.Word("engine", Engines, below?.Engine ?? PsiEngine.Fastest),
            Caps = caps with
            {
                SessionsPerDay = own.Count("sessionsPerDay", 1, int.MaxValue) ?? caps.SessionsPerDay,
                PeerIds = own.Count("peerIds", 1, int.MaxValue) ?? caps.PeerIds,
            },
            State = own.FilePath("state") ?? below?.State ?? Path.Combine(Path.GetDirectoryName(ledger)!, $"{party}.alignment"),
            NamesState = own.Has("state") || below?.NamesState == true,
        };
    }
}
