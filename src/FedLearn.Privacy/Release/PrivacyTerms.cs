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
}

/// <summary>How the noise of HDP-VFL is calibrated.</summary>
public enum Calibration
{
    /// <summary>The repaired bound: exact recursion, receiver-side clipping, analytic Gaussian.</summary>
    Tight = 0,

    /// <summary>The published formulas (arXiv 2009.02763) with the classical Gaussian, kept to reproduce the paper.</summary>
    Paper = 1,
}

/// <summary>What two neighbouring tables are.</summary>
public enum Adjacency
{
    /// <summary>One row of one party's table, its label included, is replaced; ids stay.</summary>
    ReplaceOne = 0,
}
