namespace FedLearn.Cli.RunFiles;

/// <summary>Errors of run files; each has a page under docs/errors.</summary>
internal static class RunFileErrors
{
    /// <summary>A run file does not exist or cannot be read.</summary>
    public const string Unreadable = "FL2001";

    /// <summary>A run file is not JSON.</summary>
    public const string Malformed = "FL2002";

    /// <summary>A run file has a key that nobody reads.</summary>
    public const string UnknownKey = "FL2003";

    /// <summary>A run file lacks a key that this job needs.</summary>
    public const string MissingKey = "FL2004";

    /// <summary>A value has the wrong JSON type.</summary>
    public const string WrongType = "FL2005";

    /// <summary>A number is outside its legal range.</summary>
    public const string OutOfRange = "FL2006";

    /// <summary>A word is none of those the key knows.</summary>
    public const string UnknownWord = "FL2007";

    /// <summary>A setting that this release does not have yet.</summary>
    public const string NotYet = "FL2008";

    /// <summary>Two settings contradict each other.</summary>
    public const string Contradiction = "FL2009";

    /// <summary>A key is written twice.</summary>
    public const string DuplicateKey = "FL2010";

    /// <summary>The list of parties makes no session, or names a party wrongly.</summary>
    public const string Parties = "FL2011";

    /// <summary>An address cannot be used.</summary>
    public const string Address = "FL2012";

    /// <summary>The job is of a kind that the verb does not work on.</summary>
    public const string OtherModel = "FL2013";

    /// <summary>A privacy mode or claim of another kind of job.</summary>
    public const string ModeOfOtherModel = "FL2014";

    /// <summary>A private mode with an optimiser that its proof does not cover.</summary>
    public const string OptimizerRefused = "FL5050";

    /// <summary>A private mode with rows of unbounded length.</summary>
    public const string UnboundedRows = "FL5051";

    /// <summary>A delta of 0.1 or more.</summary>
    public const string DeltaTooLarge = "FL5052";
}
