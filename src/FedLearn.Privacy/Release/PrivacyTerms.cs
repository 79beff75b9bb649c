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

    /// <summary>One row of one party's table becomes the null row (features 0, residual 0); ids and schedule stay. A replacement is two such
    /// steps, so this is the weaker statement.</summary>
    ZeroOut = 1,
}

/// <summary>What a promise of privacy is about.</summary>
public enum PrivacyUnit
{
    /// <summary>One row of a party's table, features and label.</summary>
    Record = 0,

    /// <summary>The label of one row of the active party's table. Features of every party are unprotected.</summary>
    Label = 1,
}
