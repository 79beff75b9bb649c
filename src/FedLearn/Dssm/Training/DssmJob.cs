using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>How the vectors of several views become one score.</summary>
public enum DssmFusion
{
    /// <summary>Every view has a loss of its own, and the score is the mean of the views' cosines (the reading of FL-MV-DSSM, arXiv 2008.10808, that needs least of
    /// other views). An absent view leaves the mean.</summary>
    Late = 0,

    /// <summary>The views' vectors are added.</summary>
    Sum = 1,

    /// <summary>The views' vectors are put side by side and mapped by a matrix of the active party.</summary>
    Concat = 2,
}

/// <summary>What the positive item is compared with.</summary>
public enum DssmLossKind
{
    /// <summary>Softmax over the positive and J drawn negatives.</summary>
    Sampled = 0,

    /// <summary>Softmax over the positives of the batch; the same item twice is no negative of itself.</summary>
    InBatch = 1,

    /// <summary>In-batch with logits less log q, q the items' shares in the training events.</summary>
    InBatchLogQ = 2,

    /// <summary>Softmax over all items.</summary>
    Full = 3,
}

/// <summary>Where the negatives of <see cref="DssmLossKind.Sampled"/> come from.</summary>
public enum NegativeSource
{
    /// <summary>Uniform draws from the catalogue; only the target itself is masked. The one source that depends on no data.</summary>
    Uniform = 0,

    /// <summary>Half uniform, half positives of the same batch.</summary>
    Mixed = 1,

    /// <summary>Uniform, and positives of earlier batches.</summary>
    Cached = 2,

    /// <summary>Uniform in the first half of the epochs, then the hardest of ten times as many uniform draws.</summary>
    Hard = 3,

    /// <summary>Draws with probability proportional to the items' counts in the training events to the power .75.</summary>
    Popularity = 4,
}

/// <summary>The model.</summary>
public sealed record DssmModelOptions
{
    /// <summary>Fusion.</summary>
    /// <value>Default sum.</value>
    public DssmFusion Fusion { get; init; } = DssmFusion.Sum;

    /// <summary>Widths of every tower's layers; the last is the width k of all vectors.</summary>
    /// <value>Default 128, 64.</value>
    public IReadOnlyList<int> Layers { get; init; } = [128, 64];

    /// <summary>Activation.</summary>
    public TowerActivation Activation { get; init; }

    /// <summary>Whether hidden layers normalise their rows.</summary>
    public bool LayerNorm { get; init; }

    /// <summary>Dropout of hidden layers, at least 0 and below 1.</summary>
    public double Dropout { get; init; }

    /// <summary>Factor gamma of the cosines in the softmax.</summary>
    /// <value>Finite, above 0. Default 10.</value>
    public double Gamma { get; init; } = 10;

    /// <summary>Loss.</summary>
    public DssmLossKind Loss { get; init; }

    /// <summary>Negatives J a sample, of <see cref="DssmLossKind.Sampled"/>.</summary>
    /// <value>At least 1. Default 4.</value>
    public int Negatives { get; init; } = 4;

    /// <summary>Where they come from.</summary>
    public NegativeSource NegativeSource { get; init; }

    /// <summary>Share of a sample's views that training leaves out, each view by its own coin, at least one view staying.</summary>
    /// <value>At least 0 and below 1. Default 0.</value>
    public double ViewDropout { get; init; }

    /// <summary>Whether the active party learns one weight a view.</summary>
    public bool LearnViewWeights { get; init; }

    /// <summary>Fixed weights by view name; absent ones are 1.</summary>
    /// <value>1e-100 to 1e100.</value>
    public IReadOnlyDictionary<string, double> ViewWeights { get; init; } = new Dictionary<string, double>();

    /// <summary>Whether the active party learns one bias an item, added to its logits.</summary>
    public bool ItemBias { get; init; }

    /// <summary>Precision of towers and of vectors on the wire.</summary>
    public TowerPrecision Precision { get; init; }

    /// <summary>A tower of the model.</summary>
    internal TowerSpec Tower(TowerInputs inputs, TowerOptimizer optimizer) => new()
    {
        Inputs = inputs,
        Layers = Layers,
        Activation = Activation,
        LayerNorm = LayerNorm,
        Dropout = Dropout,
        Precision = Precision,
        Optimizer = optimizer,
    };
}

/// <summary>The schedule.</summary>
public sealed record DssmTrainingOptions
{
    /// <summary>Most passes over the training samples.</summary>
    /// <value>At least 1. Default 12.</value>
    public int Epochs { get; init; } = 12;

    /// <summary>Samples of a batch.</summary>
    /// <value>At least 1. Default 1,024.</value>
    public int BatchSize { get; init; } = 1024;

    /// <summary>Optimiser of every party's parameters.</summary>
    public TowerOptimizer Optimizer { get; init; } = new();

    /// <summary>Whether the epoch with the best validation NDCG@10 (sampled negatives) is kept. Mode none only.</summary>
    /// <value>Default true in mode none.</value>
    public bool? ValidationStop { get; init; }

    /// <summary>Epochs in a row without improvement after which training ends.</summary>
    /// <value>At least 1. Default 5.</value>
    public int Patience { get; init; } = 5;

    /// <summary>Rounds between two kept states, for parties that keep any: after a crash at most twice as many are repeated. Private and masked jobs keep states more often where the messages since the
    /// older of two would not stay in the outboxes.</summary>
    /// <value>0 to 1,000,000; 0: none are kept. Default 100.</value>
    public int CheckpointRounds { get; init; } = 100;

    /// <summary>Seed of starting values, schedule and negatives. Not secret.</summary>
    public long Seed { get; init; }
}

/// <summary>Which messages are noised.</summary>
[Flags]
public enum DssmNoise
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>The views' vectors.</summary>
    Embeddings = 1,

    /// <summary>The gradients that the active party returns.</summary>
    Gradients = 2,

    /// <summary>Both.</summary>
    Both = 3,
}

/// <summary>When a sample's time is named to a view.</summary>
public enum SampleTime
{
    /// <summary>To the second, with its place among events of that second.</summary>
    Exact = 0,

    /// <summary>The day (UTC): a view answers with what it knew when the day began.</summary>
    Day = 1,
}

/// <summary>What protects a job's messages.</summary>
public sealed record DssmPrivacyOptions
{
    /// <summary>Which messages are noised; none: mode none.</summary>
    public DssmNoise Noise { get; init; }

    /// <summary>What is promised.</summary>
    public EmbeddingClaim Claim { get; init; }

    /// <summary>The budget of a party that noises, for <see cref="Unit"/>, over the whole job; a party may have its own.</summary>
    public PrivacyBudget? Budget { get; init; }

    /// <summary>Unit that the budget is for.</summary>
    public EmbeddingUnit Unit { get; init; }

    /// <summary>Bound C on the L2 norm of a noised row: a view's vector, or the concatenation of what all views get for a sample. Declared, never taken from data.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double Clip { get; init; } = 1;

    /// <summary>Claim full: bound G on the L2 norm of one row's gradient of all of a party's parameters; of the active party's items, of one sample's block of dL/dY.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double ParameterClip { get; init; } = 1;

    /// <summary>Claim full: share of mu squared that goes to the messages, the rest being for the parameters.</summary>
    /// <value>Above 0 and below 1. Default 0.5.</value>
    public double MessageShare { get; init; } = 0.5;

    /// <summary>Largest number h of other samples whose features may contain one event; unit event.</summary>
    public int? HistoryEvents { get; init; }

    /// <summary>Cap M on a user's training samples, enforced by hash order; unit user, and the figures for it.</summary>
    public int? MaxSamplesPerUser { get; init; }

    /// <summary>What is sent to evaluate the model.</summary>
    public EvaluationDisclosure Evaluation { get; init; }

    /// <summary>Seed of test noise, which protects nothing; null: secure noise.</summary>
    public long? TestNoiseSeed { get; init; }

    /// <summary>Whether anything is noised.</summary>
    public bool IsPrivate => Noise != DssmNoise.None;
}

/// <summary>A party of the job.</summary>
public sealed record DssmPartyOptions
{
    /// <summary>Name and role; the active party has events and items, every passive one is a view.</summary>
    public required PartyDescription Party { get; init; }

    /// <summary>Its own budget; null: the job's.</summary>
    public PrivacyBudget? Budget { get; init; }
}

/// <summary>What the parties of a recommendation job agree on.</summary>
public sealed record DssmJob
{
    /// <summary>Name.</summary>
    public required string Name { get; init; }

    /// <summary>Model.</summary>
    public DssmModelOptions Model { get; init; } = new();

    /// <summary>Schedule.</summary>
    public DssmTrainingOptions Training { get; init; } = new();

    /// <summary>Privacy.</summary>
    public DssmPrivacyOptions Privacy { get; init; } = new();

    /// <summary>Whether the active party has a view of its own.</summary>
    public bool LabelHasView { get; init; }

    /// <summary>How the active party and each view find the users that they share. Part of the digest: a peer that runs <c>fedlearn party</c> has <see cref="AlignmentMethod.Psi"/> where its job file says nothing else.</summary>
    /// <value>Default <see cref="AlignmentMethod.Hashed"/>, which is for trials: over a connection results and logs warn of it. With <see cref="AlignmentMethod.Psi"/> each party needs
    /// <see cref="DssmPartyInput.Alignment"/>, a <c>PsiAlignment</c> of the package FedLearn.Alignment (FL2523).</value>
    public AlignmentMethod Alignment { get; init; } = AlignmentMethod.Hashed;

    /// <summary>Whether the parties prove to each other that each used one scalar for all ids; <see cref="AlignmentMethod.Psi"/> only.</summary>
    /// <value>Default false.</value>
    public bool AlignmentProof { get; init; }

    /// <summary>How precisely samples' times are named.</summary>
    public SampleTime SampleTime { get; init; }

    /// <summary>Whether the vectors of the passive views are added under masks, so that the active party sees only their sum (fusion sum, at least two passive views).</summary>
    public bool MaskedSum { get; init; }

    /// <summary>The parties: one active one and any number of passive ones, each a view.</summary>
    public required IReadOnlyList<DssmPartyOptions> Parties { get; init; }

    /// <summary>Width k of all vectors.</summary>
    internal int Width => Model.Layers[^1];

    /// <summary>Whether the epoch of the best validation figure is kept, where there are validation events.</summary>
    internal bool ValidationStop => Training.ValidationStop ?? !Privacy.IsPrivate;

    /// <summary>Whether vectors of evaluated rows are sent at all.</summary>
    internal bool SendsEvaluation => !Privacy.IsPrivate || Privacy.Evaluation != EvaluationDisclosure.None;

    /// <summary>Names of the views: the active party's own, then the passive parties' in their order here.</summary>
    internal IReadOnlyList<string> ViewNames => [.. Parties.Where(p => p.Party.Role == PartyRole.Passive || LabelHasView).OrderBy(p => p.Party.Role).Select(p => p.Party.Name)];

    /// <summary>Batches of an epoch.</summary>
    internal int BatchesOf(int samples) => (samples + Training.BatchSize - 1) / Training.BatchSize;
}
