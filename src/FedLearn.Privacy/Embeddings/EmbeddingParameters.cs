namespace FedLearn.Privacy;

/// <summary>What is promised of the messages of one party of a recommendation job with one tower a party.</summary>
public enum EmbeddingClaim
{
    /// <summary>The unit's own vectors, with received messages and parameters held fixed. No guarantee against the peer: a changed row moves the party's tower, and
    /// through it all later vectors, for which there is no bound.</summary>
    OwnMessages = 0,

    /// <summary>All messages and the final parameters: besides the vectors, every trained parameter of the party is updated with noisy sums of clipped gradients only.</summary>
    Full = 1,

    /// <summary>All messages: one clipped, noisy vector a row, sent once, from a map that no private row touched.</summary>
    OneShot = 2,
}

/// <summary>What is replaced between neighbouring tables, ids and keys being fixed.</summary>
public enum EmbeddingUnit
{
    /// <summary>One sample: one row.</summary>
    Sample = 0,

    /// <summary>One event: its own sample, and the h others whose point-in-time features may contain it.</summary>
    Event = 1,

    /// <summary>Everything that the party holds of one user: as many rows as the declared cap M allows.</summary>
    User = 2,
}

/// <summary>Noise on one group of a party's parameters: in every batch each row's gradient of all of the group together is clipped to <paramref name="Clip"/>, the
/// clipped gradients are summed in float64, and the sum gets noise before anything else sees it.</summary>
/// <param name="Name">Name for reports, such as <c>tower</c> or <c>item vectors</c>.</param>
/// <param name="Clip">Bound G on the L2 norm of a row's part. From 1e-100 to 1e100.</param>
/// <param name="Coordinates">Numbers d in the sum, at least 1.</param>
public sealed record GradientGroup(string Name, double Clip, long Coordinates)
{
    /// <summary>Its part of the parameters' share of mu squared, relative to the other groups'.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double Weight { get; init; } = 1;
}

/// <summary>Evaluation with vectors that get fresh noise of the training messages' deviation and are charged.</summary>
/// <param name="Queries">How often the vector of each evaluated row is asked for, at least 1.</param>
/// <param name="RowsPerUser">Most evaluated rows of a user, at least 1. Public, since the rows are named in the clear.</param>
/// <param name="Messages">Messages that they are sent in, all queries together, at least 1.</param>
public sealed record EmbeddingEvaluation(int Queries, int RowsPerUser, int Messages);

/// <summary>The public numbers of one party of a recommendation job: a view, or the active party. Neighbours replace one unit of that party (replace-one).</summary>
/// <remarks>The schedule is public and independent of data, and each training row is in one batch an epoch. docs/proofs/embeddings.md.</remarks>
public sealed record EmbeddingParameters
{
    /// <summary>What is promised.</summary>
    public required EmbeddingClaim Claim { get; init; }

    /// <summary>Bound C on the L2 norm of a message row: a view's vector, or the concatenation of what all views get for a sample.</summary>
    /// <value>From 1e-100 to 1e100.</value>
    public required double Clip { get; init; }

    /// <summary>Numbers k of a message row: the width of vectors; where different gradients go to V views, V times that.</summary>
    /// <value>At least 1.</value>
    public required int Width { get; init; }

    /// <summary>Visits E of each training row. One-shot: 1.</summary>
    /// <value>At least 1.</value>
    public int Epochs { get; init; } = 1;

    /// <summary>Batches of an epoch; one-shot: messages.</summary>
    /// <value>At least 1; times the epochs at most a billion.</value>
    public int Batches { get; init; } = 1;

    /// <summary>Planned size b of a batch: the constant that sums of gradients are divided by, and the most rows of a batch.</summary>
    /// <value>At least 1.</value>
    public int BatchSize { get; init; } = 1;

    /// <summary>Messages that a batch's rows are cut into, such as one for each view when they get different gradients.</summary>
    /// <value>At least 1.</value>
    public int MessagesPerBatch { get; init; } = 1;

    /// <summary>Whether a user's row is the same in all samples, so that only users can be protected.</summary>
    public bool IsStatic { get; init; }

    /// <summary>Largest number h of other samples whose features may contain one event.</summary>
    /// <value>At least 0. Null: not declared.</value>
    public int? HistoryEvents { get; init; }

    /// <summary>Cap M on a user's training rows, enforced by a rule that looks at no data.</summary>
    /// <value>At least 1. Null: not declared.</value>
    public int? MaxSamplesPerUser { get; init; }

    /// <summary>Full: share of mu squared that the messages get, the rest being for the parameters.</summary>
    /// <value>Above 0 and below 1. Default 0.5.</value>
    public double MessageShare { get; init; } = 0.5;

    /// <summary>Full: the groups that make up all trained parameters of the party. Empty for other claims, and for a party that trains nothing.</summary>
    public IReadOnlyList<GradientGroup> Gradients { get; init; } = [];

    /// <summary>Charged evaluation; null: none. A static row that was sent once is used again free of charge.</summary>
    public EmbeddingEvaluation? Evaluation { get; init; }

    /// <summary>Training messages that noise is drawn for.</summary>
    public int TrainingMessages => checked(Epochs * Batches * MessagesPerBatch);

    /// <summary>The evaluation that is charged: none where a row is sent once, whatever for.</summary>
    public EmbeddingEvaluation? ChargedEvaluation => Claim == EmbeddingClaim.OneShot && IsStatic ? null : Evaluation;

    /// <summary>Rows a at this party that one unit can change: sample 1, event 1 + h (at most M where that is declared), user M; 1 for a user whose static row is sent once.</summary>
    /// <param name="unit">The unit.</param>
    /// <returns>Null when the number that it rests on is not declared, or when a static view does not offer the unit.</returns>
    public int? RowsOf(EmbeddingUnit unit) => (unit, IsStatic) switch
    {
        (EmbeddingUnit.User, true) when Claim == EmbeddingClaim.OneShot => 1,
        (EmbeddingUnit.User, _) => MaxSamplesPerUser,
        (_, true) => null,
        (EmbeddingUnit.Sample, _) => 1,
        _ => HistoryEvents is not { } h ? null : (int)Math.Min(1L + h, MaxSamplesPerUser ?? int.MaxValue),
    };

    /// <summary>The units that the party's rows admit.</summary>
    public IReadOnlyList<EmbeddingUnit> Units => IsStatic ? [EmbeddingUnit.User] : [EmbeddingUnit.Sample, EmbeddingUnit.Event, EmbeddingUnit.User];

    /// <summary>Refuses numbers that do not fit together.</summary>
    /// <exception cref="Diagnostics.ConfigurationException">FL2313: a number out of range; FL2307: a share that is none.</exception>
    public void Validate()
    {
        CheckClip(Clip, "clip");
        Check(Width >= 1, "width", "it is below 1");
        Check(Epochs >= 1 && Batches >= 1 && MessagesPerBatch >= 1 && (long)Epochs * Batches <= 1_000_000_000 / MessagesPerBatch, "epochs",
            "epochs, batches or messages a batch are below 1, or over a billion together");
        Check(BatchSize >= 1, "batchSize", "it is below 1");
        Check(HistoryEvents is null or >= 0, "historyEvents", "it is below 0");
        Check(MaxSamplesPerUser is null or >= 1, "maxSamplesPerUser", "it is below 1");
        Check(Evaluation is null or { Queries: >= 1, RowsPerUser: >= 1, Messages: >= 1 and <= 1_000_000_000 }, "evaluation", "its queries, rows or messages are below 1, or a billion messages are not enough");
        Check(Claim != EmbeddingClaim.OneShot || Epochs == 1, "epochs", "a row that is sent once has one epoch");
        Check(Claim == EmbeddingClaim.Full || Gradients.Count == 0, "gradients", "only claim full noises them");
        foreach (GradientGroup group in Gradients)
        {
            CheckClip(group.Clip, group.Name);
            Check(group.Coordinates >= 1, group.Name, "it has no coordinates");
            Check(double.IsFinite(group.Weight) && group.Weight > 0, group.Name, "its weight is not a finite number above 0");
        }

        if (!(MessageShare > 0 && MessageShare < 1))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidShare, "messageShare", "it is not strictly between 0 and 1.", "Give a part of the budget above 0 and below 1.");
    }

    /// <summary>Refuses a unit that the party cannot protect, or whose rows are not declared.</summary>
    /// <param name="unit">The unit.</param>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5143: event without h; FL5144: user without M; FL5145: a static view and another unit than the user.</exception>
    public void CheckUnit(EmbeddingUnit unit)
    {
        if (RowsOf(unit) is not null)
            return;
        throw !Units.Contains(unit)
            ? PrivacyErrors.Refused(EmbeddingErrors.StaticViewHasUsers, "privacy.unit", "a user's row of a static view is in all of the user's samples, so that replacing one sample or event means nothing there.",
                "Use unit user for a job with a static view, and declare privacy.maxSamplesPerUser.")
            : unit == EmbeddingUnit.Event
            ? PrivacyErrors.Refused(EmbeddingErrors.HistoryNotDeclared, "privacy.historyEvents", "how many other samples an event may be a feature of is not declared.",
                "Declare privacy.historyEvents: the length of the histories (50 for the last 50 events; M - 1 for counts over all earlier events), 0 when features contain no events.")
            : PrivacyErrors.Refused(EmbeddingErrors.SamplesNotCapped, "privacy.maxSamplesPerUser", "how many samples of a user are trained on is not declared.",
                "Declare privacy.maxSamplesPerUser; a user's further samples are left out by hash order.");
    }

    private static void CheckClip(double clip, string name) => Check(clip is >= 1e-100 and <= 1e100, name, "its bound is not between 1e-100 and 1e100");

    private static void Check(bool condition, string place, string fault)
    {
        if (!condition)
            throw PrivacyErrors.Configuration(EmbeddingErrors.InvalidEmbeddings, place, $"{fault}.", "Mend the job.");
    }
}
