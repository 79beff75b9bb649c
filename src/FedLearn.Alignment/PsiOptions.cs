using FedLearn.Parties;

namespace FedLearn.Alignment;

/// <summary>Who learns what of an intersection.</summary>
public enum PsiOutput
{
    /// <summary>Both parties learn which of their ids are common. What a training job needs.</summary>
    Both = 0,

    /// <summary>The active party alone learns which of its ids are common.</summary>
    ActiveOnly = 1,

    /// <summary>The passive party alone learns which of its ids are common.</summary>
    PassiveOnly = 2,

    /// <summary>Both parties learn how many ids are common, and not which.</summary>
    SizeOnly = 3,
}

/// <summary>What happens to ids that are equal once they are normalised.</summary>
public enum DuplicateIds
{
    /// <summary>They are an error.</summary>
    Refuse = 0,

    /// <summary>The first row with the id stands for all of them.</summary>
    KeepFirst = 1,
}

/// <summary>What computes in the group.</summary>
public enum PsiEngine
{
    /// <summary>The vector engine where the processor has what it needs and it agrees with libsodium, else libsodium.</summary>
    Fastest = 0,

    /// <summary>libsodium.</summary>
    Sodium = 1,

    /// <summary>The vector engine.</summary>
    Vector = 2,
}

/// <summary>Settings of private set intersection. Output and proof must be equal at both parties; the rest is a party's own affair.</summary>
public sealed record PsiOptions
{
    /// <summary>Who learns what. Default both parties.</summary>
    public PsiOutput Output { get; init; } = PsiOutput.Both;

    /// <summary>Whether each party proves that it used one scalar for all ids of the other (RFC 9497 section 2.2). Takes about three times the time, and 64 bytes an id.</summary>
    public bool Proof { get; init; }

    /// <summary>The announced number of ids is a multiple of this one, made up by invented ids; hides how many rows a party has.</summary>
    /// <value>At least 1. Default 1: nothing is hidden.</value>
    public int PadTo { get; init; } = 1;

    /// <summary>Rule for equal ids. Default: refuse.</summary>
    public DuplicateIds Duplicates { get; init; }

    /// <summary>Threads that compute.</summary>
    /// <value>At least 1; null, the default: one a processor.</value>
    public int? Threads { get; init; }

    /// <summary>What computes. Default: the fastest.</summary>
    public PsiEngine Engine { get; init; }

    /// <summary>Folder, the party's own, in which an interrupted alignment leaves what it needs to go on, secret scalar included; emptied when it has ended.</summary>
    /// <value>Null, the default: an interrupted alignment begins anew.</value>
    public string? StateDirectory { get; init; }

    /// <summary>Where sessions are written down. Null: in memory, which forgets.</summary>
    public IAlignmentLog? Log { get; init; }

    /// <summary>What a peer may do.</summary>
    public AlignmentCaps Caps { get; init; } = new();

    /// <summary>Jobs of more than two parties: how long a passive party that is done waits, in all, for the active party's other pairs. The active party says now and then that it must still wait,
    /// which no other time limit ends.</summary>
    /// <value>Above zero, or <see cref="Timeout.InfiniteTimeSpan"/>. Default one hour: 60 times the default time limit of a receive.</value>
    public TimeSpan WaitLimit { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Refuses settings that no session could have.</summary>
    internal void Check()
    {
        if (WaitLimit != Timeout.InfiniteTimeSpan)
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(WaitLimit, TimeSpan.Zero);
        if (!Enum.IsDefined(Output) || !Enum.IsDefined(Duplicates) || !Enum.IsDefined(Engine))
            throw new ArgumentOutOfRangeException(nameof(Output), "An output, a rule for duplicates or an engine that does not exist.");
        ArgumentOutOfRangeException.ThrowIfLessThan(PadTo, 1);
        if (Threads is { } threads)
            ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1, nameof(Threads));
        ArgumentNullException.ThrowIfNull(Caps);
        ArgumentOutOfRangeException.ThrowIfLessThan(Caps.SessionsPerDay, 1, nameof(Caps));
        ArgumentOutOfRangeException.ThrowIfLessThan(Caps.PeerIds, 1, nameof(Caps));
        if (Proof && Output == PsiOutput.SizeOnly)
            throw new ArgumentException("Proofs show which of the receiver's ids a point belongs to, which an output of the size alone hides: choose one of the two.", nameof(Proof));
    }
}
