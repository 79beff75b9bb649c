using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>How the intercept is modelled.</summary>
public enum GlmIntercept
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>In mode none one free, unpenalised intercept at the active party; in a private mode a constant column at every party,
    /// inside the row norm, penalised and projected; in mode one-round the active party's own fit, which no message depends on, has a free intercept beside it.</summary>
    Default = 1,

    /// <summary>One free, unpenalised intercept at the active party, in every mode.</summary>
    Free = 2,
}

/// <summary>How the weights are found.</summary>
public enum GlmOptimizer
{
    /// <summary>Projected stochastic gradient descent without momentum.</summary>
    Sgd = 0,

    /// <summary>Limited-memory BFGS with memory 10 on the full batch; mode none only.</summary>
    Lbfgs = 1,

    /// <summary>Accelerated proximal gradient descent on the full batch (Beck and Teboulle 2009) with a step found by backtracking and restarts
    /// (O'Donoghue and Candes 2015); the one full-batch optimiser for an L1 penalty; mode none only.</summary>
    Accelerated = 2,

    /// <summary>Newton's method (iteratively reweighted least squares) at the active party, over randomly mixed columns of the passive ones; mode none only.</summary>
    Irls = 3,
}

/// <summary>What protects the training messages.</summary>
public enum PrivacyMode
{
    /// <summary>Nothing: every message is disclosed as it is.</summary>
    None = 0,

    /// <summary>HDP-VFL (arXiv 2009.02763): Gaussian noise on every intermediate result.</summary>
    HdpVfl = 1,

    /// <summary>One message each way: randomised or noisy labels to the passive parties, noisy scores of a local fit back. All iteration is local.</summary>
    OneRound = 2,

    /// <summary>Randomised response on the labels, once; then training on debiased labels. Features of every party are unprotected.</summary>
    LabelDp = 3,

    /// <summary>Homomorphic encryption with an arbiter: nobody sees scores or residuals, and each party learns exact gradients of its own columns. The
    /// baseline of the field; it bounds nothing of what gradients and the model tell.</summary>
    He = 4,

    /// <summary>The same with noise that the arbiter adds to every gradient: what gradients and weights tell of a person is bounded.</summary>
    HeDp = 5,
}

/// <summary>Cryptosystems of the modes he and he+dp.</summary>
public enum HeScheme
{
    /// <summary>CKKS of Microsoft SEAL: vectors of 4,096 numbers a ciphertext.</summary>
    Ckks = 0,

    /// <summary>Paillier with the fastest known encryption and inner products.</summary>
    Paillier = 1,

    /// <summary>Paillier with fast encryption and one exponentiation an entry, as FATE has it.</summary>
    PaillierFate = 2,

    /// <summary>Paillier as published: a full exponentiation an encryption.</summary>
    PaillierTextbook = 3,
}

/// <summary>Settings of the modes he and he+dp.</summary>
public sealed record GlmHeOptions
{
    /// <summary>Cryptosystem.</summary>
    public HeScheme Scheme { get; init; } = HeScheme.Ckks;

    /// <summary>Bits of the modulus of a Paillier key.</summary>
    /// <value>2048 (about 112 bits of security, default) or 3072 (128 bits).</value>
    public int KeyBits { get; init; } = 2048;

    /// <summary>Name of the arbiter, who holds the secret key and no data, and must collude with no party.</summary>
    /// <value>Default <c>arbiter</c>; no party's name.</value>
    public string Arbiter { get; init; } = "arbiter";

    /// <summary>Mode he: fewest rows of a batch for each column of a party. Hygiene, no protection: see docs/privacy.md.</summary>
    /// <value>At least 0. Default 10; 0 switches the check off.</value>
    public int RowsPerColumn { get; init; } = 10;

    /// <summary>Mode he: most rounds, each of which returns exact gradients. Hygiene, no protection.</summary>
    /// <value>At least 1. Default 1,000.</value>
    public int MostRounds { get; init; } = 1000;
}

/// <summary>Settings of the mode one-round; see <see cref="OneRoundParameters"/> for what they bound.</summary>
public sealed record GlmOneRoundOptions
{
    /// <summary>Bound ks on a score that a passive party sends.</summary>
    /// <value>Finite, above 0, at most <see cref="GradientClip"/>. Default 2.</value>
    public double ScoreClip { get; init; } = 2;

    /// <summary>Largest ratio of the drift of other rows' scores to ks.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double Alpha { get; init; } = 1;

    /// <summary>Bound K above which a score gains nothing in a passive party's fit.</summary>
    /// <value>Finite, above 0. Default 4.</value>
    public double GradientClip { get; init; } = 4;

    /// <summary>Public centre of the label: the share of positive rows, .01 to .99; for other families a value within the declared range.</summary>
    /// <value>Null, the default: taken from the released labels alone.</value>
    public double? LabelRate { get; init; }
}

/// <summary>What early stopping watches.</summary>
public enum EarlyStoppingMetric
{
    /// <summary>The penalised mean training loss; smaller is better.</summary>
    Objective = 0,

    /// <summary>Mean unit deviance of held-out training rows; smaller is better.</summary>
    Deviance = 1,

    /// <summary>Area under the ROC curve of held-out training rows; larger is better. Binomial only.</summary>
    Auc = 2,
}

/// <summary>Ends training when a figure no longer improves, and keeps the weights of the best epoch or iteration. Mode none only: the moment of stopping
/// would tell something of the labels that no claim covers (A7).</summary>
public sealed record GlmEarlyStopping
{
    /// <summary>What is watched.</summary>
    public EarlyStoppingMetric Metric { get; init; }

    /// <summary>Epochs or iterations in a row without improvement after which training ends.</summary>
    /// <value>At least 1. Default 5.</value>
    public int Patience { get; init; } = 5;

    /// <summary>By how much the figure must improve to count.</summary>
    /// <value>Finite, at least 0. Default 1e-4.</value>
    public double MinDelta { get; init; } = 1e-4;

    /// <summary>Share of the training rows that is held out, for <see cref="EarlyStoppingMetric.Deviance"/> and <see cref="EarlyStoppingMetric.Auc"/>:
    /// those whose digest of seed and id is below it.</summary>
    /// <value>Above 0 and below 1. Default 0.1.</value>
    public double HoldOut { get; init; } = 0.1;

    /// <summary>Whether rows are held out.</summary>
    internal bool HoldsOut => Metric != EarlyStoppingMetric.Objective;
}

/// <summary>The model.</summary>
public sealed record GlmModelOptions
{
    /// <summary>Distribution of the label and link.</summary>
    public required IGlmFamily Family { get; init; }

    /// <summary>Penalty (l2/2)|w|^2 added to the mean loss.</summary>
    /// <value>Finite, at least 0. Default 0.001.</value>
    public double L2 { get; init; } = 0.001;

    /// <summary>Penalty l1 |w|_1 added to the mean loss; together with <see cref="L2"/> the elastic net. No free intercept is penalised.</summary>
    /// <value>Finite, at least 0. Default 0.</value>
    public double L1 { get; init; }

    /// <summary>How the intercept is modelled.</summary>
    public GlmIntercept Intercept { get; init; } = GlmIntercept.Default;
}

/// <summary>Weights of rows by their class; they multiply sample weights.</summary>
public abstract record GlmClassWeights
{
    private GlmClassWeights() { }

    /// <summary>n/(M n_m) for class m of M: every class weighs the same. Computed from the training labels, which private modes refuse but for one-round,
    /// where the weights stay at the active party.</summary>
    public static GlmClassWeights Balanced { get; } = new ByShare();

    /// <summary>Declared weights.</summary>
    /// <param name="Weights">One for each class from 0, finite, at least 0 and not all 0.</param>
    public sealed record Declared(IReadOnlyList<double> Weights) : GlmClassWeights
    {
        /// <summary>One for each class from 0, finite, at least 0 and not all 0.</summary>
        public IReadOnlyList<double> Weights { get; init; } = Weights ?? throw new ArgumentNullException(nameof(Weights));
    }

    /// <summary>See <see cref="Balanced"/>.</summary>
    public sealed record ByShare : GlmClassWeights;
}

/// <summary>How the model is trained.</summary>
public sealed record GlmTrainingOptions
{
    /// <summary>Passes over the rows; for the other optimisers the largest number of iterations.</summary>
    /// <value>1 to 1,000,000. Null means 10 for SGD, 1,000 for L-BFGS, 2,000 for the accelerated one and 50 for Newton's.</value>
    public int? Epochs { get; init; }

    /// <summary>Batches an epoch, r: the first n mod r have ceil(n/r) rows, the others floor(n/r).</summary>
    /// <value>At least 1 and at most the number of training rows. Null means 1, unless <see cref="BatchSize"/> is given.</value>
    public int? BatchesPerEpoch { get; init; }

    /// <summary>Rows a batch, B; then r = ceil(n/B).</summary>
    /// <value>At least 1. Null by default; not together with <see cref="BatchesPerEpoch"/>.</value>
    public int? BatchSize { get; init; }

    /// <summary>Gradient step size, eta; dimensionless. Full-batch optimisers ignore it.</summary>
    /// <value>Finite, above 0. Null, the default: where rows are bounded and the family is gaussian, binomial or multinomial, the largest step that overshoots in no direction: 1 over the bound on the second derivative of the
    /// objective, s U (P R^2 + c) + l2, with s = 1, 1/4 or 1/2, U the bound on a row's weight (1 without one), P parties, R the row bound, and c = 1 where the active party has a free intercept (Nesterov, Introductory Lectures on Convex
    /// Optimization, section 1.2.3). Elsewhere 0.1.</value>
    public double? StepSize { get; init; }

    /// <summary>Radius k of the ball every party projects its weights on.</summary>
    /// <value>Finite, above 0. Null: no projection, which private modes refuse.</value>
    public double? WeightNorm { get; init; }

    /// <summary>Bound C on a residual: clipped by the active party before use and noise, and by every receiver.</summary>
    /// <value>Finite, above 0. Null: no clipping, which private modes refuse.</value>
    public double? ResidualClip { get; init; }

    /// <summary>Private modes with sample or class weights: declared bound U on a row's weight; larger ones are clipped to it. In hdp-vfl the noise pays for it also where the table has no weights.</summary>
    /// <value>Finite, above 0. Null: the job has no weights where a mode needs the bound.</value>
    public double? SampleWeightBound { get; init; }

    /// <summary>Private modes with offsets: declared bound O on an offset's absolute value; a row beyond it is refused. In hdp-vfl the noise pays for it also where the table has no offsets.</summary>
    /// <value>Finite, above 0. Null: the job has no offsets where a mode needs the bound.</value>
    public double? OffsetBound { get; init; }

    /// <summary>Weights of the classes of a binomial or multinomial model; null for none.</summary>
    public GlmClassWeights? ClassWeights { get; init; }

    /// <summary>Ends training early; null, the default: never. Mode none with SGD, L-BFGS or the accelerated optimiser.</summary>
    public GlmEarlyStopping? EarlyStopping { get; init; }

    /// <summary>Whether every party starts from its part of an earlier model, see <see cref="GlmPartyInput.WarmStart"/>, with that model's feature map.
    /// Mode none only.</summary>
    /// <value>Default false.</value>
    public bool WarmStart { get; init; }

    /// <summary>Optimiser. Null: in mode none with one batch an epoch the accelerated one for an L1 penalty and L-BFGS without; else SGD.</summary>
    public GlmOptimizer? Optimizer { get; init; }

    /// <summary>Drives the order of the common rows, and so the batches. Never noise.</summary>
    /// <value>Default 0.</value>
    public long Seed { get; init; }

    /// <summary>Whether every epoch cuts its batches from a new public order of the rows (<see cref="EpochOrder"/>) instead of one fixed order.
    /// SGD only.</summary>
    /// <value>Default false.</value>
    public bool Reshuffle { get; init; }

    /// <summary>Rounds between two states that a party keeps so that it can go on after a crash, where it has a place for them
    /// (<see cref="GlmPartyInput.Runs"/>). Optimisers that look at all rows in every iteration keep the one before the first, and compute again from there.</summary>
    /// <value>0 to <see cref="MostCheckpointRounds"/>; 0: none are kept. Default 100.</value>
    public int CheckpointRounds { get; init; } = 100;

    /// <summary>Most <see cref="CheckpointRounds"/>: a third of the messages that a ledger keeps by default, since a run goes on from up to two states back.</summary>
    public const int MostCheckpointRounds = 341;

    /// <summary>Packing of score and residual vectors on the wire. Values are rounded to it before they are
    /// disclosed; what gets noise travels as lattice integers instead.</summary>
    public ElementType MessagePrecision { get; init; } = ElementType.Float64;

    /// <summary>How finely what gets noise travels: binary logarithm of the steps that a deviation of the noise has in a message (<see cref="GaussianMechanism"/>). A value takes five bits more, for 12 deviations, its sign
    /// and itself, while sigma is above a quarter of its bound. Fewer cost accuracy (1/12 of the square of a step of variance), never privacy.</summary>
    /// <value><see cref="GaussianMechanism.FewestLatticeBits"/> to <see cref="GaussianMechanism.MostLatticeBits"/>. Default 6.</value>
    public int LatticeBits { get; init; } = GaussianMechanism.UsualLatticeBits;
}

/// <summary>What protects the messages of a job.</summary>
public sealed record GlmPrivacyOptions
{
    /// <summary>Mode.</summary>
    public PrivacyMode Mode { get; init; } = PrivacyMode.None;

    /// <summary>How the noise of HDP-VFL is calibrated.</summary>
    public Calibration Calibration { get; init; } = Calibration.Tight;

    /// <summary>Budget of each party by itself. Null in mode none, which refuses one (FL2400): it would promise what no noise keeps. A party's own replaces it, see <see cref="GlmPartyOptions.Budget"/>.</summary>
    public PrivacyBudget? Budget { get; init; }

    /// <summary>What two neighbouring tables are.</summary>
    public Adjacency Adjacency { get; init; } = Adjacency.ReplaceOne;

    /// <summary>What the promise is about.</summary>
    public PrivacyUnit Unit { get; init; } = PrivacyUnit.Record;

    /// <summary>Weight noise only: share of mu squared that the messages get; the party's own noisy gradients get the rest.</summary>
    /// <value>Above 0 and below 1. Default 0.5.</value>
    public double Share { get; init; } = 0.5;

    /// <summary>What is sent to evaluate the model.</summary>
    public EvaluationDisclosure Evaluation { get; init; } = EvaluationDisclosure.Disclosed;

    /// <summary>Charged evaluation only: share of a passive party's mu squared that the noise on its final weights gets.</summary>
    /// <value>Above 0 and below 1. Default 0.2.</value>
    public double EvaluationShare { get; init; } = 0.2;

    /// <summary>Settings of the mode one-round.</summary>
    public GlmOneRoundOptions OneRound { get; init; } = new();

    /// <summary>Settings of the modes he and he+dp.</summary>
    public GlmHeOptions He { get; init; } = new();

    /// <summary>Seed of test noise. The job is then NOT PRIVATE and says so first. Null, the default: noise from the operating system's CSPRNG.</summary>
    public long? TestNoiseSeed { get; init; }
}

/// <summary>A party of a GLM job.</summary>
public sealed record GlmPartyOptions
{
    /// <summary>Name and role.</summary>
    public required PartyDescription Party { get; init; }

    /// <summary>This party's own budget; null for the job's, and in mode none.</summary>
    public PrivacyBudget? Budget { get; init; }

    /// <summary>Active party only: the declared range of the label, [low, high]. A label outside it is refused, or clipped where one-round training releases it. Gives the label bound k_y.</summary>
    /// <value>Required in hdp-vfl for Gaussian, Poisson, Tweedie and families of one's own whose bounds say so (<see cref="GlmFamilyBounds.NeedsLabelRange"/>), in one-round for all
    /// families but those of classes, in he+dp for Gaussian. <see cref="TableSource.LabelRange"/> checks a table by itself and does not stand in for it.</value>
    public (double Low, double High)? LabelRange { get; init; }
}

/// <summary>A GLM job: what every party agrees on. See <see cref="GlmJobTerms"/> for its digest.</summary>
public sealed record GlmJob
{
    /// <summary>Name, not empty.</summary>
    public required string Name { get; init; }

    /// <summary>The model.</summary>
    public required GlmModelOptions Model { get; init; }

    /// <summary>How it is trained.</summary>
    public GlmTrainingOptions Training { get; init; } = new();

    /// <summary>What protects the messages.</summary>
    public GlmPrivacyOptions Privacy { get; init; } = new();

    /// <summary>How columns become features. Null: standardised columns in mode none, declared ranges and clipped rows in private modes.</summary>
    public PreprocessingOptions? Preprocessing { get; init; }

    /// <summary>How the common rows are found. Part of the digest: a peer that runs <c>fedlearn party</c> has <see cref="AlignmentMethod.Psi"/> where its job file says nothing else.</summary>
    /// <value>Default <see cref="AlignmentMethod.Hashed"/>, which is for trials: over a connection results and logs warn of it. With <see cref="AlignmentMethod.Psi"/> each party needs
    /// <see cref="GlmPartyInput.Alignment"/>, a <c>PsiAlignment</c> of the package FedLearn.Alignment (FL2523).</value>
    public AlignmentMethod Alignment { get; init; } = AlignmentMethod.Hashed;

    /// <summary>Whether the parties prove to each other that each used one scalar for all ids; <see cref="AlignmentMethod.Psi"/> only.</summary>
    /// <value>Default false.</value>
    public bool AlignmentProof { get; init; }

    /// <summary>Whether standard errors are computed after training, see <see cref="GlmInference"/>. Mode none, models of one score. Columns that allow none leave the model without, and a warning.</summary>
    /// <value>Default false.</value>
    public bool Inference { get; init; }

    /// <summary>Which rows are held out, as the job describes it: <c>none</c>, <c>file</c>, or the hash rule. Part of the digest.</summary>
    public SplitRule Split { get; init; } = SplitRule.None;

    /// <summary>The fold that this run of a cross-validation tests on; null, the default, outside of one. Part of the digest. See
    /// <see cref="LocalFederation.TuneAsync"/>.</summary>
    public CrossValidationFold? Fold { get; init; }

    /// <summary>One active party and any number of passive ones.</summary>
    public required IReadOnlyList<GlmPartyOptions> Parties { get; init; }
}
