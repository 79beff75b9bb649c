using FedLearn.Coordination;
using FedLearn.Evaluation;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Where a running job is. Made at a party; holds no private value of another.</summary>
/// <param name="Party">Party that reports.</param>
/// <param name="Round">Rounds done.</param>
/// <param name="Rounds">Rounds planned; for L-BFGS the largest number of iterations.</param>
/// <param name="Loss">Mean training loss of the last epoch or iteration, from the scores as received; active party only.</param>
/// <param name="Epsilon">Privacy spent so far at the job's delta; null in mode none.</param>
public sealed record GlmProgress(string Party, int Round, int Rounds, double? Loss, double? Epsilon);

/// <summary>What a party does outside of the rounds, and which takes its time for millions of rows.</summary>
public enum GlmStage
{
    /// <summary>Finds the rows that all parties have.</summary>
    Aligning = 0,

    /// <summary>Scales the common rows and puts them in order.</summary>
    Preparing = 1,

    /// <summary>Makes figures, and their intervals, of what the model predicts; active party only, once its peers have been let go.</summary>
    Measuring = 2,
}

/// <summary>A stage that a party has begun.</summary>
/// <param name="Party">Party that reports.</param>
/// <param name="Stage">What it does.</param>
/// <param name="Rows">How many of its own rows it does that with.</param>
public sealed record GlmStageBegun(string Party, GlmStage Stage, int Rows)
{
    /// <summary>Scores of a row, as far as the stage looks at each of them.</summary>
    /// <value>The number of classes where a model of more than two is measured. Default 1.</value>
    public int Outputs { get; init; } = 1;
}

/// <summary>Why training ended.</summary>
public enum GlmStopReason
{
    /// <summary>All rounds were done.</summary>
    RoundLimit = 0,

    /// <summary>The norm of the gradient fell to 1e-8 of the mean size of the residuals of the model without features, which has the unit of the label.</summary>
    Converged = 1,

    /// <summary>The line search found no further decrease in floating point.</summary>
    NoFurtherDecrease = 2,

    /// <summary>Early stopping: the figure it watches no longer improved.</summary>
    EarlyStopped = 3,
}

/// <summary>Where a job was after an epoch or iteration.</summary>
/// <param name="Round">Rounds done.</param>
/// <param name="Loss">Mean training loss from the scores as received; active party only.</param>
/// <param name="Validation">The figure of held-out rows that early stopping watches; null elsewhere.</param>
/// <param name="Epsilon">Privacy spent so far at the job's delta; null in mode none.</param>
/// <param name="Seconds">Seconds since round 0.</param>
public sealed record GlmHistoryPoint(int Round, double? Loss, double? Validation, double? Epsilon, double Seconds);

/// <summary>Messages of one kind that a party sent to another.</summary>
/// <param name="To">Receiver.</param>
/// <param name="Name">Name of the release.</param>
/// <param name="Protection">What protects the values.</param>
/// <param name="Messages">Number of messages.</param>
/// <param name="Bytes">Size of their packed payloads in bytes, without framing.</param>
public sealed record GlmSentMessages(string To, string Name, Protection Protection, long Messages, long Bytes)
{
    /// <summary>Whether the values are columns, or weights, or tell of them one by one, as Newton's method and standard errors need them (mode none).</summary>
    /// <value>Default false: scores, residuals, or numbers that the schedule needs.</value>
    public bool TellsOfColumnsOrWeights { get; init; }
}

/// <summary>Seconds of a job at one party. Compute, wait and noise add up to training.</summary>
/// <param name="Training">The training rounds alone: from the moment every party was ready to the last round's step.</param>
/// <param name="Compute">Of these: own arithmetic.</param>
/// <param name="Wait">Of these: sending, and waiting for the other parties.</param>
/// <param name="Noise">Of these: drawing and adding noise, and keeping noised messages.</param>
/// <param name="Epochs">Epochs or iterations done.</param>
public sealed record GlmTiming(double Training, double Compute, double Wait, double Noise, int Epochs)
{
    /// <summary>Of the noise: waiting for the disk to have a message before it leaves. 0 with a ledger in memory.</summary>
    public double Sync { get; init; }

    /// <summary>Training seconds an epoch or iteration.</summary>
    public double PerEpoch => Epochs == 0 ? 0 : Training / Epochs;
}

/// <summary>What a party may claim of its privacy, and on what grounds.</summary>
public sealed record GlmPrivacyStatement
{
    /// <summary>Mode of the job.</summary>
    public required PrivacyMode Mode { get; init; }

    /// <summary>Bounds and noise of this party; null in mode none, or when nothing was released with noise.</summary>
    public PartyCalibration? Calibration { get; init; }

    /// <summary>Noise of joint gradients, mode he+dp only.</summary>
    public JointGradientCalibration? Joint { get; init; }

    /// <summary>Released labels and, at a passive party, the noise of one-round training; null in other modes.</summary>
    public OneRoundStatement? OneRound { get; init; }

    /// <summary>Budget of this party; null in mode none.</summary>
    public PrivacyBudget? Budget { get; init; }

    /// <summary>What the party's rows have cost in all according to its ledger, this job included, for replacing a row or its label; null where nothing was charged.</summary>
    public PrivacyTotal? Spent { get; init; }

    /// <summary>Whether the noise came from a CSPRNG. True in mode none, where there is no noise to be insecure.</summary>
    public required bool SecureNoise { get; init; }

    /// <summary>What is claimed, as sentences. Empty in mode none.</summary>
    public IReadOnlyList<string> Claims { get; init; } = [];

    /// <summary>What weakens or conditions a claim.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}

/// <summary>What one-round or label-dp training released at a party, and on what public numbers.</summary>
public sealed record OneRoundStatement
{
    /// <summary>Probability that a label became another class; null for continuous labels and at a passive party of mode label-dp.</summary>
    public double? FlipProbability { get; init; }

    /// <summary>Noise deviation of continuous or count labels; null for classes.</summary>
    public double? LabelSigma { get; init; }

    /// <summary>Gaussian-DP parameter of the noisy labels; active party only, null for classes.</summary>
    public double? LabelMu { get; init; }

    /// <summary>How far one label may move, the declared range; active party only, null for classes.</summary>
    public double? LabelSensitivity { get; init; }

    /// <summary>Whether the labels were drawn by an earlier job and cost nothing again; active party only.</summary>
    public bool? LabelsReused { get; init; }

    /// <summary>Noise of the scores; passive parties of mode one-round only.</summary>
    public OneRoundCalibration? Calibration { get; init; }
}

/// <summary>What one party has after a job. Weights stay in <see cref="Model"/>, which is the party's own.</summary>
public sealed record GlmPartyResult
{
    /// <summary>Name and role.</summary>
    public required PartyDescription Party { get; init; }

    /// <summary>SHA-256 of job and schemas, hex; equal at every party.</summary>
    public required string JobDigest { get; init; }

    /// <summary>The party's part of the model.</summary>
    public required GlmModel Model { get; init; }

    /// <summary>Rows common to all parties.</summary>
    public required int CommonRows { get; init; }

    /// <summary>Rows that this party brought, common or not. Its own affair: no other party is told by it.</summary>
    public int OwnRows { get; init; }

    /// <summary>Training rows.</summary>
    public required int TrainRows { get; init; }

    /// <summary>Test rows.</summary>
    public required int TestRows { get; init; }

    /// <summary>How the common rows were found.</summary>
    public AlignmentMethod Alignment { get; init; }

    /// <summary>What finding the common rows disclosed, as sentences.</summary>
    public required IReadOnlyList<string> AlignmentLeaks { get; init; }

    /// <summary>What a user should know of the alignment, as sentences.</summary>
    public IReadOnlyList<string> AlignmentWarnings { get; init; } = [];

    /// <summary>Why training ended.</summary>
    public required GlmStopReason StopReason { get; init; }

    /// <summary>Seconds.</summary>
    public required GlmTiming Timing { get; init; }

    /// <summary>Privacy of this party.</summary>
    public required GlmPrivacyStatement Privacy { get; init; }

    /// <summary>Messages sent, by receiver, name and protection.</summary>
    public IReadOnlyList<GlmSentMessages> Sent { get; init; } = [];

    /// <summary>Counts over all channels.</summary>
    public required ChannelStatistics Traffic { get; init; }

    /// <summary>What the parties agreed on with the arbiter; null but in the modes he and he+dp.</summary>
    public JointAgreement? Joint { get; init; }

    /// <summary>Rounds before which the run went on after it was cut off, once for each time, in the order of time; empty when it never was. Traffic and messages are then those of the last time
    /// alone, times those of the rounds that count.</summary>
    public IReadOnlyList<int> Resumed { get; init; } = [];

    /// <summary>Figures of each epoch or iteration.</summary>
    public IReadOnlyList<GlmHistoryPoint> History { get; init; } = [];

    /// <summary>The party's own standard errors; null unless the job asks for them, and where the columns allow none, which a warning explains.</summary>
    public GlmInference? Inference { get; init; }

    /// <summary>Curves, tables and intervals on the training rows beside <see cref="Train"/>; active party only.</summary>
    public ModelEvaluation? TrainEvaluation { get; init; }

    /// <summary>Curves, tables and intervals on the test rows beside <see cref="Test"/>.</summary>
    public ModelEvaluation? TestEvaluation { get; init; }

    /// <summary>Metrics on the training rows; active party only. In private modes from the noisy scores received in the last epoch.</summary>
    public MetricSet? Train { get; init; }

    /// <summary>Metrics on the test rows; active party only, null without test rows or with evaluation none.</summary>
    public MetricSet? Test { get; init; }

    /// <summary>What the active party reaches with its own features alone; active party of a private mode only.</summary>
    public GuestOnlyMetrics? GuestOnly { get; init; }

    /// <summary>Penalised mean training loss of the final model: own and, in mode none, joint; null where it is not known.</summary>
    public double? Objective { get; init; }

    /// <summary>What the user should know of the run.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Of <see cref="Warnings"/>: what a run of a cross-validation has to say of its fold; empty elsewhere.</summary>
    internal IReadOnlyList<string> FoldNotes { get; init; } = [];

    /// <summary>Of the warnings of <see cref="Privacy"/>: what the sums of the ledger do not tell of other runs.</summary>
    internal IReadOnlyList<string> LedgerCaveats { get; init; } = [];
}
