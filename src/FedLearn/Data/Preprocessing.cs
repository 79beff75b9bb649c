namespace FedLearn.Data;

/// <summary>How a numeric column is scaled.</summary>
public enum Scaling
{
    /// <summary>Not at all.</summary>
    None = 0,

    /// <summary>The declared public range is mapped to [-1, 1]; values outside are clipped. Uses no data.</summary>
    Declared = 1,

    /// <summary>Mean and population deviation of the training rows, each rounded to one significant digit. Depends on the data.</summary>
    Rounded = 2,

    /// <summary>Mean and population deviation of the training rows. Depends on the data.</summary>
    Standardize = 3,
}

/// <summary>How the length of a row is bounded.</summary>
public enum RowBound
{
    /// <summary>Not at all.</summary>
    None = 0,

    /// <summary>A row longer than the square root of the number of fields is shortened to it, and every row is divided by it; a constant is appended
    /// afterwards and the row divided by the square root of 2. With scaling none a row longer than 1 is shortened to 1 instead.</summary>
    Clip = 1,

    /// <summary>The constant, if any, is appended, and the row divided by its length. A row of zeros stays.</summary>
    Normalize = 2,
}

/// <summary>How the columns of a table become features.</summary>
public sealed record PreprocessingOptions
{
    /// <summary>How numeric columns are scaled.</summary>
    public required Scaling Scaling { get; init; }

    /// <summary>How the length of a row is bounded.</summary>
    public RowBound Rows { get; init; } = RowBound.None;

    /// <summary>Whether the constant 1 is appended to every row: with <see cref="RowBound.Normalize"/> before its length is bounded, with <see cref="RowBound.Clip"/> afterwards. Null: in private modes yes, in mode none no.</summary>
    public bool? Constant { get; init; }

    /// <summary>Largest length R of a row when rows are bounded.</summary>
    /// <value>Finite, above 0. Default 1.</value>
    public double RowNorm { get; init; } = 1;
}

/// <summary>Which rows are held out for testing.</summary>
public abstract record SplitRule
{
    private SplitRule() { }

    /// <summary>No rows are held out.</summary>
    public static SplitRule None { get; } = new NoSplit();

    /// <summary>No rows are held out.</summary>
    public sealed record NoSplit : SplitRule;

    /// <summary>A file with columns id,split, whose values are train or test, which each party names (<c>GlmPartyInput.SplitFile</c>). A common id that it lacks is refused, one-sided ids are ignored.</summary>
    public sealed record FromFile : SplitRule;

    /// <summary>A row is a test row when int(hex SHA-256 of its UTF-8 id) mod <paramref name="Modulus"/> is listed.</summary>
    /// <param name="Modulus">At least 2.</param>
    /// <param name="Test">Residues of test rows, each from 0 to the modulus less 1.</param>
    public sealed record ByHash(int Modulus, IReadOnlyList<int> Test) : SplitRule
    {
        /// <summary>Residues of test rows, each from 0 to the modulus less 1.</summary>
        public IReadOnlyList<int> Test { get; init; } = Test ?? throw new ArgumentNullException(nameof(Test));
    }
}
