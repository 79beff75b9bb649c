namespace FedLearn.Privacy;

/// <summary>Families with proved sensitivity bounds.</summary>
public enum GlmFamilyKind
{
    /// <summary>Gaussian, identity link; half the squared error, clipped residuals (Huber).</summary>
    Gaussian = 0,

    /// <summary>Binomial, logit link.</summary>
    Binomial = 1,

    /// <summary>Poisson, log link.</summary>
    Poisson = 2,

    /// <summary>Gamma, log link.</summary>
    Gamma = 3,

    /// <summary>Tweedie with a power between 1 and 2, log link.</summary>
    Tweedie = 4,

    /// <summary>Classes, softmax: one score a class and row; residual rows are clipped by their receiver alone, in L2 norm.</summary>
    Multinomial = 5,

    /// <summary>Any loss that is convex in its one score, with a declared Lipschitz constant of its clipped residual.</summary>
    Convex = 6,
}

/// <summary>How the noise of HDP-VFL is calibrated.</summary>
public enum Calibration
{
    /// <summary>The repaired bound: exact recursion, receiver-side clipping, analytic Gaussian.</summary>
    Tight = 0,

    /// <summary>The published formulas (arXiv 2009.02763) with the classical Gaussian, kept to reproduce the paper.</summary>
    Paper = 1,

    /// <summary>Noise on each party's own gradient as well as on its messages: the weights are then part of what the noise covers, so that
    /// they do not drift, and only the changed row's own entries count.</summary>
    WeightNoise = 2,
}

/// <summary>What two neighbouring tables are.</summary>
public enum Adjacency
{
    /// <summary>One row of one party's table, its label included, is replaced; ids stay.</summary>
    ReplaceOne = 0,

    /// <summary>One row of one party's table becomes the null row, features 0 and residual 0; ids, length and schedule stay. Another
    /// statement than <see cref="ReplaceOne"/>, mostly a weaker one: two rows are two zero-out steps apart. Never compare epsilons of the two.</summary>
    ZeroOut = 1,
}

/// <summary>What of a row may differ between neighbouring tables.</summary>
public enum PrivacyUnit
{
    /// <summary>Everything that one party holds of it: features and, at the active party, label, offset and sample weight.</summary>
    Record = 0,

    /// <summary>Its label only. Messages of passive parties then depend on nothing private but what the active party released.</summary>
    Label = 1,
}

/// <summary>How rows are put into batches, by a rule that is public and independent of data (A3).</summary>
public enum BatchSchedule
{
    /// <summary>One partition for all epochs.</summary>
    Fixed = 0,

    /// <summary>A new partition each epoch, drawn from a public seed; each row is in one batch an epoch.</summary>
    Reshuffled = 1,
}

/// <summary>What is sent to evaluate a model trained in a private mode.</summary>
public enum EvaluationDisclosure
{
    /// <summary>Passive parties disclose their scores of the evaluation rows; every claim line says so.</summary>
    Disclosed = 0,

    /// <summary>No such message, and no test metrics.</summary>
    None = 1,

    /// <summary>A passive party pays for it with noise of its own. GLM: noise on its final weights once, so that its claim covers what
    /// every later score tells of other rows than the one scored, whose own features the score discloses, training row or not. DSSM: fresh noise on every evaluated vector.</summary>
    Charged = 2,
}

/// <summary>What a party is promised.</summary>
/// <param name="Epsilon">Privacy loss in nats, finite and above 0.</param>
/// <param name="Delta">Probability of exceeding it, above 0 and below 0.1; 0 where a claim is pure, as for randomised labels.</param>
public sealed record PrivacyBudget(double Epsilon, double Delta);
