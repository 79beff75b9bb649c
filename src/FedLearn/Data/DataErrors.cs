using System.Globalization;
using FedLearn.Diagnostics;

namespace FedLearn.Data;

/// <summary>Errors of tables, schemas and feature maps: FL22nn of what was asked for, FL30nn of the data; each has a page under docs/errors.</summary>
public static class DataErrors
{
    /// <summary>A schema file cannot be read.</summary>
    public const string SchemaUnreadable = "FL2200";

    /// <summary>A schema is no JSON.</summary>
    public const string SchemaNotJson = "FL2201";

    /// <summary>A schema has a key that is not known there.</summary>
    public const string SchemaUnknownKey = "FL2202";

    /// <summary>A schema lacks a key, or has a value that is not legal there.</summary>
    public const string SchemaInvalid = "FL2203";

    /// <summary>A schema names a column twice.</summary>
    public const string SchemaDuplicate = "FL2204";

    /// <summary>Scaling by declared ranges was asked for, and a field has none.</summary>
    public const string RangeMissing = "FL2205";

    /// <summary>Labels are needed, and nothing says where they are.</summary>
    public const string LabelNotNamed = "FL2206";

    /// <summary>The kind of file does not fit what was asked for.</summary>
    public const string UnsuitableSource = "FL2207";

    /// <summary>A split rule is not legal.</summary>
    public const string SplitRuleInvalid = "FL2208";

    /// <summary>A preprocessing option is out of its range.</summary>
    public const string PreprocessingInvalid = "FL2209";

    /// <summary>A data file cannot be read.</summary>
    public const string FileUnreadable = "FL3000";

    /// <summary>A table lacks a column.</summary>
    public const string ColumnMissing = "FL3001";

    /// <summary>A column name appears twice, or is empty.</summary>
    public const string ColumnDuplicate = "FL3002";

    /// <summary>A row has another number of cells than the header.</summary>
    public const string RaggedRow = "FL3003";

    /// <summary>A CSV file breaks the rules of quoting or of UTF-8.</summary>
    public const string MalformedCsv = "FL3004";

    /// <summary>A cell is no number.</summary>
    public const string NotANumber = "FL3005";

    /// <summary>A value is NaN, infinite, or too large for float64.</summary>
    public const string NotFinite = "FL3006";

    /// <summary>A cell is empty.</summary>
    public const string EmptyCell = "FL3007";

    /// <summary>A row has no id.</summary>
    public const string EmptyId = "FL3008";

    /// <summary>Two rows have the same id.</summary>
    public const string DuplicateId = "FL3009";

    /// <summary>A table has no rows.</summary>
    public const string NoRows = "FL3010";

    /// <summary>A cell holds a category that the schema does not list.</summary>
    public const string UnknownCategory = "FL3011";

    /// <summary>A cell of a one-hot field is neither 0 nor 1.</summary>
    public const string NotOneHot = "FL3012";

    /// <summary>A .npy file is damaged or of an unknown version.</summary>
    public const string MalformedNpy = "FL3013";

    /// <summary>A .npy file holds another type or layout than can be read.</summary>
    public const string NpyType = "FL3014";

    /// <summary>Files of one table have different lengths or shapes.</summary>
    public const string WrongShape = "FL3015";

    /// <summary>A table is too large for one matrix in memory.</summary>
    public const string TooLarge = "FL3016";

    /// <summary>A label is outside its declared range.</summary>
    public const string LabelOutOfRange = "FL3017";

    /// <summary>A column has the same value in every training row, so that it cannot be standardised.</summary>
    public const string ZeroVariance = "FL3018";

    /// <summary>A common id is not in the split file.</summary>
    public const string SplitLacksId = "FL3019";

    /// <summary>A split file says something other than train or test.</summary>
    public const string SplitValue = "FL3020";

    /// <summary>A table does not have the columns that the feature map was fitted to.</summary>
    public const string DifferentColumns = "FL3021";

    /// <summary>A saved feature map cannot be read.</summary>
    public const string FeatureMapMalformed = "FL3022";

    /// <summary>There are no training rows to fit a feature map to.</summary>
    public const string NoTrainingRows = "FL3023";

    /// <summary>A scaled value is too large for float64.</summary>
    public const string ScaledTooLarge = "FL3024";

    /// <summary>The weight of a row is below 0.</summary>
    public const string WeightNegative = "FL3030";

    /// <summary>The exposure of a row is not above 0.</summary>
    public const string ExposureNotPositive = "FL3031";

    /// <summary>A line of a file of sparse rows is none.</summary>
    public const string MalformedSparseRow = "FL3032";

    /// <summary>An index of a sparse row is out of range, out of order or repeated.</summary>
    public const string SparseIndex = "FL3033";

    /// <summary>A label is none of the words that stand for classes.</summary>
    public const string UnknownLabel = "FL3035";

    /// <summary>An id holds the character U+001F, which stands between the columns of an id of several.</summary>
    public const string IdSeparator = "FL3151";

    /// <summary>The scratch file for the features of a table cannot be made or written.</summary>
    public const string ScratchUnusable = "FL3034";

    internal static BadInputException Bad(string id, string place, string cause, string remedy, Exception? inner = null) =>
        new(id, place, cause, remedy, inner);

    /// <summary>Refuses a file of no length before it is opened. Pipes and devices have none: opening one may wait for ever, and tables are read more than once.</summary>
    /// <exception cref="BadInputException">FL3010.</exception>
    internal static void RefuseWithoutLength(string path)
    {
        if (File.Exists(path) && !HasLength(path))
            throw Bad(NoRows, path, "the file is empty, or is no file but a pipe or a device.", "Give at least one row, and save to a file what comes through a pipe.");
    }

    /// <summary>Whether there is a file with something in it, at the end of links.</summary>
    internal static bool HasLength(string path) => (File.ResolveLinkTarget(path, returnFinalTarget: true) ?? new FileInfo(path)) is FileInfo { Exists: true, Length: > 0 };

    /// <summary>Why a file cannot be opened.</summary>
    internal static BadInputException Unreadable(string path, Exception inner)
    {
        (string cause, string remedy) = inner is FileNotFoundException or DirectoryNotFoundException ? ("there is no such file.", "Correct the path; in a run file it is relative to that file.")
            : Directory.Exists(path) ? ("it is a folder, and a file is needed.", "Name the file.")
            : inner is UnauthorizedAccessException ? ("this user may not read the file.", "Make the file readable for the user that runs the program.")
            : ("the file cannot be read.", "Correct the path, or make the file readable.");
        return Bad(FileUnreadable, path, cause, remedy, inner);
    }

    /// <summary>A table that no array holds, or, after an inner error, no memory.</summary>
    internal static BadInputException TooManyCells(string place, long rows, long columns, OutOfMemoryException? inner = null) => Bad(TooLarge, place,
        string.Create(CultureInfo.InvariantCulture, $"its {rows:N0} rows of {columns:N0} columns (every value of a category is one) need {8.0 * rows * columns / (1 << 30):0.0} GiB of memory")
            + (inner is null ? ", more than one table takes." : ", which there are not."),
        "Use fewer rows or columns, or categories of fewer values; write a table of mostly zeros as sparse rows (.svm), or as .npy with a folder under data.scratch, which keeps it on disk.", inner);

    internal static BadInputException Scratch(string folder, Exception inner) =>
        Bad(ScratchUnusable, folder, "the scratch file for the features cannot be made or written there, or there is no room for it.",
            "Name a folder that can be written to, with 8 bytes a cell free (float32: 4), and twice that for a job that reshuffles.", inner);

    internal static ConfigurationException Config(string id, string place, string cause, string remedy, Exception? inner = null) =>
        new(id, place, cause, remedy, inner);
}
